//! Requests for missing entries, in both directions: which session is asked, when the next one is
//! tried, and which entries a peer gets when it asks.

use std::collections::BTreeSet;

use hobnob_protocol::{ConversationId, Frame, LogName, PeerId, Ranges, Seq};

use super::log_key::LogKey;
use super::pulls::PULL_RETRY_AFTER;
use super::refusal::Refusal;
use super::requests::SEQ_OPEN_END;
use super::state::{ANTI_ENTROPY_EVERY, Replica};
use super::timers::Timer;
use crate::SessionId;

impl Replica {
    // Requests of a peer.

    pub(super) fn want(
        &mut self,
        id: SessionId,
        name: LogName,
        from: Seq,
        to: Option<Seq>,
    ) -> Result<(), Refusal> {
        let key = LogKey::of(&name);
        // A peer that refuses our messages requests none of them.
        if name.author == self.identity.id {
            self.set_awaits_consent(id, name.conversation, false)?;
        }
        let sync = self.sessions.sync_mut(id, name.conversation);
        let sync = sync.ok_or(Refusal::NotShared)?;
        if !sync.ready {
            sync.postpone((name, from, to));
            return Ok(());
        }
        // This replica never announces a log that it does not hold. A request for one is made up,
        // so nothing is stored for it.
        let conversation = self.conversations.at(name.conversation);
        let Some(log) = conversation.log(&key) else {
            return Ok(());
        };
        let ordinal = log.ordinal;
        let mut grant = self.may_send(id, name.conversation, &key);
        grant.remove(1, from.saturating_sub(1));
        if let Some(to) = to {
            grant = grant.intersect(&Ranges::span(from, to));
        }
        let sync = self.sessions.sync_mut(id, name.conversation);
        let sync = sync.expect("found above");
        // A request does not cover entries that the peer has announced itself.
        let grant = grant.minus(&sync.holdings.of(&key));
        if to.is_none() {
            sync.queues.follow(key.author);
        }
        sync.queues.add(ordinal, &key, &grant);
        self.serve(id);
        Ok(())
    }

    pub(super) fn prune(
        &mut self,
        id: SessionId,
        shared: ConversationId,
        author: PeerId,
    ) -> Result<(), Refusal> {
        let sync = self.sessions.sync_mut(id, shared);
        let sync = sync.ok_or(Refusal::NotShared)?;
        // Our own entries are pushed, whoever forwards them as well.
        if author != self.identity.id {
            sync.queues.unfollow(author);
            sync.queues.strike_author(author);
        }
        Ok(())
    }

    /// The peer holds other entries in a log than this replica has sent.
    pub(super) fn conflict_reported(
        &mut self,
        id: SessionId,
        name: LogName,
    ) -> Result<(), Refusal> {
        let sync = self.sessions.sync_mut(id, name.conversation);
        let sync = sync.ok_or(Refusal::NotShared)?;
        // Only the author can cause a conflict. Everybody else forwarded what it had received.
        if self.identity.writes(name) {
            return Err(Refusal::IdentityReused);
        }
        let all = Ranges::span(1, SEQ_OPEN_END);
        sync.queues.strike(&LogKey::of(&name), &all);
        Ok(())
    }

    // Requests of our own.

    /// Requests the bodies that are missing and that the session can send. Each session is asked once
    /// for a body, whoever else was asked.
    pub(super) fn request_bodies(&mut self, id: SessionId, shared: ConversationId, key: LogKey) {
        let bodies = self.bodies_from(id, shared, &key);
        let session = self.sessions.at_mut(id);
        if bodies.is_empty() || !session.may_send_more() {
            return;
        }
        let name = key.name(shared);
        let sync = session.syncs.get_mut(&shared);
        let sync = sync.expect("it announced these entries");
        sync.bodies.note_asked(key, &bodies);
        for (from, last) in bodies.iter() {
            sync.requests.add(key, from, Some(last));
        }
        for (from, last) in bodies.iter() {
            let to = Some(last);
            session.send(&Frame::Want { name, from, to }, &mut self.outputs);
        }
    }

    /// A session announced entries. Requests those that are missing, unless they will arrive anyway.
    pub(super) fn request_missing(&mut self, id: SessionId, shared: ConversationId, key: LogKey) {
        self.request_bodies(id, shared, key);
        if self.missing_from(id, shared, &key).is_empty() {
            return;
        }
        // A connected author sends by itself all entries that are meant for this node.
        if self.sessions.is_here(key.author, shared) {
            return self.expect_entries(shared, key.author);
        }
        let source = self.conversations.at(shared).pulls.source(key.author);
        let comes_from_elsewhere = source.is_some_and(|source| source != id);
        // A session that was asked for the open end of a log sends by itself what is new in it.
        let comes_from_here = source == Some(id)
            && self
                .sessions
                .sync(id, shared)
                .is_some_and(|sync| sync.requests.are_open(&key));
        if comes_from_elsewhere || comes_from_here {
            self.expect_entries(shared, key.author);
        } else {
            self.ask(id, shared, key.author);
        }
    }

    pub(super) fn request_missing_of(&mut self, shared: ConversationId, author: PeerId) {
        for (id, key) in self.sessions.announced(shared, Some(author)) {
            self.request_missing(id, shared, key);
        }
    }

    pub(super) fn request_all_missing(&mut self, shared: ConversationId) {
        for (id, key) in self.sessions.announced(shared, None) {
            self.request_missing(id, shared, key);
        }
    }

    /// Makes this session the source of an author's entries: requests all missing ones and all
    /// later ones.
    pub(super) fn ask(&mut self, id: SessionId, shared: ConversationId, author: PeerId) {
        let conversation = self.conversations.at_mut(shared);
        if let Some(former) = conversation.pulls.set_source(author, id) {
            self.send(former, &Frame::Prune(shared, author));
        }
        let sync = self.sessions.sync(id, shared).expect("it announced them");
        let of_author = sync.holdings.logs().map(|(key, _)| *key);
        let mut logs: Vec<_> = of_author.filter(|key| key.author == author).collect();
        // The peer answers in the order of the requests, and an author's logs must arrive in order.
        logs.sort_by_key(|key| sync.holdings.position(key));
        for key in logs {
            let missing = self.missing_from(id, shared, &key);
            self.request(id, key.name(shared), &missing);
        }
        self.expect_entries(shared, author);
    }

    fn request(&mut self, id: SessionId, name: LogName, missing: &Ranges) {
        let session = self.sessions.at_mut(id);
        let highest = missing.last();
        for (from, last) in missing.iter() {
            // The last range is open, so that later entries are sent as well.
            let to = (Some(last) != highest).then_some(last);
            let sync = session.syncs.get_mut(&name.conversation);
            let sync = sync.expect("it announced these entries");
            sync.requests.add(LogKey::of(&name), from, to);
            session.send(&Frame::Want { name, from, to }, &mut self.outputs);
        }
    }

    /// Requests everything from `from` on, unless that was requested a moment ago.
    pub(super) fn request_gap(&mut self, id: SessionId, name: LogName, from: Seq) {
        let session = self.sessions.at_mut(id);
        if !session.may_send_more() {
            return;
        }
        let sync = session.syncs.get_mut(&name.conversation);
        let sync = sync.expect("the batch arrived in a shared conversation");
        let key = LogKey::of(&name);
        if sync.requests.add_gap(key, from, self.now.mono) {
            let to = None;
            session.send(&Frame::Want { name, from, to }, &mut self.outputs);
        }
    }

    /// The author's own session is ready and sends by itself. The session that forwarded the
    /// author's entries until now is asked to stop.
    pub(super) fn author_pushes_now(
        &mut self,
        id: SessionId,
        shared: ConversationId,
        author: PeerId,
    ) {
        let conversation = self.conversations.at_mut(shared);
        let former = conversation.pulls.end_source(author);
        let Some(former) = former.filter(|former| *former != id) else {
            return;
        };
        self.send(former, &Frame::Prune(shared, author));
        let sync = self.sessions.sync_mut(former, shared);
        let sync = sync.expect("a source shares the conversation");
        sync.requests.forget_author(author);
    }

    // Retries.

    /// Entries of this author are missing and should arrive soon. If none arrives in time, another
    /// session is asked.
    pub(super) fn expect_entries(&mut self, shared: ConversationId, author: PeerId) {
        let conversation = self.conversations.at_mut(shared);
        conversation.pulls.expect(author, self.now.mono);
        self.arm(Timer::PullRetry, PULL_RETRY_AFTER);
    }

    pub(super) fn try_next_sources(&mut self) {
        for (shared, author) in self.conversations.overdue(self.now.mono) {
            self.try_next_source(shared, author);
        }
        if let Some(next) = self.conversations.next_retry() {
            self.arm(Timer::PullRetry, next.saturating_sub(self.now.mono));
        }
    }

    fn try_next_source(&mut self, shared: ConversationId, author: PeerId) {
        let mut announced = self.sessions.announced(shared, Some(author));
        announced.retain(|(id, key)| !self.missing_from(*id, shared, key).is_empty());
        let able: BTreeSet<_> = announced.into_iter().map(|(id, _)| id).collect();
        let pulls = &mut self.conversations.at_mut(shared).pulls;
        if let Some(next) = pulls.next_source(author, &able, self.now.mono)
            && self.sessions.at(next).may_send_more()
        {
            self.ask(next, shared, author);
        }
    }

    /// Compares digests with one random member of each room.
    pub(super) fn compare_with_random_members(&mut self) {
        self.arm(Timer::AntiEntropy, ANTI_ENTROPY_EVERY);
        for room in self.conversations.room_ids() {
            let members: Vec<_> = self.sessions.sharing(room).map(|(id, _)| id).collect();
            if members.is_empty() {
                continue;
            }
            let at = usize::try_from(self.rng.below(members.len() as u64)).expect("below a length");
            if self.sessions.at(members[at]).may_send_more() {
                self.compare_digests(members[at], room);
            }
        }
    }
}
