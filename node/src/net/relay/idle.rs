//! When a link may sleep: the relay offers it, and the node has had nothing to say for a while.

use std::time::Duration;

/// The times that a relay may offer: after how much idle time, and between heartbeats. Others are
/// replaced by the nearest of these.
const AFTER_MS: std::ops::RangeInclusive<u32> = 1_000..=3_600_000;
const EVERY_MS: std::ops::RangeInclusive<u32> = 1_000..=60_000;

/// How long a relay may take to agree. Without an answer it does not agree.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How long a link stays awake after it has asked for a channel. The relay may have to wake the peer, which
/// takes at most 4.4 s.
const OPENS_WITHIN: Duration = Duration::from_secs(6);

/// Whether a connection is idle. All times are of the node's monotonic clock.
#[derive(Debug)]
pub(super) struct Idle {
    /// After how much idle time the relay lets this node sleep, and how often it then expects a
    /// heartbeat.
    offer: Option<(Duration, Duration)>,
    busy_at: Duration,
    /// Until when a channel may open.
    opening_until: Duration,
    /// When the relay was asked for its agreement, if nothing was sent since.
    asked_at: Option<Duration>,
}

impl Idle {
    /// A connection that has just begun.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            offer: None,
            busy_at: now,
            opening_until: now,
            asked_at: None,
        }
    }

    /// The relay lets this node sleep.
    pub(super) fn offered(&mut self, after_ms: u32, every_ms: u32) {
        let clamped = |ms: u32, range: std::ops::RangeInclusive<u32>| {
            Duration::from_millis(ms.clamp(*range.start(), *range.end()).into())
        };
        self.offer = Some((clamped(after_ms, AFTER_MS), clamped(every_ms, EVERY_MS)));
    }

    /// The connection is of use.
    pub(super) fn busy(&mut self, now: Duration) {
        self.busy_at = now;
        self.asked_at = None;
    }

    /// This node asks for a channel. That alone does not count as busy: a peer that is not there is
    /// asked for again and again.
    pub(super) fn opening(&mut self, now: Duration) {
        self.asked_at = None;
        self.opening_until = now + OPENS_WITHIN;
    }

    /// This node sends a frame, which takes back that it wants to sleep.
    pub(super) fn sent(&mut self) {
        self.asked_at = None;
    }

    /// Whether this node waits for the relay's agreement. Heartbeats would take the question back.
    pub(super) fn is_asking(&self, now: Duration) -> bool {
        self.asked_at.is_some_and(|at| now < at + ANSWER_LIMIT)
    }

    /// Whether to ask the relay for its agreement now. If so, this counts as asked.
    pub(super) fn asks(&mut self, now: Duration) -> bool {
        let Some((after, _)) = self.offer else {
            return false;
        };
        if self.asked_at.is_some() {
            if !self.is_asking(now) {
                // It does not agree. It is asked again when this time has passed once more.
                self.busy(now);
            }
            return false;
        }
        let asks = now >= (self.busy_at + after).max(self.opening_until);
        if asks {
            self.asked_at = Some(now);
        }
        asks
    }

    /// The relay agrees. Returns the time between heartbeats, or nothing if this node does not want
    /// to sleep any more.
    pub(super) fn agreed(&mut self) -> Option<Duration> {
        self.asked_at.take()?;
        self.offer.map(|(_, every)| every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_idle_link_asks_once_and_again_after_the_same_time() {
        let mut idle = Idle::new(100 * SECOND);
        assert!(!idle.asks(900 * SECOND), "the relay offers nothing");
        idle.offered(60_000, 25_000);
        idle.busy(100 * SECOND);
        assert!(!idle.asks(159 * SECOND));
        assert!(idle.asks(160 * SECOND));
        assert!(idle.is_asking(164 * SECOND));
        assert!(!idle.asks(161 * SECOND) && !idle.asks(165 * SECOND));
        assert_eq!(idle.agreed(), None, "that is too late");
        assert!(!idle.asks(224 * SECOND) && idle.asks(225 * SECOND));
        assert_eq!(idle.agreed(), Some(25 * SECOND));
    }

    #[test]
    fn a_frame_takes_the_question_back() {
        let mut idle = Idle::new(Duration::ZERO);
        idle.offered(60_000, 25_000);
        assert!(idle.asks(60 * SECOND));
        idle.sent();
        assert!(!idle.is_asking(60 * SECOND));
        assert_eq!(idle.agreed(), None);
        assert!(idle.asks(61 * SECOND), "it is still idle");
        idle.busy(62 * SECOND);
        assert_eq!(idle.agreed(), None);
        assert!(!idle.asks(121 * SECOND));
    }

    #[test]
    fn a_link_stays_awake_for_the_channel_that_it_has_asked_for() {
        let mut idle = Idle::new(Duration::ZERO);
        idle.offered(60_000, 25_000);
        idle.opening(59 * SECOND);
        assert!(!idle.asks(64 * SECOND));
        assert!(idle.asks(65 * SECOND), "nothing came of it");
        idle.opening(66 * SECOND);
        assert_eq!(idle.agreed(), None);
    }

    #[test]
    fn times_beyond_reason_are_replaced() {
        let mut idle = Idle::new(Duration::ZERO);
        idle.offered(0, u32::MAX);
        assert!(!idle.asks(SECOND / 2) && idle.asks(SECOND));
        assert_eq!(idle.agreed(), Some(60 * SECOND));
        idle.offered(u32::MAX, 0);
        assert!(idle.asks(3_600 * SECOND));
        assert_eq!(idle.agreed(), Some(SECOND));
    }
}
