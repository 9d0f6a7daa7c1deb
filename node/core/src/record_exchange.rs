//! Which public records a node requests from its sessions, and to which sessions it passes on a new
//! one.
//!
//! A record that is new here is passed on to the sessions that follow this node in the order of
//! ids. So it reaches every member of a connected room, and a large room is not flooded. What was
//! new before a session began is requested: each session is asked for newer records of those
//! members of its rooms with which this node has no session. Requests are repeated after
//! [`ASK_AGAIN`], so a record that was not passed on arrives later.
//!
//! Not here: the records themselves ([`crate::peers`]), and who is a member of which room.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_limits::{Bucket, Pace};
use hobnob_protocol::PersonId;
use hobnob_protocol::frame::RECORDS_MAX;

use crate::SessionId;

/// Sessions to which one node passes on a new record.
pub const PASSED_ON_TO: usize = 16;

/// The pause between two requests of one session for one peer's record.
pub const ASK_AGAIN: Duration = Duration::from_secs(3600);

/// The pause between a change of the members of a room and the requests for their records. Most of
/// these records arrive unasked.
pub const ASK_AFTER: Duration = Duration::from_secs(1);

/// Maximum peers for whose records one session was asked, within [`ASK_AGAIN`].
pub const ASKED_MAX: usize = 8192;

/// Signatures of passed on records that are checked for one session. Further records are dropped.
pub const CHECKS: Pace = Pace::per_second(64, 1024);

/// How many requests for records of one session are answered. Further ones are ignored.
pub const REQUESTS: Pace = Pace::per_second(16, 256);

/// Bytes of records that a session has not written. Further ones are not sent.
pub const UNWRITTEN_MAX: usize = 128 * 1024;

/// The requests and records under way with each session.
#[derive(Debug)]
pub struct RecordExchange {
    me: PersonId,
    sessions: BTreeMap<SessionId, SessionRecords>,
    /// When to ask all sessions.
    due: Option<Duration>,
}

#[derive(Debug)]
struct SessionRecords {
    peer: PersonId,
    /// The peers in the request that is not answered yet.
    waits_for: Vec<PersonId>,
    /// When the session was last asked for each peer's record.
    asked: BTreeMap<PersonId, Duration>,
    checks: Bucket,
    requests: Bucket,
    unwritten: usize,
}

impl RecordExchange {
    /// No session yet.
    pub fn new(me: PersonId) -> Self {
        Self {
            me,
            sessions: BTreeMap::new(),
            due: None,
        }
    }

    /// A session with a peer begins.
    pub fn begin(&mut self, session: SessionId, peer: PersonId) {
        let state = SessionRecords {
            peer,
            waits_for: Vec::new(),
            asked: BTreeMap::new(),
            checks: Bucket::default(),
            requests: Bucket::default(),
            unwritten: 0,
        };
        self.sessions.insert(session, state);
    }

    /// A session has ended. Others are asked for what it has not answered.
    pub fn end(&mut self, session: SessionId, now: Duration) {
        let ended = self.sessions.remove(&session);
        if ended.is_some_and(|state| !state.waits_for.is_empty()) {
            self.members_changed(now);
        }
    }

    /// Somebody has joined a room. Soon after, all sessions are asked for missing records.
    pub fn members_changed(&mut self, now: Duration) {
        let soon = now + ASK_AFTER;
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// When to call [`RecordExchange::take_due`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.due
    }

    /// The sessions to ask now.
    pub fn take_due(&mut self, now: Duration) -> Vec<SessionId> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.due = (!self.sessions.is_empty()).then_some(now + ASK_AGAIN);
        self.sessions.keys().copied().collect()
    }

    /// The next request for a session, if there is one: peers, and the numbers of their records
    /// here. `members` are those of the rooms that the session shares.
    pub fn next_request(
        &mut self,
        session: SessionId,
        members: impl IntoIterator<Item = PersonId>,
        number: impl Fn(PersonId) -> u64,
        now: Duration,
    ) -> Option<Vec<(PersonId, u64)>> {
        let is_recent = |at: Option<&Duration>| at.is_some_and(|at| now < *at + ASK_AGAIN);
        let others = self.sessions.iter().filter(|(id, _)| **id != session);
        // Two sessions would bring the same records.
        let elsewhere: BTreeSet<_> = others
            .flat_map(|(_, other)| &other.waits_for)
            .copied()
            .collect();
        let connected: BTreeSet<_> = self.sessions.values().map(|state| state.peer).collect();
        let state = self.sessions.get_mut(&session)?;
        if !state.waits_for.is_empty() {
            return None;
        }
        if state.asked.len() + RECORDS_MAX > ASKED_MAX {
            state.asked.retain(|_, at| is_recent(Some(at)));
        }
        let room = ASKED_MAX.saturating_sub(state.asked.len()).min(RECORDS_MAX);
        let is_missing = |peer: &PersonId| {
            *peer != self.me
                && !connected.contains(peer)
                && !is_recent(state.asked.get(peer))
                && !elsewhere.contains(peer)
        };
        let peers: BTreeSet<_> = members.into_iter().filter(is_missing).take(room).collect();
        if peers.is_empty() {
            return None;
        }
        state.asked.extend(peers.iter().map(|peer| (*peer, now)));
        state.waits_for.extend(&peers);
        self.due.get_or_insert(now + ASK_AGAIN);
        Some(peers.into_iter().map(|peer| (peer, number(peer))).collect())
    }

    /// A session has answered. Returns whether there was a request.
    pub fn answered(&mut self, session: SessionId) -> bool {
        let state = self.sessions.get_mut(&session);
        state.is_some_and(|state| !std::mem::take(&mut state.waits_for).is_empty())
    }

    /// The sessions to which a record that is new here is passed on: those that follow this node in
    /// the order of ids, at most [`PASSED_ON_TO`]. `may_have`: whether the peer of a session may
    /// have the record. `from` is the session that brought it.
    pub fn pass_on(
        &self,
        of: PersonId,
        from: Option<SessionId>,
        may_have: impl Fn(SessionId) -> bool,
    ) -> Vec<SessionId> {
        let from = from.and_then(|from| Some(self.sessions.get(&from)?.peer));
        let mut by_peer: Vec<_> = self.sessions.iter().collect();
        // Of several sessions with one peer, the newest one comes last and replaces the others.
        by_peer.sort_by_key(|(_, state)| (state.peer < self.me, state.peer));
        let mut chosen: Vec<(PersonId, SessionId)> = Vec::new();
        for (id, state) in by_peer {
            let peer = state.peer;
            if peer == of
                || Some(peer) == from
                || state.unwritten >= UNWRITTEN_MAX
                || !may_have(*id)
            {
                continue;
            }
            if chosen.last().is_some_and(|last| last.0 == peer) {
                chosen.pop();
            } else if chosen.len() == PASSED_ON_TO {
                break;
            }
            chosen.push((peer, *id));
        }
        chosen.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether the signature of a record that a session passes on is checked. If not, the record is
    /// dropped.
    pub fn allow_check(&mut self, session: SessionId, now: Duration) -> bool {
        let state = self.sessions.get_mut(&session);
        state.is_some_and(|state| state.checks.take(now, CHECKS))
    }

    /// Whether a session's request is answered. An honest peer waits for one answer before it
    /// requests more.
    pub fn allow_request(&mut self, session: SessionId, now: Duration) -> bool {
        let state = self.sessions.get_mut(&session);
        state.is_some_and(|state| state.requests.take(now, REQUESTS))
    }

    /// Whether records may be sent on a session. If so, they have this many bytes.
    pub fn allow_send(&mut self, session: SessionId, bytes: usize) -> bool {
        let Some(state) = self.sessions.get_mut(&session) else {
            return false;
        };
        let allowed = state.unwritten < UNWRITTEN_MAX;
        if allowed {
            state.unwritten += bytes;
        }
        allowed
    }

    /// A session has written this many bytes of frames.
    pub fn written(&mut self, session: SessionId, bytes: usize) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.unwritten = state.unwritten.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use hobnob_protocol::{Checked, Nickname, PublicRecord, SecretKey};
    use proptest::prelude::*;

    use super::*;
    use crate::peers::{Learned, Peers};

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(n: u8) -> PersonId {
        PersonId::from_bytes([n; 32])
    }

    fn exchange(sessions: &[(u64, u8)]) -> RecordExchange {
        let mut exchange = RecordExchange::new(peer(0));
        for (session, of) in sessions {
            exchange.begin(SessionId(*session), peer(*of));
        }
        exchange
    }

    fn request(
        exchange: &mut RecordExchange,
        session: u64,
        members: &[u8],
        now: Duration,
    ) -> Vec<u8> {
        let members = members.iter().map(|n| peer(*n));
        let request = exchange.next_request(SessionId(session), members, |_| 0, now);
        let peers = request.into_iter().flatten();
        peers.map(|(peer, _)| peer.as_bytes()[0]).collect()
    }

    #[test]
    fn one_session_after_another_is_asked_for_a_missing_record() {
        let mut exchange = exchange(&[(1, 1), (2, 2)]);
        assert_eq!(request(&mut exchange, 1, &[0, 1, 2, 8, 9], SECOND), [8, 9]);
        let second = request(&mut exchange, 2, &[8, 9], SECOND);
        assert!(second.is_empty(), "the first one may answer: {second:?}");
        assert!(exchange.answered(SessionId(1)));
        assert!(!exchange.answered(SessionId(1)), "nobody asked");
        assert!(request(&mut exchange, 1, &[8, 9], SECOND).is_empty());
        assert_eq!(request(&mut exchange, 2, &[8, 9], SECOND), [8, 9]);
    }

    #[test]
    fn what_a_session_did_not_answer_is_asked_of_another() {
        let mut exchange = exchange(&[(1, 1), (2, 2)]);
        assert_eq!(request(&mut exchange, 1, &[9], SECOND), [9]);
        exchange.end(SessionId(1), SECOND);
        assert_eq!(exchange.poll_timeout(), Some(SECOND + ASK_AFTER));
        assert_eq!(exchange.take_due(SECOND), []);
        assert_eq!(exchange.take_due(SECOND + ASK_AFTER), [SessionId(2)]);
        assert_eq!(request(&mut exchange, 2, &[9], SECOND), [9]);
    }

    #[test]
    fn a_session_is_asked_again_after_a_while() {
        let mut exchange = exchange(&[(1, 1)]);
        assert_eq!(request(&mut exchange, 1, &[9], SECOND), [9]);
        exchange.answered(SessionId(1));
        assert!(request(&mut exchange, 1, &[9], 2 * SECOND).is_empty());
        assert_eq!(request(&mut exchange, 1, &[9], SECOND + ASK_AGAIN), [9]);
    }

    #[test]
    fn a_request_has_a_limit_and_so_has_all_that_one_session_is_asked() {
        let nth = |n: u64| {
            let mut bytes = [7; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            PersonId::from_bytes(bytes)
        };
        let mut exchange = exchange(&[(1, 1)]);
        let mut asked = 0;
        loop {
            let members = (0..20_000).map(nth);
            let Some(request) = exchange.next_request(SessionId(1), members, |_| 0, SECOND) else {
                break;
            };
            assert!(request.len() <= RECORDS_MAX);
            asked += request.len();
            exchange.answered(SessionId(1));
        }
        assert_eq!(asked, ASKED_MAX);
    }

    #[test]
    fn a_record_is_passed_on_to_those_that_follow() {
        let others = (1..=40).filter(|n| *n != 30);
        let all: Vec<_> = others.map(|n| (u64::from(n), n)).collect();
        let mut exchange = exchange(&all);
        exchange.me = peer(30);
        let to = exchange.pass_on(peer(32), Some(SessionId(31)), |id| id != SessionId(33));
        let expected: Vec<_> = (34..=40).chain(1..=9).map(SessionId).collect();
        assert_eq!(to, expected);
    }

    #[test]
    fn of_two_sessions_with_a_peer_the_newer_one_gets_a_record() {
        let exchange = exchange(&[(1, 1), (2, 1)]);
        assert_eq!(exchange.pass_on(peer(9), None, |_| true), [SessionId(2)]);
        assert_eq!(exchange.pass_on(peer(9), Some(SessionId(1)), |_| true), []);
    }

    #[test]
    fn a_session_that_reads_nothing_gets_no_more_records() {
        let mut exchange = exchange(&[(1, 1)]);
        assert!(exchange.allow_send(SessionId(1), UNWRITTEN_MAX));
        assert!(!exchange.allow_send(SessionId(1), 1));
        assert_eq!(exchange.pass_on(peer(9), None, |_| true), []);
        exchange.written(SessionId(1), 1);
        assert!(exchange.allow_send(SessionId(1), 1));
    }

    #[test]
    fn a_session_can_cost_only_so_many_checks() {
        let mut exchange = exchange(&[(1, 1)]);
        let allowed = (0..5_000).filter(|_| exchange.allow_check(SessionId(1), SECOND));
        assert_eq!(allowed.count(), 1024);
        assert!(exchange.allow_check(SessionId(1), 2 * SECOND));
        let allowed = (0..5_000).filter(|_| exchange.allow_request(SessionId(1), SECOND));
        assert_eq!(allowed.count(), 256);
    }

    /// Nodes that are all members of one room, and the frames between them.
    struct Room {
        now: Duration,
        nodes: Vec<Node>,
        frames: VecDeque<(usize, usize, Sent)>,
    }

    struct Node {
        key: SecretKey,
        own: Checked<PublicRecord>,
        peers: Peers,
        exchange: RecordExchange,
    }

    enum Sent {
        Records(bool, Vec<(PersonId, Checked<PublicRecord>)>),
        Request(Vec<(PersonId, u64)>),
    }

    fn record(key: &SecretKey, number: u64) -> Checked<PublicRecord> {
        let record = PublicRecord {
            number,
            nick: Nickname::cleaned(&format!("number {number}")),
            devices: vec![key.id()],
            picture: None,
            needs_newer_version: false,
        };
        Checked::sign(record, key)
    }

    fn session_with(node: usize) -> SessionId {
        SessionId(u64::try_from(node).expect("few nodes"))
    }

    impl Room {
        fn new(nodes: u8) -> Self {
            let node = |n: u8| {
                let key = SecretKey::from_seed([n; 32]);
                let me = Nickname::new("me").expect("a nickname");
                Node {
                    own: record(&key, 1),
                    peers: Peers::new(key.id().person(), me),
                    exchange: RecordExchange::new(key.id().person()),
                    key,
                }
            };
            let nodes = (0..nodes).map(node).collect();
            let (now, frames) = (SECOND, VecDeque::new());
            Self { now, nodes, frames }
        }

        fn connect(&mut self, one: usize, other: usize) {
            for (at, with) in [(one, other), (other, one)] {
                let theirs = self.nodes[with].own.clone();
                let peer = self.nodes[with].key.id().person();
                self.nodes[at].exchange.begin(session_with(with), peer);
                self.learn(at, with, peer, theirs);
                self.nodes[at].exchange.members_changed(self.now);
            }
        }

        /// A node signs a new record, and sends it to its sessions.
        fn rename(&mut self, at: usize) {
            let number = self.nodes[at].own.record().number + 1;
            self.nodes[at].own = record(&self.nodes[at].key, number);
            let (own, id) = (self.nodes[at].own.clone(), self.nodes[at].key.id());
            let sessions: Vec<_> = self.nodes[at].exchange.sessions.keys().copied().collect();
            for to in sessions {
                let to = usize::try_from(to.0).expect("few nodes");
                let sent = Sent::Records(false, vec![(id.person(), own.clone())]);
                self.frames.push_back((at, to, sent));
            }
        }

        fn learn(&mut self, at: usize, from: usize, of: PersonId, record: Checked<PublicRecord>) {
            let node = &mut self.nodes[at];
            if node.peers.learn_record(of, record.clone()) != Learned::Newer {
                return;
            }
            for to in node
                .exchange
                .pass_on(of, Some(session_with(from)), |_| true)
            {
                let to = usize::try_from(to.0).expect("few nodes");
                let sent = Sent::Records(false, vec![(of, record.clone())]);
                self.frames.push_back((at, to, sent));
            }
        }

        fn ask(&mut self, at: usize, to: usize) {
            let members: Vec<_> = self
                .nodes
                .iter()
                .map(|node| node.key.id().person())
                .collect();
            let Node {
                exchange, peers, ..
            } = &mut self.nodes[at];
            let number = |of| peers.record_number(of);
            if let Some(request) =
                exchange.next_request(session_with(to), members, number, self.now)
            {
                self.frames.push_back((at, to, Sent::Request(request)));
            }
        }

        /// Delivers all frames, and those that follow from them.
        fn settle(&mut self) {
            while let Some((from, to, sent)) = self.frames.pop_front() {
                match sent {
                    Sent::Records(answer, records) => {
                        for (of, record) in records {
                            self.learn(to, from, of, record);
                        }
                        if answer {
                            self.nodes[to].exchange.answered(session_with(from));
                            (0..self.nodes.len()).for_each(|other| self.ask(to, other));
                        }
                    }
                    Sent::Request(request) => {
                        let peers = &self.nodes[to].peers;
                        let newer = |(of, number): (PersonId, u64)| {
                            let held = peers.record(of)?;
                            (held.record().number > number).then(|| (of, held.clone()))
                        };
                        let answer = request.into_iter().filter_map(newer).collect();
                        self.frames
                            .push_back((to, from, Sent::Records(true, answer)));
                    }
                }
            }
        }

        fn wait(&mut self, time: Duration) {
            self.now += time;
            for at in 0..self.nodes.len() {
                for session in self.nodes[at].exchange.take_due(self.now) {
                    self.ask(at, usize::try_from(session.0).expect("few nodes"));
                }
            }
            self.settle();
        }

        fn all_have_the_newest(&self) -> bool {
            self.nodes.iter().all(|node| {
                let mut others = self.nodes.iter().filter(|it| it.key.id() != node.key.id());
                others.all(|other| node.peers.record(other.key.id().person()) == Some(&other.own))
            })
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The nodes form a tree of sessions with some more sessions, in any order, and change
        /// their records meanwhile.
        #[test]
        fn connected_members_have_the_newest_records_of_all(
            tree in proptest::collection::vec(any::<proptest::sample::Index>(), 1..24),
            more in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..12),
            renames in proptest::collection::vec((any::<u8>(), 0..24usize), 0..12),
        ) {
            let count = tree.len() + 1;
            let mut room = Room::new(u8::try_from(count).expect("few nodes"));
            for (n, parent) in tree.iter().enumerate() {
                room.connect(n + 1, parent.index(n + 1));
                for (at, _) in renames.iter().filter(|(_, when)| *when == n) {
                    room.rename(usize::from(*at) % count);
                }
                room.settle();
            }
            for (one, other) in more {
                let (one, other) = (usize::from(one) % count, usize::from(other) % count);
                if one != other {
                    room.connect(one, other);
                }
            }
            room.settle();
            room.wait(ASK_AFTER);
            // A member with more sessions than it passes records on to may need another round.
            room.wait(ASK_AGAIN);
            room.wait(ASK_AGAIN);
            prop_assert!(room.all_have_the_newest());
        }
    }
}
