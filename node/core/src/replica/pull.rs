//! Requests for missing entries, in both directions: which session is asked, when the next one is
//! tried, and which entries a peer gets when it asks.

use std::collections::BTreeSet;
use std::time::Duration;

use hobnob_protocol::{ConversationId, Frame, LogId, LogName, PeerId, Ranges, Seq};

use super::receive::Refusal;
use super::sync::ranges_of;
use super::{ANTI_ENTROPY_EVERY, Conversation, LogKey, PullRetry, Replica, Timer, shared_mut};
use crate::SessionId;
use crate::commit::ConversationKind;

/// If a session that was asked for entries sends none of them for this long, another session is
/// asked.
const PULL_RETRY_AFTER: Duration = Duration::from_secs(1);

/// Means "and all that follow" in a request. No entry has this number.
const SEQ_OPEN_END: Seq = Seq::MAX - 2;

/// Requests of a newcomer that wait until the store has answered how far back it may read. Further
/// requests are dropped; the newcomer repeats them.
const WANTS_WAITING_MAX: usize = 1024;

impl Replica {
    pub(super) fn want(
        &mut self,
        id: SessionId,
        name: LogName,
        from: Seq,
        to: Option<Seq>,
    ) -> Result<(), Refusal> {
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let shared =
            shared_mut(&mut self.sessions, id, name.conversation).ok_or(Refusal::NotShared)?;
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
        let conversation = self
            .conversations
            .get(&name.conversation)
            .ok_or(Refusal::NotShared)?;
        // This replica never announces a log that it does not hold. A request for one is made up,
        // so nothing is stored for it.
        let Some(ordinal) = conversation.logs.get(&key).map(|log| log.ordinal) else {
            return Ok(());
        };
        let shared =
            shared_mut(&mut self.sessions, id, name.conversation).ok_or(Refusal::NotShared)?;
        // The request does not cover entries that the peer has announced itself.
        let grant = grant.minus(&ranges_of(&shared.theirs, &key));
        if to.is_none() {
            shared.follow.insert(key.author);
        }
        shared
            .send_queue
            .entry(key.author)
            .or_default()
            .add(ordinal, key.log, &grant);
        self.serve(id);
        Ok(())
    }

    pub(super) fn prune(
        &mut self,
        id: SessionId,
        conversation: ConversationId,
        author: PeerId,
    ) -> Result<(), Refusal> {
        let me = self.me;
        let shared = shared_mut(&mut self.sessions, id, conversation).ok_or(Refusal::NotShared)?;
        if author != me {
            shared.follow.remove(&author);
            shared.send_queue.remove(&author);
        }
        Ok(())
    }

    pub(super) fn told_of_conflict(&mut self, id: SessionId, name: LogName) -> Result<(), Refusal> {
        shared_mut(&mut self.sessions, id, name.conversation).ok_or(Refusal::NotShared)?;
        // Only the author can cause a conflict. Everybody else forwarded what it had received.
        if name.author == self.me && name.log == LogId::of_run(self.run, &name.conversation) {
            return Err(Refusal::IdentityReused);
        }
        if let Some(shared) = shared_mut(&mut self.sessions, id, name.conversation)
            && let Some(send_queue) = shared.send_queue.get_mut(&name.author)
        {
            send_queue.strike(name.log, &Ranges::span(1, SEQ_OPEN_END));
        }
        Ok(())
    }

    /// The entries of a log that this session has, and that this replica lacks and would accept.
    pub(super) fn lacks_from(
        &self,
        id: SessionId,
        conversation_id: ConversationId,
        key: &LogKey,
    ) -> Ranges {
        let shared = self
            .sessions
            .get(&id)
            .and_then(|session| session.shared.get(&conversation_id));
        let Some(theirs) = shared.and_then(|shared| shared.theirs.get(key)) else {
            return Ranges::new();
        };
        let Some(conversation) = self.conversations.get(&conversation_id) else {
            return Ranges::new();
        };
        let own_run = key.author == self.me && key.log == LogId::of_run(self.run, &conversation_id);
        if own_run || self.is_blocked(key.author) {
            return Ranges::new();
        }
        let Some(log) = conversation.logs.get(key) else {
            return theirs.clone();
        };
        let mut lacks = theirs.minus(log.accepted());
        if key.author != self.me && conversation.takes_nothing_older(key) {
            lacks.remove(1, log.accepted().first().unwrap_or(1) - 1);
        }
        lacks
    }

    /// Whether the author is connected. It then sends by itself all entries that are meant for this
    /// node. Entries that it lost are requested from another session when the retry is due.
    fn author_may_send(&self, conversation_id: ConversationId, author: PeerId) -> bool {
        let of_author = self
            .sessions
            .values()
            .filter(|session| session.peer == author);
        of_author
            .into_iter()
            .any(|session| session.shared.contains_key(&conversation_id))
    }

    /// A session announced entries. Requests those that are missing, unless they will arrive anyway.
    pub(super) fn request_missing(
        &mut self,
        id: SessionId,
        conversation_id: ConversationId,
        key: LogKey,
    ) {
        let lacks = self.lacks_from(id, conversation_id, &key);
        if lacks.is_empty() {
            return;
        }
        let is_author = self
            .sessions
            .get(&id)
            .is_some_and(|session| session.peer == key.author);
        if is_author || self.author_may_send(conversation_id, key.author) {
            self.schedule_retry(conversation_id, key.author);
            return;
        }
        let Some(conversation) = self.conversations.get(&conversation_id) else {
            return;
        };
        let source = conversation.sources.get(&key.author).copied();
        let comes_from_elsewhere = source.is_some_and(|source| source != id);
        // A session that was asked for the open end of a log sends by itself what is new in it.
        let comes_from_here =
            source == Some(id) && self.asked(id, conversation.name(&key), SEQ_OPEN_END);
        if comes_from_elsewhere || comes_from_here {
            self.schedule_retry(conversation_id, key.author);
        } else {
            self.ask(id, conversation_id, key.author);
        }
    }

    pub(super) fn request_missing_of(&mut self, conversation_id: ConversationId, author: PeerId) {
        for (id, key) in self.told(conversation_id, Some(author)) {
            self.request_missing(id, conversation_id, key);
        }
    }

    pub(super) fn request_all_missing(&mut self, conversation_id: ConversationId) {
        for (id, key) in self.told(conversation_id, None) {
            self.request_missing(id, conversation_id, key);
        }
    }

    /// The logs of the same author that this session announced before this log.
    pub(super) fn older_logs(&self, id: SessionId, name: LogName) -> Vec<LogKey> {
        let shared = self
            .sessions
            .get(&id)
            .and_then(|session| session.shared.get(&name.conversation));
        let Some(order) = shared.map(|shared| &shared.told_order) else {
            return Vec::new();
        };
        let Some(of_this) = order.get(&LogKey {
            author: name.author,
            log: name.log,
        }) else {
            return Vec::new();
        };
        order
            .iter()
            .filter(|(key, at)| key.author == name.author && *at < of_this)
            .map(|(key, _)| *key)
            .collect()
    }

    /// All logs of a conversation that sessions have announced, by one author or by all.
    fn told(
        &self,
        conversation_id: ConversationId,
        author: Option<PeerId>,
    ) -> Vec<(SessionId, LogKey)> {
        let mut told = Vec::new();
        for (id, session) in &self.sessions {
            let Some(shared) = session.shared.get(&conversation_id) else {
                continue;
            };
            let keys = shared
                .theirs
                .keys()
                .filter(|key| author.is_none_or(|author| key.author == author));
            told.extend(keys.map(|key| (*id, *key)));
        }
        told
    }

    /// Makes this session the source of an author's entries: requests all missing ones and all
    /// later ones.
    fn ask(&mut self, id: SessionId, conversation_id: ConversationId, author: PeerId) {
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else {
            return;
        };
        let former = conversation
            .sources
            .insert(author, id)
            .filter(|former| *former != id);
        if let Some(former) = former {
            self.send(former, &Frame::Prune(conversation_id, author));
        }
        let mut logs: Vec<_> = self
            .told(conversation_id, Some(author))
            .into_iter()
            .filter(|(told, _)| *told == id)
            .collect();
        // The peer answers in the order of the requests, and an author's logs must arrive in order.
        if let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id) {
            logs.sort_by_key(|(_, key)| shared.told_order.get(key));
        }
        for (_, key) in logs {
            let lacks = self.lacks_from(id, conversation_id, &key);
            self.want_ranges(
                id,
                LogName {
                    conversation: conversation_id,
                    author,
                    log: key.log,
                },
                &lacks,
            );
        }
        self.schedule_retry(conversation_id, author);
    }

    fn want_ranges(&mut self, id: SessionId, name: LogName, lacks: &Ranges) {
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let highest = lacks.last();
        for (from, last) in lacks.iter() {
            // The last range is open, so that later entries are sent as well.
            let to = (Some(last) != highest).then_some(last);
            if let Some(shared) = shared_mut(&mut self.sessions, id, name.conversation) {
                shared
                    .asked
                    .entry(key)
                    .or_default()
                    .insert(from, to.unwrap_or(SEQ_OPEN_END));
            }
            self.send(id, &Frame::Want { name, from, to });
        }
    }

    /// Whether this entry was requested from this session.
    pub(super) fn asked(&self, id: SessionId, name: LogName, seq: Seq) -> bool {
        let shared = self
            .sessions
            .get(&id)
            .and_then(|session| session.shared.get(&name.conversation));
        let asked = shared.and_then(|shared| {
            shared.asked.get(&LogKey {
                author: name.author,
                log: name.log,
            })
        });
        asked.is_some_and(|asked| asked.contains(seq))
    }

    /// The author's own session is ready and sends by itself. The session that forwarded the
    /// author's entries until now is told to stop.
    pub(super) fn author_pushes_now(
        &mut self,
        id: SessionId,
        conversation_id: ConversationId,
        author: PeerId,
    ) {
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else {
            return;
        };
        if let Some(former) = conversation
            .sources
            .remove(&author)
            .filter(|former| *former != id)
        {
            self.send(former, &Frame::Prune(conversation_id, author));
            if let Some(shared) = shared_mut(&mut self.sessions, former, conversation_id) {
                shared.asked.retain(|key, _| key.author != author);
            }
        }
    }

    // Retries.

    /// Entries of this author are missing and should arrive soon. If none arrives in time, another
    /// session is asked.
    pub(super) fn schedule_retry(&mut self, conversation_id: ConversationId, author: PeerId) {
        let until = self.now.mono + PULL_RETRY_AFTER;
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else {
            return;
        };
        conversation
            .pull_retries
            .entry(author)
            .or_insert(PullRetry { until, tries: 0 });
        self.arm(Timer::PullRetry, PULL_RETRY_AFTER);
    }

    /// An entry of this author arrived: the time for the other missing ones starts again.
    pub(super) fn postpone_retry(&mut self, conversation_id: ConversationId, author: PeerId) {
        let until = self.now.mono + PULL_RETRY_AFTER;
        let retry = self
            .conversations
            .get_mut(&conversation_id)
            .and_then(|c| c.pull_retries.get_mut(&author));
        if let Some(retry) = retry {
            *retry = PullRetry { until, tries: 0 };
        }
    }

    pub(super) fn try_next_sources(&mut self) {
        let now = self.now.mono;
        let mut lost = Vec::new();
        for (id, conversation) in &self.conversations {
            lost.extend(
                conversation
                    .pull_retries
                    .iter()
                    .filter(|(_, p)| p.until <= now)
                    .map(|(author, _)| (*id, *author)),
            );
        }
        for (conversation_id, author) in lost {
            self.try_next_source(conversation_id, author);
        }
        let next = self
            .conversations
            .values()
            .flat_map(|c| c.pull_retries.values())
            .map(|p| p.until)
            .min();
        if let Some(next) = next {
            self.arm(Timer::PullRetry, next.saturating_sub(now));
        }
    }

    fn try_next_source(&mut self, conversation_id: ConversationId, author: PeerId) {
        let mut able: Vec<_> = self.told(conversation_id, Some(author));
        able.retain(|(id, key)| !self.lacks_from(*id, conversation_id, key).is_empty());
        let able: BTreeSet<_> = able.into_iter().map(|(id, _)| id).collect();
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else {
            return;
        };
        let current = conversation.sources.get(&author).copied();
        let after_current = able.iter().find(|id| Some(**id) > current).copied();
        let Some(next) = after_current.or_else(|| able.first().copied()) else {
            conversation.pull_retries.remove(&author);
            return;
        };
        let retry = conversation
            .pull_retries
            .entry(author)
            .or_insert(PullRetry {
                until: self.now.mono,
                tries: 0,
            });
        // The wait grows only after every session was tried. Otherwise one lying peer could delay
        // the request to a peer that has the entries.
        if after_current.is_none() {
            retry.tries = (retry.tries + 1).min(6);
        }
        retry.until = self.now.mono + PULL_RETRY_AFTER * 2u32.pow(retry.tries);
        if self.may_say_more(next) {
            self.ask(next, conversation_id, author);
        }
    }

    /// Compares digests with one random member of each room.
    pub(super) fn compare_notes(&mut self) {
        self.arm(Timer::AntiEntropy, ANTI_ENTROPY_EVERY);
        let rooms: Vec<_> = self
            .conversations
            .iter()
            .filter(|(_, conversation)| !conversation.is_direct())
            .map(|(id, _)| *id)
            .collect();
        for conversation in rooms {
            let members: Vec<_> = self
                .sessions
                .iter()
                .filter(|(_, s)| s.shared.contains_key(&conversation))
                .map(|(id, _)| *id)
                .collect();
            if members.is_empty() {
                continue;
            }
            let at = usize::try_from(self.rng.below(members.len() as u64)).expect("below a length");
            if self.may_say_more(members[at]) {
                self.compare_digests(members[at], conversation);
            }
        }
    }
}

impl Conversation {
    /// Whether entries below the first held are not wanted: members of a room with a secret hold a
    /// log from some entry on, and what a full room has let go of is not fetched again.
    pub(super) fn takes_nothing_older(&self, key: &LogKey) -> bool {
        match self.record.kind {
            ConversationKind::Direct(_) => false,
            ConversationKind::Room { open: false, .. } => true,
            ConversationKind::Room { open: true, .. } => self
                .entries
                .get(&key.author)
                .is_some_and(|held| *held >= super::ROOM_ENTRIES_PER_AUTHOR_MAX),
        }
    }
}
