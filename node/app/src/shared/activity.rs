//! What users do at the moment: requests and words. Who has read which message is in `receipts`.

use hobnob::protocol::text::visible;
use hobnob_control::wire::{ActivityLine, SetStatus};

/// The request of `/away` and `/back`.
pub(crate) fn status(away: bool, text: String) -> SetStatus {
    SetStatus { text, back: !away }
}

/// The sentence for a status that was set. `back` is the command that ends an absence.
pub(crate) fn done(away: bool, back: &str) -> String {
    if away {
        format!("you are away now: {back} ends that")
    } else {
        "you are back".to_owned()
    }
}

/// `away: lunch`, or the text of a user who is here, or nothing.
pub(crate) fn status_words(away: bool, text: &str) -> Option<String> {
    match (away, visible(text)) {
        (false, text) if text.is_empty() => None,
        (true, text) if text.is_empty() => Some("away".to_owned()),
        (false, text) => Some(text.into_owned()),
        (true, text) => Some(format!("away: {text}")),
    }
}

/// The sentence for a user who went away or came back. Typing and read markers are no news for a
/// log.
pub(crate) fn words(line: &ActivityLine) -> Option<String> {
    let state = if line.away? { "is away" } else { "is back" };
    let text = line.text.as_deref().filter(|text| !text.is_empty());
    let text = text.map_or_else(String::new, |text| format!(": {}", visible(text)));
    Some(format!("{} {state}{text}", visible(&line.nick)))
}

#[cfg(test)]
mod tests {
    use hobnob::protocol::PersonId;
    use hobnob_control::wire::Text;

    use super::*;

    #[test]
    fn only_a_status_is_worth_a_line() {
        let line = ActivityLine {
            peer: Text(PersonId::from_bytes([1; 32])),
            nick: "bob".into(),
            conversation: None,
            typing: None,
            read: None,
            away: Some(true),
            text: Some("lunch\u{7}".into()),
        };
        assert_eq!(words(&line).as_deref(), Some("bob is away: lunch␇"));
        let back = ActivityLine {
            away: Some(false),
            text: Some(String::new()),
            ..line.clone()
        };
        assert_eq!(words(&back).as_deref(), Some("bob is back"));
        let statuses = [(true, ""), (true, "lunch"), (false, "writing"), (false, "")];
        let words_of = statuses.map(|(away, text)| status_words(away, text).unwrap_or_default());
        assert_eq!(words_of, ["away", "away: lunch", "writing", ""]);
        let typing = ActivityLine {
            away: None,
            typing: Some(true),
            ..line
        };
        assert_eq!(words(&typing), None);
        assert_eq!(done(true, "/back"), "you are away now: /back ends that");
        assert_eq!(done(false, "/back"), "you are back");
    }
}
