//! The messages that the user has read, and the time to save that.

use hobnob::{ConversationRef, MessageId};
use hobnob_control::wire::Time;

use crate::tui::read_markers::ReadMarkers;

/// Time between two saves.
const SAVE_EVERY_MS: u64 = 5_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct Reading {
    /// None in the first chat of this home, until the user has seen a message.
    read: Option<ReadMarkers>,
    saved: Option<ReadMarkers>,
    save_at: Time,
}

impl Reading {
    pub(crate) fn new(read: Option<ReadMarkers>, now: Time) -> Reading {
        Reading {
            saved: read.clone(),
            read,
            save_at: now,
        }
    }

    /// The user has read this message and all before it.
    pub(crate) fn mark(&mut self, of: ConversationRef, last: MessageId) {
        self.read.get_or_insert_default().insert(of, last);
    }

    /// The last message that the user has read in each conversation; none in the first chat of this
    /// home.
    pub(crate) fn markers(&self) -> Option<&ReadMarkers> {
        self.read.as_ref()
    }

    /// Whether it is time to save. If so, the next time is later.
    pub(crate) fn is_due(&mut self, now: Time) -> bool {
        let is_due = now >= self.save_at;
        if is_due {
            self.save_at = Time(now.0 + SAVE_EVERY_MS);
        }
        is_due
    }

    /// The markers to save, if they have changed since the last save.
    pub(crate) fn take_changes(&mut self) -> Option<ReadMarkers> {
        if self.read == self.saved {
            return None;
        }
        self.saved.clone_from(&self.read);
        self.saved.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob::protocol::LogId;

    #[test]
    fn markers_are_saved_once_after_each_change() {
        let mut reading = Reading::new(None, Time(0));
        assert!(reading.is_due(Time(0)) && !reading.is_due(Time(SAVE_EVERY_MS - 1)));
        assert_eq!(reading.take_changes(), None);
        let id = MessageId {
            log: LogId(1),
            seq: 1,
        };
        reading.mark("#lobby".parse().unwrap(), id);
        let changes = reading.take_changes().unwrap();
        assert_eq!(changes.values().collect::<Vec<_>>(), [&id]);
        assert_eq!(reading.take_changes(), None);
    }
}
