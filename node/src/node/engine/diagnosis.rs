//! Evidence for a diagnosis: what the engine knows of the network, and what comes of asking peers to call.

use std::time::Duration;

use hobnob_protocol::Frame;
use hobnob_protocol::frame::features;

use super::*;
use crate::core::diagnosis::{Call, Evidence, Network, PeerEvidence, Session};
use crate::core::synthetic::is_synthetic;
use crate::net::probe;
use crate::node::clock::random;

/// Peers that are asked to call at once.
const CALLERS: usize = 3;

/// A peer that asks to be called more often than this is not called.
const CALL_EVERY: Duration = Duration::from_secs(5);

/// Peers that mDNS has named in this run and that are remembered; further ones count as not heard.
const HEARD_MAX: usize = 10_000;

/// Addresses of a peer that are tried.
const TRIED_MAX: usize = 4;

/// What is noted for a diagnosis.
#[derive(Debug, Default)]
pub(super) struct Noted {
    heard: BTreeSet<PeerId>,
    calls: BTreeMap<[u8; 16], Call>,
}

impl Noted {
    pub(super) fn heard(&mut self, peer: PeerId) {
        if self.heard.len() < HEARD_MAX {
            self.heard.insert(peer);
        }
    }

    /// Whether this is the token of a call that was asked for: then it has come.
    pub(super) fn came(&mut self, token: &[u8; 16]) -> bool {
        self.calls.get_mut(token).map(|call| call.came = true).is_some()
    }
}

impl Engine {
    /// Asks a few peers that are reached directly to call from where we have never sent anything.
    pub(super) fn ask_for_calls(&mut self) {
        self.noted.calls.clear();
        let able = self.links.values().filter(|link| link.features & features::CALLS != 0);
        for link in able.filter(|link| !is_synthetic(link.session.remote_addr().ip())).take(CALLERS) {
            let token = u128::from(random()) << 64 | u128::from(random());
            let token = token.to_be_bytes();
            self.noted.calls.insert(token, Call { made: false, came: false });
            link.session.send_control(Frame::CallMe(token).encode());
        }
    }

    /// A peer asks to be called: at the address where it is, and nowhere else.
    pub(super) fn call_me(&mut self, id: SessionId, token: [u8; 16]) {
        let now = self.clock.now().mono;
        let Some(link) = self.links.get_mut(&id) else { return };
        let to = link.session.remote_addr();
        if is_synthetic(to.ip()) || link.called_at.is_some_and(|at| now - at < CALL_EVERY) {
            return;
        }
        link.called_at = Some(now);
        let internal = self.internal.clone();
        self.tasks.spawn(async move {
            match probe::call(to, token).await {
                Ok(()) => drop(internal.send(Internal::Called(id, token))),
                Err(error) => debug!(%to, "a peer could not be called: {error}"),
            }
        });
    }

    /// We have called a peer that wanted it.
    pub(super) fn called(&self, id: SessionId, token: [u8; 16]) {
        if let Some(link) = self.links.get(&id) {
            link.session.send_control(Frame::Called(token).encode());
        }
    }

    /// A peer says that it has called us.
    pub(super) fn call_made(&mut self, token: &[u8; 16]) {
        if let Some(call) = self.noted.calls.get_mut(token) {
            call.made = true;
        }
    }

    pub(super) fn evidence(&self) -> Evidence {
        let shown =
            |ip: std::net::IpAddr| !ip.is_loopback() && !matches!(ip, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local());
        let own = self.interfaces.addrs().iter().filter(|own| shown(own.ip));
        Evidence {
            port: self.port(),
            usual_port_taken: self.bound.fell_back,
            networks: own
                .map(|own| Network { interface: own.interface.clone(), ip: own.ip, vpn: false, to_internet: false })
                .collect(),
            mdns: self.discovery.is_some(),
            sessions: self.links.values().map(|link| self.session_evidence(link)).collect(),
            relays: self.relays.evidence(),
            calls: self.noted.calls.values().copied().collect(),
            disk_free: None,
            store_failing: self.store_failing,
        }
    }

    fn session_evidence(&self, link: &Link) -> Session {
        let remote = link.session.remote_addr();
        let relayed = is_synthetic(remote.ip());
        let ours: Vec<_> = self.relays.observed().map(|observed| observed.ip()).collect();
        let near = |addr: &SocketAddr| self.interfaces.interface_of(addr.ip()).is_some();
        Session {
            name: self.peers.name(link.peer),
            age: self.clock.now().mono.saturating_sub(link.since),
            interface: if relayed { None } else { self.interfaces.interface_of(remote.ip()).map(str::to_owned) },
            relayed,
            discoverable: link.features & features::DISCOVERABLE != 0,
            heard: self.noted.heard.contains(&link.peer),
            same_network: link.candidates.iter().any(near) && link.candidates.iter().any(|addr| ours.contains(&addr.ip())),
            clock_ahead_ms: link.clock_ahead_ms,
        }
    }

    pub(super) fn peer_evidence(&self, peer: PeerId) -> (PeerEvidence, Vec<SocketAddr>) {
        let marks = self.standings.marks(peer);
        let path = |link: &Link| {
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
            not_at: if session.is_none() { self.relays.not_at(peer) } else { Vec::new() },
            session,
            ..PeerEvidence::default()
        };
        let addrs = self.paths.addrs(peer).into_iter().filter(|addr| !is_synthetic(addr.ip())).take(TRIED_MAX).collect();
        (evidence, addrs)
    }
}
