//! Reads the clocks and draws random numbers for the state machines, which do neither themselves.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the driver that reads the clock for all others"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hobnob_core::Now;

/// The clocks of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono: self.origin.elapsed(),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Converts [`Now::mono`] for tokio's timers.
    pub(super) fn at(&self, mono: Duration) -> tokio::time::Instant {
        (self.origin + mono).into()
    }
}

/// A random number.
pub(super) fn random() -> u64 {
    rand::random()
}

/// A random seed for a key.
pub(super) fn random_seed() -> [u8; 32] {
    rand::random()
}
