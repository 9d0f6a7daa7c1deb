//! New durable entries: which sessions get them at once, which only get an announcement, and what
//! peers announce to this replica.

use hobnob_protocol::ranges::RANGES_MAX;
use hobnob_protocol::{ConversationId, Frame, LogName, Ranges, Seq};

use super::receive::Refusal;
use super::sync::{FRAMES_OUTSTANDING_MAX, LOGS_TOLD_MAX, ranges_of};
use super::{ANNOUNCE_EVERY, LogKey, Replica, Timer, shared_mut};
use crate::SessionId;

impl Replica {
    /// Entries are durable: sends them to followers, and announces them to all other members.
    pub(super) fn pass_on(
        &mut self,
        name: LogName,
        first: Seq,
        last: Seq,
        audience: crate::commit::AudienceId,
        from: Option<SessionId>,
    ) {
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let Some(conversation) = self.conversations.get(&name.conversation) else {
            return;
        };
        if self.is_blocked(key.author) {
            return;
        }
        let ordinal = conversation.ordinal(&key);
        let (mut to_serve, mut announced) = (Vec::new(), false);
        for (&id, session) in &mut self.sessions {
            let peer = session.peer;
            let Some(shared) = session.shared.get_mut(&name.conversation) else {
                continue;
            };
            if Some(id) == from || !conversation.may_have(peer, key.author, audience) {
                continue;
            }
            if peer == key.author {
                shared.receipts.insert(key);
            } else if !shared.ready {
                // What the peer lacks of ours is worked out when its heads come; of the rest it
                // hears in our heads, or now if these are on their way.
                if key.author != self.me
                    && shared.heads_sent_at.is_some()
                    && shared.cut_asked.is_none()
                {
                    shared.announcements.insert(key);
                    announced = true;
                }
            } else if key.author == self.me || shared.follow.contains(&key.author) {
                let (theirs, sent) = (
                    ranges_of(&shared.theirs, &key),
                    ranges_of(&shared.sent, &key),
                );
                let mut fresh = Ranges::span(first, last);
                if conversation.is_closed_room() && theirs.is_empty() && sent.is_empty() {
                    // Members take a log from the first entry on that they get of it. What is held
                    // before these was announced at best, so it goes first.
                    fresh.insert_all(&conversation.offer_after_cut(
                        peer,
                        &key,
                        shared.cut.as_ref(),
                    ));
                }
                shared.send_queue.entry(key.author).or_default().add(
                    ordinal,
                    key.log,
                    &fresh.minus(&theirs).minus(&sent),
                );
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

    /// Queues a receipt: the peer learns soon which entries of this log are on disk here.
    pub(super) fn queue_receipt(&mut self, id: SessionId, name: LogName) {
        if let Some(shared) = shared_mut(&mut self.sessions, id, name.conversation) {
            shared.receipts.insert(LogKey {
                author: name.author,
                log: name.log,
            });
        }
    }

    /// Sends the queued receipts to all sessions that keep reading.
    pub(super) fn flush_receipts(&mut self) {
        let mut owed = Vec::new();
        for (&id, session) in &mut self.sessions {
            if session.frames_outstanding >= FRAMES_OUTSTANDING_MAX {
                continue;
            }
            for (&conversation, shared) in &mut session.shared {
                owed.extend(
                    std::mem::take(&mut shared.receipts)
                        .into_iter()
                        .map(|key| (id, conversation, key)),
                );
            }
        }
        self.sort_by_age(&mut owed);
        for (id, conversation, key) in owed {
            self.send_receipt(id, conversation, key);
        }
    }

    /// Sorts an author's older logs before the newer ones, because peers request them in this order.
    fn sort_by_age(&self, logs: &mut [(SessionId, ConversationId, LogKey)]) {
        let age = |conversation: &ConversationId, key: &LogKey| {
            self.conversations
                .get(conversation)
                .map_or(0, |it| it.ordinal(key))
        };
        logs.sort_by_key(|(id, conversation, key)| (*id, *conversation, age(conversation, key)));
    }

    /// Sends a peer the entries of one log that are on disk here, as far as it may know of them.
    fn send_receipt(&mut self, id: SessionId, conversation_id: ConversationId, key: LogKey) {
        let name = LogName {
            conversation: conversation_id,
            author: key.author,
            log: key.log,
        };
        let offer = self.may_send(id, conversation_id, &key);
        let Some(log) = self
            .conversations
            .get(&conversation_id)
            .and_then(|c| c.logs.get(&key))
        else {
            return;
        };
        let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id) else {
            return;
        };
        // Entries that the peer holds are no secret to it, whatever their audience.
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
                due.extend(
                    std::mem::take(&mut shared.announcements)
                        .into_iter()
                        .map(|key| (id, conversation, key)),
                );
            }
        }
        self.sort_by_age(&mut due);
        for (id, conversation, key) in due {
            let news = self.may_send(id, conversation, &key);
            let Some(shared) = shared_mut(&mut self.sessions, id, conversation) else {
                continue;
            };
            // Peers that have announced these entries need no announcement.
            if !news.minus(&ranges_of(&shared.theirs, &key)).is_empty() {
                self.send_receipt(id, conversation, key);
            }
        }
    }

    /// Announces all logs of other authors to a peer, once it is known how much it may read.
    pub(super) fn announce_all(&mut self, id: SessionId, conversation_id: ConversationId) {
        let Some(conversation) = self.conversations.get(&conversation_id) else {
            return;
        };
        let others: Vec<_> = conversation
            .logs
            .keys()
            .filter(|key| key.author != self.me)
            .copied()
            .collect();
        if let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id) {
            shared.announcements.extend(others);
            self.arm(Timer::Announce, ANNOUNCE_EVERY);
        }
    }

    pub(super) fn have(
        &mut self,
        id: SessionId,
        name: LogName,
        ranges: &Ranges,
    ) -> Result<(), Refusal> {
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let conversation = self
            .conversations
            .get(&name.conversation)
            .ok_or(Refusal::NotShared)?;
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
        self.request_missing(id, name.conversation, key);
        Ok(())
    }

    /// Remembers that the peer holds these entries.
    pub(super) fn note_theirs(&mut self, id: SessionId, name: LogName, ranges: &Ranges) {
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(shared) = session.shared.get_mut(&name.conversation) else {
            return;
        };
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
            theirs = newest
                .map(|(first, last)| Ranges::span(first, last))
                .unwrap_or_default();
        }
        session.logs_told = (session.logs_told + 1 + theirs.iter().count()).saturating_sub(before);
        shared.told_of(key);
        shared.theirs.insert(key, theirs);
        if let Some(send_queue) = shared.send_queue.get_mut(&key.author) {
            send_queue.strike(key.log, ranges);
        }
    }
}
