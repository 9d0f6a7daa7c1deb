//! The network that a peer connects from. Limits for strangers are shared out per network.
//!
//! One host can make any number of identities, but it has addresses of few networks.

use std::net::IpAddr;

/// Where a peer connects from. Peers with the same value share limits.
///
/// The store keeps the number, so its meaning must not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceNetwork(pub u64);

// The highest byte says what the other seven stand for.
const V4: u64 = 4 << 56;
const V6: u64 = 6 << 56;
const RELAY: u64 = 1 << 56;
const ON_LINK: u64 = 2 << 56;

/// The seven bytes below the highest one.
const LOW: u64 = (1 << 56) - 1;

impl SourceNetwork {
    /// The network of an address: an IPv4 /24 or an IPv6 /56.
    pub fn of(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self(V4 | u64::from(addr.to_bits() >> 8)),
            IpAddr::V6(addr) => Self(V6 | low_bytes(addr.to_bits() >> 72)),
        }
    }

    /// A peer on the same link. Each address counts for itself, because all are of one network.
    pub fn on_link(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self(ON_LINK | u64::from(addr.to_bits())),
            IpAddr::V6(addr) => Self(ON_LINK | low_bytes(addr.to_bits())),
        }
    }

    /// All peers behind the relay with this address.
    pub fn behind_relay(relay: IpAddr) -> Self {
        Self(RELAY | Self::of(relay).0 & LOW)
    }
}

fn low_bytes(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(LOW)).expect("seven bytes fit eight")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addr: &str) -> SourceNetwork {
        SourceNetwork::of(addr.parse().expect("an address"))
    }

    fn on_link(addr: &str) -> SourceNetwork {
        SourceNetwork::on_link(addr.parse().expect("an address"))
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:0:100::1"), of("2001:db8:0:1ff:5::1"));
        assert_ne!(of("2001:db8:0:100::1"), of("2001:db8:0:200::1"));
    }

    #[test]
    fn on_a_link_each_address_counts_for_itself() {
        assert_ne!(on_link("192.0.2.1"), on_link("192.0.2.2"));
        assert_ne!(on_link("fe80::1"), on_link("fe80::2"));
        assert_ne!(on_link("192.0.2.1"), of("192.0.2.1"));
    }

    #[test]
    fn a_relay_counts_apart_from_its_neighbours() {
        let addr = "192.0.2.1".parse().expect("an address");
        assert_ne!(SourceNetwork::behind_relay(addr), SourceNetwork::of(addr));
    }
}
