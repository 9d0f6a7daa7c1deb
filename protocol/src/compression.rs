//! Batches whose entries are compressed, for peers with [`features::COMPRESSION`].
//!
//! Compression concerns only the path between two nodes: signatures and hashes cover the entries as
//! they are without it. A batch has entries of one author in one conversation, and is compressed by
//! itself, so its size shows nothing about the text of anybody else.
//!
//! Here are the form and the limits of the frame. The node compresses with Zstandard (RFC 8878).
//!
//! [`features::COMPRESSION`]: crate::frame::features::COMPRESSION

use bytes::{BufMut, Bytes, BytesMut};

use crate::batch::{BATCH_ENTRIES_BYTES_MAX, Batch};
use crate::codec::{self, CodecError, FRAME_MAX};
use crate::frame::FrameError;

/// The kind of the frame. It may stand on a session's batch stream only, so
/// [`Frame::decode`](crate::Frame::decode) does not know it.
pub const COMPRESSED_BATCH: u8 = 29;

/// The entries may become at most this many times longer. Otherwise a peer with a slow line could
/// make a node read as many bytes as one with a fast line. A sender sends longer ones as they are.
pub const RATIO_MAX: usize = 32;

/// A batch with compressed entries, from a peer or for one. The entries are not decompressed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressedBatch {
    /// Bytes of the entries without compression: more than they have now, at most
    /// [`RATIO_MAX`] times as many, and at most [`BATCH_ENTRIES_BYTES_MAX`].
    pub len: usize,
    /// The batch. Its entries are compressed.
    pub batch: Batch,
}

impl CompressedBatch {
    /// The batch with `compressed` instead of its entries. `None` if a receiver would refuse it.
    pub fn new(batch: Batch, compressed: Bytes) -> Option<Self> {
        let len = batch.entries.len();
        is_allowed(len, compressed.len()).then(|| Self {
            len,
            batch: Batch {
                entries: compressed,
                ..batch
            },
        })
    }

    /// Encodes kind and body, without the length of the frame.
    pub fn encode(&self) -> Bytes {
        let body = self.batch.encode();
        let mut frame = BytesMut::with_capacity(body.len() + 8);
        frame.put_u8(COMPRESSED_BATCH);
        frame.extend_from_slice(&codec::encode(&self.len));
        frame.extend_from_slice(&body);
        debug_assert!(frame.len() <= FRAME_MAX, "it is shorter than the batch");
        frame.freeze()
    }

    /// Decodes a frame of the kind [`COMPRESSED_BATCH`]. `None`: a newer version wrote it, and it
    /// is skipped like an unknown frame.
    pub fn decode(frame: &Bytes) -> Result<Option<Self>, FrameError> {
        let kind = *frame.first().ok_or(FrameError::Empty)?;
        match decode_body(&frame.slice(1..)) {
            Ok(batch) => Ok(Some(batch)),
            Err(CodecError::NeedsNewerVersion(_)) => Ok(None),
            Err(cause) => Err(FrameError::Body { kind, cause }),
        }
    }
}

fn decode_body(body: &Bytes) -> Result<CompressedBatch, CodecError> {
    let (len, rest) = codec::decode_prefix::<usize, 16>(body)?;
    let batch = Batch::decode(&body.slice_ref(rest))?;
    let compressed = batch.entries.len();
    if !is_allowed(len, compressed) {
        let why = format!("{compressed} compressed bytes that claim to be {len}");
        return Err(CodecError::Malformed(why));
    }
    Ok(CompressedBatch { len, batch })
}

fn is_allowed(len: usize, compressed: usize) -> bool {
    len > compressed && len <= BATCH_ENTRIES_BYTES_MAX && len.div_ceil(RATIO_MAX) <= compressed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::ConversationId;
    use crate::frame::Frame;
    use crate::identity::{DeviceId, Signature};
    use crate::log::{EntryHash, LogId, LogName};
    use proptest::prelude::*;

    fn batch(entries: &[u8]) -> Batch {
        let device = DeviceId::from_bytes([2; 32]);
        Batch {
            name: LogName {
                conversation: ConversationId::from_bytes([1; 32]),
                author: device.person(),
                device,
                log: LogId(3),
            },
            first: 1,
            prev: EntryHash::from_bytes([4; 32]),
            entries: Bytes::copy_from_slice(entries),
            signature: Signature::from_bytes([5; 64]),
        }
    }

    /// A frame that claims to become this long from this many bytes.
    fn claims(len: usize, compressed: usize) -> Bytes {
        let batch = batch(&vec![7; compressed]);
        CompressedBatch { len, batch }.encode()
    }

    #[test]
    fn golden_bytes() {
        let compressed = CompressedBatch::new(batch(&[9; 300]), Bytes::from_static(b"0123456789"));
        let compressed = compressed.expect("30 times shorter");
        let body = batch(b"0123456789").encode();
        let frame = [&[29, 251, 0x2c, 0x01][..], &body].concat();
        assert_eq!(compressed.encode(), frame);
        assert_eq!(CompressedBatch::decode(&frame.into()), Ok(Some(compressed)));
    }

    #[test]
    fn impossible_lengths_are_refused_before_anything_is_decompressed() {
        let decoded = |len, compressed| CompressedBatch::decode(&claims(len, compressed));
        assert!(decoded(BATCH_ENTRIES_BYTES_MAX, 3_000).is_ok());
        assert!(decoded(32 * 100, 100).is_ok());
        for (len, compressed) in [
            (0, 0),
            (1, 0),
            (100, 100),
            (99, 100),
            (32 * 100 + 1, 100),
            (BATCH_ENTRIES_BYTES_MAX + 1, 3_000),
            (usize::MAX, 3_000),
        ] {
            let refused = decoded(len, compressed);
            let is_refused = matches!(refused, Err(FrameError::Body { kind: 29, .. }));
            assert!(is_refused, "{len} of {compressed}: {refused:?}");
        }
    }

    #[test]
    fn what_a_receiver_would_refuse_is_not_made() {
        let made = |len: usize, compressed: usize| {
            CompressedBatch::new(batch(&vec![1; len]), vec![7; compressed].into()).is_some()
        };
        assert!(made(3_200, 100) && made(101, 100));
        assert!(!made(100, 100) && !made(3_300, 100) && !made(100, 0));
    }

    #[test]
    fn a_frame_of_a_newer_version_is_skipped() {
        let with = |extensions: &[u8]| {
            CompressedBatch::decode(&[&claims(300, 100)[..], extensions].concat().into())
        };
        assert!(matches!(with(&[1, 7, 0]), Ok(Some(_))), "an odd tag");
        assert_eq!(with(&[1, 8, 0]), Ok(None), "an even tag");
        assert!(with(&[1, 7, 9]).is_err(), "no list of extensions");
        assert_eq!(
            CompressedBatch::decode(&Bytes::new()),
            Err(FrameError::Empty)
        );
    }

    #[test]
    fn other_streams_skip_the_frame() {
        let decoded = Frame::decode(&claims(300, 100));
        assert_eq!(decoded, Ok(Frame::Unknown(COMPRESSED_BATCH)));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = CompressedBatch::decode(&Bytes::from(bytes));
        }
    }
}
