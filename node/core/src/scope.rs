//! The scope of an address.

use std::net::IpAddr;

/// Whether an address is valid on one link only (RFC 3927, RFC 4291 section 2.5.6).
pub fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
