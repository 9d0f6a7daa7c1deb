//! Relays: links to them, who is there, and channels on demand.
//!
//! What a relay says is a hint, as an mDNS record is: who answers through a channel proves who it
//! is, and a relay that names the wrong one connects nobody.

mod roster;

use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{FromRelay, OpenRefusal, ToRelay, Welcome, close, features};
use hobnob_protocol::{HostPort, RelayAddr};

use super::Engine;
use crate::RELAYS_MAX;
use crate::RelayInfo;
use crate::clock::random;
use crate::net::channels::RelayId;
use crate::net::demux::SideDatagram;
use crate::net::relay::{Link as RelayLink, LinkCommand, LinkConfig, LinkDown, LinkEvent};
use hobnob_core::diagnosis::{self, RelayState};
use hobnob_core::paths;
use hobnob_core::rendezvous;
use hobnob_core::synthetic::is_synthetic;
use hobnob_protocol::ConversationId;
use hobnob_protocol::PeerId;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

/// Events of relays that wait for the engine; further ones make their relay wait.
const EVENTS_MAX: usize = 256;

/// The setting that holds a relay's identity is named so, then its address.
pub(crate) const RELAY_SETTING: &str = "relay ";

/// Whoever waits for a channel.
type Opening = oneshot::Sender<Result<(), OpenFailed>>;

/// Why there is no channel with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenFailed {
    #[error("the peer is not at that relay now")]
    NotHere,
    #[error("the relay does not allow it")]
    Refused,
    #[error("too many channels are open")]
    Limit,
}

/// All relays of a node.
pub(super) struct Relays {
    list: BTreeMap<RelayId, Relay>,
    /// Identities proved in earlier runs, by address.
    known: BTreeMap<String, PeerId>,
    token: Vec<u8>,
    events: mpsc::Sender<(RelayId, LinkEvent)>,
    pub(super) queue: mpsc::Receiver<(RelayId, LinkEvent)>,
    pub(super) beside: mpsc::Receiver<SideDatagram>,
}

struct Relay {
    at: HostPort,
    id: Option<PeerId>,
    commands: mpsc::UnboundedSender<LinkCommand>,
    /// While there is a connection.
    up: Option<Up>,
    /// Why there was none the last time, if the user was told.
    told: Option<LinkDown>,
    /// Whether its people are to be found in our rooms, as they are if the user named it for all to
    /// come.
    in_rooms: bool,
    roster: BTreeMap<PeerId, BTreeSet<ConversationId>>,
    /// Those of the roster that this node connects with.
    wanted: BTreeSet<PeerId>,
    /// Those of the roster that could not be reached since they were last named: others take their
    /// places.
    missing: BTreeSet<PeerId>,
    opening: BTreeMap<PeerId, Vec<Opening>>,
}

struct Up {
    addr: SocketAddr,
    observed: SocketAddr,
    /// Whether it calls nodes that want to be called.
    calls: bool,
    /// Whether the user was told that nobody is reached through it.
    doubted: bool,
}

impl Relays {
    pub(super) fn new(
        known: BTreeMap<String, PeerId>,
        token: Vec<u8>,
        beside: mpsc::Receiver<SideDatagram>,
    ) -> Self {
        let (events, queue) = mpsc::channel(EVENTS_MAX);
        Self {
            list: BTreeMap::new(),
            known,
            token,
            events,
            queue,
            beside,
        }
    }

    pub(super) fn infos(&self) -> Vec<RelayInfo> {
        let info = |relay: &Relay| RelayInfo {
            at: relay.at.clone(),
            id: relay.id,
            observed: relay.up.as_ref().map(|up| up.observed),
            why: relay
                .told
                .as_ref()
                .filter(|_| relay.up.is_none())
                .map(ToString::to_string),
        };
        self.list.values().map(info).collect()
    }

    /// How things stand with each.
    pub(super) fn evidence(
        &self,
        call: impl Fn(RelayId) -> diagnosis::RelayCall,
    ) -> Vec<diagnosis::Relay> {
        let state = |relay: &Relay| match (&relay.up, &relay.told) {
            (Some(up), _) => RelayState::Up(crate::net::socket::canonical(up.addr), up.observed),
            (None, None) => RelayState::Connecting,
            (None, Some(LinkDown::Identity { .. })) => RelayState::OtherIdentity,
            (None, Some(LinkDown::NoAddress(why))) => RelayState::NoAddress(why.clone()),
            (None, Some(down @ LinkDown::Refused { .. })) if down.is_refusal() => {
                RelayState::Refused(down.to_string())
            }
            (None, Some(down)) => RelayState::Down(down.to_string()),
        };
        let evidence = |(id, relay): (&RelayId, &Relay)| diagnosis::Relay {
            at: relay.at.to_string(),
            state: state(relay),
            probe: None,
            call: call(*id),
        };
        self.list.iter().map(evidence).collect()
    }

    /// Those that can call this node.
    pub(super) fn callers(&self) -> Vec<RelayId> {
        let calls = |relay: &Relay| relay.up.as_ref().is_some_and(|up| up.calls);
        self.list
            .iter()
            .filter(|(_, relay)| calls(relay))
            .map(|(id, _)| *id)
            .collect()
    }

    /// Where those are that there is a connection with.
    pub(super) fn addrs_up(&self) -> impl Iterator<Item = SocketAddr> {
        self.list
            .values()
            .filter_map(|relay| relay.up.as_ref())
            .map(|up| up.addr)
    }

    /// Where a relay is, as the socket has it, while there is a connection.
    pub(super) fn addr_of(&self, relay: RelayId) -> Option<SocketAddr> {
        self.list.get(&relay)?.up.as_ref().map(|up| up.addr)
    }

    /// Those that are there and do not name this peer.
    pub(super) fn not_at(&self, peer: PeerId) -> Vec<String> {
        let without = self
            .list
            .values()
            .filter(|relay| relay.up.is_some() && !relay.roster.contains_key(&peer));
        without.map(|relay| relay.at.to_string()).collect()
    }

    /// For a ticket: those that this node is to be found at. It may be given away before they have
    /// answered.
    pub(super) fn addrs(&self) -> Vec<RelayAddr> {
        let named = self.list.values().filter(|relay| relay.in_rooms);
        named
            .map(|relay| RelayAddr {
                id: relay.id,
                at: relay.at.clone(),
            })
            .collect()
    }

    pub(super) fn observed(&self) -> impl Iterator<Item = SocketAddr> {
        self.list
            .values()
            .filter_map(|relay| relay.up.as_ref())
            .map(|up| up.observed)
    }

    pub(super) fn say(&self, relay: RelayId, frame: ToRelay) {
        if let Some(relay) = self.list.get(&relay) {
            // A link that has ended takes nothing; the node is stopping then.
            let _ = relay.commands.send(LinkCommand::Say(frame));
        }
    }

    fn wake(&self) {
        for relay in self.list.values() {
            let _ = relay.commands.send(LinkCommand::Wake);
        }
    }
}

impl Engine {
    /// Takes up the link to a relay, unless there is one; none if there are too many.
    pub(crate) fn add_relay(&mut self, addr: RelayAddr, in_rooms: bool) -> Option<RelayId> {
        let found = self
            .relays
            .list
            .iter()
            .find(|(_, relay)| relay.at == addr.at)
            .map(|(id, _)| *id);
        if found.is_some() || self.relays.list.len() >= RELAYS_MAX {
            return found;
        }
        let relay = RelayId(u32::try_from(self.relays.list.len()).expect("a handful"));
        let expected = addr
            .id
            .or_else(|| self.relays.known.get(&addr.at.to_string()).copied());
        let (commands, queue) = mpsc::unbounded_channel();
        let (token, seed) = (self.relays.token.clone(), random());
        let config = LinkConfig {
            relay,
            at: addr.at.clone(),
            expected,
            token,
            seed,
        };
        let channels = self.bound.channels.clone();
        let link = RelayLink::new(
            config,
            self.endpoint.clone(),
            channels,
            queue,
            self.relays.events.clone(),
        );
        self.tasks.spawn(link.run(self.stopping.clone()));
        let of = Relay {
            at: addr.at,
            id: expected,
            commands,
            up: None,
            told: None,
            in_rooms,
            roster: BTreeMap::new(),
            wanted: BTreeSet::new(),
            missing: BTreeSet::new(),
            opening: BTreeMap::new(),
        };
        self.relays.list.insert(relay, of);
        self.tell_relays_rooms();
        Some(relay)
    }

    /// A user names a peer at a relay: from now on it may be reached there.
    pub(super) fn reach_by_relay(
        &mut self,
        peer: PeerId,
        addrs: Vec<SocketAddr>,
        relays: Vec<RelayAddr>,
    ) {
        let relays: Vec<_> = relays
            .into_iter()
            .filter_map(|relay| self.add_relay(relay, false))
            .collect();
        let mut addrs: Vec<_> = addrs
            .into_iter()
            .filter(|addr| !is_synthetic(addr.ip()))
            .collect();
        addrs.extend(
            relays
                .into_iter()
                .map(|relay| self.relayed_addr(relay, peer)),
        );
        self.peers.learn(peer, None);
        self.paths.handle(
            self.clock.now(),
            paths::Input::Found {
                peer,
                addrs,
                alive: true,
            },
        );
    }

    fn relayed_addr(&self, relay: RelayId, peer: PeerId) -> SocketAddr {
        self.bound.channels.addr(relay, peer, random)
    }

    /// The address of the relay through which a session goes.
    pub(super) fn relay_of(&self, addr: SocketAddr) -> Option<SocketAddr> {
        let (relay, _) = self.bound.channels.peer_at(addr)?;
        let up = self.relays.list.get(&relay)?.up.as_ref()?;
        Some(crate::net::socket::canonical(up.addr))
    }

    /// Tells all relays that find people for us which rooms we are in.
    pub(super) fn tell_relays_rooms(&mut self) {
        let rooms: Vec<_> = self.replica.rooms().map(|(room, ..)| room).collect();
        for relay in self.relays.list.values().filter(|relay| relay.in_rooms) {
            let _ = relay.commands.send(LinkCommand::Rooms(rooms.clone()));
        }
        self.connect_with_near();
    }

    pub(super) fn relays_network_changed(&mut self) {
        self.relays.wake();
        self.rendezvous
            .handle(self.clock.now(), rendezvous::Input::NetworkChanged);
    }

    pub(super) fn relay_event(&mut self, relay: RelayId, event: LinkEvent) {
        match event {
            LinkEvent::Up { id, addr, welcome } => self.relay_up(relay, id, addr, &welcome),
            LinkEvent::Said(said) => self.relay_said(relay, said),
            LinkEvent::Down(down) => self.relay_down(relay, down),
        }
    }

    fn relay_up(&mut self, id: RelayId, identity: PeerId, addr: SocketAddr, welcome: &Welcome) {
        let observed = crate::net::socket::canonical(welcome.observed);
        let Some(relay) = self.relays.list.get_mut(&id) else {
            return;
        };
        (relay.id, relay.told) = (Some(identity), None);
        relay.up = Some(Up {
            addr,
            observed,
            calls: welcome.features & features::CALLS != 0,
            doubted: false,
        });
        relay.forget_roster();
        relay.wanted.clear();
        let at = relay.at.to_string();
        let mut asked: BTreeSet<_> = relay.opening.keys().copied().collect();
        if self.relays.known.insert(at.clone(), identity) != Some(identity) {
            self.store
                .set_setting(format!("{RELAY_SETTING}{at}"), identity.to_string());
        }
        let text = format!(
            "Registered with the relay at {at} ({}), which sees this node at {observed}.",
            identity.short()
        );
        self.notice("relay-up", text, None);
        // Connections through an earlier link go on as soon as they have a channel again.
        let through = self
            .links
            .values()
            .filter_map(|link| self.bound.channels.peer_at(link.session.remote_addr()));
        asked.extend(
            through
                .filter(|(relay, _)| *relay == id)
                .map(|(_, peer)| peer),
        );
        for peer in asked {
            self.relays.say(id, ToRelay::Open(peer));
        }
        self.ask_for_known(id);
        self.rendezvous
            .handle(self.clock.now(), rendezvous::Input::NetworkChanged);
    }

    fn relay_down(&mut self, id: RelayId, down: LinkDown) {
        let Some(relay) = self.relays.list.get_mut(&id) else {
            return;
        };
        relay.up = None;
        if relay.told.as_ref() == Some(&down) {
            return;
        }
        let at = relay.at.to_string();
        relay.told = Some(down.clone());
        let (code, text) = match &down {
            LinkDown::Identity { expected, found } => (
                "relay-changed",
                format!(
                    "The relay at {at} proves another identity than before ({found}, not {expected}). Nothing was sent to it. If its \
                     operator says that this is right, name it with the new identity: --relay {found}@{at}"
                ),
            ),
            LinkDown::Refused { code, reason }
                if *code != u64::from(close::BYE) && *code != u64::from(close::DRAINING) =>
            {
                (
                    "relay-refused",
                    format!(
                        "The relay at {at} refuses this node ({}): {reason}",
                        close::name(*code)
                    ),
                )
            }
            LinkDown::UdpBlocked { .. } => (
                "udp-blocked",
                format!("The relay at {at} can't be used from here: {down} (it is tried again)"),
            ),
            LinkDown::Refused { .. }
            | LinkDown::NoAddress(_)
            | LinkDown::Unreachable
            | LinkDown::Busy
            | LinkDown::Silent
            | LinkDown::NotRunning { .. }
            | LinkDown::Restarted
            | LinkDown::Protocol(_)
            | LinkDown::Lost(_) => (
                "relay-down",
                format!("The relay at {at} can't be used now: {down} (it is tried again)"),
            ),
        };
        self.notice(code, text, None);
    }

    fn relay_said(&mut self, id: RelayId, said: FromRelay) {
        match said {
            FromRelay::Roster(roster) => self.roster(id, roster),
            FromRelay::Opened { peer, .. } => self.opening_done(id, peer, Ok(())),
            FromRelay::NotOpened { peer, why } => {
                let why = match why {
                    OpenRefusal::NotHere => OpenFailed::NotHere,
                    OpenRefusal::Refused => OpenFailed::Refused,
                    OpenRefusal::Limit => OpenFailed::Limit,
                };
                self.opening_done(id, peer, Err(why));
            }
            FromRelay::Ended { channel, .. } => self.channel_ended(id, channel),
            FromRelay::Observed(observed) => {
                if let Some(up) = self
                    .relays
                    .list
                    .get_mut(&id)
                    .and_then(|relay| relay.up.as_mut())
                {
                    up.observed = crate::net::socket::canonical(observed);
                    self.rendezvous
                        .handle(self.clock.now(), rendezvous::Input::NetworkChanged);
                }
            }
            FromRelay::Called { token, from } => self.relay_called(id, &token, from),
            FromRelay::Welcome(_) | FromRelay::Unknown(_) => {}
        }
    }

    /// What to wait for before an address can be dialed: a channel, if it is a relayed peer's and
    /// has none.
    pub(super) fn way_to(
        &mut self,
        addr: SocketAddr,
    ) -> Option<oneshot::Receiver<Result<(), OpenFailed>>> {
        if !is_synthetic(addr.ip()) || self.bound.channels.channel_to(addr).is_some() {
            return None;
        }
        let (reply, opened) = oneshot::channel();
        let (id, peer) = self.bound.channels.peer_at(addr)?;
        let relay = self.relays.list.get_mut(&id)?;
        let waiting = relay.opening.entry(peer).or_default();
        waiting.retain(|waiting| !waiting.is_closed());
        waiting.push(reply);
        if relay.up.is_some() {
            self.relays.say(id, ToRelay::Open(peer));
        }
        Some(opened)
    }

    fn opening_done(&mut self, id: RelayId, peer: PeerId, result: Result<(), OpenFailed>) {
        let waiting = self
            .relays
            .list
            .get_mut(&id)
            .and_then(|relay| relay.opening.remove(&peer));
        for waiting in waiting.into_iter().flatten() {
            let _ = waiting.send(result);
        }
    }

    /// A channel has ended. If a session goes through it, there should be another one: the peer may
    /// only have moved.
    fn channel_ended(&mut self, id: RelayId, channel: ChannelId) {
        let Some((relay, peer)) = self.bound.channels.unbind(channel) else {
            return;
        };
        let addr = self.relayed_addr(relay, peer);
        if relay == id
            && self
                .links
                .values()
                .any(|link| link.session.remote_addr() == addr)
        {
            self.relays.say(id, ToRelay::Open(peer));
        }
    }

    /// Who answered through a relay was not who was asked for.
    pub(super) fn wrong_peer(&mut self, addr: SocketAddr, expected: PeerId, found: PeerId) {
        let Some((relay, _)) = self.bound.channels.peer_at(addr) else {
            return;
        };
        let Some(relay) = self.relays.list.get(&relay) else {
            return;
        };
        let text = format!(
            "The relay at {} connected this node with {} instead of {}: it is broken, or lies. Nothing was sent.",
            relay.at,
            found.short(),
            expected.short()
        );
        self.notice("relay-lies", text, Some(expected));
    }
}
