//! The general flags, and the node configuration that follows from them and the settings.
//!
//! Every command accepts them, because it may have to start a node. `cli::args` hides those that a
//! command does not use from its help.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ArgAction;
use hobnob::protocol::relay::TOKEN_MAX;
use hobnob::protocol::{Nickname, RelayAddr, RelayToken, RoomName};
use hobnob::{
    AcceptFrom, Config, DirectWith, FilesConfig, HOLD_MAX, LiveConfig, Proxy, ProxyConfig,
    RELAYS_MAX, UnlockSource,
};
use hobnob_control::wire::Text;
use hobnob_control::{Home, HomeError, Host};
use zeroize::Zeroizing;

use super::erasing::KeepTime;
use super::exit_code::Usage;
use super::passphrase;
use super::settings::{HeldFor, Settings, proxy_of_variables};
use super::values::Size;

/// The general flags.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "General options")]
pub(crate) struct CommonFlags {
    /// Use this folder for key, messages, settings and socket; also HOBNOB_HOME. Default: the XDG
    /// folders.
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,

    /// Use this nickname from now on.
    #[arg(long, global = true, value_name = "NAME", value_parser = Nickname::new)]
    nick: Option<Nickname>,

    /// Listen on this address and UDP port only. Default: port 4626 on all addresses, or any free
    /// port.
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub(crate) listen: Option<SocketAddr>,

    /// Enable mDNS discovery on the local network, overriding the settings file (default: on).
    #[arg(long, global = true, overrides_with = "no_mdns")]
    mdns: bool,

    /// Disable mDNS discovery.
    #[arg(long, global = true, overrides_with = "mdns")]
    no_mdns: bool,

    /// Register with this relay, so that peers elsewhere can reach this node through it (repeatable).
    /// Other users of the relay see this node in open rooms.
    #[arg(long = "relay", global = true, value_name = "[ID@]HOST:PORT")]
    relays: Vec<RelayAddr>,

    /// Read the token of the relays from this file, if they require one.
    #[arg(long, global = true, value_name = "FILE")]
    relay_token_file: Option<PathBuf>,

    /// Reach relays over TCP through this proxy: http:// or socks5://, with user and password before
    /// the host if it needs them. Default: the variables HTTPS_PROXY, ALL_PROXY and NO_PROXY.
    #[arg(long, global = true, value_name = "URL")]
    proxy: Option<Proxy>,

    /// Join this open room (repeatable). The chat and `broadcast` send to it. Default: lobby.
    #[arg(long = "room", global = true, value_name = "NAME")]
    pub(crate) rooms: Vec<RoomName>,

    /// Tell the addresses of this machine through a relay to these peers only, so that they can
    /// reach it directly. Default: contacts.
    #[arg(long, global = true, value_name = "contacts|members|everyone|nobody")]
    direct_with: Option<DirectWith>,

    /// Store received files in this folder. Default: your downloads folder, or `downloads` in the
    /// folder of --home. Downloads in progress stay in the folder they started in.
    #[arg(long, global = true, value_name = "DIR")]
    downloads: Option<PathBuf>,

    /// Fetch files that this peer (a whole id) offers directly, or those of all verified peers,
    /// without asking (repeatable).
    #[arg(long = "accept-from", global = true, value_name = "ID|verified")]
    accept_from: Vec<AcceptFrom>,

    /// Still ask about files larger than this, such as 500K, 20M or 4G.
    #[arg(long, global = true, value_name = "SIZE")]
    accept_max: Option<Size>,

    /// Open a locked home with the passphrase in the first line of this file. Default: the systemd
    /// credential `hobnob-passphrase`, or the system keyring, or else ask on the terminal.
    #[arg(long, global = true, value_name = "FILE")]
    home_passphrase_file: Option<PathBuf>,

    /// Print one JSON object per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Log more on stderr (-vv: much more).
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl CommonFlags {
    /// The home that --home names, or else the environment.
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

    /// A given flag that only nodes have.
    pub(crate) fn flag_for_nodes_only(&self) -> Option<&'static str> {
        let others = [
            (self.nick.is_some(), "--nick"),
            (!self.rooms.is_empty(), "--room"),
        ];
        given(others.into_iter().chain(self.flags_of_a_start()))
    }

    /// The flags that only a starting node uses, and whether they were given.
    fn flags_of_a_start(&self) -> [(bool, &'static str); 9] {
        [
            (self.mdns, "--mdns"),
            (self.no_mdns, "--no-mdns"),
            (!self.relays.is_empty(), "--relay"),
            (self.relay_token_file.is_some(), "--relay-token-file"),
            (self.proxy.is_some(), "--proxy"),
            (self.direct_with.is_some(), "--direct-with"),
            (self.downloads.is_some(), "--downloads"),
            (!self.accept_from.is_empty(), "--accept-from"),
            (self.accept_max.is_some(), "--accept-max"),
        ]
    }

    /// The configuration of a node that starts with these flags. Settings of the home apply where no
    /// flag was given.
    pub(crate) fn config(&self, home: &Home) -> Result<Config, Usage> {
        let settings = Settings::of(home)?;
        let sharing = settings.sharing();
        let limits = settings.bandwidth();
        let relays = given_or(&self.relays, settings.relays);
        if relays.len() > RELAYS_MAX {
            return Err(Usage(format!(
                "a node uses at most {RELAYS_MAX} relays: remove some"
            )));
        }
        let accept_max = settings.accept_max.map(|Text(size)| size);
        let files = FilesConfig {
            keep_executable: settings.keep_executable.unwrap_or(false),
            limits,
            ..self.files(home, settings.downloads, settings.accept_from, accept_max)?
        };
        let token_file = self.relay_token_file.clone().or(settings.relay_token_file);
        let named = self
            .proxy
            .clone()
            .or(settings.proxy.map(|Text(proxy)| proxy));
        let usual = proxy_of_variables(|name| std::env::var(name).ok());
        let proxy = ProxyConfig {
            proxy: named.or(usual.proxy),
            only: settings.proxy_only.unwrap_or(false),
            ..usual
        };
        // A node that uses the proxy only does not register anywhere by itself.
        let borrow_relays = settings.contact_relays.unwrap_or(!proxy.only);
        Ok(Config {
            borrow_relays,
            nick: self.nick.clone().or(settings.nick),
            listen: self.listen.or(settings.listen),
            mdns: self.mdns || (!self.no_mdns && settings.mdns.unwrap_or(true)),
            rooms: given_or(&self.rooms, settings.rooms),
            relays,
            proxy,
            port_mapping: settings.port_mapping.unwrap_or(true),
            external_port: settings.external_port.map(NonZero::get),
            sharing,
            direct_with: self
                .direct_with
                .or(settings.direct_with.map(|Text(with)| with))
                .unwrap_or_default(),
            relay_token: token_file.as_deref().map(relay_token).transpose()?,
            files,
            unlock: Some(self.unlock()),
            hold_for: settings
                .hold_for
                .map(|HeldFor(peers)| peers)
                .unwrap_or_default(),
            hold_max: settings
                .hold_max
                .map_or(HOLD_MAX, |Text(Size(bytes))| bytes),
            keep: settings.keep.and_then(|Text(KeepTime(keep))| keep),
            highlights: settings.highlight.unwrap_or_default(),
            ..Config::new(home.data_dir())
        })
    }

    /// Lets the node of a host read the settings of its home again. These flags still override them.
    pub(crate) fn reread_by(&self, host: &Host, home: &Home) {
        let (flags, home) = (self.clone(), home.clone());
        host.reads_settings(Arc::new(move || {
            let config = flags.config(&home).map_err(|error| error.to_string())?;
            Ok(LiveConfig::from(config))
        }));
    }

    /// What opens a locked home.
    pub(crate) fn unlock(&self) -> UnlockSource {
        passphrase::of_home(self.home_passphrase_file.clone())
    }

    /// The file with the passphrase of the home, if one is named.
    pub(crate) fn home_passphrase_file(&self) -> Option<&Path> {
        self.home_passphrase_file.as_deref()
    }

    /// How the node receives files. A setting applies where no flag was given.
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
            // A relative path would be a different folder wherever hobnob is started.
            (None, Some(set)) if !set.is_absolute() => {
                return Err(Usage(format!(
                    "the setting `downloads` needs an absolute path, not {}",
                    set.display()
                )));
            }
            (None, Some(set)) => set,
            (None, None) => home.downloads().to_owned(),
        };
        let accept_from = given_or(&self.accept_from, accept_from);
        let size_max = self.accept_max.or(accept_max).map(|Size(bytes)| bytes);
        if size_max.is_some() && accept_from.is_empty() {
            return Err(Usage(
                "accept-max needs accept-from: without it, hobnob asks about every file".into(),
            ));
        }
        Ok(FilesConfig {
            accept_from,
            size_max,
            ..FilesConfig::new(downloads)
        })
    }

    /// Rejects flags that only a starting node uses, because a node already runs.
    pub(crate) fn check_running(&self, home: &Home, room_is_used: bool) -> Result<(), Usage> {
        let dir = home.data_dir().display();
        if self.nick.is_some() {
            let way = "change its nickname with `hobnob nick NAME`";
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
                    "a node of {dir} already runs, and only a starting node uses {flag}: {way}"
                )))
            }
            None => Ok(()),
        }
    }

    /// The one room that a message is for.
    pub(crate) fn speaking_room(&self) -> Result<RoomName, Usage> {
        let room = self.one_room("a message can have only one room")?;
        Ok(room.unwrap_or_else(RoomName::lobby))
    }

    /// The room that was given. `limit` is the error if there are several.
    pub(crate) fn one_room(&self, limit: &str) -> Result<Option<RoomName>, Usage> {
        match self.rooms.as_slice() {
            [] => Ok(None),
            [room] => Ok(Some(room.clone())),
            [_, _, ..] => Err(Usage(format!("{limit}: give --room once"))),
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

/// The values of the flag, or else those of the setting.
fn given_or<T: Clone>(flags: &[T], set: Option<Vec<Text<T>>>) -> Vec<T> {
    match set {
        Some(set) if flags.is_empty() => set.into_iter().map(|value| value.0).collect(),
        Some(_) | None => flags.to_vec(),
    }
}

fn relay_token(path: &Path) -> Result<RelayToken, Usage> {
    let at = path.display();
    let text = std::fs::read(path)
        .map(Zeroizing::new)
        .map_err(|error| Usage(format!("can't read the token file {at}: {error}")))?;
    let token = text.trim_ascii();
    if token.is_empty() || token.len() > TOKEN_MAX {
        return Err(Usage(format!(
            "the token in {at} must have 1 to {TOKEN_MAX} bytes"
        )));
    }
    Ok(token.to_vec().into())
}
