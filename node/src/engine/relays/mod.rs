//! The relays of a node: links to them, the peers at each, and channels on demand.
//!
//! A relay's statements about peers are hints, as mDNS records are. The peer that answers through a
//! channel proves its identity, so a relay that names the wrong peer connects nobody.
//!
//! Not here: the effects of relays' events on other parts, which are in `relay_events`.

mod fleet;
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
use hobnob_protocol::record::{Checked, Record};
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
    events: mpsc::Sender<(RelayId, LinkEvent)>,
    queue: mpsc::Receiver<(RelayId, LinkEvent)>,
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
    pub(super) named: (RelayAt, Usage),
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
            events,
            queue,
        }
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
        let is_for =
            |(_, relay): &(_, &Relay)| relay.fleet().or(relay.relay_addr().id) == Some(id);
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

    /// Begins to use a fleet whose list has come, or takes over a newer list. Returns what follows.
    pub(super) fn join_fleet(
        &mut self,
        me: DeviceId,
        fleet: DeviceId,
        list: Checked<FleetList>,
        (at, usage): (RelayAt, Usage),
    ) -> Vec<FleetStep> {
        let now = self.clock.now().mono;
        if let Some(known) = self.fleets.get_mut(&fleet) {
            let steps = known.at_time(now).update(list);
            if steps.is_some() {
                self.locate_members(fleet);
            }
            return steps.unwrap_or_default();
        }
        // A relay that has left the fleet may show an older list than that of an earlier run.
        let list = match self.lists.get(&fleet) {
            Some(known) if list.record().number() <= known.record().number() => known.clone(),
            Some(_) | None => list,
        };
        let mut new = Fleet::new(me, list, at, usage);
        let steps = new.at_time(now).start();
        self.fleets.insert(fleet, new);
        steps
    }

    /// The links of a fleet's members learn the addresses on a new list.
    fn locate_members(&mut self, fleet: DeviceId) {
        let Some(of) = self.fleets.get(&fleet) else {
            return;
        };
        let only_remote = of.usage == Usage::Contact;
        let members = self.list.values_mut();
        for relay in members.filter(|relay| relay.fleet() == Some(fleet)) {
            let id = relay.relay_addr().id;
            if let Some(addr) = id.and_then(|id| of.member(id))
                && !relay.is_at(&addr.at)
            {
                relay.moved_to(addr.at.clone());
                let location = location_of(&self.proxy, addr.at.clone(), only_remote);
                relay.locate(location, None);
            }
        }
    }

    /// The list of a fleet from an earlier run, and whether it names a relay at this address.
    pub(super) fn known_list(&self, addr: &RelayAddr) -> Option<(Checked<FleetList>, bool)> {
        let list = self.lists.get(&addr.id?)?;
        let mut relays = list.record().relays().iter();
        let is_on_it = relays.any(|relay| relay.at == addr.at);
        Some((list.clone(), is_on_it))
    }

    /// The fleet in use whose list names a relay of this identity, for a relay that is named for this
    /// reason. A relay does not have to agree to be on a list. So a fleet that was named for a weaker
    /// reason is left out: it could lead away from the user's own relays.
    pub(super) fn fleet_of(&self, member: DeviceId, usage: Usage) -> Option<DeviceId> {
        let mut all = self.fleets.iter();
        all.find(|(_, fleet)| fleet.usage <= usage && fleet.member(member).is_some())
            .map(|(id, _)| *id)
    }

    /// Why a fleet is used.
    pub(super) fn fleet_usage(&self, fleet: DeviceId) -> Option<Usage> {
        self.fleets.get(&fleet).map(|fleet| fleet.usage)
    }

    /// Why a relay is used: for a member of a fleet, why the fleet is.
    fn reason(&self, relay: RelayId) -> Usage {
        let relay = self.relay(relay);
        let fleet = relay.fleet().and_then(|fleet| self.fleet_usage(fleet));
        fleet.unwrap_or(relay.usage())
    }

    /// The link to the relay of this identity, if it is used for a weaker reason than this one. The
    /// members of `except` are left out.
    pub(super) fn used_for_less(
        &self,
        relay: DeviceId,
        usage: Usage,
        except: Option<DeviceId>,
    ) -> Option<RelayId> {
        let known = self.with_identity(relay)?;
        let is_excepted = except.is_some() && self.relay(known).fleet() == except;
        (!is_excepted && usage < self.reason(known)).then_some(known)
    }

    /// Whether the links `from` and `into`, which lead to one relay, belong to different fleets or to none,
    /// and the reason for `into` is weaker.
    pub(super) fn outranks(&self, from: RelayId, into: RelayId) -> bool {
        let fleets = [from, into].map(|relay| self.relay(relay).fleet());
        fleets[0] != fleets[1] && self.reason(from) < self.reason(into)
    }

    /// Whether there is a link with this number. Later events may name one that has ended.
    pub(super) fn has(&self, relay: RelayId) -> bool {
        self.list.contains_key(&relay)
    }

    /// The user names a fleet again, perhaps for a stronger reason. Returns whether it is stronger. Then
    /// its links may prove the user's token, and use addresses that nobody else may name.
    pub(super) fn name_fleet_again(&mut self, fleet: DeviceId, at: RelayAt, usage: Usage) -> bool {
        let Some(known) = self.fleets.get_mut(&fleet).filter(|it| usage < it.usage) else {
            return false;
        };
        (known.usage, known.at) = (usage, at);
        let token = self.tokens.of(Some(fleet), usage == Usage::Rooms);
        let members = self.list.values_mut();
        for relay in members.filter(|relay| relay.fleet() == Some(fleet)) {
            let location =
                location_of(&self.proxy, relay.at().clone(), usage == Usage::Contact);
            relay.locate(location, token.clone());
            if !relay.is_resting() && relay.usage() != Usage::Visit {
                relay.use_for(usage);
            }
        }
        true
    }

    /// The number of the list that this node has of a fleet.
    pub(super) fn list_number(&self, fleet: DeviceId) -> u64 {
        let known = self.fleets.get(&fleet);
        known.map_or(0, |fleet| fleet.list().record().number())
    }

    /// The list of a fleet.
    pub(super) fn list_of(&self, fleet: DeviceId) -> Option<&Checked<FleetList>> {
        self.fleets.get(&fleet).map(Fleet::list)
    }

    /// The fleet of a relay that this node uses as a member of one, and its identity.
    pub(super) fn membership(&self, relay: RelayId) -> Option<(DeviceId, DeviceId)> {
        let relay = self.list.get(&relay)?;
        Some((relay.fleet()?, relay.relay_addr().id?))
    }

    /// The link to a member of a fleet, if the relay is used as one.
    pub(super) fn member_link(&self, fleet: DeviceId, member: DeviceId) -> Option<RelayId> {
        let link = self.with_identity(member)?;
        (self.relay(link).fleet() == Some(fleet)).then_some(link)
    }

    /// The relay of a fleet at which peers find this node, or will.
    pub(super) fn home_of(&self, fleet: DeviceId) -> Option<RelayId> {
        self.with_identity(self.fleets.get(&fleet)?.home()?)
    }

    /// The home relay of the fleet of a member that this node does not need.
    pub(super) fn home_instead_of(&self, resting: RelayId) -> Option<RelayId> {
        let (fleet, _) = self.membership(resting)?;
        self.home_of(fleet).filter(|home| *home != resting)
    }

    /// A member of a fleet has registered this node.
    pub(super) fn member_up(&mut self, relay: RelayId) -> Vec<FleetStep> {
        self.of_member(relay, Fleet::up)
    }

    /// There is no connection with a member of a fleet. `is_needed`: sessions go through it.
    pub(super) fn member_down(&mut self, relay: RelayId, is_needed: bool) -> Vec<FleetStep> {
        self.of_member(relay, |fleet, member| fleet.down(member, is_needed))
    }

    /// A member of a fleet has another registration of this identity. `is_needed`: sessions go through
    /// it.
    pub(super) fn member_replaced(&mut self, relay: RelayId, is_needed: bool) -> Vec<FleetStep> {
        self.of_member(relay, |fleet, member| fleet.replaced(member, is_needed))
    }

    /// A member of a fleet does not answer at the moment, or answers again.
    pub(super) fn member_suspect(&mut self, relay: RelayId, is_suspect: bool) -> Vec<FleetStep> {
        self.of_member(relay, |fleet, member| fleet.suspect(member, is_suspect))
    }

    /// A member of a fleet cannot be used as one.
    pub(super) fn member_unusable(&mut self, fleet: DeviceId, member: DeviceId) -> Vec<FleetStep> {
        self.of_fleet(fleet, |fleet| fleet.down(member, false))
    }

    /// A peer is at this member of a fleet.
    pub(super) fn visit(&mut self, fleet: DeviceId, member: DeviceId) -> Vec<FleetStep> {
        self.of_fleet(fleet, |fleet| fleet.visit(member))
    }

    /// A relay reports that a peer is at another member of its fleet. Nothing if nobody has asked for
    /// the peer there: a relay could name any number of peers. `has_session`: a session with the peer
    /// goes through the relay.
    pub(super) fn found_elsewhere(
        &mut self,
        (from, peer): (RelayId, DeviceId),
        member: DeviceId,
        has_session: bool,
    ) -> Option<Elsewhere> {
        let is_dialed = self.is_dialed(from, peer);
        if !is_dialed && !has_session {
            return None;
        }
        self.opening_done(from, peer, Err(OpenFailed::Elsewhere));
        let (fleet, _) = self.membership(from)?;
        let known = self.with_identity(member);
        Some(Elsewhere {
            fleet,
            is_dialed,
            was_in_use: known.is_some_and(|known| !self.is_resting(known)),
            steps: self.visit(fleet, member),
        })
    }

    fn of_fleet(
        &mut self,
        fleet: DeviceId,
        event: impl FnOnce(&mut Fleet) -> Vec<FleetStep>,
    ) -> Vec<FleetStep> {
        let now = self.clock.now().mono;
        let fleet = self.fleets.get_mut(&fleet);
        fleet.map_or_else(Vec::new, |fleet| event(fleet.at_time(now)))
    }

    fn of_member(
        &mut self,
        relay: RelayId,
        event: impl FnOnce(&mut Fleet, DeviceId) -> Vec<FleetStep>,
    ) -> Vec<FleetStep> {
        let Some((fleet, member)) = self.membership(relay) else {
            return Vec::new();
        };
        self.of_fleet(fleet, |fleet| event(fleet, member))
    }

    /// Uses a member of a fleet: to register there, or to visit it. The caller starts the link, if it
    /// is new.
    ///
    /// # Errors
    ///
    /// The list does not name it, or the user named it as a single relay.
    pub(super) fn use_member(
        &mut self,
        fleet: DeviceId,
        member: DeviceId,
        visits: bool,
        seed: u64,
    ) -> Result<(RelayId, Option<NewLink>), NotUsable> {
        let of = self.fleets.get(&fleet).ok_or(NotUsable)?;
        let addr = of.member(member).ok_or(NotUsable)?.clone();
        let usage = if visits { Usage::Visit } else { of.usage };
        let only_remote = of.usage == Usage::Contact;
        if let Some(known) = self.with_identity(member) {
            let relay = Self::relay_mut(&mut self.list, known);
            if relay.fleet() != Some(fleet) {
                return Err(NotUsable);
            }
            // The list may have another address than before.
            if !relay.is_at(&addr.at) {
                relay.moved_to(addr.at.clone());
                relay.locate(location_of(&self.proxy, addr.at, only_remote), None);
            }
            relay.use_for(usage);
            return Ok((known, None));
        }
        // A token is shared for the whole fleet.
        let token = self.tokens.of(Some(fleet), of.usage == Usage::Rooms);
        let (link, commands) = mpsc::unbounded_channel();
        let relay = Relay::new(addr.at.clone(), Some(member), Some(member), usage, link);
        let relay = self.insert(relay.in_fleet(fleet));
        let config = LinkConfig {
            relay,
            location: location_of(&self.proxy, addr.at, only_remote),
            expected: Some(member),
            proxy_only: self.proxy.only,
            token,
            identities: self.identities.clone(),
            guest: self.guest.clone(),
            fleet: Some(fleet),
            may_be_fleet: false,
            visiting: visits,
            clock: self.clock,
            seed,
        };
        Ok((relay, Some(self.new_link(config, commands))))
    }

    /// A member of a fleet is not needed any more.
    pub(super) fn rest(&mut self, member: DeviceId) {
        let mut of_fleets = self
            .list
            .values_mut()
            .filter(|relay| relay.fleet().is_some());
        if let Some(relay) = of_fleets.find(|relay| relay.relay_addr().id == Some(member)) {
            relay.rest();
        }
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

    /// A link has shown that its relay is a member of a fleet, and has ended.
    pub(super) fn remove_for_fleet(&mut self, relay: RelayId) -> Option<Removed> {
        let gone = self.list.remove(&relay)?;
        let (fleet, usage) = (gone.relay_addr().id?, gone.usage());
        let (at, openings) = gone.into_openings();
        Some(Removed {
            fleet,
            named: (at, usage),
            openings: ChannelOpenings(openings),
        })
    }

    /// The link of a member of a fleet has ended for good.
    pub(super) fn forget_member(&mut self, fleet: DeviceId, member: DeviceId) -> Vec<FleetStep> {
        self.of_fleet(fleet, |fleet| fleet.forget(member))
    }

    /// Dials that waited at a link that has ended wait at this relay now.
    pub(super) fn take_over(&mut self, into: RelayId, openings: ChannelOpenings) {
        let relay = Self::relay_mut(&mut self.list, into);
        relay.openings.take_over(openings.0);
    }

    /// Whether this node does not need a member of a fleet at the moment.
    pub(super) fn is_resting(&self, relay: RelayId) -> bool {
        self.list.get(&relay).is_some_and(Relay::is_resting)
    }

    /// Whether this node only visits a relay, or does not need it at the moment.
    pub(super) fn is_visited(&self, relay: RelayId) -> bool {
        let relay = self.list.get(&relay);
        relay.is_some_and(|relay| relay.usage() == Usage::Visit)
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
        let relay = Self::relay_mut(&mut self.list, relay);
        relay.went_up(id, up((addr, carrier), welcome));
        let at = relay.at().clone();
        // The list of a fleet pins its members. It must not pin other relays at their addresses.
        let is_pinned = relay.fleet().is_none();
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
        Self::relay_mut(&mut self.list, relay).went_down(down)
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
        self.list.values().filter_map(Relay::connection)
    }

    /// The relays that dial back at request.
    pub(super) fn that_dial_back(&self) -> Vec<RelayId> {
        let dials_back = |relay: &Relay| {
            let up = relay.connection();
            up.is_some_and(|up| up.dials_back && up.carrier == Carrier::Udp)
        };
        let all = self.list.iter().filter(|(_, relay)| dials_back(relay));
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
        let all = self.list.values().filter(|relay| !relay.is_resting());
        all.map(Relay::info).collect()
    }

    /// The state of each relay, with the result of its dial-backs.
    pub(super) fn evidence(
        &self,
        dial_back: impl Fn(RelayId) -> diagnosis::RelayDialBack,
    ) -> Vec<diagnosis::Relay> {
        let all = self.list.iter().filter(|(_, relay)| !relay.is_resting());
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
mod tests {
    use std::ops::Range;

    use hobnob_protocol::SecretKey;
    use hobnob_protocol::relay::RosterChange;

    use super::*;

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn named(at: &str) -> RelayAddr {
        at.parse().expect("an address")
    }

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// The user's own token, and none that was shared.
    fn tokens(own: Option<&[u8]>) -> Tokens {
        Tokens {
            own: own.map(|own| own.to_vec().into()),
            shared: BTreeMap::new(),
        }
    }

    /// A node without a token that has met no relay.
    fn no_relays() -> Relays {
        Relays::new(
            BTreeMap::new(),
            BTreeMap::new(),
            tokens(None),
            ProxyConfig::default(),
            Clock::start(),
        )
    }

    fn welcome() -> Welcome {
        Welcome {
            version: hobnob_protocol::relay::VERSION,
            features: features::DIAL_BACK,
            observed: addr("[::ffff:198.51.100.7]:4626"),
            heartbeat_ms: 15_000,
            roster: true,
            channels_max: 9,
            rate: 0,
        }
    }

    fn up(relays: &mut Relays, relay: RelayId) -> WentUp {
        let way = (addr("192.0.2.1:4627"), Carrier::Udp);
        relays.went_up(relay, peer(99), way, &welcome())
    }

    #[test]
    fn a_relay_is_added_once_and_must_prove_the_identity_that_it_had() {
        let known = BTreeMap::from([("relay.example:4627".to_owned(), peer(99))]);
        let mut relays = Relays::new(
            known,
            BTreeMap::new(),
            tokens(Some(b"token")),
            ProxyConfig::default(),
            Clock::start(),
        );
        let link = relays
            .add(named("relay.example:4627"), Usage::Rooms, 1)
            .expect("room");
        assert_eq!(link.config.expected, Some(peer(99)));
        let found = relays.find(&named("relay.example:4627"));
        assert_eq!(found, Some(link.config.relay));
        for n in 1..RELAYS_MAX {
            assert!(
                relays
                    .add(named(&format!("r{n}.example:1")), Usage::Rooms, 1)
                    .is_some()
            );
        }
        assert!(
            relays
                .add(named("one-more.example:1"), Usage::Rooms, 1)
                .is_none()
        );
    }

    #[test]
    fn a_dial_waits_for_its_channel_until_the_relay_is_up() {
        let mut relays = no_relays();
        let mut link = relays
            .add(named("relay.example:4627"), Usage::Rooms, 1)
            .expect("room");
        let relay = link.config.relay;
        let mut opening = relays.open_channel(relay, peer(1), false);
        assert!(link.commands.try_recv().is_err(), "there is no connection");
        let went_up = up(&mut relays, relay);
        assert_eq!(went_up.waited_for, [peer(1)].into());
        assert_eq!(went_up.observed, addr("198.51.100.7:4626"));
        relays.opening_done(relay, peer(1), Ok(()));
        assert_eq!(opening.answered(), Some(Ok(())));
        assert!(
            relays.is_dialed(relay, peer(1)),
            "the dial uses the channel"
        );
        drop(opening);
        assert!(!relays.is_dialed(relay, peer(1)));
        let _second = relays.open_channel(relay, peer(2), false);
        assert!(matches!(
            link.commands.try_recv(),
            Ok(LinkCommand::Send(ToRelay::Open(of))) if of == peer(2)
        ));
    }

    /// A relay with which the connection sleeps, and the commands to its link.
    fn asleep(relays: &mut Relays) -> NewLink {
        let link = relays
            .add(named("relay.example:4627"), Usage::Rooms, 1)
            .expect("room");
        super::tests::up(relays, link.config.relay);
        relays.fell_asleep(link.config.relay);
        link
    }

    #[test]
    fn a_sleeping_link_is_not_woken_for_a_peer_that_was_not_there() {
        let mut relays = no_relays();
        let mut link = asleep(&mut relays);
        let relay = link.config.relay;
        let asked = |link: &mut NewLink| {
            matches!(
                link.commands.try_recv(),
                Ok(LinkCommand::Send(ToRelay::Open(_)))
            )
        };
        let _first = relays.open_channel(relay, peer(1), true);
        assert!(asked(&mut link), "nobody knows whether it is there");
        relays.opening_done(relay, peer(1), Err(OpenFailed::NotHere));
        let mut second = relays.open_channel(relay, peer(1), true);
        assert!(!asked(&mut link));
        assert_eq!(second.answered(), Some(Err(OpenFailed::NotHere)));
        let _other = relays.open_channel(relay, peer(2), true);
        assert!(asked(&mut link));
        relays.want();
        let _third = relays.open_channel(relay, peer(1), true);
        assert!(asked(&mut link), "the user wants it");
        // A link that is awake asks at any time.
        relays.wanted_at = None;
        relays.woke(relay, (addr("192.0.2.1:4627"), Carrier::Udp), &welcome());
        let _fourth = relays.open_channel(relay, peer(1), true);
        assert!(asked(&mut link));
        relays.fell_asleep(relay);
        relays.opening_done(relay, peer(1), Ok(()));
        let _fifth = relays.open_channel(relay, peer(1), true);
        assert!(asked(&mut link), "it was there");
    }

    #[test]
    fn a_link_that_wakes_keeps_the_roster_and_reports_a_new_address() {
        let mut relays = no_relays();
        let link = asleep(&mut relays);
        let relay = link.config.relay;
        let update = RosterUpdate {
            version: 1,
            anew: true,
            changes: vec![RosterChange::Here {
                peer: peer(1),
                rooms: Vec::new(),
            }],
        };
        relays.update_roster(relay, peer(0), update);
        let _opening = relays.open_channel(relay, peer(1), true);
        let way = (addr("192.0.2.1:4627"), Carrier::Udp);
        let woke = relays.woke(relay, way, &welcome());
        assert_eq!(woke.waited_for, [peer(1)].into());
        assert!(!woke.has_moved);
        assert_eq!(relays.naming(peer(1)), [relay]);
        let elsewhere = Welcome {
            observed: addr("203.0.113.9:1"),
            ..welcome()
        };
        assert!(relays.woke(relay, way, &elsewhere).has_moved);
    }

    #[test]
    fn strangers_together_wake_a_node_once_in_half_a_minute() {
        let mut relays = no_relays();
        assert!(relays.wake_for_stranger());
        assert!(!relays.wake_for_stranger());
        assert_eq!(STRANGERS_WAKE.every, Duration::from_secs(30));
        assert!(
            STRANGERS_WAKE_LONG.every > Duration::from_secs(6 * 60),
            "each keeps it awake for so long"
        );
    }

    #[test]
    fn silent_peers_cause_one_heartbeat_a_second() {
        let mut relays = no_relays();
        let mut link = relays
            .add(named("relay.example:4627"), Usage::Rooms, 1)
            .expect("room");
        relays.beat();
        relays.beat();
        assert!(matches!(link.commands.try_recv(), Ok(LinkCommand::Beat)));
        assert!(link.commands.try_recv().is_err());
        assert!(relays.beat_from > BEAT_EVERY / 2, "the next one is later");
    }

    #[test]
    fn members_that_only_a_relay_names_are_listed_up_to_a_limit() {
        let of = |n: usize| {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            DeviceId::from_bytes(bytes)
        };
        let [ours, other] = [1, 2].map(|n| RoomKey::random([n; 32]));
        let mut relays = no_relays();
        // Two relays, each in its own room. Both name two of the peers.
        let name = |relays: &mut Relays, id: u8, peers: Range<usize>, room: &RoomKey| {
            let at = named(&format!("r{id}.example:4627"));
            let link = relays.add(at, Usage::Rooms, 1).expect("room");
            let relay = link.config.relay;
            let way = (addr("192.0.2.1:4627"), Carrier::Udp);
            relays.went_up(relay, peer(id), way, &welcome());
            let changes = peers.map(|n| RosterChange::Here {
                peer: of(n),
                rooms: vec![room.relay_tag(peer(id))],
            });
            let update = RosterUpdate {
                version: 1,
                anew: true,
                changes: changes.collect(),
            };
            relays.update_roster(relay, peer(0), update);
        };
        name(&mut relays, 99, 0..4, &ours);
        name(&mut relays, 98, 2..5, &other);
        let both = [ours.clone(), other];
        assert_eq!(relays.unmet(&both, |_| false), (0..5).map(of).collect());
        assert_eq!(
            relays.unmet(&both[..1], |_| false),
            (0..4).map(of).collect()
        );
        let is_known = |peer| peer == of(1);
        assert_eq!(relays.unmet(&both[..1], is_known), [0, 2, 3].map(of).into());
        name(&mut relays, 97, 5..UNMET_MAX + 1, &ours);
        assert_eq!(relays.unmet(&both, |_| false).len(), UNMET_MAX);
        // Those that are known otherwise take nobody's place.
        assert_eq!(relays.unmet(&both, is_known).len(), UNMET_MAX);
    }

    #[test]
    fn an_identity_is_new_once() {
        let mut relays = no_relays();
        let link = relays
            .add(named("relay.example:4627"), Usage::Rooms, 1)
            .expect("room");
        assert!(up(&mut relays, link.config.relay).is_new_identity);
        assert!(!up(&mut relays, link.config.relay).is_new_identity);
    }

    #[test]
    fn a_relay_none_of_whose_peers_can_be_reached_is_doubted_once() {
        let mut relays = no_relays();
        let link = relays
            .add(named("relay.example:4627"), Usage::Rooms, 1)
            .expect("room");
        let relay = link.config.relay;
        up(&mut relays, relay);
        let changes = (1..=8).map(|n| RosterChange::Here {
            peer: peer(n),
            rooms: Vec::new(),
        });
        let update = RosterUpdate {
            version: 1,
            anew: true,
            changes: changes.collect(),
        };
        assert_eq!(relays.update_roster(relay, peer(0), update).len(), 8);
        assert_eq!(relays.doubt(relay), None);
        for n in 1..=8 {
            assert_eq!(relays.note_missing(peer(n)), [relay]);
        }
        assert_eq!(relays.note_missing(peer(8)), [], "that is known");
        assert_eq!(relays.doubt(relay), Some(link.config.location.at));
        assert_eq!(relays.doubt(relay), None, "the user knows");
    }

    #[test]
    fn a_relay_that_somebody_else_named_gets_no_proof_of_the_token() {
        let mut relays = Relays::new(
            BTreeMap::new(),
            BTreeMap::new(),
            tokens(Some(b"token")),
            ProxyConfig::default(),
            Clock::start(),
        );
        let mut token = |at: &str, id, usage| {
            let at = named(at).at;
            let link = relays.add(RelayAddr { id, at }, usage, 1).expect("room");
            link.config.token
        };
        assert!(token("ours.example:1", Some(peer(1)), Usage::Rooms).is_some());
        assert!(token("theirs.example:1", Some(peer(2)), Usage::OnePeer).is_none());
        assert!(token("unknown.example:1", None, Usage::OnePeer).is_none());
        assert!(token("a-contacts.example:1", Some(peer(3)), Usage::Contact).is_none());
    }

    #[test]
    fn a_shared_token_is_for_the_relay_of_one_identity() {
        let mut relays = no_relays();
        let add = |relays: &mut Relays, at: &str, id| {
            let at = named(at).at;
            let link = relays.add(RelayAddr { id, at }, Usage::OnePeer, 1);
            link.expect("room")
        };
        let mut link = add(&mut relays, "theirs.example:1", Some(peer(1)));
        assert!(link.config.token.is_none());
        relays.share(peer(1), b"shared".to_vec().into());
        let learned = link.commands.try_recv();
        assert!(matches!(learned, Ok(LinkCommand::Locate(_, Some(_)))));
        relays.share(peer(2), b"other".to_vec().into());
        let other = add(&mut relays, "other.example:1", Some(peer(2)));
        assert_eq!(other.config.token, Some(b"other".to_vec().into()));
        let unknown = add(&mut relays, "unknown.example:1", None);
        assert!(unknown.config.token.is_none());
        assert!(link.commands.try_recv().is_err());
        // What was shared is not shared any further.
        let theirs = RelayAddr {
            id: Some(peer(1)),
            at: named("theirs.example:1").at,
        };
        assert!(relays.own_token(&theirs).is_none());
        relays.tokens.own = Some(b"own".to_vec().into());
        assert!(relays.own_token(&theirs).is_none());
        let ours = RelayAddr {
            id: Some(peer(3)),
            at: named("ours.example:1").at,
        };
        assert!(relays.own_token(&ours).is_some());
    }

    #[test]
    fn a_relay_with_two_names_has_one_link() {
        let none = BTreeMap::new();
        let mut relays = Relays::new(
            none,
            BTreeMap::new(),
            tokens(Some(b"token")),
            ProxyConfig::default(),
            Clock::start(),
        );
        let ours = named("192.0.2.1:4627");
        let mut link = relays.add(ours.clone(), Usage::Rooms, 1).expect("room");
        let relay = link.config.relay;
        let theirs = RelayAddr {
            id: Some(peer(99)),
            at: named("relay.example:4627").at,
        };
        assert_eq!(relays.find(&theirs), None, "it has not proved its identity");
        up(&mut relays, relay);
        assert_eq!(relays.find(&theirs), Some(relay));
        assert!(!relays.name_again(relay, theirs.at.clone(), Usage::Contact));
        assert!(link.commands.try_recv().is_err(), "nobody else adds names");
        assert!(!relays.name_again(relay, theirs.at.clone(), Usage::OnePeer));
        let learned = link.commands.try_recv();
        assert!(
            matches!(learned, Ok(LinkCommand::Locate(location, None)) if location.at == theirs.at)
        );
        assert_eq!(relays.at(relay), &ours.at);
    }

    #[test]
    fn a_link_that_leads_to_the_relay_of_another_link_is_merged_into_it() {
        let none = BTreeMap::new();
        let mut relays = Relays::new(
            none,
            BTreeMap::new(),
            tokens(Some(b"token")),
            ProxyConfig::default(),
            Clock::start(),
        );
        let ticket = named("relay.example:4627");
        let mut first = relays.add(ticket, Usage::OnePeer, 1).expect("room");
        let ours = named("192.0.2.1:4627");
        let second = relays.add(ours.clone(), Usage::Rooms, 1).expect("room");
        let [into, from] = [&first, &second].map(|link| link.config.relay);
        let mut waiting = relays.open_channel(from, peer(1), false);
        up(&mut relays, into);
        assert_eq!(relays.merge(from, into, peer(99)), (ours.at.clone(), true));
        // The user named it for all traffic: it may have the token, and it is in tickets.
        let learned = first.commands.try_recv();
        assert!(
            matches!(learned, Ok(LinkCommand::Locate(location, Some(_))) if location.at == ours.at)
        );
        assert!(matches!(
            first.commands.try_recv(),
            Ok(LinkCommand::Send(ToRelay::Open(of))) if of == peer(1)
        ));
        let named = relays.addrs();
        assert_eq!((named.len(), &named[0].at), (1, &ours.at));
        relays.opening_done(into, peer(1), Ok(()));
        assert_eq!(waiting.answered(), Some(Ok(())));
    }

    /// A fleet's list with this number, which names these relays.
    fn list(number: u64, relays: &[u8]) -> Checked<FleetList> {
        let relay = |n: &u8| RelayAddr {
            id: Some(peer(*n)),
            at: named(&format!("relay{n}.example:4627")).at,
        };
        let list = FleetList::new(number, relays.iter().map(relay).collect());
        Checked::sign(list.expect("few"), &SecretKey::from_seed([1; 32]))
    }

    #[test]
    fn a_relay_that_has_left_the_fleet_cannot_bring_back_an_old_list_after_a_restart() {
        let fleet = peer(50);
        let with_lists = |lists| {
            Relays::new(
                BTreeMap::new(),
                BTreeMap::from([(fleet, lists)]),
                tokens(None),
                ProxyConfig::default(),
                Clock::start(),
            )
        };
        let addr = |at: &str| RelayAddr {
            id: Some(fleet),
            at: named(at).at,
        };
        let mut relays = with_lists(list(9, &[1, 2]));
        // An alias, or the address of a relay that has left: the fleet is known all the same.
        let left = addr("relay3.example:4627");
        assert_eq!(relays.known_list(&left), Some((list(9, &[1, 2]), false)));
        let on_it = addr("relay1.example:4627");
        assert_eq!(relays.known_list(&on_it), Some((list(9, &[1, 2]), true)));
        let join = |relays: &mut Relays, list| {
            relays.join_fleet(peer(100), fleet, list, (left.at.clone(), Usage::Rooms))
        };
        join(&mut relays, list(5, &[1, 2, 3]));
        assert_eq!(relays.list_number(fleet), 9);
        assert_eq!(relays.fleet_of(peer(2), Usage::Rooms), Some(fleet));
        assert_eq!(relays.fleet_of(peer(3), Usage::Rooms), None);
        // A newer one is used at once.
        let mut relays = with_lists(list(9, &[1, 2]));
        join(&mut relays, list(10, &[3]));
        assert_eq!(relays.list_number(fleet), 10);
        join(&mut relays, list(9, &[1, 2]));
        assert_eq!(relays.list_number(fleet), 10);
    }

    #[test]
    fn a_member_whose_address_is_new_on_the_list_is_dialed_there() {
        let fleet = peer(50);
        let mut relays = no_relays();
        let at = named("fleet.example:4627").at;
        let named_at = (at, Usage::Rooms);
        relays.join_fleet(peer(100), fleet, list(1, &[1]), named_at.clone());
        let used = relays.use_member(fleet, peer(1), false, 1);
        let (_, link) = used.expect("on the list");
        let mut commands = link.expect("a new link").commands;
        let moved = RelayAddr {
            id: Some(peer(1)),
            at: named("elsewhere.example:4627").at,
        };
        let newer = FleetList::new(2, vec![moved.clone()]).expect("few");
        let newer = Checked::sign(newer, &SecretKey::from_seed([1; 32]));
        relays.join_fleet(peer(100), fleet, newer, named_at);
        let learned = commands.try_recv();
        assert!(
            matches!(learned, Ok(LinkCommand::Locate(location, None)) if location.at == moved.at)
        );
        let link = relays.with_identity(peer(1)).expect("a member");
        assert_eq!(relays.at(link), &moved.at, "notices name it");
        assert!(!relays.relay(link).is_at(&named("relay1.example:4627").at));
    }

    #[test]
    fn a_fleet_that_the_user_names_gets_the_token_on_the_links_that_exist() {
        let mut relays = no_relays();
        relays.tokens.own = Some(b"token".to_vec().into());
        let (fleet, home, mut link) = with_fleet(&mut relays, Usage::Contact);
        assert!(link.config.token.is_none() && link.config.location.only_remote);
        let at = named("ours.example:4627").at;
        assert!(!relays.name_fleet_again(fleet, at.clone(), Usage::Contact));
        assert!(link.commands.try_recv().is_err(), "that is no news");
        assert!(relays.name_fleet_again(fleet, at.clone(), Usage::Rooms));
        let learned = link.commands.try_recv();
        assert!(
            matches!(&learned, Ok(LinkCommand::Locate(location, Some(_))) if !location.only_remote),
            "{learned:?}"
        );
        let used = link.commands.try_recv();
        assert!(matches!(used, Ok(LinkCommand::Use { visiting: false })));
        assert!(relays.is_in_rooms(home));
        let id = Some(fleet);
        assert_eq!(relays.addrs(), [RelayAddr { id, at }]);
    }

    #[test]
    fn a_list_pins_no_other_relay_at_the_address_of_a_member() {
        let mut relays = no_relays();
        let (_, home, _link) = with_fleet(&mut relays, Usage::Contact);
        let (_, member) = relays.membership(home).expect("a member");
        let at = relays.at(home).clone();
        let way = (addr("192.0.2.1:4627"), Carrier::Udp);
        let went_up = relays.went_up(home, member, way, &welcome());
        assert!(!went_up.is_new_identity, "it is not stored");
        let by_name = RelayAddr { id: None, at };
        let link = relays.add(by_name.clone(), Usage::Rooms, 1).expect("room");
        assert_eq!(link.config.expected, None, "anybody may be there");
        let names = relays.known.clone();
        relays.merge(home, link.config.relay, member);
        assert_eq!(relays.known, names);
    }

    /// A fleet with two members whose home is the first one of them, and the number of its link.
    fn with_fleet(relays: &mut Relays, usage: Usage) -> (DeviceId, RelayId, NewLink) {
        let fleet = peer(50);
        let at = named("fleet.example:4627").at;
        let steps = relays.join_fleet(peer(100), fleet, list(1, &[1, 2]), (at, usage));
        let [FleetStep::Register(home)] = steps[..] else {
            panic!("{steps:?}")
        };
        let used = relays.use_member(fleet, home, false, 1);
        let (relay, link) = used.expect("on the list");
        let way = (addr("192.0.2.1:4627"), Carrier::Udp);
        relays.went_up(relay, home, way, &welcome());
        relays.member_up(relay);
        (fleet, relay, link.expect("a new link"))
    }

    #[test]
    fn a_relay_leads_this_node_only_to_peers_that_it_has_sought() {
        let mut relays = no_relays();
        let (fleet, home, _link) = with_fleet(&mut relays, Usage::Rooms);
        let (_, me) = relays.membership(home).expect("a member");
        let other = [peer(1), peer(2)].into_iter().find(|it| *it != me);
        let other = other.expect("two members");
        let found = relays.found_elsewhere((home, peer(7)), other, false);
        assert_eq!(found, None, "nobody has asked");
        let mut dial = relays.open_channel(home, peer(7), false);
        let found = relays.found_elsewhere((home, peer(7)), other, false);
        let visit = Elsewhere {
            fleet,
            steps: vec![FleetStep::Visit(other)],
            is_dialed: true,
            was_in_use: false,
        };
        assert_eq!(found.as_ref(), Some(&visit));
        assert_eq!(dial.answered(), Some(Err(OpenFailed::Elsewhere)));
        drop(dial);
        // A session needs the peer, too.
        let found = relays.found_elsewhere((home, peer(7)), other, true);
        let found = found.expect("a session goes there");
        assert!(!found.is_dialed);
    }

    #[test]
    fn a_member_that_is_needed_again_learns_its_address_only_if_it_is_new() {
        let mut relays = no_relays();
        let (fleet, home, mut link) = with_fleet(&mut relays, Usage::Rooms);
        let (_, me) = relays.membership(home).expect("a member");
        relays
            .use_member(fleet, me, false, 1)
            .expect("on the list");
        let mut sent = std::iter::from_fn(|| link.commands.try_recv().ok());
        assert!(
            !sent.any(|command| matches!(command, LinkCommand::Locate(..))),
            "it would end the pause after a refusal"
        );
    }

    #[test]
    fn fleets_count_as_relays_and_a_link_that_is_gone_answers_nothing() {
        let mut relays = no_relays();
        let (_, home, _link) = with_fleet(&mut relays, Usage::Rooms);
        for n in 1..RELAYS_MAX {
            assert!(!relays.is_full());
            let at = named(&format!("r{n}.example:1"));
            relays.add(at, Usage::Rooms, 1).expect("room");
        }
        assert!(relays.is_full());
        let mut dial = relays.open_channel(home, peer(7), false);
        relays.remove(home);
        assert!(!relays.is_dialed(home, peer(7)));
        assert_eq!(relays.addr_of(home), None);
        assert_eq!(dial.answered(), None);
    }

    #[test]
    fn the_fleet_of_a_contact_does_not_capture_a_relay_of_the_user() {
        let mut relays = no_relays();
        let (theirs, link, _commands) = with_fleet(&mut relays, Usage::Contact);
        let (_, member) = relays.membership(link).expect("a member");
        // The user names the relay by itself. The contact has put it on the list.
        assert_eq!(relays.fleet_of(member, Usage::Rooms), None);
        assert_eq!(relays.fleet_of(member, Usage::OnePeer), None);
        assert_eq!(relays.fleet_of(member, Usage::Contact), Some(theirs));
        assert_eq!(
            relays.used_for_less(member, Usage::Rooms, None),
            Some(link)
        );
        assert_eq!(relays.used_for_less(member, Usage::Contact, None), None);
        let own = Some(theirs);
        assert_eq!(relays.used_for_less(member, Usage::Rooms, own), None);
        let at = named("relay.example:4627").at;
        assert!(!relays.name_again(link, at, Usage::Rooms));
        assert_eq!(relays.fleet_usage(theirs), Some(Usage::Contact));
        assert_eq!(relays.addrs(), [], "no ticket names that fleet");
        // By another name, too.
        let by_name = relays.add(named("192.0.2.1:4627"), Usage::Rooms, 1);
        let by_name = by_name.expect("room").config.relay;
        assert!(relays.outranks(by_name, link));
        assert!(!relays.outranks(link, by_name));
        // Nor do two names of a relay without a fleet.
        let other = relays.add(named("other.example:1"), Usage::Contact, 1);
        let other = other.expect("room").config.relay;
        assert!(!relays.outranks(by_name, other), "they are merged");
        assert_eq!(
            relays.identities.claim(member, link),
            Ok(()),
            "it has proved its identity"
        );
        assert_eq!(relays.member_link(theirs, member), Some(link));
        relays.remove(link);
        assert_eq!(relays.member_link(theirs, member), None);
        assert_eq!(relays.identities.claim(member, by_name), Ok(()));
    }

    #[test]
    fn a_relay_that_a_contact_named_becomes_a_member_of_the_users_fleet() {
        let mut relays = no_relays();
        let addr = |n: u8| RelayAddr {
            id: Some(peer(n)),
            at: named(&format!("other{n}.example:1")).at,
        };
        let theirs = relays.add(addr(1), Usage::Contact, 1).expect("room");
        let ours = relays.add(addr(2), Usage::Rooms, 1).expect("room");
        let (theirs, ours) = (theirs.config.relay, ours.config.relay);
        let fleet = Some(peer(50));
        assert_eq!(
            relays.used_for_less(peer(1), Usage::Rooms, fleet),
            Some(theirs)
        );
        assert_eq!(relays.used_for_less(peer(2), Usage::Rooms, fleet), None);
        assert!(relays.has(ours));
    }

    #[test]
    fn for_peers_of_a_resting_member_the_home_relay_is_asked() {
        let mut relays = no_relays();
        let (fleet, home, _link) = with_fleet(&mut relays, Usage::OnePeer);
        let (_, me) = relays.membership(home).expect("a member");
        let other = [peer(1), peer(2)].into_iter().find(|it| *it != me);
        let other = other.expect("two members");
        let (visited, _link) = relays
            .use_member(fleet, other, true, 1)
            .expect("on the list");
        let mut dial = relays.open_channel(visited, peer(7), false);
        relays.rest(other);
        assert!(relays.is_resting(visited));
        assert_eq!(dial.answered(), Some(Err(OpenFailed::Elsewhere)));
        assert_eq!(relays.home_instead_of(visited), Some(home));
        assert_eq!(relays.home_instead_of(home), None);
    }

    #[test]
    fn only_an_identity_that_no_relay_has_proved_may_be_that_of_a_fleet() {
        let known = BTreeMap::from([("relay.example:4627".to_owned(), peer(1))]);
        let mut relays = Relays::new(
            known,
            BTreeMap::from([(peer(3), list(1, &[1]))]),
            tokens(None),
            ProxyConfig::default(),
            Clock::start(),
        );
        let mut may_be_fleet = |at: &str, id| {
            let at = named(at).at;
            let link = relays.add(RelayAddr { id, at }, Usage::Rooms, 1);
            link.expect("room").config.may_be_fleet
        };
        assert!(!may_be_fleet("relay.example:4627", None));
        assert!(!may_be_fleet("other.example:1", Some(peer(1))));
        assert!(!may_be_fleet("unknown.example:1", None));
        assert!(may_be_fleet("pinned.example:1", Some(peer(2))));
        assert!(may_be_fleet("fleet.example:1", Some(peer(3))));
    }

    #[test]
    fn only_relays_for_all_traffic_are_in_the_ticket() {
        let mut relays = no_relays();
        relays
            .add(named("for-all.example:4627"), Usage::Rooms, 1)
            .expect("room");
        relays
            .add(named("for-one.example:4627"), Usage::OnePeer, 1)
            .expect("room");
        let addrs: Vec<_> = relays
            .addrs()
            .iter()
            .map(|addr| addr.at.to_string())
            .collect();
        assert_eq!(addrs, ["for-all.example:4627"]);
    }

    #[test]
    fn a_relay_is_found_by_its_identity() {
        let mut relays = no_relays();
        let at = named("a-contacts.example:4627").at;
        let id = Some(peer(99));
        let addr = RelayAddr { id, at };
        let link = relays.add(addr, Usage::Contact, 1).expect("room");
        assert!(link.config.location.only_remote);
        assert_eq!(relays.with_identity(peer(99)), Some(link.config.relay));
        assert_eq!(relays.with_identity(peer(98)), None);
        assert_eq!(relays.of_contacts(), 1);
        assert_eq!(relays.addrs(), [], "peers do not find this node there");
    }
}
