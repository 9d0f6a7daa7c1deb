//! The registry: who is connected, by which connection, from where, and whether it is still alive.
//!
//! A node says something at least every [`HEARTBEAT_EVERY`]. One miss makes it suspect,
//! [`MISSES_MAX`] end its connection: then it is gone, and stays in the table for a while so that
//! the operator sees it. Misses are counted one by one as they fall due, never computed from how
//! much time has gone by: a relay that stood still for a minute does not take everybody for dead.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::PeerId;

use super::ConnectionId;
use super::limits::{Allowance, Limits, Network};
use super::reasons::EndReason;
use super::table::State;
use crate::route::Meter;

/// How often a node is asked to say that it is there; a NAT forgets a mapping after 30 seconds.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// How much later than due a heartbeat may come: the way, a lost packet or two, a busy machine.
pub const HEARTBEAT_GRACE: Duration = Duration::from_secs(3);

/// Heartbeats missed in a row after which a peer is gone.
pub const MISSES_MAX: u32 = 3;

/// How long a peer that is gone stays in the table.
pub const GONE_KEPT: Duration = Duration::from_secs(60 * 60);

/// Peers that are gone and in the table, at most; beyond, the ones that went first are forgotten.
pub const GONE_MAX: usize = 1_000;

/// What is known of one peer.
#[derive(Debug)]
pub(super) struct Peer {
    /// None: it is gone.
    pub(super) connection: Option<ConnectionId>,
    pub(super) addr: SocketAddr,
    /// When its present connection came to be from this address, if that was not from the start.
    pub(super) moved_at: Option<Duration>,
    /// When it registered.
    pub(super) since: Duration,
    /// When a frame last came from it.
    pub(super) heard_at: Duration,
    pub(super) rtt: Option<Duration>,
    pub(super) missed: u32,
    /// How many rooms it has named.
    pub(super) rooms: usize,
    pub(super) meter: Arc<Meter>,
    pub(super) allowance: Allowance,
    /// When something has to have come at the latest.
    due_at: Duration,
    /// When the registry looks whether it has. Earlier than `due_at` if something came meanwhile.
    look_at: Duration,
    gone_at: Duration,
}

impl Peer {
    fn new(now: Duration, addr: SocketAddr) -> Self {
        Self {
            connection: None,
            addr,
            moved_at: None,
            since: now,
            heard_at: now,
            rtt: None,
            missed: 0,
            rooms: 0,
            meter: Arc::default(),
            allowance: Allowance::default(),
            due_at: now,
            look_at: now,
            gone_at: now,
        }
    }

    pub(super) fn state(&self) -> State {
        match (self.connection, self.missed) {
            (None, _) => State::Gone,
            (Some(_), 0) => State::Alive,
            (Some(_), _) => State::Suspect,
        }
    }

    fn heard(&mut self, now: Duration) {
        self.heard_at = now;
        self.missed = 0;
        self.due_at = now + HEARTBEAT_EVERY + HEARTBEAT_GRACE;
    }
}

/// Everybody who is, or lately was, registered.
#[derive(Debug, Default)]
pub(super) struct Registry {
    peers: BTreeMap<PeerId, Peer>,
    connections: BTreeMap<ConnectionId, PeerId>,
    networks: BTreeMap<Network, usize>,
    looks: BTreeSet<(Duration, PeerId)>,
    /// Peers without a connection, by when it ended.
    gone: BTreeSet<(Duration, PeerId)>,
}

impl Registry {
    /// How many peers have a connection.
    pub(super) fn connected(&self) -> usize {
        self.connections.len()
    }

    /// All connections, in the order in which they came.
    pub(super) fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.keys().copied()
    }

    /// Everybody in the table.
    pub(super) fn peers(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    /// Whose connection this is; none if it is over, or was replaced.
    pub(super) fn peer_of(&self, connection: ConnectionId) -> Option<PeerId> {
        self.connections.get(&connection).copied()
    }

    /// The peer's connection, if it has one.
    pub(super) fn connection_of(&self, peer: PeerId) -> Option<ConnectionId> {
        self.peers.get(&peer)?.connection
    }

    /// The connected peer of this id.
    pub(super) fn get(&self, peer: PeerId) -> Option<&Peer> {
        self.peers
            .get(&peer)
            .filter(|peer| peer.connection.is_some())
    }

    /// The connected peer of this id.
    pub(super) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Peer> {
        self.peers
            .get_mut(&peer)
            .filter(|peer| peer.connection.is_some())
    }

    /// Whether there is a place for this peer. One that only changes its connection has its place
    /// already.
    pub(super) fn admit(
        &mut self,
        now: Duration,
        id: PeerId,
        addr: SocketAddr,
        limits: &Limits,
    ) -> Result<(), EndReason> {
        let connected = self.connected();
        let from_network = self.networks.get(&Network::of(addr)).copied().unwrap_or(0);
        if let Some(peer) = self.peers.get_mut(&id) {
            let pace = limits.registrations;
            if !peer.allowance.registrations.take(now, pace) {
                return Err(EndReason::RegisteredTooOften(id, pace));
            }
            if peer.connection.is_some() {
                return Ok(());
            }
        }
        if connected >= limits.peers {
            return Err(EndReason::Full(limits.peers));
        }
        if from_network >= limits.peers_per_network {
            return Err(EndReason::NetworkFull(limits.peers_per_network));
        }
        Ok(())
    }

    /// Gives an admitted peer its connection. It has none at the moment.
    pub(super) fn connect(
        &mut self,
        now: Duration,
        id: PeerId,
        connection: ConnectionId,
        addr: SocketAddr,
        rooms: usize,
    ) {
        let peer = self.peers.entry(id).or_insert_with(|| Peer::new(now, addr));
        assert!(
            peer.connection.is_none(),
            "the older connection was taken away before"
        );
        self.gone.remove(&(peer.gone_at, id));
        (peer.connection, peer.addr, peer.since, peer.rtt, peer.rooms) =
            (Some(connection), addr, now, None, rooms);
        peer.moved_at = None;
        peer.heard(now);
        peer.look_at = peer.due_at;
        self.looks.insert((peer.look_at, id));
        self.connections.insert(connection, id);
        *self.networks.entry(Network::of(addr)).or_default() += 1;
    }

    /// The peer's connection is over: it is gone.
    pub(super) fn disconnect(&mut self, now: Duration, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(connection) = peer.connection.take() else {
            return;
        };
        peer.gone_at = now;
        let (addr, look_at) = (peer.addr, peer.look_at);
        self.looks.remove(&(look_at, id));
        self.connections.remove(&connection);
        self.leave_network(addr);
        self.gone.insert((now, id));
        self.forget(now);
    }

    /// The peer is somewhere else now.
    pub(super) fn moved(&mut self, now: Duration, id: PeerId, addr: SocketAddr) {
        let Some(peer) = self.get_mut(id) else { return };
        peer.moved_at = Some(now);
        let old = std::mem::replace(&mut peer.addr, addr);
        self.leave_network(old);
        *self.networks.entry(Network::of(addr)).or_default() += 1;
    }

    /// A frame came from the peer.
    pub(super) fn heard(&mut self, now: Duration, id: PeerId) {
        if let Some(peer) = self.get_mut(id) {
            peer.heard(now);
        }
    }

    /// When [`Registry::silent`] and [`Registry::forget`] have something to do.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let forget_at = self.gone.first().map(|(gone_at, _)| *gone_at + GONE_KEPT);
        [self.looks.first().map(|(at, _)| *at), forget_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Counts the heartbeats that have not come; returns those who have missed too many, to be
    /// disconnected.
    pub(super) fn silent(&mut self, now: Duration) -> Vec<(PeerId, ConnectionId)> {
        let mut silent = Vec::new();
        while let Some(&(at, id)) = self.looks.first().filter(|(at, _)| *at <= now) {
            self.looks.remove(&(at, id));
            let peer = self
                .peers
                .get_mut(&id)
                .expect("a peer that is looked at is connected");
            if peer.due_at <= now {
                peer.missed += 1;
                peer.due_at = now + HEARTBEAT_EVERY;
            }
            peer.look_at = peer.due_at;
            self.looks.insert((peer.look_at, id));
            if peer.missed >= MISSES_MAX {
                silent.extend(peer.connection.map(|connection| (id, connection)));
            }
        }
        silent
    }

    /// Forgets those who have been gone for long, and the first of too many.
    pub(super) fn forget(&mut self, now: Duration) {
        while let Some(&(gone_at, id)) = self.gone.first() {
            if now < gone_at + GONE_KEPT && self.gone.len() <= GONE_MAX {
                break;
            }
            self.gone.remove(&(gone_at, id));
            self.peers.remove(&id);
        }
    }

    fn leave_network(&mut self, addr: SocketAddr) {
        let network = Network::of(addr);
        let count = self
            .networks
            .get_mut(&network)
            .expect("a connected peer is counted in its network");
        *count -= 1;
        if *count == 0 {
            self.networks.remove(&network);
        }
    }
}
