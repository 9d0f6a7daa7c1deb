//! The table of channels through relays: which synthetic address belongs to which channel of which
//! relay, and the reverse. The engine decides when to request channels.
//!
//! To quinn a relayed peer has a synthetic address ([`hobnob_core::synthetic`]), one for each relay
//! and peer. It stays the same when the channel or the relay's address changes, so connections
//! outlive both.

mod early;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Context;
use std::time::{Duration, Instant};

use hobnob_protocol::DeviceId;
use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::heartbeat::Datagram;
use hobnob_protocol::relay::Origin;
use hobnob_transport::addr::canonical;
use tokio::sync::mpsc;

pub(in crate::net) use self::early::Received;
use self::early::{Early, same_place};
use super::counters::Counters;
use hobnob_core::synthetic;

/// Names one of a node's relays for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub u32);

/// Addresses in the table, at most. For one more, an address without a channel is forgotten: a relay
/// can name any number of peers.
const ADDRS_MAX: usize = 16_384;

/// Sealed datagrams from one relay that wait for its link, which sleeps. Further ones are dropped.
const SEALED_MAX: usize = 16;

/// Channels at the same time. Further ones that a relay announces are ignored.
const CHANNELS_MAX: usize = 4_096;

/// All channels of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Channels {
    table: Arc<RwLock<Table>>,
    /// The holder of this lock may take that of the table, never the reverse.
    early: Arc<Mutex<Early>>,
    /// Whether synthetic addresses are IPv6 addresses, as the socket's own.
    v6: bool,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Table {
    /// The addresses of the relays that this node is connected with.
    relays: HashMap<RelayId, SocketAddr>,
    addrs: HashMap<(RelayId, DeviceId), SocketAddr>,
    peers: HashMap<SocketAddr, (RelayId, DeviceId)>,
    origins: HashMap<SocketAddr, Origin>,
    out: HashMap<SocketAddr, RelayRoute>,
    in_by_channel: HashMap<ChannelId, RelayRoute>,
    traffic: HashMap<RelayId, Arc<Traffic>>,
    /// The links that sleep, by the address of their relay: where they take sealed datagrams.
    asleep: HashMap<SocketAddr, mpsc::Sender<Datagram>>,
}

/// The route of a channel's frames, for both directions.
#[derive(Debug, Clone)]
pub(super) struct RelayRoute {
    /// The relay's address.
    pub(super) relay: SocketAddr,
    pub(super) channel: ChannelId,
    /// The peer's synthetic address.
    pub(super) addr: SocketAddr,
    pub(super) traffic: Arc<Traffic>,
}

/// Frames sent to and received from one relay, and its round trip.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    /// In microseconds. 0 before the first measurement.
    rtt: AtomicU64,
}

impl Traffic {
    pub(super) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// The round trip to the relay, as QUIC measures it.
    pub fn set_rtt(&self, rtt: Duration) {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
        self.rtt.store(micros, Ordering::Relaxed);
    }

    /// The last known round trip to the relay.
    pub fn rtt(&self) -> Duration {
        Duration::from_micros(self.rtt.load(Ordering::Relaxed))
    }

    /// Transmissions to the relay, and receptions from it, so far.
    pub fn read(&self) -> (u64, u64) {
        (
            self.sent.load(Ordering::Relaxed),
            self.received.load(Ordering::Relaxed),
        )
    }
}

impl Channels {
    /// An empty table. `v6`: the socket takes IPv6 addresses. `counters` counts dropped frames.
    pub fn new(v6: bool, counters: Arc<Counters>) -> Self {
        Self {
            table: Arc::default(),
            early: Arc::default(),
            v6,
            counters,
        }
    }

    /// Whether synthetic addresses are IPv6 addresses.
    pub(super) fn is_v6(&self) -> bool {
        self.v6
    }

    /// The synthetic address of a peer at a relay, drawn from `random` if there is none yet.
    pub fn addr(
        &self,
        relay: RelayId,
        peer: DeviceId,
        mut random: impl FnMut() -> u64,
    ) -> SocketAddr {
        let mut table = self.write();
        if let Some(addr) = table.addrs.get(&(relay, peer)) {
            return *addr;
        }
        table.make_room();
        let addr = loop {
            let addr = synthetic::from_random(self.v6, random(), random());
            if !table.peers.contains_key(&addr) {
                break addr;
            }
        };
        table.addrs.insert((relay, peer), addr);
        table.peers.insert(addr, (relay, peer));
        addr
    }

    /// The peer with this synthetic address, and its relay.
    pub fn peer_at(&self, addr: SocketAddr) -> Option<(RelayId, DeviceId)> {
        self.read().peers.get(&addr).copied()
    }

    /// Two relays are one. Returns the peers of the relay `from` that have an address at the relay
    /// `into`, too: the address at `from` is forgotten. The other peers keep their addresses. The
    /// channels of `from` do not exist any more.
    pub fn merge(&self, from: RelayId, into: RelayId) -> Vec<(DeviceId, SocketAddr)> {
        let mut table = self.write();
        table.disconnected(from);
        table.merge(from, into)
    }

    /// There is no relay with this number any more: forgets its channels, and the addresses of its peers.
    pub fn forget(&self, relay: RelayId) {
        let mut table = self.write();
        table.disconnected(relay);
        table.forget(relay);
    }

    /// Where the peer with this synthetic address connects to its relay from.
    pub fn origin(&self, addr: SocketAddr) -> Origin {
        let plain = SocketAddr::new(addr.ip(), addr.port());
        self.read().origins.get(&plain).copied().unwrap_or_default()
    }

    /// Notes where a peer connects to its relay from.
    pub fn set_origin(&self, addr: SocketAddr, origin: Origin) {
        self.write().origins.insert(addr, origin);
    }

    /// This node is connected with a relay. Early frames from there are kept from now on.
    pub fn connected(&self, relay: RelayId, at: SocketAddr) {
        self.write().relays.insert(relay, at);
    }

    /// A relay announced a channel: from now on it carries the datagrams to and from `addr`. Its
    /// early frames are released to quinn.
    pub fn bind(&self, addr: SocketAddr, relay: SocketAddr, channel: ChannelId) {
        let Some(traffic) = self.write().bind(addr, relay, channel) else {
            return;
        };
        let (released, dropped) = self.early().release(now(), relay, channel, addr);
        if released > 0 {
            traffic.count_received();
        }
        self.counters.early_dropped(dropped);
    }

    /// This channel no longer exists. Returns its peer if this node had such a channel.
    pub fn unbind(&self, channel: ChannelId) -> Option<(RelayId, DeviceId)> {
        let mut table = self.write();
        let route = table.in_by_channel.remove(&channel)?;
        table.out.remove(&route.addr);
        table.peers.get(&route.addr).copied()
    }

    /// This node is no longer connected with a relay, so none of its channels exists any more.
    /// Addresses stay, for the channels that replace them.
    pub fn disconnected(&self, relay: RelayId) {
        self.write().disconnected(relay);
    }

    /// Whether there is a channel of this relay.
    pub fn has_open(&self, relay: RelayId) -> bool {
        let table = self.read();
        let mut open = table.out.values();
        open.any(|route| {
            table
                .peers
                .get(&route.addr)
                .is_some_and(|(id, _)| *id == relay)
        })
    }

    /// The link to the relay at this address sleeps. Returns the sealed datagrams from there, of
    /// which few wait.
    pub fn fell_asleep(&self, relay: SocketAddr) -> mpsc::Receiver<Datagram> {
        let (sender, datagrams) = mpsc::channel(SEALED_MAX);
        self.write().asleep.insert(canonical(relay), sender);
        datagrams
    }

    /// The link to the relay at this address does not sleep any more.
    pub fn woke(&self, relay: SocketAddr) {
        self.write().asleep.remove(&canonical(relay));
    }

    /// Passes a datagram to the link that sleeps and whose relay sent it. Returns false if there is
    /// none, or if too many datagrams wait.
    pub(super) fn pass_sealed(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        let table = self.read();
        let link = table.asleep.get(&canonical(from));
        let sealed = Datagram::of(datagram);
        link.zip(sealed)
            .is_some_and(|(link, sealed)| link.try_send(sealed).is_ok())
    }

    /// The counters of the traffic with a relay.
    pub fn traffic(&self, relay: RelayId) -> Arc<Traffic> {
        self.write().traffic.entry(relay).or_default().clone()
    }

    /// The channel to an address.
    pub fn channel_to(&self, addr: SocketAddr) -> Option<ChannelId> {
        self.route_to(addr).map(|route| route.channel)
    }

    pub(super) fn route_to(&self, addr: SocketAddr) -> Option<RelayRoute> {
        self.read()
            .out
            .get(&SocketAddr::new(addr.ip(), addr.port()))
            .cloned()
    }

    /// The route of a channel's frame that was received from `from`. There is none if the channel is
    /// unknown, or if `from` is not its relay.
    pub(super) fn route_from(&self, channel: ChannelId, from: SocketAddr) -> Option<RelayRoute> {
        self.read()
            .in_by_channel
            .get(&channel)
            .filter(|route| same_place(route.relay, from))
            .cloned()
    }

    /// Holds a datagram that arrived in a frame of an unknown channel, in case the relay announces
    /// the channel in a moment. A frame that no relay of this node sent is dropped.
    pub(super) fn hold_early(&self, channel: ChannelId, from: SocketAddr, datagram: Received) {
        let mut early = self.early();
        // Look again with the lock held. Otherwise a channel that is bound now would release early
        // frames before this one is among them.
        if let Some(route) = self.route_from(channel, from) {
            return early.pass_on(datagram, route.addr);
        }
        let of_relay = self
            .read()
            .relays
            .values()
            .any(|relay| same_place(*relay, from));
        self.counters.early_dropped(if of_relay {
            early.hold(now(), from, channel, datagram)
        } else {
            1
        });
    }

    /// The next early datagram whose channel has become known.
    pub(super) fn take_early(&self) -> Option<Received> {
        self.early().take()
    }

    /// Wakes this task when [`Channels::take_early`] has something to return. Returns whether it has
    /// already.
    pub(super) fn wake_on_early(&self, cx: &Context<'_>) -> bool {
        self.early().wake_on_release(cx)
    }

    fn early(&self) -> MutexGuard<'_, Early> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        // No code that holds the lock can panic with the table half changed.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Adds a channel. Returns the counters of its relay, or nothing if the address is unknown or
    /// there are too many channels.
    fn bind(
        &mut self,
        addr: SocketAddr,
        relay: SocketAddr,
        channel: ChannelId,
    ) -> Option<Arc<Traffic>> {
        let &(id, _) = self.peers.get(&addr)?;
        if self.in_by_channel.len() >= CHANNELS_MAX && !self.out.contains_key(&addr) {
            return None;
        }
        let traffic = self.traffic.entry(id).or_default().clone();
        let route = RelayRoute {
            relay,
            channel,
            addr,
            traffic: traffic.clone(),
        };
        if let Some(old) = self.out.insert(addr, route.clone()) {
            self.in_by_channel.remove(&old.channel);
        }
        self.in_by_channel.insert(channel, route);
        Some(traffic)
    }

    fn disconnected(&mut self, relay: RelayId) {
        let Table {
            relays,
            peers,
            out,
            in_by_channel,
            ..
        } = self;
        relays.remove(&relay);
        let of_relay =
            |route: &RelayRoute| peers.get(&route.addr).is_some_and(|(id, _)| *id == relay);
        out.retain(|_, route| !of_relay(route));
        in_by_channel.retain(|_, route| !of_relay(route));
    }

    fn merge(&mut self, from: RelayId, into: RelayId) -> Vec<(DeviceId, SocketAddr)> {
        let moved = self.addrs.extract_if(|(relay, _), _| *relay == from);
        let moved: Vec<_> = moved.map(|((_, peer), addr)| (peer, addr)).collect();
        let mut forgotten = Vec::new();
        for (peer, addr) in moved {
            if let Entry::Vacant(free) = self.addrs.entry((into, peer)) {
                free.insert(addr);
                self.peers.insert(addr, (into, peer));
            } else {
                self.peers.remove(&addr);
                self.origins.remove(&addr);
                forgotten.push((peer, addr));
            }
        }
        forgotten
    }

    fn forget(&mut self, relay: RelayId) {
        for (_, addr) in self.addrs.extract_if(|(of, _), _| *of == relay) {
            self.peers.remove(&addr);
            self.origins.remove(&addr);
        }
        self.traffic.remove(&relay);
    }

    fn make_room(&mut self) {
        if self.addrs.len() < ADDRS_MAX {
            return;
        }
        let idle = self
            .addrs
            .iter()
            .find(|(_, addr)| !self.out.contains_key(addr))
            .map(|(key, addr)| (*key, *addr));
        if let Some((key, addr)) = idle {
            self.addrs.remove(&key);
            self.peers.remove(&addr);
            self.origins.remove(&addr);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this driver reads the clock for early frames"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn counter() -> impl FnMut() -> u64 {
        let mut n = 0;
        move || {
            n += 1;
            n
        }
    }

    const RELAY: RelayId = RelayId(1);
    const CHANNEL: ChannelId = ChannelId([7; 8]);

    #[test]
    fn a_peer_keeps_its_address_whatever_becomes_of_the_channel() {
        for v6 in [true, false] {
            let (channels, mut random) = (Channels::new(v6, Arc::default()), counter());
            let addr = channels.addr(RELAY, peer(1), &mut random);
            assert!(
                synthetic::is_synthetic(addr.ip()) && addr.is_ipv6() == v6,
                "{addr}"
            );
            assert_ne!(channels.addr(RELAY, peer(2), &mut random), addr);
            assert_ne!(channels.addr(RelayId(2), peer(1), &mut random), addr);
            let relay = "11.0.0.1:4627".parse().unwrap();
            channels.bind(addr, relay, CHANNEL);
            let mapped = "[::ffff:11.0.0.1]:4627".parse().unwrap();
            assert_eq!(
                channels.route_from(CHANNEL, mapped).map(|route| route.addr),
                Some(addr)
            );
            assert!(
                channels
                    .route_from(CHANNEL, "11.0.0.2:4627".parse().unwrap())
                    .is_none(),
                "only its relay may speak for it"
            );
            channels.disconnected(RELAY);
            assert!(
                channels.route_to(addr).is_none() && channels.route_from(CHANNEL, relay).is_none()
            );
            channels.bind(addr, relay, ChannelId([8; 8]));
            assert_eq!(channels.addr(RELAY, peer(1), &mut random), addr);
            assert_eq!(
                channels.route_to(addr).map(|route| route.channel),
                Some(ChannelId([8; 8]))
            );
            assert_eq!(channels.unbind(ChannelId([8; 8])), Some((RELAY, peer(1))));
            assert!(channels.route_to(addr).is_none());
        }
    }

    #[test]
    fn sealed_datagrams_reach_the_sleeping_link_of_their_relay() {
        let channels = Channels::new(true, Arc::default());
        let relay = "11.0.0.1:4627".parse().unwrap();
        let mapped = "[::ffff:11.0.0.1]:4627".parse().unwrap();
        let sealed = [hobnob_protocol::heartbeat::HEARTBEAT; Datagram::LEN_MIN];
        assert!(!channels.pass_sealed(relay, &sealed), "nobody sleeps");
        let mut datagrams = channels.fell_asleep(mapped);
        assert!(channels.pass_sealed(relay, &sealed));
        assert!(!channels.pass_sealed("11.0.0.2:4627".parse().unwrap(), &sealed));
        assert!(!channels.pass_sealed(relay, &sealed[1..]));
        assert_eq!(datagrams.try_recv().unwrap().as_slice(), sealed);
        for n in 0..2 * SEALED_MAX {
            assert_eq!(channels.pass_sealed(mapped, &sealed), n < SEALED_MAX);
        }
        channels.woke(relay);
        assert!(!channels.pass_sealed(relay, &sealed));
    }

    #[test]
    fn a_relay_with_an_open_channel_is_in_use() {
        let (channels, mut random) = (Channels::new(true, Arc::default()), counter());
        let addr = channels.addr(RELAY, peer(1), &mut random);
        assert!(!channels.has_open(RELAY));
        channels.bind(addr, "11.0.0.1:4627".parse().unwrap(), CHANNEL);
        assert!(channels.has_open(RELAY) && !channels.has_open(RelayId(2)));
        channels.unbind(CHANNEL);
        assert!(!channels.has_open(RELAY));
    }

    #[test]
    fn the_addresses_of_a_relay_with_two_names_stay() {
        let (channels, mut random) = (Channels::new(true, Arc::default()), counter());
        let [one, two] = [1, 2].map(RelayId);
        let by_both = channels.addr(one, peer(1), &mut random);
        let dropped = channels.addr(two, peer(1), &mut random);
        let moved = channels.addr(two, peer(2), &mut random);
        assert_eq!(channels.merge(two, one), [(peer(1), dropped)]);
        assert_eq!(channels.addr(one, peer(1), &mut random), by_both);
        assert_eq!(channels.addr(one, peer(2), &mut random), moved);
        assert_eq!(channels.peer_at(moved), Some((one, peer(2))));
        assert_eq!(channels.peer_at(dropped), None);
    }

    #[test]
    fn nothing_is_left_of_a_relay_that_is_gone() {
        let (channels, mut random) = (Channels::new(true, Arc::default()), counter());
        let [gone, other] = [1, 2].map(RelayId);
        let [theirs, ours] = [gone, other].map(|relay| channels.addr(relay, peer(1), &mut random));
        channels.bind(theirs, "11.0.0.1:4627".parse().unwrap(), CHANNEL);
        channels.bind(ours, "11.0.0.2:4627".parse().unwrap(), ChannelId([8; 8]));
        channels.forget(gone);
        assert_eq!(channels.peer_at(theirs), None);
        assert!(channels.channel_to(theirs).is_none());
        assert_eq!(channels.unbind(CHANNEL), None);
        assert_eq!(channels.peer_at(ours), Some((other, peer(1))));
        assert_eq!(channels.channel_to(ours), Some(ChannelId([8; 8])));
    }

    #[test]
    fn a_relay_that_names_people_without_end_costs_only_so_much() {
        let (channels, mut random) = (Channels::new(true, Arc::default()), counter());
        let relay = "11.0.0.1:4627".parse().unwrap();
        let somebody = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            DeviceId::from_bytes(bytes)
        };
        for n in 0..ADDRS_MAX + 1000 {
            let addr = channels.addr(RELAY, somebody(n), &mut random);
            channels.bind(addr, relay, ChannelId(n.to_be_bytes()));
        }
        let table = channels.read();
        assert_eq!(
            (table.addrs.len(), table.peers.len()),
            (ADDRS_MAX, ADDRS_MAX)
        );
        assert_eq!(
            (table.out.len(), table.in_by_channel.len()),
            (CHANNELS_MAX, CHANNELS_MAX)
        );
    }
}
