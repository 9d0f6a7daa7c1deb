//! Prints the relay's log of events to stderr: one line for each registration, refusal, ban and kick.
//!
//! `2026-11-29T15:27:00.042Z hobnob-relay refused addr=192.0.2.7 port=4000 peer=ID reason=wrong-token`
//!
//! docs/RELAY.md documents the lines. The rate is limited, so that a flood of newcomers fills no disk.
#![expect(clippy::disallowed_methods, reason = "a driver: it reads the clock")]

use std::time::Duration;

use hobnob_limits::{Bucket, Pace};
use hobnob_local::output;
use hobnob_relay::server::LogEvent;
use jiff::Timestamp;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How many lines may be printed: 200 at once, and 20 a second. A line about lines that were left
/// out comes at most once a second.
const LINES: Pace = Pace::new(200, Duration::from_millis(50));

/// How often lines that were left out are reported.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Which lines are printed.
#[derive(Debug, Default)]
struct Limiter {
    bucket: Bucket,
    left_out: u64,
}

impl Limiter {
    /// The line of an event, unless there were too many.
    fn line(&mut self, now: Duration, time: Timestamp, event: &LogEvent) -> Option<String> {
        if self.bucket.take(now, LINES) {
            return Some(line(time, event));
        }
        self.left_out += 1;
        None
    }

    /// The line that reports events that were left out, if there were any.
    fn report(&mut self, time: Timestamp) -> Option<String> {
        let left_out = std::mem::take(&mut self.left_out);
        (left_out > 0).then(|| line(time, &format_args!("suppressed lines={left_out}")))
    }
}

fn line(time: Timestamp, event: &dyn std::fmt::Display) -> String {
    format!("{time:.3} hobnob-relay {event}")
}

/// Prints events until `stop` is cancelled.
pub(crate) async fn print(mut events: Receiver<LogEvent>, stop: CancellationToken) {
    let started = Instant::now();
    let mut limiter = Limiter::default();
    let mut report = interval(REPORT_EVERY);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let line = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => limiter.line(started.elapsed(), Timestamp::now(), &event),
                Err(RecvError::Lagged(lost)) => {
                    limiter.left_out += lost;
                    None
                }
                Err(RecvError::Closed) => return,
            },
            _ = report.tick() => limiter.report(Timestamp::now()),
            () = stop.cancelled() => return,
        };
        if let Some(line) = line {
            output::say(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::DeviceId;

    fn refusal() -> LogEvent {
        LogEvent::Refused {
            peer: DeviceId::from_bytes([1; 32]),
            addr: "192.0.2.7:4000".parse().unwrap(),
            reason: "wrong-token",
        }
    }

    #[test]
    fn a_line_starts_with_the_time_and_the_program() {
        let time = "2026-11-29T15:27:00.0421Z".parse().unwrap();
        let line = Limiter::default()
            .line(Duration::ZERO, time, &refusal())
            .unwrap();
        assert!(
            line.starts_with(
                "2026-11-29T15:27:00.042Z hobnob-relay refused addr=192.0.2.7 port=4000 "
            ),
            "{line}"
        );
    }

    #[test]
    fn a_flood_is_summed_up() {
        let mut limiter = Limiter::default();
        let time = Timestamp::UNIX_EPOCH;
        let printed =
            (0..1_000).filter(|_| limiter.line(Duration::ZERO, time, &refusal()).is_some());
        assert_eq!(printed.count(), 200);
        assert_eq!(
            limiter.report(time).unwrap(),
            "1970-01-01T00:00:00.000Z hobnob-relay suppressed lines=800"
        );
        assert_eq!(limiter.report(time), None);
        assert!(
            limiter
                .line(Duration::from_secs(1), time, &refusal())
                .is_some()
        );
    }

    /// The filter is the form of a line, with patterns in place of its values.
    #[test]
    fn the_fail2ban_filter_matches_the_lines_about_refusals() {
        let filter = include_str!("../../../scripts/fail2ban/hobnob-relay.conf");
        let time = "2026-11-29T15:27:00.0421Z".parse().unwrap();
        let peer = DeviceId::from_bytes([1; 32]).to_string();
        let line = line(time, &refusal());
        let (date, text) = line.split_once(' ').unwrap();
        assert_eq!(date, "2026-11-29T15:27:00.042Z");
        assert!(
            filter.contains("%%ExY-%%m-%%dT%%H:%%M:%%S\\.%%f%%z\n"),
            "{filter}"
        );
        assert!(peer.len() == 52 && peer.chars().all(|c| matches!(c, 'a'..='z' | '2'..='7')));
        let reasons = "(?:no-token|wrong-token|expired-token|not-listed|banned|address-banned)";
        let pattern = text
            .replace("192.0.2.7", "<ADDR>")
            .replace("4000", "\\d+")
            .replace(&peer, "[a-z2-7]{52}")
            .replace("wrong-token", reasons);
        assert!(
            filter.contains(&format!("failregex = ^.*\\b{pattern}$\n")),
            "{pattern}"
        );
    }
}
