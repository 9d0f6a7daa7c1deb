//! Encodes values to bytes and decodes them. The only module that names bincode, so that another
//! encoding could replace it.
//!
//! The encoding is bincode's `standard()` configuration: variable-length little-endian integers, no
//! field names. The caller passes a memory limit for its class of frame, and a value must use up
//! its input. This encoding has no schema evolution. So whatever may change (versions, frame kinds,
//! body kinds) is encoded outside it, and a frame may end with tagged extensions, see
//! [`decode_extended`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest frame, in bytes of kind and body. Checked before anything is allocated.
pub const FRAME_MAX: usize = 64 * 1024;

/// Maximum encoded size of the extensions of one frame or one header, in bytes.
pub const EXTENSIONS_BYTES_MAX: usize = 1024;

/// Why bytes do not decode. The cause is for logs; the peer receives only a close code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end early, contain an impossible value, or need more memory than the limit.
    #[error("malformed: {0}")]
    Malformed(String),
    /// This many bytes follow the value.
    #[error("{0} bytes left over")]
    Trailing(usize),
    /// An extension with this even tag, or a signature of this suite. A reader that does not know it
    /// must not use the value.
    #[error("of a newer version ({0})")]
    NeedsNewerVersion(u16),
}

/// Encodes a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(value, &mut bytes);
    bytes
}

/// Encodes a value behind what `out` has.
pub fn append<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, out, bincode::config::standard())
        .expect("every value of this protocol can be encoded, and a Vec grows");
}

/// Bytes that are encoded and decoded at once. Their encoding is that of a `&[u8]`, which serde
/// encodes one byte after another: the length, then the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a>(pub &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Self)
    }
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

/// Decodes the body of a frame: a value, and the tagged extensions that a newer version may have put
/// behind it.
///
/// Without extensions nothing follows the value. Otherwise a list of tags and values follows, with
/// ascending tags, in at most [`EXTENSIONS_BYTES_MAX`] bytes. This version knows no tag: it skips
/// odd ones, and an even one is an error.
pub fn decode_extended<'a, T: Deserialize<'a>, const LIMIT: usize>(
    bytes: &'a [u8],
) -> Result<T, CodecError> {
    let (value, rest) = decode_prefix::<T, LIMIT>(bytes)?;
    if !rest.is_empty() {
        check_extensions(rest)?;
    }
    Ok(value)
}

fn check_extensions(bytes: &[u8]) -> Result<(), CodecError> {
    /// Memory for a list of the shortest extensions: each has two bytes.
    const LIMIT: usize = 16 * EXTENSIONS_BYTES_MAX;
    if bytes.len() > EXTENSIONS_BYTES_MAX {
        return Err(CodecError::Trailing(bytes.len()));
    }
    let list = decode::<Vec<(u16, &[u8])>, LIMIT>(bytes)?;
    if !list.is_sorted_by(|(before, _), (after, _)| before < after) {
        return Err(CodecError::Malformed("tags out of order".to_owned()));
    }
    match list.iter().find(|(tag, _)| tag % 2 == 0) {
        Some((tag, _)) => Err(CodecError::NeedsNewerVersion(*tag)),
        None => Ok(()),
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
    fn raw_bytes_are_encoded_like_a_slice() {
        for len in [0usize, 3, 250, 251, 70_000] {
            let bytes = vec![7; len];
            let mut appended = vec![1, 2];
            append(&Raw(&bytes), &mut appended);
            assert_eq!(appended[2..], encode(&&bytes[..]));
            let decoded: Raw<'_> = decode::<_, FRAME_MAX>(&appended[2..]).unwrap_or(Raw(&[]));
            assert_eq!(decoded.0, if len <= FRAME_MAX { &bytes[..] } else { &[] });
        }
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
    fn a_newer_version_can_extend_a_body() {
        let decoded = |extensions: &[(u16, &[u8])]| {
            let bytes = [encode(&5u64), encode(&extensions)].concat();
            decode_extended::<u64, 16>(&bytes)
        };
        assert_eq!(decode_extended::<u64, 16>(&encode(&5u64)), Ok(5));
        assert_eq!(decoded(&[(1, b"x"), (301, b"")]), Ok(5));
        let even = CodecError::NeedsNewerVersion(300);
        assert_eq!(decoded(&[(1, b"x"), (300, b"")]), Err(even));
        assert!(decoded(&[(3, b""), (1, b"")]).is_err(), "tags out of order");
        assert!(decoded(&[(1, b""), (1, b"")]).is_err(), "a tag twice");
        assert_eq!(decoded(&[(1, &[0; 1_000])]), Ok(5));
        assert!(decoded(&[(1, &[0; EXTENSIONS_BYTES_MAX])]).is_err());
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        assert_eq!(decode::<u8, 16>(&[1, 2, 3]), Err(CodecError::Trailing(2)));
    }
}
