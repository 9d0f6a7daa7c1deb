//! Permissions to deposit, and the numbers of mailbox keys.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::identity::DeviceId;

/// The number of a mailbox key. The numbers of one node ascend.
pub type KeyId = u64;

/// Lets one sender deposit envelopes for one recipient at one holder. The recipient gives it to a
/// contact in a session.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositToken([u8; 32]);

impl DepositToken {
    /// The token of a sender at a holder. `secret` is the recipient's. If somebody has got hold of a
    /// token, the recipient gives out one with the next `number`.
    pub fn new(secret: &[u8; 32], sender: DeviceId, holder: DeviceId, number: u32) -> Self {
        let mut hash = blake3::Hasher::new_keyed(secret);
        hash.update(b"hobnob 1 deposit token");
        hash.update(sender.as_bytes()).update(holder.as_bytes());
        hash.update(&number.to_le_bytes());
        Self(hash.finalize().into())
    }

    /// The form in which a holder knows the token. It is useless to any other sender.
    pub fn hash(&self, sender: DeviceId) -> TokenHash {
        let input = Zeroizing::new([&self.0[..], sender.as_bytes()].concat());
        TokenHash(blake3::derive_key("hobnob 1 deposit token hash", &input))
    }
}

impl Drop for DepositToken {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for DepositToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DepositToken(..)")
    }
}

/// What a holder stores of a [`DepositToken`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash as it was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, to store them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_one_sender_and_one_holder() {
        let [ann, bob, relay] = [1, 2, 3].map(|n| DeviceId::from_bytes([n; 32]));
        let token = DepositToken::new(&[7; 32], ann, relay, 1);
        assert_eq!(token, DepositToken::new(&[7; 32], ann, relay, 1));
        for other in [
            DepositToken::new(&[8; 32], ann, relay, 1),
            DepositToken::new(&[7; 32], bob, relay, 1),
            DepositToken::new(&[7; 32], ann, bob, 1),
            DepositToken::new(&[7; 32], ann, relay, 2),
        ] {
            assert_ne!(token, other);
        }
        assert_ne!(token.hash(ann), token.hash(bob));
        assert!(!format!("{token:?}").contains(char::is_numeric));
    }
}
