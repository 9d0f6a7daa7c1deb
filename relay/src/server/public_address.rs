//! Addresses of the relay that only its peers can know: those of a router that translates addresses,
//! such as the 1:1 NAT of a cloud.
//!
//! A peer names the address at which it reached the relay. A liar can name any, so an address counts
//! once peers of two networks name it.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use hobnob_limits::Network;

/// How many networks must name an address.
const NETWORKS_MIN: usize = 2;

/// Maximum networks whose answers are kept. Beyond, an answer replaces the oldest one.
const NETWORKS_MAX: usize = 64;

/// Maximum addresses that are reported in one run.
const REPORTED_MAX: usize = 4;

/// What peers named.
#[derive(Debug, Default)]
pub(super) struct PublicAddresses {
    /// Addresses of this machine that peers named, so that each is looked up once.
    own: BTreeSet<SocketAddr>,
    /// The latest other address of each network, the newest last.
    named: VecDeque<(Network, SocketAddr)>,
    reported: Vec<SocketAddr>,
}

impl PublicAddresses {
    /// A peer of this network reached the relay at this address. Returns whether to report it to the
    /// operator: once, when enough networks named it and it is none of this machine's.
    pub(super) fn named(
        &mut self,
        from: Network,
        addr: SocketAddr,
        is_own: impl FnOnce(SocketAddr) -> bool,
    ) -> bool {
        if self.own.contains(&addr)
            || self.reported.contains(&addr)
            || self.reported.len() >= REPORTED_MAX
        {
            return false;
        }
        if is_own(addr) {
            self.own.insert(addr);
            return false;
        }
        self.named.retain(|(network, _)| *network != from);
        if self.named.len() >= NETWORKS_MAX {
            self.named.pop_front();
        }
        self.named.push_back((from, addr));
        let networks = self
            .named
            .iter()
            .filter(|(_, named)| *named == addr)
            .count();
        if networks < NETWORKS_MIN {
            return false;
        }
        self.named.retain(|(_, named)| *named != addr);
        self.reported.push(addr);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: u8) -> Network {
        Network::V4([203, 0, number])
    }

    fn addr(number: u8) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, number], 4627))
    }

    fn is_foreign(_: SocketAddr) -> bool {
        false
    }

    #[test]
    fn an_address_of_this_machine_is_no_news() {
        let mut addresses = PublicAddresses::default();
        assert!(!addresses.named(network(1), addr(1), |_| true));
        assert!(!addresses.named(network(2), addr(1), |_| unreachable!("it is known")));
    }

    #[test]
    fn an_address_is_reported_once_when_two_networks_name_it() {
        let mut addresses = PublicAddresses::default();
        assert!(!addresses.named(network(1), addr(1), is_foreign));
        assert!(
            !addresses.named(network(1), addr(1), is_foreign),
            "the same network"
        );
        assert!(addresses.named(network(2), addr(1), is_foreign));
        assert!(
            !addresses.named(network(3), addr(1), is_foreign),
            "reported already"
        );
    }

    #[test]
    fn one_network_misleads_nobody() {
        let mut addresses = PublicAddresses::default();
        for number in 0..=255 {
            assert!(!addresses.named(network(1), addr(number), is_foreign));
        }
        assert_eq!(addresses.named.len(), 1);
    }

    #[test]
    fn neither_networks_nor_reports_grow_without_end() {
        let mut addresses = PublicAddresses::default();
        for number in 0..=255 {
            addresses.named(network(number), addr(number), is_foreign);
        }
        assert_eq!(addresses.named.len(), NETWORKS_MAX);
        let reports = (0..=255)
            .filter(|&number| {
                addresses.named(network(1), addr(number), is_foreign);
                addresses.named(network(2), addr(number), is_foreign)
            })
            .count();
        assert_eq!(reports, REPORTED_MAX);
    }
}
