//! Help made from the table of actions: lists by purpose, wrapped to the width of the terminal.

use super::{Action, Chat, ChatCommand, Group, of_chat, of_command_line};

/// Columns of [`synopsis`] in a list of the chat.
pub(crate) const SYNOPSIS: usize = 23;

/// Columns of a command's name in the list of the command line.
const NAME: usize = 15;

/// The first line of the help of a chat.
pub(crate) const FIVE_THINGS: &str = "Five things you need: type and press Enter to speak here, /msg NAME TEXT \
     to write to somebody, /join ROOM for a room, /send PATH for a file, /quit to leave.";

/// Lines are no longer than this, however wide the terminal is.
pub(crate) const WIDTH_MAX: usize = 100;

/// Below this width the second column would have no room.
const WIDTH_MIN: usize = 40;

/// `/msg TARGET TEXT`
pub(crate) fn synopsis(action: &Action) -> String {
    format!("/{} {}", action.name, action.takes())
        .trim_end()
        .to_owned()
}

/// The help line of a command of the chat, with its aliases.
pub(crate) fn purpose(action: &Action) -> String {
    let help = match action.chat {
        Chat::Command {
            help: Some(help), ..
        } => help,
        Chat::Command { help: None, .. } | Chat::Absent(_) => action.help,
    };
    format!("{help}{}", also(action, "/"))
}

/// ` (also /w)`
fn also(action: &Action, slash: &str) -> String {
    if action.aliases.is_empty() {
        return String::new();
    }
    let aliases: Vec<String> = action
        .aliases
        .iter()
        .map(|alias| format!("{slash}{alias}"))
        .collect();
    format!(" (also {})", aliases.join(", "))
}

/// The commands of the chat by purpose, for those that `fits` accepts.
pub(crate) fn chat_groups(
    fits: impl Fn(ChatCommand) -> bool,
) -> Vec<(Group, Vec<&'static Action>)> {
    let fitting: Vec<_> = of_chat()
        .filter(|action| {
            action
                .chat_command()
                .is_some_and(|(command, _)| fits(command))
        })
        .collect();
    by_group(&fitting)
}

/// One command of the line chat, in lines of at most `width` columns.
pub(crate) fn chat_command(action: &Action, width: usize) -> Vec<String> {
    two_columns(&synopsis(action), &purpose(action), SYNOPSIS, width)
}

/// The list of commands of the line chat.
pub(crate) fn chat_list(width: usize) -> Vec<String> {
    let mut lines = wrap(FIVE_THINGS, width);
    for (group, actions) in chat_groups(|command| !command.needs_screen()) {
        lines.push(format!("{}:", group.title()));
        for action in actions {
            lines.extend(chat_command(action, width));
        }
    }
    lines
}

/// The list of commands in `hobnob --help`.
pub(crate) fn command_list(width: usize) -> String {
    let mut list = String::new();
    let actions: Vec<_> = of_command_line().collect();
    for (group, actions) in by_group(&actions) {
        list.push_str(group.title());
        list.push_str(":\n");
        for action in actions {
            for line in two_columns(&format!("  {}", action.name), action.help, NAME + 2, width) {
                list.push_str(&line);
                list.push('\n');
            }
        }
        list.push('\n');
    }
    list
}

fn by_group(actions: &[&'static Action]) -> Vec<(Group, Vec<&'static Action>)> {
    let of = |group| {
        let members = actions.iter().filter(|action| action.group == group);
        (group, members.copied().collect::<Vec<_>>())
    };
    let groups = Group::ALL.map(of).into_iter();
    groups.filter(|(_, members)| !members.is_empty()).collect()
}

/// The width of the terminal at stdout, within sensible bounds.
pub(crate) fn terminal_width() -> usize {
    let columns = rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0);
    columns.unwrap_or(WIDTH_MAX).clamp(WIDTH_MIN, WIDTH_MAX)
}

/// The second column is indented below itself.
fn two_columns(name: &str, text: &str, indent: usize, width: usize) -> Vec<String> {
    let rows = wrap(text, width.saturating_sub(indent)).into_iter();
    rows.enumerate()
        .map(|(index, row)| format!("{:indent$}{row}", if index == 0 { name } else { "" }))
        .collect()
}

/// Breaks a text at spaces. A longer word than fits has a row of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match rows.last_mut() {
            Some(row) if row.len() + 1 + word.len() <= width => {
                row.push(' ');
                row.push_str(word);
            }
            Some(_) | None => rows.push(word.to_owned()),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::super::{ACTIONS, find};
    use super::*;

    #[test]
    fn help_of_one_command_has_its_arguments_and_aliases() {
        let msg = find("w").unwrap();
        assert_eq!(
            chat_command(msg, 80),
            ["/msg TARGET TEXT       Send a direct message (also /w, /dm, /tell)"]
        );
    }

    #[test]
    fn lists_are_wrapped_to_the_terminal_and_grouped() {
        for width in [WIDTH_MIN, 60, WIDTH_MAX] {
            for line in chat_list(width)
                .iter()
                .map(String::as_str)
                .chain(command_list(width).lines())
            {
                assert!(line.len() <= width, "{width}: {line}");
            }
        }
        let list = command_list(80);
        assert!(
            list.starts_with("Messages:\n  send           Send a direct message, or offer files\n")
        );
        assert!(list.contains("\n\nFiles:\n"), "{list}");
        let chat = chat_list(80).join("\n");
        assert!(
            chat.contains("People:\n/peers ") && !chat.contains("/cls"),
            "{chat}"
        );
    }

    #[test]
    fn every_name_fits_its_column() {
        assert!(of_chat().all(|action| synopsis(action).len() < SYNOPSIS));
        assert!(ACTIONS.iter().all(|action| action.name.len() < NAME));
    }
}
