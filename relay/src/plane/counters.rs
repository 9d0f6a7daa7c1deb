//! What the plane forwarded, and what it did not, by cause.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The plane's counters since the start of the relay, at one moment. QUIC is not among them: quinn
/// counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Channel frames forwarded.
    pub frames: u64,
    /// Bytes in them, with their nine-byte headers.
    pub bytes: u64,
    /// Channel frames dropped: no such channel.
    pub unknown_channel: u64,
    /// Channel frames dropped: the channel is another's, or its sender's address has changed.
    pub wrong_sender: u64,
    /// Channel frames dropped: their peer sent more than it may, or more than its share while the
    /// relay was overloaded.
    pub over_rate: u64,
    /// Channel frames dropped: the system's send buffer was full.
    pub unsent: u64,
    /// Channel frames dropped: the system refused them, as where no way leads to the receiver.
    pub frames_refused: u64,
    /// Transmissions of the relay's own, QUIC and STUN, that the system refused.
    pub send_error: u64,
    /// Receptions that failed.
    pub recv_error: u64,
    /// Datagrams of any kind that the system dropped, since the receive buffer was full: the relay
    /// is overloaded. Only Linux says.
    pub overflowed: u64,
    /// QUIC datagrams dropped: more of them waited for quinn than there is room for.
    pub quic_overflowed: u64,
    /// Datagrams dropped: longer than any that a peer may send.
    pub oversized: u64,
    /// Knocks dropped: nobody has a reason to knock at a relay.
    pub knock: u64,
    /// Datagrams dropped: of no known kind, or empty.
    pub unknown: u64,
    /// STUN requests answered.
    pub stun_answered: u64,
    /// STUN messages dropped: damaged, or not Binding requests.
    pub stun_malformed: u64,
    /// STUN requests dropped: more than the relay answers in all.
    pub stun_over_rate: u64,
}

/// The counters while they count. Read by anybody, written by the plane.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) unknown_channel: AtomicU64,
    pub(super) wrong_sender: AtomicU64,
    pub(super) over_rate: AtomicU64,
    pub(super) unsent: AtomicU64,
    pub(super) frames_refused: AtomicU64,
    pub(super) send_error: AtomicU64,
    pub(super) recv_error: AtomicU64,
    pub(super) overflowed: AtomicU64,
    pub(super) quic_overflowed: AtomicU64,
    pub(super) oversized: AtomicU64,
    pub(super) knock: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) stun_answered: AtomicU64,
    pub(super) stun_malformed: AtomicU64,
    pub(super) stun_over_rate: AtomicU64,
}

impl Counters {
    /// The counters now.
    pub(super) fn snapshot(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            frames: read(&self.frames),
            bytes: read(&self.bytes),
            unknown_channel: read(&self.unknown_channel),
            wrong_sender: read(&self.wrong_sender),
            over_rate: read(&self.over_rate),
            unsent: read(&self.unsent),
            frames_refused: read(&self.frames_refused),
            send_error: read(&self.send_error),
            recv_error: read(&self.recv_error),
            overflowed: read(&self.overflowed),
            quic_overflowed: read(&self.quic_overflowed),
            oversized: read(&self.oversized),
            knock: read(&self.knock),
            unknown: read(&self.unknown),
            stun_answered: read(&self.stun_answered),
            stun_malformed: read(&self.stun_malformed),
            stun_over_rate: read(&self.stun_over_rate),
        }
    }

    /// Counts what the system refused to receive, or to send of the relay's own.
    pub(super) fn failed(counter: &AtomicU64, error: &io::Error) {
        add(counter, 1);
        tracing::debug!(%error, "the socket failed");
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
