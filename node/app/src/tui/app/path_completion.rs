//! Where a typed path begins, and what several names have in common. Pure functions on text.

use crate::shared::actions;
use crate::shared::chat_input::addressed;

/// The index at which the path argument of a command begins, if the user is typing one.
pub(super) fn start(before: &str) -> Option<usize> {
    let (command, rest) = before.strip_prefix('/')?.split_once(' ')?;
    actions::find_in_chat(command).filter(|action| action.takes().ends_with("PATH"))?;
    let rest = rest.trim_start();
    match addressed(rest) {
        // No space follows: the user is still typing the conversation.
        (Some(to), _) if to.len() == rest.len() => None,
        (_, path) => Some(before.len() - path.len()),
    }
}

/// The longest start that all names have in common.
pub(super) fn shared_start(names: &[String]) -> &str {
    let Some(first) = names.first() else {
        return "";
    };
    let shared = |name: &String| {
        first
            .char_indices()
            .zip(name.chars())
            .find(|((_, a), b)| a != b)
            .map_or(name.len(), |((at, _), _)| at)
    };
    let len = names
        .iter()
        .map(|name| shared(name).min(first.len()))
        .min()
        .unwrap_or(0);
    first.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_behind_the_command_and_the_conversation() {
        for (before, path) in [
            ("/send my f", Some("my f")),
            ("/send ", Some("")),
            ("/send @bob my f", Some("my f")),
            ("/send @bob my ", Some("my ")),
            ("/send #ops ", Some("")),
            ("/send @bo", None),
            ("/send", None),
            ("/msg bob /etc", None),
            ("see /send x", None),
        ] {
            assert_eq!(start(before).map(|at| &before[at..]), path, "{before}");
        }
    }

    #[test]
    fn names_share_whole_letters() {
        for (names, shared) in [
            (vec!["abc", "abd"], "ab"),
            (vec!["é1", "è1"], ""),
            (vec!["日本", "日食"], "日"),
            (vec!["a", "abc"], "a"),
            (vec!["abc", "a"], "a"),
            (vec!["one"], "one"),
            (vec![], ""),
        ] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            assert_eq!(shared_start(&names), shared, "{names:?}");
        }
    }
}
