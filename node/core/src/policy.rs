//! What the user of this node has decided about each peer: whose texts not to show, and with whom
//! to have no session.
//!
//! It decides who may have a session and whose texts are shown. Which entries are taken and passed
//! on, given who is blocked, is for [`replica`](super::replica) to say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::{Nickname, PeerId, close};

use super::Now;
use super::peers::{Peers, same_name};

/// Peers that a user can have marked at once; for one more, another must be unmarked first.
pub const MARKED_MAX: usize = 10_000;

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
        .find(|bar| u64::from(bar.code().0) == code)
    }
}

/// The decisions about all peers.
#[derive(Debug, Default)]
pub struct Policies {
    marks: BTreeMap<PeerId, PeerPolicy>,
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
            marks: kept.into_iter().collect(),
            ..Self::default()
        }
    }

    /// What has been decided about a peer.
    pub fn marks(&self, peer: PeerId) -> PeerPolicy {
        self.marks.get(&peer).cloned().unwrap_or_default()
    }

    /// Everybody about whom something has been decided.
    pub fn marked(&self) -> impl Iterator<Item = PeerId> {
        self.marks.keys().copied()
    }

    /// Decides about a peer. False where there is no room for another decision.
    pub fn set(&mut self, peer: PeerId, marks: PeerPolicy) -> bool {
        if marks == PeerPolicy::default() {
            self.marks.remove(&peer);
            return true;
        }
        let room = self.marks.len() < MARKED_MAX || self.marks.contains_key(&peer);
        if room {
            self.marks.insert(peer, marks);
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
            .marks
            .get(&peer)
            .is_some_and(|marks| marks.verified.is_some())
        {
            return None;
        }
        let is_it = |name: Option<&Nickname>| {
            name.is_some_and(|name| same_name(name.as_str(), nick.as_str()))
        };
        let verified = self
            .marks
            .iter()
            .filter_map(|(peer, marks)| Some((*peer, marks.verified.as_ref()?)));
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
    pub fn bar(&self, peer: PeerId, now: Now) -> Option<DenyReason> {
        if self.marks.get(&peer).is_some_and(|marks| marks.blocked) {
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
        self.marks
            .get(&author)
            .is_none_or(|marks| !marks.ignored && !marks.blocked)
    }

    /// Everybody who is blocked.
    pub fn blocked(&self) -> impl Iterator<Item = PeerId> {
        self.marks
            .iter()
            .filter(|(_, marks)| marks.blocked)
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
        let mut standings = Policies::new(vec![(peer(1), IGNORED), (peer(2), BLOCKED)]);
        assert_eq!(
            (standings.bar(peer(1), at(0)), standings.bar(peer(2), at(0))),
            (None, Some(DenyReason::Blocked))
        );
        assert!(standings.shows(peer(3)) && !standings.shows(peer(1)) && !standings.shows(peer(2)));
        assert!(standings.set(peer(2), PeerPolicy::default()));
        assert_eq!(
            (
                standings.bar(peer(2), at(0)),
                standings.marked().collect::<Vec<_>>()
            ),
            (None, vec![peer(1)])
        );
    }

    #[test]
    fn who_was_kicked_is_kept_out_for_a_while_or_until_pardoned() {
        let mut standings = Policies::default();
        standings.kick(peer(1), at(5));
        standings.kick(peer(2), at(5));
        standings.pardon(peer(2));
        let end = 5 + KICKED_FOR.as_secs();
        assert_eq!(
            (
                standings.bar(peer(1), at(end - 1)),
                standings.bar(peer(1), at(end))
            ),
            (Some(DenyReason::Kicked), None)
        );
        assert_eq!(standings.bar(peer(2), at(6)), None);
        assert!(standings.shows(peer(1)), "what was kicked was the session");
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
        let mut standings = Policies::new(vec![(peer(1), verified("bob"))]);
        for (who, name, of) in [
            (2, "Bob", Some(1)),
            (2, "Robert", Some(1)),
            (2, "bobby", None),
            (1, "bob", None),
        ] {
            assert_eq!(
                standings.whose_name(peer(who), &nick(name), &peers),
                of.map(peer),
                "{who} as {name}"
            );
        }
        assert!(standings.note_name_taken(peer(2)) && !standings.note_name_taken(peer(2)));
        assert_eq!(standings.bar(peer(2), at(0)), Some(DenyReason::NameTaken));
        // Two of one name can both be verified.
        standings.pardon(peer(2));
        assert!(standings.set(peer(2), verified("bob")));
        assert_eq!(
            (
                standings.whose_name(peer(2), &nick("bob"), &peers),
                standings.bar(peer(2), at(0))
            ),
            (None, None)
        );
        for n in 0..2 * u32::try_from(NAMES_TAKEN_MAX).expect("a small constant") {
            standings.note_name_taken(peer(n));
        }
        assert_eq!(standings.names_taken.len(), NAMES_TAKEN_MAX);
    }

    #[test]
    fn the_codes_of_bars_are_known_at_the_other_end() {
        for bar in [
            DenyReason::Blocked,
            DenyReason::Kicked,
            DenyReason::NameTaken,
        ] {
            assert_eq!(DenyReason::of_code(bar.code().0.into()), Some(bar));
        }
        assert_eq!(DenyReason::of_code(close::BYE.into()), None);
    }

    #[test]
    fn so_many_peers_can_be_marked_and_no_more() {
        let mut standings = Policies::default();
        for n in 0..u32::try_from(MARKED_MAX).expect("a small constant") {
            assert!(standings.set(peer(n), BLOCKED));
        }
        assert!(!standings.set(peer(u32::MAX), BLOCKED));
        assert!(
            standings.set(peer(0), IGNORED)
                && standings.set(peer(1), PeerPolicy::default())
                && standings.set(peer(u32::MAX), BLOCKED)
        );
    }
}
