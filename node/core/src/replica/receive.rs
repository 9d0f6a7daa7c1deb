//! Batches from peers: judged, made durable, said.

use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::{
    Batch, BatchError, CheckedBatch, Frame, LogId, LogName, PeerId, Ranges, Seq,
};

use super::budget::Budget;
use super::log::Log;
use super::{AfterCommit, LogKey, Output, Replica, Timer, shared_mut};
use crate::SessionId;
use crate::commit::{AudienceId, Op};

/// A Lamport number that is further ahead of all others moves our own clock by this much only. It
/// is taken all the same: others may have been led on by it, and to refuse what they say would
/// split a room for good.
pub const LAMPORT_AHEAD_MAX: u64 = 1 << 20;

/// No Lamport number is above this. A clock that has come so far stays there: nothing is lost but
/// the order between authors.
pub const LAMPORT_MAX: u64 = 1 << 53;

/// Why something that a peer sent was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is about a conversation that the two ends do not share, as far as the peer has proved.
    #[error("not a member of that conversation")]
    NotShared,
    /// In a direct conversation only its two ends write.
    #[error("a third party's entry in a direct conversation")]
    NotAnAuthor,
    /// The author is blocked here.
    #[error("an entry of somebody who is blocked")]
    Blocked,
    /// The batch is malformed or its signature is wrong.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The batch is genuine, and contradicts what its author wrote before.
    #[error("the author wrote two different entries in one place")]
    Conflict,
    /// Entries in our own name, in the log of this very run, that this node has not written.
    #[error("entries in our name that we have not written: this identity is in use elsewhere")]
    IdentityReused,
    /// The entries before it are missing.
    #[error("entries before these are missing")]
    Gap,
    /// The Lamport number is above [`LAMPORT_MAX`].
    #[error("an impossible Lamport number")]
    Lamport,
    /// The frame kind does not belong on a session's log streams, or its list is too long to be
    /// kept.
    #[error("a frame that does not belong here")]
    Misplaced,
}

/// For how long after the store failed to take an author's entries its newer logs wait for the
/// older ones.
const SETBACK: Duration = Duration::from_secs(120);

/// Logs of which a session was lately asked for what is missing; in more at once no gap is noticed.
const GAPS_ASKED_MAX: usize = 1024;

enum Verdict {
    Accept(Arc<CheckedBatch>, Ranges),
    Known(LogName),
    Refuse(Refusal),
}

impl Replica {
    pub(super) fn batch(&mut self, session: SessionId, batch: Batch) {
        if !self.sessions.contains_key(&session) {
            return;
        }
        match self.judge(session, batch) {
            Verdict::Accept(batch, pieces) => self.accept(session, batch, pieces),
            Verdict::Known(name) => {
                self.queue_receipt(session, name);
                self.release(session, 1);
            }
            Verdict::Refuse(refusal) => {
                self.outputs.push_back(Output::Refused(session, refusal));
                self.release(session, 1);
            }
        }
    }

    /// Decides about a batch, the cheap questions first and the signature last.
    fn judge(&mut self, session: SessionId, batch: Batch) -> Verdict {
        let name = batch.name;
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let Some(conversation) = self.conversations.get(&name.conversation) else {
            return Verdict::Refuse(Refusal::NotShared);
        };
        if shared_mut(&mut self.sessions, session, name.conversation).is_none() {
            return Verdict::Refuse(Refusal::NotShared);
        }
        if !conversation.may_author(self.me, name.author) {
            return Verdict::Refuse(Refusal::NotAnAuthor);
        }
        if self.is_blocked(name.author) {
            return Verdict::Refuse(Refusal::Blocked);
        }
        let checked = match batch.read() {
            Ok(checked) => checked,
            Err(error) => return Verdict::Refuse(error.into()),
        };
        let lacks = match conversation.logs.get(&key) {
            Some(log) if log.conflicts(&checked) => {
                return Verdict::Refuse(self.conflict(session, &checked));
            }
            Some(log) => {
                let mut lacks = log.lacks(&checked);
                if name.author != self.me && conversation.takes_nothing_older(&key) {
                    lacks.remove(1, log.accepted().first().unwrap_or(1) - 1);
                }
                lacks
            }
            None => Ranges::span(checked.first(), checked.last()),
        };
        self.note_theirs(
            session,
            name,
            &Ranges::span(checked.first(), checked.last()),
        );
        if lacks.is_empty() {
            return Verdict::Known(name);
        }
        if let Some(refusal) = self.out_of_place(session, name, &checked) {
            return Verdict::Refuse(refusal);
        }
        match checked.verify() {
            Ok(()) => Verdict::Accept(Arc::new(checked), lacks),
            Err(error) => Verdict::Refuse(error.into()),
        }
    }

    /// A batch that contradicts what is held: forged, or written twice by its author.
    fn conflict(&mut self, session: SessionId, batch: &CheckedBatch) -> Refusal {
        if let Err(error) = batch.verify() {
            return error.into();
        }
        if self.may_say_more(session) {
            self.send(session, &Frame::Conflict(batch.batch.name));
        }
        Refusal::Conflict
    }

    /// Why a batch that is new can't be taken where it stands.
    fn out_of_place(
        &mut self,
        session: SessionId,
        name: LogName,
        batch: &CheckedBatch,
    ) -> Option<Refusal> {
        let conversation = self.conversations.get(&name.conversation)?;
        if name.author == self.me && name.log == LogId::of_run(self.run, &name.conversation) {
            return Some(Refusal::IdentityReused);
        }
        let log = conversation.logs.get(&LogKey {
            author: name.author,
            log: name.log,
        });
        let continues = log.map_or(batch.first() == 1, |log| log.continues_at(batch.first()));
        if batch
            .entries
            .last()
            .is_some_and(|last| last.entry.lamport > LAMPORT_MAX)
        {
            return Some(Refusal::Lamport);
        }
        if self.overtakes(session, name) {
            return Some(Refusal::Gap);
        }
        if continues {
            return None;
        }
        if conversation.is_direct() {
            let from = log.map_or(0, |log| log.head().0) + 1;
            self.request_gap_once(session, name, from);
            return Some(Refusal::Gap);
        }
        // A member that has the entries before these too sends them first, so they came, and were
        // lost on their way to the disk.
        if conversation.is_closed_room() {
            let key = LogKey {
                author: name.author,
                log: name.log,
            };
            let missing = self
                .lacks_from(session, name.conversation, &key)
                .first()
                .filter(|seq| *seq < batch.first());
            if let Some(from) = missing {
                self.request_gap_once(session, name, from);
                return Some(Refusal::Gap);
            }
        }
        // In a room a gap may be right: entries that were not for us, or that others have let go.
        // But while the author itself is here, its own word counts: it sends what is for us, in
        // order.
        (!self.asked(session, name, batch.first()) && self.author_is_here(name, session))
            .then_some(Refusal::Gap)
    }

    /// Whether the author's older logs are still to come on this session because they could not be
    /// stored a while ago.
    fn overtakes(&self, session: SessionId, name: LogName) -> bool {
        let Some(conversation) = self
            .conversations
            .get(&name.conversation)
            .filter(|it| !it.is_open_room())
        else {
            return false;
        };
        let setback = conversation
            .setbacks
            .get(&name.author)
            .is_some_and(|at| self.now.mono < *at + SETBACK);
        setback
            && self
                .older_logs(session, name)
                .iter()
                .any(|key| !self.lacks_from(session, name.conversation, key).is_empty())
    }

    fn accept(&mut self, session: SessionId, batch: Arc<CheckedBatch>, pieces: Ranges) {
        let name = batch.batch.name;
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let received_at_ms = self.now.wall_ms;
        let Some(conversation) = self.conversations.get_mut(&name.conversation) else {
            return;
        };
        let (mut ops, mut steps) = (Vec::new(), Vec::new());
        conversation.store_record(&mut ops, &mut steps);
        let audience = conversation.stamp(&mut self.last_audience, self.now, &mut ops);
        let next_ordinal = &mut self.next_ordinal;
        let log = conversation.logs.entry(key).or_insert_with(|| {
            *next_ordinal += 1;
            Log::new(&name, *next_ordinal)
        });
        log.accept(&batch);
        conversation.heard_lamport(batch.entries.last().map_or(0, |last| last.entry.lamport));
        for (from, to) in pieces.iter() {
            ops.push(Op::Append {
                batch: batch.clone(),
                from,
                to,
                audience,
                received_at_ms,
            });
        }
        steps.push(AfterCommit::Received {
            session,
            batch,
            pieces,
            audience,
            received_at_ms,
        });
        self.commit(ops, steps);
        self.postpone_retry(name.conversation, key.author);
    }

    pub(super) fn received_is_durable(
        &mut self,
        session: SessionId,
        batch: Arc<CheckedBatch>,
        pieces: Ranges,
        audience: AudienceId,
        received_at_ms: u64,
    ) {
        let name = batch.batch.name;
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let own = name.author == self.me;
        for (first, last) in pieces.iter() {
            self.now_durable(name, key, first, last, audience);
            if !own {
                self.outputs.push_back(Output::Received {
                    batch: batch.clone(),
                    first,
                    last,
                    received_at_ms,
                });
            }
        }
        if own {
            let peer = self
                .sessions
                .get(&session)
                .map_or(self.me, |session| session.peer);
            self.outputs
                .push_back(Output::OwnRestored(name.conversation, peer, pieces.len()));
        }
        self.recent.keep(&batch);
        self.queue_receipt(session, name);
        for (first, last) in pieces.iter() {
            self.pass_on(name, first, last, audience, Some(session));
        }
        self.release_within_budget(session, pieces.len());
    }

    pub(super) fn received_failed(&mut self, session: SessionId, batch: &CheckedBatch) {
        let name = batch.batch.name;
        if let Some(conversation) = self.conversations.get_mut(&name.conversation) {
            conversation.setbacks.insert(name.author, self.now.mono);
        }
        self.release(session, 1);
        self.schedule_retry(name.conversation, name.author);
    }

    fn author_is_here(&self, name: LogName, except: SessionId) -> bool {
        let others = self.sessions.iter().filter(|(id, _)| **id != except);
        let of_author = others.filter(|(_, session)| session.peer == name.author);
        of_author
            .into_iter()
            .any(|(_, session)| session.shared.contains_key(&name.conversation))
            && self
                .sessions
                .get(&except)
                .is_some_and(|session| session.peer != name.author)
    }

    /// The session may deliver more, once it has kept within its budget or the store has nothing
    /// else to do.
    fn release_within_budget(&mut self, id: SessionId, entries: u64) {
        let (now, store_is_idle) = (self.now.mono, self.commits.is_empty());
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.budget.spend(now, entries) || store_is_idle {
            self.release(id, 1);
        } else {
            session.budget.held += 1;
            self.arm(Timer::Budget, Duration::from_millis(50));
        }
    }

    pub(super) fn release(&mut self, session: SessionId, batches: usize) {
        if self.sessions.contains_key(&session) {
            self.outputs.push_back(Output::Release(session, batches));
        }
    }

    /// Lets slowed sessions go on when the store has caught up.
    pub(super) fn release_held(&mut self) {
        if self.commits.is_empty() {
            self.release_where(|_, _| true);
        }
    }

    pub(super) fn release_after_budget(&mut self) {
        self.release_where(Budget::has_recovered);
        if self
            .sessions
            .values()
            .any(|session| session.budget.held > 0)
        {
            self.arm(Timer::Budget, Duration::from_millis(50));
        }
    }

    fn release_where(&mut self, may_go_on: impl Fn(&mut Budget, Duration) -> bool) {
        let now = self.now.mono;
        for (id, session) in &mut self.sessions {
            if session.budget.held > 0 && may_go_on(&mut session.budget, now) {
                let held = std::mem::take(&mut session.budget.held);
                self.outputs.push_back(Output::Release(*id, held));
            }
        }
    }

    /// Notes what a peer has of our own logs, and says what is new about it.
    pub(super) fn acked(&mut self, name: LogName, peer: PeerId, theirs: &Ranges) {
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let Some(log) = self
            .conversations
            .get(&name.conversation)
            .and_then(|c| c.logs.get(&key))
        else {
            return;
        };
        // A peer can only have what was durable here before it was sent.
        let has = theirs.intersect(log.durable());
        let known = self.acked.entry((name, peer)).or_default();
        let new = has.minus(known);
        if new.is_empty() {
            return;
        }
        known.insert_all(&new);
        self.acked_unsaved.insert((name, peer));
        self.arm(Timer::Acks, super::ACKS_EVERY);
        self.outputs.push_back(Output::Delivered(name, peer, new));
    }

    /// Asks once for everything from `from` on, unless that was asked of this session already.
    fn request_gap_once(&mut self, session: SessionId, name: LogName, from: Seq) {
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let now = self.now.mono;
        if !self.may_say_more(session) {
            return;
        }
        let Some(shared) = shared_mut(&mut self.sessions, session, name.conversation) else {
            return;
        };
        if shared.gap_asked.len() >= GAPS_ASKED_MAX {
            shared
                .gap_asked
                .retain(|_, (_, when)| now - *when < Duration::from_secs(1));
        }
        let recently = shared.gap_asked.len() >= GAPS_ASKED_MAX
            || shared
                .gap_asked
                .get(&key)
                .is_some_and(|(at, when)| *at == from && now - *when < Duration::from_secs(1));
        if !recently {
            shared.gap_asked.insert(key, (from, now));
            self.send(
                session,
                &Frame::Want {
                    name,
                    from,
                    to: None,
                },
            );
        }
    }
}
