//! What two ends tell each other of all that they hold: a digest first, heads where the digests
//! differ; and how far back a newcomer to a room with a secret may read.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::frame::{AuthorHeads, FRAME_MAX, ROOMS_MAX};
use hobnob_protocol::{ConversationId, Frame, LogId, LogName, PeerId, Ranges, Seq};

use super::receive::Refusal;
use super::sync::{LOGS_TOLD_MAX, ranges_of, told};
use super::{Conversation, LogKey, Output, Replica, shared_mut};
use crate::SessionId;

/// Heads are not repeated to one session within this time.
const HEADS_EVERY: Duration = Duration::from_secs(5);

/// Encoded size of one log with one range in a Heads frame, at most; and of an author.
const HEAD_BYTES_MAX: usize = 9 + 3 + 18;

const AUTHOR_BYTES_MAX: usize = 32 + 9;

impl Replica {
    fn authors_heads(
        &self,
        id: SessionId,
        conversation_id: ConversationId,
    ) -> Option<Vec<AuthorHeads>> {
        let peer = self.sessions.get(&id)?.peer;
        let conversation = self.conversations.get(&conversation_id)?;
        let mut authors: Vec<AuthorHeads> = Vec::new();
        let cut = self
            .sessions
            .get(&id)?
            .shared
            .get(&conversation_id)
            .and_then(|shared| shared.cut.as_ref());
        for (key, mut ranges) in conversation.offer(peer) {
            if let Some(&first) = cut.and_then(|cut| cut.get(&key)) {
                ranges.remove(1, first.saturating_sub(1));
            }
            if ranges.is_empty() || self.is_blocked(key.author) {
                continue;
            }
            if authors.last().is_none_or(|last| last.author != key.author) {
                authors.push(AuthorHeads {
                    author: key.author,
                    logs: Vec::new(),
                });
            }
            authors
                .last_mut()
                .expect("pushed above")
                .logs
                .push((key.log, ranges.for_frame()));
        }
        Some(authors)
    }

    pub(super) fn send_digest(&mut self, id: SessionId, conversation: ConversationId) {
        let Some(heads) = self.authors_heads(id, conversation) else {
            return;
        };
        let digest = AuthorHeads::digest(&heads);
        if let Some(shared) = shared_mut(&mut self.sessions, id, conversation) {
            shared.digest_said = Some(digest);
        }
        self.send(id, &Frame::Digest(conversation, digest));
    }

    /// Says the digest again, unless both ends have said this very one: streams lose nothing, so
    /// each knows that they agree.
    pub(super) fn compare_digests(&mut self, id: SessionId, conversation: ConversationId) {
        let Some(shared) = shared_mut(&mut self.sessions, id, conversation) else {
            return;
        };
        if let Some(agreed) = shared
            .digest_said
            .filter(|said| shared.digest_heard == Some(*said))
            && self
                .authors_heads(id, conversation)
                .is_some_and(|heads| AuthorHeads::digest(&heads) == agreed)
        {
            return;
        }
        self.send_digest(id, conversation);
    }

    pub(super) fn digest(
        &mut self,
        id: SessionId,
        conversation_id: ConversationId,
        digest: [u8; 32],
    ) -> Result<(), Refusal> {
        let session = self.sessions.get_mut(&id).ok_or(Refusal::NotShared)?;
        if !session.shared.contains_key(&conversation_id) {
            // The peer may know already what this end is about to learn: that both are in the room.
            if session.early.len() < ROOMS_MAX {
                session.early.insert(conversation_id, digest);
            }
            return Err(Refusal::NotShared);
        }
        if let Some(shared) = session.shared.get_mut(&conversation_id) {
            shared.digest_heard = Some(digest);
        }
        let heads = self
            .authors_heads(id, conversation_id)
            .ok_or(Refusal::NotShared)?;
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
        // The peer holds what the digest was made of, and no more is known: not what was kept from
        // it or left out of a frame.
        let same = heads.into_iter().flat_map(|AuthorHeads { author, logs }| {
            logs.into_iter()
                .map(move |(log, ranges)| (LogKey { author, log }, ranges))
        });
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
            self.send(
                id,
                &Frame::Heads {
                    conversation,
                    more: true,
                    authors,
                },
            );
        }
        self.send(
            id,
            &Frame::Heads {
                conversation,
                more: false,
                authors: last,
            },
        );
    }

    /// Heads in the order in which each author's logs began; a digest is made of them in the order
    /// of their names.
    fn in_order(
        &self,
        conversation_id: ConversationId,
        mut heads: Vec<AuthorHeads>,
    ) -> Vec<AuthorHeads> {
        let Some(conversation) = self.conversations.get(&conversation_id) else {
            return heads;
        };
        for AuthorHeads { author, logs } in &mut heads {
            logs.sort_by_key(|(log, _)| {
                conversation.ordinal(&LogKey {
                    author: *author,
                    log: *log,
                })
            });
        }
        heads
    }

    pub(super) fn heads(
        &mut self,
        id: SessionId,
        conversation_id: ConversationId,
        more: bool,
        authors: Vec<AuthorHeads>,
    ) -> Result<(), Refusal> {
        let conversation = self
            .conversations
            .get(&conversation_id)
            .ok_or(Refusal::NotShared)?;
        let me = self.me;
        let shared =
            shared_mut(&mut self.sessions, id, conversation_id).ok_or(Refusal::NotShared)?;
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
        let answered = shared
            .heads_sent_at
            .is_some_and(|at| self.now.mono - at < HEADS_EVERY);
        self.view_is_known(id, conversation_id, theirs);
        if !answered && let Some(heads) = self.authors_heads(id, conversation_id) {
            self.send_heads(id, conversation_id, heads);
        }
        Ok(())
    }

    /// The peer's holdings of a conversation are known: take the receipts in them, send what is
    /// ours to send, ask for the rest.
    fn view_is_known(
        &mut self,
        id: SessionId,
        conversation_id: ConversationId,
        theirs: BTreeMap<LogKey, Ranges>,
    ) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let peer = session.peer;
        let Some(shared) = session.shared.get_mut(&conversation_id) else {
            return;
        };
        let first_view = !std::mem::replace(&mut shared.ready, true);
        let newcomer = first_view && theirs.is_empty();
        session.logs_told =
            (session.logs_told + told(&theirs)).saturating_sub(told(&shared.theirs));
        shared.theirs = theirs;
        shared
            .told_order
            .retain(|key, _| shared.theirs.contains_key(key));
        let own: Vec<_> = shared
            .theirs
            .iter()
            .filter(|(key, _)| key.author == self.me)
            .map(|(k, r)| (*k, r.clone()))
            .collect();
        for (key, ranges) in own {
            let name = LogName {
                conversation: conversation_id,
                author: key.author,
                log: key.log,
            };
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
        self.request_all_missing(conversation_id);
    }

    /// Until it is known how far back a newcomer may read, nothing is sent to it.
    fn ask_for_cut(&mut self, id: SessionId, conversation_id: ConversationId) {
        let Some(conversation) = self.conversations.get(&conversation_id) else {
            return;
        };
        let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id) else {
            return;
        };
        shared.ready = false;
        if shared.cut_asked.is_some() {
            return;
        }
        let ends = conversation
            .logs
            .iter()
            .filter_map(|(key, log)| log.durable().last().map(|last| (*key, last)));
        shared.cut_asked = Some(ends.collect());
        let since_ms = self.now.wall_ms.saturating_sub(super::NEWCOMER_AGE_MS);
        self.outputs.push_back(Output::FindNewcomerCut {
            session: id,
            conversation: conversation_id,
            since_ms,
        });
    }

    fn serve_wants_that_waited(&mut self, id: SessionId, conversation_id: ConversationId) {
        let Some(shared) = shared_mut(&mut self.sessions, id, conversation_id) else {
            return;
        };
        for (name, from, to) in std::mem::take(&mut shared.wants_waiting) {
            // Whatever was refused in it was refused with the same words before.
            let _ = self.want(id, name, from, to);
        }
    }

    fn is_ready(&self, id: SessionId, conversation: ConversationId) -> bool {
        let shared = self
            .sessions
            .get(&id)
            .and_then(|session| session.shared.get(&conversation));
        shared.is_some_and(|shared| shared.ready)
    }

    fn keeps_history_from_newcomers(&self, conversation: ConversationId) -> bool {
        self.conversations
            .get(&conversation)
            .is_some_and(|it| it.is_closed_room() && !it.logs.is_empty())
    }

    pub(super) fn newcomer_cut(
        &mut self,
        id: SessionId,
        conversation_id: ConversationId,
        cut: &BTreeMap<LogName, Seq>,
    ) {
        let Some(conversation) = self.conversations.get(&conversation_id) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let peer = session.peer;
        let Some(shared) = session.shared.get_mut(&conversation_id) else {
            return;
        };
        let Some(asked) = shared.cut_asked.take() else {
            return;
        };
        let first_of = |key: &LogKey, last: Seq| {
            cut.get(&conversation.name(key))
                .copied()
                .unwrap_or(last + 1)
        };
        // Its own entries, which it has lost, it gets back whole.
        let of_others = asked.into_iter().filter(|(key, _)| key.author != peer);
        shared.cut = Some(
            of_others
                .map(|(key, last)| (key, first_of(&key, last)))
                .collect(),
        );
        shared.ready = true;
        self.offer_own(id, conversation_id);
        if let Some(heads) = self.authors_heads(id, conversation_id) {
            self.send_heads(id, conversation_id, heads);
        }
        self.serve_wants_that_waited(id, conversation_id);
        self.request_all_missing(conversation_id);
    }

    /// What of a log may be sent on this session.
    pub(super) fn may_send(
        &self,
        id: SessionId,
        conversation_id: ConversationId,
        key: &LogKey,
    ) -> Ranges {
        let (Some(session), Some(conversation)) = (
            self.sessions.get(&id),
            self.conversations.get(&conversation_id),
        ) else {
            return Ranges::new();
        };
        let Some(shared) = session.shared.get(&conversation_id) else {
            return Ranges::new();
        };
        if self.is_blocked(key.author) {
            return Ranges::new();
        }
        conversation.offer_after_cut(session.peer, key, shared.cut.as_ref())
    }

    /// Puts on the list of a session all of our own entries that the peer may have and lacks.
    pub(super) fn offer_own(&mut self, id: SessionId, conversation_id: ConversationId) {
        let Some(conversation) = self.conversations.get(&conversation_id) else {
            return;
        };
        let history_is_cut = conversation.is_closed_room();
        let own: Vec<_> = conversation
            .logs
            .iter()
            .filter(|(key, _)| key.author == self.me)
            .map(|(key, log)| (*key, log.ordinal))
            .collect();
        for (key, ordinal) in own {
            let offer = self.may_send(id, conversation_id, &key);
            let Some(shared) =
                shared_mut(&mut self.sessions, id, conversation_id).filter(|shared| shared.ready)
            else {
                return;
            };
            let theirs = ranges_of(&shared.theirs, &key);
            let mut lacks = offer.minus(&theirs).minus(&ranges_of(&shared.sent, &key));
            if history_is_cut {
                lacks.remove(1, theirs.first().unwrap_or(1) - 1);
            }
            shared
                .send_queue
                .entry(key.author)
                .or_default()
                .add(ordinal, key.log, &lacks);
        }
        self.serve(id);
    }
}

impl Conversation {
    /// What of a log a peer may have, from the entry on that a newcomer may read from.
    pub(super) fn offer_after_cut(
        &self,
        peer: PeerId,
        key: &LogKey,
        cut: Option<&BTreeMap<LogKey, Seq>>,
    ) -> Ranges {
        let Some(log) = self.logs.get(key) else {
            return Ranges::new();
        };
        let mut offer = self.offer_of(peer, key, log);
        if let Some(&first) = cut.and_then(|cut| cut.get(key)) {
            offer.remove(1, first.saturating_sub(1));
        }
        offer
    }
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
        None => frame.push(AuthorHeads {
            author,
            logs: vec![(log, ranges)],
        }),
    }
}
