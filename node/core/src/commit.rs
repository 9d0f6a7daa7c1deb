//! The changes that the replica asks the store to make durable, and the records that the store
//! returns when a node starts.
//!
//! These are plain values: the replica decides, the store writes. The store writes a [`Commit`]
//! completely or not at all.

use std::sync::Arc;

use hobnob_protocol::{
    CheckedBatch, ConversationId, DeviceId, EntryHash, LogName, PersonId, Ranges, RoomKey,
    RoomName, Seq,
};

use crate::ClientId;
use crate::source_network::SourceNetwork;

/// Numbers the commits of one run, in the order in which the replica made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// Numbers the audiences: the peers that were in an open room when an entry arrived. The numbers
/// grow through the life of a store.
///
/// [`AudienceId::MEMBERS`] is for direct conversations and rooms with a secret: all members, also
/// those that join later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudienceId(pub u64);

impl AudienceId {
    /// All members, at any time.
    pub const MEMBERS: AudienceId = AudienceId(0);
}

/// One step of the replica. All of it becomes durable before any of it is shown, acknowledged or
/// forwarded. If it fails, none of it has happened.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Appears in the store's answer.
    pub id: CommitId,
    /// The changes, in order.
    pub ops: Vec<Op>,
}

/// One change of the store.
#[derive(Debug, Clone)]
pub enum Op {
    /// Adds or updates a conversation. Precedes its first entry.
    Conversation(ConversationRecord),
    /// Stores the entries of a batch from `from` to `to`, and the signature at the batch's end.
    Append {
        /// The checked batch. It continues the entries held; in a room it may start after a gap.
        batch: Arc<CheckedBatch>,
        /// The first entry to store.
        from: Seq,
        /// The last entry to store. Later entries of the batch are held already.
        to: Seq,
        /// The peers that may have these entries.
        audience: AudienceId,
        /// This node's wall clock, in milliseconds since the Unix epoch.
        received_at_ms: u64,
        /// Of these entries, those that their author has deleted. The batch holds them without
        /// their bodies.
        deleted: Ranges,
    },
    /// Adds the bodies of entries that are held without them. The bodies must match their hashes.
    Fill {
        /// A checked batch that contains the entries with their bodies.
        batch: Arc<CheckedBatch>,
        /// The entries.
        seqs: Ranges,
    },
    /// Erases the bodies of entries that are held. Deletions are never erased.
    Erase {
        /// The log.
        name: LogName,
        /// The entries.
        seqs: Ranges,
        /// Whether the author deleted them. Otherwise the user of this node erased them here.
        by_author: bool,
    },
    /// The author has deleted an entry that is not held. It must be erased when it arrives: then an
    /// append names it as deleted.
    AwaitDeleted(LogName, Seq),
    /// A new audience of an open room, or one that has grown. Precedes the first entry that names
    /// it.
    Audience(AudienceRecord),
    /// Forgets the audiences of this conversation with lower numbers. Their entries are offered to
    /// nobody any more.
    AudiencesBefore(ConversationId, AudienceId),
    /// The peers that are in an open room, or that dropped out without a goodbye. Replaces the list
    /// of this conversation.
    Lingerers(ConversationId, Vec<Lingerer>),
    /// The device has these entries of one of our own logs on disk. Replaces what was known before.
    Acked {
        /// The log.
        name: LogName,
        /// The device that sent the receipt.
        peer: DeviceId,
        /// The entries that it has.
        ranges: Ranges,
    },
    /// The program that wrote an entry of this node gave it this name. Follows that entry.
    ClientId(LogName, Seq, ClientId),
    /// Drops all entries of the log below this number.
    Trim(LogName, Seq),
    /// How much a stranger has stored here. Replaces what was known before.
    Request(RequestRecord),
    /// The user has accepted this peer: its messages are no request any more.
    RequestEnds(PersonId),
    /// The log is charged to this device, which brought its first entry. Follows that entry.
    Brought(LogName, DeviceId),
    /// The entries of a log in a room with a secret cost at most this much. Follows an entry.
    Cost(LogName, u64),
    /// Drops the log with all its entries, because the room is full.
    Forget(LogName),
    /// A sign of life.
    Alive(Alive),
}

/// Names a network that this machine is in, for example the Ethernet of an office. The number stays
/// the same in later runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u64);

/// A peer that is in an open room, or was until it dropped out without a goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lingerer {
    /// The peer.
    pub peer: PersonId,
    /// The network by which the peer was reached last. `None` if that was no network of this
    /// machine, as with a relay.
    pub network: Option<NetworkId>,
    /// When it dropped out, in milliseconds since the Unix epoch. `None` while it is present.
    pub dropped_at_ms: Option<u64>,
}

/// A sign of life of the node that owns the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// The direct messages of a peer that the user has not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRecord {
    /// The stranger.
    pub peer: PersonId,
    /// Where the first message came from.
    pub network: SourceNetwork,
    /// How many messages are stored.
    pub entries: u64,
    /// The bytes of these messages.
    pub bytes: u64,
}

/// The peers that entries of an open room were for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceRecord {
    /// Its number.
    pub id: AudienceId,
    /// The room.
    pub conversation: ConversationId,
    /// When its first entry arrived, in milliseconds since the Unix epoch.
    pub formed_at_ms: u64,
    /// The peers, sorted.
    pub peers: Vec<PersonId>,
}

/// The kind of a conversation, and what a node needs to take part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConversationKind {
    /// A conversation with one peer.
    Direct(PersonId),
    /// A room.
    Room {
        /// Its name.
        name: RoomName,
        /// Its key. Everybody can enter an open room, and receives the messages that are written
        /// meanwhile. Members of the others receive the history.
        key: RoomKey,
        /// Whether this node is in the room now. The history stays when it leaves.
        joined: bool,
    },
}

/// The state of an offered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfferState {
    /// The user has not decided yet. Of our own offers: the file can be fetched.
    Offered,
    /// Accepted. The download is not complete.
    Wanted,
    /// The download is complete.
    Done,
    /// The user declined it. Of our own offers: the user withdrew it.
    Declined,
    /// It is not available.
    Failed,
    /// Only of our own offers: the recipient declined it, and may still change its mind.
    Refused,
    /// Accepted, and paused by the user. The part that is here stays.
    Paused,
}

impl OfferState {
    const ALL: [OfferState; 7] = [
        OfferState::Offered,
        OfferState::Wanted,
        OfferState::Done,
        OfferState::Declined,
        OfferState::Failed,
        OfferState::Refused,
        OfferState::Paused,
    ];

    /// The state's number in the store.
    pub fn code(self) -> i64 {
        self as i64
    }

    /// The state with this number.
    pub fn of_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// The record of an offer in the store, apart from its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferRecord {
    /// The offer's state.
    pub state: OfferState,
    /// The path of its content, or of the download in progress, as bytes.
    pub place: Option<Vec<u8>>,
    /// The reason for the state, for people.
    pub why: Option<String>,
}

/// A conversation as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationRecord {
    /// The conversation's name on the wire.
    pub id: ConversationId,
    /// The conversation's kind.
    pub kind: ConversationKind,
}

/// Consecutive entries of a log that are held and share an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first entry.
    pub first: Seq,
    /// The last entry.
    pub last: Seq,
    /// The audience of these entries.
    pub audience: AudienceId,
}

/// A log as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its name.
    pub name: LogName,
    /// The place of this log among all logs, by the time when this store first held an entry of
    /// it. An author's logs are sent in this order.
    pub ordinal: u64,
    /// The device that brought the first entry, as [`Op::Brought`] says.
    pub brought_by: Option<DeviceId>,
    /// The cost of the entries, as [`ENTRY_COST`](crate::replica::ENTRY_COST) says. Counted in
    /// rooms only; rounded up in rooms with a secret, as [`Op::Cost`] says.
    pub bytes: u64,
    /// The entries held, sorted by `first`.
    pub runs: Vec<Run>,
    /// The last entry held and its hash.
    pub head: (Seq, EntryHash),
    /// The hashes at the other edges of the entries held: at the last entry of each range, and
    /// before its first one. Where the store knows them, also the hashes of the entries in
    /// `unsettled`.
    pub edges: Vec<(Seq, EntryHash)>,
    /// Of the entries held, those whose body is erased, and was here or was deleted by its author.
    pub erased: Ranges,
    /// Of the entries held, those that arrived without a body and whose author has not deleted
    /// them.
    pub unsettled: Ranges,
}

/// Everything that the replica needs when a node starts.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// All conversations.
    pub conversations: Vec<ConversationRecord>,
    /// All logs that hold at least one entry.
    pub logs: Vec<LogRecord>,
    /// The Lamport clock of each conversation: at least every Lamport number held, apart from
    /// jumps.
    pub lamport: Vec<(ConversationId, u64)>,
    /// The audiences that formed within the time that the caller asked for.
    pub audiences: Vec<AudienceRecord>,
    /// The highest audience number ever used.
    pub last_audience: u64,
    /// The peers that were in each open room, or had dropped out of it.
    pub lingerers: Vec<(ConversationId, Vec<Lingerer>)>,
    /// The entries of our own logs that devices have on disk.
    pub acked: Vec<(LogName, DeviceId, Ranges)>,
    /// The last sign of life.
    pub alive: Option<Alive>,
    /// The messages of strangers.
    pub requests: Vec<RequestRecord>,
    /// Entries that their author has deleted and that are not held.
    pub awaited_deleted: Vec<(LogName, Seq)>,
}
