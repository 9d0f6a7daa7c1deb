//! The forwarding plane: it moves channel frames between peers before QUIC sees them, and answers
//! STUN.
//!
//! It is a thread of its own, which receives all that comes to the relay's one UDP socket. What
//! comes in is told apart by its first byte: a channel frame goes to the other end of its channel,
//! a STUN Binding request gets its answer, QUIC goes on to quinn through a bounded queue; anything
//! else is counted and dropped. The plane runs no cryptography and no congestion control, and can't
//! read what it moves: it swaps nine bytes and the destination. Who may have a channel is not known
//! here; the slow path says so with [`Update`]s.
//!
//! - `thread`: the thread, and what it waits for.
//! - `port`: the socket; anybody may send.
//! - `waker`: wakes the thread.
//! - `forward`: what becomes of a received batch. No socket and no clock.
//! - `table`: the routes, held by the thread alone.
//! - `bucket`: how much one sender may make the relay send.
//! - `socket_stats`: how much waits in the socket.
//! - `fair`: who is cut when the relay gets more than it can pass on.
//! - `quic`: the queue to quinn, and the socket as quinn takes it.
//! - `counters`: what was forwarded, and what was not, by cause.

mod bucket;
mod counters;
mod fair;
mod forward;
mod port;
mod quic;
mod socket_stats;
mod table;
mod thread;
mod waker;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

use crate::route::Update;
use bucket::Rate;
use counters::Counters;
use forward::Forwarder;
use port::Port;
use table::Table;
use thread::Thread;

pub use counters::Counted;

/// What the plane allows.
#[derive(Debug, Clone, Default)]
pub struct PlaneConfig {
    /// Bytes a second that the relay passes on for one peer; 0: as many as it can, shared fairly. A
    /// frame counts as 256 bytes at least, since small ones cost as much as large ones. Beyond it,
    /// frames are dropped and counted.
    pub rate: u64,
    /// Bytes that one peer may send at once, after a silence. At least 64 KiB, at most 1 GiB: what
    /// is beyond is not believed.
    pub burst: u64,
}

/// The slow path's hold on the plane, which works until [`PlaneHandle::stop`], or until the last
/// clone goes.
#[derive(Debug, Clone)]
pub struct PlaneHandle {
    updates: mpsc::Sender<Update>,
    thread: Arc<Thread>,
    counters: Arc<Counters>,
    local_addr: SocketAddr,
}

impl PlaneHandle {
    /// Changes the table. Frames that are sent later find it changed.
    ///
    /// The plane is woken for it, traffic or not, so that updates don't pile up.
    pub fn update(&self, update: Update) {
        // A plane that has stopped has no table.
        let _stopped = self.updates.send(update);
        self.thread.wake();
    }

    /// Ends the plane: when this returns, its thread has ended, and nothing is forwarded or
    /// received any more.
    pub fn stop(&self) {
        self.thread.stop();
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

/// Binds the relay's one UDP socket, and starts the plane. An unspecified IPv6 address listens on
/// IPv4, too.
///
/// The socket that it gives is for a quinn endpoint; the plane forwards whether that is polled or
/// not.
pub fn bind(
    listen: SocketAddr,
    config: PlaneConfig,
) -> io::Result<(Arc<dyn quinn::AsyncUdpSocket>, PlaneHandle)> {
    let counters = Arc::new(Counters::default());
    let port = Arc::new(Port::bind(listen, counters.clone())?);
    let local_addr = port.local_addr()?;
    let forwarder = Forwarder::new(
        Table::new(local_addr.is_ipv6()),
        Rate::of_bytes(&config),
        counters.clone(),
    );
    let (updates, receiver) = mpsc::channel();
    let (quic_queue, socket) = quic::queue(port.clone(), counters.clone());
    let thread = Arc::new(Thread::start(port, forwarder, receiver, quic_queue)?);
    Ok((
        Arc::new(socket),
        PlaneHandle {
            updates,
            thread,
            counters,
            local_addr,
        },
    ))
}

#[cfg(test)]
mod tests;
