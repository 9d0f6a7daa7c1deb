//! Messages for tests.

use hobnob::MessageId;
use hobnob::protocol::{Body, LogId, PersonId};
use hobnob_control::wire::{MessageLine, Text, Time};

/// A message of Bob's in the lobby, which this node has received.
pub(crate) fn message(seq: u64, text: &str) -> MessageLine {
    MessageLine {
        id: Text(MessageId { log: LogId(1), seq }),
        conversation: Text("#lobby".parse().expect("a room")),
        from: Text(PersonId::from_bytes([1; 32])),
        nick: "bob".into(),
        body: Body::Text(text.into()).into(),
        amended: Box::default(),
        sent_at: Time(0),
        received_at: Time(0),
        state: None,
        reason: None,
        mention: false,
        notify: false,
        request: false,
        client_id: None,
    }
}
