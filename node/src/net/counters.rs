//! Counts the datagrams that the socket dropped, by cause. Some attacks and faults leave no other
//! trace.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many datagrams did not reach quinn, by cause.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) stun: AtomicU64,
    pub(super) channel: AtomicU64,
    pub(super) probe: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) oversized: AtomicU64,
    pub(super) no_channel: AtomicU64,
    pub(super) send_error: AtomicU64,
    pub(super) recv_error: AtomicU64,
    send_refused: AtomicU64,
    /// Where the last of these was to go.
    refused_to: Mutex<Option<SocketAddr>>,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// STUN messages that are no answer, and answers that the engine had no room for.
    pub stun: u64,
    /// Channel frames that belong to no channel of this node, also not a moment later; that did not
    /// come from the channel's relay; or that contain something other than QUIC.
    pub channel: u64,
    /// Probes and address checks that the engine had no room for, and datagrams for a sleeping link
    /// that no relay of such a link sent.
    pub probe: u64,
    /// Datagrams of no known kind, empty ones among them.
    pub unknown: u64,
    /// Datagrams longer than any that a peer may send.
    pub oversized: u64,
    /// Transmissions to a relayed peer while there was no channel with it.
    pub no_channel: u64,
    /// Transmissions that failed.
    pub send_error: u64,
    /// Those of them that this machine does not allow, as with a firewall.
    pub send_refused: u64,
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
            probe: read(&self.probe),
            unknown: read(&self.unknown),
            oversized: read(&self.oversized),
            no_channel: read(&self.no_channel),
            send_error: read(&self.send_error),
            send_refused: read(&self.send_refused),
            recv_error: read(&self.recv_error),
        }
    }

    /// Counts early frames whose channel did not become known in time.
    pub(super) fn early_dropped(&self, frames: u64) {
        count_all(&self.channel, frames);
    }

    /// Counts a transmission that this machine does not allow.
    pub(super) fn refused(&self, to: SocketAddr) {
        count(&self.send_refused);
        *self.lock_refused() = Some(to);
    }

    /// Where the last transmission was to go that this machine did not allow.
    pub fn last_refused(&self) -> Option<SocketAddr> {
        *self.lock_refused()
    }

    fn lock_refused(&self) -> std::sync::MutexGuard<'_, Option<SocketAddr>> {
        self.refused_to
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
