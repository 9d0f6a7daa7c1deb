//! The name of a log within its conversation.

use std::ops::RangeInclusive;

use hobnob_protocol::frame::AuthorHeads;
use hobnob_protocol::{ConversationId, DeviceId, LogId, LogName, PersonId};

/// A log within its conversation. Sorts by author, so the logs of one author are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogKey {
    pub(super) author: PersonId,
    pub(super) device: DeviceId,
    pub(super) log: LogId,
}

impl LogKey {
    pub(super) fn of(name: &LogName) -> Self {
        Self {
            author: name.author,
            device: name.device,
            log: name.log,
        }
    }

    /// A log of the author and device of these heads. Which one does not matter.
    pub(super) fn of_heads(heads: &AuthorHeads) -> Self {
        Self {
            author: heads.author,
            device: heads.device,
            log: LogId(0),
        }
    }

    /// The keys of all logs of an author.
    pub(super) fn all_of(author: PersonId) -> RangeInclusive<Self> {
        let key = |device, log| Self {
            author,
            device: DeviceId::from_bytes([device; 32]),
            log: LogId(log),
        };
        key(0, 0)..=key(u8::MAX, u64::MAX)
    }

    /// The full name of the log.
    pub(super) fn name(self, conversation: ConversationId) -> LogName {
        LogName {
            conversation,
            author: self.author,
            device: self.device,
            log: self.log,
        }
    }
}
