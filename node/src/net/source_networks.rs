//! The [`SourceNetwork`] of an address, by which limits and places are shared.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use hobnob_core::scope::is_link_local;
use hobnob_core::source_network::SourceNetwork;
use hobnob_core::synthetic::is_synthetic;

use super::channels::Channels;
use super::interfaces::Interfaces;

/// Knows this machine's networks and the channels through relays. Clones share them.
#[derive(Debug, Clone)]
pub struct SourceNetworks {
    channels: Channels,
    interfaces: Arc<RwLock<Interfaces>>,
}

impl SourceNetworks {
    /// For a node that does not know its networks yet.
    pub fn new(channels: Channels) -> Self {
        Self {
            channels,
            interfaces: Arc::default(),
        }
    }

    /// Replaces the interfaces of this machine.
    pub fn set_interfaces(&self, interfaces: Interfaces) {
        let mut known = self
            .interfaces
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *known = interfaces;
    }

    /// Whether an address belongs to this machine or to one of its links.
    pub fn is_near(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let interfaces = self
            .interfaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        ip.is_loopback() || is_link_local(ip) || interfaces.is_on_link(ip)
    }

    /// Where a connection from this address comes from.
    pub fn of(&self, addr: SocketAddr) -> SourceNetwork {
        let ip = addr.ip().to_canonical();
        if is_synthetic(ip) {
            let addr = SocketAddr::new(addr.ip(), addr.port());
            return match self.channels.route_to(addr) {
                Some(route) => {
                    let origin = self.channels.origin(addr);
                    SourceNetwork::behind_relay(route.relay.ip(), origin)
                }
                // A channel that has ended meanwhile has no relay.
                None => SourceNetwork::of(ip),
            };
        }
        let interfaces = self
            .interfaces
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if interfaces.is_on_link(ip) {
            SourceNetwork::on_link(ip)
        } else {
            SourceNetwork::of(ip)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::channels::RelayId;
    use crate::net::interfaces::OwnAddr;
    use hobnob_protocol::DeviceId;
    use hobnob_protocol::datagram::ChannelId;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn neighbours_count_one_by_one_and_others_by_their_network() {
        let networks = SourceNetworks::new(Channels::new(true, Arc::default()));
        let same = |a, b| networks.of(addr(a)) == networks.of(addr(b));
        assert!(same("10.0.0.7:1", "10.0.0.8:1"));
        networks.set_interfaces(Interfaces::of([OwnAddr {
            interface: "eth0".into(),
            ip: addr("10.0.0.1:0").ip(),
            prefix: 24,
        }]));
        assert!(!same("10.0.0.7:1", "10.0.0.8:1"));
        assert!(same("10.0.0.7:1", "10.0.0.7:2"));
        assert!(same("10.0.1.7:1", "10.0.1.8:1"));
        assert!(same("[::ffff:10.0.0.7]:1", "10.0.0.7:2"));
    }

    #[test]
    fn relayed_peers_count_by_the_relays_name_for_their_network() {
        let channels = Channels::new(true, Arc::default());
        let networks = SourceNetworks::new(channels.clone());
        let mut n = 0;
        let mut peer_from = |relay: &str, origin| {
            n += 1;
            let peer = DeviceId::from_bytes([n; 32]);
            let at = channels.addr(RelayId(1), peer, || n.into());
            channels.set_origin(at, origin);
            channels.bind(at, addr(relay), ChannelId([n; 8]));
            networks.of(at)
        };
        let first = peer_from("192.0.2.1:4627", [1; 4]);
        assert_eq!(first, peer_from("192.0.2.1:4627", [1; 4]));
        assert_ne!(first, peer_from("192.0.2.1:4627", [2; 4]));
        assert_ne!(first, peer_from("192.0.3.1:4627", [1; 4]));
    }
}
