//! The move of a relayed session to a direct path: candidates and probes.
//!
//! Candidates travel end to end, so relays see none.

use std::net::SocketAddr;

use hobnob_core::{SessionId, paths, rendezvous};
use hobnob_protocol::datagram::Probe;
use hobnob_protocol::frame::HELLO_ADDRS_MAX;
use hobnob_protocol::{Frame, PersonId};
use tracing::debug;

use super::session_state::DirectChange;
use super::state::Engine;
use crate::net::demux::{DatagramKind, SideDatagram};
use hobnob_transport::addr::canonical;

impl Engine {
    /// Whether a peer learns this node's addresses through a relay.
    pub(super) fn goes_direct_with(&self, peer: PersonId) -> bool {
        self.policy.goes_direct_with(peer, self.is_member(peer))
    }

    /// Whether a peer is in a room with a secret with this node.
    pub(super) fn is_member(&self, peer: PersonId) -> bool {
        let shared = self.sessions.with(peer.only_device());
        let shared = shared.map(|state| state.membership.shared());
        let mut closed = self.replica.rooms().filter(|(_, _, key)| !key.is_open());
        closed.any(|(id, ..)| shared.is_some_and(|shared| shared.contains(&id)))
    }

    /// Something may have changed about who learns this node's addresses: informs the peer of a
    /// session, and begins or ends the search for a direct path.
    pub(super) fn update_direct_path(&mut self, session: SessionId) {
        let state = self.sessions.get(session);
        let state = state.expect("the callers act on live sessions only");
        if state.direct.ours() != self.goes_direct_with(state.person()) {
            self.send_profile(session);
        }
        let state = self.sessions.get_mut(session).expect("found above");
        match state.direct.change() {
            DirectChange::Begin => self.rendezvous_up(session),
            DirectChange::End => self.tell_rendezvous(rendezvous::Input::Down(session)),
            DirectChange::None => {}
        }
    }

    /// As [`Engine::update_direct_path`], for all sessions with a peer.
    pub(super) fn update_direct_paths_with(&mut self, peer: PersonId) {
        for session in self.sessions.ids_with(peer.only_device()) {
            self.update_direct_path(session);
        }
    }

    /// Both ends of a session agree on a direct path. One through a relay looks for it.
    fn rendezvous_up(&mut self, session: SessionId) {
        let state = self.sessions.get(session).expect("the caller has found it");
        if !state.is_relayed() {
            return;
        }
        let peer = state.peer();
        let exporter = state.membership.exporter();
        let [ours, theirs] = [self.device, peer].map(|sender| Probe::token(exporter, sender));
        self.tell_rendezvous(rendezvous::Input::Up {
            session,
            peer,
            dials: self.device < peer,
            ours,
            theirs,
        });
    }

    /// The peer of a session names addresses at which it may be reached directly.
    pub(super) fn candidates(&mut self, session: SessionId, addrs: Vec<SocketAddr>) {
        let state = self.sessions.get_mut(session);
        let state = state.expect("the callers act on live sessions only");
        let remote = state.remote_addr();
        if !state.direct.looks() {
            // This node agreed until a moment ago, or never did.
            return debug!(peer = ?state.peer(), "refused: addresses of a peer that gets none");
        }
        state.set_candidates(addrs.clone());
        // Behind the same NAT, the peer may be in another private network that a router connects
        // with this node's. Not every NAT leads from inside to its own public address.
        let is_own_nat = |addr: &SocketAddr| {
            let mut observed = self.relays.observed();
            observed.any(|observed| observed.ip() == addr.ip())
        };
        let same_nat = addrs.iter().any(is_own_nat);
        let may_dial = |addr: &SocketAddr| {
            self.network.may_dial(*addr, remote)
                || (same_nat && self.network.may_dial_inside(*addr, remote))
        };
        let addrs = addrs.into_iter().filter(may_dial).collect();
        self.tell_rendezvous(rendezvous::Input::Candidates(session, addrs));
    }

    /// A datagram other than QUIC arrived: a dial-back that this node requested, a probe on behalf
    /// of a session, an address check, or an answer to a question of a diagnosis.
    pub(super) fn side_datagram(&mut self, datagram: SideDatagram) {
        let from = canonical(datagram.from);
        match datagram.kind {
            DatagramKind::Probe(probe) if self.dial_back_arrived(from, &probe.token) => {}
            DatagramKind::Probe(probe) => {
                self.tell_rendezvous(rendezvous::Input::Probed(from, probe));
            }
            DatagramKind::AddressCheck(check) => self.address_check(&datagram, check),
            DatagramKind::StunAnswer(seen) => self.dial_backs.seen(from, &seen),
        }
    }

    pub(super) fn rendezvous_output(&mut self, output: rendezvous::Output) {
        match output {
            rendezvous::Output::SendCandidates(session) => {
                let candidates = Frame::Candidates(self.own_candidates());
                self.sessions.send(session, &candidates);
            }
            rendezvous::Output::Probe(to, probe) => self.network.probe(to, probe),
            rendezvous::Output::Open(to, probe) => self.network.open_nat(to, probe),
            rendezvous::Output::Proven(peer, addr) => {
                self.tell_paths(paths::Input::Proven(peer, addr));
            }
        }
    }

    /// The addresses at which this node listens, those at its router, and those at which relays see
    /// it.
    fn own_candidates(&self) -> Vec<SocketAddr> {
        let mut addrs = self.network.listening_addrs();
        // Leave room for the observed addresses: behind NAT only they can be reached.
        addrs.truncate(HELLO_ADDRS_MAX / 2);
        let at_router = self.router_addrs();
        for observed in at_router.into_iter().chain(self.relays.observed()) {
            if !addrs.contains(&observed) && addrs.len() < HELLO_ADDRS_MAX {
                addrs.push(observed);
            }
        }
        addrs
    }
}
