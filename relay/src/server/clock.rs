//! The one place of the relay's server that reads the clocks: everything else is told.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the driver that reads the clock for all others"
)]

use std::time::{Duration, Instant, SystemTime};

/// The clocks of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    started_at: SystemTime,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            origin: Instant::now(),
            started_at: SystemTime::now(),
        }
    }

    /// The time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// A moment as tokio's timers take it.
    pub(crate) fn at(&self, moment: Duration) -> tokio::time::Instant {
        (self.origin + moment).into()
    }

    /// A moment as people name it, as far as the machine's clock was right at the start.
    pub(crate) fn wall(&self, moment: Duration) -> SystemTime {
        self.started_at + moment
    }
}
