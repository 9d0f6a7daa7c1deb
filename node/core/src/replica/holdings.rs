//! The entries of a conversation that a peer has announced.

use std::collections::BTreeMap;

use hobnob_protocol::ranges::RANGES_MAX;
use hobnob_protocol::{LogName, PersonId, Ranges};

use super::log_key::LogKey;

/// Maximum logs that one session may announce in all conversations together and that this node does
/// not hold, counted with their ranges. While there are more, further logs wait: when these have
/// been fetched, the peer is asked for its heads again.
pub const LOGS_ANNOUNCED_MAX: usize = 20_000;

/// The entries that a peer holds of one conversation, as far as it has announced or sent them.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    logs: BTreeMap<LogKey, Holding>,
    /// How many announcements there were.
    announced: u64,
    /// The number of the list of heads that arrives, or that arrived last.
    list: u32,
    /// Whether more pages of that list follow.
    is_listing: bool,
    /// Whether logs were left out because there were too many.
    is_cut: bool,
}

/// The entries of one log that a peer holds.
#[derive(Debug)]
struct Holding {
    ranges: Ranges,
    /// The place in the order in which the peer announced its logs. It announces an author's older
    /// log before the newer one.
    order: u64,
    /// The last list of heads during which the peer named the log.
    list: u32,
    /// How much of the session's limit it takes up.
    cost: usize,
}

impl Holdings {
    /// The entries of one log.
    pub(super) fn of(&self, key: &LogKey) -> Ranges {
        let holding = self.logs.get(key);
        holding.map_or_else(Ranges::new, |holding| holding.ranges.clone())
    }

    /// All logs, sorted by author.
    pub(super) fn logs(&self) -> impl Iterator<Item = &LogKey> {
        self.logs.keys()
    }

    /// The logs of one author with their entries.
    pub(super) fn logs_of(&self, author: PersonId) -> impl Iterator<Item = (&LogKey, &Ranges)> {
        let of_author = self.logs.range(LogKey::all_of(author));
        of_author.map(|(key, holding)| (key, &holding.ranges))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// The place of a log in the order of announcements.
    pub(super) fn position(&self, key: &LogKey) -> Option<u64> {
        self.logs.get(key).map(|holding| holding.order)
    }

    /// The logs of the same author that the peer announced before this one.
    pub(super) fn older_logs(&self, name: LogName) -> Vec<LogKey> {
        let Some(at) = self.position(&LogKey::of(&name)) else {
            return Vec::new();
        };
        self.logs_of(name.author)
            .map(|(key, _)| *key)
            .filter(|key| self.position(key) < Some(at))
            .collect()
    }

    /// Adds entries that the peer announced or sent. `is_held` is whether this node holds the log,
    /// `session_size` the size of the holdings of all conversations of the session. Returns whether
    /// the log is remembered.
    pub(super) fn add(
        &mut self,
        key: LogKey,
        ranges: &Ranges,
        is_held: bool,
        session_size: &mut usize,
    ) -> bool {
        let mut theirs = self.of(&key);
        theirs.insert_all(ranges);
        self.put(key, theirs, is_held, session_size)
    }

    fn put(
        &mut self,
        key: LogKey,
        mut theirs: Ranges,
        is_held: bool,
        session_size: &mut usize,
    ) -> bool {
        let known = self.logs.get(&key);
        let (before, is_new) = (known.map_or(0, |known| known.cost), known.is_none());
        let others = session_size.saturating_sub(before);
        let is_full = others + cost_of(&theirs, is_held) > LOGS_ANNOUNCED_MAX;
        if is_full && is_new && !is_held {
            self.is_cut = true;
            return false;
        }
        if is_full || theirs.iter().count() > 4 * RANGES_MAX {
            // Only a lying peer has this many holes. A log that is forgotten here is announced
            // again.
            let newest = theirs.iter().next_back();
            theirs = newest
                .map(|(first, last)| Ranges::span(first, last))
                .unwrap_or_default();
        }
        let cost = cost_of(&theirs, is_held);
        *session_size = others + cost;
        self.announced += 1;
        let order = self.position(&key).unwrap_or(self.announced);
        let holding = Holding {
            ranges: theirs,
            order,
            list: self.list,
            cost,
        };
        self.logs.insert(key, holding);
        true
    }

    /// A page of the peer's list of heads arrives. The first page begins a new list.
    pub(super) fn page_arrives(&mut self) {
        if !self.is_listing {
            self.is_listing = true;
            self.is_cut = false;
            self.list = self.list.wrapping_add(1);
        }
    }

    /// Takes one log of a page, instead of what was known of it.
    pub(super) fn list(
        &mut self,
        key: LogKey,
        ranges: Ranges,
        is_held: bool,
        session_size: &mut usize,
    ) {
        self.put(key, ranges, is_held, session_size);
    }

    /// The list is complete: forgets the logs that it did not name.
    pub(super) fn list_ends(&mut self, session_size: &mut usize) {
        let (before, list) = (self.size(), self.list);
        self.is_listing = false;
        self.logs.retain(|_, holding| holding.list == list);
        *session_size = (*session_size + self.size()).saturating_sub(before);
    }

    /// Replaces all that was known with logs that this node holds itself.
    pub(super) fn replace(&mut self, theirs: BTreeMap<LogKey, Ranges>, session_size: &mut usize) {
        self.is_listing = false;
        self.page_arrives();
        for (key, ranges) in theirs {
            self.list(key, ranges, true, session_size);
        }
        self.list_ends(session_size);
    }

    /// Counts again, because this node holds other logs than before.
    pub(super) fn recount(&mut self, is_held: impl Fn(&LogKey) -> bool, session_size: &mut usize) {
        let before = self.size();
        for (key, holding) in &mut self.logs {
            holding.cost = cost_of(&holding.ranges, is_held(key));
        }
        *session_size = (*session_size + self.size()).saturating_sub(before);
    }

    /// Whether logs were left out because there were too many.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// How much of the session's limit this conversation takes up. The logs that this node holds
    /// itself do not count: their number has a limit already.
    pub(super) fn size(&self) -> usize {
        self.logs.values().map(|holding| holding.cost).sum()
    }
}

/// A log costs one and one for each of its ranges. A log that this node holds costs only one for
/// each range beyond the first.
fn cost_of(ranges: &Ranges, is_held: bool) -> usize {
    let count = ranges.iter().count();
    if is_held {
        count.saturating_sub(1)
    } else {
        1 + count
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::ConversationId;

    use super::super::testing::log_key as log;
    use super::*;

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
        assert!(holdings.add(log(1, 1), &Ranges::span(1, 3), false, &mut size));
        assert!(holdings.add(log(1, 1), &Ranges::span(3, 5), false, &mut size));
        assert_eq!(holdings.of(&log(1, 1)), Ranges::span(1, 5));
        assert_eq!(holdings.of(&log(1, 2)), Ranges::new());
        assert_eq!((size, holdings.size()), (2, 2));
    }

    #[test]
    fn older_logs_are_those_announced_before() {
        let (mut holdings, mut size) = (Holdings::default(), 0);
        for key in [log(1, 9), log(2, 1), log(1, 4), log(1, 7)] {
            holdings.add(key, &Ranges::span(1, 1), false, &mut size);
        }
        // Announcing the first log again does not make it the newest.
        holdings.add(log(1, 9), &Ranges::span(2, 2), false, &mut size);
        assert_eq!(holdings.older_logs(name(log(1, 7))), [log(1, 4), log(1, 9)]);
        assert_eq!(holdings.older_logs(name(log(1, 9))), []);
        assert_eq!(holdings.older_logs(name(log(3, 3))), [], "never announced");
    }

    #[test]
    fn a_complete_list_of_heads_replaces_what_was_known() {
        let (mut holdings, mut size) = (Holdings::default(), 0);
        holdings.add(log(1, 1), &Ranges::span(1, 3), false, &mut size);
        holdings.add(log(2, 1), &Ranges::span(1, 9), false, &mut size);
        holdings.page_arrives();
        holdings.list(log(2, 1), Ranges::span(1, 2), false, &mut size);
        assert_eq!(holdings.of(&log(1, 1)), Ranges::span(1, 3), "more follows");
        holdings.page_arrives();
        holdings.list(log(3, 1), Ranges::span(1, 1), false, &mut size);
        // A receipt that arrives between the pages is as new as the list.
        holdings.add(log(4, 1), &Ranges::span(5, 5), false, &mut size);
        holdings.list_ends(&mut size);
        assert_eq!(holdings.of(&log(1, 1)), Ranges::new());
        assert_eq!(holdings.of(&log(2, 1)), Ranges::span(1, 2));
        assert_eq!(holdings.of(&log(4, 1)), Ranges::span(5, 5));
        assert_eq!(holdings.logs().count(), 3);
        assert_eq!((size, holdings.size()), (6, 6));
    }

    #[test]
    fn logs_beyond_the_limit_are_taken_when_the_others_were_fetched() {
        let (mut holdings, mut size) = (Holdings::default(), 0);
        let most = LOGS_ANNOUNCED_MAX as u64 / 2;
        let list_all = |holdings: &mut Holdings, size: &mut usize, held: u64| {
            holdings.page_arrives();
            for n in 0..most + 10 {
                holdings.list(log(1, n), Ranges::span(1, 1), n < held, size);
            }
            holdings.list_ends(size);
        };
        list_all(&mut holdings, &mut size, 0);
        assert!(holdings.is_cut());
        assert_eq!(holdings.logs().count() as u64, most);
        assert_eq!(size, LOGS_ANNOUNCED_MAX);
        // The first half has been fetched.
        holdings.recount(|key| key.log.0 < most / 2, &mut size);
        assert_eq!(size, LOGS_ANNOUNCED_MAX / 2);
        list_all(&mut holdings, &mut size, most / 2);
        assert!(!holdings.is_cut());
        assert_eq!(holdings.logs().count() as u64, most + 10);
    }

    #[test]
    fn logs_that_this_node_holds_cost_nothing() {
        let (mut holdings, mut size) = (Holdings::default(), LOGS_ANNOUNCED_MAX);
        assert!(holdings.add(log(1, 1), &Ranges::span(1, 3), true, &mut size));
        assert!(!holdings.add(log(1, 2), &Ranges::span(1, 3), false, &mut size));
        assert_eq!(size, LOGS_ANNOUNCED_MAX);
        assert!(holdings.is_cut());
    }

    #[test]
    fn a_session_that_has_announced_too_much_adds_no_log() {
        let (mut holdings, mut size) = (Holdings::default(), 0);
        holdings.add(log(1, 1), &Ranges::span(1, 1), false, &mut size);
        size = LOGS_ANNOUNCED_MAX;
        assert!(!holdings.add(log(1, 2), &Ranges::span(1, 1), false, &mut size));
        // Of a log that is known, the newest piece is remembered.
        assert!(holdings.add(log(1, 1), &Ranges::span(5, 6), false, &mut size));
        assert_eq!(holdings.of(&log(1, 1)), Ranges::span(5, 6));
        size = LOGS_ANNOUNCED_MAX - 2;
        assert!(holdings.add(log(1, 2), &Ranges::span(1, 1), false, &mut size));
        assert_eq!(size, LOGS_ANNOUNCED_MAX);
    }

    #[test]
    fn of_a_log_with_too_many_holes_the_newest_piece_is_remembered() {
        let (mut holdings, mut size) = (Holdings::default(), 0);
        let most = 4 * RANGES_MAX as u64;
        holdings.add(log(1, 1), &holes(most), false, &mut size);
        assert_eq!(holdings.of(&log(1, 1)), holes(most));
        assert_eq!(size, 1 + 4 * RANGES_MAX);
        holdings.add(
            log(1, 1),
            &Ranges::span(9 * most, 9 * most),
            false,
            &mut size,
        );
        assert_eq!(holdings.of(&log(1, 1)), Ranges::span(9 * most, 9 * most));
        assert_eq!(size, 2);
    }
}
