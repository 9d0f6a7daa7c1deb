//! What users decide about peers, and what peers have decided about this node.
//!
//! What a decision leads to elsewhere is in `policy_changes`.

use std::collections::BTreeMap;

use hobnob_core::Now;
use hobnob_core::peers::Peers;
use hobnob_core::policy::{DenyReason, PeerPolicy, Policies};
use hobnob_protocol::{Nickname, PeerId};

use super::command::PolicyChange;

/// Decisions in both directions.
pub(super) struct Policy {
    pub(super) policies: Policies,
    /// The peers that refused a session with this node, and the reason that the user has seen.
    refused_by: BTreeMap<PeerId, DenyReason>,
}

impl Policy {
    pub(super) fn new(policies: Policies) -> Self {
        Self {
            policies,
            refused_by: BTreeMap::new(),
        }
    }

    /// Why no session with this peer is allowed now, if so. Ask this once a connection exists:
    /// a resumed connection has passed no verifier.
    pub(super) fn denies(&self, peer: PeerId, now: Now) -> Option<DenyReason> {
        self.policies.denies(peer, now)
    }

    /// The policy about a peer as it is after a change. `name` is what a verified peer is called.
    pub(super) fn after(
        &self,
        peer: PeerId,
        change: PolicyChange,
        name: impl FnOnce() -> Nickname,
    ) -> PeerPolicy {
        let mut policy = self.policies.of(peer);
        match change {
            PolicyChange::Ignore | PolicyChange::Unignore => {
                policy.ignored = change == PolicyChange::Ignore;
            }
            PolicyChange::Block | PolicyChange::Unblock => {
                policy.blocked = change == PolicyChange::Block;
            }
            PolicyChange::Kick => {}
            PolicyChange::Verify => {
                (policy.verified, policy.blocked) = (Some(name()), false);
            }
            PolicyChange::Unverify => policy.verified = None,
        }
        policy
    }

    /// The verified peer whose nickname another peer takes for itself, if so.
    pub(super) fn name_taken_from(
        &self,
        peer: PeerId,
        nick: &Nickname,
        peers: &Peers,
    ) -> Option<PeerId> {
        self.policies.whose_name(peer, nick, peers)
    }

    /// A peer refused a session. Returns whether the user has not seen this reason yet.
    pub(super) fn note_refused_by(&mut self, peer: PeerId, reason: DenyReason) -> bool {
        self.refused_by.insert(peer, reason) != Some(reason)
    }

    /// A session with the peer is up: a later refusal is news again.
    pub(super) fn forget_refused_by(&mut self, peer: PeerId) {
        self.refused_by.remove(&peer);
    }

    /// Why a peer refused a session the last time, if it did.
    pub(super) fn refused_by(&self, peer: PeerId) -> Option<DenyReason> {
        self.refused_by.get(&peer).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Policy {
        Policy::new(Policies::new(Vec::new()))
    }

    fn ann() -> PeerId {
        PeerId::from_bytes([1; 32])
    }

    fn named() -> Nickname {
        Nickname::new("ann").expect("a nickname")
    }

    #[test]
    fn to_verify_a_peer_unblocks_it() {
        let mut policy = nobody();
        let blocked = policy.after(ann(), PolicyChange::Block, named);
        assert!(blocked.blocked);
        assert!(policy.policies.set(ann(), blocked));
        let verified = policy.after(ann(), PolicyChange::Verify, named);
        assert_eq!(
            (verified.blocked, verified.verified),
            (false, Some(named()))
        );
    }

    #[test]
    fn a_kick_changes_nothing_that_is_stored() {
        let kicked = nobody().after(ann(), PolicyChange::Kick, named);
        assert_eq!(kicked, PeerPolicy::default());
    }

    #[test]
    fn a_refusal_is_news_once_until_there_is_a_session() {
        let mut policy = nobody();
        assert!(policy.note_refused_by(ann(), DenyReason::Blocked));
        assert!(!policy.note_refused_by(ann(), DenyReason::Blocked));
        assert!(policy.note_refused_by(ann(), DenyReason::Kicked));
        policy.forget_refused_by(ann());
        assert_eq!(policy.refused_by(ann()), None);
        assert!(policy.note_refused_by(ann(), DenyReason::Kicked));
    }
}
