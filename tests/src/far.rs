//! A path that takes time: every datagram between two programs of this machine is kept for a while,
//! as by an ocean between them.

#![expect(
    clippy::disallowed_methods,
    reason = "it holds datagrams back by the real clock, as a real path does"
)]

use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// A forwarder to one address: who dials it reaches that. Dropping it cuts the path.
#[derive(Debug)]
pub struct Far {
    addr: SocketAddr,
    under_way: Arc<UnderWay>,
    _tasks: JoinSet<io::Result<()>>,
}

/// Bytes that are on the way, of both directions.
#[derive(Debug, Default)]
struct UnderWay {
    now: AtomicU64,
    most: AtomicU64,
}

/// What a path carries in each direction. What is too much waits in a queue, and is lost when that
/// is full.
#[derive(Debug, Clone, Copy)]
pub struct Thin {
    /// The rate.
    pub bytes_per_s: u64,
    /// How much may wait.
    pub queue_bytes: u64,
}

/// The near end of one direction of a path.
struct Entrance {
    each_way: Duration,
    thin: Option<Thin>,
    /// When all that waits has gone.
    free_at: Instant,
}

/// Datagrams of one size, the last of which may be shorter, and when they are due.
struct Batch {
    due: Instant,
    bytes: Vec<u8>,
    stride: usize,
}

/// As much as the kernel gathers.
const BATCH_BYTES: usize = 64 * 1024;

/// More than a program puts on the way at once.
const KERNEL_BUFFER_BYTES: usize = 16 * 1024 * 1024;

impl Far {
    /// Opens a path to `target` on which everything takes so long each way. To be called within a
    /// tokio runtime.
    pub fn away(target: SocketAddr, each_way: Duration) -> io::Result<Self> {
        Self::open(target, each_way, None)
    }

    /// Opens a path that carries only so much.
    pub fn thin(target: SocketAddr, each_way: Duration, thin: Thin) -> io::Result<Self> {
        Self::open(target, each_way, Some(thin))
    }

    fn open(target: SocketAddr, each_way: Duration, thin: Option<Thin>) -> io::Result<Self> {
        let (near, far) = (socket()?, socket()?);
        let addr = near.local_addr()?;
        let (under_way, dialer) = (Arc::new(UnderWay::default()), Arc::new(OnceLock::new()));
        let mut tasks = JoinSet::new();
        for (from, to, back) in [(near.clone(), far.clone(), false), (far, near, true)] {
            let (queue, batches) = mpsc::unbounded_channel();
            let (under_way_in, under_way_out) = (under_way.clone(), under_way.clone());
            let (dialer_in, dialer_out) = (dialer.clone(), dialer.clone());
            let mut entrance = Entrance {
                each_way,
                thin,
                free_at: Instant::now(),
            };
            tasks.spawn(async move {
                loop {
                    let (bytes, meta) = receive(&*from).await?;
                    if !back {
                        dialer_in.get_or_init(|| meta.addr);
                    }
                    for batch in entrance.take(bytes, meta.stride) {
                        under_way_in.add(batch.bytes.len());
                        let _ = queue.send(batch);
                    }
                }
            });
            let to_whom = move || {
                if back {
                    dialer_out.get().copied()
                } else {
                    Some(target)
                }
            };
            tasks.spawn(send_when_due(to, to_whom, batches, under_way_out));
        }
        Ok(Self {
            addr,
            under_way,
            _tasks: tasks,
        })
    }

    /// Where to dial.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The most bytes that have been on the way at once.
    pub fn most_under_way(&self) -> u64 {
        self.under_way.most.load(Ordering::Relaxed)
    }
}

impl UnderWay {
    fn add(&self, bytes: usize) {
        let now = self.now.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        self.most.fetch_max(now, Ordering::Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.now.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

fn socket() -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    // Beyond the system's limit only root may go; without, a fast program loses some on the way.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, KERNEL_BUFFER_BYTES);
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, KERNEL_BUFFER_BYTES)?;
    TokioRuntime.wrap_udp_socket(socket)
}

async fn receive(from: &dyn AsyncUdpSocket) -> io::Result<(Vec<u8>, RecvMeta)> {
    let mut bytes = vec![0; BATCH_BYTES];
    let mut meta = [RecvMeta::default()];
    poll_fn(|cx| from.poll_recv(cx, &mut [IoSliceMut::new(&mut bytes)], &mut meta)).await?;
    let [meta] = meta;
    bytes.truncate(meta.len);
    Ok((bytes, meta))
}

impl Entrance {
    /// What goes on of datagrams that came together, and when.
    fn take(&mut self, bytes: Vec<u8>, stride: usize) -> Vec<Batch> {
        let now = Instant::now();
        match self.thin {
            None => vec![Batch {
                due: now + self.each_way,
                bytes,
                stride,
            }],
            Some(thin) => bytes
                .chunks(stride)
                .filter_map(|datagram| self.take_one(now, thin, datagram))
                .collect(),
        }
    }

    fn take_one(&mut self, now: Instant, thin: Thin, datagram: &[u8]) -> Option<Batch> {
        let time_of = |bytes: u64| Duration::from_nanos(bytes * 1_000_000_000 / thin.bytes_per_s);
        let begins = self.free_at.max(now);
        if begins - now > time_of(thin.queue_bytes) {
            return None;
        }
        self.free_at = begins + time_of(datagram.len() as u64);
        Some(Batch {
            due: self.free_at + self.each_way,
            bytes: datagram.to_vec(),
            stride: datagram.len(),
        })
    }
}

async fn send_when_due(
    to: Arc<dyn AsyncUdpSocket>,
    to_whom: impl Fn() -> Option<SocketAddr>,
    mut batches: mpsc::UnboundedReceiver<Batch>,
    under_way: Arc<UnderWay>,
) -> io::Result<()> {
    let mut poller = to.clone().create_io_poller();
    while let Some(Batch { due, bytes, stride }) = batches.recv().await {
        sleep_until(due).await;
        under_way.remove(bytes.len());
        let Some(destination) = to_whom() else {
            continue;
        };
        for contents in bytes.chunks(stride * to.max_transmit_segments()) {
            let segment_size = (contents.len() > stride).then_some(stride);
            let transmit = Transmit {
                destination,
                ecn: None,
                contents,
                segment_size,
                src_ip: None,
            };
            while to
                .try_send(&transmit)
                .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            {
                poll_fn(|cx| poller.as_mut().poll_writable(cx)).await?;
            }
        }
    }
    Ok(())
}
