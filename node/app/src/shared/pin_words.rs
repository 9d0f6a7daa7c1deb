//! Topics and pins in words, as messages of a conversation.

use hobnob::protocol::text::visible;
use hobnob_control::wire::BodyFields;

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
    use hobnob_control::wire::{PinFields, Text};

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
