//! Who is at a relay, and whom of them this node connects with.

use std::ops::Bound;

use hobnob_protocol::relay::{Roster, RosterChange};

use super::super::Engine;
use super::super::sessions::SessionState;
use super::Relay;
use crate::net::channels::RelayId;
use hobnob_core::paths;
use hobnob_protocol::ConversationId;
use hobnob_protocol::PeerId;
use hobnob_protocol::relay::ToRelay;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Peers of one relay that are remembered as being there; further ones can be reached by their id.
const ROSTER_MAX: usize = 4096;

/// Members of a room that a node connects with through a relay, of its own accord: the next ones
/// after it in the order of ids. As many others connect with it, so that a room has eight relayed
/// neighbours and holds together whoever is missing.
const NEXT_IN_ROOM: usize = 4;

/// So many people whom a relay names and whom nobody reaches are no coincidence, if nobody at all
/// is reached through it.
const DOUBTED_AT: usize = 8;

/// Peers that this node has talked with and that a relay did not name, which are asked for when the
/// relay is there.
const ASKED_FOR_MAX: usize = 64;

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
            let Some(addr) = self.link_with(peer).map(|link| link.session.remote_addr()) else {
                continue;
            };
            let through = self.bound.channels.peer_at(addr) == Some((id, peer));
            if through && self.bound.channels.channel_to(addr).is_none() {
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
            self.bound
                .channels
                .peer_at(link.session.remote_addr())
                .is_some_and(|(relay, _)| relay == id)
        };
        if self.links.values().any(at_relay) {
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
        self.notice("relay-doubtful", text, None);
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
        let addrs = vec![self.relayed_addr(relay, peer)];
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

impl Relay {
    pub(super) fn forget_roster(&mut self) {
        self.roster.clear();
        self.missing.clear();
    }

    fn has_room_for(&self, peer: PeerId) -> bool {
        self.roster.len() < ROSTER_MAX || self.roster.contains_key(&peer)
    }
}

/// Whom of a roster to connect with: in each room the next few after us, in the order of ids and
/// around, that are not known to be missing; and those with whom there is a conversation.
fn wanted(
    me: PeerId,
    roster: &BTreeMap<PeerId, BTreeSet<ConversationId>>,
    missing: &BTreeSet<PeerId>,
    rooms: &[ConversationId],
    direct: &BTreeSet<PeerId>,
) -> BTreeSet<PeerId> {
    let mut wanted: BTreeSet<_> = roster
        .keys()
        .copied()
        .filter(|peer| direct.contains(peer))
        .collect();
    for room in rooms {
        let after = roster.range((Bound::Excluded(me), Bound::Unbounded));
        let around = after
            .chain(roster.range(..me))
            .filter(|(peer, _)| !missing.contains(peer));
        wanted.extend(
            around
                .filter(|(_, theirs)| theirs.contains(room))
                .take(NEXT_IN_ROOM)
                .map(|(peer, _)| *peer),
        );
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId::from_bytes([n; 32])
    }

    #[test]
    fn a_room_is_a_ring_in_which_nobody_has_more_than_eight_neighbours() {
        let room = ConversationId::from_bytes([9; 32]);
        let all: BTreeMap<_, _> = (0..40).map(|n| (peer(n), BTreeSet::from([room]))).collect();
        let mut neighbours: BTreeMap<PeerId, BTreeSet<PeerId>> = BTreeMap::new();
        for me in all.keys() {
            let roster = all
                .iter()
                .filter(|(peer, _)| *peer != me)
                .map(|(peer, rooms)| (*peer, rooms.clone()))
                .collect();
            for other in wanted(*me, &roster, &BTreeSet::new(), &[room], &BTreeSet::new()) {
                neighbours.entry(*me).or_default().insert(other);
                neighbours.entry(other).or_default().insert(*me);
            }
        }
        assert!(neighbours.values().all(|of| of.len() == 2 * NEXT_IN_ROOM));
        // Three in a row may be missing, and the rest still hold together.
        let gone = [peer(5), peer(6), peer(7)];
        let (mut reached, mut next) = (BTreeSet::from([peer(0)]), vec![peer(0)]);
        while let Some(at) = next.pop() {
            next.extend(
                neighbours[&at]
                    .iter()
                    .filter(|peer| !gone.contains(peer) && reached.insert(**peer)),
            );
        }
        assert_eq!(reached.len(), 37);
    }

    #[test]
    fn those_in_other_rooms_are_left_alone_unless_there_is_a_conversation() {
        let (ours, other) = (
            ConversationId::from_bytes([1; 32]),
            ConversationId::from_bytes([2; 32]),
        );
        let roster = BTreeMap::from([
            (peer(1), BTreeSet::from([ours])),
            (peer(2), [other].into()),
            (peer(3), [other].into()),
        ]);
        let direct = BTreeSet::from([peer(3), peer(4)]);
        assert_eq!(
            wanted(peer(9), &roster, &BTreeSet::new(), &[ours], &direct),
            [peer(1), peer(3)].into()
        );
        assert_eq!(
            wanted(peer(9), &roster, &[peer(1)].into(), &[ours], &direct),
            [peer(3)].into()
        );
    }
}
