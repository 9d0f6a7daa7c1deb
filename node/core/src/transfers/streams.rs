//! Decides how many streams carry the content of one session.
//!
//! QUIC limits each stream to [`STREAM_BYTES`] in flight. So no stream can fill a connection's
//! window, and messages always find room. The limit also bounds what one stream delivers in a round
//! trip. That is enough on a local network, but only a tenth of what a fast path across an ocean
//! can carry. A session starts with one stream. When a round trip
//! delivers at least half of what the streams allow, the number of streams doubles.

use std::time::Duration;

/// Requests in flight on one stream. With more than one, the next answer follows without a round trip
/// in between.
pub const REQUESTS_PER_STREAM: usize = 2;

/// Maximum bytes in flight on one stream: its window.
pub const STREAM_BYTES: u64 = 1024 * 1024;

/// Maximum streams of one session. Together with [`STREAM_BYTES`], it limits what a session receives in
/// a round trip.
pub const STREAMS_MAX: usize = 16;

/// One measurement covers this many round trips, but at least [`MEASURED_AT_LEAST`]: pieces are
/// reported one by one, so a shorter time contains too few reports.
const ROUNDS: u32 = 3;
const MEASURED_AT_LEAST: Duration = Duration::from_millis(50);

/// The streams of one session, and the measured flow on them.
#[derive(Debug)]
pub(super) struct Streams {
    count: usize,
    /// The shortest round trip seen. A longer one may be caused by the content itself, when it
    /// fills a queue on the path. More streams would only lengthen that queue, and delay messages
    /// too.
    rtt: Duration,
    /// When the current measurement started, and the bytes received since then.
    since: Option<Duration>,
    bytes: u64,
    /// More streams were requested and not granted.
    waits: bool,
}

impl Default for Streams {
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

impl Streams {
    /// Maximum requests in flight on all streams.
    pub(super) fn asks(&self) -> usize {
        1 + self.count * REQUESTS_PER_STREAM
    }

    /// Counts received bytes.
    pub(super) fn came(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Returns a new number of streams if the session needs more.
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
        let is_narrow = in_a_round * 2 >= u128::from(STREAM_BYTES) * self.count as u128;
        if !is_narrow || self.waits || self.count >= STREAMS_MAX {
            return None;
        }
        self.waits = true;
        Some((self.count * 2).min(STREAMS_MAX))
    }

    /// Sets the number of open streams. If it is less than requested, there is no room for more, and
    /// the session does not ask again.
    pub(super) fn are(&mut self, count: usize) {
        self.waits = count < (self.count * 2).min(STREAMS_MAX);
        self.count = self.count.max(count).min(STREAMS_MAX);
    }
}
