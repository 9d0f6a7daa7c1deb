//! Collects the evidence for a diagnosis: what the engine knows about the network.

use std::net::SocketAddr;

use hobnob_core::diagnosis::{Evidence, Network, PeerEvidence, PeerSession, Session};
use hobnob_core::presence;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::PeerId;
use hobnob_protocol::frame::features;
use tokio::sync::oneshot;

use super::sessions::SessionState;
use super::state::Engine;

/// Addresses of a peer that are tried.
const TRIED_MAX: usize = 4;

impl Engine {
    pub(super) fn evidence(&self) -> Evidence {
        let shown = |ip: std::net::IpAddr| {
            !ip.is_loopback()
                && !matches!(ip, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local())
        };
        let own = self
            .network
            .interfaces
            .addrs()
            .iter()
            .filter(|own| shown(own.ip));
        Evidence {
            port: self.network.port(),
            usual_port_taken: self.network.bound.fell_back,
            networks: own
                .map(|own| Network {
                    interface: own.interface.clone(),
                    ip: own.ip,
                    vpn: false,
                    to_internet: false,
                })
                .collect(),
            mdns: self.discovery.is_on(),
            sessions: self
                .sessions
                .live
                .values()
                .map(|link| self.session_evidence(link))
                .collect(),
            relays: self
                .relays
                .evidence(|relay| self.dial_backs.of_relay(relay)),
            calls: self.dial_backs.of_peers(),
            disk_free: None,
            store_failing: self.reports.store_is_failing(),
        }
    }

    fn session_evidence(&self, link: &SessionState) -> Session {
        let remote = link.session.remote_addr();
        let relayed = is_synthetic(remote.ip());
        let ours: Vec<_> = self
            .relays
            .observed()
            .map(|observed| observed.ip())
            .collect();
        let near = |addr: &SocketAddr| self.network.interfaces.interface_of(addr.ip()).is_some();
        Session {
            name: self.peers.name(link.peer),
            age: self.clock.now().mono.saturating_sub(link.since),
            interface: if relayed {
                None
            } else {
                self.network
                    .interfaces
                    .interface_of(remote.ip())
                    .map(str::to_owned)
            },
            relayed,
            discoverable: link.features & features::DISCOVERABLE != 0,
            heard: self.discovery.has_heard(link.peer),
            same_network: link.candidates.iter().any(near)
                && link.candidates.iter().any(|addr| ours.contains(&addr.ip())),
            clock_ahead_ms: link.clock_ahead_ms,
        }
    }

    pub(super) fn ping(&mut self, peer: PeerId, reply: oneshot::Sender<()>) {
        let Some((&id, link)) = self
            .sessions
            .live
            .iter_mut()
            .rev()
            .find(|(_, link)| link.peer == peer)
        else {
            return;
        };
        link.pings.retain(|waiting| !waiting.is_closed());
        link.pings.push(reply);
        self.sessions
            .presence
            .handle(self.clock.now(), presence::Input::Ask(id));
    }

    pub(super) fn peer_evidence(&self, peer: PeerId) -> (PeerEvidence, Vec<SocketAddr>) {
        let policy = self.policy.policies.of(peer);
        let session = |link: &SessionState| PeerSession {
            path: self.network.path_kind(link.session.remote_addr()).as_str(),
            rtt_ms: link.rtt.unwrap_or_else(|| link.session.rtt()).as_secs_f64() * 1000.0,
            clock_ahead_ms: link.clock_ahead_ms,
        };
        let session = self.sessions.with(peer).map(session);
        let evidence = PeerEvidence {
            name: self.peers.name(peer),
            ignored: policy.ignored,
            denied: self.policy.denies(peer, self.clock.now()),
            turned_away: self.policy.refused_by(peer),
            not_at: if session.is_none() {
                self.relays.not_at(peer)
            } else {
                Vec::new()
            },
            session,
            ..PeerEvidence::default()
        };
        let addrs = self
            .paths
            .addrs(peer)
            .into_iter()
            .filter(|addr| !is_synthetic(addr.ip()))
            .take(TRIED_MAX)
            .collect();
        (evidence, addrs)
    }
}
