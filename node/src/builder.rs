//! How a node is to run, one word at a time.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use hobnob_protocol::{Nickname, RelayAddr, RoomName};

use super::{Config, FilesConfig, Node, StartError};

/// How a node is to run. What is not said stays as [`Config::new`] has it.
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

    /// The nickname to take, from now on and for later runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let node = hobnob::Node::builder(dir.path()).nick("ann".parse()?).loopback().start().await?;
    /// assert_eq!(node.status().await?.nick.as_str(), "ann");
    /// # Ok(()) }
    /// ```
    pub fn nick(mut self, nick: Nickname) -> Self {
        self.0.nick = Some(nick);
        self
    }

    /// Listens on this address and UDP port only. Port 0 is any free one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let node = hobnob::Node::builder(dir.path()).listen("127.0.0.1:0".parse()?).mdns(false).start().await?;
    /// assert_ne!(node.status().await?.addrs[0].port(), 0);
    /// # Ok(()) }
    /// ```
    pub fn listen(mut self, addr: SocketAddr) -> Self {
        self.0.listen = Some(addr);
        self
    }

    /// Whether to look for peers on the local network, and be found there, by mDNS (RFC 6762). It
    /// does unless told otherwise.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// // Reached by those who have its ticket, and by nobody else.
    /// let node = hobnob::Node::builder(dir.path()).listen("127.0.0.1:0".parse()?).mdns(false).start().await?;
    /// println!("{}", node.status().await?.ticket);
    /// # Ok(()) }
    /// ```
    pub fn mdns(mut self, look: bool) -> Self {
        self.0.mdns = look;
        self
    }

    /// On this machine alone: listens on 127.0.0.1 at any free port, and neither looks for peers
    /// nor is found. For tests, as those of this guide.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// let addrs = node.status().await?.addrs;
    /// assert!(addrs.iter().all(|addr| addr.ip().is_loopback()));
    /// # Ok(()) }
    /// ```
    pub fn loopback(self) -> Self {
        self.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
            .mdns(false)
    }

    /// An open room to be in, besides those joined in earlier runs; may be said again for another.
    /// In `lobby` a node is from its first run on, until it leaves it. A room with a secret is
    /// joined with [`Node::join`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let node = hobnob::Node::builder(dir.path()).room("ops".parse()?).room("dev".parse()?).loopback().start().await?;
    /// node.broadcast("ops".parse()?, "deploying".into()).await?;
    /// assert_eq!(node.rooms().await?.len(), 3); // and the lobby
    /// # Ok(()) }
    /// ```
    pub fn room(mut self, room: RoomName) -> Self {
        self.0.rooms.push(room);
        self
    }

    /// A relay to register with, so that peers elsewhere can reach this node through it; may be
    /// said again for another, up to [`RELAYS_MAX`](crate::RELAYS_MAX). The relay's people can see
    /// this node in its open rooms.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let node = hobnob::Node::builder(dir.path()).relay("relay.example:4627".parse()?).start().await?;
    /// println!("whoever has this reaches it: {}", node.status().await?.ticket);
    /// # Ok(()) }
    /// ```
    pub fn relay(mut self, relay: RelayAddr) -> Self {
        self.0.relays.push(relay);
        self
    }

    /// What the relays' operator gave to those who may use them: 1 to 256 bytes.
    ///
    /// ```no_run
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let token = std::fs::read("/etc/weather-bot/relay-token")?;
    /// let node = hobnob::Node::builder(dir.path()).relay("relay.example:4627".parse()?).relay_token(token).start().await?;
    /// # Ok(()) }
    /// ```
    pub fn relay_token(mut self, token: impl Into<Vec<u8>>) -> Self {
        self.0.relay_token = Some(token.into());
        self
    }

    /// How to receive files. Unless told otherwise they go to `downloads` in the node's folder, and
    /// none is accepted without asking.
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

    /// Starts the node. Must be called within a tokio runtime; panics outside of one, as tokio
    /// does.
    ///
    /// The folder is this node's alone while it runs: another start there, in this process or
    /// another, is [`StartError::InUse`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// use hobnob::{Node, StartError};
    ///
    /// let node = Node::builder(dir.path()).loopback().start().await?;
    /// let second = Node::builder(dir.path()).loopback().start().await;
    /// assert!(matches!(second, Err(StartError::InUse { .. })));
    /// node.shutdown().await;
    /// let again = Node::builder(dir.path()).loopback().start().await?;
    /// assert_eq!(again.id(), node.id());
    /// # Ok(()) }
    /// ```
    pub async fn start(self) -> Result<Node, StartError> {
        Node::start(self.0).await
    }
}
