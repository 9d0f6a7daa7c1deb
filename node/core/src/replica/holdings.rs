//! The entries of a conversation that a peer has announced.

use std::collections::BTreeMap;

use hobnob_protocol::ranges::RANGES_MAX;
use hobnob_protocol::{LogName, Ranges};

use super::log_key::LogKey;
use super::refusal::Refusal;

/// Maximum logs, and ranges of them, that one session may announce in all conversations together.
/// Further logs are not remembered until the next session. Of a log in many pieces only the newest
/// piece is remembered.
pub const LOGS_ANNOUNCED_MAX: usize = 20_000;

/// The entries that a peer holds of one conversation, as far as it has announced or sent them.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    logs: BTreeMap<LogKey, Ranges>,
    /// The order in which the peer announced its logs. It announces an author's older log before
    /// the newer one.
    order: BTreeMap<LogKey, u64>,
    /// How many announcements there were.
    announced: u64,
    /// The part of a list of heads that has arrived, while more of it follows.
    pages: BTreeMap<LogKey, Ranges>,
    pages_size: usize,
}

impl Holdings {
    /// The entries of one log.
    pub(super) fn of(&self, key: &LogKey) -> Ranges {
        self.logs.get(key).cloned().unwrap_or_default()
    }

    /// All logs with their entries, sorted by author.
    pub(super) fn logs(&self) -> impl Iterator<Item = (&LogKey, &Ranges)> {
        self.logs.iter()
    }

    /// The place of a log in the order of announcements.
    pub(super) fn position(&self, key: &LogKey) -> Option<u64> {
        self.order.get(key).copied()
    }

    /// The logs of the same author that the peer announced before this one.
    pub(super) fn older_logs(&self, name: LogName) -> Vec<LogKey> {
        let Some(at) = self.position(&LogKey::of(&name)) else {
            return Vec::new();
        };
        let older = self.order.iter();
        older
            .filter(|(key, of)| key.author == name.author && **of < at)
            .map(|(key, _)| *key)
            .collect()
    }

    /// Adds entries that the peer announced or sent. `session_size` is the size of the holdings of
    /// all conversations of the session. Returns whether the log is remembered.
    pub(super) fn add(&mut self, key: LogKey, ranges: &Ranges, session_size: &mut usize) -> bool {
        let known = self.logs.get(&key);
        let before = known.map_or(0, size_of);
        let mut theirs = known.cloned().unwrap_or_default();
        theirs.insert_all(ranges);
        let full = *session_size + ranges.iter().count() >= LOGS_ANNOUNCED_MAX;
        if full && known.is_none() {
            return false;
        }
        if full || theirs.iter().count() > 4 * RANGES_MAX {
            // Only a lying peer has this many holes. A log that is forgotten here is announced
            // again.
            let newest = theirs.iter().next_back();
            theirs = newest
                .map(|(first, last)| Ranges::span(first, last))
                .unwrap_or_default();
        }
        *session_size = (*session_size + size_of(&theirs)).saturating_sub(before);
        self.note_order(key);
        self.logs.insert(key, theirs);
        true
    }

    /// Adds one log of a list of heads. The list counts once it is complete.
    pub(super) fn add_to_list(&mut self, key: LogKey, ranges: Ranges) -> Result<(), Refusal> {
        self.pages_size += size_of(&ranges);
        if self.pages_size > LOGS_ANNOUNCED_MAX {
            return Err(Refusal::Misplaced);
        }
        self.note_order(key);
        self.pages.insert(key, ranges);
        Ok(())
    }

    /// The list of heads is complete.
    pub(super) fn take_list(&mut self) -> BTreeMap<LogKey, Ranges> {
        self.pages_size = 0;
        std::mem::take(&mut self.pages)
    }

    /// Replaces all that was known.
    pub(super) fn replace(&mut self, theirs: BTreeMap<LogKey, Ranges>, session_size: &mut usize) {
        let before = self.size();
        self.logs = theirs;
        *session_size = (*session_size + self.size()).saturating_sub(before);
        self.order.retain(|key, _| self.logs.contains_key(key));
    }

    fn note_order(&mut self, key: LogKey) {
        self.announced += 1;
        self.order.entry(key).or_insert(self.announced);
    }

    /// How many logs and ranges of them the peer has announced.
    pub(super) fn size(&self) -> usize {
        self.logs.values().map(size_of).sum()
    }

    /// The number of items held, for the limit of a session.
    pub(super) fn remembered(&self) -> usize {
        self.size() + self.pages.values().map(size_of).sum::<usize>() + self.order.len()
    }
}

fn size_of(ranges: &Ranges) -> usize {
    1 + ranges.iter().count()
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, LogId, SecretKey};

    use super::*;

    fn log(author: u8, log: u64) -> LogKey {
        LogKey {
            author: SecretKey::from_seed([author; 32]).id(),
            log: LogId(log),
        }
    }

    fn name(key: LogKey) -> LogName {
        key.name(ConversationId::direct(log(1, 0).author, log(2, 0).author))
    }

    /// Every second entry, `count` of them.
    fn holes(count: u64) -> Ranges {
        let mut ranges = Ranges::new();
        (0..count).for_each(|n| ranges.insert(2 * n + 1, 2 * n + 1));
        ranges
    }

    #[test]
    fn announcements_add_up() {
        let (mut holdings, mut size) = (Holdings::default(), 0);
        assert!(holdings.add(log(1, 1), &Ranges::span(1, 3), &mut size));
        assert!(holdings.add(log(1, 1), &Ranges::span(3, 5), &mut size));
        assert_eq!(holdings.of(&log(1, 1)), Ranges::span(1, 5));
        assert_eq!(holdings.of(&log(1, 2)), Ranges::new());
        assert_eq!((size, holdings.size()), (2, 2));
    }

    #[test]
    fn older_logs_are_those_announced_before() {
        let (mut holdings, mut size) = (Holdings::default(), 0);
        for key in [log(1, 9), log(2, 1), log(1, 4), log(1, 7)] {
            holdings.add(key, &Ranges::span(1, 1), &mut size);
        }
        // Announcing the first log again does not make it the newest.
        holdings.add(log(1, 9), &Ranges::span(2, 2), &mut size);
        assert_eq!(holdings.older_logs(name(log(1, 7))), [log(1, 4), log(1, 9)]);
        assert_eq!(holdings.older_logs(name(log(1, 9))), []);
        assert_eq!(holdings.older_logs(name(log(3, 3))), [], "never announced");
    }

    #[test]
    fn a_list_of_heads_counts_when_it_is_complete() {
        let (mut holdings, mut size) = (Holdings::default(), 0);
        holdings.add(log(1, 1), &Ranges::span(1, 3), &mut size);
        holdings
            .add_to_list(log(2, 1), Ranges::span(1, 2))
            .expect("a short list");
        assert_eq!(holdings.of(&log(2, 1)), Ranges::new());
        assert_eq!(holdings.remembered(), 2 + 2 + 2);
        let list = holdings.take_list();
        holdings.replace(list, &mut size);
        assert_eq!(holdings.of(&log(2, 1)), Ranges::span(1, 2));
        assert_eq!(holdings.of(&log(1, 1)), Ranges::new());
        assert_eq!(size, 2);
        assert_eq!(holdings.position(&log(1, 1)), None);
        assert_eq!(holdings.position(&log(2, 1)), Some(2));
    }

    #[test]
    fn an_endless_list_of_heads_is_refused() {
        let mut holdings = Holdings::default();
        for n in 0..LOGS_ANNOUNCED_MAX as u64 / 2 {
            assert_eq!(holdings.add_to_list(log(1, n), Ranges::span(1, 1)), Ok(()));
        }
        let one_more = holdings.add_to_list(log(2, 1), Ranges::span(1, 1));
        assert_eq!(one_more, Err(Refusal::Misplaced));
        holdings.take_list();
        assert_eq!(holdings.add_to_list(log(2, 1), Ranges::new()), Ok(()));
    }

    #[test]
    fn a_session_that_has_announced_too_much_adds_no_log() {
        let (mut holdings, mut size) = (Holdings::default(), 0);
        holdings.add(log(1, 1), &Ranges::span(1, 1), &mut size);
        size = LOGS_ANNOUNCED_MAX - 1;
        assert!(!holdings.add(log(1, 2), &Ranges::span(1, 1), &mut size));
        // Of a log that is known, the newest piece is remembered.
        assert!(holdings.add(log(1, 1), &Ranges::span(5, 6), &mut size));
        assert_eq!(holdings.of(&log(1, 1)), Ranges::span(5, 6));
        size = LOGS_ANNOUNCED_MAX - 2;
        assert!(holdings.add(log(1, 2), &Ranges::span(1, 1), &mut size));
        assert_eq!(size, LOGS_ANNOUNCED_MAX);
    }

    #[test]
    fn of_a_log_with_too_many_holes_the_newest_piece_is_remembered() {
        let (mut holdings, mut size) = (Holdings::default(), 0);
        let most = 4 * RANGES_MAX as u64;
        holdings.add(log(1, 1), &holes(most), &mut size);
        assert_eq!(holdings.of(&log(1, 1)), holes(most));
        assert_eq!(size, 1 + 4 * RANGES_MAX);
        holdings.add(log(1, 1), &Ranges::span(9 * most, 9 * most), &mut size);
        assert_eq!(holdings.of(&log(1, 1)), Ranges::span(9 * most, 9 * most));
        assert_eq!(size, 2);
    }
}
