//! The networks of this machine: which addresses are on them, and which links to show.

use std::io;
use std::net::IpAddr;

use if_addrs::IfAddr;

/// An own address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnAddr {
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
}

/// The addresses of the interfaces that are up.
pub(super) fn own() -> io::Result<Vec<OwnAddr>> {
    let up = if_addrs::get_if_addrs()?
        .into_iter()
        .filter(if_addrs::Interface::is_oper_up);
    let own = up.map(|interface| OwnAddr {
        ip: interface.ip(),
        prefix: match &interface.addr {
            IfAddr::V4(v4) => v4.prefixlen,
            IfAddr::V6(v6) => v6.prefixlen,
        },
    });
    Ok(own.collect())
}

/// Whether an address is on a network of this machine.
pub(super) fn is_near(own: &[OwnAddr], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    own.iter().any(|own| match (own.ip, ip) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differ = u128::from(a.to_bits() ^ b.to_bits());
            differ.leading_zeros() >= 96 + u32::from(own.prefix)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).leading_zeros() >= u32::from(own.prefix)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    })
}

/// The addresses for links, the most useful first: IPv4, then IPv6, and loopback if there is nothing
/// else. Browsers can't use link-local addresses of IPv6.
pub(super) fn reachable(own: &[OwnAddr]) -> Vec<IpAddr> {
    let usable = |own: &&OwnAddr| match own.ip {
        IpAddr::V4(ip) => !ip.is_loopback(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let mut found: Vec<IpAddr> = own.iter().filter(usable).map(|own| own.ip).collect();
    if found.is_empty() {
        found.extend(own.iter().map(|own| own.ip).filter(IpAddr::is_loopback));
    }
    found.sort_by_key(|ip| ip.is_ipv6());
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(list: &[(&str, u8)]) -> Vec<OwnAddr> {
        list.iter()
            .map(|(ip, prefix)| OwnAddr {
                ip: ip.parse().unwrap(),
                prefix: *prefix,
            })
            .collect()
    }

    #[test]
    fn only_the_own_networks_are_near() {
        let own = own(&[
            ("127.0.0.1", 8),
            ("192.168.1.5", 24),
            ("fe80::1", 64),
            ("2001:db8::5", 64),
            ("10.9.0.1", 32),
        ]);
        for near in [
            "127.3.3.3",
            "192.168.1.254",
            "::ffff:192.168.1.9",
            "fe80::2",
            "2001:db8::9",
            "10.9.0.1",
        ] {
            assert!(is_near(&own, near.parse().unwrap()), "{near}");
        }
        for far in ["192.168.2.5", "8.8.8.8", "10.9.0.2", "2001:db8:1::5", "::1"] {
            assert!(!is_near(&own, far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn links_begin_with_what_people_can_type() {
        let ips = |list| -> Vec<String> {
            let found = reachable(&own(list));
            found.iter().map(ToString::to_string).collect()
        };
        let all = [
            ("127.0.0.1", 8),
            ("2001:db8::5", 64),
            ("fe80::1", 64),
            ("192.168.1.5", 24),
        ];
        assert_eq!(ips(&all), ["192.168.1.5", "2001:db8::5"]);
        assert_eq!(ips(&[("127.0.0.1", 8)]), ["127.0.0.1"]);
    }
}
