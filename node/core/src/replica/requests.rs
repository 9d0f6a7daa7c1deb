//! The entries that this replica has requested on one session.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::{PersonId, Ranges, Seq};

use super::log_key::LogKey;

/// Means "and all that follow" in a request. No entry has this number.
pub(super) const SEQ_OPEN_END: Seq = Seq::MAX - 2;

/// Maximum logs with a gap that was requested recently. While there are more, no gap is requested.
const GAPS_MAX: usize = 1024;

/// The same gap is not requested again within this time.
const GAP_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The requests of one conversation on one session.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pulled: BTreeMap<LogKey, Ranges>,
    /// Gaps: the first missing entry, and when it was requested.
    gaps: BTreeMap<LogKey, (Seq, Duration)>,
}

impl Requests {
    /// Notes a request for entries from `from` to `to`, or for all from `from` on.
    pub(super) fn add(&mut self, key: LogKey, from: Seq, to: Option<Seq>) {
        let pulled = self.pulled.entry(key).or_default();
        pulled.insert(from, to.unwrap_or(SEQ_OPEN_END));
    }

    /// Whether this entry was requested.
    pub(super) fn contain(&self, key: &LogKey, seq: Seq) -> bool {
        self.pulled
            .get(key)
            .is_some_and(|pulled| pulled.contains(seq))
    }

    /// Whether the session sends by itself what is new in this log.
    pub(super) fn are_open(&self, key: &LogKey) -> bool {
        self.contain(key, SEQ_OPEN_END)
    }

    /// The peer holds only these logs. Requests for others lead nowhere.
    pub(super) fn keep_only(&mut self, is_held: impl Fn(&LogKey) -> bool) {
        self.pulled.retain(|key, _| is_held(key));
    }

    /// The session does not send this author's entries any more.
    pub(super) fn forget_author(&mut self, author: PersonId) {
        self.pulled.retain(|key, _| key.author != author);
    }

    /// Notes that all entries from `from` on are requested to fill a gap. Returns whether the
    /// request must be sent: not if it was sent a moment ago.
    pub(super) fn add_gap(&mut self, key: LogKey, from: Seq, now: Duration) -> bool {
        let is_recent = |when: Duration| now - when < GAP_AGAIN_AFTER;
        if self.gaps.len() >= GAPS_MAX {
            self.gaps.retain(|_, (_, when)| is_recent(*when));
        }
        let same = self.gaps.get(&key).filter(|(at, _)| *at == from);
        if self.gaps.len() >= GAPS_MAX || same.is_some_and(|(_, when)| is_recent(*when)) {
            return false;
        }
        self.gaps.insert(key, (from, now));
        true
    }

    /// The number of items held, for the limit of a session.
    pub(super) fn size(&self) -> usize {
        let ranges = |ranges: &Ranges| 1 + ranges.iter().count();
        self.pulled.values().map(ranges).sum::<usize>() + self.gaps.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::log_key as log;
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn a_request_without_an_end_covers_later_entries() {
        let mut requests = Requests::default();
        requests.add(log(1, 1), 3, Some(5));
        assert!(requests.contain(&log(1, 1), 3) && requests.contain(&log(1, 1), 5));
        assert!(!requests.contain(&log(1, 1), 2) && !requests.contain(&log(1, 1), 6));
        assert!(!requests.are_open(&log(1, 1)));
        requests.add(log(1, 1), 8, None);
        assert!(requests.contain(&log(1, 1), 1_000_000) && requests.are_open(&log(1, 1)));
        assert!(!requests.contain(&log(1, 2), 8), "another log");
    }

    #[test]
    fn one_author_is_forgotten_with_all_its_logs() {
        let mut requests = Requests::default();
        for key in [log(1, 1), log(1, 2), log(2, 1)] {
            requests.add(key, 1, None);
        }
        requests.forget_author(log(1, 1).author);
        let open = [log(1, 1), log(1, 2), log(2, 1)].map(|key| requests.are_open(&key));
        assert_eq!(open, [false, false, true]);
    }

    #[test]
    fn requests_for_logs_that_the_peer_does_not_hold_are_forgotten() {
        let mut requests = Requests::default();
        for key in [log(1, 1), log(1, 2)] {
            requests.add(key, 1, None);
        }
        requests.keep_only(|key| *key == log(1, 2));
        let open = [log(1, 1), log(1, 2)].map(|key| requests.are_open(&key));
        assert_eq!(open, [false, true]);
    }

    #[test]
    fn a_gap_is_requested_once_a_second() {
        let mut requests = Requests::default();
        assert!(requests.add_gap(log(1, 1), 4, NOW));
        assert!(!requests.add_gap(log(1, 1), 4, NOW + Duration::from_millis(999)));
        assert!(requests.add_gap(log(1, 1), 4, NOW + Duration::from_secs(1)));
        assert!(requests.add_gap(log(1, 1), 5, NOW + Duration::from_secs(1)));
    }

    #[test]
    fn a_peer_with_endless_gaps_gets_no_more_requests_for_a_second() {
        let mut requests = Requests::default();
        for n in 0..GAPS_MAX as u64 {
            assert!(requests.add_gap(log(1, n), 1, NOW));
        }
        assert!(!requests.add_gap(log(2, 1), 1, NOW));
        assert_eq!(requests.size(), GAPS_MAX);
        assert!(requests.add_gap(log(2, 1), 1, NOW + Duration::from_secs(1)));
        assert_eq!(requests.size(), 1);
    }

    #[test]
    fn each_log_and_each_range_counts() {
        let mut requests = Requests::default();
        requests.add(log(1, 1), 1, Some(2));
        requests.add(log(1, 1), 4, Some(5));
        requests.add(log(1, 2), 1, None);
        requests.add_gap(log(1, 3), 1, NOW);
        assert_eq!(requests.size(), 3 + 2 + 1);
    }
}
