//! Strangers: the limit of what they store here, and what follows when the user accepts one. And
//! the other side of it: a peer whose user has not accepted us.
//!
//! This concerns direct messages only. Rooms have rules of their own: see `room_budget`.

use hobnob_protocol::{CheckedBatch, ConversationId, Frame, PersonId, Ranges};

use super::events::Output;
use super::refusal::Refusal;
use super::state::Replica;
use super::strangers::Charge;
use crate::SessionId;
use crate::commit::{Op, RequestRecord};

impl Replica {
    /// Whether the user has accepted this peer, or has written to it.
    pub fn is_contact(&self, peer: PersonId) -> bool {
        self.strangers.is_contact(peer)
    }

    /// Whether what this author writes in open rooms counts as a stranger's.
    pub(super) fn is_stranger(&self, author: PersonId) -> bool {
        author != self.identity.id && !self.strangers.is_contact(author)
    }

    /// How many direct messages of a stranger the user can read here. Those that the user has erased
    /// still count for the stranger's limit.
    pub fn request_of(&self, peer: PersonId) -> u64 {
        let stored = self.strangers.entries_of(peer);
        let direct = ConversationId::direct(self.identity.id, peer);
        let Some(conversation) = self.conversations.get(direct).filter(|_| stored > 0) else {
            return 0;
        };
        let logs = conversation.logs_of(peer);
        let shown: u64 = logs.map(|(_, log)| log.servable().len()).sum();
        stored.min(shown)
    }

    /// The strangers with messages here, and how much they have stored.
    pub fn requests(&self) -> impl Iterator<Item = &RequestRecord> {
        self.strangers.requests()
    }

    /// Bytes on disk of the messages of all strangers. The limit is
    /// [`REQUESTS_BYTES_MAX`](super::REQUESTS_BYTES_MAX).
    pub fn requests_bytes(&self) -> u64 {
        self.strangers.total()
    }

    /// How often messages were refused because strangers had stored too much together.
    pub fn requests_refused(&self) -> u64 {
        self.strangers.refused()
    }

    /// The charge for a batch, if it is a stranger's direct message.
    pub(super) fn charge_for(
        &self,
        session: SessionId,
        batch: &CheckedBatch,
        pieces: &Ranges,
    ) -> Option<Charge> {
        let name = batch.batch.name;
        let conversation = self.conversations.at(name.conversation);
        // Entries of our own come back to a node that has lost them.
        let is_own = name.author == self.identity.id;
        let counts = conversation.is_direct() && !is_own && !self.strangers.is_contact(name.author);
        let source = self.sessions.at(session).source;
        counts.then(|| Charge::new(source, batch, pieces))
    }

    /// Whether a stranger's batch can be stored. Once one was refused, the later ones are too, so
    /// that none overtakes it.
    pub(super) fn has_room_for(
        &mut self,
        session: SessionId,
        batch: &CheckedBatch,
        charge: &Charge,
    ) -> bool {
        let sync = self.sessions.sync(session, batch.batch.name.conversation);
        let refused = sync.expect("checked by the caller").refused_request;
        !refused && self.strangers.have_room(charge)
    }

    /// Refuses a stranger's batch. The stranger is notified once on each session.
    pub(super) fn refuse_request(&mut self, id: SessionId, direct: ConversationId) {
        let sync = self.sessions.sync_mut(id, direct);
        let sync = sync.expect("the batch arrived in a shared conversation");
        if std::mem::replace(&mut sync.refused_request, true) {
            return;
        }
        let stranger = self.sessions.at(id).person();
        self.send(id, &Frame::Waiting(direct));
        self.outputs.push_back(Output::RequestFull(stranger));
    }

    /// The user writes to a peer, and accepts it thereby.
    pub(super) fn accept_by_writing(&mut self, peer: PersonId) {
        if !self.strangers.is_contact(peer) {
            self.outputs.push_back(Output::Accepted(peer));
            self.accept_peer(peer);
        }
    }

    /// The user accepts a peer: requests what it was refused.
    pub(super) fn accept_peer(&mut self, peer: PersonId) {
        if self.strangers.accept(peer) {
            self.commit(vec![Op::RequestEnds(peer)], Vec::new());
        }
        self.conversations.count_author(peer, false);
        // The others may have waited for the room that the request has left.
        let refused = self.sessions.iter().flat_map(|(id, session)| {
            let direct = ConversationId::direct(self.identity.id, session.person());
            let sync = session.syncs.get(&direct);
            let refused = sync.is_some_and(|sync| sync.refused_request);
            let may_go_on = refused && self.strangers.may_send_more(session.person());
            may_go_on.then_some((id, direct, session.person()))
        });
        for (id, direct, stranger) in refused.collect::<Vec<_>>() {
            self.resume(id, direct, stranger);
        }
    }

    /// A contact becomes a stranger.
    pub(super) fn part_with(&mut self, peer: PersonId) {
        self.strangers.part_with(peer);
        self.conversations.count_author(peer, true);
    }

    /// Requests the entries that a stranger was refused.
    fn resume(&mut self, id: SessionId, direct: ConversationId, stranger: PersonId) {
        let sync = self.sessions.sync_mut(id, direct);
        sync.expect("found by the caller").refused_request = false;
        // Its newer logs wait for what is missing of the older ones, as after a failure of the disk.
        let pulls = &mut self.conversations.at_mut(direct).pulls;
        pulls.set_back(stranger, self.now.mono);
        self.ask(id, direct, stranger);
    }

    /// The peer refuses our messages until its user accepts us. It will request them.
    pub(super) fn consent_awaited(
        &mut self,
        id: SessionId,
        direct: ConversationId,
    ) -> Result<(), Refusal> {
        if !self.sessions.at(id).syncs.contains_key(&direct) {
            return Err(Refusal::NotShared);
        }
        if !self.conversations.at(direct).is_direct() {
            return Err(Refusal::Misplaced);
        }
        self.set_awaits_consent(id, direct, true)
    }

    /// Notes whether the peer refuses our messages, and reports a change.
    pub(super) fn set_awaits_consent(
        &mut self,
        id: SessionId,
        direct: ConversationId,
        awaits: bool,
    ) -> Result<(), Refusal> {
        let sync = self.sessions.sync_mut(id, direct);
        let sync = sync.ok_or(Refusal::NotShared)?;
        if std::mem::replace(&mut sync.awaits_consent, awaits) != awaits {
            let peer = self.sessions.at(id).person();
            self.outputs.push_back(Output::AwaitsConsent(peer, awaits));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::events::{EraseWhat, Input, Token, Undelivered};
    use super::super::strangers::REQUEST_ENTRIES_MAX;
    use super::super::testing::{
        Author, Bench, batches, commits, direct, frames, peer, receipts, received, refusals, wants,
    };
    use super::*;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;

    /// A session 1 with Bob, a stranger, who writes in the direct conversation.
    fn with_stranger() -> (Bench, Author) {
        let mut bench = Bench::new();
        bench.connect_stranger(1, BOB);
        (bench, Author::new(BOB, direct(BOB)))
    }

    /// Bob writes as much as a stranger may.
    fn with_full_request() -> (Bench, Author) {
        let (mut bench, mut bob) = with_stranger();
        for _ in 0..REQUEST_ENTRIES_MAX {
            bench.batch(1, bob.write(&["hello"]));
        }
        (bench, bob)
    }

    fn is_accepted(outputs: &[Output]) -> bool {
        let by_writing = |output: &Output| matches!(output, Output::Accepted(_));
        outputs.iter().any(by_writing)
    }

    fn awaits(outputs: &[Output]) -> Vec<bool> {
        let mut awaits = Vec::new();
        for output in outputs {
            if let Output::AwaitsConsent(_, now) = output {
                awaits.push(*now);
            }
        }
        awaits
    }

    #[test]
    fn a_request_that_the_user_erases_is_none_and_still_counts_for_the_limit() {
        let (mut bench, mut bob) = with_stranger();
        bench.batch(1, bob.write(&["a"]));
        assert_eq!(bench.replica.request_of(peer(BOB)), 1);
        let what = EraseWhat {
            only: None,
            undelivered: Undelivered::Ask,
        };
        bench.settle(Input::Erase(Token(1), direct(BOB), what));
        assert_eq!(bench.replica.request_of(peer(BOB)), 0);
        assert_eq!(bench.replica.requests().count(), 1);
        bench.batch(1, bob.write(&["b"]));
        assert_eq!(bench.replica.request_of(peer(BOB)), 1);
    }

    #[test]
    fn the_first_messages_of_a_stranger_are_shown_at_once() {
        let (mut bench, mut bob) = with_stranger();
        for _ in 0..REQUEST_ENTRIES_MAX {
            assert_eq!(received(&bench.batch(1, bob.write(&["hello"]))), ["hello"]);
        }
        let request = bench.replica.requests().next().expect("a request");
        assert_eq!((request.peer, request.entries), (peer(BOB), 20));
        assert!(
            bench.replica.requests_bytes() > request.bytes,
            "on disk, they take more than their bytes"
        );
        assert!(!bench.replica.is_contact(peer(BOB)));
    }

    #[test]
    fn a_message_beyond_the_limit_is_neither_stored_nor_acknowledged() {
        let (mut bench, mut bob) = with_full_request();
        let outputs = bench.batch(1, bob.write(&["too much"]));
        assert_eq!((commits(&outputs), receipts(&outputs, 1)), (vec![], vec![]));
        assert_eq!(frames(&outputs, 1), [Frame::Waiting(direct(BOB))]);
        let again = bench.batch(1, bob.write(&["more"]));
        assert_eq!(frames(&again, 1), [], "the stranger knows");
        assert_eq!(refusals(&again), []);
        assert_eq!(wants(&bench.wait(Duration::from_secs(60)), 1), []);
    }

    #[test]
    fn a_new_session_does_not_renew_the_limit() {
        let (mut bench, mut bob) = with_full_request();
        bench.settle(Input::SessionDown {
            session: SessionId(1),
            goodbye: true,
        });
        bench.connect_stranger(2, BOB);
        let outputs = bench.batch(2, bob.write(&["too much"]));
        assert_eq!(frames(&outputs, 2), [Frame::Waiting(direct(BOB))]);
    }

    #[test]
    fn an_accepted_stranger_is_asked_for_what_it_was_refused() {
        let (mut bench, mut bob) = with_full_request();
        let refused = [bob.write(&["21"]), bob.write(&["22"])];
        for batch in &refused {
            bench.batch(1, batch.clone());
        }
        let outputs = bench.settle(Input::Accept(peer(BOB)));
        assert_eq!(wants(&outputs, 1), [(bob.name, 21, None)]);
        for (batch, text) in refused.into_iter().zip(["21", "22"]) {
            assert_eq!(received(&bench.batch(1, batch)), [text]);
        }
        assert_eq!(bench.replica.requests_bytes(), 0);
    }

    #[test]
    fn a_newer_log_does_not_overtake_what_was_refused() {
        let (mut bench, mut old) = with_full_request();
        let refused = old.write(&["21"]);
        bench.batch(1, refused.clone());
        let mut new = Author::with_log(BOB, direct(BOB), 2);
        let too_early = new.write(&["22"]);
        bench.batch(1, too_early.clone());
        bench.settle(Input::Accept(peer(BOB)));
        assert_eq!(refusals(&bench.batch(1, too_early.clone())), [Refusal::Gap]);
        assert_eq!(received(&bench.batch(1, refused)), ["21"]);
        assert_eq!(received(&bench.batch(1, too_early)), ["22"]);
    }

    #[test]
    fn to_write_to_a_stranger_accepts_it() {
        let (mut bench, mut bob) = with_full_request();
        assert!(is_accepted(&bench.append(direct(BOB), "hello Bob")));
        assert!(!is_accepted(&bench.append(direct(BOB), "again")));
        assert_eq!(received(&bench.batch(1, bob.write(&["21"]))), ["21"]);
    }

    #[test]
    fn a_peer_that_returns_own_messages_to_an_older_home_is_a_contact() {
        let (mut bench, _) = with_stranger();
        let mut earlier = Author::with_log(super::super::testing::ME, direct(BOB), 99);
        assert!(is_accepted(&bench.batch(1, earlier.write(&["hello Bob"]))));
        assert!(bench.replica.is_contact(peer(BOB)));
    }

    #[test]
    fn a_contact_that_is_removed_is_a_stranger_again() {
        let (mut bench, mut bob) = with_stranger();
        bench.settle(Input::Accept(peer(BOB)));
        bench.batch(1, bob.write(&["x"; 30]));
        bench.settle(Input::Unaccept(peer(BOB)));
        assert_eq!(received(&bench.batch(1, bob.write(&["y"; 20]))).len(), 20);
        let outputs = bench.batch(1, bob.write(&["z"]));
        assert_eq!(frames(&outputs, 1), [Frame::Waiting(direct(BOB))]);
    }

    #[test]
    fn what_the_disk_did_not_take_of_a_stranger_is_free_again() {
        let (mut bench, mut bob) = with_stranger();
        let batch = bob.write(&["x"; 20]);
        let arrived = bench.handle(Input::Batch(SessionId(1), batch.clone()));
        let failed = Input::CommitFailed(commits(&arrived)[0], "full".to_owned());
        bench.handle(failed);
        assert_eq!(bench.replica.requests_bytes(), 0);
        assert_eq!(received(&bench.batch(1, batch)).len(), 20);
    }

    #[test]
    fn messages_to_a_room_are_no_request() {
        let (mut bench, _) = with_stranger();
        let room = super::super::testing::closed_room();
        bench.join(false);
        bench.meet_in(1, room, &[]);
        let mut bob = Author::new(BOB, room);
        assert_eq!(received(&bench.batch(1, bob.write(&["x"; 50]))).len(), 50);
        assert_eq!(bench.replica.requests().count(), 0);
    }

    #[test]
    fn a_sender_knows_while_it_awaits_consent() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.append(direct(BOB), "hello Bob");
        let waiting = bench.frame(1, Frame::Waiting(direct(BOB)));
        assert_eq!(awaits(&waiting), [true]);
        let name = bench.own_log(direct(BOB));
        let want = Frame::Want {
            name,
            from: 1,
            to: None,
        };
        let requested = bench.frame(1, want);
        assert_eq!(awaits(&requested), [false]);
        assert_eq!(batches(&requested, 1), [(name, 1, 1)], "sent again");
    }

    #[test]
    fn nobody_awaits_consent_in_a_room_or_in_a_conversation_of_others() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let room = super::super::testing::open_room();
        bench.join(true);
        bench.meet_in(1, room, &[]);
        let in_room = bench.frame(1, Frame::Waiting(room));
        assert_eq!(refusals(&in_room), [Refusal::Misplaced]);
        let of_others = bench.frame(1, Frame::Waiting(direct(CAROL)));
        assert_eq!(refusals(&of_others), [Refusal::NotShared]);
    }

    #[test]
    fn the_first_messages_are_batches_of_their_own_until_there_is_an_answer() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let first = bench.begin_append(1, direct(BOB), "a");
        for token in 2..5 {
            bench.begin_append(token, direct(BOB), "b");
        }
        let outputs = bench.settle(Input::Committed(commits(&first)[0]));
        let name = bench.own_log(direct(BOB));
        let alone = [(name, 1, 1), (name, 2, 2), (name, 3, 3), (name, 4, 4)];
        assert_eq!(batches(&outputs, 1), alone);
    }
}
