//! A run of messages and notes, bounded in number and bytes, with each message once.

use std::collections::{BTreeSet, VecDeque};

use hobnob::MessageId;
use hobnob_control::wire::{MessageLine, Text};

use super::timeline::{Entry, EntryContent, Note};

/// Maximum number of entries. See [`Entries::is_too_large`].
pub(super) const ENTRIES_MAX: usize = 1_000;

/// Maximum number of bytes of text.
pub(super) const BYTES_MAX: usize = 4 << 20;

/// See the module. The owner drops entries from one end when there are too many.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    list: VecDeque<Entry>,
    ids: BTreeSet<MessageId>,
    bytes: usize,
}

impl Entries {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Entry> {
        self.list.get(index)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.list.iter()
    }

    /// The approximate memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn contains(&self, id: MessageId) -> bool {
        self.ids.contains(&id)
    }

    pub(super) fn has_messages(&self) -> bool {
        !self.ids.is_empty()
    }

    pub(super) fn oldest_message(&self) -> Option<Text<MessageId>> {
        self.iter().find_map(|entry| Some(entry.message()?.id))
    }

    pub(super) fn newest_message(&self) -> Option<Text<MessageId>> {
        self.iter()
            .rev()
            .find_map(|entry| Some(entry.message()?.id))
    }

    /// Whether entries have to be dropped. A single entry may be as large as it is.
    pub(super) fn is_too_large(&self) -> bool {
        self.len() > ENTRIES_MAX || (self.bytes > BYTES_MAX && self.len() > 1)
    }

    /// Adds a message at the end, unless it is there already. Returns the number of new entries.
    pub(super) fn push_message(&mut self, message: MessageLine) -> usize {
        let entry = Entry::new(EntryContent::Message(Box::new(message)));
        let is_new = self.count(&entry);
        if is_new {
            self.list.push_back(entry);
        }
        usize::from(is_new)
    }

    /// Adds a message at the start, unless it is there already.
    pub(super) fn push_message_front(&mut self, message: MessageLine) {
        let entry = Entry::new(EntryContent::Message(Box::new(message)));
        if self.count(&entry) {
            self.list.push_front(entry);
        }
    }

    /// Adds a note at the end. Returns the number of new entries.
    pub(super) fn push_note(&mut self, note: Note) -> usize {
        let entry = Entry::new(EntryContent::Note(note));
        self.count(&entry);
        self.list.push_back(entry);
        1
    }

    /// Drops the first entry.
    pub(super) fn pop_front(&mut self) {
        let entry = self.list.pop_front().expect("only called with entries");
        self.forget(&entry);
    }

    /// Drops the last entry.
    pub(super) fn pop_back(&mut self) {
        let entry = self.list.pop_back().expect("only called with entries");
        self.forget(&entry);
    }

    /// Counts an entry that is about to be added. Returns false if its message is there already.
    fn count(&mut self, entry: &Entry) -> bool {
        let is_new = entry
            .message()
            .is_none_or(|message| self.ids.insert(message.id.0));
        if is_new {
            self.bytes += entry.bytes();
        }
        is_new
    }

    fn forget(&mut self, entry: &Entry) {
        self.bytes -= entry.bytes();
        if let Some(message) = entry.message() {
            self.ids.remove(&message.id.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::test_messages::message;
    use hobnob_control::wire::Time;

    use crate::tui::app::timeline::Tone;

    #[test]
    fn a_message_is_added_once_until_it_is_dropped() {
        let mut entries = Entries::default();
        assert_eq!(entries.push_message(message(1, "hi")), 1);
        assert_eq!(entries.push_message(message(1, "hi")), 0);
        entries.push_message_front(message(1, "hi"));
        assert_eq!(entries.len(), 1);
        entries.pop_front();
        assert!(!entries.has_messages() && entries.bytes() == 0);
        assert_eq!(entries.push_message(message(1, "hi")), 1);
    }

    #[test]
    fn notes_are_no_messages() {
        let mut entries = Entries::default();
        entries.push_note(Note {
            at: Time(0),
            tone: Tone::Info,
            text: "bob is here".into(),
            portrait: None,
        });
        assert!(!entries.has_messages());
        assert_eq!(entries.newest_message(), None);
        entries.push_message(message(7, "hi"));
        let id = Some(message(7, "").id);
        assert_eq!(
            (entries.oldest_message(), entries.newest_message()),
            (id, id)
        );
    }

    #[test]
    fn many_entries_or_bytes_are_too_large_and_one_entry_never_is() {
        let mut entries = Entries::default();
        entries.push_message(message(1, &"x".repeat(BYTES_MAX + 1)));
        assert!(!entries.is_too_large());
        entries.push_message(message(2, "x"));
        assert!(entries.is_too_large());
        entries.pop_front();
        for seq in 3..=1_001 {
            entries.push_message(message(seq, "x"));
        }
        assert!(!entries.is_too_large());
        entries.push_message(message(2_000, "x"));
        assert!(entries.is_too_large());
    }
}
