//! The port of the router that leads to this node: mapped by request, or forwarded by the user.

use std::net::SocketAddr;
use std::sync::Arc;

use hobnob_core::diagnosis::PortMapping;
use tokio::sync::Notify;

/// What is known about the router's port.
#[derive(Default)]
pub(super) struct RouterPort {
    /// The port that the user has chosen at the router.
    fixed: Option<u16>,
    answer: PortMapping,
    network_changed: Arc<Notify>,
}

impl RouterPort {
    pub(super) fn new(fixed: Option<u16>) -> Self {
        Self {
            fixed,
            ..Self::default()
        }
    }

    pub(super) fn fixed(&self) -> Option<u16> {
        self.fixed
    }

    /// Notified by [`RouterPort::note_network_change`].
    pub(super) fn network_changed(&self) -> Arc<Notify> {
        self.network_changed.clone()
    }

    /// The machine's addresses have changed: there may be another router.
    pub(super) fn note_network_change(&self) {
        self.network_changed.notify_one();
    }

    /// The router answers. Returns whether this node has other addresses now.
    pub(super) fn answered(&mut self, answer: PortMapping) -> bool {
        let before = std::mem::replace(&mut self.answer, answer);
        before.external() != self.answer.external()
    }

    /// For the diagnosis.
    pub(super) fn evidence(&self) -> PortMapping {
        self.answer.clone()
    }

    /// The address that the router has mapped, and the fixed port at the addresses that relays see.
    pub(super) fn addrs(&self, observed: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let mut addrs: Vec<_> = self.answer.external().into_iter().collect();
        if let Some(port) = self.fixed {
            for seen in observed.filter(SocketAddr::is_ipv4) {
                let addr = SocketAddr::new(seen.ip(), port);
                if !addrs.contains(&addr) {
                    addrs.push(addr);
                }
            }
        }
        addrs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_core::diagnosis::MappingProtocol;

    fn mapped(external: &str) -> PortMapping {
        PortMapping::Mapped {
            protocol: MappingProtocol::Pcp,
            external: external.parse().expect("an address"),
        }
    }

    fn addrs(port: &RouterPort, observed: &[&str]) -> Vec<String> {
        let parsed = observed
            .iter()
            .map(|addr| addr.parse().expect("an address"));
        let addrs = port.addrs(parsed);
        addrs.iter().map(SocketAddr::to_string).collect()
    }

    #[test]
    fn a_mapped_port_is_an_address_of_this_node() {
        let mut port = RouterPort::default();
        assert_eq!(addrs(&port, &["11.1.0.2:70"]), [""; 0]);
        assert!(port.answered(mapped("11.1.0.2:4626")));
        assert!(!port.answered(mapped("11.1.0.2:4626")), "nothing new");
        assert_eq!(addrs(&port, &["11.1.0.2:70"]), ["11.1.0.2:4626"]);
        assert!(port.answered(PortMapping::Silent));
        assert!(!port.answered(PortMapping::NoRouter), "as before");
    }

    #[test]
    fn a_forwarded_port_is_used_at_each_address_that_relays_see() {
        let mut port = RouterPort::new(Some(9000));
        let observed = ["11.1.0.2:70", "11.1.0.2:71", "[2001:db8::1]:70"];
        assert_eq!(addrs(&port, &observed), ["11.1.0.2:9000"]);
        port.answered(mapped("11.1.0.2:9000"));
        assert_eq!(addrs(&port, &observed), ["11.1.0.2:9000"]);
    }
}
