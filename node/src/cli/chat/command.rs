//! What a line typed into a chat means: one table of commands for the line chat and the full screen.

use hobnob::protocol::target::TargetError;
use hobnob::protocol::text::visible;
use hobnob::protocol::{Nickname, RoomName, Target};

use super::super::marks::Decision;

/// Messages that `/history` shows unless told otherwise.
const HISTORY_DEFAULT: usize = 20;

/// How many edits away a command may be to be suggested.
const NEAR: usize = 2;

/// How a text begins that tells what its author does (XEP-0245): it travels as it was typed, and is shown as `* ann waves`.
pub(crate) const ACTION: &str = "/me ";

/// A line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Nothing was typed.
    Nothing,
    /// A message to the conversation that is spoken in.
    Say(String),
    /// A direct message.
    Msg(Target, String),
    Query(Target),
    Join(RoomName),
    /// Without a name: the conversation that is spoken in.
    Part(Option<RoomName>),
    Rooms,
    Names,
    Peers,
    Whois(Target),
    Nick(Nickname),
    Search(String),
    History(usize),
    Receipts,
    Decide(Decision, Target),
    Kick(Target),
    /// Whether the words have been compared; none: show them.
    Verify(Target, Option<bool>),
    Why(Target),
    Doctor,
    Net,
    Clear,
    /// About one command, or about all.
    Help(Option<&'static Spec>),
    Quit,
}

/// One command: what it is called, what follows its name, and what it does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) takes: &'static str,
    pub(crate) help: &'static str,
    what: What,
}

impl Spec {
    /// Whether it means nothing in a chat of lines.
    pub(crate) fn is_for_screens(&self) -> bool {
        matches!(self.what, What::Query | What::Receipts | What::Clear)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Msg,
    Query,
    Me,
    Join,
    Part,
    Rooms,
    Names,
    Peers,
    Whois,
    Nick,
    Search,
    History,
    Receipts,
    Decide(Decision),
    Kick,
    Verify,
    Why,
    Doctor,
    Net,
    Clear,
    Help,
    Quit,
}

const fn spec(what: What, name: &'static str, aliases: &'static [&'static str], takes: &'static str, help: &'static str) -> Spec {
    Spec { name, aliases, takes, help, what }
}

/// All commands, in the order in which help lists them.
pub(crate) const COMMANDS: &[Spec] = &[
    spec(What::Msg, "msg", &["w"], "TARGET text", "a direct message: to a nickname, id, host:port or ticket"),
    spec(What::Query, "query", &["q"], "TARGET", "open the conversation with somebody, to speak there"),
    spec(What::Me, "me", &[], "text", "say what you do: * ann waves"),
    spec(What::Join, "join", &["j"], "ROOM", "be in an open room (one with a secret: hobnob join ROOM --secret-file F)"),
    spec(What::Part, "part", &["leave", "close"], "[ROOM]", "leave a room, or close a direct conversation"),
    spec(What::Rooms, "rooms", &[], "", "the rooms you are in"),
    spec(What::Names, "names", &[], "", "who is in this room"),
    spec(What::Peers, "who", &["peers"], "", "everybody who was ever met: state, path, address, round trip, id"),
    spec(What::Whois, "whois", &[], "TARGET", "all that is known of somebody"),
    spec(What::Nick, "nick", &[], "NAME", "another nickname"),
    spec(What::Search, "search", &["find"], "WORDS", "messages of this conversation with these words"),
    spec(What::History, "history", &[], "[N]", "the last N messages of every conversation (20)"),
    spec(What::Receipts, "receipts", &[], "", "who has your last messages here"),
    spec(What::Decide(Decision::Ignore), "ignore", &[], "TARGET", "show nothing they write"),
    spec(What::Decide(Decision::Unignore), "unignore", &[], "TARGET", "show what they write again"),
    spec(What::Kick, "kick", &[], "TARGET", "no session with them for ten minutes"),
    spec(
        What::Decide(Decision::Block),
        "ban",
        &["block"],
        "TARGET",
        "no session with them; what they write is neither shown nor passed on",
    ),
    spec(What::Decide(Decision::Unblock), "unban", &["unblock"], "TARGET", "undo /ban or /kick"),
    spec(What::Net, "net", &[], "", "who you are, who can see you, how others reach you"),
    spec(What::Clear, "clear", &[], "", "clear the screen; the messages stay on disk"),
    spec(What::Help, "help", &["h"], "[COMMAND]", "all commands, or one"),
    spec(What::Quit, "quit", &["exit"], "", "end"),
];

/// Commands about trust and about faults, which help lists after the others.
pub(crate) const CARE: &[Spec] = &[
    spec(What::Verify, "verify", &[], "TARGET", "six words to compare with them; then /verify TARGET confirm (or undo)"),
    spec(What::Why, "why", &[], "TARGET", "why they can't be reached, and what to do"),
    spec(What::Doctor, "doctor", &[], "", "what is wrong with this machine's network, and what to do"),
];

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
    let spec = find(name).ok_or_else(|| unknown_command(name))?;
    if spec.takes.is_empty() && !rest.is_empty() {
        return Err(format!("/{} takes nothing more", spec.name));
    }
    if rest.is_empty() && !spec.takes.is_empty() && !spec.takes.starts_with('[') {
        return Err(usage(spec));
    }
    meaning(spec, rest)
}

/// The command of this name or alias.
pub(crate) fn find(name: &str) -> Option<&'static Spec> {
    COMMANDS.iter().chain(CARE).find(|spec| spec.name == name || spec.aliases.contains(&name))
}

/// Columns of [`synopsis`] in a list.
pub(crate) const SYNOPSIS: usize = 19;

/// `/msg TARGET text` and what it does, in columns.
pub(crate) fn help(spec: &Spec) -> String {
    format!("{:SYNOPSIS$}{}", synopsis(spec), purpose(spec))
}

/// What it does, and what else it is called.
pub(crate) fn purpose(spec: &Spec) -> String {
    let aliases: Vec<String> = spec.aliases.iter().map(|alias| format!("/{alias}")).collect();
    let also = if aliases.is_empty() { String::new() } else { format!(" (also {})", aliases.join(", ")) };
    format!("{}{also}", spec.help)
}

fn meaning(spec: &'static Spec, rest: &str) -> Result<Input, String> {
    Ok(match spec.what {
        What::Msg => {
            let (target, text) = split_word(rest);
            if text.is_empty() {
                return Err(usage(spec));
            }
            Input::Msg(parse_target(target)?, text.to_owned())
        }
        What::Query => Input::Query(parse_target(rest)?),
        What::Whois => Input::Whois(parse_target(rest)?),
        What::Decide(decision) => Input::Decide(decision, parse_target(rest)?),
        What::Kick => Input::Kick(parse_target(rest)?),
        What::Why => Input::Why(parse_target(rest)?),
        What::Verify => {
            let (target, then) = split_word(rest);
            let confirm = match then {
                "" => None,
                "confirm" => Some(true),
                "undo" => Some(false),
                _ => return Err(usage(spec)),
            };
            Input::Verify(parse_target(target)?, confirm)
        }
        What::Me => Input::Say(format!("{ACTION}{rest}")),
        What::Join => Input::Join(parse_room(rest)?),
        What::Part if rest.is_empty() => Input::Part(None),
        What::Part => Input::Part(Some(parse_room(rest)?)),
        What::Nick => Input::Nick(Nickname::new(rest).map_err(|e| e.to_string())?),
        What::Search => Input::Search(rest.to_owned()),
        What::History if rest.is_empty() => Input::History(HISTORY_DEFAULT),
        What::History => Input::History(rest.parse().map_err(|_| format!("/history takes a number, not {rest:?}"))?),
        What::Help if rest.is_empty() => Input::Help(None),
        What::Help => {
            let name = rest.trim_start_matches('/');
            Input::Help(Some(find(name).ok_or_else(|| unknown_command(name))?))
        }
        What::Rooms => Input::Rooms,
        What::Names => Input::Names,
        What::Peers => Input::Peers,
        What::Receipts => Input::Receipts,
        What::Net => Input::Net,
        What::Doctor => Input::Doctor,
        What::Clear => Input::Clear,
        What::Quit => Input::Quit,
    })
}

fn usage(spec: &Spec) -> String {
    format!("write {}: {}", synopsis(spec), spec.help)
}

/// `/msg TARGET text`
pub(crate) fn synopsis(spec: &Spec) -> String {
    format!("/{} {}", spec.name, spec.takes).trim_end().to_owned()
}

fn parse_target(word: &str) -> Result<Target, String> {
    word.parse().map_err(|e: TargetError| e.to_string())
}

fn parse_room(word: &str) -> Result<RoomName, String> {
    word.parse().map_err(|e: hobnob::protocol::conversation::NotARoomName| e.to_string())
}

fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn unknown_command(name: &str) -> String {
    let distance = |known: &&str| strsim::damerau_levenshtein(name, known);
    let names = COMMANDS.iter().chain(CARE).flat_map(|spec| [spec.name].into_iter().chain(spec.aliases.iter().copied()));
    let near = names.filter(|known| distance(known) <= NEAR && 2 * distance(known) <= known.len()).min_by_key(distance);
    let name = visible(name);
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
        let bob = || Target::Name("bob".into());
        let cases = [
            ("", Ok(Input::Nothing)),
            ("  \t", Ok(Input::Nothing)),
            ("hello there", say("hello there")),
            (" /peers", say(" /peers")),
            ("//etc is a folder", say("/etc is a folder")),
            ("/me waves", say("/me waves")),
            ("/msg bob hi  there", Ok(Input::Msg(bob(), "hi  there".into()))),
            ("/w bob hi", Ok(Input::Msg(bob(), "hi".into()))),
            ("/msg bob two\nlines", Ok(Input::Msg(bob(), "two\nlines".into()))),
            ("/query bob", Ok(Input::Query(bob()))),
            ("/whois bob", Ok(Input::Whois(bob()))),
            ("/peers", Ok(Input::Peers)),
            ("/who ", Ok(Input::Peers)),
            ("/names", Ok(Input::Names)),
            ("/ignore bob", Ok(Input::Decide(Decision::Ignore, bob()))),
            ("/ban bob", Ok(Input::Decide(Decision::Block, bob()))),
            ("/kick bob", Ok(Input::Kick(bob()))),
            ("/verify bob", Ok(Input::Verify(bob(), None))),
            ("/verify bob confirm", Ok(Input::Verify(bob(), Some(true)))),
            ("/why bob", Ok(Input::Why(bob()))),
            ("/doctor", Ok(Input::Doctor)),
            ("/history", Ok(Input::History(20))),
            ("/history 5", Ok(Input::History(5))),
            ("/search two words", Ok(Input::Search("two words".into()))),
            ("/nick Ann B", Ok(Input::Nick(Nickname::new("Ann B").unwrap()))),
            ("/join #Ops", Ok(Input::Join(room("ops")))),
            ("/j ops", Ok(Input::Join(room("ops")))),
            ("/part", Ok(Input::Part(None))),
            ("/leave ops", Ok(Input::Part(Some(room("ops"))))),
            ("/rooms", Ok(Input::Rooms)),
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
            ("/foo", "see /help"),
            ("/help frob", "see /help"),
            ("/\u{1b}[2J", "␛[2J"),
            ("/msg", "/msg TARGET text"),
            ("/msg bob", "/msg TARGET text"),
            ("/msg host:0 hi", "no valid port"),
            ("/history many", "a number"),
            ("/nick", "/nick NAME"),
            ("/join", "/join ROOM"),
            ("/join a/b", "a room's name is"),
            ("/verify bob yes", "write /verify TARGET"),
            ("/peers now", "takes nothing more"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(says), "{line:?}: {error}");
        }
    }

    #[test]
    fn no_two_commands_share_a_name_and_all_fit_the_column() {
        let names: Vec<_> =
            COMMANDS.iter().chain(CARE).flat_map(|spec| [spec.name].into_iter().chain(spec.aliases.iter().copied())).collect();
        for name in &names {
            assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
        assert!(COMMANDS.iter().chain(CARE).all(|spec| synopsis(spec).len() < SYNOPSIS));
    }
}
