//! What can be written on the command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand};
use clap_complete::Shell;
use hobnob::protocol::relay::TOKEN_MAX;
use hobnob::protocol::{Nickname, RelayAddr, RoomName, Target};
use hobnob::{AcceptFrom, Config, DeliveryState, FilesConfig, RELAYS_MAX};
use hobnob_control::wire::{Text, Time};
use hobnob_control::{Home, HomeError};

use super::exit::Usage;
use super::relay::Relay;
use super::settings::Settings;
use super::values::{self, Size, Where};

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

/// Flags of every command.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The folder for key, messages and socket; also HOBNOB_HOME. Default: the XDG folders.
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,

    /// The nickname to take from now on.
    #[arg(long, global = true, value_name = "NAME", value_parser = Nickname::new)]
    nick: Option<Nickname>,

    /// Listen on this address and UDP port only. Default: port 4626 on all, or any free one; a
    /// relay: port 4627.
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// Look for peers on the local network and be found there, whatever the settings say. That is
    /// so if they say nothing.
    #[arg(long, global = true, overrides_with = "no_mdns")]
    mdns: bool,

    /// Neither look for peers on the local network nor be found there.
    #[arg(long, global = true, overrides_with = "mdns")]
    no_mdns: bool,

    /// A relay to register with (repeatable), so that peers elsewhere can reach this node through
    /// it. Its people see this node in its open rooms.
    #[arg(long = "relay", global = true, value_name = "[ID@]HOST:PORT")]
    relays: Vec<RelayAddr>,

    /// The file that holds the token of the relays, if they ask for one.
    #[arg(long, global = true, value_name = "FILE")]
    relay_token_file: Option<PathBuf>,

    /// An open room to be in (repeatable); where `broadcast` and the chat speak. Default: lobby.
    #[arg(long = "room", global = true, value_name = "NAME")]
    pub(crate) rooms: Vec<RoomName>,

    /// The folder where files that are received go. Default: your downloads folder, or `downloads`
    /// in the folder of --home. What is on its way already goes on where it was begun.
    #[arg(long, global = true, value_name = "DIR")]
    downloads: Option<PathBuf>,

    /// Accept direct offers of files from this peer (a whole id), or from all that you have
    /// verified, without asking (repeatable).
    #[arg(long = "accept-from", global = true, value_name = "ID|verified")]
    accept_from: Vec<AcceptFrom>,

    /// Ask all the same about files larger than this, as 500K, 20M, 4G.
    #[arg(long, global = true, value_name = "SIZE")]
    accept_max: Option<Size>,

    /// Print one JSON object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Say more on stderr (-vv: much more).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
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
    Ignore(Whom),
    /// Show the texts of a peer again.
    Unignore(Whom),
    /// Have no session with a peer; neither show nor pass on what they wrote. They are told when
    /// they call. What you say in a room they can still hear from others there.
    Block(Whom),
    /// Undo `block`.
    Unblock(Whom),
    /// Six words that this node and a peer's show alike, if nobody stands between them. Compare
    /// them over the telephone, then confirm.
    Verify {
        #[command(flatten)]
        whom: Whom,
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
    Why(Whom),
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
    /// Run a relay, by which peers behind NAT reach each other; or ask the one that runs in this
    /// home.
    Relay(Relay),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Whom {
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
    pub(crate) patience: Patience,
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
    pub(crate) patience: Patience,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Patience {
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
    pub(crate) of: Option<Where>,
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

impl Common {
    /// The home that these flags, or else the environment, name.
    pub(crate) fn home(&self) -> Result<Home, HomeError> {
        self.home_dir()
            .map_or_else(Home::of_user, |dir| Home::at(&dir))
    }

    /// Where the relay of that home lives: apart, so that a relay and a node of one home share
    /// neither key nor lock.
    pub(crate) fn relay_home(&self) -> Result<Home, HomeError> {
        self.home_dir()
            .map_or_else(Home::of_relay, |dir| Home::at(&dir.join("relay")))
    }

    fn home_dir(&self) -> Option<PathBuf> {
        let variable = || {
            std::env::var_os("HOBNOB_HOME")
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
        };
        self.home.clone().or_else(variable)
    }

    /// A flag that was given and means something to nodes alone.
    pub(crate) fn flag_for_nodes_only(&self) -> Option<&'static str> {
        let others = [
            (self.nick.is_some(), "--nick"),
            (!self.rooms.is_empty(), "--room"),
        ];
        given(others.into_iter().chain(self.flags_of_a_start()))
    }

    /// Flags of nodes that count only when one starts, and whether they were given.
    fn flags_of_a_start(&self) -> [(bool, &'static str); 7] {
        [
            (self.mdns, "--mdns"),
            (self.no_mdns, "--no-mdns"),
            (!self.relays.is_empty(), "--relay"),
            (self.relay_token_file.is_some(), "--relay-token-file"),
            (self.downloads.is_some(), "--downloads"),
            (!self.accept_from.is_empty(), "--accept-from"),
            (self.accept_max.is_some(), "--accept-max"),
        ]
    }

    /// How a node is to run that is started for these flags, and the settings of its home where
    /// they say nothing.
    pub(crate) fn config(&self, home: &Home) -> Result<Config, Usage> {
        let settings = Settings::of(home)?;
        let relays = given_or(&self.relays, settings.relays);
        if relays.len() > RELAYS_MAX {
            return Err(Usage(format!(
                "a node uses {RELAYS_MAX} relays at most: leave out some"
            )));
        }
        let accept_max = settings.accept_max.map(|Text(size)| size);
        let files = self.files(home, settings.downloads, settings.accept_from, accept_max)?;
        let token_file = self.relay_token_file.clone().or(settings.relay_token_file);
        Ok(Config {
            nick: self.nick.clone().or(settings.nick),
            listen: self.listen.or(settings.listen),
            mdns: self.mdns || (!self.no_mdns && settings.mdns.unwrap_or(true)),
            rooms: given_or(&self.rooms, settings.rooms),
            relays,
            relay_token: token_file.as_deref().map(relay_token).transpose()?,
            files,
            ..Config::new(home.data_dir())
        })
    }

    /// How it is to receive files; what is set counts where flags say nothing.
    fn files(
        &self,
        home: &Home,
        downloads: Option<PathBuf>,
        accept_from: Option<Vec<Text<AcceptFrom>>>,
        accept_max: Option<Size>,
    ) -> Result<FilesConfig, Usage> {
        let downloads = match (&self.downloads, downloads) {
            (Some(given), _) => std::path::absolute(given)
                .map_err(|error| Usage(format!("can't use {}: {error}", given.display())))?,
            // It would be another folder wherever hobnob is started.
            (None, Some(set)) if !set.is_absolute() => {
                return Err(Usage(format!(
                    "the setting `downloads` needs a whole path, not {}",
                    set.display()
                )));
            }
            (None, Some(set)) => set,
            (None, None) => home.downloads().to_owned(),
        };
        let accept_from = given_or(&self.accept_from, accept_from);
        let size_max = self.accept_max.or(accept_max).map(|Size(bytes)| bytes);
        if size_max.is_some() && accept_from.is_empty() {
            let why = "without it nothing is accepted without asking";
            return Err(Usage(format!(
                "accept-max needs accept-from beside it: {why}"
            )));
        }
        Ok(FilesConfig {
            downloads,
            accept_from,
            size_max,
        })
    }

    /// Refuses flags that only a node that is starting can obey, for when one runs already.
    pub(crate) fn check_running(&self, home: &Home, room_is_used: bool) -> Result<(), Usage> {
        let dir = home.data_dir().display();
        if self.nick.is_some() {
            let way = "change its nickname with /nick in the chat, or restart it with --nick";
            return Err(Usage(format!("a node of {dir} already runs: {way}")));
        }
        let others = [
            (self.listen.is_some(), "--listen"),
            (!self.rooms.is_empty() && !room_is_used, "--room"),
        ];
        match given(others.into_iter().chain(self.flags_of_a_start())) {
            Some(flag) => {
                let way = format!("leave out {flag}, or stop that node and start it with {flag}");
                Err(Usage(format!(
                    "a node of {dir} already runs, and {flag} is for one that starts: {way}"
                )))
            }
            None => Ok(()),
        }
    }

    /// The one room to speak in.
    pub(crate) fn speaking_room(&self) -> Result<RoomName, Usage> {
        match self.rooms.as_slice() {
            [] => Ok(RoomName::lobby()),
            [room] => Ok(room.clone()),
            [_, _, ..] => Err(Usage(
                "one message goes to one room: give --room once".into(),
            )),
        }
    }
}

/// The first flag that was given.
fn given(flags: impl IntoIterator<Item = (bool, &'static str)>) -> Option<&'static str> {
    flags
        .into_iter()
        .find(|(given, _)| *given)
        .map(|(_, flag)| flag)
}

/// What was given as flags, or else is set.
fn given_or<T: Clone>(flags: &[T], set: Option<Vec<Text<T>>>) -> Vec<T> {
    match set {
        Some(set) if flags.is_empty() => set.into_iter().map(|value| value.0).collect(),
        Some(_) | None => flags.to_vec(),
    }
}

fn relay_token(path: &Path) -> Result<Vec<u8>, Usage> {
    let at = path.display();
    let token = std::fs::read(path)
        .map_err(|error| Usage(format!("can't read the token file {at}: {error}")))?;
    let token = token.trim_ascii().to_vec();
    if token.is_empty() || token.len() > TOKEN_MAX {
        return Err(Usage(format!(
            "the token in {at} must have 1 to {TOKEN_MAX} bytes"
        )));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

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

    /// Whatever begins with `hobnob` in README's code, with values for the words in capitals, and
    /// up to what a shell takes for itself.
    fn commands_of_the_readme() -> Vec<Vec<String>> {
        const README: &str = include_str!("../../../../README.md");
        let id = hobnob::protocol::SecretKey::from_seed([1; 32])
            .id()
            .to_string();
        let mut fenced = false;
        let mut commands: Vec<String> = Vec::new();
        for line in README.lines() {
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
    fn every_command_of_the_readme_is_understood() {
        let commands = commands_of_the_readme();
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
