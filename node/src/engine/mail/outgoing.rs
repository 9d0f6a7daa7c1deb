//! The frames of one session by mail that wait for an envelope.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hobnob_protocol::mailbox::{
    CONTENT_BYTES_MAX, CONTENT_PART_BYTES, MAILED_CONTENT_MAX, ROOM_CONTENT_BYTES_MAX, content_size,
};
use hobnob_protocol::{
    Body, CheckedBatch, DeviceId, Frame, LogName, OfferId, Ranges, SecretKey, Seq,
};

use super::item::Item;

/// Bytes of a batch beside its entries, at most.
const BATCH_OVERHEAD: usize = 256;

/// Maximum receipts, and maximum requests, that wait for one peer. Further ones are dropped: the
/// next session repeats them.
const CONTROL_MAX: usize = 4_096;

/// Bytes of the frame that says which entries of a log are for its reader, at most.
const ANNOUNCED_BYTES: usize = 160;

/// Maximum older logs that an envelope announces. Those before them count as delivered by then.
const OLDER_LOGS_MAX: usize = 32;

/// The content of one envelope.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed {
    pub(super) frames: Vec<Bytes>,
    pub(super) items: Vec<Item>,
    /// Whether receipts are among the frames.
    pub(super) has_receipts: bool,
    /// Whether the request to seal again is among them.
    pub(super) has_request: bool,
    /// The offer whose content the frames are parts of. Then there are no others.
    pub(super) content_of: Option<OfferId>,
    /// Whether the last part is among them.
    pub(super) ends_content: bool,
}

/// The frames that wait for envelopes.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Maximum bytes of frames, with their lengths, in one envelope.
    bytes_max: usize,
    is_room: bool,
    /// This node's logs that the peer has not confirmed as a whole, the oldest first, with the
    /// first and the last entry that are for it. A log that is not among them begins with 1. Each
    /// envelope names them, so the peer recognizes what a holder has lost or delayed.
    announced: Vec<(LogName, Seq, Seq)>,
    batches: VecDeque<Item>,
    /// The request to seal again.
    request: Option<Bytes>,
    /// The newest receipt of each log, which covers the earlier ones.
    receipts: BTreeMap<LogName, Bytes>,
    wants: BTreeMap<LogName, Bytes>,
    /// The parts of one content, which is that of an offer. Messages come first.
    content: Option<(OfferId, VecDeque<Bytes>)>,
}

impl Outgoing {
    /// For the direct conversation.
    pub(super) fn direct() -> Self {
        Self::new(CONTENT_BYTES_MAX, false)
    }

    /// For a room with a key, whose frames are sealed once more.
    pub(super) fn in_room() -> Self {
        Self::new(ROOM_CONTENT_BYTES_MAX, true)
    }

    fn new(bytes_max: usize, is_room: bool) -> Self {
        Self {
            bytes_max,
            is_room,
            announced: Vec::new(),
            batches: VecDeque::new(),
            request: None,
            receipts: BTreeMap::new(),
            wants: BTreeMap::new(),
            content: None,
        }
    }

    /// Maximum bytes of a batch with its length.
    fn batch_max(&self) -> usize {
        // This run's log may be new.
        let announced = self.announced.len().min(OLDER_LOGS_MAX) + 1;
        self.bytes_max - announced * ANNOUNCED_BYTES
    }

    /// The replica hands out a batch. One that does not fit an envelope is split, because its
    /// author is this node. Returns the bytes that count as written at once, because they are
    /// dropped, and this node's offers in it whose contents are small.
    pub(super) fn batch(&mut self, frame: Bytes, key: &SecretKey) -> (usize, Vec<OfferId>) {
        let credit = frame.len();
        let Ok(Frame::Batch(batch)) = Frame::decode(&frame) else {
            return (credit, Vec::new());
        };
        let own = batch.name.author == key.id().person();
        let Ok(checked) = batch.read() else {
            return (credit, Vec::new());
        };
        // In a room many would get the content, and most members find a source.
        let offers = if own && !self.is_room {
            small_offers(&checked)
        } else {
            Vec::new()
        };
        (self.checked(frame, &checked, own, key), offers)
    }

    fn checked(
        &mut self,
        frame: Bytes,
        checked: &CheckedBatch,
        own: bool,
        key: &SecretKey,
    ) -> usize {
        let (credit, name) = (frame.len(), checked.batch.name);
        if content_size(frame.len()) <= self.batch_max() {
            self.batches.push_back(match own {
                true => Item::own(frame, checked, credit),
                false => Item::new(frame, None, credit),
            });
            return 0;
        }
        if !own {
            // A peer that lost its own entries gets these when both are connected.
            return credit;
        }
        let pieces = checked.split(key, self.batch_max() - BATCH_OVERHEAD);
        let count = pieces.len();
        for (at, piece) in pieces.into_iter().enumerate() {
            let piece = piece.read().expect("a part of a batch that was read");
            let span = Some((name, piece.first(), piece.last()));
            let frame = Frame::Batch(piece.batch).encode();
            let credit = if at + 1 == count { credit } else { 0 };
            self.batches.push_back(Item::new(frame, span, credit));
        }
        0
    }

    /// The replica sends a frame. Returns whether it is a receipt that waits now.
    pub(super) fn frame(&mut self, frame: Bytes, me: DeviceId) -> bool {
        let decoded = Frame::decode(&frame);
        if let Ok(Frame::Have(name, held)) = &decoded
            && name.device == me
        {
            let span = held.settled.first().zip(held.settled.last());
            let span = span.map(|(first, last)| (*name, first, last));
            self.announced.extend(span);
            return false;
        }
        if let Ok(Frame::Have(name, _)) = decoded {
            if self.receipts.len() < CONTROL_MAX || self.receipts.contains_key(&name) {
                self.receipts.insert(name, frame);
            }
            return true;
        }
        if let Ok(Frame::Want { name, .. }) = decoded
            && self.wants.len() < CONTROL_MAX
        {
            self.wants.insert(name, frame);
        }
        // Nothing else makes sense without an answer.
        false
    }

    /// The peer must seal its messages again. The frame names the newest key.
    pub(super) fn request(&mut self, frame: Bytes) {
        self.request = Some(frame);
    }

    /// The content of an offer of this node.
    pub(super) fn content(&mut self, id: OfferId, content: &Bytes) {
        let count = content.len().div_ceil(CONTENT_PART_BYTES);
        let part = |part: usize| {
            let start = part * CONTENT_PART_BYTES;
            let end = content.len().min(start + CONTENT_PART_BYTES);
            let frame = Frame::Content {
                id,
                part: u8::try_from(part).expect("at most CONTENT_PARTS_MAX"),
                bytes: content.slice(start..end),
            };
            frame.encode()
        };
        self.content = Some((id, (0..count).map(part).collect()));
    }

    /// A holder has refused a part of this content.
    pub(super) fn drop_content(&mut self, id: OfferId) {
        self.content.take_if(|(of, _)| *of == id);
    }

    /// Whether parts of a content wait.
    pub(super) const fn has_content(&self) -> bool {
        self.content.is_some()
    }

    fn has_messages(&self) -> bool {
        let is_quiet = self.request.is_none() && self.batches.is_empty();
        !is_quiet || !self.receipts.is_empty() || !self.wants.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.has_messages() && !self.has_content()
    }

    /// Whether what waits fills an envelope. Parts of a content always do.
    pub(super) fn is_full(&self) -> bool {
        if !self.has_messages() {
            return self.has_content();
        }
        let (mut bytes, mut before) = (0, None::<&Item>);
        for item in &self.batches {
            let grows = before.and_then(|before| before.grows_by(item));
            bytes += grows.unwrap_or_else(|| content_size(item.frame.len()));
            before = Some(item);
        }
        bytes >= self.batch_max()
    }

    /// Takes what fits an envelope. Receipts come first: they are short, and let others rest. Contents
    /// have envelopes of their own, which a holder may refuse while it takes messages. Own batches that
    /// follow each other become one, signed with this node's `key`.
    pub(super) fn pack(&mut self, key: &SecretKey) -> Packed {
        if !self.has_messages() {
            return self.pack_content();
        }
        let (mut packed, mut room) = (Packed::default(), self.bytes_max);
        if let Some(request) = self.request.take() {
            room -= content_size(request.len());
            packed.frames.push(request);
            packed.has_request = true;
        }
        for list in [&mut self.receipts, &mut self.wants] {
            while let Some(first) = list.first_entry() {
                let size = content_size(first.get().len());
                if size > room {
                    break;
                }
                room -= size;
                packed.frames.push(first.remove());
                packed.has_receipts = true;
            }
        }
        // A batch may leave no place for what says where its log begins.
        room = room.saturating_sub(self.bytes_max - self.batch_max());
        let mut following: Vec<Item> = Vec::new();
        while let Some(next) = self.batches.front() {
            let grows = following.last().and_then(|last| last.grows_by(next));
            let size = grows.unwrap_or_else(|| content_size(next.frame.len()));
            if size > room {
                break;
            }
            room -= size;
            if grows.is_none() && !following.is_empty() {
                let together = std::mem::take(&mut following);
                packed.items.push(Item::joined(together, key));
            }
            following.extend(self.batches.pop_front());
        }
        if !following.is_empty() {
            packed.items.push(Item::joined(following, key));
        }
        packed.frames.extend(self.announcements(&packed.items));
        let batches = packed.items.iter().map(|item| item.frame.clone());
        packed.frames.extend(batches);
        packed
    }

    fn pack_content(&mut self) -> Packed {
        let (mut packed, mut room) = (Packed::default(), self.bytes_max);
        let Some((id, parts)) = &mut self.content else {
            return packed;
        };
        packed.content_of = Some(*id);
        while let Some(next) = parts.front() {
            let size = content_size(next.len());
            if size > room {
                break;
            }
            room -= size;
            packed.frames.extend(parts.pop_front());
        }
        packed.ends_content = parts.is_empty();
        if packed.ends_content {
            self.content = None;
        }
        packed
    }

    /// Says which entries of the logs in an envelope are for the peer, and which of older logs it
    /// must have before.
    fn announcements(&self, items: &[Item]) -> Vec<Bytes> {
        let spans = items.iter().filter_map(|item| item.span);
        let mut lasts: BTreeMap<_, _> = spans.map(|(name, _, last)| (name, last)).collect();
        if lasts.is_empty() {
            return Vec::new();
        }
        let is_known = |name: &LogName| self.announced.iter().any(|(of, ..)| of == name);
        // What is not announced yet is newer than all that is.
        let end = if lasts.keys().all(is_known) {
            let packed = |(name, ..): &(LogName, Seq, Seq)| lasts.contains_key(name);
            self.announced
                .iter()
                .rposition(packed)
                .map_or(0, |at| at + 1)
        } else {
            self.announced.len()
        };
        let listed = &self.announced[end.saturating_sub(OLDER_LOGS_MAX)..end];
        let mut all = Vec::new();
        for (name, first, last) in listed {
            // Of a log in this envelope, later entries may follow in others.
            all.push((*name, *first, lasts.remove(name).unwrap_or(*last)));
        }
        all.extend(lasts.into_iter().map(|(name, last)| (name, 1, last)));
        let frame = |(name, first, last): (LogName, Seq, Seq)| {
            Frame::Have(name, Ranges::span(first.min(last), last).into()).encode()
        };
        all.into_iter().map(frame).collect()
    }

    pub(super) fn owes_receipts(&self) -> bool {
        !self.receipts.is_empty()
    }
}

/// The offers in a batch whose contents travel by mail.
fn small_offers(batch: &CheckedBatch) -> Vec<OfferId> {
    let name = batch.batch.name;
    let is_small = |seq: &Seq| match batch.at(*seq).map(|entry| &entry.entry.body) {
        Some(Body::Offer(offer)) => (1..=MAILED_CONTENT_MAX).contains(&offer.size),
        Some(_) | None => false,
    };
    let small = (batch.first()..=batch.last()).filter(is_small);
    small.map(|seq| OfferId { name, seq }).collect()
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{
        CheckedBatch, ConversationId, DeviceId, Entry, EntryRef, Holding, LogId, Ranges, Salts,
    };

    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed([1; 32])
    }

    fn bob() -> DeviceId {
        DeviceId::from_bytes([2; 32])
    }

    fn log() -> LogName {
        LogName {
            conversation: ConversationId::direct(
                key().id().person(),
                DeviceId::from_bytes([2; 32]).person(),
            ),
            author: key().id().person(),
            device: key().id(),
            log: LogId(3),
        }
    }

    fn batch(texts: &[&str]) -> Bytes {
        let entry = |text: &&str| Entry::new(1, 0, (*text).into());
        let entries = texts.iter().map(entry).collect();
        let mut salts = Salts::new([5; 32]);
        let prev = log().genesis();
        let batch = CheckedBatch::author(&key(), log(), 1, prev, entries, &mut salts);
        Frame::Batch(batch.batch).encode()
    }

    fn have(last: Seq) -> Bytes {
        Frame::Have(log(), Holding::from(Ranges::span(1, last))).encode()
    }

    #[test]
    fn the_newest_receipt_of_a_log_covers_the_others() {
        let mut outgoing = Outgoing::direct();
        assert!(outgoing.frame(have(1), bob()) && outgoing.frame(have(2), bob()));
        assert!(!outgoing.frame(Frame::Ping(1).encode(), bob()));
        let packed = outgoing.pack(&key());
        assert!(packed.has_receipts && outgoing.is_empty());
        assert_eq!(packed.frames, [have(2)]);
    }

    #[test]
    fn each_envelope_says_which_entries_are_for_the_peer() {
        let mut outgoing = Outgoing::in_room();
        let named = |log| LogName {
            log: LogId(log),
            ..self::log()
        };
        let announced = |name, first, last| Frame::Have(name, Ranges::span(first, last).into());
        for (log, first, last) in [(1, 5, 6), (3, 2, 9), (4, 1, 1)] {
            let frame = announced(named(log), first, last).encode();
            assert!(!outgoing.frame(frame, key().id()), "it is no receipt");
        }
        assert!(outgoing.is_empty());
        let text = "x".repeat(15_000);
        let long = batch(&[&text, &text, &text, &text]);
        assert_eq!(outgoing.batch(long, &key()).1, []);
        let mut lasts = Vec::new();
        while !outgoing.is_empty() {
            let packed = outgoing.pack(&key());
            let size: usize = packed.frames.iter().map(|it| content_size(it.len())).sum();
            assert!(size <= ROOM_CONTENT_BYTES_MAX);
            let (_, _, last) = packed.items.last().expect("a batch").span.expect("own");
            let expected = [announced(named(1), 5, 6), announced(named(3), 2, last)];
            assert_eq!(packed.frames[..2], expected.map(|frame| frame.encode()));
            assert_eq!(packed.frames.len(), packed.items.len() + 2);
            lasts.push(last);
        }
        assert_eq!(lasts, [3, 4]);
    }

    #[test]
    fn a_log_that_is_new_in_a_session_follows_all_older_ones() {
        let mut outgoing = Outgoing::direct();
        for log in 100..100 + OLDER_LOGS_MAX as u64 + 1 {
            let name = LogName {
                log: LogId(log),
                ..self::log()
            };
            let frame = Frame::Have(name, Ranges::span(1, 1).into()).encode();
            outgoing.frame(frame, key().id());
        }
        outgoing.batch(batch(&["a"]), &key());
        let packed = outgoing.pack(&key());
        assert_eq!(packed.frames.len(), OLDER_LOGS_MAX + 2);
        let Ok(Frame::Have(oldest, _)) = Frame::decode(&packed.frames[0]) else {
            panic!("it is announced")
        };
        assert_eq!(oldest.log, LogId(101));
        let newest = Frame::Have(log(), Ranges::span(1, 1).into()).encode();
        assert_eq!(packed.frames[OLDER_LOGS_MAX], newest);
    }

    #[test]
    fn a_small_file_follows_the_messages_in_envelopes_of_its_own() {
        let mut outgoing = Outgoing::direct();
        let id = OfferId {
            name: log(),
            seq: 4,
        };
        let content = Bytes::from(vec![7; 2 * CONTENT_PART_BYTES + 1]);
        outgoing.content(id, &content);
        outgoing.batch(batch(&["a"]), &key());
        assert!(!outgoing.is_full(), "a message may wait for others");
        let packed = outgoing.pack(&key());
        assert_eq!((packed.items.len(), packed.content_of), (1, None));
        let (mut bytes, mut ended) = (Vec::new(), Vec::new());
        while !outgoing.is_empty() {
            assert!(outgoing.is_full() && outgoing.has_content());
            let packed = outgoing.pack(&key());
            assert_eq!((packed.items.len(), packed.content_of), (0, Some(id)));
            for frame in &packed.frames {
                if let Ok(Frame::Content {
                    part,
                    bytes: of_part,
                    ..
                }) = Frame::decode(frame)
                {
                    assert_eq!(usize::from(part), bytes.len() / CONTENT_PART_BYTES);
                    bytes.extend(of_part);
                }
            }
            ended.push(packed.ends_content);
        }
        assert_eq!(bytes, content.to_vec());
        assert_eq!(ended, [false, true], "the last byte shares an envelope");
        outgoing.content(id, &content);
        outgoing.drop_content(OfferId { seq: 5, ..id });
        assert!(outgoing.has_content());
        outgoing.drop_content(id);
        assert!(outgoing.is_empty());
    }

    /// Batches that follow each other, each with one of these entries. Their Lamport numbers are 1, 2, …
    fn following(bodies: Vec<Body>) -> Vec<Bytes> {
        let (mut prev, mut salts) = (log().genesis(), Salts::new([5; 32]));
        let mut written = |(seq, body): (Seq, Body)| {
            let entries = vec![Entry::new(seq, 0, body)];
            let batch = CheckedBatch::author(&key(), log(), seq, prev, entries, &mut salts);
            prev = batch.head();
            Frame::Batch(batch.batch).encode()
        };
        (1..).zip(bodies).map(&mut written).collect()
    }

    #[test]
    fn own_batches_in_an_envelope_become_one_with_one_signature() {
        let mut outgoing = Outgoing::direct();
        let text = |n: usize| Body::from(format!("{n} {}", "x".repeat(n % 700)).as_str());
        let written = following((0..500).map(text).collect());
        let all: usize = written.iter().map(Bytes::len).sum();
        for frame in &written {
            assert_eq!(outgoing.batch(frame.clone(), &key()), (0, Vec::new()));
        }
        let (mut next, mut credit) = (1, 0);
        while !outgoing.is_empty() {
            let is_full = outgoing.is_full();
            let packed = outgoing.pack(&key());
            assert!(is_full || outgoing.is_empty());
            let size: usize = packed.frames.iter().map(|it| content_size(it.len())).sum();
            assert!(size <= CONTENT_BYTES_MAX, "{size}");
            assert!(
                outgoing.is_empty() || size > CONTENT_BYTES_MAX - 2_000,
                "{size}"
            );
            let [item] = &packed.items[..] else {
                panic!("{} batches", packed.items.len())
            };
            credit += item.credit;
            let Some(Ok(Frame::Batch(batch))) = packed.frames.last().map(Frame::decode) else {
                panic!("a batch")
            };
            let checked = batch.check().expect("signed");
            assert_eq!(item.span, Some((log(), checked.first(), checked.last())));
            assert_eq!(checked.first(), next);
            next = checked.last() + 1;
        }
        assert_eq!((next, credit), (501, all));
    }

    #[test]
    fn an_entry_about_another_one_stays_alone_in_its_batch() {
        let mut outgoing = Outgoing::direct();
        let reply = Body::Reply {
            to: EntryRef {
                author: None,
                log: LogId(3),
                seq: 1,
            },
            text: "b".to_owned(),
        };
        let written = following(vec!["a".into(), "a".into(), reply, "c".into(), "d".into()]);
        for frame in &written {
            outgoing.batch(frame.clone(), &key());
        }
        // What another member wrote does not follow.
        outgoing.batch(batch(&["again"]), &key());
        let spans = outgoing.pack(&key()).items.into_iter().map(|item| {
            let (_, first, last) = item.span.expect("own");
            (first, last)
        });
        assert_eq!(spans.collect::<Vec<_>>(), [(1, 2), (3, 3), (4, 5), (1, 1)]);
    }

    #[test]
    fn the_request_to_seal_again_comes_first() {
        let mut outgoing = Outgoing::direct();
        outgoing.batch(batch(&["a"]), &key());
        outgoing.request(Frame::Ping(7).encode());
        let packed = outgoing.pack(&key());
        assert_eq!(
            packed.frames,
            [Frame::Ping(7).encode(), have(1), batch(&["a"])]
        );
        assert!(packed.has_request && !packed.has_receipts && outgoing.is_empty());
    }

    #[test]
    fn a_batch_that_is_too_long_is_split_and_stays_signed() {
        let text = "x".repeat(15_000);
        let texts = [text.as_str(); 4];
        let (mut outgoing, frame) = (Outgoing::direct(), batch(&texts));
        assert!(content_size(frame.len()) > CONTENT_BYTES_MAX);
        let bytes = frame.len();
        assert_eq!(outgoing.batch(frame, &key()), (0, Vec::new()));
        assert!(outgoing.is_full());
        let (mut seqs, mut credit) = (Vec::new(), 0);
        while !outgoing.is_empty() {
            let packed = outgoing.pack(&key());
            let size: usize = packed.frames.iter().map(|it| content_size(it.len())).sum();
            assert!(size <= CONTENT_BYTES_MAX);
            for item in packed.items {
                let Ok(Frame::Batch(batch)) = Frame::decode(&item.frame) else {
                    panic!("a batch")
                };
                let checked = batch.check().expect("signed");
                assert_eq!(item.span, Some((log(), checked.first(), checked.last())));
                seqs.extend(checked.first()..=checked.last());
                credit += item.credit;
            }
        }
        assert_eq!((seqs, credit), (vec![1, 2, 3, 4], bytes));
    }
}
