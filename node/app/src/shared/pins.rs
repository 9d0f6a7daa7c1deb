//! Topics of rooms and pinned messages: the requests to the node, and the words for the answers.

use hobnob::protocol::RoomName;
use hobnob::protocol::text::visible;
use hobnob::{MessageId, RoomInfo};
use hobnob_control::wire::{
    BodyFields, MessageLine, MessageList, PinMessage, SetTopic, Text, WaitOptions,
};

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

/// `[sets the topic: lunch]`, if the body is a topic or a pin.
pub(crate) fn words(body: &BodyFields) -> Option<String> {
    if let Some(topic) = &body.topic {
        return Some(match visible(topic) {
            none if none.is_empty() => "[removes the topic]".to_owned(),
            topic => format!("[sets the topic: {topic}]"),
        });
    }
    let pin = body.pin.as_ref()?;
    Some(match pin.on {
        true => format!("[pins the message {}]", pin.message.0),
        false => format!("[takes back the pin of {}]", pin.message.0),
    })
}

#[cfg(test)]
mod tests {
    use hobnob_control::wire::PinFields;

    use super::*;

    #[test]
    fn topics_and_pins_in_words_are_safe_for_a_terminal() {
        let topic = |text: &str| BodyFields {
            topic: Some(text.to_owned()),
            ..BodyFields::default()
        };
        assert_eq!(
            words(&topic("a\u{1b}b")).as_deref(),
            Some("[sets the topic: a␛b]")
        );
        assert_eq!(words(&topic("")).as_deref(), Some("[removes the topic]"));
        let pin = |on| BodyFields {
            pin: Some(Box::new(PinFields {
                message: Text("00000000000000ab-7".parse().expect("an id")),
                on,
            })),
            ..BodyFields::default()
        };
        assert_eq!(
            [true, false].map(|on| words(&pin(on)).unwrap_or_default()),
            [
                "[pins the message 00000000000000ab-7]",
                "[takes back the pin of 00000000000000ab-7]"
            ]
        );
        assert_eq!(words(&BodyFields::default()), None);
    }
}
