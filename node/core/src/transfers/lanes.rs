//! How many streams the content that one session brings is spread over.
//!
//! QUIC lets each stream have [`LANE_BYTES`] on the way, so that no stream can fill a connection's
//! window and messages always find room. On one stream that is as much as comes in a round trip:
//! enough on a local network, a tenth of what a fast path across an ocean can carry. A *lane* is
//! one such stream. There is one until what comes in a round trip is about what the lanes let
//! through; then there are twice as many.

use std::time::Duration;

use super::ASKS_PER_LANE;

/// What may be on the way on one lane: the window of a stream.
pub const LANE_BYTES: u64 = 1024 * 1024;

/// Lanes of one session at most. More than all of them let through in a round trip does not come.
pub const LANES_MAX: usize = 16;

/// Round trips over which is measured what comes, and the least time, in which reports come one by
/// one.
const ROUNDS: u32 = 3;
const MEASURED_AT_LEAST: Duration = Duration::from_millis(50);

/// The lanes of one session, and what comes on them.
#[derive(Debug)]
pub(super) struct Lanes {
    count: usize,
    /// The shortest round trip seen. A longer one may be the content's own doing: it stands in a
    /// queue, and more of it would only make that longer, for messages too.
    rtt: Duration,
    /// Since when, and how much has come since.
    since: Option<Duration>,
    bytes: u64,
    /// More were asked for, and not got yet.
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
    /// How many asks may be under way on all of them.
    pub(super) fn asks(&self) -> usize {
        1 + self.count * ASKS_PER_LANE
    }

    /// So much has come.
    pub(super) fn came(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// How many lanes there should be, if more than there are.
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

    /// There are so many now. Fewer than were asked for: there is no room for more, and it is not
    /// asked again.
    pub(super) fn are(&mut self, count: usize) {
        self.waits = count < (self.count * 2).min(LANES_MAX);
        self.count = self.count.max(count).min(LANES_MAX);
    }
}
