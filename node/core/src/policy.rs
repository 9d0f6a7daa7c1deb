//! What the user of this node has decided about each peer: whose texts not to show, and with whom
//! to have no session.
//!
//! It decides who may have a session and whose texts are shown. Which entries are taken and passed
//! on, given who is blocked, is for [`replica`](super::replica) to say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::{Nickname, PeerId, close};

use super::Now;
use super::name_keys::same_name;
use super::peers::Peers;

/// Peers that a user can have marked at once; for one more, another must be unmarked first.
pub const POLICIES_MAX: usize = 10_000;

/// How long a peer that was kicked is kept out.
pub const KICKED_FOR: Duration = Duration::from_secs(10 * 60);

/// Peers with the name of a verified one that are remembered and told of; further ones are refused
/// in silence whenever they come.
pub const NAMES_TAKEN_MAX: usize = 1_000;

/// What a user has decided about a peer for good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerPolicy {
    /// Its texts are not shown here.
    pub ignored: bool,
    /// There is no session with it, and its entries are neither shown nor passed on.
    pub blocked: bool,
    /// The user has compared keys with it, when it was called so.
    pub verified: Option<Nickname>,
}

/// Why there is to be no session with a peer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DenyReason {
    /// It is blocked.
    Blocked,
    /// It was kicked a while ago.
    Kicked,
    /// It calls itself like somebody whom the user has verified with another key.
    NameTaken,
}

impl DenyReason {
    /// The code of [`close`] that says so to the peer, and the words that go with it.
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

    /// What a peer means that closes a connection with this code.
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

/// The decisions about all peers.
#[derive(Debug, Default)]
pub struct Policies {
    by_peer: BTreeMap<PeerId, PeerPolicy>,
    /// Peers that called themselves like one who is verified: the user has been told, and they are
    /// not dialed.
    names_taken: BTreeSet<PeerId>,
    /// Until when each peer that was kicked stays out.
    kicked: BTreeMap<PeerId, Duration>,
}

impl Policies {
    /// Takes up what the store holds.
    pub fn new(kept: Vec<(PeerId, PeerPolicy)>) -> Self {
        Self {
            by_peer: kept.into_iter().collect(),
            ..Self::default()
        }
    }

    /// What has been decided about a peer.
    pub fn of(&self, peer: PeerId) -> PeerPolicy {
        self.by_peer.get(&peer).cloned().unwrap_or_default()
    }

    /// Everybody about whom something has been decided.
    pub fn decided(&self) -> impl Iterator<Item = PeerId> {
        self.by_peer.keys().copied()
    }

    /// Decides about a peer. False where there is no room for another decision.
    pub fn set(&mut self, peer: PeerId, policy: PeerPolicy) -> bool {
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

    /// Keeps a peer out for [`KICKED_FOR`].
    pub fn kick(&mut self, peer: PeerId, now: Now) {
        self.kicked.retain(|_, until| now.mono < *until);
        self.kicked.insert(peer, now.mono + KICKED_FOR);
    }

    /// Lets a peer that was kicked, or taken for an impostor, come back.
    pub fn pardon(&mut self, peer: PeerId) {
        self.kicked.remove(&peer);
        self.names_taken.remove(&peer);
    }

    /// The verified peer whose name, the one under which it was verified or the one that it has
    /// now, this other peer gives itself.
    pub fn whose_name(&self, peer: PeerId, nick: &Nickname, peers: &Peers) -> Option<PeerId> {
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

    /// Notes a peer with the name of a verified one. Whether that is news.
    pub fn note_name_taken(&mut self, peer: PeerId) -> bool {
        if self.names_taken.len() >= NAMES_TAKEN_MAX {
            return false;
        }
        self.names_taken.insert(peer)
    }

    /// Why there may be no session with a peer now, if so.
    pub fn denies(&self, peer: PeerId, now: Now) -> Option<DenyReason> {
        if self.by_peer.get(&peer).is_some_and(|policy| policy.blocked) {
            return Some(DenyReason::Blocked);
        }
        if self
            .kicked
            .get(&peer)
            .is_some_and(|until| now.mono < *until)
        {
            return Some(DenyReason::Kicked);
        }
        self.names_taken
            .contains(&peer)
            .then_some(DenyReason::NameTaken)
    }

    /// Whether the texts of this author are shown.
    pub fn shows(&self, author: PeerId) -> bool {
        self.by_peer
            .get(&author)
            .is_none_or(|policy| !policy.ignored && !policy.blocked)
    }

    /// Everybody who is blocked.
    pub fn blocked(&self) -> impl Iterator<Item = PeerId> {
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
        ignored: true,
        blocked: false,
        verified: None,
    };
    const BLOCKED: PeerPolicy = PeerPolicy {
        ignored: false,
        blocked: true,
        verified: None,
    };

    fn peer(n: u32) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        PeerId::from_bytes(bytes)
    }

    fn at(secs: u64) -> Now {
        Now {
            mono: Duration::from_secs(secs),
            wall_ms: 0,
        }
    }

    #[test]
    fn an_ignored_peer_may_have_a_session_and_a_blocked_one_may_not_and_neither_is_shown() {
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
    fn who_was_kicked_is_kept_out_for_a_while_or_until_pardoned() {
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
        assert!(policies.shows(peer(1)), "what was kicked was the session");
    }

    #[test]
    fn the_name_of_a_verified_peer_is_nobody_elses() {
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
        // Two of one name can both be verified.
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
    fn the_codes_of_bars_are_known_at_the_other_end() {
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
    fn so_many_peers_can_be_marked_and_no_more() {
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
