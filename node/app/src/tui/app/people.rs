//! The people and rooms that the node knows: who is online, who is in which room, what they are
//! called. No conversations and no requests.

use std::collections::BTreeMap;

use hobnob::protocol::{PersonId, RoomName};
use hobnob::{ConversationRef, PeerState, RoomInfo};
use hobnob_control::wire::{ActivityLine, MessageLine, PeerLine, PeerList, RoomList, StatusLine};

use crate::shared::wording::{self, Names};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// This node; none until it has answered once.
    pub(crate) status: Option<StatusLine>,
    pub(crate) peers: BTreeMap<PersonId, PeerLine>,
    pub(crate) names: Names,
    pub(crate) rooms: BTreeMap<RoomName, RoomInfo>,
    has_list: bool,
    has_rooms: bool,
}

/// The members of a room before and after the node listed its rooms.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) room: RoomName,
    pub(crate) before: Vec<PersonId>,
    pub(crate) now: Vec<PersonId>,
}

impl People {
    /// This node's own id, once the node has sent its status.
    pub(crate) fn me(&self) -> Option<PersonId> {
        self.status.as_ref().map(|status| status.peer.0)
    }

    /// All peers that are not offline.
    pub(crate) fn online(&self) -> impl Iterator<Item = &PeerLine> {
        self.peers
            .values()
            .filter(|peer| peer.state != PeerState::Offline)
    }

    /// The other people of a conversation.
    pub(crate) fn in_conversation(&self, of: &ConversationRef) -> Vec<PersonId> {
        match of {
            ConversationRef::Direct(peer) => vec![*peer],
            ConversationRef::Room(room) => self.rooms.get(room).map_or(vec![], members),
        }
    }

    /// Whether this user wrote the message.
    pub(crate) fn is_mine(&self, message: &MessageLine) -> bool {
        message.state.is_some() || self.me() == Some(message.from.0)
    }

    /// Replaces all peers. Returns whether this is the first list of this chat.
    pub(crate) fn set_peers(&mut self, list: PeerList) -> bool {
        for peer in &list.peers {
            self.names.learn(peer);
        }
        self.peers = list
            .peers
            .into_iter()
            .map(|peer| (peer.peer.0, peer))
            .collect();
        !std::mem::replace(&mut self.has_list, true)
    }

    /// `bob is now rob`, if the peer had another nickname before. A peer whose name becomes known
    /// is not renamed.
    pub(crate) fn renamed(&self, peer: &PeerLine) -> Option<String> {
        let known = self.peers.get(&peer.peer.0)?;
        let (before, now) = (known.nick.as_ref()?, peer.nick.as_ref()?);
        (before != now).then(|| wording::renamed(before, now))
    }

    /// Replaces one peer. Returns whether it has come online or gone offline.
    pub(crate) fn update(&mut self, peer: PeerLine) -> bool {
        self.names.learn(&peer);
        let is_here = peer.state != PeerState::Offline;
        let was_here = self
            .peers
            .insert(peer.peer.0, peer)
            .is_some_and(|known| known.state != PeerState::Offline);
        was_here != is_here
    }

    /// A peer's user is away, or back.
    pub(crate) fn take_status(&mut self, line: &ActivityLine) {
        if let (Some(away), Some(peer)) = (line.away, self.peers.get_mut(&line.peer.0)) {
            peer.away = away;
            peer.status = line.text.clone().unwrap_or_default();
        }
    }

    /// Whether this node is not in a room. Unknown until it has listed its rooms.
    pub(crate) fn has_left(&self, room: &RoomName) -> bool {
        self.has_rooms && !self.rooms.contains_key(room)
    }

    /// Replaces all rooms. Returns the members of each, before and now.
    pub(crate) fn set_rooms(&mut self, list: RoomList) -> Vec<Membership> {
        let before = std::mem::take(&mut self.rooms);
        self.has_rooms = true;
        self.rooms = list
            .rooms
            .into_iter()
            .map(|room| (room.name.clone(), room))
            .collect();
        self.rooms
            .iter()
            .map(|(name, room)| Membership {
                room: name.clone(),
                before: before.get(name).map_or(vec![], members),
                now: members(room),
            })
            .collect()
    }
}

fn members(room: &RoomInfo) -> Vec<PersonId> {
    room.here.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(here: &[u8]) -> RoomList {
        let here = here
            .iter()
            .map(|byte| PersonId::from_bytes([*byte; 32]))
            .collect();
        RoomList {
            rooms: vec![RoomInfo {
                name: RoomName::lobby(),
                open: true,
                fingerprint: None,
                here,
                topic: None,
            }],
        }
    }

    #[test]
    fn a_new_list_of_rooms_shows_who_came_and_who_left() {
        let [bob, cat] = [2, 3].map(|byte| PersonId::from_bytes([byte; 32]));
        let mut people = People::default();
        people.set_rooms(list(&[2]));
        let changes = people.set_rooms(list(&[3]));
        assert_eq!(
            changes,
            [Membership {
                room: RoomName::lobby(),
                before: vec![bob],
                now: vec![cat],
            }]
        );
        assert_eq!(
            people.in_conversation(&ConversationRef::Room(RoomName::lobby())),
            [cat]
        );
    }

    #[test]
    fn a_room_that_the_user_has_left_is_known_once_the_rooms_are_listed() {
        let mut people = People::default();
        let [lobby, ops] = ["lobby", "ops"].map(|name| name.parse::<RoomName>().unwrap());
        assert!(!people.has_left(&lobby) && !people.has_left(&ops));
        people.set_rooms(list(&[]));
        assert!(!people.has_left(&lobby) && people.has_left(&ops));
    }

    #[test]
    fn only_the_first_list_of_peers_is_the_first() {
        let mut people = People::default();
        assert!(people.set_peers(PeerList { peers: vec![] }));
        assert!(!people.set_peers(PeerList { peers: vec![] }));
    }
}
