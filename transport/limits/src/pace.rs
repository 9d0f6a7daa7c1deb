//! How often something may happen.

use std::time::Duration;

/// How often something may happen: `burst` times at once, then once every `every`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Time until one more is allowed.
    pub every: Duration,
    /// How many may happen at once after a long pause; at least 1.
    pub burst: u32,
}

impl Pace {
    /// `burst` times at once, then once every `every`.
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self { every, burst }
    }

    /// This many times a second, of which `burst` may be saved up.
    pub const fn per_second(times: u32, burst: u32) -> Self {
        Self::new(burst, Duration::from_nanos(1_000_000_000 / times as u64))
    }
}

/// The use of one [`Pace`] by one peer, host or network. This is the generic cell rate algorithm
/// (ITU-T I.371), which needs one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// When the bucket is full again.
    full_at: Duration,
}

impl Bucket {
    /// Takes one, or returns false if there is none.
    pub fn take(&mut self, now: Duration, pace: Pace) -> bool {
        let has_one = self.has_one(now, pace);
        if has_one {
            self.full_at = self.full_at.max(now) + pace.every;
        }
        has_one
    }

    /// Whether there is one.
    pub fn has_one(&self, now: Duration, pace: Pace) -> bool {
        self.full_at.max(now) + pace.every <= now + pace.every * pace.burst.max(1)
    }

    /// Whether nothing of the burst is used.
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_at_a_time() {
        let pace = Pace::new(3, Duration::from_secs(2));
        let mut bucket = Bucket::default();
        let taken: Vec<_> = [10, 10, 10, 10, 11, 12, 12, 20, 20, 20, 20]
            .into_iter()
            .filter(|second| bucket.take(Duration::from_secs(*second), pace))
            .collect();
        assert_eq!(taken, [10, 10, 10, 12, 20, 20, 20]);
    }

    #[test]
    fn asking_takes_nothing_and_a_bucket_fills_up_again() {
        let (pace, now) = (Pace::per_second(2, 2), Duration::from_secs(1));
        let mut bucket = Bucket::default();
        assert!(bucket.is_full(now) && bucket.has_one(now, pace) && bucket.has_one(now, pace));
        assert!(bucket.take(now, pace) && bucket.take(now, pace));
        assert!(!bucket.has_one(now, pace) && !bucket.is_full(now));
        let later = now + Duration::from_millis(500);
        assert!(bucket.has_one(later, pace) && !bucket.is_full(later));
        assert!(bucket.is_full(now + Duration::from_secs(1)));
    }
}
