//! A token bucket, which limits one sender. It is stored as one number: the moment at which the
//! sender has paid for everything it sent. So using it costs a comparison and a sum.

use super::PlaneConfig;

/// Smallest cost of a frame, in bytes: a small frame costs the relay as much work as a large one.
pub(super) const FRAME_COST_MIN: u64 = 256;

/// Smallest burst. With less, not even one batch would pass.
const BURST_MIN: u64 = 64 * 1024;

/// Largest burst. More would be no limit.
const BURST_MAX: u64 = 1024 * 1024 * 1024;

const NANOS: u64 = 1_000_000_000;

/// Units per second, and units at once after a pause. All moments are in nanoseconds since the
/// plane's start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    per_second: u64,
    /// How far ahead of its payments a sender may be.
    burst_nanos: u64,
}

impl Rate {
    /// A rate of at least one unit per second and one at once.
    pub(super) fn new(per_second: u64, burst: u64) -> Self {
        let per_second = per_second.max(1);
        let burst_nanos = u128::from(burst.max(1)) * u128::from(NANOS) / u128::from(per_second);
        Self {
            per_second,
            burst_nanos: u64::try_from(burst_nanos).unwrap_or(u64::MAX / 4).max(1),
        }
    }

    /// The rate of one peer in bytes. `None` means no limit.
    pub(super) fn of_bytes(config: &PlaneConfig) -> Option<Self> {
        (config.rate > 0).then(|| Self::new(config.rate, config.burst.clamp(BURST_MIN, BURST_MAX)))
    }

    /// The lower of two rates.
    pub(super) fn stricter(self, other: Self) -> Self {
        if other.per_second < self.per_second {
            other
        } else {
            self
        }
    }

    /// Returns how many of `wanted` items of `cost` units may pass now, and the moment at which the
    /// sender has then paid for them.
    pub(super) fn grant(self, paid_until: u64, now: u64, cost: u64, wanted: u64) -> (u64, u64) {
        let from = paid_until.max(now);
        let left = now.saturating_add(self.burst_nanos).saturating_sub(from);
        let each = (cost.saturating_mul(NANOS) / self.per_second).max(1);
        let granted = wanted.min(left / each);
        (granted, from + granted * each)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_passes_then_the_rate() {
        let rate = Rate::new(1_000, 5_000);
        let (granted, paid) = rate.grant(0, 0, 1_000, 9);
        assert_eq!(granted, 5);
        assert_eq!(rate.grant(paid, 0, 1_000, 9), (0, paid));
        let (granted, paid) = rate.grant(paid, 2 * NANOS, 1_000, 9);
        assert_eq!(granted, 2);
        // A long pause fills the bucket to its burst only.
        assert_eq!(rate.grant(paid, 3_600 * NANOS, 1_000, 9).0, 5);
    }

    #[test]
    fn no_rate_means_no_limit_and_odd_bursts_are_brought_into_bounds() {
        assert!(Rate::of_bytes(&PlaneConfig { rate: 0, burst: 9 }).is_none());
        let small = Rate::of_bytes(&PlaneConfig { rate: 1, burst: 0 }).unwrap();
        assert_eq!(small.grant(0, 0, 1_024, 100).0, 64);
        let large = Rate::of_bytes(&PlaneConfig {
            rate: 1,
            burst: u64::MAX,
        })
        .unwrap();
        assert_eq!(large.grant(0, 0, 1_024, u64::from(u32::MAX)).0, 1024 * 1024);
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate(
            per_second in 1_000_u64..10_000_000_000,
            burst in 64_u64..10_000_000,
            asks in proptest::collection::vec((0_u64..1_000_000_000, 1_u64..2_000, 1_u64..100), 1..50),
        ) {
            let rate = Rate::new(per_second, burst);
            let (mut now, mut paid, mut spent) = (0, 0, 0_u128);
            for (later, cost, wanted) in asks {
                now += later;
                let (granted, until) = rate.grant(paid, now, cost, wanted);
                prop_assert!(granted <= wanted);
                paid = until;
                spent += u128::from(granted * cost);
                // The price of each item is rounded down by less than a nanosecond.
                let earned = u128::from(per_second) * u128::from(now) / u128::from(NANOS);
                let rounding = spent / 1_000 + u128::from(per_second / NANOS + 1) * u128::from(wanted) * 50;
                prop_assert!(spent <= u128::from(burst) + earned + rounding);
            }
        }
    }
}
