//! One room of the roster: its members, and what has changed since a version.
//!
//! Only the first [`ROSTER_PEERS_MAX`] members are listed, which means that the others learn of
//! them. Further members are counted and wait for a place. Members and peers that left are indexed
//! by the version of that change, so finding changes does not examine unchanged members.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::DeviceId;

/// Maximum peers that one recipient learns of, and maximum listed peers of one room. Further ones
/// are counted, not listed.
pub const ROSTER_PEERS_MAX: usize = 1_000;

/// A room remembers this many peers that left, or as many as it has members if that is more. A
/// recipient that has missed older changes receives the whole list, which is then no longer than
/// the changes.
const LEFT_MIN: usize = 16;

/// The number of one registration, in four bytes. It identifies one stay of a peer.
pub(super) type Stay = u32;

/// A change in a room.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// This peer is listed now.
    Came(DeviceId),
    /// This peer is no longer listed.
    Left(DeviceId, Stay),
}

/// A room with at least one member.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Listed members, with the version of their arrival.
    listed: BTreeMap<DeviceId, u64>,
    came: BTreeMap<u64, DeviceId>,
    left: BTreeMap<u64, (DeviceId, Stay)>,
    /// Members beyond the limit, longest stay first.
    waiting: BTreeMap<Stay, DeviceId>,
    /// Changes up to this version may have been forgotten.
    forgotten: u64,
    /// Version of the latest change.
    version: u64,
    /// When the members will be informed of changes, if there are any.
    pub(super) announce_at: Option<Duration>,
    /// When they were last informed.
    pub(super) announced_at: Option<Duration>,
}

impl Room {
    /// Number of members.
    pub(super) fn len(&self) -> usize {
        self.listed.len() + self.waiting.len()
    }

    /// Number of listed members.
    pub(super) fn listed_len(&self) -> usize {
        self.listed.len()
    }

    /// The listed members.
    pub(super) fn listed(&self) -> impl Iterator<Item = DeviceId> {
        self.listed.keys().copied()
    }

    /// Whether this member is listed.
    pub(super) fn lists(&self, peer: DeviceId) -> bool {
        self.listed.contains_key(&peer)
    }

    /// All members.
    pub(super) fn members(&self) -> impl Iterator<Item = DeviceId> {
        self.listed.keys().chain(self.waiting.values()).copied()
    }

    /// Adds a member. Returns whether it is listed, so that the others must be informed.
    pub(super) fn join(&mut self, version: u64, peer: DeviceId, stay: Stay) -> bool {
        let listed = self.listed.len() < ROSTER_PEERS_MAX;
        if listed {
            self.list(version, peer);
        } else {
            self.waiting.insert(stay, peer);
        }
        listed
    }

    /// Removes a member. If it was listed, a waiting member takes its place in version `version +
    /// 1`. Returns whether the others must be informed.
    pub(super) fn leave(&mut self, version: u64, peer: DeviceId, stay: Stay) -> bool {
        let Some(came) = self.listed.remove(&peer) else {
            let waiting = self.waiting.remove(&stay);
            debug_assert!(waiting.is_some(), "a member is listed or waits");
            return false;
        };
        self.came.remove(&came);
        self.left.insert(version, (peer, stay));
        self.version = version;
        if let Some((_, next)) = self.waiting.pop_first() {
            self.list(version + 1, next);
        }
        while self.left.len() > LEFT_MIN.max(self.len()) {
            let (version, _) = self
                .left
                .pop_first()
                .expect("it has more than LEFT_MIN entries");
            self.forgotten = version;
        }
        true
    }

    /// The changes after this version. `None` if the room has forgotten some of them.
    pub(super) fn since(&self, version: u64) -> Option<impl Iterator<Item = Change>> {
        let came = self
            .came
            .range(version + 1..)
            .map(|(_, peer)| Change::Came(*peer));
        let left = self
            .left
            .range(version + 1..)
            .map(|(_, (peer, stay))| Change::Left(*peer, *stay));
        (version >= self.forgotten).then(|| left.chain(came))
    }

    /// Whether anything changed after this version.
    pub(super) fn changed_since(&self, version: u64) -> bool {
        self.version > version
    }

    fn list(&mut self, version: u64, peer: DeviceId) {
        self.listed.insert(peer, version);
        self.came.insert(version, peer);
        self.version = version;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u32) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    /// The peers that joined and those that left after a version.
    fn since(room: &Room, version: u64) -> Option<(Vec<DeviceId>, Vec<DeviceId>)> {
        let (mut came, mut left) = (Vec::new(), Vec::new());
        for change in room.since(version)? {
            match change {
                Change::Came(peer) => came.push(peer),
                Change::Left(peer, _) => left.push(peer),
            }
        }
        Some((came, left))
    }

    #[test]
    fn changes_since_a_version_name_only_what_changed() {
        let mut room = Room::default();
        assert!(room.join(2, peer(1), 1) && room.join(3, peer(2), 2));
        assert_eq!(since(&room, 2), Some((vec![peer(2)], vec![])));
        assert!(room.leave(4, peer(1), 1));
        assert_eq!(since(&room, 3), Some((vec![], vec![peer(1)])));
        assert!(room.changed_since(3) && !room.changed_since(4));
    }

    #[test]
    fn a_member_beyond_the_limit_waits_for_a_place() {
        let mut room = Room::default();
        let full = u32::try_from(ROSTER_PEERS_MAX).expect("a thousand");
        for n in 0..full {
            assert!(room.join(u64::from(n) + 1, peer(n), n));
        }
        assert!(!room.join(5_000, peer(full), full), "nobody is informed");
        assert_eq!(room.len(), ROSTER_PEERS_MAX + 1);
        assert!(!room.lists(peer(full)));
        room.leave(6_000, peer(0), 0);
        assert!(room.lists(peer(full)));
        assert_eq!(
            since(&room, 5_999),
            Some((vec![peer(full)], vec![peer(0)])),
            "the next member is listed in the place of the one that left"
        );
    }

    #[test]
    fn a_version_before_forgotten_changes_needs_the_whole_list() {
        let mut room = Room::default();
        room.join(1, peer(0), 0);
        for n in 1..=20 {
            room.join(u64::from(n) * 10, peer(n), n);
            room.leave(u64::from(n) * 10 + 5, peer(n), n);
        }
        assert_eq!(since(&room, 1), None);
        assert!(since(&room, 200).is_some());
    }
}
