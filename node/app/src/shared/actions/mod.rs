//! The definition of every user action: its name, aliases, help and the requests that it sends.
//!
//! The [table] is the only one. The command line takes its commands' names and help from it, both
//! chats their commands, and tests compare it with the list of JSON requests. How an action's
//! arguments are parsed is in `cli::args` and in [`super::chat_input`].

pub(crate) mod help;
mod table;

pub(crate) use table::ACTIONS;
#[cfg(test)]
use table::FOR_PROGRAMS;

use super::policy::PolicyChange;

/// One action that a user can ask for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Action {
    pub(crate) name: &'static str,
    /// Other names, in the chat and on the command line.
    pub(crate) aliases: &'static [&'static str],
    pub(crate) group: Group,
    /// One line that begins with a verb in the imperative.
    pub(crate) help: &'static str,
    /// The JSON requests that it sends; none where the program answers by itself.
    pub(crate) requests: &'static [&'static str],
    pub(crate) command_line: CommandLine,
    pub(crate) chat: Chat,
}

/// The purpose of an action. Help lists actions by these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Messages,
    Files,
    Rooms,
    People,
    Node,
    Program,
}

impl Group {
    /// All groups, in the order in which help lists them.
    pub(crate) const ALL: [Group; 6] = [
        Group::Messages,
        Group::Files,
        Group::Rooms,
        Group::People,
        Group::Node,
        Group::Program,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Group::Messages => "Messages",
            Group::Files => "Files",
            Group::Rooms => "Rooms and conversations",
            Group::People => "People",
            Group::Node => "Your node and its network",
            Group::Program => "The program",
        }
    }
}

/// An action on the command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CommandLine {
    /// `hobnob NAME`.
    Command {
        /// The general flags that it uses.
        flags: Flags,
        /// The help below the first line.
        details: &'static str,
        /// Command lines that work, for the end of its help.
        examples: &'static [&'static str],
    },
    /// The names of the action are aliases of this command.
    AliasOf(&'static str),
    /// There is no such command, for this reason.
    Absent(&'static str),
}

/// The general flags that a command shows in its help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flags {
    /// None: it prints something about the program.
    None,
    /// The home folder only.
    Home,
    /// Those of a command that asks a node.
    Ask,
    /// Those of a command that asks a node and names a room by `--room`.
    AskInRoom,
    /// All: it runs a node.
    Node,
    /// It has its own.
    Own,
}

/// An action in the line chat and in the full-screen chat.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chat {
    /// `/NAME`.
    Command {
        command: ChatCommand,
        /// Its arguments; those in brackets are optional.
        takes: &'static str,
        /// Its help, where the chat does something else than the command line.
        help: Option<&'static str>,
    },
    /// There is no such command, for this reason.
    Absent(&'static str),
}

/// The commands of the chat, for the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChatCommand {
    Msg,
    Query,
    Me,
    Join,
    Room,
    Part,
    Rooms,
    Names,
    Peers,
    Contacts,
    Introduce,
    Invite,
    AcceptInvite,
    Whois,
    Nick,
    Picture,
    Search,
    History,
    Receipts,
    Mentions,
    Topic,
    Pin,
    Unpin,
    Pins,
    Notify,
    Mute,
    Send,
    Files,
    Accept,
    Pause,
    Decline,
    ChangePolicy(PolicyChange),
    Kick,
    Verify,
    Why,
    Id,
    Doctor,
    Away,
    Back,
    Reply,
    Edit,
    React,
    Cancel,
    Delete,
    Clear,
    Forget,
    Keep,
    Cls,
    Help,
    Quit,
}

impl ChatCommand {
    /// Whether only the full screen has it.
    pub(crate) fn needs_screen(self) -> bool {
        matches!(self, ChatCommand::Cls)
    }
}

impl Action {
    /// The command of the chat and its arguments.
    pub(crate) fn chat_command(&self) -> Option<(ChatCommand, &'static str)> {
        match self.chat {
            Chat::Command { command, takes, .. } => Some((command, takes)),
            Chat::Absent(_) => None,
        }
    }

    /// Its arguments in the chat.
    pub(crate) fn takes(&self) -> &'static str {
        self.chat_command().map_or("", |(_, takes)| takes)
    }

    /// Its name and its aliases.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.name].into_iter().chain(self.aliases.iter().copied())
    }
}

/// The action of this name or alias.
pub(crate) fn find(name: &str) -> Option<&'static Action> {
    ACTIONS
        .iter()
        .find(|action| action.names().any(|known| known == name))
}

/// The command of the chat with this name or alias.
pub(crate) fn find_in_chat(name: &str) -> Option<&'static Action> {
    find(name).filter(|action| action.chat_command().is_some())
}

/// The actions that are commands of the chat.
pub(crate) fn of_chat() -> impl Iterator<Item = &'static Action> {
    ACTIONS
        .iter()
        .filter(|action| action.chat_command().is_some())
}

/// The actions that are commands of the command line.
pub(crate) fn of_command_line() -> impl Iterator<Item = &'static Action> {
    ACTIONS
        .iter()
        .filter(|action| matches!(action.command_line, CommandLine::Command { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args;
    use crate::shared::chat_input;
    use hobnob_control::wire::AnyRequest;
    use std::collections::BTreeSet;

    #[test]
    fn every_action_of_the_table_is_a_command_of_the_command_line_and_no_other_is() {
        let parser = args::command();
        let parsed: BTreeSet<&str> = parser.get_subcommands().map(|it| it.get_name()).collect();
        let table: BTreeSet<&str> = of_command_line().map(|action| action.name).collect();
        assert_eq!(parsed, table);
        for action in ACTIONS {
            let name = match action.command_line {
                CommandLine::Command { .. } => action.name,
                CommandLine::AliasOf(command) => command,
                CommandLine::Absent(why) => {
                    assert!(parser.find_subcommand(action.name).is_none());
                    assert!(!why.is_empty(), "{}: say why", action.name);
                    continue;
                }
            };
            for word in action.names() {
                let found = parser.find_subcommand(word).map(|it| it.get_name());
                assert_eq!(found, Some(name), "hobnob {word}");
            }
        }
    }

    #[test]
    fn every_action_of_the_table_is_a_command_of_the_chat_or_says_why_not() {
        for action in ACTIONS {
            for word in action.names() {
                let error = chat_input::parse(&format!("/{word} -")).err();
                let unknown = format!("there is no command /{word}");
                let known = error.is_none_or(|error| !error.contains(&unknown));
                match action.chat {
                    Chat::Command { .. } => assert!(known, "/{word}"),
                    Chat::Absent(why) => assert!(!known && !why.is_empty(), "/{word}"),
                }
            }
        }
    }

    #[test]
    fn an_action_has_the_same_requests_as_the_json_protocol() {
        let in_table: BTreeSet<&str> = ACTIONS
            .iter()
            .flat_map(|action| action.requests.iter().copied())
            .chain(FOR_PROGRAMS.iter().copied())
            .collect();
        let in_protocol: BTreeSet<&str> = AnyRequest::NAMES.iter().copied().collect();
        assert_eq!(in_table, in_protocol);
    }

    #[test]
    fn the_guide_names_every_command() {
        const GUIDE: &str = include_str!("../../../../../docs/GUIDE.md");
        for action in of_chat() {
            let words = format!("`/{}", action.name);
            assert!(GUIDE.contains(&words), "the guide lacks {words}");
        }
        for action in of_command_line() {
            let words = format!("hobnob {}", action.name);
            assert!(GUIDE.contains(&words), "the guide lacks {words}");
        }
    }

    #[test]
    fn no_two_actions_share_a_name() {
        let names: Vec<_> = ACTIONS.iter().flat_map(Action::names).collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
    }

    #[test]
    fn groups_are_listed_together() {
        let mut groups: Vec<Group> = ACTIONS.iter().map(|action| action.group).collect();
        groups.dedup();
        assert_eq!(groups, Group::ALL);
    }
}
