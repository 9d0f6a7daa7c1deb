//! Compression of batches and pieces of content between two nodes that agree on it in Hello.
//!
//! Each batch and each piece is a Zstandard frame (RFC 8878) of its own, so nothing of another
//! author, conversation or file can change its length. Level 1 is used: on texts and sources it
//! takes a fifth less than level 3 in time, and its results are a twentieth longer.
//!
//! Compression pays where the path is slower than the processor. QUIC's congestion control knows
//! how many bytes the path takes, so a fast path gets the bytes as they are.
//!
//! What a peer sends is decompressed into memory of the length that was announced and checked
//! before. Zstandard needs no window beside it then.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use hobnob_protocol::compression::CompressedBatch;
use hobnob_protocol::{Batch, Frame};
use quinn::Connection;
use zstd_safe::{CCtx, DCtx};

/// Shorter data is sent as it is: it fits a packet, or is so short that little is saved.
pub const LEN_MIN: usize = 1024;

/// Data is sent as it is if compression saves less than this part: one byte of eight.
const SAVED_PART_MIN: usize = 8;

/// Zstandard's level. See the start of this file.
const LEVEL: i32 = 1;

/// Batches are compressed on paths that take fewer bytes per second: 128 Mbit/s. On faster ones the
/// processor, and not the path, limits how many messages pass.
const BATCHES_BELOW: u64 = 16_000_000;

/// Pieces of content are compressed on paths that take fewer bytes per second: somewhat more than
/// 1 Gbit/s.
const PIECES_BELOW: u64 = 150_000_000;

/// Contexts of Zstandard that are kept for the next use, in each direction. One takes up to 0.6 MB.
const CONTEXTS_KEPT: usize = 2;

/// Compressed batches that are kept for the other sessions that send the same batch.
const SHARED_MAX: usize = 16;

/// The bytes of a peer are not what they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("compressed bytes that are damaged, or not as long as announced")]
pub struct Damaged;

/// Compresses and decompresses. Clones share the memory for it, and the batches that several
/// sessions send.
#[derive(Debug, Clone, Default)]
pub struct Compressor(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    compressing: Contexts<CCtx<'static>>,
    decompressing: Contexts<DCtx<'static>>,
    batches: Mutex<VecDeque<SharedBatch>>,
}

/// A frame of a batch, and the frame to send instead once a session has made it.
#[derive(Debug, Clone)]
struct SharedBatch {
    frame: Bytes,
    instead: Arc<OnceLock<Bytes>>,
}

impl Compressor {
    /// The compressed bytes, or `None` if they are not worth it.
    pub fn compress(&self, bytes: &[u8]) -> Option<Bytes> {
        if bytes.len() < LEN_MIN {
            return None;
        }
        // Zstandard gives up when the result does not fit.
        let mut compressed = vec![0; bytes.len() - bytes.len() / SAVED_PART_MIN];
        let into = &mut compressed[..];
        let contexts = &self.0.compressing;
        let used = contexts.with(CCtx::create, |context| context.compress(into, bytes, LEVEL));
        compressed.truncate(used.ok()?);
        Some(compressed.into())
    }

    /// The `len` bytes that a peer has compressed. The caller has checked that it accepts this
    /// many.
    pub fn decompress(&self, compressed: &[u8], len: usize) -> Result<Bytes, Damaged> {
        let announced = zstd_safe::get_frame_content_size(compressed);
        let announced = announced.ok().flatten().ok_or(Damaged)?;
        let is_one_frame =
            zstd_safe::find_frame_compressed_size(compressed) == Ok(compressed.len());
        if usize::try_from(announced) != Ok(len) || !is_one_frame {
            return Err(Damaged);
        }
        let mut bytes = vec![0; len];
        let into = &mut bytes[..];
        let contexts = &self.0.decompressing;
        let written = contexts.with(DCtx::create, |context| context.decompress(into, compressed));
        if written == Ok(len) {
            Ok(bytes.into())
        } else {
            Err(Damaged)
        }
    }

    /// The frame to send instead of this frame of a batch, which may be the same.
    ///
    /// A frame that goes to several sessions is compressed once: the others wait for the first one,
    /// for less time than they would need.
    pub fn batch(&self, frame: Bytes) -> Bytes {
        if frame.len() < LEN_MIN {
            return frame;
        }
        let shared = self.shared(&frame);
        let make = || self.compressed_batch(&frame).unwrap_or(frame);
        shared.get_or_init(make).clone()
    }

    /// The batch that a peer has compressed.
    pub fn decompress_batch(&self, compressed: CompressedBatch) -> Result<Batch, Damaged> {
        let CompressedBatch { len, batch } = compressed;
        let entries = self.decompress(&batch.entries, len)?;
        Ok(Batch { entries, ..batch })
    }

    fn compressed_batch(&self, frame: &Bytes) -> Option<Bytes> {
        let Ok(Frame::Batch(batch)) = Frame::decode(frame) else {
            return None;
        };
        let compressed = self.compress(&batch.entries)?;
        Some(CompressedBatch::new(batch, compressed)?.encode())
    }

    /// Where the result for this frame is, or will be. The same memory is the same frame: the list
    /// keeps it alive.
    fn shared(&self, frame: &Bytes) -> Arc<OnceLock<Bytes>> {
        let batches = self.0.batches.lock();
        let mut batches = batches.unwrap_or_else(PoisonError::into_inner);
        let is_same = |known: &&SharedBatch| {
            (known.frame.as_ptr(), known.frame.len()) == (frame.as_ptr(), frame.len())
        };
        if let Some(known) = batches.iter().rev().find(is_same) {
            return known.instead.clone();
        }
        if batches.len() == SHARED_MAX {
            batches.pop_front();
        }
        let instead = Arc::<OnceLock<Bytes>>::default();
        batches.push_back(SharedBatch {
            frame: frame.clone(),
            instead: instead.clone(),
        });
        instead
    }
}

/// Whether the path of a connection is so slow that batches should be compressed.
pub(super) fn pays_for_batches(connection: &Connection) -> bool {
    rate(connection) < BATCHES_BELOW
}

/// Whether the path of a connection is so slow that pieces of content should be compressed.
pub(super) fn pays_for_pieces(connection: &Connection) -> bool {
    rate(connection) < PIECES_BELOW
}

/// How many bytes per second the path takes, as far as the congestion control knows: its window in
/// each round trip.
fn rate(connection: &Connection) -> u64 {
    let path = connection.stats().path;
    let rtt = path.rtt.as_nanos().max(1);
    u64::try_from(u128::from(path.cwnd) * 1_000_000_000 / rtt).unwrap_or(u64::MAX)
}

/// Which pieces of a content are tried: fewer and fewer, as long as none becomes shorter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trials {
    failed: u32,
    /// Pieces until the next trial.
    rest: u32,
}

/// At least one piece of 65 is tried.
const FAILED_MAX: u32 = 6;

impl Trials {
    /// Compresses a piece, if it is this piece's turn and that is worth it.
    pub fn compress(&mut self, piece: &[u8], compressor: &Compressor) -> Option<Bytes> {
        if let Some(rest) = self.rest.checked_sub(1) {
            self.rest = rest;
            return None;
        }
        let compressed = compressor.compress(piece);
        if compressed.is_some() {
            self.failed = 0;
        } else {
            self.failed = FAILED_MAX.min(self.failed + 1);
            self.rest = 1 << self.failed;
        }
        compressed
    }
}

/// Contexts of Zstandard that are free. At most [`CONTEXTS_KEPT`].
struct Contexts<T>(Mutex<Vec<T>>);

impl<T> Default for Contexts<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> fmt::Debug for Contexts<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts").finish_non_exhaustive()
    }
}

impl<T> Contexts<T> {
    fn with<R>(&self, create: fn() -> T, work: impl FnOnce(&mut T) -> R) -> R {
        let free = self.lock().pop();
        let mut context = free.unwrap_or_else(create);
        let result = work(&mut context);
        let mut free = self.lock();
        if free.len() < CONTEXTS_KEPT {
            free.push(context);
        }
        result
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, DeviceId, EntryHash, LogId, LogName, Signature};
    use proptest::prelude::*;

    use super::*;

    /// The project's own documentation, of at most 90,000 bytes.
    fn text(bytes: usize) -> Vec<u8> {
        const TEXT: &str = concat!(
            include_str!("../../../docs/GUIDE.md"),
            include_str!("../../../docs/PROTOCOL.md")
        );
        TEXT.bytes().take(bytes).collect()
    }

    fn random(bytes: usize) -> Vec<u8> {
        let mut random = blake3::Hasher::new().finalize_xof();
        let mut filled = vec![0; bytes];
        random.fill(&mut filled);
        filled
    }

    fn batch(entries: Vec<u8>) -> Batch {
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
            entries: entries.into(),
            signature: Signature::from_bytes([5; 64]),
        }
    }

    #[test]
    fn text_becomes_shorter_and_is_the_same_again() {
        let (compressor, text) = (Compressor::default(), text(65_000));
        let compressed = compressor.compress(&text).expect("text");
        assert!(compressed.len() < text.len() / 2, "{}", compressed.len());
        assert_eq!(
            compressor.decompress(&compressed, text.len()),
            Ok(text.into())
        );
    }

    #[test]
    fn short_and_random_bytes_stay_as_they_are() {
        let compressor = Compressor::default();
        assert_eq!(compressor.compress(&text(LEN_MIN - 1)), None);
        assert!(compressor.compress(&text(LEN_MIN)).is_some());
        assert_eq!(compressor.compress(&random(65_536)), None);
    }

    #[test]
    fn what_is_not_as_long_as_announced_is_refused() {
        let (compressor, zeros) = (Compressor::default(), vec![0; 65_000]);
        let compressed = compressor.compress(&zeros).expect("zeros");
        for len in [0, 1, 64_999, 65_001, 1 << 40] {
            assert_eq!(
                compressor.decompress(&compressed, len),
                Err(Damaged),
                "{len}"
            );
        }
        assert!(compressor.decompress(&compressed, 65_000).is_ok());
    }

    #[test]
    fn a_bomb_costs_no_memory() {
        let compressor = Compressor::default();
        // A frame header that announces 2^62 bytes: magic number, descriptor, window, length.
        let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0xc0, 0x00];
        bomb.extend_from_slice(&(1u64 << 62).to_le_bytes());
        bomb.extend_from_slice(&[3, 0, 0]);
        assert_eq!(compressor.decompress(&bomb, 65_000), Err(Damaged));
        // Many megabytes in a frame that announces nothing, as a program makes it that streams.
        let mut silent = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
        // Blocks of 128 KiB of one repeated byte; the last one is marked.
        let block = |last: u32| (((128 << 10) << 3) | (1 << 1) | last).to_le_bytes();
        for _ in 0..100 {
            silent.extend_from_slice(&block(0)[..3]);
            silent.push(7);
        }
        silent.extend_from_slice(&block(1)[..3]);
        silent.push(7);
        assert_eq!(compressor.decompress(&silent, 65_000), Err(Damaged));
    }

    #[test]
    fn bytes_behind_the_frame_and_several_frames_are_refused() {
        let (compressor, text) = (Compressor::default(), text(5_000));
        let compressed = compressor.compress(&text).expect("text");
        let longer = [&compressed[..], b"x"].concat();
        assert_eq!(compressor.decompress(&longer, text.len()), Err(Damaged));
        let twice = [&compressed[..], &compressed[..]].concat();
        assert_eq!(compressor.decompress(&twice, 2 * text.len()), Err(Damaged));
        assert_eq!(
            compressor.decompress(&compressed[..50], 5_000),
            Err(Damaged)
        );
        // Bytes that Zstandard skips (RFC 8878 section 3.1.2), before nothing at all.
        let skipped = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2];
        assert_eq!(compressor.decompress(&skipped, 0), Ok(Bytes::new()));
        assert_eq!(compressor.decompress(&skipped, 5), Err(Damaged));
    }

    #[test]
    fn a_batch_is_compressed_once_for_all_sessions() {
        let compressor = Compressor::default();
        let entries = text(60_000);
        let frame = Frame::Batch(batch(entries.clone())).encode();
        let first = compressor.batch(frame.clone());
        let second = compressor.batch(frame.clone());
        assert!(first.len() < frame.len() / 2);
        assert_eq!(first.as_ptr(), second.as_ptr());
        let read = CompressedBatch::decode(&first).expect("well formed");
        let decompressed = compressor.decompress_batch(read.expect("of this version"));
        assert_eq!(decompressed, Ok(batch(entries)));
    }

    #[test]
    fn batches_that_do_not_become_shorter_stay_as_they_are() {
        let compressor = Compressor::default();
        for entries in [text(500), random(60_000), vec![0; 60_000]] {
            // Zeros become so short that a peer would refuse them.
            let frame = Frame::Batch(batch(entries)).encode();
            assert_eq!(compressor.batch(frame.clone()), frame);
        }
    }

    #[test]
    fn the_length_of_a_batch_does_not_depend_on_the_batches_before() {
        let guesses: Vec<_> = (0..SHARED_MAX).map(|n| text(3_000 + n)).collect();
        let secret = Frame::Batch(batch(text(3_000))).encode();
        let alone = Compressor::default().batch(secret.clone());
        let compressor = Compressor::default();
        for guess in guesses {
            compressor.batch(Frame::Batch(batch(guess)).encode());
        }
        assert_eq!(compressor.batch(secret), alone);
    }

    #[test]
    fn what_is_kept_for_other_sessions_is_bounded() {
        let compressor = Compressor::default();
        for n in 0..3 * SHARED_MAX {
            compressor.batch(Frame::Batch(batch(text(2_000 + n))).encode());
        }
        let kept = compressor.0.batches.lock().expect("not poisoned").len();
        assert_eq!(kept, SHARED_MAX);
    }

    #[test]
    fn random_pieces_are_tried_less_and_less_often() {
        let (compressor, mut trials) = (Compressor::default(), Trials::default());
        let (random, text) = (random(65_536), text(65_536));
        let pieces_until_success = |trials: &mut Trials| {
            let mut pieces = 1;
            while trials.compress(&text, &compressor).is_none() {
                pieces += 1;
            }
            pieces
        };
        assert_eq!(pieces_until_success(&mut trials), 1);
        for _ in 0..1_000 {
            trials.compress(&random, &compressor);
        }
        assert!(pieces_until_success(&mut trials) <= 65);
        assert_eq!(pieces_until_success(&mut trials), 1, "and then each again");
    }

    proptest! {
        #[test]
        fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), len in 0usize..70_000) {
            if let Ok(decompressed) = Compressor::default().decompress(&bytes, len) {
                prop_assert_eq!(decompressed.len(), len);
            }
        }

        #[test]
        fn a_damaged_frame_is_refused_or_has_the_announced_length(at in 0usize..2_000, bit in 0u8..8) {
            let compressor = Compressor::default();
            let mut damaged = compressor.compress(&text(5_000)).expect("text").to_vec();
            let at = at % damaged.len();
            damaged[at] ^= 1 << bit;
            if let Ok(decompressed) = compressor.decompress(&damaged, 5_000) {
                prop_assert_eq!(decompressed.len(), 5_000);
            }
        }
    }
}
