//! Commits that the store has not answered, and what follows each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hobnob_protocol::{CheckedBatch, ConversationId, DeviceId, LogName, Ranges};

use super::arrival::Arrival;
use super::events::Token;
use super::log::Log;
use super::strangers::Charge;
use crate::SessionId;
use crate::commit::{AudienceId, Commit, CommitId, ConversationRecord, Op};

/// The action after a commit is durable.
#[derive(Debug)]
pub(super) enum AfterCommit {
    /// Entries of our own are durable.
    Own {
        name: LogName,
        batch: Arc<CheckedBatch>,
        audience: AudienceId,
        tokens: Vec<Token>,
    },
    /// Entries from a session are durable.
    Received {
        session: SessionId,
        batch: Arc<CheckedBatch>,
        arrival: Arrival,
        audience: AudienceId,
        received_at_ms: u64,
        /// Their share in the request of their author, a stranger.
        charge: Option<Charge>,
        /// The peer to which a new log is charged.
        brought_by: DeviceId,
    },
    /// Bodies are erased on disk.
    Erased {
        name: LogName,
        seqs: Ranges,
        by_author: bool,
    },
    /// A log was dropped to make room.
    Dropped { name: LogName, log: Log },
    /// The record of a conversation is durable.
    Record(ConversationRecord),
    /// The user's join, part or erasing is durable.
    Stored(Token),
    /// State that is saved lazily. It goes into another commit if this one fails.
    Saved {
        lingerers: BTreeSet<ConversationId>,
        receipts: BTreeSet<(LogName, DeviceId)>,
    },
}

/// Commits that the store has not answered yet.
#[derive(Debug, Default)]
pub(super) struct Commits {
    waiting: BTreeMap<CommitId, Vec<AfterCommit>>,
    /// Commits that waited when an earlier one failed: the replica has rolled back what they
    /// contain. Most of them fail too. The store may still take one that needs nothing of the
    /// failed commit.
    rolled_back: BTreeSet<CommitId>,
    last: u64,
}

impl Commits {
    /// Numbers a commit and remembers what follows it.
    pub(super) fn add(&mut self, ops: Vec<Op>, steps: Vec<AfterCommit>) -> Commit {
        self.last += 1;
        let id = CommitId(self.last);
        self.waiting.insert(id, steps);
        Commit { id, ops }
    }

    /// The commit is durable. Returns what follows, and whether what it contains was rolled back.
    pub(super) fn succeeded(&mut self, id: CommitId) -> (Vec<AfterCommit>, bool) {
        (self.take(id), self.rolled_back.remove(&id))
    }

    /// The commit failed. Returns what does not follow, and whether the replica must roll back all
    /// that is not durable. It has done so if an earlier commit failed while this one waited.
    pub(super) fn failed(&mut self, id: CommitId) -> (Vec<AfterCommit>, bool) {
        let steps = self.take(id);
        let must_roll_back = !self.rolled_back.remove(&id);
        if must_roll_back {
            self.rolled_back.extend(self.waiting.keys());
        }
        (steps, must_roll_back)
    }

    /// Whether a commit may still succeed of which the replica has rolled back what it contains.
    pub(super) fn any_is_rolled_back(&self) -> bool {
        !self.rolled_back.is_empty()
    }

    fn take(&mut self, id: CommitId) -> Vec<AfterCommit> {
        let steps = self.waiting.remove(&id);
        steps.expect("the store answers each commit once")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds a commit that is followed by the answer to a join.
    fn add(commits: &mut Commits, token: u64) -> CommitId {
        let steps = vec![AfterCommit::Stored(Token(token))];
        commits.add(Vec::new(), steps).id
    }

    fn tokens(steps: &[AfterCommit]) -> Vec<u64> {
        let token = |step: &AfterCommit| {
            let AfterCommit::Stored(Token(token)) = step else {
                panic!("not added here: {step:?}");
            };
            *token
        };
        steps.iter().map(token).collect()
    }

    #[test]
    fn a_durable_commit_is_followed_by_its_steps() {
        let mut commits = Commits::default();
        let (first, second) = (add(&mut commits, 7), add(&mut commits, 8));
        assert!(first < second);
        let (steps, was_rolled_back) = commits.succeeded(first);
        assert_eq!((tokens(&steps), was_rolled_back), (vec![7], false));
        assert_eq!((commits.len(), commits.is_empty()), (1, false));
        assert_eq!(tokens(&commits.succeeded(second).0), [8]);
        assert!(commits.is_empty());
    }

    #[test]
    fn a_failure_rolls_back_once_for_all_that_wait() {
        let mut commits = Commits::default();
        let [first, second, third] = [1, 2, 3].map(|token| add(&mut commits, token));
        let (steps, must_roll_back) = commits.failed(first);
        assert_eq!((tokens(&steps), must_roll_back), (vec![1], true));
        let (steps, must_roll_back) = commits.failed(second);
        assert_eq!((tokens(&steps), must_roll_back), (vec![2], false));
        let later = add(&mut commits, 4);
        assert!(commits.any_is_rolled_back());
        assert!(!commits.failed(third).1);
        assert!(!commits.any_is_rolled_back());
        assert!(commits.failed(later).1, "it was made after the roll-back");
    }

    #[test]
    fn a_commit_may_succeed_after_the_roll_back() {
        let mut commits = Commits::default();
        let (first, second) = (add(&mut commits, 1), add(&mut commits, 2));
        commits.failed(first);
        let (steps, was_rolled_back) = commits.succeeded(second);
        assert_eq!((tokens(&steps), was_rolled_back), (vec![2], true));
    }
}
