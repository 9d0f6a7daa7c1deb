//! The people and rooms that a session shows: what the node reported, by the names of IRC, and what
//! has changed since.

use std::collections::{BTreeMap, BTreeSet};

use hobnob::{ConversationRef, PeerState, RoomInfo, RoomTopic};
use hobnob_control::wire::{MessageLine, PeerLine, StatusLine};
use hobnob_protocol::{PersonId, RoomName};

use crate::names::{Names, Renamed};

/// Maximum peers that one session knows. One more ends the session: a new one begins with those
/// that the node still knows.
pub(crate) const PEERS_MAX: usize = 20_000;

/// People and rooms, by their names in IRC.
#[derive(Debug)]
pub(crate) struct Roster {
    me: PersonId,
    nick: String,
    names: Names,
    peers: BTreeMap<PersonId, PeerLine>,
    rooms: BTreeMap<RoomName, Room>,
}

/// A room that this node is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) open: bool,
    pub(crate) fingerprint: Option<String>,
    pub(crate) here: BTreeSet<PersonId>,
    pub(crate) topic: Option<RoomTopic>,
}

/// A change that a client shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// This node is in a room that it was not in.
    Entered(RoomName),
    /// This node has left a room.
    Exited(RoomName),
    /// A peer is in a room.
    Joined(RoomName, PersonId),
    /// A peer has left a room, and is in another one.
    Parted(RoomName, PersonId),
    /// A room has another topic, or none.
    Topic(RoomName),
    /// A peer is in none of the rooms any more.
    Quit(PersonId),
    /// This node calls itself something else: its nickname before, in IRC.
    RenamedMe(String),
    /// A peer has another nickname.
    Renamed(Renamed),
    /// A stranger has written for the first time, or again since the user looked.
    Request(PersonId),
}

impl Roster {
    /// Nobody but this node, in no room.
    fn new(status: &StatusLine) -> Roster {
        Roster {
            me: status.peer.0,
            nick: status.nick.as_str().to_owned(),
            names: Names::new(status.nick.as_str()),
            peers: BTreeMap::new(),
            rooms: BTreeMap::new(),
        }
    }

    /// This node in no room, and the peers that it knows.
    pub(crate) fn of(status: &StatusLine, peers: Vec<PeerLine>) -> Roster {
        let mut roster = Roster::new(status);
        for peer in peers {
            // A client that has just come is shown the whole roster, so no change is news to it.
            let _unseen = roster.learn(peer);
        }
        roster
    }

    /// The strangers who have written and wait for an answer.
    pub(crate) fn requests(&self) -> Vec<Change> {
        let peers = self.peers.values().filter(|peer| has_request(peer));
        peers.map(|peer| Change::Request(peer.peer.0)).collect()
    }

    /// This node's id.
    pub(crate) fn me(&self) -> PersonId {
        self.me
    }

    /// This node's nickname as the user chose it.
    pub(crate) fn own_nick(&self) -> &str {
        &self.nick
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// The nickname in IRC of this node or of a peer.
    pub(crate) fn nick(&self, peer: PersonId) -> &str {
        if peer == self.me {
            return self.names.me();
        }
        self.names.nick(peer).unwrap_or("unknown")
    }

    /// The nickname in IRC of this node or of a peer for something that it wrote when the node showed
    /// it as `nick`.
    pub(crate) fn nick_then(&self, peer: PersonId, nick: &str) -> String {
        self.names.past(peer, peer == self.me, nick)
    }

    pub(crate) fn peer(&self, peer: PersonId) -> Option<&PeerLine> {
        self.peers.get(&peer)
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &PeerLine> {
        self.peers.values()
    }

    pub(crate) fn room(&self, name: &RoomName) -> Option<&Room> {
        self.rooms.get(name)
    }

    pub(crate) fn rooms(&self) -> impl Iterator<Item = (&RoomName, &Room)> {
        self.rooms.iter()
    }

    /// Whether the node has a session with a peer.
    pub(crate) fn is_here(&self, peer: PersonId) -> bool {
        let state = self.peers.get(&peer).map(|peer| peer.state);
        peer == self.me || matches!(state, Some(PeerState::Online | PeerState::Suspect))
    }

    /// Whether there is no room for another peer.
    pub(crate) fn is_full(&self) -> bool {
        self.peers.len() >= PEERS_MAX
    }

    /// The conversation that a word of a client names: `#room`, or the nickname of a peer.
    pub(crate) fn conversation(&self, word: &str) -> Option<ConversationRef> {
        if word.starts_with('#') {
            return word.parse().map(ConversationRef::Room).ok();
        }
        self.names.peer(word).map(ConversationRef::Direct)
    }

    /// Learns this node's nickname.
    pub(crate) fn rename_me(&mut self, nick: &str) -> Vec<Change> {
        if nick == self.nick {
            return Vec::new();
        }
        nick.clone_into(&mut self.nick);
        let before = self.names.me().to_owned();
        let others = self.names.rename_me(nick);
        let me = (self.names.me() != before).then_some(Change::RenamedMe(before));
        me.into_iter()
            .chain(others.into_iter().map(Change::Renamed))
            .collect()
    }

    /// Learns what the node reports of a peer.
    pub(crate) fn learn(&mut self, line: PeerLine) -> Vec<Change> {
        let peer = line.peer.0;
        if peer == self.me || (self.is_full() && !self.peers.contains_key(&peer)) {
            return Vec::new();
        }
        let nick = line.nick.as_ref().map(|nick| nick.as_str());
        let unique = nick == Some(line.name.as_str());
        let renamed = self.names.learn(peer, nick, line.policy.contact, unique);
        let before = self.peers.insert(peer, line);
        let now = &self.peers[&peer];
        let asked = before.is_none_or(|before| before.request == 0);
        let request = asked && has_request(now);
        renamed
            .into_iter()
            .map(Change::Renamed)
            .chain(request.then_some(Change::Request(peer)))
            .collect()
    }

    /// Learns from a message that a stranger has written. The report about the peer may have come
    /// before the message.
    pub(crate) fn learn_request(&mut self, message: &MessageLine) -> Option<Change> {
        let peer = self.peers.get_mut(&message.from.0)?;
        if peer.request > 0 {
            return None;
        }
        peer.request = 1;
        Some(Change::Request(message.from.0))
    }

    /// Learns the author of a message, unless the author is known.
    pub(crate) fn learn_author(&mut self, message: &MessageLine) {
        let author = message.from.0;
        if author == self.me || self.names.nick(author).is_some() || self.is_full() {
            return;
        }
        let (nick, unique) = match message.nick.split_once('~') {
            Some((nick, _)) => (nick, false),
            None => (message.nick.as_str(), true),
        };
        // Nobody had this author's nickname before, so nobody is renamed who is shown.
        let _renamed = self.names.learn(author, Some(nick), false, unique);
    }

    /// Learns the rooms, their topics, and who is in them.
    pub(crate) fn set_rooms(&mut self, rooms: Vec<RoomInfo>) -> Vec<Change> {
        let new: BTreeMap<RoomName, Room> = rooms
            .into_iter()
            .map(|info| {
                let known = |peer: &PersonId| self.names.nick(*peer).is_some();
                let room = Room {
                    open: info.open,
                    fingerprint: info.fingerprint,
                    here: info.here.into_iter().filter(known).collect(),
                    topic: info.topic,
                };
                (info.name, room)
            })
            .collect();
        let mut changes = Vec::new();
        for name in self.rooms.keys().filter(|name| !new.contains_key(*name)) {
            changes.push(Change::Exited(name.clone()));
        }
        let mut quit: BTreeSet<PersonId> = BTreeSet::new();
        for (name, room) in &new {
            let Some(before) = self.rooms.get(name) else {
                // The client asks who is there when it enters.
                changes.push(Change::Entered(name.clone()));
                continue;
            };
            if before.topic != room.topic {
                changes.push(Change::Topic(name.clone()));
            }
            let before = &before.here;
            for peer in before.difference(&room.here) {
                if new.values().any(|room| room.here.contains(peer)) {
                    changes.push(Change::Parted(name.clone(), *peer));
                } else {
                    quit.insert(*peer);
                }
            }
            for peer in room.here.difference(before) {
                changes.push(Change::Joined(name.clone(), *peer));
            }
        }
        changes.extend(quit.into_iter().map(Change::Quit));
        self.rooms = new;
        changes
    }
}

/// Whether a stranger has written and waits for an answer.
fn has_request(peer: &PeerLine) -> bool {
    peer.request > 0 && !peer.policy.contact && !peer.policy.blocked
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;
    use hobnob_control::wire::{PolicyFields, Text};

    pub(crate) fn id(number: u8) -> PersonId {
        PersonId::from_bytes([number; 32])
    }

    pub(crate) fn room(name: &str) -> RoomName {
        name.parse().unwrap()
    }

    pub(crate) fn status(nick: &str) -> StatusLine {
        StatusLine {
            peer: Text(id(100)),
            nick: nick.parse().unwrap(),
            picture: None,
            addrs: Vec::new(),
            ticket: String::new(),
            rooms: Vec::new(),
            relays: Vec::new(),
            lends: None,
            notices: Vec::new(),
        }
    }

    pub(crate) fn contact(number: u8, nick: &str) -> PeerLine {
        PeerLine {
            peer: Text(id(number)),
            nick: Some(nick.parse().unwrap()),
            name: nick.to_owned(),
            formerly: None,
            picture: None,
            state: PeerState::Online,
            path: None,
            addr: None,
            rtt_ms: None,
            lost: false,
            awaits_consent: false,
            request: 0,
            away: false,
            status: String::new(),
            policy: PolicyFields {
                contact: true,
                ..PolicyFields::default()
            },
        }
    }

    /// A topic that bob has set.
    pub(crate) fn topic(text: &str) -> RoomTopic {
        RoomTopic {
            text: text.to_owned(),
            by: id(1),
            at_ms: 1_795_560_431_310,
        }
    }

    pub(crate) fn open_room(name: &str, here: &[u8]) -> RoomInfo {
        RoomInfo {
            name: room(name),
            open: true,
            fingerprint: None,
            here: here.iter().map(|number| id(*number)).collect(),
            topic: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{contact, id, open_room, room, status, topic};
    use super::*;

    fn roster() -> Roster {
        let mut roster = Roster::new(&status("ann"));
        roster.learn(contact(1, "bob"));
        roster.learn(contact(2, "carol"));
        roster.set_rooms(vec![open_room("lobby", &[1, 2]), open_room("ops", &[1])]);
        roster
    }

    #[test]
    fn rooms_report_who_comes_and_goes() {
        let mut roster = roster();
        let changes = roster.set_rooms(vec![open_room("lobby", &[1]), open_room("ops", &[1])]);
        assert_eq!(changes, [Change::Quit(id(2))]);
        let changes = roster.set_rooms(vec![open_room("lobby", &[1, 2]), open_room("ops", &[])]);
        assert_eq!(
            changes,
            [
                Change::Joined(room("lobby"), id(2)),
                Change::Parted(room("ops"), id(1))
            ]
        );
        let changes = roster.set_rooms(vec![open_room("dev", &[1]), open_room("ops", &[])]);
        assert_eq!(
            changes,
            [Change::Exited(room("lobby")), Change::Entered(room("dev"))]
        );
        let mut with_topic = open_room("dev", &[1]);
        with_topic.topic = Some(topic("lunch plans"));
        let rooms = vec![with_topic, open_room("ops", &[])];
        let changes = roster.set_rooms(rooms.clone());
        assert_eq!(changes, [Change::Topic(room("dev"))]);
        assert_eq!(roster.set_rooms(rooms), []);
        let changes = roster.set_rooms(vec![open_room("dev", &[1]), open_room("ops", &[])]);
        assert_eq!(changes, [Change::Topic(room("dev"))]);
    }

    #[test]
    fn a_strangers_request_is_reported_once() {
        let mut roster = roster();
        let mut mallory = contact(3, "mallory");
        mallory.policy.contact = false;
        assert_eq!(roster.learn(mallory.clone()), []);
        mallory.request = 1;
        assert_eq!(roster.learn(mallory.clone()), [Change::Request(id(3))]);
        mallory.request = 2;
        assert_eq!(roster.learn(mallory), []);
    }

    #[test]
    fn a_word_names_a_room_or_a_peer() {
        let roster = roster();
        let conversation = |word| roster.conversation(word);
        assert_eq!(conversation("BOB"), Some(ConversationRef::Direct(id(1))));
        assert_eq!(
            conversation("#Ops"),
            Some(ConversationRef::Room(room("ops")))
        );
        assert_eq!(conversation("#no such room"), None);
        assert_eq!(conversation("mallory"), None);
    }

    #[test]
    fn a_new_nickname_of_this_node_is_reported_by_the_old_one() {
        let mut roster = roster();
        let before = "ann".to_owned();
        assert_eq!(roster.rename_me("anna"), [Change::RenamedMe(before)]);
        assert_eq!(roster.rename_me("anna"), []);
        assert_eq!(roster.nick(roster.me()), "anna");
    }
}
