//! The replica: conversations as logs. It decides what is kept, what is sent to whom, and what may
//! be said about it.
//!
//! It owns the heads, the cursors and the receipts of every conversation. It leaves to others:
//! bytes on disk (it asks for a [`Commit`](super::commit::Commit) and waits for the answer), bytes
//! on a wire (it names a session and a frame), who a session's peer is, and what anything looks
//! like.
//!
//! How entries move. An author pushes its own entries to every session of the conversation.
//! Everything else is pulled: a replica that hears of entries it lacks asks *one* session for that
//! author's logs and goes on getting them there. So in a full mesh each entry crosses each link
//! about once, and along a line of replicas it flows without waiting.
//!
//! Order of events for every entry, its author's replica or not: accepted, then durable, then said.

mod append;
mod block;
mod budget;
mod commits;
mod events;
mod heads;
mod log;
mod news;
mod pull;
mod receive;
mod recent;
mod room;
mod send_queue;
mod serve;
mod sync;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::{
    Body, ConversationId, LogId, LogName, PeerId, Ranges, RoomKey, RoomName, SecretKey, Seq,
};

pub use self::budget::LIVE_ENTRIES_PER_SECOND;
use self::commits::AfterCommit;
pub use self::events::{Input, Output, Token};
use self::log::Log;
pub use self::receive::{LAMPORT_AHEAD_MAX, LAMPORT_MAX, Refusal};
use self::recent::Recent;
use self::room::Audiences;
pub use self::room::{LINGER_MS, OPEN_ROOM_OFFER_MS};
pub use self::serve::BATCHES_OUTSTANDING_MAX;
pub use self::sync::LOGS_TOLD_MAX;
use self::sync::{Session, Shared};
use super::commit::{CommitId, ConversationKind, ConversationRecord, Loaded, Op};
use super::{Now, Rng, SessionId};

/// Entries of one author that a room keeps; beyond, the oldest are let go.
pub const ROOM_ENTRIES_PER_AUTHOR_MAX: u64 = 100_000;

/// A newcomer to a room with a secret gets at most this many of its last entries …
pub const NEWCOMER_ENTRIES: usize = 500;

/// … and none older than this.
pub const NEWCOMER_AGE_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// A log within its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct LogKey {
    author: PeerId,
    log: LogId,
}

/// A conversation as this replica holds it.
#[derive(Debug)]
struct Conversation {
    record: ConversationRecord,
    /// The record that the store has.
    stored: Option<ConversationRecord>,
    /// Whether the store has the record, or was asked to keep it.
    asked_to_store: bool,
    /// Lamport's clock: the highest number accepted, but for jumps.
    lamport: u64,
    logs: BTreeMap<LogKey, Log>,
    audiences: Audiences,
    /// Appends that wait for the one under way.
    waiting: VecDeque<(Token, Body)>,
    /// Whether a commit of own entries is under way.
    appending: bool,
    /// From which session each author's entries come, where that is not the author.
    sources: BTreeMap<PeerId, SessionId>,
    /// For authors of whom something is missing: since when nothing has come, and how long to be
    /// patient.
    pull_retries: BTreeMap<PeerId, PullRetry>,
    /// Authors of whom something came and could not be stored, and when that last happened.
    setbacks: BTreeMap<PeerId, Duration>,
    /// Who of them had how many entries when, to keep the room within its limit.
    entries: BTreeMap<PeerId, u64>,
}

#[derive(Debug, Clone, Copy)]
struct PullRetry {
    until: Duration,
    tries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Tell sessions what else is held.
    Announce,
    /// Somebody who was asked for entries may have let us down.
    PullRetry,
    /// Compare notes with a random member.
    AntiEntropy,
    /// Keep the receipts that came.
    Acks,
    /// Let slowed sessions go on.
    Budget,
    /// Keep a sign of life.
    Alive,
    /// Read again what could not be read.
    ReadAgain,
}

const ANNOUNCE_EVERY: Duration = Duration::from_millis(100);
const ANTI_ENTROPY_EVERY: Duration = Duration::from_secs(30);
const ACKS_EVERY: Duration = Duration::from_millis(500);
const ALIVE_EVERY: Duration = Duration::from_secs(60);

/// When the store could not take the sign of life, it is offered again.
const ALIVE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The logs of all conversations of one node. See the module's doc.
#[derive(Debug)]
pub struct Replica {
    key: Arc<SecretKey>,
    me: PeerId,
    /// A random number of this run: names its logs.
    run: u64,
    now: Now,
    network: u64,
    rng: Rng,
    conversations: BTreeMap<ConversationId, Conversation>,
    sessions: BTreeMap<SessionId, Session>,
    commits: BTreeMap<CommitId, Vec<AfterCommit>>,
    /// Commits that were under way when one before them failed: they fail too, and have been
    /// accounted for.
    doomed: BTreeSet<CommitId>,
    next_commit: u64,
    next_ordinal: u64,
    last_audience: u64,
    recent: Recent,
    acked: BTreeMap<(LogName, PeerId), Ranges>,
    acked_unsaved: BTreeSet<(LogName, PeerId)>,
    lingerers_unsaved: BTreeSet<ConversationId>,
    /// Authors of whom nothing is taken, asked for or passed on.
    blocked: BTreeSet<PeerId>,
    timers: BTreeMap<Timer, Duration>,
    outputs: VecDeque<Output>,
}

impl Replica {
    /// Takes up what the store holds. `run` names the logs that this run writes: a fresh random
    /// number at each start.
    pub fn new(key: Arc<SecretKey>, run: u64, network: u64, now: Now, loaded: Loaded) -> Self {
        let me = key.id();
        let mut replica = Self {
            key,
            me,
            run,
            now,
            network,
            rng: Rng::new(run),
            conversations: BTreeMap::new(),
            sessions: BTreeMap::new(),
            commits: BTreeMap::new(),
            doomed: BTreeSet::new(),
            next_commit: 1,
            next_ordinal: 1,
            last_audience: loaded.last_audience,
            recent: Recent::default(),
            acked: BTreeMap::new(),
            acked_unsaved: BTreeSet::new(),
            lingerers_unsaved: BTreeSet::new(),
            blocked: BTreeSet::new(),
            timers: BTreeMap::new(),
            outputs: VecDeque::new(),
        };
        replica.load(loaded);
        replica.arm(Timer::AntiEntropy, ANTI_ENTROPY_EVERY);
        replica.arm(Timer::Alive, Duration::ZERO);
        replica
    }

    fn load(&mut self, loaded: Loaded) {
        for record in loaded.conversations {
            self.conversations
                .insert(record.id, Conversation::new(record.clone(), Some(record)));
        }
        for record in loaded.logs {
            self.next_ordinal = self.next_ordinal.max(record.ordinal + 1);
            let Some(conversation) = self.conversations.get_mut(&record.name.conversation) else {
                continue;
            };
            let key = LogKey {
                author: record.name.author,
                log: record.name.log,
            };
            let held: u64 = record.runs.iter().map(|run| run.last - run.first + 1).sum();
            *conversation.entries.entry(key.author).or_default() += held;
            conversation.logs.insert(key, Log::load(record));
        }
        for (id, lamport) in loaded.lamport {
            if let Some(conversation) = self.conversations.get_mut(&id) {
                conversation.lamport = lamport;
            }
        }
        for record in loaded.audiences {
            if let Some(conversation) = self.conversations.get_mut(&record.conversation) {
                conversation.audiences.load_audience(record);
            }
        }
        let same_network = loaded.alive.filter(|alive| alive.network == self.network);
        for (id, lingerers) in loaded.lingerers {
            if let (Some(alive), Some(conversation)) =
                (same_network, self.conversations.get_mut(&id))
            {
                conversation
                    .audiences
                    .load(&lingerers, alive.at_ms, self.now);
            }
            // Those of another network are gone for good: the next start on this one must not find
            // them.
            self.lingerers_unsaved.insert(id);
        }
        self.acked = loaded
            .acked
            .into_iter()
            .map(|(name, peer, ranges)| ((name, peer), ranges))
            .collect();
    }

    /// Tells the replica what happened.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Append {
                token,
                conversation,
                body,
            } => self.append(token, conversation, body),
            Input::OpenDirect(peer) => self.open_direct(peer),
            Input::Join {
                token,
                name,
                key,
                open,
            } => self.join(token, name, key, open),
            Input::Part(token, conversation) => self.part(token, conversation),
            Input::Block(author) => self.block(author),
            Input::Unblock(author) => self.unblock(author),
            Input::SessionUp(session, peer) => self.session_up(session, peer),
            Input::SessionRooms(session, rooms) => self.session_rooms(session, &rooms),
            Input::SessionDown { session, goodbye } => self.session_down(session, goodbye),
            Input::Confirmed(session) => self.confirmed(session),
            Input::Frame(session, frame) => self.frame(session, frame),
            Input::Batch(session, batch) => self.batch(session, batch),
            Input::BatchesWritten(session, bytes) => self.batches_written(session, bytes),
            Input::FramesWritten(session, bytes) => self.frames_written(session, bytes),
            Input::Committed(commit) => self.committed(commit),
            Input::CommitFailed(commit, why) => self.commit_failed(commit, &why),
            Input::Read(session, name, batches) => self.read(session, name, batches),
            Input::NewcomerCut(session, conversation, cut) => {
                self.newcomer_cut(session, conversation, &cut)
            }
            Input::NetworkChanged(network) => self.network_changed(network),
            Input::Flush => self.flush_lazily_kept(),
            Input::Timeout => self.timeout(),
        }
    }

    /// What the replica wants done; to be asked until it wants nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.outputs.is_empty() {
            self.flush_receipts();
        }
        self.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`] if nothing else happens, on the clock of
    /// [`Now::mono`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.values().min().copied()
    }

    /// The number of items that the replica remembers for all sessions together. Peers make it
    /// grow, so it has a limit for each session.
    pub fn remembered_for_sessions(&self) -> usize {
        self.sessions.values().map(Session::remembered).sum()
    }

    /// The number of commits that are not on disk yet.
    pub fn commits_under_way(&self) -> usize {
        self.commits.len()
    }

    /// The rooms this node is in, with their keys and whether they are open.
    pub fn rooms(&self) -> impl Iterator<Item = (ConversationId, &RoomName, &RoomKey, bool)> {
        self.conversations
            .values()
            .filter_map(|conversation| match &conversation.record.kind {
                ConversationKind::Room {
                    name,
                    key,
                    open,
                    joined: true,
                } => Some((conversation.record.id, name, key, *open)),
                ConversationKind::Room { joined: false, .. } | ConversationKind::Direct(_) => None,
            })
    }

    /// What kind of conversation this is, if it is known.
    pub fn kind(&self, conversation: ConversationId) -> Option<&ConversationKind> {
        self.conversations
            .get(&conversation)
            .map(|conversation| &conversation.record.kind)
    }

    /// All conversations.
    pub fn conversations(&self) -> impl Iterator<Item = &ConversationRecord> {
        self.conversations
            .values()
            .map(|conversation| &conversation.record)
    }

    /// The peers that share this conversation with a session now.
    pub fn here(&self, conversation: ConversationId) -> BTreeSet<PeerId> {
        let sessions = self
            .sessions
            .values()
            .filter(|session| session.shared.contains_key(&conversation));
        sessions.map(|session| session.peer).collect()
    }

    /// The log of ours with this id, and what of it is on disk.
    pub fn own_log(&self, log: LogId) -> Option<(LogName, &Ranges)> {
        let key = LogKey {
            author: self.me,
            log,
        };
        self.conversations
            .values()
            .find_map(|c| c.logs.get(&key).map(|held| (c.name(&key), held.durable())))
    }

    /// The peers that are known to have this entry of ours on disk.
    pub fn delivered_to(&self, name: LogName, seq: Seq) -> Vec<PeerId> {
        let of_log = self
            .acked
            .range((name, PeerId::from_bytes([0; 32]))..)
            .take_while(|((of, _), _)| *of == name);
        of_log
            .filter(|(_, ranges)| ranges.contains(seq))
            .map(|((_, peer), _)| *peer)
            .collect()
    }

    /// Whether an entry is on disk here and may go to the peer at the other end of this session.
    pub fn may_have(&self, session: SessionId, name: LogName, seq: Seq) -> bool {
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        self.may_send(session, name.conversation, &key)
            .contains(seq)
    }

    fn network_changed(&mut self, network: u64) {
        if network == self.network {
            return;
        }
        self.network = network;
        self.sessions
            .values_mut()
            .for_each(|session| session.heard = false);
        for conversation in self
            .conversations
            .values_mut()
            .filter(|conversation| conversation.is_open_room())
        {
            conversation.audiences.network_changed();
            self.lingerers_unsaved.insert(conversation.record.id);
        }
        self.keep_alive_sign();
    }

    fn timeout(&mut self) {
        let due: Vec<_> = self
            .timers
            .iter()
            .filter(|(_, at)| **at <= self.now.mono)
            .map(|(timer, _)| *timer)
            .collect();
        for timer in due {
            self.timers.remove(&timer);
            match timer {
                Timer::Announce => self.announce(),
                Timer::PullRetry => self.try_next_sources(),
                Timer::AntiEntropy => self.compare_notes(),
                Timer::Acks => self.flush_lazily_kept(),
                Timer::Budget => self.release_after_budget(),
                Timer::Alive => self.keep_alive_sign(),
                Timer::ReadAgain => self.read_again(),
            }
        }
    }

    /// Sets a timer, unless it is set already.
    fn arm(&mut self, timer: Timer, after: Duration) {
        let at = self.now.mono + after;
        self.timers.entry(timer).or_insert(at);
    }
}

impl Conversation {
    fn new(record: ConversationRecord, stored: Option<ConversationRecord>) -> Self {
        Self {
            record,
            asked_to_store: stored.is_some(),
            stored,
            lamport: 0,
            logs: BTreeMap::new(),
            audiences: Audiences::default(),
            waiting: VecDeque::new(),
            appending: false,
            sources: BTreeMap::new(),
            pull_retries: BTreeMap::new(),
            setbacks: BTreeMap::new(),
            entries: BTreeMap::new(),
        }
    }

    /// Adds the record to a commit, unless the store has it.
    fn store_record(&mut self, ops: &mut Vec<Op>, steps: &mut Vec<AfterCommit>) {
        if !self.asked_to_store {
            self.asked_to_store = true;
            ops.push(Op::Conversation(self.record.clone()));
            steps.push(AfterCommit::Record(self.record.clone()));
        }
    }

    /// Forgets everything that the store did not take.
    fn roll_back(&mut self) {
        self.audiences.not_stored();
        self.logs.values_mut().for_each(Log::roll_back);
        self.logs.retain(|_, log| !log.durable().is_empty());
        self.asked_to_store = self.stored.is_some();
        match (&self.stored, &mut self.record.kind) {
            (Some(stored), _) => self.record = stored.clone(),
            (None, ConversationKind::Room { joined, .. }) => *joined = false,
            (None, ConversationKind::Direct(_)) => {}
        }
    }

    fn is_direct(&self) -> bool {
        matches!(self.record.kind, ConversationKind::Direct(_))
    }

    /// Whether `author` can have written here: in a direct conversation only its two ends can.
    fn may_author(&self, me: PeerId, author: PeerId) -> bool {
        match self.record.kind {
            ConversationKind::Direct(peer) => author == me || author == peer,
            ConversationKind::Room { .. } => true,
        }
    }
}

/// The part of a session that belongs to one conversation, if both exist.
fn shared_mut(
    sessions: &mut BTreeMap<SessionId, Session>,
    session: SessionId,
    id: ConversationId,
) -> Option<&mut Shared> {
    sessions.get_mut(&session)?.shared.get_mut(&id)
}
