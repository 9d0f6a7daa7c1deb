//! The types that the core and the forwarding plane share: routes, their updates and counters.
//!
//! A [`Route`] is one direction of a channel. The core creates and removes routes with [`Update`]s.
//! Only the plane has the table, so no frame waits for a lock. The counters are atomics that both
//! sides share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hobnob_protocol::datagram::ChannelId;

/// One direction of a channel: how to forward a frame that names it.
#[derive(Debug, Clone)]
pub struct Route {
    /// The sender's name of the channel, which is in its frames.
    pub channel: ChannelId,
    /// The only accepted source of its frames: the address of the sender's control connection.
    pub from: SocketAddr,
    /// The destination of the frames.
    pub to: SocketAddr,
    /// The receiver's name of the channel, which replaces the sender's.
    pub becomes: ChannelId,
    /// Counts what the relay does for the sender.
    pub meter: Arc<Meter>,
    /// Shared by both directions.
    pub used: Arc<Used>,
}

/// A change of the plane's table.
#[derive(Debug, Clone)]
pub enum Update {
    /// Add this route. It replaces a route of the same channel.
    Set(Route),
    /// Remove the route of this channel.
    Remove(ChannelId),
}

/// Whether a channel was in use recently.
#[derive(Debug, Default)]
pub struct Used(AtomicBool);

impl Used {
    /// Notes that a frame passes.
    pub fn mark(&self) {
        // Usually the mark is set. Reading first keeps the cache line shared.
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a frame passed since the last call.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Counts what the relay forwards and drops for one peer.
#[derive(Debug, Default)]
pub struct Meter {
    frames: AtomicU64,
    bytes: AtomicU64,
    over_rate: AtomicU64,
    wrong_sender: AtomicU64,
    unsent: AtomicU64,
    /// The sender's token bucket: see `plane::bucket`.
    paid_until: AtomicU64,
    /// The last window in which the peer sent a frame: see `plane::fair`.
    window: AtomicU64,
}

/// The values of a [`Meter`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metered {
    /// Frames forwarded.
    pub frames: u64,
    /// Bytes of these frames, with their headers.
    pub bytes: u64,
    /// Frames dropped because the peer exceeded its rate, or its share while the relay was
    /// overloaded.
    pub over_rate: u64,
    /// Frames dropped that named a channel of this peer but came from another address.
    pub wrong_sender: u64,
    /// Frames dropped because the system could not send them.
    pub unsent: u64,
}

impl Meter {
    /// Counts forwarded frames.
    pub fn forwarded(&self, frames: u64, bytes: u64) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts frames beyond the peer's rate.
    pub fn over_rate(&self, frames: u64) {
        self.over_rate.fetch_add(frames, Ordering::Relaxed);
    }

    /// Counts frames from another address.
    pub fn wrong_sender(&self, frames: u64) {
        self.wrong_sender.fetch_add(frames, Ordering::Relaxed);
    }

    /// Counts frames that the system did not send.
    pub fn unsent(&self, frames: u64) {
        self.unsent.fetch_add(frames, Ordering::Relaxed);
    }

    /// The moment at which the peer has paid for all forwarded frames, in the plane's time. Only
    /// the plane uses it.
    pub(crate) fn paid_until(&self) -> u64 {
        self.paid_until.load(Ordering::Relaxed)
    }

    /// See [`Meter::paid_until`].
    pub(crate) fn pay_until(&self, nanos: u64) {
        self.paid_until.store(nanos, Ordering::Relaxed);
    }

    /// Whether this is the peer's first frame in this window of the plane. Only the plane uses it.
    pub(crate) fn is_first_in(&self, window: u64) -> bool {
        let first = self.window.load(Ordering::Relaxed) != window;
        if first {
            self.window.store(window, Ordering::Relaxed);
        }
        first
    }

    /// The counters now.
    pub fn read(&self) -> Metered {
        let [frames, bytes, over_rate, wrong_sender, unsent] = [
            &self.frames,
            &self.bytes,
            &self.over_rate,
            &self.wrong_sender,
            &self.unsent,
        ]
        .map(|n| n.load(Ordering::Relaxed));
        Metered {
            frames,
            bytes,
            over_rate,
            wrong_sender,
            unsent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_reported_once() {
        let used = Used::default();
        assert!(!used.take());
        used.mark();
        used.mark();
        assert!(used.take() && !used.take());
    }

    #[test]
    fn a_meter_counts_each_outcome_separately() {
        let meter = Meter::default();
        meter.forwarded(2, 50);
        meter.over_rate(3);
        meter.wrong_sender(4);
        meter.unsent(5);
        let expected = Metered {
            frames: 2,
            bytes: 50,
            over_rate: 3,
            wrong_sender: 4,
            unsent: 5,
        };
        assert_eq!(meter.read(), expected);
    }

    #[test]
    fn only_the_first_frame_of_a_window_is_the_first() {
        let meter = Meter::default();
        assert!(meter.is_first_in(1) && !meter.is_first_in(1));
        assert!(meter.is_first_in(2));
    }
}
