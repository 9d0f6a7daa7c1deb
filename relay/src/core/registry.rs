//! The registry: the connected peers with their connections and addresses, and whether they are
//! still alive.
//!
//! A node sends a frame at least every [`HEARTBEAT_EVERY`]. After one miss it is suspect, and after
//! [`MISSES_MAX`] its connection ends. It then stays in the table for a while, so that the operator
//! can see it. The registry counts each miss when it is due and never computes misses from elapsed
//! time. So a relay that was suspended for a minute does not lose all its peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hobnob_limits::{Entrance, Network, Place, Places};
use hobnob_protocol::DeviceId;
use hobnob_protocol::heartbeat::Handle;

use super::ConnectionId;
use super::limits::{Allowance, Limits};
use super::liveness::State;
use super::reasons::EndReason;
use crate::route::Meter;
use crate::sleeper::CompactAddr;

/// How often a node sends a heartbeat. Some NATs forget a mapping after 30 seconds.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// How late a heartbeat may be. It covers the network's delay, one or two lost packets and a busy
/// machine.
pub const HEARTBEAT_GRACE: Duration = Duration::from_secs(3);

/// Consecutive missed heartbeats after which a peer is gone.
pub const MISSES_MAX: u32 = 3;

/// How long a peer stays in the table after it is gone.
pub const GONE_KEPT: Duration = Duration::from_secs(60 * 60);

/// Maximum peers in the table that are gone. Beyond it the registry forgets the oldest ones.
pub const GONE_MAX: usize = 1_000;

/// The registry's record of one peer.
#[derive(Debug)]
pub(super) struct PeerRecord {
    /// `None` if it is gone.
    pub(super) connection: Option<ConnectionId>,
    pub(super) addr: SocketAddr,
    /// The synthetic address of its stream, if it uses one.
    pub(super) stream: Option<SocketAddr>,
    /// When its connection changed to this address, if it did.
    pub(super) moved_at: Option<Duration>,
    /// When it registered.
    pub(super) since: Duration,
    /// When its last frame arrived.
    pub(super) heard_at: Duration,
    pub(super) rtt: Option<Duration>,
    pub(super) missed: u32,
    /// Rooms that it named.
    pub(super) rooms: usize,
    pub(super) meter: Arc<Meter>,
    /// The sleep that the relay has agreed to and that has not begun.
    pub(super) granted: Option<Handle>,
    /// The bytes of the meter that are part of the quotas already.
    counted: u64,
    pub(super) allowance: Allowance,
    /// When the next frame is overdue.
    due_at: Duration,
    /// When the registry checks this. It is earlier than `due_at` if a frame arrived meanwhile.
    look_at: Duration,
    gone_at: Duration,
}

impl PeerRecord {
    fn new(now: Duration, addr: SocketAddr) -> Self {
        Self {
            connection: None,
            addr,
            stream: None,
            moved_at: None,
            since: now,
            heard_at: now,
            rtt: None,
            missed: 0,
            rooms: 0,
            meter: Arc::default(),
            granted: None,
            counted: 0,
            allowance: Allowance::default(),
            due_at: now,
            look_at: now,
            gone_at: now,
        }
    }

    /// The address of its frames, in routes.
    pub(super) fn frame_addr(&self) -> SocketAddr {
        self.stream.unwrap_or(self.addr)
    }

    pub(super) fn state(&self) -> State {
        match (self.connection, self.missed) {
            (None, _) => State::Gone,
            (Some(_), 0) => State::Alive,
            (Some(_), _) => State::Suspect,
        }
    }

    /// The bytes that were forwarded since the last call.
    pub(super) fn take_forwarded(&mut self) -> u64 {
        let bytes = self.meter.read().bytes;
        bytes - std::mem::replace(&mut self.counted, bytes)
    }

    fn heard(&mut self, now: Duration) {
        self.heard_at = now;
        self.missed = 0;
        self.due_at = now + HEARTBEAT_EVERY + HEARTBEAT_GRACE;
    }
}

/// The registry's record of a sleeping peer. There can be a million, so it is small. Times are in
/// seconds.
#[derive(Debug)]
pub(super) struct Sleeper {
    pub(super) handle: Handle,
    pub(super) addr: CompactAddr,
    place: Place<Network>,
    since: u32,
    asleep_since: u32,
    pub(super) rooms: u32,
    /// Only of a peer for which the relay forwarded something.
    pub(super) meter: Option<Arc<Meter>>,
}

impl Sleeper {
    /// When it registered.
    pub(super) fn since(&self) -> Duration {
        Duration::from_secs(self.since.into())
    }

    /// When it fell asleep.
    pub(super) fn asleep_since(&self) -> Duration {
        Duration::from_secs(self.asleep_since.into())
    }
}

/// All peers that are registered or were recently.
#[derive(Debug)]
pub(super) struct Registry {
    peers: BTreeMap<DeviceId, PeerRecord>,
    asleep: BTreeMap<DeviceId, Sleeper>,
    connections: BTreeMap<ConnectionId, DeviceId>,
    /// The connected and the sleeping peers. A peer is active when it asks for a channel.
    places: Places<Network, DeviceId>,
    peers_max: usize,
    looks: BTreeSet<(Duration, DeviceId)>,
    /// Peers without a connection, by when it ended.
    gone: BTreeSet<(Duration, DeviceId)>,
}

impl Registry {
    /// Creates an empty registry with this many places.
    pub(super) fn new(peers: usize) -> Self {
        Self {
            peers: BTreeMap::new(),
            asleep: BTreeMap::new(),
            connections: BTreeMap::new(),
            places: Places::new(peers),
            peers_max: peers,
            looks: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    /// Changes the maximum number of peers. Those that are connected stay.
    pub(super) fn set_peers_max(&mut self, peers: usize) {
        self.peers_max = peers;
        self.places.set_max(peers.max(self.places.taken()));
    }

    /// The bytes that were forwarded for each connected peer since the last call.
    pub(super) fn forwarded(&mut self) -> Vec<(DeviceId, u64)> {
        let connected = self
            .peers
            .iter_mut()
            .filter(|(_, peer)| peer.connection.is_some());
        connected
            .map(|(id, peer)| (*id, peer.take_forwarded()))
            .collect()
    }

    /// Number of connected peers.
    pub(super) fn connected(&self) -> usize {
        self.connections.len()
    }

    /// All connections, oldest first.
    pub(super) fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.keys().copied()
    }

    /// All peers in the table.
    pub(super) fn peers(&self) -> impl Iterator<Item = (DeviceId, &PeerRecord)> {
        self.peers.iter().map(|(id, peer)| (*id, peer))
    }

    /// The peer of a connection. `None` if the connection has ended or was replaced.
    pub(super) fn peer_of(&self, connection: ConnectionId) -> Option<DeviceId> {
        self.connections.get(&connection).copied()
    }

    /// The peer's connection, if it has one.
    pub(super) fn connection_of(&self, peer: DeviceId) -> Option<ConnectionId> {
        self.peers.get(&peer)?.connection
    }

    /// The record of a connected peer.
    pub(super) fn get(&self, peer: DeviceId) -> Option<&PeerRecord> {
        self.peers
            .get(&peer)
            .filter(|peer| peer.connection.is_some())
    }

    /// The record of a connected peer.
    pub(super) fn get_mut(&mut self, peer: DeviceId) -> Option<&mut PeerRecord> {
        self.peers
            .get_mut(&peer)
            .filter(|peer| peer.connection.is_some())
    }

    /// Checks whether the limits admit this peer, and which peer must make room for it. A connected
    /// peer may always replace its connection, within the pace of registrations.
    pub(super) fn admit(
        &mut self,
        now: Duration,
        id: DeviceId,
        addr: SocketAddr,
        limits: &Limits,
    ) -> Result<Option<DeviceId>, EndReason> {
        if self.asleep.contains_key(&id) {
            // It has slept for longer than the pace asks for.
            return Ok(None);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            let pace = limits.registrations;
            if !peer.allowance.registrations.take(now, pace) {
                return Err(EndReason::RegisteredTooOften(id, pace));
            }
            if peer.connection.is_some() {
                return Ok(None);
            }
        }
        // If the operator has lowered the maximum, the connected peers stay.
        if self.places.taken() > self.peers_max {
            return Err(EndReason::Full(self.peers_max));
        }
        self.places.set_max(self.peers_max);
        let network = Network::of(addr.ip());
        if self.places.taken_by(network) >= limits.peers_per_network {
            return Err(EndReason::NetworkFull(limits.peers_per_network));
        }
        match self.places.entrance(network, false) {
            Entrance::Free => Ok(None),
            Entrance::Replaces(idle) => Ok(Some(idle)),
            Entrance::Full => Err(EndReason::Full(limits.peers)),
        }
    }

    /// Connects an admitted peer, which has no connection at the moment. The peer that must make room
    /// for it is disconnected already.
    pub(super) fn connect(
        &mut self,
        now: Duration,
        id: DeviceId,
        connection: ConnectionId,
        addr: SocketAddr,
        rooms: usize,
    ) {
        let peer = self
            .peers
            .entry(id)
            .or_insert_with(|| PeerRecord::new(now, addr));
        assert!(
            peer.connection.is_none(),
            "the caller has disconnected the older connection"
        );
        self.gone.remove(&(peer.gone_at, id));
        (peer.connection, peer.addr, peer.since, peer.rtt, peer.rooms) =
            (Some(connection), addr, now, None, rooms);
        peer.moved_at = None;
        peer.heard(now);
        peer.look_at = peer.due_at;
        self.looks.insert((peer.look_at, id));
        self.connections.insert(connection, id);
        let entrance = self.places.enter(id, Network::of(addr.ip()), false);
        debug_assert_eq!(
            entrance,
            Entrance::Free,
            "an admitted peer has a free place"
        );
    }

    /// Ends the connection of a connected peer, which is gone from then on.
    pub(super) fn disconnect(&mut self, now: Duration, id: DeviceId) {
        let peer = self.connected_mut(id);
        let connection = peer.connection.take().expect("a connected peer has one");
        peer.gone_at = now;
        let look_at = peer.look_at;
        self.looks.remove(&(look_at, id));
        self.connections.remove(&connection);
        self.places.leave(id);
        self.gone.insert((now, id));
        self.forget(now);
    }

    /// Number of sleeping peers.
    pub(super) fn asleep(&self) -> usize {
        self.asleep.len()
    }

    /// The sleeping peers.
    pub(super) fn sleepers(&self) -> impl Iterator<Item = (DeviceId, &Sleeper)> {
        self.asleep.iter().map(|(id, sleeper)| (*id, sleeper))
    }

    /// The record of a sleeping peer.
    pub(super) fn sleeper(&self, id: DeviceId) -> Option<&Sleeper> {
        self.asleep.get(&id)
    }

    /// A connected peer falls asleep: it has no connection, but keeps its place.
    pub(super) fn sleep(&mut self, now: Duration, id: DeviceId, handle: Handle) {
        let peer = self
            .peers
            .remove(&id)
            .expect("a connected peer falls asleep");
        let connection = peer.connection.expect("a connected peer falls asleep");
        self.connections.remove(&connection);
        self.looks.remove(&(peer.look_at, id));
        let place = self.places.settle(id);
        let is_metered = peer.meter.read() != crate::route::Metered::default();
        let sleeper = Sleeper {
            handle,
            addr: CompactAddr::of(peer.addr),
            place: place.expect("a connected peer has an unprotected place"),
            since: seconds(peer.since),
            asleep_since: seconds(now),
            rooms: u32::try_from(peer.rooms).unwrap_or(u32::MAX),
            meter: is_metered.then_some(peer.meter),
        };
        self.asleep.insert(id, sleeper);
    }

    /// A sleeping peer is about to connect again. Returns the name of its sleep.
    pub(super) fn wake(&mut self, id: DeviceId) -> Option<Handle> {
        let sleeper = self.asleep.remove(&id)?;
        self.places.leave_settled(sleeper.place);
        if let Some(meter) = sleeper.meter {
            let addr = sleeper.addr.socket_addr();
            let peer = self
                .peers
                .entry(id)
                .or_insert_with(|| PeerRecord::new(Duration::ZERO, addr));
            peer.counted = meter.read().bytes;
            peer.meter = meter;
        }
        Some(sleeper.handle)
    }

    /// A sleeping peer is gone. Returns its record.
    pub(super) fn sleeper_gone(&mut self, now: Duration, id: DeviceId) -> Option<Sleeper> {
        let sleeper = self.asleep.remove(&id)?;
        self.places.leave_settled(sleeper.place);
        let mut peer = PeerRecord::new(now, sleeper.addr.socket_addr());
        (peer.since, peer.gone_at) = (sleeper.since(), now);
        peer.rooms = usize::try_from(sleeper.rooms).unwrap_or(usize::MAX);
        if let Some(meter) = &sleeper.meter {
            peer.counted = meter.read().bytes;
            peer.meter = meter.clone();
        }
        self.peers.insert(id, peer);
        self.gone.insert((now, id));
        self.forget(now);
        Some(sleeper)
    }

    /// A sleeping peer has another address.
    pub(super) fn sleeper_moved(&mut self, id: DeviceId, addr: SocketAddr) {
        if let Some(sleeper) = self.asleep.get_mut(&id) {
            sleeper.addr = CompactAddr::of(addr);
            let network = Network::of(addr.ip());
            sleeper.place = self.places.relocate_settled(sleeper.place, network);
        }
    }

    /// Changes the address of a connected peer.
    pub(super) fn moved(&mut self, now: Duration, id: DeviceId, addr: SocketAddr) {
        let peer = self.connected_mut(id);
        peer.moved_at = Some(now);
        peer.addr = addr;
        self.places.relocate(id, Network::of(addr.ip()));
    }

    /// Notes that a connected peer uses the relay.
    pub(super) fn active(&mut self, id: DeviceId) {
        self.places.active(id);
    }

    /// Notes that a frame arrived from a connected peer.
    pub(super) fn heard(&mut self, now: Duration, id: DeviceId) {
        self.connected_mut(id).heard(now);
    }

    /// The record of a peer that the caller knows to be connected.
    pub(super) fn connected_mut(&mut self, id: DeviceId) -> &mut PeerRecord {
        self.get_mut(id)
            .expect("the caller knows that the peer is connected")
    }

    /// When [`Registry::silent`] or [`Registry::forget`] has work.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let forget_at = self.gone.first().map(|(gone_at, _)| *gone_at + GONE_KEPT);
        [self.looks.first().map(|(at, _)| *at), forget_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Counts missed heartbeats. Returns the peers that missed too many, for the caller to
    /// disconnect.
    pub(super) fn silent(&mut self, now: Duration) -> Vec<(DeviceId, ConnectionId)> {
        let mut silent = Vec::new();
        while let Some(&(at, id)) = self.looks.first().filter(|(at, _)| *at <= now) {
            self.looks.remove(&(at, id));
            let peer = self
                .peers
                .get_mut(&id)
                .expect("disconnect removes the check of a peer");
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

    /// Forgets peers that have been gone for long, and the oldest ones beyond [`GONE_MAX`].
    pub(super) fn forget(&mut self, now: Duration) {
        while let Some(&(gone_at, id)) = self.gone.first() {
            if now < gone_at + GONE_KEPT && self.gone.len() <= GONE_MAX {
                break;
            }
            self.gone.remove(&(gone_at, id));
            self.peers.remove(&id);
        }
    }
}

/// A time in whole seconds.
fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// A registry with peer 1, which connected at second 0.
    fn registry() -> Registry {
        let mut registry = Registry::new(2);
        registry.connect(
            Duration::ZERO,
            peer(1),
            ConnectionId(1),
            addr("192.0.2.1:5"),
            0,
        );
        registry
    }

    #[test]
    fn a_peer_that_sends_nothing_is_suspect_and_then_silent() {
        let mut registry = registry();
        let mut states = Vec::new();
        let mut silent = Vec::new();
        while silent.is_empty() {
            let due = registry.next_look().expect("a connected peer is checked");
            silent = registry.silent(due);
            states.push(registry.get(peer(1)).expect("it is connected").state());
        }
        assert_eq!(states, [State::Suspect; 3]);
        assert_eq!(silent, [(peer(1), ConnectionId(1))]);
    }

    #[test]
    fn a_suspended_relay_counts_one_miss_and_not_all_at_once() {
        let mut registry = registry();
        assert!(registry.silent(3_600 * SECOND).is_empty());
        assert_eq!(registry.get(peer(1)).expect("it is connected").missed, 1);
        registry.heard(3_601 * SECOND, peer(1));
        let state = registry.get(peer(1)).expect("it is connected").state();
        assert_eq!(state, State::Alive);
    }

    #[test]
    fn a_peer_that_is_gone_stays_in_the_table_for_a_while() {
        let mut registry = registry();
        registry.disconnect(SECOND, peer(1));
        assert_eq!(registry.connected(), 0);
        let states: Vec<_> = registry.peers().map(|(_, peer)| peer.state()).collect();
        assert_eq!(states, [State::Gone]);
        registry.forget(SECOND + GONE_KEPT);
        assert_eq!(registry.peers().count(), 0);
    }

    #[test]
    fn a_lower_maximum_keeps_the_connected_peers_and_their_reconnections() {
        let mut registry = Registry::new(3);
        for n in 1..=3 {
            connect(&mut registry, n, "192.0.2.1:5");
        }
        registry.set_peers_max(1);
        let limits = Limits {
            peers: 1,
            ..Limits::default()
        };
        let admit = |registry: &mut Registry, id| {
            registry.admit(SECOND, peer(id), addr("198.51.100.1:5"), &limits)
        };
        assert_eq!(admit(&mut registry, 4), Err(EndReason::Full(1)));
        assert_eq!(admit(&mut registry, 1), Ok(None));
        registry.disconnect(SECOND, peer(1));
        connect(&mut registry, 1, "192.0.2.1:5");
        for n in 1..=2 {
            registry.disconnect(SECOND, peer(n));
        }
        // One is left, so the relay is full; a raised maximum has a place again.
        assert_eq!(admit(&mut registry, 4), Err(EndReason::Full(1)));
        registry.set_peers_max(2);
        assert_eq!(admit(&mut registry, 4), Ok(None));
    }

    /// Connects peer `n` of a network at second 0.
    fn connect(registry: &mut Registry, n: u8, from: &str) {
        registry.connect(
            Duration::ZERO,
            peer(n),
            ConnectionId(n.into()),
            addr(from),
            0,
        );
    }

    #[test]
    fn a_network_has_a_limit_and_a_peer_may_replace_its_own_connection() {
        let mut registry = registry();
        let limits = Limits {
            peers_per_network: 1,
            ..Limits::default()
        };
        let mut admit = |id, from| registry.admit(SECOND, peer(id), addr(from), &limits);
        assert_eq!(admit(2, "192.0.2.9:5"), Err(EndReason::NetworkFull(1)));
        assert_eq!(admit(1, "192.0.2.9:5"), Ok(None));
        assert_eq!(admit(2, "192.0.3.9:5"), Ok(None));
    }

    #[test]
    fn a_newcomer_to_a_full_relay_replaces_the_idlest_peer_of_the_largest_network() {
        let mut registry = Registry::new(3);
        for n in 1..=3 {
            connect(&mut registry, n, "192.0.2.1:5");
        }
        registry.active(peer(1));
        let limits = Limits {
            peers: 3,
            ..Limits::default()
        };
        let mut admit = |id, from| registry.admit(SECOND, peer(id), addr(from), &limits);
        assert_eq!(admit(4, "192.0.2.9:5"), Err(EndReason::Full(3)));
        assert_eq!(admit(4, "198.51.100.1:5"), Ok(Some(peer(2))));
        assert_eq!(admit(1, "192.0.2.1:5"), Ok(None), "it is connected");
        registry.disconnect(SECOND, peer(2));
        connect(&mut registry, 4, "198.51.100.1:5");
        let admitted = registry.admit(SECOND, peer(5), addr("198.51.100.2:5"), &limits);
        assert_eq!(admitted, Err(EndReason::Full(3)), "two would be the most");
    }
}
