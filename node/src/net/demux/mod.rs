//! The node's one UDP socket, and the streams to relays beside it, with the interface that quinn
//! expects. It sorts received datagrams by their first byte (see [`hobnob_protocol::datagram`]),
//! and carries the datagrams of relayed connections in channel frames. It does not look into QUIC
//! packets.
//!
//! To quinn a relayed peer has a synthetic address ([`crate::net::channels`]). A datagram for that
//! address is sent to the relay with nine bytes in front. Received channel frames lose these bytes.
//! Probes, address checks and answers of STUN go to the engine while it has room for them. All
//! other datagrams are counted and dropped.
//!
//! quinn 0.11 expects more from a socket than a socket can promise. An error from sending, other
//! than "would block", silently ends the connection's driver. An error from receiving ends the
//! endpoint. A batch with a stride of 0 loops forever. So no error leaves this module: errors are
//! counted, and logged at debug level.

pub mod fuzz;
mod side_datagram;
mod sort;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use hobnob_protocol::datagram::{AddressCheck, CHANNEL_HEADER, Probe};
use hobnob_protocol::heartbeat::Datagram;
use hobnob_transport::addr::{canonical, undeliverable};
use hobnob_transport::hop_limit;
use hobnob_transport::stream::queue::Queued;
use hobnob_transport::stun::client::{self as stun, Transaction};
use hobnob_transport::udp::{SegmentedSender, has_errno};
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio_util::sync::ReusableBoxFuture;

pub use self::side_datagram::{DatagramKind, SideDatagram};
pub(super) use self::sort::DATAGRAM_MAX;
use self::sort::Sorter;
use super::channels::{Channels, Received, RelayRoute};
use super::counters::{Counters, count};
use super::source_networks::SourceNetworks;
use super::streams::Streams;
use hobnob_core::synthetic::is_synthetic;

/// The hops of a probe that opens this node's NAT: this machine's router, and the one at which it
/// ends. The router of a peer at the same provider can be the third.
const OPENING_HOPS: u8 = 2;

/// The node's UDP socket.
pub struct DemuxSocket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    sender: SegmentedSender,
    sorter: Sorter,
    streams: Streams,
    /// Set if nothing may be sent beyond this machine's own links.
    links: OnceLock<SourceNetworks>,
    /// Whether quinn reads the UDP socket before the streams. It takes turns, so that neither has
    /// to wait for the other.
    udp_first: AtomicBool,
    /// Runs of datagrams that were received in one batch with those of another sender. quinn
    /// receives them next. Only the task that polls takes the lock.
    held: Mutex<VecDeque<Received>>,
}

thread_local! {
    /// The buffer in which channel frames are assembled. They are sent at once.
    static FRAMES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl DemuxSocket {
    /// Takes a bound socket. Must be called within a tokio runtime.
    pub fn new(
        socket: UdpSocket,
        counters: Arc<Counters>,
        channels: Channels,
        side_datagrams: mpsc::Sender<SideDatagram>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let sender = SegmentedSender::new(&state);
        let sorter = Sorter {
            counters,
            channels,
            side_datagrams,
        };
        Ok(Self {
            io: tokio::net::UdpSocket::from_std(socket)?,
            state,
            sender,
            sorter,
            streams: Streams::default(),
            links: OnceLock::new(),
            udp_first: AtomicBool::new(false),
            held: Mutex::default(),
        })
    }

    /// The streams to relays.
    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The channels through relays.
    pub(super) fn channels(&self) -> &Channels {
        &self.sorter.channels
    }

    /// From now on nothing is sent beyond this machine's own links.
    pub(super) fn stay_on_links(&self, links: SourceNetworks) {
        // The first call counts, and a node makes one.
        let _again = self.links.set(links);
    }

    /// Passes datagrams that a stream received, each with its length in front, to quinn. Waits
    /// while quinn is busy. Returns false if one is neither QUIC nor a channel frame.
    pub(super) async fn receive_from_stream(&self, from: SocketAddr, run: &[u8]) -> bool {
        let mut runs = VecDeque::new();
        if !self.sorter.sort_stream(from, run, &mut runs) {
            return false;
        }
        self.streams.deliver(runs).await;
        true
    }

    /// Sends a probe, if the system takes it now.
    pub fn probe(&self, to: SocketAddr, probe: Probe) {
        self.send_side(to, None, &probe.encode());
    }

    /// Sends a probe that passes this machine's own router and ends at the next one. It need not
    /// arrive, so a system that cannot send it loses nothing but its effect.
    pub fn open_nat(&self, to: SocketAddr, probe: Probe) {
        // A node that stays on its links has no NAT to open.
        let may_send = self.links.get().is_none();
        if let Some(to) = self.destination(to).filter(|_| may_send) {
            let _ = hop_limit::send(&self.io, to, OPENING_HOPS, &probe.encode());
        }
    }

    /// Sends an address check, if the system takes it now. An answer must leave from the address
    /// that the question was sent to: the asking node and firewalls on the way expect that.
    pub fn check(&self, from: Option<IpAddr>, to: SocketAddr, check: AddressCheck) {
        self.send_side(to, from, &check.encode());
    }

    /// Sends a sealed datagram to a relay with which the connection sleeps, if the system takes it
    /// now.
    pub(super) fn send_sealed(&self, to: SocketAddr, datagram: &Datagram) {
        self.send_side(to, None, datagram.as_slice());
    }

    /// Asks another machine at which address it sees this node, if the system takes the request
    /// now.
    pub fn ask(&self, to: SocketAddr, transaction: Transaction) {
        self.send_side(to, None, &stun::request(transaction));
    }

    fn send_side(&self, to: SocketAddr, src_ip: Option<IpAddr>, contents: &[u8]) {
        let Some(destination) = self.destination(to) else {
            return count(&self.counters().send_error);
        };
        let transmit = Transmit {
            destination,
            ecn: None,
            contents,
            segment_size: None,
            src_ip,
        };
        // A datagram that is not sent counts as lost.
        let _ = self.try_send(&transmit);
    }

    /// An address in the form that this socket takes. `None` if it leads nowhere from here.
    fn destination(&self, to: SocketAddr) -> Option<SocketAddr> {
        let on_v6 = self.io.local_addr().is_ok_and(|addr| addr.is_ipv6());
        match to {
            _ if is_synthetic(to.ip()) => None,
            SocketAddr::V4(v4) if on_v6 => Some(SocketAddr::new(
                IpAddr::V6(v4.ip().to_ipv6_mapped()),
                v4.port(),
            )),
            SocketAddr::V6(_) if !on_v6 => None,
            SocketAddr::V4(_) | SocketAddr::V6(_) => Some(to),
        }
    }

    fn counters(&self) -> &Counters {
        &self.sorter.counters
    }

    /// Sends datagrams of a relayed connection. Each gets its channel's header, and the relay
    /// receives all in one transmission.
    fn send_relayed(&self, transmit: &Transmit<'_>, route: &RelayRoute) -> io::Result<()> {
        let segment = transmit
            .segment_size
            .unwrap_or(transmit.contents.len())
            .max(1);
        route.traffic.count_sent();
        FRAMES.with_borrow_mut(|frames| {
            frames.clear();
            for datagram in transmit.contents.chunks(segment) {
                frames.extend_from_slice(&route.channel.header());
                frames.extend_from_slice(datagram);
            }
            let segment_size = transmit.segment_size.map(|size| size + CHANNEL_HEADER);
            self.send_direct(&Transmit {
                destination: route.relay,
                contents: frames,
                segment_size,
                ..transmit.clone()
            })
        })
    }

    /// Sends to another machine, or to a relay through a stream.
    fn send_direct(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if is_synthetic(transmit.destination.ip()) {
            // A full queue drops, as a full socket on the way would. "Would block" would make quinn
            // wait for the UDP socket.
            if self.streams.send(transmit) != Some(Queued::All) {
                count(&self.counters().send_error);
            }
            return Ok(());
        }
        let links = self.links.get();
        if links.is_some_and(|links| !links.is_near(transmit.destination.ip())) {
            count(&self.counters().send_error);
            return Ok(());
        }
        let sent = self.sender.send(transmit, |transmit| self.send(transmit));
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
            Err(error) => {
                // A datagram larger than the interface carries is no error. It is a probe for a
                // larger MTU, or the path has become narrower.
                if !has_errno(&error, &[Errno::MSGSIZE]) {
                    self.counters().failed(&self.counters().send_error, &error);
                }
                // Linux reports a datagram that a local firewall drops. A firewall elsewhere is
                // silent.
                if has_errno(&error, &[Errno::PERM]) {
                    self.counters().refused(canonical(transmit.destination));
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Passes held datagrams and released early ones to quinn. Returns how many.
    fn take_held(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> usize {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(std::iter::from_fn(|| self.sorter.channels.take_early()));
        while held.len() < bufs.len()
            && let Some(run) = self.streams.take()
        {
            held.push_back(run);
        }
        let n = held.len().min(bufs.len()).min(meta.len());
        for ((run, buf), meta) in held.drain(..n).zip(bufs).zip(meta) {
            buf[..run.bytes.len()].copy_from_slice(&run.bytes);
            *meta = run.meta;
        }
        n
    }

    /// Wakes this task when there are datagrams that did not come from the socket. Returns whether
    /// there are some already.
    fn wake_on_held(&self, cx: &Context<'_>) -> bool {
        let early = self.sorter.channels.wake_on_early(cx);
        self.streams.wake_on_arrival(cx) || early
    }

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || {
            self.state.try_send((&self.io).into(), transmit)
        })
    }

    /// Receives datagrams. An error counts as one empty datagram, so that quinn's limit on its work
    /// applies even if the error persists.
    fn receive(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        match self.io.try_io(Interest::READABLE, || {
            self.state.recv((&self.io).into(), bufs, meta)
        }) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                self.counters().failed(&self.counters().recv_error, &error);
                meta[0] = RecvMeta::default();
                Ok(1)
            }
            received => received,
        }
    }
}

impl AsyncUdpSocket for DemuxSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable {
            socket: self,
            ready: ReusableBoxFuture::new(std::future::ready(Ok(()))),
            waiting: false,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if is_synthetic(transmit.destination.ip()) {
            return match self.sorter.channels.route_to(transmit.destination) {
                Some(route) => self.send_relayed(transmit, &route),
                None if self.streams.has(transmit.destination) => self.send_direct(transmit),
                None => {
                    count(&self.counters().no_channel);
                    Ok(())
                }
            };
        }
        if undeliverable(transmit.destination).is_some() {
            count(&self.counters().send_error);
            return Ok(());
        }
        self.send_direct(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let udp_first = self.udp_first.swap(false, Ordering::Relaxed);
            let held = if udp_first {
                0
            } else {
                self.take_held(bufs, meta)
            };
            if held > 0 {
                self.udp_first.store(true, Ordering::Relaxed);
                return Poll::Ready(Ok(held));
            }
            match self.io.poll_recv_ready(cx) {
                Poll::Ready(Ok(())) => {}
                // The runtime is shutting down: no task is polled again.
                Poll::Ready(Err(_)) => return Poll::Pending,
                Poll::Pending if udp_first => continue,
                Poll::Pending if self.wake_on_held(cx) => continue,
                Poll::Pending => return Poll::Pending,
            }
            if let Ok(received) = self.receive(bufs, meta) {
                let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
                for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(received) {
                    self.sorter.sort(buf, meta, &mut held);
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
        self.sender.segments()
    }

    fn max_receive_segments(&self) -> usize {
        // quinn provides buffers for this many datagrams of the largest size. The kernel never
        // joins more than fits into one UDP datagram.
        self.state
            .gro_segments()
            .min(usize::from(u16::MAX).div_ceil(DATAGRAM_MAX.into()))
    }
}

impl fmt::Debug for DemuxSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemuxSocket")
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

/// Wakes one task when the socket can be written. tokio's `poll_send_ready` remembers one task
/// only, so each has its own.
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
        f.debug_struct("Writable")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::channels::RelayId;
    use hobnob_protocol::DeviceId;
    use hobnob_protocol::datagram::ChannelId;
    use std::net::Ipv6Addr;

    fn demux(socket: UdpSocket) -> DemuxSocket {
        let counters = Arc::<Counters>::default();
        DemuxSocket::new(
            socket,
            counters.clone(),
            Channels::new(true, counters),
            mpsc::channel(1).0,
        )
        .unwrap()
    }

    #[tokio::test]
    async fn a_socket_that_stays_on_its_links_sends_nothing_beyond_them() {
        let socket = demux(UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap());
        let neighbour = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        socket.stay_on_links(SourceNetworks::new(socket.channels().clone()));
        socket.io.writable().await.unwrap();
        let send = |destination: SocketAddr, contents: &[u8]| {
            let transmit = Transmit {
                destination,
                ecn: None,
                contents,
                segment_size: None,
                src_ip: None,
            };
            socket.try_send(&transmit).unwrap();
            socket.counters().snapshot().send_error
        };
        assert_eq!(send("[2001:db8::1]:9".parse().unwrap(), b"far"), 1);
        assert_eq!(send(neighbour.local_addr().unwrap(), b"near"), 1);
        let mut got = [0; 8];
        let len = neighbour.recv(&mut got).unwrap();
        assert_eq!(&got[..len], b"near");
    }

    #[tokio::test]
    async fn sending_reports_no_error_but_would_block_and_keeps_segmentation_offload() {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        let socket = demux(socket);
        socket.io.writable().await.unwrap();
        let segments = socket.max_transmit_segments();
        let send = |to: &str, contents: &[u8], src_ip: Option<&str>| {
            let (destination, src_ip) = (to.parse().unwrap(), src_ip.map(|ip| ip.parse().unwrap()));
            let segment_size = (contents.len() < 100).then_some(4);
            socket
                .try_send(&Transmit {
                    destination,
                    ecn: None,
                    contents,
                    segment_size,
                    src_ip,
                })
                .unwrap();
            socket.counters().snapshot().send_error
        };
        for (to, errors) in [
            ("[::1]:0", 1),
            ("[fe80::1]:9", 2),
            ("[::ffff:255.255.255.255]:9", 3),
        ] {
            assert_eq!(
                send(to, &[0xc0, 1, 1, 1, 1, 1, 1, 1, 1, 1], None),
                errors,
                "{to}"
            );
        }
        // Longer than any datagram: an answer to a probe, not an error.
        assert_eq!(send("[::1]:9", &[0x40; 70_000], None), 3);
        // From an address that has just gone. The kernel's answer is the one for a segment size
        // that it can't do.
        assert_eq!(
            send(
                "[::1]:9",
                &[0xc0, 1, 1, 1, 1, 1, 1, 1, 1, 1],
                Some("2001:db8::1")
            ),
            4
        );
        assert_eq!(socket.max_transmit_segments(), segments);
    }

    /// The next datagram that quinn receives: its sender and its bytes.
    async fn received(socket: &DemuxSocket) -> (SocketAddr, Vec<u8>) {
        let mut buf = [7; 2000];
        let mut meta = [RecvMeta {
            len: 9,
            stride: 0,
            ..RecvMeta::default()
        }];
        let received = std::future::poll_fn(|cx| {
            let mut bufs = [IoSliceMut::new(&mut buf)];
            socket.poll_recv(cx, &mut bufs, &mut meta)
        });
        assert_eq!(received.await.unwrap(), 1);
        (meta[0].addr, buf[..meta[0].len].to_vec())
    }

    #[tokio::test]
    async fn an_empty_datagram_is_received_as_nothing() {
        let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        let to = socket.local_addr().unwrap();
        let socket = demux(socket);
        UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))
            .unwrap()
            .send_to(b"", to)
            .unwrap();
        assert!(received(&socket).await.1.is_empty());
    }

    #[tokio::test]
    async fn frames_that_overtake_the_news_of_their_channel_are_received_when_that_comes() {
        let [socket, relay, stranger] =
            [0; 3].map(|port| UdpSocket::bind((Ipv6Addr::LOCALHOST, port)).unwrap());
        let (to, relay_addr) = (socket.local_addr().unwrap(), relay.local_addr().unwrap());
        let socket = Arc::new(demux(socket));
        let (id, channel, channels) = (
            RelayId(1),
            ChannelId([7; 8]),
            socket.sorter.channels.clone(),
        );
        channels.connected(id, relay_addr);
        for (from, last) in [(&relay, 1), (&stranger, 2), (&relay, 3)] {
            from.send_to(&[&channel.header()[..], &[0x40, last]].concat(), to)
                .unwrap();
            assert!(
                received(&socket).await.1.is_empty(),
                "nobody knows whose it is"
            );
        }
        let waiting = tokio::spawn({
            let socket = socket.clone();
            async move { [received(&socket).await, received(&socket).await] }
        });
        tokio::task::yield_now().await;
        let peer = channels.addr(id, DeviceId::from_bytes([9; 32]), || 9);
        channels.bind(peer, relay_addr, channel);
        assert_eq!(
            waiting.await.unwrap(),
            [(peer, vec![0x40, 1]), (peer, vec![0x40, 3])]
        );
        assert_eq!(channels.traffic(id).read(), (0, 1));
        assert_eq!(
            socket.counters().snapshot().channel,
            1,
            "a stranger's frame is no frame of a relay's"
        );
    }
}
