//! The relay's one UDP socket: the plane's thread receives from it, and every thread may send.
//!
//! The runtime does not poll it. The system would then report each datagram that leaves the send
//! buffer, which costs a wake-up for each forwarded frame. Instead, the first sender that finds the
//! buffer full sets a flag. Then nobody sends until half of the buffer is free again, and the
//! plane's thread waits for that. So quinn's waiting tasks have the same chance as frames.
//!
//! A frame that finds the send buffer full is dropped, as by any router. The congestion control of
//! the two ends notices the loss. Queuing the frame would delay all others.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hobnob_transport::addr::undeliverable;
use hobnob_transport::udp::{self, KERNEL_BUFFER_BYTES, SegmentedSender, SmallBuffers};
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::io::Errno;
use tokio::sync::Notify;

use super::counters::Counters;
use super::packet_sink::{PacketSink, Sent};
use super::streams::Streams;
use super::waker::Waker;

/// The socket, with the state that its users share.
pub(super) struct PlaneSocket {
    io: UdpSocket,
    state: UdpSocketState,
    sender: SegmentedSender,
    /// Whether the send buffer was full and half of it has not become free since.
    full: AtomicBool,
    /// Notifies the tasks that wait for room.
    room: Arc<Notify>,
    /// The clients whose datagrams take streams instead of this socket.
    pub(super) streams: Streams,
    /// Wakes the plane's thread.
    pub(super) waker: Waker,
    stopped: AtomicBool,
    counters: Arc<Counters>,
}

/// Gives a socket large buffers.
fn enlarge(socket: &UdpSocket) {
    if let Err(SmallBuffers { receive, send }) = udp::enlarge_buffers(socket) {
        tracing::warn!(
            receive,
            send,
            wanted = KERNEL_BUFFER_BYTES,
            "the kernel grants only small UDP buffers, so bursts lose frames: set net.core.rmem_max and net.core.wmem_max to 4194304"
        );
    }
}

impl PlaneSocket {
    /// Uses a bound socket.
    pub(super) fn of(io: UdpSocket, counters: Arc<Counters>) -> io::Result<Self> {
        io.set_nonblocking(true)?;
        enlarge(&io);
        let state = UdpSocketState::new((&io).into())?;
        let sender = SegmentedSender::new(&state);
        let (full, room, stopped) = (
            AtomicBool::new(false),
            Arc::default(),
            AtomicBool::new(false),
        );
        Ok(Self {
            io,
            state,
            sender,
            full,
            room,
            streams: Streams::default(),
            waker: Waker::new()?,
            stopped,
            counters,
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// Asks the plane's thread to end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.waker.ring();
    }

    /// Whether the plane's thread must end.
    pub(super) fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Receives at most one batch for each buffer, without waiting. Returns how many. If there are
    /// fewer than buffers, nothing is left.
    pub(super) fn receive(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        match self.state.recv((&self.io).into(), bufs, meta) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => {
                Counters::failed(&self.counters.recv_error, &error);
                0
            }
        }
    }

    /// Maximum datagrams of one size in one batch.
    pub(super) fn segments(&self) -> usize {
        self.sender.segments()
    }

    /// Sends a batch, or its datagrams one by one if the system cannot send batches. A batch for a
    /// stream is queued there.
    pub(super) fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.streams.send(transmit) {
            Some(Sent::Taken) => return Ok(()),
            // Not "would block": quinn would wait for the UDP socket, which has room.
            Some(Sent::Full) => return Err(Errno::NOBUFS.into()),
            Some(Sent::Refused) => return Err(Errno::HOSTUNREACH.into()),
            None => {}
        }
        if undeliverable(transmit.destination).is_some() {
            return Err(Errno::ADDRNOTAVAIL.into());
        }
        self.sender
            .send(transmit, |transmit| self.try_send(transmit))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.is_full() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let sent = self.state.try_send((&self.io).into(), transmit);
        if let Err(error) = &sent
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.full.store(true, Ordering::Release);
            self.waker.ring();
        }
        sent
    }

    /// Whether nobody may send until there is room again.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// Notes that half of the send buffer is free.
    pub(super) fn has_room(&self) {
        self.full.store(false, Ordering::Release);
        self.room.notify_waiters();
    }

    /// Notifies when there is room again.
    pub(super) fn room(&self) -> Arc<Notify> {
        self.room.clone()
    }
}

impl AsFd for PlaneSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl PacketSink for &PlaneSocket {
    fn segments(&self) -> usize {
        PlaneSocket::segments(self)
    }

    fn send(&mut self, transmit: &Transmit<'_>) -> Sent {
        match PlaneSocket::send(self, transmit) {
            Ok(()) => Sent::Taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::Full,
            Err(error) if udp::has_errno(&error, &[Errno::NOBUFS]) => Sent::Full,
            Err(error) => {
                tracing::trace!(%error, to = %transmit.destination, "the system rejected a datagram");
                Sent::Refused
            }
        }
    }
}

impl fmt::Debug for PlaneSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaneSocket")
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plane::forward::Forwarder;
    use crate::plane::quic;
    use crate::plane::route_table::RouteTable;
    use crate::plane::thread::Thread;
    use quinn::AsyncUdpSocket;
    use std::net::Ipv4Addr;
    use std::sync::mpsc;

    #[tokio::test]
    async fn nobody_sends_into_a_full_buffer_until_the_plane_sees_room() {
        let counters = Arc::<Counters>::default();
        let plane = Arc::new(
            PlaneSocket::of(
                udp::open((Ipv4Addr::LOCALHOST, 0).into()).unwrap(),
                counters.clone(),
            )
            .unwrap(),
        );
        let (quic_queue, socket) = quic::queue(plane.clone(), counters.clone());
        let (socket, destination) = (Arc::new(socket), plane.local_addr().unwrap());
        let datagram = Transmit {
            destination,
            ecn: None,
            contents: &[0x20; 9],
            segment_size: None,
            src_ip: None,
        };
        let writable = || {
            std::future::poll_fn({
                let mut poller = socket.clone().create_io_poller();
                move |cx| poller.as_mut().poll_writable(cx)
            })
        };
        writable().await.unwrap();
        plane.full.store(true, Ordering::Release);
        assert_eq!(
            socket.try_send(&datagram).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert!(plane.send(&datagram).is_err());
        let (_updates, receiver) = mpsc::channel();
        let two = async { tokio::join!(writable(), writable()) };
        let forwarder = Forwarder::new(RouteTable::new(false), None, counters);
        let thread = Thread::start(
            plane.clone(),
            forwarder,
            receiver,
            quic_queue,
            Arc::default(),
        )
        .unwrap();
        thread.wake();
        let (one, other) = tokio::time::timeout(std::time::Duration::from_secs(20), two)
            .await
            .expect("the plane sees room");
        assert!(one.is_ok() && other.is_ok());
        socket.try_send(&datagram).unwrap();
    }
}
