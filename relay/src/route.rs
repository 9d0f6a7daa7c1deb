//! What the slow path tells the forwarding plane, and what the plane tells back: counters.
//!
//! A [`Route`] is one direction of a channel. The slow path makes and ends routes by sending
//! [`Update`]s; the plane alone holds the table, so that no frame waits for a lock that anything
//! slow can hold. Counters are atomics that both sides share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hobnob_protocol::datagram::ChannelId;

/// One direction of a channel: what to do with a frame that names it.
#[derive(Debug, Clone)]
pub struct Route {
    /// The sender's name of the channel, which its frames carry.
    pub channel: ChannelId,
    /// Where its frames must come from: the address of the sender's own control connection.
    pub from: SocketAddr,
    /// Where they go.
    pub to: SocketAddr,
    /// The receiver's name of the channel, which takes the place of the sender's.
    pub becomes: ChannelId,
    /// What the sender has made the relay do.
    pub meter: Arc<Meter>,
    /// Shared by both directions.
    pub used: Arc<Used>,
}

/// A change of the plane's table.
#[derive(Debug, Clone)]
pub enum Update {
    /// This route, from now on; in the place of the one with the same channel, if there is one.
    Set(Route),
    /// This route no longer.
    Remove(ChannelId),
}

/// Whether anything went through a channel lately.
#[derive(Debug, Default)]
pub struct Used(AtomicBool);

impl Used {
    /// A frame goes through.
    pub fn mark(&self) {
        // Most frames find it marked: reading keeps the line shared.
        if !self.0.load(Ordering::Relaxed) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether anything went through since the last time this was asked.
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// What one peer has made the relay forward and drop.
#[derive(Debug, Default)]
pub struct Meter {
    frames: AtomicU64,
    bytes: AtomicU64,
    over_rate: AtomicU64,
    wrong_sender: AtomicU64,
    unsent: AtomicU64,
    /// The sender's token bucket: see `plane::bucket`.
    paid_until: AtomicU64,
    /// The last window in which it sent anything: see `plane::fair`.
    window: AtomicU64,
}

/// A [`Meter`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metered {
    /// Frames forwarded.
    pub frames: u64,
    /// Bytes in them, with their headers.
    pub bytes: u64,
    /// Frames dropped because the peer sent more than it may, or more than its share while the
    /// relay was overloaded.
    pub over_rate: u64,
    /// Frames dropped that named a channel of this peer but came from elsewhere.
    pub wrong_sender: u64,
    /// Frames dropped because the system could not send them at the moment.
    pub unsent: u64,
}

impl Meter {
    /// Counts frames that went through.
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

    /// Counts frames that the system would not take.
    pub fn unsent(&self, frames: u64) {
        self.unsent.fetch_add(frames, Ordering::Relaxed);
    }

    /// Until when the peer has paid for what was forwarded, in the plane's time. Only the plane
    /// reads and writes it.
    pub(crate) fn paid_until(&self) -> u64 {
        self.paid_until.load(Ordering::Relaxed)
    }

    /// See [`Meter::paid_until`].
    pub(crate) fn pay_until(&self, nanos: u64) {
        self.paid_until.store(nanos, Ordering::Relaxed);
    }

    /// Whether the peer sends for the first time in this window of the plane's. Only the plane
    /// asks.
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
