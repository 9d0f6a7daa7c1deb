//! The configuration of a node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hobnob_core::policy::{DirectWith, Sharing};
use hobnob_protocol::{Nickname, RelayAddr, RelayToken, RoomName};
use hobnob_transport::stream::proxy::{Proxy, is_excluded};

use super::hold_for::HoldFor;
use crate::files::{AcceptFrom, BandwidthLimits, FilesConfig};
use crate::locked_home::UnlockSource;

/// Maximum number of a node's relays.
///
/// A configuration with more is an error. Further relays in addresses and tickets are ignored.
pub const RELAYS_MAX: usize = 16;

/// The default of [`Config::hold_max`]: 256 MiB.
pub const HOLD_MAX: u64 = 256 * 1024 * 1024;

/// Node configuration: the options of [`Builder`](crate::Builder) as one struct.
///
/// ```
/// let config = hobnob::Config { mdns: false, ..hobnob::Config::new("/var/lib/weather-bot") };
/// assert!(config.relays.is_empty() && config.nick.is_none());
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of the key and the database.
    pub data_dir: PathBuf,
    /// The nickname from now on. `None` keeps the nickname of the last run. In the first run it is
    /// the system's user name.
    pub nick: Option<Nickname>,
    /// The address to listen on. `None` means UDP port 4626 on all interfaces, or any free port if
    /// that port is taken.
    pub listen: Option<SocketAddr>,
    /// Whether to discover peers, and be discovered, by mDNS.
    pub mdns: bool,
    /// Open rooms to join. Rooms of earlier runs are joined, too.
    pub rooms: Vec<RoomName>,
    /// Relays to register with. Their other users can see this node in its open rooms and can
    /// reach it.
    pub relays: Vec<RelayAddr>,
    /// The token that the relays' operator gave to users.
    pub relay_token: Option<RelayToken>,
    /// The proxy through which relays are reached over TCP.
    pub proxy: ProxyConfig,
    /// Whether to ask the router for a port, by PCP, NAT-PMP or UPnP, so that peers elsewhere reach
    /// this node directly. Never done with [`ProxyConfig::only`].
    pub port_mapping: bool,
    /// The UDP port of the router that leads to this node. `None` lets the router choose. Without
    /// port mapping, this is the port that the user has forwarded at the router.
    pub external_port: Option<u16>,
    /// Whether to register with relays that contacts lend, while no relay of
    /// [`Config::relays`] works. Contacts then find this node there. A lender sees whom this node talks
    /// with through its relay.
    pub borrow_relays: bool,
    /// Whether [`Node::lend_relay`](crate::Node::lend_relay) will follow. Contacts meanwhile keep the
    /// address of the last run.
    pub lends_relay: bool,
    /// The peers that learn this node's addresses through a relay, for a direct path.
    pub direct_with: DirectWith,
    /// Who sees that the user types, has read messages, or is away.
    pub sharing: Sharing,
    /// How to receive files.
    pub files: FilesConfig,
    /// How long messages are kept. `None` means for ever. [`Node::keep`](crate::Node::keep) sets
    /// another time for one conversation.
    pub keep: Option<Duration>,
    /// The contacts whose mail this node holds while they are away.
    pub hold_for: HoldFor,
    /// Maximum bytes of the mail that this node holds. A contact gets at most 32 MiB, and at most
    /// an eighth of what is free.
    pub hold_max: u64,
    /// Words for which the user is alerted as for a mention: at most 64 of at most 64 characters.
    pub highlights: Vec<String>,
    /// What opens the folder, if it is locked. `None`: the start fails then.
    pub unlock: Option<UnlockSource>,
}

/// The part of a [`Config`] that a running node can take: see
/// [`Node::configure`](crate::Node::configure).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveConfig {
    /// See [`Config::direct_with`].
    pub direct_with: DirectWith,
    /// See [`Config::sharing`].
    pub sharing: Sharing,
    /// See [`Config::keep`]. Messages that are older are erased within an hour.
    pub keep: Option<Duration>,
    /// See [`Config::highlights`]. Messages that are here already mention whom they did.
    pub highlights: Vec<String>,
    /// See [`FilesConfig::accept_from`]. Offers that are here already wait for the user.
    pub accept_from: Vec<AcceptFrom>,
    /// See [`FilesConfig::size_max`].
    pub size_max: Option<u64>,
    /// See [`FilesConfig::limits`]. Transfers in progress keep to them, too.
    pub limits: BandwidthLimits,
}

impl From<Config> for LiveConfig {
    fn from(config: Config) -> Self {
        Self {
            direct_with: config.direct_with,
            sharing: config.sharing,
            keep: config.keep,
            highlights: config.highlights,
            accept_from: config.files.accept_from,
            size_max: config.files.size_max,
            limits: config.files.limits,
        }
    }
}

/// A proxy for the TCP connections with relays. The proxy resolves the relays' names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// The proxy. `None`: TCP connections are direct.
    pub proxy: Option<Proxy>,
    /// Hosts that are reached without the proxy, as in the variable `NO_PROXY`.
    pub no_proxy: String,
    /// Send nothing beyond this machine's own links except through the proxy: no UDP to relays, no
    /// direct paths, no port mapping and no DNS. mDNS and sessions on the links continue.
    pub only: bool,
}

impl ProxyConfig {
    /// The proxy for this host.
    pub(crate) fn for_host(&self, host: &str) -> Option<Proxy> {
        let excluded = !self.only && is_excluded(&self.no_proxy, host);
        self.proxy.clone().filter(|_| !excluded)
    }
}

impl Config {
    /// A node with its key and messages in this folder. It uses mDNS and no relay.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            files: FilesConfig::new(data_dir.join("downloads")),
            data_dir,
            nick: None,
            listen: None,
            mdns: true,
            rooms: Vec::new(),
            relays: Vec::new(),
            relay_token: None,
            proxy: ProxyConfig::default(),
            port_mapping: true,
            external_port: None,
            borrow_relays: true,
            lends_relay: false,
            direct_with: DirectWith::default(),
            sharing: Sharing::default(),
            keep: None,
            hold_for: HoldFor::default(),
            hold_max: HOLD_MAX,
            highlights: Vec::new(),
            unlock: None,
        }
    }
}
