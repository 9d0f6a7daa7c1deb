//! Messages of this node: on their way to the disk, and how far each has come with each peer.

use std::collections::{BTreeMap, VecDeque};

use hobnob_core::replica::Token;
use hobnob_protocol::{Body, ConversationId, LogName, PeerId, Ranges, Seq};
use tokio::sync::oneshot;

use super::waiters::Waiters;
use crate::api::{ConversationRef, DeliveryState, MessageId, Sent};
use crate::error::SendError;

/// Messages to rooms whose addressees are remembered. For an older message, `wait_for` acts as if
/// the room had been empty.
const ADDRESSED_MAX: usize = 8192;

/// The messages of this node.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Messages that the disk does not hold yet.
    pub(super) sending: BTreeMap<Token, Sending>,
    /// Direct conversations that were written to in this run.
    pub(super) direct: BTreeMap<PeerId, ConversationId>,
    pub(super) waiters: Waiters,
    /// What was written to a session with each peer, by log.
    sent: BTreeMap<(LogName, PeerId), Ranges>,
    /// The addressees of the newest messages to rooms.
    addressed: VecDeque<(MessageId, Vec<PeerId>)>,
    last_token: u64,
}

/// A message on its way to the disk.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) to: ConversationRef,
    pub(super) body: Body,
    pub(super) reply: oneshot::Sender<Result<Sent, SendError>>,
}

impl Outbox {
    /// A token for the next request to the replica.
    pub(super) fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    pub(super) fn note_sent(&mut self, name: LogName, peer: PeerId, first: Seq, last: Seq) {
        self.sent
            .entry((name, peer))
            .or_default()
            .insert(first, last);
    }

    /// Remembers who a new message to a room is for.
    pub(super) fn note_addressees(&mut self, id: MessageId, peers: Vec<PeerId>) {
        self.addressed.push_back((id, peers));
        if self.addressed.len() > ADDRESSED_MAX {
            self.addressed.pop_front();
        }
    }

    /// Who a message to a room is for.
    pub(super) fn addressees(&self, id: MessageId) -> Vec<PeerId> {
        let newest_first = self.addressed.iter().rev();
        newest_first
            .filter(|(of, _)| *of == id)
            .map(|(_, peers)| peers.clone())
            .next()
            .unwrap_or_default()
    }

    /// How far a message has come: with its one addressee, or in a room with the least advanced
    /// peer that it was sent to. `delivered` names the peers that have it on disk.
    pub(super) fn state(&self, name: LogName, seq: Seq, delivered: &[PeerId]) -> DeliveryState {
        let of_log = self
            .sent
            .range((name, PeerId::from_bytes([0; 32]))..)
            .take_while(|((of, _), _)| *of == name);
        let mut sent_to = of_log
            .filter(|(_, ranges)| ranges.contains(seq))
            .map(|((_, peer), _)| *peer);
        match sent_to.find(|peer| !delivered.contains(peer)) {
            Some(_) => DeliveryState::Sent,
            None if !delivered.is_empty() => DeliveryState::Delivered,
            None => DeliveryState::Queued,
        }
    }

    /// How far a message has come with one peer.
    pub(super) fn state_with(
        &self,
        name: LogName,
        seq: Seq,
        peer: PeerId,
        delivered: &[PeerId],
    ) -> DeliveryState {
        if delivered.contains(&peer) {
            DeliveryState::Delivered
        } else if self
            .sent
            .get(&(name, peer))
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

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    fn log() -> LogName {
        LogName {
            conversation: ConversationId::from_bytes([7; 32]),
            author: peer(9),
            log: LogId(1),
        }
    }

    #[test]
    fn a_message_is_queued_then_sent_then_delivered() {
        let (mut outbox, nobody) = (Outbox::default(), []);
        assert_eq!(outbox.state(log(), 1, &nobody), DeliveryState::Queued);
        outbox.note_sent(log(), peer(1), 1, 1);
        assert_eq!(outbox.state(log(), 1, &nobody), DeliveryState::Sent);
        let delivered = [peer(1)];
        assert_eq!(outbox.state(log(), 1, &delivered), DeliveryState::Delivered);
    }

    #[test]
    fn in_a_room_the_least_advanced_peer_counts() {
        let mut outbox = Outbox::default();
        outbox.note_sent(log(), peer(1), 1, 3);
        outbox.note_sent(log(), peer(2), 1, 3);
        let one = [peer(1)];
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
}
