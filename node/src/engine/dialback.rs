//! DialBacks: others are asked to send a knock from where this node has never sent anything. A firewall
//! or NAT that lets in only answers swallows it.
//!
//! What counts as a call is decided here, not by who says that it called: a knock from where
//! something was sent to would come through anyway. Of a relay whose knock does not come, it is
//! asked whether answers come from the same socket: then the way is good, and it is the call that
//! was kept out.

use std::collections::VecDeque;

use hobnob_protocol::Frame;
use hobnob_protocol::frame::features;
use hobnob_protocol::relay::{TRANSACTION_LEN, ToRelay};

use super::Engine;
use super::Internal;
use crate::clock::random;
use crate::net::channels::RelayId;
use crate::net::probe;
use crate::net::socket::canonical;
use crate::net::stun::{Seen, Transaction};
use hobnob_core::SessionId;
use hobnob_core::diagnosis::{Call, RelayCall};
use hobnob_core::synthetic::is_synthetic;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tracing::debug;

/// Peers that are asked to call at once.
const CALLERS: usize = 3;

/// A peer that asks to be called more often than this is not called.
const CALL_EVERY: Duration = Duration::from_secs(5);

/// Sockets of relays that are remembered to have been asked something; the oldest are forgotten, as
/// firewalls forget them.
const ASKED_MAX: usize = 1_000;

/// What came of asking for calls, the last time.
#[derive(Debug, Default)]
pub(super) struct DialBacks {
    peers: BTreeMap<[u8; 16], Call>,
    relays: BTreeMap<[u8; 16], OfRelay>,
    /// Sockets of relays, other than those of their ports, that something was sent to, in this run.
    asked: VecDeque<SocketAddr>,
}

/// A call that a relay was asked for.
#[derive(Debug)]
struct OfRelay {
    relay: RelayId,
    /// Where it came from, by the relay's word.
    from: Option<SocketAddr>,
    came: bool,
    /// Where that socket sees this node.
    seen: Option<SocketAddr>,
}

impl DialBacks {
    /// What came of the calls of peers.
    pub(super) fn of_peers(&self) -> Vec<Call> {
        self.peers.values().copied().collect()
    }

    /// What came of a relay's calls.
    pub(super) fn of_relay(&self, relay: RelayId) -> RelayCall {
        let calls = || self.relays.values().filter(|call| call.relay == relay);
        RelayCall {
            made: calls().any(|call| call.from.is_some()),
            came: calls().any(|call| call.came),
            seen: calls().find_map(|call| call.seen),
        }
    }

    /// Somebody answers where it sees this node.
    pub(super) fn seen(&mut self, from: SocketAddr, seen: &Seen) {
        let call = self
            .relays
            .iter_mut()
            .find(|(token, _)| transaction(token) == seen.transaction);
        if let Some((_, call)) = call
            && call.from == Some(from)
        {
            call.seen = Some(canonical(seen.at));
        }
    }
}

impl Engine {
    /// Asks a few peers that are reached directly, and all relays, to call from where we have never
    /// sent anything. `again`: only relays of whose earlier calls none has come; one call is one
    /// datagram, and some are lost.
    pub(super) fn ask_for_calls(&mut self, again: bool) {
        if !again {
            self.noted.calls.peers.clear();
            self.noted.calls.relays.clear();
            self.ask_peers_for_calls();
        }
        for relay in self.relays.callers() {
            if !self.noted.calls.of_relay(relay).came {
                let token = new_token();
                self.noted.calls.relays.insert(
                    token,
                    OfRelay {
                        relay,
                        from: None,
                        came: false,
                        seen: None,
                    },
                );
                self.relays.say(relay, ToRelay::DialBack(token));
            }
        }
    }

    fn ask_peers_for_calls(&mut self) {
        let able = self
            .links
            .values()
            .filter(|link| link.features & features::CALLS != 0);
        for link in able
            .filter(|link| !is_synthetic(link.session.remote_addr().ip()))
            .take(CALLERS)
        {
            let neighbour = self
                .interfaces
                .interface_of(link.session.remote_addr().ip())
                .is_some();
            let token = new_token();
            self.noted.calls.peers.insert(
                token,
                Call {
                    neighbour,
                    made: false,
                    came: false,
                },
            );
            link.session.send_control(Frame::DialBack(token).encode());
        }
    }

    /// A peer asks to be called: at the address where it is, and nowhere else.
    pub(super) fn call_me(&mut self, id: SessionId, token: [u8; 16]) {
        let now = self.clock.now().mono;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
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
        if let Some(call) = self.noted.calls.peers.get_mut(token) {
            call.made = true;
        }
    }

    /// A relay says what came of calling us.
    pub(super) fn relay_called(&mut self, relay: RelayId, token: &[u8; 16], from: Option<u16>) {
        let Some(addr) = self.relays.addr_of(relay) else {
            return;
        };
        let caller = |port| canonical(SocketAddr::new(addr.ip(), port));
        if let Some(call) = self
            .noted
            .calls
            .relays
            .get_mut(token)
            .filter(|call| call.relay == relay)
        {
            call.from = from
                .filter(|port| *port != 0 && *port != addr.port())
                .map(caller);
        }
    }

    /// Whether this is the token of a call that was asked for. If it comes from where we have sent
    /// nothing to, it has come.
    pub(super) fn call_came(&mut self, from: SocketAddr, token: &[u8; 16]) -> bool {
        let written_to = self.relays.addrs_up().any(|addr| canonical(addr) == from)
            || self
                .links
                .values()
                .any(|link| canonical(link.session.remote_addr()) == from)
            || self.noted.calls.asked.contains(&from);
        let DialBacks { peers, relays, .. } = &mut self.noted.calls;
        let came = peers
            .get_mut(token)
            .map(|call| &mut call.came)
            .or(relays.get_mut(token).map(|call| &mut call.came));
        came.map(|came| *came |= !written_to).is_some()
    }

    /// Asks the socket of one call of each relay how we look from there, unless that is known;
    /// whether any was asked.
    pub(super) fn ask_callers(&mut self) -> bool {
        let DialBacks { relays, asked, .. } = &mut self.noted.calls;
        let known: BTreeSet<RelayId> = relays
            .values()
            .filter(|call| call.seen.is_some())
            .map(|call| call.relay)
            .collect();
        let unknown = relays
            .iter()
            .filter(|(_, call)| !known.contains(&call.relay));
        let by_relay: BTreeMap<RelayId, _> = unknown
            .filter_map(|(token, call)| Some((call.relay, (call.from?, transaction(token)))))
            .collect();
        for (caller, transaction) in by_relay.values() {
            if asked.len() >= ASKED_MAX {
                asked.pop_front();
            }
            asked.push_back(*caller);
            self.bound.demux.ask(*caller, *transaction);
        }
        !by_relay.is_empty()
    }
}

fn new_token() -> [u8; 16] {
    (u128::from(random()) << 64 | u128::from(random())).to_be_bytes()
}

/// What stands in questions to the socket of this token's call.
fn transaction(token: &[u8; 16]) -> Transaction {
    std::array::from_fn::<u8, TRANSACTION_LEN, _>(|i| token[i])
}
