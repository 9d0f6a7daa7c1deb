//! Hashes of bodies. An entry's own hash contains the hash of its body, so the body can be erased
//! and everything that is signed stays valid.
//!
//! `BodyHash = BLAKE3 keyed(key, number ‖ salt ‖ body)`, where `key = BLAKE3 derive_key(log name)`.
//! So the hash is bound to one place, and the salt keeps a short text from being guessed. How the
//! hash enters the chain is in [`crate::log`].

use std::fmt;

use crate::log::{BodyHash, LogName, Seq};
use crate::short_hash;

/// Random bytes that are hashed with a body. They are erased together with it.
pub type Salt = [u8; 16];

/// Hashes the bodies of one log. Deriving it costs more than a hash, so it is made once for a
/// batch.
#[derive(Debug, Clone, Copy)]
pub struct BodyKey([u8; 32]);

impl BodyKey {
    /// The key of a log.
    pub fn of(name: &LogName) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("hobnob 1 body");
        name.hash_into(&mut hash);
        Self(*hash.finalize().as_bytes())
    }

    /// The hash of the body at a place of this log.
    pub fn hash(&self, seq: Seq, salt: &Salt, body: &[u8]) -> BodyHash {
        let parts = [&seq.to_le_bytes()[..], salt, body];
        let hash = short_hash::of(Some(&self.0), parts);
        BodyHash::from_bytes(hash)
    }
}

/// An endless supply of salts. Nobody who lacks the seed can compute them.
///
/// The seed must come from the system's random source and must stay in memory: the salt of an
/// erased entry must not be computable later.
#[derive(Clone)]
pub struct Salts {
    seed: [u8; 32],
    used: u64,
}

impl Salts {
    /// Starts from a secret random seed.
    pub const fn new(seed: [u8; 32]) -> Self {
        Self { seed, used: 0 }
    }

    /// A salt that was never returned before.
    pub fn draw(&mut self) -> Salt {
        self.used += 1;
        let hash = blake3::keyed_hash(&self.seed, &self.used.to_le_bytes());
        let mut salt = Salt::default();
        salt.copy_from_slice(&hash.as_bytes()[..16]);
        salt
    }
}

impl fmt::Debug for Salts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::ConversationId;
    use crate::identity::PersonId;
    use crate::log::LogId;

    fn name() -> LogName {
        LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: PersonId::from_bytes([2; 32]),
            device: PersonId::from_bytes([2; 32]).only_device(),
            log: LogId(3),
        }
    }

    #[test]
    fn a_body_has_another_hash_at_another_place_and_with_another_salt() {
        let hash = BodyKey::of(&name()).hash(1, &[4; 16], b"hi");
        let other_log = LogName {
            log: LogId(4),
            ..name()
        };
        for other in [
            BodyKey::of(&other_log).hash(1, &[4; 16], b"hi"),
            BodyKey::of(&name()).hash(2, &[4; 16], b"hi"),
            BodyKey::of(&name()).hash(1, &[5; 16], b"hi"),
            BodyKey::of(&name()).hash(1, &[4; 16], b"ho"),
        ] {
            assert_ne!(hash, other);
        }
    }

    #[test]
    fn salts_differ_and_depend_on_the_seed() {
        let (mut salts, mut others) = (Salts::new([1; 32]), Salts::new([2; 32]));
        let [first, second] = [salts.draw(), salts.draw()];
        assert_ne!(first, second);
        assert_ne!(first, others.draw());
    }
}
