//! Joins and leaves rooms.

use hobnob_core::commit::ConversationKind;
use hobnob_core::replica::{self, Token};
use hobnob_protocol::frame::ROOMS_MAX;
use hobnob_protocol::{ConversationId, RoomKey, RoomName, RoomTicket};
use tokio::sync::oneshot;

use super::joins::Joining;
use super::state::Engine;
use crate::api::RoomInfo;
use crate::error::{EraseError, JoinError};

impl Engine {
    /// Joins the lobby, on the first run of this home, and the rooms that the configuration names.
    pub(crate) fn join_first_rooms(&mut self, named: &[RoomName]) {
        let lobby = RoomName::lobby();
        let is_lobby = |kind: &ConversationKind| matches!(kind, ConversationKind::Room { name, .. } if *name == lobby);
        let first_run = !self
            .replica
            .conversations()
            .any(|record| is_lobby(&record.kind));
        let lobby = first_run.then_some(lobby.clone());
        for name in lobby.into_iter().chain(named.iter().cloned()) {
            if self.joined_room(&name).is_none() {
                let key = RoomKey::open(&name);
                self.begin_join(name, key, Joining::First);
            }
        }
    }

    pub(super) fn join(
        &mut self,
        room: RoomName,
        key: RoomKey,
        reply: oneshot::Sender<Result<RoomInfo, JoinError>>,
    ) {
        match self.joined_room(&room) {
            Some(id) if id != key.conversation() => {
                drop(reply.send(Err(JoinError::OtherSecret(room))));
            }
            None if self.replica.rooms().count() >= ROOMS_MAX => {
                drop(reply.send(Err(JoinError::TooMany(ROOMS_MAX))))
            }
            Some(_) | None => {
                let joining = Joining::Join(room.clone(), reply);
                self.begin_join(room, key, joining);
            }
        }
    }

    fn begin_join(&mut self, name: RoomName, key: RoomKey, joining: Joining) {
        let token = self.outbox.token();
        self.joins.begin(token, joining);
        self.tell_replica(replica::Input::Join { token, name, key });
        self.rooms_changed();
    }

    pub(super) fn part(&mut self, room: &RoomName, reply: oneshot::Sender<Result<(), JoinError>>) {
        let Some(id) = self.joined_room(room) else {
            return drop(reply.send(Err(JoinError::NotInRoom(room.clone()))));
        };
        let token = self.outbox.token();
        self.joins.begin(token, Joining::Part(reply));
        self.tell_replica(replica::Input::Part(token, id));
        self.rooms_changed();
    }

    fn rooms_changed(&mut self) {
        // Rooms that a peer has proved are proved to it in turn, so compare before the profiles.
        for id in self.sessions.ids() {
            self.compare_rooms(id);
            self.update_direct_path(id);
        }
        self.send_profile_to_all();
        self.send_rooms_to_relays();
        self.mail_rooms_changed();
    }

    /// A join, a part, or what the user erased is on disk, or not.
    pub(super) fn joined(&mut self, token: Token, result: Result<(), String>) {
        if let Some(waiting) = self.erasing.take(token) {
            return match result {
                Ok(()) => self.deleted_for_user(waiting),
                Err(why) => self.erase_failed(waiting.reply, EraseError::Store(why)),
            };
        }
        let rooms = self.room_infos();
        self.joins.end(token, result, &rooms);
    }

    pub(super) fn joined_room(&self, room: &RoomName) -> Option<ConversationId> {
        self.replica
            .rooms()
            .find(|(_, name, ..)| *name == room)
            .map(|(id, ..)| id)
    }

    /// The ticket of a room that this node is in.
    pub(super) fn room_ticket(&self, room: RoomName) -> Result<RoomTicket, JoinError> {
        let found = self.replica.rooms().find(|(_, name, _)| **name == room);
        let Some((_, _, key)) = found else {
            return Err(JoinError::NotInRoom(room));
        };
        RoomTicket::new(room.clone(), key.clone()).ok_or(JoinError::IsOpen(room))
    }

    pub(super) fn room_infos(&self) -> Vec<RoomInfo> {
        let info = |(id, name, key): (ConversationId, &RoomName, &RoomKey)| RoomInfo {
            name: name.clone(),
            open: key.is_open(),
            fingerprint: key.fingerprint().map(|words| words.join(" ")),
            here: self.replica.here(id).into_iter().collect(),
            topic: None,
        };
        self.replica.rooms().map(info).collect()
    }
}
