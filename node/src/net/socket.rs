//! Binds the node's one UDP socket: dual-stack, with large buffers, on the usual port or any free
//! one.
//!
//! [`crate::net::demux`] sorts its datagrams.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use hobnob_protocol::PORT_NODE;
use hobnob_transport::udp::{self, KERNEL_BUFFER_BYTES, SmallBuffers, open};
use tokio::sync::mpsc;

use super::channels::Channels;
use super::counters::Counters;
use super::demux::{DemuxSocket, SideDatagram};

/// Probes and answers of STUN that wait for the engine. Further ones are dropped; their senders
/// repeat them.
const SIDE_DATAGRAMS_MAX: usize = 64;

/// A bound socket, ready for an endpoint.
#[derive(Debug)]
pub struct BoundSocket {
    /// The socket with the interface that quinn expects.
    pub socket: Arc<dyn quinn::AsyncUdpSocket>,
    /// The same socket, for datagrams other than QUIC.
    pub demux: Arc<DemuxSocket>,
    /// The channels through relays that it carries.
    pub channels: Channels,
    /// The address that it listens at. The IP address is unspecified unless one was configured.
    pub local_addr: SocketAddr,
    /// Counters of dropped datagrams.
    pub counters: Arc<Counters>,
    /// Whether another program has the usual port, so that this is another one.
    pub fell_back: bool,
}

/// Why a node cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program has the port.
    #[error("UDP {0} is taken by another program: end that program, or listen on another address")]
    Taken(SocketAddr),
    /// The address is not one of this machine's.
    #[error("{0} is not an address of this machine: name one that is, or [::]:{port} for all of them", port = .0.port())]
    NotHere(SocketAddr),
    /// The system does not allow it.
    #[error("the system does not let this user listen on UDP {0}: choose a port above 1023")]
    Forbidden(SocketAddr),
    /// Another error of the system.
    #[error("can't listen on UDP {addr}: {source}")]
    Other {
        /// The address.
        addr: SocketAddr,
        /// The error.
        source: io::Error,
    },
}

impl BindError {
    fn new(addr: SocketAddr, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::AddrInUse {
            Self::Taken(addr)
        } else if source.kind() == io::ErrorKind::AddrNotAvailable {
            Self::NotHere(addr)
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            Self::Forbidden(addr)
        } else {
            Self::Other { addr, source }
        }
    }
}

/// Binds the node's socket. Must be called within a tokio runtime.
///
/// With an address, it binds exactly that one. Without, it binds port 4626 on all IPv6 and IPv4
/// addresses, any free port if that one is taken, and IPv4 alone if the machine has no IPv6. The
/// receiver yields datagrams other than QUIC. They are dropped while it is full.
pub fn bind(
    listen: Option<SocketAddr>,
) -> Result<(BoundSocket, mpsc::Receiver<SideDatagram>), BindError> {
    let anywhere = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let (socket, addr, fell_back) = match listen {
        Some(addr) => (
            open(addr).map_err(|source| BindError::new(addr, source))?,
            addr,
            false,
        ),
        None => open_any(PORT_NODE, anywhere)?,
    };
    enlarge_buffers(&socket);
    let other = |source| BindError::Other { addr, source };
    let counters = Arc::new(Counters::default());
    let (side_datagrams, arrived) = mpsc::channel(SIDE_DATAGRAMS_MAX);
    let channels = Channels::new(addr.is_ipv6(), counters.clone());
    let socket = DemuxSocket::new(socket, counters.clone(), channels.clone(), side_datagrams)
        .map_err(other)?;
    let local_addr = quinn::AsyncUdpSocket::local_addr(&socket).map_err(other)?;
    let demux = Arc::new(socket);
    Ok((
        BoundSocket {
            socket: demux.clone(),
            demux,
            channels,
            local_addr,
            counters,
            fell_back,
        },
        arrived,
    ))
}

/// Opens a socket on the first of `ips`, or on the second if the machine has nothing like the
/// first.
fn open_any(port: u16, ips: [IpAddr; 2]) -> Result<(UdpSocket, SocketAddr, bool), BindError> {
    let [first, second] = ips;
    open_preferring(port, first).or_else(|error| match error {
        BindError::Taken(_) | BindError::Forbidden(_) => Err(error),
        BindError::NotHere(_) | BindError::Other { .. } => {
            tracing::debug!(%error, "trying {second} instead");
            open_preferring(port, second)
        }
    })
}

/// Opens a socket on `port`, or any other port if it is taken, and says whether it was.
fn open_preferring(port: u16, ip: IpAddr) -> Result<(UdpSocket, SocketAddr, bool), BindError> {
    let (usual, any) = (SocketAddr::new(ip, port), SocketAddr::new(ip, 0));
    match open(usual) {
        Ok(socket) => Ok((socket, usual, false)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => open(any)
            .map(|socket| (socket, any, true))
            .map_err(|source| BindError::new(any, source)),
        Err(source) => Err(BindError::new(usual, source)),
    }
}

/// Requests large kernel buffers. Small ones mean more loss under bursts, not an error.
fn enlarge_buffers(socket: &UdpSocket) {
    if let Err(SmallBuffers { receive, send }) = udp::enlarge_buffers(socket) {
        tracing::debug!(
            receive,
            send,
            wanted = KERNEL_BUFFER_BYTES,
            "the kernel gives small UDP buffers (net.core.rmem_max)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A port that something else holds, for as long as the socket lives.
    fn taken() -> (UdpSocket, SocketAddr) {
        let socket = open(addr("[::]:0")).unwrap();
        let at = socket.local_addr().unwrap();
        (socket, at)
    }

    #[test]
    fn the_usual_port_being_taken_means_any_other() {
        let (_held, at) = taken();
        let (_, _, fell_back) = open_preferring(at.port(), at.ip()).unwrap();
        assert!(fell_back);
    }

    #[test]
    fn no_ipv6_means_ipv4_alone() {
        // Nobody has a documentation address (RFC 3849): the system answers as it does where there
        // is no IPv6.
        let (socket, ..) = open_any(
            0,
            ["2001:db8::1".parse().unwrap(), Ipv4Addr::LOCALHOST.into()],
        )
        .unwrap();
        assert!(socket.local_addr().unwrap().is_ipv4());
    }

    #[tokio::test]
    async fn an_address_that_was_asked_for_and_is_taken_is_an_error_that_names_it() {
        let (_held, at) = taken();
        let error = bind(Some(at)).unwrap_err();
        assert!(matches!(error, BindError::Taken(_)), "{error:?}");
        assert!(error.to_string().contains(&at.to_string()), "{error}");
        assert!(matches!(
            bind(Some(addr("[2001:db8::1]:0"))),
            Err(BindError::NotHere(_))
        ));
    }

    #[tokio::test]
    async fn an_address_that_was_asked_for_is_bound_exactly() {
        let (bound, _) = bind(Some(addr("127.0.0.1:0"))).unwrap();
        assert!(
            bound.local_addr.ip().is_loopback() && bound.local_addr.port() != 0 && !bound.fell_back
        );
    }
}
