//! One log: which entries are accepted, which are durable, and the chain's hashes at the edges.

use std::collections::BTreeMap;

use hobnob_protocol::{CheckedBatch, DeviceId, EntryHash, LogName, Ranges, Seq};

use super::disk_cost::bytes_on_disk;
use super::marks::Marks;
use super::room_budget::ENTRY_COST;
use crate::commit::{AudienceId, LogRecord, Run};

/// A log that this replica holds entries of.
#[derive(Debug)]
pub(super) struct Log {
    /// The order in which the logs of one author are sent.
    pub(super) ordinal: u64,
    /// The peer to which the log is charged: the one that brought it.
    pub(super) brought_by: DeviceId,
    /// The cost of the entries.
    pub(super) bytes: u64,
    /// The bytes on disk that count as those of a stranger. 0 if the author is none.
    pub(super) of_stranger: u64,
    /// The cost that the store knows, rounded up.
    stored_bytes: u64,
    /// The runs on disk, sorted. Adjacent runs differ in their audience.
    runs: Vec<Run>,
    /// The entries on disk.
    durable: Ranges,
    /// The entries on disk, and those in commits that are not done yet.
    accepted: Ranges,
    /// What is on disk without a body. Most logs have a body for each entry.
    bodiless: Option<Box<Bodiless>>,
    /// The chain's hash at the edges of what is durable or accepted, where it is known.
    marks: Marks,
}

/// Entries on disk without their bodies.
#[derive(Debug, Default)]
struct Bodiless {
    /// Entries whose body is erased, and was here or was deleted by its author.
    erased: Ranges,
    /// Entries that arrived without a body and that their author has not deleted. They count as
    /// missing.
    unsettled: Ranges,
    /// Of the unsettled entries: those whose body is on its way to the disk.
    filling: Ranges,
    /// The hashes of the unsettled entries. A body is accepted only for the entry with this hash: its
    /// author may have signed another entry with the same number.
    hashes: BTreeMap<Seq, EntryHash>,
}

/// A log with a body for each entry.
static COMPLETE: Bodiless = Bodiless {
    erased: Ranges::new(),
    unsettled: Ranges::new(),
    filling: Ranges::new(),
    hashes: BTreeMap::new(),
};

impl Bodiless {
    fn is_empty(&self) -> bool {
        self.erased.is_empty() && self.unsettled.is_empty() && self.filling.is_empty()
    }

    /// These entries have a body, or their author has deleted it.
    fn settle(&mut self, seqs: &Ranges) {
        self.unsettled = self.unsettled.minus(seqs);
        for seq in seqs.iter().flat_map(|(first, last)| first..=last) {
            self.hashes.remove(&seq);
        }
    }

    /// Forgets all entries below `seq`.
    fn trim(&mut self, seq: Seq) {
        self.erased.remove(1, seq - 1);
        self.unsettled.remove(1, seq - 1);
        self.filling.remove(1, seq - 1);
        self.hashes = self.hashes.split_off(&seq);
    }
}

impl Log {
    pub(super) fn new(name: &LogName, ordinal: u64, brought_by: DeviceId) -> Self {
        let mut marks = Marks::default();
        marks.insert(0, name.genesis());
        Self {
            ordinal,
            brought_by,
            bytes: 0,
            of_stranger: 0,
            stored_bytes: 0,
            runs: Vec::new(),
            durable: Ranges::new(),
            accepted: Ranges::new(),
            bodiless: None,
            marks,
        }
    }

    /// A log that the store has, and the peer to which it is charged.
    pub(super) fn load(record: LogRecord, brought_by: DeviceId) -> Self {
        let mut log = Self::new(&record.name, record.ordinal, brought_by);
        (log.bytes, log.stored_bytes) = (record.bytes, record.bytes);
        for run in &record.runs {
            log.durable.insert(run.first, run.last);
        }
        log.accepted = log.durable.clone();
        log.runs = record.runs;
        let (erased, unsettled) = (record.erased, record.unsettled);
        let of_unsettled = record.edges.iter().copied();
        let hashes = of_unsettled.filter(|(seq, _)| unsettled.contains(*seq));
        let hashes = hashes.collect();
        log.change_bodiless(|bodiless| {
            *bodiless = Bodiless {
                erased,
                unsettled,
                filling: Ranges::new(),
                hashes,
            }
        });
        let head = [record.head];
        for (seq, hash) in record.edges.into_iter().chain(head) {
            log.marks.insert(seq, hash);
        }
        log.keep_edge_marks();
        log
    }

    /// Adds to the cost of the entries. Returns the cost that the store must know, if it has to learn
    /// it: a power of two, so that this is seldom.
    pub(super) fn charge(&mut self, cost: u64) -> Option<u64> {
        self.bytes += cost;
        if self.bytes <= self.stored_bytes {
            return None;
        }
        self.stored_bytes = self.bytes.next_power_of_two();
        Some(self.stored_bytes)
    }

    /// The bytes of this log on disk, rounded up.
    pub(super) fn on_disk(&self) -> u64 {
        let entries = self.accepted.len();
        // A log that was trimmed has an average cost.
        let bytes = self.bytes.saturating_sub(ENTRY_COST * entries);
        bytes_on_disk(1, entries, bytes)
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(super) fn durable(&self) -> &Ranges {
        &self.durable
    }

    pub(super) fn accepted(&self) -> &Ranges {
        &self.accepted
    }

    // Bodies.

    fn bodiless(&self) -> &Bodiless {
        self.bodiless.as_deref().unwrap_or(&COMPLETE)
    }

    fn change_bodiless(&mut self, change: impl FnOnce(&mut Bodiless)) {
        let bodiless = self.bodiless.get_or_insert_default();
        change(bodiless);
        if bodiless.is_empty() {
            self.bodiless = None;
        }
    }

    /// The entries on disk, apart from those whose body is missing.
    pub(super) fn settled(&self) -> Ranges {
        let unsettled = &self.bodiless().unsettled;
        if unsettled.is_empty() {
            return self.durable.clone();
        }
        self.durable.minus(unsettled)
    }

    /// Settled entries whose body is erased.
    pub(super) fn erased(&self) -> &Ranges {
        &self.bodiless().erased
    }

    /// The entries on disk with their bodies.
    pub(super) fn servable(&self) -> Ranges {
        self.settled().minus(self.erased())
    }

    /// The entries whose body is missing and is not on its way to the disk.
    pub(super) fn lacks_body(&self) -> Ranges {
        let bodiless = self.bodiless();
        bodiless.unsettled.minus(&bodiless.filling)
    }

    /// The first of the entries right before `seq` whose body is missing; `seq` if there are none.
    pub(super) fn first_unsettled_before(&self, seq: Seq) -> Seq {
        let before = seq.saturating_sub(1);
        let mut runs = self.bodiless().unsettled.iter();
        let run = runs.find(|(first, last)| (*first..=*last).contains(&before));
        run.map_or(seq, |(first, _)| first)
    }

    /// The audience of an entry on disk.
    pub(super) fn audience_of(&self, seq: Seq) -> Option<AudienceId> {
        let at = self.runs.partition_point(|run| run.last < seq);
        let run = self.runs.get(at).filter(|run| run.first <= seq);
        run.map(|run| run.audience)
    }

    /// Bodies that were missing are on their way to the disk.
    pub(super) fn accept_bodies(&mut self, seqs: &Ranges) {
        self.change_bodiless(|bodiless| bodiless.filling.insert_all(seqs));
    }

    /// Bodies that were missing are on disk. Returns those that were still missing.
    pub(super) fn bodies_are_durable(&mut self, seqs: &Ranges) -> Ranges {
        let filled = seqs.intersect(&self.bodiless().unsettled);
        if !seqs.is_empty() {
            self.change_bodiless(|bodiless| {
                bodiless.filling = bodiless.filling.minus(seqs);
                bodiless.settle(&filled);
            });
        }
        filled
    }

    /// Entries of this batch are on disk without a body: `deleted` by their author, or `unsettled`.
    pub(super) fn arrived_without_body(
        &mut self,
        batch: &CheckedBatch,
        deleted: &Ranges,
        unsettled: &Ranges,
    ) {
        if deleted.is_empty() && unsettled.is_empty() {
            return;
        }
        self.change_bodiless(|bodiless| {
            bodiless.erased.insert_all(deleted);
            bodiless.unsettled.insert_all(unsettled);
            for seq in unsettled.iter().flat_map(|(first, last)| first..=last) {
                let hash = batch.hash_at(seq).expect("the entry is in the batch");
                bodiless.hashes.insert(seq, hash);
            }
        });
    }

    /// Bodies are erased on disk. If the author has deleted them, that settles those that were
    /// missing. Returns the entries that had a body.
    pub(super) fn erase(&mut self, seqs: &Ranges, by_author: bool) -> Ranges {
        let had_body = seqs.intersect(&self.servable());
        self.change_bodiless(|bodiless| {
            bodiless.erased.insert_all(&had_body);
            if by_author {
                let settled = seqs.intersect(&bodiless.unsettled);
                bodiless.erased.insert_all(&settled);
                bodiless.settle(&settled);
            }
        });
        had_body
    }

    /// The last accepted entry and its hash; number 0 and the first hash where there is none.
    pub(super) fn head(&self) -> (Seq, EntryHash) {
        let last = self.accepted.last().unwrap_or(0);
        (
            last,
            *self
                .marks
                .get(last)
                .expect("the mark of the last accepted entry is kept"),
        )
    }

    /// Whether the entry before `first` is held, or there is none.
    pub(super) fn continues_at(&self, first: Seq) -> bool {
        first == 1 || self.accepted.contains(first - 1)
    }

    /// Whether the batch belongs to another chain than the one held.
    pub(super) fn conflicts(&self, batch: &CheckedBatch) -> bool {
        let span = batch.first() - 1..=batch.last();
        let edges = self.marks.range(span.clone());
        let unsettled = self.bodiless().hashes.range(span);
        edges
            .chain(unsettled.map(|(&seq, hash)| (seq, *hash)))
            .any(|(seq, hash)| batch.hash_at(seq) != Some(hash))
    }

    /// Adds a batch that is not durable yet.
    pub(super) fn accept(&mut self, batch: &CheckedBatch) {
        self.accepted.insert(batch.first(), batch.last());
        self.marks.insert(batch.first() - 1, batch.batch.prev);
        self.marks.insert(batch.last(), batch.head());
        self.keep_edge_marks();
    }

    /// These entries, accepted before, are on disk now.
    pub(super) fn made_durable(&mut self, first: Seq, last: Seq, audience: AudienceId) {
        self.durable.insert(first, last);
        self.accepted.insert(first, last);
        let at = self.runs.partition_point(|run| run.first < first);
        let extends =
            at > 0 && self.runs[at - 1].last + 1 == first && self.runs[at - 1].audience == audience;
        if extends {
            self.runs[at - 1].last = last;
        } else {
            // Most logs have one run. A list that grows by itself takes room for four.
            if self.runs.is_empty() {
                self.runs.reserve_exact(1);
            }
            self.runs.insert(
                at,
                Run {
                    first,
                    last,
                    audience,
                },
            );
        }
        self.keep_edge_marks();
    }

    /// Forgets what was accepted and never reached the disk.
    pub(super) fn roll_back(&mut self) {
        self.accepted = self.durable.clone();
        self.change_bodiless(|bodiless| bodiless.filling = Ranges::new());
        self.stored_bytes = 0;
        self.keep_edge_marks();
    }

    /// Drops all entries below `seq`.
    pub(super) fn trim(&mut self, seq: Seq) {
        if seq <= 1 {
            return;
        }
        self.durable.remove(1, seq - 1);
        self.accepted.remove(1, seq - 1);
        self.change_bodiless(|bodiless| bodiless.trim(seq));
        self.runs.retain(|run| run.last >= seq);
        if let Some(run) = self.runs.first_mut() {
            run.first = run.first.max(seq);
        }
        self.keep_edge_marks();
    }

    /// A later batch can only continue at entry 0 or at the edge of a range. Commits may succeed in
    /// part, so the end of each batch that is not durable yet can also become an edge.
    fn keep_edge_marks(&mut self) {
        let (accepted, durable) = (&self.accepted, &self.durable);
        let is_edge = |set: &Ranges, seq: Seq| set.contains(seq) != set.contains(seq + 1);
        let under_way = |seq: Seq| accepted.contains(seq) && !durable.contains(seq);
        self.marks.retain(|seq| {
            seq == 0 || is_edge(accepted, seq) || is_edge(durable, seq) || under_way(seq)
        });
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{Body, ConversationId, Entry, LogId, Salts, SecretKey};

    use super::*;

    fn name() -> LogName {
        let [ann, bob] = [1, 2].map(|n| SecretKey::from_seed([n; 32]).id());
        LogName {
            conversation: ConversationId::direct(ann.person(), bob.person()),
            author: ann.person(),
            device: ann,
            log: LogId(1),
        }
    }

    /// Ann's entries from `first` on, one for each text.
    fn batch(first: Seq, prev: EntryHash, texts: &[&str]) -> CheckedBatch {
        let entries = texts
            .iter()
            .map(|text| Entry::new(1, 1, Body::Text((*text).to_owned())));
        let key = SecretKey::from_seed([1; 32]);
        let mut salts = Salts::new([1; 32]);
        CheckedBatch::author(&key, name(), first, prev, entries.collect(), &mut salts)
    }

    /// A log of which five entries are on disk, in two batches.
    fn five() -> (Log, CheckedBatch, CheckedBatch) {
        let mut log = Log::new(&name(), 1, name().author.only_device());
        let one = batch(1, name().genesis(), &["a", "b", "c"]);
        let two = batch(4, one.head(), &["d", "e"]);
        for batch in [&one, &two] {
            log.accept(batch);
            log.made_durable(batch.first(), batch.last(), AudienceId::MEMBERS);
        }
        (log, one, two)
    }

    #[test]
    fn a_new_log_begins_with_entry_1() {
        let log = Log::new(&name(), 1, name().author.only_device());
        assert_eq!(log.head(), (0, name().genesis()));
        assert!(log.continues_at(1) && !log.continues_at(2));
    }

    #[test]
    fn an_accepted_batch_is_not_durable_yet() {
        let mut log = Log::new(&name(), 1, name().author.only_device());
        let one = batch(1, name().genesis(), &["a", "b"]);
        log.accept(&one);
        assert_eq!(log.head(), (2, one.head()));
        assert!(log.durable().is_empty());
        log.made_durable(1, 2, AudienceId::MEMBERS);
        assert_eq!(log.durable(), &Ranges::span(1, 2));
    }

    #[test]
    fn a_batch_with_known_entries_adds_the_others() {
        let (mut log, one, _) = five();
        let longer = batch(4, one.head(), &["d", "e", "f"]);
        assert!(log.continues_at(6) && !log.continues_at(7));
        assert!(!log.conflicts(&longer));
        log.accept(&longer);
        assert_eq!(log.head(), (6, longer.head()));
        assert_eq!(log.durable(), &Ranges::span(1, 5));
    }

    #[test]
    fn a_different_continuation_conflicts() {
        let (log, one, two) = five();
        assert!(!log.conflicts(&two));
        assert!(log.conflicts(&batch(4, one.head(), &["d", "other"])));
        assert!(log.conflicts(&batch(6, one.head(), &["f"])));
    }

    #[test]
    fn the_store_learns_the_cost_of_a_log_seldom() {
        let (mut log, _, _) = five();
        let learned: Vec<_> = (0..1_000).filter_map(|_| log.charge(10)).collect();
        assert_eq!(
            learned,
            [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]
        );
        assert_eq!(log.bytes, 10_000);
        log.roll_back();
        assert_eq!(log.charge(10), Some(16384));
    }

    #[test]
    fn a_failed_commit_leaves_what_is_on_disk() {
        let (mut log, _, two) = five();
        log.accept(&batch(6, two.head(), &["f", "g"]));
        log.roll_back();
        assert_eq!(log.accepted(), &Ranges::span(1, 5));
        assert_eq!(log.head(), (5, two.head()));
        // Another entry 6 is as good as the one that was lost.
        assert!(!log.conflicts(&batch(6, two.head(), &["other"])));
    }

    #[test]
    fn a_log_whose_first_commit_failed_begins_again() {
        let mut log = Log::new(&name(), 1, name().author.only_device());
        log.accept(&batch(1, name().genesis(), &["a", "b"]));
        log.roll_back();
        assert_eq!(log.head(), (0, name().genesis()));
        assert!(log.continues_at(1) && !log.continues_at(3));
        assert!(!log.conflicts(&batch(1, name().genesis(), &["other"])));
    }

    #[test]
    fn a_log_takes_memory_for_what_it_has() {
        let (mut log, one, _) = five();
        assert!(log.runs.capacity() == 1 && log.bodiless.is_none());
        log.arrived_without_body(&one, &Ranges::new(), &Ranges::span(2, 2));
        assert!(log.bodiless.is_some());
        log.accept_bodies(&Ranges::span(2, 2));
        log.bodies_are_durable(&Ranges::span(2, 2));
        assert!(log.bodiless.is_none(), "no body is missing any more");
    }

    #[test]
    fn a_log_remembers_two_hashes_however_many_batches_arrive() {
        let (mut log, _, two) = five();
        let mut last = two;
        for seq in 6..20 {
            last = batch(seq, last.head(), &["x"]);
            log.accept(&last);
            log.made_durable(seq, seq, AudienceId::MEMBERS);
        }
        let marks: Vec<_> = log.marks.range(0..=Seq::MAX).collect();
        assert_eq!(marks, [(0, name().genesis()), (19, last.head())]);
    }

    #[test]
    fn a_log_remembers_the_end_of_each_batch_that_is_under_way() {
        let (mut log, _, two) = five();
        let three = batch(6, two.head(), &["f"]);
        let four = batch(7, three.head(), &["g"]);
        log.accept(&three);
        log.accept(&four);
        // Of two commits the first one may succeed alone.
        log.made_durable(6, 6, AudienceId::MEMBERS);
        log.roll_back();
        assert_eq!(log.head(), (6, three.head()));
    }

    #[test]
    fn runs_join_where_their_audience_is_the_same() {
        let (mut log, _, two) = five();
        let run = |first, last, audience| Run {
            first,
            last,
            audience: AudienceId(audience),
        };
        assert_eq!(log.runs(), [run(1, 5, 0)]);
        log.accept(&batch(6, two.head(), &["f"]));
        log.made_durable(6, 6, AudienceId(9));
        assert_eq!(log.runs(), [run(1, 5, 0), run(6, 6, 9)]);
    }

    #[test]
    fn a_trimmed_log_still_continues_at_its_head() {
        let (mut log, _, two) = five();
        log.trim(3);
        assert_eq!(log.durable(), &Ranges::span(3, 5));
        assert_eq!(log.runs()[0].first, 3);
        assert_eq!(log.head(), (5, two.head()));
        assert!(log.continues_at(6));
        log.trim(1);
        assert_eq!(log.accepted(), &Ranges::span(3, 5));
    }

    #[test]
    fn a_loaded_log_knows_its_chain() {
        let (log, one, two) = five();
        let record = LogRecord {
            name: name(),
            ordinal: 4,
            brought_by: None,
            bytes: 0,
            runs: log.runs().to_vec(),
            head: (5, two.head()),
            edges: vec![
                (0, name().genesis()),
                (4, two.hash_at(4).unwrap()),
                (5, two.head()),
            ],
            erased: Ranges::span(1, 2),
            unsettled: Ranges::span(4, 4),
        };
        let loaded = Log::load(record, name().author.only_device());
        assert_eq!((loaded.ordinal, loaded.head()), (4, (5, two.head())));
        assert!(!loaded.conflicts(&batch(6, two.head(), &["f"])));
        assert!(loaded.conflicts(&batch(6, name().genesis(), &["f"])));
        assert!(!loaded.conflicts(&batch(4, one.head(), &["d"])));
        assert!(loaded.conflicts(&batch(4, one.head(), &["other"])));
    }

    #[test]
    fn unsettled_entries_are_found_right_before_others_only() {
        let (mut log, one, _) = five();
        log.arrived_without_body(&one, &Ranges::new(), &Ranges::span(2, 3));
        assert_eq!(log.first_unsettled_before(4), 2);
        assert_eq!(log.first_unsettled_before(3), 2);
        assert_eq!(log.first_unsettled_before(5), 5);
        assert_eq!(log.first_unsettled_before(1), 1);
    }

    #[test]
    fn a_missing_body_is_settled_when_it_arrives_or_is_deleted() {
        let (mut log, one, _) = five();
        log.arrived_without_body(&one, &Ranges::new(), &Ranges::span(2, 3));
        assert_eq!(log.settled().len(), 3);
        log.accept_bodies(&Ranges::span(2, 2));
        assert_eq!(log.lacks_body(), Ranges::span(3, 3));
        assert_eq!(
            log.bodies_are_durable(&Ranges::span(1, 2)),
            Ranges::span(2, 2)
        );
        assert!(
            log.bodies_are_durable(&Ranges::span(2, 2)).is_empty(),
            "once"
        );
        assert!(log.erase(&Ranges::span(3, 3), true).is_empty());
        assert!(log.lacks_body().is_empty());
        assert_eq!(log.erased(), &Ranges::span(3, 3));
    }

    #[test]
    fn a_missing_body_of_another_chain_conflicts() {
        let (mut log, one, _) = five();
        let other = batch(1, name().genesis(), &["a", "other"]);
        let in_the_middle = Ranges::span(2, 2);
        // Neither end of the other batch is an edge of the log.
        assert!(!log.conflicts(&other));
        log.arrived_without_body(&one, &Ranges::new(), &in_the_middle);
        assert!(log.conflicts(&other));
        assert!(!log.conflicts(&one));
        log.bodies_are_durable(&in_the_middle);
        assert!(log.bodiless.is_none());
    }

    #[test]
    fn what_the_user_erases_stays_settled() {
        let (mut log, ..) = five();
        assert_eq!(log.erase(&Ranges::span(1, 2), false), Ranges::span(1, 2));
        assert!(log.erase(&Ranges::span(1, 2), false).is_empty(), "once");
        assert_eq!(log.settled(), Ranges::span(1, 5));
        assert_eq!(log.servable(), Ranges::span(3, 5));
    }
}
