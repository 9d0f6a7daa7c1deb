//! The relay's socket as quinn takes it: each receive passes through the forwarder first.
//!
//! quinn 0.11 trusts its socket more than it may be trusted: an error from sending other than "would block" silently ends that
//! connection's driver, an error from receiving ends the endpoint, and a batch with a stride of 0 loops forever. So no error
//! leaves this module; they are counted, and logged at debug.
//!
//! A frame that finds the send buffer full is dropped, as any router would: the two ends' own congestion control hears of it.
//! Holding it back would hold back everybody's. Once the system has said "full", tokio lets nobody send until half the buffer is
//! free again; then quinn's tasks, which were waiting, have as much of a chance as frames have.

#![expect(clippy::disallowed_methods, reason = "a driver: it reads the clock")]

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio_util::sync::ReusableBoxFuture;

use super::backlog;
use super::counters::Counters;
use super::forward::{Forwarder, Outlet, Sent};
use super::table::undeliverable;
use crate::route::Update;

/// Size asked for each of the socket's two kernel buffers. At the usual 208 KiB a burst of 256 handshakes drops 2,000 datagrams.
const KERNEL_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Batches received at once. More would not fit the processor's cache.
const BATCHES: usize = 8;

/// Receives without anything for quinn before its own work gets a turn.
const ROUNDS_MAX: usize = 16;

/// The socket.
pub(super) struct PlaneSocket {
    sending: Sending,
    /// Taken by the one task that polls the endpoint, and by nobody else: it never waits.
    receiving: Mutex<Receiving>,
    start: Instant,
}

/// What sending needs: any task may.
struct Sending {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    /// Datagrams of one size that the system sends as one, or 1 if it can't.
    segments: AtomicUsize,
    counters: Arc<Counters>,
}

/// What receiving needs.
struct Receiving {
    forwarder: Forwarder,
    updates: mpsc::UnboundedReceiver<Update>,
}

/// Opens a dual-stack socket with large buffers.
pub(super) fn open(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    enlarge_buffers(&socket);
    Ok(socket.into())
}

/// Asks for large kernel buffers. Fewer bytes mean more loss under bursts, not an error.
fn enlarge_buffers(socket: &Socket) {
    let asked = socket.set_recv_buffer_size(KERNEL_BUFFER_BYTES).and(socket.set_send_buffer_size(KERNEL_BUFFER_BYTES));
    // Beyond the system's limit only for those who administer the network; refused to others, who see the warning.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, KERNEL_BUFFER_BYTES);
    let (received, sent) = (socket.recv_buffer_size().unwrap_or(0), socket.send_buffer_size().unwrap_or(0));
    if asked.is_err() || received.min(sent) < KERNEL_BUFFER_BYTES {
        tracing::warn!(
            received,
            sent,
            wanted = KERNEL_BUFFER_BYTES,
            "the kernel gives small UDP buffers, so bursts lose frames: set net.core.rmem_max and net.core.wmem_max to 4194304"
        );
    }
}

impl PlaneSocket {
    /// Takes a bound socket. Must be called within a tokio runtime.
    pub(super) fn new(
        socket: UdpSocket,
        forwarder: Forwarder,
        updates: mpsc::UnboundedReceiver<Update>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        let segments = AtomicUsize::new(state.max_gso_segments());
        let sending = Sending { io: tokio::net::UdpSocket::from_std(socket)?, state, segments, counters };
        Ok(Self { sending, receiving: Mutex::new(Receiving { forwarder, updates }), start: Instant::now() })
    }

    /// Nanoseconds since the start: enough for 580 years.
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Receives what is there and passes it through the forwarder. Says how many batches there are for quinn to look at, or
    /// nothing if none of them has QUIC in it.
    fn receive(&self, forwarder: &mut Forwarder, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Option<usize> {
        let received = self.sending.receive(bufs, meta);
        let now = self.now();
        let mut quic = false;
        for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(received) {
            forwarder.sort(now, buf, meta, &mut &self.sending);
            quic |= meta.len > 0;
        }
        // A receive that empties the socket leaves nothing to ask about.
        let full = received == bufs.len().min(BATCHES);
        forwarder.received(now, full.then(|| backlog::of(&self.sending.io)));
        quic.then_some(received)
    }
}

impl Receiving {
    /// Brings the table up to date, and has the task woken at the next update.
    fn update(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(update)) = self.updates.poll_recv(cx) {
            self.forwarder.table().apply(update);
        }
    }
}

impl Sending {
    /// Receives what is there, at most [`BATCHES`] batches; says how many.
    ///
    /// Fewer than there is room for mean that nothing is left: tokio is told so, which saves the system call that would say it.
    /// What comes in the meantime is a new event, of which tokio hears.
    fn receive(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let (room, mut received) = (bufs.len().min(BATCHES), 0);
        let more = self.io.try_io(Interest::READABLE, || {
            received = self.state.recv((&self.io).into(), &mut bufs[..room], meta)?;
            if received < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if let Err(error) = more.as_ref()
            && error.kind() != io::ErrorKind::WouldBlock
        {
            Counters::failed(&self.counters.recv_error, error);
        }
        received
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), transmit))
    }

    /// Sends one datagram after another what could not be sent as one, and gives up sending so if that helps.
    ///
    /// quinn-udp gives up at the first EINVAL or EIO, for the whole socket. But these also come for a single odd destination,
    /// or while an address of ours goes away, and would cost every peer its throughput.
    fn send_singly(&self, transmit: &Transmit<'_>, segment: usize) -> io::Result<()> {
        for contents in transmit.contents.chunks(segment) {
            self.try_send(&Transmit { contents, segment_size: None, ..transmit.clone() })?;
        }
        tracing::debug!("the system can't send several datagrams as one");
        self.segments.store(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sends, whatever the system is able to.
    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if undeliverable(transmit.destination) {
            return Err(Errno::ADDRNOTAVAIL.into());
        }
        match (self.try_send(transmit), transmit.segment_size) {
            (Err(error), Some(segment)) if is_any(&error, &[Errno::INVAL, Errno::IO]) => self.send_singly(transmit, segment),
            (sent, _) => sent,
        }
    }
}

impl Outlet for &Sending {
    fn segments(&self) -> usize {
        self.segments.load(Ordering::Relaxed)
    }

    fn send(&mut self, transmit: &Transmit<'_>) -> Sent {
        match Sending::send(self, transmit) {
            Ok(()) => Sent::Taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Full,
            Err(error) => {
                tracing::trace!(%error, to = %transmit.destination, "the system refused to send");
                Sent::Refused
            }
        }
    }
}

impl AsyncUdpSocket for PlaneSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, ready: ReusableBoxFuture::new(std::future::ready(Ok(()))), waiting: false })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.sending.send(transmit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) => {
                // A probe for a larger MTU that the interface does not have is an answer, not an error.
                if !is_any(&error, &[Errno::MSGSIZE]) {
                    Counters::failed(&self.sending.counters.send_error, &error);
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn poll_recv(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        let mut receiving = self.receiving.lock().expect("nothing panics while it holds this");
        for _ in 0..ROUNDS_MAX {
            receiving.update(cx);
            // An error that stays costs a round each time, no more.
            if ready!(self.sending.io.poll_recv_ready(cx)).is_err() {
                // The runtime is shutting down: nobody polls this task again.
                return Poll::Pending;
            }
            if let Some(received) = self.receive(&mut receiving.forwarder, bufs, meta) {
                return Poll::Ready(Ok(received));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.sending.io.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.sending.state.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.sending.segments.load(Ordering::Relaxed)
    }

    fn max_receive_segments(&self) -> usize {
        self.sending.state.gro_segments()
    }
}

impl fmt::Debug for PlaneSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaneSocket").field("io", &self.sending.io).finish_non_exhaustive()
    }
}

/// Wakes one task when the socket can be written. tokio's `poll_send_ready` remembers one task only, so each has its own.
struct Writable {
    socket: Arc<PlaneSocket>,
    ready: ReusableBoxFuture<'static, io::Result<()>>,
    waiting: bool,
}

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.waiting {
            let socket = this.socket.clone();
            this.ready.set(async move { socket.sending.io.writable().await });
            this.waiting = true;
        }
        let result = ready!(this.ready.poll(cx));
        this.waiting = false;
        Poll::Ready(result)
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

fn is_any(error: &io::Error, causes: &[Errno]) -> bool {
    causes.iter().any(|cause| error.raw_os_error() == Some(cause.raw_os_error()))
}
