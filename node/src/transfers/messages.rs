//! What transfers and the engine say to each other.

use std::path::PathBuf;
use std::sync::Arc;

use hobnob_protocol::{Offer, OfferId, OfferWord, PeerId};
use tokio::sync::oneshot;

use crate::net::content::{ContentOpener, ContentStream};
use crate::{FileError, FileInfo, FileState, MessageId};
use hobnob_core::SessionId;

/// What transfers hear of the engine, and of the node's users.
#[derive(Debug)]
pub(crate) enum ToTransfers {
    /// A session whose peer serves content is up.
    Up(SessionId, PeerId, ContentOpener),
    /// It has ended.
    Down(SessionId),
    /// The peer at the other end of a session wants to ask for content.
    Stream(SessionId, ContentStream),
    /// A peer that may have the offer's entry says this of it.
    Word(PeerId, OfferId, OfferWord),
    /// An offer is on disk.
    Offered {
        /// Which.
        id: OfferId,
        /// What.
        offer: Offer,
        /// Whether its author was verified by this node's user.
        verified: bool,
        /// When it came.
        received_at_ms: u64,
    },
    /// A user wants something.
    Command(FileCommand),
}

/// What users want of transfers.
#[derive(Debug)]
pub(crate) enum FileCommand {
    /// Read what is at this path, so that it can be offered.
    Prepare(PathBuf, oneshot::Sender<Result<Offer, FileError>>),
    /// Fetch what was offered.
    Accept(MessageId, oneshot::Sender<Result<(), FileError>>),
    /// Don't, or no more; of an own offer: take it back.
    Decline(MessageId, oneshot::Sender<Result<(), FileError>>),
    /// All offers and what has become of them.
    List(oneshot::Sender<Result<Vec<FileInfo>, FileError>>),
}

/// How things stand with an offer, before the engine has put names to it.
#[derive(Debug, Clone)]
pub(crate) struct FileNews {
    pub(crate) id: OfferId,
    pub(crate) offer: Offer,
    pub(crate) received_at_ms: u64,
    pub(crate) state: FileState,
    pub(crate) bytes: u64,
    pub(crate) rate: Option<u64>,
    pub(crate) peers: Vec<PeerId>,
    pub(crate) place: Option<PathBuf>,
    pub(crate) why: Option<String>,
}

/// What transfers ask of the engine.
#[derive(Debug)]
pub(crate) enum FromTransfers {
    /// Whether the peer at the other end may have this entry.
    MayHave(SessionId, OfferId, oneshot::Sender<bool>),
    /// Say this to everybody who may have the entry; or, of them, on one session only.
    Say(OfferId, OfferWord, Option<SessionId>),
    /// Tell the node's users.
    News(Vec<FileNews>),
    /// Put names to these.
    Name(
        Vec<FileNews>,
        oneshot::Sender<Result<Vec<FileInfo>, FileError>>,
    ),
}

/// Sends requests to the engine. How they get there is the engine's business.
#[derive(Clone)]
pub(crate) struct EngineLine(Arc<dyn Fn(FromTransfers) + Send + Sync>);

impl EngineLine {
    pub(crate) fn new(send: impl Fn(FromTransfers) + Send + Sync + 'static) -> Self {
        Self(Arc::new(send))
    }

    /// Sends a request. When the node stops, the engine may end first; then nobody answers.
    pub(super) fn send(&self, what: FromTransfers) {
        (self.0)(what);
    }

    /// Whether the peer at the other end of a session may have an entry.
    pub(super) async fn may_have(&self, session: SessionId, offer: OfferId) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(FromTransfers::MayHave(session, offer, reply));
        answer.await.unwrap_or(false)
    }
}
