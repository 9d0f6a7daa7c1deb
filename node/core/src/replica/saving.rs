//! The store's answers, and state that is saved lazily: receipts, the peers present in open rooms,
//! and signs of life.

use std::time::Duration;

use hobnob_protocol::Ranges;

use super::commits::AfterCommit;
use super::events::Output;
use super::log_key::LogKey;
use super::room_budget::cost;
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
                    brought_by: _,
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
                AfterCommit::Dropped { name, .. } => {
                    let conversation = self.conversations.at_mut(name.conversation);
                    conversation.budget.end_drop(&LogKey::of(&name));
                }
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
        self.forget_unused();
    }

    /// Another commit failed while this one waited, so its entries are no longer accepted. The
    /// store took them all the same.
    fn accept_again(&mut self, step: &AfterCommit) {
        match step {
            AfterCommit::Own { name, batch, .. } => {
                let cost = cost(batch, &Ranges::span(batch.first(), batch.last()));
                self.accept_in(batch, cost, name.device);
            }
            AfterCommit::Received {
                batch,
                arrival,
                brought_by,
                charge,
                ..
            } => {
                if !arrival.pieces.is_empty() {
                    let cost = cost(batch, &arrival.pieces);
                    self.accept_in(batch, cost, *brought_by);
                }
                // The user may have accepted the stranger meanwhile.
                if let Some(charge) = charge
                    && !self.strangers.is_contact(batch.batch.name.author)
                {
                    self.strangers.add(charge);
                }
            }
            AfterCommit::Record(_)
            | AfterCommit::Stored(_)
            | AfterCommit::Dropped { .. }
            | AfterCommit::Erased { .. }
            | AfterCommit::Saved { .. } => {}
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
                AfterCommit::Dropped { name, log } => {
                    let key = LogKey::of(&name);
                    let is_stranger = self.is_stranger(key.author);
                    let conversation = self.conversations.at_mut(name.conversation);
                    conversation.budget.end_drop(&key);
                    conversation.put_back(key, log);
                    // The user may have decided about the author meanwhile.
                    conversation.count_log(key, is_stranger);
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
        self.forget_unused();
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

    /// Saves everything in one commit. A crash must not separate the sign of life from the peers
    /// that were present.
    fn save(&mut self) {
        let (lingerers, mut ops) = self.conversations.save_presence(self.now);
        let receipts = self.receipts.take_unsaved();
        for &(name, peer) in &receipts {
            // A receipt that was forgotten has no ranges, and the store forgets it, too.
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

#[cfg(test)]
mod tests {
    use hobnob_protocol::{Batch, LogName, PersonId, Ranges};

    use super::super::events::Input;
    use super::super::testing::{
        Author, Bench, commits, direct, entering, lamports, open_room, ops, peer, receipts,
        received,
    };
    use super::*;
    use crate::SessionId;

    const BOB: u8 = 2;

    /// A session 1 with Bob, who has confirmed the first entry of the log of this run.
    fn with_receipt() -> (Bench, LogName) {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.append(direct(BOB), "a");
        let log = bench.own_log(direct(BOB));
        let outputs = bench.have(1, log, 1, 1);
        assert_eq!(acked(&outputs), []);
        (bench, log)
    }

    /// The receipts that the store was asked to save.
    fn acked(outputs: &[Output]) -> Vec<(LogName, Ranges)> {
        let mut acked = Vec::new();
        for op in ops(outputs) {
            if let Op::Acked { name, ranges, .. } = op {
                acked.push((*name, ranges.clone()));
            }
        }
        acked
    }

    /// The times of the signs of life that the store was asked to save.
    fn signs_of_life(outputs: &[Output]) -> Vec<u64> {
        let mut times = Vec::new();
        for op in ops(outputs) {
            if let Op::Alive(alive) = op {
                times.push(alive.at_ms);
            }
        }
        times
    }

    /// The lists of present peers that the store was asked to save.
    fn present(outputs: &[Output]) -> Vec<Vec<PersonId>> {
        let mut lists = Vec::new();
        for op in ops(outputs) {
            if let Op::Lingerers(_, peers) = op {
                lists.push(peers.iter().map(|lingerer| lingerer.peer).collect());
            }
        }
        lists
    }

    #[test]
    fn a_receipt_is_saved_half_a_second_later() {
        let (mut bench, log) = with_receipt();
        assert_eq!(acked(&bench.wait(SAVE_AFTER / 2)), []);
        let saved = bench.wait(SAVE_AFTER / 2);
        assert_eq!(acked(&saved), [(log, Ranges::span(1, 1))]);
        assert_eq!(acked(&bench.wait(10 * SAVE_AFTER)), [], "saved once");
    }

    #[test]
    fn a_node_that_stops_saves_at_once_what_has_changed() {
        let (mut bench, log) = with_receipt();
        let saved = bench.settle(Input::Flush);
        assert_eq!(acked(&saved), [(log, Ranges::span(1, 1))]);
        assert_eq!(commits(&bench.settle(Input::Flush)), [], "nothing is left");
    }

    #[test]
    fn what_the_disk_did_not_take_is_saved_five_seconds_later() {
        let (mut bench, log) = with_receipt();
        bench.now.mono += SAVE_AFTER;
        let saving = bench.handle(Input::Timeout);
        bench.handle(Input::CommitFailed(commits(&saving)[0], "full".to_owned()));
        let early = bench.wait(ALIVE_AGAIN_AFTER - Duration::from_secs(1));
        assert_eq!(acked(&early), []);
        let saved = bench.wait(Duration::from_secs(1));
        assert_eq!(acked(&saved), [(log, Ranges::span(1, 1))]);
    }

    /// Two commits wait: one with a message of this node to Bob, and one with a batch from him. The
    /// first one fails, and the second one succeeds.
    fn first_of_two_fails(bench: &mut Bench, batch: Batch) -> Vec<Output> {
        let first = commits(&bench.begin_append(1, direct(BOB), "lost"));
        let second = commits(&bench.handle(Input::Batch(SessionId(1), batch)));
        let [first, second] = [first, second].map(|ids| *ids.first().expect("a commit"));
        bench.handle(Input::CommitFailed(first, "full".to_owned()));
        bench.settle(Input::Committed(second))
    }

    #[test]
    fn what_the_disk_took_after_a_failure_is_accepted_after_all() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let mut bob = Author::new(BOB, direct(BOB));
        let outputs = first_of_two_fails(&mut bench, bob.write_at(12, &["a", "b"]));
        assert_eq!(received(&outputs), ["a", "b"]);
        assert_eq!(receipts(&outputs, 1), [(bob.name, Ranges::span(1, 2))]);
        assert_eq!(received(&bench.batch(1, bob.write(&["c"]))), ["c"]);
        // An answer comes after what was read.
        assert_eq!(lamports(&bench.append(direct(BOB), "d")), [13]);
    }

    #[test]
    fn what_the_disk_took_of_a_stranger_after_a_failure_counts_as_its_request() {
        let mut bench = Bench::new();
        bench.join(true);
        bench.connect_stranger(1, BOB);
        let mut bob = Author::new(BOB, direct(BOB));
        // The stranger is not written to: that would accept it.
        let joining = commits(&bench.handle(entering(false)));
        let arriving = bench.handle(Input::Batch(SessionId(1), bob.write(&["a", "b"])));
        bench.handle(Input::CommitFailed(joining[0], "full".to_owned()));
        assert_eq!(bench.replica.requests().count(), 0);
        bench.settle(Input::Committed(commits(&arriving)[0]));
        let request = bench.replica.requests().next().expect("a request");
        assert_eq!((request.peer, request.entries), (peer(BOB), 2));
    }

    #[test]
    fn a_node_shows_a_sign_of_life_every_minute() {
        let mut bench = Bench::new();
        let minute = bench.wait(ALIVE_EVERY);
        assert_eq!(signs_of_life(&minute), [bench.now.wall_ms]);
        assert_eq!(signs_of_life(&bench.wait(5 * ALIVE_EVERY)).len(), 5);
    }

    #[test]
    fn a_sign_of_life_goes_with_everything_that_is_saved() {
        let (mut bench, _) = with_receipt();
        let saved = bench.settle(Input::Flush);
        assert_eq!((commits(&saved).len(), signs_of_life(&saved).len()), (1, 1));
    }

    #[test]
    fn the_peers_in_an_open_room_are_saved_when_they_change() {
        let mut bench = Bench::new();
        bench.join(true);
        bench.connect(1, BOB);
        bench.meet_in(1, open_room(), &[]);
        assert_eq!(present(&bench.wait(SAVE_AFTER)), [vec![peer(BOB)]]);
        bench.hang_up(1, true);
        assert_eq!(present(&bench.wait(SAVE_AFTER)), [Vec::new()]);
        // A peer that dropped out without a goodbye still counts as present.
        bench.connect(2, BOB);
        bench.meet_in(2, open_room(), &[]);
        bench.hang_up(2, false);
        assert_eq!(present(&bench.wait(SAVE_AFTER)), [vec![peer(BOB)]]);
    }
}
