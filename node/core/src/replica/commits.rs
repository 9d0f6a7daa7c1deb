//! Commits that the store has not answered yet, what follows when it does, and state that is
//! written lazily.

use std::collections::BTreeSet;
use std::sync::Arc;

use hobnob_protocol::{CheckedBatch, ConversationId, LogName, PeerId, Ranges};

use super::{ALIVE_AGAIN_AFTER, ALIVE_EVERY, Conversation, Output, Replica, Timer, Token};
use crate::SessionId;
use crate::commit::{Alive, AudienceId, Commit, CommitId, ConversationRecord, Op};

/// What follows when a commit is durable.
#[derive(Debug)]
pub(super) enum AfterCommit {
    Own {
        name: LogName,
        batch: Arc<CheckedBatch>,
        audience: AudienceId,
        tokens: Vec<Token>,
    },
    Received {
        session: SessionId,
        batch: Arc<CheckedBatch>,
        pieces: Ranges,
        audience: AudienceId,
        received_at_ms: u64,
    },
    /// The record of a conversation.
    Record(ConversationRecord),
    Stored(Token),
    /// Lazily written state. It goes into another commit if this one fails.
    Lazily {
        lingerers: BTreeSet<ConversationId>,
        acked: BTreeSet<(LogName, PeerId)>,
    },
}

impl Replica {
    pub(super) fn commit(&mut self, ops: Vec<Op>, steps: Vec<AfterCommit>) {
        let id = CommitId(self.next_commit);
        self.next_commit += 1;
        self.commits.insert(id, steps);
        self.outputs.push_back(Output::Commit(Commit { id, ops }));
    }

    pub(super) fn committed(&mut self, id: CommitId) {
        self.doomed.remove(&id);
        for step in self.commits.remove(&id).unwrap_or_default() {
            match step {
                AfterCommit::Own {
                    name,
                    batch,
                    audience,
                    tokens,
                } => self.own_is_durable(name, batch, audience, tokens),
                AfterCommit::Received {
                    session,
                    batch,
                    pieces,
                    audience,
                    received_at_ms,
                } => {
                    self.received_is_durable(session, batch, pieces, audience, received_at_ms);
                }
                AfterCommit::Record(record) => self.record_is_durable(record),
                AfterCommit::Stored(token) => self.outputs.push_back(Output::Stored(token)),
                AfterCommit::Lazily { .. } => {}
            }
        }
        self.release_held();
    }

    fn record_is_durable(&mut self, record: ConversationRecord) {
        if let Some(conversation) = self.conversations.get_mut(&record.id) {
            conversation.stored = Some(record);
        }
    }

    pub(super) fn commit_failed(&mut self, id: CommitId, why: &str) {
        let accounted_for = self.doomed.remove(&id);
        let steps = self.commits.remove(&id).unwrap_or_default();
        if !accounted_for {
            self.doomed.extend(self.commits.keys());
            self.conversations
                .values_mut()
                .for_each(Conversation::roll_back);
        }
        for step in steps {
            match step {
                AfterCommit::Own { name, tokens, .. } => {
                    self.outputs.extend(
                        tokens
                            .into_iter()
                            .map(|token| Output::AppendFailed(token, why.to_owned())),
                    );
                    self.append_went_through(name.conversation);
                }
                AfterCommit::Received { session, batch, .. } => {
                    self.received_failed(session, &batch)
                }
                AfterCommit::Record(_) => {}
                AfterCommit::Stored(token) => self
                    .outputs
                    .push_back(Output::StoreFailed(token, why.to_owned())),
                AfterCommit::Lazily { lingerers, acked } => {
                    self.keep_lazily_again(lingerers, acked)
                }
            }
        }
        self.release_held();
    }

    pub(super) fn keep_alive_sign(&mut self) {
        self.arm(Timer::Alive, ALIVE_EVERY);
        self.keep_lazily();
    }

    pub(super) fn flush_lazily_kept(&mut self) {
        if !self.lingerers_unsaved.is_empty() || !self.acked_unsaved.is_empty() {
            self.keep_lazily();
        }
    }

    /// Writes all of it in one commit. A crash must not separate the network that the node was on
    /// from the peers that were present.
    fn keep_lazily(&mut self) {
        let mut ops = Vec::new();
        let lingerers = std::mem::take(&mut self.lingerers_unsaved);
        for id in &lingerers {
            if let Some(conversation) = self
                .conversations
                .get(id)
                .filter(|conversation| conversation.asked_to_store)
            {
                ops.push(Op::Lingerers(
                    *id,
                    conversation.audiences.lingerers(self.now),
                ));
            }
        }
        let acked = std::mem::take(&mut self.acked_unsaved);
        for &(name, peer) in &acked {
            let ranges = self.acked.get(&(name, peer)).cloned().unwrap_or_default();
            ops.push(Op::Acked { name, peer, ranges });
        }
        ops.push(Op::Alive(Alive {
            at_ms: self.now.wall_ms,
            network: self.network,
        }));
        self.commit(ops, vec![AfterCommit::Lazily { lingerers, acked }]);
    }

    fn keep_lazily_again(
        &mut self,
        lingerers: BTreeSet<ConversationId>,
        acked: BTreeSet<(LogName, PeerId)>,
    ) {
        self.lingerers_unsaved.extend(lingerers);
        self.acked_unsaved.extend(acked);
        let soon = self.now.mono + ALIVE_AGAIN_AFTER;
        self.timers
            .entry(Timer::Alive)
            .and_modify(|at| *at = soon.min(*at))
            .or_insert(soon);
    }
}
