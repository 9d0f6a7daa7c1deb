//! Connects with the peers that relays name.

use hobnob_core::paths;
use hobnob_protocol::PeerId;
use hobnob_protocol::relay::{Roster, RosterChange, ToRelay};

use super::relays::roster::wanted;
use super::sessions::SessionState;
use super::state::Engine;
use crate::net::channels::RelayId;

/// Peers that this node has talked with and that a relay did not name, which are asked for when the
/// relay is there.
const ASKED_FOR_MAX: usize = 64;

/// So many people whom a relay names and whom nobody reaches are no coincidence, if nobody at all
/// is reached through it.
const DOUBTED_AT: usize = 8;

impl Engine {
    pub(super) fn roster(&mut self, id: RelayId, roster: Roster) {
        let me = self.me;
        let Some(relay) = self.relays.list.get_mut(&id) else {
            return;
        };
        if roster.anew {
            relay.forget_roster();
        }
        let mut came = Vec::new();
        for change in roster.changes {
            match change {
                RosterChange::Here { peer, rooms } if peer != me && relay.has_room_for(peer) => {
                    relay.roster.insert(peer, rooms.into_iter().collect());
                    relay.missing.remove(&peer);
                    came.push(peer);
                }
                RosterChange::Here { .. } => {}
                RosterChange::Gone { peer } => {
                    relay.roster.remove(&peer);
                    relay.missing.remove(&peer);
                }
            }
        }
        // A peer that has come back to the relay may have a session with us that lost its channel.
        for peer in came {
            let Some(addr) = self
                .sessions
                .with(peer)
                .map(|link| link.session.remote_addr())
            else {
                continue;
            };
            let through = self.network.bound.channels.peer_at(addr) == Some((id, peer));
            if through && self.network.bound.channels.channel_to(addr).is_none() {
                self.relays.say(id, ToRelay::Open(peer));
            }
        }
        self.connect_with_near();
    }

    /// Finds, for each relay, whom of its people to connect with, and does so with those who are
    /// new among them.
    pub(super) fn connect_with_near(&mut self) {
        let rooms: Vec<_> = self.replica.rooms().map(|(room, ..)| room).collect();
        let direct = self.talked_with();
        let mut found = Vec::new();
        for (id, relay) in &mut self.relays.list {
            let wanted = wanted(self.me, &relay.roster, &relay.missing, &rooms, &direct);
            found.extend(wanted.difference(&relay.wanted).map(|peer| (*id, *peer)));
            relay.wanted = wanted;
        }
        for (relay, peer) in found {
            self.found_at(relay, peer);
        }
    }

    /// A dial came to nothing: where rosters named the peer, others take its place.
    pub(in crate::engine) fn not_reached(&mut self, peer: PeerId) {
        let named = self
            .relays
            .list
            .iter_mut()
            .filter(|(_, relay)| relay.roster.contains_key(&peer));
        let missing: Vec<_> = named
            .filter_map(|(id, relay)| relay.missing.insert(peer).then_some(*id))
            .collect();
        if missing.is_empty() {
            return;
        }
        for relay in missing {
            self.doubt(relay);
        }
        self.connect_with_near();
    }

    /// Tells the user of a relay that names many people, none of whom is reached through it.
    fn doubt(&mut self, id: RelayId) {
        let at_relay = |link: &SessionState| {
            self.network
                .bound
                .channels
                .peer_at(link.session.remote_addr())
                .is_some_and(|(relay, _)| relay == id)
        };
        if self.sessions.live.values().any(at_relay) {
            return;
        }
        let Some(relay) = self
            .relays
            .list
            .get_mut(&id)
            .filter(|relay| relay.missing.len() >= DOUBTED_AT)
        else {
            return;
        };
        let Some(up) = relay.up.as_mut().filter(|up| !up.doubted) else {
            return;
        };
        up.doubted = true;
        let text = format!(
            "The relay at {} names at least {DOUBTED_AT} people, and none of them is reached through it: it does not pass on what it \
             should, or its list of who is there is wrong. What you say to them stays queued. Ask its operator, or use another relay.",
            relay.at
        );
        self.reports.notice("relay-doubtful", text, None);
    }

    /// Those whom this node talks with may be there although no room is shared, or the relay names
    /// nobody.
    pub(super) fn ask_for_known(&mut self, relay: RelayId) {
        if self
            .relays
            .list
            .get(&relay)
            .is_none_or(|relay| !relay.in_rooms)
        {
            return;
        }
        let away: Vec<_> = self
            .talked_with()
            .into_iter()
            .filter(|peer| self.paths.session(*peer).is_none())
            .take(ASKED_FOR_MAX)
            .collect();
        for peer in away {
            self.found_at(relay, peer);
        }
    }

    /// The peer is, or may be, at this relay now.
    fn found_at(&mut self, relay: RelayId, peer: PeerId) {
        let addrs = vec![self.network.relayed_addr(relay, peer)];
        self.paths.handle(
            self.clock.now(),
            paths::Input::Found {
                peer,
                addrs,
                alive: true,
            },
        );
    }
}
