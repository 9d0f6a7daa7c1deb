//! The relay's identity, and the keys that grow from it.
//!
//! The key file is made on first run and readable by its owner only. Everything else that must be
//! the same after a restart is derived from it: then the relay still knows its own connection ids,
//! can tell nodes that their connections are gone (stateless resets, RFC 9000 section 10.3), and
//! takes the tokens of those it had asked to prove their address (section 8.1.2).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::{hkdf, hmac, rand};
use hobnob_protocol::SecretKey;
use hobnob_transport::key_file::{self, KeyDamage, KeyFileError};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is there, and is no key.
    #[error(
        "{} is not a key file ({damage}): put the right one back from a backup, or move it away to get a new identity, \
         which every user of this relay then has to be told", path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        damage: KeyDamage,
    },
    /// The file can't be read, or not be made.
    #[error("can't use the key file {} ({error}): make the folder writable for the user that runs the relay", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl From<KeyFileError> for KeyError {
    fn from(error: KeyFileError) -> Self {
        match error {
            KeyFileError::Damaged { path, damage } => Self::Damaged { path, damage },
            KeyFileError::Unusable { path, error } => Self::Unusable { path, error },
        }
    }
}

/// Loads the relay's key from its home folder, or creates it on the first run.
pub fn load_or_create(home: &Path) -> Result<SecretKey, KeyError> {
    Ok(key_file::load_or_create(home, random)?)
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("aws-lc aborts before it runs out of random bytes");
    bytes
}

/// What the QUIC endpoint needs to know again after a restart.
pub(crate) struct Derived {
    /// Makes the tokens of stateless resets.
    pub(crate) resets: Arc<hmac::Key>,
    /// PeerPolicy connection ids as the relay's.
    pub(crate) connection_ids: u64,
    /// Seals the tokens of Retry.
    pub(crate) tokens: Arc<hkdf::Prk>,
}

impl Derived {
    pub(crate) fn from(key: &SecretKey) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, key.seed());
        let grow = |purpose: &str| hmac::sign(&root, purpose.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&grow("hobnob relay 1 connection ids").as_ref()[..8]);
        Self {
            resets: Arc::new(hmac::Key::new(
                hmac::HMAC_SHA256,
                grow("hobnob relay 1 stateless reset").as_ref(),
            )),
            connection_ids: u64::from_le_bytes(first),
            tokens: Arc::new(hkdf::Prk::new_less_safe(
                hkdf::HKDF_SHA256,
                grow("hobnob relay 1 retry tokens").as_ref(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_are_the_same_after_a_restart_and_differ_between_relays() {
        let [one, again, other] =
            [1, 1, 2].map(|seed| Derived::from(&SecretKey::from_seed([seed; 32])));
        let tag = |derived: &Derived| hmac::sign(&derived.resets, b"x").as_ref().to_vec();
        assert_eq!(
            (one.connection_ids, tag(&one)),
            (again.connection_ids, tag(&again))
        );
        assert_ne!(
            (one.connection_ids, tag(&one)),
            (other.connection_ids, tag(&other))
        );
    }
}
