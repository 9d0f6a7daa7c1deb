//! The entries of a conversation that a session must still be sent, and those that it was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use hobnob_protocol::{PersonId, Ranges, Seq};

use super::log_key::LogKey;
use super::send_queue::SendQueue;

/// The entries of one conversation that one session must still receive.
#[derive(Debug, Default)]
pub(super) struct SendQueues {
    queues: BTreeMap<PersonId, SendQueue>,
    /// Entries that were sent. They are sent again only on request.
    sent: BTreeMap<LogKey, Ranges>,
    /// Authors whose new entries are sent as they arrive. Our own are sent without this.
    followed: BTreeSet<PersonId>,
}

impl SendQueues {
    /// Queues entries. `ordinal` is the place of the log among the logs of its author.
    pub(super) fn add(&mut self, ordinal: u64, key: &LogKey, entries: &Ranges) {
        if !entries.is_empty() {
            let queue = self.queues.entry(key.author).or_default();
            queue.add(ordinal, key, entries);
        }
    }

    /// Removes entries that the peer has.
    pub(super) fn strike(&mut self, key: &LogKey, entries: &Ranges) {
        if let Some(queue) = self.queues.get_mut(&key.author) {
            queue.strike(key, entries);
            if queue.is_empty() {
                self.queues.remove(&key.author);
            }
        }
    }

    /// Removes the next queued range of a log.
    pub(super) fn strike_next(&mut self, key: &LogKey) {
        let next = self.of_log(key).and_then(|queued| queued.first_range());
        if let Some((first, last)) = next {
            self.strike(key, &Ranges::span(first, last));
        }
    }

    /// Notes that entries were sent.
    pub(super) fn sent(&mut self, key: &LogKey, first: Seq, last: Seq) {
        self.strike(key, &Ranges::span(first, last));
        self.sent.entry(*key).or_default().insert(first, last);
    }

    /// Notes that entries wait for the peer at a holder. They are sent again only on request.
    pub(super) fn note_held(&mut self, key: &LogKey, entries: &Ranges) {
        self.sent.entry(*key).or_default().insert_all(entries);
    }

    /// The entries of a log that were sent.
    pub(super) fn sent_of(&self, key: &LogKey) -> Ranges {
        self.sent.get(key).cloned().unwrap_or_default()
    }

    /// The queued entries of a log.
    pub(super) fn of_log(&self, key: &LogKey) -> Option<Ranges> {
        self.queues.get(&key.author)?.of_log(key)
    }

    /// The first author with queued entries after this one.
    pub(super) fn waiting_after(&self, last: Option<PersonId>) -> Option<PersonId> {
        let from = last.map_or(Unbounded, Excluded);
        let mut later = self.queues.range((from, Unbounded));
        later.next().map(|(author, _)| *author)
    }

    /// The range of an author's entries that is sent next.
    pub(super) fn next_of(&self, author: PersonId) -> Option<(LogKey, Seq, Seq)> {
        self.queues.get(&author)?.next()
    }

    /// The peer receives this author's new entries as they arrive.
    pub(super) fn follow(&mut self, author: PersonId) {
        self.followed.insert(author);
    }

    pub(super) fn follows(&self, author: PersonId) -> bool {
        self.followed.contains(&author)
    }

    pub(super) fn unfollow(&mut self, author: PersonId) {
        self.followed.remove(&author);
    }

    /// Removes all entries of an author.
    pub(super) fn strike_author(&mut self, author: PersonId) {
        self.queues.remove(&author);
    }

    /// The number of items held, for the limit of a session.
    pub(super) fn size(&self) -> usize {
        let ranges = |ranges: &Ranges| 1 + ranges.iter().count();
        let sent: usize = self.sent.values().map(ranges).sum();
        self.queues.len() + sent + self.followed.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::log_key as log;
    use super::*;

    #[test]
    fn sent_entries_leave_the_queue_and_are_remembered() {
        let mut queues = SendQueues::default();
        queues.add(1, &log(1, 1), &Ranges::span(1, 9));
        queues.sent(&log(1, 1), 1, 4);
        assert_eq!(queues.of_log(&log(1, 1)), Some(Ranges::span(5, 9)));
        assert_eq!(queues.sent_of(&log(1, 1)), Ranges::span(1, 4));
        assert_eq!(queues.sent_of(&log(1, 2)), Ranges::new());
    }

    #[test]
    fn each_author_with_queued_entries_has_a_next_range() {
        let mut queues = SendQueues::default();
        queues.add(1, &log(1, 1), &Ranges::span(1, 9));
        queues.add(2, &log(1, 2), &Ranges::span(1, 3));
        queues.add(3, &log(2, 5), &Ranges::span(4, 6));
        let next = |queues: &SendQueues, n| queues.next_of(log(n, 0).author);
        assert_eq!(next(&queues, 1), Some((log(1, 1), 1, 9)));
        assert_eq!(next(&queues, 2), Some((log(2, 5), 4, 6)));
        let mut both = [log(1, 0).author, log(2, 0).author];
        both.sort_unstable();
        assert_eq!(queues.waiting_after(None), Some(both[0]));
        assert_eq!(queues.waiting_after(Some(both[0])), Some(both[1]));
        assert_eq!(queues.waiting_after(Some(both[1])), None);
        queues.strike(&log(2, 5), &Ranges::span(1, 9));
        queues.strike(&log(1, 1), &Ranges::span(1, 9));
        assert_eq!(next(&queues, 1), Some((log(1, 2), 1, 3)));
        assert_eq!(next(&queues, 2), None);
        queues.strike_author(log(1, 2).author);
        assert_eq!(queues.waiting_after(None), None);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_skipped_with_its_range() {
        let mut queues = SendQueues::default();
        queues.add(1, &log(1, 1), &Ranges::span(1, 3));
        queues.add(1, &log(1, 1), &Ranges::span(7, 9));
        queues.strike_next(&log(1, 1));
        assert_eq!(queues.of_log(&log(1, 1)), Some(Ranges::span(7, 9)));
        queues.strike_next(&log(1, 1));
        queues.strike_next(&log(1, 1));
        assert_eq!(queues.of_log(&log(1, 1)), None);
    }

    #[test]
    fn authors_are_followed_until_the_peer_prunes_them() {
        let mut queues = SendQueues::default();
        let ann = log(1, 1).author;
        queues.follow(ann);
        assert!(queues.follows(ann) && !queues.follows(log(2, 1).author));
        queues.unfollow(ann);
        assert!(!queues.follows(ann));
    }

    #[test]
    fn what_is_held_for_a_session_is_counted() {
        let mut queues = SendQueues::default();
        queues.add(1, &log(1, 1), &Ranges::new());
        assert_eq!(queues.size(), 0);
        queues.add(1, &log(1, 1), &Ranges::span(1, 9));
        queues.sent(&log(1, 1), 1, 2);
        queues.sent(&log(1, 1), 4, 5);
        queues.follow(log(1, 1).author);
        assert_eq!(queues.size(), 1 + 3 + 1);
    }
}
