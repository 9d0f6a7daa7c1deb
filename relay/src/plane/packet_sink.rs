//! Where the plane sends datagrams.

use quinn::udp::Transmit;

/// The destination of forwarded frames and answers: the socket, or a test.
pub(super) trait PacketSink {
    /// Maximum datagrams of one size in one batch.
    fn segments(&self) -> usize;
    /// Sends datagrams to one destination.
    fn send(&mut self, transmit: &Transmit<'_>) -> Sent;
}

/// The result of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// The system accepted it.
    Taken,
    /// The system's buffer is full.
    Full,
    /// The system rejected it.
    Refused,
}
