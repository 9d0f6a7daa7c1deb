//! This machine's place in the network: its interfaces, its socket, and the QUIC endpoint on it.

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::scope::is_link_local;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::PeerId;
use tokio::sync::mpsc;
use tracing::info;

use crate::api::PathKind;
use crate::clock::random;
use crate::net::channels::RelayId;
use crate::net::demux::Counted;
use crate::net::endpoint::Endpoint;
use crate::net::interfaces::Interfaces;
use crate::net::socket::BoundSocket;

/// How often the engine checks whether the socket dropped datagrams.
const COUNTERS_EVERY: Duration = Duration::from_secs(10);

/// The socket, the endpoint and the interfaces.
pub(super) struct Network {
    pub(super) endpoint: Endpoint,
    pub(super) bound: BoundSocket,
    pub(super) interfaces: Interfaces,
    /// The interfaces after each change, while somebody watches them.
    pub(super) changes: Option<mpsc::Receiver<Interfaces>>,
    counted: Counted,
    pub(super) count_at: Duration,
}

impl Network {
    pub(super) fn new(endpoint: Endpoint, bound: BoundSocket, interfaces: Interfaces) -> Self {
        Self {
            endpoint,
            bound,
            interfaces,
            changes: None,
            counted: Counted::default(),
            count_at: COUNTERS_EVERY,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.bound.local_addr.port()
    }

    pub(super) fn listening_addrs(&self) -> Vec<SocketAddr> {
        self.interfaces.listening_addrs(self.bound.local_addr)
    }

    /// The route that a session with this remote address takes.
    pub(super) fn path_kind(&self, addr: SocketAddr) -> PathKind {
        match addr.ip() {
            ip if is_synthetic(ip) => PathKind::Relay,
            ip if self.interfaces.is_on_link(ip) => PathKind::Lan,
            _ => PathKind::Direct,
        }
    }

    /// The synthetic address of a peer at a relay.
    pub(super) fn relayed_addr(&self, relay: RelayId, peer: PeerId) -> SocketAddr {
        self.bound.channels.addr(relay, peer, random)
    }

    /// Logs what the socket dropped since the last time, if anything. Some attacks and faults leave
    /// no other trace.
    pub(super) fn log_counters(&mut self) {
        let counted = self.bound.counters.snapshot();
        if counted != self.counted {
            info!("datagrams dropped so far, by cause: {counted:?}");
            self.counted = counted;
        }
    }

    /// Logs the counters whenever [`COUNTERS_EVERY`] has passed.
    pub(super) fn time_out(&mut self, now: Duration) {
        if self.count_at <= now {
            self.count_at = now + COUNTERS_EVERY;
            self.log_counters();
        }
    }
}

/// Whether an address that a peer names may be dialed: nobody can make us knock at our own machine,
/// at no machine or at many, or at hosts of a private network that isn't ours, where whoever has
/// the address is somebody else.
pub(super) fn may_be_dialed(addr: SocketAddr, remote: SocketAddr, interfaces: &Interfaces) -> bool {
    let ip = addr.ip().to_canonical();
    let private = match ip {
        std::net::IpAddr::V4(v4) => v4.is_private(),
        std::net::IpAddr::V6(v6) => v6.is_unique_local(),
    };
    let private_elsewhere =
        private && ip != remote.ip().to_canonical() && !interfaces.is_on_link(ip);
    let broadcast = matches!(ip, std::net::IpAddr::V4(v4) if v4.is_broadcast());
    let loopback_elsewhere = ip.is_loopback() && !remote.ip().to_canonical().is_loopback();
    addr.port() != 0
        && !is_synthetic(ip)
        && !ip.is_unspecified()
        && !ip.is_multicast()
        // Without its zone a link-local address leads nowhere; the address that the peer came from
        // has it.
        && !is_link_local(ip)
        && !broadcast
        && !loopback_elsewhere
        && !private_elsewhere
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
        assert!(
            may("127.0.0.1:1", "127.0.0.1:2"),
            "who is on this machine can name it"
        );
    }
}
