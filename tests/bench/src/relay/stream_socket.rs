//! A peer's way to the relay by a stream: TLS over TCP with WebSocket framing, as where UDP is
//! blocked. To quinn it is a socket on which only the relay sends.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hobnob_transport::stream::message::Side;
use hobnob_transport::stream::queue::DatagramQueue;
use hobnob_transport::stream::reader::DatagramReader;
use hobnob_transport::stream::{datagrams, handshake, request, socket, tls, writer};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Received messages that wait for quinn. Then the reader waits, and TCP slows the relay down.
const RUNS_MAX: usize = 16;

/// WebSocket masks protect old proxies, which are not here.
const MASK: [u8; 4] = [7; 4];

/// The stream, and what it has received.
pub(crate) struct StreamSocket {
    relay: SocketAddr,
    queue: Arc<DatagramQueue>,
    inbox: Arc<Inbox>,
    pump: JoinHandle<()>,
}

#[derive(Default)]
struct Inbox {
    state: Mutex<State>,
    room: Notify,
}

#[derive(Default)]
struct State {
    /// Datagrams, each with its length in front.
    runs: VecDeque<Vec<u8>>,
    /// The bytes of the first run that quinn has.
    read: usize,
    waker: Option<Waker>,
}

impl StreamSocket {
    /// Connects to a relay's TCP port.
    pub(crate) async fn connect(relay: SocketAddr) -> anyhow::Result<Arc<Self>> {
        let tcp = TcpStream::connect(relay).await?;
        socket::prepare(&tcp)?;
        let mut io = tls::connect(&relay.ip().to_string(), tcp).await?;
        let (asked, key) = handshake::request(&relay.to_string(), "/hobnob", [7; 16]);
        io.write_all(&asked).await?;
        io.flush().await?;
        let mut first = Vec::new();
        let answer = request::read_head(&mut io, &mut first).await;
        let answer = answer.map_err(|error| anyhow::anyhow!("{error}"))?;
        anyhow::ensure!(handshake::is_upgraded(&answer, &key), "no relay answers");
        let (read, mut write) = tokio::io::split(io);
        let mut reader = DatagramReader::new(read, Side::Client, &first)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let (queue, inbox) = (Arc::<DatagramQueue>::default(), Arc::<Inbox>::default());
        let (sent, received) = (queue.clone(), inbox.clone());
        let pump = tokio::spawn(async move {
            let reading = async {
                let mut run = Vec::new();
                while let Ok(ping) = reader.next(&mut run).await {
                    if let Some(content) = ping {
                        sent.push_pong(content);
                    }
                    received.push(std::mem::take(&mut run)).await;
                }
            };
            tokio::select! {
                () = reading => {}
                _ = writer::write_all(&mut write, Side::Client, &sent, || MASK) => {}
            }
        });
        Ok(Arc::new(Self {
            relay,
            queue,
            inbox,
            pump,
        }))
    }
}

impl Drop for StreamSocket {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Inbox {
    async fn push(&self, run: Vec<u8>) {
        while self.state().runs.len() >= RUNS_MAX {
            self.room.notified().await;
        }
        let mut state = self.state();
        state.runs.push_back(run);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Copies the next datagram. Returns its length.
    fn next(&mut self, buf: &mut [u8], room: &Notify) -> Option<usize> {
        loop {
            let run = self.runs.front()?;
            if let Some(datagram) = datagrams(&run[self.read..]).next() {
                buf[..datagram.len()].copy_from_slice(datagram);
                self.read += datagram.len() + hobnob_transport::stream::LENGTH_BYTES;
                return Some(datagram.len());
            }
            self.runs.pop_front();
            self.read = 0;
            room.notify_one();
        }
    }
}

impl AsyncUdpSocket for StreamSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysReady)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // A full queue drops, as the node's does.
        let _queued = self.queue.push(transmit);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.inbox.state();
        let mut received = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some(len) = state.next(buf, &self.inbox.room) else {
                break;
            };
            *meta = RecvMeta {
                addr: self.relay,
                len,
                stride: len,
                ..RecvMeta::default()
            };
            received += 1;
        }
        if received == 0 {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    fn max_transmit_segments(&self) -> usize {
        16
    }
}

impl fmt::Debug for StreamSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSocket").finish_non_exhaustive()
    }
}

/// The queue takes or drops everything at once.
#[derive(Debug)]
struct AlwaysReady;

impl UdpPoller for AlwaysReady {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
