//! The Lamport clock of a conversation, which orders its entries.

use super::refusal::LAMPORT_MAX;

/// A Lamport number that is further ahead advances our own clock by this much only. The entry is
/// accepted: refusing it would split a room for good, because other members may have followed the
/// clock of its author.
pub const LAMPORT_AHEAD_MAX: u64 = 1 << 20;

/// The highest number seen, apart from jumps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock(u64);

impl Clock {
    /// The clock of a conversation whose highest stored number is this one.
    pub(super) fn load(lamport: u64) -> Self {
        Self(lamport)
    }

    /// The highest number seen.
    pub(super) fn now(self) -> u64 {
        self.0
    }

    /// The number of the next entry of our own.
    pub(super) fn tick(&mut self) -> u64 {
        self.0 = (self.0 + 1).min(LAMPORT_MAX);
        self.0
    }

    /// Follows a number of somebody else, by a limited step: one lying peer cannot use up the
    /// numbers.
    pub(super) fn follow(&mut self, lamport: u64) {
        let limit = self.0.saturating_add(LAMPORT_AHEAD_MAX).min(LAMPORT_MAX);
        self.0 = self.0.max(lamport.min(limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_after_all_that_its_author_has_seen() {
        let mut clock = Clock::default();
        assert_eq!(clock.tick(), 1);
        clock.follow(12);
        clock.follow(5);
        assert_eq!(clock.tick(), 13);
    }

    #[test]
    fn a_clock_far_ahead_is_followed_by_a_limited_step() {
        let mut clock = Clock::load(7);
        clock.follow(u64::MAX);
        assert_eq!(clock.now(), 7 + LAMPORT_AHEAD_MAX);
    }

    #[test]
    fn the_numbers_end_at_the_highest_valid_one() {
        let mut clock = Clock::load(LAMPORT_MAX - 1);
        assert_eq!(clock.tick(), LAMPORT_MAX);
        assert_eq!(clock.tick(), LAMPORT_MAX);
        clock.follow(u64::MAX);
        assert_eq!(clock.now(), LAMPORT_MAX);
    }
}
