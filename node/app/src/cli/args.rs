//! The arguments of the command line. Names and help of the commands come from the table of
//! actions; only their arguments are defined here.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use hobnob::protocol::invitation::InviteCode;
use hobnob::protocol::{Nickname, RoomName, RoomTarget, Target};
use hobnob::{ClientId, DeliveryState, MessageId};
use hobnob_control::wire::{Right, Time};
use hobnob_relay_app::PublicName;

use super::backup::{BackupArgs, RestoreArgs};
use super::export::ExportArgs;
use super::lock::{LockArgs, PasswdArgs, UnlockArgs};
use crate::shared::actions::help::{WIDTH_MAX, command_list, terminal_width};
use crate::shared::actions::{ACTIONS, Action, CommandLine, Flags, of_command_line};
use crate::shared::alerting::TypedRule;
use crate::shared::common_flags::CommonFlags;
use crate::shared::settings::RelayFor;
use crate::shared::values::{self, ConversationArg};

const EXAMPLES: &str = "\
Examples:
  hobnob                               open the chat
  hobnob send bob \"lunch at noon?\"     send a message, and wait until bob has it
  hobnob send bob --file film.mp4      offer a file
  hobnob peers --watch                 watch people connect and disconnect
  hobnob --relay ID@HOST:PORT          reach people beyond the local network
  hobnob doctor                        find out what is wrong with the network

`hobnob help COMMAND` explains one command, `hobnob help protocol` the JSON lines for programs.

Exit codes: 0 done; 1 a fault on this machine; 2 wrong usage; 3 no such peer; 4 not in time: still
queued; 5 the peer refused; 6 another identity answers.";

const STARTS_A_NODE: &str = "If no node of this home runs, the command runs one until it is done. \
It then also accepts the node's flags: see `hobnob help up`.";

/// Peer-to-peer chat: nodes that find each other, and messages that are never lost.
///
/// Without a command, opens the chat. The chat uses the node of this home if one runs, or else runs
/// a node of its own.
#[derive(Debug, Parser)]
#[command(name = "hobnob", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) flags: CommonFlags,

    /// Chat line by line, even on a terminal.
    #[arg(long)]
    pub(crate) plain: bool,
}

/// Reads a command line, the first word of which is the program's name.
pub(crate) fn parse<W: Into<OsString> + Clone>(
    words: impl IntoIterator<Item = W>,
) -> Result<Args, clap::Error> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let mut matches = with_grouped_help(command()).try_get_matches_from(&words)?;
    let args =
        Args::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command()))?;
    let text = match &args.command {
        Some(Command::Send(send)) => send.text.as_deref(),
        Some(Command::Broadcast(broadcast)) => broadcast.text.as_deref(),
        Some(_) | None => None,
    };
    if let Some(text) = text.filter(|text| looks_like_a_flag(text))
        && !words.iter().any(|word| word == "--")
    {
        let why = format!(
            "unexpected argument '{text}' found\n\n  tip: to send it as a text, use '-- {text}'"
        );
        return Err(command().error(ErrorKind::UnknownArgument, why));
    }
    Ok(args)
}

/// Whether a text is rather a mistyped flag: `-x`, or a word that begins with two hyphens.
fn looks_like_a_flag(text: &str) -> bool {
    let is_short = |rest: &str| rest.len() == 1 && rest.starts_with(|c: char| c.is_alphabetic());
    let is_long = |rest: &str| {
        rest.starts_with(|c: char| c.is_alphabetic()) && !rest.contains(char::is_whitespace)
    };
    text.strip_prefix("--").is_some_and(is_long) || text.strip_prefix('-').is_some_and(is_short)
}

/// The whole command line, described by the table of actions.
pub(crate) fn command() -> clap::Command {
    let command = Args::command()
        .max_term_width(WIDTH_MAX)
        .after_help(EXAMPLES);
    let general: Vec<Arg> = command
        .get_arguments()
        .filter(|argument| argument.is_global_set())
        .cloned()
        .collect();
    of_command_line().fold(command, |command, action| {
        command.mut_subcommand(action.name, |sub| described(sub, action, &general))
    })
}

/// Lists the commands by purpose. The usual list of clap knows no groups.
fn with_grouped_help(command: clap::Command) -> clap::Command {
    let list = command_list(terminal_width());
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}Flags:\n{{options}}{{after-help}}"
    ))
}

/// Adds what the table says of a command, and hides the general flags that it does not use.
fn described(command: clap::Command, action: &Action, general: &[Arg]) -> clap::Command {
    let CommandLine::Command {
        flags,
        details,
        examples,
    } = action.command_line
    else {
        return command;
    };
    let also = ACTIONS.iter().filter(
        |other| matches!(other.command_line, CommandLine::AliasOf(name) if name == action.name),
    );
    let aliases = also
        .flat_map(Action::names)
        .chain(action.aliases.iter().copied());
    let hidden = general
        .iter()
        .filter(|argument| !flags.contain(argument.get_id().as_str()))
        .filter(|argument| {
            command
                .get_arguments()
                .all(|own| own.get_id() != argument.get_id())
        })
        .map(|argument| argument.clone().hide(true))
        .collect::<Vec<_>>();
    let command = command
        .about(action.help)
        .visible_aliases(aliases.collect::<Vec<_>>())
        .args(hidden);
    if flags == Flags::Own {
        return command;
    }
    let command = command.after_help(last_words(flags, examples));
    if details.is_empty() {
        command
    } else {
        command.long_about(format!("{}\n\n{details}", action.help))
    }
}

/// The end of a command's help.
fn last_words(flags: Flags, examples: &[&str]) -> String {
    let examples: String = examples
        .iter()
        .map(|example| format!("  {example}\n"))
        .collect();
    let examples = (!examples.is_empty()).then(|| format!("Examples:\n{}", examples.trim_end()));
    let starts = matches!(flags, Flags::Ask | Flags::AskInRoom).then(|| STARTS_A_NODE.to_owned());
    let parts: Vec<String> = examples.into_iter().chain(starts).collect();
    parts.join("\n\n")
}

impl Flags {
    /// Whether a command with these flags shows the general flag of this name.
    fn contain(self, flag: &str) -> bool {
        match self {
            Flags::None | Flags::Own => false,
            Flags::Home => flag == "home",
            Flags::Ask => ["home", "json", "verbose"].contains(&flag),
            Flags::AskInRoom => ["home", "json", "verbose", "rooms"].contains(&flag),
            Flags::Node => true,
        }
    }
}

/// The commands of `hobnob room`.
#[derive(Debug, Subcommand)]
pub(crate) enum RoomCommand {
    /// Create a room with a random key, join it, and print its ticket.
    Create {
        /// The room's name.
        room: RoomName,
    },
    /// Print the ticket of a room with a secret.
    Ticket {
        /// The room's name.
        room: RoomName,
    },
}

/// The commands. The table of actions has their help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Send(Send),
    Broadcast(Broadcast),
    History(History),
    Receipts {
        /// A peer, or a room as #NAME.
        #[arg(value_name = "TARGET|#ROOM")]
        of: ConversationArg,
    },
    Search(Search),
    Mentions(Mentions),
    Export(ExportArgs),
    Import {
        /// A file that a peer has written with `hobnob export --for`.
        file: PathBuf,
    },
    Files,
    Accept(FileArgs),
    Decline {
        /// The offer's id, the first characters of it, or the file's name.
        file: String,
    },
    Pause {
        /// The offer's id, the first characters of it, or the file's name.
        file: String,
    },
    Join {
        /// The room's name, or its ticket.
        room: RoomTarget,
        /// The room's passphrase. Other users of this machine may see it in the list of processes, so
        /// prefer --secret-file.
        #[arg(long, value_name = "PASSPHRASE", conflicts_with = "secret_file")]
        secret: Option<String>,
        /// Read the room's passphrase or ticket from this file, or from stdin if it is `-`. Without a
        /// secret, the room is open.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    Room {
        #[command(subcommand)]
        command: RoomCommand,
    },
    Introduce {
        /// A contact: a nickname, an id or its first 8 characters.
        target: Target,
        /// Another contact.
        other: Target,
    },
    Invite {
        /// Give the other user your token for the relay in the code, too, so that they can use it from
        /// then on. Ask its operator first.
        #[arg(long)]
        share_relay: bool,
    },
    AcceptInvite {
        /// The code that the other user has read to you.
        code: InviteCode,
    },
    Part {
        /// The room's name.
        room: RoomName,
    },
    Away {
        /// A text about it.
        text: Vec<String>,
    },
    Back {
        /// A text for everybody who would see that you are away.
        text: Vec<String>,
    },
    Reply(About),
    Edit(About),
    React {
        /// The message's id.
        id: MessageId,
        /// One emoji or character.
        emoji: String,
        /// Take the emoji back.
        #[arg(long)]
        off: bool,
        #[command(flatten)]
        wait_args: WaitArgs,
    },
    Pin(Pin),
    Unpin(Pin),
    Pins {
        /// A peer, or a room as #NAME.
        #[arg(value_name = "TARGET|#ROOM")]
        of: ConversationArg,
    },
    Topic {
        /// The room.
        room: RoomName,
        /// The topic. Without one, prints the topic.
        topic: Option<String>,
        /// Remove the topic.
        #[arg(long, conflicts_with = "topic")]
        off: bool,
        #[command(flatten)]
        wait_args: WaitArgs,
    },
    Cancel {
        /// The message's id.
        id: MessageId,
    },
    Delete {
        /// The message's id.
        id: MessageId,
        /// Erase your own message on this node only.
        #[arg(long)]
        here: bool,
        /// Erase it here although it is not delivered yet.
        #[arg(long)]
        yes: bool,
    },
    Clear {
        /// The conversation: a peer, or a room with its #.
        #[arg(value_name = "CONVERSATION")]
        of: ConversationArg,
        /// Erase your undelivered messages, too.
        #[arg(long)]
        yes: bool,
    },
    Keep {
        /// The conversation: a peer, or a room with its #.
        #[arg(value_name = "CONVERSATION", requires = "time")]
        of: Option<ConversationArg>,
        /// How long: 12h, 7d, 2w, or forever.
        time: Option<String>,
    },
    Notify {
        /// The conversation: a peer, or a room with its #.
        #[arg(value_name = "CONVERSATION")]
        of: Option<ConversationArg>,
        /// all, mentions, none or default. Without it, the rule is shown.
        rule: Option<TypedRule>,
    },
    Rooms,
    Peers {
        /// Keep running, and print each change.
        #[arg(long)]
        watch: bool,
    },
    Whois(PeerArg),
    Verify {
        #[command(flatten)]
        peer: PeerArg,
        /// Mark the peer as verified, after you found the safety numbers equal.
        #[arg(long, conflicts_with = "undo")]
        confirm: bool,
        /// Withdraw the confirmation.
        #[arg(long)]
        undo: bool,
    },
    Contacts {
        #[command(subcommand)]
        change: Option<ContactChange>,
    },
    Ignore(PeerArg),
    Unignore(PeerArg),
    Block(PeerArg),
    Forget {
        #[command(flatten)]
        peer: PeerArg,
        /// Remove only this address of the peer, and erase nothing.
        #[arg(long, conflicts_with = "yes")]
        address: Option<SocketAddr>,
        /// Erase your undelivered messages, too.
        #[arg(long)]
        yes: bool,
    },
    Unblock(PeerArg),
    Kick(PeerArg),
    Id,
    Nick {
        /// The new nickname.
        #[arg(value_parser = Nickname::new)]
        name: Nickname,
    },
    Picture(PictureArgs),
    Doctor {
        /// Also write a report to this file. It has no ids, addresses or texts, so you can show it
        /// to others.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    Mailbox,
    Why(PeerArg),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Lock(LockArgs),
    Unlock(UnlockArgs),
    Passwd(PasswdArgs),
    Up(UpArgs),
    Web(WebArgs),
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    Share(ShareArgs),
    IrcToken {
        /// Replace the token by a new one. Clients that are connected stay connected.
        #[arg(long)]
        new: bool,
    },
    Relay(Box<hobnob_relay_app::Arguments>),
    Help {
        /// The command to explain, or `protocol`.
        #[arg(value_name = "COMMAND")]
        topic: Vec<String>,
        /// With `protocol`: print the JSON Schema of every line instead.
        #[arg(long)]
        schema: bool,
        /// With `protocol`: print the AsyncAPI document instead.
        #[arg(long, conflicts_with = "schema")]
        asyncapi: bool,
    },
    Config {
        /// Print the path of the settings file instead.
        #[arg(long)]
        path: bool,
    },
    Completions {
        /// The shell: bash, elvish, fish, powershell or zsh.
        #[arg(hide_possible_values = true)]
        shell: Shell,
    },
    Man {
        /// Write the pages of all commands into this folder instead.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    /// Also serve the web page on this loopback address, such as 127.0.0.1:4680. `hobnob web` opens
    /// it. Overrides the setting `web`.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) web: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) faces: FaceArgs,
    #[command(flatten)]
    pub(crate) lending: LendingArgs,
}

/// The relay that a node in the background runs for its contacts.
#[derive(Debug, clap::Args)]
pub(crate) struct LendingArgs {
    /// Also be a relay for these peers: your contacts, who then reach each other and you through this
    /// machine. It needs a public address, or a forwarded port. Default: nobody.
    #[arg(long, value_name = "contacts|nobody")]
    pub(crate) relay_for: Option<RelayFor>,
    /// Listen for contacts that use this node as a relay on this address and port, for UDP and TCP.
    /// Default: port 4627 on all addresses.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) relay_listen: Option<SocketAddr>,
    /// Tell contacts to reach the relay at this name or address, with the port if the router's differs.
    /// Default: a public address of this machine.
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) relay_name: Option<PublicName>,
}

/// The interfaces for other clients that a node in the background has.
#[derive(Debug, clap::Args)]
pub(crate) struct FaceArgs {
    /// Serve IRC clients at this loopback address, such as 127.0.0.1:6667. `hobnob irc-token` prints
    /// the password.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) irc: Option<SocketAddr>,
    /// Serve clients that send lines, such as netcat, at this loopback address. They have the lobby.
    /// Everybody who uses this machine can connect. It may be the address of --irc.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) lines: Option<SocketAddr>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WebArgs {
    /// Print the path of the login file instead of opening it in the browser.
    #[arg(long, conflicts_with = "code")]
    pub(crate) no_open: bool,
    /// Print the page's address and a one-time code for it, to type into a browser within a minute.
    #[arg(long)]
    pub(crate) code: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShareArgs {
    /// The file.
    pub(crate) file: PathBuf,
    /// How long the link works, such as 10m or 1h.
    #[arg(long = "for", value_name = "TIME", value_parser = values::some_time)]
    pub(crate) time: Option<Duration>,
    /// How many downloads the link is for. Default: one, or any number with --for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) times: Option<u32>,
    /// Serve everybody who reaches this machine, not only people on its networks.
    #[arg(long)]
    pub(crate) anywhere: bool,
    /// Listen here. Default: any port of all addresses.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) address: Option<SocketAddr>,
}

/// The commands of `hobnob token`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token, and print it. Nothing can show it again.
    Create {
        /// A name for the program that gets it.
        name: String,
        /// What it permits: read, send (write, edit and react) and manage (everything else).
        #[arg(long, value_delimiter = ',', default_value = "read,send", value_parser = values::right)]
        rights: Vec<Right>,
        /// How long it is valid: 12h, 7d, 2w, or forever.
        #[arg(long, value_name = "TIME", default_value = "forever")]
        expires: String,
    },
    /// List the tokens. Pages in browsers have tokens, too.
    List,
    /// Revoke a token. Connections with it end.
    Revoke {
        /// Its name.
        name: String,
    },
}

/// A change of the list of contacts.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ContactChange {
    /// Accept a stranger as a contact: its messages that waited arrive.
    Accept(PeerArg),
    /// Make a contact a stranger again.
    Remove(PeerArg),
    /// Delete a stranger's request: what it wrote to you, its name and its addresses. For a contact,
    /// use `hobnob forget`.
    Delete(PeerArg),
}

#[derive(Debug, clap::Args)]
pub(crate) struct PeerArg {
    /// The peer: a nickname, an id or its first 8 characters, host:port, or a ticket.
    pub(crate) target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// The recipient: a nickname, an id or its first 8 characters, host:port, or a ticket.
    #[arg(value_parser = values::recipient)]
    pub(crate) target: Target,
    /// The message. Without it, or if it is `-`, the message is read from stdin, without the last
    /// line break. With --file, it is a caption, and optional.
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// Offer these files or folders instead, and wait until the recipient has them. They must not
    /// change until then. `-` is the data from stdin.
    #[arg(long = "file", value_name = "PATH", num_args = 1..)]
    pub(crate) files: Vec<PathBuf>,
    /// The name of the file that `--file -` offers.
    #[arg(long, value_name = "NAME", default_value = "stdin", requires = "files")]
    pub(crate) name: String,
    /// A name of your choice for the message. If a message with this name was sent, nothing is sent,
    /// so a script can run the command again when it does not know whether it succeeded.
    #[arg(long, value_name = "NAME")]
    pub(crate) client_id: Option<ClientId>,
    #[command(flatten)]
    pub(crate) wait_args: WaitArgs,
}

/// A text about a message.
#[derive(Debug, clap::Args)]
pub(crate) struct About {
    /// The message's id.
    pub(crate) id: MessageId,
    /// The text. Without it, or if it is `-`, the text is read from stdin, without the last line
    /// break.
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) wait_args: WaitArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FileArgs {
    /// The offer's id, the first characters of it, or the file's name.
    pub(crate) file: String,
    /// The longest time to wait while nothing arrives, such as 500ms, 10s or 2m.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Broadcast {
    /// The message. Without it, or if it is `-`, the message is read from stdin, without the last
    /// line break. With --file, it is a caption, and optional.
    #[arg(allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// Offer these files or folders instead, for as long as a node of this home runs. They must not
    /// change. `-` is the data from stdin.
    #[arg(long = "file", value_name = "PATH", num_args = 1..)]
    pub(crate) files: Vec<PathBuf>,
    /// The name of the file that `--file -` offers.
    #[arg(long, value_name = "NAME", default_value = "stdin", requires = "files")]
    pub(crate) name: String,
    /// A name of your choice for the message. If a message with this name was sent, nothing is sent,
    /// so a script can run the command again when it does not know whether it succeeded.
    #[arg(long, value_name = "NAME")]
    pub(crate) client_id: Option<ClientId>,
    #[command(flatten)]
    pub(crate) wait_args: WaitArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WaitArgs {
    /// The state to wait for: queued (on your disk), sent, held (in a mailbox), or delivered (on
    /// the peer's disk).
    #[arg(long, value_name = "STATE", default_value = "delivered", value_parser = values::state(), hide_possible_values = true)]
    pub(crate) wait: DeliveryState,
    /// The longest time to wait, such as 500ms, 10s or 2m. After that, the message stays queued.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// A peer, or a room as #NAME. Default: all conversations.
    #[arg(value_name = "TARGET|#ROOM")]
    pub(crate) of: Option<ConversationArg>,
    /// Print only messages that contain these words.
    #[arg(long, value_name = "WORDS")]
    pub(crate) search: Option<String>,
    /// Print only the thread of this message: the message that began it, and all replies.
    #[arg(long, value_name = "ID")]
    pub(crate) thread: Option<MessageId>,
    /// Print only messages received since then: a date, a time such as 14:03 or "2026-11-20 14:03",
    /// RFC 3339, or a span such as 30m, 2h or 3d.
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    pub(crate) since: Option<Time>,
    /// Print only the newest N messages.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Search {
    /// The words, as one argument.
    pub(crate) words: String,
    /// A peer, or a room as #NAME. Default: all conversations.
    #[arg(value_name = "TARGET|#ROOM")]
    pub(crate) of: Option<ConversationArg>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Pin {
    /// The message's id.
    pub(crate) id: MessageId,
    #[command(flatten)]
    pub(crate) wait_args: WaitArgs,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct PictureArgs {
    /// The picture file.
    #[arg(conflicts_with_all = ["remove", "of"])]
    pub(crate) file: Option<PathBuf>,
    /// Remove your profile picture.
    #[arg(long, conflicts_with = "of")]
    pub(crate) remove: bool,
    /// Show the picture of this peer.
    #[arg(long, value_name = "TARGET")]
    pub(crate) of: Option<Target>,
    /// Write the picture to this file, which must not exist.
    #[arg(long, value_name = "FILE", requires = "of")]
    pub(crate) save: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Mentions {
    /// A peer, or a room as #NAME. Default: all conversations.
    #[arg(value_name = "TARGET|#ROOM")]
    pub(crate) of: Option<ConversationArg>,
    /// Print only messages received since then, as with `hobnob history`.
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    pub(crate) since: Option<Time>,
    /// Print only the newest N messages.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

impl From<Search> for History {
    fn from(Search { words, of }: Search) -> Self {
        History {
            of,
            search: Some(words),
            thread: None,
            since: None,
            limit: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_control::Home;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        super::parse(line.split_whitespace())
    }

    fn help_of(words: &str) -> String {
        parse(&format!("hobnob {words} --help"))
            .expect_err("help is printed")
            .to_string()
    }

    #[test]
    fn the_parser_is_consistent() {
        with_grouped_help(command()).debug_assert();
    }

    #[test]
    fn a_command_shows_only_the_flags_that_it_uses() {
        let flags_of_nodes = ["--relay", "--no-mdns", "--downloads", "--nick"];
        let shows = |words: &str, flag: &str| {
            let help = help_of(words);
            help.split_whitespace().any(|word| word == flag)
        };
        for flag in flags_of_nodes {
            assert!(shows("up", flag), "up: {flag}");
            for command in ["send bob", "peers", "config", "completions", "man", "relay"] {
                assert!(!shows(command, flag), "{command}: {flag}");
            }
        }
        assert!(shows("broadcast", "--room") && !shows("send bob", "--room"));
        assert!(shows("config", "--home") && !shows("man", "--home"));
        // They are hidden, but accepted, because the command may have to start a node.
        assert!(parse("hobnob send bob hi --relay relay.example:4627").is_ok());
    }

    #[test]
    fn help_is_grouped_and_ends_with_examples() {
        let help = help_of("");
        let at = |part: &str| {
            help.find(part)
                .unwrap_or_else(|| panic!("{part} in {help}"))
        };
        assert!(at("Messages:\n  send ") < at("People:\n") && at("People:\n") < at("Flags:\n"));
        assert!(at("Flags:\n") < at("Examples:\n") && at("Examples:\n") < at("Exit codes:"));
        assert!(help_of("send").contains("Examples:\n  hobnob send bob"));
        assert!(
            help.lines().all(|line| line.chars().count() <= WIDTH_MAX),
            "{help}"
        );
    }

    #[test]
    fn every_command_of_the_manual_is_understood() {
        for line in [
            "hobnob",
            "hobnob --plain",
            "hobnob up --json --home /tmp/x --nick ann --listen 127.0.0.1:0 --no-mdns --room ops --room dev -vv",
            "hobnob --home /tmp/x send bob hi --wait queued --timeout 500ms",
            "hobnob send 10.0.0.2:4626 -",
            "hobnob send bob",
            "hobnob send bob --file a.png folder --timeout 1m",
            "hobnob broadcast --file a.png --room ops",
            "hobnob files --json",
            "hobnob accept 00000000000000ff-3",
            "hobnob decline a.png",
            "hobnob share a.png --for 1h --times 2 --anywhere --address 10.0.0.2:8443",
            "hobnob pause a.png",
            "hobnob resume a.png",
            "hobnob up --accept-from verified --accept-max 20M --downloads /tmp/d",
            "hobnob broadcast hi --room #ops",
            "hobnob peers --watch",
            "hobnob history",
            "hobnob history #lobby --search word --since 2h --limit 5",
            "hobnob history bob --since 2026-11-20",
            "hobnob join ops --secret-file -",
            "hobnob part ops",
            "hobnob rooms",
            "hobnob id --json",
            "hobnob ignore bob",
            "hobnob unignore bob",
            "hobnob block bob",
            "hobnob unblock bob",
            "hobnob ban bob",
            "hobnob kick bob",
            "hobnob msg bob hi",
            "hobnob search lunch #lobby",
            "hobnob whois bob",
            "hobnob nick ann",
            "hobnob picture ann.png",
            "hobnob picture --remove",
            "hobnob picture --of bob --save bob.png",
            "hobnob help protocol",
            "hobnob verify bob",
            "hobnob verify bob --confirm",
            "hobnob verify bob --undo",
            "hobnob doctor --report /tmp/x",
            "hobnob why bob",
            "hobnob export bob --output bob.html --since 7d",
            "hobnob export --format json",
            "hobnob backup /tmp/x",
            "hobnob backup /tmp/x --passphrase-file -",
            "hobnob backup --new-key /tmp/x",
            "hobnob restore /tmp/x --key-file /tmp/y --replace",
            "hobnob config --path",
            "hobnob completions bash",
            "hobnob man --dir /tmp/x",
        ] {
            parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    /// The commands in the code of README.md and the guides, with values for the words in capitals,
    /// and up to what a shell takes for itself.
    fn commands_of_the_pages() -> Vec<Vec<String>> {
        const PAGES: &str = concat!(
            include_str!("../../../../README.md"),
            include_str!("../../../../docs/GUIDE.md"),
            include_str!("../../../../docs/RELAY.md"),
        );
        let id = hobnob::protocol::SecretKey::from_seed([1; 32])
            .id()
            .to_string();
        let mut fenced = false;
        let mut commands: Vec<String> = Vec::new();
        for line in PAGES.lines() {
            match line {
                line if line.starts_with("```") => fenced = line == "```sh",
                line if fenced => commands.push(line.to_owned()),
                line => commands.extend(
                    line.split('`')
                        .skip(1)
                        .step_by(2)
                        .map(|code| code.replace("\\|", "|")),
                ),
            }
        }
        let of_hobnob = commands
            .iter()
            .flat_map(|line| line.split(" | "))
            .filter(|part| part.split(' ').next() == Some("hobnob"));
        let parts = of_hobnob.map(|part| {
            part.replace("HOST:PORT", "relay.example:4627")
                .replace("ID@", &format!("{id}@"))
        });
        parts.map(|part| words(&part)).collect()
    }

    /// Words as a shell makes them, up to a comment or a redirection.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for letter in line.chars() {
            match (quote, letter) {
                (None, '#' | '>' | '<' | '&' | ';') if word.is_none() => break,
                (None, ' ') => words.extend(word.take()),
                (None, '"' | '\'') => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                (Some(open), letter) if open == letter => quote = None,
                (_, letter) => word.get_or_insert_default().push(letter),
            }
        }
        words.into_iter().chain(word).collect()
    }

    #[test]
    fn every_command_of_the_pages_is_understood() {
        let commands = commands_of_the_pages();
        assert!(commands.len() > 20, "{commands:?}");
        for command in commands {
            if let Err(error) = super::parse(&command) {
                assert!(!error.use_stderr(), "{command:?}: {error}");
            }
        }
    }

    #[test]
    fn a_message_may_begin_with_a_hyphen() {
        for text in ["-hello", "--hello there", "---", "-", "-1", ":-)"] {
            let args = super::parse(["hobnob", "send", "bob", text]).unwrap();
            let Some(Command::Send(send)) = args.command else {
                panic!("the command is send")
            };
            assert_eq!(send.text.as_deref(), Some(text));
        }
        for flag in ["--wiat=queued", "--hello", "-x"] {
            for command in ["send bob", "broadcast"] {
                let error = parse(&format!("hobnob {command} {flag}")).unwrap_err();
                let tip = format!("use '-- {flag}'");
                assert!(error.to_string().contains(&tip), "{error}");
                assert!(parse(&format!("hobnob {command} -- {flag}")).is_ok());
            }
        }
        assert!(parse("hobnob send bob --help").is_err(), "help is printed");
        assert!(
            parse("hobnob send bob --file x").is_ok(),
            "a flag of its own"
        );
    }

    #[test]
    fn the_room_to_leave_is_no_room_to_be_in() {
        let args = parse("hobnob part ops --room dev").unwrap();
        assert!(matches!(args.command, Some(Command::Part { room }) if room.as_str() == "ops"));
        assert_eq!(args.flags.rooms, ["dev".parse().unwrap()]);
    }

    #[test]
    fn wrong_lines_end_with_code_2_and_say_what_is_wrong() {
        for (line, says) in [
            ("hobnob send", "TARGET"),
            ("hobnob send host:0 hi", "no valid port"),
            (
                "hobnob send bob hi --wait soon",
                "queued, sent, held, delivered",
            ),
            ("hobnob send bob hi --timeout 10", "500ms, 10s, 2m"),
            ("hobnob join A/B", "a room's name has"),
            (
                "hobnob --nick xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "at most 32 characters",
            ),
            ("hobnob history --since yesterday", "2026-11-20"),
            ("hobnob nonsense", "unrecognized subcommand"),
            ("hobnob send #ops hi", "hobnob broadcast --room ops"),
        ] {
            let error = parse(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn flags_for_starting_are_refused_when_a_node_runs() {
        let home = Home::at(std::path::Path::new("/tmp/x")).unwrap();
        let refused = |line: &str, room_is_used| {
            parse(line)
                .unwrap()
                .flags
                .check_running(&home, room_is_used)
                .err()
        };
        for (line, says) in [
            ("hobnob --nick ann", "hobnob nick"),
            ("hobnob --listen [::]:1", "--listen"),
            ("hobnob --mdns", "--mdns"),
            ("hobnob --no-mdns", "--no-mdns"),
            ("hobnob --room x", "--room"),
        ] {
            let text = refused(line, false).expect(line).to_string();
            assert!(
                text.contains(says) && text.contains("/tmp/x"),
                "{line}: {text}"
            );
        }
        assert!(refused("hobnob --room x", true).is_none());
        assert!(refused("hobnob --json -v", false).is_none());
    }
}
