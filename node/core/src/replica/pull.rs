//! Asking for what is missing: of whom, for how long, and of whom next; and what is granted to
//! those who ask.

use std::collections::BTreeSet;
use std::time::Duration;

use hobnob_protocol::{ConversationId, Frame, LogId, LogName, PeerId, Ranges, Seq};

use super::receive::Refusal;
use super::sync::ranges_of;
use super::{ANTI_ENTROPY_EVERY, Conversation, LogKey, Patience, Replica, Timer, shared_mut};
use crate::SessionId;
use crate::commit::ConversationKind;

/// How long a session that was asked for entries may send nothing of them before another one is
/// asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// Stands for "and all that follows" in what was asked for; no entry has this number.
const SEQ_OPEN_END: Seq = Seq::MAX - 2;

/// Wants of a newcomer that are kept until it is known how far back it may read; further ones are
/// dropped, and asked again.
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
        // Nothing was said here of a log that is not held: whoever wants it makes it up, and
        // nothing is noted down for it.
        let Some(ordinal) = conversation.logs.get(&key).map(|log| log.ordinal) else {
            return Ok(());
        };
        let shared =
            shared_mut(&mut self.sessions, id, name.conversation).ok_or(Refusal::NotShared)?;
        // What the peer has said that it holds, it does not mean.
        let grant = grant.minus(&ranges_of(&shared.theirs, &key));
        if to.is_none() {
            shared.follow.insert(key.author);
        }
        shared
            .todo
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
            shared.todo.remove(&author);
        }
        Ok(())
    }

    pub(super) fn told_of_conflict(&mut self, id: SessionId, name: LogName) -> Result<(), Refusal> {
        shared_mut(&mut self.sessions, id, name.conversation).ok_or(Refusal::NotShared)?;
        // Only the author can have caused it; anybody else passed on in good faith what it was
        // given.
        if name.author == self.me && name.log == LogId::of_run(self.run, &name.conversation) {
            return Err(Refusal::IdentityReused);
        }
        if let Some(shared) = shared_mut(&mut self.sessions, id, name.conversation)
            && let Some(todo) = shared.todo.get_mut(&name.author)
        {
            todo.strike(name.log, &Ranges::span(1, SEQ_OPEN_END));
        }
        Ok(())
    }

    /// What this session has of a log that we lack and would take.
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

    /// Whether the author is at hand: it sends by itself what is ours to have. What it has lost, or
    /// what was not for us when it said it, is asked of somebody else when patience ends.
    fn author_may_send(&self, conversation_id: ConversationId, author: PeerId) -> bool {
        let of_author = self
            .sessions
            .values()
            .filter(|session| session.peer == author);
        of_author
            .into_iter()
            .any(|session| session.shared.contains_key(&conversation_id))
    }

    /// A session told of entries: ask it for what we lack, unless they come anyway.
    pub(super) fn consider(&mut self, id: SessionId, conversation_id: ConversationId, key: LogKey) {
        let lacks = self.lacks_from(id, conversation_id, &key);
        if lacks.is_empty() {
            return;
        }
        let is_author = self
            .sessions
            .get(&id)
            .is_some_and(|session| session.peer == key.author);
        if is_author || self.author_may_send(conversation_id, key.author) {
            self.be_patient(conversation_id, key.author);
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
            self.be_patient(conversation_id, key.author);
        } else {
            self.ask(id, conversation_id, key.author);
        }
    }

    pub(super) fn consider_author(&mut self, conversation_id: ConversationId, author: PeerId) {
        for (id, key) in self.told(conversation_id, Some(author)) {
            self.consider(id, conversation_id, key);
        }
    }

    pub(super) fn consider_all(&mut self, conversation_id: ConversationId) {
        for (id, key) in self.told(conversation_id, None) {
            self.consider(id, conversation_id, key);
        }
    }

    /// The logs of the same author that this session told of before this one.
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

    /// All logs that sessions have told of in this conversation, of one author or of all.
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

    /// Makes this session the source of an author's entries: asks it for all we lack and for what
    /// comes.
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
        // What is asked for first comes first, and an author's logs are to come in their order.
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
        self.be_patient(conversation_id, author);
    }

    fn want_ranges(&mut self, id: SessionId, name: LogName, lacks: &Ranges) {
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let highest = lacks.last();
        for (from, last) in lacks.iter() {
            // The last range has no end: what follows it is wanted too.
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

    /// Whether this session was asked for that entry.
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

    /// An author's own session is ready: it sends by itself, so that whoever did so in its stead
    /// can stop.
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

    // Patience.

    /// Something of this author is missing and should be on its way: if nothing comes for a while,
    /// another session is asked.
    pub(super) fn be_patient(&mut self, conversation_id: ConversationId, author: PeerId) {
        let until = self.now.mono + PATIENCE;
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else {
            return;
        };
        conversation
            .patience
            .entry(author)
            .or_insert(Patience { until, tries: 0 });
        self.arm(Timer::Patience, PATIENCE);
    }

    /// Something came: the wait for what may still be missing starts anew.
    pub(super) fn renew_patience(&mut self, conversation_id: ConversationId, author: PeerId) {
        let until = self.now.mono + PATIENCE;
        let patience = self
            .conversations
            .get_mut(&conversation_id)
            .and_then(|c| c.patience.get_mut(&author));
        if let Some(patience) = patience {
            *patience = Patience { until, tries: 0 };
        }
    }

    pub(super) fn lose_patience(&mut self) {
        let now = self.now.mono;
        let mut lost = Vec::new();
        for (id, conversation) in &self.conversations {
            lost.extend(
                conversation
                    .patience
                    .iter()
                    .filter(|(_, p)| p.until <= now)
                    .map(|(author, _)| (*id, *author)),
            );
        }
        for (conversation_id, author) in lost {
            self.ask_another(conversation_id, author);
        }
        let next = self
            .conversations
            .values()
            .flat_map(|c| c.patience.values())
            .map(|p| p.until)
            .min();
        if let Some(next) = next {
            self.arm(Timer::Patience, next.saturating_sub(now));
        }
    }

    fn ask_another(&mut self, conversation_id: ConversationId, author: PeerId) {
        let mut able: Vec<_> = self.told(conversation_id, Some(author));
        able.retain(|(id, key)| !self.lacks_from(*id, conversation_id, key).is_empty());
        let able: BTreeSet<_> = able.into_iter().map(|(id, _)| id).collect();
        let Some(conversation) = self.conversations.get_mut(&conversation_id) else {
            return;
        };
        let current = conversation.sources.get(&author).copied();
        let after_current = able.iter().find(|id| Some(**id) > current).copied();
        let Some(next) = after_current.or_else(|| able.first().copied()) else {
            conversation.patience.remove(&author);
            return;
        };
        let patience = conversation.patience.entry(author).or_insert(Patience {
            until: self.now.mono,
            tries: 0,
        });
        // Only a whole round in vain makes for a longer wait: one liar is not to keep us from those
        // who have it.
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
