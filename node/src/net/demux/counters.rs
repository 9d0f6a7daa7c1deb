//! What the socket dropped, by cause: the only trace that some attacks and faults leave.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many datagrams did not reach quinn, by cause.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) stun: AtomicU64,
    pub(super) channel: AtomicU64,
    pub(super) knock: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) oversized: AtomicU64,
    pub(super) no_channel: AtomicU64,
    pub(super) send_error: AtomicU64,
    pub(super) recv_error: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// STUN messages that are no answer, and answers beyond what the node looks at.
    pub stun: u64,
    /// Channel frames of no channel of ours, also not a moment later, from elsewhere than its
    /// relay, or with something else than QUIC in them.
    pub channel: u64,
    /// Knocks beyond what the node looks at.
    pub knock: u64,
    /// Datagrams of no known kind, empty ones among them.
    pub unknown: u64,
    /// Datagrams longer than any that a peer may send.
    pub oversized: u64,
    /// Transmissions to a relayed peer while there was no channel with it.
    pub no_channel: u64,
    /// Transmissions that the system refused.
    pub send_error: u64,
    /// Receptions that failed.
    pub recv_error: u64,
}

impl Counters {
    /// The counters now.
    pub fn snapshot(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            stun: read(&self.stun),
            channel: read(&self.channel),
            knock: read(&self.knock),
            unknown: read(&self.unknown),
            oversized: read(&self.oversized),
            no_channel: read(&self.no_channel),
            send_error: read(&self.send_error),
            recv_error: read(&self.recv_error),
        }
    }

    /// Counts frames that were kept for a channel and not handed on.
    pub(in crate::net) fn early_dropped(&self, frames: u64) {
        count_all(&self.channel, frames);
    }

    pub(super) fn failed(&self, counter: &AtomicU64, error: &io::Error) {
        counter.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, "the socket failed");
    }
}

pub(super) fn count(counter: &AtomicU64) {
    count_all(counter, 1);
}

pub(super) fn count_all(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
