//! Carries out what relays report: connections, rosters, channels.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hobnob_core::carrier::Carrier;
use hobnob_core::known_addrs::Origin;
use hobnob_core::peers::ResolveError;
use hobnob_core::synthetic::is_synthetic;
use hobnob_core::{SessionId, paths, rendezvous};
use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::identity::PEER_ID_SHORT_LEN;
use hobnob_protocol::relay::{FromRelay, OpenRefusal, Roster, Welcome, features};
use hobnob_protocol::{DeviceId, PersonId, RelayAddr, RoomKey};
use tracing::debug;

use super::command::RELAY_SETTING;
use super::mail::HolderAt;
use super::relays::{ChannelOpening, DOUBTED_AT, NewLink, OpenFailed, Usage, WentUp};
use super::state::Engine;
use crate::api::{NoticeReason, PeerInfo};
use crate::clock::random;
use crate::net::channels::RelayId;
use crate::net::relay::{LinkDown, LinkEvent, RelayLink};
use hobnob_transport::addr::canonical;

/// Peers with which there is a conversation, and for which a relay that does not name them is asked
/// when it comes up.
const ASKED_FOR_MAX: usize = 64;

impl Engine {
    /// Starts the link to a relay, unless there is one. Returns nothing if there are too many.
    pub(crate) fn add_relay(&mut self, addr: RelayAddr, in_rooms: bool) -> Option<RelayId> {
        let usage = if in_rooms {
            Usage::Rooms
        } else {
            Usage::OnePeer
        };
        self.start_link(addr, usage)
    }

    /// As [`Engine::add_relay`], for a relay that a contact named.
    pub(super) fn add_contact_relay(&mut self, addr: RelayAddr) -> Option<RelayId> {
        self.start_link(addr, Usage::Contact)
    }

    pub(super) fn start_link(&mut self, addr: RelayAddr, usage: Usage) -> Option<RelayId> {
        if let Some(found) = self.relays.find(&addr) {
            if let Some((fleet, member)) = self.relays.membership(found) {
                if addr.id == Some(fleet) {
                    if self.relays.name_fleet_again(fleet, addr.at, usage) {
                        self.used_for_more(found);
                    }
                } else if self.relays.used_for_less(member, usage, None).is_some() {
                    return self.take_from_fleet(found, addr, usage);
                }
                if self.relays.is_resting(found) {
                    self.visit_again(found);
                }
                return Some(found);
            }
            if self.relays.name_again(found, addr.at, usage) {
                self.used_for_more(found);
            }
            return Some(found);
        }
        if self.visit_member(&addr, usage).is_some() {
            // `start_link` finds the link to the member now.
            return self.start_link(addr, usage);
        }
        if let Some(home) = self.start_known_fleet(&addr, usage) {
            return Some(home);
        }
        let link = self.relays.add(addr, usage, random())?;
        let relay = link.config.relay;
        self.run_link(link);
        self.send_rooms_to_relays();
        Some(relay)
    }

    /// Runs the link to a relay.
    pub(super) fn run_link(&self, link: NewLink) {
        let NewLink {
            config,
            commands,
            events,
        } = link;
        let channels = self.network.channels().clone();
        let link = RelayLink::new(config, self.network.endpoint(), channels, commands, events);
        self.tasks.spawn(link.run(self.tasks.stopping()));
    }

    /// The user has named a relay for all traffic that was used for less before.
    fn used_for_more(&mut self, relay: RelayId) {
        self.own_relays_changed();
        self.send_rooms_to_relays();
        self.ask_for_known_peers(relay);
    }

    /// The link `from` leads to the relay of the link `into`, which is named twice.
    fn merge_relays(&mut self, from: RelayId, into: RelayId, id: DeviceId) {
        if !self.relays.has(into) {
            return self.begin_anew(from);
        }
        if self.relays.outranks(from, into) {
            return self.take_for(from, into, id);
        }
        let membership = self.relays.membership(from);
        let (at, is_used_for_more) = self.relays.merge(from, into, id);
        debug!(%at, relay = %self.relays.at(into), "two names of one relay");
        if membership.is_none() {
            self.store
                .set_setting(format!("{RELAY_SETTING}{at}"), id.to_string());
        }
        if self.relays.is_resting(into) {
            self.visit_again(into);
        }
        self.peers_move(from, into);
        if is_used_for_more {
            self.used_for_more(into);
        }
        if let Some((fleet, member)) = membership {
            self.member_unusable(fleet, member);
        }
    }

    /// A user names a peer at a relay: from now on it may be reached there.
    pub(super) fn reach_by_relay(
        &mut self,
        peer: DeviceId,
        addrs: Vec<SocketAddr>,
        relays: Vec<RelayAddr>,
    ) {
        let mut addrs: Vec<_> = addrs
            .into_iter()
            .filter(|addr| !is_synthetic(addr.ip()))
            .collect();
        self.forgotten.remove(peer.person());
        self.known_relays.name(peer.person(), relays.clone());
        for relay in relays {
            if let Some(relay) = self.add_relay(relay, false) {
                addrs.push(self.network.relayed_addr(relay, peer));
            }
        }
        self.relays.want();
        self.peers.keep(peer.person());
        self.tell_paths(paths::Input::Found {
            peer,
            addrs,
            origin: Origin::Named,
            alive: true,
        });
        self.store_peer(peer.person());
    }

    /// The address of the relay through which a session goes.
    pub(super) fn relay_of(&self, addr: SocketAddr) -> Option<SocketAddr> {
        let (relay, _) = self.network.channels().peer_at(addr)?;
        self.relays.addr_of(relay).map(canonical)
    }

    /// Informs all relays at which peers find this node of its rooms.
    pub(super) fn send_rooms_to_relays(&mut self) {
        self.relays.set_rooms(&self.room_keys());
        self.connect_with_roster();
    }

    pub(super) fn relay_event(&mut self, relay: RelayId, event: LinkEvent) {
        // The stream about mailboxes may report its end after the link has ended.
        if !self.relays.has(relay) {
            return;
        }
        match event {
            LinkEvent::Up {
                id,
                addr,
                carrier,
                welcome,
                mail,
                woke,
            } => {
                if woke {
                    self.relay_woke(relay, (addr, carrier), &welcome);
                } else {
                    self.relay_up(relay, id, (addr, carrier), &welcome);
                    self.member_up(relay, welcome.features & features::VISITOR != 0);
                }
                match mail {
                    Some(stream) => {
                        let is_own = self.relays.is_in_rooms(relay);
                        self.holder_up(HolderAt::Relay(relay), id, stream, is_own);
                    }
                    None => self.holder_down(HolderAt::Relay(relay)),
                }
            }
            LinkEvent::Mail(stream, frame) => {
                self.mail_frame(HolderAt::Relay(relay), stream, frame)
            }
            LinkEvent::Asleep => self.relays.fell_asleep(relay),
            LinkEvent::Wanted(peer) => {
                let may = self.may_wake_for(peer);
                self.relays.answer_wake(relay, peer, may);
            }
            LinkEvent::Received(frame) => self.relay_frame(relay, frame),
            LinkEvent::Suspect(is_suspect) => self.member_suspect(relay, is_suspect),
            LinkEvent::Down(LinkDown::Duplicate { id, of }) => self.merge_relays(relay, of, id),
            LinkEvent::Down(LinkDown::Fleet(list)) => self.fleet_found(relay, *list),
            LinkEvent::Down(down) => {
                let (is_replaced, is_rested) = (down.is_replaced(), down == LinkDown::Rested);
                self.holder_down(HolderAt::Relay(relay));
                if let Some(reason) = self.relays.went_down(relay, down) {
                    self.reports.notice(reason, None);
                }
                self.leave_relay(relay);
                if !is_rested {
                    self.member_down(relay, is_replaced);
                }
                self.choose_lent_relays();
            }
        }
    }

    /// Sessions through a relay without a connection move to other relays. Without one they wait.
    pub(super) fn leave_relay(&mut self, relay: RelayId) {
        for id in self.sessions.ids() {
            let state = self.sessions.get(id).expect("listed just now");
            let remote = state.remote_addr();
            let through = self.network.channels().peer_at(remote);
            if through.is_some_and(|(through, _)| through == relay) {
                self.tell_paths(paths::Input::Suspect(id, remote));
            }
        }
    }

    fn relay_up(
        &mut self,
        id: RelayId,
        identity: DeviceId,
        way: (SocketAddr, Carrier),
        welcome: &Welcome,
    ) {
        let WentUp {
            at,
            observed,
            is_new_identity,
            mut waited_for,
        } = self.relays.went_up(id, identity, way, welcome);
        if is_new_identity {
            self.store
                .set_setting(format!("{RELAY_SETTING}{at}"), identity.to_string());
        }
        self.own_relays_changed();
        if !self.relays.is_visited(id) && self.relays.served() != Some(identity) {
            let reason = NoticeReason::RelayUp {
                relay: at.to_string(),
                id: identity,
                observed,
                carrier: way.1,
            };
            self.reports.notice(reason, None);
        }
        // Sessions and dials through an earlier connection with this relay continue as soon as they
        // have channels again.
        waited_for.extend(self.peers_through(id));
        for peer in waited_for {
            self.request_channel(id, peer);
        }
        // At a fleet they are sought at the home relay, once it is known which one that is.
        if self.relays.membership(id).is_none() {
            self.ask_for_known_peers(id);
        }
        self.own_addrs_changed();
        self.invitation_relay_up(id);
        self.choose_lent_relays();
    }

    /// A link that slept is connected again. The relay has had this node all the time, so most peers
    /// that came meanwhile have asked for this node. Some that were not there are sought again.
    fn relay_woke(&mut self, id: RelayId, way: (SocketAddr, Carrier), welcome: &Welcome) {
        let woke = self.relays.woke(id, way, welcome);
        let mut waited_for = woke.waited_for;
        waited_for.extend(self.peers_through(id));
        for peer in waited_for {
            self.request_channel(id, peer);
        }
        for peer in woke.sought {
            if self.paths.session(peer).is_none() {
                self.found_at(id, peer);
            }
        }
        if woke.has_moved {
            self.own_addrs_changed();
        }
        self.invitation_relay_up(id);
    }

    /// Whether a sleeping link wakes for a peer that wants a channel. Strangers together wake a node
    /// once in a while only, unless the user has invited one.
    fn may_wake_for(&mut self, peer: DeviceId) -> bool {
        let is_expected = self.is_close(peer) || self.has_open_invitations();
        self.denies(peer).is_none() && (is_expected || self.relays.wake_for_stranger())
    }

    /// The peers whose sessions go through a relay.
    pub(super) fn peers_through(&self, id: RelayId) -> impl Iterator<Item = DeviceId> {
        let sessions = self.sessions.iter();
        let relayed =
            sessions.filter_map(move |state| self.network.channels().peer_at(state.remote_addr()));
        relayed
            .filter(move |(relay, _)| *relay == id)
            .map(|(_, peer)| peer)
    }

    fn relay_frame(&mut self, id: RelayId, frame: FromRelay) {
        match frame {
            FromRelay::Roster(update) => self.roster(id, update),
            FromRelay::Opened { peer, .. } => self.relays.opening_done(id, peer, Ok(())),
            FromRelay::NotOpened { peer, why } => {
                self.relays.opening_done(id, peer, Err(why.into()));
                if why == OpenRefusal::NotHere {
                    self.not_at_relay(id, peer);
                }
            }
            FromRelay::Ended { channel, .. } => self.channel_ended(id, channel),
            FromRelay::Observed(observed) => {
                self.relays.observed_at(id, observed);
                self.own_addrs_changed();
            }
            FromRelay::DialedBack { token, from } => self.relay_dialed_back(id, &token, from),
            FromRelay::Invitation(number, found) => self.invitation_at_relay(id, number, found),
            FromRelay::FleetList(Some(list)) => self.fleet_list_received(id, list),
            FromRelay::FleetList(None) => {}
            FromRelay::Elsewhere { peer, relay } => self.found_elsewhere(id, peer, relay),
            // The link handles them.
            FromRelay::Welcome(_)
            | FromRelay::MaySleep { .. }
            | FromRelay::Sleep { .. }
            | FromRelay::Unknown(_) => {}
        }
    }

    /// A relay reports that a peer is not there. If a session goes through this relay, the peer may
    /// have moved, or the relay may have banned it.
    fn not_at_relay(&mut self, relay: RelayId, peer: DeviceId) {
        let now = self.clock.now();
        for (id, _) in self.sessions_through(relay, peer) {
            self.sessions.doubt(id, now);
        }
    }

    /// The sessions with a peer through a relay, and the peer's address there.
    pub(super) fn sessions_through(
        &self,
        relay: RelayId,
        peer: DeviceId,
    ) -> Vec<(SessionId, SocketAddr)> {
        let channels = self.network.channels();
        let all = self.sessions.ids_with(peer).into_iter();
        let with_addr = all.filter_map(|id| Some((id, self.sessions.get(id)?.remote_addr())));
        with_addr
            .filter(|(_, addr)| channels.peer_at(*addr) == Some((relay, peer)))
            .collect()
    }

    /// Candidates for direct paths include the addresses at which relays see this node.
    fn own_addrs_changed(&mut self) {
        self.tell_rendezvous(rendezvous::Input::NetworkChanged);
    }

    fn roster(&mut self, id: RelayId, update: Roster) {
        for peer in self.relays.update_roster(id, self.device, update) {
            // A peer that comes back to the relay may have a session whose channel ended.
            let Some(state) = self.sessions.with(peer) else {
                continue;
            };
            let (addr, channels) = (state.remote_addr(), self.network.channels());
            if channels.peer_at(addr) == Some((id, peer)) && channels.channel_to(addr).is_none() {
                self.request_channel(id, peer);
            }
        }
        self.send_new_proofs_to_all();
        self.connect_with_roster();
        self.records.members_changed(self.clock.now().mono);
    }

    /// Connects with those peers on the rosters that this node has newly chosen.
    fn connect_with_roster(&mut self) {
        let (rooms, direct) = (self.room_keys(), self.devices_talked_with());
        for (relay, peer) in self.relays.choose_peers(self.device, &rooms, &direct) {
            self.found_at(relay, peer);
        }
    }

    fn room_keys(&self) -> Vec<RoomKey> {
        self.replica
            .rooms()
            .map(|(_, _, key)| key.clone())
            .collect()
    }

    /// A peer could not be reached. On rosters that name it, other peers take its place.
    pub(super) fn not_reached(&mut self, peer: DeviceId) {
        let relays = self.relays.note_missing(peer);
        if relays.is_empty() {
            return;
        }
        for relay in relays {
            self.doubt(relay);
        }
        self.connect_with_roster();
    }

    /// Notifies the user of a relay that names many peers, none of which can be reached through it.
    fn doubt(&mut self, id: RelayId) {
        if self.peers_through(id).next().is_some() {
            return;
        }
        if let Some(at) = self.relays.doubt(id) {
            let reason = NoticeReason::RelayDoubtful {
                relay: at.to_string(),
                peers: DOUBTED_AT,
            };
            self.reports.notice(reason, None);
        }
    }

    /// Peers with which there is a conversation may be at a relay although no room is shared, or
    /// although the relay names nobody. At a relay that a contact or the user lends, all contacts are
    /// sought. At another relay of a ticket or of a contact, only those peers are sought for which it
    /// was named.
    pub(super) fn ask_for_known_peers(&mut self, relay: RelayId) {
        let mut away = if self.relays.is_in_rooms(relay) {
            self.devices_talked_with()
        } else if self.is_lent(relay) {
            let contacts = self.admitted_contacts().into_iter();
            contacts.map(PersonId::only_device).collect()
        } else {
            let here = |addr: RelayAddr| self.relays.find(&addr) == Some(relay);
            let of = |peer: &PersonId| {
                let named = self.known_relays.named(*peer).iter().cloned();
                named.chain(self.relays_of_contact(*peer)).any(here)
            };
            let peers = self.known_relays.peers().into_iter().filter(of);
            peers.map(PersonId::only_device).collect()
        };
        away.retain(|peer| self.paths.session(*peer).is_none());
        for peer in away.into_iter().take(ASKED_FOR_MAX) {
            self.found_at(relay, peer);
        }
    }

    fn devices_talked_with(&self) -> BTreeSet<DeviceId> {
        let people = self.talked_with().into_iter();
        people.map(PersonId::only_device).collect()
    }

    /// Whether the user can name this peer: it was met, or a relay names it.
    pub(super) fn knows(&self, peer: PersonId) -> bool {
        self.peers.knows(peer) || !self.relays.naming(peer.only_device()).is_empty()
    }

    /// The peers of the directory, then the members of this node's rooms that only relays name.
    pub(super) fn all_peers(&self) -> Vec<PeerInfo> {
        let is_known = |device: DeviceId| {
            let peer = device.person();
            self.peers.knows(peer) || self.forgotten.contains(peer)
        };
        let unmet = self.relays.unmet(&self.room_keys(), is_known);
        let unmet = unmet.into_iter().map(DeviceId::person);
        let all = self.peers.all().chain(unmet);
        all.map(|peer| self.peer_info(peer)).collect()
    }

    /// The peer that a word refers to. Of peers that only a relay names, nothing but the id is known.
    pub(super) fn resolve(&self, word: &str) -> Result<PersonId, ResolveError> {
        let resolved = self.peers.resolve(word);
        match resolved {
            Err(ResolveError::Unknown { .. }) if word.len() >= PEER_ID_SHORT_LEN => {
                let named = self.relays.named_by_start(word);
                named.map_or(resolved, |device| Ok(device.person()))
            }
            resolved => resolved,
        }
    }

    /// The peer is, or may be, at this relay now.
    pub(super) fn found_at(&mut self, relay: RelayId, peer: DeviceId) {
        if self.relays.is_resting(relay) {
            self.visit_again(relay);
        }
        self.tell_relayed(relay, peer, true);
    }

    /// The peer may be at this relay. This is no sign of life: if that is known already, the peer is
    /// dialed no sooner.
    pub(super) fn heard_of(&mut self, relay: RelayId, peer: DeviceId) {
        self.tell_relayed(relay, peer, false);
    }

    fn tell_relayed(&mut self, relay: RelayId, peer: DeviceId, alive: bool) {
        let addrs = vec![self.network.relayed_addr(relay, peer)];
        self.tell_paths(paths::Input::Found {
            peer,
            addrs,
            origin: Origin::Relayed,
            alive,
        });
    }

    /// The channel that must open before an address can be dialed. None if the address is not that of
    /// a relayed peer.
    pub(super) fn open_channel_to(&mut self, addr: SocketAddr) -> Option<ChannelOpening> {
        if !is_synthetic(addr.ip()) {
            return None;
        }
        let channels = self.network.channels();
        // The table forgets peers without a channel when it is full, and those of a link that is gone.
        let known = channels.peer_at(addr);
        let Some((relay, peer)) = known.filter(|(relay, _)| self.relays.has(*relay)) else {
            return Some(ChannelOpening::refused(OpenFailed::Gone));
        };
        if self.relays.is_resting(relay) {
            // The home relay knows where the peer is now.
            if let Some(home) = self.relays.home_instead_of(relay) {
                self.heard_of(home, peer);
            }
            return Some(ChannelOpening::refused(OpenFailed::Elsewhere));
        }
        Some(match channels.channel_to(addr) {
            Some(_) => self.relays.use_channel(relay, peer),
            None => {
                let is_close = self.is_close(peer);
                self.relays.open_channel(relay, peer, is_close)
            }
        })
    }

    /// A channel has ended. If a session or a dial goes through it, a new channel is needed: either
    /// end may only have changed its address, or its way to the relay.
    fn channel_ended(&mut self, id: RelayId, channel: ChannelId) {
        // A relay may name a channel that is not this node's, or that was replaced meanwhile.
        let Some((relay, peer)) = self.network.channels().unbind(channel) else {
            return;
        };
        let addr = self.network.relayed_addr(relay, peer);
        let is_needed = self.sessions.at(addr).is_some() || self.relays.is_dialed(relay, peer);
        if relay == id && is_needed {
            self.request_channel(id, peer);
        }
    }

    /// Asks a relay for a channel that a session or a dial needs.
    fn request_channel(&mut self, relay: RelayId, peer: DeviceId) {
        let is_close = self.is_close(peer);
        self.relays.request_channel(relay, peer, is_close);
    }

    /// Whether there is a session with a peer, or it is a contact.
    fn is_close(&self, peer: DeviceId) -> bool {
        self.sessions.with(peer).is_some() || self.policy.of(peer.person()).contact
    }

    /// Another peer than the expected one answered. If a relay connected the two, it is at fault.
    pub(super) fn wrong_peer(&mut self, addr: SocketAddr, expected: DeviceId, found: DeviceId) {
        // A direct address may have passed to another peer. That is no news.
        let known = self.network.channels().peer_at(addr);
        let Some((relay, _)) = known.filter(|(relay, _)| self.relays.has(*relay)) else {
            return self.tell_paths(paths::Input::WrongPeer(expected, addr));
        };
        let at = self.relays.at(relay).to_string();
        self.reports.relay_lies(relay, at, (expected, found));
    }
}
