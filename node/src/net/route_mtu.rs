//! The MTU of the route to an address, as far as this machine knows it.

use std::net::SocketAddr;

use hobnob_core::synthetic::is_synthetic;
use hobnob_transport::addr::canonical;

/// Headers of IPv6 and UDP before a datagram's content; those of IPv4 are shorter.
const HEADERS: u32 = 48;

/// Whether the first hop carries datagrams of this many bytes. Only the routing table is read.
pub(super) fn carries(bytes: u16, to: SocketAddr) -> bool {
    let to = canonical(to);
    !is_synthetic(to.ip()) && mtu(to).is_some_and(|mtu| mtu >= u32::from(bytes) + HEADERS)
}

/// The MTU of the route to an address. It can be read only from a connected socket, and the node's
/// own socket is not connected.
#[cfg(target_os = "linux")]
fn mtu(to: SocketAddr) -> Option<u32> {
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

    use rustix::net::sockopt::{ip_mtu, ipv6_mtu};

    let (any, ask): (_, fn(&UdpSocket) -> rustix::io::Result<u32>) = match to {
        SocketAddr::V4(_) => (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), |socket| {
            ip_mtu(socket)
        }),
        SocketAddr::V6(_) => (SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), |socket| {
            ipv6_mtu(socket)
        }),
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(to).ok()?;
    ask(&socket).ok()
}

/// Unknown on other systems.
#[cfg(not(target_os = "linux"))]
fn mtu(_to: SocketAddr) -> Option<u32> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_machine_itself_carries_large_datagrams_and_nobody_knows_of_a_relayed_peer() {
        for here in ["127.0.0.1:9", "[::ffff:127.0.0.1]:9", "[::1]:9"] {
            assert!(carries(6_500, here.parse().unwrap()), "{here}");
        }
        assert!(!carries(65_535, "127.0.0.1:9".parse().unwrap()));
        let relayed = hobnob_core::synthetic::from_random(false, 1, 2);
        assert!(!carries(1_200, relayed));
    }
}
