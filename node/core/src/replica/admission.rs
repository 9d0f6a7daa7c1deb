//! Whether a full open room takes a batch, and which logs it drops for it.

use std::collections::BTreeMap;

use hobnob_protocol::{CheckedBatch, ConversationId, DeviceId, LogName, Ranges};

use super::conversation::Conversation;
use super::events::Output;
use super::log_key::LogKey;
use super::refusal::Refusal;
use super::room_budget::{Charged, Choice, Kept, Load, Protected, choose, cost};
use super::state::Replica;
use crate::SessionId;

/// Maximum logs that are dropped for one batch.
const DROPS_MAX: usize = 64;

impl Replica {
    /// Refuses, before anything expensive is done for it, a batch that a full room would not take.
    pub(super) fn check_room(
        &mut self,
        session: SessionId,
        batch: &CheckedBatch,
        missing: &Ranges,
    ) -> Result<(), Refusal> {
        let name = batch.batch.name;
        let (key, by) = (LogKey::of(&name), self.sessions.at(session).peer);
        let of_stranger = self.is_stranger(key.author);
        let conversation = self.conversations.at(name.conversation);
        if conversation.is_closed_room() {
            return self.check_share(name, by, cost(batch, missing));
        }
        if conversation.is_direct() {
            return Ok(());
        }
        if conversation.budget.is_leaving(&key) {
            return Err(Refusal::RoomFull);
        }
        let added = conversation.added(&key, cost(batch, missing), missing.len(), of_stranger);
        let is_sure = key.author == self.identity.id
            || conversation.budget.fits(added)
            || conversation.audiences.know(key.author);
        let was_dropped = conversation.budget.was_dropped(&key);
        if is_sure || !(was_dropped || conversation.budget.is_refused(by, self.now.mono)) {
            return Ok(());
        }
        let conversation = self.conversations.at_mut(name.conversation);
        conversation.pulls.give_up(key.author);
        Err(Refusal::RoomFull)
    }

    /// Refuses entries in a room with a secret beyond the share of the peer that brought their log.
    fn check_share(&mut self, name: LogName, from: DeviceId, cost: u64) -> Result<(), Refusal> {
        let (key, now) = (LogKey::of(&name), self.now.mono);
        let conversation = self.conversations.at_mut(name.conversation);
        let log = conversation.log(&key);
        let by = log.map_or(from, |log| log.brought_by);
        let for_contact = self.strangers.is_contact(key.author);
        let is_own = key.author == self.identity.id;
        let members = &conversation.members;
        if is_own || members.allows(by, for_contact, log.is_none(), cost) {
            return Ok(());
        }
        let is_news = conversation.members.lost() == 0;
        conversation.members.note_refused(from, key.author, now);
        conversation.pulls.give_up(key.author);
        if is_news {
            self.outputs.push_back(Output::RoomFull(name.conversation));
        }
        Err(Refusal::RoomFull)
    }

    /// Reports a full open room to the user, once.
    pub(super) fn report_full_room(&mut self, room: ConversationId) {
        if self.conversations.at_mut(room).budget.is_news() {
            self.outputs.push_back(Output::RoomFull(room));
        }
    }

    /// Chooses the logs that leave a full room for a batch, or refuses the batch.
    pub(super) fn make_room(
        &mut self,
        session: SessionId,
        batch: &CheckedBatch,
        missing: &Ranges,
    ) -> Result<Vec<LogKey>, Refusal> {
        let name = batch.batch.name;
        let (key, by) = (LogKey::of(&name), self.sessions.at(session).peer);
        let conversation = self.conversations.at(name.conversation);
        if !conversation.is_open_room() || key.author == self.identity.id {
            return Ok(Vec::new());
        }
        let of_stranger = self.is_stranger(key.author);
        let added = conversation.added(&key, cost(batch, missing), missing.len(), of_stranger);
        if conversation.budget.fits(added) {
            return Ok(Vec::new());
        }
        let sharing = self.sessions.sharing(name.conversation);
        let by_peer: BTreeMap<_, _> = sharing
            .map(|(_, session)| (session.peer, &session.syncs[&name.conversation]))
            .collect();
        let mut held = conversation.charged(self.identity.id, |by, key| {
            let sync = by_peer.get(&by);
            sync.is_some_and(|sync| sync.ready && sync.holdings.of(key).is_empty())
        });
        let arriving = arriving(conversation, &held, key, by, added);
        let (mut drops, mut dropped) = (Vec::new(), Load::default());
        // An empty room has no room for more than the whole share.
        let can_fit = added.of_strangers <= conversation.budget.share_of_strangers();
        let lack = loop {
            let lack = conversation.budget.lacks(added, dropped);
            let Some(lacking) = lack.filter(|_| can_fit && drops.len() < DROPS_MAX) else {
                break lack;
            };
            let Choice::Drop(choice) = choose(&held, &arriving, |log| lacking.weight(log)) else {
                break lack;
            };
            let at = held.iter().position(|log| log.key == choice);
            let log = held.remove(at.expect("it was chosen among these"));
            dropped.logs += 1;
            dropped.bytes += log.bytes;
            dropped.of_strangers += log.of_strangers;
            drops.push(choice);
        };
        // A room that holds much more than it may shrinks in steps: its share has become smaller,
        // or an earlier version filled it.
        if lack.is_none() || drops.len() == DROPS_MAX {
            return Ok(drops);
        }
        let now = self.now.mono;
        let conversation = self.conversations.at_mut(name.conversation);
        conversation.budget.note_refused(by, now);
        self.report_full_room(name.conversation);
        let conversation = self.conversations.at_mut(name.conversation);
        if conversation.audiences.know(key.author) {
            // All that could go was being written. In a moment it will be on disk.
            self.expect_entries(name.conversation, key.author);
        } else {
            conversation.pulls.give_up(key.author);
        }
        Err(Refusal::RoomFull)
    }
}

/// The log that needs room, charged as if it was held.
fn arriving(
    conversation: &Conversation,
    held: &[Charged],
    key: LogKey,
    by: DeviceId,
    added: Load,
) -> Charged {
    let (mut protected, share) = (
        Protected::default(),
        conversation.budget.share_of_strangers(),
    );
    let of_author = held.iter().filter(|log| log.key.author == key.author);
    for other in of_author.filter(|log| log.key != key && log.kept == Kept::Always) {
        protected.add(other.bytes, other.of_strangers, share);
    }
    let log = held.iter().find(|log| log.key == key);
    let bytes = log.map_or(0, |log| log.bytes) + added.bytes;
    let of_strangers = log.map_or(0, |log| log.of_strangers) + added.of_strangers;
    let is_kept =
        conversation.audiences.know(key.author) && protected.add(bytes, of_strangers, share);
    Charged {
        key,
        by: log.map_or(by, |log| log.by),
        bytes,
        of_strangers,
        ordinal: log.map_or(u64::MAX, |log| log.ordinal),
        kept: if is_kept { Kept::Always } else { Kept::Plain },
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{Batch, RoomKey, RoomName};

    use super::super::disk_cost::bytes_on_disk;
    use super::super::events::{Input, Token};
    use super::super::member_budget::CLOSED_ROOM_BYTES_MAX;
    use super::super::room_budget::{ENTRY_COST, LOGS_KEPT_PER_AUTHOR, RoomLimits};
    use super::super::testing::{
        Author, Bench, appended, closed_room, commits, open_room, ops, peer, received, refusals,
        room_record, wants,
    };
    use super::*;
    use crate::commit::{CommitId, Loaded, Op};

    const MEBIBYTE: u64 = 1024 * 1024;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;
    const DAVE: u8 = 4;
    const EVE: u8 = 5;
    const FAY: u8 = 6;

    /// Sessions 1 with Bob and 2 with Carol, in a room with a secret of which Bob has brought as
    /// much as he may.
    fn room_full_of_bob() -> Bench {
        let mut old = Author::with_log(EVE, closed_room(), 9);
        old.write(&["old"]);
        let mut stored = old.stored(1);
        stored.brought_by = Some(peer(BOB).only_device());
        stored.bytes = CLOSED_ROOM_BYTES_MAX / 2;
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(false)],
            logs: vec![stored],
            ..Loaded::default()
        });
        for (session, member) in [(1, BOB), (2, CAROL)] {
            bench.connect(session, member);
            bench.meet_in(session, closed_room(), &[]);
        }
        bench
    }

    /// Sessions 1 with Bob and 2 with Carol, in an open room with these limits.
    fn open_room_for(logs: usize, bytes: u64) -> Bench {
        let mut bench = Bench::new();
        bench.replica.limit_open_rooms(RoomLimits {
            logs,
            bytes,
            ..RoomLimits::default()
        });
        bench.join(true);
        for (session, member) in [(1, BOB), (2, CAROL)] {
            bench.connect(session, member);
            bench.meet_in(session, open_room(), &[]);
        }
        bench
    }

    /// A batch with the first entry of a log in the open room, with a text of this length.
    fn first_entry(author: u8, log: u64, length: usize) -> (LogName, Batch) {
        let mut author = Author::with_log(author, open_room(), log);
        let text = "x".repeat(length);
        (author.name, author.write(&[&text]))
    }

    /// The logs that the store was asked to drop.
    fn dropped(outputs: &[Output]) -> Vec<LogName> {
        let mut dropped = Vec::new();
        for op in ops(outputs) {
            if let Op::Forget(name) = op {
                dropped.push(*name);
            }
        }
        dropped
    }

    #[test]
    fn a_peer_whose_log_was_refused_may_bring_what_needs_no_room() {
        let mut bench = open_room_for(9, 1_000);
        let (_, big) = first_entry(EVE, 1, 2_000);
        assert_eq!(refusals(&bench.batch(1, big)), [Refusal::RoomFull]);
        let (_, small) = first_entry(EVE, 2, 10);
        assert_eq!(received(&bench.batch(1, small)).len(), 1);
    }

    #[test]
    fn a_full_room_drops_the_newest_log_of_the_peer_that_has_brought_most() {
        let mut bench = open_room_for(2, MEBIBYTE);
        let [(old, one), (new, two)] = [1, 2].map(|log| first_entry(EVE, log, 10));
        for batch in [one, two] {
            assert_eq!(dropped(&bench.batch(1, batch)), []);
        }
        let (_, other) = first_entry(DAVE, 1, 10);
        let outputs = bench.batch(2, other);
        assert_eq!(
            (dropped(&outputs), received(&outputs).len()),
            (vec![new], 1)
        );
        let room = bench.replica.conversations.at(open_room());
        assert!(room.log(&LogKey::of(&old)).is_some());
        assert!(room.log(&LogKey::of(&new)).is_none());
    }

    /// A full room in which the store is dropping the log of the second batch for one of Carol.
    fn dropping() -> (Bench, Batch, CommitId) {
        let mut bench = open_room_for(2, MEBIBYTE);
        let [(_, one), (_, two)] = [1, 2].map(|log| first_entry(EVE, log, 10));
        for batch in [&one, &two] {
            bench.batch(1, batch.clone());
        }
        let (_, other) = first_entry(DAVE, 1, 10);
        let arriving = bench.handle(Input::Batch(SessionId(2), other));
        let id = commits(&arriving)[0];
        // From now on the room has more than enough room.
        bench.replica.limit_open_rooms(RoomLimits::default());
        (bench, two, id)
    }

    #[test]
    fn a_log_that_is_being_dropped_is_taken_again_when_it_is_gone() {
        let (mut bench, two, id) = dropping();
        assert_eq!(refusals(&bench.batch(1, two.clone())), [Refusal::RoomFull]);
        bench.settle(Input::Committed(id));
        assert_eq!(received(&bench.batch(1, two)).len(), 1);
    }

    #[test]
    fn a_log_that_the_store_could_not_drop_is_held_and_continues() {
        let (mut bench, two, id) = dropping();
        bench.handle(Input::CommitFailed(id, "full".to_owned()));
        let again = bench.batch(1, two);
        assert_eq!((refusals(&again), received(&again)), (vec![], vec![]));
        let mut eve = Author::with_log(EVE, open_room(), 2);
        eve.write(&["x".repeat(10).as_str()]);
        assert_eq!(received(&bench.batch(1, eve.write(&["more"]))), ["more"]);
    }

    /// A room that is full of eight logs of Bob, who is there, and one that Carol has brought of
    /// Eve, who is not.
    fn full_of_bob_and_eve(bytes: u64) -> (Bench, Vec<Author>, LogName) {
        let mut bench = open_room_for(LOGS_KEPT_PER_AUTHOR + 1, bytes);
        let logs = 1..=LOGS_KEPT_PER_AUTHOR as u64;
        let mut bobs: Vec<_> = logs
            .map(|log| Author::with_log(BOB, open_room(), log))
            .collect();
        for bob in &mut bobs {
            assert_eq!(received(&bench.batch(1, bob.write(&["x"]))), ["x"]);
        }
        let (of_eve, batch) = first_entry(EVE, 1, 500);
        assert_eq!(received(&bench.batch(2, batch)).len(), 1);
        (bench, bobs, of_eve)
    }

    /// Sessions 1 with Bob and 2 with Carol, two strangers, and 3 with Dave, a contact, in an open
    /// room in which strangers may fill this many bytes on disk.
    fn room_for_strangers(strangers: u64) -> Bench {
        let mut bench = Bench::new();
        bench.replica.limit_open_rooms(RoomLimits {
            strangers,
            ..RoomLimits::default()
        });
        bench.join(true);
        bench.connect_stranger(1, BOB);
        bench.connect_stranger(2, CAROL);
        bench.connect(3, DAVE);
        for session in 1..=3 {
            bench.meet_in(session, open_room(), &[]);
        }
        bench
    }

    /// The bytes on disk of a log with one entry, whose text has ten letters.
    fn one_log_on_disk() -> u64 {
        let mut bench = room_for_strangers(MEBIBYTE);
        let (name, batch) = first_entry(EVE, 1, 10);
        bench.batch(1, batch);
        let room = bench.replica.conversations.at(open_room());
        room.log(&LogKey::of(&name))
            .expect("it is held")
            .of_stranger
    }

    #[test]
    fn strangers_fill_their_share_of_a_room_and_contacts_go_on() {
        let each = one_log_on_disk();
        assert!(each > 1_000, "{each} bytes on disk");
        let mut bench = room_for_strangers(3 * each);
        for log in 1..=3 {
            let (_, batch) = first_entry(EVE, log, 10);
            assert_eq!(received(&bench.batch(1, batch)).len(), 1, "log {log}");
        }
        // Bob has brought most, so one more of Bob is refused, and one of Carol replaces the
        // newest.
        let (_, fourth) = first_entry(EVE, 4, 10);
        let refused = bench.batch(1, fourth);
        assert_eq!(refusals(&refused), [Refusal::RoomFull]);
        assert!(is_reported(&refused), "the user is informed");
        let (_, of_carol) = first_entry(FAY, 1, 10);
        let outputs = bench.batch(2, of_carol);
        assert_eq!(dropped(&outputs), [first_entry(EVE, 3, 10).0]);
        // A contact has room, whoever brings what it wrote, and so has this node.
        for (session, log) in [(3, 1), (1, 2)] {
            let (_, batch) = first_entry(DAVE, log, 500);
            let outputs = bench.batch(session, batch);
            assert_eq!((dropped(&outputs), received(&outputs).len()), (vec![], 1));
        }
        assert_eq!(appended(&bench.append(open_room(), &"x".repeat(500))), [1]);
    }

    #[test]
    fn a_stranger_that_becomes_a_contact_makes_room_for_others() {
        let each = one_log_on_disk();
        let mut bench = room_for_strangers(each);
        let (_, of_eve) = first_entry(EVE, 1, 10);
        bench.batch(1, of_eve);
        let (_, second) = first_entry(FAY, 1, 10);
        let again = second.clone();
        assert_eq!(refusals(&bench.batch(1, second)), [Refusal::RoomFull]);
        bench.settle(Input::Accept(peer(EVE)));
        let outputs = bench.batch(2, again);
        assert_eq!((dropped(&outputs), received(&outputs).len()), (vec![], 1));
        // As a stranger again, it counts again, and the next one has no room.
        bench.settle(Input::Unaccept(peer(EVE)));
        let (_, third) = first_entry(FAY, 2, 10);
        assert_eq!(refusals(&bench.batch(2, third)), [Refusal::RoomFull]);
    }

    #[test]
    fn what_strangers_wrote_counts_after_a_restart() {
        let mut old = Author::with_log(EVE, open_room(), 9);
        old.write(&["old"]);
        let mut stored = old.stored(1);
        stored.brought_by = Some(peer(BOB).only_device());
        stored.bytes = 1_000 + ENTRY_COST;
        let expected = bytes_on_disk(1, 1, 1_000);
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(true)],
            logs: vec![stored],
            ..Loaded::default()
        });
        let share = |bench: &Bench, more| {
            let room = bench.replica.conversations.at(open_room());
            let of_strangers = room.budget.share_of_strangers() - expected + more;
            room.budget.fits(Load {
                of_strangers,
                ..Load::default()
            })
        };
        assert!(share(&bench, 0) && !share(&bench, 1));
        bench.settle(Input::Accept(peer(EVE)));
        assert!(share(&bench, expected) && !share(&bench, expected + 1));
    }

    #[test]
    fn a_batch_that_an_empty_room_would_not_take_drops_nothing() {
        let each = one_log_on_disk();
        let mut bench = room_for_strangers(4 * each);
        for log in 1..=3 {
            let (_, batch) = first_entry(EVE, log, 10);
            bench.batch(1, batch);
        }
        let (_, large) = first_entry(FAY, 1, 1_000);
        let outputs = bench.batch(2, large);
        assert_eq!(refusals(&outputs), [Refusal::RoomFull]);
        assert_eq!(dropped(&outputs), []);
    }

    #[test]
    fn a_second_open_room_halves_the_share() {
        let mut bench = room_for_strangers(1_000);
        let share = |bench: &Bench| {
            let room = bench.replica.conversations.at(open_room());
            room.budget.share_of_strangers()
        };
        assert_eq!(share(&bench), 1_000);
        let name: RoomName = "ops".parse().expect("a name");
        let key = RoomKey::open(&name);
        let token = Token(7);
        bench.settle(Input::Join { token, name, key });
        assert_eq!(share(&bench), 500);
        // Rooms with a secret, and conversations, have no part in it.
        bench.join(false);
        bench.connect(9, FAY);
        assert_eq!(share(&bench), 500);
    }

    #[test]
    fn an_author_who_is_there_keeps_eight_logs_and_takes_no_place_for_a_ninth() {
        let (mut bench, _, _) = full_of_bob_and_eve(MEBIBYTE);
        let (_, ninth) = first_entry(BOB, 9, 10);
        let outputs = bench.batch(1, ninth);
        assert_eq!(refusals(&outputs), [Refusal::RoomFull]);
        assert_eq!(dropped(&outputs), []);
    }

    #[test]
    fn a_log_that_is_kept_may_grow_at_the_cost_of_others() {
        // Eight short entries and a long one fit, and one more long one does not.
        let (mut bench, mut bobs, of_eve) = full_of_bob_and_eve(2_500);
        let grown = bobs[7].write(&["x".repeat(500).as_str()]);
        let outputs = bench.batch(1, grown);
        assert_eq!(
            (dropped(&outputs), received(&outputs).len()),
            (vec![of_eve], 1)
        );
    }

    fn is_reported(outputs: &[Output]) -> bool {
        let is_full = |output: &Output| matches!(output, Output::RoomFull(_));
        outputs.iter().any(is_full)
    }

    #[test]
    fn a_member_that_has_brought_too_much_keeps_nobody_else_out() {
        let mut bench = room_full_of_bob();
        let mut dave = Author::new(DAVE, closed_room());
        let batch = dave.write(&["hello"]);
        let refused = bench.batch(1, batch.clone());
        assert_eq!(refusals(&refused), [Refusal::RoomFull]);
        assert!(is_reported(&refused));
        // A second refusal is no news, and nothing of Dave is requested of Bob meanwhile.
        assert!(!is_reported(&bench.batch(1, batch.clone())));
        assert_eq!(wants(&bench.have(1, dave.name, 1, 1), 1), []);
        // Carol has room for the same entries.
        assert_eq!(received(&bench.batch(2, batch)), ["hello"]);
    }

    #[test]
    fn a_contact_has_room_whoever_brings_its_entries() {
        let mut bench = room_full_of_bob();
        let mut eve = Author::new(EVE, closed_room());
        bench.settle(Input::Accept(peer(EVE)));
        let outputs = bench.batch(1, eve.write(&["hello"]));
        assert_eq!(received(&outputs), ["hello"]);
        let is_brought = |op: &&Op| matches!(op, Op::Brought(name, by) if *name == eve.name && *by == peer(BOB).only_device());
        assert_eq!(ops(&outputs).iter().copied().filter(is_brought).count(), 1);
        let is_cost = |op: &&Op| matches!(op, Op::Cost(name, 256) if *name == eve.name);
        assert_eq!(ops(&outputs).iter().copied().filter(is_cost).count(), 1);
    }
}
