//! The relays of a node: links to them, the peers at each, and channels on demand.
//!
//! A relay's statements about peers are hints, as mDNS records are. The peer that answers through a
//! channel proves its identity, so a relay that names the wrong peer connects nobody.
//!
//! Not here: the effects of relays' events on other parts, which are in `relay_events`.

mod fleet;
mod members;
mod openings;
mod relay;
mod roster;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hobnob_core::carrier::Carrier;
use hobnob_core::diagnosis;
use hobnob_limits::{Bucket, Pace};
use hobnob_protocol::fleet::FleetList;
use hobnob_protocol::record::Checked;
use hobnob_protocol::relay::{Roster as RosterUpdate, ToRelay, Welcome, features};
use hobnob_protocol::{DeviceId, RelayAddr, RelayAt, RelayToken, RoomKey};
use tokio::sync::mpsc;

use self::fleet::Fleet;
pub(super) use self::fleet::FleetStep;
pub(super) use self::openings::{ChannelOpening, OpenFailed};
pub(super) use self::relay::Usage;
use self::relay::{Relay, Up};
pub(super) use self::roster::DOUBTED_AT;
use crate::api::{NoticeReason, ProxyConfig, RELAYS_MAX, RelayInfo};
use crate::clock::Clock;
use crate::net::channels::RelayId;
use crate::net::relay::{Identities, LinkCommand, LinkConfig, LinkDown, LinkEvent, Location};
use hobnob_transport::addr::canonical;

/// Maximum members of rooms that relays name and that are listed although nothing but their ids is
/// known. The ids of further ones work, too.
const UNMET_MAX: usize = 4096;

/// Events of relays that wait for the engine. Further ones make their relay wait.
const EVENTS_MAX: usize = 256;

/// How often silent peers may cause heartbeats. Peers choose when they are silent.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How often strangers together wake a sleeping link, and how often in the long run: each of them
/// keeps it awake for some minutes.
const STRANGERS_WAKE: Pace = Pace::new(1, Duration::from_secs(30));
const STRANGERS_WAKE_LONG: Pace = Pace::new(4, Duration::from_secs(30 * 60));

/// How long after an action of the user a sleeping link is woken even for peers that were not there.
const WANTED_FOR: Duration = Duration::from_secs(30);

/// All relays of a node.
pub(super) struct Relays {
    list: BTreeMap<RelayId, Relay>,
    /// How many relays were added so far. A number is never used again.
    added: u32,
    /// The identities that relays have proved to their links.
    identities: Identities,
    /// Whether relays may admit this node as a guest, to accept an invitation.
    guest: Arc<AtomicBool>,
    clock: Clock,
    /// From when on silent peers cause the next heartbeats.
    beat_from: Duration,
    /// When the user last wanted relays.
    wanted_at: Option<Duration>,
    /// How often strangers have woken sleeping links.
    stranger_wakes: [Bucket; 2],
    /// Identities proved in earlier runs, by address.
    known: BTreeMap<String, DeviceId>,
    fleets: BTreeMap<DeviceId, Fleet>,
    /// The lists of fleets of earlier runs.
    lists: BTreeMap<DeviceId, Checked<FleetList>>,
    tokens: Tokens,
    proxy: ProxyConfig,
    /// The relay that this node's user runs for contacts, on this machine. What it reports shows
    /// nothing of the network, and its address here is pinned to no identity.
    served: Option<DeviceId>,
    events: mpsc::Sender<(RelayId, LinkEvent)>,
    queue: mpsc::Receiver<(RelayId, LinkEvent)>,
}

/// Whether the relays that the user named for all traffic work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnRelays {
    /// The user named none.
    None,
    /// One of them has registered this node.
    Up,
    /// There is no connection with any of them.
    Down,
}

/// The admission tokens of relays.
pub(super) struct Tokens {
    /// For the relays that the user named.
    pub(super) own: Option<RelayToken>,
    /// Those that contacts have shared, each for the relay of one identity.
    pub(super) shared: BTreeMap<DeviceId, RelayToken>,
}

impl Tokens {
    /// The token whose knowledge this node proves to a relay. `is_named`: the user named the relay. A
    /// relay that somebody else named may be anybody's.
    fn of(&self, relay: Option<DeviceId>, is_named: bool) -> Option<RelayToken> {
        let shared = relay.and_then(|relay| self.shared.get(&relay));
        shared.or(self.own.as_ref().filter(|_| is_named)).cloned()
    }
}

/// The values that the link of a new relay needs.
pub(super) struct NewLink {
    pub(super) config: LinkConfig,
    pub(super) commands: mpsc::UnboundedReceiver<LinkCommand>,
    pub(super) events: mpsc::Sender<(RelayId, LinkEvent)>,
}

/// A member of a fleet cannot be used as one.
#[derive(Debug)]
pub(super) struct NotUsable;

/// A link that has ended, because its relay is a member of a fleet.
pub(super) struct Removed {
    pub(super) fleet: DeviceId,
    /// Where and why it was named.
    pub(super) named_as: (RelayAt, Usage),
    /// The dials that wait.
    pub(super) openings: ChannelOpenings,
}

/// What follows when a peer is at another member of a fleet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Elsewhere {
    pub(super) fleet: DeviceId,
    pub(super) steps: Vec<FleetStep>,
    /// A dial has asked for the peer, not only a session.
    pub(super) is_dialed: bool,
    /// The link to the other member was in use already.
    pub(super) was_in_use: bool,
}

/// Dials that wait for channels, of a link that has ended.
pub(super) struct ChannelOpenings(openings::Openings);

/// A relay has registered this node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WentUp {
    pub(super) at: RelayAt,
    /// The address at which the relay sees this node.
    pub(super) observed: SocketAddr,
    /// The address had another identity before, or none.
    pub(super) is_new_identity: bool,
    /// The peers with which dials wait for a channel.
    pub(super) waited_for: BTreeSet<DeviceId>,
}

/// The link to a relay has woken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Woke {
    /// Peers that were not there, to be sought again.
    pub(super) sought: Vec<DeviceId>,
    /// The peers with which dials wait for a channel.
    pub(super) waited_for: BTreeSet<DeviceId>,
    /// Whether the relay sees this node at another address than before.
    pub(super) has_moved: bool,
}

impl Relays {
    pub(super) fn new(
        known: BTreeMap<String, DeviceId>,
        lists: BTreeMap<DeviceId, Checked<FleetList>>,
        tokens: Tokens,
        proxy: ProxyConfig,
        clock: Clock,
    ) -> Self {
        let (events, queue) = mpsc::channel(EVENTS_MAX);
        Self {
            list: BTreeMap::new(),
            added: 0,
            identities: Identities::default(),
            guest: Arc::default(),
            clock,
            beat_from: Duration::ZERO,
            wanted_at: None,
            stranger_wakes: Default::default(),
            known,
            fleets: BTreeMap::new(),
            lists,
            tokens,
            proxy,
            served: None,
            events,
            queue,
        }
    }

    /// This node's user runs the relay of this identity on this machine, for contacts.
    pub(super) fn serve(&mut self, id: DeviceId) {
        self.served = Some(id);
    }

    /// The relay that this node's user runs for contacts.
    pub(super) fn served(&self) -> Option<DeviceId> {
        self.served
    }

    fn is_served(&self, relay: &Relay) -> bool {
        self.served.is_some() && relay.relay_addr().id == self.served
    }

    /// All relays but the one that this node's user runs for contacts.
    fn of_others(&self) -> impl Iterator<Item = (&RelayId, &Relay)> {
        let all = self.list.iter();
        all.filter(|(_, relay)| !self.is_served(relay))
    }

    /// Whether the relays that the user named for all traffic work.
    pub(super) fn own_relays(&self) -> OwnRelays {
        let own = || self.list.values().filter(|relay| relay.is_in_rooms());
        let mut fleets = self.fleets.values();
        let has_fleet = fleets.any(|fleet| fleet.usage == Usage::Rooms);
        if own().any(|relay| relay.connection().is_some()) {
            OwnRelays::Up
        } else if has_fleet || own().next().is_some() {
            OwnRelays::Down
        } else {
            OwnRelays::None
        }
    }

    /// Whether the relay of this identity has registered this node.
    pub(super) fn is_up(&self, id: DeviceId) -> bool {
        let relay = self.with_identity(id);
        relay.is_some_and(|relay| self.addr_of(relay).is_some())
    }

    /// Whether a relay is used only because a contact named it.
    pub(super) fn is_of_contact(&self, relay: RelayId) -> bool {
        let relay = self.list.get(&relay);
        relay.is_some_and(|relay| relay.usage() == Usage::Contact)
    }

    /// The next event of a link.
    pub(super) async fn next(&mut self) -> (RelayId, LinkEvent) {
        let event = self.queue.recv().await;
        event.expect("this part holds a sender itself")
    }

    /// From now on, relays that do not admit this node may admit it as a guest, or no longer.
    pub(super) fn set_guest(&self, is_guest: bool) {
        self.guest.store(is_guest, Ordering::Relaxed);
    }

    /// The relay that a name or an address leads to, if the node uses it.
    pub(super) fn find(&self, addr: &RelayAddr) -> Option<RelayId> {
        if let Some(fleet) = addr.id.and_then(|id| self.fleets.get(&id)) {
            return self.with_identity(fleet.home()?);
        }
        let mut all = self.list.iter();
        let by_name = all.find(|(_, relay)| relay.fleet().is_none() && relay.is_at(&addr.at));
        by_name.map(|(id, _)| *id).or_else(|| {
            let known = self.known.get(&addr.at.to_string()).copied();
            self.with_identity(addr.id.or(known)?)
        })
    }

    /// The user names a relay that the node uses already, perhaps by another name or for a stronger
    /// reason. Returns whether the reason is stronger.
    pub(super) fn name_again(&mut self, relay: RelayId, at: RelayAt, usage: Usage) -> bool {
        let known = self.relay(relay);
        // Whoever names a member does not name its fleet.
        if known.fleet().is_some() {
            return false;
        }
        if usage == Usage::Contact || known.is_at(&at) && known.usage() <= usage {
            return false;
        }
        let id = known.relay_addr().id;
        let location = self.location(at.clone(), usage);
        let token = self.tokens.of(id, usage == Usage::Rooms);
        let known = Self::relay_mut(&mut self.list, relay);
        let is_stronger = known.is_also_at(at, usage);
        known.locate(location, token);
        is_stronger
    }

    /// The link `from` has found that it leads to the relay of the link `into`, and has ended. The
    /// other link takes over its names and the dials that wait. Returns where it was named, and
    /// whether the reason was stronger. The address of a member of a fleet is no name of the other relay.
    pub(super) fn merge(&mut self, from: RelayId, into: RelayId, id: DeviceId) -> (RelayAt, bool) {
        let now = self.clock.now().mono;
        let gone = self.list.remove(&from).expect("each link ends once");
        let is_stronger = gone.fleet().is_none() && {
            self.known.insert(gone.at().to_string(), id);
            self.name_again(into, gone.at().clone(), gone.usage())
        };
        let (at, mut openings) = gone.into_openings();
        let relay = Self::relay_mut(&mut self.list, into);
        if relay.connection().is_some() {
            for peer in openings.peers() {
                relay.request_channel(peer, false, now);
            }
        }
        relay.openings.take_over(openings);
        (at, is_stronger)
    }

    /// Adds a relay. The caller starts its link. Returns nothing if there are too many relays.
    pub(super) fn add(&mut self, addr: RelayAddr, usage: Usage, seed: u64) -> Option<NewLink> {
        if self.is_full() {
            return None;
        }
        let known = self.known.get(&addr.at.to_string()).copied();
        let expected = addr.id.or(known);
        // A relay that somebody else named gets no proof of the user's token, unless it is known by its
        // identity.
        let is_named = usage == Usage::Rooms || expected.is_some_and(|id| self.user_named(id));
        // A relay that has proved an identity is no fleet.
        let may_be_fleet = addr.id.is_some_and(|id| {
            self.lists.contains_key(&id) || self.known.values().all(|proved| *proved != id)
        });
        let (link, commands) = mpsc::unbounded_channel();
        let relay = Relay::new(addr.at.clone(), expected, known, usage, link);
        let config = LinkConfig {
            relay: self.insert(relay),
            location: self.location(addr.at, usage),
            expected,
            proxy_only: self.proxy.only,
            token: self.tokens.of(expected, is_named),
            identities: self.identities.clone(),
            guest: self.guest.clone(),
            fleet: None,
            may_be_fleet,
            visiting: false,
            clock: self.clock,
            seed,
        };
        Some(self.new_link(config, commands))
    }

    /// Whether this node uses as many relays and fleets as it can.
    pub(super) fn is_full(&self) -> bool {
        let single = self.list.values().filter(|relay| relay.fleet().is_none());
        single.count() + self.fleets.len() >= RELAYS_MAX
    }

    fn insert(&mut self, relay: Relay) -> RelayId {
        let id = RelayId(self.added);
        self.added += 1;
        self.list.insert(id, relay);
        id
    }

    fn new_link(
        &self,
        config: LinkConfig,
        commands: mpsc::UnboundedReceiver<LinkCommand>,
    ) -> NewLink {
        NewLink {
            config,
            commands,
            events: self.events.clone(),
        }
    }

    fn location(&self, at: RelayAt, usage: Usage) -> Location {
        location_of(&self.proxy, at, usage == Usage::Contact)
    }

    /// A contact shares the token for a relay. The relay learns at once that this node knows it.
    pub(super) fn share(&mut self, id: DeviceId, token: RelayToken) {
        self.tokens.shared.insert(id, token.clone());
        let is_for = |(_, relay): &(_, &Relay)| relay.fleet().or(relay.relay_addr().id) == Some(id);
        for (number, relay) in self.list.iter().filter(is_for) {
            relay.locate(
                self.location(relay.at().clone(), self.reason(*number)),
                Some(token.clone()),
            );
        }
    }

    /// The user's own token for a relay, if this node proves it there.
    pub(super) fn own_token(&self, relay: &RelayAddr) -> Option<&RelayToken> {
        let id = relay.id?;
        let own = self.tokens.own.as_ref();
        own.filter(|_| !self.tokens.shared.contains_key(&id))
    }

    /// A relay that admits this node only as a guest.
    pub(super) fn guest_at(&self) -> Option<RelayAt> {
        let mut all = self.list.values();
        let guest = all.find(|relay| relay.connection().is_some_and(|up| up.is_guest));
        guest.map(|relay| relay.at().clone())
    }

    /// The relay with this identity, if the node uses it.
    pub(super) fn with_identity(&self, id: DeviceId) -> Option<RelayId> {
        let mut all = self.list.iter();
        all.find(|(_, relay)| relay.relay_addr().id == Some(id))
            .map(|(id, _)| *id)
    }

    /// How many relays are used because contacts named them.
    pub(super) fn of_contacts(&self) -> usize {
        let all = self.list.values();
        all.filter(|relay| relay.usage() == Usage::Contact).count()
    }

    /// Whether nothing may be sent to relays except through the proxy.
    pub(super) fn proxy_only(&self) -> bool {
        self.proxy.only
    }

    /// Whether there is a link with this number. Later events may name one that has ended.
    pub(super) fn has(&self, relay: RelayId) -> bool {
        self.list.contains_key(&relay)
    }

    /// A link has ended, or ends now, and is made anew. Returns where and why it was named, and the dials
    /// that wait.
    pub(super) fn remove(&mut self, relay: RelayId) -> Option<(RelayAddr, Usage, ChannelOpenings)> {
        let gone = self.list.remove(&relay)?;
        self.identities.release(relay);
        let (addr, usage) = (gone.relay_addr(), gone.usage());
        let (_, openings) = gone.into_openings();
        Some((addr, usage, ChannelOpenings(openings)))
    }

    /// Dials that waited at a link that has ended wait at this relay now.
    pub(super) fn take_over(&mut self, into: RelayId, openings: ChannelOpenings) {
        let relay = Self::relay_mut(&mut self.list, into);
        relay.openings.take_over(openings.0);
    }

    /// Whether the user named a relay of this identity.
    fn user_named(&self, id: DeviceId) -> bool {
        let mut named = self.addrs().into_iter();
        named.any(|relay| relay.id == Some(id))
    }

    /// The relay has registered this node.
    pub(super) fn went_up(
        &mut self,
        relay: RelayId,
        id: DeviceId,
        (addr, carrier): (SocketAddr, Carrier),
        welcome: &Welcome,
    ) -> WentUp {
        let observed = canonical(welcome.observed);
        let is_served = self.served == Some(id);
        let relay = Self::relay_mut(&mut self.list, relay);
        relay.went_up(id, up((addr, carrier), welcome));
        let at = relay.at().clone();
        // The list of a fleet pins its members. It must not pin other relays at their addresses.
        let is_pinned = relay.fleet().is_none() && !is_served;
        WentUp {
            observed,
            is_new_identity: is_pinned && self.known.insert(at.to_string(), id) != Some(id),
            waited_for: relay.openings.peers().into_iter().collect(),
            at,
        }
    }

    /// The link to a relay sleeps.
    pub(super) fn fell_asleep(&mut self, relay: RelayId) {
        let now = self.clock.now().mono;
        Self::relay_mut(&mut self.list, relay).fell_asleep(now);
    }

    /// The link to a relay slept, and is connected again.
    pub(super) fn woke(
        &mut self,
        relay: RelayId,
        way: (SocketAddr, Carrier),
        welcome: &Welcome,
    ) -> Woke {
        let relay = Self::relay_mut(&mut self.list, relay);
        let before = relay.connection().map(|up| up.observed);
        let up = up(way, welcome);
        let has_moved = before != Some(up.observed);
        Woke {
            sought: relay.woke(up),
            waited_for: relay.openings.peers().into_iter().collect(),
            has_moved,
        }
    }

    /// A stranger wants to wake this node. Returns whether it may, which counts as a wake.
    pub(super) fn wake_for_stranger(&mut self) -> bool {
        let now = self.clock.now().mono;
        let [short, long] = &mut self.stranger_wakes;
        long.has_one(now, STRANGERS_WAKE_LONG)
            && short.take(now, STRANGERS_WAKE)
            && long.take(now, STRANGERS_WAKE_LONG)
    }

    /// Whether a sleeping link wakes for a peer.
    pub(super) fn answer_wake(&self, relay: RelayId, peer: DeviceId, may: bool) {
        self.relay(relay).answer_wake(peer, may);
    }

    /// There is no connection with a relay. Returns a notice if the user has not seen this reason.
    pub(super) fn went_down(&mut self, relay: RelayId, down: LinkDown) -> Option<NoticeReason> {
        let is_served = self.is_served(self.relay(relay));
        let notice = Self::relay_mut(&mut self.list, relay).went_down(down);
        notice.filter(|_| !is_served)
    }

    /// A relay sees this node at another address than before.
    pub(super) fn observed_at(&mut self, relay: RelayId, observed: SocketAddr) {
        if let Some(up) = Self::relay_mut(&mut self.list, relay).connection_mut() {
            up.observed = canonical(observed);
        }
    }

    /// A relay sends changes of its roster. Returns the peers that have arrived.
    pub(super) fn update_roster(
        &mut self,
        relay: RelayId,
        me: DeviceId,
        update: RosterUpdate,
    ) -> Vec<DeviceId> {
        let relay = Self::relay_mut(&mut self.list, relay);
        relay.roster.update(me, update)
    }

    /// Decides again, for each relay, with which of its peers to connect. Returns those that are
    /// new among them. `direct` are the peers with which there is a conversation.
    pub(super) fn choose_peers(
        &mut self,
        me: DeviceId,
        rooms: &[RoomKey],
        direct: &BTreeSet<DeviceId>,
    ) -> Vec<(RelayId, DeviceId)> {
        let mut chosen = Vec::new();
        for (id, relay) in &mut self.list {
            let tags = relay.tags(rooms);
            let new = relay.roster.choose(me, &tags, direct);
            chosen.extend(new.into_iter().map(|peer| (*id, peer)));
        }
        chosen
    }

    /// Whether a relay names this peer in a room.
    pub(super) fn list_in_room(&self, peer: DeviceId, room: &RoomKey) -> bool {
        let mut relays = self.list.values();
        relays.any(|relay| {
            let tags = relay.tags(std::slice::from_ref(room));
            tags.iter().any(|tag| relay.roster.lists(peer, *tag))
        })
    }

    /// The peers that relays name in a room.
    pub(super) fn members(&self, room: &RoomKey) -> BTreeSet<DeviceId> {
        let mut members = BTreeSet::new();
        for relay in self.list.values() {
            for tag in relay.tags(std::slice::from_ref(room)) {
                members.extend(relay.roster.members(tag));
            }
        }
        members
    }

    /// The members of these rooms that relays name and that are not known otherwise, at most
    /// [`UNMET_MAX`].
    pub(super) fn unmet(
        &self,
        rooms: &[RoomKey],
        is_known: impl Fn(DeviceId) -> bool,
    ) -> BTreeSet<DeviceId> {
        let mut unmet = BTreeSet::new();
        for room in rooms {
            let members = self.members(room).into_iter();
            let left = UNMET_MAX - unmet.len();
            let new = members.filter(|peer| !is_known(*peer) && !unmet.contains(peer));
            let new: Vec<_> = new.take(left).collect();
            unmet.extend(new);
        }
        unmet
    }

    /// The relays that name this peer.
    pub(super) fn naming(&self, peer: DeviceId) -> Vec<RelayId> {
        let naming = self
            .list
            .iter()
            .filter(|(_, relay)| relay.roster.names(peer));
        naming.map(|(id, _)| *id).collect()
    }

    /// The peer on the rosters whose id starts with this text, if there is exactly one.
    pub(super) fn named_by_start(&self, text: &str) -> Option<DeviceId> {
        let rosters = self.list.values().map(|relay| &relay.roster);
        let found: BTreeSet<_> = rosters
            .flat_map(|roster| roster.starting_with(text))
            .collect();
        let mut found = found.into_iter();
        found.next().filter(|_| found.next().is_none())
    }

    /// A peer could not be reached. Returns the relays that name it and did not know that.
    pub(super) fn note_missing(&mut self, peer: DeviceId) -> Vec<RelayId> {
        let mut all = self.list.iter_mut();
        let mut news = Vec::new();
        for (id, relay) in &mut all {
            if relay.roster.note_missing(peer) {
                news.push(*id);
            }
        }
        news
    }

    /// No session goes through a relay. Returns its address if it names many peers that cannot be
    /// reached, once for each connection with it.
    pub(super) fn doubt(&mut self, relay: RelayId) -> Option<RelayAt> {
        let relay = Self::relay_mut(&mut self.list, relay);
        if !relay.roster.is_doubtful() {
            return None;
        }
        let up = relay.connection_mut()?;
        let reported = std::mem::replace(&mut up.doubt_reported, true);
        (!reported).then(|| relay.at().clone())
    }

    /// A dial needs a channel with a peer: asks the relay for it now, or when the relay is up. A link
    /// that sleeps is not woken for a peer that was not there some minutes ago, unless the user wants
    /// something.
    ///
    /// `is_close`: there is a session with the peer, or it is a contact.
    pub(super) fn open_channel(
        &mut self,
        relay: RelayId,
        peer: DeviceId,
        is_close: bool,
    ) -> ChannelOpening {
        let now = self.clock.now().mono;
        let is_wanted = self.wanted_at.is_some_and(|at| now < at + WANTED_FOR);
        let relay = Self::relay_mut(&mut self.list, relay);
        let opening = relay.openings.wait(peer);
        if relay.is_known_absent(peer, now) && !is_wanted {
            relay.openings.done(peer, Err(OpenFailed::NotHere));
        } else if relay.connection().is_some() {
            relay.request_channel(peer, is_close, now);
        }
        opening
    }

    /// Asks a relay for a channel with a peer, as [`Relays::open_channel`], for a session or for dials
    /// that wait already.
    pub(super) fn request_channel(&mut self, relay: RelayId, peer: DeviceId, is_close: bool) {
        let now = self.clock.now().mono;
        Self::relay_mut(&mut self.list, relay).request_channel(peer, is_close, now);
    }

    /// A dial uses the channel that a relay has opened with a peer.
    pub(super) fn use_channel(&mut self, relay: RelayId, peer: DeviceId) -> ChannelOpening {
        Self::relay_mut(&mut self.list, relay).openings.open(peer)
    }

    /// Whether a dial needs a channel of this relay with a peer.
    pub(super) fn is_dialed(&self, relay: RelayId, peer: DeviceId) -> bool {
        let relay = self.list.get(&relay);
        relay.is_some_and(|relay| relay.openings.has(peer))
    }

    /// A relay has opened or refused a channel with a peer.
    pub(super) fn opening_done(
        &mut self,
        relay: RelayId,
        peer: DeviceId,
        result: Result<(), OpenFailed>,
    ) {
        let relay = Self::relay_mut(&mut self.list, relay);
        relay.note_answer(peer, result);
        relay.openings.done(peer, result);
    }

    /// Sends a frame to a relay. It is lost while there is no connection.
    pub(super) fn send(&self, relay: RelayId, frame: ToRelay) {
        self.relay(relay).send(frame);
    }

    /// Informs the relays at which peers find this node of its rooms.
    pub(super) fn set_rooms(&self, rooms: &[RoomKey]) {
        for relay in self.list.values().filter(|relay| relay.is_in_rooms()) {
            relay.set_rooms(rooms.to_vec());
        }
    }

    /// The network has changed: every link tests its connection, or dials at once.
    pub(super) fn wake(&self) {
        self.list.values().for_each(Relay::wake);
    }

    /// A peer has not answered, perhaps because this node's public address has changed: the relays
    /// learn the new one, and forward to it.
    pub(super) fn beat(&mut self) {
        let now = self.clock.now().mono;
        if now >= self.beat_from {
            self.beat_from = now + BEAT_EVERY;
            self.list.values().for_each(Relay::beat);
        }
    }

    /// The user sends a message, or names a peer: each link without a connection dials at once.
    pub(super) fn want(&mut self) {
        self.wanted_at = Some(self.clock.now().mono);
        self.list.values().for_each(Relay::want);
    }

    pub(super) fn is_in_rooms(&self, relay: RelayId) -> bool {
        self.relay(relay).is_in_rooms()
    }

    pub(super) fn at(&self, relay: RelayId) -> &RelayAt {
        self.relay(relay).at()
    }

    /// The address of a relay while there is a connection with it.
    pub(super) fn addr_of(&self, relay: RelayId) -> Option<SocketAddr> {
        let relay = self.list.get(&relay)?;
        relay.connection().map(|up| up.addr)
    }

    /// The addresses of all relays with which there is a connection over UDP.
    pub(super) fn addrs_up(&self) -> impl Iterator<Item = SocketAddr> {
        self.by_udp().map(|up| up.addr)
    }

    /// The addresses at which relays see this node's UDP socket. Nothing can be sent to the address
    /// of a TCP connection.
    pub(super) fn observed(&self) -> impl Iterator<Item = SocketAddr> {
        self.by_udp().map(|up| up.observed)
    }

    fn by_udp(&self) -> impl Iterator<Item = &Up> {
        self.connections().filter(|up| up.carrier == Carrier::Udp)
    }

    fn connections(&self) -> impl Iterator<Item = &Up> {
        self.of_others().filter_map(|(_, relay)| relay.connection())
    }

    /// The relays that dial back at request.
    pub(super) fn that_dial_back(&self) -> Vec<RelayId> {
        let dials_back = |relay: &Relay| {
            let up = relay.connection();
            up.is_some_and(|up| up.dials_back && up.carrier == Carrier::Udp)
        };
        let all = self.of_others().filter(|(_, relay)| dials_back(relay));
        all.map(|(id, _)| *id).collect()
    }

    /// The relays that are up and do not name this peer.
    pub(super) fn not_at(&self, peer: DeviceId) -> Vec<String> {
        let up = self.list.values().filter(|it| it.connection().is_some());
        up.filter(|relay| !relay.roster.names(peer))
            .map(|relay| relay.at().to_string())
            .collect()
    }

    /// For a ticket: the relays at which peers find this node. Users may share a ticket before a
    /// relay has answered.
    pub(super) fn addrs(&self) -> Vec<RelayAddr> {
        let all = self.list.values();
        let named = all.filter(|relay| relay.is_in_rooms() && relay.fleet().is_none());
        let fleets = self.fleets.iter();
        let fleets = fleets.filter(|(_, fleet)| fleet.usage == Usage::Rooms);
        let fleet_addr = |(id, fleet): (&DeviceId, &Fleet)| RelayAddr {
            id: Some(*id),
            at: fleet.at.clone(),
        };
        named
            .map(Relay::relay_addr)
            .chain(fleets.map(fleet_addr))
            .collect()
    }

    /// All relays.
    pub(super) fn ids(&self) -> impl Iterator<Item = RelayId> {
        self.list.keys().copied()
    }

    /// The relays that the user named for all traffic.
    pub(super) fn in_rooms(&self) -> impl Iterator<Item = RelayId> {
        let all = self.list.iter();
        all.filter(|(_, relay)| relay.is_in_rooms())
            .map(|(id, _)| *id)
    }

    pub(super) fn infos(&self) -> Vec<RelayInfo> {
        let all = self.of_others().filter(|(_, relay)| !relay.is_resting());
        all.map(|(_, relay)| relay.info()).collect()
    }

    /// The state of each relay, with the result of its dial-backs.
    pub(super) fn evidence(
        &self,
        dial_back: impl Fn(RelayId) -> diagnosis::RelayDialBack,
    ) -> Vec<diagnosis::Relay> {
        let all = self.of_others().filter(|(_, relay)| !relay.is_resting());
        all.map(|(id, relay)| relay.evidence(dial_back(*id)))
            .collect()
    }

    fn relay(&self, id: RelayId) -> &Relay {
        self.list
            .get(&id)
            .expect("a relay leaves the list only when its link has ended")
    }

    fn relay_mut(list: &mut BTreeMap<RelayId, Relay>, id: RelayId) -> &mut Relay {
        list.get_mut(&id)
            .expect("a relay leaves the list only when its link has ended")
    }
}

/// A location of a relay. `only_remote`: addresses of this machine are refused.
fn location_of(proxy: &ProxyConfig, at: RelayAt, only_remote: bool) -> Location {
    Location {
        proxy: proxy.for_host(&at.host_port().host),
        only_remote,
        at,
    }
}

/// A connection that a relay has just welcomed.
fn up((addr, carrier): (SocketAddr, Carrier), welcome: &Welcome) -> Up {
    Up {
        addr,
        carrier,
        observed: canonical(welcome.observed),
        dials_back: welcome.features & features::DIAL_BACK != 0,
        is_guest: welcome.features & features::GUEST != 0,
        doubt_reported: false,
        sleeps: false,
    }
}

#[cfg(test)]
mod tests;
