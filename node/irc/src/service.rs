//! The service `*hobnob`: the user writes commands to it for which IRC has no words. The commands
//! are those of the chat.

use hobnob::MessageId;
use hobnob_protocol::PersonId;

use crate::render::message_id;

/// A command to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Id,
    Peers,
    Contacts,
    Files,
    /// A contact or a stranger, by nickname.
    Person(PersonChange, String),
    /// The number of an offer, or a part of its name or id.
    Accept(String),
    Decline(String),
    /// A conversation and the path of a file.
    Send(String, String),
    /// The name of a room or a ticket.
    Join(String),
    Search(String),
    Reply(Which, String),
    Edit(Which, String),
    React(Which, String),
    Delete(Which),
    Cancel(Which),
}

/// A change of what the user wants of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PersonChange {
    Accept,
    Remove,
    Ignore,
    Unignore,
    Block,
    Unblock,
    /// Shows the safety number.
    Verify,
    /// Marks the person as verified.
    Confirm,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The newest: of this user's for a change, of others for an answer.
    Last,
    Id(MessageId),
}

/// What a service command waits for.
#[derive(Debug)]
pub(crate) enum ServiceAsk {
    /// Say this when it is done.
    Done(String),
    /// A stranger is a contact now.
    Accepted(PersonId),
    Id,
    Files,
    /// The list of files, in which to look for this name: to accept it, or to decline it.
    Find(String, bool),
    Found,
    Safety,
}

/// The commands, with their arguments and what they do.
pub const COMMANDS: [(&str, &str, &str); 19] = [
    ("accept", "NUMBER", "fetch an offered file"),
    (
        "decline",
        "NUMBER",
        "decline an offered file, or end its transfer",
    ),
    ("files", "", "list offered files"),
    (
        "send",
        "NICK|#ROOM PATH",
        "offer a file of the machine where hobnob runs",
    ),
    (
        "contacts",
        "",
        "list contacts, and strangers who have written to you",
    ),
    ("contacts accept", "NICK", "make a stranger a contact"),
    ("contacts remove", "NICK", "make a contact a stranger again"),
    ("ignore", "NICK", "hide what somebody writes"),
    ("unignore", "NICK", "show it again"),
    (
        "block",
        "NICK",
        "disconnect somebody and refuse new connections",
    ),
    ("unblock", "NICK", "undo block"),
    (
        "verify",
        "NICK [confirm]",
        "show the safety number, or mark the person as verified",
    ),
    ("peers", "", "list everybody whom hobnob knows"),
    ("id", "", "show your id and your ticket"),
    ("join", "#ROOM|TICKET", "join a room"),
    ("search", "WORDS", "find messages"),
    (
        "reply, edit, react",
        "last|ID TEXT",
        "answer, change or react to a message",
    ),
    ("delete, cancel", "last|ID", "delete a message"),
    ("help", "", "list these commands"),
];

/// Reads a command. The error says what is wrong.
pub(crate) fn parse(text: &str) -> Result<Command, String> {
    let (name, rest) = split(text);
    let name = name.trim_start_matches('/').to_ascii_lowercase();
    let one = |what: &str| match rest {
        "" => Err(format!("{name}: {what} is missing")),
        rest => Ok(rest.to_owned()),
    };
    let person = |change| one("a nickname").map(|nick| Command::Person(change, nick));
    let about = || {
        let (which, text) = split(rest);
        let which = which_message(which)?;
        match text {
            "" => Err(format!("{name}: a text is missing")),
            text => Ok((which, text.to_owned())),
        }
    };
    Ok(match name.as_str() {
        "" | "help" => Command::Help,
        "id" => Command::Id,
        "peers" => Command::Peers,
        "files" => Command::Files,
        "contacts" => match split(rest) {
            ("", _) => Command::Contacts,
            (_, "") => return Err("contacts: a nickname is missing".to_owned()),
            ("accept", nick) => Command::Person(PersonChange::Accept, nick.to_owned()),
            ("remove", nick) => Command::Person(PersonChange::Remove, nick.to_owned()),
            _ => return Err("contacts: say accept or remove, and a nickname".to_owned()),
        },
        "accept" => Command::Accept(one("the number of a file")?),
        "decline" => Command::Decline(one("the number of a file")?),
        "send" => match split(rest) {
            (_, "") => return Err("send: say a nickname or a room, and a path".to_owned()),
            (to, path) => Command::Send(to.to_owned(), path.to_owned()),
        },
        "join" => Command::Join(one("a room or a ticket")?),
        "search" => Command::Search(one("a word")?),
        "ignore" => person(PersonChange::Ignore)?,
        "unignore" => person(PersonChange::Unignore)?,
        "block" => person(PersonChange::Block)?,
        "unblock" => person(PersonChange::Unblock)?,
        "verify" => match split(rest) {
            (nick, "confirm") => Command::Person(PersonChange::Confirm, nick.to_owned()),
            _ => person(PersonChange::Verify)?,
        },
        "reply" => about().map(|(which, text)| Command::Reply(which, text))?,
        "edit" => about().map(|(which, text)| Command::Edit(which, text))?,
        "react" => about().map(|(which, text)| Command::React(which, text))?,
        "delete" => Command::Delete(which_message(rest)?),
        "cancel" => Command::Cancel(which_message(rest)?),
        other => return Err(format!("there is no command {other}: try help")),
    })
}

fn which_message(word: &str) -> Result<Which, String> {
    match word {
        "last" => Ok(Which::Last),
        word => message_id(word)
            .map(Which::Id)
            .ok_or_else(|| "say which message: last, or its id".to_owned()),
    }
}

/// The first word, and the rest.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words_and_their_arguments() {
        for (text, command) in [
            ("help", Command::Help),
            ("ACCEPT 12", Command::Accept("12".into())),
            (
                "accept film one.mp4",
                Command::Accept("film one.mp4".into()),
            ),
            ("contacts", Command::Contacts),
            (
                "contacts accept bob",
                Command::Person(PersonChange::Accept, "bob".into()),
            ),
            (
                "send #ops  /a b.txt",
                Command::Send("#ops".into(), "/a b.txt".into()),
            ),
            (
                "edit last better so",
                Command::Edit(Which::Last, "better so".into()),
            ),
            (
                "verify bob confirm",
                Command::Person(PersonChange::Confirm, "bob".into()),
            ),
        ] {
            assert_eq!(parse(text), Ok(command), "{text}");
        }
    }

    #[test]
    fn a_wrong_command_is_explained() {
        for (text, part) in [
            ("dance", "no command dance"),
            ("accept", "the number"),
            ("edit sometime x", "last, or its id"),
            ("edit last", "a text is missing"),
            ("contacts bob", "a nickname is missing"),
            ("contacts like bob", "accept or remove"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
