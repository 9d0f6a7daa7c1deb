//! The replica: its parts, and what others may ask about them.
//!
//! It only owns the parts. `dispatch` hands them what happens. The steps that need several parts
//! are in files of their own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::{
    ConversationId, DeviceId, Frame, Holding, LogId, LogName, PersonId, Ranges, RoomKey, RoomName,
    Salts, SecretKey, Seq,
};

use super::commits::Commits;
use super::conversations::Conversations;
use super::events::{Output, Token};
use super::handed_out::HandedOut;
use super::identity::Identity;
use super::log_key::LogKey;
use super::receipts::Receipts;
use super::recent::Recent;
use super::room_budget::RoomLimits;
use super::session::Sessions;
use super::strangers::Strangers;
use super::timers::{Timer, Timers};
use crate::commit::{ConversationKind, ConversationRecord, Loaded, NetworkId};
use crate::{ClientId, Now, Rng, SessionId};

/// How often a random member of each room is asked to compare digests.
pub(super) const ANTI_ENTROPY_EVERY: Duration = Duration::from_secs(30);

/// The logs of all conversations of one node. See the module's documentation.
#[derive(Debug)]
pub struct Replica {
    pub(super) identity: Identity,
    pub(super) now: Now,
    /// The networks that the node is on.
    pub(super) networks: BTreeSet<NetworkId>,
    pub(super) rng: Rng,
    pub(super) conversations: Conversations,
    /// The names of appends that are not written yet. The user makes it grow.
    pub(super) client_ids: BTreeMap<Token, ClientId>,
    pub(super) sessions: Sessions,
    /// Authors whose entries are not accepted, requested or forwarded.
    pub(super) blocked: BTreeSet<PersonId>,
    pub(super) receipts: Receipts,
    pub(super) commits: Commits,
    pub(super) recent: Recent,
    pub(super) handed_out: HandedOut,
    pub(super) strangers: Strangers,
    /// The direct conversations of sessions that have ended, which may be forgotten.
    pub(super) ended: BTreeSet<ConversationId>,
    pub(super) timers: Timers,
    pub(super) outputs: VecDeque<Output>,
}

impl Replica {
    /// Starts from what the store holds. `run` names the logs that this run writes, so it is a
    /// fresh random number at each start. So is the seed of `salts`.
    pub fn new(
        key: Arc<SecretKey>,
        run: u64,
        salts: Salts,
        networks: BTreeSet<NetworkId>,
        now: Now,
        loaded: Loaded,
    ) -> Self {
        let identity = Identity::new(key, run, salts);
        let mut conversations = Conversations::load(
            identity.id,
            loaded.conversations,
            loaded.logs,
            loaded.lamport,
            loaded.last_audience,
        );
        conversations.load_awaited(&loaded.awaited_deleted);
        conversations.load_presence(
            loaded.audiences,
            loaded.lingerers,
            loaded.alive,
            &networks,
            now,
        );
        let is_open = |name: &LogName| {
            let conversation = conversations.get(name.conversation);
            conversation.is_some_and(|it| it.is_open_room())
        };
        let receipts = Receipts::load(loaded.acked, is_open);
        let mut replica = Self {
            identity,
            now,
            networks,
            rng: Rng::new(run),
            conversations,
            client_ids: BTreeMap::new(),
            sessions: Sessions::default(),
            blocked: BTreeSet::new(),
            receipts,
            commits: Commits::default(),
            recent: Recent::default(),
            handed_out: HandedOut::default(),
            strangers: Strangers::load(loaded.requests),
            ended: BTreeSet::new(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
        };
        replica.arm(Timer::AntiEntropy, ANTI_ENTROPY_EVERY);
        replica.arm(Timer::Alive, Duration::ZERO);
        replica
    }

    /// The number of items that the replica remembers for all sessions together. Peers make it
    /// grow, so it has a limit for each session.
    pub fn remembered_for_sessions(&self) -> usize {
        self.sessions.remembered()
    }

    /// Sets how much each open room may hold, for machines with little memory or disk.
    pub fn limit_open_rooms(&mut self, limits: RoomLimits) {
        self.conversations.limit(limits);
    }

    /// The rooms that are full, with the number of logs that were refused or dropped for that reason
    /// since the start.
    pub fn full_rooms(&self) -> impl Iterator<Item = (ConversationId, u64)> {
        let lost = self
            .conversations
            .iter()
            .map(|(id, it)| (id, it.budget.lost() + it.members.lost()));
        lost.filter(|(_, lost)| *lost > 0)
    }

    /// How many audiences of open rooms were forgotten for lack of memory since the start.
    pub fn audiences_forgotten(&self) -> u64 {
        let all = self.conversations.iter();
        all.map(|(_, it)| it.audiences.forgotten_early()).sum()
    }

    /// The number of commits that are not on disk yet.
    pub fn commits_under_way(&self) -> usize {
        self.commits.len()
    }

    /// The rooms this node is in, with their keys.
    pub fn rooms(&self) -> impl Iterator<Item = (ConversationId, &RoomName, &RoomKey)> {
        self.conversations.joined()
    }

    /// The kind of the conversation, if it is known.
    pub fn kind(&self, conversation: ConversationId) -> Option<&ConversationKind> {
        let conversation = self.conversations.get(conversation)?;
        Some(&conversation.record.kind)
    }

    /// All conversations.
    pub fn conversations(&self) -> impl Iterator<Item = &ConversationRecord> {
        self.conversations.iter().map(|(_, it)| &it.record)
    }

    /// Whether this node holds entries of the author in this conversation. Only members write in a
    /// room with a key.
    pub fn has_author(&self, conversation: ConversationId, author: PersonId) -> bool {
        let conversation = self.conversations.get(conversation);
        conversation.is_some_and(|it| it.logs_of(author).next().is_some())
    }

    /// The authors of whom this node holds entries in this conversation.
    pub fn authors(&self, conversation: ConversationId) -> BTreeSet<PersonId> {
        let conversation = self.conversations.get(conversation);
        let logs = conversation.into_iter().flat_map(|it| it.logs());
        logs.map(|(key, _)| key.author).collect()
    }

    /// Whether the peer of a session may have an entry of this author in this conversation.
    pub fn may_have_from(
        &self,
        session: SessionId,
        conversation: ConversationId,
        author: PersonId,
    ) -> bool {
        let logs = self.conversations.get(conversation).into_iter();
        let mut logs = logs.flat_map(|it| it.logs_of(author));
        logs.any(|(key, _)| !self.may_send(session, conversation, key).is_empty())
    }

    /// The peers that share this conversation with a session now.
    pub fn here(&self, conversation: ConversationId) -> BTreeSet<PersonId> {
        self.sessions.peers(conversation)
    }

    /// The log of our own with this id, and its durable entries.
    pub fn own_log(&self, log: LogId) -> Option<(LogName, &Ranges)> {
        let key = LogKey {
            author: self.identity.id,
            device: self.identity.device,
            log,
        };
        let mut logs = self.conversations.iter();
        logs.find_map(|(id, it)| it.log(&key).map(|log| (key.name(id), log.durable())))
    }

    /// The log of any author that holds this entry. If two authors use one id, it is our own log.
    pub fn find(&self, log: LogId, seq: Seq) -> Option<LogName> {
        let all = self.conversations.iter();
        let held = all.flat_map(|(id, it)| {
            let logs = it.logs();
            let named = logs.filter(move |(key, of)| key.log == log && of.durable().contains(seq));
            named.map(move |(key, _)| key.name(id))
        });
        let found: Vec<_> = held.collect();
        let own = found.iter().find(|name| name.author == self.identity.id);
        own.or(found.first()).copied()
    }

    /// The devices that are known to have this entry of our own on disk.
    pub fn delivered_to(&self, name: LogName, seq: Seq) -> Vec<DeviceId> {
        self.receipts.peers_with(name, seq)
    }

    /// Whether the body of this entry of our own may have left this node. Of earlier runs, nobody
    /// knows.
    pub fn has_gone_out(&self, name: LogName, seq: Seq) -> bool {
        !self.identity.writes(name) || self.handed_out.contains(name, seq)
    }

    /// Notes that bodies of entries of our own leave this node.
    pub(super) fn note_handed_out(&mut self, name: LogName, first: Seq, last: Seq) {
        if self.identity.writes(name) {
            let log = self
                .conversations
                .at(name.conversation)
                .log(&LogKey::of(&name));
            let with_body = log.map_or_else(Ranges::new, |log| log.servable());
            let seqs = with_body.intersect(&Ranges::span(first, last));
            self.handed_out.note(name, &seqs);
        }
    }

    /// Whether an entry is on disk here with its body and may go to the peer at the other end of
    /// this session.
    pub fn may_have(&self, session: SessionId, name: LogName, seq: Seq) -> bool {
        let key = LogKey::of(&name);
        let allowed = self.may_send(session, name.conversation, &key);
        let log = || self.conversations.at(name.conversation).log(&key);
        allowed.contains(seq) && log().is_some_and(|log| log.servable().contains(seq))
    }

    /// Whether these entries of a log are settled: on disk here, or erased after they were.
    pub fn has_settled(&self, name: LogName, first: Seq, last: Seq) -> bool {
        let key = LogKey::of(&name);
        let log = self.conversations.get(name.conversation);
        let log = log.and_then(|it| it.log(&key));
        log.is_some_and(|log| log.settled().covers(first, last))
    }

    /// Whether an entry of a log is on disk here with its body.
    pub fn has_body(&self, name: LogName, seq: Seq) -> bool {
        let log = self.conversations.get(name.conversation);
        let log = log.and_then(|it| it.log(&LogKey::of(&name)));
        log.is_some_and(|log| log.servable().contains(seq))
    }

    // What every step uses.

    /// The entries of a log that are on disk here and may be sent on this session.
    pub(super) fn may_send(&self, id: SessionId, shared: ConversationId, key: &LogKey) -> Ranges {
        let (Some(session), false) = (self.sessions.get(id), self.is_blocked(key.author)) else {
            return Ranges::new();
        };
        match session.syncs.get(&shared) {
            Some(sync) => {
                let conversation = self.conversations.at(shared);
                conversation.offer(session.person(), key, &sync.cut)
            }
            None => Ranges::new(),
        }
    }

    /// The entries of a log that the session has announced, and that are missing here and wanted.
    pub(super) fn missing_from(
        &self,
        id: SessionId,
        shared: ConversationId,
        key: &LogKey,
    ) -> Ranges {
        let sync = self.sessions.sync(id, shared);
        let is_own_run = self.identity.writes(key.name(shared));
        if is_own_run || self.is_blocked(key.author) {
            return Ranges::new();
        }
        // A stranger's entries beyond its limit wait until the user accepts it.
        let sync = sync.filter(|sync| !sync.refused_request);
        sync.map_or_else(Ranges::new, |sync| {
            let conversation = self.conversations.at(shared);
            let peer = self.sessions.at(id).peer;
            let of_stranger = self.is_stranger(key.author);
            if !conversation.may_take(key, peer, of_stranger, self.now.mono) {
                return Ranges::new();
            }
            let theirs = sync.holdings.of(key);
            conversation.missing(self.identity.id, key, &theirs)
        })
    }

    /// The bodies that are missing here and that the session can send, unless it was asked before.
    pub(super) fn bodies_from(
        &self,
        id: SessionId,
        shared: ConversationId,
        key: &LogKey,
    ) -> Ranges {
        let bodies = self.conversations.at(shared).lacks_body(key);
        let sync = self.sessions.sync(id, shared);
        match sync.filter(|_| !bodies.is_empty() && !self.is_blocked(key.author)) {
            Some(sync) => {
                let theirs = sync.holdings.of(key);
                sync.bodies.can_ask(key, &bodies, &theirs)
            }
            None => Ranges::new(),
        }
    }

    /// The entries of a log that a session may know of.
    pub(super) fn may_tell(&self, id: SessionId, shared: ConversationId, key: &LogKey) -> Holding {
        let allowed = self.may_send(id, shared, key);
        self.conversations.at(shared).holding(key, &allowed)
    }

    /// Whether this author is blocked. Every decision about blocked authors calls this function.
    pub(super) fn is_blocked(&self, author: PersonId) -> bool {
        self.blocked.contains(&author)
    }

    /// Hands a frame to a session that is up.
    pub(super) fn send(&mut self, id: SessionId, frame: &Frame) {
        let session = self.sessions.at_mut(id);
        session.send(frame, &mut self.outputs);
    }

    /// Sets a timer, unless it is set.
    pub(super) fn arm(&mut self, timer: Timer, after: Duration) {
        self.timers.arm(timer, self.now.mono + after);
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Input;
    use super::super::testing::{
        Author, Bench, ME, commits, device, direct, direct_record, open_room, peer, room_record,
    };
    use super::*;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;

    #[test]
    fn what_peers_have_confirmed_is_known_after_a_restart() {
        let mut own = Author::with_log(ME, direct(BOB), 9);
        own.write(&["a", "b"]);
        let bench = Bench::load(Loaded {
            conversations: vec![direct_record(BOB)],
            logs: vec![own.stored(1)],
            acked: vec![(own.name, peer(BOB).only_device(), Ranges::span(1, 1))],
            ..Loaded::default()
        });
        assert_eq!(bench.replica.delivered_to(own.name, 1), [device(BOB)]);
        assert_eq!(bench.replica.delivered_to(own.name, 2), []);
        let own_log = bench.replica.own_log(own.name.log);
        assert_eq!(own_log, Some((own.name, &Ranges::span(1, 2))));
        assert_eq!(bench.replica.own_log(LogId(1)), None);
    }

    #[test]
    fn a_peer_may_have_what_was_written_while_it_was_in_an_open_room() {
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(true)],
            ..Loaded::default()
        });
        bench.connect(1, BOB);
        bench.meet_in(1, open_room(), &[]);
        bench.append(open_room(), "a");
        bench.connect(2, CAROL);
        let log = bench.own_log(open_room());
        let may_have = |bench: &Bench, session| bench.replica.may_have(SessionId(session), log, 1);
        assert!(may_have(&bench, 1));
        assert!(!may_have(&bench, 2), "not in the room");
        bench.meet_in(2, open_room(), &[]);
        assert!(!may_have(&bench, 2), "too late");
    }

    #[test]
    fn commits_are_under_way_until_the_store_answers() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let begun = bench.begin_append(1, direct(BOB), "a");
        assert_eq!(bench.replica.commits_under_way(), 1);
        bench.handle(Input::Committed(commits(&begun)[0]));
        assert_eq!(bench.replica.commits_under_way(), 0);
    }
}
