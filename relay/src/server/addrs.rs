//! The addresses at which others, and the relay's own machine, can reach the relay.

use std::net::{IpAddr, SocketAddr};

/// Maximum addresses to announce. A machine with more uses most of them for internal purposes.
const ADDRS_MAX: usize = 16;

/// The addresses of the machine's interfaces at which others can reach a socket bound to `bound`.
/// IPv4 comes first. Loopback is named only if there is nothing else. Public addresses that a
/// router translates are unknown to the relay.
pub(super) fn reachable(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let up = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .into_iter()
        .filter(if_addrs::Interface::is_oper_up);
    of_interfaces(bound, up.map(|interface| interface.ip()))
}

/// Whether a socket bound to `bound` has this address, as far as this machine knows.
pub(super) fn is_of(bound: SocketAddr, addr: SocketAddr) -> bool {
    let ip = addr.ip();
    let own = || if_addrs::get_if_addrs().unwrap_or_default();
    addr.port() == bound.port()
        && if bound.ip().is_unspecified() {
            ip.is_loopback() || own().iter().any(|interface| interface.ip() == ip)
        } else {
            bound.ip().to_canonical() == ip
        }
}

fn of_interfaces(bound: SocketAddr, ips: impl Iterator<Item = IpAddr>) -> Vec<SocketAddr> {
    let mut ips: Vec<IpAddr> = ips.filter(|ip| ip.is_ipv4() || bound.is_ipv6()).collect();
    ips.retain(|&ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local()));
    if ips.iter().any(|ip| !ip.is_loopback()) {
        ips.retain(|ip| !ip.is_loopback());
    }
    ips.sort();
    ips.dedup();
    ips.into_iter()
        .take(ADDRS_MAX)
        .map(|ip| SocketAddr::new(ip, bound.port()))
        .collect()
}

/// The address at which the relay's own machine reaches a socket bound to `bound`.
pub(super) fn from_here(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_others_can_use_are_announced() {
        let ips = |texts: &[&str]| {
            texts
                .iter()
                .map(|ip| ip.parse().unwrap())
                .collect::<Vec<IpAddr>>()
        };
        let announced = |bound: &str, own: &[&str]| {
            let addrs = of_interfaces(bound.parse().unwrap(), ips(own).into_iter());
            addrs
                .into_iter()
                .map(|addr| addr.to_string())
                .collect::<Vec<_>>()
        };
        let own = ["::1", "2001:db8::1", "fe80::1", "127.0.0.1", "192.0.2.7"];
        assert_eq!(
            announced("[::]:9", &own),
            ["192.0.2.7:9", "[2001:db8::1]:9"]
        );
        assert_eq!(announced("0.0.0.0:9", &own), ["192.0.2.7:9"]);
        assert_eq!(
            announced("[::]:9", &["127.0.0.1", "::1"]),
            ["127.0.0.1:9", "[::1]:9"]
        );
        assert_eq!(
            reachable("198.51.100.1:9".parse().unwrap()),
            ["198.51.100.1:9".parse().unwrap()]
        );
    }

    #[test]
    fn a_translated_address_or_port_is_not_one_of_the_socket() {
        for (bound, addr, is_of_it) in [
            ("192.0.2.7:4627", "192.0.2.7:4627", true),
            ("[::ffff:192.0.2.7]:4627", "192.0.2.7:4627", true),
            ("192.0.2.7:4627", "192.0.2.7:443", false),
            ("192.0.2.7:4627", "203.0.113.7:4627", false),
            ("[::]:4627", "127.0.0.1:4627", true),
            ("[::]:4627", "203.0.113.7:4627", false),
        ] {
            let found = is_of(bound.parse().unwrap(), addr.parse().unwrap());
            assert_eq!(found, is_of_it, "{addr} at {bound}");
        }
    }

    #[test]
    fn the_own_machine_uses_loopback_if_the_socket_has_no_certain_address() {
        for (bound, reached) in [
            ("[::]:9", "[::1]:9"),
            ("0.0.0.0:9", "127.0.0.1:9"),
            ("192.0.2.7:9", "192.0.2.7:9"),
        ] {
            assert_eq!(from_here(bound.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
