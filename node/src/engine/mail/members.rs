//! Contacts that are members of rooms with a key: they get messages of the room by mail while they
//! are away.
//!
//! A contact is a member when it has proved in a session, or by mail, that it has the room's key.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_core::replica::MailedRoom;
use hobnob_protocol::{ConversationId, DeviceId, LogId, Seq, codec};

use crate::store::{MailKind, MailRow};

/// Maximum members of one room that get mail: those that were in it last. Others get the messages
/// when they meet somebody who has them. So a message to a large room costs at most this many
/// envelopes.
const MAILED_MEMBERS_MAX: usize = 64;

/// Maximum memberships that are remembered. Beyond this, the one that was proved first is
/// forgotten.
const MEMBERSHIPS_MAX: usize = 4096;

/// How exactly it is remembered when a member was in the room.
const REFRESH_MS: u64 = 60 * 60 * 1000;

/// Memory that reading a row may claim.
const MEMORY_MAX: usize = 1024;

/// A row: our own newest entry when it became a member, when it was in the room last, and whether
/// it has left.
type StoredMember = (Option<(LogId, Seq)>, u64, bool);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    after: Option<(LogId, Seq)>,
    /// When it last proved that it has the key, in milliseconds since the Unix epoch.
    here_at_ms: u64,
    /// In its last session it did not prove that.
    has_left: bool,
}

/// The members, by room and contact.
#[derive(Debug, Default)]
pub(super) struct RoomMembers(BTreeMap<(ConversationId, DeviceId), Member>);

impl RoomMembers {
    pub(super) fn restore(rows: &[MailRow]) -> Self {
        let rows = rows.iter().filter(|row| row.kind == MailKind::Member);
        Self(rows.filter_map(read).collect())
    }

    /// A contact has proved that it has the room's key. `own_end` is our own newest entry there: a
    /// new member gets what follows. Returns the rows to store.
    pub(super) fn is_here(
        &mut self,
        room: ConversationId,
        peer: DeviceId,
        own_end: Option<(LogId, Seq)>,
        wall_ms: u64,
    ) -> Vec<MailRow> {
        let known = self.0.get(&(room, peer)).copied();
        let is_fresh = |it: &Member| !it.has_left && wall_ms.abs_diff(it.here_at_ms) < REFRESH_MS;
        if known.as_ref().is_some_and(is_fresh) {
            return Vec::new();
        }
        let member = Member {
            after: known.map_or(own_end, |it| it.after),
            here_at_ms: wall_ms,
            has_left: false,
        };
        self.0.insert((room, peer), member);
        let mut rows = vec![row(room, peer, Some(&member))];
        if self.0.len() > MEMBERSHIPS_MAX
            && let Some(oldest) = self.oldest()
        {
            self.0.remove(&oldest);
            rows.push(row(oldest.0, oldest.1, None));
        }
        rows
    }

    /// A contact is in these rooms. Returns those that it has left, and the rows to store.
    pub(super) fn was_in(
        &mut self,
        peer: DeviceId,
        rooms: &BTreeSet<ConversationId>,
    ) -> (Vec<ConversationId>, Vec<MailRow>) {
        let (mut left, mut rows) = (Vec::new(), Vec::new());
        for ((room, of), member) in &mut self.0 {
            if *of == peer && !member.has_left && !rooms.contains(room) {
                member.has_left = true;
                left.push(*room);
                rows.push(row(*room, peer, Some(member)));
            }
        }
        (left, rows)
    }

    /// The rooms in which a contact gets mail.
    pub(super) fn rooms_of(&self, peer: DeviceId) -> Vec<MailedRoom> {
        let of_peer = self
            .0
            .iter()
            .filter(|((_, of), it)| *of == peer && !it.has_left);
        let of_peer = of_peer.filter(|((room, _), _)| self.of_room(*room).contains(&peer));
        of_peer
            .map(|((room, _), it)| MailedRoom {
                id: *room,
                after: it.after,
            })
            .collect()
    }

    /// The members of a room that get mail.
    pub(super) fn of_room(&self, room: ConversationId) -> BTreeSet<DeviceId> {
        let first = (room, DeviceId::from_bytes([0; 32]));
        let all = self.0.range(first..).take_while(|((of, _), _)| *of == room);
        let present = all.filter(|(_, it)| !it.has_left);
        let mut members: Vec<_> = present
            .map(|((_, peer), it)| (it.here_at_ms, *peer))
            .collect();
        members.sort_unstable_by(|one, other| other.cmp(one));
        members.truncate(MAILED_MEMBERS_MAX);
        members.into_iter().map(|(_, peer)| peer).collect()
    }

    /// The rooms of which a contact is a member, also those in which it gets no mail.
    pub(super) fn rooms_with(&self, peer: DeviceId) -> BTreeSet<ConversationId> {
        let present = self.0.iter().filter(|(_, it)| !it.has_left);
        let of_peer = present.filter(|((_, of), _)| *of == peer);
        of_peer.map(|((room, _), _)| *room).collect()
    }

    /// Whether a contact is a member of a room, and has not left it.
    pub(super) fn is_in(&self, room: ConversationId, peer: DeviceId) -> bool {
        self.0.get(&(room, peer)).is_some_and(|it| !it.has_left)
    }

    /// Our own newest entry in a room when a contact became a member. `None`: it is not known as one.
    pub(super) fn since(&self, room: ConversationId, peer: DeviceId) -> Option<MailedRoom> {
        self.0.get(&(room, peer)).map(|it| MailedRoom {
            id: room,
            after: it.after,
        })
    }

    /// The peer is no contact any more. Returns the rows to store.
    pub(super) fn forget(&mut self, peer: DeviceId) -> Vec<MailRow> {
        let mut rows = Vec::new();
        self.0.retain(|(room, of), _| {
            if *of == peer {
                rows.push(row(*room, peer, None));
            }
            *of != peer
        });
        rows
    }

    fn oldest(&self) -> Option<(ConversationId, DeviceId)> {
        let oldest = self.0.iter().min_by_key(|(_, it)| it.here_at_ms);
        oldest.map(|(key, _)| *key)
    }
}

fn row(room: ConversationId, peer: DeviceId, member: Option<&Member>) -> MailRow {
    let value = member.map(|it| {
        let stored: StoredMember = (it.after, it.here_at_ms, it.has_left);
        codec::encode(&stored)
    });
    MailRow {
        kind: MailKind::Member,
        name: codec::encode(&(room, peer)),
        value,
    }
}

fn read(row: &MailRow) -> Option<((ConversationId, DeviceId), Member)> {
    let key = codec::decode::<(ConversationId, DeviceId), MEMORY_MAX>(&row.name).ok()?;
    let stored = codec::decode::<StoredMember, MEMORY_MAX>(row.value.as_deref()?);
    let (after, here_at_ms, has_left) = stored.ok()?;
    let member = Member {
        after,
        here_at_ms,
        has_left,
    };
    Some((key, member))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPS: ConversationId = ConversationId::from_bytes([7; 32]);

    fn peer(n: u64) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    fn ids(rooms: &[MailedRoom]) -> Vec<(ConversationId, Option<(LogId, Seq)>)> {
        rooms.iter().map(|room| (room.id, room.after)).collect()
    }

    #[test]
    fn a_contact_is_a_member_from_its_first_proof_until_it_is_there_without_one() {
        let mut members = RoomMembers::default();
        let end = Some((LogId(3), 4));
        let mut rows = members.is_here(OPS, peer(1), end, 1_000);
        assert_eq!(members.is_here(OPS, peer(1), None, 2_000), [], "known");
        let later = members.is_here(OPS, peer(1), None, 1_000 + REFRESH_MS);
        assert_eq!(later.len(), 1, "it was there today");
        rows = [rows, later].concat();
        let mut members = RoomMembers::restore(&rows[1..]);
        assert_eq!(ids(&members.rooms_of(peer(1))), [(OPS, end)]);
        assert_eq!(ids(&members.rooms_of(peer(2))), []);
        let (left, _) = members.was_in(peer(1), &[OPS].into());
        assert_eq!(left, []);
        let (left, rows) = members.was_in(peer(1), &[].into());
        assert_eq!((left, rows.len()), (vec![OPS], 1));
        let mut members = RoomMembers::restore(&rows);
        assert!(!members.is_in(OPS, peer(1)));
        assert_eq!(ids(&members.rooms_of(peer(1))), []);
        members.is_here(OPS, peer(1), Some((LogId(9), 9)), 3_000);
        assert_eq!(
            ids(&members.rooms_of(peer(1))),
            [(OPS, end)],
            "it has missed those"
        );
        assert!(members.is_in(OPS, peer(1)) && !members.is_in(OPS, peer(2)));
        assert_eq!(members.forget(peer(1)).len(), 1);
        assert_eq!(members.since(OPS, peer(1)), None);
    }

    #[test]
    fn a_large_room_mails_to_those_who_were_there_last() {
        let mut members = RoomMembers::default();
        let count = u64::try_from(MAILED_MEMBERS_MAX).expect("small") + 1;
        for n in 1..=count {
            members.is_here(OPS, peer(n), None, n);
        }
        let mailed = members.of_room(OPS);
        assert_eq!(mailed.len(), MAILED_MEMBERS_MAX);
        assert!(!mailed.contains(&peer(1)) && members.rooms_of(peer(1)).is_empty());
        assert!(mailed.contains(&peer(count)));
    }

    #[test]
    fn the_membership_that_was_proved_first_is_forgotten() {
        let mut members = RoomMembers::default();
        let count = u64::try_from(MEMBERSHIPS_MAX).expect("small");
        for n in 1..=count {
            assert_eq!(members.is_here(OPS, peer(n), None, n).len(), 1);
        }
        let rows = members.is_here(OPS, peer(count + 1), None, count + 1);
        let gone: Vec<_> = rows.iter().filter(|row| row.value.is_none()).collect();
        assert_eq!(gone.len(), 1);
        assert_eq!(members.since(OPS, peer(1)), None);
    }
}
