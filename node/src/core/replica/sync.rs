//! What two ends tell each other of what they hold, and what each asks for.
//!
//! A session starts with a digest per shared conversation; where the digests differ, heads follow. After that, `have` frames
//! keep the picture current: they are the receipts, and the news that there is something to ask for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hobnob_protocol::frame::{FRAME_MAX, ROOMS_MAX};
use hobnob_protocol::ranges::RANGES_MAX;
use hobnob_protocol::{ConversationId, Frame, LogId, LogName, PeerId, Ranges, Seq};

#[cfg(feature = "faults")]
use super::faults::Fault;
use super::receive::{Budget, Refusal};
use super::serve::Todo;
use super::{ANNOUNCE_EVERY, ANTI_ENTROPY_EVERY, Conversation, LogKey, Output, Patience, Replica, Timer, shared_mut};
use crate::core::SessionId;
use crate::core::durable::{ConversationKind, Op};
use hobnob_protocol::frame::AuthorHeads;

/// How long a session that was asked for entries may send nothing of them before another one is asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// Logs, and ranges of them, that one session may tell of, over all conversations. Of further ones nothing is remembered until the
/// next session, and of a log in many pieces only the newest piece.
pub const LOGS_TOLD_MAX: usize = 20_000;

/// Bytes of frames that are written to nobody's stream yet, above which a session is told only what it must be.
pub(super) const FRAMES_OUTSTANDING_MAX: usize = 256 * 1024;

/// Heads are not repeated to one session within this time.
const HEADS_EVERY: Duration = Duration::from_secs(5);

/// Stands for "and all that follows" in what was asked for; no entry has this number.
const SEQ_OPEN_END: Seq = Seq::MAX - 2;

/// Wants of a newcomer that are kept until it is known how far back it may read; further ones are dropped, and asked again.
const WANTS_WAITING_MAX: usize = 1024;

/// Encoded size of one log with one range in a Heads frame, at most; and of an author.
const HEAD_BYTES_MAX: usize = 9 + 3 + 18;
const AUTHOR_BYTES_MAX: usize = 32 + 9;

/// A session as the replica sees it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: PeerId,
    pub(super) shared: BTreeMap<ConversationId, Shared>,
    /// Bytes of batches handed out and not yet written.
    pub(super) batches_outstanding: usize,
    /// Bytes of other frames handed out and not yet written.
    pub(super) frames_outstanding: usize,
    /// Own entries among the batches outstanding: said to be sent when that many bytes more are written.
    pub(super) unwritten: VecDeque<(usize, Option<(LogName, Seq, Seq)>)>,
    /// Whether the store was asked for batches and has not answered, or is to be asked again.
    pub(super) reading: bool,
    /// How often in a row the store could not read what this session is to be sent.
    pub(super) unreadable: u32,
    /// Whose logs were served last: the next in turn comes next.
    pub(super) turn: Option<(ConversationId, PeerId)>,
    pub(super) budget: Budget,
    /// How many logs, and ranges of them, the peer has told of.
    logs_told: usize,
    /// Digests of rooms that came before this end knew that it shares them.
    early: BTreeMap<ConversationId, [u8; 32]>,
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
    told_order: BTreeMap<LogKey, u64>,
    /// How many logs it has ever told of.
    told: u64,
    /// Heads that came so far of a list that goes on.
    incoming: BTreeMap<LogKey, Ranges>,
    /// How many logs and ranges of them that list has had.
    incoming_told: usize,
    /// What is still to be sent.
    pub(super) todo: BTreeMap<PeerId, Todo>,
    /// What was sent on this session and need not be sent again unless it is asked for.
    pub(super) sent: BTreeMap<LogKey, Ranges>,
    /// Authors whose new entries go to this peer as they come.
    follow: BTreeSet<PeerId>,
    /// Logs that the peer is to be told of at once, and those that can wait for a moment.
    haves: BTreeSet<LogKey>,
    announcements: BTreeSet<LogKey>,
    /// What was asked for on this session.
    asked: BTreeMap<LogKey, Ranges>,
    pub(super) gap_asked: BTreeMap<LogKey, (Seq, Duration)>,
    heads_sent_at: Option<Duration>,
    /// What the peer asked for before it was known how far back it may read.
    wants_waiting: Vec<(LogName, Seq, Option<Seq>)>,
    /// Where each log ended when it was asked how far back a newcomer may read: what came later it gets in any case.
    cut_asked: Option<BTreeMap<LogKey, Seq>>,
    /// In a room with a secret, for a peer that held nothing of it: the first entry of each log that it gets.
    cut: Option<BTreeMap<LogKey, Seq>>,
}

#[cfg(feature = "faults")]
impl Session {
    /// How many things are remembered on behalf of this session.
    pub(super) fn kept(&self) -> usize {
        self.unwritten.len() + self.shared.values().map(Shared::kept).sum::<usize>()
    }
}

impl Shared {
    /// Notes that the peer has told of a log, after all others.
    fn told_of(&mut self, key: LogKey) {
        self.told += 1;
        self.told_order.entry(key).or_insert(self.told);
    }
}

#[cfg(feature = "faults")]
impl Shared {
    fn kept(&self) -> usize {
        let sets = self.follow.len() + self.haves.len() + self.announcements.len();
        let lists = self.todo.len() + self.gap_asked.len() + self.wants_waiting.len() + self.told_order.len();
        told(&self.theirs) + told(&self.incoming) + told(&self.sent) + told(&self.asked) + sets + lists
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
        let Some(session) = self.sessions.get(&id) else { return };
        let direct = ConversationId::direct(self.me, session.peer);
        let before: BTreeSet<_> = session.shared.keys().copied().filter(|conversation| *conversation != direct).collect();
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
        let Some(session) = self.sessions.get(&id) else { return };
        for conversation in session.shared.keys().copied().collect::<Vec<_>>() {
            self.unshare(id, conversation, goodbye);
        }
        self.sessions.remove(&id);
    }

    pub(super) fn confirmed(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.heard = true;
        let peer = session.peer;
        for conversation_id in session.shared.keys().copied().collect::<Vec<_>>() {
            let Some(conversation) = self.conversations.get_mut(&conversation_id) else { continue };
            let grown = conversation.audiences.confirmed(peer);
            if grown.is_empty() {
                continue;
            }
            let wall_ms = self.now.wall_ms;
            let ops = grown.iter().map(|id| Op::Audience(conversation.audiences.record(*id, conversation_id, wall_ms)));
            let ops = ops.collect();
            self.commit(ops, Vec::new());
            self.offer_own(id, conversation_id);
            self.announce_all(id, conversation_id);
        }
    }

    fn share(&mut self, id: SessionId, conversation_id: ConversationId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else { return };
        session.shared.insert(conversation_id, Shared::default());
        if conversation.is_open_room() {
            conversation.audiences.came(session.peer, session.heard);
            self.lingerers_unsaved.insert(conversation_id);
            self.arm(Timer::Acks, super::ACKS_EVERY);
        }
        self.send_digest(id, conversation_id);
        let early = self.sessions.get_mut(&id).and_then(|session| session.early.remove(&conversation_id));
        if let Some(digest) = early {
            // It is shared now, so it is taken.
            let _ = self.digest(id, conversation_id, digest);
        }
    }

    fn unshare(&mut self, id: SessionId, conversation_id: ConversationId, goodbye: bool) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(shared) = session.shared.remove(&conversation_id) else { return };
        session.logs_told -= told(&shared.theirs).min(session.logs_told);
        let peer = session.peer;
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else { return };
        let orphaned: Vec<_> = conversation.sources.extract_if(.., |_, source| *source == id).map(|(author, _)| author).collect();
        if conversation.is_open_room() {
            #[cfg(feature = "faults")]
            let goodbye = goodbye && self.fault != Some(Fault::GoodbyeIgnored);
            conversation.audiences.went(peer, goodbye, self.now);
            self.lingerers_unsaved.insert(conversation_id);
            self.arm(Timer::Acks, super::ACKS_EVERY);
        }
        for author in orphaned {
            self.consider_author(conversation_id, author);
        }
        self.consider_author(conversation_id, peer);
    }

    pub(super) fn frame(&mut self, id: SessionId, frame: Frame) {
        let taken = match frame {
            Frame::Digest(conversation, digest) => self.digest(id, conversation, digest),
            Frame::Heads { conversation, more, authors } => self.heads(id, conversation, more, authors),
            Frame::Have(name, ranges) => self.have(id, name, &ranges),
            Frame::Want { name, from, to } => self.want(id, name, from, to),
            Frame::Prune(conversation, author) => self.prune(id, conversation, author),
            Frame::Conflict(name) => self.told_of_conflict(id, name),
            Frame::Unknown(_) => Ok(()),
            Frame::Hello(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Profile(_) | Frame::Batch(_) => Err(Refusal::Misplaced),
        };
        if let Err(refusal) = taken
            && self.sessions.contains_key(&id)
        {
            self.outputs.push_back(Output::Refused(id, refusal));
        }
    }

    pub(super) fn send(&mut self, id: SessionId, frame: &Frame) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
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
        self.sessions.get(&id).is_some_and(|session| session.frames_outstanding < FRAMES_OUTSTANDING_MAX)
    }

    // Digests and heads.

    fn authors_heads(&self, id: SessionId, conversation_id: ConversationId) -> Option<Vec<AuthorHeads>> {
        let peer = self.sessions.get(&id)?.peer;
        let conversation = self.conversations.get(&conversation_id)?;
        let mut authors: Vec<AuthorHeads> = Vec::new();
        let cut = self.sessions.get(&id)?.shared.get(&conversation_id).and_then(|shared| shared.cut.as_ref());
        for (key, mut ranges) in conversation.offer(peer) {
            if let Some(&first) = cut.and_then(|cut| cut.get(&key)) {
                ranges.remove(1, first.saturating_sub(1));
            }
            if ranges.is_empty() {
                continue;
            }
            if authors.last().is_none_or(|last| last.author != key.author) {
                authors.push(AuthorHeads { author: key.author, logs: Vec::new() });
            }
            authors.last_mut().expect("pushed above").logs.push((key.log, ranges.for_frame()));
        }
        Some(authors)
    }

    fn send_digest(&mut self, id: SessionId, conversation: ConversationId) {
        if let Some(heads) = self.authors_heads(id, conversation) {
            self.send(id, &Frame::Digest(conversation, AuthorHeads::digest(&heads)));
        }
    }

    fn digest(&mut self, id: SessionId, conversation_id: ConversationId, digest: [u8; 32]) -> Result<(), Refusal> {
        let session = self.sessions.get_mut(&id).ok_or(Refusal::NotShared)?;
        if !session.shared.contains_key(&conversation_id) {
            // The peer may know already what this end is about to learn: that both are in the room.
            if session.early.len() < ROOMS_MAX {
                session.early.insert(conversation_id, digest);
            }
            return Err(Refusal::NotShared);
        }
        let heads = self.authors_heads(id, conversation_id).ok_or(Refusal::NotShared)?;
        if digest == AuthorHeads::digest(&[]) {
            self.view_is_known(id, conversation_id, BTreeMap::new());
        }
        if AuthorHeads::digest(&heads) != digest {
            // A newcomer hears of what it may have once that is known.
            if self.is_ready(id, conversation_id) || digest != AuthorHeads::digest(&[]) {
                self.send_heads(id, conversation_id, heads);
            }
            return Ok(());
        }
        // The peer holds what the digest was made of, and no more is known: not what was kept from it or left out of a frame.
        let same = heads
            .into_iter()
            .flat_map(|AuthorHeads { author, logs }| logs.into_iter().map(move |(log, ranges)| (LogKey { author, log }, ranges)));
        let same = same.collect();
        self.view_is_known(id, conversation_id, same);
        Ok(())
    }

    fn send_heads(&mut self, id: SessionId, conversation: ConversationId, heads: Vec<AuthorHeads>) {
        let now = self.now.mono;
        if !self.may_say_more(id) {
            return;
        }
        if let Some(shared) = shared_mut(&mut self.sessions, id, conversation) {
            shared.heads_sent_at = Some(now);
        }
        let mut frames = split_heads(self.in_order(conversation, heads));
        let last = frames.pop().unwrap_or_default();
        for authors in frames {
            self.send(id, &Frame::Heads { conversation, more: true, authors });
        }
        self.send(id, &Frame::Heads { conversation, more: false, authors: last });
    }

    /// Heads in the order in which each author's logs began; a digest is made of them in the order of their names.
    fn in_order(&self, conversation_id: ConversationId, mut heads: Vec<AuthorHeads>) -> Vec<AuthorHeads> {
        let Some(conversation) = self.conversations.get(&conversation_id) else { return heads };
        for AuthorHeads { author, logs } in &mut heads {
            logs.sort_by_key(|(log, _)| conversation.ordinal(&LogKey { author: *author, log: *log }));
        }
        heads
    }

    fn heads(
        &mut self,
        id: SessionId,
        conversation_id: ConversationId,
        more: bool,
        authors: Vec<AuthorHeads>,
    ) -> Result<(), Refusal> {
        let conversation = self.conversations.get(&conversation_id).ok_or(Refusal::NotShared)?;
        let me = self.me;
        let shared = shared_mut(&mut self.sessions, id, conversation_id).ok_or(Refusal::NotShared)?;
        for AuthorHeads { author, logs } in authors {
            if !conversation.may_author(me, author) {
                return Err(Refusal::NotAnAuthor);
            }
            for (log, ranges) in logs {
                shared.incoming_told += 1 + ranges.iter().count();
                if shared.incoming_told > LOGS_TOLD_MAX {
                    return Err(Refusal::Misplaced);
                }
                let key = LogKey { author, log };
                shared.told_of(key);
                shared.incoming.insert(key, ranges);
            }
        }
        if more {
            return Ok(());
        }
        let theirs = std::mem::take(&mut shared.incoming);
        shared.incoming_told = 0;
        let answered = shared.heads_sent_at.is_some_and(|at| self.now.mono - at < HEADS_EVERY);
        self.view_is_known(id, conversation_id, theirs);
        if !answered && let Some(heads) = self.authors_heads(id, conversation_id) {
            self.send_heads(id, conversation_id, heads);
        }
        Ok(())
    }

    /// The peer's holdings of a conversation are known: take the receipts in them, send what is ours to send, ask for the rest.
    fn view_is_known(&mut self, id: SessionId, conversation_id: ConversationId, theirs: BTreeMap<LogKey, Ranges>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let peer = session.peer;
        let Some(shared) = session.shared.get_mut(&conversation_id) else { return };
        let first_view = !std::mem::replace(&mut shared.ready, true);
        let newcomer = first_view && theirs.is_empty();
        session.logs_told = (session.logs_told + told(&theirs)).saturating_sub(told(&shared.theirs));
        shared.theirs = theirs;
        shared.told_order.retain(|key, _| shared.theirs.contains_key(key));
        let own: Vec<_> = shared.theirs.iter().filter(|(key, _)| key.author == self.me).map(|(k, r)| (*k, r.clone())).collect();
        for (key, ranges) in own {
            let name = LogName { conversation: conversation_id, author: key.author, log: key.log };
            self.acked(name, peer, &ranges);
        }
        if first_view {
            self.author_pushes_now(id, conversation_id, peer);
        }
        if newcomer && self.keeps_history_from_newcomers(conversation_id) {
            return self.ask_for_cut(id, conversation_id);
        }
        self.serve_wants_that_waited(id, conversation_id);
        self.offer_own(id, conversation_id);
        self.consider_all(conversation_id);
    }

    /// Until it is known how far back a newcomer may read, nothing is sent to it.
    fn ask_for_cut(&mut self, id: SessionId, conversation_id: ConversationId) {
        let Some(conversation) = self.conversations.get(&conversation_id) else { return };
        let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id) else { return };
        shared.ready = false;
        if shared.cut_asked.is_some() {
            return;
        }
        let ends = conversation.logs.iter().filter_map(|(key, log)| log.durable().last().map(|last| (*key, last)));
        shared.cut_asked = Some(ends.collect());
        let since_ms = self.now.wall_ms.saturating_sub(super::NEWCOMER_AGE_MS);
        self.outputs.push_back(Output::FindNewcomerCut { session: id, conversation: conversation_id, since_ms });
    }

    fn serve_wants_that_waited(&mut self, id: SessionId, conversation_id: ConversationId) {
        let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id) else { return };
        for (name, from, to) in std::mem::take(&mut shared.wants_waiting) {
            // Whatever was refused in it was refused with the same words before.
            let _ = self.want(id, name, from, to);
        }
    }

    fn is_ready(&self, id: SessionId, conversation: ConversationId) -> bool {
        let shared = self.sessions.get(&id).and_then(|session| session.shared.get(&conversation));
        shared.is_some_and(|shared| shared.ready)
    }

    fn keeps_history_from_newcomers(&self, conversation: ConversationId) -> bool {
        self.conversations.get(&conversation).is_some_and(|it| it.is_closed_room() && !it.logs.is_empty())
    }

    pub(super) fn newcomer_cut(&mut self, id: SessionId, conversation_id: ConversationId, cut: &BTreeMap<LogName, Seq>) {
        let Some(conversation) = self.conversations.get(&conversation_id) else { return };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let peer = session.peer;
        let Some(shared) = session.shared.get_mut(&conversation_id) else { return };
        let Some(asked) = shared.cut_asked.take() else { return };
        let first_of = |key: &LogKey, last: Seq| cut.get(&conversation.name(key)).copied().unwrap_or(last + 1);
        // Its own entries, which it has lost, it gets back whole.
        let of_others = asked.into_iter().filter(|(key, _)| key.author != peer);
        shared.cut = Some(of_others.map(|(key, last)| (key, first_of(&key, last))).collect());
        shared.ready = true;
        self.offer_own(id, conversation_id);
        if let Some(heads) = self.authors_heads(id, conversation_id) {
            self.send_heads(id, conversation_id, heads);
        }
        self.serve_wants_that_waited(id, conversation_id);
        self.consider_all(conversation_id);
    }

    /// What of a log may be sent on this session.
    pub(super) fn may_send(&self, id: SessionId, conversation_id: ConversationId, key: &LogKey) -> Ranges {
        let (Some(session), Some(conversation)) = (self.sessions.get(&id), self.conversations.get(&conversation_id)) else {
            return Ranges::new();
        };
        let (Some(shared), Some(log)) = (session.shared.get(&conversation_id), conversation.logs.get(key)) else {
            return Ranges::new();
        };
        let mut offer = conversation.offer_of(session.peer, key, log);
        #[cfg(feature = "faults")]
        if self.has(Fault::SkippingCursor) {
            offer.remove(3, 3);
        }
        if let Some(&first) = shared.cut.as_ref().and_then(|cut| cut.get(key)) {
            offer.remove(1, first.saturating_sub(1));
        }
        offer
    }

    /// Puts on the list of a session all of our own entries that the peer may have and lacks.
    fn offer_own(&mut self, id: SessionId, conversation_id: ConversationId) {
        let Some(conversation) = self.conversations.get(&conversation_id) else { return };
        let history_is_cut = conversation.is_closed_room();
        let own: Vec<_> =
            conversation.logs.iter().filter(|(key, _)| key.author == self.me).map(|(key, log)| (*key, log.ordinal)).collect();
        for (key, ordinal) in own {
            let offer = self.may_send(id, conversation_id, &key);
            let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id).filter(|shared| shared.ready) else { return };
            let theirs = ranges_of(&shared.theirs, &key);
            let mut lacks = offer.minus(&theirs).minus(&ranges_of(&shared.sent, &key));
            if history_is_cut {
                lacks.remove(1, theirs.first().unwrap_or(1) - 1);
            }
            shared.todo.entry(key.author).or_default().add(ordinal, key.log, &lacks);
        }
        self.serve(id);
    }

    // News of entries.

    /// Entries are on disk: those who are to get them get them, everybody else hears of them.
    pub(super) fn pass_on(
        &mut self,
        name: LogName,
        first: Seq,
        last: Seq,
        audience: crate::core::durable::AudienceId,
        from: Option<SessionId>,
    ) {
        let key = LogKey { author: name.author, log: name.log };
        let Some(conversation) = self.conversations.get(&name.conversation) else { return };
        let ordinal = conversation.ordinal(&key);
        let (mut to_serve, mut announced) = (Vec::new(), false);
        for (&id, session) in &mut self.sessions {
            let peer = session.peer;
            let Some(shared) = session.shared.get_mut(&name.conversation) else { continue };
            if Some(id) == from || !conversation.may_have(peer, key.author, audience) {
                continue;
            }
            if peer == key.author {
                shared.haves.insert(key);
            } else if !shared.ready {
                // What the peer lacks of ours is worked out when its heads come; of the rest it hears in our heads, or now if
                // these are on their way.
                if key.author != self.me && shared.heads_sent_at.is_some() && shared.cut_asked.is_none() {
                    shared.announcements.insert(key);
                    announced = true;
                }
            } else if key.author == self.me || shared.follow.contains(&key.author) {
                let fresh =
                    Ranges::span(first, last).minus(&ranges_of(&shared.theirs, &key)).minus(&ranges_of(&shared.sent, &key));
                shared.todo.entry(key.author).or_default().add(ordinal, key.log, &fresh);
                to_serve.push(id);
            } else {
                shared.announcements.insert(key);
                announced = true;
            }
        }
        if announced {
            self.arm(Timer::Announce, ANNOUNCE_EVERY);
        }
        to_serve.into_iter().for_each(|id| self.serve(id));
    }

    /// The peer is to hear what we have of this log, soon.
    pub(super) fn owe_have(&mut self, id: SessionId, name: LogName) {
        if let Some(shared) = shared_mut(&mut self.sessions, id, name.conversation) {
            shared.haves.insert(LogKey { author: name.author, log: name.log });
        }
    }

    /// Says the haves that are owed, to sessions that keep reading.
    pub(super) fn say_haves(&mut self) {
        let mut owed = Vec::new();
        for (&id, session) in &mut self.sessions {
            if session.frames_outstanding >= FRAMES_OUTSTANDING_MAX {
                continue;
            }
            for (&conversation, shared) in &mut session.shared {
                owed.extend(std::mem::take(&mut shared.haves).into_iter().map(|key| (id, conversation, key)));
            }
        }
        self.sort_by_age(&mut owed);
        for (id, conversation, key) in owed {
            self.say_have(id, conversation, key);
        }
    }

    /// An older log is named before a newer one of the same author: in this order they will be asked for.
    fn sort_by_age(&self, logs: &mut [(SessionId, ConversationId, LogKey)]) {
        let age =
            |conversation: &ConversationId, key: &LogKey| self.conversations.get(conversation).map_or(0, |it| it.ordinal(key));
        logs.sort_by_key(|(id, conversation, key)| (*id, *conversation, age(conversation, key)));
    }

    /// Tells a peer what is on disk here of a log that it sent us, wrote, or may have.
    fn say_have(&mut self, id: SessionId, conversation_id: ConversationId, key: LogKey) {
        let name = LogName { conversation: conversation_id, author: key.author, log: key.log };
        let offer = self.may_send(id, conversation_id, &key);
        let Some(log) = self.conversations.get(&conversation_id).and_then(|c| c.logs.get(&key)) else { return };
        #[cfg(feature = "faults")]
        let early = self.fault == Some(Fault::AckBeforeCommit) && self.sessions.get(&id).is_some_and(|it| it.peer == key.author);
        #[cfg(feature = "faults")]
        let offer = if early { log.accepted().clone() } else { offer };
        let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id) else { return };
        // What the peer itself holds may be named to it, whoever was there when it came.
        let mut ranges = log.durable().intersect(&ranges_of(&shared.theirs, &key));
        ranges.insert_all(&offer);
        if !ranges.is_empty() {
            self.send(id, &Frame::Have(name, ranges));
        }
    }

    pub(super) fn announce(&mut self) {
        let mut due = Vec::new();
        for (&id, session) in &mut self.sessions {
            if session.frames_outstanding >= FRAMES_OUTSTANDING_MAX {
                continue;
            }
            for (&conversation, shared) in &mut session.shared {
                due.extend(std::mem::take(&mut shared.announcements).into_iter().map(|key| (id, conversation, key)));
            }
        }
        self.sort_by_age(&mut due);
        for (id, conversation, key) in due {
            let news = self.may_send(id, conversation, &key);
            let Some(shared) = shared_mut(&mut self.sessions, id, conversation) else { continue };
            // Who has it already, as it said itself, need not hear of it.
            if !news.minus(&ranges_of(&shared.theirs, &key)).is_empty() {
                self.say_have(id, conversation, key);
            }
        }
    }

    /// Tells a peer, soon, of all logs that are not ours: after its place in the room has become clear.
    fn announce_all(&mut self, id: SessionId, conversation_id: ConversationId) {
        let Some(conversation) = self.conversations.get(&conversation_id) else { return };
        let others: Vec<_> = conversation.logs.keys().filter(|key| key.author != self.me).copied().collect();
        if let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id) {
            shared.announcements.extend(others);
            self.arm(Timer::Announce, ANNOUNCE_EVERY);
        }
    }

    fn have(&mut self, id: SessionId, name: LogName, ranges: &Ranges) -> Result<(), Refusal> {
        let key = LogKey { author: name.author, log: name.log };
        let conversation = self.conversations.get(&name.conversation).ok_or(Refusal::NotShared)?;
        if !conversation.may_author(self.me, name.author) {
            return Err(Refusal::NotAnAuthor);
        }
        shared_mut(&mut self.sessions, id, name.conversation).ok_or(Refusal::NotShared)?;
        self.note_theirs(id, name, ranges);
        if name.author == self.me
            && let Some(peer) = self.sessions.get(&id).map(|session| session.peer)
        {
            self.acked(name, peer, ranges);
        }
        self.consider(id, name.conversation, key);
        Ok(())
    }

    /// Remembers that the peer holds these entries.
    pub(super) fn note_theirs(&mut self, id: SessionId, name: LogName, ranges: &Ranges) {
        let key = LogKey { author: name.author, log: name.log };
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let Some(shared) = session.shared.get_mut(&name.conversation) else { return };
        let known = shared.theirs.get(&key);
        let before = known.map_or(0, |ranges| 1 + ranges.iter().count());
        let mut theirs = known.cloned().unwrap_or_default();
        theirs.insert_all(ranges);
        let full = session.logs_told + ranges.iter().count() >= LOGS_TOLD_MAX;
        if full && known.is_none() {
            return;
        }
        if full || theirs.iter().count() > 4 * RANGES_MAX {
            // Holes without end are a liar's; what is forgotten is told again.
            let newest = theirs.iter().next_back();
            theirs = newest.map(|(first, last)| Ranges::span(first, last)).unwrap_or_default();
        }
        session.logs_told = (session.logs_told + 1 + theirs.iter().count()).saturating_sub(before);
        shared.told_of(key);
        shared.theirs.insert(key, theirs);
        if let Some(todo) = shared.todo.get_mut(&key.author) {
            todo.strike(key.log, ranges);
        }
    }

    // Asking.

    fn want(&mut self, id: SessionId, name: LogName, from: Seq, to: Option<Seq>) -> Result<(), Refusal> {
        let key = LogKey { author: name.author, log: name.log };
        let shared = shared_mut(&mut self.sessions, id, name.conversation).ok_or(Refusal::NotShared)?;
        if !shared.ready {
            if shared.wants_waiting.len() < WANTS_WAITING_MAX {
                shared.wants_waiting.push((name, from, to));
            }
            return Ok(());
        }
        let mut grant = self.may_send(id, name.conversation, &key);
        grant.remove(1, from.saturating_sub(1));
        if let Some(to) = to {
            grant = grant.intersect(&Ranges::span(from, to));
        }
        let conversation = self.conversations.get(&name.conversation).ok_or(Refusal::NotShared)?;
        // Nothing was said here of a log that is not held: whoever wants it makes it up, and nothing is noted down for it.
        let Some(ordinal) = conversation.logs.get(&key).map(|log| log.ordinal) else { return Ok(()) };
        let shared = shared_mut(&mut self.sessions, id, name.conversation).ok_or(Refusal::NotShared)?;
        // What the peer has said that it holds, it does not mean.
        let grant = grant.minus(&ranges_of(&shared.theirs, &key));
        if to.is_none() {
            shared.follow.insert(key.author);
        }
        shared.todo.entry(key.author).or_default().add(ordinal, key.log, &grant);
        self.serve(id);
        Ok(())
    }

    fn prune(&mut self, id: SessionId, conversation: ConversationId, author: PeerId) -> Result<(), Refusal> {
        let me = self.me;
        let shared = shared_mut(&mut self.sessions, id, conversation).ok_or(Refusal::NotShared)?;
        if author != me {
            shared.follow.remove(&author);
            shared.todo.remove(&author);
        }
        Ok(())
    }

    fn told_of_conflict(&mut self, id: SessionId, name: LogName) -> Result<(), Refusal> {
        shared_mut(&mut self.sessions, id, name.conversation).ok_or(Refusal::NotShared)?;
        // Only the author can have caused it; anybody else passed on in good faith what it was given.
        if name.author == self.me && name.log == LogId::of_run(self.run, &name.conversation) {
            return Err(Refusal::Impostor);
        }
        if let Some(shared) = shared_mut(&mut self.sessions, id, name.conversation)
            && let Some(todo) = shared.todo.get_mut(&name.author)
        {
            todo.strike(name.log, &Ranges::span(1, SEQ_OPEN_END));
        }
        Ok(())
    }

    /// What this session has of a log that we lack and would take.
    pub(super) fn lacks_from(&self, id: SessionId, conversation_id: ConversationId, key: &LogKey) -> Ranges {
        let shared = self.sessions.get(&id).and_then(|session| session.shared.get(&conversation_id));
        let Some(theirs) = shared.and_then(|shared| shared.theirs.get(key)) else { return Ranges::new() };
        let Some(conversation) = self.conversations.get(&conversation_id) else { return Ranges::new() };
        let own_run = key.author == self.me && key.log == LogId::of_run(self.run, &conversation_id);
        if own_run {
            return Ranges::new();
        }
        let Some(log) = conversation.logs.get(key) else { return theirs.clone() };
        let mut lacks = theirs.minus(log.accepted());
        if key.author != self.me && conversation.takes_nothing_older(key) {
            lacks.remove(1, log.accepted().first().unwrap_or(1) - 1);
        }
        lacks
    }

    /// Whether the author is at hand: it sends by itself what is ours to have. What it has lost, or what was not for us when it
    /// said it, is asked of somebody else when patience ends.
    fn author_may_send(&self, conversation_id: ConversationId, author: PeerId) -> bool {
        let of_author = self.sessions.values().filter(|session| session.peer == author);
        of_author.into_iter().any(|session| session.shared.contains_key(&conversation_id))
    }

    /// A session told of entries: ask it for what we lack, unless they come anyway.
    fn consider(&mut self, id: SessionId, conversation_id: ConversationId, key: LogKey) {
        let lacks = self.lacks_from(id, conversation_id, &key);
        if lacks.is_empty() {
            return;
        }
        let is_author = self.sessions.get(&id).is_some_and(|session| session.peer == key.author);
        if is_author || self.author_may_send(conversation_id, key.author) {
            self.be_patient(conversation_id, key.author);
            return;
        }
        let Some(conversation) = self.conversations.get(&conversation_id) else { return };
        let source = conversation.sources.get(&key.author).copied();
        let comes_from_elsewhere = source.is_some_and(|source| source != id);
        // A session that was asked for the open end of a log sends by itself what is new in it.
        let comes_from_here = source == Some(id) && self.asked(id, conversation.name(&key), SEQ_OPEN_END);
        if comes_from_elsewhere || comes_from_here {
            self.be_patient(conversation_id, key.author);
        } else {
            self.ask(id, conversation_id, key.author);
        }
    }

    fn consider_author(&mut self, conversation_id: ConversationId, author: PeerId) {
        for (id, key) in self.told(conversation_id, Some(author)) {
            self.consider(id, conversation_id, key);
        }
    }

    fn consider_all(&mut self, conversation_id: ConversationId) {
        for (id, key) in self.told(conversation_id, None) {
            self.consider(id, conversation_id, key);
        }
    }

    /// The logs of the same author that this session told of before this one.
    pub(super) fn older_logs(&self, id: SessionId, name: LogName) -> Vec<LogKey> {
        let shared = self.sessions.get(&id).and_then(|session| session.shared.get(&name.conversation));
        let Some(order) = shared.map(|shared| &shared.told_order) else { return Vec::new() };
        let Some(of_this) = order.get(&LogKey { author: name.author, log: name.log }) else { return Vec::new() };
        order.iter().filter(|(key, at)| key.author == name.author && *at < of_this).map(|(key, _)| *key).collect()
    }

    /// All logs that sessions have told of in this conversation, of one author or of all.
    fn told(&self, conversation_id: ConversationId, author: Option<PeerId>) -> Vec<(SessionId, LogKey)> {
        let mut told = Vec::new();
        for (id, session) in &self.sessions {
            let Some(shared) = session.shared.get(&conversation_id) else { continue };
            let keys = shared.theirs.keys().filter(|key| author.is_none_or(|author| key.author == author));
            told.extend(keys.map(|key| (*id, *key)));
        }
        told
    }

    /// Makes this session the source of an author's entries: asks it for all we lack and for what comes.
    fn ask(&mut self, id: SessionId, conversation_id: ConversationId, author: PeerId) {
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else { return };
        let former = conversation.sources.insert(author, id).filter(|former| *former != id);
        if let Some(former) = former {
            self.send(former, &Frame::Prune(conversation_id, author));
        }
        let mut logs: Vec<_> = self.told(conversation_id, Some(author)).into_iter().filter(|(told, _)| *told == id).collect();
        // What is asked for first comes first, and an author's logs are to come in their order.
        if let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id) {
            logs.sort_by_key(|(_, key)| shared.told_order.get(key));
        }
        for (_, key) in logs {
            let lacks = self.lacks_from(id, conversation_id, &key);
            self.want_ranges(id, LogName { conversation: conversation_id, author, log: key.log }, &lacks);
        }
        self.be_patient(conversation_id, author);
    }

    fn want_ranges(&mut self, id: SessionId, name: LogName, lacks: &Ranges) {
        let key = LogKey { author: name.author, log: name.log };
        let highest = lacks.last();
        for (from, last) in lacks.iter() {
            // The last range has no end: what follows it is wanted too.
            let to = (Some(last) != highest).then_some(last);
            if let Some(shared) = shared_mut(&mut self.sessions, id, name.conversation) {
                shared.asked.entry(key).or_default().insert(from, to.unwrap_or(SEQ_OPEN_END));
            }
            self.send(id, &Frame::Want { name, from, to });
        }
    }

    /// Whether this session was asked for that entry.
    pub(super) fn asked(&self, id: SessionId, name: LogName, seq: Seq) -> bool {
        let shared = self.sessions.get(&id).and_then(|session| session.shared.get(&name.conversation));
        let asked = shared.and_then(|shared| shared.asked.get(&LogKey { author: name.author, log: name.log }));
        asked.is_some_and(|asked| asked.contains(seq))
    }

    /// An author's own session is ready: it sends by itself, so that whoever did so in its stead can stop.
    fn author_pushes_now(&mut self, id: SessionId, conversation_id: ConversationId, author: PeerId) {
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else { return };
        if let Some(former) = conversation.sources.remove(&author).filter(|former| *former != id) {
            self.send(former, &Frame::Prune(conversation_id, author));
            if let Some(shared) = shared_mut(&mut self.sessions, former, conversation_id) {
                shared.asked.retain(|key, _| key.author != author);
            }
        }
    }

    // Patience.

    /// Something of this author is missing and should be on its way: if nothing comes for a while, another session is asked.
    pub(super) fn be_patient(&mut self, conversation_id: ConversationId, author: PeerId) {
        let until = self.now.mono + PATIENCE;
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else { return };
        conversation.patience.entry(author).or_insert(Patience { until, tries: 0 });
        self.arm(Timer::Patience, PATIENCE);
    }

    /// Something came: the wait for what may still be missing starts anew.
    pub(super) fn renew_patience(&mut self, conversation_id: ConversationId, author: PeerId) {
        let until = self.now.mono + PATIENCE;
        let patience = self.conversations.get_mut(&conversation_id).and_then(|c| c.patience.get_mut(&author));
        if let Some(patience) = patience {
            *patience = Patience { until, tries: 0 };
        }
    }

    pub(super) fn lose_patience(&mut self) {
        let now = self.now.mono;
        let mut lost = Vec::new();
        for (id, conversation) in &self.conversations {
            lost.extend(conversation.patience.iter().filter(|(_, p)| p.until <= now).map(|(author, _)| (*id, *author)));
        }
        for (conversation_id, author) in lost {
            self.ask_another(conversation_id, author);
        }
        let next = self.conversations.values().flat_map(|c| c.patience.values()).map(|p| p.until).min();
        if let Some(next) = next {
            self.arm(Timer::Patience, next.saturating_sub(now));
        }
    }

    fn ask_another(&mut self, conversation_id: ConversationId, author: PeerId) {
        let mut able: Vec<_> = self.told(conversation_id, Some(author));
        able.retain(|(id, key)| !self.lacks_from(*id, conversation_id, key).is_empty());
        let able: BTreeSet<_> = able.into_iter().map(|(id, _)| id).collect();
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else { return };
        let current = conversation.sources.get(&author).copied();
        let after_current = able.iter().find(|id| Some(**id) > current).copied();
        let Some(next) = after_current.or_else(|| able.first().copied()) else {
            conversation.patience.remove(&author);
            return;
        };
        let patience = conversation.patience.entry(author).or_insert(Patience { until: self.now.mono, tries: 0 });
        // Only a whole round in vain makes for a longer wait: one liar is not to keep us from those who have it.
        if after_current.is_none() {
            patience.tries = (patience.tries + 1).min(6);
        }
        patience.until = self.now.mono + PATIENCE * 2u32.pow(patience.tries);
        if self.may_say_more(next) {
            self.ask(next, conversation_id, author);
        }
    }

    /// Compares digests with one random member of each conversation that has any.
    pub(super) fn compare_notes(&mut self) {
        self.arm(Timer::AntiEntropy, ANTI_ENTROPY_EVERY);
        let rooms: Vec<_> =
            self.conversations.iter().filter(|(_, conversation)| !conversation.is_direct()).map(|(id, _)| *id).collect();
        for conversation in rooms {
            let members: Vec<_> =
                self.sessions.iter().filter(|(_, s)| s.shared.contains_key(&conversation)).map(|(id, _)| *id).collect();
            if members.is_empty() {
                continue;
            }
            let at = usize::try_from(self.rng.below(members.len() as u64)).expect("below a length");
            if self.may_say_more(members[at]) {
                self.send_digest(members[at], conversation);
            }
        }
    }
}

impl Conversation {
    /// Whether entries below the first held are not wanted: members of a room with a secret hold a log from some entry on, and
    /// what a full room has let go of is not fetched again.
    pub(super) fn takes_nothing_older(&self, key: &LogKey) -> bool {
        match self.record.kind {
            ConversationKind::Direct(_) => false,
            ConversationKind::Room { open: false, .. } => true,
            ConversationKind::Room { open: true, .. } => {
                self.entries.get(&key.author).is_some_and(|held| *held >= super::ROOM_ENTRIES_PER_AUTHOR_MAX)
            }
        }
    }
}

/// How many logs, and ranges of them, these are.
fn told(theirs: &BTreeMap<LogKey, Ranges>) -> usize {
    theirs.values().map(|ranges| 1 + ranges.iter().count()).sum()
}

pub(super) fn ranges_of(map: &BTreeMap<LogKey, Ranges>, key: &LogKey) -> Ranges {
    map.get(key).cloned().unwrap_or_default()
}

/// Cuts heads into lists that fit a frame each.
fn split_heads(heads: Vec<AuthorHeads>) -> Vec<Vec<AuthorHeads>> {
    let mut frames = vec![Vec::<AuthorHeads>::new()];
    let mut room = FRAME_MAX / 2;
    for AuthorHeads { author, logs } in heads {
        for (log, ranges) in logs {
            let bytes = HEAD_BYTES_MAX + AUTHOR_BYTES_MAX + 18 * ranges.iter().count();
            if bytes > room {
                frames.push(Vec::new());
                room = FRAME_MAX / 2;
            }
            room -= bytes;
            push_head(frames.last_mut().expect("never empty"), author, log, ranges);
        }
    }
    frames
}

fn push_head(frame: &mut Vec<AuthorHeads>, author: PeerId, log: LogId, ranges: Ranges) {
    match frame.last_mut().filter(|last| last.author == author) {
        Some(last) => last.logs.push((log, ranges)),
        None => frame.push(AuthorHeads { author, logs: vec![(log, ranges)] }),
    }
}
