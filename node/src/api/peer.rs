//! Peers: who they are, whether they are online, and how a session reaches them.

use std::net::SocketAddr;

use hobnob_core::policy::{DenyReason, PeerPolicy};
use hobnob_protocol::picture::PictureKind;
use hobnob_protocol::{ContentHash, Nickname, PersonId};
use serde::{Deserialize, Serialize};

/// Whether a peer is online.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// The peer answers.
    Online,
    /// The peer has missed a ping.
    Suspect,
    /// There is no session with the peer.
    Offline,
}

impl PeerState {
    /// The word for the state on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            PeerState::Online => "online",
            PeerState::Suspect => "suspect",
            PeerState::Offline => "offline",
        }
    }
}

/// How a session reaches its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PathKind {
    /// Directly, within a network of this machine.
    Lan,
    /// Directly, in another network.
    Direct,
    /// Through a relay, which can't read the session.
    Relay,
}

impl PathKind {
    /// The word for the path on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            PathKind::Lan => "lan",
            PathKind::Direct => "direct",
            PathKind::Relay => "relay",
        }
    }
}

/// Everything that a node knows about a peer.
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
/// let known = peers.iter().find(|peer| peer.peer == bob.id()).expect("a recipient is known");
/// if known.state == PeerState::Online {
///     println!("{}: {:?}, {:?} ms", known.name, known.path.map(PathKind::as_str), known.rtt_ms);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PeerInfo {
    /// The peer's id.
    pub peer: PersonId,
    /// The nickname that the peer chose. It is only a hint.
    pub nick: Option<Nickname>,
    /// The name that the peer had before, for seven days after the change.
    pub formerly: Option<String>,
    /// The hash of the peer's profile picture, if the picture is here: [`Node::picture`] returns it.
    ///
    /// [`Node::picture`]: crate::Node::picture
    pub picture: Option<ContentHash>,
    /// The name to show: the nickname, `name~1234` if several peers have that nickname, or else the
    /// short id.
    pub name: String,
    /// Whether the peer is online.
    pub state: PeerState,
    /// How the session reaches the peer. `None` without a session.
    pub path: Option<PathKind>,
    /// The address of the session, or the last known address.
    pub addr: Option<SocketAddr>,
    /// The last measured round-trip time in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Whether the peer is offline because the connection broke. False if the peer said goodbye.
    pub lost: bool,
    /// Whether the peer refuses direct messages of this node until its user accepts it. They stay
    /// in the state [`DeliveryState::Sent`](crate::DeliveryState::Sent), and arrive then.
    pub awaits_consent: bool,
    /// Why the peer refused the last session with this node, if it did.
    pub refuses: Option<DenyReason>,
    /// How many direct messages of the peer, a stranger, are stored here. 0 for a contact.
    pub request: u64,
    /// Whether the peer's user is away, as that user says.
    pub away: bool,
    /// The text of the peer's user about that. It may be empty.
    pub status: String,
    /// The user's policy about the peer.
    pub policy: PeerPolicy,
}

/// A profile picture: a file that its owner chose. It comes from a peer and may be hostile, so decode
/// it only where that can do no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfilePicture {
    /// The BLAKE3 hash of the file.
    pub hash: ContentHash,
    /// Its kind, by its first bytes.
    pub kind: PictureKind,
    /// The file, at most [`PICTURE_BYTES_MAX`](hobnob_protocol::picture::PICTURE_BYTES_MAX) bytes.
    pub bytes: Vec<u8>,
}
