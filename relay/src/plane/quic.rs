//! QUIC's way between the plane's thread and quinn: a bounded queue in, the relay's socket out.
//!
//! quinn 0.11 trusts its socket more than it may be trusted: an error from sending other than
//! "would block" silently ends that connection's driver, an error from receiving ends the endpoint,
//! and a batch with a stride of 0 loops forever. So no error of the system's leaves this module;
//! they are counted, and logged at debug.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use hobnob_transport::udp::has_errno;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use rustix::io::Errno;
use tokio::sync::futures::OwnedNotified;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::counters::{Counters, add};
use super::forward::count;
use super::port::Port;

/// Datagrams that wait for quinn; those beyond are dropped, and counted. The first flights of four
/// thousand newcomers at once, and at most 12 MiB.
pub(super) const WAITING_MAX: usize = 8192;

/// Memory that is taken at once for datagrams that wait, and used again when quinn has read them.
const PIECE_BYTES: usize = 64 * 1024;

/// A received datagram.
#[derive(Debug)]
struct Datagram {
    meta: RecvMeta,
    bytes: BytesMut,
}

/// The plane's end of the queue.
#[derive(Debug)]
pub(super) struct QuicQueue {
    queue: Sender<Datagram>,
    piece: BytesMut,
    counters: Arc<Counters>,
}

/// The socket, as quinn takes it.
pub(super) struct QuicSocket {
    port: Arc<Port>,
    /// Taken by the one task that polls the endpoint, and by nobody else: it never waits.
    waiting: Mutex<Waiting>,
    counters: Arc<Counters>,
}

/// quinn's end of the queue.
#[derive(Debug)]
struct Waiting {
    queue: Receiver<Datagram>,
    /// What is being handed over: empty but for its room.
    taken: Vec<Datagram>,
}

/// Both ends.
pub(super) fn queue(port: Arc<Port>, counters: Arc<Counters>) -> (QuicQueue, QuicSocket) {
    let (sender, queue) = mpsc::channel(WAITING_MAX);
    let quic_queue = QuicQueue {
        queue: sender,
        piece: BytesMut::new(),
        counters: counters.clone(),
    };
    let waiting = Mutex::new(Waiting {
        queue,
        taken: Vec::new(),
    });
    (
        quic_queue,
        QuicSocket {
            port,
            waiting,
            counters,
        },
    )
}

impl QuicQueue {
    /// Hands on the datagrams of a batch that holds only QUIC. Waits for nothing.
    pub(super) fn pass(&mut self, batch: &[u8], meta: &RecvMeta) {
        for (n, datagram) in batch.chunks(meta.stride).enumerate() {
            let Ok(place) = self.queue.try_reserve() else {
                return add(
                    &self.counters.quic_overflowed,
                    count(batch, meta.stride) - n as u64,
                );
            };
            if self.piece.capacity() < datagram.len() {
                self.piece.reserve(PIECE_BYTES);
            }
            self.piece.extend_from_slice(datagram);
            let meta = RecvMeta {
                len: datagram.len(),
                stride: datagram.len(),
                ..*meta
            };
            place.send(Datagram {
                meta,
                bytes: self.piece.split(),
            });
        }
    }
}

impl AsyncUdpSocket for QuicSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable {
            port: self.port.clone(),
            room: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.port.send(transmit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) => {
                // A probe for a larger MTU that the interface does not have is an answer, not an
                // error.
                if !has_errno(&error, &[Errno::MSGSIZE]) {
                    Counters::failed(&self.counters.send_error, &error);
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut waiting = self
            .waiting
            .lock()
            .expect("nothing panics while it holds this");
        let Waiting { queue, taken } = &mut *waiting;
        let received = ready!(queue.poll_recv_many(cx, taken, bufs.len().min(meta.len())));
        if received == 0 && !self.port.has_stopped() {
            return Poll::Ready(Err(io::Error::other("the plane's thread has failed")));
        }
        if received == 0 {
            return Poll::Pending;
        }
        for ((datagram, buf), meta) in taken.drain(..).zip(bufs).zip(meta) {
            // No longer than any that quinn has room for, or the plane had dropped it.
            let len = datagram.bytes.len().min(buf.len());
            buf[..len].copy_from_slice(&datagram.bytes[..len]);
            *meta = datagram.meta;
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.port.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.port.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.port.segments()
    }
}

impl fmt::Debug for QuicSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicSocket")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Wakes one task when the socket can be written. Holds nothing while it can.
#[derive(Debug)]
struct Writable {
    port: Arc<Port>,
    room: Option<Pin<Box<OwnedNotified>>>,
}

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.port.is_full() {
            match &mut this.room {
                // There may be room again since the look: look once more, now that nothing can be
                // missed.
                None => this.room = Some(Box::pin(this.port.room().notified_owned())),
                Some(room) => {
                    ready!(room.as_mut().poll(cx));
                    this.room = None;
                }
            }
        }
        this.room = None;
        Poll::Ready(Ok(()))
    }
}
