//! Files in the public API: offer, accept, decline, list.
//!
//! Not here: the transfers (`transfers`). An accepted file is downloaded in the background, across
//! restarts and lost connections. It appears in the downloads folder when it is complete.

use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hobnob_protocol::{Offer, PersonId};
use serde::{Deserialize, Serialize, Serializer};

use super::transfers::messages::{FileCommand, ToTransfers};
use crate::{ConversationRef, MessageId, Node, PathKind, SendError, Sent};
use hobnob_protocol::{Body, RoomName, Target};
use tokio::sync::oneshot;

/// How a node is to receive files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// The downloads folder. It is created when the first file is accepted. Downloads in progress
    /// stay in the folder they started in.
    pub downloads: PathBuf,
    /// The peers whose direct offers are accepted automatically.
    pub accept_from: Vec<AcceptFrom>,
    /// The largest file in bytes that is accepted automatically. `None` means any size.
    pub size_max: Option<u64>,
    /// Whether a received file is executable if the offered one is. Default: no.
    pub keep_executable: bool,
    /// Limits of the speed of transfers. Default: none.
    pub limits: BandwidthLimits,
}

impl FilesConfig {
    /// Nothing is accepted without asking.
    pub fn new(downloads: PathBuf) -> Self {
        Self {
            downloads,
            accept_from: Vec::new(),
            size_max: None,
            keep_executable: false,
            limits: BandwidthLimits::default(),
        }
    }
}

/// Limits of the speed of file transfers, in bytes a second. Messages have no limit.
#[derive(Clone, Default)]
pub struct BandwidthLimits {
    /// Of all downloads together.
    pub download: Option<NonZeroU64>,
    /// Of all uploads together.
    pub upload: Option<NonZeroU64>,
    /// Of each transfer, in either direction.
    pub each: Option<NonZeroU64>,
    /// Whether the limits apply at this moment, for example by the time of day. It is called before
    /// each piece of 64 KiB. `None` means that they always apply.
    pub applies: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

impl BandwidthLimits {
    pub(crate) fn apply_now(&self) -> bool {
        let is_set = self.numbers().iter().any(Option::is_some);
        is_set && self.applies.as_ref().is_none_or(|applies| applies())
    }

    fn numbers(&self) -> [Option<NonZeroU64>; 3] {
        [self.download, self.upload, self.each]
    }
}

impl fmt::Debug for BandwidthLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sometimes = self.applies.is_some();
        f.debug_struct("BandwidthLimits")
            .field("numbers", &self.numbers())
            .field("sometimes", &sometimes)
            .finish()
    }
}

impl PartialEq for BandwidthLimits {
    fn eq(&self, other: &Self) -> bool {
        let same_times = match (&self.applies, &other.applies) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_times && self.numbers() == other.numbers()
    }
}

impl Eq for BandwidthLimits {}

/// Whose direct offers are accepted without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFrom {
    /// Offers from this peer.
    Peer(PersonId),
    /// Offers from peers that the user has verified.
    Verified,
}

impl std::str::FromStr for AcceptFrom {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "verified" => Ok(AcceptFrom::Verified),
            id => id
                .parse()
                .map(AcceptFrom::Peer)
                .map_err(|_| "give a peer's whole id, or `verified`"),
        }
    }
}

/// The state of an offered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// The recipient has not decided. An offer of this node is available to its recipients.
    Offered,
    /// Accepted, but no peer that has it is connected, or the disk is full.
    Waiting,
    /// The user paused the download, or the sending of a file of this node. The part that is here
    /// stays, for [`Node::accept`].
    Paused,
    /// The content is being transferred.
    Moving,
    /// The recipient has all of it.
    Done,
    /// The recipient declined, or the sender withdrew the offer.
    Declined,
    /// The content is not available.
    Failed,
}

impl FileState {
    /// The word for it on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            FileState::Offered => "offered",
            FileState::Waiting => "waiting",
            FileState::Paused => "paused",
            FileState::Moving => "moving",
            FileState::Done => "done",
            FileState::Declined => "declined",
            FileState::Failed => "failed",
        }
    }
}

/// An offered file or folder, and the state of its transfer. For an offer of this node, that is the
/// transfer to the peer that is named.
#[derive(Debug, Clone, PartialEq)]
pub struct FileInfo {
    /// The id of the message with the offer.
    pub id: MessageId,
    /// The conversation of the offer.
    pub conversation: ConversationRef,
    /// The peer that made the offer.
    pub from: PersonId,
    /// The name of this peer to show.
    pub name: String,
    /// The offer.
    pub offer: Offer,
    /// Whether this node made the offer.
    pub own: bool,
    /// The state.
    pub state: FileState,
    /// Bytes that are here. For an offer of this node, bytes that this run has sent.
    pub bytes: u64,
    /// Bytes per second during a transfer.
    pub rate: Option<u64>,
    /// The peers that send the content. For an offer of this node, the peer that receives it.
    pub peers: Vec<PersonId>,
    /// How the session reaches the first of `peers`.
    pub path: Option<PathKind>,
    /// The path of the complete file or folder. For own offers only [`Node::files`] has it, and
    /// events do not.
    pub place: Option<PathBuf>,
    /// The picture (PNG, JPEG, GIF or WebP) in a complete file.
    pub picture: Option<Picture>,
    /// The reason for the state.
    pub why: Option<String>,
    /// When this node received or made the offer, in milliseconds since the Unix epoch.
    pub received_at_ms: u64,
}

/// A complete picture file. This type is also the JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Picture {
    /// The width in pixels, from the beginning of the file. The node does not decode the rest.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// The path of the file.
    ///
    /// JSON has no bytes that are not UTF-8. They become U+FFFD there.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
}

fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// An offer of a file or folder on this machine, as [`Node::prepare_offer`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedOffer {
    /// The offer, to be sent as [`Body::Offer`].
    pub offer: Offer,
    /// The paths in a folder that the offer does not contain, each with the reason: links, sockets,
    /// devices, and files that can't be read. At most 100, and then a line with the number of
    /// others.
    pub left_out: Vec<String>,
}

/// Why a request about files failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The file or folder at the path can't be offered.
    #[error("{0}")]
    Path(String),
    /// No offer has this id.
    #[error("there is no offer with that id: `hobnob files` lists them")]
    NoSuchOffer,
    /// The offer is from this node.
    #[error("that is this node's own offer")]
    Own,
    /// The file is here already.
    #[error("that is here already: {0}")]
    Here(String),
    /// Only a download that has begun, or an offer of this node that is open, can be paused.
    #[error(
        "this file neither waits nor is being transferred: if it was accepted just now, try again"
    )]
    NotMoving,
    /// The disk does not have enough space.
    #[error("{folder} has too little space: the download needs {needs} bytes, and {free} are free")]
    NoRoom {
        /// The downloads folder.
        folder: String,
        /// Bytes that the download needs.
        needs: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The downloads folder can't be used.
    #[error("can't use the downloads folder {folder}: {why}; use another one")]
    Downloads {
        /// The folder.
        folder: String,
        /// The error of the system.
        why: String,
    },
    /// The store could not answer.
    #[error("the message store could not answer: {0}")]
    Store(String),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// Why a file was not offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// The file is not usable.
    #[error(transparent)]
    File(#[from] FileError),
    /// The message can't be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Node {
    /// Offers a file or folder to a peer. It must stay at `path`, unchanged, until the peer has
    /// downloaded it.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// use hobnob::{Event, FileState};
    ///
    /// let path = dir.path().join("notes.txt");
    /// std::fs::write(&path, "milk, bread")?;
    /// let mut events = bob.events();
    /// let sent = ann.offer(bob.status().await?.ticket.into(), path).await?;
    /// let place = loop {
    ///     let Event::File(file) = events.next().await? else { continue };
    ///     match file.state {
    ///         FileState::Offered => bob.accept(file.id).await?,
    ///         FileState::Done => break file.place.expect("it is here"),
    ///         _ => assert_eq!(file.id, sent.id),
    ///     }
    /// };
    /// assert_eq!(std::fs::read_to_string(place)?, "milk, bread");
    /// # Ok(()) }
    /// ```
    pub async fn offer(&self, target: Target, path: PathBuf) -> Result<Sent, OfferError> {
        let peer = self.resolve(target).await?;
        let prepared = self.prepare_offer(path).await?;
        let sent = self.send(Target::Id(peer), Body::Offer(prepared.offer));
        Ok(Sent {
            left_out: prepared.left_out,
            ..sent.await?
        })
    }

    /// Offers a file or folder to the members of a room.
    pub async fn offer_in(&self, room: RoomName, path: PathBuf) -> Result<Sent, OfferError> {
        let prepared = self.prepare_offer(path).await?;
        let sent = self.broadcast(room, Body::Offer(prepared.offer));
        Ok(Sent {
            left_out: prepared.left_out,
            ..sent.await?
        })
    }

    /// Downloads an offer, now or as soon as a peer that has it is connected. An offer of this node
    /// that is paused is sent again. Returns when the decision is on disk.
    pub async fn accept(&self, offer: MessageId) -> Result<(), FileError> {
        self.ask_transfers(|reply| FileCommand::Accept(offer, reply))
            .await
    }

    /// Declines an offer, ends its transfer, or withdraws an offer of this node. The other side is
    /// notified.
    pub async fn decline(&self, offer: MessageId) -> Result<(), FileError> {
        self.ask_transfers(|reply| FileCommand::Decline(offer, reply))
            .await
    }

    /// Pauses a download, or the sending of a file of this node, also for later runs.
    /// [`Node::accept`] continues it. The part that is here stays on disk. Recipients of a file of
    /// this node keep what they have, and learn that they have to wait.
    ///
    /// # Errors
    ///
    /// [`FileError::NotMoving`] if the offer is neither a download that has begun nor one of this
    /// node that its recipient lacks.
    pub async fn pause(&self, offer: MessageId) -> Result<(), FileError> {
        self.ask_transfers(|reply| FileCommand::Pause(offer, reply))
            .await
    }

    /// The newest offers, at most a thousand, oldest first.
    pub async fn files(&self) -> Result<Vec<FileInfo>, FileError> {
        self.ask_transfers(FileCommand::List).await
    }

    /// Reads a file or folder, and returns an offer of it. Sent as [`Body::Offer`], it has the same
    /// effect as [`Node::offer`], which waits for the reading and sends at once.
    pub async fn prepare_offer(&self, path: PathBuf) -> Result<PreparedOffer, FileError> {
        self.ask_transfers(|reply| FileCommand::Prepare(path, reply))
            .await
    }

    async fn ask_transfers<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, FileError>>) -> FileCommand,
    ) -> Result<T, FileError> {
        let (reply, answer) = oneshot::channel();
        self.transfers
            .send(ToTransfers::Command(command(reply)))
            .map_err(|_| FileError::Stopped)?;
        answer.await.map_err(|_| FileError::Stopped)?
    }
}
