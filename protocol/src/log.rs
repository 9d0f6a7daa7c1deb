//! Logs: their names, the numbers of their entries, and the hash chain that binds the entries.
//!
//! An entry is hashed and signed as the exact bytes that travel. Those bytes contain neither its
//! sequence number nor the hash of the entry before it. Both enter its hash instead:
//! `H(n) = BLAKE3(H(n-1) ‖ n ‖ header ‖ body hash)`, where `H(0)` is derived from the log's name. So
//! the hash of one entry fixes its place, all entries before it, and the conversation, author and
//! log. It stays the same when the body is erased: see [`crate::body_hash`].
//!
//! The entries themselves are in [`crate::entry`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::conversation::ConversationId;
use crate::identity::PeerId;
use crate::short_hex::short_hex;

/// The place of an entry in its log: 1, 2, 3 and so on, without gaps.
pub type Seq = u64;

/// One log of an author.
///
/// Each run of a store starts new logs with random ids. So no other run, machine or restored backup
/// writes into an existing log.
///
/// ```
/// use hobnob_protocol::{ConversationId, LogId, PeerId};
///
/// let conversation = ConversationId::direct(PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
/// let (this_run, the_next) = (LogId::of_run(1, &conversation), LogId::of_run(2, &conversation));
/// assert_ne!(this_run, the_next, "nobody writes into a log of an earlier run");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId(pub u64);

impl LogId {
    /// The log that a run of a node writes in a conversation. `run` is the run's random number.
    pub fn of_run(run: u64, conversation: &ConversationId) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("hobnob 1 log id");
        hash.update(&run.to_le_bytes())
            .update(conversation.as_bytes());
        let mut id = [0; 8];
        id.copy_from_slice(&hash.finalize().as_bytes()[..8]);
        Self(u64::from_le_bytes(id))
    }
}

/// The name of a log, unique everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogName {
    /// The conversation that its entries belong to.
    pub conversation: ConversationId,
    /// The peer that writes it.
    pub author: PeerId,
    /// Which of the author's logs in that conversation it is.
    pub log: LogId,
}

impl LogName {
    /// `H(0)`: the hash before the first entry.
    pub fn genesis(&self) -> EntryHash {
        let mut hash = blake3::Hasher::new_derive_key("hobnob 1 log");
        hash.update(self.conversation.as_bytes())
            .update(self.author.as_bytes())
            .update(&self.log.0.to_le_bytes());
        EntryHash(*hash.finalize().as_bytes())
    }
}

/// BLAKE3 hash of an entry and all entries before it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryHash([u8; 32]);

impl EntryHash {
    /// The hash of the entry at `seq`, whose predecessor has this hash. `header` is encoded.
    pub fn next(&self, seq: Seq, header: &[u8], body: &BodyHash) -> EntryHash {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.0)
            .update(&seq.to_le_bytes())
            .update(header)
            .update(body.as_bytes());
        EntryHash(*hash.finalize().as_bytes())
    }

    /// A hash from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EntryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short_hex(&self.0, f)
    }
}

/// The hash of one body at one place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BodyHash([u8; 32]);

impl BodyHash {
    /// A hash from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        short_hex(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> LogName {
        LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: PeerId::from_bytes([2; 32]),
            log: LogId(3),
        }
    }

    #[test]
    fn an_entry_moved_to_another_place_has_another_hash() {
        let body = BodyHash::from_bytes([5; 32]);
        let first = name().genesis().next(1, b"a", &body);
        let other_log = LogName {
            log: LogId(4),
            ..name()
        };
        let other_author = LogName {
            author: PeerId::from_bytes([9; 32]),
            ..name()
        };
        let other_conversation = LogName {
            conversation: ConversationId::from_bytes([9; 32]),
            ..name()
        };
        assert_ne!(first, name().genesis().next(2, b"a", &body));
        for other in [other_log, other_author, other_conversation] {
            assert_ne!(first, other.genesis().next(1, b"a", &body));
        }
    }

    #[test]
    fn a_run_has_one_log_in_each_conversation() {
        let [one, other] = [1, 2].map(|n| ConversationId::from_bytes([n; 32]));
        assert_eq!(LogId::of_run(7, &one), LogId::of_run(7, &one));
        assert_ne!(LogId::of_run(7, &one), LogId::of_run(7, &other));
    }
}
