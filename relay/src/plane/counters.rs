//! The counters of the plane: what it forwarded and dropped, by cause.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// The plane's counters since the start of the relay, at one moment. They do not include QUIC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Channel frames forwarded.
    pub frames: u64,
    /// Bytes of these frames, with their nine-byte headers.
    pub bytes: u64,
    /// Channel frames dropped: the channel does not exist.
    pub unknown_channel: u64,
    /// Channel frames dropped: they did not come from the address of the channel's peer.
    pub wrong_sender: u64,
    /// Channel frames dropped: their peer exceeded its rate, or its share while the relay was
    /// overloaded.
    pub over_rate: u64,
    /// Channel frames dropped: the system's send buffer was full.
    pub unsent: u64,
    /// Channel frames dropped: the system rejected them, for example without a route to the
    /// receiver.
    pub frames_refused: u64,
    /// Datagrams of the relay itself, QUIC and STUN, that the system rejected.
    pub send_error: u64,
    /// Failed receive calls.
    pub recv_error: u64,
    /// Datagrams of any kind that the system dropped because the receive buffer was full: the relay
    /// is overloaded. Only Linux reports them.
    pub overflowed: u64,
    /// QUIC datagrams dropped: the queue to quinn was full.
    pub quic_overflowed: u64,
    /// Datagrams dropped: longer than any that a peer may send.
    pub oversized: u64,
    /// Hole-punching probes dropped: a relay does not expect them.
    pub probe: u64,
    /// Heartbeats of sleeping peers, and their answers.
    pub beats: u64,
    /// Heartbeats dropped: of nobody who sleeps here, forged, or repeated.
    pub beats_refused: u64,
    /// Datagrams dropped: of no known kind, or empty.
    pub unknown: u64,
    /// STUN requests answered.
    pub stun_answered: u64,
    /// STUN messages dropped: damaged, or not Binding requests.
    pub stun_malformed: u64,
    /// STUN requests dropped: the relay limits all answers together.
    pub stun_over_rate: u64,
}

/// The live counters. The plane writes them, and any thread can read them.
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
    pub(super) probe: AtomicU64,
    pub(super) beats: AtomicU64,
    pub(super) beats_refused: AtomicU64,
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
            probe: read(&self.probe),
            beats: read(&self.beats),
            beats_refused: read(&self.beats_refused),
            unknown: read(&self.unknown),
            stun_answered: read(&self.stun_answered),
            stun_malformed: read(&self.stun_malformed),
            stun_over_rate: read(&self.stun_over_rate),
        }
    }

    /// Counts and logs an error of the socket.
    pub(super) fn failed(counter: &AtomicU64, error: &io::Error) {
        add(counter, 1);
        tracing::debug!(%error, "the socket failed");
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_shows_what_was_counted() {
        let counters = Counters::default();
        add(&counters.frames, 2);
        add(&counters.bytes, 50);
        add(&counters.probe, 1);
        Counters::failed(&counters.send_error, &io::ErrorKind::Other.into());
        let expected = Counted {
            frames: 2,
            bytes: 50,
            probe: 1,
            send_error: 1,
            ..Counted::default()
        };
        assert_eq!(counters.snapshot(), expected);
    }
}
