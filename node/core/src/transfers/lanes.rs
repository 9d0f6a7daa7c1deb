//! Decides how many streams carry the content of one session.
//!
//! QUIC limits each stream to [`LANE_BYTES`] in flight. So no stream can fill a connection's
//! window, and messages always find room. The limit also bounds what one stream delivers in a round
//! trip. That is enough on a local network, but only a tenth of what a fast path across an ocean
//! can carry. A *lane* is one such stream. A session starts with one lane. When a round trip
//! delivers at least half of what the lanes allow, the number of lanes doubles.

use std::time::Duration;

use super::ASKS_PER_LANE;

/// Maximum bytes in flight on one lane: the window of a stream.
pub const LANE_BYTES: u64 = 1024 * 1024;

/// Maximum lanes of one session. Together with [`LANE_BYTES`], it limits what a session receives in
/// a round trip.
pub const LANES_MAX: usize = 16;

/// One measurement covers this many round trips, but at least [`MEASURED_AT_LEAST`]: pieces are
/// reported one by one, so a shorter time contains too few reports.
const ROUNDS: u32 = 3;
const MEASURED_AT_LEAST: Duration = Duration::from_millis(50);

/// The lanes of one session, and the measured flow on them.
#[derive(Debug)]
pub(super) struct Lanes {
    count: usize,
    /// The shortest round trip seen. A longer one may be caused by the content itself, when it
    /// fills a queue on the path. More lanes would only lengthen that queue, and delay messages
    /// too.
    rtt: Duration,
    /// When the current measurement started, and the bytes received since then.
    since: Option<Duration>,
    bytes: u64,
    /// More lanes were requested and not granted.
    waits: bool,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            count: 1,
            rtt: Duration::MAX,
            since: None,
            bytes: 0,
            waits: false,
        }
    }
}

impl Lanes {
    /// Maximum requests in flight on all lanes.
    pub(super) fn asks(&self) -> usize {
        1 + self.count * ASKS_PER_LANE
    }

    /// Counts received bytes.
    pub(super) fn came(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Returns a new number of lanes if the session needs more.
    pub(super) fn measure(&mut self, now: Duration, rtt: Duration) -> Option<usize> {
        self.rtt = self.rtt.min(rtt);
        let Some(since) = self.since else {
            (self.since, self.bytes) = (Some(now), 0);
            return None;
        };
        let took = now.saturating_sub(since);
        if took < MEASURED_AT_LEAST.max(self.rtt * ROUNDS) {
            return None;
        }
        let in_a_round = u128::from(self.bytes) * self.rtt.as_micros() / took.as_micros().max(1);
        (self.since, self.bytes) = (Some(now), 0);
        let is_narrow = in_a_round * 2 >= u128::from(LANE_BYTES) * self.count as u128;
        if !is_narrow || self.waits || self.count >= LANES_MAX {
            return None;
        }
        self.waits = true;
        Some((self.count * 2).min(LANES_MAX))
    }

    /// Sets the number of open lanes. If it is less than requested, there is no room for more, and
    /// the session does not ask again.
    pub(super) fn are(&mut self, count: usize) {
        self.waits = count < (self.count * 2).min(LANES_MAX);
        self.count = self.count.max(count).min(LANES_MAX);
    }
}
