//! The forwarding plane: it moves channel frames between peers before QUIC sees them, and answers STUN.
//!
//! It is the relay's one UDP socket, as quinn takes it. What comes in is told apart by its first byte: QUIC goes on to quinn, a
//! channel frame to the other end of its channel, a STUN Binding request gets its answer; anything else is counted and dropped.
//! The plane runs no cryptography and no congestion control, and can't read what it moves: it swaps nine bytes and the
//! destination. Who may have a channel is not known here; the slow path says so with [`Update`]s.
//!
//! - `table`: the routes, held by the plane alone.
//! - `bucket`: how much one sender may make the relay send.
//! - `backlog`: how much waits in the socket.
//! - `fair`: who is cut when the relay gets more than it can pass on.
//! - `forward`: what becomes of a received batch. No socket and no clock.
//! - `stun`: answers to Binding requests. Pure.
//! - `socket`: the socket that quinn polls.
//! - `counters`: what was forwarded, and what was not, by cause.

mod backlog;
mod bucket;
mod counters;
mod fair;
mod forward;
mod socket;
mod stun;
mod table;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::route::Update;
use bucket::Rate;
use counters::Counters;
use forward::Forwarder;
use socket::PlaneSocket;
use table::Table;

pub use counters::Counted;

/// What the plane allows.
#[derive(Debug, Clone, Default)]
pub struct PlaneConfig {
    /// Bytes a second that the relay passes on for one peer; 0: as many as it can, shared fairly. A frame counts as 256 bytes at least, since
    /// small ones cost as much as large ones. Beyond it, frames are dropped and counted.
    pub rate: u64,
    /// Bytes that one peer may send at once, after a silence. At least 64 KiB, at most 1 GiB: what is beyond is not believed.
    pub burst: u64,
}

/// The slow path's hold on the plane.
#[derive(Debug, Clone)]
pub struct PlaneHandle {
    updates: mpsc::UnboundedSender<Update>,
    counters: Arc<Counters>,
    local_addr: SocketAddr,
}

impl PlaneHandle {
    /// Changes the table. Frames that are received later find it changed.
    ///
    /// The plane takes updates as soon as it runs, traffic or not, so they don't pile up.
    pub fn update(&self, update: Update) {
        // Without a socket there is nothing to forward, and no table.
        let _ = self.updates.send(update);
    }

    /// What was forwarded since the start, and what was not, by cause.
    pub fn counters(&self) -> Counted {
        self.counters.snapshot()
    }

    /// Where the relay listens. The IP address is unspecified unless one was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

/// Binds the relay's one UDP socket. Must be called within a tokio runtime.
///
/// The plane works when, and only when, a quinn endpoint polls the socket. An unspecified IPv6 address listens on IPv4, too.
pub fn bind(listen: SocketAddr, config: PlaneConfig) -> io::Result<(Arc<dyn quinn::AsyncUdpSocket>, PlaneHandle)> {
    let io = socket::open(listen)?;
    let local_addr = io.local_addr()?;
    let (updates, receiver) = mpsc::unbounded_channel();
    let counters = Arc::new(Counters::default());
    let forwarder = Forwarder::new(Table::new(local_addr.is_ipv6()), Rate::of_bytes(&config), counters.clone());
    let socket = PlaneSocket::new(io, forwarder, receiver, counters.clone())?;
    Ok((Arc::new(socket), PlaneHandle { updates, counters, local_addr }))
}

#[cfg(test)]
mod tests;
