//! When a session reads the rooms of the node again, to show who has come and gone.

use std::collections::BTreeSet;

use hobnob_control::wire::Time;

/// When the rooms are read again after a peer has connected or disconnected. The node learns the
/// rooms of a peer some moments after the connection.
const AGAIN_MS: [u64; 3] = [200, 1_500, 5_000];

/// When the rooms are read again although nothing happened.
const EVERY_MS: u64 = 30_000;

/// Times are rounded down to this, so that many events at a time are one.
const STEP_MS: u64 = 100;

/// When the rooms are read again. One reading is under way at a time.
#[derive(Debug)]
pub(crate) struct Refresh {
    /// Times in milliseconds since the epoch. There is always one.
    due: BTreeSet<u64>,
    under_way: bool,
}

impl Refresh {
    /// The rooms were read now.
    pub(crate) fn new(now: Time) -> Refresh {
        Refresh {
            due: BTreeSet::from([now.0 + EVERY_MS]),
            under_way: false,
        }
    }

    /// Something has happened that may have changed who is in a room.
    pub(crate) fn soon(&mut self, now: Time) {
        let now = now.0 / STEP_MS * STEP_MS;
        self.due.extend(AGAIN_MS.map(|after| now + after));
    }

    /// Whether to read the rooms now. Then [`Refresh::done`] follows.
    pub(crate) fn begins(&mut self, now: Time) -> bool {
        if self.under_way || self.due.first().is_none_or(|first| *first > now.0) {
            return false;
        }
        self.due = self.due.split_off(&now.0.saturating_add(1));
        self.due.insert(now.0 + EVERY_MS);
        self.under_way = true;
        true
    }

    /// The rooms were read.
    pub(crate) fn done(&mut self) {
        self.under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_followed_by_three_readings_one_at_a_time() {
        let mut refresh = Refresh::new(Time(0));
        assert!(!refresh.begins(Time(10_000)));
        refresh.soon(Time(10_010));
        refresh.soon(Time(10_090));
        assert!(!refresh.begins(Time(10_199)));
        assert!(refresh.begins(Time(10_200)));
        assert!(!refresh.begins(Time(11_500)), "one is under way");
        refresh.done();
        assert!(refresh.begins(Time(11_500)));
        refresh.done();
        assert!(refresh.begins(Time(15_000)));
        refresh.done();
        assert!(!refresh.begins(Time(15_001)));
    }

    #[test]
    fn the_rooms_are_read_again_although_nothing_happened() {
        let mut refresh = Refresh::new(Time(0));
        assert!(!refresh.begins(Time(EVERY_MS - 1)));
        assert!(refresh.begins(Time(EVERY_MS)));
        refresh.done();
        assert!(refresh.begins(Time(2 * EVERY_MS)));
    }
}
