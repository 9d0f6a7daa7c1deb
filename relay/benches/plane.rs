//! The cost of the forwarding plane alone: `cargo bench -p hobnob-relay`. Senders and receivers use
//! the cores of the same machine, so the processor time per MiB and per frame is more meaningful
//! than the throughput.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement: it reads the clock, and a fault ends it"
)]

use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hobnob_protocol::datagram::ChannelId;
use hobnob_relay::plane::{self, Counted, PlaneConfig, PlaneHandle};
use hobnob_relay::route::{Route, Update};
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(2);

/// Frames in flight, which must not fill a socket's buffer.
const WINDOW_BYTES: u64 = 768 * 1024;

fn main() {
    println!(
        "{:<46} {:>9} {:>11} {:>12} {:>8}",
        "", "MiB/s", "ms per MiB", "ns per frame", "lost"
    );
    let only = std::env::args()
        .skip(1)
        .find(|arg| !arg.starts_with('-'))
        .unwrap_or_default();
    for (name, inner, gso, senders) in [
        ("1 sender, 1200 B, in batches", 1200, 40, 1),
        ("1 sender, 1200 B, in batches of 10", 1200, 10, 1),
        ("10 senders, 1200 B, in batches of 10", 1200, 10, 10),
        ("1 sender, 1200 B, singly", 1200, 1, 1),
        ("1 sender, 64 B, singly", 64, 1, 1),
        ("1000 senders, 64 B, singly", 64, 1, 1000),
    ]
    .into_iter()
    .filter(|(name, ..)| name.contains(&only))
    {
        let relay = Relay::start();
        let figures = relay.forwards(inner, gso, senders);
        println!("{name:<46} {figures}");
    }
    for (name, first) in [
        ("a flood of unknown channels, 64 B", 0x10),
        ("a flood of garbage, 64 B", 0x20),
    ]
    .into_iter()
    .filter(|(name, ..)| name.contains(&only))
    {
        let relay = Relay::start();
        println!("{name:<46} {:>9.0} ns per datagram", relay.drops(first));
    }
}

/// A plane without a QUIC endpoint.
struct Relay {
    plane: PlaneHandle,
    at: SocketAddr,
    /// Of the plane's thread.
    schedstat: PathBuf,
    _quic: Arc<dyn quinn::AsyncUdpSocket>,
}

impl Relay {
    fn start() -> Self {
        let (quic, plane) =
            plane::bind((Ipv4Addr::LOCALHOST, 0).into(), PlaneConfig::default()).unwrap();
        let at = plane.local_addr();
        // A thread gives itself its name.
        let thread = std::iter::repeat_with(thread).flatten().next().unwrap();
        Self {
            plane,
            at,
            schedstat: thread.join("schedstat"),
            _quic: quic,
        }
    }

    /// Processor time of the plane's thread.
    fn cpu(&self) -> Duration {
        let text = std::fs::read_to_string(&self.schedstat).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }

    /// Forwards frames between `senders` and one receiver; as fast as the receiver gets them.
    fn forwards(self, inner: usize, gso: usize, senders: usize) -> String {
        let receiver = Arc::new(socket());
        let senders: Vec<_> = (0..senders)
            .map(|n| {
                (
                    socket(),
                    ChannelId((n as u64 * 0x9e37_79b9_7f4a_7c15 + 1).to_be_bytes()),
                )
            })
            .collect();
        for (sender, channel) in &senders {
            let (from, to) = (
                sender.0.local_addr().unwrap(),
                receiver.0.local_addr().unwrap(),
            );
            let route = Route {
                channel: *channel,
                from,
                to,
                becomes: *channel,
                meter: Arc::default(),
                used: Arc::default(),
            };
            self.plane.update(Update::Set(route));
        }
        let (got, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let receiving = std::thread::spawn({
            let (got, stop, receiver) = (got.clone(), stop.clone(), receiver.clone());
            move || receive(&receiver, &got, &stop)
        });
        let mut sent = 0;
        let (start, cpu, before) = (Instant::now(), self.cpu(), self.plane.counters());
        for (sender, channel) in senders.iter().cycle() {
            let frame = [&channel.header()[..], &vec![7; inner]].concat();
            let batch = frame.repeat(gso);
            send(sender, self.at, &batch, frame.len());
            sent += batch.len() as u64;
            let waits = Instant::now();
            while sent - got.load(Ordering::Acquire)
                > WINDOW_BYTES
                    .min(1000 * (frame.len() as u64))
                    .max(batch.len() as u64 * 2)
            {
                std::thread::yield_now();
                if waits.elapsed() > Duration::from_millis(50) {
                    sent = got.load(Ordering::Acquire);
                }
            }
            if start.elapsed() > TIME {
                break;
            }
        }
        let (took, cpu, counted) = (start.elapsed(), self.cpu() - cpu, self.plane.counters());
        stop.store(true, Ordering::Release);
        send(&socket(), receiver.0.local_addr().unwrap(), &[0], 1);
        receiving.join().unwrap();
        figures(before, counted, took, cpu)
    }

    /// The cost of a dropped datagram in nanoseconds.
    fn drops(self, first: u8) -> f64 {
        let (sender, start, cpu) = (socket(), Instant::now(), self.cpu());
        while start.elapsed() < TIME {
            for _ in 0..100 {
                sender.0.send_to(&[first; 73], self.at).unwrap();
            }
        }
        let counted = self.plane.counters();
        (self.cpu() - cpu).as_nanos() as f64 / (counted.unknown_channel + counted.unknown) as f64
    }
}

/// The plane's thread, found by its name.
fn thread() -> Option<PathBuf> {
    let mut tasks = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|task| task.unwrap().path());
    // Skips a thread that has ended.
    tasks
        .find(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "plane\n"))
}

fn figures(before: Counted, after: Counted, took: Duration, cpu: Duration) -> String {
    let (frames, bytes) = (after.frames - before.frames, after.bytes - before.bytes);
    let mib = bytes as f64 / 1024.0 / 1024.0;
    format!(
        "{:>9.0} {:>11.2} {:>12.0} {:>8}",
        mib / took.as_secs_f64(),
        cpu.as_secs_f64() * 1000.0 / mib,
        cpu.as_nanos() as f64 / frames as f64,
        after.unsent + after.unknown_channel + after.wrong_sender,
    )
}

type Peer = (UdpSocket, UdpSocketState);

fn socket() -> Peer {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let state = UdpSocketState::new((&socket).into()).unwrap();
    let _ = state.set_recv_buffer_size((&socket).into(), 4 << 20);
    socket.set_nonblocking(false).unwrap();
    (socket, state)
}

fn send((socket, state): &Peer, destination: SocketAddr, contents: &[u8], segment: usize) {
    let transmit = Transmit {
        destination,
        ecn: None,
        contents,
        segment_size: Some(segment),
        src_ip: None,
    };
    state.try_send(socket.into(), &transmit).unwrap();
}

fn receive((socket, state): &Peer, got: &AtomicU64, stop: &AtomicBool) {
    let mut bufs = vec![vec![0; 64 * 1024]; 8];
    let mut meta = [RecvMeta::default(); 8];
    while !stop.load(Ordering::Acquire) {
        let mut slices: Vec<_> = bufs.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
        // recvmmsg would wait for all of them.
        let received = state
            .recv(socket.into(), &mut slices[..1], &mut meta)
            .unwrap();
        got.fetch_add(
            meta[..received].iter().map(|meta| meta.len as u64).sum(),
            Ordering::Release,
        );
    }
}
