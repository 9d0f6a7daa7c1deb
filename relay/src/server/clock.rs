//! The only module of the relay's server that reads the clocks. All others receive the time.
#![expect(
    clippy::disallowed_methods,
    reason = "the driver that reads the clocks"
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

    /// The wall clock. Unlike [`Clock::wall`] it follows corrections of the machine's clock.
    pub(crate) fn date(&self) -> SystemTime {
        SystemTime::now()
    }

    /// The wall clock, in milliseconds since 1970.
    pub(crate) fn date_ms(&self) -> u64 {
        let since = self.date().duration_since(SystemTime::UNIX_EPOCH);
        u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
    }

    /// A moment as tokio's timers expect it.
    pub(crate) fn at(&self, moment: Duration) -> tokio::time::Instant {
        (self.origin + moment).into()
    }

    /// A moment in wall-clock time. It is right if the machine's clock was right at the start.
    pub(crate) fn wall(&self, moment: Duration) -> SystemTime {
        self.started_at + moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_count_from_the_start() {
        let clock = Clock::start();
        let minute = Duration::from_secs(60);
        assert_eq!(clock.at(minute) - clock.at(Duration::ZERO), minute);
        let apart = clock
            .wall(minute)
            .duration_since(clock.wall(Duration::ZERO));
        assert_eq!(apart.unwrap(), minute);
    }
}
