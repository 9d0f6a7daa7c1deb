//! Who is at a relay, and whom of them this node connects with.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use hobnob_protocol::{ConversationId, PeerId};

use super::Relay;

/// Peers of one relay that are remembered as being there; further ones can be reached by their id.
const ROSTER_MAX: usize = 4096;

/// Members of a room that a node connects with through a relay, of its own accord: the next ones
/// after it in the order of ids. As many others connect with it, so that a room has eight relayed
/// neighbours and holds together whoever is missing.
const NEXT_IN_ROOM: usize = 4;

impl Relay {
    pub(in crate::engine) fn forget_roster(&mut self) {
        self.roster.clear();
        self.missing.clear();
    }

    pub(in crate::engine) fn has_room_for(&self, peer: PeerId) -> bool {
        self.roster.len() < ROSTER_MAX || self.roster.contains_key(&peer)
    }
}

/// Whom of a roster to connect with: in each room the next few after us, in the order of ids and
/// around, that are not known to be missing; and those with whom there is a conversation.
pub(in crate::engine) fn wanted(
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
