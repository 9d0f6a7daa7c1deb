//! Files, as a node's users see them: offered, accepted, declined, listed. The content of what is
//! accepted comes by itself, whatever happens meanwhile, and lands in the downloads folder when it
//! is whole.

use std::path::PathBuf;

use hobnob_protocol::{Offer, PeerId};
use serde::{Deserialize, Serialize};

use super::transfers::messages::{FileCommand, ToTransfers};
use crate::{ConversationRef, MessageId, Node, PathKind, SendError, Sent};
use hobnob_protocol::{Body, RoomName, Target};
use tokio::sync::oneshot;

/// How a node is to receive files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Where they go. Made when the first one is accepted. What is on its way already goes on where
    /// it was begun.
    pub downloads: PathBuf,
    /// Whose direct offers are accepted without asking.
    pub accept_from: Vec<AcceptFrom>,
    /// The largest that is accepted without asking, in bytes; none: any.
    pub size_max: Option<u64>,
}

impl FilesConfig {
    /// Nothing is accepted without asking.
    pub fn new(downloads: PathBuf) -> Self {
        Self {
            downloads,
            accept_from: Vec::new(),
            size_max: None,
        }
    }
}

/// Whose direct offers are accepted without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptFrom {
    /// This peer's.
    Peer(PeerId),
    /// Those of peers that this node's user has verified.
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

/// What has become of an offered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileState {
    /// Nobody has decided yet; one's own can be had.
    Offered,
    /// Accepted; nobody who has it is at hand, or there is no room for it.
    Waiting,
    /// It is coming, or going.
    Moving,
    /// All of it is there.
    Done,
    /// Not wanted; or taken back.
    Declined,
    /// It can't be had.
    Failed,
}

impl FileState {
    /// The word for it on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            FileState::Offered => "offered",
            FileState::Waiting => "waiting",
            FileState::Moving => "moving",
            FileState::Done => "done",
            FileState::Declined => "declined",
            FileState::Failed => "failed",
        }
    }
}

/// An offered file or folder, and how things stand with it: with our own, at the peer that is
/// named.
#[derive(Debug, Clone, PartialEq)]
pub struct FileInfo {
    /// The id of the message that offers it.
    pub id: MessageId,
    /// Where it was offered.
    pub conversation: ConversationRef,
    /// Who offers it.
    pub from: PeerId,
    /// Their name to show.
    pub name: String,
    /// What is offered.
    pub offer: Offer,
    /// Whether it is our own.
    pub own: bool,
    /// How things stand.
    pub state: FileState,
    /// Bytes that are here; of our own: that this run has sent.
    pub bytes: u64,
    /// Bytes per second, while it moves.
    pub rate: Option<u64>,
    /// Who sends it; of our own: to whom it goes or went.
    pub peers: Vec<PeerId>,
    /// By which way, to the first of them.
    pub path: Option<PathKind>,
    /// Where it is, once it is here. Of our own, [`Node::files`] tells it, events do not.
    pub place: Option<PathBuf>,
    /// What picture it is (PNG, JPEG, GIF or WebP), once its content is here.
    pub picture: Option<Picture>,
    /// Why it is so.
    pub why: Option<String>,
    /// When the offer came or was made, in milliseconds since the Unix epoch.
    pub received_at_ms: u64,
}

/// A picture file whose content is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels, as the file says. Nobody has looked whether the rest of the file is so.
    pub width: u32,
    /// Likewise.
    pub height: u32,
    /// Where the file is: one's own where it was offered, a received one where it was saved.
    pub path: PathBuf,
}

/// Why nothing came of something about files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The path can't be offered.
    #[error("{0}")]
    Path(String),
    /// Nobody has offered that.
    #[error("there is no offer with that id: `hobnob files` lists them")]
    NoSuchOffer,
    /// It is this node's own.
    #[error("that is this node's own offer")]
    Own,
    /// It is here.
    #[error("that is here already: {0}")]
    Here(String),
    /// There are too many.
    #[error("{0} files are on their way, which is as many as can be: wait for one, or decline one")]
    TooMany(usize),
    /// There is no room.
    #[error("there is no room for it in {folder}: it needs {needs} bytes, and {free} are free")]
    NoRoom {
        /// The downloads folder.
        folder: String,
        /// How many bytes it needs.
        needs: u64,
        /// How many there are.
        free: u64,
    },
    /// The downloads folder can't be used.
    #[error("can't use the downloads folder {folder}: {why}; name another with --downloads")]
    Downloads {
        /// The folder.
        folder: String,
        /// What the system says.
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
    /// The file can't be.
    #[error(transparent)]
    File(#[from] FileError),
    /// The message can't be sent.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Node {
    /// Offers what is at `path`, a file or a folder, to a peer. It must stay there as it is until
    /// it was fetched.
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
        let body = Body::Offer(self.prepare(path).await?);
        Ok(self.send(Target::Id(peer), body).await?)
    }

    /// Offers what is at `path` to those who are in a room.
    pub async fn offer_in(&self, room: RoomName, path: PathBuf) -> Result<Sent, OfferError> {
        let body = Body::Offer(self.prepare(path).await?);
        Ok(self.broadcast(room, body).await?)
    }

    /// Fetches what was offered, now or as soon as somebody who has it is there. Returns once that
    /// is decided and on disk.
    pub async fn accept(&self, offer: MessageId) -> Result<(), FileError> {
        self.ask_transfers(|reply| FileCommand::Accept(offer, reply))
            .await
    }

    /// Says no to an offer, ends its transfer, or takes an own offer back. The other side is told.
    pub async fn decline(&self, offer: MessageId) -> Result<(), FileError> {
        self.ask_transfers(|reply| FileCommand::Decline(offer, reply))
            .await
    }

    /// The newest offers, at most a thousand, oldest first.
    pub async fn files(&self) -> Result<Vec<FileInfo>, FileError> {
        self.ask_transfers(FileCommand::List).await
    }

    async fn prepare(&self, path: PathBuf) -> Result<Offer, FileError> {
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
