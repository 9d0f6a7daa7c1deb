//! The proofs of membership that this node sends to one peer.
//!
//! Somebody who sees the proof of a room with a passphrase can guess the passphrase, at the cost of
//! one stretching for each guess. So this node sends such a proof only to peers that it trusts with
//! the room, and in answer to a proof of the same room.

use std::collections::BTreeSet;

use hobnob_protocol::frame::PROOFS_MULTIPLE;
use hobnob_protocol::{ConversationId, DeviceId, PersonId, RoomKey, RoomProof};

/// Memberships that are remembered during a run.
const KNOWN_MEMBERS_MAX: usize = 4096;

/// This node's rooms, sorted by whether one peer gets their proofs unasked.
#[derive(Debug, Clone)]
pub(super) struct RoomProofs {
    me: DeviceId,
    /// Makes the random proofs that fill a list up. It stays the same during a run: otherwise two
    /// lists in one session would show which proofs are random.
    filler: [u8; 32],
    rooms: Vec<ProvableRoom>,
}

#[derive(Debug, Clone)]
struct ProvableRoom {
    id: ConversationId,
    key: RoomKey,
    /// Whether to prove the room only to a peer that has proved it first.
    withheld: bool,
}

impl RoomProofs {
    pub(super) fn new(me: DeviceId, filler: [u8; 32]) -> Self {
        Self {
            me,
            filler,
            rooms: Vec::new(),
        }
    }

    /// Adds a room of this node.
    pub(super) fn add(&mut self, id: ConversationId, key: RoomKey, withheld: bool) {
        self.rooms.push(ProvableRoom { id, key, withheld });
    }

    /// Answers the proofs of a peer that dialed: the rooms that it has proved are not withheld.
    pub(super) fn answer(
        mut self,
        exporter: &[u8; 32],
        peer: DeviceId,
        theirs: &[RoomProof],
    ) -> Self {
        for room in self.rooms.iter_mut().filter(|room| room.withheld) {
            room.withheld = !theirs.contains(&room.key.proof(exporter, peer));
        }
        self
    }

    /// The rooms that [`RoomProofs::list`] proves.
    pub(super) fn proved(&self) -> BTreeSet<ConversationId> {
        self.provable().map(|room| room.id).collect()
    }

    /// The proofs for the session with this exporter secret. Their number is a multiple of
    /// [`PROOFS_MULTIPLE`] and at least that.
    pub(super) fn list(&self, exporter: &[u8; 32]) -> Vec<RoomProof> {
        let proof = |room: &ProvableRoom| room.key.proof(exporter, self.me);
        let mut proofs: Vec<_> = self.provable().map(proof).collect();
        let total = proofs.len().max(1).next_multiple_of(PROOFS_MULTIPLE);
        proofs.extend((proofs.len()..total).map(|place| self.fill(exporter, place)));
        // In order of their values, so that a place in the list shows nothing.
        proofs.sort_unstable();
        proofs
    }

    fn provable(&self) -> impl Iterator<Item = &ProvableRoom> {
        self.rooms.iter().filter(|room| !room.withheld)
    }

    fn fill(&self, exporter: &[u8; 32], place: usize) -> RoomProof {
        let place = u64::try_from(place).expect("a node has few rooms");
        RoomProof::filler(&self.filler, exporter, place)
    }
}

/// The peers that have proved a room during this run. They are proved the room in turn when they
/// connect again.
#[derive(Debug, Default)]
pub(super) struct KnownMembers(BTreeSet<(ConversationId, PersonId)>);

impl KnownMembers {
    /// The peer has proved these rooms, none of which is open. Beyond [`KNOWN_MEMBERS_MAX`] another
    /// member is forgotten, which must then prove its room first.
    pub(super) fn add(&mut self, peer: PersonId, rooms: &[ConversationId]) {
        for room in rooms {
            self.0.insert((*room, peer));
            if self.0.len() > KNOWN_MEMBERS_MAX {
                self.0.pop_first();
            }
        }
    }

    pub(super) fn contains(&self, room: ConversationId, peer: PersonId) -> bool {
        self.0.contains(&(room, peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::RoomKind;

    const EXPORTER: [u8; 32] = [3; 32];

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn key(n: u8) -> RoomKey {
        RoomKey::from_bytes(RoomKind::Passphrase, [n; 32])
    }

    fn proofs(rooms: &[(u8, bool)]) -> RoomProofs {
        let mut proofs = RoomProofs::new(peer(1), [9; 32]);
        for &(n, withheld) in rooms {
            proofs.add(key(n).conversation(), key(n), withheld);
        }
        proofs
    }

    #[test]
    fn the_number_of_proofs_does_not_show_the_number_of_rooms() {
        let lens = |rooms: &[(u8, bool)]| proofs(rooms).list(&EXPORTER).len();
        assert_eq!(
            (lens(&[]), lens(&[(1, false)]), lens(&[(1, true)])),
            (8, 8, 8)
        );
        let nine: Vec<_> = (1..10).map(|n| (n, false)).collect();
        assert_eq!((lens(&nine[..8]), lens(&nine)), (8, 16));
    }

    #[test]
    fn a_withheld_room_is_proved_in_answer_to_its_proof_only() {
        let rooms = proofs(&[(1, true), (2, true)]);
        assert!(rooms.proved().is_empty());
        let theirs = [key(2).proof(&EXPORTER, peer(5))];
        let answer = rooms.clone().answer(&EXPORTER, peer(5), &theirs);
        assert_eq!(answer.proved(), [key(2).conversation()].into());
        assert!(
            answer
                .list(&EXPORTER)
                .contains(&key(2).proof(&EXPORTER, peer(1)))
        );
        assert!(
            !answer
                .list(&EXPORTER)
                .contains(&key(1).proof(&EXPORTER, peer(1)))
        );
        // A proof that was made by somebody else, or for another session, is none.
        for (exporter, prover) in [(EXPORTER, peer(6)), ([4; 32], peer(5))] {
            let theirs = [key(2).proof(&exporter, prover)];
            let answer = rooms.clone().answer(&EXPORTER, peer(5), &theirs);
            assert!(answer.proved().is_empty());
        }
    }

    #[test]
    fn a_second_list_in_a_session_shows_no_more_than_what_has_changed() {
        let before: BTreeSet<_> = proofs(&[(1, false)]).list(&EXPORTER).into_iter().collect();
        let after = proofs(&[(1, false), (2, false)]).list(&EXPORTER);
        let new: Vec<_> = after
            .iter()
            .filter(|proof| !before.contains(proof))
            .collect();
        assert_eq!(new, [&key(2).proof(&EXPORTER, peer(1))]);
    }

    #[test]
    fn members_are_remembered_up_to_a_limit() {
        let mut members = KnownMembers::default();
        let room = key(1).conversation();
        members.add(peer(5).person(), &[room]);
        assert!(members.contains(room, peer(5).person()));
        assert!(!members.contains(key(2).conversation(), peer(5).person()));
        assert!(!members.contains(room, peer(6).person()));
        for n in 0..=KNOWN_MEMBERS_MAX {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            members.add(PersonId::from_bytes(id), &[room]);
        }
        assert_eq!(members.0.len(), KNOWN_MEMBERS_MAX);
    }

    #[test]
    fn the_list_is_in_order_of_values() {
        let list = proofs(&[(1, false), (2, false), (3, false)]).list(&EXPORTER);
        assert!(list.is_sorted());
    }
}
