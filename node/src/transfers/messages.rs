//! Messages between the transfer task, the engine, and the node's users.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_protocol::{DeviceId, OfferId, OfferWord, PersonId};
use tokio::sync::oneshot;

use crate::net::content::{ContentOpener, ContentStream};
use crate::store::StoredOffer;
use crate::{
    AcceptFrom, BandwidthLimits, FileError, FileInfo, FileState, MessageId, PreparedOffer,
};

/// A message of the engine, or of the node's users, to the transfer task.
#[derive(Debug)]
pub(crate) enum ToTransfers {
    /// A session has begun whose peer serves content.
    SessionUp(SessionId, DeviceId, ContentOpener),
    /// A session has ended.
    SessionDown(SessionId),
    /// The peer of a session opened a stream to request content.
    ContentStream(SessionId, ContentStream),
    /// A peer that may have the offer's entry sent a word about the offer.
    PeerWord(PersonId, OfferId, OfferWord),
    /// The entry of an offer is on disk.
    Offered {
        offer: StoredOffer,
        /// Whether the user has verified its author.
        verified: bool,
    },
    /// Offers were erased: remove the contents that no offer names any more, and answer.
    RemoveContents(oneshot::Sender<Result<(), String>>),
    /// A part of the content of an offer has arrived by mail. The engine is told when it is on
    /// disk, or can't be.
    MailedPart {
        id: OfferId,
        part: u8,
        bytes: Bytes,
        session: SessionId,
    },
    /// Read the content of an offer of this node for a session by mail.
    ReadForMail(SessionId, OfferId),
    /// The user has other rules for transfers.
    Configure {
        accept_from: Vec<AcceptFrom>,
        size_max: Option<u64>,
        limits: BandwidthLimits,
    },
    /// A user's command.
    Command(FileCommand),
}

/// A user's command about files.
#[derive(Debug)]
pub(crate) enum FileCommand {
    /// Make an offer of the file or folder at this path.
    Prepare(PathBuf, oneshot::Sender<Result<PreparedOffer, FileError>>),
    /// Download an offer.
    Accept(MessageId, oneshot::Sender<Result<(), FileError>>),
    /// Decline an offer and end its download, or withdraw an offer of this node.
    Decline(MessageId, oneshot::Sender<Result<(), FileError>>),
    /// Pause a download.
    Pause(MessageId, oneshot::Sender<Result<(), FileError>>),
    /// List the offers with their states.
    List(oneshot::Sender<Result<Vec<FileInfo>, FileError>>),
}

/// The content of an offer of this node, for a session by mail.
#[derive(Debug)]
pub(crate) enum MailContent {
    /// All of it.
    Read(Bytes),
    /// The user has paused the sending.
    Paused,
    /// There is none to send.
    None,
}

/// The state of an offer. The engine adds the names of peers and conversations.
#[derive(Debug, Clone)]
pub(crate) struct FileUpdate {
    pub(crate) offer: StoredOffer,
    pub(crate) state: FileState,
    /// Bytes that are here, or of an offer of this node, bytes that were sent.
    pub(crate) bytes: u64,
    /// Bytes per second.
    pub(crate) rate: Option<u64>,
    /// The peers that send the content, or of an offer of this node, the peer that receives it.
    pub(crate) peers: Vec<PersonId>,
    pub(crate) place: Option<PathBuf>,
    pub(crate) why: Option<String>,
}

impl FileUpdate {
    /// A state in which nothing is transferred.
    pub(super) fn new(offer: StoredOffer, state: FileState) -> Self {
        Self {
            offer,
            state,
            bytes: 0,
            rate: None,
            peers: Vec::new(),
            place: None,
            why: None,
        }
    }

    /// Whether this peer made the offer.
    pub(super) fn is_by(&self, peer: PersonId) -> bool {
        self.offer.id.name.author == peer
    }
}

/// A message of the transfer task to the engine.
#[derive(Debug)]
pub(crate) enum FromTransfers {
    /// Answer whether the peer of a session may have this entry.
    MayHave(SessionId, OfferId, oneshot::Sender<bool>),
    /// Send a word to all peers that may have the entry, or only on one session.
    SendWord(OfferId, OfferWord, Option<SessionId>),
    /// A part of a content that arrived in this session by mail is on disk, or can't be.
    PartStored(SessionId),
    /// The content of an offer of this node, for a session by mail.
    ReadForMail(SessionId, OfferId, MailContent),
    /// Report states to the node's users.
    Publish(Vec<FileUpdate>),
    /// Answer with the states, names added.
    Describe(
        Vec<FileUpdate>,
        oneshot::Sender<Result<Vec<FileInfo>, FileError>>,
    ),
}

/// Sends requests to the engine.
#[derive(Clone)]
pub(crate) struct EngineHandle(Arc<dyn Fn(FromTransfers) + Send + Sync>);

impl EngineHandle {
    /// `send` passes a request to the engine's queue.
    pub(crate) fn new(send: impl Fn(FromTransfers) + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }

    /// Sends a request. When the node stops, the engine may end first. Then nobody answers.
    pub(super) fn send(&self, request: FromTransfers) {
        (self.0)(request);
    }

    /// Whether the peer of a session may have an entry. False if the engine has ended.
    pub(super) async fn may_have(&self, session: SessionId, offer: OfferId) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(FromTransfers::MayHave(session, offer, reply));
        answer.await.unwrap_or(false)
    }
}
