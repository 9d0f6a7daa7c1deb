//! How many entries a session may push before it has to wait.

use std::time::Duration;

/// Entries per second that one session may push. Beyond this rate it waits until the store is idle.
pub const LIVE_ENTRIES_PER_SECOND: u64 = 2_000;

/// The budget of one session for entries that it pushes.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    filled_at: Duration,
    /// Processed batches whose permits are withheld because the session was too fast.
    pub(super) held: usize,
}

impl Budget {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            left: LIVE_ENTRIES_PER_SECOND,
            filled_at: now,
            held: 0,
        }
    }

    fn refill(&mut self, now: Duration) {
        let millis = u64::try_from((now - self.filled_at).as_millis()).unwrap_or(u64::MAX);
        let more = millis.saturating_mul(LIVE_ENTRIES_PER_SECOND) / 1000;
        if more > 0 {
            self.left = self.left.saturating_add(more).min(LIVE_ENTRIES_PER_SECOND);
            self.filled_at = now;
        }
    }

    /// Spends the budget on `entries`, and returns whether it was enough.
    pub(super) fn spend(&mut self, now: Duration, entries: u64) -> bool {
        self.refill(now);
        let enough = entries <= self.left;
        self.left = self.left.saturating_sub(entries);
        enough
    }

    /// Whether a session that was too fast may go on: a twentieth of a second has been saved up.
    pub(super) fn has_recovered(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.left >= LIVE_ENTRIES_PER_SECOND / 20
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(10);

    #[test]
    fn a_second_of_entries_may_come_at_once() {
        let mut budget = Budget::new(START);
        assert!(budget.spend(START, LIVE_ENTRIES_PER_SECOND));
        assert!(!budget.spend(START, 1));
    }

    #[test]
    fn the_budget_refills_with_time() {
        let mut budget = Budget::new(START);
        budget.spend(START, LIVE_ENTRIES_PER_SECOND);
        let later = START + Duration::from_millis(100);
        assert!(budget.spend(later, 200));
        assert!(!budget.spend(later, 1));
    }

    #[test]
    fn an_hour_of_silence_saves_up_one_second_of_entries() {
        let mut budget = Budget::new(START);
        let later = START + Duration::from_secs(3600);
        assert!(!budget.spend(later, LIVE_ENTRIES_PER_SECOND + 1));
    }

    #[test]
    fn asking_often_does_not_lose_parts_of_an_entry() {
        let mut budget = Budget::new(START);
        budget.spend(START, LIVE_ENTRIES_PER_SECOND);
        for micros in (0..10_000).step_by(100) {
            budget.spend(START + Duration::from_micros(micros), 0);
        }
        assert!(budget.spend(START + Duration::from_millis(10), 20));
    }

    #[test]
    fn a_session_that_was_too_fast_waits_for_50_milliseconds() {
        let mut budget = Budget::new(START);
        budget.spend(START, LIVE_ENTRIES_PER_SECOND);
        assert!(!budget.has_recovered(START + Duration::from_millis(49)));
        assert!(budget.has_recovered(START + Duration::from_millis(50)));
    }
}
