//! When the replica must be called again.

use std::collections::BTreeMap;
use std::time::Duration;

/// A task for a certain time. Timers that are due together run in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Announce entries that were not sent.
    Announce,
    /// Request missing entries from another session.
    PullRetry,
    /// Compare digests with a random member of each room.
    AntiEntropy,
    /// Ask peers for heads that they left out, or that were too many.
    MoreHeads,
    /// Save receipts and the peers present in open rooms.
    Save,
    /// Release sessions that were too fast.
    Budget,
    /// Save a sign of life.
    Alive,
    /// Read again what the store could not read.
    ReadAgain,
}

/// The timers that are set, on the clock that does not jump.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeMap<Timer, Duration>);

impl Timers {
    /// Sets a timer, unless it is set.
    pub(super) fn arm(&mut self, timer: Timer, at: Duration) {
        self.0.entry(timer).or_insert(at);
    }

    /// Sets a timer to this time, unless it is due earlier.
    pub(super) fn arm_by(&mut self, timer: Timer, at: Duration) {
        let armed = self.0.entry(timer).or_insert(at);
        *armed = at.min(*armed);
    }

    /// When the first timer is due.
    pub(super) fn first(&self) -> Option<Duration> {
        self.0.values().min().copied()
    }

    /// Removes the timers that are due, and returns them.
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<Timer> {
        let due: Vec<_> = self
            .0
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(timer, _)| *timer)
            .collect();
        for timer in &due {
            self.0.remove(timer);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(10);

    #[test]
    fn a_timer_that_is_set_keeps_its_time() {
        let mut timers = Timers::default();
        timers.arm(Timer::Save, AT);
        timers.arm(Timer::Save, AT * 2);
        timers.arm(Timer::Save, AT / 2);
        assert_eq!(timers.first(), Some(AT));
    }

    #[test]
    fn arm_by_moves_a_timer_forward_only() {
        let mut timers = Timers::default();
        timers.arm_by(Timer::Alive, AT);
        timers.arm_by(Timer::Alive, AT * 2);
        assert_eq!(timers.first(), Some(AT));
        timers.arm_by(Timer::Alive, AT / 2);
        assert_eq!(timers.first(), Some(AT / 2));
    }

    #[test]
    fn timers_that_are_due_are_returned_once() {
        let mut timers = Timers::default();
        timers.arm(Timer::ReadAgain, AT);
        timers.arm(Timer::Announce, AT / 2);
        timers.arm(Timer::AntiEntropy, AT * 2);
        assert_eq!(timers.first(), Some(AT / 2));
        assert_eq!(timers.take_due(AT), [Timer::Announce, Timer::ReadAgain]);
        assert_eq!(timers.take_due(AT), []);
        assert_eq!(timers.first(), Some(AT * 2));
    }
}
