//! Why the replica rejects something that a peer sent.

use hobnob_protocol::BatchError;

/// No Lamport number is above this. A clock that reaches it stays there. Then only the order
/// between authors is lost.
pub const LAMPORT_MAX: u64 = 1 << 53;

/// Why the replica rejected something that a peer sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The peer has not proved that it belongs to this conversation, or this node does not belong
    /// to it.
    #[error("not a member of that conversation")]
    NotShared,
    /// Only the two ends of a direct conversation write in it.
    #[error("a third party's entry in a direct conversation")]
    NotAnAuthor,
    /// The log is of a device that is not the author's own key, and no certificate of the author came
    /// with it.
    #[error("a log of another device without a certificate of its author")]
    NoCertificate,
    /// The log is of another device, with a certificate that only a newer version can check.
    #[error("a log of another device, whose certificate needs a newer hobnob")]
    NewerCertificate,
    /// The author is blocked here.
    #[error("an entry of a blocked author")]
    Blocked,
    /// The batch is malformed, or its signature is wrong.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The batch is genuine and contradicts earlier entries of its author.
    #[error("the author wrote two different entries in one place")]
    Conflict,
    /// The entries belong to the log of this run, and this run did not write them.
    #[error("entries in our name that we have not written: this identity is in use elsewhere")]
    IdentityReused,
    /// The preceding entries are missing.
    #[error("entries before these are missing")]
    Gap,
    /// The open room is full, and what is in it is worth more.
    #[error("the room is full")]
    RoomFull,
    /// The Lamport number is above [`LAMPORT_MAX`].
    #[error("an impossible Lamport number")]
    Lamport,
    /// The frame does not belong on the streams of logs, or its list is too long.
    #[error("a frame that does not belong here")]
    Misplaced,
}
