//! A client's one UDP socket: it passes QUIC to quinn and channel frames to the test, and it can be
//! deaf.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hobnob_protocol::datagram::Class;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

/// How a socket handles received QUIC datagrams.
#[derive(Debug, Clone, Copy)]
pub(crate) enum QuicFilter {
    All,
    None,
    /// It receives only the Retry, and so answers only that.
    OnlyRetry,
}

impl QuicFilter {
    fn admits(self, datagram: &[u8]) -> bool {
        match self {
            QuicFilter::All => true,
            QuicFilter::None => false,
            // RFC 9000 section 17.2.5: a long header of type 3.
            QuicFilter::OnlyRetry => datagram[0] & 0xf0 == 0xf0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct ClientSocket {
    io: Arc<UdpSocket>,
    frames: mpsc::UnboundedSender<Vec<u8>>,
    filter: QuicFilter,
}

impl ClientSocket {
    pub(crate) fn new(
        io: Arc<UdpSocket>,
        filter: QuicFilter,
    ) -> (Arc<Self>, mpsc::UnboundedReceiver<Vec<u8>>) {
        let (frames, received) = mpsc::unbounded_channel();
        (Arc::new(Self { io, frames, filter }), received)
    }
}

impl AsyncUdpSocket for ClientSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller(self.io.clone()))
    }

    fn try_send(&self, transmit: &Transmit) -> io::Result<()> {
        self.io
            .try_send_to(transmit.contents, transmit.destination)
            .map(|_| ())
    }

    fn poll_recv(
        &self,
        cx: &mut Context,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut buffer = ReadBuf::new(&mut bufs[0]);
            let addr = ready!(self.io.poll_recv_from(cx, &mut buffer))?;
            let datagram = buffer.filled();
            if matches!(Class::of(datagram), Class::Channel | Class::Heartbeat) {
                let _test_over = self.frames.send(datagram.to_vec());
            } else if self.filter.admits(datagram) {
                meta[0] = RecvMeta {
                    addr,
                    len: datagram.len(),
                    stride: datagram.len(),
                    ..RecvMeta::default()
                };
                return Poll::Ready(Ok(1));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }
}

#[derive(Debug)]
struct Poller(Arc<UdpSocket>);

impl UdpPoller for Poller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        self.0.poll_send_ready(cx)
    }
}
