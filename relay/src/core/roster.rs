//! The roster: which peers learn of each other.
//!
//! A peer learns of the peers in its rooms: of all of them once on each connection, and then of
//! changes. The cost of a change depends on the rooms that it affects; nothing examines all peers.
//! Frames on a connection arrive in order. So all frames of one answer name the version that the
//! recipient has after the last of them.
//!
//! The members of a room learn of a change soon after it ([`PUSH_AFTER`]). But each recipient gets
//! at most one push every [`PUSH_EVERY`], and a large room gets fewer ([`PUSH_PER_MEMBER`]). The
//! relay also limits all pushes together ([`COST_CHANGE`], [`COST_PUSH`]): when all peers reconnect
//! at once, the lists follow over some seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::relay::{CHANGES_MAX, Roster as Frame, RosterChange, SHARED_MAX};
use hobnob_protocol::{DeviceId, RoomTag};

use super::room::{Change, ROSTER_PEERS_MAX, Room, Stay};

/// How soon after a change the members of a room are informed. Changes within this time are sent
/// together.
pub const PUSH_AFTER: Duration = Duration::from_millis(100);

/// Shortest time between two pushes to one recipient. Heartbeats are answered at any time.
pub const PUSH_EVERY: Duration = Duration::from_secs(1);

/// Pause of a room between two pushes, for each of its members. A room with 10,000 members gets a
/// push every 10 s.
pub const PUSH_PER_MEMBER: Duration = Duration::from_millis(1);

/// The cost of a change in an answer: the relay then sends no pushes for this time. It limits the
/// relay to 200,000 changes per second.
const COST_CHANGE: Duration = Duration::from_micros(5);

/// The additional cost of a push. It limits the relay to 10,000 pushes per second.
const COST_PUSH: Duration = Duration::from_micros(100);

/// The relay sends pushes until they have cost this much, and then pauses.
const COST_AT_ONCE: Duration = Duration::from_millis(20);

/// Beyond this cost the relay answers even a heartbeat with "no changes". The peer receives the
/// changes with a later push.
const COST_BUSY: Duration = Duration::from_secs(1);

/// Maximum members examined for one answer. A peer that shares many rooms with the same peers
/// causes no more work than others.
const LOOKS_MAX: usize = 8 * ROSTER_PEERS_MAX;

/// Proof for lookups of members: the registry and the roster add and remove peers together.
const IS_MEMBER: &str = "a connected peer is a member as long as the roster is on";

/// A member, its rooms, and the peers that it knows.
#[derive(Debug)]
struct Member {
    stay: Stay,
    /// Sorted, each once.
    rooms: Vec<RoomTag>,
    /// The version that it has once all frames have arrived. `None`: it needs the whole list.
    sent: Option<u64>,
    /// The version at which it last received the whole list.
    anew_at: u64,
    /// The peers that it knows, sorted. Each is named by the short number of its stay, because there
    /// can be a thousand for each of many thousand members.
    known: Vec<Stay>,
    push_at: Option<Duration>,
    pushed_at: Option<Duration>,
    place: Place,
}

/// Where a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// It is connected with this relay.
    Connected,
    /// It sleeps. It gets no pushes: it receives the whole list when it connects again.
    Asleep,
    /// It is at another relay of the fleet. It gets nothing from this one.
    Elsewhere,
}

/// The rooms with their members, and the peers that each member knows.
#[derive(Debug)]
pub(super) struct Roster {
    rooms: BTreeMap<RoomTag, Room>,
    members: BTreeMap<DeviceId, Member>,
    /// The rooms in which other relays of the fleet list members of this relay. They are used when a
    /// member leaves this relay.
    also_elsewhere: BTreeMap<DeviceId, Vec<RoomTag>>,
    /// The memberships of this relay's peers.
    memberships: usize,
    /// The version of the latest change in any room. 0 is the version of a peer that knows nothing.
    version: u64,
    stays: Stay,
    /// Rooms whose members must be informed, and when.
    announcements: BTreeSet<(Duration, RoomTag)>,
    /// Members that get a push, and when.
    pushes: BTreeSet<(Duration, DeviceId)>,
    /// When the cost of everything sent so far is paid.
    busy_until: Duration,
    /// Members examined so far. It measures the work.
    looks: u64,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            rooms: BTreeMap::new(),
            members: BTreeMap::new(),
            also_elsewhere: BTreeMap::new(),
            memberships: 0,
            version: 1,
            stays: 0,
            announcements: BTreeSet::new(),
            pushes: BTreeSet::new(),
            busy_until: Duration::ZERO,
            looks: 0,
        }
    }

    /// Number of rooms with at least one member.
    pub(super) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// The number of memberships of all peers, if this peer were in `rooms` rooms.
    pub(super) fn memberships_with(&self, peer: DeviceId, rooms: usize) -> usize {
        self.memberships - self.memberships_of(peer) + rooms
    }

    fn memberships_of(&self, peer: DeviceId) -> usize {
        let member = self.members.get(&peer);
        let here = member.filter(|member| member.place != Place::Elsewhere);
        here.map_or(0, |member| member.rooms.len())
    }

    /// Members examined since the start. It measures the work.
    pub(super) fn looks(&self) -> u64 {
        self.looks
    }

    /// Sets the rooms of a peer that has a new connection, or that changes its rooms. The list is
    /// sorted and has no duplicates.
    pub(super) fn set(&mut self, now: Duration, peer: DeviceId, rooms: Vec<RoomTag>) {
        self.memberships = self.memberships_with(peer, rooms.len());
        let was = self.set_member(now, peer, rooms, Place::Connected);
        if let Some((Place::Elsewhere, rooms)) = was {
            self.also_elsewhere.insert(peer, rooms);
        }
        self.push(now, peer);
    }

    /// Sets the rooms in which other relays of the fleet list a peer. The list is sorted and has no
    /// duplicates.
    pub(super) fn set_elsewhere(&mut self, now: Duration, peer: DeviceId, rooms: Vec<RoomTag>) {
        let member = self.members.get(&peer);
        if member.is_some_and(|member| member.place != Place::Elsewhere) {
            if rooms.is_empty() {
                self.also_elsewhere.remove(&peer);
            } else {
                self.also_elsewhere.insert(peer, rooms);
            }
        } else if !rooms.is_empty() {
            self.set_member(now, peer, rooms, Place::Elsewhere);
        } else if let Some(member) = self.members.remove(&peer) {
            self.change_rooms(now, peer, member.stay, &member.rooms, &[]);
        }
    }

    /// Sets the place and the rooms of a member. Returns those before, if it was a member.
    fn set_member(
        &mut self,
        now: Duration,
        peer: DeviceId,
        rooms: Vec<RoomTag>,
        place: Place,
    ) -> Option<(Place, Vec<RoomTag>)> {
        let known = self.members.get(&peer);
        let old = known.map(|member| (member.place, member.rooms.clone()));
        let stay = match known {
            Some(member) => member.stay,
            None => self.new_stay(peer),
        };
        let old_rooms = old.as_ref().map_or(&[][..], |(_, rooms)| rooms);
        self.change_rooms(now, peer, stay, old_rooms, &rooms);
        let member = self
            .members
            .get_mut(&peer)
            .expect("it existed, or new_stay has added it");
        (member.rooms, member.sent, member.place) = (rooms, None, place);
        old
    }

    /// A peer falls asleep. The members of its rooms still see it there.
    pub(super) fn sleep(&mut self, now: Duration, peer: DeviceId) {
        let Some(member) = self.members.get_mut(&peer) else {
            return; // A relay without a roster has no members.
        };
        if member.rooms.is_empty() {
            // Nobody sees it, so nothing about it needs memory.
            return self.leave(now, peer);
        }
        (member.place, member.sent, member.known) = (Place::Asleep, None, Vec::new());
        if let Some(at) = member.push_at.take() {
            self.pushes.remove(&(at, peer));
        }
    }

    /// Removes a peer that is gone here. Other relays of the fleet may list it.
    pub(super) fn leave(&mut self, now: Duration, peer: DeviceId) {
        self.memberships = self.memberships_with(peer, 0);
        let member = self.members.get(&peer);
        if member.is_none_or(|member| member.place == Place::Elsewhere) {
            return; // A relay without a roster has no members.
        }
        let member = self.members.remove(&peer).expect(IS_MEMBER);
        if let Some(at) = member.push_at {
            self.pushes.remove(&(at, peer));
        }
        self.change_rooms(now, peer, member.stay, &member.rooms, &[]);
        if let Some(rooms) = self.also_elsewhere.remove(&peer) {
            self.set_member(now, peer, rooms, Place::Elsewhere);
        }
    }

    /// Answers the heartbeat of a member that claims to have this version.
    pub(super) fn answer(&mut self, now: Duration, peer: DeviceId, version: u64) -> Vec<Frame> {
        let member = self.members.get_mut(&peer).expect(IS_MEMBER);
        // A version that this connection has not sent is from an earlier one, and has no meaning.
        if version == 0 || member.sent.is_some_and(|sent| version > sent) {
            member.sent = None;
        }
        let sent = member.sent;
        // A version before the latest whole list: the whole list is still on its way.
        let since = sent.map(|_| version.max(member.anew_at));
        let news = self.has_news(peer, since);
        if news && self.busy_until > now + COST_BUSY {
            self.push(now, peer);
            return vec![Frame {
                version: sent.unwrap_or(0),
                anew: false,
                changes: Vec::new(),
            }];
        }
        self.send_changes(now, peer, since)
    }

    /// When [`Roster::timeout`] has work.
    pub(super) fn next_push(&self) -> Option<Duration> {
        let announcement = self.announcements.first().map(|(at, _)| *at);
        let push = self
            .pushes
            .first()
            .map(|(at, _)| (*at).max(self.busy_until));
        [announcement, push].into_iter().flatten().min()
    }

    /// Returns the pushes that are due.
    pub(super) fn timeout(&mut self, now: Duration) -> Vec<(DeviceId, Frame)> {
        while let Some(&(at, tag)) = self.announcements.first().filter(|(at, _)| *at <= now) {
            self.announcements.remove(&(at, tag));
            self.announce(now, tag);
        }
        let mut sent = Vec::new();
        if self.busy_until > now {
            return sent;
        }
        while let Some(&(at, peer)) = self.pushes.first().filter(|(at, _)| *at <= now) {
            if self.busy_until > now + COST_AT_ONCE {
                break;
            }
            self.pushes.remove(&(at, peer));
            sent.extend(self.serve(now, peer).into_iter().map(|frame| (peer, frame)));
        }
        sent
    }

    fn new_stay(&mut self, peer: DeviceId) -> Stay {
        self.stays = self.stays.wrapping_add(1);
        let (rooms, known) = (Vec::new(), Vec::new());
        let member = Member {
            stay: self.stays,
            rooms,
            sent: None,
            anew_at: 0,
            known,
            push_at: None,
            pushed_at: None,
            place: Place::Connected,
        };
        self.members.insert(peer, member);
        self.stays
    }

    fn change_rooms(
        &mut self,
        now: Duration,
        peer: DeviceId,
        stay: Stay,
        old: &[RoomTag],
        new: &[RoomTag],
    ) {
        let version = self.version + 1;
        // Leaving takes two versions: one for the peer that leaves, one for the peer that is listed
        // in its place.
        self.version += 2;
        for tag in old.iter().filter(|tag| new.binary_search(tag).is_err()) {
            let room = self
                .rooms
                .get_mut(tag)
                .expect("a room exists as long as it has a member");
            let inform = room.leave(version, peer, stay);
            if room.len() == 0 {
                self.drop_room(*tag);
            } else if inform {
                self.announce_soon(now, *tag);
            }
        }
        for tag in new.iter().filter(|tag| old.binary_search(tag).is_err()) {
            if self
                .rooms
                .entry(*tag)
                .or_default()
                .join(version, peer, stay)
            {
                self.announce_soon(now, *tag);
            }
        }
    }

    fn drop_room(&mut self, tag: RoomTag) {
        if let Some(at) = self.rooms.remove(&tag).and_then(|room| room.announce_at) {
            self.announcements.remove(&(at, tag));
        }
    }

    /// Plans to inform the room's members of a change.
    fn announce_soon(&mut self, now: Duration, tag: RoomTag) {
        let room = self.rooms.get_mut(&tag).expect("the room has just changed");
        if room.announce_at.is_none() {
            let rest =
                PUSH_EVERY.max(PUSH_PER_MEMBER * u32::try_from(room.len()).unwrap_or(u32::MAX));
            let at = room
                .announced_at
                .map_or(now, |at| at + rest)
                .max(now + PUSH_AFTER);
            room.announce_at = Some(at);
            self.announcements.insert((at, tag));
        }
    }

    fn announce(&mut self, now: Duration, tag: RoomTag) {
        let room = self
            .rooms
            .get_mut(&tag)
            .expect("drop_room cancels the announcement");
        (room.announce_at, room.announced_at) = (None, Some(now));
        let members: Vec<_> = room.members().collect();
        self.looks += members.len() as u64;
        for peer in members {
            self.push_at(now, peer);
        }
    }

    /// Plans a push to the peer. Other changes of the same moment can join it.
    fn push(&mut self, now: Duration, peer: DeviceId) {
        self.push_at(now + PUSH_AFTER, peer);
    }

    fn push_at(&mut self, at: Duration, peer: DeviceId) {
        let member = self.members.get_mut(&peer).expect(IS_MEMBER);
        if member.push_at.is_none() && member.place == Place::Connected {
            let at = member
                .pushed_at
                .map_or(at, |pushed_at| at.max(pushed_at + PUSH_EVERY));
            member.push_at = Some(at);
            self.pushes.insert((at, peer));
        }
    }

    fn serve(&mut self, now: Duration, peer: DeviceId) -> Vec<Frame> {
        let member = self.members.get_mut(&peer).expect("leave cancels the push");
        member.push_at = None;
        let since = member.sent;
        if !self.has_news(peer, since) {
            return Vec::new();
        }
        self.busy_until = self.busy_until.max(now) + COST_PUSH;
        let frames = self.send_changes(now, peer, since);
        let news = frames
            .iter()
            .any(|frame| frame.anew || !frame.changes.is_empty());
        if news { frames } else { Vec::new() }
    }

    /// Whether any of the peer's rooms has changed since a version.
    fn has_news(&self, peer: DeviceId, since: Option<u64>) -> bool {
        let Some(since) = since else {
            return true; // It needs the whole list.
        };
        since < self.version
            && self.members[&peer]
                .rooms
                .iter()
                .any(|tag| self.rooms[tag].changed_since(since))
    }

    /// Returns what changed since a version, or the whole list, and notes that the peer has it now.
    fn send_changes(&mut self, now: Duration, peer: DeviceId, since: Option<u64>) -> Vec<Frame> {
        let changes = since.and_then(|since| self.changes(peer, since));
        let anew = changes.is_none();
        let changes = changes.unwrap_or_else(|| self.everything(peer));
        let version = self.version;
        let member = self.members.get_mut(&peer).expect(IS_MEMBER);
        member.sent = Some(version);
        if anew {
            member.anew_at = version;
        }
        if anew || !changes.is_empty() {
            member.pushed_at = Some(now);
        }
        let cost =
            COST_CHANGE * u32::try_from(changes.len()).expect("at most ROSTER_PEERS_MAX changes");
        self.busy_until = self.busy_until.max(now) + cost;
        frames(version, anew, changes)
    }

    /// The changes since a version in the rooms of a peer. `None` if a room has forgotten some of
    /// them, or if they are more than the whole list.
    fn changes(&mut self, peer: DeviceId, since: u64) -> Option<Vec<RosterChange>> {
        let member = self.members.get_mut(&peer).expect(IS_MEMBER);
        let mut known = std::mem::take(&mut member.known);
        let changes = self.changes_for(peer, since, &mut known);
        self.members.get_mut(&peer).expect(IS_MEMBER).known = known;
        changes
    }

    fn changes_for(
        &mut self,
        peer: DeviceId,
        since: u64,
        known: &mut Vec<Stay>,
    ) -> Option<Vec<RosterChange>> {
        let member = &self.members[&peer];
        let mut touched = BTreeSet::new();
        for room in member
            .rooms
            .iter()
            .map(|tag| &self.rooms[tag])
            .filter(|room| room.changed_since(since))
        {
            for change in room.since(since)? {
                self.looks += 1;
                match change {
                    Change::Came(other) => touched.insert(other),
                    Change::Left(other, stay) => {
                        // A peer that is gone frees its place in `known`. A peer that still
                        // shares another room keeps its place.
                        let stays = |theirs: &Member| {
                            theirs.stay == stay && !self.shared(member, other, theirs).is_empty()
                        };
                        if !self.members.get(&other).is_some_and(stays) {
                            forget(known, stay);
                        }
                        touched.insert(other)
                    }
                };
            }
            if touched.len() > ROSTER_PEERS_MAX {
                return None;
            }
        }
        touched.remove(&peer);
        Some(
            touched
                .into_iter()
                .map(|other| self.change(member, other, known))
                .collect(),
        )
    }

    /// The whole list for a peer. Small rooms come first, because they matter most if the list is
    /// cut.
    fn everything(&mut self, peer: DeviceId) -> Vec<RosterChange> {
        let (mut known, mut changes, mut looks) = (Vec::new(), Vec::new(), 0);
        let mut seen = BTreeSet::from([peer]);
        let member = &self.members[&peer];
        let mut rooms: Vec<_> = member.rooms.iter().map(|tag| &self.rooms[tag]).collect();
        rooms.sort_by_key(|room| room.listed_len());
        for other in rooms.into_iter().flat_map(Room::listed).take(LOOKS_MAX) {
            looks += 1;
            if seen.len() > ROSTER_PEERS_MAX {
                break;
            }
            if seen.insert(other) {
                changes.push(self.change(member, other, &mut known));
            }
        }
        self.looks += looks;
        self.members.get_mut(&peer).expect("looked up above").known = known;
        changes
    }

    /// The current state of `other` for this member. `other` counts as gone, too, if `known` has no
    /// place for it: an earlier report about it is no longer valid.
    fn change(&self, member: &Member, other: DeviceId, known: &mut Vec<Stay>) -> RosterChange {
        let gone = RosterChange::Gone { peer: other };
        let Some(theirs) = self.members.get(&other) else {
            return gone;
        };
        let rooms = self.shared(member, other, theirs);
        if rooms.is_empty() {
            return gone;
        }
        if let Err(at) = known.binary_search(&theirs.stay) {
            if known.len() >= ROSTER_PEERS_MAX {
                return gone;
            }
            known.insert(at, theirs.stay);
        }
        RosterChange::Here { peer: other, rooms }
    }

    /// The rooms of `member` in which `other` is listed, at most [`SHARED_MAX`].
    fn shared(&self, member: &Member, other: DeviceId, theirs: &Member) -> Vec<RoomTag> {
        let both = member
            .rooms
            .iter()
            .filter(|tag| theirs.rooms.binary_search(tag).is_ok());
        both.filter(|tag| self.rooms[*tag].lists(other))
            .take(SHARED_MAX)
            .copied()
            .collect()
    }
}

fn forget(known: &mut Vec<Stay>, stay: Stay) {
    if let Ok(at) = known.binary_search(&stay) {
        known.remove(at);
    }
}

fn frames(version: u64, anew: bool, changes: Vec<RosterChange>) -> Vec<Frame> {
    if changes.is_empty() {
        return vec![Frame {
            version,
            anew,
            changes,
        }];
    }
    let chunks = changes.chunks(CHANGES_MAX).enumerate();
    chunks
        .map(|(i, changes)| Frame {
            version,
            anew: anew && i == 0,
            changes: changes.to_vec(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn room(n: u8) -> RoomTag {
        RoomTag::from_bytes([n; 32])
    }

    fn here(n: u8, rooms: &[u8]) -> RosterChange {
        RosterChange::Here {
            peer: peer(n),
            rooms: rooms.iter().map(|&n| room(n)).collect(),
        }
    }

    /// All changes that a peer receives until this time.
    fn pushed(roster: &mut Roster, until: Duration, to: u8) -> Vec<RosterChange> {
        let mut changes = Vec::new();
        while let Some(at) = roster.next_push().filter(|at| *at <= until) {
            for (peer_id, frame) in roster.timeout(at) {
                if peer_id == peer(to) {
                    changes.extend(frame.changes);
                }
            }
        }
        changes
    }

    #[test]
    fn a_newcomer_gets_the_whole_list_and_later_only_changes() {
        let mut roster = Roster::new();
        roster.set(Duration::ZERO, peer(1), vec![room(1)]);
        roster.set(Duration::ZERO, peer(2), vec![room(1)]);
        assert_eq!(pushed(&mut roster, SECOND, 2), [here(1, &[1])]);
        roster.set(10 * SECOND, peer(3), vec![room(1)]);
        assert_eq!(pushed(&mut roster, 20 * SECOND, 2), [here(3, &[1])]);
    }

    #[test]
    fn peers_without_a_common_room_never_learn_of_each_other() {
        let mut roster = Roster::new();
        roster.set(Duration::ZERO, peer(1), vec![room(1)]);
        roster.set(Duration::ZERO, peer(2), vec![room(2)]);
        assert!(pushed(&mut roster, 60 * SECOND, 2).is_empty());
    }

    #[test]
    fn a_peer_that_leaves_is_gone_for_the_others() {
        let mut roster = Roster::new();
        roster.set(Duration::ZERO, peer(1), vec![room(1)]);
        roster.set(Duration::ZERO, peer(2), vec![room(1)]);
        pushed(&mut roster, SECOND, 2);
        roster.leave(10 * SECOND, peer(1));
        let gone = RosterChange::Gone { peer: peer(1) };
        assert_eq!(pushed(&mut roster, 20 * SECOND, 2), [gone]);
        assert_eq!(
            (roster.rooms(), roster.memberships_with(peer(9), 0)),
            (1, 1)
        );
    }

    #[test]
    fn a_sleeping_peer_stays_on_the_roster_and_learns_the_changes_when_it_wakes() {
        let mut roster = Roster::new();
        roster.set(Duration::ZERO, peer(1), vec![room(1)]);
        roster.set(Duration::ZERO, peer(2), vec![room(1)]);
        assert_eq!(pushed(&mut roster, SECOND, 2), [here(1, &[1])]);
        roster.sleep(2 * SECOND, peer(1));
        assert_eq!(pushed(&mut roster, 10 * SECOND, 2), []);
        roster.set(11 * SECOND, peer(3), vec![room(1)]);
        roster.leave(11 * SECOND, peer(2));
        assert_eq!(pushed(&mut roster, 20 * SECOND, 1), []);
        roster.set(30 * SECOND, peer(1), vec![room(1)]);
        assert_eq!(pushed(&mut roster, 40 * SECOND, 1), [here(3, &[1])]);
        // The others have noticed neither.
        let answer = roster.answer(50 * SECOND, peer(3), 0).remove(0);
        assert_eq!(answer.changes, [here(1, &[1])]);
        let looks = roster.answer(51 * SECOND, peer(3), answer.version);
        assert_eq!(looks[0].changes, []);
        roster.leave(60 * SECOND, peer(1));
        let gone = RosterChange::Gone { peer: peer(1) };
        assert_eq!(pushed(&mut roster, 70 * SECOND, 3), [gone]);
    }

    #[test]
    fn a_peer_of_another_relay_is_listed_until_it_is_gone_there() {
        let mut roster = Roster::new();
        roster.set(Duration::ZERO, peer(1), vec![room(1), room(2)]);
        roster.set_elsewhere(Duration::ZERO, peer(2), vec![room(1)]);
        assert_eq!(pushed(&mut roster, SECOND, 1), [here(2, &[1])]);
        roster.set_elsewhere(10 * SECOND, peer(2), vec![room(1), room(2)]);
        assert_eq!(pushed(&mut roster, 20 * SECOND, 1), [here(2, &[1, 2])]);
        assert_eq!(pushed(&mut roster, 20 * SECOND, 2), [], "it is not here");
        assert_eq!(roster.memberships_with(peer(2), 0), 2, "only those here");
        roster.set_elsewhere(30 * SECOND, peer(2), vec![]);
        let gone = RosterChange::Gone { peer: peer(2) };
        assert_eq!(pushed(&mut roster, 40 * SECOND, 1), [gone]);
        roster.leave(50 * SECOND, peer(1));
        assert_eq!(roster.rooms(), 0);
    }

    #[test]
    fn a_peer_that_is_here_and_elsewhere_is_listed_as_it_is_here() {
        let mut roster = Roster::new();
        roster.set(Duration::ZERO, peer(1), vec![room(1), room(2)]);
        roster.set_elsewhere(Duration::ZERO, peer(2), vec![room(1)]);
        assert_eq!(pushed(&mut roster, SECOND, 1), [here(2, &[1])]);
        // It moves here. The report that it has left the other relay is late.
        roster.set(10 * SECOND, peer(2), vec![room(2)]);
        assert_eq!(pushed(&mut roster, 20 * SECOND, 1), [here(2, &[2])]);
        roster.set_elsewhere(30 * SECOND, peer(2), vec![]);
        assert_eq!(pushed(&mut roster, 40 * SECOND, 1), []);
        // It moves away. The report that it has arrived there is early.
        roster.set_elsewhere(50 * SECOND, peer(2), vec![room(1), room(2)]);
        assert_eq!(pushed(&mut roster, 60 * SECOND, 1), []);
        roster.leave(70 * SECOND, peer(2));
        assert_eq!(pushed(&mut roster, 80 * SECOND, 1), [here(2, &[1, 2])]);
        assert_eq!(roster.memberships_with(peer(9), 0), 2, "those of peer 1");
        roster.leave(90 * SECOND, peer(2));
        assert_eq!(pushed(&mut roster, 100 * SECOND, 1), [], "it is not here");
    }

    #[test]
    fn a_heartbeat_with_an_old_version_gets_the_changes_again() {
        let mut roster = Roster::new();
        roster.set(Duration::ZERO, peer(1), vec![room(1)]);
        roster.set(Duration::ZERO, peer(2), vec![room(1)]);
        let first = roster.answer(SECOND, peer(2), 0).remove(0);
        assert!(first.anew);
        roster.set(10 * SECOND, peer(3), vec![room(1)]);
        for _ in 0..2 {
            let frames = roster.answer(11 * SECOND, peer(2), first.version);
            assert_eq!(frames[0].changes, [here(3, &[1])]);
        }
    }
}
