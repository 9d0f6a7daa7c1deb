//! Searching the open conversation: the words, the messages found, and which of them is chosen.

use hobnob_control::wire::MessageLine;

use super::editor::{Edit, Editor};

/// A search that the user is typing. One query is sent at a time; further letters wait.
#[derive(Debug, Default)]
pub(crate) struct Search {
    words: Editor,
    /// Oldest first.
    found: Vec<MessageLine>,
    /// The chosen message, counted from the newest.
    chosen: usize,
    /// The words of the last query; none before the first letter.
    asked: Option<String>,
    is_waiting: bool,
}

impl Search {
    /// The editor with the words.
    pub(crate) fn words(&self) -> &Editor {
        &self.words
    }

    /// The messages found, oldest first.
    pub(crate) fn found(&self) -> &[MessageLine] {
        &self.found
    }

    /// The index in `found` of the chosen message.
    pub(crate) fn chosen_index(&self) -> Option<usize> {
        let last = self.found.len().checked_sub(1)?;
        Some(last - self.chosen.min(last))
    }

    /// Whether `found` belongs to the words that are typed now.
    pub(crate) fn is_answered(&self) -> bool {
        !self.is_waiting && self.asked.as_deref() == Some(self.words.text())
    }

    pub(super) fn edit(&mut self, edit: Edit) {
        self.words.edit(edit);
    }

    pub(super) fn insert(&mut self, text: &str) {
        self.words.insert(text);
    }

    pub(super) fn choose(&mut self, older: bool) {
        let last = self.found.len().saturating_sub(1);
        self.chosen = if older {
            (self.chosen + 1).min(last)
        } else {
            self.chosen.saturating_sub(1)
        };
    }

    /// The words to search for next, unless a query is waiting or the words have not changed.
    pub(super) fn next_query(&mut self) -> Option<String> {
        let words = self.words.text();
        if self.is_waiting || self.asked.as_deref() == Some(words) {
            return None;
        }
        let words = words.to_owned();
        self.chosen = 0;
        self.asked = Some(words.clone());
        if words.trim().is_empty() {
            self.found.clear();
            return None;
        }
        self.is_waiting = true;
        Some(words)
    }

    /// Takes the answer to the query with these words.
    pub(super) fn take_found(&mut self, words: &str, found: Vec<MessageLine>) {
        self.is_waiting = false;
        self.found = found;
        if self.asked.as_deref() == Some(words) {
            self.chosen = self.chosen.min(self.found.len().saturating_sub(1));
        }
    }

    pub(super) fn chosen(&self) -> Option<&MessageLine> {
        self.found.get(self.chosen_index()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::test_messages;

    fn message(seq: u64) -> MessageLine {
        test_messages::message(seq, "soup")
    }

    #[test]
    fn one_query_is_sent_at_a_time() {
        let mut search = Search::default();
        search.insert("so");
        assert_eq!(search.next_query(), Some("so".into()));
        search.insert("up");
        assert_eq!(search.next_query(), None, "the first is not answered");
        search.take_found("so", vec![message(1)]);
        assert!(!search.is_answered(), "found for `so`");
        assert_eq!(search.next_query(), Some("soup".into()));
        search.take_found("soup", vec![message(1)]);
        assert!(search.is_answered());
        assert_eq!(search.next_query(), None, "nothing has changed");
    }

    #[test]
    fn the_newest_message_is_chosen_first() {
        let mut search = Search::default();
        search.take_found("", (1..4).map(message).collect());
        let chosen = |search: &Search| search.chosen().unwrap().id.0.seq;
        assert_eq!(chosen(&search), 3);
        search.choose(true);
        search.choose(true);
        search.choose(true);
        assert_eq!(chosen(&search), 1, "the oldest is the last to choose");
        search.choose(false);
        assert_eq!(chosen(&search), 2);
    }

    #[test]
    fn without_words_nothing_is_found() {
        let mut search = Search::default();
        search.take_found("", vec![message(1)]);
        search.insert(" ");
        assert_eq!(search.next_query(), None);
        assert!(search.found().is_empty());
    }
}
