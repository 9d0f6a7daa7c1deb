//! Binds the node's one UDP socket: dual-stack, with large buffers, on the usual port or any free
//! one.
//!
//! What the datagrams are is for [`crate::net::demux`] to say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hobnob_protocol::PORT_NODE;
use socket2::{Domain, Protocol, Socket, Type};

use tokio::sync::mpsc;

use super::channels::Channels;
use super::demux::{Counters, DemuxSocket, SideDatagram};

/// Size asked for each of the socket's two kernel buffers. At the usual 208 KiB a burst of 256
/// handshakes drops 2,000 datagrams.
const KERNEL_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Knocks and answers of STUN that wait to be looked at; further ones are dropped: whoever means
/// them knocks or asks again.
const BESIDE_MAX: usize = 64;

/// A bound socket, ready for an endpoint.
#[derive(Debug)]
pub struct BoundSocket {
    /// The socket as quinn takes it.
    pub socket: Arc<dyn quinn::AsyncUdpSocket>,
    /// The same, to knock and ask with.
    pub demux: Arc<DemuxSocket>,
    /// The channels through relays that it carries.
    pub channels: Channels,
    /// Where it listens. The IP address is unspecified unless one was asked for.
    pub local_addr: SocketAddr,
    /// What the socket dropped, and why.
    pub counters: Arc<Counters>,
    /// The usual port was taken, so this is another.
    pub fell_back: bool,
}

/// Why a node can't listen.
///
/// ```
/// use hobnob::BindError;
///
/// let error = BindError::Taken("0.0.0.0:4626".parse()?);
/// assert!(error.to_string().contains("name another address with --listen"));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else has the port.
    #[error(
        "UDP {0} is taken by another program: end that program, name another address with --listen, \
         or leave --listen out to take any free port"
    )]
    Taken(SocketAddr),
    /// The address is not one of this machine's.
    #[error("{0} is not an address of this machine: name one that is, or [::]:{port} for all of them", port = .0.port())]
    NotHere(SocketAddr),
    /// The system forbids it.
    #[error("the system does not let this user listen on UDP {0}: choose a port above 1023")]
    Forbidden(SocketAddr),
    /// Anything else that the system says.
    #[error("can't listen on UDP {addr}: {source}")]
    Other {
        /// Where.
        addr: SocketAddr,
        /// What the system says.
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
/// With an address, exactly there. With none: port 4626 on all IPv6 and IPv4 addresses, any free
/// port if that one is taken, and IPv4 alone if the machine has no IPv6. What comes beside QUIC
/// comes out of the receiver; what nobody takes in time is dropped.
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
    let (beside, came) = mpsc::channel(BESIDE_MAX);
    let channels = Channels::new(addr.is_ipv6(), counters.clone());
    let socket = DemuxSocket::new(socket.into(), counters.clone(), channels.clone(), beside)
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
        came,
    ))
}

/// Opens a socket on the first of `ips`, or on the second if the machine has nothing like the
/// first.
fn open_any(port: u16, ips: [IpAddr; 2]) -> Result<(Socket, SocketAddr, bool), BindError> {
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
fn open_preferring(port: u16, ip: IpAddr) -> Result<(Socket, SocketAddr, bool), BindError> {
    let (usual, any) = (SocketAddr::new(ip, port), SocketAddr::new(ip, 0));
    match open(usual) {
        Ok(socket) => Ok((socket, usual, false)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => open(any)
            .map(|socket| (socket, any, true))
            .map_err(|source| BindError::new(any, source)),
        Err(source) => Err(BindError::new(usual, source)),
    }
}

fn open(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Asks for large kernel buffers. Fewer bytes mean more loss under bursts, not an error.
fn enlarge_buffers(socket: &Socket) {
    let asked = socket
        .set_recv_buffer_size(KERNEL_BUFFER_BYTES)
        .and(socket.set_send_buffer_size(KERNEL_BUFFER_BYTES));
    // Beyond the system's limit only for those who administer the network; refused to others, which
    // is no loss.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, KERNEL_BUFFER_BYTES);
    let (received, sent) = (
        socket.recv_buffer_size().unwrap_or(0),
        socket.send_buffer_size().unwrap_or(0),
    );
    if asked.is_err() || received.min(sent) < KERNEL_BUFFER_BYTES {
        tracing::debug!(
            received,
            sent,
            wanted = KERNEL_BUFFER_BYTES,
            "the kernel gives small UDP buffers (net.core.rmem_max)"
        );
    }
}

/// The address as people know it: IPv4 that a dual-stack socket shows as `::ffff:a.b.c.d` becomes
/// plain IPv4.
///
/// The scope of a link-local address stays; it means nothing on any other.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match (addr.ip().to_canonical(), addr) {
        (IpAddr::V6(ip), SocketAddr::V6(v6)) if ip.is_unicast_link_local() => {
            SocketAddr::V6(std::net::SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()))
        }
        (ip, _) => SocketAddr::new(ip, addr.port()),
    }
}

/// Why a datagram to this address could never arrive, if so.
///
/// Such addresses should not reach the kernel: to some it answers EINVAL, which quinn-udp takes to
/// mean that the kernel lacks features, and stops using them for the whole socket. A peer could do
/// so to us with one odd address in its profile.
pub fn undeliverable(addr: SocketAddr) -> Option<&'static str> {
    let link_local_without_scope = match addr {
        SocketAddr::V6(v6) => v6.ip().is_unicast_link_local() && v6.scope_id() == 0,
        SocketAddr::V4(_) => false,
    };
    let ip = addr.ip().to_canonical();
    if addr.port() == 0 {
        Some("its port is 0")
    } else if ip.is_unspecified() {
        Some("it names no machine")
    } else if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("it names more than one machine")
    } else if link_local_without_scope {
        Some("a link-local address needs its interface, as in fe80::1%eth0")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A port that something else holds, for as long as the socket lives.
    fn taken() -> (Socket, SocketAddr) {
        let socket = open(addr("[::]:0")).unwrap();
        let at = socket.local_addr().unwrap().as_socket().unwrap();
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
        assert!(
            error.to_string().contains(&at.to_string()) && error.to_string().contains("--listen"),
            "{error}"
        );
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

    #[test]
    fn addresses_are_shown_as_people_know_them() {
        let cases = [
            ("[::ffff:10.0.0.1]:9", "10.0.0.1:9"),
            ("[fe80::1%3]:9", "[fe80::1%3]:9"),
            ("[2001:db8::1]:9", "[2001:db8::1]:9"),
        ];
        for (given, shown) in cases {
            assert_eq!(canonical(addr(given)), addr(shown));
        }
    }

    #[test]
    fn addresses_that_would_cripple_the_socket_are_known() {
        for odd in [
            "10.0.0.1:0",
            "[::]:9",
            "[::ffff:0.0.0.0]:9",
            "[ff02::1]:9",
            "255.255.255.255:9",
            "[fe80::1]:9",
        ] {
            assert!(undeliverable(addr(odd)).is_some(), "{odd}");
        }
        for good in [
            "10.0.0.1:9",
            "[::ffff:10.0.0.1]:9",
            "[fe80::1%2]:9",
            "[::1]:9",
        ] {
            assert_eq!(undeliverable(addr(good)), None, "{good}");
        }
    }
}
