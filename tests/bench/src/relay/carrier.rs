//! A peer's socket. Datagrams from quinn to [`FAR`] travel as channel frames through the relay.
//! Other datagrams are sent unchanged.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};

use hobnob_protocol::datagram::{CHANNEL, CHANNEL_HEADER, ChannelId};
use hobnob_tests::lab::Stopwatch;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Runtime, TokioRuntime, UdpPoller};

/// The address that represents the peer at the other end of the channel to quinn.
pub(crate) const FAR: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(240, 0, 0, 1), 1));

/// The same size as the relay's buffers.
const KERNEL_BUFFER_BYTES: usize = 4 * 1024 * 1024;

pub(crate) struct Carrier {
    inner: Arc<dyn AsyncUdpSocket>,
    relay: SocketAddr,
    channel: OnceLock<ChannelId>,
    scratch: Mutex<Vec<u8>>,
    pub(crate) bare: Bare,
}

/// Frames without QUIC, for generating load.
#[derive(Debug)]
pub(crate) struct Bare {
    /// Whether channel frames are counted here instead of passed to quinn.
    pub(crate) on: AtomicBool,
    pub(crate) frames: AtomicU64,
    /// A frame of this length contains its sending time after the header, in nanoseconds of
    /// `clock`.
    pub(crate) timed: usize,
    pub(crate) clock: Stopwatch,
    pub(crate) latencies: Mutex<Vec<u64>>,
}

/// Length of the frames whose latency is measured: 64 bytes and the header.
pub(crate) const TIMED: usize = 64 + CHANNEL_HEADER;

impl Carrier {
    /// Binds a socket for a peer of this relay.
    pub(crate) fn bind(at: Ipv4Addr, relay: SocketAddr) -> anyhow::Result<Arc<Self>> {
        let socket = std::net::UdpSocket::bind((at, 0))?;
        let buffers = socket2::SockRef::from(&socket);
        buffers.set_send_buffer_size(KERNEL_BUFFER_BYTES)?;
        buffers.set_recv_buffer_size(KERNEL_BUFFER_BYTES)?;
        let _only_for_root =
            rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, KERNEL_BUFFER_BYTES);
        Ok(Self::over(TokioRuntime.wrap_udp_socket(socket)?, relay))
    }

    /// Uses a socket that leads to the relay.
    pub(crate) fn over(inner: Arc<dyn AsyncUdpSocket>, relay: SocketAddr) -> Arc<Self> {
        let bare = Bare {
            on: AtomicBool::new(false),
            frames: AtomicU64::new(0),
            timed: TIMED,
            clock: Stopwatch::start(),
            latencies: Mutex::default(),
        };
        Arc::new(Self {
            inner,
            relay,
            channel: OnceLock::new(),
            scratch: Mutex::default(),
            bare,
        })
    }

    /// Sets the channel that [`FAR`] represents.
    pub(crate) fn set_channel(&self, channel: ChannelId) {
        // Ignores a second call: a channel keeps its id when it is opened again.
        let _ = self.channel.set(channel);
    }

    /// Sends frames unchanged, with one system call.
    pub(crate) fn send_bare(&self, frames: &[u8], each: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: self.relay,
            ecn: None,
            contents: frames,
            segment_size: Some(each),
            src_ip: None,
        };
        self.inner.try_send(&transmit)
    }

    fn wrap(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let Some(channel) = self.channel.get() else {
            return Ok(());
        };
        let size = transmit.segment_size.unwrap_or(transmit.contents.len());
        let mut scratch = self
            .scratch
            .lock()
            .expect("no thread panics while it holds this lock");
        scratch.clear();
        for segment in transmit.contents.chunks(size) {
            scratch.extend_from_slice(&channel.header());
            scratch.extend_from_slice(segment);
        }
        self.inner.try_send(&Transmit {
            destination: self.relay,
            ecn: transmit.ecn,
            contents: &scratch,
            segment_size: transmit.segment_size.map(|size| size + CHANNEL_HEADER),
            src_ip: None,
        })
    }

    /// Removes the headers of a batch of frames, in place.
    fn unwrap(&self, buf: &mut [u8], meta: &mut RecvMeta) {
        if meta.stride <= CHANNEL_HEADER || buf[0] != CHANNEL {
            return;
        }
        if self.bare.on.load(Ordering::Relaxed) {
            self.bare.count(&buf[..meta.len], meta.stride);
            meta.len = 0;
            return;
        }
        let mut kept = 0;
        for start in (0..meta.len).step_by(meta.stride) {
            let end = (start + meta.stride).min(meta.len);
            if end - start > CHANNEL_HEADER && buf[start] == CHANNEL {
                buf.copy_within(start + CHANNEL_HEADER..end, kept);
                kept += end - start - CHANNEL_HEADER;
            }
        }
        (meta.len, meta.stride, meta.addr) = (kept, meta.stride - CHANNEL_HEADER, FAR);
    }
}

impl Bare {
    fn count(&self, batch: &[u8], stride: usize) {
        let frames = batch.chunks(stride).filter(|frame| frame[0] == CHANNEL);
        self.frames
            .fetch_add(frames.clone().count() as u64, Ordering::Release);
        for frame in frames.filter(|frame| frame.len() == self.timed) {
            let sent = frame[CHANNEL_HEADER..CHANNEL_HEADER + 8]
                .try_into()
                .expect("eight bytes");
            let took = self.now().saturating_sub(u64::from_be_bytes(sent));
            self.latencies
                .lock()
                .expect("no thread panics while it holds this lock")
                .push(took);
        }
    }

    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl AsyncUdpSocket for Carrier {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if transmit.destination == FAR {
            self.wrap(transmit)
        } else {
            self.inner.try_send(transmit)
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for (buf, meta) in bufs.iter_mut().zip(meta).take(received) {
            self.unwrap(buf, meta);
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carrier").finish_non_exhaustive()
    }
}
