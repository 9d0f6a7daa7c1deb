//! A batch that waits for an envelope, or is on its way in one.
//!
//! What the user wrote in single messages has a signature for each. Those that share an envelope
//! become one batch with one signature, which their reader checks in the time of one.

use bytes::Bytes;
use hobnob_protocol::batch::BATCH_ENTRIES_BYTES_MAX;
use hobnob_protocol::mailbox::CONTENT_BYTES_MAX;
use hobnob_protocol::{Batch, Body, CheckedBatch, EntryHash, Frame, LogName, SecretKey, Seq};

/// Bytes by which the length of a batch's entries may grow in its encoded form.
const LENGTH_GROWS: usize = 2;

// What fits an envelope fits a batch.
const _: () = assert!(CONTENT_BYTES_MAX <= BATCH_ENTRIES_BYTES_MAX);

/// A batch that waits, or is on its way in an envelope.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) frame: Bytes,
    /// The own entries in it.
    pub(super) span: Option<(LogName, Seq, Seq)>,
    /// Bytes that the replica counts as written when the holder has this item.
    pub(super) credit: usize,
    /// The own batches in it, which can be joined with others. Empty if they can't.
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    batch: Batch,
    last: Seq,
    head: EntryHash,
    /// The Lamport numbers of its first and last entry.
    lamports: (u64, u64),
}

impl Item {
    /// A batch that travels as it is.
    pub(super) fn new(frame: Bytes, span: Option<(LogName, Seq, Seq)>, credit: usize) -> Self {
        Self {
            frame,
            span,
            credit,
            parts: Vec::new(),
        }
    }

    /// A batch of this node.
    pub(super) fn own(frame: Bytes, batch: &CheckedBatch, credit: usize) -> Self {
        let span = (batch.batch.name, batch.first(), batch.last());
        Self {
            parts: Part::of(batch).into_iter().collect(),
            ..Self::new(frame, Some(span), credit)
        }
    }

    /// By how many bytes this batch grows at most if it is joined with the next one. `None` if that is
    /// impossible.
    pub(super) fn grows_by(&self, next: &Self) -> Option<usize> {
        let (before, after) = (self.parts.last()?, next.parts.first()?);
        let follows = before.batch.name == after.batch.name
            && before.last + 1 == after.batch.first
            && before.head == after.batch.prev
            && before.lamports.1 < after.lamports.0;
        let entries: usize = next.parts.iter().map(|it| it.batch.entries.len()).sum();
        follows.then_some(entries + LENGTH_GROWS)
    }

    /// Joins these batches, each of which follows the one before it, as [`Item::grows_by`] says.
    pub(super) fn joined(items: Vec<Self>, key: &SecretKey) -> Self {
        let credit = items.iter().map(|item| item.credit).sum();
        let mut items = items.into_iter();
        let mut item = items.next().expect("there is at least one");
        item.credit = credit;
        item.parts.extend(items.flat_map(|next| next.parts));
        let parts = std::mem::take(&mut item.parts);
        if let [first, .., last] = &parts[..] {
            let batches: Vec<_> = parts.iter().map(|part| &part.batch).collect();
            let batch = Batch::joined(&batches, last.last, &last.head, key);
            item.span = Some((batch.name, first.batch.first, last.last));
            item.frame = Frame::Batch(batch).encode();
        }
        item
    }
}

impl Part {
    /// `None` if the batch must travel alone: a reader gives an entry about another one the audience
    /// of that one, and all other entries of a batch that of their arrival.
    fn of(batch: &CheckedBatch) -> Option<Self> {
        let mut entries = batch.entries.iter().map(|it| &it.entry);
        let is_plain = entries.all(|entry| {
            let is_message = matches!(
                entry.body,
                Body::Text(_) | Body::App { .. } | Body::Offer(_)
            );
            is_message && entry.about().is_none()
        });
        let (first, last) = (batch.entries.first()?, batch.entries.last()?);
        is_plain.then(|| Self {
            batch: batch.batch.clone(),
            last: batch.last(),
            head: batch.head(),
            lamports: (first.entry.lamport, last.entry.lamport),
        })
    }
}
