//! The nicknames that peers had before, so that an old message shows the name of its time.
//!
//! The last names of each peer are kept, and the newest of all peers together. The owner stores what
//! [`PastNames::renamed`] returns.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_protocol::{Nickname, PersonId};

/// Maximum earlier names of one peer. A further one replaces the oldest.
pub const NAMES_PER_PEER_MAX: usize = 8;

/// Maximum earlier names of all peers. A further one replaces the oldest.
pub const NAMES_MAX: usize = 4096;

/// How long a peer's last earlier name is shown beside its new one, in milliseconds: seven days.
pub const FORMERLY_MS: u64 = 7 * 24 * 3600 * 1000;

/// A nickname that a peer had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastName {
    /// The peer.
    pub peer: PersonId,
    /// When this node learned that the peer has another name, in milliseconds since the Unix epoch.
    pub until_ms: u64,
    /// The name.
    pub nick: Nickname,
}

/// What a change of names changes on the disk.
#[derive(Debug, PartialEq, Eq)]
pub struct NameChange {
    /// The name to store.
    pub added: PastName,
    /// The names to remove, each by its peer and [`PastName::until_ms`].
    pub removed: Vec<(PersonId, u64)>,
}

/// The earlier names of all peers.
#[derive(Debug, Default)]
pub struct PastNames {
    of: BTreeMap<PersonId, BTreeMap<u64, Nickname>>,
    by_age: BTreeSet<(u64, PersonId)>,
}

impl PastNames {
    /// The names that earlier runs have stored.
    pub fn restore(names: impl IntoIterator<Item = PastName>) -> Self {
        let mut restored = Self::default();
        for name in names {
            restored.insert(name);
        }
        restored
    }

    fn insert(&mut self, name: PastName) {
        self.by_age.insert((name.until_ms, name.peer));
        let names = self.of.entry(name.peer).or_default();
        names.insert(name.until_ms, name.nick);
    }

    fn remove(&mut self, peer: PersonId, until_ms: u64) {
        self.by_age.remove(&(until_ms, peer));
        if let Some(names) = self.of.get_mut(&peer) {
            names.remove(&until_ms);
            if names.is_empty() {
                self.of.remove(&peer);
            }
        }
    }

    /// A peer that was called `nick` has another name from now on.
    pub fn renamed(&mut self, peer: PersonId, nick: Nickname, now_ms: u64) -> NameChange {
        // The names of one peer stay in order, also if the clock goes back.
        let last = self.of.get(&peer).and_then(|names| names.keys().last());
        let until_ms = last.map_or(now_ms, |last| now_ms.max(last + 1));
        let added = PastName {
            peer,
            until_ms,
            nick,
        };
        self.insert(added.clone());
        let mut removed = Vec::new();
        let names = &self.of[&peer];
        if names.len() > NAMES_PER_PEER_MAX {
            let oldest = *names.keys().next().expect("there are several");
            removed.push((peer, oldest));
        } else if self.by_age.len() > NAMES_MAX {
            let (oldest, of) = *self.by_age.first().expect("there are several");
            removed.push((of, oldest));
        }
        for (peer, until_ms) in &removed {
            self.remove(*peer, *until_ms);
        }
        NameChange { added, removed }
    }

    /// The name that a peer had at a time, if it was another one than today's.
    pub fn at(&self, peer: PersonId, at_ms: u64) -> Option<&Nickname> {
        let names = self.of.get(&peer)?;
        let later = names.range(at_ms.saturating_add(1)..).next();
        later.map(|(_, nick)| nick)
    }

    /// The last name that a peer had before today's, if that is not long ago.
    pub fn formerly(&self, peer: PersonId, now_ms: u64) -> Option<&Nickname> {
        let (until_ms, nick) = self.of.get(&peer)?.last_key_value()?;
        (now_ms < until_ms.saturating_add(FORMERLY_MS)).then_some(nick)
    }

    /// Forgets the names of a peer. The owner removes them from the disk, too.
    pub fn forget(&mut self, peer: PersonId) {
        for until_ms in self.of.remove(&peer).unwrap_or_default().into_keys() {
            self.by_age.remove(&(until_ms, peer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u16) -> PersonId {
        let mut bytes = [9; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        PersonId::from_bytes(bytes)
    }

    fn nick(name: &str) -> Nickname {
        Nickname::new(name).expect("a nickname")
    }

    #[test]
    fn a_message_shows_the_name_of_its_time() {
        let mut names = PastNames::default();
        let ann = peer(1);
        let change = names.renamed(ann, nick("ann"), 1_000);
        assert_eq!((change.added.until_ms, change.removed.len()), (1_000, 0));
        names.renamed(ann, nick("anna"), 2_000);
        let at = |at| names.at(ann, at).map(Nickname::as_str);
        assert_eq!(at(0), Some("ann"));
        assert_eq!(at(999), Some("ann"));
        assert_eq!(at(1_000), Some("anna"));
        assert_eq!(at(2_000), None, "today's name");
        assert_eq!(names.at(peer(2), 0), None);
    }

    #[test]
    fn the_last_name_is_shown_for_a_while() {
        let mut names = PastNames::default();
        names.renamed(peer(1), nick("ann"), 1_000);
        let formerly = |now| names.formerly(peer(1), now).map(Nickname::as_str);
        assert_eq!(formerly(1_000 + FORMERLY_MS - 1), Some("ann"));
        assert_eq!(formerly(1_000 + FORMERLY_MS), None);
    }

    #[test]
    fn names_stay_in_order_if_the_clock_goes_back() {
        let mut names = PastNames::default();
        names.renamed(peer(1), nick("a"), 2_000);
        let change = names.renamed(peer(1), nick("b"), 1_000);
        assert_eq!(change.added.until_ms, 2_001);
        assert_eq!(names.at(peer(1), 2_000).map(Nickname::as_str), Some("b"));
    }

    #[test]
    fn the_oldest_names_are_dropped() {
        let mut names = PastNames::default();
        for at in 1..=8 {
            assert_eq!(names.renamed(peer(1), nick("n"), at).removed, []);
        }
        let change = names.renamed(peer(1), nick("n"), 9);
        assert_eq!(change.removed, [(peer(1), 1)]);
        let rest = u16::try_from(NAMES_MAX - NAMES_PER_PEER_MAX).expect("a small number");
        for n in 2..2 + rest {
            assert_eq!(names.renamed(peer(n), nick("n"), 100).removed, []);
        }
        let change = names.renamed(peer(9_999), nick("n"), 101);
        assert_eq!(change.removed, [(peer(1), 2)]);
    }

    #[test]
    fn restored_names_are_the_same() {
        let mut names = PastNames::default();
        let first = names.renamed(peer(1), nick("a"), 10).added;
        let second = names.renamed(peer(1), nick("b"), 20).added;
        let mut restored = PastNames::restore([first, second]);
        assert_eq!(restored.at(peer(1), 15).map(Nickname::as_str), Some("b"));
        restored.forget(peer(1));
        assert_eq!(restored.at(peer(1), 5), None);
        assert!(restored.by_age.is_empty());
    }
}
