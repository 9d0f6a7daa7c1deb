//! Blocked authors: their entries are not accepted, requested or forwarded, no matter which peer
//! offers or wants them.
//!
//! Their entries on disk stay there. They are announced only to peers that announced the same
//! entries, so no peer has a reason to request them. The announcements of peers are recorded even
//! during a block, so that the missing entries can be requested when it ends.

use hobnob_protocol::{Frame, PersonId};

use super::news::ANNOUNCE_AFTER;
use super::state::Replica;
use super::timers::Timer;

impl Replica {
    pub(super) fn block(&mut self, author: PersonId) {
        if author == self.identity.id || !self.blocked.insert(author) {
            return;
        }
        for (source, shared) in self.conversations.end_sources(author) {
            self.send(source, &Frame::Prune(shared, author));
        }
        for (_, session) in self.sessions.iter_mut() {
            for sync in session.syncs.values_mut() {
                sync.queues.strike_author(author);
                sync.requests.forget_author(author);
                sync.announcements.retain(|key| key.author != author);
            }
        }
    }

    pub(super) fn unblock(&mut self, author: PersonId) {
        if !self.blocked.remove(&author) {
            return;
        }
        for id in self.conversations.ids() {
            self.request_missing_of(id, author);
        }
        // Peers have not heard of the author's entries that are on disk here.
        for (_, session) in self.sessions.iter_mut() {
            for (shared, sync) in &mut session.syncs {
                let logs = self.conversations.at(*shared).logs_of(author);
                sync.announcements.extend(logs.map(|(key, _)| *key));
            }
        }
        self.arm(Timer::Announce, ANNOUNCE_AFTER);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::events::{Input, Output};
    use super::super::refusal::Refusal;
    use super::super::testing::{
        Author, Bench, ME, batches, closed_room, direct, peer, pruned, reads, receipts, received,
        refusals, wants,
    };
    use super::*;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;
    const DAVE: u8 = 4;

    /// Sessions 1 with Bob and 2 with Carol, who are in the room with a secret. Dave is away.
    fn room() -> (Bench, Author) {
        let bench = Bench::in_closed_room(&[BOB, CAROL]);
        (bench, Author::new(DAVE, closed_room()))
    }

    fn block(bench: &mut Bench, n: u8) -> Vec<Output> {
        bench.settle(Input::Block(peer(n)))
    }

    fn unblock(bench: &mut Bench, n: u8) -> Vec<Output> {
        bench.settle(Input::Unblock(peer(n)))
    }

    #[test]
    fn entries_of_a_blocked_author_are_refused_from_everybody() {
        let (mut bench, mut dave) = room();
        block(&mut bench, DAVE);
        let outputs = bench.batch(1, dave.write(&["a"]));
        assert_eq!(refusals(&outputs), [Refusal::Blocked]);
        assert_eq!(received(&outputs), [""; 0]);
        block(&mut bench, BOB);
        let mut bob = Author::new(BOB, direct(BOB));
        let outputs = bench.batch(1, bob.write(&["a"]));
        assert_eq!(refusals(&outputs), [Refusal::Blocked]);
    }

    #[test]
    fn the_source_of_a_blocked_author_stops() {
        let (mut bench, dave) = room();
        bench.have(1, dave.name, 1, 2);
        assert_eq!(pruned(&block(&mut bench, DAVE), 1), [peer(DAVE)]);
        let outputs = bench.have(2, dave.name, 1, 2);
        assert_eq!(wants(&outputs, 2), []);
        let later = bench.wait(Duration::from_secs(60));
        assert_eq!((wants(&later, 1), wants(&later, 2)), (vec![], vec![]));
    }

    #[test]
    fn after_a_block_the_missed_entries_are_requested() {
        let (mut bench, mut dave) = room();
        block(&mut bench, DAVE);
        bench.have(1, dave.name, 1, 2);
        let outputs = unblock(&mut bench, DAVE);
        assert_eq!(wants(&outputs, 1), [(dave.name, 1, None)]);
        assert_eq!(
            received(&bench.batch(1, dave.write(&["a", "b"]))),
            ["a", "b"]
        );
    }

    #[test]
    fn entries_of_a_blocked_author_stay_on_disk_and_are_not_forwarded() {
        let (mut bench, mut dave) = room();
        bench.batch(1, dave.write(&["a"]));
        block(&mut bench, DAVE);
        assert_eq!(receipts(&bench.wait(ANNOUNCE_AFTER), 2), []);
        let outputs = bench.want(2, dave.name, 1, None);
        assert_eq!((batches(&outputs, 2), reads(&outputs, 2)), (vec![], vec![]));
        unblock(&mut bench, DAVE);
        let announced = bench.wait(ANNOUNCE_AFTER);
        assert_eq!(receipts(&announced, 2).len(), 1);
        let outputs = bench.want(2, dave.name, 1, None);
        assert_eq!(batches(&outputs, 2), [(dave.name, 1, 1)]);
    }

    #[test]
    fn nobody_blocks_oneself() {
        let (mut bench, _) = room();
        block(&mut bench, ME);
        let outputs = bench.append(closed_room(), "a");
        assert_eq!(batches(&outputs, 2), [(bench.own_log(closed_room()), 1, 1)]);
    }

    #[test]
    fn an_unblock_without_a_block_changes_nothing() {
        let (mut bench, mut dave) = room();
        bench.batch(1, dave.write(&["a"]));
        bench.wait(ANNOUNCE_AFTER);
        assert!(unblock(&mut bench, DAVE).is_empty());
        assert_eq!(receipts(&bench.wait(ANNOUNCE_AFTER), 2), []);
    }
}
