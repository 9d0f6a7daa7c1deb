//! One conversation: its logs, its clock, and the one rule for who may receive an entry.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::{CheckedBatch, DeviceId, Entry, Holding, LogName, PersonId, Ranges, Seq};

use super::appends::Appends;
use super::audiences::Audiences;
use super::bodies::AwaitedDeletions;
use super::clock::Clock;
use super::commits::AfterCommit;
use super::cut::NewcomerCut;
use super::events::Token;
use super::identity::Identity;
use super::log::Log;
use super::log_key::LogKey;
use super::member_budget::MemberBudget;
use super::pulls::Pulls;
use super::room_budget::{Charged, Kept, Load, Protected, RoomBudget, cost};
use super::strangers::REQUEST_ENTRIES_MAX;
use crate::Now;
use crate::commit::{AudienceId, ConversationKind, ConversationRecord, LogRecord, Op, Run};

/// Maximum entries of one author that a room holds. The oldest ones beyond it are dropped.
pub const ROOM_ENTRIES_PER_AUTHOR_MAX: u64 = 100_000;

/// A conversation with what this replica holds of it.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) record: ConversationRecord,
    /// The log that this run writes, once it was asked for.
    own_log: Option<LogName>,
    /// The record that the store has.
    stored: Option<ConversationRecord>,
    /// Whether the store has the record, or was asked to store it.
    asked_to_store: bool,
    /// Whether the user has opened it in this run.
    is_opened: bool,
    clock: Clock,
    logs: BTreeMap<LogKey, Log>,
    /// How many entries of each author are durable, to keep a room within its limit.
    entries: BTreeMap<PersonId, u64>,
    pub(super) audiences: Audiences,
    /// How much is held. Has a limit in open rooms.
    pub(super) budget: RoomBudget,
    /// How much each member has brought. Has a limit in rooms with a secret.
    pub(super) members: MemberBudget,
    pub(super) appends: Appends,
    pub(super) pulls: Pulls,
    pub(super) awaited: AwaitedDeletions,
}

impl Conversation {
    /// A conversation that is not stored yet.
    pub(super) fn new(record: ConversationRecord) -> Self {
        Self {
            record,
            own_log: None,
            stored: None,
            asked_to_store: false,
            is_opened: false,
            clock: Clock::default(),
            logs: BTreeMap::new(),
            entries: BTreeMap::new(),
            audiences: Audiences::default(),
            budget: RoomBudget::default(),
            members: MemberBudget::default(),
            appends: Appends::default(),
            pulls: Pulls::default(),
            awaited: AwaitedDeletions::default(),
        }
    }

    /// A conversation that the store has.
    pub(super) fn load(record: ConversationRecord) -> Self {
        Self {
            stored: Some(record.clone()),
            asked_to_store: true,
            ..Self::new(record)
        }
    }

    /// A log that the store has. `me` is the owner of this node.
    pub(super) fn load_log(&mut self, me: PersonId, record: LogRecord) {
        let key = LogKey::of(&record.name);
        let bringer = record.brought_by.filter(|_| key.author != me);
        let brought_by = bringer.unwrap_or(key.device);
        self.budget.add_log();
        self.budget.add_bytes(record.bytes);
        self.members.add_log(brought_by);
        self.members.add_bytes(brought_by, record.bytes);
        let held: u64 = record.runs.iter().map(|run| run.last - run.first + 1).sum();
        *self.entries.entry(key.author).or_default() += held;
        let mut log = Log::load(record, brought_by);
        // The contacts are not known yet.
        if key.author != me && self.is_open_room() {
            log.of_stranger = log.on_disk();
            self.budget.of_stranger_changed(0, log.of_stranger);
        }
        self.logs.insert(key, log);
    }

    pub(super) fn load_lamport(&mut self, lamport: u64) {
        self.clock = Clock::load(lamport);
    }

    /// The highest Lamport number seen.
    pub(super) fn clock(&self) -> u64 {
        self.clock.now()
    }

    /// A peer has seen this Lamport number. Following it, a newcomer's first entry comes after the
    /// entries that the newcomer may not have.
    pub(super) fn follow_clock(&mut self, lamport: u64) {
        self.clock.follow(lamport);
    }

    /// The user has opened the conversation, and may write in it.
    pub(super) fn open(&mut self) {
        self.is_opened = true;
    }

    /// Whether nothing is lost if a direct conversation is forgotten: a peer has connected, and no
    /// more.
    pub(super) fn is_unused(&self) -> bool {
        let is_known = self.is_opened || self.asked_to_store;
        self.is_direct() && !is_known && self.logs.is_empty() && self.appends.are_empty()
    }

    /// This many other open rooms share the limits that hold for all of them.
    pub(super) fn share_with(&mut self, other_rooms: u64) {
        self.budget.other_rooms = other_rooms;
        self.audiences.share_with(other_rooms);
    }

    // The record.

    pub(super) fn is_direct(&self) -> bool {
        matches!(self.record.kind, ConversationKind::Direct(_))
    }

    /// Whether everybody who knows the name may enter. Only peers that are present receive a
    /// message.
    pub(super) fn is_open_room(&self) -> bool {
        matches!(&self.record.kind, ConversationKind::Room { key, .. } if key.is_open())
    }

    /// Whether only peers that know a secret may enter. They receive the history, and a newcomer
    /// receives the end of it.
    pub(super) fn is_closed_room(&self) -> bool {
        matches!(&self.record.kind, ConversationKind::Room { key, .. } if !key.is_open())
    }

    /// The user entered the room. The caller commits the record.
    pub(super) fn enter(&mut self, record: ConversationRecord) {
        self.record = record;
        self.asked_to_store = true;
    }

    /// The user left the room. The caller commits the record.
    pub(super) fn leave(&mut self) {
        if let ConversationKind::Room { joined, .. } = &mut self.record.kind {
            *joined = false;
        }
    }

    /// Adds the record to a commit, unless the store has it.
    pub(super) fn store_record(&mut self, ops: &mut Vec<Op>, steps: &mut Vec<AfterCommit>) {
        if !self.asked_to_store {
            self.asked_to_store = true;
            ops.push(Op::Conversation(self.record.clone()));
            steps.push(AfterCommit::Record(self.record.clone()));
        }
    }

    pub(super) fn is_asked_to_store(&self) -> bool {
        self.asked_to_store
    }

    pub(super) fn record_is_durable(&mut self, record: ConversationRecord) {
        self.stored = Some(record);
    }

    /// A commit failed: forgets everything that is not durable.
    pub(super) fn roll_back(&mut self) {
        self.audiences.not_stored();
        self.logs.values_mut().for_each(Log::roll_back);
        let gone = self.logs.values().filter(|log| log.durable().is_empty());
        for log in gone {
            self.budget.remove_log(log.bytes);
            self.budget.of_stranger_changed(log.of_stranger, 0);
            self.members.remove_log(log.brought_by, log.bytes);
        }
        self.logs.retain(|_, log| !log.durable().is_empty());
        self.asked_to_store = self.stored.is_some();
        match &self.stored {
            Some(stored) => self.record = stored.clone(),
            None => self.leave(),
        }
    }

    // The logs.

    pub(super) fn log(&self, key: &LogKey) -> Option<&Log> {
        self.logs.get(key)
    }

    pub(super) fn log_mut(&mut self, key: &LogKey) -> Option<&mut Log> {
        self.logs.get_mut(key)
    }

    pub(super) fn logs(&self) -> impl Iterator<Item = (&LogKey, &Log)> {
        self.logs.iter()
    }

    /// The logs of one author.
    pub(super) fn logs_of(&self, author: PersonId) -> impl Iterator<Item = (&LogKey, &Log)> {
        self.logs.range(LogKey::all_of(author))
    }

    /// The logs of this author and of those that follow, sorted by author.
    pub(super) fn logs_from(&self, author: PersonId) -> impl Iterator<Item = (&LogKey, &Log)> {
        self.logs.range(LogKey::all_of(author).start()..)
    }

    pub(super) fn has_logs(&self) -> bool {
        !self.logs.is_empty()
    }

    /// The place of a log among all logs, by age; 0 for a log that is not held.
    pub(super) fn ordinal(&self, key: &LogKey) -> u64 {
        self.logs.get(key).map_or(0, |log| log.ordinal)
    }

    fn log_or_new(
        &mut self,
        name: &LogName,
        brought_by: DeviceId,
        last_ordinal: &mut u64,
    ) -> &mut Log {
        let (budget, members) = (&mut self.budget, &mut self.members);
        self.logs.entry(LogKey::of(name)).or_insert_with(|| {
            *last_ordinal += 1;
            budget.add_log();
            members.add_log(brought_by);
            Log::new(name, *last_ordinal, brought_by)
        })
    }

    /// Whether the next entry of a log of this node may be part of a request at the peer. A batch
    /// is accepted or refused as a whole, so these entries get a batch each: all that fit the limit
    /// arrive.
    fn may_be_request(&self, own: &LogKey) -> bool {
        let answered = self.logs.keys().any(|key| key.author != own.author);
        let head = self.logs.get(own).map_or(0, |log| log.head().0);
        self.is_direct() && !answered && head < REQUEST_ENTRIES_MAX
    }

    // The room's limit.

    /// What entries of this cost add to an open room.
    pub(super) fn added(&self, key: &LogKey, cost: u64, entries: u64, of_stranger: bool) -> Load {
        Load::of_entries(!self.logs.contains_key(key), cost, entries, of_stranger)
    }

    /// Whether a log that a peer announced would be accepted now, as far as that is known at once.
    pub(super) fn may_take(
        &self,
        key: &LogKey,
        by: DeviceId,
        of_stranger: bool,
        now: Duration,
    ) -> bool {
        if self.is_closed_room() {
            return !self.members.is_refused(by, key.author, now);
        }
        let is_lost = || self.budget.was_dropped(key) || self.budget.is_refused(by, now);
        self.logs.contains_key(key)
            || !self.is_open_room()
            || self.budget.fits(self.added(key, 0, 0, of_stranger))
            || !is_lost()
            || self.audiences.know(key.author)
    }

    /// Counts the logs of an author as those of a stranger from now on, or as those of a contact.
    pub(super) fn count_author(&mut self, author: PersonId, is_stranger: bool) {
        self.count_logs(LogKey::all_of(author), is_stranger);
    }

    /// As [`Conversation::count_author`], for one log.
    pub(super) fn count_log(&mut self, key: LogKey, is_stranger: bool) {
        self.count_logs(key..=key, is_stranger);
    }

    fn count_logs(&mut self, keys: RangeInclusive<LogKey>, is_stranger: bool) {
        if !self.is_open_room() {
            return;
        }
        for (_, log) in self.logs.range_mut(keys) {
            let now = if is_stranger { log.on_disk() } else { 0 };
            let before = std::mem::replace(&mut log.of_stranger, now);
            self.budget.of_stranger_changed(before, now);
        }
    }

    /// All logs, with the peers to which they are charged. `has_dropped` says whether a peer is
    /// known to have dropped a log that it brought.
    pub(super) fn charged(
        &self,
        me: PersonId,
        has_dropped: impl Fn(DeviceId, &LogKey) -> bool,
    ) -> Vec<Charged> {
        let authors = self.logs.keys().map(|key| key.author).collect();
        let known = self.audiences.known_of(&authors);
        let share = self.budget.share_of_strangers();
        let mut by_age: Vec<_> = self.logs.iter().collect();
        by_age.sort_by_key(|(_, log)| log.ordinal);
        let mut protected: BTreeMap<PersonId, Protected> = BTreeMap::new();
        let mut charged = Vec::new();
        for (key, log) in by_age {
            let by = log.brought_by;
            let is_past = |run: &Run| !self.audiences.remember(run.audience);
            let of_author = protected.entry(key.author).or_default();
            let kept = if log.accepted() != log.durable() {
                Kept::Always
            } else if log.runs().iter().all(is_past) {
                Kept::Past
            } else if key.author == me
                || (known.contains(&key.author) && of_author.add(log.bytes, log.of_stranger, share))
            {
                Kept::Always
            } else if has_dropped(by, key) {
                Kept::Abandoned
            } else {
                Kept::Plain
            };
            charged.push(Charged {
                key: *key,
                by,
                bytes: log.bytes,
                of_strangers: log.of_stranger,
                ordinal: log.ordinal,
                kept,
            });
        }
        charged
    }

    /// Drops a log to make room. The caller commits it.
    pub(super) fn drop_log(&mut self, key: &LogKey) -> Log {
        let log = self.logs.remove(key).expect("it was chosen among these");
        self.budget.remove_log(log.bytes);
        self.budget.of_stranger_changed(log.of_stranger, 0);
        self.members.remove_log(log.brought_by, log.bytes);
        self.budget.begin_drop(*key);
        let held = self.entries.entry(key.author).or_default();
        *held -= log.durable().len();
        // A flood has an author for each log.
        if *held == 0 {
            self.entries.remove(&key.author);
        }
        log
    }

    /// The store could not drop the log.
    pub(super) fn put_back(&mut self, key: LogKey, log: Log) {
        self.budget.add_log();
        self.budget.add_bytes(log.bytes);
        self.budget.of_stranger_changed(0, log.of_stranger);
        self.members.add_log(log.brought_by);
        self.members.add_bytes(log.brought_by, log.bytes);
        *self.entries.entry(key.author).or_default() += log.durable().len();
        self.logs.insert(key, log);
    }

    /// The log that this run writes. To derive its name costs as much as to hash a message.
    pub(super) fn own_log(&mut self, identity: &Identity) -> LogName {
        *self
            .own_log
            .get_or_insert_with(|| identity.log_of_run(self.record.id))
    }

    /// Writes as many waiting appends as fit one batch to a log of our own.
    pub(super) fn write_batch(
        &mut self,
        identity: &mut Identity,
        name: LogName,
        now: Now,
        last_ordinal: &mut u64,
    ) -> Option<(Arc<CheckedBatch>, Vec<Token>)> {
        let most = if self.may_be_request(&LogKey::of(&name)) {
            1
        } else {
            usize::MAX
        };
        let (tokens, bodies): (Vec<_>, Vec<_>) = self.appends.take_batch(most).into_iter().unzip();
        if bodies.is_empty() {
            return None;
        }
        let mut entries = Vec::with_capacity(bodies.len());
        for body in bodies {
            entries.push(Entry::new(self.clock.tick(), now.wall_ms, body));
        }
        let log = self.log_or_new(&name, name.device, last_ordinal);
        let (head, hash) = log.head();
        let (key, salts) = (&identity.key, &mut identity.salts);
        let batch = CheckedBatch::author(key, name, head + 1, hash, entries, salts);
        log.accept(&batch);
        let cost = cost(&batch, &Ranges::span(batch.first(), batch.last()));
        log.bytes += cost;
        self.budget.add_bytes(cost);
        self.members.add_bytes(name.device, cost);
        Some((Arc::new(batch), tokens))
    }

    /// Accepts a batch that was checked. It is not durable yet. Returns the cost of a log in a room
    /// with a secret, if the store has to learn it.
    pub(super) fn accept(
        &mut self,
        batch: &CheckedBatch,
        cost: u64,
        brought_by: DeviceId,
        last_ordinal: &mut u64,
    ) -> Option<u64> {
        let log = self.log_or_new(&batch.batch.name, brought_by, last_ordinal);
        log.accept(batch);
        let (stored, charged_to) = (log.charge(cost), log.brought_by);
        self.budget.add_bytes(cost);
        self.members.add_bytes(charged_to, cost);
        self.clock
            .follow(batch.entries.last().map_or(0, |last| last.entry.lamport));
        stored.filter(|_| self.is_closed_room())
    }

    /// Accepted entries are on disk.
    pub(super) fn now_durable(
        &mut self,
        key: &LogKey,
        first: Seq,
        last: Seq,
        audience: AudienceId,
    ) {
        let log = self.logs.get_mut(key).expect("its entries were accepted");
        log.made_durable(first, last, audience);
        *self.entries.entry(key.author).or_default() += last - first + 1;
    }

    /// Drops an author's oldest entries if a room holds too many of them.
    pub(super) fn trim(&mut self, author: PersonId) -> Option<Op> {
        if self.is_direct() {
            return None;
        }
        let held = self.entries.get(&author).copied().unwrap_or_default();
        // One per cent of slack: otherwise each entry beyond the limit would need its own commit.
        if held <= ROOM_ENTRIES_PER_AUTHOR_MAX + ROOM_ENTRIES_PER_AUTHOR_MAX / 100 {
            return None;
        }
        let excess = held - ROOM_ENTRIES_PER_AUTHOR_MAX;
        let of_author = self
            .logs
            .iter_mut()
            .filter(|(key, log)| key.author == author && !log.durable().is_empty());
        let (key, log) = of_author
            .min_by_key(|(_, log)| log.ordinal)
            .expect("an author with durable entries has a log with some");
        let first = log.durable().first().expect("not empty, as filtered above");
        // The newest entry stays, because the next one continues its chain.
        let keep_from = (first + excess).min(log.durable().last().expect("not empty"));
        let before = log.durable().len();
        log.trim(keep_from);
        let dropped = before - log.durable().len();
        let bytes = log.bytes / before * dropped;
        log.bytes -= bytes;
        self.budget.remove_bytes(bytes);
        self.members.remove_bytes(log.brought_by, bytes);
        if log.of_stranger > 0 {
            let now = log.on_disk();
            let before = std::mem::replace(&mut log.of_stranger, now);
            self.budget.of_stranger_changed(before, now);
        }
        let name = key.name(self.record.id);
        self.entries.insert(author, held - dropped);
        Some(Op::Trim(name, keep_from))
    }

    // Bodies.

    /// The missing bodies of a log.
    pub(super) fn lacks_body(&self, key: &LogKey) -> Ranges {
        self.logs.get(key).map_or_else(Ranges::new, Log::lacks_body)
    }

    /// Of the entries of a checked batch, those that are held without the body that it contains.
    pub(super) fn bodies_in(&self, key: &LogKey, batch: &CheckedBatch) -> Ranges {
        let mut bodies = self.lacks_body(key);
        if !bodies.is_empty() {
            bodies = bodies.intersect(&Ranges::span(batch.first(), batch.last()));
            for (seq, entry) in (batch.first()..).zip(&batch.entries) {
                if entry.entry.body.is_erased() {
                    bodies.remove(seq, seq);
                }
            }
        }
        bodies
    }

    /// Settled entries on disk, and which of them are erased, as far as they are among `entries`.
    pub(super) fn holding(&self, key: &LogKey, entries: &Ranges) -> Holding {
        let Some(log) = self.logs.get(key) else {
            return Holding::default();
        };
        let settled = entries.intersect(&log.settled());
        let erased = log.erased().intersect(&settled);
        Holding { settled, erased }
    }

    // Who may read what. Who may write is decided in `may_write.rs`.

    /// **The rule.** Whether `peer`, which has proved that it belongs to this conversation, may
    /// have entries that `author` wrote and that arrived for `audience`.
    pub(super) fn may_have(&self, peer: PersonId, author: PersonId, audience: AudienceId) -> bool {
        !self.is_open_room() || author == peer || self.audiences.includes(audience, peer)
    }

    /// The durable entries of one log that may go to `peer`.
    pub(super) fn offer(&self, peer: PersonId, key: &LogKey, cut: &NewcomerCut) -> Ranges {
        let mut offer = Ranges::new();
        for run in self.logs.get(key).map_or(&[][..], Log::runs) {
            if self.may_have(peer, key.author, run.audience) {
                offer.insert(run.first, run.last);
            }
        }
        cut.apply(key, &mut offer);
        offer
    }

    /// Of the entries that a peer has announced, those that are missing here and are wanted.
    pub(super) fn missing(&self, me: PersonId, key: &LogKey, theirs: &Ranges) -> Ranges {
        let Some(log) = self.logs.get(key) else {
            return theirs.clone();
        };
        let mut missing = theirs.minus(log.accepted());
        if key.author != me && self.wants_nothing_older(key) {
            missing.remove(1, log.accepted().first().unwrap_or(1) - 1);
        }
        missing
    }

    /// Whether entries before the first one held are not wanted. Members of a room with a secret
    /// hold a log from some entry on. A full room does not fetch again what it has dropped.
    fn wants_nothing_older(&self, key: &LogKey) -> bool {
        match &self.record.kind {
            ConversationKind::Direct(_) => false,
            ConversationKind::Room { key, .. } if !key.is_open() => true,
            ConversationKind::Room { .. } => self
                .entries
                .get(&key.author)
                .is_some_and(|held| *held >= ROOM_ENTRIES_PER_AUTHOR_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hobnob_protocol::{ConversationId, Frame};

    use super::super::events::{Input, Output};
    use super::super::refusal::Refusal;
    use super::super::room_budget::RoomLimits;
    use super::super::testing::{
        Author, Bench, closed_room, commits, direct, direct_record, frames, open_room, ops, peer,
        received, refusals, room_record, wants,
    };
    use super::*;
    use crate::SessionId;
    use crate::commit::Loaded;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;
    const EVE: u8 = 5;
    const DAVE: u8 = 4;

    /// One per cent more than a room holds of one author. The next entry is too much.
    const FULL: u64 = ROOM_ENTRIES_PER_AUTHOR_MAX + ROOM_ENTRIES_PER_AUTHOR_MAX / 100;

    /// Dave's log of a conversation, with this many entries.
    fn log(conversation: ConversationId, entries: Seq) -> Author {
        let mut dave = Author::new(DAVE, conversation);
        dave.skip_to(entries);
        dave
    }

    /// A session 1 with Bob in a room of which this node holds these logs. Bob holds the same.
    fn in_room(open: bool, logs: &[&Author]) -> Bench {
        let ordinals = 1..;
        let stored = logs.iter().zip(ordinals);
        let stored: Vec<_> = stored.map(|(log, ordinal)| log.stored(ordinal)).collect();
        let held = stored
            .iter()
            .map(|log| (log.name, Ranges::span(1, log.head.0)));
        let held: Vec<_> = held.collect();
        let record = room_record(open);
        let room = record.id;
        let mut bench = Bench::load(Loaded {
            conversations: vec![record],
            logs: stored,
            ..Loaded::default()
        });
        bench.connect(1, BOB);
        bench.meet_in(1, room, &held);
        bench
    }

    /// The store was asked to drop all entries below these.
    fn trims(outputs: &[Output]) -> Vec<(LogName, Seq)> {
        let mut trims = Vec::new();
        for op in ops(outputs) {
            if let Op::Trim(name, keep_from) = op {
                trims.push((*name, *keep_from));
            }
        }
        trims
    }

    #[test]
    fn a_room_drops_the_oldest_entries_of_an_author_who_writes_too_much() {
        let mut dave = log(closed_room(), FULL - 1);
        let mut bench = in_room(false, &[&dave]);
        assert_eq!(trims(&bench.batch(1, dave.write(&["fits"]))), []);
        let outputs = bench.batch(1, dave.write(&["too much"]));
        assert_eq!(received(&outputs), ["too much"]);
        let excess = FULL + 1 - ROOM_ENTRIES_PER_AUTHOR_MAX;
        assert_eq!(trims(&outputs), [(dave.name, excess + 1)]);
        // There is room for one per cent more again.
        assert_eq!(trims(&bench.batch(1, dave.write(&["fits"]))), []);
    }

    #[test]
    fn the_oldest_log_shrinks_first_and_keeps_its_newest_entry() {
        let old = log(closed_room(), 10);
        let mut new = Author::with_log(DAVE, closed_room(), 2);
        new.skip_to(FULL);
        let mut bench = in_room(false, &[&old, &new]);
        let outputs = bench.batch(1, new.write(&["a"]));
        assert_eq!(trims(&outputs), [(old.name, 10)]);
    }

    #[test]
    fn other_authors_do_not_count() {
        let dave = log(closed_room(), FULL);
        let mut bench = in_room(false, &[&dave]);
        let mut bob = Author::new(BOB, closed_room());
        assert_eq!(trims(&bench.batch(1, bob.write(&["a"]))), []);
    }

    #[test]
    fn a_direct_conversation_has_no_limit() {
        let mut bob = Author::new(BOB, direct(BOB));
        bob.skip_to(FULL);
        let mut bench = Bench::load(Loaded {
            conversations: vec![direct_record(BOB)],
            logs: vec![bob.stored(1)],
            ..Loaded::default()
        });
        bench.connect(1, BOB);
        assert_eq!(trims(&bench.batch(1, bob.write(&["a"]))), []);
    }

    #[test]
    fn entries_of_other_authors_stay_however_old_they_are() {
        let mut bob = Author::new(BOB, closed_room());
        bob.skip_to(5);
        let mut dave = log(closed_room(), FULL);
        let mut bench = in_room(false, &[&bob, &dave]);
        let outputs = bench.batch(1, dave.write(&["too much"]));
        let excess = FULL + 1 - ROOM_ENTRIES_PER_AUTHOR_MAX;
        assert_eq!(trims(&outputs), [(dave.name, excess + 1)]);
    }

    #[test]
    fn a_trimmed_log_costs_less_in_proportion() {
        const EACH: u64 = 256;
        let mut dave = log(closed_room(), FULL);
        let mut stored = dave.stored(1);
        stored.bytes = EACH * FULL;
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(false)],
            logs: vec![stored],
            ..Loaded::default()
        });
        bench.connect(1, BOB);
        bench.meet_in(1, closed_room(), &[]);
        bench.batch(1, dave.write(&["too much"]));
        let room = bench.replica.conversations.at(closed_room());
        let log = room.log(&LogKey::of(&dave.name)).expect("it is held");
        assert_eq!(log.durable().len(), ROOM_ENTRIES_PER_AUTHOR_MAX);
        assert_eq!(log.bytes / log.durable().len(), EACH);
    }

    #[test]
    fn a_failed_commit_takes_the_new_logs_with_it_and_no_others() {
        let mut bench = in_room(false, &[]);
        let mut old = Author::new(BOB, closed_room());
        let mut new = Author::with_log(BOB, closed_room(), 2);
        bench.batch(1, old.write(&["on disk"]));
        let lost = new.write(&["lost"]);
        let arriving = bench.handle(Input::Batch(SessionId(1), lost.clone()));
        let id = commits(&arriving)[0];
        bench.handle(Input::CommitFailed(id, "full".to_owned()));
        let room = bench.replica.conversations.at(closed_room());
        let held: Vec<_> = room.logs().map(|(key, _)| *key).collect();
        assert_eq!(held, [LogKey::of(&old.name)]);
        assert_eq!(received(&bench.batch(1, lost)), ["lost"]);
    }

    #[test]
    fn a_digest_names_the_highest_number_that_was_seen() {
        let mut bench = in_room(false, &[]);
        let mut bob = Author::new(BOB, closed_room());
        bench.batch(1, bob.write_at(12, &["a"]));
        bench.connect(2, DAVE);
        let met = bench.share_room(2, closed_room());
        let mut clocks = Vec::new();
        for frame in frames(&met, 2) {
            if let Frame::Digest(_, digest) = frame {
                clocks.push(digest.clock);
            }
        }
        assert_eq!(clocks, [12]);
    }

    #[test]
    fn the_authors_of_a_conversation_are_those_whose_entries_are_held() {
        let dave = log(closed_room(), 1);
        let mut bench = in_room(false, &[&dave]);
        let mut bob = Author::new(BOB, closed_room());
        bench.batch(1, bob.write(&["a"]));
        let authors = bench.replica.authors(closed_room());
        assert_eq!(authors, BTreeSet::from([BOB, DAVE].map(peer)));
        assert_eq!(bench.replica.authors(open_room()), BTreeSet::new());
    }

    /// An open room for one log, with sessions 1 with Bob and 2 with Carol. Bob has brought a log
    /// of somebody who is not there.
    fn full_open_room() -> Bench {
        let mut bench = Bench::new();
        bench.replica.limit_open_rooms(RoomLimits {
            logs: 1,
            ..RoomLimits::default()
        });
        bench.join(true);
        for (session, member) in [(1, BOB), (2, CAROL)] {
            bench.connect(session, member);
            bench.meet_in(session, open_room(), &[]);
        }
        let first = Author::new(DAVE, open_room()).write(&["first"]);
        assert_eq!(received(&bench.batch(1, first)), ["first"]);
        bench
    }

    #[test]
    fn a_log_for_a_full_room_is_requested_until_one_of_the_same_peer_was_refused() {
        let mut bench = full_open_room();
        let [second, third] = [2, 3].map(|log| Author::with_log(DAVE, open_room(), log).name);
        let other = Author::new(EVE, open_room()).name;
        // Whether it is accepted depends on its charge, which is known when it has arrived.
        assert_eq!(wants(&bench.have(1, second, 1, 1), 1), [(second, 1, None)]);
        let refused = Author::with_log(DAVE, open_room(), 2).write(&["too much"]);
        assert_eq!(refusals(&bench.batch(1, refused)), [Refusal::RoomFull]);
        assert_eq!(wants(&bench.have(1, third, 1, 1), 1), []);
        assert_eq!(wants(&bench.have(1, other, 1, 1), 1), []);
        // Another peer is asked.
        assert_eq!(wants(&bench.have(2, other, 1, 1), 2), [(other, 1, None)]);
    }

    /// What is requested of Bob, who has all of Dave's log, while this node holds some of it.
    fn requested(open: bool, first: Seq, last: Seq) -> Vec<(LogName, Seq, Option<Seq>)> {
        let room = if open { open_room() } else { closed_room() };
        let dave = log(room, last);
        let mut stored = dave.stored(1);
        stored.runs[0].first = first;
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(open)],
            logs: vec![stored],
            ..Loaded::default()
        });
        bench.connect(1, BOB);
        let outputs = bench.meet_in(1, room, &[(dave.name, Ranges::span(1, last + 1))]);
        wants(&outputs, 1)
    }

    #[test]
    fn a_room_with_a_secret_wants_nothing_older_than_it_holds() {
        let dave = log(closed_room(), 9).name;
        assert_eq!(requested(false, 4, 9), [(dave, 10, None)]);
    }

    #[test]
    fn an_open_room_wants_older_entries_until_it_is_full() {
        let dave = log(open_room(), 9).name;
        assert_eq!(
            requested(true, 4, 9),
            [(dave, 1, Some(3)), (dave, 10, None)]
        );
        let last = ROOM_ENTRIES_PER_AUTHOR_MAX + 3;
        assert_eq!(requested(true, 4, last), [(dave, last + 1, None)]);
    }
}
