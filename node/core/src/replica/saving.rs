//! The store's answers, and state that is saved lazily: receipts, the peers present in open rooms,
//! and signs of life.

use std::time::Duration;

use hobnob_protocol::CheckedBatch;

use super::commits::AfterCommit;
use super::events::Output;
use super::state::Replica;
use super::timers::Timer;
use crate::commit::{Alive, CommitId, Op};

/// Receipts and the peers present in open rooms are saved this long after they change.
pub(super) const SAVE_AFTER: Duration = Duration::from_millis(500);

const ALIVE_EVERY: Duration = Duration::from_secs(60);

/// If the store could not save a sign of life, the next one follows after this time.
const ALIVE_AGAIN_AFTER: Duration = Duration::from_secs(5);

impl Replica {
    /// Asks the store to make these ops durable. The steps follow when it has.
    pub(super) fn commit(&mut self, ops: Vec<Op>, steps: Vec<AfterCommit>) {
        let commit = self.commits.add(ops, steps);
        self.outputs.push_back(Output::Commit(commit));
    }

    pub(super) fn committed(&mut self, id: CommitId) {
        let (steps, was_rolled_back) = self.commits.succeeded(id);
        for step in steps {
            if was_rolled_back {
                self.accept_again(&step);
            }
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
                    arrival,
                    audience,
                    received_at_ms,
                    charge,
                } => {
                    if let Some(charge) = charge {
                        self.strangers.now_durable(&charge);
                    }
                    self.received_is_durable(session, batch, &arrival, audience, received_at_ms);
                }
                AfterCommit::Erased {
                    name,
                    seqs,
                    by_author,
                } => self.erased_are_durable(name, &seqs, by_author),
                AfterCommit::Record(record) => {
                    self.conversations
                        .at_mut(record.id)
                        .record_is_durable(record);
                }
                AfterCommit::Stored(token) => self.outputs.push_back(Output::Stored(token)),
                AfterCommit::Saved { .. } => {}
            }
        }
        self.release_if_idle();
    }

    /// Another commit failed while this one waited, so its entries are no longer accepted. The
    /// store took them all the same.
    fn accept_again(&mut self, step: &AfterCommit) {
        let batch: &CheckedBatch = match step {
            AfterCommit::Own { batch, .. } => batch,
            AfterCommit::Received { batch, arrival, .. } if !arrival.pieces.is_empty() => batch,
            AfterCommit::Received { .. }
            | AfterCommit::Erased { .. }
            | AfterCommit::Record(_)
            | AfterCommit::Stored(_)
            | AfterCommit::Saved { .. } => return,
        };
        self.conversations.accept(batch);
        // The user may have accepted the stranger meanwhile.
        if let AfterCommit::Received {
            charge: Some(charge),
            ..
        } = step
            && !self.strangers.is_contact(batch.batch.name.author)
        {
            self.strangers.add(charge);
        }
    }

    pub(super) fn commit_failed(&mut self, id: CommitId, why: &str) {
        let (steps, must_roll_back) = self.commits.failed(id);
        if must_roll_back {
            self.conversations.roll_back();
            self.strangers.roll_back();
        }
        for step in steps {
            match step {
                AfterCommit::Own { name, tokens, .. } => {
                    let failed = |token| Output::AppendFailed(token, why.to_owned());
                    self.outputs.extend(tokens.into_iter().map(failed));
                    self.append_answered(name.conversation);
                }
                AfterCommit::Received { session, batch, .. } => {
                    self.received_failed(session, &batch)
                }
                AfterCommit::Record(_) | AfterCommit::Erased { .. } => {}
                AfterCommit::Stored(token) => {
                    let failed = Output::StoreFailed(token, why.to_owned());
                    self.outputs.push_back(failed);
                }
                AfterCommit::Saved {
                    lingerers,
                    receipts,
                } => {
                    self.conversations.presence_not_saved(lingerers);
                    self.receipts.not_saved(receipts);
                    let soon = self.now.mono + ALIVE_AGAIN_AFTER;
                    self.timers.arm_by(Timer::Alive, soon);
                }
            }
        }
        self.release_if_idle();
    }

    pub(super) fn save_sign_of_life(&mut self) {
        self.arm(Timer::Alive, ALIVE_EVERY);
        self.save();
    }

    /// Saves what has changed since it was last saved.
    pub(super) fn save_changes(&mut self) {
        if !self.conversations.presence_is_saved() || !self.receipts.is_saved() {
            self.save();
        }
    }

    /// Saves everything in one commit. A crash must not separate the sign of life from the peers that
    /// were present.
    fn save(&mut self) {
        let (lingerers, mut ops) = self.conversations.save_presence(self.now);
        let receipts = self.receipts.take_unsaved();
        for &(name, peer) in &receipts {
            let ranges = self.receipts.of(name, peer);
            ops.push(Op::Acked { name, peer, ranges });
        }
        ops.push(Op::Alive(Alive {
            at_ms: self.now.wall_ms,
        }));
        let saved = AfterCommit::Saved {
            lingerers,
            receipts,
        };
        self.commit(ops, vec![saved]);
    }
}
