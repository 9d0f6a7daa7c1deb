//! Judges socket addresses. Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};

/// The address in its usual form: an IPv4 address that a dual-stack socket shows as
/// `::ffff:a.b.c.d` becomes plain IPv4.
///
/// The scope of a link-local address is kept; any other address has none.
pub fn canonical(addr: SocketAddr) -> SocketAddr {
    match (addr.ip().to_canonical(), addr) {
        (IpAddr::V6(ip), SocketAddr::V6(v6)) if ip.is_unicast_link_local() => {
            SocketAddr::V6(SocketAddrV6::new(ip, v6.port(), 0, v6.scope_id()))
        }
        (ip, _) => SocketAddr::new(ip, addr.port()),
    }
}

/// Why no datagram can arrive at this address; `None` if one can.
///
/// Such an address must not reach the kernel. The kernel answers some of them with EINVAL.
/// quinn-udp then assumes that the kernel lacks features, and stops using them for the whole
/// socket. So one odd address in a peer's profile could slow down every connection.
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

    #[test]
    fn addresses_are_shown_in_their_usual_form() {
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
    fn addresses_that_would_cripple_the_socket_are_undeliverable() {
        for odd in [
            "10.0.0.1:0",
            "[::]:9",
            "[::ffff:0.0.0.0]:9",
            "224.0.0.1:9",
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
