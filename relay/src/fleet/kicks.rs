//! The kicks of other relays: each acts once, and only for a while.

use std::collections::BTreeSet;
use std::time::Duration;

use hobnob_protocol::DeviceId;

/// A kick that took longer to arrive is ignored: it may be a repetition.
const VALID_FOR: Duration = Duration::from_secs(10);

/// How far the clock of another relay may be ahead.
const AHEAD_MAX: Duration = Duration::from_secs(5);

/// Maximum kicks within the time. Further ones are ignored.
const KICKS_MAX: usize = 1_024;

/// The kicks that have acted, with their times.
#[derive(Debug, Default)]
pub(super) struct Kicks {
    seen: BTreeSet<(u64, DeviceId)>,
}

impl Kicks {
    /// Another relay has kicked a peer at a time. Returns whether it acts. Times are in milliseconds
    /// since 1970.
    pub(super) fn acts(&mut self, now_ms: u64, peer: DeviceId, at_ms: u64) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let earliest = now_ms.saturating_sub(millis(VALID_FOR));
        self.seen.retain(|(seen_ms, _)| *seen_ms >= earliest);
        let latest = now_ms.saturating_add(millis(AHEAD_MAX));
        let is_valid = (earliest..=latest).contains(&at_ms) && self.seen.len() < KICKS_MAX;
        is_valid && self.seen.insert((at_ms, peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    #[test]
    fn a_kick_acts_once_and_not_late() {
        let (mut kicks, now) = (Kicks::default(), 100_000);
        assert!(kicks.acts(now, peer(1), now));
        assert!(!kicks.acts(now + 9_000, peer(1), now), "again");
        assert!(!kicks.acts(now + 11_000, peer(1), now), "again, and late");
        assert!(!kicks.acts(now, peer(2), now - 10_001), "late");
        assert!(!kicks.acts(now, peer(2), now + 5_001), "ahead");
        assert!(kicks.acts(now, peer(2), now - 10_000));
        assert!(
            kicks.acts(now + 11_000, peer(1), now + 11_000),
            "another one"
        );
    }

    #[test]
    fn too_many_kicks_are_ignored_for_a_while() {
        let mut kicks = Kicks::default();
        let max = u64::try_from(KICKS_MAX).unwrap();
        for n in 0..max {
            assert!(kicks.acts(2_000, peer(1), n));
        }
        assert!(!kicks.acts(2_000, peer(1), max));
        assert!(kicks.acts(20_000, peer(1), 20_000));
    }
}
