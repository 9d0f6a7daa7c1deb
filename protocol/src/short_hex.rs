//! The short form of ids and hashes in logs.

use std::fmt;

/// Writes the first four bytes in hex.
pub(crate) fn short_hex(bytes: &[u8; 32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let [a, b, c, d, ..] = bytes;
    write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
}
