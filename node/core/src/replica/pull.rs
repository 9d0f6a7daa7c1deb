//! Requests for missing entries, in both directions: which session is asked, when the next one is
//! tried, and which entries a peer gets when it asks.

use std::collections::BTreeSet;

use hobnob_protocol::{ConversationId, Frame, LogName, PersonId, Ranges, Seq};

use super::log_key::LogKey;
use super::pulls::PULL_RETRY_AFTER;
use super::refusal::Refusal;
use super::requests::SEQ_OPEN_END;
use super::state::{ANTI_ENTROPY_EVERY, Replica};
use super::timers::Timer;
use crate::SessionId;

impl Replica {
    // Requests of a peer.

    pub(super) fn want(
        &mut self,
        id: SessionId,
        name: LogName,
        from: Seq,
        to: Option<Seq>,
    ) -> Result<(), Refusal> {
        let key = LogKey::of(&name);
        // A peer that refuses our messages requests none of them.
        if name.author == self.identity.id {
            self.set_awaits_consent(id, name.conversation, false)?;
        }
        let sync = self.sessions.sync_mut(id, name.conversation);
        let sync = sync.ok_or(Refusal::NotShared)?;
        if !sync.ready {
            sync.postpone((name, from, to));
            return Ok(());
        }
        // This replica never announces a log that it does not hold. A request for one is made up,
        // so nothing is stored for it.
        let conversation = self.conversations.at(name.conversation);
        let Some(log) = conversation.log(&key) else {
            return Ok(());
        };
        let ordinal = log.ordinal;
        // Entries without a body are not announced. The peer gets those before the ones that it
        // requests all the same: members of a room want nothing older than they hold, so a log that
        // began after these entries would never be completed.
        let from = log.first_unsettled_before(from);
        let mut grant = self.may_send(id, name.conversation, &key);
        grant.remove(1, from.saturating_sub(1));
        if let Some(to) = to {
            grant = grant.intersect(&Ranges::span(from, to));
        }
        let sync = self.sessions.sync_mut(id, name.conversation);
        let sync = sync.expect("found above");
        // A request does not cover entries that the peer has announced itself.
        let grant = grant.minus(&sync.holdings.of(&key));
        if to.is_none() {
            sync.queues.follow(key.author);
        }
        sync.queues.add(ordinal, &key, &grant);
        self.serve(id);
        Ok(())
    }

    pub(super) fn prune(
        &mut self,
        id: SessionId,
        shared: ConversationId,
        author: PersonId,
    ) -> Result<(), Refusal> {
        let sync = self.sessions.sync_mut(id, shared);
        let sync = sync.ok_or(Refusal::NotShared)?;
        // Our own entries are pushed, whoever forwards them as well.
        if author != self.identity.id {
            sync.queues.unfollow(author);
            sync.queues.strike_author(author);
        }
        Ok(())
    }

    /// The peer holds other entries in a log than this replica has sent.
    pub(super) fn conflict_reported(
        &mut self,
        id: SessionId,
        name: LogName,
    ) -> Result<(), Refusal> {
        let sync = self.sessions.sync_mut(id, name.conversation);
        let sync = sync.ok_or(Refusal::NotShared)?;
        // Only the author can cause a conflict. Everybody else forwarded what it had received.
        if self.identity.writes(name) {
            return Err(Refusal::IdentityReused);
        }
        let all = Ranges::span(1, SEQ_OPEN_END);
        sync.queues.strike(&LogKey::of(&name), &all);
        Ok(())
    }

    // Requests of our own.

    /// Requests the bodies that are missing and that the session can send. Each session is asked once
    /// for a body, whoever else was asked.
    pub(super) fn request_bodies(&mut self, id: SessionId, shared: ConversationId, key: LogKey) {
        let bodies = self.bodies_from(id, shared, &key);
        let session = self.sessions.at_mut(id);
        if bodies.is_empty() || !session.may_send_more() {
            return;
        }
        let name = key.name(shared);
        let sync = session.syncs.get_mut(&shared);
        let sync = sync.expect("it announced these entries");
        sync.bodies.note_asked(key, &bodies);
        for (from, last) in bodies.iter() {
            sync.requests.add(key, from, Some(last));
        }
        for (from, last) in bodies.iter() {
            let to = Some(last);
            session.send(&Frame::Want { name, from, to }, &mut self.outputs);
        }
    }

    /// A session announced entries. Requests those that are missing, unless they will arrive anyway.
    pub(super) fn request_missing(&mut self, id: SessionId, shared: ConversationId, key: LogKey) {
        self.request_bodies(id, shared, key);
        if self.missing_from(id, shared, &key).is_empty() {
            return;
        }
        // A connected author sends by itself all entries that are meant for this node.
        if self.sessions.is_here(key.author, shared) {
            return self.expect_entries(shared, key.author);
        }
        let source = self.conversations.at(shared).pulls.source(key.author);
        let comes_from_elsewhere = source.is_some_and(|source| source != id);
        // A session that was asked for the open end of a log sends by itself what is new in it.
        let comes_from_here = source == Some(id)
            && self
                .sessions
                .sync(id, shared)
                .is_some_and(|sync| sync.requests.are_open(&key));
        if comes_from_elsewhere || comes_from_here {
            self.expect_entries(shared, key.author);
        } else {
            self.ask(id, shared, key.author);
        }
    }

    pub(super) fn request_missing_of(&mut self, shared: ConversationId, author: PersonId) {
        for (id, key) in self.sessions.announced(shared, Some(author)) {
            self.request_missing(id, shared, key);
        }
    }

    pub(super) fn request_all_missing(&mut self, shared: ConversationId) {
        for (id, key) in self.sessions.announced(shared, None) {
            self.request_missing(id, shared, key);
        }
    }

    /// Makes this session the source of an author's entries: requests all missing ones and all
    /// later ones.
    pub(super) fn ask(&mut self, id: SessionId, shared: ConversationId, author: PersonId) {
        let conversation = self.conversations.at_mut(shared);
        if let Some(former) = conversation.pulls.set_source(author, id) {
            self.send(former, &Frame::Prune(shared, author));
        }
        let sync = self.sessions.sync(id, shared).expect("it announced them");
        let of_author = sync.holdings.logs_of(author);
        let mut logs: Vec<_> = of_author.map(|(key, _)| *key).collect();
        // The peer answers in the order of the requests, and an author's logs must arrive in order.
        logs.sort_by_key(|key| sync.holdings.position(key));
        for key in logs {
            let missing = self.missing_from(id, shared, &key);
            self.request(id, key.name(shared), &missing);
        }
        self.expect_entries(shared, author);
    }

    fn request(&mut self, id: SessionId, name: LogName, missing: &Ranges) {
        let session = self.sessions.at_mut(id);
        let highest = missing.last();
        for (from, last) in missing.iter() {
            if !session.may_send_more() {
                // The peer reads slowly. What is still missing later is requested again.
                return;
            }
            // The last range is open, so that later entries are sent as well.
            let to = (Some(last) != highest).then_some(last);
            let sync = session.syncs.get_mut(&name.conversation);
            let sync = sync.expect("it announced these entries");
            sync.requests.add(LogKey::of(&name), from, to);
            session.send(&Frame::Want { name, from, to }, &mut self.outputs);
        }
    }

    /// Requests everything from `from` on, unless that was requested a moment ago.
    pub(super) fn request_gap(&mut self, id: SessionId, name: LogName, from: Seq) {
        let session = self.sessions.at_mut(id);
        if !session.may_send_more() {
            return;
        }
        let sync = session.syncs.get_mut(&name.conversation);
        let sync = sync.expect("the batch arrived in a shared conversation");
        let key = LogKey::of(&name);
        if sync.requests.add_gap(key, from, self.now.mono) {
            let to = None;
            session.send(&Frame::Want { name, from, to }, &mut self.outputs);
        }
    }

    /// The author's own session is ready and sends by itself. The session that forwarded the
    /// author's entries until now is asked to stop.
    pub(super) fn author_pushes_now(
        &mut self,
        id: SessionId,
        shared: ConversationId,
        author: PersonId,
    ) {
        let conversation = self.conversations.at_mut(shared);
        let former = conversation.pulls.end_source(author);
        let Some(former) = former.filter(|former| *former != id) else {
            return;
        };
        self.send(former, &Frame::Prune(shared, author));
        let sync = self.sessions.sync_mut(former, shared);
        let sync = sync.expect("a source shares the conversation");
        sync.requests.forget_author(author);
    }

    // Retries.

    /// Entries of this author are missing and should arrive soon. If none arrives in time, another
    /// session is asked.
    pub(super) fn expect_entries(&mut self, shared: ConversationId, author: PersonId) {
        let conversation = self.conversations.at_mut(shared);
        conversation.pulls.expect(author, self.now.mono);
        self.arm(Timer::PullRetry, PULL_RETRY_AFTER);
    }

    pub(super) fn try_next_sources(&mut self) {
        for (shared, author) in self.conversations.overdue(self.now.mono) {
            self.try_next_source(shared, author);
        }
        if let Some(next) = self.conversations.next_retry() {
            self.arm(Timer::PullRetry, next.saturating_sub(self.now.mono));
        }
    }

    fn try_next_source(&mut self, shared: ConversationId, author: PersonId) {
        let mut announced = self.sessions.announced(shared, Some(author));
        announced.retain(|(id, key)| !self.missing_from(*id, shared, key).is_empty());
        let able: BTreeSet<_> = announced.into_iter().map(|(id, _)| id).collect();
        let pulls = &mut self.conversations.at_mut(shared).pulls;
        if let Some(next) = pulls.next_source(author, &able, self.now.mono)
            && self.sessions.at(next).may_send_more()
        {
            self.ask(next, shared, author);
        }
    }

    /// Compares digests with one random member of each room.
    pub(super) fn compare_with_random_members(&mut self) {
        self.arm(Timer::AntiEntropy, ANTI_ENTROPY_EVERY);
        for room in self.conversations.room_ids() {
            let members: Vec<_> = self.sessions.connected(room).map(|(id, _)| id).collect();
            if members.is_empty() {
                continue;
            }
            let at = usize::try_from(self.rng.below(members.len() as u64)).expect("below a length");
            if self.sessions.at(members[at]).may_send_more() {
                self.compare_digests(members[at], room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hobnob_protocol::frame::{AuthorHeads, Digest};

    use super::super::testing::{
        Author, Bench, ME, batches, closed_room, compared, direct, open_room, peer, pruned, reads,
        received, refusals, wants,
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

    // Requests of our own.

    #[test]
    fn one_session_is_asked_for_an_authors_entries() {
        let (mut bench, dave) = room();
        let first = bench.have(1, dave.name, 1, 3);
        assert_eq!(wants(&first, 1), [(dave.name, 1, None)]);
        let second = bench.have(2, dave.name, 1, 3);
        assert_eq!(wants(&second, 2), []);
        // The request has an open end: it covers what is announced later.
        let more = bench.have(1, dave.name, 4, 5);
        assert_eq!(wants(&more, 1), []);
    }

    #[test]
    fn only_what_is_missing_is_requested() {
        let (mut bench, mut dave) = room();
        bench.have(1, dave.name, 1, 2);
        bench.batch(1, dave.write(&["a", "b"]));
        bench.hang_up(1, false);
        let outputs = bench.have(2, dave.name, 1, 4);
        assert_eq!(wants(&outputs, 2), [(dave.name, 3, None)]);
    }

    #[test]
    fn a_peer_with_holes_is_asked_for_each_piece() {
        let (mut bench, dave) = room();
        let mut pieces = Ranges::span(1, 3);
        pieces.insert(6, 7);
        let outputs = bench.heads(1, closed_room(), &[(dave.name, pieces)]);
        assert_eq!(
            wants(&outputs, 1),
            [(dave.name, 1, Some(3)), (dave.name, 6, None)]
        );
    }

    #[test]
    fn all_logs_of_an_author_are_requested_in_the_order_of_their_announcement() {
        let (mut bench, _) = room();
        let older = Author::with_log(DAVE, closed_room(), 9);
        let newer = Author::with_log(DAVE, closed_room(), 5);
        bench.have(2, older.name, 1, 1);
        bench.have(1, older.name, 1, 1);
        bench.have(1, newer.name, 1, 1);
        bench.have(2, newer.name, 1, 1);
        // Carol, who was asked, has gone. Bob is asked for both.
        let outputs = bench.hang_up(2, false);
        assert_eq!(
            wants(&outputs, 1),
            [(older.name, 1, None), (newer.name, 1, None)]
        );
    }

    #[test]
    fn a_connected_author_is_not_pulled_from_others() {
        let (mut bench, _) = room();
        let bob = Author::new(BOB, closed_room());
        let outputs = bench.have(2, bob.name, 1, 2);
        assert_eq!(wants(&outputs, 2), []);
        // If Bob does not send them himself, somebody else is asked.
        let later = bench.wait(PULL_RETRY_AFTER);
        assert_eq!(wants(&later, 2), [(bob.name, 1, None)]);
    }

    #[test]
    fn when_the_author_connects_the_former_source_stops() {
        let (mut bench, dave) = room();
        bench.have(1, dave.name, 1, 1);
        bench.connect(3, DAVE);
        let outputs = bench.meet_in(3, closed_room(), &[]);
        assert_eq!(pruned(&outputs, 1), [peer(DAVE)]);
    }

    #[test]
    fn a_source_that_sends_nothing_is_replaced() {
        let (mut bench, mut dave) = room();
        bench.have(1, dave.name, 1, 1);
        bench.have(2, dave.name, 1, 1);
        let early = bench.wait(PULL_RETRY_AFTER / 2);
        assert_eq!(wants(&early, 2), []);
        let later = bench.wait(PULL_RETRY_AFTER / 2);
        assert_eq!(pruned(&later, 1), [peer(DAVE)]);
        assert_eq!(wants(&later, 2), [(dave.name, 1, None)]);
        // What the first one sends after all is welcome. Nobody is asked any more.
        assert_eq!(received(&bench.batch(1, dave.write(&["a"]))), ["a"]);
        let outputs = bench.wait(Duration::from_secs(20));
        assert_eq!((wants(&outputs, 1), wants(&outputs, 2)), (vec![], vec![]));
    }

    #[test]
    fn an_entry_that_arrives_gives_the_source_more_time() {
        let (mut bench, mut dave) = room();
        bench.have(1, dave.name, 1, 2);
        bench.have(2, dave.name, 1, 2);
        bench.wait(PULL_RETRY_AFTER * 9 / 10);
        bench.batch(1, dave.write(&["a"]));
        let outputs = bench.wait(PULL_RETRY_AFTER * 9 / 10);
        assert_eq!(wants(&outputs, 2), []);
        let outputs = bench.wait(PULL_RETRY_AFTER / 10);
        assert_eq!(wants(&outputs, 2), [(dave.name, 2, None)]);
    }

    #[test]
    fn when_the_source_disconnects_another_one_is_asked_at_once() {
        let (mut bench, dave) = room();
        bench.have(1, dave.name, 1, 1);
        bench.have(2, dave.name, 1, 1);
        let outputs = bench.hang_up(1, false);
        assert_eq!(wants(&outputs, 2), [(dave.name, 1, None)]);
    }

    // Requests of a peer.

    #[test]
    fn a_request_with_an_end_is_answered_up_to_it() {
        let (mut bench, mut dave) = room();
        for text in ["a", "b", "c", "d"] {
            bench.batch(1, dave.write(&[text]));
        }
        let outputs = bench.want(2, dave.name, 2, Some(3));
        assert_eq!(batches(&outputs, 2), [(dave.name, 2, 2), (dave.name, 3, 3)]);
        // It makes the peer no follower.
        let outputs = bench.batch(1, dave.write(&["e"]));
        assert_eq!(batches(&outputs, 2), []);
    }

    #[test]
    fn a_request_from_the_first_entry_on_is_answered_from_there() {
        let (mut bench, mut dave) = room();
        for text in ["a", "b", "c"] {
            bench.batch(1, dave.write(&[text]));
        }
        let outputs = bench.want(2, dave.name, 2, None);
        assert_eq!(batches(&outputs, 2), [(dave.name, 2, 2), (dave.name, 3, 3)]);
    }

    #[test]
    fn a_request_for_a_log_that_nobody_wrote_is_ignored() {
        let (mut bench, dave) = room();
        let before = bench.replica.remembered_for_sessions();
        let outputs = bench.want(1, dave.name, 1, None);
        assert_eq!(reads(&outputs, 1), []);
        assert_eq!(bench.replica.remembered_for_sessions(), before);
    }

    #[test]
    fn a_request_in_a_room_that_is_not_shared_is_refused() {
        let (mut bench, _) = room();
        let foreign = Author::new(DAVE, open_room());
        let outputs = bench.want(1, foreign.name, 1, None);
        assert_eq!(refusals(&outputs), [Refusal::NotShared]);
        let outputs = bench.frame(1, Frame::Prune(open_room(), peer(DAVE)));
        assert_eq!(refusals(&outputs), [Refusal::NotShared]);
        let outputs = bench.frame(1, Frame::Conflict(foreign.name));
        assert_eq!(refusals(&outputs), [Refusal::NotShared]);
    }

    #[test]
    fn a_peer_that_prunes_an_author_gets_announcements_only() {
        let (mut bench, mut dave) = room();
        bench.batch(1, dave.write(&["a"]));
        bench.want(2, dave.name, 1, None);
        bench.frame(2, Frame::Prune(closed_room(), peer(DAVE)));
        let outputs = bench.batch(1, dave.write(&["b"]));
        assert_eq!(batches(&outputs, 2), []);
    }

    #[test]
    fn own_entries_cannot_be_pruned() {
        let (mut bench, _) = room();
        bench.frame(2, Frame::Prune(closed_room(), peer(ME)));
        let outputs = bench.append(closed_room(), "a");
        assert_eq!(batches(&outputs, 2), [(bench.own_log(closed_room()), 1, 1)]);
    }

    #[test]
    fn a_conflict_with_entries_of_this_run_means_that_the_identity_is_reused() {
        let (mut bench, dave) = room();
        let own = bench.own_log(direct(BOB));
        let outputs = bench.frame(1, Frame::Conflict(own));
        assert_eq!(refusals(&outputs), [Refusal::IdentityReused]);
        // Somebody else's conflict is that author's fault.
        let outputs = bench.frame(1, Frame::Conflict(dave.name));
        assert_eq!(refusals(&outputs), []);
    }

    // Digests of rooms.

    #[test]
    fn a_member_is_compared_with_every_half_minute() {
        let mut bench = Bench::new();
        bench.join(false);
        bench.connect(1, BOB);
        bench.meet_in(1, closed_room(), &[]);
        let outputs = bench.wait(2 * ANTI_ENTROPY_EVERY);
        assert_eq!(compared(&outputs, 1), [closed_room(); 2]);
    }

    #[test]
    fn members_that_agree_do_not_compare_again() {
        let mut bench = Bench::new();
        bench.join(false);
        bench.connect(1, BOB);
        bench.share_room(1, closed_room());
        let hash = AuthorHeads::digest(&[]);
        let digest = Digest { hash, clock: 0 };
        bench.frame(1, Frame::Digest(closed_room(), digest));
        let outputs = bench.wait(2 * ANTI_ENTROPY_EVERY);
        assert_eq!(compared(&outputs, 1), []);
        // A new entry changes the digest.
        bench.append(closed_room(), "a");
        let outputs = bench.wait(ANTI_ENTROPY_EVERY);
        assert_eq!(compared(&outputs, 1), [closed_room()]);
    }
}
