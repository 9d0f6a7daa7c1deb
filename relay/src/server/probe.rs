//! The health check: a frame from a temporary socket must come back through the relay's own port.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::datagram::{CHANNEL_HEADER, ChannelId};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::addrs::from_here;
use crate::keys::random;
use crate::plane::PlaneHandle;
use crate::route::{Meter, Route, Update, Used};

/// Time limit for the frame to come back, with all repetitions.
const LIMIT: Duration = Duration::from_secs(1);

/// How long to wait before the frame is sent again. The route may not exist yet, and a busy relay
/// drops frames.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Why the health check failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The system does not let the relay send to itself.
    #[error("can't send to the relay's own port {addr} ({error})")]
    Socket {
        /// The relay's address.
        addr: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
    /// No frame came back.
    #[error("a frame sent to the relay's own port {0} did not come back within {LIMIT:?}")]
    Silent(SocketAddr),
}

/// A temporary route from a local socket back to it. Dropping it removes the route.
struct Loop<'a> {
    plane: &'a PlaneHandle,
    channel: ChannelId,
}

impl<'a> Loop<'a> {
    fn new(plane: &'a PlaneHandle, addr: SocketAddr, becomes: ChannelId) -> Self {
        let channel = ChannelId(random());
        let (meter, used) = (Arc::<Meter>::default(), Arc::<Used>::default());
        plane.update(Update::Set(Route {
            channel,
            from: addr,
            to: addr,
            becomes,
            meter,
            used,
        }));
        Self { plane, channel }
    }
}

impl Drop for Loop<'_> {
    fn drop(&mut self) {
        self.plane.update(Update::Remove(self.channel));
    }
}

/// Sends a frame through the relay's own port, and waits until it comes back.
pub(super) async fn probe(plane: &PlaneHandle) -> Result<(), ProbeError> {
    let relay = from_here(plane.local_addr());
    let failed = |error| ProbeError::Socket { addr: relay, error };
    let socket = open(relay).await.map_err(failed)?;
    let becomes = ChannelId(random());
    let route = Loop::new(plane, socket.local_addr().map_err(failed)?, becomes);
    let [frame, expected] =
        [route.channel, becomes].map(|channel| [&channel.header()[..], b"probe"].concat());
    match timeout(LIMIT, round_trip(&socket, &frame, &expected)).await {
        Ok(outcome) => outcome.map_err(failed),
        Err(_) => Err(ProbeError::Silent(relay)),
    }
}

async fn open(relay: SocketAddr) -> io::Result<UdpSocket> {
    let local: SocketAddr = match relay {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    // A connected socket knows its own address and receives from nobody else.
    socket.connect(relay).await?;
    Ok(socket)
}

async fn round_trip(socket: &UdpSocket, frame: &[u8], expected: &[u8]) -> io::Result<()> {
    let mut buffer = [0; CHANNEL_HEADER + 16];
    loop {
        socket.send(frame).await?;
        match timeout(AGAIN_AFTER, socket.recv(&mut buffer)).await {
            Ok(Ok(len)) if &buffer[..len] == expected => return Ok(()),
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}
