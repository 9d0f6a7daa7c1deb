//! Evidence for a diagnosis: what the engine knows of the network. What comes of asking others to
//! call is in `dialback`.

use hobnob_protocol::frame::features;

use super::Engine;
use super::dialback;
use super::sessions::SessionState;
use hobnob_core::diagnosis::{Evidence, Network, PeerEvidence, Session};
use hobnob_core::presence;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::PeerId;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// Peers that are remembered of each kind; further ones count as not heard, and as having taken
/// leave.
const NOTED_MAX: usize = 10_000;

/// Addresses of a peer that are tried.
const TRIED_MAX: usize = 4;

/// What is noted of peers in this run.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Those that mDNS has named.
    heard: BTreeSet<PeerId>,
    /// Those whose last session broke.
    lost: BTreeSet<PeerId>,
    pub(super) calls: dialback::DialBacks,
}

impl Noted {
    pub(super) fn heard(&mut self, peer: PeerId) {
        if self.heard.len() < NOTED_MAX {
            self.heard.insert(peer);
        }
    }

    pub(super) fn lose(&mut self, peer: PeerId) {
        if self.lost.len() < NOTED_MAX {
            self.lost.insert(peer);
        }
    }

    pub(super) fn came(&mut self, peer: PeerId) {
        self.lost.remove(&peer);
    }

    pub(super) fn is_lost(&self, peer: PeerId) -> bool {
        self.lost.contains(&peer)
    }
}

impl Engine {
    pub(super) fn evidence(&self) -> Evidence {
        let shown = |ip: std::net::IpAddr| {
            !ip.is_loopback()
                && !matches!(ip, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local())
        };
        let own = self.interfaces.addrs().iter().filter(|own| shown(own.ip));
        Evidence {
            port: self.port(),
            usual_port_taken: self.bound.fell_back,
            networks: own
                .map(|own| Network {
                    interface: own.interface.clone(),
                    ip: own.ip,
                    vpn: false,
                    to_internet: false,
                })
                .collect(),
            mdns: self.discovery.is_some(),
            sessions: self
                .links
                .values()
                .map(|link| self.session_evidence(link))
                .collect(),
            relays: self
                .relays
                .evidence(|relay| self.noted.calls.of_relay(relay)),
            calls: self.noted.calls.of_peers(),
            disk_free: None,
            store_failing: self.store_failing,
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
        let near = |addr: &SocketAddr| self.interfaces.interface_of(addr.ip()).is_some();
        Session {
            name: self.peers.name(link.peer),
            age: self.clock.now().mono.saturating_sub(link.since),
            interface: if relayed {
                None
            } else {
                self.interfaces.interface_of(remote.ip()).map(str::to_owned)
            },
            relayed,
            discoverable: link.features & features::DISCOVERABLE != 0,
            heard: self.noted.heard.contains(&link.peer),
            same_network: link.candidates.iter().any(near)
                && link.candidates.iter().any(|addr| ours.contains(&addr.ip())),
            clock_ahead_ms: link.clock_ahead_ms,
        }
    }

    pub(super) fn ping(&mut self, peer: PeerId, reply: oneshot::Sender<()>) {
        let Some((&id, link)) = self
            .links
            .iter_mut()
            .rev()
            .find(|(_, link)| link.peer == peer)
        else {
            return;
        };
        link.asking.retain(|asking| !asking.is_closed());
        link.asking.push(reply);
        self.presence
            .handle(self.clock.now(), presence::Input::Ask(id));
    }

    pub(super) fn peer_evidence(&self, peer: PeerId) -> (PeerEvidence, Vec<SocketAddr>) {
        let marks = self.policies.marks(peer);
        let path = |link: &SessionState| {
            let kind = self.path_kind(link.session.remote_addr()).as_str();
            let rtt = link.rtt.unwrap_or_else(|| link.session.rtt()).as_secs_f64() * 1000.0;
            (format!("{kind}, {rtt:.1} ms"), link.clock_ahead_ms)
        };
        let session = self.link_with(peer).map(path);
        let evidence = PeerEvidence {
            name: self.peers.name(peer),
            ignored: marks.ignored,
            bar: self.bar(peer),
            turned_away: self.turned_away_told.get(&peer).copied(),
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
