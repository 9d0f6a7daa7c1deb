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
    use super::super::events::Input;
    use super::super::member_budget::CLOSED_ROOM_BYTES_MAX;
    use super::super::testing::{
        Author, Bench, closed_room, ops, peer, received, refusals, room_record, wants,
    };
    use super::*;
    use crate::commit::{Loaded, Op};

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
