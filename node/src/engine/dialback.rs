//! Dial-back: whether others can reach this node from sockets that it has never sent anything to. A
//! firewall or NAT that admits only answers drops such a probe.
//!
//! This node decides whether a dial-back arrived; it does not trust the word of the sender. A probe
//! from a socket that this node has sent something to proves nothing. If a relay's probe does not
//! arrive, this node asks the same socket a question. An answer shows that the path works and that
//! only the probe was filtered.
//!
//! Sending the requests is the job of `dialback_requests`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::diagnosis::{PeerDialBack, RelayDialBack};
use hobnob_protocol::DeviceId;
use hobnob_protocol::relay::TRANSACTION_LEN;

use super::limits::DIAL_BACK_EVERY;
use crate::net::channels::RelayId;
use hobnob_transport::addr::canonical;
use hobnob_transport::stun::client::{Seen, Transaction};

/// Sockets that were asked a question, at most. The oldest are forgotten, as firewalls forget them.
const ASKED_MAX: usize = 1_000;

/// How long a result stays valid. A peer dials back every [`DIAL_BACK_EVERY`] at most, so a second
/// diagnosis within that time must use the results of the first.
const RESULT_STAYS: Duration = DIAL_BACK_EVERY.saturating_add(Duration::from_secs(1));

/// Names one request for a dial-back.
pub(super) type DialBackToken = [u8; 16];

/// The results of the last requests for dial-backs.
#[derive(Debug, Default)]
pub(super) struct DialBacks {
    peers: BTreeMap<DialBackToken, PeerRequest>,
    relays: BTreeMap<DialBackToken, RelayRequest>,
    /// Sockets of relays, other than their listening ones, that were sent a question in this run.
    asked: VecDeque<SocketAddr>,
}

/// A request to a peer.
#[derive(Debug)]
struct PeerRequest {
    peer: DeviceId,
    at: Duration,
    result: PeerDialBack,
}

/// A request to a relay.
#[derive(Debug)]
struct RelayRequest {
    relay: RelayId,
    at: Duration,
    /// The socket that the relay says it used.
    from: Option<SocketAddr>,
    arrived: bool,
    /// This node's address as that socket sees it.
    seen: Option<SocketAddr>,
}

impl DialBacks {
    /// Forgets the results of requests that are older than [`RESULT_STAYS`].
    pub(super) fn forget_old(&mut self, now: Duration) {
        let is_recent = |at: Duration| now.saturating_sub(at) < RESULT_STAYS;
        self.peers.retain(|_, request| is_recent(request.at));
        self.relays.retain(|_, request| is_recent(request.at));
    }

    /// Whether a peer was asked a moment ago. It would refuse another request.
    pub(super) fn has_asked(&self, peer: DeviceId) -> bool {
        self.peers.values().any(|request| request.peer == peer)
    }

    /// A peer was asked. `neighbour`: it is in a network of this machine.
    pub(super) fn ask_peer(
        &mut self,
        now: Duration,
        token: DialBackToken,
        peer: DeviceId,
        neighbour: bool,
    ) {
        let request = PeerRequest {
            peer,
            at: now,
            result: PeerDialBack {
                neighbour,
                sent: false,
                arrived: false,
            },
        };
        self.peers.insert(token, request);
    }

    /// A relay was asked.
    pub(super) fn ask_relay(&mut self, now: Duration, token: DialBackToken, relay: RelayId) {
        let request = RelayRequest {
            relay,
            at: now,
            from: None,
            arrived: false,
            seen: None,
        };
        self.relays.insert(token, request);
    }

    /// The results of the requests to peers.
    pub(super) fn of_peers(&self) -> Vec<PeerDialBack> {
        self.peers.values().map(|request| request.result).collect()
    }

    /// The results of the requests to a relay.
    pub(super) fn of_relay(&self, relay: RelayId) -> RelayDialBack {
        let requests = || self.relays.values().filter(|of| of.relay == relay);
        RelayDialBack {
            sent: requests().any(|request| request.from.is_some()),
            arrived: requests().any(|request| request.arrived),
            seen: requests().find_map(|request| request.seen),
        }
    }

    /// A peer says that it has dialed back.
    pub(super) fn peer_reports(&mut self, token: &DialBackToken) {
        if let Some(request) = self.peers.get_mut(token) {
            request.result.sent = true;
        }
    }

    /// The relay at `addr` reports the port that it dialed back from, if it did.
    pub(super) fn relay_reports(
        &mut self,
        relay: RelayId,
        addr: SocketAddr,
        token: &DialBackToken,
        port: Option<u16>,
    ) {
        let other_port = port.filter(|port| *port != 0 && *port != addr.port());
        if let Some(request) = self.relays.get_mut(token).filter(|of| of.relay == relay) {
            request.from = other_port.map(|port| canonical(SocketAddr::new(addr.ip(), port)));
        }
    }

    /// A probe arrived. Returns whether it carries the token of a request. It counts as a dial-back
    /// unless this node has sent something to its socket before.
    pub(super) fn probe_arrived(
        &mut self,
        from: SocketAddr,
        token: &DialBackToken,
        written_to: bool,
    ) -> bool {
        let counts = !written_to && !self.asked.contains(&from);
        let peer = self
            .peers
            .get_mut(token)
            .map(|request| &mut request.result.arrived);
        let relay = self.relays.get_mut(token).map(|of| &mut of.arrived);
        peer.or(relay).map(|arrived| *arrived |= counts).is_some()
    }

    /// A relay's socket reports the address at which it sees this node.
    pub(super) fn seen(&mut self, from: SocketAddr, seen: &Seen) {
        let mut requests = self.relays.iter_mut();
        let request = requests.find(|(token, _)| transaction(token) == seen.transaction);
        if let Some((_, request)) = request
            && request.from == Some(from)
        {
            request.seen = Some(canonical(seen.at));
        }
    }

    /// The questions to ask: one to a socket of each relay that has not reported yet how it sees
    /// this node. From now on these sockets count as written to.
    pub(super) fn questions(&mut self) -> Vec<(SocketAddr, Transaction)> {
        let answered = self.relays.values().filter(|of| of.seen.is_some());
        let answered: BTreeSet<RelayId> = answered.map(|of| of.relay).collect();
        let open = self
            .relays
            .iter()
            .filter(|(_, of)| !answered.contains(&of.relay));
        let by_relay: BTreeMap<RelayId, _> = open
            .filter_map(|(token, of)| Some((of.relay, (of.from?, transaction(token)))))
            .collect();
        let questions: Vec<_> = by_relay.into_values().collect();
        for (socket, _) in &questions {
            if self.asked.len() >= ASKED_MAX {
                self.asked.pop_front();
            }
            self.asked.push_back(*socket);
        }
        questions
    }
}

/// The transaction id in questions to the socket of this request.
fn transaction(token: &DialBackToken) -> Transaction {
    std::array::from_fn::<u8, TRANSACTION_LEN, _>(|i| token[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: DialBackToken = [7; 16];
    const RELAY: RelayId = RelayId(0);

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_probe_from_a_fresh_socket_is_a_dial_back() {
        let mut all = DialBacks::default();
        all.ask_peer(Duration::ZERO, TOKEN, DeviceId::from_bytes([1; 32]), true);
        let from = addr("192.0.2.1:9");
        assert!(!all.probe_arrived(from, &[8; 16], false), "nobody's token");
        assert!(all.probe_arrived(from, &TOKEN, true));
        assert!(
            !all.of_peers()[0].arrived,
            "an answer could arrive there, too"
        );
        assert!(all.probe_arrived(from, &TOKEN, false));
        assert!(all.of_peers()[0].arrived);
    }

    #[test]
    fn a_second_diagnosis_within_seconds_uses_the_results_of_the_first() {
        let mut all = DialBacks::default();
        let bob = DeviceId::from_bytes([1; 32]);
        all.ask_peer(Duration::ZERO, TOKEN, bob, true);
        assert!(all.probe_arrived(addr("192.0.2.1:9"), &TOKEN, false));
        all.forget_old(Duration::from_secs(3));
        assert!(all.has_asked(bob), "it would refuse");
        assert!(all.of_peers()[0].arrived);
        all.forget_old(RESULT_STAYS);
        assert!(!all.has_asked(bob));
        assert!(all.of_peers().is_empty());
    }

    #[test]
    fn a_relay_whose_probe_is_filtered_is_asked_from_the_same_socket() {
        let (mut all, relay) = (DialBacks::default(), addr("192.0.2.1:4627"));
        all.ask_relay(Duration::ZERO, TOKEN, RELAY);
        all.relay_reports(RELAY, relay, &TOKEN, Some(4627));
        assert!(!all.of_relay(RELAY).sent, "its usual socket shows nothing");
        all.relay_reports(RELAY, relay, &TOKEN, Some(5000));
        assert!(all.of_relay(RELAY).sent);

        let (socket, transaction) = all.questions()[0];
        assert_eq!(socket, addr("192.0.2.1:5000"));
        // From now on a probe from there proves nothing.
        assert!(all.probe_arrived(socket, &TOKEN, false));
        assert!(!all.of_relay(RELAY).arrived);

        let at = addr("198.51.100.7:4626");
        all.seen(socket, &Seen { transaction, at });
        assert_eq!(all.of_relay(RELAY).seen, Some(at));
        assert!(all.questions().is_empty(), "that relay has answered");
    }
}
