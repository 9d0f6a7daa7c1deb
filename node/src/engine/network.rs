//! This machine's place in the network: its interfaces, its socket, and the QUIC endpoint on it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hobnob_core::commit::NetworkId;
use hobnob_core::scope::is_link_local;
use hobnob_core::source_network::SourceNetwork;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::datagram::{AddressCheck, Probe};
use hobnob_protocol::{DeviceId, PORT_NODE, close};
use tokio::sync::mpsc;
use tracing::info;

use crate::api::PathKind;
use crate::clock::random;
use crate::net::channels::{Channels, RelayId};
use crate::net::counters::Counted;
use crate::net::endpoint::Endpoint;
use crate::net::interfaces::Interfaces;
use crate::net::socket::BoundSocket;
use hobnob_transport::addr::undeliverable;
use hobnob_transport::stun::client::Transaction;

/// How often the engine checks whether the socket dropped datagrams.
const COUNTERS_EVERY: Duration = Duration::from_secs(10);

/// How long a refusal of this machine to send counts as its present state.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// The socket, the endpoint and the interfaces.
pub(super) struct Network {
    endpoint: Endpoint,
    bound: BoundSocket,
    interfaces: Interfaces,
    /// The interfaces after each change, while a task watches them.
    changes: Option<mpsc::Receiver<Interfaces>>,
    counted: Counted,
    count_at: Duration,
    /// When the counter of refused datagrams was last seen to grow.
    refused_at: Option<Duration>,
}

impl Network {
    pub(super) fn new(endpoint: Endpoint, bound: BoundSocket, interfaces: Interfaces) -> Self {
        if bound.fell_back {
            let port = bound.local_addr.port();
            info!("UDP port {PORT_NODE} is taken; listening on {port} instead");
        }
        endpoint
            .source_networks()
            .set_interfaces(interfaces.clone());
        Self {
            endpoint,
            bound,
            interfaces,
            changes: None,
            counted: Counted::default(),
            count_at: COUNTERS_EVERY,
            refused_at: None,
        }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    pub(super) fn bound_addr(&self) -> SocketAddr {
        self.bound.local_addr
    }

    pub(super) fn port(&self) -> u16 {
        self.bound.local_addr.port()
    }

    /// Whether another program has the usual port.
    pub(super) fn fell_back(&self) -> bool {
        self.bound.fell_back
    }

    pub(super) fn listening_addrs(&self) -> Vec<SocketAddr> {
        self.interfaces.listening_addrs(self.bound.local_addr)
    }

    pub(super) fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }

    /// Watches the interfaces through this channel.
    pub(super) fn watch(&mut self, changes: mpsc::Receiver<Interfaces>) {
        self.changes = Some(changes);
    }

    /// The interfaces after the next change. Waits forever if no task watches them.
    pub(super) async fn changed(&mut self) -> Interfaces {
        if let Some(changes) = &mut self.changes {
            if let Some(interfaces) = changes.recv().await {
                return interfaces;
            }
            self.changes = None;
        }
        std::future::pending().await
    }

    pub(super) fn set_interfaces(&mut self, interfaces: Interfaces) {
        self.endpoint
            .source_networks()
            .set_interfaces(interfaces.clone());
        self.interfaces = interfaces;
    }

    /// Whether another node may be at an address that an mDNS record names. The record's interface
    /// was compared already. Another home on this machine may be found under its address.
    pub(super) fn may_be_neighbour(&self, addr: SocketAddr) -> bool {
        undeliverable(addr).is_none()
            && !is_synthetic(addr.ip())
            && !self.interfaces.is_broadcast(addr.ip())
            && !self.listening_addrs().contains(&addr)
    }

    /// Where a connection from this address comes from.
    pub(super) fn source_network(&self, addr: SocketAddr) -> SourceNetwork {
        self.endpoint.source_networks().of(addr)
    }

    /// Whether an address that the peer at `remote` named may be that peer's. A peer can make this
    /// node send neither to its own machine nor to hosts that have nothing to do with either of
    /// them.
    pub(super) fn may_dial(&self, addr: SocketAddr, remote: SocketAddr) -> bool {
        // The peer's network may use the same numbers as this node's, so that the peer's address is
        // this node's own here.
        !self.listening_addrs().contains(&addr) && may_be_dialed(addr, remote, &self.interfaces)
    }

    /// As [`Network::may_dial`], for a peer behind the same NAT: its private networks may be
    /// connected with this node's.
    pub(super) fn may_dial_inside(&self, addr: SocketAddr, remote: SocketAddr) -> bool {
        let inside = is_private(addr.ip().to_canonical());
        inside && !self.listening_addrs().contains(&addr) && is_host(addr, remote, &self.interfaces)
    }

    /// Whether an address is on the link through which a peer at `remote` is reached.
    pub(super) fn same_link(&self, addr: SocketAddr, remote: SocketAddr) -> bool {
        let interface = self.interfaces.interface_of(remote.ip());
        interface.is_some_and(|interface| self.interfaces.link_has(interface, addr.ip()))
    }

    pub(super) fn channels(&self) -> &Channels {
        &self.bound.channels
    }

    /// Sends a probe, if the system takes it now.
    pub(super) fn probe(&self, to: SocketAddr, probe: Probe) {
        self.bound.demux.probe(to, probe);
    }

    /// Sends a probe that opens this node's NAT and reaches no other site.
    pub(super) fn open_nat(&self, to: SocketAddr, probe: Probe) {
        self.bound.demux.open_nat(to, probe);
    }

    /// Sends an address check, if the system takes it now.
    pub(super) fn check(&self, from: Option<IpAddr>, to: SocketAddr, check: AddressCheck) {
        self.bound.demux.check(from, to, check);
    }

    /// Asks a socket which address it sees this node at.
    pub(super) fn ask_address(&self, to: SocketAddr, transaction: Transaction) {
        self.bound.demux.ask(to, transaction);
    }

    /// Closes the endpoint. All connections must have ended.
    pub(super) async fn close(mut self) {
        self.log_counters();
        self.endpoint.close(close::BYE, "goodbye").await;
    }

    /// The route that a session with this remote address takes.
    pub(super) fn path_kind(&self, addr: SocketAddr) -> PathKind {
        match addr.ip() {
            ip if is_synthetic(ip) => PathKind::Relay,
            ip if self.interfaces.is_on_link(ip) => PathKind::Lan,
            _ => PathKind::Direct,
        }
    }

    /// The network by which a session with this remote address reaches its peer. `None` for a
    /// relay, which this machine does not leave when it changes networks.
    pub(super) fn network_of(&self, remote: SocketAddr) -> Option<NetworkId> {
        if is_synthetic(remote.ip()) {
            return None;
        }
        self.interfaces.network_of(remote)
    }

    /// Whether this address belongs to a network of an interface of this machine.
    pub(super) fn is_on_own_link(&self, addr: SocketAddr) -> bool {
        self.path_kind(addr) == PathKind::Lan
    }

    /// The synthetic address of a peer at a relay.
    pub(super) fn relayed_addr(&self, relay: RelayId, peer: DeviceId) -> SocketAddr {
        self.bound.channels.addr(relay, peer, random)
    }

    /// Logs what the socket dropped since the last time, if anything. Some attacks and faults leave
    /// no other trace. Returns whether this machine has refused to send since then.
    fn log_counters(&mut self) -> bool {
        let counted = self.bound.counters.snapshot();
        if counted == self.counted {
            return false;
        }
        info!("datagrams dropped so far, by cause: {counted:?}");
        let before = std::mem::replace(&mut self.counted, counted);
        counted.send_refused != before.send_refused
    }

    /// When to call [`Network::time_out`].
    pub(super) fn poll_timeout(&self) -> Duration {
        self.count_at
    }

    /// Logs the counters whenever [`COUNTERS_EVERY`] has passed.
    pub(super) fn time_out(&mut self, now: Duration) {
        if self.count_at <= now {
            self.count_at = now + COUNTERS_EVERY;
            self.read_counters(now);
        }
    }

    fn read_counters(&mut self, now: Duration) {
        if self.log_counters() {
            self.refused_at = Some(now);
        }
    }

    /// The last address to which this machine refused to send in the last minute.
    pub(super) fn send_refused(&mut self, now: Duration) -> Option<SocketAddr> {
        self.read_counters(now);
        let is_recent = now.saturating_sub(self.refused_at?) < REFUSED_FOR;
        is_recent.then(|| self.bound.counters.last_refused())?
    }
}

/// Whether an address that a peer names may be dialed. No peer can make this node send to hosts of
/// a private network that is not this node's: the address belongs to another host here.
fn may_be_dialed(addr: SocketAddr, remote: SocketAddr, interfaces: &Interfaces) -> bool {
    let ip = addr.ip().to_canonical();
    let private_elsewhere =
        is_private(ip) && ip != remote.ip().to_canonical() && !interfaces.is_on_link(ip);
    is_host(addr, remote, interfaces) && !private_elsewhere
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// Whether an address can be that of one host other than this machine, and leads there from here.
fn is_host(addr: SocketAddr, remote: SocketAddr, interfaces: &Interfaces) -> bool {
    let ip = addr.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    // Another home on this machine may name its address, and nobody else.
    let own_elsewhere = interfaces.has(ip) && ip != remote.ip().to_canonical();
    addr.port() != 0
        && !is_synthetic(ip)
        && !ip.is_unspecified()
        && !ip.is_multicast()
        // Without its zone a link-local address leads nowhere. The zone is in `remote`.
        && !is_link_local(ip)
        && !ip.is_loopback()
        && !broadcast
        && !interfaces.is_broadcast(ip)
        && !own_elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::interfaces::OwnAddr;

    #[test]
    fn a_peer_can_name_only_addresses_whose_dialing_harms_nobody_else() {
        let own = |ip: &str, prefix| OwnAddr {
            interface: "eth0".into(),
            ip: ip.parse().expect("an address"),
            prefix,
        };
        let ours = Interfaces::of([own("192.168.7.2", 24), own("fd00:7::2", 64)]);
        assert!(is_host(
            "192.168.8.9:1".parse().expect("an address"),
            "203.0.113.1:1".parse().expect("an address"),
            &ours
        ));
        let may = |addr: &str, remote: &str| {
            may_be_dialed(
                addr.parse().expect("an address"),
                remote.parse().expect("an address"),
                &ours,
            )
        };
        for good in [
            "192.168.7.9:1",
            "[fd00:7::9]:1",
            "203.0.113.9:1",
            "[2001:db8::9]:1",
            "10.1.2.3:77",
        ] {
            assert!(may(good, "10.1.2.3:4"), "{good}");
        }
        let bad = [
            "192.168.8.9:1",
            "10.1.2.4:1",
            "172.16.0.1:1",
            "192.168.7.2:1",
            "192.168.7.255:1",
            "[fd00:8::9]:1",
            "[::ffff:10.1.2.4]:1",
            "127.0.0.1:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
            "0.0.0.0:1",
            "[::]:1",
            "224.0.0.251:1",
            "[ff02::fb]:1",
            "255.255.255.255:1",
            "169.254.1.1:1",
            "[fe80::1%2]:1",
            "203.0.113.9:0",
            "[fd68:6f62:6e6f::9]:1",
            "240.0.0.9:1",
        ];
        for bad in bad {
            assert!(!may(bad, "10.1.2.3:4"), "{bad}");
        }
        assert!(!may("127.0.0.1:1", "127.0.0.1:2"));
        assert!(
            may("192.168.7.2:1", "192.168.7.2:2"),
            "a peer on this machine may name it"
        );
    }
}
