//! Whether a full open room takes a batch, and which logs it drops for it.

use std::collections::BTreeMap;

use hobnob_protocol::{CheckedBatch, ConversationId, DeviceId, LogName, Ranges};

use super::conversation::Conversation;
use super::events::Output;
use super::log_key::LogKey;
use super::refusal::Refusal;
use super::room_budget::{Charged, Choice, Kept, Protected, choose, cost};
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
        let is_sure = key.author == self.identity.id
            || conversation.has_room(&key, cost(batch, missing))
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
        let cost = cost(batch, missing);
        if conversation.has_room(&key, cost) {
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
        let arriving = arriving(conversation, &held, key, by, cost);
        let (mut drops, mut freed) = (Vec::new(), 0);
        let is_new = conversation.log(&key).is_none();
        while !conversation
            .budget
            .fits_after(is_new, cost, drops.len(), freed)
        {
            let lacks_logs = conversation.budget.lacks_logs(is_new, drops.len());
            let weight = |log: &Charged| if lacks_logs { 1 } else { log.bytes };
            let choice = choose(&held, &arriving, weight);
            let Choice::Drop(dropped) = choice else {
                break;
            };
            if drops.len() == DROPS_MAX {
                break;
            }
            let at = held.iter().position(|log| log.key == dropped);
            freed += held.remove(at.expect("it was chosen among these")).bytes;
            drops.push(dropped);
        }
        // A room that holds much more than it may, from an earlier version, shrinks in steps.
        let budget = &conversation.budget;
        let fits = budget.fits_after(is_new, cost, drops.len(), freed);
        if fits || drops.len() == DROPS_MAX {
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
    cost: u64,
) -> Charged {
    let mut protected = Protected::default();
    let of_author = held.iter().filter(|log| log.key.author == key.author);
    for other in of_author.filter(|log| log.key != key && log.kept == Kept::Always) {
        protected.add(other.bytes);
    }
    let log = held.iter().find(|log| log.key == key);
    let bytes = log.map_or(0, |log| log.bytes) + cost;
    let is_kept = conversation.audiences.know(key.author) && protected.add(bytes);
    Charged {
        key,
        by: log.map_or(by, |log| log.by),
        bytes,
        ordinal: log.map_or(u64::MAX, |log| log.ordinal),
        kept: if is_kept { Kept::Always } else { Kept::Plain },
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::Batch;

    use super::super::events::Input;
    use super::super::member_budget::CLOSED_ROOM_BYTES_MAX;
    use super::super::room_budget::{LOGS_KEPT_PER_AUTHOR, RoomLimits};
    use super::super::testing::{
        Author, Bench, closed_room, commits, open_room, ops, peer, received, refusals, room_record,
        wants,
    };
    use super::*;
    use crate::commit::{CommitId, Loaded, Op};

    const MEBIBYTE: u64 = 1024 * 1024;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;
    const DAVE: u8 = 4;
    const EVE: u8 = 5;

    /// Sessions 1 with Bob and 2 with Carol, in a room with a secret of which Bob has brought as much
    /// as he may.
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
        bench.replica.limit_open_rooms(RoomLimits { logs, bytes });
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

    /// A room that is full of eight logs of Bob, who is there, and one that Carol has brought of Eve,
    /// who is not.
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
