//! A meter: how many bytes a transfer has moved, and how fast.

use std::time::Duration;

/// The weight of the newest measurement in the rate. Smaller values are smoother.
const SMOOTHING: f64 = 0.3;

/// The part of a report beside the bytes: whether bytes flow, and whether the disk is full.
pub(super) type Condition = (bool, bool);

/// Measures one transfer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Meter {
    bytes: u64,
    measured_at: Option<Duration>,
    /// Bytes per second.
    rate: Option<f64>,
    reported: Option<(u64, Condition)>,
}

impl Meter {
    /// A meter of a transfer of which this many bytes exist already.
    pub(super) fn starting_at(bytes: u64) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// Notes how many bytes there are now.
    pub(super) fn measure(&mut self, now: Duration, bytes: u64) {
        let since = self.measured_at.and_then(|at| now.checked_sub(at));
        let seconds = since.map(|since| since.as_secs_f64());
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
            let newest = bytes.saturating_sub(self.bytes) as f64 / seconds;
            let smooth = |rate: f64| rate + SMOOTHING * (newest - rate);
            self.rate = Some(self.rate.map_or(newest, smooth));
        }
        (self.bytes, self.measured_at) = (bytes, Some(now));
    }

    /// Bytes per second, after two measurements.
    pub(super) fn rate(&self) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate for people to read"
        )]
        self.rate.map(|rate| rate.max(0.0) as u64)
    }

    /// Whether a report would differ from the last one. Counts as that report.
    pub(super) fn has_changed(&mut self, condition: Condition) -> bool {
        let report = Some((self.bytes, condition));
        std::mem::replace(&mut self.reported, report) != report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_rate_needs_two_measurements_and_follows_the_newest_slowly() {
        let mut meter = Meter::starting_at(1_000);
        meter.measure(at(1), 2_000);
        assert_eq!(meter.rate(), None);
        meter.measure(at(2), 3_000);
        assert_eq!(meter.rate(), Some(1_000));
        meter.measure(at(3), 3_000);
        assert_eq!(meter.rate(), Some(700), "30 percent of the way to 0");
        meter.measure(at(3), 9_000);
        assert_eq!(meter.rate(), Some(700), "no time has passed");
    }

    #[test]
    fn fewer_bytes_than_before_are_no_negative_rate() {
        let mut meter = Meter::starting_at(0);
        meter.measure(at(0), 500);
        meter.measure(at(1), 100);
        assert_eq!(meter.rate(), Some(0));
    }

    #[test]
    fn only_a_change_is_worth_a_report() {
        let (flows, stopped) = ((true, false), (false, false));
        let mut meter = Meter::starting_at(7);
        assert!(meter.has_changed(flows), "the first report");
        assert!(!meter.has_changed(flows));
        assert!(meter.has_changed(stopped));
        meter.measure(at(1), 8);
        assert!(meter.has_changed(stopped));
    }
}
