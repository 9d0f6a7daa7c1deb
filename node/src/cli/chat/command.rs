//! What a line typed into the chat means.

use hobnob::protocol::{Nickname, RoomName, Target};

use super::super::marks::Decision;

/// Messages that `/history` shows unless told otherwise.
const HISTORY_DEFAULT: usize = 20;

/// How many edits away a command may be to be suggested.
const NEAR: usize = 2;

/// What `/help` prints.
pub(crate) const HELP: [&str; 18] = [
    "/msg TARGET text   a direct message: to a nickname, id, host:port or ticket",
    "/peers             who is there",
    "/history [N]       the last N messages of every conversation (20)",
    "/nick NAME         another nickname",
    "/join ROOM         be in an open room, and speak there (with a secret: hobnob join ROOM --secret-file F)",
    "/part [ROOM]       leave it",
    "/rooms             the rooms you are in",
    "/ignore TARGET     show nothing they write (/unignore: again)",
    "/unignore TARGET   show what they write again",
    "/ban TARGET        no session with them; what they write is neither shown nor passed on",
    "/unban TARGET      undo /ban or /kick",
    "/kick TARGET       no session with them for ten minutes",
    "/verify TARGET     six words to compare with them; then /verify TARGET confirm (or undo)",
    "/why TARGET        why they can't be reached, and what to do",
    "/net               what is wrong with this machine's network",
    "/help              this",
    "/quit              end (Ctrl-D too)",
    "//text             a message that begins with a slash",
];

const NAMES: [&str; 17] = [
    "msg", "peers", "history", "nick", "join", "part", "rooms", "ignore", "unignore", "ban", "unban", "kick", "verify", "why",
    "net", "help", "quit",
];

/// A line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing was typed.
    Nothing,
    /// A message to the room that is spoken in.
    Say(String),
    /// A direct message.
    Msg(Target, String),
    Peers,
    History(usize),
    Nick(Nickname),
    Join(RoomName),
    /// Without a name: the room that is spoken in.
    Part(Option<RoomName>),
    Rooms,
    Decide(Decision, Target),
    Kick(Target),
    /// Whether the words have been compared; none: show them.
    Verify(Target, Option<bool>),
    Why(Target),
    Net,
    Help,
    Quit,
}

/// Reads a line. What begins with one slash is a command or an error, never a message.
pub(crate) fn parse(line: &str) -> Result<Input, String> {
    if line.trim().is_empty() {
        return Ok(Input::Nothing);
    }
    let Some(command) = line.strip_prefix('/') else { return Ok(Input::Say(line.to_owned())) };
    if command.starts_with('/') {
        return Ok(Input::Say(command.to_owned()));
    }
    let (name, rest) = split_word(command);
    match (name, rest) {
        ("msg", rest) => message(rest),
        ("history", "") => Ok(Input::History(HISTORY_DEFAULT)),
        ("history", n) => n.parse().map(Input::History).map_err(|_| format!("/history takes a number, not {n:?}")),
        ("nick", name) => Nickname::new(name).map(Input::Nick).map_err(|e| e.to_string()),
        ("join", "") => Err("/join needs the name of a room".into()),
        ("join", room) => room.parse().map(Input::Join).map_err(|e| format!("{e}")),
        ("part", "") => Ok(Input::Part(None)),
        ("part", room) => room.parse().map(|room| Input::Part(Some(room))).map_err(|e| format!("{e}")),
        ("peers", "") => Ok(Input::Peers),
        ("rooms", "") => Ok(Input::Rooms),
        ("ignore", whom) => target(name, whom).map(|whom| Input::Decide(Decision::Ignore, whom)),
        ("unignore", whom) => target(name, whom).map(|whom| Input::Decide(Decision::Unignore, whom)),
        ("ban", whom) => target(name, whom).map(|whom| Input::Decide(Decision::Block, whom)),
        ("unban", whom) => target(name, whom).map(|whom| Input::Decide(Decision::Unblock, whom)),
        ("kick", whom) => target(name, whom).map(Input::Kick),
        ("verify", rest) => verify(rest),
        ("why", whom) => target(name, whom).map(Input::Why),
        ("net", "") => Ok(Input::Net),
        ("help", _) => Ok(Input::Help),
        ("quit", _) => Ok(Input::Quit),
        (known, _) if NAMES.contains(&known) => Err(format!("/{known} takes nothing more")),
        (unknown, _) => Err(unknown_command(unknown)),
    }
}

fn message(rest: &str) -> Result<Input, String> {
    let (target, text) = split_word(rest);
    if target.is_empty() || text.is_empty() {
        return Err("write /msg TARGET text".into());
    }
    let target = target.parse().map_err(|e: hobnob::protocol::target::TargetError| e.to_string())?;
    Ok(Input::Msg(target, text.to_owned()))
}

fn verify(rest: &str) -> Result<Input, String> {
    let (whom, then) = split_word(rest);
    let confirm = match then {
        "" => None,
        "confirm" => Some(true),
        "undo" => Some(false),
        _ => return Err("write /verify TARGET, and when the words are the same /verify TARGET confirm".into()),
    };
    target("verify", whom).map(|whom| Input::Verify(whom, confirm))
}

fn target(command: &str, word: &str) -> Result<Target, String> {
    if word.is_empty() {
        return Err(format!("/{command} needs to know whom: a nickname, id or ticket"));
    }
    word.parse().map_err(|e: hobnob::protocol::target::TargetError| e.to_string())
}

fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn unknown_command(name: &str) -> String {
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    let near = NAMES.iter().filter(|known| distance(known) <= NEAR).min_by_key(|known| distance(known));
    let name = hobnob::protocol::text::visible(name);
    let hint = near.map_or_else(|| "see /help".to_owned(), |near| format!("did you mean /{near}?"));
    format!("there is no command /{name}: {hint} (to send a text that begins with a slash, write two)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_what_they_mean() {
        let say = |text: &str| Ok(Input::Say(text.into()));
        let room = |name: &str| name.parse::<RoomName>().unwrap();
        let cases = [
            ("", Ok(Input::Nothing)),
            ("  \t", Ok(Input::Nothing)),
            ("hello there", say("hello there")),
            (" /peers", say(" /peers")),
            ("//etc is a folder", say("/etc is a folder")),
            ("/msg bob hi  there", Ok(Input::Msg(Target::Name("bob".into()), "hi  there".into()))),
            ("/peers", Ok(Input::Peers)),
            ("/peers ", Ok(Input::Peers)),
            ("/history", Ok(Input::History(20))),
            ("/history 5", Ok(Input::History(5))),
            ("/nick Ann B", Ok(Input::Nick(Nickname::new("Ann B").unwrap()))),
            ("/join #Ops", Ok(Input::Join(room("ops")))),
            ("/part", Ok(Input::Part(None))),
            ("/part ops", Ok(Input::Part(Some(room("ops"))))),
            ("/rooms", Ok(Input::Rooms)),
            ("/ignore bob", Ok(Input::Decide(Decision::Ignore, Target::Name("bob".into())))),
            ("/unban bob", Ok(Input::Decide(Decision::Unblock, Target::Name("bob".into())))),
            ("/kick bob", Ok(Input::Kick(Target::Name("bob".into())))),
            ("/verify bob", Ok(Input::Verify(Target::Name("bob".into()), None))),
            ("/verify bob confirm", Ok(Input::Verify(Target::Name("bob".into()), Some(true)))),
            ("/why bob", Ok(Input::Why(Target::Name("bob".into())))),
            ("/net", Ok(Input::Net)),
            ("/help", Ok(Input::Help)),
            ("/quit", Ok(Input::Quit)),
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
            ("/\u{1b}[2J", "␛[2J"),
            ("/msg", "/msg TARGET text"),
            ("/msg bob", "/msg TARGET text"),
            ("/msg host:0 hi", "no valid port"),
            ("/history many", "a number"),
            ("/nick", "at least one character"),
            ("/join", "name of a room"),
            ("/ban", "/ban needs to know whom"),
            ("/verify bob yes", "/verify TARGET confirm"),
            ("/join a/b", "a room's name is"),
            ("/peers now", "takes nothing more"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(says), "{line:?}: {error}");
        }
    }

    #[test]
    fn help_names_every_command() {
        for name in NAMES {
            assert!(HELP.iter().any(|line| line.starts_with(&format!("/{name} "))), "{name}");
        }
    }
}
