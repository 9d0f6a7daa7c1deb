//! Carries out what `core::paths` decides about connections, and reports connections to it.
//!
//! [`Dialer`] makes the connections; [`handshakes`](super::handshakes) holds those that wait for a
//! verdict.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::SessionId;
use hobnob_core::known_addrs::Origin;
use hobnob_core::paths::{self, CloseReason, Instance};
use hobnob_core::policy::DenyReason;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::record::RecordError;
use hobnob_protocol::{DeviceId, PersonId, close};
use hobnob_transport::addr::canonical;
use tracing::warn;

use super::dialer::{DIAL_LIMIT, DialAddr, Dialer};
use super::handshakes::GreetedConnection;
use super::hello::HelloMaker;
use super::internal::{DialReply, Met};
use super::proofs::RoomProofs;
use super::state::Engine;
use crate::api::{CopyEvidence, NoticeReason};
use crate::error::SendError;
use crate::net::close::hang_up;
use crate::net::endpoint::Accepted;
use crate::net::session::Greeted;

impl Engine {
    pub(super) fn paths_output(&mut self, output: paths::Output) {
        match output {
            paths::Output::Dial(peer, _) if self.denies(peer).is_some() => self.dial_failed(peer),
            paths::Output::Dial(peer, addrs) => self.dial(peer, addrs),
            paths::Output::Keep(session) => self.keep_session(session),
            paths::Output::Close(session, reason) => self.close_session(session, reason),
            paths::Output::Copied(peer) => {
                let name = self.peers.name(peer.person());
                let copied = NoticeReason::IdentityCopied(CopyEvidence::PeerRunsTwice { name });
                self.reports.notice(copied, Some(peer.person()));
            }
        }
    }

    /// Why no session with this peer is allowed now, if so.
    pub(super) fn denies(&self, peer: DeviceId) -> Option<DenyReason> {
        self.policy.denies(peer.person(), self.clock.now())
    }

    pub(super) fn dial_failed(&mut self, peer: DeviceId) {
        self.tell_paths(paths::Input::DialFailed(peer));
        self.not_reached(peer);
    }

    fn dial(&mut self, peer: DeviceId, mut addrs: Vec<SocketAddr>) {
        // The sort is stable: direct addresses stay first, in their order.
        addrs.sort_by_key(|addr| self.distance(*addr));
        let addrs = addrs
            .into_iter()
            .map(|addr| DialAddr {
                addr,
                opening: self.open_channel_to(addr),
                hello: self.hello_maker(Some(peer), self.network.is_on_own_link(addr)),
            })
            .collect();
        let dialer = self.dialer(self.hello_maker(Some(peer), false));
        let dialing = dialer.dial_peer(peer, addrs);
        self.tasks.spawn_until_stop(dialing);
    }

    /// The order in which addresses are tried: direct ones, then those at the nearest relay.
    fn distance(&self, addr: SocketAddr) -> (bool, bool, Duration) {
        match self.network.channels().peer_at(addr) {
            Some((relay, _)) => {
                let is_down = self.relays.addr_of(relay).is_none();
                let rtt = self.network.channels().traffic(relay).rtt();
                (true, is_down, rtt)
            }
            None => (false, false, Duration::ZERO),
        }
    }

    /// Dials an address that a user named, unless there is a session with it.
    pub(super) fn dial_for_user(
        &mut self,
        addr: SocketAddr,
        expected: Option<DeviceId>,
        reply: DialReply,
    ) {
        let Some(found) = self.sessions.at(addr).map(|state| state.peer()) else {
            // The user chose this peer, so it may see proofs of all rooms.
            let dialer = self.dialer(self.hello_maker(expected, true));
            // Beside a proxy, nothing else goes beyond this machine's links.
            let probes = !self.relays.proxy_only();
            let dialing = dialer.dial_for_user(addr, expected, probes, reply);
            return self.tasks.spawn_until_stop(dialing);
        };
        let answer = match expected {
            Some(expected) if expected != found => Err(SendError::IdentityMismatch {
                addr: addr.to_string(),
                expected: expected.person(),
                found: found.person(),
            }),
            Some(_) | None => Ok(found.person()),
        };
        let _ = reply.send(answer);
    }

    /// A node with this node's id answers at another address.
    pub(super) fn look_for_copy(&self, addr: SocketAddr) {
        let dialer = self.dialer(self.hello_maker(Some(self.device), false));
        self.tasks.spawn_until_stop(dialer.look_for_copy(addr));
    }

    pub(super) fn greet_accepted(&mut self, accepted: Accepted) {
        // Ask once more: a resumed connection has passed no certificate verifier.
        if let Some(reason) = self.denies(accepted.peer) {
            let (code, words) = reason.code();
            return hang_up(&accepted.connection, code, words);
        }
        let source = self
            .network
            .source_network(accepted.connection.remote_address());
        let (under_way, oldest) = self.handshakes.begin(source, accepted.connection.clone());
        if let Some(oldest) = oldest {
            let why = "too many connections that have not said Hello";
            hang_up(&oldest, close::FULL, why);
        }
        let dialer = self.dialer(self.hello_maker(Some(accepted.peer), false));
        let greeting = dialer.greet_accepted(accepted, under_way);
        self.tasks.spawn_until_stop(greeting);
    }

    fn dialer(&self, hello: HelloMaker) -> Dialer {
        Dialer {
            endpoint: self.network.endpoint(),
            hello,
            reports: self.tasks.reporter(),
        }
    }

    /// For a connection with this peer, if it is known. `goes_first`: the connection may prove the
    /// rooms with a passphrase before the peer has proved them.
    fn hello_maker(&self, peer: Option<DeviceId>, goes_first: bool) -> HelloMaker {
        // A second connection with a peer proves what the first has proved.
        let session = peer.and_then(|peer| self.sessions.with(peer));
        let none = BTreeSet::new();
        let shared = session.map_or(&none, |session| session.membership.shared());
        self.hello_with(self.room_proofs(peer.map(DeviceId::person), goes_first, shared))
    }

    /// A Hello or profile that proves these rooms.
    pub(super) fn hello_with(&self, rooms: RoomProofs) -> HelloMaker {
        HelloMaker {
            me: self.device,
            instance: self.instance,
            clock: self.clock,
            discoverable: self.discovery.is_on(),
            record: self.own.public().signed().clone(),
            rooms,
        }
    }

    pub(super) fn met(&mut self, met: Met) {
        match met {
            Met::Greeted { greeted, reply } => self.greeted(greeted, reply),
            Met::Copy(addr) => self.reports.copied_by_unknown(addr),
            Met::Failed { addr, error, reply } => {
                let _ = reply.send(self.peer_last_at(addr, error));
            }
        }
    }

    /// Both Hellos were exchanged. `paths` decides whether the connection becomes a session.
    fn greeted(&mut self, greeted: Box<Greeted>, reply: Option<DialReply>) {
        let instance = Instance {
            started_at_ms: greeted.hello.started_at_ms,
            number: greeted.hello.instance,
        };
        let peer = greeted.peer;
        if peer == self.device {
            return self.met_myself(&greeted, instance, reply);
        }
        if let Some(reason) = self.denies(peer) {
            return self.refuse(&greeted, reply, reason);
        }
        let record = greeted.hello.profile.record.clone();
        let record = match self.checked_record(peer.person(), record) {
            Ok(record) => record,
            Err(error) => return self.refuse_record(&greeted, reply, &error),
        };
        let nick = record.record().nick.as_ref();
        if nick.is_some_and(|nick| self.has_taken_name(peer.person(), nick)) {
            return self.refuse(&greeted, reply, DenyReason::NameTaken);
        }
        let session = self.handshakes.next_session();
        let connected = paths::Input::Connected {
            session,
            peer,
            dialed: greeted.dialed,
            instance,
            relayed: is_synthetic(greeted.connection.remote_address().ip()),
            source: self
                .network
                .source_network(greeted.connection.remote_address()),
            protected: self.policy.is_contact(peer.person()),
            // Both ends know the exporter, so both choose the same one of two connections.
            mark: u64::from_be_bytes(std::array::from_fn(|i| greeted.exporter[i])),
        };
        self.handshakes
            .add_greeted(session, GreetedConnection { greeted, reply });
        self.tell_paths(connected);
    }

    /// The user wants no session with the peer at this connection.
    fn refuse(&mut self, greeted: &Greeted, reply: Option<DialReply>, reason: DenyReason) {
        let (code, words) = reason.code();
        hang_up(&greeted.connection, code, words);
        if greeted.dialed {
            self.dial_failed(greeted.peer);
        }
        if let Some(reply) = reply {
            // The peer has proved its identity, so a message to a kicked peer can wait for it. A
            // peer with a verified peer's name is not the one that the user means.
            let _ = reply.send(match reason {
                DenyReason::NameTaken => Err(SendError::NameTaken(greeted.peer.person())),
                DenyReason::Blocked | DenyReason::Kicked => Ok(greeted.peer.person()),
            });
        }
    }

    /// The peer at this connection shows a record that it has not signed, or a damaged one.
    fn refuse_record(&mut self, greeted: &Greeted, reply: Option<DialReply>, error: &RecordError) {
        warn!(peer = ?greeted.peer, "refused: {error}");
        hang_up(&greeted.connection, close::PROTOCOL, "a damaged record");
        if greeted.dialed {
            self.dial_failed(greeted.peer);
        }
        if let Some(reply) = reply {
            let _ = reply.send(Err(SendError::Refused {
                addr: greeted.connection.remote_address().to_string(),
                why: error.to_string(),
            }));
        }
    }

    /// `paths` keeps a greeted connection.
    fn keep_session(&mut self, id: SessionId) {
        let GreetedConnection { greeted, reply } = self
            .handshakes
            .take_greeted(id)
            .expect("paths keeps a connection once, and only one that it was told of");
        // The user may have blocked or kicked the peer since it was greeted.
        if let Some(reason) = self.denies(greeted.peer) {
            self.refuse(&greeted, reply, reason);
            return self.tell_paths(paths::Input::Down {
                session: id,
                goodbye: true,
                unwelcome: false,
            });
        }
        let (peer, remote) = (greeted.peer, canonical(greeted.connection.remote_address()));
        let by_user = reply.is_some();
        if by_user {
            // The user typed the address. The session tells such a peer this node's addresses.
            self.tell_paths(paths::Input::Found {
                peer,
                addrs: vec![remote],
                origin: Origin::Named,
                alive: false,
            });
        }
        self.begin_session(id, *greeted, by_user);
        if let Some(reply) = reply {
            let _ = reply.send(Ok(peer.person()));
        }
    }

    /// `paths` closes a greeted connection or a session. The session may have ended meanwhile.
    fn close_session(&mut self, id: SessionId, reason: CloseReason) {
        if reason == CloseReason::Full {
            self.reports.place_refused(self.clock.now().mono);
        }
        let (code, words) = match reason {
            CloseReason::Duplicate => (close::DUPLICATE, "there is another connection between us"),
            CloseReason::Replaced => (
                close::REPLACED,
                "a newer instance of this identity is connected",
            ),
            CloseReason::Full => (close::FULL, "no room for another session"),
        };
        if let Some(GreetedConnection { greeted, reply }) = self.handshakes.take_greeted(id) {
            hang_up(&greeted.connection, code, words);
            let Some(reply) = reply else { return };
            let _ = reply.send(match reason {
                CloseReason::Duplicate => Ok(greeted.peer.person()),
                CloseReason::Replaced | CloseReason::Full => Err(SendError::Refused {
                    addr: greeted.connection.remote_address().to_string(),
                    why: words.to_owned(),
                }),
            });
        } else if let Some(state) = self.sessions.remove(id, self.clock.now()) {
            state.close(code, words);
            self.session_gone(id, &state, false, reason == CloseReason::Duplicate);
        }
    }

    /// No node answers at an address. If exactly one known peer was there last, the user means that
    /// peer, and it is away.
    fn peer_last_at(&self, addr: SocketAddr, error: SendError) -> Result<PersonId, SendError> {
        if !matches!(error, SendError::Unreachable { .. }) {
            return Err(error);
        }
        let was_there =
            |peer: &PersonId| self.paths.addrs(peer.only_device()).first() == Some(&addr);
        let mut there = self.peers.all().filter(was_there);
        match (there.next(), there.next()) {
            (Some(peer), None) => Ok(peer),
            (_, _) => Err(error),
        }
    }

    fn met_myself(&mut self, greeted: &Greeted, instance: Instance, reply: Option<DialReply>) {
        if let Some(reply) = reply {
            let _ = reply.send(Err(SendError::Myself));
        }
        let connection = greeted.connection.clone();
        if greeted.dialed {
            // The other end closes once it has read this node's Hello. Until then it does not know
            // whom it met.
            self.tasks.spawn_until_stop(async move {
                let _ = tokio::time::timeout(DIAL_LIMIT, connection.closed()).await;
            });
        } else {
            hang_up(&connection, close::SELF, "this is the same identity");
        }
        if instance != self.instance {
            let at = greeted.connection.remote_address();
            self.reports.copied_by(instance, at);
        }
    }
}
