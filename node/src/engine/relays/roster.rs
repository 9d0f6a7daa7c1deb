//! The peers at a relay, and the choice of those that this node connects with.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use hobnob_core::overlay::neighbours;
use hobnob_protocol::relay::{Roster as Update, RosterChange};
use hobnob_protocol::{DeviceId, RoomTag};

/// Maximum peers of one relay that are remembered as being there. One more replaces another with
/// which this node does not connect. That one can still be reached by its id.
const ROSTER_MAX: usize = 4096;

/// If a relay names this many peers that this node cannot reach, and the node reaches nobody at all
/// through that relay, the relay is at fault.
pub(crate) const DOUBTED_AT: usize = 8;

/// The peers at one relay.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// Each peer with those of its rooms that it shares with this node.
    here: BTreeMap<DeviceId, BTreeSet<RoomTag>>,
    /// The peers with which this node connects.
    wanted: BTreeSet<DeviceId>,
    /// The peers that could not be reached since the relay last named them. Others take their
    /// places.
    missing: BTreeSet<DeviceId>,
}

impl Roster {
    /// The relay sends changes. Returns the peers that have arrived.
    pub(super) fn update(&mut self, me: DeviceId, update: Update) -> Vec<DeviceId> {
        if update.anew {
            self.here.clear();
            self.missing.clear();
        }
        let mut arrived = Vec::new();
        for change in update.changes {
            match change {
                RosterChange::Here { peer, rooms } if peer != me => {
                    self.make_room_for(peer);
                    self.here.insert(peer, rooms.into_iter().collect());
                    self.missing.remove(&peer);
                    arrived.push(peer);
                }
                RosterChange::Here { .. } | RosterChange::Unknown(_) => {}
                RosterChange::Gone { peer } => {
                    self.here.remove(&peer);
                    self.missing.remove(&peer);
                }
            }
        }
        arrived
    }

    /// A full roster loses a peer that cannot be reached, or else one with which this node does not
    /// connect.
    fn make_room_for(&mut self, peer: DeviceId) {
        if self.here.len() < ROSTER_MAX || self.here.contains_key(&peer) {
            return;
        }
        let after = self.here.range(peer..);
        let mut around = after.chain(self.here.range(..peer)).map(|(peer, _)| *peer);
        let next = around.find(|peer| !self.wanted.contains(peer));
        let first = self.missing.first().copied().or(next);
        let first = first.or_else(|| self.here.keys().next().copied());
        let leaves = first.expect("ROSTER_MAX is not 0");
        self.here.remove(&leaves);
        self.missing.remove(&leaves);
    }

    /// Whether the relay names this peer in the room with this tag.
    pub(super) fn lists(&self, peer: DeviceId, room: RoomTag) -> bool {
        self.here
            .get(&peer)
            .is_some_and(|rooms| rooms.contains(&room))
    }

    /// The peers that the relay names in the room with this tag.
    pub(super) fn members(&self, room: RoomTag) -> impl Iterator<Item = DeviceId> {
        let here = self.here.iter();
        let there = here.filter(move |(_, rooms)| rooms.contains(&room));
        there.map(|(peer, _)| *peer)
    }

    pub(super) fn names(&self, peer: DeviceId) -> bool {
        self.here.contains_key(&peer)
    }

    /// The peers whose id starts with this text.
    pub(super) fn starting_with<'a>(
        &'a self,
        text: &'a str,
    ) -> impl Iterator<Item = DeviceId> + 'a {
        let ids = self.here.keys().copied();
        ids.filter(move |peer| peer.to_string().starts_with(text))
    }

    /// A peer could not be reached. Returns whether the relay names it and it was not known to be
    /// missing.
    pub(super) fn note_missing(&mut self, peer: DeviceId) -> bool {
        self.names(peer) && self.missing.insert(peer)
    }

    /// Whether so many peers are missing that the relay must be at fault.
    pub(super) fn is_doubtful(&self) -> bool {
        self.missing.len() >= DOUBTED_AT
    }

    /// Decides again with which peers to connect, and returns the new ones among them. These are
    /// the peers with which there is a conversation, and in each room this node's neighbours
    /// ([`hobnob_core::overlay`]) among the members that are not known to be missing.
    pub(super) fn choose(
        &mut self,
        me: DeviceId,
        rooms: &[RoomTag],
        direct: &BTreeSet<DeviceId>,
    ) -> Vec<DeviceId> {
        let talked_with = self.here.keys().filter(|peer| direct.contains(peer));
        let mut wanted: BTreeSet<_> = talked_with.copied().collect();
        for room in rooms {
            let after = self.here.range((Bound::Excluded(me), Bound::Unbounded));
            let around = after.chain(self.here.range(..me));
            let others = around
                .filter(|(peer, theirs)| theirs.contains(room) && !self.missing.contains(peer));
            let others: Vec<_> = others.map(|(peer, _)| *peer).collect();
            wanted.extend(neighbours(me, &others));
        }
        let new = wanted.difference(&self.wanted).copied().collect();
        self.wanted = wanted;
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn room(n: u8) -> RoomTag {
        RoomTag::from_bytes([n; 32])
    }

    fn here(n: u8, rooms: &[RoomTag]) -> RosterChange {
        RosterChange::Here {
            peer: peer(n),
            rooms: rooms.to_vec(),
        }
    }

    fn update(anew: bool, changes: Vec<RosterChange>) -> Update {
        Update {
            version: 1,
            anew,
            changes,
        }
    }

    fn roster(me: DeviceId, changes: Vec<RosterChange>) -> Roster {
        let mut roster = Roster::default();
        roster.update(me, update(true, changes));
        roster
    }

    #[test]
    fn a_peer_is_there_until_the_relay_says_otherwise() {
        let mut roster = Roster::default();
        let first = update(true, vec![here(1, &[]), here(2, &[]), here(9, &[])]);
        assert_eq!(roster.update(peer(9), first), [peer(1), peer(2)], "not me");
        roster.update(
            peer(9),
            update(false, vec![RosterChange::Gone { peer: peer(1) }]),
        );
        assert!(!roster.names(peer(1)) && roster.names(peer(2)));
        roster.update(peer(9), update(true, vec![here(3, &[])]));
        assert!(!roster.names(peer(2)), "the relay began a new roster");
    }

    #[test]
    fn peers_of_other_rooms_are_left_alone_unless_there_is_a_conversation() {
        let (ours, other) = (room(1), room(2));
        let changes = vec![here(1, &[ours]), here(2, &[other]), here(3, &[other])];
        let mut roster = roster(peer(9), changes);
        let direct = BTreeSet::from([peer(3), peer(4)]);
        let chosen = roster.choose(peer(9), &[ours], &direct);
        assert_eq!(chosen, [peer(1), peer(3)]);
        assert!(roster.members(ours).eq([peer(1)]));
        assert_eq!(roster.choose(peer(9), &[ours], &direct), [], "not again");
    }

    #[test]
    fn a_full_roster_takes_newcomers_and_keeps_those_that_this_node_connects_with() {
        let of = |n: usize| {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            DeviceId::from_bytes(bytes)
        };
        let here = |n| RosterChange::Here {
            peer: of(n),
            rooms: Vec::new(),
        };
        let mut roster = roster(peer(9), (0..ROSTER_MAX).map(here).collect());
        roster.choose(peer(9), &[], &BTreeSet::from([of(5)]));
        roster.note_missing(of(3));
        let newcomers = (ROSTER_MAX..2 * ROSTER_MAX - 1).map(here).collect();
        roster.update(peer(9), update(false, newcomers));
        assert_eq!(roster.here.len(), ROSTER_MAX);
        assert!(roster.names(of(5)) && !roster.names(of(3)));
        assert!(roster.names(of(2 * ROSTER_MAX - 2)));
    }

    #[test]
    fn another_member_takes_the_place_of_a_missing_one() {
        let changes = (1..=5).map(|n| here(n, &[room(1)])).collect();
        let mut roster = roster(peer(0), changes);
        let nobody = BTreeSet::new();
        let first = roster.choose(peer(0), &[room(1)], &nobody);
        assert_eq!(first, [1, 2, 3, 4].map(peer));
        assert!(roster.note_missing(peer(2)));
        assert!(!roster.note_missing(peer(2)), "that is known");
        assert!(!roster.note_missing(peer(99)), "the relay does not name it");
        assert_eq!(roster.choose(peer(0), &[room(1)], &nobody), [peer(5)]);
    }

    #[test]
    fn a_relay_is_doubtful_when_eight_of_its_peers_are_missing() {
        let mut roster = roster(peer(0), (1..=8).map(|n| here(n, &[])).collect());
        for n in 1..=8 {
            assert!(!roster.is_doubtful());
            roster.note_missing(peer(n));
        }
        assert!(roster.is_doubtful());
        roster.update(peer(0), update(false, vec![here(8, &[])]));
        assert!(!roster.is_doubtful(), "one of them is back");
    }
}
