//! Parses the lines that a user types into a chat: messages and commands.

use hobnob::protocol::invitation::{CodeError, InviteCode};
use hobnob::protocol::room_ticket::RoomTargetError;
use hobnob::protocol::target::TargetError;
use hobnob::protocol::text::visible;
use hobnob::protocol::{Nickname, RoomName, RoomTarget, Target};
use hobnob_control::wire::Text;

use super::actions::help::{purpose, synopsis};
use super::actions::{Action, Chat, ChatCommand, find, of_chat};
use super::alerting::Notify;
use super::amending::{Amend, Which};
use super::erasing::{self, Erase};
use super::policy::PolicyChange;
use super::typed_path::PathWord;

/// The number of messages that `/history` shows by default.
const HISTORY_DEFAULT: usize = 20;

/// Commands within this edit distance are suggested.
const NEAR: usize = 2;

/// The text of an action is sent as typed, and shown as `* ann waves` (XEP-0245).
pub(crate) use hobnob::protocol::text::ACTION;

/// A parsed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// An empty line.
    Nothing,
    /// A message to the open conversation.
    Say(String),
    /// A direct message.
    Msg(Target, String),
    Query(Target),
    /// With a passphrase, if the room has one.
    Join(RoomTarget, Option<String>),
    CreateRoom(RoomName),
    /// Without a name: of the open conversation.
    RoomTicket(Option<RoomName>),
    /// Without a name: the open conversation.
    Part(Option<RoomName>),
    Rooms,
    Names,
    Peers,
    Contacts,
    Introduce(Target, Target),
    /// With a room, to which the code invites, too.
    Invite(Option<RoomName>),
    AcceptInvite(InviteCode),
    Whois(Target),
    Nick(Nickname),
    /// Sets the profile picture, or removes it.
    Picture(Option<PathWord>),
    Search(String),
    History(usize),
    /// The newest messages that mention the user.
    Mentions,
    Notify(Notify),
    /// Lists how long messages are kept.
    KeepTimes,
    /// Shows the topic, or sets it. An empty one removes it.
    Topic(Option<String>),
    /// The pinned messages of the open conversation.
    Pins,
    Receipts,
    /// Offers the file or folder at this path; without a conversation: in the open one.
    Send(Option<To>, PathWord),
    Files,
    /// By id, its first characters, or name. Without any, the only one that waits.
    Accept(Option<String>),
    Pause(Option<String>),
    Decline(Option<String>),
    ChangePolicy(PolicyChange, Target),
    Kick(Target),
    /// Marks the peer as verified, or withdraws that. Without either, shows the safety number.
    Verify(Target, Option<bool>),
    Why(Target),
    /// This node's id, addresses and ticket.
    Id,
    /// The state of this node, and a diagnosis.
    Doctor,
    /// Answers, edits, or cancels a message, or reacts to it.
    Amend(Which, Amend),
    /// Whether the user is away, and a text about it.
    Status(bool, String),
    Erase(Erase),
    Cls,
    /// Explains one command, or lists all.
    Help(Option<&'static Action>),
    Quit,
}

impl Input {
    /// Whether a file may have this line, from which later chats recall it. It has no texts of messages,
    /// which belong in the database, and no secrets.
    pub(crate) fn may_be_stored(&self) -> bool {
        match self {
            Input::Join(RoomTarget::Name(_), passphrase) => passphrase.is_none(),
            Input::Query(_)
            | Input::CreateRoom(_)
            | Input::RoomTicket(_)
            | Input::Part(_)
            | Input::Rooms
            | Input::Names
            | Input::Peers
            | Input::Contacts
            | Input::Introduce(..)
            | Input::Invite(_)
            | Input::Whois(_)
            | Input::Nick(_)
            | Input::Picture(_)
            | Input::History(_)
            | Input::Mentions
            | Input::Notify(_)
            | Input::KeepTimes
            | Input::Pins
            | Input::Receipts
            | Input::Send(..)
            | Input::Files
            | Input::Accept(_)
            | Input::Pause(_)
            | Input::Decline(_)
            | Input::ChangePolicy(..)
            | Input::Kick(_)
            | Input::Verify(..)
            | Input::Why(_)
            | Input::Id
            | Input::Doctor
            | Input::Erase(_)
            | Input::Cls
            | Input::Help(_)
            | Input::Quit => true,
            Input::Amend(_, amend) => match amend {
                Amend::React { .. } | Amend::Cancel | Amend::Pin { .. } => true,
                Amend::Reply(_) | Amend::Edit(_) => false,
            },
            Input::Nothing
            | Input::Say(_)
            | Input::Msg(..)
            | Input::Search(_)
            | Input::Topic(_)
            | Input::Status(..)
            | Input::AcceptInvite(_)
            | Input::Join(RoomTarget::Ticket(_), _) => false,
        }
    }
}

/// A conversation, as the user types it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    /// `@bob`
    Peer(Target),
    /// `#ops`
    Room(RoomName),
}

impl To {
    /// The fields of a request: a target, or a room.
    pub(crate) fn fields(self) -> (Option<Text<Target>>, Option<Text<RoomName>>) {
        match self {
            To::Peer(target) => (Some(Text(target)), None),
            To::Room(room) => (None, Some(Text(room))),
        }
    }
}

/// Parses a line. A line that begins with one slash is a command or an error, never a message.
pub(crate) fn parse(line: &str) -> Result<Input, String> {
    if line.trim().is_empty() {
        return Ok(Input::Nothing);
    }
    let Some(command) = line.strip_prefix('/') else {
        return Ok(Input::Say(line.to_owned()));
    };
    if command.starts_with('/') {
        return Ok(Input::Say(command.to_owned()));
    }
    let (name, rest) = split_word(command);
    let (action, command) = known(name)?;
    let takes = action.takes();
    if takes.is_empty() && !rest.is_empty() {
        return Err(format!("/{} takes no arguments", action.name));
    }
    if rest.is_empty() && !takes.is_empty() && !takes.starts_with('[') {
        return Err(usage(action));
    }
    meaning(action, command, rest)
}

fn meaning(action: &'static Action, command: ChatCommand, rest: &str) -> Result<Input, String> {
    Ok(match command {
        ChatCommand::Msg => {
            let (target, text) = split_word(rest);
            if text.is_empty() {
                return Err(usage(action));
            }
            Input::Msg(parse_target(target)?, text.to_owned())
        }
        ChatCommand::Query => Input::Query(parse_target(rest)?),
        ChatCommand::Whois => Input::Whois(parse_target(rest)?),
        ChatCommand::ChangePolicy(change) => Input::ChangePolicy(change, parse_target(rest)?),
        ChatCommand::Kick => Input::Kick(parse_target(rest)?),
        ChatCommand::Why => Input::Why(parse_target(rest)?),
        ChatCommand::Verify => verify(action, rest)?,
        ChatCommand::Me => Input::Say(format!("{ACTION}{rest}")),
        ChatCommand::Join => join(rest)?,
        ChatCommand::Room => room(action, rest)?,
        ChatCommand::Part if rest.is_empty() => Input::Part(None),
        ChatCommand::Part => Input::Part(Some(parse_room(rest)?)),
        ChatCommand::Nick => Input::Nick(Nickname::new(rest).map_err(|e| e.to_string())?),
        ChatCommand::Picture if rest == "--off" => Input::Picture(None),
        ChatCommand::Picture => Input::Picture(Some(PathWord::parse(rest)?)),
        ChatCommand::Search => Input::Search(rest.to_owned()),
        ChatCommand::History if rest.is_empty() => Input::History(HISTORY_DEFAULT),
        ChatCommand::History => Input::History(
            rest.parse()
                .map_err(|_| format!("/history takes a number, not {rest:?}"))?,
        ),
        ChatCommand::Help if rest.is_empty() => Input::Help(None),
        ChatCommand::Help => {
            let name = rest.trim_start_matches('/');
            Input::Help(Some(known(name)?.0))
        }
        ChatCommand::Rooms => Input::Rooms,
        ChatCommand::Names => Input::Names,
        ChatCommand::Peers => Input::Peers,
        ChatCommand::Contacts => Input::Contacts,
        ChatCommand::Introduce => {
            let (one, other) = split_word(rest);
            if other.is_empty() {
                return Err(usage(action));
            }
            Input::Introduce(parse_target(one)?, parse_target(other)?)
        }
        ChatCommand::Invite if rest.is_empty() => Input::Invite(None),
        ChatCommand::Invite => Input::Invite(Some(parse_room(rest)?)),
        ChatCommand::AcceptInvite => {
            let code = rest.parse().map_err(|error: CodeError| error.to_string())?;
            Input::AcceptInvite(code)
        }
        ChatCommand::Mentions => Input::Mentions,
        ChatCommand::Notify => {
            let notify = Notify::parse(rest);
            Input::Notify(notify.map_err(|why| format!("{why} ({})", usage(action)))?)
        }
        ChatCommand::Topic if rest == "--off" => Input::Topic(Some(String::new())),
        ChatCommand::Topic => Input::Topic(some(rest)),
        ChatCommand::Pins => Input::Pins,
        ChatCommand::Pin | ChatCommand::Unpin => match Which::split(rest) {
            (which, "") => {
                let off = command == ChatCommand::Unpin;
                Input::Amend(which, Amend::Pin { off })
            }
            (..) => return Err(usage(action)),
        },
        ChatCommand::Mute => Input::Notify(Notify::mute(rest)?),
        ChatCommand::Receipts => Input::Receipts,
        ChatCommand::Send => send(action, rest)?,
        ChatCommand::Files => Input::Files,
        ChatCommand::Accept => Input::Accept(some(rest)),
        ChatCommand::Pause => Input::Pause(some(rest)),
        ChatCommand::Decline => Input::Decline(some(rest)),
        ChatCommand::Id => Input::Id,
        ChatCommand::Doctor => Input::Doctor,
        ChatCommand::Away => Input::Status(true, rest.to_owned()),
        ChatCommand::Back => Input::Status(false, rest.to_owned()),
        ChatCommand::Reply => {
            let (which, text) = Which::split(rest);
            Input::Amend(which, Amend::Reply(not_empty(action, text)?))
        }
        ChatCommand::Edit => {
            let (which, text) = Which::split(rest);
            Input::Amend(which, Amend::Edit(not_empty(action, text)?))
        }
        ChatCommand::React => {
            let (which, rest) = Which::split(rest);
            let (emoji, [off]) = flagged(action, rest, ["--off"])?;
            let emoji = not_empty(action, emoji)?;
            Input::Amend(which, Amend::React { emoji, off })
        }
        ChatCommand::Cancel => match Which::split(rest) {
            (which, "") => Input::Amend(which, Amend::Cancel),
            (..) => return Err(usage(action)),
        },
        ChatCommand::Delete => Input::Erase(delete(action, rest)?),
        ChatCommand::Clear => {
            let (of, [yes]) = flagged(action, rest, ["--yes"])?;
            let of = of.parse()?;
            Input::Erase(Erase::Clear { of, yes })
        }
        ChatCommand::Forget => {
            let (target, rest) = split_word(rest);
            let target = parse_target(target)?;
            let (yes, address) = match rest {
                "" => (false, None),
                "--yes" => (true, None),
                address => (false, Some(address.parse().map_err(|_| usage(action))?)),
            };
            Input::Erase(Erase::Forget {
                target,
                address,
                yes,
            })
        }
        ChatCommand::Keep => {
            let (of, time) = split_word(rest);
            if of.is_empty() {
                return Ok(Input::KeepTimes);
            }
            if time.is_empty() {
                return Err(usage(action));
            }
            let (of, time) = (of.parse()?, erasing::keep_time(time)?);
            Input::Erase(Erase::Keep { of, time })
        }
        ChatCommand::Cls => Input::Cls,
        ChatCommand::Quit => Input::Quit,
    })
}

fn join(rest: &str) -> Result<Input, String> {
    let (room, passphrase) = split_word(rest);
    let room = room
        .parse()
        .map_err(|error: RoomTargetError| error.to_string())?;
    Ok(Input::Join(room, some(passphrase)))
}

fn room(action: &Action, rest: &str) -> Result<Input, String> {
    match split_word(rest) {
        ("create", name) if !name.is_empty() => Ok(Input::CreateRoom(parse_room(name)?)),
        ("ticket", "") => Ok(Input::RoomTicket(None)),
        ("ticket", name) => Ok(Input::RoomTicket(Some(parse_room(name)?))),
        _ => Err(usage(action)),
    }
}

fn verify(action: &Action, rest: &str) -> Result<Input, String> {
    let (target, then) = split_word(rest);
    let confirm = match then {
        "" => None,
        "confirm" | "--confirm" => Some(true),
        "undo" | "--undo" => Some(false),
        _ => return Err(usage(action)),
    };
    Ok(Input::Verify(parse_target(target)?, confirm))
}

fn delete(action: &Action, rest: &str) -> Result<Erase, String> {
    let (id, [here, yes]) = flagged(action, rest, ["--here", "--yes"])?;
    let id = id.parse().map_err(|error: &str| error.to_owned())?;
    Ok(Erase::Delete { id, here, yes })
}

/// The first word, and which of these flags follow it.
fn flagged<'a, const N: usize>(
    action: &Action,
    rest: &'a str,
    flags: [&str; N],
) -> Result<(&'a str, [bool; N]), String> {
    let (first, others) = split_word(rest);
    let others: Vec<_> = others.split_whitespace().collect();
    if others.iter().any(|word| !flags.contains(word)) {
        return Err(usage(action));
    }
    Ok((first, flags.map(|flag| others.contains(&flag))))
}

fn send(action: &Action, rest: &str) -> Result<Input, String> {
    let (to, path) = addressed(rest);
    if path.is_empty() {
        let usage = usage(action);
        return Err(format!(
            "{usage} (write ./ before a path that begins with @ or #)"
        ));
    }
    let to = to.map(parse_to).transpose()?;
    Ok(Input::Send(to, PathWord::parse(path)?))
}

fn not_empty(action: &Action, text: &str) -> Result<String, String> {
    some(text).ok_or_else(|| usage(action))
}

fn some(word: &str) -> Option<String> {
    (!word.is_empty()).then(|| word.to_owned())
}

fn usage(action: &Action) -> String {
    format!("usage: {}: {}", synopsis(action), purpose(action))
}

/// The command of the chat with this name or alias.
fn known(name: &str) -> Result<(&'static Action, ChatCommand), String> {
    let action = find(name).ok_or_else(|| unknown_command(name))?;
    match action.chat {
        Chat::Command { command, .. } => Ok((action, command)),
        Chat::Absent(why) => Err(format!("there is no command /{name} in the chat: {why}")),
    }
}

fn parse_target(word: &str) -> Result<Target, String> {
    word.parse().map_err(|e: TargetError| e.to_string())
}

fn parse_to(word: &str) -> Result<To, String> {
    match word.strip_prefix('@') {
        Some(target) => parse_target(target).map(To::Peer),
        None => parse_room(word).map(To::Room),
    }
}

/// Splits off a conversation at the start of the arguments.
pub(crate) fn addressed(rest: &str) -> (Option<&str>, &str) {
    if !rest.starts_with(['@', '#']) {
        return (None, rest);
    }
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    (Some(word), rest.trim_start())
}

fn parse_room(word: &str) -> Result<RoomName, String> {
    word.parse()
        .map_err(|e: hobnob::protocol::conversation::NotARoomName| e.to_string())
}

fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn unknown_command(name: &str) -> String {
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    let near = of_chat()
        .flat_map(Action::names)
        .filter(|known| distance(known) <= NEAR && 2 * distance(known) <= known.len())
        .min_by_key(distance);
    let name = visible(name);
    let hint = near.map_or_else(
        || "see /help".to_owned(),
        |near| format!("did you mean /{near}?"),
    );
    format!(
        "there is no command /{name}: {hint} (to send a text that begins with a slash, write two)"
    )
}

#[cfg(test)]
mod tests {
    use hobnob::protocol::{RoomKey, RoomTicket};

    use super::*;

    #[test]
    fn neither_texts_nor_secrets_are_stored_in_a_file() {
        let may = |line: &str| parse(line).is_ok_and(|input| input.may_be_stored());
        for line in [
            "/join #ops",
            "/query bob",
            "/send ~/a.txt",
            "/react 👍",
            "/help",
        ] {
            assert!(may(line), "{line}");
        }
        let name: RoomName = "ops".parse().unwrap();
        let ticket = RoomTicket::new(name, RoomKey::random([7; 32])).expect("a key");
        for line in [
            "hello",
            "//hello",
            "/me waves",
            "/msg bob hi",
            "/reply hi",
            "/edit hi",
            "/topic plans",
            "/search soup",
            "/away at lunch",
            "/join #ops correct horse battery",
            "/jion #ops correct horse battery",
            &format!("/join {ticket}"),
        ] {
            assert!(!may(line), "{line}");
        }
    }

    #[test]
    fn lines_and_what_they_mean() {
        let say = |text: &str| Ok(Input::Say(text.into()));
        let room = |name: &str| name.parse::<RoomName>().unwrap();
        let bob = || Target::Name("bob".into());
        let path = |typed: &str| PathWord::parse(typed).unwrap();
        let cases = [
            ("", Ok(Input::Nothing)),
            ("  \t", Ok(Input::Nothing)),
            ("hello there", say("hello there")),
            (" /peers", say(" /peers")),
            ("//etc is a folder", say("/etc is a folder")),
            ("/me waves", say("/me waves")),
            (
                "/msg bob hi  there",
                Ok(Input::Msg(bob(), "hi  there".into())),
            ),
            ("/w bob hi", Ok(Input::Msg(bob(), "hi".into()))),
            (
                "/msg bob two\nlines",
                Ok(Input::Msg(bob(), "two\nlines".into())),
            ),
            ("/query bob", Ok(Input::Query(bob()))),
            ("/whois bob", Ok(Input::Whois(bob()))),
            ("/peers", Ok(Input::Peers)),
            ("/contacts", Ok(Input::Contacts)),
            (
                "/befriend bob",
                Ok(Input::ChangePolicy(PolicyChange::Accept, bob())),
            ),
            (
                "/unfriend bob",
                Ok(Input::ChangePolicy(PolicyChange::Remove, bob())),
            ),
            ("/who ", Ok(Input::Peers)),
            ("/names", Ok(Input::Names)),
            (
                "/ignore bob",
                Ok(Input::ChangePolicy(PolicyChange::Ignore, bob())),
            ),
            (
                "/ban bob",
                Ok(Input::ChangePolicy(PolicyChange::Block, bob())),
            ),
            ("/kick bob", Ok(Input::Kick(bob()))),
            ("/verify bob", Ok(Input::Verify(bob(), None))),
            ("/verify bob confirm", Ok(Input::Verify(bob(), Some(true)))),
            ("/why bob", Ok(Input::Why(bob()))),
            (
                "/block bob",
                Ok(Input::ChangePolicy(PolicyChange::Block, bob())),
            ),
            ("/id", Ok(Input::Id)),
            ("/net", Ok(Input::Doctor)),
            ("/doctor", Ok(Input::Doctor)),
            (
                "/send \"my film.mp4\"",
                Ok(Input::Send(None, path("my film.mp4"))),
            ),
            (
                "/send @bob my film.mp4",
                Ok(Input::Send(Some(To::Peer(bob())), path("my film.mp4"))),
            ),
            (
                "/send #ops  'x'",
                Ok(Input::Send(Some(To::Room(room("ops"))), path("x"))),
            ),
            ("/send ./@bob", Ok(Input::Send(None, path("./@bob")))),
            ("/send '#1'", Ok(Input::Send(None, path("'#1'")))),
            ("/files", Ok(Input::Files)),
            ("/accept", Ok(Input::Accept(None))),
            ("/get f33731-4", Ok(Input::Accept(Some("f33731-4".into())))),
            (
                "/decline my film.mp4",
                Ok(Input::Decline(Some("my film.mp4".into()))),
            ),
            ("/topic", Ok(Input::Topic(None))),
            (
                "/topic lunch plans",
                Ok(Input::Topic(Some("lunch plans".into()))),
            ),
            ("/topic --off", Ok(Input::Topic(Some(String::new())))),
            ("/pins", Ok(Input::Pins)),
            (
                "/pin ^2",
                Ok(Input::Amend(Which::Back(2), Amend::Pin { off: false })),
            ),
            (
                "/unpin",
                Ok(Input::Amend(Which::Newest, Amend::Pin { off: true })),
            ),
            ("/mentions", Ok(Input::Mentions)),
            ("/notify", Ok(Input::Notify(Notify::List))),
            ("/keep", Ok(Input::KeepTimes)),
            ("/mute", Ok(Input::Notify(Notify::mute("").unwrap()))),
            ("/history", Ok(Input::History(20))),
            ("/history 5", Ok(Input::History(5))),
            ("/search two words", Ok(Input::Search("two words".into()))),
            (
                "/nick Ann B",
                Ok(Input::Nick(Nickname::new("Ann B").unwrap())),
            ),
            (
                "/join #Ops",
                Ok(Input::Join(RoomTarget::Name(room("ops")), None)),
            ),
            (
                "/j ops four unrelated words",
                Ok(Input::Join(
                    RoomTarget::Name(room("ops")),
                    Some("four unrelated words".into()),
                )),
            ),
            ("/room create ops", Ok(Input::CreateRoom(room("ops")))),
            (
                "/room ticket #ops",
                Ok(Input::RoomTicket(Some(room("ops")))),
            ),
            ("/room ticket", Ok(Input::RoomTicket(None))),
            ("/part", Ok(Input::Part(None))),
            ("/leave ops", Ok(Input::Part(Some(room("ops"))))),
            (
                "/introduce bob carol",
                Ok(Input::Introduce(
                    Target::Name("bob".into()),
                    Target::Name("carol".into()),
                )),
            ),
            ("/invite", Ok(Input::Invite(None))),
            ("/invite ops", Ok(Input::Invite(Some(room("ops"))))),
            (
                "/accept-invite 481593 maple Violin stone",
                Ok(Input::AcceptInvite(
                    "481593-maple-violin-stone".parse().unwrap(),
                )),
            ),
            ("/rooms", Ok(Input::Rooms)),
            ("/cls", Ok(Input::Cls)),
            (
                "/delete 00000000000000ab-7 --here",
                Ok(Input::Erase(Erase::Delete {
                    id: "00000000000000ab-7".parse().unwrap(),
                    here: true,
                    yes: false,
                })),
            ),
            (
                "/clear #ops --yes",
                Ok(Input::Erase(Erase::Clear {
                    of: "#ops".parse().unwrap(),
                    yes: true,
                })),
            ),
            (
                "/forget bob",
                Ok(Input::Erase(Erase::Forget {
                    target: bob(),
                    address: None,
                    yes: false,
                })),
            ),
            (
                "/forget bob 10.0.0.5:4626",
                Ok(Input::Erase(Erase::Forget {
                    target: bob(),
                    address: Some(([10, 0, 0, 5], 4626).into()),
                    yes: false,
                })),
            ),
            (
                "/keep #ops forever",
                Ok(Input::Erase(Erase::Keep {
                    of: "#ops".parse().unwrap(),
                    time: None,
                })),
            ),
            ("/help", Ok(Input::Help(None))),
            ("/help /j", Ok(Input::Help(find("join")))),
            ("/quit", Ok(Input::Quit)),
            ("/exit", Ok(Input::Quit)),
        ];
        for (line, meaning) in cases {
            assert_eq!(parse(line), meaning, "{line:?}");
        }
    }

    #[test]
    fn wrong_commands_are_errors_that_help() {
        for (line, says) in [
            ("/", "see /help"),
            ("/pers", "did you mean /peers?"),
            ("/mgs bob hi", "did you mean /msg?"),
            ("/Quit", "did you mean /quit?"),
            ("/frobnicate", "see /help"),
            ("/up", "for shells"),
            ("/fax", "see /help"),
            ("/help frob", "see /help"),
            ("/\u{1b}[2J", "␛[2J"),
            ("/msg", "/msg TARGET TEXT"),
            ("/keep #ops", "/keep [TO TIME]"),
            ("/clear #ops maybe", "/clear TO [--yes]"),
            ("/delete 7", "a message id is"),
            ("/msg bob", "/msg TARGET TEXT"),
            ("/msg host:0 hi", "no valid port"),
            ("/history many", "a number"),
            ("/nick", "/nick NAME"),
            ("/join", "/join ROOM"),
            ("/join a/b", "a room's name has"),
            ("/verify bob yes", "usage: /verify TARGET"),
            ("/send", "/send [@TO] PATH"),
            ("/send @bob", "write ./ before a path"),
            ("/send #o/ps x", "a room's name has"),
            ("/send @host:0 x", "no valid port"),
            ("/send 'my film", "quote"),
            ("/peers now", "takes no arguments"),
            ("/notify loud", "all, mentions, none, default"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(says), "{line:?}: {error}");
        }
    }
}
