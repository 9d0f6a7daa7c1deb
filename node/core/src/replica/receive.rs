//! Batches from peers: judged, accepted, made durable, shown.

use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::{Batch, CheckedBatch, ConversationId, DeviceId, Frame, LogName, Ranges, Seq};

use super::arrival::Arrival;
use super::budget::Budget;
use super::commits::AfterCommit;
use super::events::Output;
use super::log_key::LogKey;
use super::refusal::{LAMPORT_MAX, Refusal};
use super::room_budget::cost;
use super::state::Replica;
use super::strangers::Charge;
use super::timers::Timer;
use crate::SessionId;
use crate::commit::{AudienceId, ConversationKind, Op};

/// How often sessions that were too fast are checked.
const BUDGET_EVERY: Duration = Duration::from_millis(50);

/// The decision about a batch.
enum Verdict {
    /// New entries of it are accepted, and bodies of entries that are held without them. The charge is
    /// for a stranger's. The logs are dropped to make room.
    Accept(
        Arc<CheckedBatch>,
        Ranges,
        Ranges,
        Option<Charge>,
        Vec<LogKey>,
    ),
    /// A stranger has stored as much as it may. The batch stays with it.
    Wait(ConversationId),
    /// All of it is held, or not wanted.
    Known(LogName),
    Refuse(Refusal),
}

impl Replica {
    pub(super) fn batch(&mut self, session: SessionId, batch: Batch) {
        let signature = batch.signature;
        match self.judge(session, batch) {
            Verdict::Accept(batch, pieces, bodies, charge, drops) => {
                self.accept(session, batch, pieces, bodies, charge, drops);
            }
            Verdict::Wait(conversation) => {
                self.refuse_request(session, conversation);
                self.release(session, 1);
            }
            Verdict::Known(name) => {
                self.queue_receipt(session, name);
                self.release(session, 1);
            }
            Verdict::Refuse(refusal) => {
                let refused = Output::Refused(session, Some(signature), refusal);
                self.outputs.push_back(refused);
                self.release(session, 1);
            }
        }
    }

    /// Decides about a batch. The cheap checks come first and the signature last.
    fn judge(&mut self, session: SessionId, batch: Batch) -> Verdict {
        self.check(session, batch).unwrap_or_else(Verdict::Refuse)
    }

    fn check(&mut self, session: SessionId, batch: Batch) -> Result<Verdict, Refusal> {
        let name = batch.name;
        let key = LogKey::of(&name);
        if self.sessions.sync(session, name.conversation).is_none() {
            return Err(Refusal::NotShared);
        }
        let conversation = self.conversations.at(name.conversation);
        if self.is_blocked(name.author) {
            return Err(Refusal::Blocked);
        }
        let checked = batch.read()?;
        for entry in &checked.entries {
            let header = Some(&entry.entry.extensions);
            conversation.may_write(self.identity.id, &key, header)?;
        }
        let log = conversation.log(&key);
        if log.is_some_and(|log| log.conflicts(&checked)) {
            return Err(self.conflict(session, &checked));
        }
        let (is_held, span) = (log.is_some(), Ranges::span(checked.first(), checked.last()));
        let missing = conversation.missing(self.identity.id, &key, &span);
        if !missing.is_empty() {
            self.check_room(session, &checked, &missing)?;
        }
        let conversation = self.conversations.at(name.conversation);
        let bodies = conversation.bodies_in(&key, &checked);
        // The peer sent an entry without its body, so it may still need that body.
        let with_body = checked.with_bodies();
        let of_peer = self.sessions.at_mut(session);
        if !with_body.is_empty() {
            of_peer.note_holdings(name, &with_body, is_held);
        }
        if missing.is_empty() && bodies.is_empty() {
            return Ok(Verdict::Known(name));
        }
        // A request that is full asks for nothing, so this comes before the search for gaps.
        let mut new = missing.clone();
        new.insert_all(&bodies);
        let charge = self.charge_for(session, &checked, &new);
        if charge.is_some_and(|charge| !self.has_room_for(session, &checked, &charge)) {
            return Ok(Verdict::Wait(name.conversation));
        }
        if !missing.is_empty() {
            self.check_place(session, name, &checked)?;
        }
        checked.verify()?;
        let drops = if missing.is_empty() {
            Vec::new()
        } else {
            self.make_room(session, &checked, &missing)?
        };
        let accepted = Arc::new(checked);
        Ok(Verdict::Accept(accepted, missing, bodies, charge, drops))
    }

    /// The batch contradicts what is held: it is forged, or its author wrote two entries in one
    /// place. The peer is informed of the latter.
    fn conflict(&mut self, session: SessionId, batch: &CheckedBatch) -> Refusal {
        if let Err(error) = batch.verify() {
            return error.into();
        }
        if self.sessions.at(session).may_send_more() {
            self.send(session, &Frame::Conflict(batch.batch.name));
        }
        Refusal::Conflict
    }

    /// Whether a new batch can be accepted at its place in its log.
    fn check_place(
        &mut self,
        session: SessionId,
        name: LogName,
        batch: &CheckedBatch,
    ) -> Result<(), Refusal> {
        if self.identity.writes(name) {
            return Err(Refusal::IdentityReused);
        }
        let lamport = batch.entries.last().map(|last| last.entry.lamport);
        if lamport.is_some_and(|lamport| lamport > LAMPORT_MAX) {
            return Err(Refusal::Lamport);
        }
        if let Some((older, from)) = self.overtaken(session, name) {
            if self.sessions.at(session).by_mail.is_some() {
                self.request_gap(session, older, from);
            }
            return Err(Refusal::Gap);
        }
        let conversation = self.conversations.at(name.conversation);
        let log = conversation.log(&LogKey::of(&name));
        let continues = log.map_or(batch.first() == 1, |log| log.continues_at(batch.first()));
        if continues {
            return Ok(());
        }
        if conversation.is_direct() {
            let from = log.map_or(0, |log| log.head().0) + 1;
            self.request_gap(session, name, from);
            return Err(Refusal::Gap);
        }
        // A member that holds the entries before these sends them first. So they arrived, and could
        // not be stored.
        if conversation.is_closed_room() {
            let missing = self.missing_from(session, name.conversation, &LogKey::of(&name));
            if let Some(from) = missing.first().filter(|seq| *seq < batch.first()) {
                self.request_gap(session, name, from);
                return Err(Refusal::Gap);
            }
        }
        // In a room a gap may be right: the entries were not for this node, or the others have
        // dropped them. But while the author is connected, only the author can know that: it sends
        // the entries that are for this node, in order.
        let requested = self
            .sessions
            .sync(session, name.conversation)
            .is_some_and(|sync| sync.requests.contain(&LogKey::of(&name), batch.first()));
        let is_author = self.sessions.at(session).peer == name.device;
        if !requested && !is_author && self.sessions.is_here(name.author, name.conversation) {
            return Err(Refusal::Gap);
        }
        Ok(())
    }

    /// The first entry of an older log of the author that must arrive on this session first: because
    /// the store failed to take it a while ago, or because a holder of mail has lost or delayed it.
    fn overtaken(&self, session: SessionId, name: LogName) -> Option<(LogName, Seq)> {
        let conversation = self.conversations.at(name.conversation);
        let is_set_back = conversation.pulls.is_set_back(name.author, self.now.mono);
        let by_mail = self.sessions.at(session).by_mail.is_some();
        if conversation.is_open_room() || !(is_set_back || by_mail) {
            return None;
        }
        let sync = self.sessions.sync(session, name.conversation)?;
        sync.holdings.older_logs(name).into_iter().find_map(|key| {
            let missing = self.missing_from(session, name.conversation, &key);
            Some((key.name(name.conversation), missing.first()?))
        })
    }

    fn accept(
        &mut self,
        session: SessionId,
        batch: Arc<CheckedBatch>,
        pieces: Ranges,
        bodies: Ranges,
        charge: Option<Charge>,
        drops: Vec<LogKey>,
    ) {
        let name = batch.batch.name;
        // Entries of our own that come back are not charged to the peer that kept them.
        let own = name.author == self.identity.id;
        let bringer = self.sessions.at(session).peer;
        let brought_by = if own { name.device } else { bringer };
        let received_at_ms = self.now.wall_ms;
        let (mut ops, mut steps) = (Vec::new(), Vec::new());
        let conversation = self.conversations.at_mut(name.conversation);
        conversation.store_record(&mut ops, &mut steps);
        let is_new = conversation.log(&LogKey::of(&name)).is_none();
        self.drop_logs(name.conversation, drops, &mut ops, &mut steps);
        let audience =
            self.conversations
                .stamp(name.conversation, &self.networks, self.now, &mut ops);
        let audience = self.audience_for(&batch, &pieces, audience);
        // The deletions come after the entries, on disk and in what follows the commit.
        let (mut erase_ops, mut erase_steps) = (Vec::new(), Vec::new());
        let (batch, deleted) =
            self.apply_deletions(batch, &pieces, &mut erase_ops, &mut erase_steps);
        let mut arrival = Arrival::new(&batch, pieces, deleted);
        arrival.bodies = bodies;
        let has_new = !arrival.pieces.is_empty();
        let mut stored_cost = None;
        if has_new {
            let cost = cost(&batch, &arrival.pieces);
            stored_cost = self.accept_in(&batch, cost, brought_by);
        }
        for (from, to) in arrival.pieces.iter() {
            ops.push(Op::Append {
                batch: batch.clone(),
                from,
                to,
                audience,
                received_at_ms,
                deleted: arrival.deleted.intersect(&Ranges::span(from, to)),
            });
        }
        if !arrival.bodies.is_empty() {
            let log = self.conversations.at_mut(name.conversation);
            let log = log.log_mut(&LogKey::of(&name));
            log.expect("it lacks bodies").accept_bodies(&arrival.bodies);
            ops.push(Op::Fill {
                batch: batch.clone(),
                seqs: arrival.bodies.clone(),
            });
        }
        if let Some(charge) = charge {
            ops.push(Op::Request(self.strangers.add(&charge)));
        }
        let is_direct = self.conversations.at(name.conversation).is_direct();
        if is_new && has_new && !is_direct && !own {
            ops.push(Op::Brought(name, brought_by));
        }
        ops.extend(stored_cost.map(|cost| Op::Cost(name, cost)));
        steps.push(AfterCommit::Received {
            session,
            batch,
            arrival,
            audience,
            received_at_ms,
            charge,
            brought_by,
        });
        ops.append(&mut erase_ops);
        steps.append(&mut erase_steps);
        self.commit(ops, steps);
        let conversation = self.conversations.at_mut(name.conversation);
        conversation.pulls.arrived(name.author, self.now.mono);
    }

    /// Accepts entries of a batch in their log. Returns the cost of the log, if the store has to learn
    /// it.
    pub(super) fn accept_in(
        &mut self,
        batch: &CheckedBatch,
        cost: u64,
        brought_by: DeviceId,
    ) -> Option<u64> {
        let name = batch.batch.name;
        let is_stranger = self.is_stranger(name.author);
        let stored = self.conversations.accept(batch, cost, brought_by);
        let conversation = self.conversations.at_mut(name.conversation);
        conversation.count_log(LogKey::of(&name), is_stranger);
        stored
    }

    /// Adds to a commit that these logs leave a full room.
    fn drop_logs(
        &mut self,
        room: ConversationId,
        drops: Vec<LogKey>,
        ops: &mut Vec<Op>,
        steps: &mut Vec<AfterCommit>,
    ) {
        for key in drops {
            let (name, log) = (
                key.name(room),
                self.conversations.at_mut(room).drop_log(&key),
            );
            self.recent.forget(name, log.durable());
            ops.push(Op::Forget(name));
            steps.push(AfterCommit::Dropped { name, log });
        }
        self.report_full_room(room);
    }

    pub(super) fn received_is_durable(
        &mut self,
        session: SessionId,
        batch: Arc<CheckedBatch>,
        arrival: &Arrival,
        audience: AudienceId,
        received_at_ms: u64,
    ) {
        let name = batch.batch.name;
        let pieces = &arrival.pieces;
        let own = name.author == self.identity.id;
        for (first, last) in pieces.iter() {
            self.now_durable(name, first, last, audience);
        }
        let filled = self.bodies_arrived(&batch, arrival);
        if !own {
            let mut shown = arrival.shown.clone();
            shown.insert_all(&filled);
            for (first, last) in shown.iter() {
                self.outputs.push_back(Output::Received {
                    batch: batch.clone(),
                    first,
                    last,
                    received_at_ms,
                });
            }
        }
        if own && !pieces.is_empty() {
            let from = self.sessions.get(session);
            let from = from.map_or(self.identity.id, |session| session.person());
            self.outputs
                .push_back(Output::OwnRestored(name.conversation, from, pieces.len()));
            // This home is an older copy, and does not know that the user wrote to the peer.
            let kind = &self.conversations.at(name.conversation).record.kind;
            if let ConversationKind::Direct(peer) = *kind {
                self.accept_by_writing(peer);
            }
        }
        if !arrival.bodies.is_empty() {
            // The cache may hold these entries without their bodies.
            self.recent.forget(name, &arrival.bodies);
            self.announce_log(name);
        }
        if !arrival.unsettled.is_empty() {
            self.ask_for_bodies(session, name, &arrival.unsettled);
        }
        self.recent.keep(&batch);
        self.queue_receipt(session, name);
        for (first, last) in pieces.iter() {
            self.pass_on(name, first, last, audience, Some(session));
        }
        self.release_within_budget(session, pieces.len());
    }

    /// Entries arrived without their bodies. Asks everybody who has announced them, except the
    /// session that sent them.
    fn ask_for_bodies(&mut self, from: SessionId, name: LogName, bodies: &Ranges) {
        let (key, shared) = (LogKey::of(&name), name.conversation);
        if let Some(sync) = self.sessions.sync_mut(from, shared) {
            sync.bodies.note_asked(key, bodies);
        }
        for (id, announced) in self.sessions.announced(shared, Some(name.author)) {
            if announced == key {
                self.request_bodies(id, shared, key);
            }
        }
    }

    /// Notes which entries of a batch have a body on disk now. Returns those whose body was missing.
    fn bodies_arrived(&mut self, batch: &CheckedBatch, arrival: &Arrival) -> Ranges {
        let name = batch.batch.name;
        let key = LogKey::of(&name);
        let conversation = self.conversations.at_mut(name.conversation);
        conversation.awaited.arrived(&key, &arrival.deleted);
        // A room that drops its oldest entries may have dropped these.
        let Some(log) = conversation.log_mut(&key) else {
            return Ranges::new();
        };
        let held = log.durable().clone();
        log.arrived_without_body(
            batch,
            &arrival.deleted.intersect(&held),
            &arrival.unsettled.intersect(&held),
        );
        log.bodies_are_durable(&arrival.bodies)
    }

    /// The store did not take the batch.
    pub(super) fn received_failed(&mut self, session: SessionId, batch: &CheckedBatch) {
        let name = batch.batch.name;
        if let Some(sync) = self.sessions.sync_mut(session, name.conversation) {
            sync.bodies.forget_asked(&LogKey::of(&name));
        }
        let conversation = self.conversations.at_mut(name.conversation);
        conversation.pulls.set_back(name.author, self.now.mono);
        // If its session is over, nothing may be left of the conversation.
        self.ended.insert(name.conversation);
        self.release(session, 1);
        self.expect_entries(name.conversation, name.author);
    }

    /// Marks accepted entries as durable, and keeps rooms within their limit.
    pub(super) fn now_durable(
        &mut self,
        name: LogName,
        first: Seq,
        last: Seq,
        audience: AudienceId,
    ) {
        let trim = self.conversations.now_durable(name, first, last, audience);
        if let Some(op) = trim {
            self.commit(vec![op], Vec::new());
        }
    }

    // Releases: how many batches a session may deliver.

    /// The session may deliver another batch, if it kept within its budget or the store has nothing
    /// else to do. Otherwise it waits.
    fn release_within_budget(&mut self, id: SessionId, entries: u64) {
        let (now, store_is_idle) = (self.now.mono, self.commits.is_empty());
        // The session may have ended before the store answered.
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.budget.spend(now, entries) || store_is_idle {
            self.release(id, 1);
        } else {
            session.budget.held += 1;
            self.arm(Timer::Budget, BUDGET_EVERY);
        }
    }

    fn release(&mut self, session: SessionId, batches: usize) {
        // The session may have ended before the store answered.
        if self.sessions.contains(session) {
            self.outputs.push_back(Output::Release(session, batches));
        }
    }

    /// Releases the sessions that were too fast, if the store has caught up.
    pub(super) fn release_if_idle(&mut self) {
        if self.commits.is_empty() {
            self.release_where(|_, _| true);
        }
    }

    /// Releases the sessions that were too fast and have waited long enough.
    pub(super) fn release_after_budget(&mut self) {
        self.release_where(Budget::has_recovered);
        if self.sessions.any_is_held() {
            self.arm(Timer::Budget, BUDGET_EVERY);
        }
    }

    fn release_where(&mut self, may_go_on: impl Fn(&mut Budget, Duration) -> bool) {
        let now = self.now.mono;
        for (id, session) in self.sessions.iter_mut() {
            if session.budget.held > 0 && may_go_on(&mut session.budget, now) {
                let held = std::mem::take(&mut session.budget.held);
                self.outputs.push_back(Output::Release(id, held));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Input;
    use super::super::testing::{
        Author, Bench, ME, batches, closed_room, commits, direct, frames, open_room, receipts,
        received, refusals, released, wants,
    };
    use super::*;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;

    /// A session 1 with Bob, who writes in the direct conversation.
    fn with_bob() -> (Bench, Author) {
        let mut bench = Bench::new();
        bench.connect(1, BOB);
        (bench, Author::new(BOB, direct(BOB)))
    }

    #[test]
    fn entries_are_shown_and_acknowledged_when_they_are_durable() {
        let (mut bench, mut bob) = with_bob();
        let arrived = bench.handle(Input::Batch(SessionId(1), bob.write(&["a", "b"])));
        assert_eq!(received(&arrived), [""; 0]);
        assert_eq!(receipts(&arrived, 1), []);
        let [commit] = commits(&arrived)[..] else {
            panic!("one commit: {arrived:?}")
        };
        let durable = bench.handle(Input::Committed(commit));
        assert_eq!(received(&durable), ["a", "b"]);
        assert_eq!(receipts(&durable, 1), [(bob.name, Ranges::span(1, 2))]);
    }

    #[test]
    fn a_batch_that_arrives_twice_is_acknowledged_twice_and_shown_once() {
        let (mut bench, mut bob) = with_bob();
        let batch = bob.write(&["a"]);
        assert_eq!(received(&bench.batch(1, batch.clone())), ["a"]);
        let again = bench.batch(1, batch);
        assert_eq!(received(&again), [""; 0]);
        assert_eq!(receipts(&again, 1), [(bob.name, Ranges::span(1, 1))]);
    }

    #[test]
    fn each_batch_lets_the_session_deliver_another_one() {
        let (mut bench, mut bob) = with_bob();
        let batch = bob.write(&["a"]);
        assert_eq!(released(&bench.batch(1, batch.clone())), 1, "new");
        assert_eq!(released(&bench.batch(1, batch)), 1, "known");
        let foreign = Author::new(CAROL, direct(BOB)).write(&["x"]);
        assert_eq!(released(&bench.batch(1, foreign)), 1, "refused");
    }

    #[test]
    fn a_third_party_cannot_write_in_a_direct_conversation() {
        let (mut bench, _) = with_bob();
        let foreign = Author::new(CAROL, direct(BOB)).write(&["x"]);
        let outputs = bench.batch(1, foreign);
        assert_eq!(refusals(&outputs), [Refusal::NotAnAuthor]);
    }

    #[test]
    fn a_batch_of_a_conversation_that_is_not_shared_is_refused() {
        let (mut bench, _) = with_bob();
        bench.join(false);
        let batch = Author::new(BOB, closed_room()).write(&["x"]);
        assert_eq!(refusals(&bench.batch(1, batch)), [Refusal::NotShared]);
    }

    #[test]
    fn a_forged_signature_is_refused() {
        let (mut bench, mut bob) = with_bob();
        let mut batch = bob.write(&["a"]);
        batch.signature = Author::new(CAROL, direct(BOB)).write(&["a"]).signature;
        let outputs = bench.batch(1, batch);
        assert!(matches!(refusals(&outputs)[..], [Refusal::Batch(_)]));
        assert_eq!(commits(&outputs), []);
    }

    #[test]
    fn an_author_who_writes_two_histories_is_exposed() {
        let (mut bench, mut bob) = with_bob();
        bench.batch(1, bob.write(&["a"]));
        let mut other = Author::new(BOB, direct(BOB));
        let outputs = bench.batch(1, other.write(&["b"]));
        assert_eq!(refusals(&outputs), [Refusal::Conflict]);
        assert_eq!(frames(&outputs, 1), [Frame::Conflict(bob.name)]);
    }

    #[test]
    fn a_second_process_with_this_identity_is_noticed() {
        let (mut bench, _) = with_bob();
        let own = bench.own_log(direct(BOB));
        let mut twin = Author::with_log(ME, direct(BOB), own.log.0);
        let outputs = bench.batch(1, twin.write(&["not from here"]));
        assert_eq!(refusals(&outputs), [Refusal::IdentityReused]);
    }

    #[test]
    fn entries_of_an_earlier_run_are_restored() {
        let (mut bench, _) = with_bob();
        let mut earlier = Author::with_log(ME, direct(BOB), 99);
        let outputs = bench.batch(1, earlier.write(&["lost", "on this disk"]));
        assert_eq!(received(&outputs), [""; 0]);
        let restored = |output: &Output| matches!(output, Output::OwnRestored(_, _, 2));
        assert!(outputs.iter().any(restored), "{outputs:?}");
    }

    #[test]
    fn an_impossible_lamport_number_is_refused() {
        let (mut bench, mut bob) = with_bob();
        let batch = bob.write_at(LAMPORT_MAX + 1, &["a"]);
        assert_eq!(refusals(&bench.batch(1, batch)), [Refusal::Lamport]);
        let mut bob = Author::new(BOB, direct(BOB));
        let batch = bob.write_at(LAMPORT_MAX, &["a"]);
        assert_eq!(received(&bench.batch(1, batch)), ["a"]);
    }

    #[test]
    fn a_gap_in_a_direct_conversation_is_requested_once_a_second() {
        let (mut bench, mut bob) = with_bob();
        bench.batch(1, bob.write(&["a"]));
        bob.write(&["lost"]);
        let after_gap = bob.write(&["c"]);
        let outputs = bench.batch(1, after_gap.clone());
        assert_eq!(refusals(&outputs), [Refusal::Gap]);
        assert_eq!(wants(&outputs, 1), [(bob.name, 2, None)]);
        assert_eq!(wants(&bench.batch(1, after_gap.clone()), 1), []);
        bench.wait(Duration::from_secs(1));
        assert!(wants(&bench.batch(1, after_gap), 1).contains(&(bob.name, 2, None)));
    }

    #[test]
    fn a_member_of_an_open_room_may_start_in_the_middle_of_a_log() {
        let (mut bench, _) = with_bob();
        bench.join(true);
        bench.meet_in(1, open_room(), &[]);
        let mut bob = Author::new(BOB, open_room());
        bob.write(&["before we came"]);
        let outputs = bench.batch(1, bob.write(&["b"]));
        assert_eq!(received(&outputs), ["b"]);
    }

    #[test]
    fn while_the_author_is_here_only_the_author_leaves_gaps() {
        let (mut bench, _) = with_bob();
        bench.connect(2, CAROL);
        bench.join(true);
        bench.meet_in(1, open_room(), &[]);
        bench.meet_in(2, open_room(), &[]);
        let mut bob = Author::new(BOB, open_room());
        bob.write(&["a"]);
        let second = bob.write(&["b"]);
        let from_carol = bench.batch(2, second.clone());
        assert_eq!(refusals(&from_carol), [Refusal::Gap]);
        assert_eq!(received(&bench.batch(1, second)), ["b"]);
    }

    #[test]
    fn entries_that_the_disk_did_not_take_are_accepted_again() {
        let (mut bench, mut bob) = with_bob();
        let batch = bob.write(&["a"]);
        let arrived = bench.handle(Input::Batch(SessionId(1), batch.clone()));
        let failed = Input::CommitFailed(commits(&arrived)[0], "full".to_owned());
        let outputs = bench.handle(failed);
        assert_eq!(received(&outputs), [""; 0]);
        assert_eq!(receipts(&outputs, 1), []);
        assert!(matches!(outputs[..], [Output::Release(SessionId(1), 1)]));
        assert_eq!(received(&bench.batch(1, batch)), ["a"]);
    }

    #[test]
    fn a_newer_log_waits_for_an_older_one_that_the_disk_did_not_take() {
        let (mut bench, mut old) = with_bob();
        let (old_batch, mut new) = (old.write(&["a"]), Author::with_log(BOB, direct(BOB), 2));
        let arrived = bench.handle(Input::Batch(SessionId(1), old_batch.clone()));
        bench.handle(Input::CommitFailed(commits(&arrived)[0], "full".to_owned()));
        let new_batch = new.write(&["b"]);
        let too_early = bench.batch(1, new_batch.clone());
        assert_eq!(refusals(&too_early), [Refusal::Gap]);
        assert_eq!(received(&bench.batch(1, old_batch)), ["a"]);
        assert_eq!(received(&bench.batch(1, new_batch)), ["b"]);
    }

    #[test]
    fn a_commit_that_succeeds_after_another_one_failed_keeps_its_entries() {
        let (mut bench, mut bob) = with_bob();
        let own = bench.begin_append(1, direct(BOB), "own");
        let arrived = bench.handle(Input::Batch(SessionId(1), bob.write(&["a"])));
        // The store can take the second commit without the first one, and the other way round.
        bench.handle(Input::CommitFailed(
            commits(&arrived)[0],
            "beyond".to_owned(),
        ));
        let durable = bench.settle(Input::Committed(commits(&own)[0]));
        let name = bench.own_log(direct(BOB));
        assert_eq!(batches(&durable, 1), [(name, 1, 1)]);
        let next = bench.append(direct(BOB), "the chain goes on");
        assert_eq!(batches(&next, 1), [(name, 2, 2)]);
    }

    #[test]
    fn a_session_that_was_too_fast_may_go_on_after_a_moment() {
        let (mut bench, mut bob) = with_bob();
        bench.begin_append(1, direct(BOB), "the disk does not answer this one");
        let texts = ["x"; 500];
        let mut releases = 0;
        for _ in 0..5 {
            releases += released(&bench.batch(1, bob.write(&texts)));
        }
        assert_eq!(releases, 4, "2,000 entries are within the budget");
        assert_eq!(released(&bench.wait(BUDGET_EVERY)), 1);
        assert_eq!(released(&bench.wait(10 * BUDGET_EVERY)), 0);
    }

    #[test]
    fn all_that_was_withheld_from_a_session_is_released_at_once() {
        let (mut bench, mut bob) = with_bob();
        bench.connect(2, CAROL);
        let mut carol = Author::new(CAROL, direct(CAROL));
        bench.begin_append(1, direct(BOB), "the disk does not answer this one");
        // Bob has one batch too many, and Carol five.
        for _ in 0..4 {
            bench.batch(1, bob.write(&["x"; 500]));
        }
        assert_eq!(released(&bench.batch(1, bob.write(&["x"]))), 0);
        for _ in 0..9 {
            bench.batch(2, carol.write(&["x"; 500]));
        }
        let mut to = Vec::new();
        for output in bench.wait(2 * BUDGET_EVERY) {
            if let Output::Release(session, batches) = output {
                to.push((session.0, batches));
            }
        }
        // Carol's budget is used up as well, and not more than that.
        assert_eq!(to, [(1, 1), (2, 5)]);
        // Nobody waits any more, so the timer is not set again.
        assert!(!bench.replica.sessions.any_is_held());
        let next = bench.replica.poll_timeout().expect("a sign of life");
        assert!(next > bench.now.mono + BUDGET_EVERY, "{next:?}");
    }

    #[test]
    fn whether_a_session_is_held_is_known() {
        let (mut bench, mut bob) = with_bob();
        bench.connect(2, CAROL);
        assert!(!bench.replica.sessions.any_is_held(), "nobody was too fast");
        bench.begin_append(1, direct(BOB), "the disk does not answer this one");
        for _ in 0..5 {
            bench.batch(1, bob.write(&["x"; 500]));
        }
        assert!(bench.replica.sessions.any_is_held(), "one of two is held");
        bench.wait(2 * BUDGET_EVERY);
        assert!(!bench.replica.sessions.any_is_held());
    }

    #[test]
    fn a_session_that_has_not_recovered_is_looked_at_again() {
        let (mut bench, mut bob) = with_bob();
        bench.begin_append(1, direct(BOB), "the disk does not answer this one");
        for _ in 0..5 {
            bench.batch(1, bob.write(&["x"; 500]));
        }
        // The timer comes too early: a part of the budget was spent meanwhile.
        bench.now.mono += BUDGET_EVERY / 2;
        bench.batch(1, bob.write(&["x"; 500]));
        let first = bench.wait(BUDGET_EVERY / 2);
        assert_eq!(released(&first), 0);
        assert!(bench.replica.sessions.any_is_held());
        assert_eq!(released(&bench.wait(2 * BUDGET_EVERY)), 2);
    }

    #[test]
    fn a_session_that_pushes_too_fast_waits_for_the_disk() {
        let (mut bench, mut bob) = with_bob();
        let texts = ["x"; 500];
        let mut waiting = Vec::new();
        for _ in 0..6 {
            let arrived = bench.handle(Input::Batch(SessionId(1), bob.write(&texts)));
            waiting.extend(commits(&arrived));
        }
        let releases: Vec<_> = waiting
            .into_iter()
            .map(|commit| released(&bench.handle(Input::Committed(commit))))
            .collect();
        // 2,000 entries are within the budget. The last commit finds the disk idle.
        assert_eq!(releases, [1, 1, 1, 1, 0, 2]);
    }
}
