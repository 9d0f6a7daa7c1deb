//! The entries that a session must still be sent, as ranges of the logs of one author.
//!
//! `serve` decides whether the session has room, and where the bytes come from.

use std::collections::BTreeMap;

use hobnob_protocol::{Ranges, Seq};

use super::log_key::LogKey;

/// The entries of one author that a session must still be sent, the oldest log first.
#[derive(Debug, Default)]
pub(super) struct SendQueue(BTreeMap<u64, (LogKey, Ranges)>);

impl SendQueue {
    /// Queues entries. `ordinal` is the place of the log among the logs of its author.
    pub(super) fn add(&mut self, ordinal: u64, log: &LogKey, ranges: &Ranges) {
        if !ranges.is_empty() {
            self.0
                .entry(ordinal)
                .or_insert_with(|| (*log, Ranges::new()))
                .1
                .insert_all(ranges);
        }
    }

    /// Removes entries that were sent, or that the peer has.
    pub(super) fn strike(&mut self, log: &LogKey, ranges: &Ranges) {
        self.0.retain(|_, (of, send_queue)| {
            if of == log {
                *send_queue = send_queue.minus(ranges);
            }
            !send_queue.is_empty()
        });
    }

    /// The log and the range that are sent next.
    pub(super) fn next(&self) -> Option<(LogKey, Seq, Seq)> {
        self.0.values().find_map(|(log, ranges)| {
            ranges
                .first_range()
                .map(|(first, last)| (*log, first, last))
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The queued entries of one log, if there are any.
    pub(super) fn of_log(&self, log: &LogKey) -> Option<Ranges> {
        let queued = self.0.values().find(|(of, _)| of == log);
        queued.map(|(_, ranges)| ranges.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::log_key;
    use super::*;

    fn old() -> LogKey {
        log_key(1, 7)
    }

    fn new() -> LogKey {
        log_key(1, 3)
    }

    #[test]
    fn the_older_log_goes_first_whatever_was_queued_first() {
        let mut queue = SendQueue::default();
        queue.add(2, &new(), &Ranges::span(1, 4));
        queue.add(1, &old(), &Ranges::span(5, 9));
        assert_eq!(queue.next(), Some((old(), 5, 9)));
        queue.strike(&old(), &Ranges::span(1, 9));
        assert_eq!(queue.next(), Some((new(), 1, 4)));
    }

    #[test]
    fn entries_that_were_sent_are_not_queued_any_more() {
        let mut queue = SendQueue::default();
        queue.add(1, &old(), &Ranges::span(1, 9));
        queue.strike(&old(), &Ranges::span(3, 4));
        assert_eq!(queue.next(), Some((old(), 1, 2)));
        queue.strike(&old(), &Ranges::span(1, 2));
        assert_eq!(queue.of_log(&old()), Some(Ranges::span(5, 9)));
    }

    #[test]
    fn sending_one_log_leaves_the_others_queued() {
        let mut queue = SendQueue::default();
        queue.add(1, &old(), &Ranges::span(1, 2));
        queue.add(2, &new(), &Ranges::span(1, 2));
        queue.strike(&new(), &Ranges::span(1, 2));
        assert_eq!(queue.of_log(&old()), Some(Ranges::span(1, 2)));
        assert_eq!(queue.of_log(&new()), None);
    }

    #[test]
    fn nothing_to_add_queues_no_log() {
        let mut queue = SendQueue::default();
        queue.add(1, &old(), &Ranges::new());
        assert_eq!((queue.next(), queue.of_log(&old())), (None, None));
    }
}
