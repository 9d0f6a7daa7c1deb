//! The user's policy about each peer: contact, verified, ignored, blocked or kicked.
//!
//! A peer without a policy is a stranger.
//!
//! This module decides which peers may have a session and whose messages are shown.
//! [`replica`](super::replica) decides which entries are accepted and forwarded, given the blocked
//! peers.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use hobnob_protocol::{Nickname, PersonId, close};
use serde::{Deserialize, Serialize};

use super::Now;
use super::name_keys::same_name;
use super::peers::Peers;

/// Maximum peers with a policy. To add one more, the user must reset another first.
pub const POLICIES_MAX: usize = 10_000;

/// How long a kicked peer may not have a session.
pub const KICKED_FOR: Duration = Duration::from_secs(10 * 60);

/// Maximum peers that are stored and reported because they use a verified peer's name. Further ones
/// are rejected without a report.
pub const NAMES_TAKEN_MAX: usize = 1_000;

/// The user's lasting policy about a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerPolicy {
    /// The user has accepted the peer, or has written to it. Otherwise the peer is a stranger.
    pub contact: bool,
    /// The peer's messages are not shown here.
    pub ignored: bool,
    /// The peer may not have a session. Its entries are neither shown nor forwarded.
    pub blocked: bool,
    /// The nickname of the peer when the user verified its key. `None`: not verified.
    pub verified: Option<Nickname>,
    /// Whether an invitation verified the key: both ends knew its code. The user has not compared the
    /// safety number.
    pub by_code: bool,
}

/// The peers that learn this node's addresses through a relay, for a direct path.
///
/// An address shows roughly where a node is. Without a direct path, the relay carries the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DirectWith {
    /// No peer.
    Nobody,
    /// Contacts.
    #[default]
    Contacts,
    /// Contacts, and peers that are in a room with a secret with this node.
    Members,
    /// All peers.
    Everyone,
}

impl DirectWith {
    const ALL: [DirectWith; 4] = [
        DirectWith::Nobody,
        DirectWith::Contacts,
        DirectWith::Members,
        DirectWith::Everyone,
    ];

    /// The word for it in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            DirectWith::Nobody => "nobody",
            DirectWith::Contacts => "contacts",
            DirectWith::Members => "members",
            DirectWith::Everyone => "everyone",
        }
    }

    /// Whether a peer may learn this node's addresses.
    pub fn allows(self, is_contact: bool, is_member: bool) -> bool {
        match self {
            DirectWith::Nobody => false,
            DirectWith::Contacts => is_contact,
            DirectWith::Members => is_contact || is_member,
            DirectWith::Everyone => true,
        }
    }
}

impl FromStr for DirectWith {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|with| with.as_str() == word)
            .ok_or("one of these words was expected: contacts, members, everyone, nobody")
    }
}

/// The peers that learn what the user does at the moment. Strangers and open rooms never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareWith {
    /// No peer.
    Nobody,
    /// Contacts. Of conversations: direct ones only.
    Contacts,
    /// Contacts, and the members of rooms with a secret.
    Members,
}

impl ShareWith {
    const ALL: [ShareWith; 3] = [ShareWith::Nobody, ShareWith::Contacts, ShareWith::Members];

    /// The word for it in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            ShareWith::Nobody => "nobody",
            ShareWith::Contacts => "contacts",
            ShareWith::Members => "members",
        }
    }

    /// Whether a peer may learn it: a contact, or a member of a room with a secret.
    pub fn allows(self, is_contact: bool, is_member: bool) -> bool {
        match self {
            ShareWith::Nobody => false,
            ShareWith::Contacts => is_contact,
            ShareWith::Members => is_contact || is_member,
        }
    }
}

impl FromStr for ShareWith {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|with| with.as_str() == word)
            .ok_or("one of these words was expected: contacts, members, nobody")
    }
}

/// Who learns what about the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    /// Who sees that the user types.
    pub typing: ShareWith,
    /// Who sees how far the user has read.
    pub read: ShareWith,
    /// Who sees the status text, and that the user is away.
    pub status: ShareWith,
}

impl Default for Sharing {
    fn default() -> Self {
        Self {
            typing: ShareWith::Contacts,
            read: ShareWith::Contacts,
            status: ShareWith::Members,
        }
    }
}

/// Why a peer may not have a session now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DenyReason {
    /// The user has blocked the peer.
    Blocked,
    /// The user has kicked the peer recently.
    Kicked,
    /// The peer uses the name of a verified peer that has another key.
    NameTaken,
}

impl DenyReason {
    /// The code of [`close`] that reports the reason to the peer, and its sentence.
    pub fn code(self) -> (u32, &'static str) {
        match self {
            DenyReason::Blocked => (close::BLOCKED, "this node has blocked you"),
            DenyReason::Kicked => (
                close::KICKED,
                "this node takes no session with you for a while",
            ),
            DenyReason::NameTaken => (
                close::NAME_TAKEN,
                "this node knows your name as that of somebody with another key",
            ),
        }
    }

    /// The reason for which a peer closes a connection with this code.
    pub fn of_code(code: u64) -> Option<DenyReason> {
        [
            DenyReason::Blocked,
            DenyReason::Kicked,
            DenyReason::NameTaken,
        ]
        .into_iter()
        .find(|reason| u64::from(reason.code().0) == code)
    }
}

/// The policies about all peers.
#[derive(Debug, Default)]
pub struct Policies {
    by_peer: BTreeMap<PersonId, PeerPolicy>,
    /// Peers that use the name of a verified peer. They were reported to the user, and are not
    /// dialed.
    names_taken: BTreeSet<PersonId>,
    /// When each kicked peer may return.
    kicked: BTreeMap<PersonId, Duration>,
}

impl Policies {
    /// Starts with the policies from the store.
    pub fn new(kept: Vec<(PersonId, PeerPolicy)>) -> Self {
        Self {
            by_peer: kept.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The policy about a peer.
    pub fn of(&self, peer: PersonId) -> PeerPolicy {
        self.by_peer.get(&peer).cloned().unwrap_or_default()
    }

    /// All peers that have a policy.
    pub fn decided(&self) -> impl Iterator<Item = PersonId> {
        self.by_peer.keys().copied()
    }

    /// Sets the policy about a peer. Returns false if [`POLICIES_MAX`] peers have one already.
    pub fn set(&mut self, peer: PersonId, policy: PeerPolicy) -> bool {
        if policy == PeerPolicy::default() {
            self.by_peer.remove(&peer);
            return true;
        }
        let room = self.by_peer.len() < POLICIES_MAX || self.by_peer.contains_key(&peer);
        if room {
            self.by_peer.insert(peer, policy);
        }
        room
    }

    /// Denies a peer sessions for [`KICKED_FOR`].
    pub fn kick(&mut self, peer: PersonId, now: Now) {
        self.kicked.retain(|_, until| now.mono < *until);
        self.kicked.insert(peer, now.mono + KICKED_FOR);
    }

    /// When a kicked peer may return. `None`: it is not kicked any more.
    pub fn kicked_until(&self, peer: PersonId, now: Now) -> Option<Duration> {
        let until = self.kicked.get(&peer).copied();
        until.filter(|until| now.mono < *until)
    }

    /// Ends a kick, and forgets that the peer used the name of a verified peer.
    pub fn pardon(&mut self, peer: PersonId) {
        self.kicked.remove(&peer);
        self.names_taken.remove(&peer);
    }

    /// The verified peer whose name this unverified peer uses. Compares the name at verification
    /// and the current one.
    pub fn whose_name(&self, peer: PersonId, nick: &Nickname, peers: &Peers) -> Option<PersonId> {
        if self
            .by_peer
            .get(&peer)
            .is_some_and(|policy| policy.verified.is_some())
        {
            return None;
        }
        let is_it = |name: Option<&Nickname>| {
            name.is_some_and(|name| same_name(name.as_str(), nick.as_str()))
        };
        let verified = self
            .by_peer
            .iter()
            .filter_map(|(peer, policy)| Some((*peer, policy.verified.as_ref()?)));
        verified
            .into_iter()
            .find(|(of, name)| is_it(Some(name)) || is_it(peers.nick(*of)))
            .map(|(of, _)| of)
    }

    /// Records a peer that uses the name of a verified one. Returns whether it is new.
    pub fn note_name_taken(&mut self, peer: PersonId) -> bool {
        if self.names_taken.len() >= NAMES_TAKEN_MAX {
            return false;
        }
        self.names_taken.insert(peer)
    }

    /// Why a peer may not have a session now. `None` if it may.
    pub fn denies(&self, peer: PersonId, now: Now) -> Option<DenyReason> {
        if self.by_peer.get(&peer).is_some_and(|policy| policy.blocked) {
            return Some(DenyReason::Blocked);
        }
        if self.kicked_until(peer, now).is_some() {
            return Some(DenyReason::Kicked);
        }
        self.names_taken
            .contains(&peer)
            .then_some(DenyReason::NameTaken)
    }

    /// Whether the messages of this author are shown.
    pub fn shows(&self, author: PersonId) -> bool {
        self.by_peer
            .get(&author)
            .is_none_or(|policy| !policy.ignored && !policy.blocked)
    }

    /// All contacts.
    pub fn contacts(&self) -> impl Iterator<Item = PersonId> {
        self.by_peer
            .iter()
            .filter(|(_, policy)| policy.contact)
            .map(|(peer, _)| *peer)
    }

    /// All blocked peers.
    pub fn blocked(&self) -> impl Iterator<Item = PersonId> {
        self.by_peer
            .iter()
            .filter(|(_, policy)| policy.blocked)
            .map(|(peer, _)| *peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IGNORED: PeerPolicy = PeerPolicy {
        contact: false,
        ignored: true,
        blocked: false,
        verified: None,
        by_code: false,
    };
    const BLOCKED: PeerPolicy = PeerPolicy {
        contact: false,
        ignored: false,
        blocked: true,
        verified: None,
        by_code: false,
    };

    fn peer(n: u32) -> PersonId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        PersonId::from_bytes(bytes)
    }

    fn at(secs: u64) -> Now {
        Now {
            mono: Duration::from_secs(secs),
            wall_ms: 0,
        }
    }

    #[test]
    fn an_ignored_peer_may_have_a_session_a_blocked_one_may_not_and_both_are_hidden() {
        let mut policies = Policies::new(vec![(peer(1), IGNORED), (peer(2), BLOCKED)]);
        assert_eq!(
            (
                policies.denies(peer(1), at(0)),
                policies.denies(peer(2), at(0))
            ),
            (None, Some(DenyReason::Blocked))
        );
        assert!(policies.shows(peer(3)) && !policies.shows(peer(1)) && !policies.shows(peer(2)));
        assert!(policies.set(peer(2), PeerPolicy::default()));
        assert_eq!(
            (
                policies.denies(peer(2), at(0)),
                policies.decided().collect::<Vec<_>>()
            ),
            (None, vec![peer(1)])
        );
    }

    #[test]
    fn a_kicked_peer_is_denied_for_a_while_or_until_pardoned() {
        let mut policies = Policies::default();
        policies.kick(peer(1), at(5));
        policies.kick(peer(2), at(5));
        policies.pardon(peer(2));
        let end = 5 + KICKED_FOR.as_secs();
        assert_eq!(
            (
                policies.denies(peer(1), at(end - 1)),
                policies.denies(peer(1), at(end))
            ),
            (Some(DenyReason::Kicked), None)
        );
        assert_eq!(policies.denies(peer(2), at(6)), None);
        let until = at(end).mono;
        assert_eq!(policies.kicked_until(peer(1), at(end - 1)), Some(until));
        assert_eq!(policies.kicked_until(peer(1), at(end)), None);
        assert!(policies.shows(peer(1)), "what was kicked was the session");
    }

    #[test]
    fn the_name_of_a_verified_peer_is_denied_to_others() {
        let nick = |name| Nickname::new(name).expect("a nickname");
        let verified = |name| PeerPolicy {
            verified: Some(nick(name)),
            ..PeerPolicy::default()
        };
        let mut peers = Peers::new(peer(0), nick("me"));
        peers.learn(peer(1), Some(nick("robert")));
        let mut policies = Policies::new(vec![(peer(1), verified("bob"))]);
        for (who, name, of) in [
            (2, "Bob", Some(1)),
            (2, "Robert", Some(1)),
            (2, "bobby", None),
            (1, "bob", None),
        ] {
            assert_eq!(
                policies.whose_name(peer(who), &nick(name), &peers),
                of.map(peer),
                "{who} as {name}"
            );
        }
        assert!(policies.note_name_taken(peer(2)) && !policies.note_name_taken(peer(2)));
        assert_eq!(policies.denies(peer(2), at(0)), Some(DenyReason::NameTaken));
        // Two peers with one name can both be verified.
        policies.pardon(peer(2));
        assert!(policies.set(peer(2), verified("bob")));
        assert_eq!(
            (
                policies.whose_name(peer(2), &nick("bob"), &peers),
                policies.denies(peer(2), at(0))
            ),
            (None, None)
        );
        for n in 0..2 * u32::try_from(NAMES_TAKEN_MAX).expect("a small constant") {
            policies.note_name_taken(peer(n));
        }
        assert_eq!(policies.names_taken.len(), NAMES_TAKEN_MAX);
    }

    #[test]
    fn the_setting_decides_who_learns_addresses() {
        // Contact, member of a room with a secret, neither.
        let peers = [(true, false), (false, true), (false, false)];
        let allowed = |word: &str| {
            let with: DirectWith = word.parse().expect("a word of the setting");
            peers.map(|(contact, member)| with.allows(contact, member))
        };
        assert_eq!(allowed("contacts"), [true, false, false]);
        assert_eq!(allowed("members"), [true, true, false]);
        assert_eq!(allowed("everyone"), [true, true, true]);
        assert_eq!(allowed("nobody"), [false, false, false]);
        assert!("friends".parse::<DirectWith>().is_err());
    }

    #[test]
    fn a_peer_is_a_stranger_until_it_is_a_contact() {
        let mut policies = Policies::new(vec![(peer(1), BLOCKED)]);
        let contact = PeerPolicy {
            contact: true,
            ..PeerPolicy::default()
        };
        assert!(policies.set(peer(2), contact.clone()));
        assert_eq!(policies.contacts().collect::<Vec<_>>(), [peer(2)]);
        assert_eq!(policies.of(peer(2)), contact);
        assert!(!policies.of(peer(1)).contact && !policies.of(peer(3)).contact);
    }

    #[test]
    fn the_close_code_of_each_reason_is_recognized() {
        for reason in [
            DenyReason::Blocked,
            DenyReason::Kicked,
            DenyReason::NameTaken,
        ] {
            assert_eq!(DenyReason::of_code(reason.code().0.into()), Some(reason));
        }
        assert_eq!(DenyReason::of_code(close::BYE.into()), None);
    }

    #[test]
    fn the_number_of_policies_is_bounded() {
        let mut policies = Policies::default();
        for n in 0..u32::try_from(POLICIES_MAX).expect("a small constant") {
            assert!(policies.set(peer(n), BLOCKED));
        }
        assert!(!policies.set(peer(u32::MAX), BLOCKED));
        assert!(
            policies.set(peer(0), IGNORED)
                && policies.set(peer(1), PeerPolicy::default())
                && policies.set(peer(u32::MAX), BLOCKED)
        );
    }
}
