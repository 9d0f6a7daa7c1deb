//! The errors of the public API, by cause. Every text is a complete message: what happened, and what to
//! do.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::PathBuf;

use hobnob_mailbox::MailboxError;
use hobnob_protocol::entry::BodyError;
use hobnob_protocol::invitation::CodeNumber;
use hobnob_protocol::passphrase::PassphraseError;
use hobnob_protocol::picture::PictureError;
use hobnob_protocol::sealed::SealedError;
use hobnob_protocol::{PersonId, RoomName};

use crate::api::MessageId;
use crate::locked_home::LockError;
use crate::net::endpoint::DialError;
use crate::net::socket::BindError;
use crate::store::StoreError;
use hobnob_core::peers::ResolveError;
use hobnob_core::policy::POLICIES_MAX;

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder for the key and the database cannot be created or used.
    #[error("can't use the folder {dir}: {source}; use another one, or correct its permissions")]
    Home {
        /// The folder.
        dir: String,
        /// The error of the system.
        source: std::io::Error,
    },
    /// An option of the [`Config`](crate::Config) exceeds its limit.
    #[error("a node has {what} at most; this one would have {given}")]
    TooMuch {
        /// The option and its limit.
        what: String,
        /// The given number.
        given: usize,
    },
    /// Another node uses the folder.
    #[error("a node of {dir} already runs{}: use it, stop it, or use another folder", process(*pid))]
    InUse {
        /// The folder.
        dir: String,
        /// The process of that node, if known.
        pid: Option<u32>,
    },
    /// The key file exists but does not contain a key.
    #[error(
        "{path} does not contain a hobnob key ({why}); restore it from a backup, or move it away to start with a new identity"
    )]
    Key {
        /// The file.
        path: String,
        /// The reason.
        why: String,
    },
    /// The folder is locked and cannot be opened.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database of the mail that the node holds for others cannot be opened.
    #[error(transparent)]
    Held(#[from] MailboxError),
    /// The socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Another error of the system.
    #[error("the node can't start: {0}")]
    System(#[from] std::io::Error),
}

/// Why a running node does not take a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigureError {
    /// The node does not answer.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A list exceeds its limit.
    #[error("a node has {what} at most; this one would have {given}")]
    TooMuch {
        /// The list and its limit.
        what: String,
        /// The given number.
        given: usize,
    },
}

/// Why a node does not answer a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// The store could not answer.
    #[error("the message store could not answer: {0}")]
    Store(String),
    /// The message is not stored here, or no longer. To wait for a message, it must be this node's own.
    #[error("there is no such message here")]
    NoSuchMessage,
    /// This node has no such conversation.
    #[error("there is no conversation {0} here")]
    NoSuchConversation(String),
}

/// Why the profile was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// This is no profile picture.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// The node has not stored it.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Why messages could not be written to a file, or not be taken from one.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The file cannot be used.
    #[error("can't use {}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The file cannot be opened by this node.
    #[error("nothing was imported from {}: {why}", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: SealedError,
    },
    /// The content of the file breaks off, or is no list of frames.
    #[error("{} {why}. The {taken} new messages before that are stored", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The damage.
        why: String,
        /// Messages that were taken before.
        taken: u64,
    },
    /// The peer is this node.
    #[error("that is this node itself")]
    Myself,
    /// The user has blocked the peer.
    #[error("{0} is blocked here")]
    Denied(String),
    /// Other files are being read or written.
    #[error("{0} files are being written or read, the maximum: wait for one")]
    TooMany(usize),
    /// The store cannot read messages for the file.
    #[error("the messages could not be read: {0}")]
    Store(String),
    /// The node could not do it.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl CarryError {
    pub(crate) fn is_of_existing_file(&self) -> bool {
        matches!(self, CarryError::Io { error, .. } if error.kind() == ErrorKind::AlreadyExists)
    }
}

/// Why somebody was not invited, or an invitation was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// There are as many open invitations as there can be.
    #[error("{0} invitations are open, the maximum: wait until one has ended")]
    TooMany(usize),
    /// The node is not in that room.
    #[error("this node is not in {0}: join it first")]
    NotInRoom(RoomName),
    /// Another code is being accepted.
    #[error("another invitation is being accepted: wait until that has ended")]
    Busy,
    /// The invitation is this node's own.
    #[error("that is an invitation of this node itself")]
    Myself,
    /// This node has created no invitation with this number, or it ended long ago.
    #[error("there is no invitation {0} here")]
    NoSuchInvitation(CodeNumber),
    /// No node that can be asked has an invitation of this number.
    #[error(
        "nobody here has the invitation {0}: check the six digits. It ends after ten minutes, and the node that made it must run. If the two of you use different networks, both need a relay in common, or a code that names one"
    )]
    NotFound(CodeNumber),
    /// A relay or a peer answers no more numbers of this network for a while.
    #[error("too many wrong invitation numbers came from this network: try again in an hour")]
    TooOften,
    /// The words were wrong.
    #[error("the words were wrong, so this code is dead: ask for a new one")]
    Wrong,
    /// The connection was lost when the code was used already.
    #[error(
        "the connection was lost while the code was checked, so it is used up: ask for a new one"
    )]
    Lost,
    /// The inviter's data make no sense.
    #[error("you are contacts now, but the room in the invitation is not valid")]
    Letter,
    /// There is no token that could be shared.
    #[error(
        "this node has no token to share: it has proved none to the relay in the code. Invite without sharing the relay"
    )]
    NoTokenToShare,
    /// The program was built without invitations.
    #[error("this hobnob was built without invitations")]
    NotBuilt,
    /// You are contacts now, but the room could not be joined.
    #[error("you are contacts now, but the room could not be joined: {0}")]
    Room(#[from] JoinError),
    /// The peer could not be made a contact.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why two peers were not introduced to each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntroduceError {
    /// Both are the same peer.
    #[error("name two different contacts")]
    Same,
    /// One of the peers is no contact.
    #[error("{0} is no contact of yours")]
    NotAContact(String),
    /// There was no session with one of the peers yet, so nothing shows who it is.
    #[error("this node has never met {0}: introduce {0} after a first session")]
    NeverMet(String),
    /// A message could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl From<NodeError> for IntroduceError {
    fn from(error: NodeError) -> Self {
        IntroduceError::Send(error.into())
    }
}

impl From<NodeError> for InviteError {
    fn from(_: NodeError) -> Self {
        InviteError::Stopped
    }
}

/// Why messages were not erased.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EraseError {
    /// The message is not stored here, or no longer.
    #[error("there is no such message here")]
    NoSuchMessage,
    /// This node has no such conversation.
    #[error("there is no conversation {0} here")]
    NoSuchConversation(String),
    /// This node knows no such address of the peer.
    #[error("this node does not know the peer at {0}")]
    NoSuchAddress(SocketAddr),
    /// The message has left this node, or may have.
    #[error(
        "too late to cancel: the message has left this node, or may have. Use `hobnob delete` to delete it for everybody"
    )]
    HasGoneOut,
    /// Only own messages can be cancelled.
    #[error("this is not your message")]
    NotYours,
    /// Nothing was erased: these messages of this node are not delivered to everybody whom they are
    /// for. The list has at most 100 of them.
    #[error(
        "nothing was erased: {} not delivered yet ({}{})",
        if .0.len() == 1 { "1 message is" } else { "some messages are" },
        .0.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(", "),
        if .0.len() > 3 { ", …" } else { "" }
    )]
    Undelivered(Vec<MessageId>),
    /// The store failed.
    #[error("the messages could not be erased: {0}")]
    Store(String),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

impl From<NodeError> for EraseError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Stopped => EraseError::Stopped,
            NodeError::Store(why) => EraseError::Store(why),
            NodeError::NoSuchMessage => EraseError::NoSuchMessage,
            NodeError::NoSuchConversation(name) => EraseError::NoSuchConversation(name),
        }
    }
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

/// The kind of a failure, for exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A fault of this node or machine.
    Fault,
    /// The request is malformed.
    Usage,
    /// The name belongs to no peer, or to several; or there is no answer at the address.
    NoSuchPeer,
    /// The message that the request names is not stored here.
    NoSuchMessage,
    /// The peer refused.
    Refused,
    /// Another peer answered.
    IdentityMismatch,
}

/// Why a message was not accepted. It is not on disk, and will not be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The name belongs to no peer, or to several.
    #[error(transparent)]
    Name(#[from] ResolveError),
    /// The node has no address of this peer.
    #[error(
        "{0} is not known here: it has not been seen on this network; give an address or a ticket"
    )]
    UnknownId(PersonId),
    /// The host name could not be looked up.
    #[error("{host} can't be found: {why}")]
    Host {
        /// The name.
        host: String,
        /// The error of the system.
        why: String,
    },
    /// There is no answer at the address.
    #[error("nobody can be reached at {addr}: {cause}")]
    Unreachable {
        /// The address.
        addr: String,
        /// The reason.
        cause: String,
        /// Whether the machine answers that nobody listens at this UDP port.
        closed: bool,
    },
    /// Another peer answered at the address.
    #[error(
        "another node answers at {addr}: {found}, not {expected}; the message was not sent to it"
    )]
    IdentityMismatch {
        /// The address.
        addr: String,
        /// The peer that was expected.
        expected: PersonId,
        /// The peer that answered.
        found: PersonId,
    },
    /// The peer answered and refused a session.
    #[error("the node at {addr} refused: {why}")]
    Refused {
        /// The address.
        addr: String,
        /// Its reason.
        why: String,
    },
    /// A node of another version answers there.
    #[error("{addr} speaks another protocol: {why}")]
    OtherVersion {
        /// The address.
        addr: String,
        /// The advice for the user.
        why: String,
    },
    /// The target is this node.
    #[error("that is this node itself")]
    Myself,
    /// The peer is blocked here.
    #[error("{0} is blocked here: `hobnob unblock {0}` first")]
    Blocked(String),
    /// A peer answered that uses the name of a verified one.
    #[error(
        "the node that answered ({0}) uses the name of a peer that you have verified with another key; nothing was sent"
    )]
    NameTaken(PersonId),
    /// The message is not valid.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The message to answer, edit or react to is not stored here, or no longer.
    #[error("there is no such message here")]
    NoSuchMessage,
    /// Only the author of a message can edit it.
    #[error("this is not your message: only {0} can edit it")]
    NotYours(String),
    /// The message has no text that could be edited.
    #[error("only a text can be edited: delete the message, and send another one")]
    NotEditable,
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
    /// The kind of this failure.
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
            SendError::Body(_) | SendError::NotYours(_) | SendError::NotEditable => Cause::Usage,
            SendError::NoSuchMessage => Cause::NoSuchMessage,
            SendError::NotInRoom(_) | SendError::Store(_) | SendError::Stopped => Cause::Fault,
        }
    }

    /// The error for the user whose message needed this dial.
    pub(super) fn dial(addr: String, error: DialError) -> Self {
        match error {
            DialError::IdentityMismatch { expected, found } => Self::IdentityMismatch {
                addr,
                expected: expected.person(),
                found: found.person(),
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
                closed: false,
            },
        }
    }
}

/// Why a policy was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The peer is this node.
    #[error("that is this node itself")]
    Myself,
    /// There are policies about too many peers.
    #[error("{POLICIES_MAX} peers are ignored, blocked or verified, the maximum: undo one first")]
    TooMany,
    /// The change applies until this node stops, because it could not be stored.
    #[error("the change applies until the node stops, because it could not be stored: {0}")]
    Store(String),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a room cannot be joined or left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// The node is in too many rooms.
    #[error("a node can be in {0} rooms at most: leave one first")]
    TooMany(usize),
    /// The passphrase is empty, too long or easy to guess.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// Everybody can enter an open room by its name, so it has no ticket.
    #[error("{0} is open: others join it by its name")]
    IsOpen(RoomName),
    /// The node is in a room with this name and another secret.
    #[error(
        "this node is in another room called {0} already, with another secret or with none: leave that room first, or choose another name"
    )]
    OtherSecret(RoomName),
    /// The node is not in that room.
    #[error("this node is not in {0}")]
    NotInRoom(RoomName),
    /// The change could not be stored.
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

impl From<NodeError> for SendError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Store(why) => SendError::Store(why),
            NodeError::Stopped | NodeError::NoSuchMessage | NodeError::NoSuchConversation(_) => {
                SendError::Stopped
            }
        }
    }
}

impl From<NodeError> for JoinError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Store(why) => JoinError::Store(why),
            NodeError::Stopped | NodeError::NoSuchMessage | NodeError::NoSuchConversation(_) => {
                JoinError::Stopped
            }
        }
    }
}
