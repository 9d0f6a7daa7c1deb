//! The source network of an address.

use std::net::IpAddr;

/// The addresses that one subscriber of a network usually has: the /24 of an IPv4 address, the /56
/// of an IPv6 address (RIPE-690 section 4.2 recommends /56 or shorter for homes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// The first three bytes of an IPv4 address.
    V4([u8; 3]),
    /// The first seven bytes of an IPv6 address.
    V6([u8; 7]),
}

impl Network {
    /// The network of an address. An IPv4 address that is mapped into IPv6 counts as IPv4.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_the_same_for_all_addresses_of_a_subscriber() {
        let network = |ip: &str| Network::of(ip.parse().expect("an address"));
        assert_eq!(network("11.0.0.1"), network("11.0.0.255"));
        assert_eq!(network("11.0.0.1"), network("::ffff:11.0.0.9"));
        assert_ne!(network("11.0.0.1"), network("11.0.1.1"));
        assert_eq!(network("2001:db8:7::1"), network("2001:db8:7:ff:ffff::2"));
        assert_ne!(network("2001:db8:7::1"), network("2001:db8:7:100::1"));
    }
}
