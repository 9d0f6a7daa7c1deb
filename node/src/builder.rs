//! [`Builder`]: sets a node's options one by one, and starts it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use hobnob_protocol::{Nickname, RelayAddr, RelayToken, RoomName};

use super::{Config, DirectWith, FilesConfig, HoldFor, Node, ProxyConfig, Sharing, StartError};

/// The options of a node. Those that are not set keep the defaults of [`Config::new`].
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let node = hobnob::Node::builder("/var/lib/weather-bot")
///     .nick("weather".parse()?)
///     .room("lobby".parse()?)
///     .relay("relay.example:4627".parse()?)
///     .start()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing runs until `start`"]
pub struct Builder(Config);

impl Builder {
    pub(super) fn new(data_dir: PathBuf) -> Self {
        Self(Config::new(data_dir))
    }

    /// Sets the nickname, for this run and later ones.
    pub fn nick(mut self, nick: Nickname) -> Self {
        self.0.nick = Some(nick);
        self
    }

    /// Listens on this address and UDP port only. Port 0 means any free port.
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.0.listen = Some(addr);
        self
    }

    /// Enables or disables discovery on the local network by mDNS (RFC 6762). Default: enabled.
    pub fn mdns(mut self, look: bool) -> Self {
        self.0.mdns = look;
        self
    }

    /// Confines the node to this machine: listens on 127.0.0.1 at any free port, without discovery.
    /// For tests and examples.
    pub fn loopback(self) -> Self {
        self.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .mdns(false)
    }

    /// Joins an open room, in addition to those joined in earlier runs. Call it once for each room. A
    /// node joins the lobby in its first run, and stays there until it leaves. To join a room with a
    /// secret, use [`Node::join`].
    pub fn room(mut self, room: RoomName) -> Self {
        self.0.rooms.push(room);
        self
    }

    /// Registers with a relay, so that peers on other networks can reach this node. Call it once for
    /// each relay, up to [`RELAYS_MAX`](crate::RELAYS_MAX). Peers at the relay can see this node in
    /// its open rooms.
    pub fn relay(mut self, relay: RelayAddr) -> Self {
        self.0.relays.push(relay);
        self
    }

    /// Sets the token that the relays' operator gave to their users: 1 to 256 bytes.
    pub fn relay_token(mut self, token: impl Into<Vec<u8>>) -> Self {
        self.0.relay_token = Some(RelayToken::from(token.into()));
        self
    }

    /// Sets the proxy through which relays are reached over TCP. Default: none.
    pub fn proxy(mut self, proxy: ProxyConfig) -> Self {
        self.0.proxy = proxy;
        self
    }

    /// Enables or disables requests to the router for a port (PCP, NAT-PMP, UPnP). Default: enabled.
    pub fn port_mapping(mut self, ask: bool) -> Self {
        self.0.port_mapping = ask;
        self
    }

    /// Sets the router's UDP port that leads to this node: the one to ask for, or one that was
    /// forwarded by hand. Default: any.
    pub fn external_port(mut self, port: u16) -> Self {
        self.0.external_port = Some(port);
        self
    }

    /// Enables or disables the use of relays that contacts lend, while no other relay works. Default:
    /// enabled.
    pub fn borrow_relays(mut self, borrow: bool) -> Self {
        self.0.borrow_relays = borrow;
        self
    }

    /// Sets whether [`Node::lend_relay`] will follow the start: see [`Config::lends_relay`]. Default:
    /// no.
    pub fn lends_relay(mut self, lends: bool) -> Self {
        self.0.lends_relay = lends;
        self
    }

    /// Sets which peers learn this node's addresses through a relay, for a direct path. Default:
    /// contacts.
    pub fn direct_with(mut self, peers: DirectWith) -> Self {
        self.0.direct_with = peers;
        self
    }

    /// Sets who sees that the user types, has read messages, or is away.
    pub fn sharing(mut self, sharing: Sharing) -> Self {
        self.0.sharing = sharing;
        self
    }

    /// Sets whose mail this node holds while they are away, and how many bytes at most. Default:
    /// nobody's.
    pub fn hold_for(mut self, peers: HoldFor, bytes_max: u64) -> Self {
        (self.0.hold_for, self.0.hold_max) = (peers, bytes_max);
        self
    }

    /// Sets how to receive files. By default they are stored in `downloads` in the node's folder, and
    /// none is accepted automatically.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// use hobnob::{AcceptFrom, FilesConfig, Node};
    ///
    /// let files = FilesConfig { accept_from: vec![AcceptFrom::Verified], ..FilesConfig::new(dir.path().join("inbox")) };
    /// let node = Node::builder(dir.path()).files(files).loopback().start().await?;
    /// # Ok(()) }
    /// ```
    pub fn files(mut self, files: FilesConfig) -> Self {
        self.0.files = files;
        self
    }

    /// Alerts the user of texts with this word as for a mention. Call it once for each word, up to
    /// 64. See [`Message::mention`](crate::Message::mention).
    pub fn highlight(mut self, word: impl Into<String>) -> Self {
        self.0.highlights.push(word.into());
        self
    }

    /// Sets the passphrase that opens the folder, if it is locked. See
    /// [`lock_home`](crate::lock_home).
    pub fn passphrase(mut self, passphrase: impl Into<String>) -> Self {
        let passphrase: String = passphrase.into();
        self.0.unlock = Some(passphrase.into());
        self
    }

    /// Starts the node. Panics outside of a tokio runtime.
    ///
    /// While the node runs, another start in the same folder, in any process, fails with
    /// [`StartError::InUse`].
    pub async fn start(self) -> Result<Node, StartError> {
        Node::start(self.0).await
    }
}
