//! The values that a node's users see: what they configure, send, ask for and hear about.

use std::net::SocketAddr;
use std::path::PathBuf;

pub use crate::core::standing::{KICKED_FOR, Marks};
use hobnob_protocol::{Body, HostPort, LogId, Nickname, PeerId, RelayAddr, RoomName, Seq, Ticket};

/// Relays of a node at most: those of its configuration, and those of addresses and tickets that a user names. Further ones are
/// not used.
pub const RELAYS_MAX: usize = 16;

/// How a node is to run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of the key and the database.
    pub data_dir: PathBuf,
    /// The nickname to take from now on; none keeps the one of the last run, or the system's user name on the first.
    pub nick: Option<Nickname>,
    /// Where to listen; none means UDP port 4626 on all interfaces, or any free port if that is taken.
    pub listen: Option<SocketAddr>,
    /// Whether to look for peers, and be found, by mDNS.
    pub mdns: bool,
    /// Open rooms to be in, besides those joined in earlier runs.
    pub rooms: Vec<RoomName>,
    /// Relays to register with. Their people can see this node in its open rooms, and reach it.
    pub relays: Vec<RelayAddr>,
    /// What the relays' operator gave to those who may use them.
    pub relay_token: Option<Vec<u8>>,
}

/// A conversation as users name it: `@<peer id>` or `#room`.
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

/// Names one message for good: its author's log and its place there. Text form: 16 hex digits, a dash, the number.
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
        Ok(Self { log: LogId(log), seq: seq.parse().map_err(|_| WRONG)? })
    }
}

/// How far a message of ours has come with one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Queued => "queued",
            DeliveryState::Sent => "sent",
            DeliveryState::Delivered => "delivered",
        }
    }
}

/// A message that is on disk here and on its way.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    pub fn as_str(self) -> &'static str {
        match self {
            PeerState::Online => "online",
            PeerState::Suspect => "suspect",
            PeerState::Offline => "offline",
        }
    }
}

/// By which way a session goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    pub fn as_str(self) -> &'static str {
        match self {
            PathKind::Lan => "lan",
            PathKind::Direct => "direct",
            PathKind::Relay => "relay",
        }
    }
}

/// What is known of a peer now.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// Who.
    pub peer: PeerId,
    /// The nickname it gave itself: a hint.
    pub nick: Option<Nickname>,
    /// The name to show: its nickname, `name~1234` where several peers have that nickname, else its short id.
    pub name: String,
    /// Whether it is there.
    pub state: PeerState,
    /// By which way, while there is a session.
    pub path: Option<PathKind>,
    /// The address of the session, or the one last known.
    pub addr: Option<SocketAddr>,
    /// The last measured round trip, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// What the user has decided about it.
    pub marks: Marks,
}

/// A message, sent or received, as it stands on disk.
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

/// Which messages to read back.
#[derive(Debug, Clone, Default)]
pub struct HistoryQuery {
    /// Only this conversation; none: all of them.
    pub conversation: Option<ConversationRef>,
    /// Only messages holding these words.
    pub search: Option<String>,
    /// Only messages received at or after this time, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only messages before this one, in display order: for paging back.
    pub before: Option<MessageId>,
    /// Only messages after this one.
    pub after: Option<MessageId>,
    /// The oldest messages that fit, instead of the newest.
    pub oldest: bool,
    /// At most this many; they come oldest first.
    pub limit: Option<usize>,
}

/// A room this node is or was in.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The first of a run is 1, the next 2, and so on.
    pub number: u64,
    /// A fixed word for programs: `own-entries-restored`, `identity-copied`, `conflict`, `store-error`, `store-recovered`, `clock`,
    /// `no-discovery`, `turned-away`, `verified-name`, `relay-up`, `relay-down`, `relay-refused`, `relay-changed`, `relay-lies`.
    pub code: &'static str,
    /// For people: what happened and what to do.
    pub text: String,
    /// The peer it is about.
    pub peer: Option<PeerId>,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The node listens.
    Listening {
        /// Our id.
        peer: PeerId,
        /// Where.
        addrs: Vec<SocketAddr>,
    },
    /// A peer came, went, or changed.
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
    /// Something to tell the user.
    Notice(Notice),
}
