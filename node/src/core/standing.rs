//! What the user of this node has decided about each peer: whose texts not to show, and with whom to have no session.
//!
//! It decides who may have a session and whose texts are shown. Which entries are taken and passed on, given who is blocked, is
//! for [`replica`](super::replica) to say.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::{Nickname, PeerId, close};

use super::Now;

/// Peers that a user can have marked at once; for one more, another must be unmarked first.
pub const MARKED_MAX: usize = 10_000;

/// How long a peer that was kicked is kept out.
pub const KICKED_FOR: Duration = Duration::from_secs(10 * 60);

/// What a user has decided about a peer for good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Its texts are not shown here.
    pub ignored: bool,
    /// There is no session with it, and its entries are neither shown nor passed on.
    pub blocked: bool,
    /// The user has compared keys with it, when it was called so.
    pub verified: Option<Nickname>,
}

/// Why there is to be no session with a peer now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bar {
    /// It is blocked.
    Blocked,
    /// It was kicked a while ago.
    Kicked,
}

impl Bar {
    /// The code of [`close`] that says so to the peer, and the words that go with it.
    pub fn code(self) -> (u32, &'static str) {
        match self {
            Bar::Blocked => (close::BLOCKED, "this node has blocked you"),
            Bar::Kicked => (close::KICKED, "this node takes no session with you for a while"),
        }
    }

    /// What a peer means that closes a connection with this code.
    pub fn of_code(code: u64) -> Option<Bar> {
        [Bar::Blocked, Bar::Kicked].into_iter().find(|bar| u64::from(bar.code().0) == code)
    }
}

/// The decisions about all peers.
#[derive(Debug, Default)]
pub struct Standings {
    marks: BTreeMap<PeerId, Marks>,
    /// Until when each peer that was kicked stays out.
    kicked: BTreeMap<PeerId, Duration>,
}

impl Standings {
    /// Takes up what the store holds.
    pub fn new(kept: Vec<(PeerId, Marks)>) -> Self {
        Self { marks: kept.into_iter().collect(), kicked: BTreeMap::new() }
    }

    /// What has been decided about a peer.
    pub fn marks(&self, peer: PeerId) -> Marks {
        self.marks.get(&peer).cloned().unwrap_or_default()
    }

    /// Everybody about whom something has been decided.
    pub fn marked(&self) -> impl Iterator<Item = PeerId> {
        self.marks.keys().copied()
    }

    /// Decides about a peer. False where there is no room for another decision.
    pub fn set(&mut self, peer: PeerId, marks: Marks) -> bool {
        if marks == Marks::default() {
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

    /// Lets a peer that was kicked come back.
    pub fn pardon(&mut self, peer: PeerId) {
        self.kicked.remove(&peer);
    }

    /// Why there may be no session with a peer now, if so.
    pub fn bar(&self, peer: PeerId, now: Now) -> Option<Bar> {
        if self.marks.get(&peer).is_some_and(|marks| marks.blocked) {
            return Some(Bar::Blocked);
        }
        self.kicked.get(&peer).filter(|until| now.mono < **until).map(|_| Bar::Kicked)
    }

    /// Whether the texts of this author are shown.
    pub fn shows(&self, author: PeerId) -> bool {
        self.marks.get(&author).is_none_or(|marks| !marks.ignored && !marks.blocked)
    }

    /// Everybody who is blocked.
    pub fn blocked(&self) -> impl Iterator<Item = PeerId> {
        self.marks.iter().filter(|(_, marks)| marks.blocked).map(|(peer, _)| *peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IGNORED: Marks = Marks { ignored: true, blocked: false, verified: None };
    const BLOCKED: Marks = Marks { ignored: false, blocked: true, verified: None };

    fn peer(n: u32) -> PeerId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_le_bytes());
        PeerId::from_bytes(bytes)
    }

    fn at(secs: u64) -> Now {
        Now { mono: Duration::from_secs(secs), wall_ms: 0 }
    }

    #[test]
    fn an_ignored_peer_may_have_a_session_and_a_blocked_one_may_not_and_neither_is_shown() {
        let mut standings = Standings::new(vec![(peer(1), IGNORED), (peer(2), BLOCKED)]);
        assert_eq!((standings.bar(peer(1), at(0)), standings.bar(peer(2), at(0))), (None, Some(Bar::Blocked)));
        assert!(standings.shows(peer(3)) && !standings.shows(peer(1)) && !standings.shows(peer(2)));
        assert!(standings.set(peer(2), Marks::default()));
        assert_eq!((standings.bar(peer(2), at(0)), standings.marked().collect::<Vec<_>>()), (None, vec![peer(1)]));
    }

    #[test]
    fn who_was_kicked_is_kept_out_for_a_while_or_until_pardoned() {
        let mut standings = Standings::default();
        standings.kick(peer(1), at(5));
        standings.kick(peer(2), at(5));
        standings.pardon(peer(2));
        let end = 5 + KICKED_FOR.as_secs();
        assert_eq!((standings.bar(peer(1), at(end - 1)), standings.bar(peer(1), at(end))), (Some(Bar::Kicked), None));
        assert_eq!(standings.bar(peer(2), at(6)), None);
        assert!(standings.shows(peer(1)), "what was kicked was the session");
    }

    #[test]
    fn the_codes_of_bars_are_known_at_the_other_end() {
        for bar in [Bar::Blocked, Bar::Kicked] {
            assert_eq!(Bar::of_code(bar.code().0.into()), Some(bar));
        }
        assert_eq!(Bar::of_code(close::BYE.into()), None);
    }

    #[test]
    fn so_many_peers_can_be_marked_and_no_more() {
        let mut standings = Standings::default();
        for n in 0..u32::try_from(MARKED_MAX).expect("a small constant") {
            assert!(standings.set(peer(n), BLOCKED));
        }
        assert!(!standings.set(peer(u32::MAX), BLOCKED));
        assert!(
            standings.set(peer(0), IGNORED) && standings.set(peer(1), Marks::default()) && standings.set(peer(u32::MAX), BLOCKED)
        );
    }
}
