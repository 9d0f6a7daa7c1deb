//! How long the plane needs to forward: a histogram for the operator.
//!
//! It measures from the end of a receive call until all frames of it are with the system. Time in
//! the buffers of the system is not part of it. Only one receive call in [`ONE_IN`] is measured,
//! because reading the clock costs as much as a tenth of a frame.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One receive call in this many is measured.
const ONE_IN: u32 = 16;

const MICROSECOND: u64 = 1_000;

/// The upper bounds of the buckets, in nanoseconds. A last bucket has no bound.
const BOUNDS: [u64; 12] = [
    MICROSECOND,
    2 * MICROSECOND,
    5 * MICROSECOND,
    10 * MICROSECOND,
    20 * MICROSECOND,
    50 * MICROSECOND,
    100 * MICROSECOND,
    200 * MICROSECOND,
    500 * MICROSECOND,
    1_000 * MICROSECOND,
    5_000 * MICROSECOND,
    20_000 * MICROSECOND,
];

const BUCKETS: usize = BOUNDS.len() + 1;

/// The live histogram. The plane writes it, and any thread can read it.
#[derive(Debug, Default)]
pub(super) struct ForwardTimes {
    buckets: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// The histogram at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    /// The upper bound of each bucket in seconds, and the number of measurements in it. The last
    /// bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// The number of measurements.
    pub count: u64,
    /// The sum of all measured times.
    pub sum: Duration,
}

impl ForwardTimes {
    /// Adds one measurement.
    pub(super) fn record(&self, nanos: u64) {
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The histogram now.
    pub(super) fn snapshot(&self) -> Latency {
        let counts = self.buckets.each_ref().map(|n| n.load(Ordering::Relaxed));
        let bounds = BOUNDS.map(|nanos| Duration::from_nanos(nanos).as_secs_f64());
        let bounds = bounds.into_iter().chain([f64::INFINITY]);
        Latency {
            buckets: bounds.zip(counts).collect(),
            count: counts.iter().sum(),
            sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}

/// Chooses the receive calls that are measured.
#[derive(Debug, Default)]
pub(super) struct Sampling(u32);

impl Sampling {
    /// Whether this call is measured. The first one is.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.0 == 0;
        self.0 = (self.0 + 1) % ONE_IN;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_belongs_to_the_bucket_whose_bound_it_does_not_exceed() {
        let times = ForwardTimes::default();
        for nanos in [1, 1_000, 1_001, 30_000_000] {
            times.record(nanos);
        }
        let latency = times.snapshot();
        assert_eq!(latency.buckets[..3], [(1e-6, 2), (2e-6, 1), (5e-6, 0)]);
        assert_eq!(latency.buckets.last(), Some(&(f64::INFINITY, 1)));
        assert_eq!(latency.count, 4);
        assert_eq!(latency.sum, Duration::from_nanos(30_002_002));
    }

    #[test]
    fn one_call_in_sixteen_is_measured() {
        let mut sampling = Sampling::default();
        let due = (0..160).filter(|_| sampling.is_due()).count();
        assert_eq!(due, 10);
    }
}
