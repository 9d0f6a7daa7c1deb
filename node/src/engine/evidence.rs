//! Collects the evidence for a diagnosis: what the engine knows about the network.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hobnob_core::diagnosis::{Evidence, FullRoom, Network, PeerEvidence, PeerSession, Session};
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::PersonId;
use hobnob_protocol::frame::features;

use super::session_state::SessionState;
use super::state::Engine;
use crate::invariants;

/// Addresses of a peer that are tried.
const TRIED_MAX: usize = 4;

/// Maximum silent neighbours in a report. Anybody can announce more.
const SILENT_MAX: usize = 4;

impl Engine {
    pub(super) fn evidence(&mut self) -> Evidence {
        let send_refused = self.network.send_refused(self.clock.now().mono);
        Evidence {
            port: self.network.port(),
            usual_port_taken: self.network.fell_back(),
            networks: self
                .network
                .interfaces()
                .networked()
                .map(|own| Network {
                    interface: own.interface.clone(),
                    ip: own.ip,
                    vpn: false,
                    to_internet: false,
                })
                .collect(),
            send_refused,
            mdns: self.discovery.evidence(),
            silent: self.silent_neighbours(),
            proxy_only: self.relays.proxy_only(),
            port_mapping: self.router_port.evidence(),
            sessions: self
                .sessions
                .iter()
                .map(|state| self.session_evidence(state))
                .collect(),
            relays: self
                .relays
                .evidence(|relay| self.dial_backs.of_relay(relay)),
            dial_backs: self.dial_backs.of_peers(),
            disk_free: None,
            store_failing: self.reports.store_is_failing(),
            damaged: self.store.is_damaged(),
            dropped: self.reports.dropped(),
            backup_fault: self.reports.backup_fault(),
            faults: invariants::count(),
            strangers: self
                .replica
                .requests()
                .filter(|request| self.replica.request_of(request.peer) > 0)
                .count() as u64,
            strangers_bytes: self.replica.requests_bytes(),
            requests_refused: self.replica.requests_refused(),
            places_refused: self.reports.places_refused(),
            full_rooms: self
                .replica
                .full_rooms()
                .map(|(room, lost)| FullRoom {
                    name: self.room_name(room),
                    lost,
                })
                .collect(),
            checks_waiting: self.address_checks.waiting() as u64,
            probes_held_back: self.rendezvous.held_back(),
            audiences_forgotten: self.replica.audiences_forgotten(),
            peers_forgotten: self.peers.forgotten(),
            mail: self.mail_evidence(),
        }
    }

    /// The peers that are announced on this network without a session, each with one address.
    fn silent_neighbours(&self) -> Vec<(String, SocketAddr)> {
        let silent: BTreeMap<_, _> = self.address_checks.silent().collect();
        let mut silent: Vec<_> = silent
            .into_iter()
            .filter(|(peer, _)| self.sessions.with(*peer).is_none())
            .map(|(peer, addr)| (self.peers.name(peer.person()), addr))
            .collect();
        silent.truncate(SILENT_MAX);
        silent
    }

    fn session_evidence(&self, state: &SessionState) -> Session {
        let (remote, relayed) = (state.remote_addr(), state.is_relayed());
        let interfaces = self.network.interfaces();
        // A peer is in this machine's network if it has an address there, and relays see both
        // behind the same public address.
        let observed: Vec<_> = self.relays.observed().map(|addr| addr.ip()).collect();
        let is_near = |addr: &SocketAddr| interfaces.interface_of(addr.ip()).is_some();
        let is_observed = |addr: &SocketAddr| observed.contains(&addr.ip());
        let candidates = state.candidates();
        Session {
            name: self.peers.name(state.person()),
            age: state.age(self.clock.now().mono),
            interface: if relayed {
                None
            } else {
                interfaces.interface_of(remote.ip()).map(str::to_owned)
            },
            relayed,
            discoverable: state.has_feature(features::DISCOVERABLE),
            heard: self.discovery.has_heard(state.person()),
            same_network: candidates.iter().any(is_near) && candidates.iter().any(is_observed),
            clock_ahead_ms: state.clock_ahead_ms(),
        }
    }

    pub(super) fn peer_evidence(&self, peer: PersonId) -> (PeerEvidence, Vec<SocketAddr>) {
        let session = |state: &SessionState| PeerSession {
            path: self.network.path_kind(state.remote_addr()).as_str(),
            rtt_ms: state.rtt_ms(),
            clock_ahead_ms: state.clock_ahead_ms(),
        };
        let session = self.sessions.with(peer.only_device()).map(session);
        let evidence = PeerEvidence {
            name: self.peers.name(peer),
            ignored: self.policy.of(peer).ignored,
            awaits_consent: self.outbox.awaits_consent(peer),
            mail_refused: self.mail.refused(peer.only_device()),
            denied: self.denies(peer.only_device()),
            turned_away: self.policy.refused_by(peer),
            not_at: if session.is_none() {
                self.relays.not_at(peer.only_device())
            } else {
                Vec::new()
            },
            session,
            ..PeerEvidence::default()
        };
        let addrs = self.paths.addrs(peer.only_device()).into_iter();
        let direct = addrs.filter(|addr| !is_synthetic(addr.ip()));
        (evidence, direct.take(TRIED_MAX).collect())
    }
}
