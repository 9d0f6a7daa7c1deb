//! What can be written on the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use hobnob::DeliveryState;
use hobnob::protocol::{RoomName, Target};
use hobnob_control::wire::Time;

use crate::shared::common_flags::Common;
use crate::shared::values::{self, ConversationArg};

const EXIT_CODES: &str = "Exit codes: 0 the state asked for was reached; 1 a fault here; 2 usage; 3 no such peer; \
4 in time: still queued; 5 refused; 6 identity mismatch.";

/// Peer-to-peer chat: nodes that find each other, and messages that are never lost.
///
/// Without a command, opens the chat: with the node of this home if one runs, else with one of its
/// own.
#[derive(Debug, Parser)]
#[command(name = "hobnob", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,

    #[command(flatten)]
    pub(crate) common: Common,

    /// Chat line by line, also on a terminal.
    #[arg(long)]
    pub(crate) plain: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the node without a screen; print what happens. With --json, requests are taken from
    /// stdin, as lines of JSON.
    Up,
    /// Send a direct message.
    Send(Send),
    /// Send a message to a room (default lobby): to everyone who is there.
    Broadcast(Broadcast),
    /// Offers of files, and how things stand with them: ids, names, sizes, where those are that are
    /// here.
    Files,
    /// Fetch a file that was offered, now or as soon as somebody who has it is there.
    Accept(FileArgs),
    /// Say no to an offered file, end its transfer, or take back an offer of your own.
    Decline {
        /// Its id, the beginning of it, or the file's name.
        file: String,
    },
    /// Who is there: name, state, path, address, round trip, id.
    Peers {
        /// Go on, and print who comes, goes or changes.
        #[arg(long)]
        watch: bool,
    },
    /// Messages of a conversation, or of all.
    History(History),
    /// Be in a room from now on. A room with a secret is another room than the open one of that
    /// name.
    Join {
        /// Its name.
        room: RoomName,
        /// Read its secret from this file, or from stdin if it is `-`.
        #[arg(long, value_name = "FILE")]
        secret_file: Option<PathBuf>,
    },
    /// Leave a room.
    Part {
        /// Its name.
        room: RoomName,
    },
    /// The rooms this node is in.
    Rooms,
    /// This node's id, addresses and ticket, and who can see it.
    Id,
    /// Show no text of a peer any more, new or old. They are not told.
    Ignore(PeerArg),
    /// Show the texts of a peer again.
    Unignore(PeerArg),
    /// Have no session with a peer; neither show nor pass on what they wrote. They are told when
    /// they call. What you say in a room they can still hear from others there.
    Block(PeerArg),
    /// Undo `block`.
    Unblock(PeerArg),
    /// Six words that this node and a peer's show alike, if nobody stands between them. Compare
    /// them over the telephone, then confirm.
    Verify {
        #[command(flatten)]
        whom: PeerArg,
        /// The words are the same at the other end: nobody else may have this peer's name here from
        /// now on.
        #[arg(long, conflicts_with = "undo")]
        confirm: bool,
        /// Take a confirmation back.
        #[arg(long)]
        undo: bool,
    },
    /// Check this node's network: what is wrong, and what to do. Ends with code 1 if something is.
    Doctor {
        /// Also write what was found to this file, without ids, addresses and texts: fit to be
        /// shown to others.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Why a peer can't be reached, and what to do.
    Why(PeerArg),
    /// The settings file's contents with every setting, its default and what it does.
    Config {
        /// Say where the file is instead.
        #[arg(long)]
        path: bool,
    },
    /// A script that lets your shell complete hobnob's commands and flags.
    Completions {
        /// Which shell: bash, elvish, fish, powershell or zsh.
        #[arg(hide_possible_values = true)]
        shell: Shell,
    },
    /// The manual page, for `man -l -`.
    Man {
        /// Write the page of every command into this folder instead.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Run a relay, through which peers behind NAT reach each other, or administer the one that runs
    /// in this home.
    Relay(hobnob_relay_app::Arguments),
}

#[derive(Debug, clap::Args)]
pub(crate) struct PeerArg {
    /// Who: nickname, id or the first 8 of one, host:port, or ticket.
    pub(crate) target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Send {
    /// To whom: nickname, id or the first 8 of one, host:port, or ticket.
    pub(crate) target: Target,
    /// The message; without it, or with `-`, stdin is read to its end (one line break at the end is
    /// dropped).
    #[arg(conflicts_with = "files")]
    pub(crate) text: Option<String>,
    /// Offer these files or folders instead, and wait until the other side has them. They must stay
    /// as they are until then.
    #[arg(long = "file", value_name = "PATH", num_args = 1..)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) wait_args: WaitArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct FileArgs {
    /// Its id, the beginning of it, or the file's name.
    pub(crate) file: String,
    /// For how long at most to wait while nothing comes, as 500ms, 10s, 2m. It stays accepted after
    /// that.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Broadcast {
    /// The message; without it, or with `-`, stdin is read to its end (one line break at the end is
    /// dropped).
    #[arg(conflicts_with = "files")]
    pub(crate) text: Option<String>,
    /// Offer these files or folders instead, for as long as a node of this home runs and they stay
    /// as they are.
    #[arg(long = "file", value_name = "PATH", num_args = 1..)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) wait_args: WaitArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WaitArgs {
    /// How far to wait: queued (on disk here), sent, or delivered (on disk there).
    #[arg(long, value_name = "STATE", default_value = "delivered", value_parser = values::state)]
    pub(crate) wait: DeliveryState,
    /// For how long at most, as 500ms, 10s, 2m. The message stays queued after that.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, clap::Args)]
pub(crate) struct History {
    /// A peer, or a room as #NAME; none means every conversation.
    #[arg(value_name = "TARGET|#ROOM")]
    pub(crate) of: Option<ConversationArg>,
    /// Only messages with these words.
    #[arg(long, value_name = "WORDS")]
    pub(crate) search: Option<String>,
    /// Only messages received since then: RFC 3339, a date, or a span such as 30m, 2h, 3d.
    #[arg(long, value_name = "TIME", value_parser = values::since)]
    pub(crate) since: Option<Time>,
    /// Only the newest so many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use hobnob_control::Home;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_parser_is_consistent() {
        Args::command().debug_assert();
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
            "hobnob verify bob",
            "hobnob verify bob --confirm",
            "hobnob verify bob --undo",
            "hobnob doctor --report /tmp/x",
            "hobnob why bob",
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
            if let Err(error) = Args::try_parse_from(&command) {
                assert!(!error.use_stderr(), "{command:?}: {error}");
            }
        }
    }

    #[test]
    fn the_room_to_leave_is_no_room_to_be_in() {
        let args = parse("hobnob part ops --room dev").unwrap();
        assert!(matches!(args.verb, Some(Verb::Part { room }) if room.as_str() == "ops"));
        assert_eq!(args.common.rooms, ["dev".parse().unwrap()]);
    }

    #[test]
    fn wrong_lines_end_with_code_2_and_say_what_is_wrong() {
        for (line, says) in [
            ("hobnob send", "TARGET"),
            ("hobnob send host:0 hi", "no valid port"),
            ("hobnob send bob hi --wait soon", "queued, sent, delivered"),
            ("hobnob send bob hi --timeout 10", "500ms, 10s, 2m"),
            ("hobnob join A/B", "a room's name is"),
            (
                "hobnob --nick xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                "at most 32 characters",
            ),
            ("hobnob history --since yesterday", "2026-11-20"),
            ("hobnob nonsense", "unrecognized subcommand"),
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
                .common
                .check_running(&home, room_is_used)
                .err()
        };
        for (line, says) in [
            ("hobnob --nick ann", "/nick"),
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
