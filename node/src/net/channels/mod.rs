//! Channels through relays, as the socket sees them: which synthetic address means which channel of
//! which relay, and back.
//!
//! To quinn a relayed peer is a synthetic address ([`hobnob_core::synthetic`]), one for each relay
//! and peer; it stays the same when the channel or the relay's address changes, so that connections
//! outlive both. Who asks for channels, and when, is not known here.

mod early;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Context;
use std::time::Instant;

use hobnob_protocol::PeerId;
use hobnob_protocol::datagram::ChannelId;

use self::early::Early;
pub(in crate::net) use self::early::Received;
use super::demux::Counters;
use hobnob_core::synthetic;

/// Names one of a node's relays for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub u32);

/// Peers by relay that have an address at once. For one more, one without a channel is forgotten: a
/// relay can name people without end.
const ADDRS_MAX: usize = 16_384;

/// Channels at once; what a relay says of further ones is ignored.
const CHANNELS_MAX: usize = 4_096;

/// All channels of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Channels {
    table: Arc<RwLock<Table>>,
    /// Whoever holds this lock may take that of the table, never the reverse.
    early: Arc<Mutex<Early>>,
    /// Whether synthetic addresses are IPv6 ones, as the socket's.
    v6: bool,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Table {
    /// Where the relays are that this node is connected with.
    relays: HashMap<RelayId, SocketAddr>,
    addrs: HashMap<(RelayId, PeerId), SocketAddr>,
    peers: HashMap<SocketAddr, (RelayId, PeerId)>,
    out: HashMap<SocketAddr, Way>,
    in_by_channel: HashMap<ChannelId, Way>,
    traffic: HashMap<RelayId, Arc<Traffic>>,
}

/// How a channel's frames go, in either direction.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// The relay's address.
    pub(super) relay: SocketAddr,
    pub(super) channel: ChannelId,
    /// The peer's synthetic address.
    pub(super) addr: SocketAddr,
    pub(super) traffic: Arc<Traffic>,
}

/// Frames sent to and received from one relay.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    pub(super) fn count_sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
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
    /// None yet. `v6` says what kind of address the socket can take; what is dropped here is
    /// counted there.
    pub fn new(v6: bool, counters: Arc<Counters>) -> Self {
        Self {
            table: Arc::default(),
            early: Arc::default(),
            v6,
            counters,
        }
    }

    /// The address that means this peer by this relay, made if there is none yet. `random` is asked
    /// for bits.
    pub fn addr(
        &self,
        relay: RelayId,
        peer: PeerId,
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

    /// Whom a synthetic address means.
    pub fn peer_at(&self, addr: SocketAddr) -> Option<(RelayId, PeerId)> {
        self.read().peers.get(&addr).copied()
    }

    /// This node is connected with a relay, which may speak of channels from now on.
    pub fn connected(&self, relay: RelayId, at: SocketAddr) {
        self.write().relays.insert(relay, at);
    }

    /// From now on frames for `addr` go through this channel, and its frames come from `addr`;
    /// those that came before are handed on.
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

    /// This channel no longer exists. The peer whose it was, if it was one of ours.
    pub fn unbind(&self, channel: ChannelId) -> Option<(RelayId, PeerId)> {
        let mut table = self.write();
        let way = table.in_by_channel.remove(&channel)?;
        table.out.remove(&way.addr);
        table.peers.get(&way.addr).copied()
    }

    /// This node is no longer connected with a relay, and none of its channels exists any more.
    /// Addresses stay, for the channels that take their place.
    pub fn disconnected(&self, relay: RelayId) {
        let mut table = self.write();
        let Table {
            relays,
            peers,
            out,
            in_by_channel,
            ..
        } = &mut *table;
        relays.remove(&relay);
        let of_relay = |way: &Way| peers.get(&way.addr).is_some_and(|(id, _)| *id == relay);
        out.retain(|_, way| !of_relay(way));
        in_by_channel.retain(|_, way| !of_relay(way));
    }

    /// What goes to and comes from a relay.
    pub fn traffic(&self, relay: RelayId) -> Arc<Traffic> {
        self.write().traffic.entry(relay).or_default().clone()
    }

    /// The channel to an address.
    pub fn channel_to(&self, addr: SocketAddr) -> Option<ChannelId> {
        self.way_to(addr).map(|way| way.channel)
    }

    pub(super) fn way_to(&self, addr: SocketAddr) -> Option<Way> {
        self.read()
            .out
            .get(&SocketAddr::new(addr.ip(), addr.port()))
            .cloned()
    }

    /// The way of a channel's frame that comes from `from`; none if it is none of ours, or comes
    /// from elsewhere.
    pub(super) fn way_from(&self, channel: ChannelId, from: SocketAddr) -> Option<Way> {
        self.read()
            .in_by_channel
            .get(&channel)
            .filter(|way| same_place(way.relay, from))
            .cloned()
    }

    /// Keeps a datagram that came from `from` in a frame of an unknown channel, in case that
    /// becomes known in a moment; what no relay of ours sent is dropped.
    pub(super) fn keep_early(&self, channel: ChannelId, from: SocketAddr, datagram: Received) {
        let mut early = self.early();
        // With the lock held, so that a channel that becomes known now finds what is kept here.
        if let Some(way) = self.way_from(channel, from) {
            return early.hand_on(datagram, way.addr);
        }
        let of_relay = self
            .read()
            .relays
            .values()
            .any(|relay| same_place(*relay, from));
        self.counters.early_dropped(if of_relay {
            early.keep(now(), from, channel, datagram)
        } else {
            1
        });
    }

    /// The next of the datagrams that were kept and whose channel is known now.
    pub(super) fn take_early(&self) -> Option<Received> {
        self.early().take()
    }

    /// Has this task woken when there is something for [`Channels::take_early`]; says whether there
    /// is already.
    pub(super) fn wake_on_early(&self, cx: &Context<'_>) -> bool {
        self.early().wake_on_release(cx)
    }

    fn early(&self) -> MutexGuard<'_, Early> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        // Nothing that holds the lock can leave the table half changed.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// What goes to and comes from the channel's relay; none if it was not bound.
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
        let way = Way {
            relay,
            channel,
            addr,
            traffic: traffic.clone(),
        };
        if let Some(old) = self.out.insert(addr, way.clone()) {
            self.in_by_channel.remove(&old.channel);
        }
        self.in_by_channel.insert(channel, way);
        Some(traffic)
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
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this driver reads the clock for frames that come before their channel"
)]
fn now() -> Instant {
    Instant::now()
}

/// Whether two addresses mean one socket, however the system writes IPv4.
fn same_place(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
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
                channels.way_from(CHANNEL, mapped).map(|way| way.addr),
                Some(addr)
            );
            assert!(
                channels
                    .way_from(CHANNEL, "11.0.0.2:4627".parse().unwrap())
                    .is_none(),
                "only its relay may speak for it"
            );
            channels.disconnected(RELAY);
            assert!(channels.way_to(addr).is_none() && channels.way_from(CHANNEL, relay).is_none());
            channels.bind(addr, relay, ChannelId([8; 8]));
            assert_eq!(channels.addr(RELAY, peer(1), &mut random), addr);
            assert_eq!(
                channels.way_to(addr).map(|way| way.channel),
                Some(ChannelId([8; 8]))
            );
            assert_eq!(channels.unbind(ChannelId([8; 8])), Some((RELAY, peer(1))));
            assert!(channels.way_to(addr).is_none());
        }
    }

    #[test]
    fn a_relay_that_names_people_without_end_costs_only_so_much() {
        let (channels, mut random) = (Channels::new(true, Arc::default()), counter());
        let relay = "11.0.0.1:4627".parse().unwrap();
        let somebody = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            PeerId::from_bytes(bytes)
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
