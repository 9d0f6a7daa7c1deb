//! Tells the datagrams of the node's one socket apart by their first byte, as RFC 9443 does, and hands QUIC only to quinn.
//!
//! | first byte | what |
//! | --- | --- |
//! | 0x40..=0xFF | QUIC |
//! | 0x00..=0x03, with the magic cookie | STUN (RFC 8489 section 5) |
//! | 0x10 | channel frame: a relayed QUIC datagram |
//! | 0x11 | knock: opens a NAT |
//!
//! This node has no relay yet, so all but QUIC is counted and dropped. What quinn makes of its datagrams is not known here.
//!
//! quinn 0.11 trusts its socket more than it may be trusted: an error from sending other than "would block" silently ends that
//! connection's driver, an error from receiving ends the endpoint, and a batch with a stride of 0 loops forever. So no error
//! leaves this module; they are counted, and logged at debug.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio_util::sync::ReusableBoxFuture;

use super::socket::undeliverable;

/// Longest datagram that quinn takes: `EndpointConfig`'s default, an Ethernet frame without its headers. Peers are told.
const DATAGRAM_MAX: usize = 1472;

/// The socket as quinn takes it.
pub struct DemuxSocket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    /// Datagrams of one size that the system sends as one, or 1 if it can't.
    segments: AtomicUsize,
    counters: Arc<Counters>,
}

impl DemuxSocket {
    /// Takes a bound socket. Must be called within a tokio runtime.
    pub fn new(socket: UdpSocket, counters: Arc<Counters>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let segments = AtomicUsize::new(state.max_gso_segments());
        Ok(Self { io: tokio::net::UdpSocket::from_std(socket)?, state, segments, counters })
    }

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.state.try_send((&self.io).into(), transmit))
    }

    /// Sends one datagram after another what could not be sent as one, and gives up sending so if that helps.
    ///
    /// quinn-udp gives up at the first EINVAL or EIO, for the whole socket. But these also come for a single odd destination,
    /// or while an address of ours goes away, and would cost every peer its throughput.
    fn send_singly(&self, transmit: &Transmit<'_>, segment: usize) -> io::Result<()> {
        for contents in transmit.contents.chunks(segment) {
            self.send(&Transmit { contents, segment_size: None, ..transmit.clone() })?;
        }
        tracing::debug!("the system can't send several datagrams as one");
        self.segments.store(1, Ordering::Relaxed);
        Ok(())
    }

    /// Receives what is there; an error counts as one empty datagram, so that quinn's limit on its work holds even if the
    /// error stays.
    fn receive(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        match self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), bufs, meta)) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.counters.failed(&self.counters.recv_error, &error);
                meta[0] = RecvMeta::default();
                Ok(1)
            }
            received => received,
        }
    }
}

impl AsyncUdpSocket for DemuxSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, ready: ReusableBoxFuture::new(std::future::ready(Ok(()))), waiting: false })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if undeliverable(transmit.destination).is_some() {
            self.counters.send_error.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let sent = match (self.send(transmit), transmit.segment_size) {
            (Err(error), Some(segment)) if is_any(&error, &[Errno::INVAL, Errno::IO]) => self.send_singly(transmit, segment),
            (sent, _) => sent,
        };
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) => {
                // A probe for a larger MTU that the interface does not have is an answer, not an error.
                if !is_any(&error, &[Errno::MSGSIZE]) {
                    self.counters.failed(&self.counters.send_error, &error);
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    fn poll_recv(&self, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> Poll<io::Result<usize>> {
        loop {
            if ready!(self.io.poll_recv_ready(cx)).is_err() {
                // The runtime is shutting down: nobody polls this task again.
                return Poll::Pending;
            }
            if let Ok(received) = self.receive(bufs, meta) {
                for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(received) {
                    keep_quic(buf, meta, &self.counters);
                }
                return Poll::Ready(Ok(received));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.segments.load(Ordering::Relaxed)
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

impl fmt::Debug for DemuxSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemuxSocket").field("io", &self.io).finish_non_exhaustive()
    }
}

/// Wakes one task when the socket can be written. tokio's `poll_send_ready` remembers one task only, so each has its own.
struct Writable {
    socket: Arc<DemuxSocket>,
    ready: ReusableBoxFuture<'static, io::Result<()>>,
    waiting: bool,
}

impl UdpPoller for Writable {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.waiting {
            let socket = this.socket.clone();
            this.ready.set(async move { socket.io.writable().await });
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

/// How many datagrams did not reach quinn, by cause.
#[derive(Debug, Default)]
pub struct Counters {
    stun: AtomicU64,
    channel: AtomicU64,
    knock: AtomicU64,
    unknown: AtomicU64,
    oversized: AtomicU64,
    send_error: AtomicU64,
    recv_error: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// STUN messages.
    pub stun: u64,
    /// Channel frames.
    pub channel: u64,
    /// Knocks.
    pub knock: u64,
    /// Datagrams of no known kind, empty ones among them.
    pub unknown: u64,
    /// Datagrams longer than any that a peer may send.
    pub oversized: u64,
    /// Transmissions that the system refused.
    pub send_error: u64,
    /// Receptions that failed.
    pub recv_error: u64,
}

impl Counters {
    /// The counters now.
    pub fn snapshot(&self) -> Counted {
        let [stun, channel, knock, unknown, oversized, send_error, recv_error] =
            [&self.stun, &self.channel, &self.knock, &self.unknown, &self.oversized, &self.send_error, &self.recv_error]
                .map(|counter| counter.load(Ordering::Relaxed));
        Counted { stun, channel, knock, unknown, oversized, send_error, recv_error }
    }

    fn failed(&self, counter: &AtomicU64, error: &io::Error) {
        counter.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%error, "the socket failed");
    }

    fn drop_one(&self, class: Class) {
        let counter = match class {
            Class::Quic => return,
            Class::Stun => &self.stun,
            Class::Channel => &self.channel,
            Class::Knock => &self.knock,
            Class::Unknown => &self.unknown,
            Class::Oversized => &self.oversized,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Quic,
    Stun,
    Channel,
    Knock,
    Unknown,
    Oversized,
}

fn classify(datagram: &[u8]) -> Class {
    match datagram {
        _ if datagram.len() > DATAGRAM_MAX => Class::Oversized,
        [0x40..=0xff, ..] => Class::Quic,
        [0x00..=0x03, _, _, _, 0x21, 0x12, 0xa4, 0x42, ..] => Class::Stun,
        [0x10, ..] => Class::Channel,
        [0x11, ..] => Class::Knock,
        _ => Class::Unknown,
    }
}

/// Leaves only QUIC in a received batch, in order, and counts the rest.
///
/// A batch holds datagrams of `meta.stride` bytes each, the last maybe shorter. Dropping some and moving the rest together
/// keeps that so.
fn keep_quic(buf: &mut [u8], meta: &mut RecvMeta, counters: &Counters) {
    let len = meta.len.min(buf.len());
    if meta.stride == 0 {
        if meta.len > 0 {
            counters.recv_error.fetch_add(1, Ordering::Relaxed);
        }
        meta.len = 0;
        return;
    }
    meta.len = len;
    if buf[..len].chunks(meta.stride).all(|datagram| classify(datagram) == Class::Quic) {
        return;
    }
    let mut kept = 0;
    for start in (0..len).step_by(meta.stride) {
        let end = (start + meta.stride).min(len);
        let class = classify(&buf[start..end]);
        if class == Class::Quic {
            buf.copy_within(start..end, kept);
            kept += end - start;
        }
        counters.drop_one(class);
    }
    meta.len = kept;
}

fn is_any(error: &io::Error, causes: &[Errno]) -> bool {
    causes.iter().any(|cause| error.raw_os_error() == Some(cause.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    /// What is left of a batch of these datagrams.
    fn left_of(datagrams: &[&[u8]], stride: usize) -> (Vec<u8>, Counted) {
        let mut buf = datagrams.concat();
        let mut meta = RecvMeta { len: buf.len(), stride, ..RecvMeta::default() };
        let counters = Counters::default();
        keep_quic(&mut buf, &mut meta, &counters);
        (buf[..meta.len].to_vec(), counters.snapshot())
    }

    const STUN: &[u8] = &[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 9, 9];
    const QUIC_1: &[u8] = &[0xc0, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    const QUIC_2: &[u8] = &[0x40, 2, 2, 2, 2, 2, 2, 2, 2, 2];
    const SHORT_QUIC: &[u8] = &[0x7f, 3, 3];
    const CHANNEL: &[u8] = &[0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const KNOCK: &[u8] = &[0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const GARBAGE: &[u8] = &[0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const STUN_WITHOUT_COOKIE: &[u8] = &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn a_batch_of_quic_passes_unchanged() {
        let (left, counted) = left_of(&[QUIC_1, QUIC_2, SHORT_QUIC], 10);
        assert_eq!(left, [QUIC_1, QUIC_2, SHORT_QUIC].concat());
        assert_eq!(counted, Counted::default());
    }

    #[test]
    fn a_mixed_batch_is_compacted_in_order_and_the_rest_counted() {
        let (left, counted) = left_of(&[STUN, QUIC_1, CHANNEL, KNOCK, QUIC_2, GARBAGE, STUN_WITHOUT_COOKIE, SHORT_QUIC], 10);
        assert_eq!(left, [QUIC_1, QUIC_2, SHORT_QUIC].concat());
        assert_eq!(counted, Counted { stun: 1, channel: 1, knock: 1, unknown: 2, ..Counted::default() });
    }

    #[test]
    fn a_batch_without_quic_is_empty() {
        let (left, counted) = left_of(&[CHANNEL, CHANNEL, &CHANNEL[..4]], 10);
        assert!(left.is_empty());
        assert_eq!(counted.channel, 3);
    }

    #[test]
    fn datagrams_that_no_peer_may_send_are_dropped_whole() {
        let long = [0xc0; DATAGRAM_MAX + 1];
        let (left, counted) = left_of(&[&long, QUIC_1], long.len());
        assert_eq!(left, QUIC_1);
        assert_eq!(counted.oversized, 1);
    }

    #[test]
    fn a_stride_of_zero_never_reaches_quinn() {
        let (left, counted) = left_of(&[QUIC_1], 0);
        assert!(left.is_empty());
        assert_eq!(counted.recv_error, 1);
        assert_eq!(left_of(&[], 0), (Vec::new(), Counted::default()));
    }

    #[tokio::test]
    async fn sending_reports_no_error_but_would_block_and_keeps_segmentation_offload() {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let socket = DemuxSocket::new(socket, Arc::default()).unwrap();
        socket.io.writable().await.unwrap();
        let segments = socket.max_transmit_segments();
        let send = |to: &str, contents: &[u8], src_ip: Option<&str>| {
            let (destination, src_ip) = (to.parse().unwrap(), src_ip.map(|ip| ip.parse().unwrap()));
            let segment_size = (contents.len() < 100).then_some(4);
            socket.try_send(&Transmit { destination, ecn: None, contents, segment_size, src_ip }).unwrap();
            socket.counters.snapshot().send_error
        };
        for (to, errors) in [("[::1]:0", 1), ("[fe80::1]:9", 2), ("[::ffff:255.255.255.255]:9", 3)] {
            assert_eq!(send(to, QUIC_1, None), errors, "{to}");
        }
        // Longer than any datagram: an answer to a probe, not an error.
        assert_eq!(send("[::1]:9", &[0x40; 70_000], None), 3);
        // From an address that has just gone. The kernel's answer is the one for a segment size that it can't do.
        assert_eq!(send("[::1]:9", QUIC_1, Some("2001:db8::1")), 4);
        assert_eq!(socket.max_transmit_segments(), segments);
    }

    #[tokio::test]
    async fn an_empty_datagram_is_received_as_nothing() {
        let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let to = socket.local_addr().unwrap();
        let socket = DemuxSocket::new(socket, Arc::default()).unwrap();
        UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap().send_to(b"", to).unwrap();
        let mut buf = [7; 2000];
        let mut meta = [RecvMeta { len: 9, stride: 0, ..RecvMeta::default() }];
        let received = std::future::poll_fn(|cx| {
            let mut bufs = [IoSliceMut::new(&mut buf)];
            socket.poll_recv(cx, &mut bufs, &mut meta)
        });
        assert_eq!(received.await.unwrap(), 1);
        assert_eq!(meta[0].len, 0);
    }
}
