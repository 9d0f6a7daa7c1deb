//! The name of a log within its conversation.

use hobnob_protocol::{ConversationId, LogId, LogName, PeerId};

/// A log within its conversation. Sorts by author, so the logs of one author are neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogKey {
    pub(super) author: PeerId,
    pub(super) log: LogId,
}

impl LogKey {
    pub(super) fn of(name: &LogName) -> Self {
        Self {
            author: name.author,
            log: name.log,
        }
    }

    /// The full name of the log.
    pub(super) fn name(self, conversation: ConversationId) -> LogName {
        LogName {
            conversation,
            author: self.author,
            log: self.log,
        }
    }
}
