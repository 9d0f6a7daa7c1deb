//! Encodes values to bytes and decodes them. The only module that names bincode, so that another
//! encoding could replace it.
//!
//! The encoding is bincode's `standard()` configuration: variable-length little-endian integers, no
//! field names. The caller passes a memory limit for its class of frame, and a value must use up
//! its input. This encoding has no schema evolution: whatever may change (versions, frame kinds,
//! body kinds) is encoded outside it.

use serde::{Deserialize, Serialize};

/// Longest frame, in bytes of kind and body. Checked before anything is allocated.
pub const FRAME_MAX: usize = 64 * 1024;

/// Why bytes do not decode. The cause is for logs; the peer receives only a close code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end early, contain an impossible value, or need more memory than the limit.
    #[error("malformed: {0}")]
    Malformed(String),
    /// This many bytes follow the value.
    #[error("{0} bytes left over")]
    Trailing(usize),
}

/// Encodes a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard())
        .expect("every value of this protocol can be encoded, and a Vec grows")
}

/// Decodes a value that must fill `bytes` exactly. Decoding claims at most `LIMIT` bytes of memory.
pub fn decode<'a, T: Deserialize<'a>, const LIMIT: usize>(
    bytes: &'a [u8],
) -> Result<T, CodecError> {
    let (value, rest) = decode_prefix::<T, LIMIT>(bytes)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(CodecError::Trailing(rest.len()))
    }
}

/// Decodes a value from the front of `bytes` and returns it with the bytes that follow.
pub fn decode_prefix<'a, T: Deserialize<'a>, const LIMIT: usize>(
    bytes: &'a [u8],
) -> Result<(T, &'a [u8]), CodecError> {
    let config = bincode::config::standard().with_limit::<LIMIT>();
    let (value, used) = bincode::serde::borrow_decode_from_slice(bytes, config)
        .map_err(|error| CodecError::Malformed(error.to_string()))?;
    Ok((value, &bytes[used..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        // Small integers are one byte; from 251 on a marker (251 = two bytes follow) and
        // little-endian; strings are length and UTF-8.
        assert_eq!(
            encode(&(5u64, 300u64, "hi")),
            [5, 251, 0x2c, 0x01, 2, b'h', b'i']
        );
        assert_eq!(encode(&Some(1u8)), [1, 1]);
        assert_eq!(encode(&None::<u8>), [0]);
    }

    #[test]
    fn a_huge_length_is_an_error_and_not_an_allocation() {
        let claims_2_to_60 = [253, 0, 0, 0, 0, 0, 0, 0, 0x10];
        assert!(matches!(
            decode::<Vec<u8>, 1024>(&claims_2_to_60),
            Err(CodecError::Malformed(_))
        ));
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        assert_eq!(decode::<u8, 16>(&[1, 2, 3]), Err(CodecError::Trailing(2)));
    }
}
