//! How far our own messages have come, as this screen saw it: pure, and bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hobnob::protocol::PeerId;
use hobnob::{ConversationRef, DeliveryState, MessageId};
use hobnob_control::wire::{ReceiptLine, SentLine};

/// Messages of which it is known who has them; of older ones, only what the store says.
const MESSAGES_MAX: usize = 4096;

/// What became of our messages.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    known: BTreeMap<MessageId, Delivery>,
    order: VecDeque<MessageId>,
}

/// What became of one.
#[derive(Debug, Default)]
pub(super) struct Delivery {
    /// Whom it was for; none while the node has not said.
    to: Option<BTreeSet<PeerId>>,
    sent: BTreeSet<PeerId>,
    delivered: BTreeSet<PeerId>,
}

/// A state, and in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) state: DeliveryState,
    pub(super) words: String,
}

impl Deliveries {
    pub(super) fn sent(&mut self, line: &SentLine) {
        self.of(line.id.0).to = Some(line.to.iter().map(|peer| peer.0).collect());
    }

    pub(super) fn receipt(&mut self, receipt: &ReceiptLine) {
        let delivery = self.of(receipt.id.0);
        match receipt.state {
            DeliveryState::Queued => {}
            DeliveryState::Sent => drop(delivery.sent.insert(receipt.peer.0)),
            DeliveryState::Delivered => drop(delivery.delivered.insert(receipt.peer.0)),
        }
    }

    pub(super) fn get(&self, id: MessageId) -> Option<&Delivery> {
        self.known.get(&id)
    }

    /// Whether somebody does not have a message that was written for them.
    pub(super) fn any_lacks(&self) -> bool {
        self.known.values().any(|delivery| {
            delivery
                .to
                .iter()
                .flatten()
                .any(|peer| !delivery.delivered.contains(peer))
        })
    }

    /// What is said beside a message of ours, of which the node said `base`.
    pub(super) fn shown(
        &self,
        id: MessageId,
        conversation: &ConversationRef,
        base: DeliveryState,
    ) -> Shown {
        let of_base = |state: DeliveryState| Shown {
            state,
            words: state.as_str().to_owned(),
        };
        let Some(delivery) = self.known.get(&id) else {
            return of_base(base);
        };
        match (conversation, &delivery.to) {
            (ConversationRef::Room(_), Some(to)) => delivery.in_room(to, base),
            (ConversationRef::Room(_), None) | (ConversationRef::Direct(_), _) => {
                of_base(delivery.furthest().max(base))
            }
        }
    }

    fn of(&mut self, id: MessageId) -> &mut Delivery {
        if !self.known.contains_key(&id) {
            self.order.push_back(id);
            if self.order.len() > MESSAGES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        self.known.entry(id).or_default()
    }
}

impl Delivery {
    /// Those who have it, and those who do not yet.
    pub(super) fn have_and_lack(&self) -> (BTreeSet<PeerId>, BTreeSet<PeerId>) {
        let lack = self
            .to
            .iter()
            .flatten()
            .filter(|peer| !self.delivered.contains(peer))
            .copied()
            .collect();
        (self.delivered.clone(), lack)
    }

    fn in_room(&self, to: &BTreeSet<PeerId>, base: DeliveryState) -> Shown {
        let have = to.intersection(&self.delivered).count();
        if to.is_empty() {
            return Shown {
                state: base,
                words: "nobody else is here".into(),
            };
        }
        if have == 0 && base != DeliveryState::Delivered {
            let state = self.furthest().max(base).min(DeliveryState::Sent);
            return Shown {
                state,
                words: state.as_str().to_owned(),
            };
        }
        // The node says delivered once all have it, whether or not each receipt was seen here.
        let have = if base == DeliveryState::Delivered {
            to.len()
        } else {
            have
        };
        let state = if have == to.len() {
            DeliveryState::Delivered
        } else {
            DeliveryState::Sent
        };
        Shown {
            state,
            words: format!("delivered {have} of {}", to.len()),
        }
    }

    fn furthest(&self) -> DeliveryState {
        match (self.delivered.is_empty(), self.sent.is_empty()) {
            (false, _) => DeliveryState::Delivered,
            (true, false) => DeliveryState::Sent,
            (true, true) => DeliveryState::Queued,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob::protocol::{LogId, RoomName};
    use hobnob_control::wire::Text;

    const ID: MessageId = MessageId {
        log: LogId(1),
        seq: 1,
    };

    fn peer(byte: u8) -> PeerId {
        PeerId::from_bytes([byte; 32])
    }

    fn lobby() -> ConversationRef {
        ConversationRef::Room(RoomName::lobby())
    }

    fn sent(conversation: ConversationRef, to: &[u8]) -> SentLine {
        let to = to.iter().map(|&byte| Text(peer(byte))).collect();
        SentLine {
            id: Text(ID),
            conversation: Text(conversation),
            to,
            state: DeliveryState::Queued,
        }
    }

    fn receipt(by: u8, state: DeliveryState) -> ReceiptLine {
        ReceiptLine {
            id: Text(ID),
            peer: Text(peer(by)),
            state,
        }
    }

    #[test]
    fn in_a_room_it_is_counted_who_has_a_message() {
        use DeliveryState::{Delivered, Queued, Sent};
        let mut deliveries = Deliveries::default();
        let words = |deliveries: &Deliveries| {
            let shown = deliveries.shown(ID, &lobby(), Queued);
            (shown.state, shown.words)
        };
        assert_eq!(words(&deliveries), (Queued, "queued".into()));
        // Receipts may come before it is known whom the message is for.
        deliveries.receipt(&receipt(2, Sent));
        assert_eq!(words(&deliveries), (Sent, "sent".into()));
        deliveries.sent(&sent(lobby(), &[2, 3]));
        assert_eq!(words(&deliveries), (Sent, "sent".into()));
        deliveries.receipt(&receipt(2, Delivered));
        assert_eq!(words(&deliveries), (Sent, "delivered 1 of 2".into()));
        // Somebody it was not for counts for nothing.
        deliveries.receipt(&receipt(9, Delivered));
        assert_eq!(words(&deliveries), (Sent, "delivered 1 of 2".into()));
        deliveries.receipt(&receipt(3, Delivered));
        assert_eq!(words(&deliveries), (Delivered, "delivered 2 of 2".into()));
    }

    #[test]
    fn a_room_with_nobody_in_it_says_so() {
        let mut deliveries = Deliveries::default();
        deliveries.sent(&sent(lobby(), &[]));
        assert_eq!(
            deliveries.shown(ID, &lobby(), DeliveryState::Queued).words,
            "nobody else is here"
        );
    }

    #[test]
    fn a_direct_message_is_where_its_peer_has_it() {
        let mut deliveries = Deliveries::default();
        let bob = ConversationRef::Direct(peer(2));
        deliveries.sent(&sent(bob.clone(), &[2]));
        assert_eq!(
            deliveries.shown(ID, &bob, DeliveryState::Queued).words,
            "queued"
        );
        deliveries.receipt(&receipt(2, DeliveryState::Delivered));
        assert_eq!(
            deliveries.shown(ID, &bob, DeliveryState::Queued).words,
            "delivered"
        );
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut deliveries = Deliveries::default();
        for seq in 0..10_000 {
            deliveries.of(MessageId { log: LogId(1), seq });
        }
        assert_eq!(
            (deliveries.known.len(), deliveries.order.len()),
            (MESSAGES_MAX, MESSAGES_MAX)
        );
    }
}
