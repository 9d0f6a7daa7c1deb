//! A page of envelopes from a holder: which of them may be deleted there.
//!
//! Each envelope is judged by itself. Not here: opening envelopes, and requesting pages.

use hobnob_protocol::mailbox::PAGE_BYTES_MAX;
use hobnob_protocol::{DeviceId, LogName, Seq, Signature};

/// A batch of an envelope that the replica judges.
#[derive(Debug)]
pub(super) struct ArrivedBatch {
    pub(super) name: LogName,
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) signature: Signature,
    /// Whether all of it was on disk before it arrived.
    was_settled: bool,
    /// Whether the replica refused it for good.
    refused: bool,
}

impl ArrivedBatch {
    pub(super) fn new(
        name: LogName,
        first: Seq,
        last: Seq,
        signature: Signature,
        was_settled: bool,
    ) -> Self {
        Self {
            name,
            first,
            last,
            signature,
            was_settled,
            refused: false,
        }
    }
}

/// The content of an envelope.
#[derive(Debug)]
pub(super) enum Content {
    /// These batches, and frames that leave nothing to be done.
    Batches(Vec<ArrivedBatch>),
    /// Nothing that a later attempt could open.
    Useless,
    /// It is sealed for a key that this node does not have. It stays at the holder.
    UnknownKey,
    /// Its sender is kicked. A later attempt opens it.
    Later,
}

/// An envelope that arrived.
#[derive(Debug)]
pub(super) struct PageItem {
    pub(super) number: u64,
    pub(super) sender: DeviceId,
    pub(super) bytes: usize,
    pub(super) content: Content,
}

/// The decision about an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// All of it is on disk or refused for good: the holder may delete it.
    Done,
    /// Something in it is undecided, for example because entries before it are missing. A later
    /// attempt may succeed.
    Undecided,
    /// It stays at the holder, and no attempt helps.
    Stays,
}

impl PageItem {
    /// Whether a batch was accepted that was not on disk before. A holder can repeat old envelopes.
    fn has_news(&self) -> bool {
        let Content::Batches(batches) = &self.content else {
            return false;
        };
        batches.iter().any(|it| !it.refused && !it.was_settled)
    }

    fn fate(&self, has_settled: &impl Fn(LogName, Seq, Seq) -> bool) -> Fate {
        let is_decided = |it: &ArrivedBatch| it.refused || has_settled(it.name, it.first, it.last);
        match &self.content {
            Content::Batches(batches) if batches.iter().all(is_decided) => Fate::Done,
            Content::Batches(_) | Content::Later => Fate::Undecided,
            Content::Useless => Fate::Done,
            Content::UnknownKey => Fate::Stays,
        }
    }
}

/// The envelopes that arrived for one request.
#[derive(Debug, Default)]
pub(super) struct Page {
    items: Vec<PageItem>,
    bytes: usize,
}

/// The decisions about a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decided {
    /// The envelopes that the holder may delete.
    pub(super) done: Vec<u64>,
    /// Whether messages are on disk that were not there before, and for which undecided envelopes may
    /// have waited.
    pub(super) settled: bool,
    /// Whether an undecided envelope is left.
    pub(super) undecided: bool,
    /// The envelopes that stay at the holder, and their bytes.
    pub(super) left: (u64, u64),
}

impl Page {
    /// Whether an honest holder would still send an envelope in this page.
    pub(super) fn has_room(&self) -> bool {
        (self.bytes as u64) < PAGE_BYTES_MAX
    }

    pub(super) fn add(&mut self, item: PageItem) {
        self.bytes += item.bytes;
        self.items.push(item);
    }

    /// The number of the last envelope.
    pub(super) fn last(&self) -> Option<u64> {
        self.items.last().map(|item| item.number)
    }

    pub(super) fn is_from(&self, sender: DeviceId) -> bool {
        self.items.iter().any(|item| item.sender == sender)
    }

    /// The replica refused a batch of this sender for good.
    pub(super) fn refused(&mut self, sender: DeviceId, signature: Signature) {
        let of_sender = self.items.iter_mut().filter(|item| item.sender == sender);
        for item in of_sender {
            if let Content::Batches(batches) = &mut item.content {
                let same = batches.iter_mut().filter(|it| it.signature == signature);
                same.for_each(|batch| batch.refused = true);
            }
        }
    }

    /// Decides about each envelope. `has_settled` says whether entries of a log are on disk.
    pub(super) fn decide(&self, has_settled: impl Fn(LogName, Seq, Seq) -> bool) -> Decided {
        let mut decided = Decided::default();
        for item in &self.items {
            match item.fate(&has_settled) {
                Fate::Done => {
                    decided.done.push(item.number);
                    decided.settled |= item.has_news();
                    continue;
                }
                Fate::Undecided => decided.undecided = true,
                Fate::Stays => {}
            }
            decided.left.0 += 1;
            decided.left.1 += item.bytes as u64;
        }
        decided
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, LogId};

    use super::*;

    const ANN: DeviceId = DeviceId::from_bytes([1; 32]);
    const BOB: DeviceId = DeviceId::from_bytes([2; 32]);

    fn log(author: DeviceId) -> LogName {
        LogName {
            conversation: ConversationId::direct(ANN.person(), BOB.person()),
            author: author.person(),
            device: author,
            log: LogId(3),
        }
    }

    fn signature(n: u8) -> Signature {
        Signature::from_bytes([n; 64])
    }

    /// An envelope of Bob. Each batch has one entry: its number in the log. It is the signature, too.
    fn item(number: u64, entries: &[u8]) -> PageItem {
        let batch = |n: &u8| {
            let seq = (*n).into();
            ArrivedBatch::new(log(BOB), seq, seq, signature(*n), false)
        };
        PageItem {
            number,
            sender: BOB,
            bytes: 1_000,
            content: Content::Batches(entries.iter().map(batch).collect()),
        }
    }

    fn page(items: Vec<PageItem>) -> Page {
        let mut page = Page::default();
        items.into_iter().for_each(|item| page.add(item));
        page
    }

    /// The entries of these numbers are on disk.
    fn on_disk(seqs: &[Seq]) -> impl Fn(LogName, Seq, Seq) -> bool {
        move |_, first, _| seqs.contains(&first)
    }

    #[test]
    fn a_refused_batch_deletes_its_own_envelope_only() {
        let mut page = page(vec![item(1, &[1]), item(2, &[2]), item(3, &[3])]);
        page.refused(BOB, signature(2));
        let decided = page.decide(on_disk(&[1]));
        assert_eq!(decided.done, [1, 2]);
        assert!(decided.undecided, "the third one is not on disk");
    }

    #[test]
    fn an_envelope_waits_for_all_of_its_batches() {
        let mut page = page(vec![item(1, &[1, 2, 3])]);
        page.refused(BOB, signature(2));
        assert_eq!(page.decide(on_disk(&[1])).done, [0; 0]);
        assert_eq!(page.decide(on_disk(&[1, 3])).done, [1]);
    }

    #[test]
    fn only_messages_that_are_new_here_settle_something() {
        let mut page = page(vec![item(1, &[1])]);
        assert!(page.decide(on_disk(&[1])).settled);
        page.refused(BOB, signature(1));
        assert!(!page.decide(on_disk(&[])).settled, "it was refused");
        let repeated = ArrivedBatch::new(log(BOB), 1, 1, signature(1), true);
        let mut page = Page::default();
        page.add(PageItem {
            content: Content::Batches(vec![repeated]),
            ..item(2, &[])
        });
        let decided = page.decide(on_disk(&[1]));
        assert_eq!((decided.done, decided.settled), (vec![2], false));
    }

    #[test]
    fn a_refusal_counts_for_its_sender_only() {
        let mut page = page(vec![item(1, &[1])]);
        page.refused(ANN, signature(1));
        assert!(page.decide(on_disk(&[])).undecided);
    }

    #[test]
    fn what_cannot_be_opened_is_deleted_only_if_no_key_is_missing() {
        let content = [Content::Useless, Content::UnknownKey, Content::Later];
        let items = content
            .into_iter()
            .zip(1..)
            .map(|(content, number)| PageItem {
                content,
                ..item(number, &[])
            });
        let decided = page(items.collect()).decide(on_disk(&[]));
        let expected = Decided {
            done: vec![1],
            settled: false,
            undecided: true,
            left: (2, 2_000),
        };
        assert_eq!(decided, expected);
    }

    #[test]
    fn a_page_has_a_maximum() {
        let mut page = Page::default();
        let mut count = 0;
        while page.has_room() {
            count += 1;
            page.add(item(count, &[]));
        }
        assert_eq!((count, page.last()), (525, Some(525)));
        assert!(page.is_from(BOB) && !page.is_from(ANN));
    }
}
