//! The scope of an address.

use std::net::IpAddr;

/// Whether an address is valid on one link only (RFC 3927, RFC 4291 section 2.5.6).
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Whether an address is valid everywhere.
pub fn is_public(ip: IpAddr) -> bool {
    let private = match ip {
        // 100.64.0.0/10 is the range that providers use towards their customers (RFC 6598).
        IpAddr::V4(v4) => v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64),
        IpAddr::V6(v6) => v6.is_unique_local(),
    };
    !(private || ip.is_loopback() || ip.is_unspecified() || is_link_local(ip))
}
