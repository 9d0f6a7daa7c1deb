//! The file with the newest commands that the user typed, which a later chat recalls.
//!
//! It has no texts of messages: they are in the database, so a deleted message is not recalled. It
//! has no secrets either: see [`Input::may_be_stored`](crate::shared::chat_input::Input::may_be_stored).

use std::io;

use hobnob_control::Home;
use hobnob_control::wire::Time;
use serde::{Deserialize, Serialize};

use super::home_files;

/// Maximum number of commands in the file. The oldest are dropped.
const COMMANDS_MAX: usize = 200;

/// Maximum length of a command in bytes. A longer one is not stored.
const COMMAND_BYTES_MAX: usize = 1024;

const FILE: &str = "typed.json";

/// A command as it was typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TypedCommand {
    pub(super) at: Time,
    pub(super) line: String,
}

/// The commands, oldest first. None if the file is damaged: they are not worth an error.
pub(super) fn load(home: &Home) -> Vec<TypedCommand> {
    let content = home_files::read(home, FILE).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}

/// Adds a command. Another chat of this home may have added some meanwhile, so the file is read
/// again. A command that is typed again is moved to the end.
pub(super) fn add(home: &Home, command: TypedCommand) -> io::Result<()> {
    if command.line.len() > COMMAND_BYTES_MAX {
        return Ok(());
    }
    let mut commands = load(home);
    commands.retain(|earlier| earlier.line != command.line);
    commands.push(command);
    commands.drain(..commands.len().saturating_sub(COMMANDS_MAX));
    home_files::replace(home, FILE, &serde_json::to_vec(&commands)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(at: u64, line: &str) -> TypedCommand {
        TypedCommand {
            at: Time(at),
            line: line.to_owned(),
        }
    }

    fn lines(home: &Home) -> Vec<String> {
        load(home).into_iter().map(|it| it.line).collect()
    }

    #[test]
    fn commands_survive_a_restart_once_each() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        assert_eq!(load(&home), []);
        for (at, line) in [(1, "/peers"), (2, "/join #ops"), (3, "/peers")] {
            add(&home, typed(at, line)).unwrap();
        }
        assert_eq!(lines(&home), ["/join #ops", "/peers"]);
        std::fs::write(folder.path().join(FILE), "[{").unwrap();
        assert_eq!(lines(&home), [""; 0]);
    }

    #[test]
    fn the_newest_short_commands_are_stored() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        for at in 0..=200 {
            add(&home, typed(at, &format!("/query peer{at}"))).unwrap();
        }
        let long = "/".repeat(COMMAND_BYTES_MAX);
        add(&home, typed(300, &format!("{long}x"))).unwrap();
        assert_eq!(load(&home).len(), COMMANDS_MAX);
        assert_eq!(load(&home)[0], typed(1, "/query peer1"));
        add(&home, typed(300, &long)).unwrap();
        assert_eq!(load(&home)[COMMANDS_MAX - 1], typed(300, &long));
    }
}
