//! The peers of the other relays of the fleet in the rooms of this relay's peers, as a pure state
//! machine.
//!
//! Each relay sends its changes to all others, with a number that grows by one. A relay that has
//! missed one, or that has a new room, asks each other relay for its peers in the rooms. An answer
//! names the number after which changes continue it. A relay that is silent for [`SILENT_AFTER`]
//! has no peers until it answers again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_protocol::{DeviceId, RoomTag};

use super::message::Nonce;
use super::own_roster::ROOM_PEERS_MAX;
use super::report::{AnswerPart, Change, ROOMS_MAX, RoomPeers};

/// A relay from which nothing arrives for this long has no peers any more.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(20);

/// Maximum peers in rooms that one relay makes this one keep. A peer in two rooms counts twice.
pub(super) const ENTRIES_MAX: usize = 32_768;

/// How long a relay may take to answer. Then it is asked again.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The pause between an answer and the next question to the same relay.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// The pause after an answer that is of no use, and between questions to a silent relay.
const PAUSE: Duration = Duration::from_secs(1);

/// Maximum messages with changes that are kept until the answer to a question arrives. Beyond, the
/// answer is of no use.
const SINCE_MAX: usize = 64;

/// Maximum peers in one [`Rosters::take_updates`].
const UPDATES_MAX: usize = 256;

/// What is known of the peers of the other relays.
#[derive(Debug, Default)]
pub(super) struct Rosters {
    /// The rooms that have a peer of this relay.
    rooms: BTreeSet<RoomTag>,
    relays: BTreeMap<DeviceId, OtherRelay>,
    listed: Listed,
}

/// The peers in rooms, whichever relay lists them.
#[derive(Debug, Default)]
struct Listed {
    /// How many relays list each peer in each of its rooms.
    peers: BTreeMap<DeviceId, BTreeMap<RoomTag, u8>>,
    /// The peers whose rooms have changed since the last [`Rosters::take_updates`].
    changed: BTreeSet<DeviceId>,
}

#[derive(Debug, Default)]
struct OtherRelay {
    /// The number of its last message. `None`: nothing was received since it was silent.
    last: Option<u64>,
    heard_at: Option<Duration>,
    rooms: BTreeMap<RoomTag, Room>,
    /// Peers in rooms.
    entries: usize,
    /// The rooms to ask for.
    unknown: BTreeSet<RoomTag>,
    question: Option<Question>,
    /// When the next question may be asked.
    ask_at: Duration,
}

/// The peers of one relay in one room.
#[derive(Debug, Default)]
struct Room {
    /// Changes with higher numbers are not part of it yet.
    number: u64,
    peers: BTreeSet<DeviceId>,
    /// Whether there were more peers than are kept.
    is_cut: bool,
}

/// A question that is not answered yet.
#[derive(Debug)]
struct Question {
    nonce: Nonce,
    until: Duration,
    rooms: BTreeSet<RoomTag>,
    parts: BTreeMap<u8, Vec<RoomPeers>>,
    /// The number of the answer and of its parts, once one has arrived.
    answer: Option<(u64, u8)>,
    /// The changes that arrived since it was asked.
    since: Vec<(u64, Vec<Change>)>,
}

/// Where a relay's entries are changed.
struct Entries<'a> {
    relay: &'a mut OtherRelay,
    listed: &'a mut Listed,
    /// Maximum peers of the relay in one room.
    room_max: usize,
}

impl Rosters {
    /// These are the other relays of the fleet. What others have said is forgotten.
    pub(super) fn set_relays(&mut self, others: &BTreeSet<DeviceId>) {
        let gone: Vec<_> = self.relays.keys().copied().collect();
        for relay in gone.iter().filter(|relay| !others.contains(relay)) {
            if let Some(mut entries) = self.entries(*relay) {
                entries.clear();
            }
            self.relays.remove(relay);
        }
        for relay in others {
            self.relays.entry(*relay).or_insert_with(|| OtherRelay {
                unknown: self.rooms.clone(),
                ..OtherRelay::default()
            });
        }
    }

    /// A room has a peer of this relay now.
    pub(super) fn open(&mut self, room: RoomTag) {
        self.rooms.insert(room);
        for relay in self.relays.values_mut() {
            relay.unknown.insert(room);
        }
    }

    /// A room has no peer of this relay any more.
    pub(super) fn close(&mut self, room: RoomTag) {
        self.rooms.remove(&room);
        for id in self.ids() {
            if let Some(mut entries) = self.entries(id) {
                entries.forget_room(room);
                entries.relay.unknown.remove(&room);
            }
        }
    }

    /// There is a connection with NATS: ask at once.
    pub(super) fn connected(&mut self, now: Duration) {
        for relay in self.relays.values_mut() {
            (relay.question, relay.ask_at) = (None, now);
        }
    }

    /// The message with this number of a relay: what has changed there.
    pub(super) fn changes(
        &mut self,
        now: Duration,
        id: DeviceId,
        number: u64,
        changes: Vec<Change>,
    ) {
        let rooms = &self.rooms;
        let Some(relay) = self.relays.get_mut(&id) else {
            return;
        };
        if relay.last.is_some_and(|last| number <= last) {
            return;
        }
        let expected = relay.last.and_then(|last| last.checked_add(1));
        if expected != Some(number) {
            // Some were missed. What is listed stays until the answer.
            relay.unknown.clone_from(rooms);
        }
        (relay.last, relay.heard_at) = (Some(number), Some(now));
        let mut entries = self.entries(id).expect("it was there just now");
        for change in &changes {
            entries.apply(number, change);
        }
        if let Some(question) = &mut entries.relay.question
            && question.since.len() < SINCE_MAX
        {
            question.since.push((number, changes));
        }
    }

    /// A part of the answer of a relay.
    pub(super) fn answered(&mut self, now: Duration, id: DeviceId, part: AnswerPart) {
        let Some(relay) = self.relays.get_mut(&id) else {
            return;
        };
        let Some(question) = &mut relay.question else {
            return;
        };
        let of = (part.number, part.parts);
        if question.nonce != part.nonce || *question.answer.get_or_insert(of) != of {
            return;
        }
        relay.heard_at = Some(now);
        question.parts.insert(part.part, part.rooms);
        if question.parts.len() < part.parts.into() {
            return;
        }
        let question = relay.question.take().expect("it was there just now");
        let last = *relay.last.get_or_insert(part.number);
        let since = question.since_number(part.number);
        // All changes between the answer and the last message are known, or it is of no use.
        let missing = last.saturating_sub(part.number);
        if u64::try_from(since.len()).is_ok_and(|known| known < missing) {
            relay.ask_at = now + PAUSE;
            return;
        }
        let rooms = question.answered_rooms(&self.rooms);
        relay.ask_at = now + if rooms.is_empty() { PAUSE } else { ASK_EVERY };
        let mut entries = self.entries(id).expect("it was there just now");
        for (room, peers) in &rooms {
            entries.relay.unknown.remove(room);
            entries.replace_room(*room, part.number, peers);
        }
        for (number, changes) in since {
            for change in changes.iter().filter(|it| rooms.contains_key(&it.room)) {
                entries.apply(*number, change);
            }
        }
    }

    /// When [`Rosters::timeout`] has work.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let due = |relay: &OtherRelay| {
            let silent = relay.heard_at.map(|at| at + SILENT_AFTER);
            let ask = match &relay.question {
                Some(question) => Some(question.until),
                None => (!relay.unknown.is_empty()).then_some(relay.ask_at),
            };
            silent.into_iter().chain(ask).min()
        };
        self.relays.values().filter_map(due).min()
    }

    /// Forgets the peers of silent relays. Returns the questions to ask: the relay, the number of
    /// the question, and the rooms. The numbers must be random.
    pub(super) fn timeout(
        &mut self,
        now: Duration,
        mut nonce: impl FnMut() -> Nonce,
    ) -> Vec<(DeviceId, Nonce, Vec<RoomTag>)> {
        let mut questions = Vec::new();
        for id in self.ids() {
            self.drop_silent(now, id);
            let relay = self.relays.get_mut(&id).expect("the ids were read above");
            if let Some(question) = relay.question.take_if(|question| now >= question.until) {
                tracing::debug!(relay = ?id, rooms = question.rooms.len(), "no answer");
                relay.ask_at = now
                    + if relay.heard_at.is_some() {
                        ASK_EVERY
                    } else {
                        PAUSE
                    };
            }
            if relay.question.is_some() || relay.unknown.is_empty() || now < relay.ask_at {
                continue;
            }
            let rooms: BTreeSet<_> = relay.unknown.iter().take(ROOMS_MAX).copied().collect();
            let nonce = nonce();
            questions.push((id, nonce, rooms.iter().copied().collect()));
            relay.question = Some(Question {
                nonce,
                until: now + ANSWER_LIMIT,
                rooms,
                parts: BTreeMap::new(),
                answer: None,
                since: Vec::new(),
            });
        }
        questions
    }

    /// Peers whose rooms at other relays have changed, with those rooms, sorted. Some of them: call
    /// it until there are none.
    pub(super) fn take_updates(&mut self) -> Vec<(DeviceId, Vec<RoomTag>)> {
        let mut updates = Vec::new();
        while updates.len() < UPDATES_MAX
            && let Some(peer) = self.listed.changed.pop_first()
        {
            let rooms = self.listed.peers.get(&peer).into_iter();
            let rooms = rooms.flat_map(|rooms| rooms.keys().copied());
            updates.push((peer, rooms.collect()));
        }
        updates
    }

    /// Forgets the peers of a relay if it is silent.
    fn drop_silent(&mut self, now: Duration, id: DeviceId) {
        let heard_at = self.relays.get(&id).and_then(|relay| relay.heard_at);
        if heard_at.is_none_or(|at| now < at + SILENT_AFTER) {
            return;
        }
        tracing::debug!(relay = ?id, "a relay of the fleet is silent");
        if let Some(mut entries) = self.entries(id) {
            entries.clear();
        }
        let silent = OtherRelay {
            unknown: self.rooms.clone(),
            ask_at: now,
            ..OtherRelay::default()
        };
        self.relays.insert(id, silent);
    }

    fn ids(&self) -> Vec<DeviceId> {
        self.relays.keys().copied().collect()
    }

    fn entries(&mut self, id: DeviceId) -> Option<Entries<'_>> {
        // All other relays together fill at most half of a room's list, each an equal share.
        let room_max = ROOM_PEERS_MAX / self.relays.len().max(1);
        Some(Entries {
            relay: self.relays.get_mut(&id)?,
            listed: &mut self.listed,
            room_max,
        })
    }
}

impl Question {
    /// The changes that arrived with numbers above this one.
    fn since_number(&self, number: u64) -> Vec<&(u64, Vec<Change>)> {
        let since = self.since.iter();
        since.filter(|(later, _)| *later > number).collect()
    }

    /// The peers of each room in the answer that was asked for and that this relay still serves.
    fn answered_rooms(&self, served: &BTreeSet<RoomTag>) -> BTreeMap<RoomTag, BTreeSet<DeviceId>> {
        let mut rooms: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (room, peers) in self.parts.values().flatten() {
            if self.rooms.contains(room) && served.contains(room) {
                rooms.entry(*room).or_default().extend(peers);
            }
        }
        rooms
    }
}

impl Entries<'_> {
    /// Applies a change of the message with this number.
    fn apply(&mut self, number: u64, change: &Change) {
        let Some(room) = self.relay.rooms.get_mut(&change.room) else {
            return;
        };
        if number <= room.number {
            return;
        }
        if !change.here {
            if room.peers.remove(&change.peer) {
                self.relay.entries -= 1;
                self.listed.remove(change.peer, change.room);
            }
            if room.is_cut && room.peers.len() < self.room_max / 2 {
                room.is_cut = false;
                self.relay.unknown.insert(change.room);
            }
        } else if !room.peers.contains(&change.peer) {
            if room.peers.len() >= self.room_max || self.relay.entries >= ENTRIES_MAX {
                room.is_cut = true;
                return;
            }
            room.peers.insert(change.peer);
            self.relay.entries += 1;
            self.listed.add(change.peer, change.room);
        }
    }

    /// Replaces the peers in a room by those of an answer with this number.
    fn replace_room(&mut self, tag: RoomTag, number: u64, peers: &BTreeSet<DeviceId>) {
        let old = self.relay.rooms.remove(&tag).unwrap_or_default();
        let elsewhere = self.relay.entries - old.peers.len();
        let max = self.room_max.min(ENTRIES_MAX - elsewhere);
        let kept: BTreeSet<_> = peers.iter().take(max).copied().collect();
        for peer in old.peers.difference(&kept) {
            self.listed.remove(*peer, tag);
        }
        for peer in kept.difference(&old.peers) {
            self.listed.add(*peer, tag);
        }
        self.relay.entries = elsewhere + kept.len();
        let room = Room {
            number,
            is_cut: kept.len() < peers.len(),
            peers: kept,
        };
        self.relay.rooms.insert(tag, room);
    }

    fn forget_room(&mut self, tag: RoomTag) {
        if let Some(room) = self.relay.rooms.remove(&tag) {
            self.relay.entries -= room.peers.len();
            for peer in room.peers {
                self.listed.remove(peer, tag);
            }
        }
    }

    fn clear(&mut self) {
        let rooms: Vec<_> = self.relay.rooms.keys().copied().collect();
        for room in rooms {
            self.forget_room(room);
        }
    }
}

impl Listed {
    fn add(&mut self, peer: DeviceId, room: RoomTag) {
        let relays = self.peers.entry(peer).or_default().entry(room).or_insert(0);
        *relays += 1;
        self.changed.insert(peer);
    }

    fn remove(&mut self, peer: DeviceId, room: RoomTag) {
        let rooms = self.peers.get_mut(&peer).expect(IS_LISTED);
        let relays = rooms.get_mut(&room).expect(IS_LISTED);
        *relays -= 1;
        if *relays == 0 {
            rooms.remove(&room);
        }
        if rooms.is_empty() {
            self.peers.remove(&peer);
        }
        self.changed.insert(peer);
    }
}

const IS_LISTED: &str = "each entry of a relay is counted once";

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);
    const SECOND: Duration = Duration::from_secs(1);

    fn id(n: u16) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    fn relay(n: u16) -> DeviceId {
        id(1_000 + n)
    }

    fn room(n: u8) -> RoomTag {
        RoomTag::from_bytes([n; 32])
    }

    fn joins(peer: u16, in_room: u8) -> Change {
        let (peer, room, here) = (id(peer), room(in_room), true);
        Change { peer, room, here }
    }

    fn leaves(peer: u16, in_room: u8) -> Change {
        let here = false;
        Change {
            here,
            ..joins(peer, in_room)
        }
    }

    /// This relay has peers in room 1, and there are other relays.
    fn rosters(others: &[u16]) -> Rosters {
        let mut rosters = Rosters::default();
        rosters.open(room(1));
        rosters.set_relays(&others.iter().copied().map(relay).collect());
        rosters
    }

    /// The questions now, with the first byte of the number of each.
    fn questions(rosters: &mut Rosters, now: Duration) -> Vec<(DeviceId, Nonce, Vec<RoomTag>)> {
        let mut count = 0;
        rosters.timeout(now, || {
            count += 1;
            [count; 16]
        })
    }

    fn answer(nonce: Nonce, number: u64, rooms: &[(u8, &[u16])]) -> AnswerPart {
        let rooms = rooms.iter().map(|(tag, peers)| {
            let peers = peers.iter().copied().map(id).collect();
            (room(*tag), peers)
        });
        AnswerPart {
            nonce,
            number,
            part: 0,
            parts: 1,
            rooms: rooms.collect(),
        }
    }

    /// The rosters with relay 1, whose last message is number 10, and which has peer 5 in room 1.
    fn known() -> Rosters {
        let mut rosters = rosters(&[1]);
        let asked = questions(&mut rosters, NOW);
        assert_eq!(asked, [(relay(1), [1; 16], vec![room(1)])]);
        rosters.answered(NOW, relay(1), answer([1; 16], 10, &[(1, &[5])]));
        assert_eq!(updates(&mut rosters), [(5, vec![1])]);
        rosters
    }

    fn updates(rosters: &mut Rosters) -> Vec<(u16, Vec<u8>)> {
        let number = |peer: DeviceId| {
            let bytes = peer.as_bytes();
            u16::from_be_bytes([bytes[0], bytes[1]])
        };
        let of = |tag: &RoomTag| (0..=255).find(|n| room(*n) == *tag).unwrap();
        let updates = rosters.take_updates();
        let updates = updates
            .iter()
            .map(|(peer, rooms)| (number(*peer), rooms.iter().map(of).collect()));
        updates.collect()
    }

    #[test]
    fn after_an_answer_changes_are_enough() {
        let mut rosters = known();
        assert_eq!(questions(&mut rosters, NOW + SECOND), []);
        let relay = relay(1);
        rosters.changes(NOW, relay, 11, vec![joins(6, 1), joins(7, 2)]);
        assert_eq!(
            updates(&mut rosters),
            [(6, vec![1])],
            "room 2 is not served"
        );
        rosters.changes(NOW, relay, 12, vec![leaves(5, 1)]);
        assert_eq!(updates(&mut rosters), [(5, vec![])]);
        // An old message does nothing.
        rosters.changes(NOW, relay, 12, vec![joins(5, 1)]);
        rosters.changes(NOW, relay, 3, vec![joins(5, 1)]);
        assert_eq!(updates(&mut rosters), []);
        assert_eq!(questions(&mut rosters, NOW + SECOND), []);
    }

    #[test]
    fn a_gap_leads_to_a_question_and_what_is_listed_stays_until_the_answer() {
        let mut rosters = known();
        rosters.changes(NOW, relay(1), 13, vec![joins(6, 1)]);
        assert_eq!(updates(&mut rosters), [(6, vec![1])]);
        let asked = questions(&mut rosters, NOW + SECOND);
        assert_eq!(asked, [(relay(1), [1; 16], vec![room(1)])]);
        rosters.answered(NOW, relay(1), answer([1; 16], 13, &[(1, &[6, 7])]));
        assert_eq!(updates(&mut rosters), [(5, vec![]), (7, vec![1])]);
    }

    #[test]
    fn changes_may_overtake_the_answer_or_arrive_after_it() {
        let mut rosters = rosters(&[1]);
        rosters.changes(NOW, relay(1), 10, vec![]);
        questions(&mut rosters, NOW);
        rosters.changes(NOW, relay(1), 11, vec![joins(6, 1)]);
        rosters.changes(NOW, relay(1), 12, vec![leaves(5, 1)]);
        // It was made between the two.
        rosters.answered(NOW, relay(1), answer([1; 16], 11, &[(1, &[5, 6])]));
        assert_eq!(updates(&mut rosters), [(5, vec![]), (6, vec![1])]);
        // The answer for another room overtakes message 13.
        rosters.open(room(2));
        questions(&mut rosters, NOW + SECOND);
        rosters.answered(NOW, relay(1), answer([1; 16], 13, &[(2, &[6, 7])]));
        assert_eq!(updates(&mut rosters), [(6, vec![1, 2]), (7, vec![2])]);
        let late = vec![leaves(6, 1), leaves(7, 2)];
        rosters.changes(NOW, relay(1), 13, late);
        assert_eq!(
            updates(&mut rosters),
            [(6, vec![2])],
            "7 joined after it left"
        );
        assert_eq!(questions(&mut rosters, NOW + 2 * SECOND), []);
    }

    #[test]
    fn an_answer_of_no_use_is_asked_for_again() {
        let mut rosters = rosters(&[1]);
        questions(&mut rosters, NOW);
        // Message 11 is lost.
        rosters.changes(NOW, relay(1), 12, vec![]);
        rosters.answered(NOW, relay(1), answer([1; 16], 10, &[(1, &[5])]));
        assert_eq!(updates(&mut rosters), []);
        assert_eq!(questions(&mut rosters, NOW), [], "not at once");
        assert_eq!(questions(&mut rosters, NOW + PAUSE).len(), 1);
        let empty = answer([1; 16], 12, &[]);
        rosters.answered(NOW + PAUSE, relay(1), empty);
        assert_eq!(questions(&mut rosters, NOW + PAUSE), [], "not at once");
        assert_eq!(questions(&mut rosters, NOW + 2 * PAUSE).len(), 1);
        assert_eq!(questions(&mut rosters, NOW + 2 * PAUSE), []);
        let later = NOW + 2 * PAUSE + ANSWER_LIMIT;
        assert_eq!(questions(&mut rosters, later), [], "no answer");
        assert_eq!(questions(&mut rosters, later + ASK_EVERY).len(), 1);
    }

    #[test]
    fn answers_to_other_questions_and_of_other_relays_do_nothing() {
        let mut rosters = rosters(&[1, 2]);
        assert_eq!(questions(&mut rosters, NOW).len(), 2);
        rosters.answered(NOW, relay(1), answer([9; 16], 10, &[(1, &[5])]));
        rosters.answered(NOW, relay(3), answer([1; 16], 10, &[(1, &[5])]));
        rosters.answered(NOW, relay(2), answer([1; 16], 10, &[(1, &[5])]));
        // Rooms that were not asked for.
        rosters.answered(NOW, relay(1), answer([1; 16], 10, &[(7, &[5])]));
        rosters.changes(NOW, relay(3), 10, vec![joins(5, 1)]);
        assert_eq!(updates(&mut rosters), []);
        // Parts of different answers.
        let mut part = answer([2; 16], 10, &[(1, &[5])]);
        part.parts = 2;
        rosters.answered(NOW, relay(2), part.clone());
        (part.part, part.number) = (1, 11);
        rosters.answered(NOW, relay(2), part.clone());
        assert_eq!(updates(&mut rosters), []);
        part.number = 10;
        rosters.answered(NOW, relay(2), part);
        assert_eq!(updates(&mut rosters), [(5, vec![1])]);
    }

    #[test]
    fn the_peers_of_a_silent_relay_are_dropped_and_it_is_asked_again() {
        let mut rosters = known();
        rosters.changes(NOW + 10 * SECOND, relay(1), 11, vec![]);
        let silent = NOW + 10 * SECOND + SILENT_AFTER;
        assert_eq!(rosters.next_due(), Some(silent));
        assert_eq!(questions(&mut rosters, silent - SECOND), []);
        let asked = questions(&mut rosters, silent);
        assert_eq!(asked.len(), 1);
        assert_eq!(updates(&mut rosters), [(5, vec![])]);
        // It returns with lower numbers: its clock was set back.
        rosters.changes(silent, relay(1), 2, vec![joins(6, 1)]);
        rosters.answered(silent, relay(1), answer(asked[0].1, 2, &[(1, &[6])]));
        assert_eq!(updates(&mut rosters), [(6, vec![1])]);
    }

    #[test]
    fn a_relay_that_leaves_the_fleet_takes_its_peers_along() {
        let mut rosters = rosters(&[1, 2]);
        questions(&mut rosters, NOW);
        rosters.answered(NOW, relay(1), answer([1; 16], 10, &[(1, &[5, 6])]));
        rosters.answered(NOW, relay(2), answer([2; 16], 70, &[(1, &[6, 7])]));
        let all = [(5, vec![1]), (6, vec![1]), (7, vec![1])];
        assert_eq!(updates(&mut rosters), all);
        rosters.set_relays(&BTreeSet::from([relay(2)]));
        assert_eq!(updates(&mut rosters), [(5, vec![]), (6, vec![1])]);
        rosters.changes(NOW, relay(1), 11, vec![joins(5, 1)]);
        assert_eq!(updates(&mut rosters), []);
    }

    #[test]
    fn a_room_that_nobody_here_is_in_any_more_is_forgotten() {
        let mut rosters = known();
        rosters.close(room(1));
        assert_eq!(updates(&mut rosters), [(5, vec![])]);
        rosters.changes(NOW, relay(1), 11, vec![joins(6, 1)]);
        assert_eq!(updates(&mut rosters), []);
        rosters.open(room(1));
        assert_eq!(questions(&mut rosters, NOW + SECOND).len(), 1);
        rosters.close(room(1));
        let late = answer([1; 16], 11, &[(1, &[5])]);
        rosters.answered(NOW + SECOND, relay(1), late);
        assert_eq!(updates(&mut rosters), []);
        let (relays, listed) = (&rosters.relays, &rosters.listed);
        assert!(listed.peers.is_empty() && relays[&relay(1)].rooms.is_empty());
    }

    #[test]
    fn each_relay_fills_an_equal_share_of_half_a_room() {
        let mut rosters = rosters(&[1, 2]);
        let share = ROOM_PEERS_MAX / 2;
        questions(&mut rosters, NOW);
        let peers: Vec<u16> = (0..u16::try_from(share).unwrap() + 1).collect();
        rosters.answered(NOW, relay(1), answer([1; 16], 1, &[(1, &peers)]));
        let count = |rosters: &Rosters| rosters.relays[&relay(1)].entries;
        assert_eq!(count(&rosters), share);
        rosters.changes(NOW, relay(1), 2, vec![joins(900, 1)]);
        assert_eq!(count(&rosters), share);
        // When many have left, it asks for those that had no place.
        let left = |peers: &[u16]| peers.iter().map(|peer| leaves(*peer, 1)).collect();
        rosters.changes(NOW, relay(1), 3, left(&peers[..share / 2]));
        assert_eq!(questions(&mut rosters, NOW + SECOND), []);
        rosters.changes(NOW, relay(1), 4, left(&peers[share / 2..=share / 2]));
        let asked = questions(&mut rosters, NOW + SECOND);
        assert_eq!(asked, [(relay(1), [1; 16], vec![room(1)])]);
    }

    #[test]
    fn one_relay_makes_this_one_keep_only_so_much() {
        let mut rosters = rosters(&[1]);
        let tag = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            RoomTag::from_bytes(bytes)
        };
        let rooms = ENTRIES_MAX / ROOM_PEERS_MAX + 2;
        (0..rooms).for_each(|n| rosters.open(tag(n)));
        let peers: Vec<_> = (0..u16::try_from(ROOM_PEERS_MAX).unwrap()).collect();
        let mut now = NOW;
        for number in 1..20 {
            now += SECOND;
            for (id, nonce, asked) in questions(&mut rosters, now) {
                let peers: Vec<_> = peers.iter().copied().map(self::id).collect();
                let mut part = answer(nonce, number, &[]);
                part.rooms = asked.into_iter().map(|tag| (tag, peers.clone())).collect();
                rosters.answered(now, id, part);
            }
        }
        assert_eq!(rosters.relays[&relay(1)].entries, ENTRIES_MAX);
        assert_eq!(questions(&mut rosters, now + SECOND), []);
    }
}
