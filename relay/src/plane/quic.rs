//! QUIC between the plane's thread and quinn: a bounded queue for received datagrams, and the
//! socket that quinn sends with.
//!
//! quinn 0.11 cannot handle errors of its socket. An error from sending other than "would block"
//! silently ends the driver of that connection, and an error from receiving ends the endpoint. A
//! batch with a stride of 0 loops forever. So this module hides all errors of the system from
//! quinn. It counts them, and logs them at debug level.

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
use super::socket::PlaneSocket;

/// Maximum datagrams that wait for quinn. Further ones are dropped and counted. It suffices for the
/// first flights of four thousand newcomers at once, and is at most 12 MiB.
pub(super) const WAITING_MAX: usize = 8192;

/// Memory allocated at once for waiting datagrams. It is reused when quinn has read them.
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

/// The socket for quinn.
pub(super) struct QuicSocket {
    socket: Arc<PlaneSocket>,
    /// Only the one task that polls the endpoint takes this lock, so nobody waits for it.
    waiting: Mutex<Waiting>,
    counters: Arc<Counters>,
}

/// quinn's end of the queue.
#[derive(Debug)]
struct Waiting {
    queue: Receiver<Datagram>,
    /// A buffer for one call, empty between calls.
    taken: Vec<Datagram>,
}

/// Creates both ends of the queue.
pub(super) fn queue(socket: Arc<PlaneSocket>, counters: Arc<Counters>) -> (QuicQueue, QuicSocket) {
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
            socket,
            waiting,
            counters,
        },
    )
}

impl QuicQueue {
    /// Passes a batch of QUIC datagrams to quinn. Never waits.
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
            socket: self.socket.clone(),
            room: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.socket.send(transmit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) => {
                // EMSGSIZE is the answer to a probe of the MTU, not an error.
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
            .expect("no code panics while it holds this lock");
        let Waiting { queue, taken } = &mut *waiting;
        let received = ready!(queue.poll_recv_many(cx, taken, bufs.len().min(meta.len())));
        if received == 0 && !self.socket.has_stopped() {
            return Poll::Ready(Err(io::Error::other("the plane's thread has failed")));
        }
        if received == 0 {
            return Poll::Pending;
        }
        for ((datagram, buf), meta) in taken.drain(..).zip(bufs).zip(meta) {
            // It fits: the plane drops datagrams that are longer than quinn's buffers.
            let len = datagram.bytes.len().min(buf.len());
            buf[..len].copy_from_slice(&datagram.bytes[..len]);
            *meta = datagram.meta;
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.segments()
    }
}

impl fmt::Debug for QuicSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicSocket")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

/// Wakes one task when the send buffer has room again.
#[derive(Debug)]
struct Writable {
    socket: Arc<PlaneSocket>,
    room: Option<Pin<Box<OwnedNotified>>>,
}

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.socket.is_full() {
            match &mut this.room {
                // Register first and check again: the buffer may have become free in between.
                None => this.room = Some(Box::pin(this.socket.room().notified_owned())),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn both_ends() -> (QuicQueue, QuicSocket, Arc<Counters>) {
        let counters = Arc::<Counters>::default();
        let loopback = (Ipv4Addr::LOCALHOST, 0).into();
        let socket = Arc::new(
            PlaneSocket::of(
                hobnob_transport::udp::open(loopback).unwrap(),
                counters.clone(),
            )
            .unwrap(),
        );
        let (queue, socket) = queue(socket, counters.clone());
        (queue, socket, counters)
    }

    fn batch(len: usize, stride: usize) -> RecvMeta {
        RecvMeta {
            len,
            stride,
            ..RecvMeta::default()
        }
    }

    #[tokio::test]
    async fn a_batch_reaches_quinn_as_single_datagrams() {
        let (mut queue, socket, _) = both_ends();
        queue.pass(b"abcde", &batch(5, 2));
        let mut memory = [[0; 8]; 4];
        let mut bufs = memory.each_mut().map(|buf| IoSliceMut::new(buf));
        let mut meta = [RecvMeta::default(); 4];
        let received = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut bufs, &mut meta)).await;
        assert_eq!(received.unwrap(), 3);
        let datagrams: Vec<_> = bufs[..3]
            .iter()
            .zip(&meta)
            .map(|(buf, meta)| buf[..meta.len].to_vec())
            .collect();
        assert_eq!(datagrams, [b"ab".to_vec(), b"cd".to_vec(), b"e".to_vec()]);
    }

    #[test]
    fn a_full_queue_drops_and_counts_the_rest() {
        let (mut queue, _socket, counters) = both_ends();
        let bytes = vec![0x40; WAITING_MAX + 3];
        queue.pass(&bytes, &batch(bytes.len(), 1));
        assert_eq!(counters.snapshot().quic_overflowed, 3);
    }
}
