//! Profile pictures: requests them for the user, and sends this node's and those of members.
//!
//! A picture goes to contacts and to members of rooms with a key only. In open rooms, whoever is on
//! the network is a member. The hash of a picture was signed with the record that names it, so a
//! picture may come from anybody. It is checked before it is stored, and not decoded here.

use std::collections::BTreeSet;

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_protocol::frame::features::PICTURES;
use hobnob_protocol::picture::PictureKind;
use hobnob_protocol::{ContentHash, ConversationId, Frame, PersonId, RoomKey, close, picture};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::internal::{Internal, PictureReply};
use super::reading::answer;
use super::session_state::SessionState;
use super::state::Engine;
use crate::api::{Event, ProfilePicture};
use crate::error::NodeError;
use crate::store::StoreError;

impl Engine {
    /// A session begins. Only a peer that answers requests for pictures gets any.
    pub(super) fn begin_pictures(&mut self, id: SessionId) {
        let state = self.sessions.get(id);
        if state.is_some_and(|state| state.has_feature(PICTURES)) {
            self.profile_pictures.begin(id);
        }
    }

    // The pictures of others.

    /// The picture that the record of a peer names, here or not.
    pub(super) fn named_picture(&self, peer: PersonId) -> Option<ContentHash> {
        let record = self.peers.record(peer)?.record();
        record.picture.filter(|_| {
            let is_welcome = !self.policy.of(peer).blocked;
            is_welcome && !record.needs_newer_version
        })
    }

    /// The picture of a peer, or of this node, if it is here.
    pub(super) fn picture_of(&self, peer: PersonId) -> Option<ContentHash> {
        let named = if peer == self.me {
            self.own.picture()
        } else {
            self.named_picture(peer)
        };
        named.filter(|picture| self.profile_pictures.has(*picture))
    }

    /// Requests the next picture from a session, if one is missing that its peer may have.
    pub(super) fn request_picture(&mut self, id: SessionId) {
        let wanted = self.wanted_pictures(id);
        let now = self.clock.now().mono;
        if let Some(picture) = self.profile_pictures.next_request(id, wanted, now) {
            self.sessions.send(id, &Frame::WantPicture(picture));
        }
    }

    pub(super) fn request_pictures_of_all(&mut self) {
        for id in self.profile_pictures.sessions() {
            self.request_picture(id);
        }
    }

    /// The pictures for which a session may be asked: of its peer, if that is a contact or a member,
    /// and of other members of its rooms.
    fn wanted_pictures(&self, id: SessionId) -> BTreeSet<ContentHash> {
        let Some(peer) = self.sessions.get(id).map(SessionState::person) else {
            return BTreeSet::new();
        };
        let closed = self.closed_rooms_with(id);
        let is_known = self.policy.is_contact(peer) || !closed.is_empty();
        let mut people: BTreeSet<PersonId> = is_known.then_some(peer).into_iter().collect();
        for (room, key) in &closed {
            people.extend(self.members_of(*room, key));
        }
        let named = people.into_iter().map(|peer| self.named_picture(peer));
        named.flatten().collect()
    }

    fn closed_rooms_with(&self, id: SessionId) -> Vec<(ConversationId, RoomKey)> {
        let mut rooms = self.rooms_with(id);
        rooms.retain(|(_, key)| !key.is_open());
        rooms
    }

    /// A session sends a picture, or that it does not send it.
    pub(super) fn picture(&mut self, id: SessionId, picture: ContentHash, bytes: Bytes) {
        let was_asked = self.profile_pictures.answered(id, picture);
        if bytes.is_empty() {
            if was_asked {
                // Others are asked for it, and this one for the next.
                self.request_pictures_of_all();
            }
            return;
        }
        let is_wanted = self.wanted_pictures(id).contains(&picture);
        if is_wanted && !self.profile_pictures.has(picture) {
            match picture::check(&bytes) {
                Ok((_, found)) if found == picture => self.store_picture(picture, bytes, None),
                Ok(_) => {
                    let state = self.sessions.get(id);
                    let state = state.expect("the callers act on live sessions only");
                    warn!(by = ?state.peer(), "refused: a picture with another hash");
                    return state.close(close::PROTOCOL, "a picture with another hash");
                }
                // A later version may know more kinds of files.
                Err(error) => debug!(session = ?id, "refused: {error}"),
            }
        }
        self.request_picture(id);
    }

    fn store_picture(&mut self, picture: ContentHash, bytes: Bytes, reply: Option<PictureReply>) {
        // The user's own picture always has room.
        if !self.profile_pictures.begin_storing(picture) && reply.is_none() {
            return debug!("dropped: there are too many pictures");
        }
        let stored = self.store.put_picture(picture, bytes);
        let reports = self.tasks.reporter();
        self.tasks.spawn(async move {
            let stored = answer(stored).await;
            let _ = reports.send(Internal::PictureStored(picture, stored, reply));
        });
    }

    /// A picture is on disk, or could not be stored.
    pub(super) fn picture_stored(
        &mut self,
        picture: ContentHash,
        stored: Result<(), StoreError>,
        reply: Option<PictureReply>,
    ) {
        self.profile_pictures.stored(picture, stored.is_ok());
        match (stored, reply) {
            (Ok(()), Some(reply)) => {
                self.own_picture_changed(Some(picture));
                let _ = reply.send(Ok(()));
            }
            (Err(error), Some(reply)) => drop(reply.send(Err(NodeError::from(error)))),
            (Ok(()), None) => {
                // The peer may have replaced it meanwhile.
                self.remove_unnamed_pictures();
                let shows = |peer: &PersonId| self.picture_of(*peer) == Some(picture);
                let peers: Vec<_> = self.peers.all().filter(shows).collect();
                for peer in peers {
                    self.reports.event(Event::Peer(self.peer_info(peer)));
                }
            }
            // The picture is requested again in the next session.
            (Err(error), None) => debug!("a picture was not stored: {error}"),
        }
    }

    /// The record of a peer may name another picture than before.
    pub(super) fn picture_replaced(&mut self, before: Option<ContentHash>, peer: PersonId) {
        let is_here = before.is_some_and(|before| self.profile_pictures.has(before));
        if is_here && before != self.named_picture(peer) {
            self.remove_unnamed_pictures();
        }
    }

    /// Removes the pictures that no record names any more.
    pub(super) fn remove_unnamed_pictures(&mut self) {
        let mut named: BTreeSet<ContentHash> = self.own.picture().into_iter().collect();
        let peers = self.peers.all();
        named.extend(peers.filter_map(|peer| self.named_picture(peer)));
        let unnamed = self.profile_pictures.retain(&named);
        self.store.remove_pictures(unnamed);
    }

    // Pictures for others, and for the user.

    /// Whether the peer of a session may have this node's picture.
    fn may_have_own_picture(&self, id: SessionId) -> bool {
        let peer = self.sessions.get(id).map(SessionState::person);
        peer.is_some_and(|peer| self.policy.is_contact(peer))
            || !self.closed_rooms_with(id).is_empty()
    }

    /// Whether the peer of a session may have a picture: this node's, or a member's of a room with a
    /// key that both are in.
    fn may_have_picture(&self, id: SessionId, picture: ContentHash) -> bool {
        if self.own.picture() == Some(picture) {
            return self.may_have_own_picture(id);
        }
        self.closed_rooms_with(id).iter().any(|(room, key)| {
            let mut members = self.members_of(*room, key);
            members.any(|member| self.named_picture(member) == Some(picture))
        })
    }

    /// A session requests a picture.
    pub(super) fn want_picture(&mut self, id: SessionId, picture: ContentHash) {
        let now = self.clock.now().mono;
        let is_allowed = self.profile_pictures.allow_request(id, now);
        if self.may_have_picture(id, picture) {
            if is_allowed && self.profile_pictures.has(picture) {
                return self.read_picture_for(id, picture);
            }
        } else if self.own.picture() == Some(picture) {
            self.profile_pictures.refuse_own(id);
        }
        self.send_picture(id, picture, None);
    }

    fn read_picture_for(&self, id: SessionId, picture: ContentHash) {
        let read = self.store.picture(picture);
        let reports = self.tasks.reporter();
        self.tasks.spawn(async move {
            // A store that can't be read is reported elsewhere.
            let bytes = answer(read).await.ok().flatten();
            let _ = reports.send(Internal::PictureRead(id, picture, bytes));
        });
    }

    /// Sends a picture to a session, or that it is not sent.
    pub(super) fn send_picture(
        &mut self,
        id: SessionId,
        picture: ContentHash,
        bytes: Option<Vec<u8>>,
    ) {
        let frame = Frame::Picture(picture, bytes.unwrap_or_default().into()).encode();
        self.profile_pictures.sent(id, frame.len());
        self.sessions.send_encoded(id, frame);
    }

    /// The peer of a session may have become a contact or a member: it gets this node's picture, if it
    /// has asked for it before.
    pub(super) fn send_refused_picture(&mut self, id: SessionId) {
        if self.may_have_own_picture(id)
            && self.profile_pictures.take_refused_own(id)
            && let Some(picture) = self.own.picture()
        {
            self.read_picture_for(id, picture);
        }
    }

    /// The user has chosen a picture, which is checked, or none.
    pub(super) fn set_picture(
        &mut self,
        chosen: Option<(ContentHash, Bytes)>,
        reply: PictureReply,
    ) {
        match chosen {
            Some((picture, bytes)) => self.store_picture(picture, bytes, Some(reply)),
            None => {
                self.own_picture_changed(None);
                let _ = reply.send(Ok(()));
            }
        }
    }

    fn own_picture_changed(&mut self, picture: Option<ContentHash>) {
        self.own.set_picture(picture, self.clock.now().wall_ms);
        self.store_own_records();
        self.remove_unnamed_pictures();
        self.send_profile_to_all();
    }

    /// Reads the picture of a peer, or of this node, for the user.
    pub(super) fn read_picture(
        &self,
        of: PersonId,
        reply: oneshot::Sender<Result<Option<ProfilePicture>, NodeError>>,
    ) {
        let Some(hash) = self.picture_of(of) else {
            return drop(reply.send(Ok(None)));
        };
        let read = self.store.picture(hash);
        self.tasks.spawn(async move {
            let bytes = answer(read).await.map_err(NodeError::from);
            let _ = reply.send(bytes.map(|bytes| {
                let bytes = bytes?;
                let kind = PictureKind::of(&bytes)?;
                Some(ProfilePicture { hash, kind, bytes })
            }));
        });
    }
}
