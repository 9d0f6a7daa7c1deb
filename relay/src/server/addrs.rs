//! Addresses of the relay, as people name them.

use std::net::{IpAddr, SocketAddr};

/// Addresses that are told at most; a machine with more has them for its own purposes.
const ADDRS_MAX: usize = 16;

/// Where others can reach a socket that is bound to `bound`, by the machine's interfaces: IPv4
/// first, loopback only if there is nothing else. An address that a router translates to this
/// machine's is known to the operator alone.
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

/// Where the relay's own machine reaches a socket that is bound to `bound`.
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
    fn others_are_told_addresses_that_mean_something_to_them() {
        let ips = |texts: &[&str]| {
            texts
                .iter()
                .map(|ip| ip.parse().unwrap())
                .collect::<Vec<IpAddr>>()
        };
        let told = |bound: &str, own: &[&str]| {
            let addrs = of_interfaces(bound.parse().unwrap(), ips(own).into_iter());
            addrs
                .into_iter()
                .map(|addr| addr.to_string())
                .collect::<Vec<_>>()
        };
        let own = ["::1", "2001:db8::1", "fe80::1", "127.0.0.1", "192.0.2.7"];
        assert_eq!(told("[::]:9", &own), ["192.0.2.7:9", "[2001:db8::1]:9"]);
        assert_eq!(told("0.0.0.0:9", &own), ["192.0.2.7:9"]);
        assert_eq!(
            told("[::]:9", &["127.0.0.1", "::1"]),
            ["127.0.0.1:9", "[::1]:9"]
        );
        assert_eq!(
            reachable("198.51.100.1:9".parse().unwrap()),
            ["198.51.100.1:9".parse().unwrap()]
        );
    }
}
