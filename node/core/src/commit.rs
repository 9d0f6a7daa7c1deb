//! What the replica asks the store to make durable, and what the store gives back when a node
//! starts.
//!
//! These are plain values: the replica decides, the store writes. A [`Commit`] is written whole or
//! not at all.

use std::sync::Arc;

use hobnob_protocol::{
    CheckedBatch, ConversationId, EntryHash, LogName, PeerId, Ranges, RoomKey, RoomName, Seq,
};

/// Numbers the commits of one run, in the order in which the replica made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u64);

/// Who was in an open room when an entry came. Grows through the life of a store.
///
/// [`AudienceId::MEMBERS`] stands for "all members, whenever they come": direct conversations and
/// rooms with a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AudienceId(pub u64);

impl AudienceId {
    /// Everybody who is a member, at any time.
    pub const MEMBERS: AudienceId = AudienceId(0);
}

/// One step of the replica: all of it is durable before anybody is told, or none of it happened.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Which commit the store's answer speaks of.
    pub id: CommitId,
    /// What it does, in order.
    pub ops: Vec<Op>,
}

/// One change of the store.
#[derive(Debug, Clone)]
pub enum Op {
    /// Makes the conversation known. Comes before its first entry; again when something about it
    /// changes.
    Conversation(ConversationRecord),
    /// Keeps the entries `batch[from..]`, and the signature at the batch's end.
    Append {
        /// The batch, checked, continuing what is held (or starting after a gap, in a room).
        batch: Arc<CheckedBatch>,
        /// The first entry of the batch that is not held yet.
        from: Seq,
        /// The last entry of the batch that is not held yet (entries after it fill no hole).
        to: Seq,
        /// Who may have these entries.
        audience: AudienceId,
        /// This node's wall clock, in milliseconds since the Unix epoch.
        received_at_ms: u64,
    },
    /// A new audience of an open room. Comes before the first entry that names it.
    Audience(AudienceRecord),
    /// Those who are in an open room or dropped out without a goodbye: replaces the list for this
    /// conversation.
    Lingerers(ConversationId, Vec<Lingerer>),
    /// The peer has these entries of our own log on disk: replaces what was known before.
    Acked {
        /// A log of ours.
        name: LogName,
        /// Who has it.
        peer: PeerId,
        /// What of it.
        ranges: Ranges,
    },
    /// Lets go of all entries of the log below this number.
    Trim(LogName, Seq),
    /// This node is alive, now, on this network.
    Alive(Alive),
}

/// A peer that is in an open room, or was until it dropped out without a goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lingerer {
    /// The peer.
    pub peer: PeerId,
    /// When it dropped out, in milliseconds since the Unix epoch; `None` while it is here.
    pub dropped_at_ms: Option<u64>,
}

/// The last sign of life that this store has of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Fingerprint of the networks the node was on.
    pub network: u64,
}

/// Whom an entry of an open room was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceRecord {
    /// Its number.
    pub id: AudienceId,
    /// The room.
    pub conversation: ConversationId,
    /// When it formed, in milliseconds since the Unix epoch.
    pub formed_at_ms: u64,
    /// The peers, sorted.
    pub peers: Vec<PeerId>,
}

/// What kind of conversation it is, and what is needed to take part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConversationKind {
    /// With one peer.
    Direct(PeerId),
    /// A room.
    Room {
        /// Its name.
        name: RoomName,
        /// Its key.
        key: RoomKey,
        /// Whether it has no secret: whoever knows the name may come in, and hears what is said
        /// while they are there.
        open: bool,
        /// Whether this node is in it now; history stays after it left.
        joined: bool,
    },
}

/// What has become of an offered file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfferState {
    /// Nobody has decided yet; one's own is there to be had.
    Offered,
    /// Accepted, and not all here yet.
    Wanted,
    /// All here.
    Done,
    /// Not wanted; one's own is taken back.
    Declined,
    /// It can't be had.
    Failed,
}

impl OfferState {
    const ALL: [OfferState; 5] = [
        OfferState::Offered,
        OfferState::Wanted,
        OfferState::Done,
        OfferState::Declined,
        OfferState::Failed,
    ];

    /// Its number in the store.
    pub fn code(self) -> i64 {
        self as i64
    }

    /// Reads its number.
    pub fn of_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// What the store keeps of an offer beside its entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferRecord {
    /// What has become of it.
    pub state: OfferState,
    /// Where its content is, or is about to be: the bytes of a path.
    pub place: Option<Vec<u8>>,
    /// Why it is so, for people.
    pub why: Option<String>,
}

/// A conversation as the store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationRecord {
    /// Its name on the wire.
    pub id: ConversationId,
    /// What it is.
    pub kind: ConversationKind,
}

/// A run of entries of a log that are held and share an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Its first entry.
    pub first: Seq,
    /// Its last entry.
    pub last: Seq,
    /// Who may have it.
    pub audience: AudienceId,
}

/// A log as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Its name.
    pub name: LogName,
    /// When this store first heard of it, among its other logs: an author's logs are sent in this
    /// order.
    pub ordinal: u64,
    /// What is held, sorted by `first`.
    pub runs: Vec<Run>,
    /// The last entry held and its hash.
    pub head: (Seq, EntryHash),
    /// The chain's hash at the other edges of what is held: at the last entry of each stretch, and
    /// before its first.
    pub edges: Vec<(Seq, EntryHash)>,
}

/// Everything that the replica must know when a node starts.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// All conversations.
    pub conversations: Vec<ConversationRecord>,
    /// All logs that hold at least one entry.
    pub logs: Vec<LogRecord>,
    /// Where the clock of each conversation goes on: not below any Lamport number held, but for
    /// jumps.
    pub lamport: Vec<(ConversationId, u64)>,
    /// The audiences formed within the time that the caller asked for.
    pub audiences: Vec<AudienceRecord>,
    /// The highest audience number ever used.
    pub last_audience: u64,
    /// Who was in, or lingered in, each open room.
    pub lingerers: Vec<(ConversationId, Vec<Lingerer>)>,
    /// Which peers have what of our own logs.
    pub acked: Vec<(LogName, PeerId, Ranges)>,
    /// The last sign of life.
    pub alive: Option<Alive>,
}
