//! Addresses that stand for relayed peers.
//!
//! To quinn, and to [`super::paths`], a peer behind a relay is an address like any other: of
//! [`PREFIX`], or, where the socket has no IPv6, of 240.0.0.0/4, which RFC 1112 section 4 keeps out
//! of use. No peer can name one: synthetic addresses from outside are refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The first 48 bits of all synthetic IPv6 addresses: a local prefix from fd00::/8 (RFC 4193). The
/// other bits are random.
pub const PREFIX: [u16; 3] = [0xfd68, 0x6f62, 0x6e6f];

/// The port of synthetic addresses. Any port except 0 works.
const PORT: u16 = 1;

/// Whether an address lies in a range of synthetic addresses.
pub fn is_synthetic(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.octets()[0] & 0xf0 == 0xf0 && v4 != Ipv4Addr::BROADCAST,
        IpAddr::V6(v6) => v6.segments()[..3] == PREFIX,
    }
}

/// Builds a synthetic address from random bits.
pub fn from_random(v6: bool, high: u64, low: u64) -> SocketAddr {
    let ip = if v6 {
        let [a, b, c] = PREFIX.map(u128::from);
        let prefix = a << 112 | b << 96 | c << 80;
        let random = (u128::from(high) << 64 | u128::from(low)) & ((1 << 80) - 1);
        IpAddr::V6(Ipv6Addr::from_bits(prefix | random))
    } else {
        let [a, b, c, d, ..] = low.to_le_bytes();
        // The first octet is at most 247, so this is never the broadcast address.
        IpAddr::V4(Ipv4Addr::new(0xf0 | (a & 0x07), b, c, d))
    };
    SocketAddr::new(ip, PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_our_prefix_are_synthetic() {
        for (ip, yes) in [
            ("fd68:6f62:6e6f::1", true),
            ("fd68:6f62:6e70::1", false),
            ("240.0.0.1", true),
            ("::ffff:241.1.1.1", true),
            ("255.255.255.255", false),
            ("239.1.1.1", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_synthetic(ip.parse().expect("an address")), yes, "{ip}");
        }
        for (high, low) in [(0, 0), (u64::MAX, u64::MAX), (7, 0x0102_0304_0506_0708)] {
            assert!(
                is_synthetic(from_random(true, high, low).ip())
                    && is_synthetic(from_random(false, high, low).ip())
            );
        }
    }
}
