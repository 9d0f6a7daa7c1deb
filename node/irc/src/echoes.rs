//! Own messages: which of them a client has sent itself, and therefore shows already.

use std::collections::VecDeque;

use hobnob::MessageId;
use hobnob_control::wire::MessageLine;
use hobnob_limits::RecentSet;

/// Maximum own messages that wait until it is known who has sent them. Beyond it, they are shown.
const HELD_MAX: usize = 1_024;

/// Maximum remembered ids of messages that the client has sent.
const SENT_MAX: usize = 4_096;

/// The user's messages that a client without `echo-message` must not see again.
///
/// The event about a message may arrive before the answer that has its id. So events wait while
/// answers are missing.
#[derive(Debug, Default)]
pub(crate) struct Echoes {
    unanswered: usize,
    held: VecDeque<MessageLine>,
    sent: RecentSet<MessageId, SENT_MAX>,
}

impl Echoes {
    /// The client sends a message.
    pub(crate) fn sends(&mut self) {
        self.unanswered += 1;
    }

    /// The node has answered: the id of the message, or none if it failed. Returns the messages
    /// that others have sent meanwhile, once that is clear.
    pub(crate) fn answered(&mut self, id: Option<MessageId>) -> Vec<MessageLine> {
        self.unanswered = self.unanswered.saturating_sub(1);
        if let Some(id) = id {
            let held = self.held.iter().position(|message| message.id.0 == id);
            match held {
                Some(at) => drop(self.held.remove(at)),
                None => drop(self.sent.add(id)),
            }
        }
        match self.unanswered {
            0 => std::mem::take(&mut self.held).into(),
            _ => Vec::new(),
        }
    }

    /// An event about a message of this node. Returns the messages to show now.
    pub(crate) fn event(&mut self, message: MessageLine) -> Vec<MessageLine> {
        if self.sent.remove(message.id.0) {
            return Vec::new();
        }
        if self.unanswered == 0 {
            return vec![message];
        }
        self.held.push_back(message);
        // The oldest is not the client's own: the answers about those come in time.
        let oldest = (self.held.len() > HELD_MAX).then(|| self.held.pop_front());
        oldest.flatten().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_control::wire::{BodyFields, Text, Time};
    use hobnob_protocol::{LogId, PersonId};

    fn id(seq: u64) -> MessageId {
        MessageId { log: LogId(1), seq }
    }

    fn own(seq: u64) -> MessageLine {
        MessageLine {
            id: Text(id(seq)),
            conversation: Text("#lobby".parse().unwrap()),
            from: Text(PersonId::from_bytes([100; 32])),
            nick: "ann".into(),
            body: BodyFields::default(),
            amended: Box::default(),
            sent_at: Time(0),
            received_at: Time(0),
            state: None,
            reason: None,
            mention: false,
            notify: false,
            client_id: None,
            request: false,
        }
    }

    #[test]
    fn a_client_does_not_see_what_it_has_sent_in_either_order() {
        let mut echoes = Echoes::default();
        echoes.sends();
        assert_eq!(echoes.event(own(1)), []);
        assert_eq!(echoes.answered(Some(id(1))), []);
        echoes.sends();
        assert_eq!(echoes.answered(Some(id(2))), []);
        assert_eq!(echoes.event(own(2)), []);
    }

    #[test]
    fn a_burst_of_the_client_is_not_shown_although_answers_are_always_missing() {
        let mut echoes = Echoes::default();
        echoes.sends();
        for seq in 1..10_000 {
            echoes.sends();
            assert_eq!(echoes.event(own(seq)), []);
            assert_eq!(echoes.answered(Some(id(seq))), []);
        }
        assert!(echoes.held.is_empty());
        assert!((1..10_000).all(|seq| !echoes.sent.contains(id(seq))));
    }

    #[test]
    fn it_sees_what_another_face_has_sent() {
        let mut echoes = Echoes::default();
        assert_eq!(echoes.event(own(1)), [own(1)]);
        echoes.sends();
        echoes.sends();
        assert_eq!(echoes.event(own(2)), []);
        assert_eq!(echoes.answered(None), []);
        assert_eq!(echoes.answered(Some(id(3))), [own(2)]);
    }
}
