//! Everything that can happen to a replica, and everything that it can ask for or say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use hobnob_protocol::{
    Batch, Body, CheckedBatch, ConversationId, Frame, LogName, PeerId, Ranges, RoomKey, RoomName,
    Seq,
};

use super::refusal::Refusal;
use crate::SessionId;
use crate::commit::{Commit, CommitId};

/// Names an append until it is durable: chosen by whoever asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Everything that can happen to a replica.
#[derive(Debug)]
pub enum Input {
    /// The user says something. Its conversation must exist: see [`Input::OpenDirect`] and
    /// [`Input::Join`].
    Append {
        /// To be named in the answer.
        token: Token,
        /// Where.
        conversation: ConversationId,
        /// What; it has passed [`Body::check`].
        body: Body,
    },
    /// There is a conversation with this peer from now on.
    OpenDirect(PeerId),
    /// This node is in this room from now on; answered by [`Output::Stored`].
    Join {
        /// To be named in the answer.
        token: Token,
        /// Its name.
        name: RoomName,
        /// Its key.
        key: RoomKey,
        /// Whether it has no secret.
        open: bool,
    },
    /// This node is no longer in this room; answered by [`Output::Stored`].
    Part(Token, ConversationId),
    /// From now on nothing of this author is taken, asked for or passed on. What is on disk stays
    /// there.
    Block(PeerId),
    /// This author is like all others again: what was missed is asked for.
    Unblock(PeerId),
    /// A session is up: both Hellos were exchanged.
    SessionUp(SessionId, PeerId),
    /// These are the rooms of which both ends have proved to each other that they are members, now.
    SessionRooms(SessionId, BTreeSet<ConversationId>),
    /// A session has ended, with or without a goodbye from the peer.
    SessionDown {
        /// Which.
        session: SessionId,
        /// Whether it was an orderly one.
        goodbye: bool,
    },
    /// The peer answered something that was asked after the last change of our network.
    Confirmed(SessionId),
    /// A frame that is about logs came.
    Frame(SessionId, Frame),
    /// A batch came.
    Batch(SessionId, Batch),
    /// So many bytes of batches were written to the session's stream.
    BatchesWritten(SessionId, usize),
    /// So many bytes of other frames were written to the session's stream.
    FramesWritten(SessionId, usize),
    /// The commit is on disk.
    Committed(CommitId),
    /// The commit is not on disk, and nothing of it is.
    CommitFailed(CommitId, String),
    /// The answer to [`Output::Read`].
    Read(SessionId, LogName, Result<Vec<Batch>, String>),
    /// The answer to [`Output::FindNewcomerCut`]: the first entry of each log that a newcomer may
    /// have.
    NewcomerCut(SessionId, ConversationId, BTreeMap<LogName, Seq>),
    /// The networks that this node is on are others than before.
    NetworkChanged(u64),
    /// The node is about to stop: what is kept lazily is to be kept now.
    Flush,
    /// It is later than the last [`Replica::poll_timeout`](super::Replica::poll_timeout) said.
    Timeout,
}

/// Everything that a replica can ask for or say.
#[derive(Debug)]
pub enum Output {
    /// Make this durable, in order, and answer.
    Commit(Commit),
    /// Write this frame to the session's control stream.
    Send(SessionId, Bytes),
    /// Write this frame to the session's batch stream.
    SendBatch(SessionId, Bytes),
    /// Read batches from `from` on, to `to` or a little further, and answer.
    Read {
        /// For this session.
        session: SessionId,
        /// Of this log.
        name: LogName,
        /// The first entry.
        from: Seq,
        /// The last one needed.
        to: Seq,
    },
    /// Find the last [`NEWCOMER_ENTRIES`](super::NEWCOMER_ENTRIES) entries of the room that came since `since_ms`,
    /// and answer.
    FindNewcomerCut {
        /// For this session.
        session: SessionId,
        /// In this room.
        conversation: ConversationId,
        /// Milliseconds since the Unix epoch.
        since_ms: u64,
    },
    /// The session may deliver so many more batches.
    Release(SessionId, usize),
    /// Appends are durable.
    Appended {
        /// As given.
        tokens: Vec<Token>,
        /// What they became: an entry each, in order.
        batch: Arc<CheckedBatch>,
    },
    /// An append is not durable and never will be.
    AppendFailed(Token, String),
    /// A join or part is durable.
    Stored(Token),
    /// A join or part is not durable.
    StoreFailed(Token, String),
    /// Entries from somebody are durable: each comes out once, an author's in the order of its
    /// logs.
    Received {
        /// The batch that holds them.
        batch: Arc<CheckedBatch>,
        /// The first that is new.
        first: Seq,
        /// The last that is new.
        last: Seq,
        /// When it came, in milliseconds since the Unix epoch.
        received_at_ms: u64,
    },
    /// Entries of our own were written to a session with this peer.
    Sent(LogName, PeerId, Seq, Seq),
    /// The peer has these entries of ours on disk; only what is new is named.
    Delivered(LogName, PeerId, Ranges),
    /// So many entries of our own, which this store did not have, came back from a peer.
    OwnRestored(ConversationId, PeerId, u64),
    /// What came on a session was refused.
    Refused(SessionId, Refusal),
}
