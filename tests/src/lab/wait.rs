//! Waiting with a deadline, and the only clock of the lab.

#![expect(
    clippy::disallowed_methods,
    reason = "a test of real processes polls them, against a deadline on the real clock"
)]

use std::time::{Duration, Instant};

/// Asks `check` until it gives a value, and panics with its last answer when that takes longer than
/// `within`.
pub fn until<T>(what: &str, within: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    let mut gap = GAP_LEAST;
    loop {
        match check() {
            Ok(value) => return value,
            Err(why) if begun.elapsed() > within => panic!("{what}: not within {within:?}: {why}"),
            Err(_) => std::thread::sleep(gap),
        }
        gap = (gap * 3 / 2).min(GAP_MOST);
    }
}

/// Lets time pass: for what is about time itself, as a moment for a crash. Never for readiness;
/// that is [`until`].
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Tells how long something took.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Between two questions; it grows, so that long waits don't burn the processor that what is waited
/// for needs.
const GAP_LEAST: Duration = Duration::from_millis(2);
const GAP_MOST: Duration = Duration::from_millis(200);
