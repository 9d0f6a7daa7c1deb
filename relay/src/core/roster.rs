//! The roster: who is told of whom.
//!
//! A peer is told of those who share a room with it: everything once on each connection, from then
//! on what changed. The cost of a change is that of the rooms it is in; nobody looks at all peers.
//! What was said on a connection arrives in order, so that the frames of one answer all name the
//! version that the receiver has after the last of them.
//!
//! Everybody who is in a room is told of a change soon after it ([`PUSH_AFTER`]), but a recipient
//! at most once every [`PUSH_EVERY`], and a large room less often ([`PUSH_PER_MEMBER`]). The relay
//! says at most so much in all ([`COST_CHANGE`], [`COST_PUSH`]): when everybody comes back at once,
//! the lists follow over some seconds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::relay::{CHANGES_MAX, Roster as Frame, RosterChange, SHARED_MAX};
use hobnob_protocol::{ConversationId, PeerId};

use super::room::{Change, Room, Stay};

/// Peers told to one recipient at most, and of one room at most; further ones are counted, not
/// listed.
pub const ROSTER_PEERS_MAX: usize = 1_000;

/// How soon after a change those whom it concerns are told: changes that come together are told
/// together.
pub const PUSH_AFTER: Duration = Duration::from_millis(100);

/// How often one recipient is told of changes, unless it asks.
pub const PUSH_EVERY: Duration = Duration::from_secs(1);

/// How long a room rests after its members were told of changes, for each member: one of 10,000 is
/// told every 10 s.
pub const PUSH_PER_MEMBER: Duration = Duration::from_millis(1);

/// What a change in an answer costs, in time for which the relay then pushes nothing: at most
/// 200,000 changes a second.
const COST_CHANGE: Duration = Duration::from_micros(5);

/// What a push costs besides: at most 10,000 a second.
const COST_PUSH: Duration = Duration::from_micros(100);

/// Pushes of this much cost are said at once.
const COST_AT_ONCE: Duration = Duration::from_millis(20);

/// With this much cost ahead even one who asks is told "nothing new for now", and the rest when it
/// is its turn.
const COST_BUSY: Duration = Duration::from_secs(1);

/// Members looked at for one answer at most: one who shares many rooms with the same peers makes no
/// more work than others.
const LOOKS_MAX: usize = 8 * ROSTER_PEERS_MAX;

#[derive(Debug)]
struct Member {
    stay: Stay,
    /// Sorted, each once.
    rooms: Vec<ConversationId>,
    /// The version that it will have when everything said to it has arrived; none: it has to be
    /// told everything.
    said: Option<u64>,
    /// The version at which it was last told everything.
    anew_at: u64,
    /// The stays of those of whom it was told, sorted. Numbers, since there can be a thousand for
    /// each of many thousand peers.
    told: Vec<Stay>,
    push_at: Option<Duration>,
    pushed_at: Option<Duration>,
}

/// Who shares which room with whom, and who has been told.
#[derive(Debug)]
pub(super) struct Roster {
    rooms: BTreeMap<ConversationId, Room>,
    members: BTreeMap<PeerId, Member>,
    memberships: usize,
    /// Of the latest change anywhere. 0 is the version of one who knows nothing.
    version: u64,
    stays: Stay,
    /// Rooms whose members are to be told.
    stirs: BTreeSet<(Duration, ConversationId)>,
    /// Members who are to be told.
    pushes: BTreeSet<(Duration, PeerId)>,
    /// Until when what was said has been paid for.
    busy_until: Duration,
    /// Members of rooms looked at so far: the measure of the work done.
    looks: u64,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            rooms: BTreeMap::new(),
            members: BTreeMap::new(),
            memberships: 0,
            version: 1,
            stays: 0,
            stirs: BTreeSet::new(),
            pushes: BTreeSet::new(),
            busy_until: Duration::ZERO,
            looks: 0,
        }
    }

    /// Rooms with at least one member.
    pub(super) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// Memberships of all peers, if this peer were in so many rooms.
    pub(super) fn memberships_with(&self, peer: PeerId, rooms: usize) -> usize {
        self.memberships
            - self
                .members
                .get(&peer)
                .map_or(0, |member| member.rooms.len())
            + rooms
    }

    /// Members of rooms that were looked at since the start: the measure of the work done.
    pub(super) fn looks(&self) -> u64 {
        self.looks
    }

    /// The peer has a new connection and is in these rooms, or has the old one and changes to them.
    /// They are sorted, each once.
    pub(super) fn set(&mut self, now: Duration, peer: PeerId, rooms: Vec<ConversationId>) {
        let (old, stay) = match self.members.get(&peer) {
            Some(member) => (member.rooms.clone(), member.stay),
            None => (Vec::new(), self.new_stay(peer)),
        };
        self.change_rooms(now, peer, stay, &old, &rooms);
        let member = self
            .members
            .get_mut(&peer)
            .expect("it was there, or was made above");
        (member.rooms, member.said) = (rooms, None);
        self.push(now, peer);
    }

    /// The peer is gone.
    pub(super) fn leave(&mut self, now: Duration, peer: PeerId) {
        let Some(member) = self.members.remove(&peer) else {
            return;
        };
        if let Some(at) = member.push_at {
            self.pushes.remove(&(at, peer));
        }
        self.change_rooms(now, peer, member.stay, &member.rooms, &[]);
    }

    /// Answers a heartbeat of one who says that it has this version.
    pub(super) fn answer(&mut self, now: Duration, peer: PeerId, version: u64) -> Vec<Frame> {
        let Some(member) = self.members.get_mut(&peer) else {
            return Vec::new();
        };
        // A version that was not said on this connection says nothing here.
        if version == 0 || member.said.is_some_and(|said| version > said) {
            member.said = None;
        }
        let said = member.said;
        // Between two versions that it was told everything, everything is on its way.
        let since = said.map(|_| version.max(member.anew_at));
        let news = self.has_news(peer, since);
        if news && self.busy_until > now + COST_BUSY {
            self.push(now, peer);
            return vec![Frame {
                version: said.unwrap_or(0),
                anew: false,
                changes: Vec::new(),
            }];
        }
        self.say(now, peer, since)
    }

    /// When [`Roster::timeout`] has something to say.
    pub(super) fn next_push(&self) -> Option<Duration> {
        let stir = self.stirs.first().map(|(at, _)| *at);
        let push = self
            .pushes
            .first()
            .map(|(at, _)| (*at).max(self.busy_until));
        [stir, push].into_iter().flatten().min()
    }

    /// Tells those who are to be told.
    pub(super) fn timeout(&mut self, now: Duration) -> Vec<(PeerId, Frame)> {
        while let Some(&(at, tag)) = self.stirs.first().filter(|(at, _)| *at <= now) {
            self.stirs.remove(&(at, tag));
            self.stir(now, tag);
        }
        let mut said = Vec::new();
        if self.busy_until > now {
            return said;
        }
        while let Some(&(at, peer)) = self.pushes.first().filter(|(at, _)| *at <= now) {
            if self.busy_until > now + COST_AT_ONCE {
                break;
            }
            self.pushes.remove(&(at, peer));
            said.extend(self.serve(now, peer).into_iter().map(|frame| (peer, frame)));
        }
        said
    }

    fn new_stay(&mut self, peer: PeerId) -> Stay {
        self.stays = self.stays.wrapping_add(1);
        let (rooms, told) = (Vec::new(), Vec::new());
        let member = Member {
            stay: self.stays,
            rooms,
            said: None,
            anew_at: 0,
            told,
            push_at: None,
            pushed_at: None,
        };
        self.members.insert(peer, member);
        self.stays
    }

    fn change_rooms(
        &mut self,
        now: Duration,
        peer: PeerId,
        stay: Stay,
        old: &[ConversationId],
        new: &[ConversationId],
    ) {
        let version = self.version + 1;
        // Leaving takes two versions: one for who goes, one for who is listed in its place.
        self.version += 2;
        for tag in old.iter().filter(|tag| new.binary_search(tag).is_err()) {
            let room = self
                .rooms
                .get_mut(tag)
                .expect("a room stays as long as it has a member");
            let stirs = room.leave(version, peer, stay);
            if room.len() == 0 {
                self.drop_room(*tag);
            } else if stirs {
                self.stir_soon(now, *tag);
            }
        }
        for tag in new.iter().filter(|tag| old.binary_search(tag).is_err()) {
            if self
                .rooms
                .entry(*tag)
                .or_default()
                .join(version, peer, stay)
            {
                self.stir_soon(now, *tag);
            }
        }
        self.memberships = self.memberships + new.len() - old.len();
    }

    fn drop_room(&mut self, tag: ConversationId) {
        if let Some(at) = self.rooms.remove(&tag).and_then(|room| room.stir_at) {
            self.stirs.remove(&(at, tag));
        }
    }

    /// The room's members are to be told of a change.
    fn stir_soon(&mut self, now: Duration, tag: ConversationId) {
        let Some(room) = self.rooms.get_mut(&tag) else {
            return;
        };
        if room.stir_at.is_none() {
            let rest =
                PUSH_EVERY.max(PUSH_PER_MEMBER * u32::try_from(room.len()).unwrap_or(u32::MAX));
            let at = room
                .stirred_at
                .map_or(now, |at| at + rest)
                .max(now + PUSH_AFTER);
            room.stir_at = Some(at);
            self.stirs.insert((at, tag));
        }
    }

    fn stir(&mut self, now: Duration, tag: ConversationId) {
        let Some(room) = self.rooms.get_mut(&tag) else {
            return;
        };
        (room.stir_at, room.stirred_at) = (None, Some(now));
        let members: Vec<_> = room.members().collect();
        self.looks += members.len() as u64;
        for peer in members {
            self.push_at(now, peer);
        }
    }

    /// The peer is to be told, with others who come or go at the same time.
    fn push(&mut self, now: Duration, peer: PeerId) {
        self.push_at(now + PUSH_AFTER, peer);
    }

    fn push_at(&mut self, at: Duration, peer: PeerId) {
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        if member.push_at.is_none() {
            let at = member
                .pushed_at
                .map_or(at, |pushed_at| at.max(pushed_at + PUSH_EVERY));
            member.push_at = Some(at);
            self.pushes.insert((at, peer));
        }
    }

    fn serve(&mut self, now: Duration, peer: PeerId) -> Vec<Frame> {
        let Some(member) = self.members.get_mut(&peer) else {
            return Vec::new();
        };
        member.push_at = None;
        let since = member.said;
        if !self.has_news(peer, since) {
            return Vec::new();
        }
        self.busy_until = self.busy_until.max(now) + COST_PUSH;
        let frames = self.say(now, peer, since);
        let news = frames
            .iter()
            .any(|frame| frame.anew || !frame.changes.is_empty());
        if news { frames } else { Vec::new() }
    }

    /// Whether anything that this peer sees may have changed since a version.
    fn has_news(&self, peer: PeerId, since: Option<u64>) -> bool {
        let (Some(since), Some(member)) = (since, self.members.get(&peer)) else {
            return true;
        };
        since < self.version
            && member
                .rooms
                .iter()
                .any(|tag| self.rooms[tag].changed_since(since))
    }

    /// What changed since a version, or everything; from now on this has been said.
    fn say(&mut self, now: Duration, peer: PeerId, since: Option<u64>) -> Vec<Frame> {
        let changes = since.and_then(|since| self.changes(peer, since));
        let anew = changes.is_none();
        let changes = changes.unwrap_or_else(|| self.everything(peer));
        let version = self.version;
        let member = self.members.get_mut(&peer).expect("only members are told");
        member.said = Some(version);
        if anew {
            member.anew_at = version;
        }
        if anew || !changes.is_empty() {
            member.pushed_at = Some(now);
        }
        let cost = COST_CHANGE * u32::try_from(changes.len()).expect("a thousand changes at most");
        self.busy_until = self.busy_until.max(now) + cost;
        frames(version, anew, changes)
    }

    /// What changed since a version in the rooms of a peer; none if that is no longer known, or is
    /// more than everything.
    fn changes(&mut self, peer: PeerId, since: u64) -> Option<Vec<RosterChange>> {
        let mut told = std::mem::take(&mut self.members.get_mut(&peer)?.told);
        let changes = self.changes_told(peer, since, &mut told);
        self.members.get_mut(&peer)?.told = told;
        changes
    }

    fn changes_told(
        &mut self,
        peer: PeerId,
        since: u64,
        told: &mut Vec<Stay>,
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
                        // Who goes makes place for who comes; who has only left one of several
                        // rooms keeps its own.
                        let stays = |theirs: &Member| {
                            theirs.stay == stay && !self.shared(member, other, theirs).is_empty()
                        };
                        if !self.members.get(&other).is_some_and(stays) {
                            forget(told, stay);
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
                .map(|other| self.change(member, other, told))
                .collect(),
        )
    }

    /// Everything that a peer sees, small rooms first: in a crowd they are what it came for.
    fn everything(&mut self, peer: PeerId) -> Vec<RosterChange> {
        let (mut told, mut changes, mut looks) = (Vec::new(), Vec::new(), 0);
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
                changes.push(self.change(member, other, &mut told));
            }
        }
        self.looks += looks;
        self.members.get_mut(&peer).expect("looked up above").told = told;
        changes
    }

    /// What is to be said of `other` now. It is gone, too, if there is no place for it in the list
    /// of those of whom this member was told: what was said of it before no longer holds.
    fn change(&self, member: &Member, other: PeerId, told: &mut Vec<Stay>) -> RosterChange {
        let gone = RosterChange::Gone { peer: other };
        let Some(theirs) = self.members.get(&other) else {
            return gone;
        };
        let rooms = self.shared(member, other, theirs);
        if rooms.is_empty() {
            return gone;
        }
        if let Err(at) = told.binary_search(&theirs.stay) {
            if told.len() >= ROSTER_PEERS_MAX {
                return gone;
            }
            told.insert(at, theirs.stay);
        }
        RosterChange::Here { peer: other, rooms }
    }

    /// The rooms of `member` in which `other` is listed, the first of many.
    fn shared(&self, member: &Member, other: PeerId, theirs: &Member) -> Vec<ConversationId> {
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

fn forget(told: &mut Vec<Stay>, stay: Stay) {
    if let Ok(at) = told.binary_search(&stay) {
        told.remove(at);
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
