//! Everything that can happen to a replica, and everything that it can ask for or report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use hobnob_protocol::{
    Batch, Body, CheckedBatch, ConversationId, DeviceId, Frame, LogId, LogName, PersonId, Ranges,
    RoomKey, RoomName, Seq, Signature,
};

use super::refusal::Refusal;
use crate::commit::{Commit, CommitId, NetworkId};
use crate::source_network::SourceNetwork;
use crate::{ClientId, SessionId};

/// A number that the caller chooses, to recognise the answer to an append, a join or a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A room with a key in which a member that is away gets mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailedRoom {
    /// The room.
    pub id: ConversationId,
    /// Our own newest entry, by log and number, when the peer became a member. It gets what follows.
    /// `None`: there was none.
    pub after: Option<(LogId, Seq)>,
}

/// Which bodies to erase.
#[derive(Debug, Clone)]
pub struct EraseWhat {
    /// The entries. `None` means all of the conversation.
    pub only: Option<BTreeMap<LogName, Ranges>>,
    /// The treatment of our own entries that an intended recipient has not confirmed.
    pub undelivered: Undelivered,
}

/// The treatment of undelivered messages when others are erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// They are erased, too. Their recipients get them without their bodies.
    Erase,
    /// They stay.
    Keep,
    /// Nothing is erased, and they are listed.
    Ask,
}

/// Everything that can happen to a replica.
#[derive(Debug)]
pub enum Input {
    /// The user writes a message. The conversation must exist: see [`Input::OpenDirect`] and
    /// [`Input::Join`]. Answered by [`Output::Appended`] or [`Output::AppendFailed`].
    Append {
        /// Appears in the answer.
        token: Token,
        /// The conversation to write to.
        conversation: ConversationId,
        /// The message. It has passed [`Body::check`].
        body: Body,
    },
    /// The append with this token, which follows, has this name: see [`Op::ClientId`].
    ///
    /// [`Op::ClientId`]: crate::commit::Op::ClientId
    NameAppend(Token, ClientId),
    /// A direct conversation with this peer exists from now on.
    OpenDirect(PersonId),
    /// The user enters this room. Answered by [`Output::Stored`] or [`Output::StoreFailed`].
    Join {
        /// Appears in the answer.
        token: Token,
        /// The room's name.
        name: RoomName,
        /// The room's key.
        key: RoomKey,
    },
    /// The user leaves this room. Answered by [`Output::Stored`] or [`Output::StoreFailed`].
    Part(Token, ConversationId),
    /// The user erases messages on this node. Answered by [`Output::Stored`],
    /// [`Output::StoreFailed`] or [`Output::EraseRefused`].
    Erase(Token, ConversationId, EraseWhat),
    /// From now on, entries of this author are not accepted, requested or forwarded. Entries on
    /// disk stay there.
    Block(PersonId),
    /// The block of this author ends. Entries that were missed are requested.
    Unblock(PersonId),
    /// The user accepts this peer: from now on, its direct messages are no request.
    Accept(PersonId),
    /// The user does not accept this peer any more. Its later direct messages are a request.
    Unaccept(PersonId),
    /// A session is up: both Hellos were exchanged. The first network is the one of this machine by
    /// which the peer was reached, or `None` for a relay, which this machine does not leave when it
    /// changes networks. The other one is where the peer connects from.
    SessionUp(SessionId, DeviceId, Option<NetworkId>, SourceNetwork),
    /// A session by mail: its frames travel in envelopes, while the peer is away. Both ends share
    /// one conversation.
    MailUp {
        /// The session.
        session: SessionId,
        /// The peer's device.
        peer: DeviceId,
        /// Where envelopes are held.
        source: SourceNetwork,
        /// The room that it is about. `None`: the direct conversation.
        room: Option<MailedRoom>,
        /// Entries of our own that are held for the peer. They are not sent again without a request.
        held: Vec<(LogName, Ranges)>,
        /// Whether the peer must get receipts for all of its entries.
        receipts: bool,
    },
    /// The rooms that both ends of the session are in, as they have proved to each other.
    SessionRooms(SessionId, BTreeSet<ConversationId>),
    /// A session has ended.
    SessionDown {
        /// The session.
        session: SessionId,
        /// Whether the peer said goodbye.
        goodbye: bool,
    },
    /// The peer has answered a question that was asked after our networks last changed. The network
    /// is the one by which the peer is reached now.
    Confirmed(SessionId, Option<NetworkId>),
    /// A frame about logs arrived.
    Frame(SessionId, Frame),
    /// A batch arrived.
    Batch(SessionId, Batch),
    /// This many bytes of batches were written to the session's stream.
    BatchesWritten(SessionId, usize),
    /// This many bytes of other frames were written to the session's stream.
    FramesWritten(SessionId, usize),
    /// The commit is on disk.
    Committed(CommitId),
    /// The commit failed: nothing of it is on disk. The text is for people.
    CommitFailed(CommitId, String),
    /// The answer to [`Output::Read`].
    Read(SessionId, LogName, Result<Vec<Batch>, String>),
    /// The answer to [`Output::FindNewcomerCut`]: the first entry of each log that a newcomer may
    /// read.
    NewcomerCut(SessionId, ConversationId, BTreeMap<LogName, Seq>),
    /// The node is on other networks than before: on these.
    NetworksChanged(BTreeSet<NetworkId>),
    /// The node is about to stop: state that is saved lazily must be saved now.
    Flush,
    /// The time of [`Replica::poll_timeout`](super::Replica::poll_timeout) has come.
    Timeout,
}

/// Everything that a replica can ask for or report.
#[derive(Debug)]
pub enum Output {
    /// Make this durable, and answer with [`Input::Committed`] or [`Input::CommitFailed`]. Commits
    /// are written in the order of their numbers.
    Commit(Commit),
    /// Write this frame to the session's control stream.
    Send(SessionId, Bytes),
    /// Write this frame to the session's batch stream.
    SendBatch(SessionId, Bytes),
    /// Read batches from the store, and answer with [`Input::Read`].
    Read {
        /// The session that they are for.
        session: SessionId,
        /// The log to read.
        name: LogName,
        /// The first entry.
        from: Seq,
        /// The last entry. The batch that contains it may end later.
        to: Seq,
    },
    /// Find the last [`NEWCOMER_ENTRIES`](super::NEWCOMER_ENTRIES) entries of a room that arrived
    /// since `since_ms`, and answer with [`Input::NewcomerCut`].
    FindNewcomerCut {
        /// The newcomer's session.
        session: SessionId,
        /// The room.
        conversation: ConversationId,
        /// Milliseconds since the Unix epoch.
        since_ms: u64,
    },
    /// The session may deliver this many more batches.
    Release(SessionId, usize),
    /// Appends are durable.
    Appended {
        /// The tokens of the appends.
        tokens: Vec<Token>,
        /// Their entries: one for each append, in order.
        batch: Arc<CheckedBatch>,
    },
    /// An append is not durable, and will not be. The text is for people.
    AppendFailed(Token, String),
    /// A join or part is durable.
    Stored(Token),
    /// A join or part is not durable, and will not be. The text is for people.
    StoreFailed(Token, String),
    /// Entries of another author are durable with their bodies. Each entry is reported once. An
    /// author's entries are reported in the order of its logs, apart from those that arrived without
    /// their bodies first. Deletions are not reported.
    Received {
        /// The batch that contains the entries.
        batch: Arc<CheckedBatch>,
        /// The first new entry.
        first: Seq,
        /// The last new entry.
        last: Seq,
        /// When the batch arrived, in milliseconds since the Unix epoch.
        received_at_ms: u64,
    },
    /// Bodies were erased on this node.
    Erased {
        /// The log.
        name: LogName,
        /// The entries.
        seqs: Ranges,
        /// Whether their author deleted them. Otherwise the user erased them here.
        by_author: bool,
    },
    /// Nothing was erased, because these entries of our own are undelivered. At most
    /// [`UNDELIVERED_LISTED_MAX`](super::UNDELIVERED_LISTED_MAX) are listed.
    EraseRefused(Token, Vec<(LogName, Seq)>),
    /// Entries of our own were written to a session with this device.
    Sent(LogName, DeviceId, Seq, Seq),
    /// The device has these entries of our own on disk. Each is reported once.
    Delivered(LogName, DeviceId, Ranges),
    /// The user wrote to this peer for the first time, and has thereby accepted it. The commit of
    /// the message follows.
    Accepted(PersonId),
    /// Whether this peer refuses our messages because its user has not accepted us.
    AwaitsConsent(PersonId, bool),
    /// A message of this stranger was refused, for the first time on its session: it waits there
    /// until the user accepts the stranger.
    RequestFull(PersonId),
    /// A room is full: logs are dropped or refused from now on. Reported once in a run.
    RoomFull(ConversationId),
    /// A peer returned this many entries of our own that this store did not have.
    OwnRestored(ConversationId, PersonId, u64),
    /// The replica rejected something that arrived on a session. If it was a batch, this is the
    /// batch's signature.
    Refused(SessionId, Option<Signature>, Refusal),
}
