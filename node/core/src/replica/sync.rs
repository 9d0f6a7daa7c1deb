//! What two ends tell each other of what they hold, and what each asks for.
//!
//! A session starts with a digest per shared conversation; where the digests differ, heads follow.
//! After that, `have` frames keep the picture current: they are the receipts, and the news that
//! there is something to ask for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hobnob_protocol::{ConversationId, Frame, LogName, PeerId, Ranges, Seq};

use super::budget::Budget;
use super::receive::Refusal;
use super::send_queue::{FairKey, SendQueue};
use super::{LogKey, Output, Replica, Timer};
use crate::SessionId;
use crate::commit::Op;

/// Logs, and ranges of them, that one session may tell of, over all conversations. Of further ones
/// nothing is remembered until the next session, and of a log in many pieces only the newest piece.
pub const LOGS_TOLD_MAX: usize = 20_000;

/// Bytes of frames that are written to nobody's stream yet, above which a session is told only what
/// it must be.
pub(super) const FRAMES_OUTSTANDING_MAX: usize = 256 * 1024;

/// Entries of one of our own logs, from the first to the last.
type OwnSpan = (LogName, Seq, Seq);

/// A session as the replica sees it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: PeerId,
    pub(super) shared: BTreeMap<ConversationId, Shared>,
    /// Bytes of batches handed out and not yet written.
    pub(super) batches_outstanding: usize,
    /// Bytes of other frames handed out and not yet written.
    pub(super) frames_outstanding: usize,
    /// Own entries among the batches outstanding: said to be sent when that many bytes more are
    /// written.
    pub(super) unwritten: VecDeque<(usize, Option<OwnSpan>)>,
    /// Whether the store was asked for batches and has not answered, or is to be asked again.
    pub(super) reading: bool,
    /// How often in a row the store could not read what this session is to be sent.
    pub(super) unreadable: u32,
    /// Whose logs were served last: the next in turn comes next.
    pub(super) turn: Option<FairKey>,
    pub(super) budget: Budget,
    /// How many logs, and ranges of them, the peer has told of.
    pub(super) logs_told: usize,
    /// Digests of rooms that came before this end knew that it shares them.
    pub(super) early: BTreeMap<ConversationId, [u8; 32]>,
    /// Whether the peer was heard from on the network that we are on now.
    pub(super) heard: bool,
}

/// What a session and a conversation have in common.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Whether the peer's holdings are known: by its heads, or by a digest that equals ours.
    pub(super) ready: bool,
    /// What the peer has said or shown that it holds.
    pub(super) theirs: BTreeMap<LogKey, Ranges>,
    /// In which order it told of its logs: an author's older log comes before its newer one.
    pub(super) told_order: BTreeMap<LogKey, u64>,
    /// How many logs it has ever told of.
    told: u64,
    /// Heads that came so far of a list that goes on.
    pub(super) incoming: BTreeMap<LogKey, Ranges>,
    /// How many logs and ranges of them that list has had.
    pub(super) incoming_told: usize,
    /// What is still to be sent.
    pub(super) send_queue: BTreeMap<PeerId, SendQueue>,
    /// What was sent on this session and need not be sent again unless it is asked for.
    pub(super) sent: BTreeMap<LogKey, Ranges>,
    /// Authors whose new entries go to this peer as they come.
    pub(super) follow: BTreeSet<PeerId>,
    /// Logs that the peer is to be told of at once, and those that can wait for a moment.
    pub(super) receipts: BTreeSet<LogKey>,
    pub(super) announcements: BTreeSet<LogKey>,
    /// What was asked for on this session.
    pub(super) asked: BTreeMap<LogKey, Ranges>,
    pub(super) gap_asked: BTreeMap<LogKey, (Seq, Duration)>,
    pub(super) heads_sent_at: Option<Duration>,
    /// The last digests that either end said on this session.
    pub(super) digest_said: Option<[u8; 32]>,
    pub(super) digest_heard: Option<[u8; 32]>,
    /// What the peer asked for before it was known how far back it may read.
    pub(super) wants_waiting: Vec<(LogName, Seq, Option<Seq>)>,
    /// Where each log ended when it was asked how far back a newcomer may read: what came later it
    /// gets in any case.
    pub(super) cut_asked: Option<BTreeMap<LogKey, Seq>>,
    /// In a room with a secret, for a peer that held nothing of it: the first entry of each log
    /// that it gets.
    pub(super) cut: Option<BTreeMap<LogKey, Seq>>,
}

impl Session {
    /// How many things are remembered on behalf of this session.
    pub(super) fn remembered(&self) -> usize {
        self.unwritten.len() + self.shared.values().map(Shared::remembered).sum::<usize>()
    }
}

impl Shared {
    /// Notes that the peer has told of a log, after all others.
    pub(super) fn told_of(&mut self, key: LogKey) {
        self.told += 1;
        self.told_order.entry(key).or_insert(self.told);
    }
}

impl Shared {
    fn remembered(&self) -> usize {
        let sets = self.follow.len() + self.receipts.len() + self.announcements.len();
        let lists = self.send_queue.len()
            + self.gap_asked.len()
            + self.wants_waiting.len()
            + self.told_order.len();
        told(&self.theirs)
            + told(&self.incoming)
            + told(&self.sent)
            + told(&self.asked)
            + sets
            + lists
    }
}

impl Replica {
    pub(super) fn session_up(&mut self, id: SessionId, peer: PeerId) {
        self.open_direct(peer);
        let session = Session {
            peer,
            shared: BTreeMap::new(),
            batches_outstanding: 0,
            frames_outstanding: 0,
            unwritten: VecDeque::new(),
            reading: false,
            unreadable: 0,
            turn: None,
            budget: Budget::new(self.now.mono),
            logs_told: 0,
            early: BTreeMap::new(),
            heard: true,
        };
        self.sessions.insert(id, session);
        self.share(id, ConversationId::direct(self.me, peer));
    }

    pub(super) fn session_rooms(&mut self, id: SessionId, rooms: &BTreeSet<ConversationId>) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let direct = ConversationId::direct(self.me, session.peer);
        let before: BTreeSet<_> = session
            .shared
            .keys()
            .copied()
            .filter(|conversation| *conversation != direct)
            .collect();
        for left in before.difference(rooms) {
            self.unshare(id, *left, true);
        }
        for joined in rooms.difference(&before) {
            if self.conversations.contains_key(joined) {
                self.share(id, *joined);
            }
        }
    }

    pub(super) fn session_down(&mut self, id: SessionId, goodbye: bool) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        for conversation in session.shared.keys().copied().collect::<Vec<_>>() {
            self.unshare(id, conversation, goodbye);
        }
        self.sessions.remove(&id);
    }

    pub(super) fn confirmed(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.heard = true;
        let peer = session.peer;
        for conversation_id in session.shared.keys().copied().collect::<Vec<_>>() {
            let Some(conversation) = self.conversations.get_mut(&conversation_id) else {
                continue;
            };
            let grown = conversation.audiences.confirmed(peer);
            if grown.is_empty() {
                continue;
            }
            let wall_ms = self.now.wall_ms;
            let ops = grown.iter().map(|id| {
                Op::Audience(conversation.audiences.record(*id, conversation_id, wall_ms))
            });
            let ops = ops.collect();
            self.commit(ops, Vec::new());
            self.offer_own(id, conversation_id);
            self.announce_all(id, conversation_id);
        }
    }

    fn share(&mut self, id: SessionId, conversation_id: ConversationId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else {
            return;
        };
        session.shared.insert(conversation_id, Shared::default());
        if conversation.is_open_room() {
            conversation.audiences.came(session.peer, session.heard);
            self.lingerers_unsaved.insert(conversation_id);
            self.arm(Timer::Acks, super::ACKS_EVERY);
        }
        self.send_digest(id, conversation_id);
        let early = self
            .sessions
            .get_mut(&id)
            .and_then(|session| session.early.remove(&conversation_id));
        if let Some(digest) = early {
            // It is shared now, so it is taken.
            let _ = self.digest(id, conversation_id, digest);
        }
    }

    fn unshare(&mut self, id: SessionId, conversation_id: ConversationId, goodbye: bool) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(shared) = session.shared.remove(&conversation_id) else {
            return;
        };
        session.logs_told -= told(&shared.theirs).min(session.logs_told);
        let peer = session.peer;
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else {
            return;
        };
        let sources = &mut conversation.sources;
        let orphaned = sources.iter().filter(|(_, source)| **source == id);
        let orphaned: Vec<_> = orphaned.map(|(&author, _)| author).collect();
        sources.retain(|_, source| *source != id);
        if conversation.is_open_room() {
            conversation.audiences.went(peer, goodbye, self.now);
            self.lingerers_unsaved.insert(conversation_id);
            self.arm(Timer::Acks, super::ACKS_EVERY);
        }
        for author in orphaned {
            self.request_missing_of(conversation_id, author);
        }
        self.request_missing_of(conversation_id, peer);
    }

    pub(super) fn frame(&mut self, id: SessionId, frame: Frame) {
        let taken = match frame {
            Frame::Digest(conversation, digest) => self.digest(id, conversation, digest),
            Frame::Heads {
                conversation,
                more,
                authors,
            } => self.heads(id, conversation, more, authors),
            Frame::Have(name, ranges) => self.have(id, name, &ranges),
            Frame::Want { name, from, to } => self.want(id, name, from, to),
            Frame::Prune(conversation, author) => self.prune(id, conversation, author),
            Frame::Conflict(name) => self.told_of_conflict(id, name),
            Frame::Unknown(_) => Ok(()),
            Frame::Hello(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Profile(_)
            | Frame::Candidates(_)
            | Frame::DialBack(_)
            | Frame::Called(_)
            | Frame::Batch(_)
            | Frame::Offer(..) => Err(Refusal::Misplaced),
        };
        if let Err(refusal) = taken
            && self.sessions.contains_key(&id)
        {
            self.outputs.push_back(Output::Refused(id, refusal));
        }
    }

    pub(super) fn send(&mut self, id: SessionId, frame: &Frame) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let bytes = frame.encode();
        session.frames_outstanding += bytes.len();
        self.outputs.push_back(Output::Send(id, bytes));
    }

    pub(super) fn frames_written(&mut self, id: SessionId, bytes: usize) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.frames_outstanding = session.frames_outstanding.saturating_sub(bytes);
        }
    }

    pub(super) fn may_say_more(&self, id: SessionId) -> bool {
        self.sessions
            .get(&id)
            .is_some_and(|session| session.frames_outstanding < FRAMES_OUTSTANDING_MAX)
    }
}

/// How many logs, and ranges of them, these are.
pub(super) fn told(theirs: &BTreeMap<LogKey, Ranges>) -> usize {
    theirs
        .values()
        .map(|ranges| 1 + ranges.iter().count())
        .sum()
}

pub(super) fn ranges_of(map: &BTreeMap<LogKey, Ranges>, key: &LogKey) -> Ranges {
    map.get(key).cloned().unwrap_or_default()
}
