//! The move of a relayed session to a direct path: candidates and probes.
//!
//! Candidates travel end to end, so relays see none.

use std::net::SocketAddr;

use hobnob_core::{SessionId, paths, rendezvous};
use hobnob_protocol::Frame;
use hobnob_protocol::datagram::Probe;
use hobnob_protocol::frame::HELLO_ADDRS_MAX;

use super::state::Engine;
use crate::net::demux::{DatagramKind, SideDatagram};
use hobnob_transport::addr::canonical;

impl Engine {
    /// A session begins. One through a relay looks for a direct path.
    pub(super) fn rendezvous_up(&mut self, session: SessionId) {
        let state = self.sessions.get(session).expect("it has just begun");
        if !state.is_relayed() {
            return;
        }
        let peer = state.peer();
        let exporter = state.membership.exporter();
        let [ours, theirs] = [self.me, peer].map(|sender| Probe::token(exporter, sender));
        self.tell_rendezvous(rendezvous::Input::Up {
            session,
            peer,
            dials: self.me < peer,
            ours,
            theirs,
        });
    }

    /// The peer of a session names addresses at which it may be reached directly.
    pub(super) fn candidates(&mut self, session: SessionId, addrs: Vec<SocketAddr>) {
        let state = self.sessions.get_mut(session);
        let state = state.expect("the callers act on live sessions only");
        let remote = state.remote_addr();
        state.set_candidates(addrs.clone());
        let may_dial = |addr: &SocketAddr| self.network.may_dial(*addr, remote);
        let addrs = addrs.into_iter().filter(may_dial).collect();
        self.tell_rendezvous(rendezvous::Input::Candidates(session, addrs));
    }

    /// A datagram other than QUIC arrived: a dial-back that this node requested, a probe on behalf
    /// of a session, or an answer to a question of a diagnosis.
    pub(super) fn side_datagram(&mut self, datagram: SideDatagram) {
        let from = canonical(datagram.from);
        match datagram.kind {
            DatagramKind::Probe(probe) if self.dial_back_arrived(from, &probe.token) => {}
            DatagramKind::Probe(probe) => {
                self.tell_rendezvous(rendezvous::Input::Probed(from, probe));
            }
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
            rendezvous::Output::Proven(peer, addr) => {
                self.tell_paths(paths::Input::Proven(peer, addr));
            }
        }
    }

    /// The addresses at which this node listens, and those at which relays see it.
    fn own_candidates(&self) -> Vec<SocketAddr> {
        let mut addrs = self.network.listening_addrs();
        // Leave room for the observed addresses: behind NAT only they can be reached.
        addrs.truncate(HELLO_ADDRS_MAX / 2);
        for observed in self.relays.observed() {
            if !addrs.contains(&observed) && addrs.len() < HELLO_ADDRS_MAX {
                addrs.push(observed);
            }
        }
        addrs
    }
}
