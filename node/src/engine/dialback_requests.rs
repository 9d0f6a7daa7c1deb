//! Sends requests for dial-backs, and carries out those of peers.

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::SessionId;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::Frame;
use hobnob_protocol::frame::features;
use hobnob_protocol::relay::ToRelay;
use tracing::debug;

use super::dialback::DialBackToken;
use super::internal::Internal;
use super::state::Engine;
use crate::clock::random;
use crate::net::channels::RelayId;
use crate::net::probe;
use hobnob_transport::addr::canonical;

/// Peers that are asked at the same time.
const PEERS_ASKED: usize = 3;

/// A peer that asks more often than this is not dialed back.
const DIAL_BACK_EVERY: Duration = Duration::from_secs(5);

impl Engine {
    /// Asks a few directly connected peers, and all relays, for dial-backs. `again`: only relays
    /// whose earlier probes have not arrived. One dial-back is one datagram, and some are lost.
    pub(super) fn request_dial_backs(&mut self, again: bool) {
        if !again {
            self.dial_backs.clear();
            self.request_dial_backs_of_peers();
        }
        for relay in self.relays.callers() {
            if !self.dial_backs.of_relay(relay).came {
                let token = new_token();
                self.dial_backs.ask_relay(token, relay);
                self.relays.say(relay, ToRelay::DialBack(token));
            }
        }
    }

    fn request_dial_backs_of_peers(&mut self) {
        let live = self.sessions.live.values();
        let able = live.filter(|state| state.features & features::DIAL_BACK != 0);
        for state in able
            .filter(|state| !is_synthetic(state.session.remote_addr().ip()))
            .take(PEERS_ASKED)
        {
            let interfaces = &self.network.interfaces;
            let neighbour = interfaces
                .interface_of(state.session.remote_addr().ip())
                .is_some();
            let token = new_token();
            self.dial_backs.ask_peer(token, neighbour);
            state.session.send_control(Frame::DialBack(token).encode());
        }
    }

    /// A peer asks for a dial-back. It goes to the address of its session and nowhere else.
    pub(super) fn dial_back(&mut self, id: SessionId, token: DialBackToken) {
        let now = self.clock.now().mono;
        let Some(state) = self.sessions.live.get_mut(&id) else {
            return;
        };
        let to = state.session.remote_addr();
        let too_soon = |at| now - at < DIAL_BACK_EVERY;
        if is_synthetic(to.ip()) || state.dialed_back_at.is_some_and(too_soon) {
            return;
        }
        state.dialed_back_at = Some(now);
        let reports = self.tasks.reports.clone();
        self.tasks.spawn(async move {
            match probe::call(to, token).await {
                Ok(()) => drop(reports.send(Internal::Called(id, token))),
                Err(error) => debug!(%to, "a peer could not be dialed back: {error}"),
            }
        });
    }

    /// This node has dialed a peer back.
    pub(super) fn dialed_back(&self, id: SessionId, token: DialBackToken) {
        if let Some(state) = self.sessions.live.get(&id) {
            state
                .session
                .send_control(Frame::DialedBack(token).encode());
        }
    }

    /// A relay reports a dial-back.
    pub(super) fn relay_dialed_back(
        &mut self,
        relay: RelayId,
        token: &DialBackToken,
        port: Option<u16>,
    ) {
        if let Some(addr) = self.relays.addr_of(relay) {
            self.dial_backs.relay_reports(relay, addr, token, port);
        }
    }

    /// A probe arrived. Returns whether it belongs to a request for a dial-back.
    pub(super) fn dial_back_arrived(&mut self, from: SocketAddr, token: &DialBackToken) -> bool {
        let mut sessions = self.sessions.live.values();
        let written_to = self.relays.addrs_up().any(|addr| canonical(addr) == from)
            || sessions.any(|state| canonical(state.session.remote_addr()) == from);
        self.dial_backs.probe_arrived(from, token, written_to)
    }

    /// Asks the sockets that relays dialed back from how they see this node. Returns whether there
    /// was anything to ask.
    pub(super) fn ask_callers(&mut self) -> bool {
        let questions = self.dial_backs.questions();
        for (socket, transaction) in &questions {
            self.network.bound.demux.ask(*socket, *transaction);
        }
        !questions.is_empty()
    }
}

fn new_token() -> DialBackToken {
    (u128::from(random()) << 64 | u128::from(random())).to_be_bytes()
}
