//! Who gets which address: of local networks that end at their switch, of those behind a router,
//! and of the internet.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};

/// Which kinds of addresses the machines of a switch get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// `10.77.n.x/24`, and link-local IPv6.
    Both,
    /// Link-local IPv6 and nothing else.
    Ipv6Only,
}

/// How the IPv4 addresses of one switch are given out.
#[derive(Debug)]
pub(super) enum Plan {
    /// None.
    Ipv6Only,
    /// `10.77.n.x/24`, without a way out.
    Office(u8),
    /// Numbers from 2 on in this network, behind its router, which has number 1. Other sites may
    /// have the same network.
    Site { network: Ipv4Addr, used: AtomicU8 },
    /// `11.n.0.2/24` for the line with number n, each a network of its own. The switch itself is
    /// the router, `11.n.0.1`.
    Internet,
}

/// What one card on a switch got.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    /// With a prefix of 24 bits.
    pub(super) address: Ipv4Addr,
    /// Where packets for elsewhere go.
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

    /// An address for the card or line with this number, which nothing else in the lab has.
    pub(super) fn lease(&self, number: u8) -> Option<Lease> {
        match self {
            Self::Ipv6Only => None,
            Self::Office(switch) => Some(Lease {
                address: Ipv4Addr::new(10, 77, *switch, number),
                router: None,
            }),
            Self::Site { network, used } => {
                // The lab has fewer numbers than this counter.
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

/// The number of every router in its network.
pub(super) const ROUTER: u8 = 1;
