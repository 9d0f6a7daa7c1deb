//! The address plan of the lab: local networks without a router, sites behind a router, and the
//! internet.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

/// The kinds of addresses that the machines on a switch have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// `10.77.n.x/24`, and link-local IPv6.
    Both,
    /// Only link-local IPv6.
    Ipv6Only,
}

/// How a switch assigns IPv4 addresses.
#[derive(Debug)]
pub(super) enum Plan {
    /// No IPv4 addresses.
    Ipv6Only,
    /// `10.77.n.x/24`, without a router.
    Office(u8),
    /// Host numbers from 2 in this network. Its router has number 1. Other sites may use the same
    /// network.
    Site { network: Ipv4Addr, used: AtomicU8 },
    /// `11.n.0.2/24` for the line with number n. Each line is a separate network. The switch itself
    /// is the router, `11.n.0.1`.
    Internet,
}

/// The address of one card on a switch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    /// The address. The prefix has 24 bits.
    pub(super) address: Ipv4Addr,
    /// The default gateway.
    pub(super) router: Option<Ipv4Addr>,
}

impl Plan {
    pub(super) fn of(addresses: Addresses, switch: u8) -> Self {
        match addresses {
            Addresses::Both => Self::Office(switch),
            Addresses::Ipv6Only => Self::Ipv6Only,
        }
    }

    pub(super) fn site(network: Ipv4Addr) -> Self {
        Self::Site {
            network,
            used: AtomicU8::new(ROUTER),
        }
    }

    /// An address for the card or line with this number. The number is unique in the lab.
    pub(super) fn lease(&self, number: u8) -> Option<Lease> {
        match self {
            Self::Ipv6Only => None,
            Self::Office(switch) => Some(Lease {
                address: Ipv4Addr::new(10, 77, *switch, number),
                router: None,
            }),
            Self::Site { network, used } => {
                // This counter cannot overflow: the lab has fewer numbers.
                let host = used.fetch_add(1, Ordering::Relaxed) + 1;
                Some(Lease {
                    address: host_of(*network, host),
                    router: Some(host_of(*network, ROUTER)),
                })
            }
            Self::Internet => {
                let line = Ipv4Addr::new(11, number, 0, 0);
                Some(Lease {
                    address: host_of(line, ROUTER + 1),
                    router: Some(host_of(line, ROUTER)),
                })
            }
        }
    }
}

/// The address of the host with this number in a network of 24 bits.
pub(super) fn host_of(network: Ipv4Addr, host: u8) -> Ipv4Addr {
    let [a, b, c, _] = network.octets();
    Ipv4Addr::new(a, b, c, host)
}

/// The link-local IPv6 address of the card with this number.
pub(super) fn ipv6(number: u8) -> String {
    format!("fe80::77:{number:x}")
}

/// The host number of each router.
pub(super) const ROUTER: u8 = 1;
