//! The relay's identity, and the keys that derive from it.
//!
//! The key file is the only secret on disk. The keys that must survive a restart derive from it. So
//! a restarted relay recognizes its own connection ids. It can inform nodes that their connections
//! are gone (stateless resets, RFC 9000 section 10.3). It also accepts the address validation
//! tokens that it issued before (section 8.1.2).

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::{hkdf, hmac, rand};
use hobnob_protocol::SecretKey;
use hobnob_transport::key_file::{self, KeyFileError};

/// Loads the relay's key from its home folder, or creates it on the first run.
pub fn load_or_create(home: &Path) -> Result<SecretKey, KeyFileError> {
    key_file::load_or_create(home, random)
}

/// A new key, for a relay or a fleet. The caller stores it.
pub fn new() -> SecretKey {
    SecretKey::from_seed(random())
}

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("aws-lc aborts before it runs out of random bytes");
    bytes
}

/// The keys that the QUIC endpoint must have again after a restart.
pub(crate) struct Derived {
    /// Signs the tokens of stateless resets.
    pub(crate) resets: Arc<hmac::Key>,
    /// Marks connection ids as the relay's own.
    pub(crate) connection_ids: u64,
    /// Encrypts the tokens of Retry.
    pub(crate) tokens: Arc<hkdf::Prk>,
    /// Makes the tokens that tell a sleeping peer that it is forgotten.
    pub(crate) sleep_resets: [u8; 32],
}

impl Derived {
    pub(crate) fn from(key: &SecretKey) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, key.seed());
        let derive = |purpose: &str| hmac::sign(&root, purpose.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&derive("hobnob relay 1 connection ids").as_ref()[..8]);
        Self {
            resets: Arc::new(hmac::Key::new(
                hmac::HMAC_SHA256,
                derive("hobnob relay 1 stateless reset").as_ref(),
            )),
            connection_ids: u64::from_le_bytes(first),
            tokens: Arc::new(hkdf::Prk::new_less_safe(
                hkdf::HKDF_SHA256,
                derive("hobnob relay 1 retry tokens").as_ref(),
            )),
            sleep_resets: bytes_of(&derive("hobnob relay 1 sleep resets")),
        }
    }
}

fn bytes_of(tag: &hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
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
            (one.connection_ids, tag(&one), one.sleep_resets),
            (again.connection_ids, tag(&again), again.sleep_resets)
        );
        assert_ne!(
            (one.connection_ids, tag(&one)),
            (other.connection_ids, tag(&other))
        );
    }
}
