//! The relay's identity, and the keys that grow from it.
//!
//! The key file is made on first run and readable by its owner only. Everything else that must be
//! the same after a restart is derived from it: then the relay still knows its own connection ids,
//! can tell nodes that their connections are gone (stateless resets, RFC 9000 section 10.3), and
//! takes the tokens of those it had asked to prove their address (section 8.1.2).

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::{hkdf, hmac, rand};
use data_encoding::BASE32_NOPAD;
use hobnob_protocol::SecretKey;

use crate::file;

/// The name of the file in the relay's home.
const FILE: &str = "key";

/// What the file starts with: says what it is, and its version. A node's key file has the same.
const MARK: &str = "hobnob-secret-key-1 ";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is there, and is no key.
    #[error(
        "{} is not a key file ({why}): put the right one back from a backup, or move it away to get a new identity, \
         which every user of this relay then has to be told", path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
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

/// Reads the relay's key from its home, or makes it.
pub fn load_or_make(home: &Path) -> Result<SecretKey, KeyError> {
    let path = home.join(FILE);
    let unusable = |error| KeyError::Unusable {
        path: path.clone(),
        error,
    };
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text).map_err(|why| KeyError::Damaged { path, why }),
        Err(error) if error.kind() == ErrorKind::NotFound => make(&path).map_err(unusable),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(KeyError::Damaged {
            path,
            why: "it is not text",
        }),
        Err(error) => Err(unusable(error)),
    }
}

fn parse(text: &str) -> Result<SecretKey, &'static str> {
    let encoded = text
        .trim_end()
        .strip_prefix(MARK)
        .ok_or("its first words are others")?;
    let seed = BASE32_NOPAD
        .decode(encoded.to_ascii_uppercase().as_bytes())
        .map_err(|_| "it is damaged")?;
    Ok(SecretKey::from_seed(
        seed.try_into().map_err(|_| "it is cut off")?,
    ))
}

fn make(path: &Path) -> io::Result<SecretKey> {
    let seed = random();
    file::replace(
        path,
        &format!(
            "{MARK}{}\n",
            BASE32_NOPAD.encode(&seed).to_ascii_lowercase()
        ),
    )?;
    Ok(SecretKey::from_seed(seed))
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
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let home = tempfile::tempdir().unwrap();
        let made = load_or_make(home.path()).unwrap();
        let mode = fs::metadata(home.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(load_or_make(home.path()).unwrap().id(), made.id());
    }

    #[test]
    fn a_damaged_key_is_an_error_and_stays_as_it_is() {
        let home = tempfile::tempdir().unwrap();
        for damaged in [
            "",
            "nonsense",
            "hobnob-secret-key-1 abc",
            "hobnob-secret-key-2 aaaa",
        ] {
            fs::write(home.path().join(FILE), damaged).unwrap();
            assert!(
                matches!(load_or_make(home.path()), Err(KeyError::Damaged { .. })),
                "{damaged:?}"
            );
            assert_eq!(fs::read_to_string(home.path().join(FILE)).unwrap(), damaged);
        }
    }

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
