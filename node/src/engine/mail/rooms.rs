//! Carries out what concerns mail in rooms with a key: who gets it, and how much.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_core::mail_refusal::MailRefusal;
use hobnob_core::replica::MailedRoom;
use hobnob_protocol::mailbox::RoomMail;
use hobnob_protocol::{ConversationId, DeviceId, Frame, RoomKey};
use tracing::debug;

use super::super::state::Engine;
use super::{DEPOSIT_AFTER, HolderAt};

/// Maximum bytes of one contact's mailbox that this node fills with messages of rooms: a quarter of
/// its share. The rest is for messages to that contact alone.
const ROOM_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Maximum sessions by mail about rooms. Further ones begin when others end.
const ROOM_SESSIONS_MAX: usize = 64;

/// If there are [`ROOM_SESSIONS_MAX`], the next attempt for a peer follows after this time.
const ROOM_AGAIN_AFTER: Duration = Duration::from_secs(10);

impl Engine {
    // Members.

    /// The peer of a session has proved that it is in these rooms of this node, and in no others.
    pub(in crate::engine) fn mail_members_here(
        &mut self,
        peer: DeviceId,
        closed: &[ConversationId],
    ) {
        if !self.policy.is_contact(peer.person()) {
            return;
        }
        for room in closed {
            self.mail_member_proved(*room, peer);
        }
        // Of rooms that this node has left, a peer can prove nothing.
        let mut rooms = self.mail.members.rooms_with(peer);
        rooms.retain(|room| closed.contains(room) || self.mail_key(*room).is_none());
        self.mail_members_gone(peer, &rooms);
    }

    fn mail_member_proved(&mut self, room: ConversationId, peer: DeviceId) {
        let (own_end, wall_ms) = (self.replica.own_end(room), self.clock.now().wall_ms);
        let rows = self.mail.members.is_here(room, peer, own_end, wall_ms);
        self.store.set_mail(rows);
    }

    /// A peer is in these rooms at most. It has left those of the others in which it was a member.
    pub(in crate::engine) fn mail_members_gone(
        &mut self,
        peer: DeviceId,
        rooms: &BTreeSet<ConversationId>,
    ) {
        let (left, rows) = self.mail.members.was_in(peer, rooms);
        self.store.set_mail(rows);
        for room in left {
            let rows = self.mail.held.forget_in(room, peer);
            self.store.set_mail(rows);
            self.outbox.note_left(room, peer);
            if let Some(session) = self.mail.session_in(peer, Some(room)) {
                self.end_mail(session);
            }
        }
    }

    /// This node may have left a room.
    pub(in crate::engine) fn mail_rooms_changed(&mut self) {
        let sessions = self.mail.sessions.iter();
        let left =
            sessions.filter(|(_, it)| it.room.is_some_and(|room| self.mail_key(room).is_none()));
        let left: Vec<_> = left.map(|(id, _)| *id).collect();
        left.into_iter().for_each(|id| self.end_mail(id));
    }

    /// The key of a room that this node is in, unless it is open.
    pub(super) fn mail_key(&self, room: ConversationId) -> Option<&RoomKey> {
        let mut rooms = self.replica.rooms();
        rooms
            .find(|(id, _, key)| *id == room && !key.is_open())
            .map(|(_, _, key)| key)
    }

    // Deposits.

    /// Whether a peer gets the messages of a room, or of the direct conversation, by mail.
    pub(super) fn gets_mail_of(&self, room: Option<ConversationId>, peer: DeviceId) -> bool {
        room.is_none_or(|room| self.mail.members.is_in(room, peer))
    }

    /// The user has written in a room. Members that are away get it soon.
    pub(in crate::engine) fn mail_wanted_in(&mut self, room: ConversationId) {
        if self.mail_key(room).is_none() {
            return;
        }
        for peer in self.mail.members.of_room(room) {
            let is_away = self.paths.session(peer).is_none();
            if is_away && self.mail.session_in(peer, Some(room)).is_none() {
                self.expect_mail(peer);
            }
        }
    }

    /// Begins sessions by mail about the rooms of a peer that is away, where something waits.
    pub(super) fn begin_mail_in_rooms(&mut self, peer: DeviceId, now: Duration) {
        let rooms = self.mail.members.rooms_of(peer);
        if rooms.is_empty() {
            return;
        }
        let held = self.mail.held.of_peer(peer);
        let waiting = rooms.into_iter().filter(|room| {
            self.mail_key(room.id).is_some()
                && (self.mail.owed(peer, Some(room.id)).receipts
                    || self.replica.has_room_mail(*room, peer, &held))
        });
        for room in waiting.collect::<Vec<_>>() {
            self.begin_mail_in(room, peer, now);
        }
    }

    fn begin_mail_in(&mut self, room: MailedRoom, peer: DeviceId, now: Duration) {
        let known = self.mail.session_in(peer, Some(room.id));
        if known.is_some_and(|id| self.mail.sessions[&id].holder.is_some()) {
            return;
        }
        let Some(holder) = self.mail.holder_for_rooms(peer, now) else {
            if let Some(at) = self.mail.room_refusals.next(peer, now) {
                self.mail.due_by(peer, at);
            }
            return;
        };
        if self.mail.is_on_its_way(peer, Some(room.id)) {
            // What the holder answers need not be deposited again.
            return self.mail.due_by(peer, now + DEPOSIT_AFTER);
        }
        let about_rooms = self.mail.sessions.values().filter(|it| it.room.is_some());
        if about_rooms.count() >= ROOM_SESSIONS_MAX {
            return self.mail.due_by(peer, now + ROOM_AGAIN_AFTER);
        }
        if self.mail.held.room_bytes(self.me, peer) >= ROOM_BYTES_MAX {
            let id = self.mail.holders[&holder].id;
            return self.room_refused(peer, id, MailRefusal::Full);
        }
        known.into_iter().for_each(|id| self.end_mail(id));
        self.begin_mail(peer, Some(room), Some(holder), self.source_of(holder));
    }

    /// Whether a room's next envelope for a peer would exceed what rooms may take of its mailbox.
    pub(super) fn rooms_are_full(&self, peer: DeviceId, at: HolderAt) -> bool {
        let holder = self.mail.holders.get(&at);
        let on_the_way = holder.map_or(0, |holder| {
            holder.bytes_on_the_way(peer, |it| it.room.is_some())
        });
        self.mail.held.room_bytes(self.me, peer) + on_the_way >= ROOM_BYTES_MAX
    }

    /// A holder, or this node itself, refuses further messages in rooms for a peer. They stay
    /// queued here and are offered again later. Messages to the peer alone continue.
    pub(super) fn room_refused(&mut self, peer: DeviceId, holder: DeviceId, why: MailRefusal) {
        debug!(?peer, ?why, "no more mail in rooms");
        for id in self.mail.sessions_with(peer) {
            if self.mail.sessions[&id].room.is_some() {
                self.end_mail(id);
            }
        }
        let now = self.clock.now().mono;
        let again_at = self.mail.room_refusals.refused(peer, holder, why, now);
        let other = self.mail.holder_for_rooms(peer, now).is_some();
        self.mail.due_by(peer, if other { now } else { again_at });
    }

    /// The frames as they travel: those of a room are sealed with its key. `None`: this node has
    /// left the room.
    pub(super) fn sealed_for(
        &self,
        room: Option<ConversationId>,
        peer: DeviceId,
        frames: &[Bytes],
    ) -> Option<Vec<Bytes>> {
        let Some(room) = room else {
            return Some(frames.to_vec());
        };
        let sealed = RoomMail::seal(frames, self.mail_key(room)?, self.device, peer);
        Some(vec![Frame::Room(sealed).encode()])
    }

    /// Ends sessions by mail about rooms that have nothing more to send.
    pub(super) fn end_idle_room_mail(&mut self) {
        let sessions = self.mail.sessions.iter();
        let idle = sessions.filter(|(id, it)| {
            let is_idle = it.in_flight == 0 && it.arriving == 0 && it.outgoing.is_empty();
            it.room.is_some() && is_idle && self.replica.mail_is_done(**id)
        });
        let idle: Vec<_> = idle.map(|(id, _)| *id).collect();
        idle.into_iter().for_each(|id| self.end_mail(id));
    }

    // Arrivals.

    /// Opens what a contact has sealed with the key of a room. `None`: this node is not in such a
    /// room.
    pub(super) fn open_room_mail(
        &mut self,
        sender: DeviceId,
        mail: &RoomMail,
    ) -> Option<(ConversationId, Vec<Frame>)> {
        let (room, frames) = {
            let mut rooms = self.replica.rooms();
            let is_it = |key: &RoomKey| !key.is_open() && mail.is_of(key, sender);
            let (room, _, key) = rooms.find(|(_, _, key)| is_it(key))?;
            (room, mail.open(key, sender, self.device)?)
        };
        // Somebody who has the key is a member.
        self.mail_member_proved(room, sender);
        Some((room, frames))
    }

    /// The session by mail with a member of a room.
    pub(super) fn mail_session_in(
        &mut self,
        at: HolderAt,
        sender: DeviceId,
        room: ConversationId,
    ) -> SessionId {
        if let Some(id) = self.mail.session_in(sender, Some(room)) {
            return id;
        }
        let is_here = self.sessions.with(sender).is_some();
        let now = self.clock.now().mono;
        let holder = self.mail.holder_for_rooms(sender, now);
        let holder = holder.filter(|_| !is_here);
        let known = self.mail.members.since(room, sender);
        let room = known.unwrap_or(MailedRoom {
            id: room,
            after: self.replica.own_end(room),
        });
        self.begin_mail(sender, Some(room), holder, self.source_of(at))
    }
}
