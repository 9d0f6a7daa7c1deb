//! The forwarding plane: it forwards channel frames between peers before QUIC sees them, and
//! answers STUN.
//!
//! It is a separate thread that receives all datagrams of the relay's one UDP socket. The first
//! byte decides. The plane forwards a channel frame to the other end of its channel. It answers a
//! STUN Binding request. It passes QUIC to quinn through a bounded queue. It counts and drops
//! everything else. The plane has no congestion control, and cannot read what it forwards: it
//! replaces nine bytes and the destination. Its only cryptography is for the heartbeats of sleeping
//! peers. It does not decide which channels
//! exist: the core sends [`Update`]s.
//!
//! - `thread`: the thread, and the events that it waits for.
//! - `socket`: the UDP socket. Every thread may send.
//! - `waker`: wakes the thread.
//! - `forward`: sorts and forwards a received batch. No socket and no clock.
//! - `route_table`: the routes, which only the thread has.
//! - `bucket`: token buckets, which limit one sender.
//! - `socket_stats`: how full the socket's receive buffer is.
//! - `fair`: which senders are limited while the relay is overloaded.
//! - `quic`: the queue to quinn, and the socket for quinn.
//! - `packet_sink`: where forwarded frames and answers go.
//! - `sleepers`: peers without a connection, and their heartbeats.
//! - `streams`: clients behind firewalls that block UDP. Their datagrams take the same way.
//! - `latency`: how long forwarding takes.
//! - `counters`: what was forwarded and dropped, by cause.

mod bucket;
mod counters;
mod fair;
mod forward;
// For the project's fuzz target. It is not part of the API.
#[doc(hidden)]
pub mod fuzz;
mod latency;
mod packet_sink;
mod quic;
mod route_table;
mod sleepers;
mod socket;
mod socket_stats;
mod streams;
mod thread;
mod waker;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, mpsc};

use crate::route::Update;
use crate::sleeper::{SleepUpdate, SleeperNews};
use bucket::Rate;
use counters::Counters;
use forward::Forwarder;
use latency::ForwardTimes;
use route_table::RouteTable;
use socket::PlaneSocket;
use streams::Batch;
use thread::{Change, Thread};

pub use counters::Counted;
pub use latency::Latency;
pub(crate) use streams::StreamClient;

/// The limits of the plane.
#[derive(Debug, Clone, Default)]
pub struct PlaneConfig {
    /// Bytes per second that the relay forwards for one peer; 0 means no limit. A frame counts as
    /// at least 256 bytes, because small frames cost as much as large ones. Beyond the rate, frames
    /// are dropped and counted.
    pub rate: u64,
    /// Bytes that one peer may send at once after a pause. A value below 64 KiB or above 1 GiB counts
    /// as the nearer of these two.
    pub burst: u64,
}

/// News of sleepers that wait for the core. Further ones are reported later.
pub const NEWS_MAX: usize = 4_096;

/// The part of a second's rate that a peer may send at once: one in this many.
const BURST_PER_RATE: u64 = 4;

impl PlaneConfig {
    /// A peer may send a quarter of a second's rate at once. The plane always allows one batch.
    pub fn of_rate(rate: u64) -> Self {
        Self {
            rate,
            burst: rate / BURST_PER_RATE,
        }
    }
}

/// The handle of the plane, which runs until [`PlaneHandle::stop`] or until the last clone is
/// dropped.
#[derive(Debug, Clone)]
pub struct PlaneHandle {
    updates: mpsc::Sender<Change>,
    thread: Arc<Thread>,
    socket: Arc<PlaneSocket>,
    counters: Arc<Counters>,
    times: Arc<ForwardTimes>,
    local_addr: SocketAddr,
}

/// A client that uses a stream instead of UDP. Dropping this value removes it.
#[derive(Debug)]
pub(crate) struct Stream {
    plane: PlaneHandle,
    addr: SocketAddr,
    pub(crate) client: Arc<StreamClient>,
}

impl Stream {
    /// Passes datagrams of the client, each with its length in front, to the plane. Waits while the
    /// plane is busy.
    pub(crate) async fn pass(&self, run: Vec<u8>) {
        let from = self.addr;
        self.plane.socket.streams.pass(Batch { from, run }).await;
        self.plane.thread.wake();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.plane.socket.streams.remove(self.addr);
    }
}

impl PlaneHandle {
    /// Changes the route table. The change applies to all frames that are sent later.
    ///
    /// It wakes the plane, so that updates do not accumulate without traffic.
    pub fn update(&self, update: Update) {
        // A stopped plane has no table.
        let _stopped = self.updates.send(Change::Route(update));
        self.thread.wake();
    }

    /// Changes the limit for each sender.
    pub fn limit(&self, config: &PlaneConfig) {
        // A stopped plane forwards nothing.
        let _stopped = self.updates.send(Change::Rate(Rate::of_bytes(config)));
        self.thread.wake();
    }

    /// Changes the table of sleeping peers.
    pub fn sleep(&self, update: SleepUpdate) {
        // A stopped plane has no table.
        let _stopped = self.updates.send(Change::Sleep(update));
        self.thread.wake();
    }

    /// Serves sleeping peers from now on. Returns their news, of which at most [`NEWS_MAX`] wait.
    ///
    /// `reset_key`: the key of resets ([`hobnob_protocol::heartbeat::Reset`]), which must be the same
    /// after a restart.
    pub fn serve_sleepers(&self, reset_key: [u8; 32]) -> tokio::sync::mpsc::Receiver<SleeperNews> {
        let (sender, news) = tokio::sync::mpsc::channel(NEWS_MAX);
        // A stopped plane serves nobody.
        let _stopped = self.updates.send(Change::ServeSleepers(reset_key, sender));
        self.thread.wake();
        news
    }

    /// Stops the plane. When this returns, its thread has ended and nothing is received or
    /// forwarded any more.
    pub fn stop(&self) {
        self.thread.stop();
    }

    /// The datagrams forwarded and dropped since the start, by cause.
    pub fn counters(&self) -> Counted {
        self.counters.snapshot()
    }

    /// Adds a client whose stream comes from this address.
    pub(crate) fn add_stream(&self, from: SocketAddr) -> Stream {
        let (addr, client) = self.socket.streams.add(from);
        let plane = self.clone();
        Stream {
            plane,
            addr,
            client,
        }
    }

    /// The client that uses the stream with this synthetic address. `None` for any other address.
    pub(crate) fn stream_client(&self, at: SocketAddr) -> Option<Arc<StreamClient>> {
        self.socket.streams.client(at)
    }

    /// How long forwarding took since the start.
    pub fn latency(&self) -> Latency {
        self.times.snapshot()
    }

    /// The address that the relay listens on. The IP address may be unspecified.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

/// Binds the relay's one UDP socket and starts the plane. An unspecified IPv6 address includes
/// IPv4.
///
/// The returned socket is for a quinn endpoint. The plane also forwards while the endpoint is not
/// polled.
pub fn bind(
    listen: SocketAddr,
    config: PlaneConfig,
) -> io::Result<(Arc<dyn quinn::AsyncUdpSocket>, PlaneHandle)> {
    start(hobnob_transport::udp::open(listen)?, config)
}

/// As [`bind`], on a socket that somebody else has bound.
pub fn start(
    socket: UdpSocket,
    config: PlaneConfig,
) -> io::Result<(Arc<dyn quinn::AsyncUdpSocket>, PlaneHandle)> {
    let counters = Arc::new(Counters::default());
    let socket = Arc::new(PlaneSocket::of(socket, counters.clone())?);
    let local_addr = socket.local_addr()?;
    let forwarder = Forwarder::new(
        RouteTable::new(local_addr.is_ipv6()),
        Rate::of_bytes(&config),
        counters.clone(),
    );
    let (updates, receiver) = mpsc::channel();
    let times = Arc::<ForwardTimes>::default();
    let (quic_queue, quic_socket) = quic::queue(socket.clone(), counters.clone());
    let thread = Arc::new(Thread::start(
        socket.clone(),
        forwarder,
        receiver,
        quic_queue,
        times.clone(),
    )?);
    Ok((
        Arc::new(quic_socket),
        PlaneHandle {
            updates,
            thread,
            socket,
            counters,
            times,
            local_addr,
        },
    ))
}

#[cfg(test)]
mod tests;
