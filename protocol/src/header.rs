//! The part of an entry that is never erased: its kind, its Lamport number, its time, and a list of
//! tagged extensions.
//!
//! A reader ignores an odd tag that it does not know. An entry with an even tag that it does not
//! know is stored and passed on, but not understood: see [`Body::Unknown`](crate::Body::Unknown).

use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError, EXTENSIONS_BYTES_MAX};
use crate::identity::PersonId;
use crate::log::{LogId, Seq};

/// Memory that decoding a header may claim: in memory a short extension needs eight times its
/// encoded size.
const HEADER_MEMORY_MAX: usize = 16 * EXTENSIONS_BYTES_MAX;

/// The tags of extensions. Every number has one meaning for ever.
pub mod tag {
    /// The entry that this one is about: see [`EntryRef`](super::EntryRef).
    pub const ABOUT: u16 = 1;
    /// Reserved: the epoch of the room's key.
    pub const EPOCH: u16 = 2;
    /// Reserved: the head of the room's membership log that the author had seen.
    pub const MEMBERSHIP: u16 = 4;
    /// Reserved: the certificate of the author for the device that writes the log, in the first entry
    /// of a log that the author's own key does not sign.
    pub const CERTIFICATE: u16 = 6;
}

/// Names another entry of the same conversation. It needs no device: an author's logs have random
/// ids, on all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryRef {
    /// Its author, if it is somebody other than the author of the entry that refers to it.
    pub author: Option<PersonId>,
    /// Its log.
    pub log: LogId,
    /// Its number in the log.
    pub seq: Seq,
}

/// Tagged extensions: ascending tags, each at most once, at most [`EXTENSIONS_BYTES_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions(Vec<(u16, Vec<u8>)>);

impl Extensions {
    /// Adds an extension, or replaces the one with this tag.
    pub fn set(&mut self, tag: u16, value: Vec<u8>) {
        match self.0.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (tag, value)),
        }
    }

    /// The value of a tag.
    pub fn get(&self, tag: u16) -> Option<&[u8]> {
        let at = self.0.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
        Some(&self.0[at].1)
    }

    /// Removes an extension and returns its value.
    pub fn take(&mut self, tag: u16) -> Option<Vec<u8>> {
        let at = self.0.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Whether a reader must know a tag that this version does not know.
    pub fn need_newer_version(&self) -> bool {
        self.0.iter().any(|(tag, _)| tag % 2 == 0)
    }

    /// The entry that this one is about.
    pub fn about(&self) -> Option<EntryRef> {
        codec::decode::<EntryRef, 1024>(self.get(tag::ABOUT)?).ok()
    }

    /// Notes the entry that this one is about.
    pub fn set_about(&mut self, about: &EntryRef) {
        self.set(tag::ABOUT, codec::encode(about));
    }
}

/// A header as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u16,
    pub(crate) lamport: u64,
    pub(crate) sent_at_ms: u64,
    pub(crate) extensions: Extensions,
}

#[derive(Deserialize)]
struct Encoded<'a> {
    kind: u16,
    lamport: u64,
    sent_at_ms: u64,
    #[serde(borrow)]
    extensions: Vec<(u16, &'a [u8])>,
}

impl Header {
    /// Encodes a header behind what `out` has.
    pub(crate) fn append_parts(
        out: &mut Vec<u8>,
        kind: u16,
        lamport: u64,
        sent_at_ms: u64,
        extensions: &Extensions,
    ) {
        codec::append(&(kind, lamport, sent_at_ms, &extensions.0), out);
    }

    /// Reads the header at the front of `bytes`. Returns it with the bytes that follow.
    pub(crate) fn decode_prefix(bytes: &[u8]) -> Result<(Header, &[u8]), CodecError> {
        let (encoded, rest) = codec::decode_prefix::<Encoded<'_>, HEADER_MEMORY_MAX>(bytes)?;
        let list = encoded.extensions;
        let ascending = list.is_sorted_by(|(before, _), (after, _)| before < after);
        // At most three bytes for the tag and three for the length.
        let size: usize = list.iter().map(|(_, value)| value.len() + 6).sum();
        if !ascending || size > EXTENSIONS_BYTES_MAX {
            return Err(CodecError::Malformed(
                "tags out of order, or too long".to_owned(),
            ));
        }
        let owned = list.into_iter().map(|(tag, value)| (tag, value.to_vec()));
        let header = Header {
            kind: encoded.kind,
            lamport: encoded.lamport,
            sent_at_ms: encoded.sent_at_ms,
            extensions: Extensions(owned.collect()),
        };
        Ok((header, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(extensions: Extensions) -> Header {
        Header {
            kind: 1,
            lamport: 2,
            sent_at_ms: 300,
            extensions,
        }
    }

    fn encode(header: &Header) -> Vec<u8> {
        let mut out = Vec::new();
        Header::append_parts(
            &mut out,
            header.kind,
            header.lamport,
            header.sent_at_ms,
            &header.extensions,
        );
        out
    }

    #[test]
    fn golden_bytes() {
        let plain = with(Extensions::default());
        assert_eq!(encode(&plain), [1, 2, 251, 0x2c, 0x01, 0]);
        let mut extensions = Extensions::default();
        extensions.set(7, b"x".to_vec());
        extensions.set_about(&EntryRef {
            author: None,
            log: LogId(9),
            seq: 4,
        });
        let header = with(extensions);
        let bytes = [1, 2, 251, 0x2c, 0x01, 2, 1, 3, 0, 9, 4, 7, 1, b'x'];
        assert_eq!(encode(&header), bytes);
        assert_eq!(Header::decode_prefix(&bytes), Ok((header, &[][..])));
    }

    #[test]
    fn tags_ascend_and_each_appears_once() {
        for tags in [[3u16, 1], [3, 3]] {
            let list: Vec<(u16, &[u8])> = tags.map(|tag| (tag, &b"x"[..])).to_vec();
            let bytes = codec::encode(&(1u16, 2u64, 3u64, list));
            assert!(Header::decode_prefix(&bytes).is_err(), "{tags:?}");
        }
    }

    #[test]
    fn extensions_are_at_most_a_kibibyte() {
        for (bytes, fits) in [
            (EXTENSIONS_BYTES_MAX - 6, true),
            (EXTENSIONS_BYTES_MAX, false),
        ] {
            let mut extensions = Extensions::default();
            extensions.set(3, vec![0; bytes]);
            let encoded = encode(&with(extensions));
            assert_eq!(Header::decode_prefix(&encoded).is_ok(), fits, "{bytes}");
        }
    }

    #[test]
    fn only_even_tags_need_a_newer_version() {
        let mut extensions = Extensions::default();
        extensions.set(tag::ABOUT, Vec::new());
        extensions.set(65_535, Vec::new());
        assert!(!extensions.need_newer_version());
        extensions.set(tag::EPOCH, Vec::new());
        assert!(extensions.need_newer_version());
    }
}
