//! The user's decisions about peers, and the decisions of peers about this node.
//!
//! Not here: the effects of a decision on other parts, which are in `policy_changes`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_core::Now;
use hobnob_core::peers::Peers;
use hobnob_core::policy::{DenyReason, DirectWith, PeerPolicy, Policies};
use hobnob_protocol::{Nickname, PersonId};

use super::command::PolicyChange;
use crate::error::PolicyError;

/// Maximum strangers of whose waiting messages the user is notified in one run. A flood of strangers
/// must not fill the screen.
const NOTIFIED_MAX: usize = 100;

/// Maximum peers that are remembered because they refused a session. A further one replaces one of
/// them. Anybody can announce peers that refuse.
const REFUSED_BY_MAX: usize = 1024;

/// Decisions in both directions.
pub(super) struct Policy {
    policies: Policies,
    /// The peers that learn this node's addresses through a relay.
    direct_with: DirectWith,
    /// Strangers of whose waiting messages the user was notified, at most [`NOTIFIED_MAX`].
    requests_full: BTreeSet<PersonId>,
    /// The peers that refused a session with this node, and the reason that the user has seen.
    refused_by: BTreeMap<PersonId, DenyReason>,
}

impl Policy {
    pub(super) fn new(policies: Policies, direct_with: DirectWith) -> Self {
        Self {
            policies,
            direct_with,
            requests_full: BTreeSet::new(),
            refused_by: BTreeMap::new(),
        }
    }

    /// Other peers learn this node's addresses from now on.
    pub(super) fn set_direct_with(&mut self, direct_with: DirectWith) {
        self.direct_with = direct_with;
    }

    /// Why no session with this peer is allowed now, if so. Ask this once a connection exists:
    /// a resumed connection has passed no verifier.
    pub(super) fn denies(&self, peer: PersonId, now: Now) -> Option<DenyReason> {
        self.policies.denies(peer, now)
    }

    /// When a kicked peer may return. `None`: it is not kicked any more.
    pub(super) fn kicked_until(&self, peer: PersonId, now: Now) -> Option<Duration> {
        self.policies.kicked_until(peer, now)
    }

    /// The user's policy about a peer.
    pub(super) fn of(&self, peer: PersonId) -> PeerPolicy {
        self.policies.of(peer)
    }

    /// The peers about which the user decided something.
    pub(super) fn decided(&self) -> Vec<PersonId> {
        self.policies.decided().collect()
    }

    pub(super) fn contacts(&self) -> Vec<PersonId> {
        self.policies.contacts().collect()
    }

    /// Whether the user has accepted this peer, or has written to it.
    pub(super) fn is_contact(&self, peer: PersonId) -> bool {
        self.of(peer).contact
    }

    /// Whether programs of this node and of a peer may talk.
    pub(super) fn may_run_programs(&self, peer: PersonId) -> bool {
        let policy = self.of(peer);
        policy.contact && !policy.ignored && !policy.blocked
    }

    /// Whether a peer learns this node's addresses through a relay. `is_member`: it is in a room with
    /// a secret with this node.
    pub(super) fn goes_direct_with(&self, peer: PersonId, is_member: bool) -> bool {
        self.direct_with.allows(self.is_contact(peer), is_member)
    }

    pub(super) fn blocked(&self) -> Vec<PersonId> {
        self.policies.blocked().collect()
    }

    /// Whether texts of this author are shown.
    pub(super) fn shows(&self, author: PersonId) -> bool {
        self.policies.shows(author)
    }

    pub(super) fn is_verified(&self, peer: PersonId) -> bool {
        self.of(peer).verified.is_some()
    }

    /// Changes the policy about a peer, and returns it as it is now. `name` is what a verified peer
    /// is called from now on.
    pub(super) fn change(
        &mut self,
        peer: PersonId,
        change: PolicyChange,
        name: impl FnOnce() -> Nickname,
        now: Now,
    ) -> Result<PeerPolicy, PolicyError> {
        let mut policy = self.of(peer);
        match change {
            PolicyChange::Accept => policy.contact = true,
            PolicyChange::Remove => {
                (policy.contact, policy.verified, policy.by_code) = (false, None, false);
            }
            PolicyChange::Ignore => policy.ignored = true,
            PolicyChange::Unignore => policy.ignored = false,
            PolicyChange::Block => policy.blocked = true,
            PolicyChange::Unblock => policy.blocked = false,
            // A kick is not stored: it ends by itself.
            PolicyChange::Kick => {}
            PolicyChange::Verify | PolicyChange::VerifyByCode => {
                let is_by_code = change == PolicyChange::VerifyByCode;
                // A code does not undo that the user has compared the safety number.
                policy.by_code = is_by_code && (policy.by_code || policy.verified.is_none());
                policy.verified = Some(name());
                (policy.contact, policy.blocked) = (true, false);
            }
            PolicyChange::Unverify => (policy.verified, policy.by_code) = (None, false),
        }
        if !self.policies.set(peer, policy.clone()) {
            return Err(PolicyError::TooMany);
        }
        match change {
            PolicyChange::Kick => self.policies.kick(peer, now),
            PolicyChange::Unblock | PolicyChange::Verify | PolicyChange::VerifyByCode => {
                self.policies.pardon(peer);
            }
            PolicyChange::Accept
            | PolicyChange::Remove
            | PolicyChange::Ignore
            | PolicyChange::Unignore
            | PolicyChange::Block
            | PolicyChange::Unverify => {}
        }
        Ok(policy)
    }

    /// The verified peer whose nickname another peer takes for itself, if so.
    pub(super) fn name_taken_from(
        &self,
        peer: PersonId,
        nick: &Nickname,
        peers: &Peers,
    ) -> Option<PersonId> {
        self.policies.whose_name(peer, nick, peers)
    }

    /// A peer uses the name of a verified one. Returns whether the user has not seen that yet.
    pub(super) fn note_name_taken(&mut self, peer: PersonId) -> bool {
        self.policies.note_name_taken(peer)
    }

    /// A stranger's messages wait until the user accepts it. Returns whether to notify the user.
    pub(super) fn note_request_full(&mut self, peer: PersonId) -> bool {
        self.requests_full.len() < NOTIFIED_MAX && self.requests_full.insert(peer)
    }

    /// A peer refused a session. Returns whether the user has not seen this reason yet.
    pub(super) fn note_refused_by(&mut self, peer: PersonId, reason: DenyReason) -> bool {
        if self.refused_by.len() >= REFUSED_BY_MAX && !self.refused_by.contains_key(&peer) {
            self.refused_by.pop_first();
        }
        self.refused_by.insert(peer, reason) != Some(reason)
    }

    /// A session with the peer is up: a later refusal is news again.
    pub(super) fn forget_refused_by(&mut self, peer: PersonId) {
        self.refused_by.remove(&peer);
    }

    /// Why a peer refused a session the last time, if it did.
    pub(super) fn refused_by(&self, peer: PersonId) -> Option<DenyReason> {
        self.refused_by.get(&peer).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Policy {
        Policy::new(Policies::new(Vec::new()), DirectWith::Contacts)
    }

    fn ann() -> PersonId {
        PersonId::from_bytes([1; 32])
    }

    fn named() -> Nickname {
        Nickname::new("ann").expect("a nickname")
    }

    const NOW: Now = Now {
        mono: Duration::from_secs(60),
        wall_ms: 0,
    };

    fn changed(policy: &mut Policy, change: PolicyChange) -> PeerPolicy {
        policy.change(ann(), change, named, NOW).expect("room")
    }

    #[test]
    fn a_blocked_peer_is_denied_a_session_until_it_is_unblocked() {
        let mut policy = nobody();
        assert!(changed(&mut policy, PolicyChange::Block).blocked);
        assert_eq!(policy.denies(ann(), NOW), Some(DenyReason::Blocked));
        assert_eq!(policy.blocked(), [ann()]);
        changed(&mut policy, PolicyChange::Unblock);
        assert_eq!(policy.denies(ann(), NOW), None);
        assert_eq!(policy.decided(), [], "nothing is left to store");
    }

    #[test]
    fn to_verify_a_peer_unblocks_it() {
        let mut policy = nobody();
        changed(&mut policy, PolicyChange::Block);
        let verified = changed(&mut policy, PolicyChange::Verify);
        assert!(!verified.blocked && policy.is_verified(ann()));
        assert!(policy.is_contact(ann()));
        assert_eq!(verified.verified, Some(named()));
    }

    #[test]
    fn the_safety_number_counts_more_than_a_code() {
        let mut policy = nobody();
        assert!(changed(&mut policy, PolicyChange::VerifyByCode).by_code);
        assert!(policy.is_verified(ann()) && policy.is_contact(ann()));
        assert!(changed(&mut policy, PolicyChange::VerifyByCode).by_code);
        assert!(!changed(&mut policy, PolicyChange::Verify).by_code);
        assert!(!changed(&mut policy, PolicyChange::VerifyByCode).by_code);
        changed(&mut policy, PolicyChange::Unverify);
        assert!(changed(&mut policy, PolicyChange::VerifyByCode).by_code);
        let removed = changed(&mut policy, PolicyChange::Remove);
        assert_eq!(removed, PeerPolicy::default());
    }

    #[test]
    fn a_removed_contact_is_a_stranger_and_no_longer_verified() {
        let mut policy = nobody();
        assert!(changed(&mut policy, PolicyChange::Accept).contact);
        assert_eq!(policy.contacts(), [ann()]);
        changed(&mut policy, PolicyChange::Verify);
        let removed = changed(&mut policy, PolicyChange::Remove);
        assert_eq!(removed, PeerPolicy::default());
        assert_eq!(policy.decided(), [], "nothing is left to store");
    }

    #[test]
    fn a_kick_denies_sessions_and_changes_nothing_that_is_stored() {
        let mut policy = nobody();
        let kicked = changed(&mut policy, PolicyChange::Kick);
        assert_eq!(kicked, PeerPolicy::default());
        assert_eq!(policy.denies(ann(), NOW), Some(DenyReason::Kicked));
    }

    #[test]
    fn texts_of_an_ignored_peer_are_not_shown() {
        let mut policy = nobody();
        assert!(policy.shows(ann()));
        changed(&mut policy, PolicyChange::Ignore);
        assert!(!policy.shows(ann()));
        assert_eq!(policy.denies(ann(), NOW), None, "its session stays");
    }

    #[test]
    fn the_user_is_notified_once_of_a_stranger_and_of_few_strangers() {
        let mut policy = nobody();
        assert!(policy.note_request_full(ann()) && !policy.note_request_full(ann()));
        let strangers = (0..=u8::MAX).map(|n| PersonId::from_bytes([n; 32]));
        let notified = strangers.filter(|peer| policy.note_request_full(*peer));
        assert_eq!(notified.count() + 1, NOTIFIED_MAX);
    }

    #[test]
    fn a_refusal_is_news_once_until_there_is_a_session() {
        let mut policy = nobody();
        assert!(policy.note_refused_by(ann(), DenyReason::Blocked));
        assert!(!policy.note_refused_by(ann(), DenyReason::Blocked));
        assert!(policy.note_refused_by(ann(), DenyReason::Kicked));
        for n in 0..REFUSED_BY_MAX {
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            policy.note_refused_by(PersonId::from_bytes(bytes), DenyReason::Blocked);
        }
        assert_eq!(policy.refused_by.len(), REFUSED_BY_MAX);
        policy.note_refused_by(ann(), DenyReason::Kicked);
        policy.forget_refused_by(ann());
        assert_eq!(policy.refused_by(ann()), None);
        assert!(policy.note_refused_by(ann(), DenyReason::Kicked));
    }
}
