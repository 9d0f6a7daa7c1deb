//! Adds relays, and handles what they report.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use hobnob_core::synthetic::is_synthetic;
use hobnob_core::{paths, rendezvous};
use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{FromRelay, OpenRefusal, ToRelay, Welcome, close, features};
use hobnob_protocol::{PeerId, RelayAddr};
use tokio::sync::{mpsc, oneshot};

use super::relays::{OpenFailed, RELAY_SETTING, Relay, Up};
use super::state::Engine;
use crate::api::RELAYS_MAX;
use crate::clock::random;
use crate::net::channels::RelayId;
use crate::net::relay::{Link as RelayLink, LinkCommand, LinkConfig, LinkDown, LinkEvent};

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
        let token = if in_rooms || expected.is_some_and(|id| self.relays.user_named(id)) {
            self.relays.token.clone()
        } else {
            // Somebody else named this relay: it may be anybody's.
            None
        };
        let seed = random();
        let config = LinkConfig {
            relay,
            at: addr.at.clone(),
            expected,
            token,
            seed,
        };
        let channels = self.network.bound.channels.clone();
        let link = RelayLink::new(
            config,
            self.network.endpoint.clone(),
            channels,
            queue,
            self.relays.events.clone(),
        );
        self.tasks.spawn(link.run(self.tasks.stopping.clone()));
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
                .map(|relay| self.network.relayed_addr(relay, peer)),
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

    /// The address of the relay through which a session goes.
    pub(super) fn relay_of(&self, addr: SocketAddr) -> Option<SocketAddr> {
        let (relay, _) = self.network.bound.channels.peer_at(addr)?;
        let up = self.relays.list.get(&relay)?.up.as_ref()?;
        Some(hobnob_transport::addr::canonical(up.addr))
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
        let observed = hobnob_transport::addr::canonical(welcome.observed);
        let Some(relay) = self.relays.list.get_mut(&id) else {
            return;
        };
        (relay.id, relay.told) = (Some(identity), None);
        relay.up = Some(Up {
            addr,
            observed,
            calls: welcome.features & features::DIAL_BACK != 0,
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
        self.reports.notice("relay-up", text, None);
        // Connections through an earlier link go on as soon as they have a channel again.
        let through = self.sessions.live.values().filter_map(|link| {
            self.network
                .bound
                .channels
                .peer_at(link.session.remote_addr())
        });
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
        self.reports.notice(code, text, None);
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
                    up.observed = hobnob_transport::addr::canonical(observed);
                    self.rendezvous
                        .handle(self.clock.now(), rendezvous::Input::NetworkChanged);
                }
            }
            FromRelay::DialedBack { token, from } => self.relay_dialed_back(id, &token, from),
            FromRelay::Welcome(_) | FromRelay::Unknown(_) => {}
        }
    }

    /// What to wait for before an address can be dialed: a channel, if it is a relayed peer's and
    /// has none.
    pub(super) fn way_to(
        &mut self,
        addr: SocketAddr,
    ) -> Option<oneshot::Receiver<Result<(), OpenFailed>>> {
        if !is_synthetic(addr.ip()) || self.network.bound.channels.channel_to(addr).is_some() {
            return None;
        }
        let (reply, opened) = oneshot::channel();
        let (id, peer) = self.network.bound.channels.peer_at(addr)?;
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
        let Some((relay, peer)) = self.network.bound.channels.unbind(channel) else {
            return;
        };
        let addr = self.network.relayed_addr(relay, peer);
        if relay == id
            && self
                .sessions
                .live
                .values()
                .any(|link| link.session.remote_addr() == addr)
        {
            self.relays.say(id, ToRelay::Open(peer));
        }
    }

    /// Who answered through a relay was not who was asked for.
    pub(super) fn wrong_peer(&mut self, addr: SocketAddr, expected: PeerId, found: PeerId) {
        let Some((relay, _)) = self.network.bound.channels.peer_at(addr) else {
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
        self.reports.notice("relay-lies", text, Some(expected));
    }
}
