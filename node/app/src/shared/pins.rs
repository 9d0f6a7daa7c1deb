//! Topics of rooms and pinned messages: the requests to the node, and the words for the answers.

use hobnob::protocol::RoomName;
use hobnob::protocol::text::visible;
use hobnob::{MessageId, RoomInfo};
use hobnob_control::wire::{MessageLine, MessageList, PinMessage, SetTopic, Text, WaitOptions};

use super::wording::{self, Names};

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
            names.of(&topic.by)
        ),
        None => format!("{} has no topic", room.name),
    }
}

/// The pinned messages, one a line.
pub(crate) fn pins(list: &MessageList, names: &Names) -> Vec<String> {
    let line = |message: &MessageLine| {
        let id = message.id.0;
        format!("{}  [{id}]", wording::message(message, names))
    };
    let mut lines: Vec<_> = list.messages.iter().map(line).collect();
    if lines.is_empty() {
        lines.push("nothing is pinned here: /pin pins the newest message".to_owned());
    }
    lines
}
