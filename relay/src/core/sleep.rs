//! Sleeping peers: when a peer may sleep, and who wakes it.
//!
//! A sleeping peer has no connection. It keeps its place, its rooms and its invitations. It sends
//! sealed heartbeats, which the plane handles. It connects again when it needs something, or when
//! another peer wants a channel with it: then the relay sends it a wake, and repeats it. A sleeper
//! that does not answer is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_limits::{Entrance, Network, Places};
use hobnob_protocol::DeviceId;
use hobnob_protocol::heartbeat::Handle;
use hobnob_protocol::relay::{FromRelay, OpenRefusal};
use hobnob_transport::addr::canonical;

use super::liveness::Row;
use super::reasons::EndReason;
use super::{ADDRESS_SETTLES, ConnectionId, Output, Relay, State};
use crate::sleeper::{NewsKind, SleeperNews};

/// How often a sleeping peer sends a heartbeat. Some NATs forget a mapping after 30 seconds. A
/// sleeper is gone after 70 seconds, so only the loss of three heartbeats in a row ends its
/// registration.
pub const BEAT_EVERY: Duration = Duration::from_secs(22);

/// Peers that may wake one sleeper within 30 s. Networks share these places, so one network
/// with many identities leaves room for others. Peers without a place get `NotOpened(Limit)`.
pub const WAKERS_MAX: usize = 64;

/// The pauses after each wake. The last one is the time for an answer to the last wake.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1_200),
    Duration::from_millis(2_000),
];

/// How long a peer that was declined does not wake the sleeper again.
const DECLINED_FOR: Duration = Duration::from_secs(30);

/// What the core keeps about sleep, beside the registry.
#[derive(Debug)]
pub(super) struct Sleep {
    /// The sleepers that other peers want.
    wanted: BTreeMap<DeviceId, WantedSleeper>,
    /// The same sleepers by [`WantedSleeper::due`].
    due: BTreeSet<(Duration, DeviceId)>,
    handles: blake3::OutputReader,
}

/// A sleeper that other peers want a channel with.
#[derive(Debug)]
struct WantedSleeper {
    /// The peers that want it, and whether it has declined each.
    by: BTreeMap<DeviceId, Declined>,
    /// The same peers, by network.
    places: Places<Network, DeviceId>,
    /// How often it was woken.
    wakes: usize,
    /// When to wake it again, or to forget it.
    due: Duration,
}

/// Whether the sleeper has declined a peer.
type Declined = bool;

impl WantedSleeper {
    fn new(now: Duration) -> Self {
        Self {
            by: BTreeMap::new(),
            places: Places::new(WAKERS_MAX),
            wakes: 0,
            due: now,
        }
    }

    /// A peer of this network wants it, too.
    fn add(&mut self, by: DeviceId, network: Network) -> Added {
        let entrance = self.places.enter(by, network, false);
        let replaced = match entrance {
            Entrance::Full => return Added::Full,
            Entrance::Free => None,
            Entrance::Replaces(other) => {
                let declined = self.by.remove(&other);
                (declined == Some(false)).then_some(other)
            }
        };
        let is_first = self.waiting().is_empty();
        self.by.insert(by, false);
        Added::Waits { is_first, replaced }
    }

    /// Forgets the waiting peers that are not `wanted` any more.
    fn keep(&mut self, wanted: impl Fn(DeviceId) -> bool) {
        let Self { by, places, .. } = self;
        by.retain(|peer, declined| {
            let stays = *declined || wanted(*peer);
            if !stays {
                places.leave(*peer);
            }
            stays
        });
    }

    fn waiting(&self) -> Vec<DeviceId> {
        let waiting = self.by.iter().filter(|(_, declined)| !**declined);
        waiting.map(|(peer, _)| *peer).collect()
    }
}

/// What happens to a peer that wants a sleeper.
enum Added {
    /// There is no place for it.
    Full,
    Waits {
        /// Nobody else waits at the moment.
        is_first: bool,
        /// A peer that waited and has lost its place.
        replaced: Option<DeviceId>,
    },
}

impl Sleep {
    /// Nobody is wanted yet. The handles derive from the seed.
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let handles = blake3::Hasher::new_keyed(seed)
            .update(b"hobnob 1 sleep handles")
            .finalize_xof();
        Self {
            wanted: BTreeMap::new(),
            due: BTreeSet::new(),
            handles,
        }
    }

    /// When the next sleeper is to be woken again, or to be forgotten.
    pub(super) fn next_wake(&self) -> Option<Duration> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Plans when to wake a sleeper again, or to forget that it was wanted.
    fn plan(&mut self, sleeper: DeviceId, due: Duration) {
        if let Some(wanted) = self.wanted.get_mut(&sleeper) {
            self.due.remove(&(wanted.due, sleeper));
            wanted.due = due;
            self.due.insert((due, sleeper));
        }
    }

    fn remove(&mut self, sleeper: DeviceId) -> Option<WantedSleeper> {
        let wanted = self.wanted.remove(&sleeper)?;
        self.due.remove(&(wanted.due, sleeper));
        Some(wanted)
    }

    /// A new handle. Of 2^64 handles, two sleepers do not get the same one.
    fn handle(&mut self) -> Handle {
        let mut handle = [0; 8];
        self.handles.fill(&mut handle);
        Handle(handle)
    }
}

impl Relay {
    /// Tells a peer that has just registered that it may sleep.
    pub(super) fn offer_sleep(&mut self, peer: DeviceId) {
        let Some(after) = self.sleep_after() else {
            return;
        };
        // A stream stays open, so its datagrams need no sleep. A guest leaves soon.
        let is_by_udp = self.registry.connected_mut(peer).stream.is_none();
        if is_by_udp && !self.invitations.is_guest(peer) {
            let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
            let offer = FromRelay::MaySleep {
                after_ms: millis(after),
                every_ms: millis(BEAT_EVERY),
            };
            self.send(peer, offer);
        }
    }

    /// The time without anything to say after which peers may sleep. A relay that holds mail has
    /// peers that wait for it on their connections. The directory of a fleet lists peers by their
    /// connections.
    fn sleep_after(&self) -> Option<Duration> {
        let may = !self.limits.mailboxes && !self.limits.fleet && self.drain.is_none();
        self.limits.sleep_after.filter(|_| may)
    }

    /// A peer asks to sleep. A peer that cannot sleep now gets no answer.
    pub(super) fn grant_sleep(&mut self, now: Duration, connection: ConnectionId, peer: DeviceId) {
        let Some(after) = self.sleep_after() else {
            return;
        };
        let is_needed = self.invitations.is_guest(peer) || self.channels.count(peer) > 0;
        let record = self.registry.connected_mut(peer);
        // Otherwise a peer could register as often as it likes.
        let is_early = now < record.since + after;
        // Until then its address may be anybody's, see `ADDRESS_SETTLES`.
        let moves = record.moved_at.is_some_and(|at| now < at + ADDRESS_SETTLES);
        if is_needed || is_early || moves || record.stream.is_some() {
            return;
        }
        let handle = self.sleep.handle();
        record.granted = Some(handle);
        self.outputs.push_back(Output::Grant(connection, handle));
    }

    /// A connected peer does not sleep, whatever was agreed.
    pub(super) fn revoke_sleep(&mut self, peer: DeviceId) {
        if let Some(handle) = self.registry.connected_mut(peer).granted.take() {
            self.outputs.push_back(Output::Forget(handle));
        }
    }

    /// A node has ended its connection because it sleeps.
    pub(super) fn fell_asleep(&mut self, now: Duration, connection: ConnectionId) {
        let Some(peer) = self.registry.peer_of(connection) else {
            return;
        };
        match self.registry.connected_mut(peer).granted {
            Some(handle) => self.sleeps(now, peer, handle),
            None => self.disconnected(now, connection),
        }
    }

    fn sleeps(&mut self, now: Duration, peer: DeviceId, handle: Handle) {
        self.counts.slept += 1;
        self.count_forwarded(peer);
        // Another peer may have asked for a channel meanwhile. It asks again, and wakes the peer.
        self.end_channels(peer);
        self.registry.sleep(now, peer, handle);
        self.roster.sleep(now, peer);
    }

    /// The plane has news of a peer that sleeps, or that may.
    pub(super) fn sleeper_news(&mut self, now: Duration, news: SleeperNews) {
        let SleeperNews { peer, handle, kind } = news;
        if matches!(kind, NewsKind::Began | NewsKind::Left) {
            // The end of its connection may be lost. Otherwise it has arrived.
            let connected = self.registry.get(peer);
            let granted = connected.and_then(|record| record.granted);
            if granted == Some(handle)
                && let Some(connection) = self.registry.connection_of(peer)
            {
                self.output_end(connection, EndReason::Asleep);
                self.sleeps(now, peer, handle);
            }
        }
        // The news may be of an earlier sleep.
        if self.registry.sleeper(peer).map(|sleeper| sleeper.handle) != Some(handle) {
            return;
        }
        match kind {
            NewsKind::Began => {}
            NewsKind::Moved(addr) => self.registry.sleeper_moved(peer, addr),
            NewsKind::Silent => self.end_sleeper(now, peer, EndReason::Silent),
            NewsKind::Left => {
                self.counts.left += 1;
                self.outputs.push_back(Output::Forget(handle));
                self.sleeper_gone(now, peer);
            }
            NewsKind::Declined(by) => self.declined(now, peer, by),
        }
    }

    /// Ends the registration of a sleeping peer.
    pub(super) fn end_sleeper(&mut self, now: Duration, peer: DeviceId, reason: EndReason) {
        let Some(sleeper) = self.registry.sleeper(peer) else {
            return;
        };
        self.outputs.push_back(Output::EndSleep {
            handle: sleeper.handle,
            peer,
            addr: canonical(sleeper.addr.socket_addr()),
            reason,
        });
        *self.counts.ended.entry(reason.code()).or_default() += 1;
        self.sleeper_gone(now, peer);
    }

    fn sleeper_gone(&mut self, now: Duration, peer: DeviceId) {
        self.registry.sleeper_gone(now, peer);
        self.roster.leave(now, peer);
        self.invitations.left(peer);
        for by in self.no_longer_wanted(peer) {
            self.send_not_opened(by, peer, OpenRefusal::NotHere);
        }
    }

    /// Nobody wants a sleeper any more. Returns the connected peers that wait for it.
    fn no_longer_wanted(&mut self, sleeper: DeviceId) -> Vec<DeviceId> {
        let wanted = self.sleep.remove(sleeper);
        let mut waiting = wanted.map_or_else(Vec::new, |wanted| wanted.waiting());
        waiting.retain(|by| self.registry.get(*by).is_some());
        waiting
    }

    /// A peer wants a channel with a sleeper.
    pub(super) fn wake(&mut self, now: Duration, sleeper: DeviceId, by: DeviceId) {
        let network = Network::of(self.registry.connected_mut(by).addr.ip());
        let wanted = self.sleep.wanted.entry(sleeper);
        let wanted = wanted.or_insert_with(|| WantedSleeper::new(now));
        match wanted.by.get(&by).copied() {
            // It was woken for this peer.
            Some(false) => return,
            Some(true) => return self.send_not_opened(by, sleeper, OpenRefusal::Refused),
            None => {}
        }
        match wanted.add(by, network) {
            Added::Full => self.send_not_opened(by, sleeper, OpenRefusal::Limit),
            Added::Waits { is_first, replaced } => {
                if is_first {
                    wanted.wakes = 1;
                    self.sleep.plan(sleeper, now + PAUSES[0]);
                }
                if let Some(other) = replaced.filter(|other| self.registry.get(*other).is_some()) {
                    self.send_not_opened(other, sleeper, OpenRefusal::Limit);
                }
                self.output_wake(sleeper, by);
            }
        }
    }

    fn output_wake(&mut self, sleeper: DeviceId, by: DeviceId) {
        if let Some(record) = self.registry.sleeper(sleeper) {
            self.counts.wakes += 1;
            self.outputs.push_back(Output::Wake(record.handle, by));
        }
    }

    /// A sleeper does not want to connect for this peer.
    fn declined(&mut self, now: Duration, sleeper: DeviceId, by: DeviceId) {
        let Some(wanted) = self.sleep.wanted.get_mut(&sleeper) else {
            return;
        };
        let Some(declined) = wanted.by.get_mut(&by).filter(|declined| !**declined) else {
            return;
        };
        *declined = true;
        if !wanted.waiting().is_empty() {
            // It is there, so each of the others is worth all wakes.
            wanted.wakes = 1;
            self.sleep.plan(sleeper, now + PAUSES[0]);
        }
        if self.registry.get(by).is_some() {
            self.send_not_opened(by, sleeper, OpenRefusal::Refused);
        }
    }

    /// Wakes sleepers again that have not answered. After the last time they are gone.
    pub(super) fn wake_due(&mut self, now: Duration) {
        while let Some(&(_, sleeper)) = self.sleep.due.first().filter(|(due, _)| *due <= now) {
            let Some(wanted) = self.sleep.wanted.get_mut(&sleeper) else {
                unreachable!("`remove` removes both entries")
            };
            wanted.keep(|by| self.registry.get(by).is_some());
            let waiting = wanted.waiting();
            if waiting.is_empty() && wanted.wakes > 0 {
                // It answered each one with no, which counts for a while.
                wanted.wakes = 0;
                self.sleep.plan(sleeper, now + DECLINED_FOR);
            } else if waiting.is_empty() {
                self.sleep.remove(sleeper);
            } else if let Some(pause) = PAUSES.get(wanted.wakes) {
                wanted.wakes += 1;
                self.sleep.plan(sleeper, now + *pause);
                for by in waiting {
                    self.output_wake(sleeper, by);
                }
            } else {
                self.end_sleeper(now, sleeper, EndReason::Silent);
            }
        }
    }

    /// A peer that slept is connected: the peers that woke it get their channels.
    pub(super) fn open_for_wakers(&mut self, now: Duration, peer: DeviceId) {
        for by in self.no_longer_wanted(peer) {
            self.open_here(now, by, peer);
        }
    }

    /// The rows of sleeping peers in the liveness table.
    pub(super) fn sleeper_rows(&self) -> impl Iterator<Item = Row> {
        self.registry.sleepers().map(|(peer, sleeper)| Row {
            peer,
            state: State::Asleep,
            addr: canonical(sleeper.addr.socket_addr()),
            since: sleeper.since(),
            heard_at: sleeper.asleep_since(),
            rtt: None,
            missed: 0,
            rooms: usize::try_from(sleeper.rooms).unwrap_or(usize::MAX),
            channels: 0,
            metered: sleeper
                .meter
                .as_ref()
                .map_or_else(Default::default, |meter| meter.read()),
        })
    }
}
