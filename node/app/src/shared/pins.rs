//! Topics of rooms and pinned messages: the requests to the node, and the words for the answers.

use hobnob::protocol::RoomName;
use hobnob::protocol::text::visible;
use hobnob::{MessageId, RoomInfo};
use hobnob_control::wire::{MessageLine, MessageList, PinMessage, SetTopic, Text, WaitOptions};

use super::wording::{self, Names};

/// Shown for `/topic` in a direct conversation.
pub(crate) const ONLY_ROOMS: &str = "only rooms have a topic";

/// How the chats pin a message.
pub(crate) const PIN_IN_CHAT: &str = "/pin pins the newest message";

/// The sentence for a topic that was set.
pub(crate) const TOPIC_SET: &str = "the topic is set";

pub(crate) fn set_topic(room: RoomName, topic: String, options: WaitOptions) -> SetTopic {
    SetTopic {
        room: Text(room),
        topic,
        options,
    }
}

pub(crate) fn pin(id: MessageId, off: bool, options: WaitOptions) -> PinMessage {
    let message = Text(id);
    PinMessage {
        message,
        off,
        options,
    }
}

/// `#ops: the disk of db3 (set by ann)`
pub(crate) fn topic(room: &RoomInfo, names: &Names) -> String {
    match &room.topic {
        Some(topic) => format!(
            "{}: {} (set by {})",
            room.name,
            visible(&topic.text),
            names.or_you(&topic.by)
        ),
        None => format!("{} has no topic", room.name),
    }
}

/// The pinned messages, one a line. `how` says how to pin one, for an empty list.
pub(crate) fn pins(list: &MessageList, names: &Names, how: &str) -> Vec<String> {
    let line = |message: &MessageLine| {
        let id = message.id.0;
        format!("{}  [{id}]", wording::message(message, names))
    };
    let mut lines: Vec<_> = list.messages.iter().map(line).collect();
    if lines.is_empty() {
        lines.push(format!("nothing is pinned here: {how}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use hobnob::protocol::PersonId;

    use super::*;

    #[test]
    fn the_user_is_you_and_others_have_names() {
        let [me, other] = [1, 2].map(|byte| PersonId::from_bytes([byte; 32]));
        let mut names = Names::default();
        names.learn_me(me);
        assert_eq!(names.or_you(&me), "you");
        assert_eq!(names.or_you(&other), other.short());
        assert_eq!(names.of(&me), me.short());
    }

    #[test]
    fn nothing_pinned_says_how_to_pin_here() {
        let none = MessageList {
            messages: Vec::new(),
            more: false,
        };
        let lines = pins(&none, &Names::default(), PIN_IN_CHAT);
        assert_eq!(
            lines,
            ["nothing is pinned here: /pin pins the newest message"]
        );
    }
}
