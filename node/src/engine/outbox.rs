//! Messages of this node: on their way to the disk, and how far each has come with each peer.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hobnob_core::ClientId;
use hobnob_core::replica::Token;
use hobnob_protocol::{Body, ConversationId, DeviceId, LogName, PersonId, Ranges, Seq};
use tokio::sync::oneshot;

use super::claims::{Claims, SendReply};
use super::waiters::{Waiter, Waiters};
use crate::api::{ConversationRef, DeliveryState, MessageId, Sent};
use crate::error::{NodeError, SendError};

/// Messages to rooms whose addressees are remembered. For an older message, `wait_for` acts as if
/// the room had been empty.
const ADDRESSED_MAX: usize = 8192;

/// Maximum addressees of all these messages together, which is 8 MiB. A crowded room reaches this limit
/// first.
const ADDRESSEES_MAX: usize = 256 * 1024;

/// Maximum pairs of a log and a device for which this run remembers what was sent. A further pair
/// replaces the oldest, whose messages count as queued until they are delivered. Each stranger in an
/// open room adds a pair.
const SENT_MAX: usize = 16_384;

/// The messages of this node.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Messages that the disk does not hold yet.
    sending: BTreeMap<Token, Sending>,
    /// The direct conversations that were opened in this run, by peer.
    opened: BTreeMap<PersonId, ConversationId>,
    waiters: Waiters,
    /// Messages that programs named themselves.
    pub(super) claims: Claims,
    /// The entries that were written to a session with each peer, by log.
    sent: BTreeMap<(LogName, DeviceId), Ranges>,
    /// The keys of `sent`, the oldest first.
    sent_first: VecDeque<(LogName, DeviceId)>,
    /// The entries that a holder has for each peer, by log.
    held: BTreeMap<(LogName, DeviceId), Ranges>,
    /// The addressees of the newest messages to rooms.
    addressed: VecDeque<(MessageId, Vec<PersonId>)>,
    /// The number of all these addressees.
    addressees: usize,
    /// Peers that refuse messages of this node until their users accept it.
    awaiting_consent: BTreeSet<PersonId>,
    last_token: u64,
}

/// A message on its way to the disk.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) to: ConversationRef,
    pub(super) body: Body,
    pub(super) answer: AnswerTo,
}

/// Who is answered when a message is on disk.
#[derive(Debug)]
pub(super) enum AnswerTo {
    /// The user who sends it.
    User(SendReply),
    /// Everybody who waits for the message with this name.
    Named(ClientId),
}

impl Outbox {
    /// A token for the next request to the replica.
    pub(super) fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// A message goes to the replica. The replica answers with the token.
    pub(super) fn add(&mut self, sending: Sending) -> Token {
        let token = self.token();
        self.sending.insert(token, sending);
        token
    }

    /// The replica has answered: the message is on disk, or never will be. Each token is answered
    /// once.
    pub(super) fn take(&mut self, token: Token) -> Option<Sending> {
        self.sending.remove(&token)
    }

    /// A message is on disk, or never will be.
    pub(super) fn answer(&mut self, to: AnswerTo, outcome: Result<Sent, SendError>) {
        match to {
            // A user who stopped waiting needs no answer.
            AnswerTo::User(reply) => drop(reply.send(outcome)),
            AnswerTo::Named(id) => self.claims.answer(&id, &outcome),
        }
    }

    /// The direct conversation of this node, `me`, with a peer, and whether it has yet to be opened in
    /// this run. The caller opens it.
    pub(super) fn open_direct(&mut self, me: PersonId, peer: PersonId) -> (ConversationId, bool) {
        match self.opened.entry(peer) {
            Entry::Occupied(opened) => (*opened.get(), false),
            Entry::Vacant(new) => (*new.insert(ConversationId::direct(me, peer)), true),
        }
    }

    /// Messages were written to a session with a peer.
    pub(super) fn note_sent(&mut self, name: LogName, peer: DeviceId, ranges: &Ranges) {
        if !self.sent.contains_key(&(name, peer)) {
            self.sent_first.push_back((name, peer));
            if self.sent_first.len() > SENT_MAX
                && let Some(first) = self.sent_first.pop_front()
            {
                self.sent.remove(&first);
            }
        }
        self.sent
            .entry((name, peer))
            .or_default()
            .insert_all(ranges);
        self.waiters
            .reached(name, ranges, peer.person(), DeliveryState::Sent);
        if self.awaits_consent(peer.person()) {
            self.give_up(peer.person());
        }
    }

    /// A holder has messages for a peer on disk.
    pub(super) fn note_held(&mut self, name: LogName, peer: DeviceId, ranges: &Ranges) {
        self.held
            .entry((name, peer))
            .or_default()
            .insert_all(ranges);
        self.waiters
            .reached(name, ranges, peer.person(), DeliveryState::Held);
    }

    /// No holder has messages for a peer that the peer could open.
    pub(super) fn note_nothing_held(&mut self, peer: DeviceId) {
        self.held.retain(|(_, of), _| *of != peer);
    }

    /// The peer has left a room. What a holder has of it for the peer does not count, and nobody waits
    /// until the peer has something of it.
    pub(super) fn note_left(&mut self, room: ConversationId, peer: DeviceId) {
        let is_of = |name: &LogName| name.conversation == room;
        self.held
            .retain(|(name, of), _| *of != peer || !is_of(name));
        self.waiters.left(room, peer.person());
    }

    /// A peer has messages on disk.
    pub(super) fn note_delivered(&mut self, name: LogName, peer: DeviceId, ranges: &Ranges) {
        if let Some(held) = self.held.get_mut(&(name, peer)) {
            *held = held.minus(ranges);
            if held.is_empty() {
                self.held.remove(&(name, peer));
            }
        }
        self.waiters
            .reached(name, ranges, peer.person(), DeliveryState::Delivered);
    }

    /// A peer refuses messages of this node until its user accepts it, or does so no longer. Returns
    /// whether that has changed.
    pub(super) fn note_awaits_consent(&mut self, peer: PersonId, awaits: bool) -> bool {
        if awaits {
            let is_new = self.awaiting_consent.insert(peer);
            self.give_up(peer);
            is_new
        } else {
            self.awaiting_consent.remove(&peer)
        }
    }

    fn give_up(&mut self, peer: PersonId) {
        let sent = &self.sent;
        self.waiters.give_up(peer, |(name, seq)| {
            let of_log = sent.get(&(*name, peer.only_device()));
            of_log.is_some_and(|sent| sent.contains(*seq))
        });
    }

    /// Whether a peer refuses messages of this node until its user accepts it.
    pub(super) fn awaits_consent(&self, peer: PersonId) -> bool {
        self.awaiting_consent.contains(&peer)
    }

    /// A user waits until a message has this state with all its addressees. `delivered` names the
    /// peers that have it on disk. A direct message that its peer refuses is not waited for.
    pub(super) fn wait_for(
        &mut self,
        (name, seq): (LogName, Seq),
        state: DeliveryState,
        is_direct: bool,
        addressees: Vec<PersonId>,
        delivered: &[DeviceId],
        reply: oneshot::Sender<Result<DeliveryState, NodeError>>,
    ) {
        let has_it = |peer: &PersonId| self.state_with(name, seq, *peer, delivered) >= state;
        let missing = addressees.into_iter().filter(|peer| !has_it(peer));
        let missing: BTreeSet<_> = missing.collect();
        let refusing = missing
            .iter()
            .copied()
            .find(|peer| self.awaits_consent(*peer));
        let waiter = Waiter {
            is_direct,
            state,
            missing,
            reply,
        };
        self.waiters.add(name, seq, waiter);
        if let Some(peer) = refusing {
            self.give_up(peer);
        }
    }

    /// Remembers who a new message to a room is for.
    pub(super) fn note_addressees(&mut self, id: MessageId, peers: Vec<PersonId>) {
        self.addressees += peers.len();
        self.addressed.push_back((id, peers));
        while (self.addressed.len() > ADDRESSED_MAX || self.addressees > ADDRESSEES_MAX)
            && let Some((_, peers)) = self.addressed.pop_front()
        {
            self.addressees -= peers.len();
        }
    }

    /// The recipients of a message to a room.
    pub(super) fn addressees(&self, id: MessageId) -> Vec<PersonId> {
        let mut newest_first = self.addressed.iter().rev();
        newest_first
            .find(|(of, _)| *of == id)
            .map(|(_, peers)| peers.clone())
            .unwrap_or_default()
    }

    /// How far a message has come: with its one addressee, or in a room with the least advanced
    /// peer that it was sent to. `delivered` names the peers that have it on disk.
    pub(super) fn state(&self, name: LogName, seq: Seq, delivered: &[DeviceId]) -> DeliveryState {
        let of_log = self
            .sent
            .range((name, DeviceId::from_bytes([0; 32]))..)
            .take_while(|((of, _), _)| *of == name);
        let sent_to = of_log
            .filter(|(_, ranges)| ranges.contains(seq))
            .map(|((_, peer), _)| *peer);
        let of_log = self
            .held
            .range((name, DeviceId::from_bytes([0; 32]))..)
            .take_while(|((of, _), _)| *of == name);
        let held = of_log.filter(|(_, ranges)| ranges.contains(seq));
        let held_for: Vec<_> = held.map(|((_, peer), _)| *peer).collect();
        let mut waiting = sent_to.filter(|peer| !delivered.contains(peer));
        match waiting.find(|peer| !held_for.contains(peer)) {
            Some(_) => DeliveryState::Sent,
            None if held_for.iter().any(|peer| !delivered.contains(peer)) => DeliveryState::Held,
            None if !delivered.is_empty() => DeliveryState::Delivered,
            None => DeliveryState::Queued,
        }
    }

    /// How far a message has come with one peer.
    fn state_with(
        &self,
        name: LogName,
        seq: Seq,
        peer: PersonId,
        delivered: &[DeviceId],
    ) -> DeliveryState {
        if delivered.contains(&peer.only_device()) {
            DeliveryState::Delivered
        } else if self
            .held
            .get(&(name, peer.only_device()))
            .is_some_and(|held| held.contains(seq))
        {
            DeliveryState::Held
        } else if self
            .sent
            .get(&(name, peer.only_device()))
            .is_some_and(|sent| sent.contains(seq))
        {
            DeliveryState::Sent
        } else {
            DeliveryState::Queued
        }
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::LogId;

    use super::*;

    fn peer(n: u8) -> PersonId {
        PersonId::from_bytes([n; 32])
    }

    fn log() -> LogName {
        LogName {
            conversation: ConversationId::from_bytes([7; 32]),
            author: peer(9),
            device: peer(9).only_device(),
            log: LogId(1),
        }
    }

    #[test]
    fn a_message_is_queued_then_sent_then_delivered() {
        let (mut outbox, nobody) = (Outbox::default(), []);
        assert_eq!(outbox.state(log(), 1, &nobody), DeliveryState::Queued);
        outbox.note_sent(log(), peer(1).only_device(), &Ranges::span(1, 1));
        assert_eq!(outbox.state(log(), 1, &nobody), DeliveryState::Sent);
        let delivered = [peer(1).only_device()];
        assert_eq!(outbox.state(log(), 1, &delivered), DeliveryState::Delivered);
    }

    #[test]
    fn strangers_fill_no_memory_with_what_was_sent_to_them() {
        let device = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            DeviceId::from_bytes(bytes)
        };
        let (mut outbox, one) = (Outbox::default(), Ranges::span(1, 1));
        for n in 0..SENT_MAX {
            outbox.note_sent(log(), device(n), &one);
        }
        outbox.note_sent(log(), device(1), &Ranges::span(2, 2));
        assert_eq!(outbox.sent.len(), SENT_MAX);
        outbox.note_sent(log(), device(SENT_MAX), &one);
        assert_eq!(
            (outbox.sent.len(), outbox.sent_first.len()),
            (SENT_MAX, SENT_MAX)
        );
        let is_sent = |n| outbox.sent.contains_key(&(log(), device(n)));
        assert!(!is_sent(0) && is_sent(1) && is_sent(SENT_MAX));
    }

    #[test]
    fn a_crowd_fills_no_memory_with_the_addressees_of_messages() {
        let mut outbox = Outbox::default();
        let id = |seq| MessageId { log: LogId(1), seq };
        let crowd = |peers: usize| vec![peer(1); peers];
        outbox.note_addressees(id(1), crowd(ADDRESSEES_MAX - 10));
        outbox.note_addressees(id(2), crowd(10));
        assert_eq!(outbox.addressees(id(1)).len(), ADDRESSEES_MAX - 10);
        outbox.note_addressees(id(3), crowd(1));
        assert!(outbox.addressees(id(1)).is_empty());
        assert_eq!(outbox.addressees(id(2)).len(), 10);
        assert_eq!(outbox.addressees, 11);
    }

    #[test]
    fn a_message_that_a_holder_has_is_held_until_it_is_delivered() {
        let mut outbox = Outbox::default();
        outbox.note_sent(log(), peer(1).only_device(), &Ranges::span(1, 1));
        outbox.note_held(log(), peer(1).only_device(), &Ranges::span(1, 2));
        let state = |outbox: &Outbox, seq, delivered: &[_]| outbox.state(log(), seq, delivered);
        assert_eq!(state(&outbox, 1, &[]), DeliveryState::Held);
        let with = |outbox: &Outbox, seq| outbox.state_with(log(), seq, peer(1), &[]);
        assert_eq!(with(&outbox, 2), DeliveryState::Held);
        assert_eq!(with(&outbox, 3), DeliveryState::Queued);
        outbox.note_delivered(log(), peer(1).only_device(), &Ranges::span(1, 1));
        let delivered = [peer(1).only_device()];
        assert_eq!(state(&outbox, 1, &delivered), DeliveryState::Delivered);
        assert_eq!(state(&outbox, 2, &[]), DeliveryState::Held);
    }

    #[test]
    fn a_message_that_its_peer_refuses_is_not_waited_for() {
        let mut outbox = Outbox::default();
        let wait = |outbox: &mut Outbox, is_direct| {
            let (reply, answer) = oneshot::channel();
            let state = DeliveryState::Delivered;
            outbox.wait_for((log(), 1), state, is_direct, vec![peer(1)], &[], reply);
            answer
        };
        assert!(outbox.note_awaits_consent(peer(1), true));
        let mut queued = wait(&mut outbox, true);
        assert!(queued.try_recv().is_err(), "it is not sent yet");
        outbox.note_sent(log(), peer(1).only_device(), &Ranges::span(1, 1));
        assert!(matches!(queued.try_recv(), Ok(Ok(DeliveryState::Sent))));
        let mut later = wait(&mut outbox, true);
        assert!(matches!(later.try_recv(), Ok(Ok(DeliveryState::Sent))));
        assert!(wait(&mut outbox, false).try_recv().is_err(), "to a room");
        assert!(outbox.note_awaits_consent(peer(1), false));
        assert!(wait(&mut outbox, true).try_recv().is_err());
    }

    #[test]
    fn in_a_room_the_least_advanced_peer_counts() {
        let mut outbox = Outbox::default();
        outbox.note_sent(log(), peer(1).only_device(), &Ranges::span(1, 3));
        outbox.note_sent(log(), peer(2).only_device(), &Ranges::span(1, 3));
        let one = [peer(1).only_device()];
        assert_eq!(outbox.state(log(), 2, &one), DeliveryState::Sent);
        let state_with = |n| outbox.state_with(log(), 2, peer(n), &one);
        assert_eq!(
            [1, 2, 3].map(state_with),
            [
                DeliveryState::Delivered,
                DeliveryState::Sent,
                DeliveryState::Queued
            ]
        );
    }

    #[test]
    fn a_message_in_a_room_is_held_while_one_member_is_away() {
        let mut outbox = Outbox::default();
        let here = [peer(1).only_device()];
        outbox.note_sent(log(), here[0], &Ranges::span(1, 1));
        outbox.note_held(log(), peer(2).only_device(), &Ranges::span(1, 1));
        assert_eq!(outbox.state(log(), 1, &[]), DeliveryState::Sent);
        assert_eq!(outbox.state(log(), 1, &here), DeliveryState::Held);
        let both = [peer(1), peer(2)].map(|peer| peer.only_device());
        assert_eq!(outbox.state(log(), 1, &both), DeliveryState::Delivered);
        outbox.note_left(ConversationId::from_bytes([8; 32]), both[1]);
        assert_eq!(
            outbox.state(log(), 1, &here),
            DeliveryState::Held,
            "another room"
        );
        outbox.note_left(log().conversation, both[1]);
        assert_eq!(outbox.state(log(), 1, &here), DeliveryState::Delivered);
    }

    #[test]
    fn addressees_of_the_oldest_messages_are_forgotten() {
        let mut outbox = Outbox::default();
        let id = |seq| MessageId { log: LogId(1), seq };
        let last = ADDRESSED_MAX as u64 + 1;
        for seq in 1..=last {
            outbox.note_addressees(id(seq), vec![peer(1)]);
        }
        assert_eq!(outbox.addressees(id(1)), []);
        assert_eq!(outbox.addressees(id(last)), [peer(1)]);
    }

    #[test]
    fn each_message_has_its_own_token_and_is_answered_once() {
        let mut outbox = Outbox::default();
        let to_ann = |body: &str| Sending {
            to: ConversationRef::Direct(peer(1)),
            body: body.into(),
            answer: AnswerTo::User(oneshot::channel().0),
        };
        let [first, second] = ["one", "two"].map(|body| outbox.add(to_ann(body)));
        assert_eq!(outbox.take(second).expect("it waits").body, "two".into());
        assert!(outbox.take(second).is_none());
        assert_eq!(outbox.take(first).expect("it waits").body, "one".into());
    }

    #[test]
    fn a_direct_conversation_is_opened_once_in_a_run() {
        let mut outbox = Outbox::default();
        let id = ConversationId::direct(peer(9), peer(1));
        assert_eq!(outbox.open_direct(peer(9), peer(1)), (id, true));
        assert_eq!(outbox.open_direct(peer(9), peer(1)), (id, false));
    }

    #[test]
    fn a_user_waits_for_those_addressees_that_do_not_have_the_message() {
        let mut outbox = Outbox::default();
        outbox.note_sent(log(), peer(1).only_device(), &Ranges::span(1, 1));
        let mut wait = |state, delivered: &[DeviceId]| {
            let (reply, answer) = oneshot::channel();
            outbox.wait_for((log(), 1), state, true, vec![peer(1)], delivered, reply);
            answer
        };
        assert!(wait(DeliveryState::Sent, &[]).try_recv().is_ok());
        assert!(
            wait(DeliveryState::Delivered, &[peer(1).only_device()])
                .try_recv()
                .is_ok()
        );
        let mut answer = wait(DeliveryState::Delivered, &[]);
        assert!(answer.try_recv().is_err());
        outbox.note_delivered(log(), peer(1).only_device(), &Ranges::span(1, 1));
        assert!(matches!(
            answer.try_recv(),
            Ok(Ok(DeliveryState::Delivered))
        ));
    }
}
