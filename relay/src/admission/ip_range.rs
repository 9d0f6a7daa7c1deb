//! Ranges of IP addresses, such as 192.0.2.0/24, and sets of them.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Bound;
use std::str::FromStr;

/// The first bits of an IPv4 address within the IPv6 addresses (RFC 4291 section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// A range of addresses in CIDR notation.
///
/// IPv4 ranges are stored as the IPv4-mapped IPv6 ranges. So the order is by the number of fixed
/// bits first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpRange {
    /// The number of fixed bits, of 128.
    fixed: u8,
    first: u128,
}

/// The text is not a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a range of addresses has the form 192.0.2.0/24 or 2001:db8::/32, and does not include all"
)]
pub struct NotARange;

impl IpRange {
    fn new(addr: IpAddr, fixed: u8) -> Self {
        let first = bits(addr) & mask(fixed);
        Self { fixed, first }
    }

    fn is_ipv4(&self) -> bool {
        self.fixed >= MAPPED_BITS && Ipv6Addr::from_bits(self.first).to_ipv4_mapped().is_some()
    }

    /// Whether the address is in this range.
    pub fn contains(&self, addr: IpAddr) -> bool {
        Self::new(addr, self.fixed) == *self && (self.is_ipv4() || !is_ipv4(addr))
    }
}

impl FromStr for IpRange {
    type Err = NotARange;

    /// Parses an address, or an address and the number of fixed bits. The other bits are ignored.
    fn from_str(text: &str) -> Result<Self, NotARange> {
        let (addr, len) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| NotARange)?;
        let (max, before) = if is_ipv4(addr) {
            (32, MAPPED_BITS)
        } else {
            (128, 0)
        };
        let len: u8 = match len {
            Some(len) => len.parse().map_err(|_| NotARange)?,
            None => max,
        };
        if (1..=max).contains(&len) {
            Ok(Self::new(addr, before + len))
        } else {
            Err(NotARange)
        }
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = Ipv6Addr::from_bits(self.first);
        match first.to_ipv4_mapped().filter(|_| self.is_ipv4()) {
            Some(first) => write!(f, "{first}/{}", self.fixed - MAPPED_BITS),
            None => write!(f, "{first}/{}", self.fixed),
        }
    }
}

/// A set of ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IpRanges(pub BTreeSet<IpRange>);

impl IpRanges {
    /// Whether one of the ranges contains the address. Looks once for each size of range, of which
    /// there are at most 128.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let mut next = self.0.first();
        while let Some(&IpRange { fixed, .. }) = next {
            let range = IpRange::new(addr, fixed);
            if range.contains(addr) && self.0.contains(&range) {
                return true;
            }
            let last = IpRange {
                fixed,
                first: u128::MAX,
            };
            next = self
                .0
                .range((Bound::Excluded(last), Bound::Unbounded))
                .next();
        }
        false
    }
}

fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().to_bits(),
        IpAddr::V6(addr) => addr.to_bits(),
    }
}

fn mask(fixed: u8) -> u128 {
    u128::MAX
        .checked_shl(128 - u32::from(fixed))
        .unwrap_or_default()
}

fn is_ipv4(addr: IpAddr) -> bool {
    addr.to_canonical().is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> IpRange {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_is_shown_without_the_bits_that_are_not_fixed() {
        for (text, shown) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.77", "192.0.2.77/32"),
            ("2001:db8:1::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("10.0.0.0/1", "0.0.0.0/1"),
        ] {
            assert_eq!(range(text).to_string(), shown);
            assert_eq!(range(shown).to_string(), shown);
        }
        for wrong in [
            "",
            "/24",
            "192.0.2/24",
            "192.0.2.0/33",
            "0.0.0.0/0",
            "::/0",
            "::/129",
            "a/8",
        ] {
            assert_eq!(wrong.parse::<IpRange>(), Err(NotARange), "{wrong}");
        }
    }

    #[test]
    fn a_set_contains_the_addresses_of_its_ranges_in_either_notation() {
        let set = IpRanges(
            ["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::/64"]
                .map(range)
                .into(),
        );
        for inside in [
            "192.0.2.9",
            "::ffff:192.0.2.9",
            "198.51.100.7",
            "2001:db8:9::1",
            "::5",
        ] {
            assert!(set.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["192.0.3.9", "198.51.100.8", "2001:db9::1", "203.0.113.1"] {
            assert!(!set.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(!IpRanges::default().contains("::1".parse().unwrap()));
    }
}
