//! A cache of the newest batches, so that what everybody wants next need not be read from the store.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hobnob_protocol::{CheckedBatch, Frame, LogName, Ranges, Seq};

/// The frames in the cache take at most this many bytes.
const RECENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The newest batches, encoded once for all sessions.
#[derive(Debug, Default)]
pub(super) struct Recent {
    frames: BTreeMap<(LogName, Seq), (Seq, Bytes)>,
    order: VecDeque<(LogName, Seq)>,
    bytes: usize,
}

impl Recent {
    /// Adds a batch. The oldest batches leave when there are more than [`RECENT_BYTES_MAX`] bytes.
    pub(super) fn keep(&mut self, batch: &CheckedBatch) {
        let at = (batch.batch.name, batch.first());
        let frame = Frame::Batch(batch.batch.clone()).encode();
        self.bytes += frame.len();
        match self.frames.insert(at, (batch.last(), frame)) {
            Some((_, replaced)) => self.bytes -= replaced.len(),
            None => self.order.push_back(at),
        }
        while self.bytes > RECENT_BYTES_MAX {
            let oldest = self
                .order
                .pop_front()
                .expect("bytes are of frames in the order");
            let (_, frame) = self
                .frames
                .remove(&oldest)
                .expect("each is in the order once");
            self.bytes -= frame.len();
        }
    }

    /// Removes all batches that contain one of these entries.
    pub(super) fn forget(&mut self, name: LogName, seqs: &Ranges) {
        let of_log = self.frames.range((name, 0)..=(name, Seq::MAX));
        let holds = |first: Seq, last: Seq| !seqs.intersect(&Ranges::span(first, last)).is_empty();
        let gone = of_log.filter(|((_, first), (last, _))| holds(*first, *last));
        for at in gone.map(|(at, _)| *at).collect::<Vec<_>>() {
            let (_, frame) = self.frames.remove(&at).expect("found a line above");
            self.bytes -= frame.len();
            self.order.retain(|other| *other != at);
        }
    }

    /// The batch of a log that starts with this entry: its last entry and its frame.
    pub(super) fn starting_at(&self, name: LogName, first: Seq) -> Option<(Seq, Bytes)> {
        self.frames.get(&(name, first)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{Body, ConversationId, Entry, LogId, Salts, SecretKey};

    use super::*;

    /// A batch of one entry, which is `bytes` long.
    fn batch(log: u64, first: Seq, bytes: usize) -> CheckedBatch {
        let key = SecretKey::from_seed([1; 32]);
        let name = LogName {
            conversation: ConversationId::direct(
                key.id().person(),
                SecretKey::from_seed([2; 32]).id().person(),
            ),
            author: key.id().person(),
            device: key.id(),
            log: LogId(log),
        };
        let entry = Entry::new(1, 1, Body::Text("x".repeat(bytes)));
        let mut salts = Salts::new([1; 32]);
        CheckedBatch::author(&key, name, first, name.genesis(), vec![entry], &mut salts)
    }

    #[test]
    fn a_batch_is_found_by_its_first_entry() {
        let (mut recent, kept) = (Recent::default(), batch(1, 4, 10));
        recent.keep(&kept);
        let frame = Frame::Batch(kept.batch.clone()).encode();
        assert_eq!(recent.starting_at(kept.batch.name, 4), Some((4, frame)));
        assert_eq!(recent.starting_at(kept.batch.name, 3), None);
    }

    #[test]
    fn batches_with_erased_entries_leave() {
        let (mut recent, kept) = (Recent::default(), batch(1, 4, 10));
        recent.keep(&kept);
        recent.forget(kept.batch.name, &Ranges::span(1, 3));
        assert!(recent.starting_at(kept.batch.name, 4).is_some());
        recent.forget(kept.batch.name, &Ranges::span(1, 4));
        assert_eq!(recent.starting_at(kept.batch.name, 4), None);
        assert_eq!((recent.bytes, recent.order.len()), (0, 0));
    }

    #[test]
    fn the_oldest_batches_leave_a_full_cache() {
        let mut recent = Recent::default();
        // 300 batches of 15,000 bytes are more than 4 MiB.
        for log in 0..300 {
            recent.keep(&batch(log, 1, 15_000));
        }
        let held = |log| {
            let name = batch(log, 1, 1).batch.name;
            recent.starting_at(name, 1).is_some()
        };
        assert!(!held(0) && held(299));
        assert!(recent.bytes <= RECENT_BYTES_MAX);
        assert!(recent.bytes > RECENT_BYTES_MAX - 16_000);
    }

    #[test]
    fn a_forgotten_log_leaves_nothing() {
        let mut recent = Recent::default();
        for (log, first) in [(1, 1), (2, 1), (1, 2)] {
            recent.keep(&batch(log, first, 100));
        }
        recent.forget(batch(1, 1, 1).batch.name, &Ranges::span(1, 9));
        assert_eq!((recent.frames.len(), recent.order.len()), (1, 1));
        let left = batch(2, 1, 100);
        let frame = Frame::Batch(left.batch).encode();
        assert_eq!(recent.bytes, frame.len());
    }

    #[test]
    fn the_same_batch_counts_once() {
        let mut recent = Recent::default();
        recent.keep(&batch(1, 1, 100));
        let bytes = recent.bytes;
        recent.keep(&batch(1, 1, 100));
        assert_eq!((recent.bytes, recent.order.len()), (bytes, 1));
    }
}
