//! The flags that every command takes, and the node configuration that they and the settings make.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ArgAction;
use hobnob::protocol::relay::TOKEN_MAX;
use hobnob::protocol::{Nickname, RelayAddr, RoomName};
use hobnob::{AcceptFrom, Config, FilesConfig, RELAYS_MAX};
use hobnob_control::wire::Text;
use hobnob_control::{Home, HomeError};

use super::exit_code::Usage;
use super::settings::Settings;
use super::values::Size;

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

impl Common {
    /// The home that these flags, or else the environment, name.
    pub(crate) fn home(&self) -> Result<Home, HomeError> {
        self.home_dir()
            .map_or_else(Home::of_user, |dir| Home::at(&dir))
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
