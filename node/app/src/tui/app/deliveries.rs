//! The delivery of own messages, by recipient, since this chat started. Pure, and bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hobnob::protocol::PersonId;
use hobnob::{ConversationRef, DeliveryState, MessageId};
use hobnob_control::wire::{ReceiptLine, SentLine};

/// Maximum number of messages with a state per recipient. For older ones, the chat shows the state
/// that the store reports.
const MESSAGES_MAX: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    known: BTreeMap<MessageId, Delivery>,
    order: VecDeque<MessageId>,
}

/// The delivery of one message.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// The recipients; none until the node has answered.
    to: Option<BTreeSet<PersonId>>,
    /// Whether members who are away receive it later.
    later: bool,
    sent: BTreeSet<PersonId>,
    /// Whether a holder has it for its one recipient.
    held: bool,
    delivered: BTreeSet<PersonId>,
}

/// The delivery of a message as the screen shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeliveryText {
    pub(crate) state: DeliveryState,
    pub(crate) words: String,
}

impl Deliveries {
    pub(crate) fn sent(&mut self, line: &SentLine) {
        let delivery = self.of(line.id.0);
        delivery.to = Some(line.to.iter().map(|peer| peer.0).collect());
        delivery.later = line.later;
    }

    pub(crate) fn receipt(&mut self, receipt: &ReceiptLine) {
        let delivery = self.of(receipt.id.0);
        match receipt.state {
            DeliveryState::Queued => {}
            DeliveryState::Sent => drop(delivery.sent.insert(receipt.peer.0)),
            DeliveryState::Held => delivery.held = true,
            DeliveryState::Delivered => drop(delivery.delivered.insert(receipt.peer.0)),
        }
    }

    pub(crate) fn get(&self, id: MessageId) -> Option<&Delivery> {
        self.known.get(&id)
    }

    /// Whether some message has not reached all its recipients.
    pub(crate) fn any_lacks(&self) -> bool {
        self.known.values().any(|delivery| {
            delivery
                .to
                .iter()
                .flatten()
                .any(|peer| !delivery.delivered.contains(peer))
        })
    }

    /// The text beside a message of this node. `base`: the state that the node reported with the
    /// message.
    pub(crate) fn text(
        &self,
        id: MessageId,
        conversation: &ConversationRef,
        base: DeliveryState,
    ) -> DeliveryText {
        let of_base = |state: DeliveryState| DeliveryText {
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
    /// The recipients that have the message, and those that do not have it yet.
    pub(crate) fn have_and_lack(&self) -> (BTreeSet<PersonId>, BTreeSet<PersonId>) {
        let lack = self
            .to
            .iter()
            .flatten()
            .filter(|peer| !self.delivered.contains(peer))
            .copied()
            .collect();
        (self.delivered.clone(), lack)
    }

    fn in_room(&self, to: &BTreeSet<PersonId>, base: DeliveryState) -> DeliveryText {
        let have = to.intersection(&self.delivered).count();
        if to.is_empty() && self.later {
            return self.to_absent_members();
        }
        if to.is_empty() {
            return DeliveryText {
                state: base,
                words: "nobody else is here".into(),
            };
        }
        if have == 0 && base != DeliveryState::Delivered {
            let state = self.furthest().max(base).min(DeliveryState::Sent);
            return DeliveryText {
                state,
                words: state.as_str().to_owned(),
            };
        }
        // The node reports "delivered" once all recipients have it. Some receipts may have been
        // missed here.
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
        DeliveryText {
            state,
            words: format!("delivered {have} of {}", to.len()),
        }
    }

    /// Nobody else was connected when the message was written.
    fn to_absent_members(&self) -> DeliveryText {
        match self.delivered.len() {
            0 => DeliveryText {
                state: DeliveryState::Queued,
                words: "waits for other members".into(),
            },
            count => DeliveryText {
                state: DeliveryState::Delivered,
                words: format!("delivered to {count}"),
            },
        }
    }

    fn furthest(&self) -> DeliveryState {
        match (self.delivered.is_empty(), self.sent.is_empty()) {
            (false, _) => DeliveryState::Delivered,
            (true, _) if self.held => DeliveryState::Held,
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

    fn peer(byte: u8) -> PersonId {
        PersonId::from_bytes([byte; 32])
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
            later: false,
            state: DeliveryState::Queued,
            reason: None,
            left_out: Vec::new(),
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
    fn a_message_to_absent_members_waits_for_them() {
        let mut deliveries = Deliveries::default();
        deliveries.sent(&SentLine {
            later: true,
            ..sent(lobby(), &[])
        });
        let text = deliveries.text(ID, &lobby(), DeliveryState::Queued);
        assert_eq!(text.words, "waits for other members");
        deliveries.receipt(&receipt(2, DeliveryState::Delivered));
        let text = deliveries.text(ID, &lobby(), DeliveryState::Queued);
        assert_eq!(text.words, "delivered to 1");
        assert_eq!(text.state, DeliveryState::Delivered);
    }

    #[test]
    fn a_room_counts_the_recipients_that_have_a_message() {
        use DeliveryState::{Delivered, Queued, Sent};
        let mut deliveries = Deliveries::default();
        let words = |deliveries: &Deliveries| {
            let shown = deliveries.text(ID, &lobby(), Queued);
            (shown.state, shown.words)
        };
        assert_eq!(words(&deliveries), (Queued, "queued".into()));
        // Receipts may arrive before the node's answer with the recipients.
        deliveries.receipt(&receipt(2, Sent));
        assert_eq!(words(&deliveries), (Sent, "sent".into()));
        deliveries.sent(&sent(lobby(), &[2, 3]));
        assert_eq!(words(&deliveries), (Sent, "sent".into()));
        deliveries.receipt(&receipt(2, Delivered));
        assert_eq!(words(&deliveries), (Sent, "delivered 1 of 2".into()));
        // A receipt from somebody who is no recipient is not counted.
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
            deliveries.text(ID, &lobby(), DeliveryState::Queued).words,
            "nobody else is here"
        );
    }

    #[test]
    fn a_direct_message_has_the_state_of_its_one_recipient() {
        let mut deliveries = Deliveries::default();
        let bob = ConversationRef::Direct(peer(2));
        deliveries.sent(&sent(bob.clone(), &[2]));
        assert_eq!(
            deliveries.text(ID, &bob, DeliveryState::Queued).words,
            "queued"
        );
        deliveries.receipt(&receipt(2, DeliveryState::Delivered));
        assert_eq!(
            deliveries.text(ID, &bob, DeliveryState::Queued).words,
            "delivered"
        );
    }

    #[test]
    fn the_oldest_deliveries_are_forgotten() {
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
