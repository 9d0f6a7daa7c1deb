//! Which rooms both ends of a session are members of.
//!
//! Each end proves its membership without showing the room's key: a proof is bound to the TLS
//! session and to the sender, so nobody can use it again elsewhere.

use std::collections::BTreeSet;

use hobnob_protocol::{ConversationId, PersonId, RoomKey, RoomProof};

/// The proofs of one session's peer, and the rooms that they prove.
#[derive(Debug)]
pub(super) struct Membership {
    /// The secret of the TLS session that proofs are bound to.
    exporter: [u8; 32],
    proofs: Vec<RoomProof>,
    shared: BTreeSet<ConversationId>,
    /// Whether this node proves its rooms with a passphrase unasked: it dialed a peer that its user
    /// named, or one on a link of its own.
    goes_first: bool,
    /// The rooms that this node has proved.
    proved: BTreeSet<ConversationId>,
}

impl Membership {
    /// A session without proofs yet. `shared` are the rooms that an earlier session with the peer
    /// has established: until the first proofs arrive they count.
    pub(super) fn new(
        exporter: [u8; 32],
        goes_first: bool,
        shared: BTreeSet<ConversationId>,
    ) -> Self {
        Self {
            exporter,
            proofs: Vec::new(),
            shared,
            goes_first,
            proved: BTreeSet::new(),
        }
    }

    pub(super) fn exporter(&self) -> &[u8; 32] {
        &self.exporter
    }

    pub(super) fn shared(&self) -> &BTreeSet<ConversationId> {
        &self.shared
    }

    /// Whether this node proves its rooms with a passphrase unasked.
    pub(super) fn goes_first(&self) -> bool {
        self.goes_first
    }

    /// The rooms that this node has proved with its last profile.
    pub(super) fn proved(&self) -> &BTreeSet<ConversationId> {
        &self.proved
    }

    /// This node sends proofs of these rooms.
    pub(super) fn set_proved(&mut self, proved: BTreeSet<ConversationId>) {
        self.proved = proved;
    }

    /// The peer sent proofs, which replace its earlier ones. [`Membership::compare`] judges them.
    pub(super) fn set_proofs(&mut self, proofs: Vec<RoomProof>) {
        self.proofs = proofs;
    }

    /// Compares the peer's proofs with this node's rooms. Returns whether the shared rooms changed.
    pub(super) fn compare<'a>(
        &mut self,
        peer: PersonId,
        rooms: impl Iterator<Item = (ConversationId, &'a RoomKey)>,
    ) -> bool {
        let proved = |key: &RoomKey| {
            self.proofs
                .contains(&key.proof(&self.exporter, peer.only_device()))
        };
        let shared: BTreeSet<_> = rooms
            .filter(|(_, key)| proved(key))
            .map(|(id, _)| id)
            .collect();
        let before = std::mem::replace(&mut self.shared, shared);
        before != self.shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPORTER: [u8; 32] = [3; 32];

    fn ann() -> PersonId {
        PersonId::from_bytes([1; 32])
    }

    fn key(secret: u8) -> RoomKey {
        RoomKey::random([secret; 32])
    }

    #[test]
    fn a_peer_with_the_key_shares_the_room() {
        let (ours, mut membership) = (key(7), Membership::new(EXPORTER, false, BTreeSet::new()));
        membership.set_proofs(vec![ours.proof(&EXPORTER, ann().only_device())]);
        assert!(membership.compare(ann(), [(ours.conversation(), &ours)].into_iter()));
        assert_eq!(*membership.shared(), [ours.conversation()].into());
        let again = membership.compare(ann(), [(ours.conversation(), &ours)].into_iter());
        assert!(!again, "nothing changed");
        assert!(membership.compare(ann(), std::iter::empty()), "we left");
    }

    #[test]
    fn proofs_of_another_key_session_or_peer_prove_nothing() {
        let (ours, bob) = (key(7), PersonId::from_bytes([2; 32]));
        let mut membership = Membership::new(EXPORTER, false, BTreeSet::new());
        for wrong in [
            key(8).proof(&EXPORTER, ann().only_device()),
            ours.proof(&[4; 32], ann().only_device()),
            ours.proof(&EXPORTER, bob.only_device()),
        ] {
            membership.set_proofs(vec![wrong]);
            assert!(!membership.compare(ann(), [(ours.conversation(), &ours)].into_iter()));
        }
    }

    #[test]
    fn rooms_of_the_session_before_count_until_the_first_proofs() {
        let ours = key(7);
        let mut membership = Membership::new(EXPORTER, false, [ours.conversation()].into());
        assert_eq!(*membership.shared(), [ours.conversation()].into());
        assert!(membership.compare(ann(), [(ours.conversation(), &ours)].into_iter()));
        assert!(membership.shared().is_empty());
    }
}
