//! Replies, edits and reactions as text for people. All text from peers is made safe to print here.

use hobnob::protocol::text::visible;
use hobnob_control::wire::{AmendedFields, AmendedLine, ReactionLine, ReplyToLine};

/// Maximum characters of a quoted text.
const QUOTED_CHARS: usize = 60;

/// `ann: shall we go?`
pub(crate) fn quote(to: &ReplyToLine) -> String {
    let text = to.text.as_deref();
    let text = match text {
        None => "a message that is not here".to_owned(),
        Some("") => "the end of a topic".to_owned(),
        Some(text) => shortened(text),
    };
    format!("{}: {text}", visible(&to.nick))
}

/// The first line of a text, cut.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(QUOTED_CHARS).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    format!("{}{more}", visible(&cut))
}

/// `👍 ann, bob  🎉 carol`
pub(crate) fn reactions(reactions: &[ReactionLine]) -> String {
    let one = |reaction: &ReactionLine| {
        let names: Vec<_> = reaction.by.iter().map(|by| visible(&by.nick)).collect();
        format!("{} {}", visible(&reaction.emoji), names.join(", "))
    };
    reactions.iter().map(one).collect::<Vec<_>>().join("  ")
}

/// The words before and after the text of a message on one line.
pub(crate) fn around(amended: &AmendedFields) -> (String, String) {
    let before = amended.reply_to.as_ref();
    let before = before.map_or_else(String::new, |to| format!("[to {}] ", quote(to)));
    let mut after = String::new();
    if amended.edited.is_some() {
        after.push_str(" (edited)");
    }
    if !amended.reactions.is_empty() {
        after.push_str(&format!(" {{{}}}", reactions(&amended.reactions)));
    }
    (before, after)
}

/// The sentence for a change of a message, which had this text.
pub(crate) fn changed(line: &AmendedLine, was: Option<&str>) -> String {
    let was = was.map_or_else(
        || "a message".to_owned(),
        |was| format!("\"{}\"", shortened(was)),
    );
    format!("{} {}", visible(&line.nick), change(line, &was))
}

fn change(line: &AmendedLine, was: &str) -> String {
    match (&line.text, &line.emoji) {
        (Some(text), _) => format!("edited {was}: {}", visible(text)),
        (None, Some(emoji)) if line.off => format!("took {} back from {was}", visible(emoji)),
        (None, Some(emoji)) => format!("reacted {} to {was}", visible(emoji)),
        (None, None) => format!("changed {was}"),
    }
}

#[cfg(test)]
mod tests {
    use hobnob::MessageId;
    use hobnob::protocol::{LogId, PersonId};
    use hobnob_control::wire::Text;

    use super::*;

    #[test]
    fn a_quote_is_the_first_line_or_says_why_there_is_none() {
        let quoted = |text: Option<&str>| {
            quote(&ReplyToLine {
                id: Text(MessageId {
                    log: LogId(1),
                    seq: 1,
                }),
                from: Text(PersonId::from_bytes([1; 32])),
                nick: "ann".into(),
                text: text.map(str::to_owned),
            })
        };
        assert_eq!(quoted(Some("lunch?\nat one")), "ann: lunch?…");
        assert_eq!(quoted(None), "ann: a message that is not here");
        assert_eq!(quoted(Some("")), "ann: the end of a topic");
    }
}
