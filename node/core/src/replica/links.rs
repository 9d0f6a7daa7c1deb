//! Sessions: when they begin and end, which conversations they share, and what this means for the
//! audiences of open rooms.
//!
//! A session starts with a digest per shared conversation. Heads follow where the digests differ.
//! After that, `Have` frames keep the picture current: they are receipts, and announcements of
//! entries to request.

use std::collections::BTreeSet;

use hobnob_protocol::{ConversationId, DeviceId, Frame};

use super::events::Output;
use super::refusal::Refusal;
use super::saving::SAVE_AFTER;
use super::session::Session;
use super::state::Replica;
use super::timers::Timer;
use crate::SessionId;
use crate::commit::{NetworkId, Op};
use crate::source_network::SourceNetwork;

impl Replica {
    pub(super) fn session_up(
        &mut self,
        id: SessionId,
        peer: DeviceId,
        network: Option<NetworkId>,
        source: SourceNetwork,
    ) {
        self.open_direct(peer.person());
        let heard = network.is_none_or(|network| self.networks.contains(&network));
        let networks = (network, source);
        let session = Session::new(id, peer, networks, heard, self.now.mono);
        self.sessions.add(session);
        self.share(id, ConversationId::direct(self.identity.id, peer.person()));
    }

    pub(super) fn session_rooms(&mut self, id: SessionId, rooms: &BTreeSet<ConversationId>) {
        let session = self.sessions.at(id);
        let direct = ConversationId::direct(self.identity.id, session.person());
        let mut before: BTreeSet<_> = session.syncs.keys().copied().collect();
        before.remove(&direct);
        for left in before.difference(rooms) {
            self.unshare(id, *left, true);
        }
        for joined in rooms.difference(&before) {
            if self.conversations.contains(*joined) {
                self.share(id, *joined);
            }
        }
    }

    pub(super) fn session_down(&mut self, id: SessionId, goodbye: bool) {
        let direct = ConversationId::direct(self.identity.id, self.sessions.at(id).person());
        for shared in self.shared_by(id) {
            self.unshare(id, shared, goodbye);
        }
        self.sessions.remove(id);
        self.ended.insert(direct);
        self.forget_unused();
    }

    /// Forgets the direct conversations with peers that have gone, if nobody ever wrote in them.
    /// Otherwise each identity that connects would be remembered.
    pub(super) fn forget_unused(&mut self) {
        // What was rolled back may reach the disk all the same.
        if self.commits.any_is_rolled_back() {
            return;
        }
        for direct in std::mem::take(&mut self.ended) {
            if self.sessions.sharing(direct).next().is_none() {
                self.conversations.remove_unused(direct);
            }
        }
    }

    fn shared_by(&self, id: SessionId) -> Vec<ConversationId> {
        self.sessions.at(id).syncs.keys().copied().collect()
    }

    /// The peer has answered on a network that this node is on now. Entries that arrived since the
    /// node left another network are for the peer as well.
    pub(super) fn confirmed(&mut self, id: SessionId, network: Option<NetworkId>) {
        if network.is_some_and(|network| !self.networks.contains(&network)) {
            // The node has left this network again. Another question was asked since.
            return;
        }
        let session = self.sessions.at_mut(id);
        (session.heard, session.network) = (true, network);
        let peer = session.person();
        for shared in self.shared_by(id) {
            let conversation = self.conversations.at_mut(shared);
            if !conversation.is_open_room() {
                continue;
            }
            let audiences = &mut conversation.audiences;
            let grown = audiences.confirmed(peer, id, network);
            self.presence_changed(shared);
            if grown.is_empty() {
                continue;
            }
            let audiences = &self.conversations.at(shared).audiences;
            let wall_ms = self.now.wall_ms;
            let record = |grown| Op::Audience(audiences.record(grown, shared, wall_ms));
            let ops = grown.into_iter().map(record).collect();
            self.commit(ops, Vec::new());
            self.offer_own(id, shared);
            self.announce_all(id, shared);
        }
    }

    pub(super) fn networks_changed(&mut self, networks: BTreeSet<NetworkId>) {
        if networks == self.networks {
            return;
        }
        for (_, session) in self.sessions.iter_mut() {
            let is_left = |network| !networks.contains(&network);
            if session.network.is_some_and(is_left) {
                session.heard = false;
            }
        }
        self.conversations.networks_changed(&networks);
        self.networks = networks;
        // After a crash, the peers of a network that was left must not be found again.
        self.save_sign_of_life();
    }

    fn share(&mut self, id: SessionId, shared: ConversationId) {
        let session = self.sessions.at_mut(id);
        let early_digest = session.share(shared);
        let conversation = self.conversations.at_mut(shared);
        if conversation.is_open_room() {
            let (network, heard) = (session.network, session.heard);
            conversation
                .audiences
                .came(session.person(), id, network, heard);
            self.presence_changed(shared);
        }
        self.send_digest(id, shared);
        if let Some(digest) = early_digest {
            self.digest(id, shared, digest)
                .expect("the conversation is shared now");
        }
    }

    fn unshare(&mut self, id: SessionId, shared: ConversationId, goodbye: bool) {
        let session = self.sessions.at_mut(id);
        session.unshare(shared);
        let peer = session.person();
        let conversation = self.conversations.at_mut(shared);
        let orphaned = conversation.pulls.drop_session(id);
        if conversation.is_open_room() {
            conversation.audiences.went(peer, id, goodbye, self.now);
            self.presence_changed(shared);
        }
        for author in orphaned {
            self.request_missing_of(shared, author);
        }
        self.request_missing_of(shared, peer);
    }

    fn presence_changed(&mut self, room: ConversationId) {
        self.conversations.presence_changed(room);
        self.arm(Timer::Save, SAVE_AFTER);
    }

    pub(super) fn frame(&mut self, id: SessionId, frame: Frame) {
        let result = match frame {
            Frame::Digest(conversation, digest) => self.digest(id, conversation, digest),
            Frame::Heads {
                conversation,
                more,
                authors,
            } => self.heads(id, conversation, more, authors),
            Frame::Have(name, held) => self.have(id, name, held),
            Frame::Want { name, from, to } => self.want(id, name, from, to),
            Frame::Prune(conversation, author) => self.prune(id, conversation, author),
            Frame::Conflict(name) => self.conflict_reported(id, name),
            Frame::Waiting(conversation) => self.consent_awaited(id, conversation),
            Frame::Unknown(_) => Ok(()),
            Frame::Hello(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Profile(_)
            | Frame::Candidates(_)
            | Frame::DialBack(_)
            | Frame::DialedBack(_)
            | Frame::Batch(_)
            | Frame::Records { .. }
            | Frame::WantRecords(_)
            | Frame::ContactRecord(_)
            | Frame::Mailbox { .. }
            | Frame::Content { .. }
            | Frame::Room(_)
            | Frame::HoldsMail(_)
            | Frame::WantPicture(_)
            | Frame::Picture(..)
            | Frame::Activity(_)
            | Frame::Offer(..)
            | Frame::Invite(_) => Err(Refusal::Misplaced),
        };
        if let Err(refusal) = result {
            self.outputs.push_back(Output::Refused(id, None, refusal));
        }
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::Ranges;

    use super::super::events::Input;
    use super::super::testing::{
        Author, Bench, appended, batches, closed_room, commits, compared, direct, entering, frames,
        open_room, peer, received, refusals,
    };
    use super::*;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;

    fn rooms(bench: &mut Bench, rooms: &[ConversationId]) -> Vec<Output> {
        let rooms = rooms.iter().copied().collect();
        bench.settle(Input::SessionRooms(SessionId(1), rooms))
    }

    #[test]
    fn the_direct_conversation_exists_as_soon_as_the_peer_connects() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        assert!(bench.replica.kind(direct(BOB)).is_some());
        assert_eq!(bench.replica.here(direct(BOB)), [peer(BOB)].into());
        let mut bob = Author::new(BOB, direct(BOB));
        assert_eq!(received(&bench.batch(1, bob.write(&["a"]))), ["a"]);
    }

    #[test]
    fn a_peer_that_only_connects_leaves_no_conversation() {
        let mut bench = Bench::new();
        for session in [1, 2] {
            bench.connect(session, BOB);
        }
        bench.hang_up(1, true);
        assert!(bench.replica.kind(direct(BOB)).is_some(), "a session left");
        bench.hang_up(2, true);
        assert!(bench.replica.kind(direct(BOB)).is_none());
        bench.connect(3, BOB);
        let mut bob = Author::new(BOB, direct(BOB));
        bench.batch(3, bob.write(&["a"]));
        bench.hang_up(3, true);
        assert!(bench.replica.kind(direct(BOB)).is_some(), "he wrote");
    }

    #[test]
    fn a_conversation_that_the_user_has_opened_is_there_when_the_peer_goes() {
        let mut bench = Bench::new();
        bench.settle(Input::OpenDirect(peer(BOB)));
        bench.connect(1, BOB);
        bench.hang_up(1, true);
        assert_eq!(appended(&bench.append(direct(BOB), "a")), [1]);
    }

    #[test]
    fn a_conversation_stays_while_the_disk_may_still_take_its_first_entry() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let joining = commits(&bench.handle(entering(false)));
        let mut bob = Author::new(BOB, direct(BOB));
        let arriving = commits(&bench.handle(Input::Batch(SessionId(1), bob.write(&["a"]))));
        bench.handle(Input::CommitFailed(joining[0], "full".to_owned()));
        bench.hang_up(1, true);
        let durable = bench.settle(Input::Committed(arriving[0]));
        assert_eq!(received(&durable), ["a"]);
        // A commit that fails leaves nothing.
        bench.connect(2, CAROL);
        let mut carol = Author::new(CAROL, direct(CAROL));
        let batch = Input::Batch(SessionId(2), carol.write(&["b"]));
        let arriving = commits(&bench.handle(batch));
        bench.hang_up(2, true);
        assert!(bench.replica.kind(direct(CAROL)).is_some());
        bench.handle(Input::CommitFailed(arriving[0], "full".to_owned()));
        assert!(bench.replica.kind(direct(CAROL)).is_none());
    }

    #[test]
    fn a_room_is_shared_while_both_ends_are_in_it() {
        let mut bench = Bench::new();
        bench.join(true);
        bench.join(false);
        bench.connect(1, BOB);
        let outputs = rooms(&mut bench, &[open_room(), closed_room()]);
        assert_eq!(compared(&outputs, 1).len(), 2);
        assert_eq!(bench.replica.here(open_room()), [peer(BOB)].into());
        // A room that stays in the list is not shared a second time.
        assert_eq!(frames(&rooms(&mut bench, &[closed_room()]), 1), []);
        assert_eq!(bench.replica.here(open_room()), [].into());
        assert_eq!(bench.replica.here(closed_room()), [peer(BOB)].into());
        // The direct conversation is shared whatever the rooms are.
        assert_eq!(bench.replica.here(direct(BOB)), [peer(BOB)].into());
    }

    #[test]
    fn a_room_that_this_node_never_entered_is_not_shared() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        assert_eq!(frames(&rooms(&mut bench, &[closed_room()]), 1), []);
        assert_eq!(bench.replica.here(closed_room()), [].into());
    }

    #[test]
    fn after_a_session_ended_nothing_happens_on_it() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.hang_up(1, true);
        assert_eq!(bench.replica.here(direct(BOB)), [].into());
        let mut bob = Author::new(BOB, direct(BOB));
        assert!(bench.batch(1, bob.write(&["late"])).is_empty());
        assert_eq!(batches(&bench.append(direct(BOB), "a"), 1), []);
        assert_eq!(bench.replica.remembered_for_sessions(), 0);
    }

    #[test]
    fn who_left_with_a_goodbye_misses_what_is_said_in_an_open_room() {
        for (goodbye, gets_it) in [(true, false), (false, true)] {
            let mut bench = Bench::new();
            bench.join(true);
            bench.connect(1, BOB);
            bench.meet_in(1, open_room(), &[]);
            bench.hang_up(1, goodbye);
            bench.append(open_room(), "a");
            bench.connect(2, BOB);
            let outputs = bench.meet_in(2, open_room(), &[]);
            assert_eq!(!batches(&outputs, 2).is_empty(), gets_it, "{goodbye}");
        }
    }

    #[test]
    fn a_second_session_keeps_the_peer_in_the_room() {
        let mut bench = Bench::new();
        bench.join(true);
        for session in [1, 2] {
            bench.connect(session, BOB);
            bench.meet_in(session, open_room(), &[]);
        }
        bench.hang_up(1, true);
        let outputs = bench.append(open_room(), "a");
        assert_eq!(batches(&outputs, 2).len(), 1);
    }

    #[test]
    fn a_peer_of_a_network_that_was_left_gets_messages_once_it_answers() {
        let mut bench = Bench::new();
        bench.join(true);
        bench.connect(1, BOB);
        bench.meet_in(1, open_room(), &[]);
        let elsewhere = NetworkId(99);
        bench.settle(Input::NetworksChanged([elsewhere].into()));
        assert_eq!(batches(&bench.append(open_room(), "a"), 1), []);
        // An answer by the former network is too old.
        let former = Input::Confirmed(SessionId(1), Some(NetworkId(98)));
        assert_eq!(batches(&bench.settle(former), 1), []);
        let answer = Input::Confirmed(SessionId(1), Some(elsewhere));
        let log = bench.own_log(open_room());
        assert_eq!(batches(&bench.settle(answer), 1), [(log, 1, 1)]);
    }

    #[test]
    fn frames_of_other_streams_are_refused_and_unknown_ones_ignored() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let outputs = bench.frame(1, Frame::Ping(1));
        assert_eq!(refusals(&outputs), [Refusal::Misplaced]);
        let outputs = bench.frame(1, Frame::Unknown(99));
        assert_eq!(refusals(&outputs), []);
    }

    #[test]
    fn an_author_who_hangs_up_is_pulled_from_others() {
        let mut bench = Bench::in_closed_room(&[BOB, CAROL]);
        let bob = Author::new(BOB, closed_room());
        bench.frame(2, Frame::Have(bob.name, Ranges::span(1, 1).into()));
        let outputs = bench.hang_up(1, true);
        let request = Frame::Want {
            name: bob.name,
            from: 1,
            to: None,
        };
        assert_eq!(frames(&outputs, 2), [request]);
    }
}
