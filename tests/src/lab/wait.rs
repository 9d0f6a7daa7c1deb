//! Waiting with a deadline. This is the only file of the lab that reads the clock.

#![expect(
    clippy::disallowed_methods,
    reason = "a test of real processes polls them, against a deadline on the real clock"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Calls `check` until it returns `Ok`. Panics with its last error after `within`.
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

/// Sleeps. Only for tests of time itself, such as a random moment for a crash. To wait for
/// readiness, use [`until`].
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Sets a flag when it is dropped, also by a panic: threads that wait for the flag end.
#[derive(Debug)]
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Measures elapsed time.
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

/// Interval between two calls of `check`. It grows, so that long waits use little processor time.
const GAP_LEAST: Duration = Duration::from_millis(2);
const GAP_MOST: Duration = Duration::from_millis(200);
