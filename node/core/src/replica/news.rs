//! New durable entries: which sessions get them at once, which only get an announcement, and what
//! peers announce to this replica.

use std::collections::BTreeSet;
use std::time::Duration;

use hobnob_protocol::{ConversationId, Frame, Holding, LogName, PeerId, Ranges, Seq};

use super::events::Output;
use super::log_key::LogKey;
use super::refusal::Refusal;
use super::saving::SAVE_AFTER;
use super::session_sync::SessionSync;
use super::state::Replica;
use super::timers::Timer;
use crate::SessionId;
use crate::commit::AudienceId;

/// Announcements wait for this long, so that one frame covers several commits.
pub(super) const ANNOUNCE_AFTER: Duration = Duration::from_millis(100);

impl Replica {
    /// Entries are durable: sends them to followers, and announces them to all other members.
    pub(super) fn pass_on(
        &mut self,
        name: LogName,
        first: Seq,
        last: Seq,
        audience: AudienceId,
        from: Option<SessionId>,
    ) {
        let key = LogKey::of(&name);
        if self.is_blocked(key.author) {
            return;
        }
        let own = key.author == self.identity.id;
        let conversation = self.conversations.at(name.conversation);
        let ordinal = conversation.ordinal(&key);
        let (mut to_serve, mut announced) = (Vec::new(), false);
        for (id, session) in self.sessions.iter_mut() {
            let peer = session.peer;
            let Some(sync) = session.syncs.get_mut(&name.conversation) else {
                continue;
            };
            if Some(id) == from || !conversation.may_have(peer, key.author, audience) {
                continue;
            }
            if peer == key.author {
                sync.receipts.insert(key);
            } else if !sync.ready {
                // When the peer's heads arrive, it gets our own entries that it lacks. It learns of
                // the others from our heads, or now if those were sent already.
                if !own && sync.heads_sent_at.is_some() && !sync.cut.is_asked() {
                    sync.announcements.insert(key);
                    announced = true;
                }
            } else if own || sync.queues.follows(key.author) {
                let theirs = sync.holdings.of(&key);
                let sent = sync.queues.sent_of(&key);
                let mut fresh = Ranges::span(first, last);
                if conversation.is_closed_room() && theirs.is_empty() && sent.is_empty() {
                    // Members hold a log from the first entry on that they receive of it. The peer
                    // has received nothing of this log, so the older entries go first.
                    fresh.insert_all(&conversation.offer(peer, &key, &sync.cut));
                }
                let fresh = fresh.minus(&theirs).minus(&sent);
                sync.queues.add(ordinal, &key, &fresh);
                to_serve.push(id);
            } else {
                sync.announcements.insert(key);
                announced = true;
            }
        }
        if announced {
            self.arm(Timer::Announce, ANNOUNCE_AFTER);
        }
        to_serve.into_iter().for_each(|id| self.serve(id));
    }

    /// Queues a receipt: the peer learns soon which entries of this log are on disk here.
    pub(super) fn queue_receipt(&mut self, id: SessionId, name: LogName) {
        // The session may have ended before the store answered.
        if let Some(sync) = self.sessions.sync_mut(id, name.conversation) {
            sync.receipts.insert(LogKey::of(&name));
        }
    }

    /// Sends the queued receipts to all sessions that read fast enough.
    pub(super) fn flush_receipts(&mut self) {
        for (id, shared, key) in self.take_due(|sync| &mut sync.receipts) {
            self.send_receipt(id, shared, key);
        }
    }

    pub(super) fn announce(&mut self) {
        for (id, shared, key) in self.take_due(|sync| &mut sync.announcements) {
            let news = self.may_tell(id, shared, &key).settled;
            let sync = self.sessions.sync(id, shared).expect("it was due");
            // Peers that have announced these entries need no announcement.
            if !news.minus(&sync.holdings.of(&key)).is_empty() {
                self.send_receipt(id, shared, key);
            }
        }
    }

    /// Takes the logs of one list of all sessions that read fast enough. An author's older logs
    /// come first, because peers request them in this order.
    fn take_due(
        &mut self,
        list: impl Fn(&mut SessionSync) -> &mut BTreeSet<LogKey>,
    ) -> Vec<(SessionId, ConversationId, LogKey)> {
        let mut due = Vec::new();
        for (id, session) in self.sessions.iter_mut() {
            if !session.may_send_more() {
                continue;
            }
            for (shared, sync) in &mut session.syncs {
                let logs = std::mem::take(list(sync));
                due.extend(logs.into_iter().map(|key| (id, *shared, key)));
            }
        }
        due.sort_by_key(|(id, shared, key)| {
            let ordinal = self.conversations.at(*shared).ordinal(key);
            (*id, *shared, ordinal)
        });
        due
    }

    /// Sends a peer the entries of one log that are on disk here, as far as it may know of them.
    fn send_receipt(&mut self, id: SessionId, shared: ConversationId, key: LogKey) {
        // A commit that failed may have removed the log since the receipt was queued.
        let Some(log) = self.conversations.at(shared).log(&key) else {
            return;
        };
        let sync = self.sessions.sync(id, shared).expect("it was due");
        // Entries that the peer holds are no secret to it, whatever their audience.
        let mut ranges = log.durable().intersect(&sync.holdings.of(&key));
        ranges.insert_all(&self.may_send(id, shared, &key));
        let held = self.conversations.at(shared).holding(&key, &ranges);
        if !held.settled.is_empty() {
            self.send(id, &Frame::Have(key.name(shared), held));
        }
    }

    /// Announces all logs of other authors to a peer, once it is known how much it may read.
    pub(super) fn announce_all(&mut self, id: SessionId, shared: ConversationId) {
        let logs = self.conversations.at(shared).logs().map(|(key, _)| *key);
        let others = logs.filter(|key| key.author != self.identity.id);
        let sync = self.sessions.sync_mut(id, shared).expect("it is shared");
        sync.announcements.extend(others);
        self.arm(Timer::Announce, ANNOUNCE_AFTER);
    }

    pub(super) fn have(
        &mut self,
        id: SessionId,
        name: LogName,
        held: Holding,
    ) -> Result<(), Refusal> {
        let sync = self.sessions.sync(id, name.conversation);
        sync.ok_or(Refusal::NotShared)?;
        let conversation = self.conversations.at(name.conversation);
        if !conversation.may_write(self.identity.id, name.author) {
            return Err(Refusal::NotAnAuthor);
        }
        let session = self.sessions.at_mut(id);
        session.note_holdings(name, &held.settled);
        let sync = session.syncs.get_mut(&name.conversation);
        let sync = sync.expect("found above");
        sync.bodies.note_erased(LogKey::of(&name), held.erased);
        let peer = session.peer;
        if name.author == self.identity.id {
            self.confirm(name, peer, &held.settled);
        }
        self.request_missing(id, name.conversation, LogKey::of(&name));
        Ok(())
    }

    /// Notes what a peer has of our own logs, and reports what it had not confirmed before.
    pub(super) fn confirm(&mut self, name: LogName, peer: PeerId, theirs: &Ranges) {
        let conversation = self.conversations.at(name.conversation);
        // The peer may name a log that this store has lost.
        let Some(log) = conversation.log(&LogKey::of(&name)) else {
            return;
        };
        // A peer can only have what was durable here before it was sent.
        let has = theirs.intersect(log.durable());
        let new = self.receipts.confirm(name, peer, &has);
        if !new.is_empty() {
            self.arm(Timer::Save, SAVE_AFTER);
            self.outputs.push_back(Output::Delivered(name, peer, new));
        }
    }
}
