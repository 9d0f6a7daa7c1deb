//! What can go wrong for a node's user, by cause. Every text is a whole message: what happened, and
//! what to do.

use hobnob_protocol::entry::BodyError;
use hobnob_protocol::{PeerId, RoomName};

use crate::net::endpoint::DialError;
use crate::net::socket::BindError;
use crate::store::StoreError;
use hobnob_core::peers::ResolveError;
use hobnob_core::policy::POLICIES_MAX;

/// Why a node can't start.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use hobnob::{Node, StartError};
///
/// let error = Node::builder("/proc/no/such/place").loopback().start().await.unwrap_err();
/// assert!(matches!(error, StartError::Home { .. }));
/// eprintln!("{error}"); // a whole message: what happened, and what to do
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of the key and the database can't be made or used.
    #[error(
        "can't use the folder {dir}: {source}; choose another with --home, or mend its permissions"
    )]
    Home {
        /// The folder.
        dir: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something in the [`Config`](crate::Config) is beyond its limit.
    #[error("a node has {what} at most; this one would have {given}")]
    TooMuch {
        /// What, with its limit.
        what: String,
        /// How much of it was asked for.
        given: usize,
    },
    /// Another node has the folder.
    #[error("a node of {dir} already runs{}: use it, stop it, or use another folder", process(*pid))]
    InUse {
        /// The folder.
        dir: String,
        /// The other's process, where it is known.
        pid: Option<u32>,
    },
    /// The key file is there and is no key.
    #[error(
        "{path} does not hold a hobnob key ({why}); restore it from a backup, or move it away to start with a new identity"
    )]
    Key {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The database can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The socket can't be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refuses something else that a node needs.
    #[error("the node can't start: {0}")]
    System(#[from] std::io::Error),
}

/// The node has stopped, or can't answer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
/// use hobnob::{HistoryQuery, NodeError};
///
/// let unknown = HistoryQuery { after: Some("00000000000000ab-7".parse()?), ..HistoryQuery::default() };
/// assert_eq!(node.history(unknown).await, Err(NodeError::NoSuchMessage));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// It has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// The store could not answer.
    #[error("the message store could not answer: {0}")]
    Store(String),
    /// The message asked for is not held here, or no longer; to be waited for, it must be one of
    /// this node's own.
    #[error("there is no such message here")]
    NoSuchMessage,
    /// The conversation asked for is none of this node's.
    #[error("there is no conversation {0} here")]
    NoSuchConversation(String),
}

impl From<StoreError> for NodeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotHeld => NodeError::NoSuchMessage,
            StoreError::Closed => NodeError::Stopped,
            StoreError::Newer { .. }
            | StoreError::Damaged { .. }
            | StoreError::ReadOnly { .. }
            | StoreError::Full { .. }
            | StoreError::InUse { .. }
            | StoreError::Gap(_)
            | StoreError::Beyond(_)
            | StoreError::Io { .. } => NodeError::Store(error.to_string()),
        }
    }
}

/// What kind of failure it is, for an exit code.
///
/// ```
/// use hobnob::{Cause, SendError};
///
/// assert_eq!(SendError::Myself.cause(), Cause::NoSuchPeer);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Something failed here.
    Fault,
    /// The words are wrong.
    Usage,
    /// Nobody, or more than one, is meant by that name; or nobody answers there.
    NoSuchPeer,
    /// The peer does not want it.
    Refused,
    /// Somebody else answered.
    IdentityMismatch,
}

/// Why a message was not taken. It is not on disk then, and goes nowhere.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
/// use hobnob::{Body, SendError};
///
/// let nobody = node.broadcast("ops".parse()?, "is anybody here?".into()).await.unwrap_err();
/// assert_eq!(nobody.to_string(), "this node is not in #ops: join it first");
/// let wrong = Body::App { kind: "chess".into(), bytes: vec![] };
/// assert!(matches!(node.broadcast("lobby".parse()?, wrong).await, Err(SendError::Body(_))));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody is meant by that name, or more than one peer.
    #[error(transparent)]
    Name(#[from] ResolveError),
    /// This peer was never met, and there is no address for it.
    #[error(
        "{0} is not known here: it has not been seen on this network; give an address or a ticket"
    )]
    UnknownId(PeerId),
    /// The host name could not be looked up.
    #[error("{host} can't be found: {why}")]
    Host {
        /// The name.
        host: String,
        /// What the system says.
        why: String,
    },
    /// Nobody answered at the address.
    #[error("nobody can be reached at {addr}: {cause}")]
    Unreachable {
        /// The address.
        addr: String,
        /// Why.
        cause: String,
    },
    /// Somebody else answered at the address.
    #[error(
        "another node answers at {addr}: {found}, not {expected}; the message was not sent to it"
    )]
    IdentityMismatch {
        /// The address.
        addr: String,
        /// Who was meant.
        expected: PeerId,
        /// Who answered.
        found: PeerId,
    },
    /// The peer answered and wants no session.
    #[error("the node at {addr} refused: {why}")]
    Refused {
        /// The address.
        addr: String,
        /// Its words.
        why: String,
    },
    /// Something of another version answers there.
    #[error("there is no common language with {addr}: {why}")]
    OtherVersion {
        /// The address.
        addr: String,
        /// What to do.
        why: String,
    },
    /// The target is this node.
    #[error("that is this node itself")]
    Myself,
    /// The peer is blocked here.
    #[error("{0} is blocked here: `hobnob unblock {0}` first")]
    Blocked(String),
    /// Somebody answered who calls itself like a verified peer.
    #[error(
        "whoever answers there has the name of somebody whom you have verified with another key than {0}; nothing was sent"
    )]
    NameTaken(PeerId),
    /// The message can't be sent as it is.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// This node is not in that room.
    #[error("this node is not in {0}: join it first")]
    NotInRoom(RoomName),
    /// The message could not be stored, so it was not sent.
    #[error("the message was not sent, because it could not be stored: {0}")]
    Store(String),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

impl SendError {
    /// What kind of failure it is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// use hobnob::{Cause, Node, Target};
    ///
    /// let node = Node::builder(dir.path()).loopback().start().await?;
    /// let error = node.send(Target::Name("zoe".into()), "hi".into()).await.unwrap_err();
    /// assert_eq!(error.cause(), Cause::NoSuchPeer);
    /// # Ok(()) }
    /// ```
    pub fn cause(&self) -> Cause {
        match self {
            SendError::Name(_)
            | SendError::UnknownId(_)
            | SendError::Host { .. }
            | SendError::Unreachable { .. }
            | SendError::Myself => Cause::NoSuchPeer,
            SendError::IdentityMismatch { .. } | SendError::NameTaken(_) => Cause::IdentityMismatch,
            SendError::Refused { .. } | SendError::OtherVersion { .. } | SendError::Blocked(_) => {
                Cause::Refused
            }
            SendError::Body(_) => Cause::Usage,
            SendError::NotInRoom(_) | SendError::Store(_) | SendError::Stopped => Cause::Fault,
        }
    }

    /// What a failed dial means for whoever wanted to send.
    pub(super) fn dial(addr: String, error: DialError) -> Self {
        match error {
            DialError::IdentityMismatch { expected, found } => Self::IdentityMismatch {
                addr,
                expected,
                found,
            },
            DialError::Refused | DialError::Closed { .. } | DialError::Tls(_) => Self::Refused {
                addr,
                why: error.to_string(),
            },
            DialError::OtherProtocol => Self::OtherVersion {
                addr,
                why: error.to_string(),
            },
            DialError::Timeout
            | DialError::Address { .. }
            | DialError::Stopping
            | DialError::Other(_) => Self::Unreachable {
                addr,
                cause: error.to_string(),
            },
        }
    }
}

/// Why nothing was decided about a peer.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
/// assert_eq!(node.block(node.id()).await, Err(hobnob::PolicyError::Myself));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is this node.
    #[error("that is this node itself")]
    Myself,
    /// Too many peers are marked.
    #[error(
        "{POLICIES_MAX} peers are ignored, blocked or verified, which is as many as there can be: undo one first"
    )]
    TooMany,
    /// It holds until this node ends, and is not on disk.
    #[error("that holds until the node ends, and could not be stored for later: {0}")]
    Store(String),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a room can't be joined or left.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
/// use hobnob::JoinError;
///
/// assert_eq!(node.part("ops".parse()?).await, Err(JoinError::NotInRoom("ops".parse()?)));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// There are too many.
    #[error("a node can be in {0} rooms at most: leave one first")]
    TooMany(usize),
    /// The secret is too long.
    #[error("a room's secret has 1 to {0} bytes")]
    Secret(usize),
    /// A room of this name but another secret is joined.
    #[error("this node is in {0} already, with another secret: leave it first")]
    OtherSecret(RoomName),
    /// It is not joined.
    #[error("this node is not in {0}")]
    NotInRoom(RoomName),
    /// It could not be stored.
    #[error("that could not be stored: {0}")]
    Store(String),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

fn process(pid: Option<u32>) -> String {
    pid.map(|pid| format!(", as process {pid}"))
        .unwrap_or_default()
}
