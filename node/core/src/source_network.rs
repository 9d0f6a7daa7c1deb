//! The network that a peer connects from. Limits for strangers are shared out per network.
//!
//! One host can make any number of identities, but it has addresses of few networks.

use std::net::IpAddr;

use hobnob_limits::Network;
use hobnob_protocol::relay::Origin;

/// Where a peer connects from. Peers with the same value share limits and places.
///
/// The store keeps the number, so its meaning must not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceNetwork(pub u64);

// The highest byte says what the other seven stand for.
const V4: u64 = 4 << 56;
const V6: u64 = 6 << 56;
const RELAY: u64 = 1 << 56;
const ON_LINK: u64 = 2 << 56;

impl SourceNetwork {
    /// Entries that arrive in a file, which comes from no network.
    pub const BY_FILE: Self = Self(3 << 56);

    /// The network of an address: an IPv4 /24 or an IPv6 /56.
    pub fn of(addr: IpAddr) -> Self {
        match Network::of(addr) {
            Network::V4(bytes) => Self(V4 | number(&bytes)),
            Network::V6(bytes) => Self(V6 | number(&bytes)),
        }
    }

    /// A peer on the same link. Each address counts for itself, because all are of one network.
    pub fn on_link(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            IpAddr::V4(addr) => Self(ON_LINK | number(&addr.octets())),
            IpAddr::V6(addr) => Self(ON_LINK | number(&addr.octets()[9..])),
        }
    }

    /// A network behind the relay with this address. Only the relay knows which one; `origin` is its
    /// name for it.
    pub fn behind_relay(relay: IpAddr, origin: Origin) -> Self {
        let relay = Self::of(relay).0 & 0xff_ffff;
        Self(RELAY | relay << 32 | number(&origin))
    }
}

/// The number with these bytes, at most seven.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
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
    fn behind_a_relay_each_origin_counts_for_itself() {
        let relay =
            |ip: &str, origin| SourceNetwork::behind_relay(ip.parse().expect("an address"), origin);
        assert_ne!(relay("192.0.2.1", [0; 4]), of("192.0.2.1"));
        assert_eq!(relay("192.0.2.1", [1; 4]), relay("192.0.2.1", [1; 4]));
        assert_ne!(relay("192.0.2.1", [1; 4]), relay("192.0.2.1", [2; 4]));
        assert_ne!(relay("192.0.2.1", [1; 4]), relay("192.0.3.1", [1; 4]));
    }
}
