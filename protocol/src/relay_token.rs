//! The tokens that the operator of a relay gives to its users.

use std::fmt;

use zeroize::Zeroizing;

use crate::relay::{TOKEN_PROOF_LEN, token_proof};

/// An admission token of a relay. `Debug` does not show it, and its memory is overwritten when it is
/// dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct RelayToken(Zeroizing<Vec<u8>>);

impl RelayToken {
    /// Proves the knowledge of the token, see [`token_proof`].
    pub fn proof(&self, exporter: &[u8; 32]) -> [u8; TOKEN_PROOF_LEN] {
        token_proof(&self.0, exporter)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for RelayToken {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for RelayToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayToken(..)")
    }
}
