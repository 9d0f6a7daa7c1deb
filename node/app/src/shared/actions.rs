//! The table of commands, of the line chat and of the full screen: what each is called, takes and
//! does.

use super::policy::PolicyChange;

/// One command: what it is called, what follows its name, and what it does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) takes: &'static str,
    pub(crate) help: &'static str,
    pub(super) what: What,
}

impl Spec {
    /// Whether it means nothing in a chat of lines.
    pub(crate) fn is_for_screens(&self) -> bool {
        matches!(self.what, What::Query | What::Receipts | What::Clear)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
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
    Send,
    Files,
    Accept,
    Decline,
    Decide(PolicyChange),
    Kick,
    Verify,
    Why,
    Net,
    Clear,
    Help,
    Quit,
}

const fn spec(
    what: What,
    name: &'static str,
    aliases: &'static [&'static str],
    takes: &'static str,
    help: &'static str,
) -> Spec {
    Spec {
        name,
        aliases,
        takes,
        help,
        what,
    }
}

/// All commands, in the order in which help lists them.
pub(crate) const COMMANDS: &[Spec] = &[
    spec(
        What::Msg,
        "msg",
        &["w"],
        "TARGET text",
        "a direct message: to a nickname, id, host:port or ticket",
    ),
    spec(
        What::Query,
        "query",
        &["q"],
        "TARGET",
        "open the conversation with somebody, to speak there",
    ),
    spec(What::Me, "me", &[], "text", "say what you do: * ann waves"),
    spec(
        What::Join,
        "join",
        &["j"],
        "ROOM",
        "be in an open room (one with a secret: hobnob join ROOM --secret-file F)",
    ),
    spec(
        What::Part,
        "part",
        &["leave", "close"],
        "[ROOM]",
        "leave a room, or close a direct conversation",
    ),
    spec(What::Rooms, "rooms", &[], "", "the rooms you are in"),
    spec(What::Names, "names", &[], "", "who is in this room"),
    spec(
        What::Peers,
        "who",
        &["peers"],
        "",
        "everybody who was ever met: state, path, address, round trip, id",
    ),
    spec(
        What::Whois,
        "whois",
        &[],
        "TARGET",
        "all that is known of somebody",
    ),
    spec(What::Nick, "nick", &[], "NAME", "another nickname"),
    spec(
        What::Search,
        "search",
        &["find"],
        "WORDS",
        "messages of this conversation with these words",
    ),
    spec(
        What::History,
        "history",
        &[],
        "[N]",
        "the last N messages of every conversation (20)",
    ),
    spec(
        What::Receipts,
        "receipts",
        &[],
        "",
        "who has your last messages here",
    ),
    spec(
        What::Send,
        "send",
        &[],
        "[@TO] PATH",
        "offer a file or a folder here, or to @bob, or in #ops",
    ),
    spec(
        What::Files,
        "files",
        &[],
        "",
        "what was offered here: ids, names, sizes, how far each is, where yours are",
    ),
    spec(
        What::Accept,
        "accept",
        &["get"],
        "[ID]",
        "fetch a file that was offered; without an id: the only one that waits",
    ),
    spec(
        What::Decline,
        "decline",
        &["cancel"],
        "[ID]",
        "say no to a file, end its transfer, or take back one of yours",
    ),
    spec(
        What::Decide(PolicyChange::Ignore),
        "ignore",
        &[],
        "TARGET",
        "show nothing they write",
    ),
    spec(
        What::Decide(PolicyChange::Unignore),
        "unignore",
        &[],
        "TARGET",
        "show what they write again",
    ),
    spec(
        What::Kick,
        "kick",
        &[],
        "TARGET",
        "no session with them for ten minutes",
    ),
    spec(
        What::Decide(PolicyChange::Block),
        "ban",
        &["block"],
        "TARGET",
        "no session with them; what they write is neither shown nor passed on",
    ),
    spec(
        What::Decide(PolicyChange::Unblock),
        "unban",
        &["unblock"],
        "TARGET",
        "undo /ban or /kick",
    ),
    spec(
        What::Verify,
        "verify",
        &[],
        "TARGET",
        "six words to compare with them; then /verify TARGET confirm (or undo)",
    ),
    spec(
        What::Why,
        "why",
        &[],
        "TARGET",
        "why they can't be reached, and what to do",
    ),
    spec(
        What::Net,
        "net",
        &["doctor"],
        "",
        "who you are, who can see you, how others reach you; what is wrong, and what to do",
    ),
    spec(
        What::Clear,
        "clear",
        &[],
        "",
        "clear the screen; the messages stay on disk",
    ),
    spec(
        What::Help,
        "help",
        &["h"],
        "[COMMAND]",
        "all commands, or one",
    ),
    spec(What::Quit, "quit", &["exit"], "", "end"),
];

/// The command of this name or alias.
pub(crate) fn find(name: &str) -> Option<&'static Spec> {
    COMMANDS
        .iter()
        .find(|spec| spec.name == name || spec.aliases.contains(&name))
}

/// Columns of [`synopsis`] in a list.
pub(crate) const SYNOPSIS: usize = 19;

/// `/msg TARGET text` and what it does, in columns.
pub(crate) fn help(spec: &Spec) -> String {
    format!("{:SYNOPSIS$}{}", synopsis(spec), purpose(spec))
}

/// What it does, and what else it is called.
pub(crate) fn purpose(spec: &Spec) -> String {
    let aliases: Vec<String> = spec
        .aliases
        .iter()
        .map(|alias| format!("/{alias}"))
        .collect();
    let also = if aliases.is_empty() {
        String::new()
    } else {
        format!(" (also {})", aliases.join(", "))
    };
    format!("{}{also}", spec.help)
}

/// `/msg TARGET text`
pub(crate) fn synopsis(spec: &Spec) -> String {
    format!("/{} {}", spec.name, spec.takes)
        .trim_end()
        .to_owned()
}
