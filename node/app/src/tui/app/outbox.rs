//! The messages that the user has sent: those that are not on disk yet, and the states of the others.

use hobnob::{ConversationRef, MessageId};
use hobnob_control::wire::{MessageLine, SentLine};

use super::deliveries::Deliveries;

/// The event that a message waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// The node is writing it to the disk.
    Saving,
    /// The node is reading the file that it offers.
    Reading,
}

/// A message that the node has not yet confirmed to be on disk.
#[derive(Debug)]
pub(crate) struct Pending {
    number: u64,
    pub(crate) conversation: ConversationRef,
    pub(crate) text: String,
    pub(crate) doing: Doing,
    /// Known if the node's answer arrives before the message's own event.
    id: Option<MessageId>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pending: Vec<Pending>,
    last_number: u64,
    pub(crate) deliveries: Deliveries,
}

impl Outbox {
    /// Adds a message that is about to be sent, and returns its number.
    pub(crate) fn add(&mut self, conversation: ConversationRef, text: String, doing: Doing) -> u64 {
        self.last_number += 1;
        self.pending.push(Pending {
            number: self.last_number,
            conversation,
            text,
            doing,
            id: None,
        });
        self.last_number
    }

    /// The messages of one conversation that are not on disk yet.
    pub(crate) fn pending_in(&self, of: &ConversationRef) -> impl Iterator<Item = &Pending> {
        self.pending
            .iter()
            .filter(move |pending| pending.conversation == *of)
    }

    /// Whether every message is on disk.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether some message has not reached all its recipients.
    pub(crate) fn has_undelivered(&self) -> bool {
        !self.is_empty() || self.deliveries.any_lacks()
    }

    /// The message itself has arrived, so it is no longer pending.
    pub(crate) fn arrived(&mut self, message: &MessageLine) {
        let same = |pending: &Pending| match pending.id {
            Some(id) => id == message.id.0,
            None => {
                pending.conversation == message.conversation.0
                    && message.body.text.as_ref() == Some(&pending.text)
            }
        };
        if let Some(index) = self.pending.iter().position(same) {
            self.pending.remove(index);
        }
    }

    /// The message is on disk. It stays pending until its event arrives, unless `is_shown`: the
    /// event may arrive before or after this answer.
    pub(crate) fn saved(&mut self, number: u64, sent: &SentLine, is_shown: bool) {
        self.deliveries.sent(sent);
        if is_shown {
            self.remove(number);
        } else if let Some(pending) = self
            .pending
            .iter_mut()
            .find(|pending| pending.number == number)
        {
            pending.id = Some(sent.id.0);
        }
    }

    /// Removes the message: it could not be sent.
    pub(crate) fn remove(&mut self, number: u64) {
        self.pending.retain(|pending| pending.number != number);
    }

    /// Removes the messages whose id satisfies `is_shown`.
    pub(crate) fn remove_shown(&mut self, is_shown: impl Fn(MessageId) -> bool) {
        self.pending
            .retain(|pending| pending.id.is_none_or(|id| !is_shown(id)));
    }

    /// Removes all messages, because the node that was asked to send them is gone. Returns whether
    /// there were any.
    pub(crate) fn abandon(&mut self) -> bool {
        !std::mem::take(&mut self.pending).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob::DeliveryState;
    use hobnob::protocol::{LogId, RoomName};
    use hobnob_control::wire::Text;

    const ID: MessageId = MessageId {
        log: LogId(1),
        seq: 1,
    };

    fn lobby() -> ConversationRef {
        ConversationRef::Room(RoomName::lobby())
    }

    fn sent() -> SentLine {
        SentLine {
            id: Text(ID),
            conversation: Text(lobby()),
            to: vec![],
            later: false,
            state: DeliveryState::Queued,
            reason: None,
            left_out: Vec::new(),
        }
    }

    #[test]
    fn a_message_is_pending_until_it_is_saved_and_shown() {
        let mut outbox = Outbox::default();
        let number = outbox.add(lobby(), "hi".into(), Doing::Saving);
        outbox.saved(number, &sent(), false);
        assert_eq!(outbox.pending_in(&lobby()).count(), 1);
        outbox.remove_shown(|id| id == ID);
        assert!(outbox.is_empty());
        let number = outbox.add(lobby(), "hi".into(), Doing::Saving);
        outbox.saved(number, &sent(), true);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_node_that_ends_leaves_nothing_pending() {
        let mut outbox = Outbox::default();
        assert!(!outbox.abandon());
        outbox.add(lobby(), "hi".into(), Doing::Saving);
        assert!(outbox.abandon() && outbox.is_empty());
    }
}
