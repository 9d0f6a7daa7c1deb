//! Erasing bodies: what an author's deletions erase, and what the user of this node erases here.

use std::collections::BTreeMap;
use std::sync::Arc;

use hobnob_protocol::{Body, CheckedBatch, ConversationId, LogName, PersonId, Ranges, Seq};

use super::commits::AfterCommit;
use super::conversation::Conversation;
use super::events::{EraseWhat, Output, Token, Undelivered};
use super::log_key::LogKey;
use super::news::ANNOUNCE_AFTER;
use super::state::Replica;
use super::timers::Timer;
use crate::commit::{ConversationKind, Op};

/// Maximum undelivered messages that one answer lists.
pub const UNDELIVERED_LISTED_MAX: usize = 100;

/// The entries that the deletions in a batch erase.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    /// New entries of the same batch.
    in_batch: Ranges,
    /// Entries that are held.
    held: BTreeMap<LogName, Ranges>,
    /// Entries that are not held.
    awaited: Vec<(LogName, Seq)>,
}

impl Deletions {
    /// The deletions among the new entries of a batch, and those that waited for these entries.
    pub(super) fn of(conversation: &Conversation, batch: &CheckedBatch, pieces: &Ranges) -> Self {
        let name = batch.batch.name;
        let mut found = Self::default();
        let awaited = conversation.awaited.of(&LogKey::of(&name));
        found.in_batch = awaited.intersect(pieces);
        let mut deletions = Ranges::new();
        for (seq, entry) in (batch.first()..).zip(&batch.entries) {
            if !pieces.contains(seq) || !entry.entry.body.is_deletion() {
                continue;
            }
            deletions.insert(seq, seq);
            if let Body::Delete { log, seq: target } = entry.entry.body {
                found.add(conversation, LogName { log, ..name }, target, name, pieces);
            }
        }
        // A deletion is not erased, whatever its author says.
        found.in_batch = found.in_batch.minus(&deletions);
        found
    }

    fn add(
        &mut self,
        conversation: &Conversation,
        target: LogName,
        seq: Seq,
        of_batch: LogName,
        pieces: &Ranges,
    ) {
        let log = conversation.log(&LogKey::of(&target));
        if target == of_batch && pieces.contains(seq) {
            self.in_batch.insert(seq, seq);
        } else if log.is_some_and(|log| log.accepted().contains(seq)) {
            self.held.entry(target).or_default().insert(seq, seq);
        } else {
            self.awaited.push((target, seq));
        }
    }
}

impl Replica {
    /// Applies the deletions in a batch: adds their ops, and returns the batch without the bodies
    /// that they erase. Call it once for each new batch, before its entries are accepted.
    pub(super) fn apply_deletions(
        &mut self,
        batch: Arc<CheckedBatch>,
        pieces: &Ranges,
        ops: &mut Vec<Op>,
        steps: &mut Vec<AfterCommit>,
    ) -> (Arc<CheckedBatch>, Ranges) {
        let conversation = self.conversations.at_mut(batch.batch.name.conversation);
        let Deletions {
            in_batch,
            held,
            awaited,
        } = Deletions::of(conversation, &batch, pieces);
        for (name, seq) in awaited {
            if conversation.awaited.add(LogKey::of(&name), seq) {
                ops.push(Op::AwaitDeleted(name, seq));
            }
        }
        for (name, seqs) in held {
            erase_in(ops, steps, name, seqs, true);
        }
        if in_batch.is_empty() {
            (batch, in_batch)
        } else {
            (Arc::new(batch.erased(&in_batch)), in_batch)
        }
    }

    /// Bodies are erased on disk.
    pub(super) fn erased_are_durable(&mut self, name: LogName, seqs: &Ranges, by_author: bool) {
        self.recent.forget(name, seqs);
        let (key, shared) = (LogKey::of(&name), name.conversation);
        let Some(log) = self.conversations.at_mut(shared).log_mut(&key) else {
            return; // A commit that failed has removed the log.
        };
        let settles = by_author && !log.lacks_body().intersect(seqs).is_empty();
        let had_body = log.erase(seqs, by_author);
        let shown = if by_author { seqs.clone() } else { had_body };
        if !shown.is_empty() {
            self.outputs.push_back(Output::Erased {
                name,
                seqs: shown,
                by_author,
            });
        }
        if settles {
            self.announce_log(name);
        }
    }

    /// Peers learn soon that more entries of this log are settled here.
    pub(super) fn announce_log(&mut self, name: LogName) {
        for (_, session) in self.sessions.iter_mut() {
            let is_author = session.peer == name.device;
            if let Some(sync) = session.syncs.get_mut(&name.conversation) {
                let list = if is_author {
                    &mut sync.receipts
                } else {
                    &mut sync.announcements
                };
                list.insert(LogKey::of(&name));
            }
        }
        self.arm(Timer::Announce, ANNOUNCE_AFTER);
    }

    /// The user erases messages on this node. Nobody else learns of it.
    pub(super) fn erase(&mut self, token: Token, id: ConversationId, what: &EraseWhat) {
        let Some(conversation) = self.conversations.get(id) else {
            let why = "there is no such conversation".to_owned();
            self.outputs.push_back(Output::StoreFailed(token, why));
            return;
        };
        let mut seqs: BTreeMap<LogName, Ranges> = BTreeMap::new();
        for (key, log) in conversation.logs() {
            let name = key.name(id);
            let chosen = match &what.only {
                Some(only) => only.get(&name).cloned().unwrap_or_default(),
                None => log.servable(),
            };
            let chosen = chosen.intersect(&log.servable());
            if !chosen.is_empty() {
                seqs.insert(name, chosen);
            }
        }
        match what.undelivered {
            Undelivered::Erase => {}
            Undelivered::Keep => {
                for (name, seqs) in &mut seqs {
                    *seqs = seqs.minus(&self.undelivered(*name, seqs));
                }
            }
            Undelivered::Ask => {
                let undelivered = self.list_undelivered(&seqs);
                if !undelivered.is_empty() {
                    let refused = Output::EraseRefused(token, undelivered);
                    return self.outputs.push_back(refused);
                }
            }
        }
        self.commit_erasing(token, seqs);
    }

    fn commit_erasing(&mut self, token: Token, seqs: BTreeMap<LogName, Ranges>) {
        let (mut ops, mut steps) = (Vec::new(), Vec::new());
        for (name, seqs) in seqs.into_iter().filter(|(_, seqs)| !seqs.is_empty()) {
            erase_in(&mut ops, &mut steps, name, seqs, false);
        }
        steps.push(AfterCommit::Stored(token));
        self.commit(ops, steps);
    }

    fn list_undelivered(&self, seqs: &BTreeMap<LogName, Ranges>) -> Vec<(LogName, Seq)> {
        let of_all = seqs.iter().flat_map(|(name, seqs)| {
            let undelivered = self.undelivered(*name, seqs);
            let each: Vec<_> = undelivered.iter().flat_map(|(a, b)| a..=b).collect();
            each.into_iter().map(move |seq| (*name, seq))
        });
        of_all.take(UNDELIVERED_LISTED_MAX).collect()
    }

    /// Of these entries, our own ones that somebody whom they are for has not confirmed.
    fn undelivered(&self, name: LogName, seqs: &Ranges) -> Ranges {
        if name.author != self.identity.id {
            return Ranges::new();
        }
        let lacks = |peer: PersonId| {
            if self.is_blocked(peer) {
                return Ranges::new();
            }
            seqs.minus(&self.receipts.of(name, peer.only_device()))
        };
        let conversation = self.conversations.at(name.conversation);
        match &conversation.record.kind {
            ConversationKind::Direct(peer) => lacks(*peer),
            // It is unknown who belongs to a room with a secret: one member must have it.
            ConversationKind::Room { key, .. } if !key.is_open() => {
                seqs.minus(&self.receipts.of_anybody(name))
            }
            ConversationKind::Room { .. } => {
                let log = conversation.log(&LogKey::of(&name));
                let mut undelivered = Ranges::new();
                for run in log.map_or(&[][..], |log| log.runs()) {
                    let of_run = Ranges::span(run.first, run.last);
                    for peer in conversation.audiences.members_of(run.audience) {
                        undelivered.insert_all(&lacks(*peer).intersect(&of_run));
                    }
                }
                undelivered
            }
        }
    }
}

/// Adds to a commit that the bodies of these entries are erased.
fn erase_in(
    ops: &mut Vec<Op>,
    steps: &mut Vec<AfterCommit>,
    name: LogName,
    seqs: Ranges,
    by_author: bool,
) {
    ops.push(Op::Erase {
        name,
        seqs: seqs.clone(),
        by_author,
    });
    steps.push(AfterCommit::Erased {
        name,
        seqs,
        by_author,
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hobnob_protocol::{Batch, Entry, Frame, Holding, Salts, SecretKey};

    use super::super::events::Input;
    use super::super::testing::{
        Author, Bench, batches, closed_room, commits, direct, erased, holdings, open_room, peer,
        receipts, received, refusals, wants, without_bodies,
    };
    use super::*;
    use crate::SessionId;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;
    const DAN: u8 = 4;

    fn delete(author: &mut Author, seq: Seq) -> Batch {
        let log = author.name.log;
        author.write_bodies(1, vec![Body::Delete { log, seq }])
    }

    fn all(undelivered: Undelivered) -> EraseWhat {
        let only = None;
        EraseWhat { only, undelivered }
    }

    /// Bob writes in a room with a secret. Carol and Dan are there, Bob is not.
    fn room() -> (Bench, Author) {
        let mut bench = Bench::new();
        bench.join(false);
        for (session, member) in [(1, CAROL), (2, DAN)] {
            bench.connect(session, member);
        }
        (bench, Author::new(BOB, closed_room()))
    }

    #[test]
    fn a_deletion_erases_the_entry_that_it_names() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let mut bob = Author::new(BOB, direct(BOB));
        bench.batch(1, bob.write(&["a", "b"]));
        let outputs = bench.batch(1, delete(&mut bob, 1));
        assert_eq!(erased(&outputs), [(bob.name, Ranges::span(1, 1), true)]);
        assert_eq!(received(&outputs), [""; 0], "a deletion is no message");
        assert!(!bench.replica.has_body(bob.name, 1));
        assert!(bench.replica.has_body(bob.name, 2));
        let held = holdings(&outputs, 1);
        assert_eq!(held[0].settled, Ranges::span(1, 3));
        assert_eq!(held[0].erased, Ranges::span(1, 1));
    }

    #[test]
    fn a_deletion_is_confirmed_when_the_entry_is_erased() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let mut bob = Author::new(BOB, direct(BOB));
        bench.batch(1, bob.write(&["a"]));
        let arrived = bench.handle(Input::Batch(SessionId(1), delete(&mut bob, 1)));
        assert_eq!(receipts(&arrived, 1), []);
        let ops = arrived.iter().find_map(|output| {
            let Output::Commit(commit) = output else {
                return None;
            };
            Some(commit.ops.clone())
        });
        // One commit stores the deletion and erases the entry.
        let ops = ops.expect("the deletion is stored");
        assert!(matches!(
            ops[..],
            [
                Op::Append { .. },
                Op::Erase {
                    by_author: true,
                    ..
                }
            ]
        ));
        let durable = bench.handle(Input::Committed(commits(&arrived)[0]));
        assert_eq!(receipts(&durable, 1), [(bob.name, Ranges::span(1, 2))]);
    }

    #[test]
    fn a_message_and_its_deletion_in_one_batch_are_never_shown() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let mut bob = Author::new(BOB, direct(BOB));
        let log = bob.name.log;
        let bodies = vec!["a".into(), Body::Delete { log, seq: 1 }, "b".into()];
        let outputs = bench.batch(1, bob.write_bodies(1, bodies));
        assert_eq!(received(&outputs), ["b"]);
        assert_eq!(receipts(&outputs, 1), [(bob.name, Ranges::span(1, 3))]);
        assert!(!bench.replica.has_body(bob.name, 1));
    }

    #[test]
    fn nobody_can_delete_a_deletion_that_needs_a_newer_version() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let bob = Author::new(BOB, direct(BOB));
        let (kind, bytes, log) = (4, Vec::new(), bob.name.log);
        let bodies = [Body::Unknown { kind, bytes }, Body::Delete { log, seq: 1 }];
        let mut entries = bodies.map(|body| Entry::new(1, 1, body)).to_vec();
        entries[0]
            .extensions
            .set(34, b"even: must be known".to_vec());
        let (key, salts) = (SecretKey::from_seed([BOB; 32]), &mut Salts::new([BOB; 32]));
        let batch = CheckedBatch::author(&key, bob.name, 1, bob.name.genesis(), entries, salts);
        let outputs = bench.batch(1, batch.batch);
        assert_eq!(received(&outputs), [""; 0]);
        assert_eq!(receipts(&outputs, 1), [(bob.name, Ranges::span(1, 2))]);
        assert!(bench.replica.has_body(bob.name, 1));
    }

    #[test]
    fn a_deletion_that_arrives_first_waits_for_its_entry() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let (mut old, mut new) = (
            Author::with_log(BOB, direct(BOB), 1),
            Author::with_log(BOB, direct(BOB), 2),
        );
        let (text, log) = (old.write(&["a"]), old.name.log);
        let deletion = new.write_bodies(1, vec![Body::Delete { log, seq: 1 }]);
        bench.batch(1, deletion);
        let outputs = bench.batch(1, text);
        assert_eq!(received(&outputs), [""; 0]);
        assert_eq!(receipts(&outputs, 1), [(old.name, Ranges::span(1, 1))]);
        assert!(!bench.replica.has_body(old.name, 1));
    }

    #[test]
    fn a_deletion_names_only_entries_of_its_author() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let own = bench.own_log(direct(BOB));
        bench.append(direct(BOB), "mine");
        let mut bob = Author::new(BOB, direct(BOB));
        let body = Body::Delete {
            log: own.log,
            seq: 1,
        };
        let outputs = bench.batch(1, bob.write_bodies(1, vec![body]));
        assert_eq!(erased(&outputs), []);
        assert!(bench.replica.has_body(own, 1));
    }

    #[test]
    fn nobody_censors_an_entry_by_serving_it_without_its_body() {
        let (mut bench, mut bob) = room();
        let whole = bob.write(&["a", "b", "c"]);
        let censored = without_bodies(whole.clone(), &Ranges::span(2, 2));
        bench.meet_in(1, closed_room(), &[(bob.name, Ranges::span(1, 3))]);
        let outputs = bench.batch(1, censored);
        assert_eq!(received(&outputs), ["a", "c"], "later entries do not wait");
        let settled = Ranges::span(1, 3).minus(&Ranges::span(2, 2));
        assert_eq!(receipts(&outputs, 1), [(bob.name, settled)]);
        // Dan has the body: it is requested from him.
        let outputs = bench.meet_in(2, closed_room(), &[(bob.name, Ranges::span(1, 3))]);
        let asked = wants(&outputs, 2);
        assert_eq!(asked, [(bob.name, 2, Some(2))]);
        let outputs = bench.batch(2, whole);
        assert_eq!(received(&outputs), ["b"]);
        assert_eq!(receipts(&outputs, 2), [(bob.name, Ranges::span(1, 3))]);
        assert!(bench.replica.has_body(bob.name, 2));
    }

    #[test]
    fn the_first_entries_of_a_log_are_passed_on_although_their_bodies_are_missing() {
        let (mut bench, mut bob) = room();
        bench.meet_in(1, closed_room(), &[(bob.name, Ranges::span(1, 3))]);
        bench.meet_in(2, closed_room(), &[]);
        let first = without_bodies(bob.write(&["a", "b"]), &Ranges::span(1, 2));
        bench.batch(1, first);
        bench.batch(1, bob.write(&["c"]));
        // Dan knows of the third entry only.
        let outputs = bench.want(2, bob.name, 3, None);
        assert_eq!(batches(&outputs, 2), [(bob.name, 1, 2), (bob.name, 3, 3)]);
    }

    #[test]
    fn the_author_is_asked_for_the_first_entries_whose_bodies_are_missing() {
        let (mut bench, mut bob) = room();
        bench.meet_in(1, closed_room(), &[(bob.name, Ranges::span(3, 3))]);
        let whole = bob.write(&["a", "b"]);
        bench.batch(1, without_bodies(whole.clone(), &Ranges::span(1, 2)));
        bench.batch(1, bob.write(&["c"]));
        bench.connect(3, BOB);
        let outputs = bench.meet_in(3, closed_room(), &[(bob.name, Ranges::span(1, 3))]);
        assert_eq!(wants(&outputs, 3), [(bob.name, 1, Some(2))]);
        assert_eq!(received(&bench.batch(3, whole)), ["a", "b"]);
    }

    #[test]
    fn each_member_is_asked_once_for_a_missing_body() {
        let (mut bench, mut bob) = room();
        let censored = without_bodies(bob.write(&["a"]), &Ranges::span(1, 1));
        bench.meet_in(1, closed_room(), &[(bob.name, Ranges::span(1, 1))]);
        bench.batch(1, censored.clone());
        let outputs = bench.meet_in(2, closed_room(), &[(bob.name, Ranges::span(1, 1))]);
        assert_eq!(wants(&outputs, 2).len(), 1);
        bench.batch(2, censored);
        let mut asked = Vec::new();
        for _ in 0..100 {
            let outputs = bench.wait(Duration::from_secs(10));
            asked.extend(wants(&outputs, 1));
            asked.extend(wants(&outputs, 2));
        }
        assert_eq!(asked, []);
    }

    #[test]
    fn a_body_is_requested_only_from_a_peer_that_has_it() {
        let (mut bench, mut bob) = room();
        let censored = without_bodies(bob.write(&["a"]), &Ranges::span(1, 1));
        bench.meet_in(1, closed_room(), &[(bob.name, Ranges::span(1, 1))]);
        bench.batch(1, censored);
        bench.meet_in(2, closed_room(), &[]);
        let settled = Ranges::span(1, 1);
        let held = Holding {
            erased: settled.clone(),
            settled,
        };
        let outputs = bench.frame(2, Frame::Have(bob.name, held));
        assert_eq!(wants(&outputs, 2), []);
        let with_body = Holding::from(Ranges::span(1, 1));
        let outputs = bench.frame(2, Frame::Have(bob.name, with_body));
        assert_eq!(wants(&outputs, 2).len(), 1);
    }

    #[test]
    fn the_authors_deletion_settles_an_entry_without_its_body() {
        let (mut bench, mut bob) = room();
        let censored = without_bodies(bob.write(&["a"]), &Ranges::span(1, 1));
        bench.meet_in(1, closed_room(), &[(bob.name, Ranges::span(1, 2))]);
        let outputs = bench.batch(1, censored);
        assert_eq!(receipts(&outputs, 1), []);
        let outputs = bench.batch(1, delete(&mut bob, 1));
        assert_eq!(received(&outputs), [""; 0]);
        assert_eq!(receipts(&outputs, 1), [(bob.name, Ranges::span(1, 2))]);
    }

    #[test]
    fn our_own_deletion_erases_here_and_is_sent() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.append(direct(BOB), "oops");
        let name = bench.own_log(direct(BOB));
        let outputs = bench.settle(Input::Append {
            token: Token(2),
            conversation: direct(BOB),
            body: Body::Delete {
                log: name.log,
                seq: 1,
            },
        });
        assert_eq!(erased(&outputs), [(name, Ranges::span(1, 1), true)]);
        assert_eq!(batches(&outputs, 1), [(name, 2, 2)]);
    }

    #[test]
    fn a_deletion_in_an_open_room_is_for_those_who_may_have_the_entry() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        bench.connect(2, CAROL);
        bench.join(true);
        bench.meet_in(1, open_room(), &[]);
        bench.append(open_room(), "for bob");
        let name = bench.own_log(open_room());
        bench.meet_in(2, open_room(), &[]);
        let outputs = bench.settle(Input::Append {
            token: Token(2),
            conversation: open_room(),
            body: Body::Delete {
                log: name.log,
                seq: 1,
            },
        });
        assert_eq!(batches(&outputs, 1), [(name, 2, 2)]);
        assert_eq!(batches(&outputs, 2), []);
    }

    #[test]
    fn a_deletion_of_nothing_fails() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let log = bench.own_log(direct(BOB)).log;
        let outputs = bench.settle(Input::Append {
            token: Token(2),
            conversation: direct(BOB),
            body: Body::Delete { log, seq: 1 },
        });
        assert!(matches!(outputs[..], [Output::AppendFailed(Token(2), _)]));
    }

    /// This node's messages in a room that are listed before anything is erased.
    fn listed(bench: &mut Bench, room: ConversationId) -> Vec<Seq> {
        let outputs = bench.settle(Input::Erase(Token(3), room, all(Undelivered::Ask)));
        let mut listed = Vec::new();
        for output in outputs {
            if let Output::EraseRefused(_, undelivered) = output {
                listed.extend(undelivered.into_iter().map(|(_, seq)| seq));
            }
        }
        listed
    }

    #[test]
    fn in_a_room_with_a_secret_a_message_is_delivered_when_one_member_has_it() {
        let (mut bench, _) = room();
        for session in [1, 2] {
            bench.meet_in(session, closed_room(), &[]);
        }
        bench.append(closed_room(), "a");
        bench.append(closed_room(), "b");
        let own = bench.own_log(closed_room());
        bench.have(1, own, 1, 1);
        assert_eq!(listed(&mut bench, closed_room()), [2]);
    }

    #[test]
    fn undelivered_messages_are_erased_only_when_the_user_insists() {
        let mut bench = Bench::new();
        bench.settle(Input::OpenDirect(peer(BOB)));
        bench.append(direct(BOB), "he has not seen this");
        let name = bench.own_log(direct(BOB));
        let ask = Input::Erase(Token(3), direct(BOB), all(Undelivered::Ask));
        let outputs = bench.settle(ask);
        assert!(matches!(
            &outputs[..],
            [Output::EraseRefused(Token(3), listed)] if listed[..] == [(name, 1)]
        ));
        bench.settle(Input::Erase(Token(4), direct(BOB), all(Undelivered::Keep)));
        assert!(bench.replica.has_body(name, 1));
        bench.settle(Input::Erase(Token(5), direct(BOB), all(Undelivered::Erase)));
        assert!(!bench.replica.has_body(name, 1));
    }

    #[test]
    fn a_cleared_conversation_is_not_fetched_again() {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        let mut bob = Author::new(BOB, direct(BOB));
        let batch = bob.write(&["a", "b"]);
        bench.batch(1, batch.clone());
        let outputs = bench.settle(Input::Erase(Token(3), direct(BOB), all(Undelivered::Ask)));
        assert_eq!(erased(&outputs), [(bob.name, Ranges::span(1, 2), false)]);
        assert_eq!(batches(&outputs, 1), []);
        let outputs = bench.batch(1, batch);
        assert_eq!(received(&outputs), [""; 0]);
        assert_eq!(receipts(&outputs, 1), [(bob.name, Ranges::span(1, 2))]);
        assert_eq!(refusals(&outputs), []);
    }
}
