//! Sends requests for dial-backs, and carries out those of peers.

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::SessionId;
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

impl Engine {
    /// Asks a few directly connected peers, and all relays, for dial-backs. `again`: only relays
    /// whose earlier probes have not arrived. One dial-back is one datagram, and some are lost.
    pub(super) fn request_dial_backs(&mut self, again: bool) {
        let now = self.clock.now().mono;
        if !again {
            self.dial_backs.forget_old(now);
            self.request_dial_backs_of_peers(now);
        }
        for relay in self.relays.that_dial_back() {
            if !self.dial_backs.of_relay(relay).arrived {
                let token = new_token();
                self.dial_backs.ask_relay(now, token, relay);
                self.relays.send(relay, ToRelay::DialBack(token));
            }
        }
    }

    fn request_dial_backs_of_peers(&mut self, now: Duration) {
        let able = self.sessions.iter().filter(|state| {
            // A relayed peer has no address that this node could open its firewall for.
            state.has_feature(features::DIAL_BACK)
                && !state.is_relayed()
                && !self.dial_backs.has_asked(state.peer())
        });
        for state in able.take(PEERS_ASKED).collect::<Vec<_>>() {
            let interfaces = self.network.interfaces();
            let neighbour = interfaces.interface_of(state.remote_addr().ip()).is_some();
            let token = new_token();
            self.dial_backs
                .ask_peer(now, token, state.peer(), neighbour);
            state.send(&Frame::DialBack(token));
        }
    }

    /// A peer asks for a dial-back. It goes to the address of its session and nowhere else, so that
    /// no peer can make this node send to others.
    pub(super) fn dial_back(&mut self, id: SessionId, token: DialBackToken) {
        let now = self.clock.now().mono;
        let state = self.sessions.get_mut(id);
        let state = state.expect("the callers act on live sessions only");
        let to = state.remote_addr();
        if state.is_relayed() || !state.limits.allow_dial_back(now) {
            return;
        }
        let reports = self.tasks.reporter();
        self.tasks.spawn(async move {
            match probe::dial_back(to, token).await {
                Ok(()) => drop(reports.send(Internal::DialedBack(id, token))),
                Err(error) => debug!(%to, "a peer could not be dialed back: {error}"),
            }
        });
    }

    /// This node has dialed a peer back.
    pub(super) fn dialed_back(&self, id: SessionId, token: DialBackToken) {
        self.sessions.send(id, &Frame::DialedBack(token));
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
        let written_to = self.relays.addrs_up().any(|addr| canonical(addr) == from)
            || self.sessions.at(from).is_some();
        self.sessions.probe_arrived(token, written_to)
            || self.dial_backs.probe_arrived(from, token, written_to)
    }

    /// Asks the sockets that relays dialed back from how they see this node. Returns whether there
    /// was anything to ask.
    pub(super) fn ask_dial_back_sockets(&mut self) -> bool {
        let questions = self.dial_backs.questions();
        for (socket, transaction) in &questions {
            self.network.ask_address(*socket, *transaction);
        }
        !questions.is_empty()
    }
}

/// A token that nobody guesses.
pub(super) fn new_token() -> DialBackToken {
    (u128::from(random()) << 64 | u128::from(random())).to_be_bytes()
}
