//! The move of a relayed session to a direct path: candidates said and heard, knocks sent and
//! received.
//!
//! Candidates travel end to end; the relay sees none.

use std::net::SocketAddr;

use hobnob_core::synthetic::is_synthetic;
use hobnob_core::{SessionId, paths, rendezvous};
use hobnob_protocol::Frame;
use hobnob_protocol::datagram::Probe;
use hobnob_protocol::frame::HELLO_ADDRS_MAX;

use super::network::may_be_dialed;
use super::state::Engine;
use crate::net::demux::{SideDatagram, What};

impl Engine {
    /// A session is up or over: one through a relay looks for a direct path.
    pub(super) fn rendezvous_up(&mut self, session: SessionId) {
        let Some(link) = self.sessions.live.get(&session) else {
            return;
        };
        if !is_synthetic(link.session.remote_addr().ip()) {
            return;
        }
        let peer = link.peer;
        let [ours, theirs] = [self.me, peer].map(|sender| Probe::token(&link.exporter, sender));
        let up = rendezvous::Input::Up {
            session,
            peer,
            dials: self.me < peer,
            ours,
            theirs,
        };
        self.rendezvous.handle(self.clock.now(), up);
    }

    pub(super) fn candidates(&mut self, session: SessionId, addrs: Vec<SocketAddr>) {
        let Some(link) = self.sessions.live.get(&session) else {
            return;
        };
        let remote = link.session.remote_addr();
        let told = addrs.clone();
        // The peer's network may be numbered as ours is, and its address be ours here.
        let own = self.network.listening_addrs();
        let may = |addr: &SocketAddr| {
            !own.contains(addr) && may_be_dialed(*addr, remote, &self.network.interfaces)
        };
        let addrs = addrs.into_iter().filter(may).collect();
        self.rendezvous.handle(
            self.clock.now(),
            rendezvous::Input::Candidates(session, addrs),
        );
        if let Some(link) = self.sessions.live.get_mut(&session) {
            link.candidates = told;
        }
    }

    /// A knock: a call that was asked for, or on behalf of a session. Or the answer of somebody
    /// whom a diagnosis has asked.
    pub(super) fn side_datagram(&mut self, beside: SideDatagram) {
        let from = hobnob_transport::addr::canonical(beside.from);
        match beside.what {
            What::Knock(knock) if self.dial_back_arrived(from, &knock.token) => {}
            What::Knock(knock) => self
                .rendezvous
                .handle(self.clock.now(), rendezvous::Input::Knocked(from, knock)),
            What::Seen(seen) => self.dial_backs.seen(from, &seen),
        }
    }

    pub(super) fn rendezvous_output(&mut self, output: rendezvous::Output) {
        match output {
            rendezvous::Output::SayCandidates(session) => {
                let mut addrs = self.network.listening_addrs();
                addrs.truncate(HELLO_ADDRS_MAX / 2);
                for observed in self.relays.observed() {
                    if !addrs.contains(&observed) && addrs.len() < HELLO_ADDRS_MAX {
                        addrs.push(observed);
                    }
                }
                if let Some(link) = self.sessions.live.get(&session) {
                    link.session.send_control(Frame::Candidates(addrs).encode());
                }
            }
            rendezvous::Output::Knock(to, knock) => self.network.bound.demux.knock(to, knock),
            rendezvous::Output::Proven(peer, addr) => {
                self.paths
                    .handle(self.clock.now(), paths::Input::Proven(peer, addr));
            }
        }
    }
}
