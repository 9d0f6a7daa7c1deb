//! The peers of this relay in rooms, and what the other relays of the fleet are told of them, as a pure
//! state machine.
//!
//! Changes are numbered, one number for each message. A number that is left out tells the other relays
//! that they have missed something, so they ask.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hobnob_protocol::{DeviceId, RoomTag};

use super::report::{CHANGES_MAX, Change, PART_IDS_MAX, PARTS_MAX, RoomPeers};
use crate::core::ROSTER_PEERS_MAX;

/// Changes within this time are sent together.
const SEND_AFTER: Duration = Duration::from_millis(100);

/// Maximum messages at once. As many follow after each [`SEND_AFTER`].
const SENT_AT_ONCE: usize = 16;

/// Maximum changes that wait. Beyond, they are dropped, and the other relays ask for everything.
const PENDING_MAX: usize = 16_384;

/// Maximum peers of one room that the other relays learn of.
pub(super) const ROOM_PEERS_MAX: usize = ROSTER_PEERS_MAX / 2;

/// The pause after which the relay sends a sign of life.
pub(super) const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// The roster of this relay.
#[derive(Debug)]
pub(super) struct OwnRoster {
    rooms: BTreeMap<RoomTag, BTreeSet<DeviceId>>,
    /// The same by peer. Sorted.
    peers: BTreeMap<DeviceId, Vec<RoomTag>>,
    /// The number of the last message.
    number: u64,
    pending: VecDeque<Change>,
    /// When to send what waits, or else a sign of life. `None`: there is no connection with NATS.
    due: Option<Duration>,
}

/// How a peer's change of rooms affects the relay.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RoomsChanged {
    /// The rooms that have a peer of this relay now.
    pub(super) opened: Vec<RoomTag>,
    /// The rooms that have none any more.
    pub(super) closed: Vec<RoomTag>,
}

impl OwnRoster {
    /// Numbers above this one must never have been used by this relay.
    pub(super) fn new(number: u64) -> Self {
        Self {
            rooms: BTreeMap::new(),
            peers: BTreeMap::new(),
            number,
            pending: VecDeque::new(),
            due: None,
        }
    }

    /// Sets the rooms of a peer.
    pub(super) fn set(
        &mut self,
        now: Duration,
        peer: DeviceId,
        mut rooms: Vec<RoomTag>,
    ) -> RoomsChanged {
        rooms.sort_unstable();
        rooms.dedup();
        let old = self.peers.remove(&peer).unwrap_or_default();
        let mut changed = RoomsChanged::default();
        for room in rooms.iter().filter(|room| old.binary_search(room).is_err()) {
            let peers = self.rooms.entry(*room).or_default();
            if peers.is_empty() {
                changed.opened.push(*room);
            }
            peers.insert(peer);
            self.note(now, peer, *room, true);
        }
        for room in old.iter().filter(|room| rooms.binary_search(room).is_err()) {
            let peers = self.rooms.get_mut(room).expect("the maps have the same");
            peers.remove(&peer);
            if peers.is_empty() {
                self.rooms.remove(room);
                changed.closed.push(*room);
            }
            self.note(now, peer, *room, false);
        }
        if !rooms.is_empty() {
            self.peers.insert(peer, rooms);
        }
        changed
    }

    fn note(&mut self, now: Duration, peer: DeviceId, room: RoomTag, here: bool) {
        let Some(due) = &mut self.due else {
            return;
        };
        if self.pending.is_empty() {
            *due = (*due).min(now + SEND_AFTER);
        }
        self.pending.push_back(Change { peer, room, here });
        if self.pending.len() > PENDING_MAX {
            self.leave_out();
        }
    }

    /// There is a connection with NATS. The other relays may have missed everything before.
    pub(super) fn connected(&mut self, now: Duration) {
        self.leave_out();
        self.due = Some(now);
    }

    /// There is no connection with NATS any more.
    pub(super) fn lost(&mut self) {
        (self.due, self.pending) = (None, VecDeque::new());
    }

    fn leave_out(&mut self) {
        self.pending.clear();
        self.number += 1;
    }

    /// When [`OwnRoster::timeout`] has work.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due
    }

    /// The messages that are due: their numbers, and the changes.
    pub(super) fn timeout(&mut self, now: Duration) -> Vec<(u64, Vec<Change>)> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let mut messages = Vec::new();
        while messages.is_empty() || (!self.pending.is_empty() && messages.len() < SENT_AT_ONCE) {
            let count = self.pending.len().min(CHANGES_MAX);
            self.number += 1;
            messages.push((self.number, self.pending.drain(..count).collect()));
        }
        let pause = if self.pending.is_empty() {
            ALIVE_EVERY
        } else {
            SEND_AFTER
        };
        self.due = Some(now + pause);
        messages
    }

    /// The number of the last message, and the parts of an answer about these rooms. Changes that wait
    /// are in the answer, and follow: they change nothing then.
    pub(super) fn answer(&self, rooms: &[RoomTag]) -> (u64, Vec<Vec<RoomPeers>>) {
        let rooms: BTreeSet<_> = rooms.iter().collect();
        let mut parts = vec![Vec::new()];
        let mut left = PART_IDS_MAX;
        for room in rooms {
            let peers = self.rooms.get(room).into_iter().flatten();
            let mut peers: Vec<_> = peers.take(ROOM_PEERS_MAX).copied().collect();
            let (used, ids) = (PART_IDS_MAX - left, 1 + peers.len());
            let more_parts = (used + ids) / PART_IDS_MAX + 1;
            if parts.len() + more_parts > PARTS_MAX.into() {
                break;
            }
            loop {
                if left < 2 {
                    parts.push(Vec::new());
                    left = PART_IDS_MAX;
                }
                let rest = peers.split_off(peers.len().min(left - 1));
                left -= 1 + peers.len();
                let part = parts.last_mut().expect("there is at least one");
                part.push((*room, peers));
                peers = rest;
                if peers.is_empty() {
                    break;
                }
            }
        }
        (self.number, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn peer(n: usize) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    fn room(n: u8) -> RoomTag {
        RoomTag::from_bytes([n; 32])
    }

    /// A roster that has sent its first sign of life, with the number 12.
    fn connected() -> OwnRoster {
        let mut roster = OwnRoster::new(10);
        roster.connected(NOW);
        assert_eq!(roster.timeout(NOW), [(12, Vec::new())]);
        roster
    }

    fn change(n: usize, in_room: u8, here: bool) -> Change {
        let (peer, room) = (peer(n), room(in_room));
        Change { peer, room, here }
    }

    #[test]
    fn changes_of_one_moment_are_one_message() {
        let mut roster = connected();
        roster.set(NOW, peer(1), vec![room(1), room(2), room(1)]);
        roster.set(NOW, peer(2), vec![room(1)]);
        let due = roster.next_due().unwrap();
        assert_eq!(due, NOW + SEND_AFTER);
        let joined = [change(1, 1, true), change(1, 2, true), change(2, 1, true)];
        assert_eq!(roster.timeout(due), [(13, joined.to_vec())]);
        roster.set(due, peer(1), vec![room(2)]);
        roster.set(due, peer(2), Vec::new());
        let left = [change(1, 1, false), change(2, 1, false)];
        assert_eq!(roster.timeout(due + SEND_AFTER), [(14, left.to_vec())]);
        assert_eq!(
            roster.answer(&[room(1)]),
            (14, vec![vec![(room(1), vec![])]])
        );
    }

    #[test]
    fn without_changes_there_is_a_sign_of_life() {
        let mut roster = connected();
        assert_eq!(roster.next_due(), Some(NOW + ALIVE_EVERY));
        assert_eq!(roster.timeout(NOW + ALIVE_EVERY / 2), []);
        assert_eq!(roster.timeout(NOW + ALIVE_EVERY), [(13, Vec::new())]);
        // Later changes do not wait for the next one.
        let later = NOW + ALIVE_EVERY;
        roster.set(later, peer(1), vec![room(1)]);
        assert_eq!(roster.next_due(), Some(later + SEND_AFTER));
    }

    #[test]
    fn the_relay_learns_which_rooms_have_peers() {
        let mut roster = connected();
        let mut set = |n, rooms: &[u8]| {
            let rooms = rooms.iter().map(|n| room(*n)).collect();
            let changed = roster.set(NOW, peer(n), rooms);
            (changed.opened, changed.closed)
        };
        assert_eq!(set(1, &[1, 2]), (vec![room(1), room(2)], vec![]));
        assert_eq!(set(2, &[2, 3]), (vec![room(3)], vec![]));
        assert_eq!(set(1, &[3]), (vec![], vec![room(1)]));
        assert_eq!(set(2, &[]), (vec![], vec![room(2)]));
        assert_eq!(set(2, &[]), (vec![], vec![]));
    }

    #[test]
    fn what_the_others_may_have_missed_leaves_a_number_out() {
        let mut roster = connected();
        roster.lost();
        assert_eq!(roster.next_due(), None);
        roster.set(NOW, peer(1), vec![room(1)]);
        assert_eq!(roster.timeout(NOW + SEND_AFTER), []);
        roster.connected(NOW);
        assert_eq!(roster.timeout(NOW), [(14, Vec::new())], "without 13");
        // Too many changes wait.
        for n in 0..PENDING_MAX / 2 - 1 {
            roster.set(NOW, peer(n), vec![room(3), room(4)]);
        }
        let sent: usize = roster
            .timeout(NOW + SEND_AFTER)
            .iter()
            .map(|(_, changes)| changes.len())
            .sum();
        assert_eq!(sent, SENT_AT_ONCE * CHANGES_MAX, "the others wait");
        for n in 0..PENDING_MAX {
            roster.set(NOW, peer(n), vec![room(5)]);
        }
        let (number, pending) = (roster.number, roster.pending.len());
        assert!(pending < PENDING_MAX, "they were dropped");
        assert!(number > 14 + u64::try_from(SENT_AT_ONCE).unwrap());
    }

    #[test]
    fn an_answer_has_as_many_rooms_as_fit() {
        let mut roster = connected();
        for n in 0..=ROOM_PEERS_MAX {
            roster.set(NOW, peer(n), (1..=9).map(room).collect());
        }
        let asked: Vec<_> = (0..=9).map(room).collect();
        let (_, parts) = roster.answer(&asked);
        assert!((2..=usize::from(PARTS_MAX)).contains(&parts.len()));
        let mut rooms: BTreeMap<RoomTag, Vec<DeviceId>> = BTreeMap::new();
        for part in parts {
            let ids: usize = part.iter().map(|(_, peers)| 1 + peers.len()).sum();
            assert!(ids <= PART_IDS_MAX, "{ids}");
            for (room, peers) in part {
                rooms.entry(room).or_default().extend(peers);
            }
        }
        assert_eq!(rooms.remove(&room(0)), Some(Vec::new()));
        assert!((3..9).contains(&rooms.len()), "{}", rooms.len());
        let first: Vec<_> = (0..ROOM_PEERS_MAX).map(peer).collect();
        assert!(rooms.values().all(|peers| *peers == first), "500 of 501");
        assert_eq!(roster.answer(&[]).1, [Vec::new()]);
    }
}
