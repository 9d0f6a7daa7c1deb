//! A network path with delay, and optionally a limited rate, between two programs on this machine.
//! It forwards every datagram after a delay, like an intercontinental link.

#![expect(
    clippy::disallowed_methods,
    reason = "it delays datagrams by the real clock, as a real path does"
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

/// Forwards datagrams to and from one target address. Dropping it cuts the path.
#[derive(Debug)]
pub struct DelayedPath {
    addr: SocketAddr,
    in_flight: Arc<InFlight>,
    /// Bytes of UDP towards the target, and back.
    carried: [Arc<AtomicU64>; 2],
    _tasks: JoinSet<io::Result<()>>,
}

/// Bytes in flight, both directions together.
#[derive(Debug, Default)]
struct InFlight {
    now: AtomicU64,
    max: AtomicU64,
}

/// A limited rate for each direction. Excess datagrams wait in a queue. A full queue drops
/// datagrams.
#[derive(Debug, Clone, Copy)]
pub struct RateLimit {
    /// Bytes per second.
    pub bytes_per_s: u64,
    /// Capacity of the queue.
    pub queue_bytes: u64,
}

/// The sending end of one direction: decides when each datagram arrives.
struct Entrance {
    each_way: Duration,
    limit: Option<RateLimit>,
    /// When the queue is empty.
    free_at: Instant,
}

/// Datagrams of one size and their delivery time. The last one may be shorter.
struct Batch {
    due: Instant,
    bytes: Vec<u8>,
    stride: usize,
}

/// The largest batch that the kernel combines.
const BATCH_BYTES: usize = 64 * 1024;

/// More than a program has in flight.
const KERNEL_BUFFER_BYTES: usize = 16 * 1024 * 1024;

impl DelayedPath {
    /// Opens a path to `target` with this delay in each direction. Must run within a tokio runtime.
    pub fn new(target: SocketAddr, each_way: Duration) -> io::Result<Self> {
        Self::open(target, each_way, None)
    }

    /// Opens a path with a delay and a limited rate.
    pub fn with_limit(
        target: SocketAddr,
        each_way: Duration,
        limit: RateLimit,
    ) -> io::Result<Self> {
        Self::open(target, each_way, Some(limit))
    }

    fn open(target: SocketAddr, each_way: Duration, limit: Option<RateLimit>) -> io::Result<Self> {
        let (near, far) = (socket()?, socket()?);
        let addr = near.local_addr()?;
        let (in_flight, dialer) = (Arc::new(InFlight::default()), Arc::new(OnceLock::new()));
        let mut tasks = JoinSet::new();
        let carried: [Arc<AtomicU64>; 2] = Default::default();
        for (from, to, back) in [(near.clone(), far.clone(), false), (far, near, true)] {
            let counter = carried[usize::from(back)].clone();
            let (queue, batches) = mpsc::unbounded_channel();
            let (in_flight_in, in_flight_out) = (in_flight.clone(), in_flight.clone());
            let (dialer_in, dialer_out) = (dialer.clone(), dialer.clone());
            let mut entrance = Entrance {
                each_way,
                limit,
                free_at: Instant::now(),
            };
            tasks.spawn(async move {
                loop {
                    let (bytes, meta) = receive(&*from).await?;
                    counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    if !back {
                        dialer_in.get_or_init(|| meta.addr);
                    }
                    for batch in entrance.schedule(bytes, meta.stride) {
                        in_flight_in.add(batch.bytes.len());
                        let _ = queue.send(batch);
                    }
                }
            });
            let destination = move || {
                if back {
                    dialer_out.get().copied()
                } else {
                    Some(target)
                }
            };
            tasks.spawn(send_when_due(to, destination, batches, in_flight_out));
        }
        Ok(Self {
            addr,
            in_flight,
            carried,
            _tasks: tasks,
        })
    }

    /// The address to dial instead of the target.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Bytes of UDP payload that were sent into the path so far: towards the target, and back.
    pub fn carried(&self) -> [u64; 2] {
        let read = |counter: &Arc<AtomicU64>| counter.load(Ordering::Relaxed);
        self.carried.each_ref().map(read)
    }

    /// The largest number of bytes that were in flight at one moment.
    pub fn max_in_flight(&self) -> u64 {
        self.in_flight.max.load(Ordering::Relaxed)
    }
}

impl InFlight {
    fn add(&self, bytes: usize) {
        let now = self.now.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        self.max.fetch_max(now, Ordering::Relaxed);
    }

    fn remove(&self, bytes: usize) {
        self.now.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

fn socket() -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    // Only root may exceed the system's limit. With a smaller buffer, a fast sender loses
    // datagrams.
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
    /// Schedules datagrams that arrived together. Drops those that do not fit the queue.
    fn schedule(&mut self, bytes: Vec<u8>, stride: usize) -> Vec<Batch> {
        let now = Instant::now();
        match self.limit {
            None => vec![Batch {
                due: now + self.each_way,
                bytes,
                stride,
            }],
            Some(limit) => bytes
                .chunks(stride)
                .filter_map(|datagram| self.schedule_one(now, limit, datagram))
                .collect(),
        }
    }

    fn schedule_one(&mut self, now: Instant, limit: RateLimit, datagram: &[u8]) -> Option<Batch> {
        let time_of = |bytes: u64| Duration::from_nanos(bytes * 1_000_000_000 / limit.bytes_per_s);
        let begins = self.free_at.max(now);
        if begins - now > time_of(limit.queue_bytes) {
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
    destination: impl Fn() -> Option<SocketAddr>,
    mut batches: mpsc::UnboundedReceiver<Batch>,
    in_flight: Arc<InFlight>,
) -> io::Result<()> {
    let mut poller = to.clone().create_io_poller();
    while let Some(Batch { due, bytes, stride }) = batches.recv().await {
        sleep_until(due).await;
        in_flight.remove(bytes.len());
        let Some(destination) = destination() else {
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
