//! The values that a node's users see: what they configure, send, ask for and hear about.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::files::{FileInfo, FilesConfig};
pub use hobnob_core::diagnosis::{
    Filtering, Finding, MachineFinding, Mapping, NetworkFinding, PeerFinding, ReachFinding,
    RelayFinding, Subject, Verdict,
};
pub use hobnob_core::policy::{KICKED_FOR, PeerPolicy};
use hobnob_protocol::{Body, HostPort, LogId, Nickname, PeerId, RelayAddr, RoomName, Seq, Ticket};

/// Relays of a node at most: those of its configuration, where more are refused, and those of
/// addresses and tickets that a user names, where further ones are not used.
///
/// ```
/// assert!(hobnob::RELAYS_MAX >= 3, "some may be down");
/// ```
pub const RELAYS_MAX: usize = 16;

/// How a node is to run: all that a [`Builder`](crate::Builder) can be told, for programs that have
/// it in one piece.
///
/// ```
/// let config = hobnob::Config { mdns: false, ..hobnob::Config::new("/var/lib/weather-bot") };
/// assert!(config.relays.is_empty() && config.nick.is_none());
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of the key and the database.
    pub data_dir: PathBuf,
    /// The nickname to take from now on; none keeps the one of the last run, or the system's user
    /// name on the first.
    pub nick: Option<Nickname>,
    /// Where to listen; none means UDP port 4626 on all interfaces, or any free port if that is
    /// taken.
    pub listen: Option<SocketAddr>,
    /// Whether to look for peers, and be found, by mDNS.
    pub mdns: bool,
    /// Open rooms to be in, besides those joined in earlier runs.
    pub rooms: Vec<RoomName>,
    /// Relays to register with. Their people can see this node in its open rooms, and reach it.
    pub relays: Vec<RelayAddr>,
    /// What the relays' operator gave to those who may use them.
    pub relay_token: Option<Vec<u8>>,
    /// How to receive files.
    pub files: FilesConfig,
}

impl Config {
    /// A node that has its key and its messages in this folder, looks for peers by mDNS, and uses
    /// no relay.
    ///
    /// ```
    /// assert!(hobnob::Config::new("/var/lib/weather-bot").mdns);
    /// ```
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
        }
    }
}

/// A conversation as users name it: `@<peer id>` or `#room`.
///
/// ```
/// use hobnob::ConversationRef;
///
/// assert_eq!("#ops".parse(), Ok(ConversationRef::Room("ops".parse()?)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConversationRef {
    /// The conversation with this peer.
    Direct(PeerId),
    /// The room of this name.
    Room(RoomName),
}

impl std::fmt::Display for ConversationRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConversationRef::Direct(peer) => write!(f, "@{peer}"),
            ConversationRef::Room(room) => room.fmt(f),
        }
    }
}

/// Names one message for good: its author's log and its place there. Text form: 16 hex digits, a
/// dash, the number.
///
/// ```
/// use hobnob::MessageId;
///
/// let id: MessageId = "00000000000000ab-7".parse()?;
/// assert_eq!((id.seq, id.to_string().as_str()), (7, "00000000000000ab-7"));
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The author's log.
    pub log: LogId,
    /// The place in it.
    pub seq: Seq,
}

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{}", self.log.0, self.seq)
    }
}

impl std::str::FromStr for MessageId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a message id is 16 hex digits, a dash and a number";
        let (log, seq) = text.split_once('-').ok_or(WRONG)?;
        let log = u64::from_str_radix(log, 16).map_err(|_| WRONG)?;
        Ok(Self {
            log: LogId(log),
            seq: seq.parse().map_err(|_| WRONG)?,
        })
    }
}

/// How far a message of ours has come with one peer; later states are greater.
///
/// ```
/// use hobnob::DeliveryState;
///
/// assert!(DeliveryState::Queued < DeliveryState::Sent && DeliveryState::Sent < DeliveryState::Delivered);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryState {
    /// On disk here.
    Queued,
    /// Written to a session with the peer.
    Sent,
    /// On disk there.
    Delivered,
}

impl DeliveryState {
    /// The word for it on the command line and in JSON.
    ///
    /// ```
    /// assert_eq!(hobnob::DeliveryState::Queued.as_str(), "queued");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Queued => "queued",
            DeliveryState::Sent => "sent",
            DeliveryState::Delivered => "delivered",
        }
    }
}

/// A message that is on disk here and on its way: what [`Node::send`](crate::Node::send) gives.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
/// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
/// let sent = ann.send(bob.status().await?.ticket.into(), "hi".into()).await?;
/// assert_eq!(sent.to, [bob.id()]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its id, for [`crate::Node::wait_for`] and receipts.
    pub id: MessageId,
    /// Where it went.
    pub conversation: ConversationRef,
    /// Whom it is for: the peer, or the members of the room that this node has a session with now.
    pub to: Vec<PeerId>,
}

/// Whether a peer is there.
///
/// ```
/// assert_eq!(hobnob::PeerState::Online.as_str(), "online");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// It answers.
    Online,
    /// It missed a ping.
    Suspect,
    /// There is no session with it.
    Offline,
}

impl PeerState {
    /// The word for it on the command line and in JSON.
    ///
    /// ```
    /// assert_eq!(hobnob::PeerState::Suspect.as_str(), "suspect");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            PeerState::Online => "online",
            PeerState::Suspect => "suspect",
            PeerState::Offline => "offline",
        }
    }
}

/// By which way a session goes.
///
/// ```
/// assert_eq!(hobnob::PathKind::Relay.as_str(), "relay");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PathKind {
    /// Straight, within a network that this machine is on.
    Lan,
    /// Straight, to another network.
    Direct,
    /// Through a relay, which can't read it.
    Relay,
}

impl PathKind {
    /// The word for it on the command line and in JSON.
    ///
    /// ```
    /// assert_eq!(hobnob::PathKind::Direct.as_str(), "direct");
    /// ```
    pub fn as_str(self) -> &'static str {
        match self {
            PathKind::Lan => "lan",
            PathKind::Direct => "direct",
            PathKind::Relay => "relay",
        }
    }
}

/// What is known of a peer now.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
/// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
/// use hobnob::{PathKind, PeerState};
///
/// ann.send(bob.status().await?.ticket.into(), "hi".into()).await?;
/// let peers = ann.peers().await?;
/// let known = peers.iter().find(|peer| peer.peer == bob.id()).expect("who is written to is known");
/// if known.state == PeerState::Online {
///     println!("{} is here, over {:?}, {:?} ms away", known.name, known.path.map(PathKind::as_str), known.rtt_ms);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// Who.
    pub peer: PeerId,
    /// The nickname it gave itself: a hint.
    pub nick: Option<Nickname>,
    /// The name to show: its nickname, `name~1234` where several peers have that nickname, else its
    /// short id.
    pub name: String,
    /// Whether it is there.
    pub state: PeerState,
    /// By which way, while there is a session.
    pub path: Option<PathKind>,
    /// The address of the session, or the one last known.
    pub addr: Option<SocketAddr>,
    /// The last measured round trip, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Whether it is offline because the connection with it broke: it did not take leave.
    pub lost: bool,
    /// What the user has decided about it.
    pub policy: PeerPolicy,
}

/// A message, sent or received, as it stands on disk.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
/// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
/// use hobnob::{Body, ConversationRef};
///
/// let mut messages = bob.messages(None);
/// ann.send(bob.status().await?.ticket.into(), "hi".into()).await?;
/// let message = messages.next().await?;
/// assert_eq!(message.conversation, ConversationRef::Direct(ann.id()));
/// assert!(message.state.is_none(), "an own message would have one");
/// match &message.body {
///     Body::Text(text) => println!("{} says {text}", message.name),
///     Body::App { kind, bytes } => println!("{} sends {} bytes for {kind}", message.name, bytes.len()),
///     Body::Offer(offer) => println!("{} offers {}, {} bytes", message.name, offer.name, offer.size),
///     Body::Unknown { kind, .. } => println!("{} sends something newer, of kind {kind}", message.name),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Where it was said.
    pub conversation: ConversationRef,
    /// Its author.
    pub from: PeerId,
    /// The author's name to show, as for [`PeerInfo::name`].
    pub name: String,
    /// What it says.
    pub body: Body,
    /// The author's clock, in milliseconds since the Unix epoch: shown, never trusted.
    pub sent_at_ms: u64,
    /// This node's clock when the message came or was written.
    pub received_at_ms: u64,
    /// For our own messages: how far it has come. In a room, the least of those it was sent to.
    pub state: Option<DeliveryState>,
}

/// Which messages to read back: see [`Node::history`](crate::Node::history).
///
/// ```
/// use hobnob::{ConversationRef, HistoryQuery, RoomName};
///
/// let lobby = ConversationRef::Room(RoomName::lobby());
/// let query = HistoryQuery { conversation: Some(lobby), limit: Some(20), ..HistoryQuery::default() };
/// ```
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Only this conversation; none: all of them.
    pub conversation: Option<ConversationRef>,
    /// Only messages holding these words.
    pub search: Option<String>,
    /// Only messages received at or after this time, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only messages before this one, in the order of the answer: for paging back. Where it is not
    /// held, there are none.
    pub before: Option<MessageId>,
    /// Only messages after this one, in the order of the answer. Where it is not held, that is
    /// [`NodeError::NoSuchMessage`](crate::NodeError::NoSuchMessage).
    pub after: Option<MessageId>,
    /// The oldest messages that fit, instead of the newest.
    pub oldest: bool,
    /// At most this many, and never more than 10,000; they come oldest first.
    pub limit: Option<usize>,
}

/// A room this node is in.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
/// let room = node.join("ops".parse()?, None).await?;
/// assert!(room.open && room.here.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomInfo {
    /// Its name.
    pub name: RoomName,
    /// Whether it has no secret.
    pub open: bool,
    /// The members this node has a session with.
    pub here: Vec<PeerId>,
}

/// What this node is.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
/// let status = node.status().await?;
/// assert_eq!((status.id, status.ticket.id), (node.id(), node.id()));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Status {
    /// Its id.
    pub id: PeerId,
    /// Its nickname.
    pub nick: Nickname,
    /// Where others can reach it.
    pub addrs: Vec<SocketAddr>,
    /// Id and addresses in one word.
    pub ticket: Ticket,
    /// The rooms it is in.
    pub rooms: Vec<RoomInfo>,
    /// Its relays.
    pub relays: Vec<RelayInfo>,
    /// The latest notices of this run, for who comes after they were told.
    pub notices: Vec<Notice>,
}

/// A relay that this node uses.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let node = hobnob::Node::builder(dir.path()).loopback().relay("127.0.0.1:9".parse()?).start().await?;
/// for relay in node.status().await?.relays {
///     match relay.observed {
///         Some(addr) => println!("{} sees this node at {addr}", relay.at),
///         None => println!("{} is not reached: {:?}", relay.at, relay.why),
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayInfo {
    /// Where it is.
    pub at: HostPort,
    /// Its identity, once it has proved one.
    pub id: Option<PeerId>,
    /// Where it sees this node; none while there is no connection with it.
    pub observed: Option<SocketAddr>,
    /// Why there is no connection, if that is known.
    pub why: Option<String>,
}

/// Something that a user should be told; `text` is a whole sentence or two, safe to show.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
/// for notice in node.status().await?.notices {
///     eprintln!("{} ({})", notice.text, notice.code);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The first of a run is 1, the next 2, and so on.
    pub number: u64,
    /// A fixed word for programs: `own-entries-restored`, `identity-copied`, `conflict`,
    /// `store-error`, `store-recovered`, `clock`, `no-discovery`, `turned-away`, `verified-name`,
    /// `relay-up`, `relay-down`, `udp-blocked`, `relay-refused`, `relay-changed`, `relay-lies`,
    /// `relay-doubtful`.
    pub code: &'static str,
    /// For people: what happened and what to do.
    pub text: String,
    /// The peer it is about.
    pub peer: Option<PeerId>,
}

/// Something that happened: see [`Node::events`](crate::Node::events).
///
/// ```
/// use hobnob::{DeliveryState, Event};
///
/// fn tell(event: &Event) {
///     match event {
///         Event::Message(message) => println!("<{}> {:?}", message.name, message.body),
///         Event::Receipt { id, peer, state: DeliveryState::Delivered } => println!("{id} is on disk at {}", peer.short()),
///         Event::Notice(notice) => println!("* {}", notice.text),
///         _ => {}
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub enum Event {
    /// The node listens.
    Listening {
        /// Our id.
        peer: PeerId,
        /// Where.
        addrs: Vec<SocketAddr>,
    },
    /// A peer came, went, or changed: also when it joins or leaves a room of ours.
    Peer(PeerInfo),
    /// A message from somebody else is on disk. Each message comes once, an author's in order.
    Message(Message),
    /// A message of ours is on disk here.
    Own(Message),
    /// A message of ours came further with one peer.
    Receipt {
        /// Which.
        id: MessageId,
        /// With whom.
        peer: PeerId,
        /// How far.
        state: DeliveryState,
    },
    /// An offered file: it is new, or it has come further.
    File(FileInfo),
    /// Something to tell the user.
    Notice(Notice),
}

impl FromStr for ConversationRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a conversation is @ and a full peer id, or # and a room's name";
        match text.split_at_checked(1) {
            Some(("@", id)) => id.parse().map(ConversationRef::Direct).map_err(|_| WRONG),
            Some(("#", _)) => text.parse().map(ConversationRef::Room).map_err(|_| WRONG),
            Some(_) | None => Err(WRONG),
        }
    }
}

impl FromStr for DeliveryState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Queued, Self::Sent, Self::Delivered];
        let found = all.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("expected one of: {}", all.map(Self::as_str).join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_read_back_as_they_are_shown() {
        let id = hobnob_protocol::PeerId::from_bytes([9; 32]);
        for conversation in [
            ConversationRef::Direct(id),
            ConversationRef::Room("ops".parse().unwrap()),
        ] {
            assert_eq!(conversation.to_string().parse(), Ok(conversation));
        }
        for wrong in ["", "@", "#", "lobby", "@ann", "é"] {
            assert!(wrong.parse::<ConversationRef>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_unknown_delivery_state_is_answered_with_the_known_ones() {
        let error = "late".parse::<DeliveryState>().expect_err("no state");
        assert!(error.contains("queued, sent, delivered"), "{error}");
    }
}
