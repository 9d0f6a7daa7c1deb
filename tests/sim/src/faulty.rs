//! A replica with a fault at its edge: the fault drops, changes or forges inputs and outputs.
//!
//! The replica itself is always the real one. Without a fault, everything passes unchanged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use hobnob_core::commit::{AudienceId, Commit, CommitId, Loaded, NetworkId, Op};
use hobnob_core::replica::{Input, Output, Refusal, Replica, RoomLimits};
use hobnob_core::{Now, SessionId};
use hobnob_protocol::{
    Batch, CheckedBatch, ConversationId, Frame, LogName, PersonId, Ranges, Salts, SecretKey, Seq,
};

/// A fault that the checks must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The store confirms a commit before it is durable.
    AnswerBeforeWriting,
    /// All runs of a node write into one log, also those of a restored backup.
    OneLogForAllRuns,
    /// Entries that arrive again are shown again.
    NoDuplicateCheck,
    /// The author gets a receipt for entries whose commit has only been requested.
    AckBeforeCommit,
    /// Received entries are shown when their commit is requested.
    ShowBeforeCommit,
    /// A batch that contradicts its log is stored.
    ForkIgnored,
    /// Entries that were written to a session count as delivered.
    DeliveredOnSent,
    /// All entries of an open room are sent to every peer that enters it.
    AudienceIgnored,
    /// A peer that says goodbye is treated as if its connection had dropped.
    GoodbyeIgnored,
    /// The replica does not learn that the networks changed.
    NetworkChangeIgnored,
    /// Any change of the networks counts as leaving all of them.
    AnyNetworkChangeIsAMove,
    /// A restart forgets how far the Lamport clocks have advanced.
    ClockForgotten,
    /// A restart forgets the log with the greatest name.
    LogForgotten,
    /// Two received batches are shown in the wrong order.
    OrderSwapped,
    /// The third entry of a log is never sent, though it is counted as sent.
    SkippingCursor,
    /// The replica does not learn that a session has room again.
    LostWakeUp,
    /// A failed commit is reported as durable.
    NoRollBack,
    /// The replica does not learn that the user blocked a peer.
    BlockIgnored,
    /// Of a peer's list of heads only the first logs arrive, and the rest is forgotten.
    HeadsCut,
    /// The store does not drop the logs that must make room.
    ForgetIgnored,
    /// Entries of a device that is not the author's are shown.
    AnyDeviceShown,
    /// Entries of a device that is not the author's are stored.
    AnyDeviceStored,
}

/// With [`Fault::HeadsCut`], a list of heads ends after this many authors.
const LOGS_BEFORE_CUT: usize = 4;

/// Forged commits are numbered from here, out of the way of the replica's own.
const FORGED_COMMITS: u64 = 1 << 62;

/// The replica and the fault at its edge.
pub(super) struct FaultyReplica {
    replica: Replica,
    fault: Option<Fault>,
    me: PersonId,
    now: Now,
    /// The conversations that each session shares, and its peer.
    sessions: BTreeMap<SessionId, (PersonId, BTreeSet<ConversationId>)>,
    /// Batches that the replica has shown as received or appended.
    shown: BTreeMap<LogName, Vec<Arc<CheckedBatch>>>,
    /// The batch that the replica is judging.
    arriving: Option<Batch>,
    /// A delayed output that follows the next one of its kind.
    late: Option<Output>,
    forged: u64,
    outputs: VecDeque<Output>,
}

impl Deref for FaultyReplica {
    type Target = Replica;

    fn deref(&self) -> &Replica {
        &self.replica
    }
}

impl FaultyReplica {
    pub(super) fn new(
        fault: Option<Fault>,
        key: Arc<SecretKey>,
        run: u64,
        networks: BTreeSet<NetworkId>,
        now: Now,
        mut loaded: Loaded,
    ) -> Self {
        if fault == Some(Fault::ClockForgotten) {
            loaded.lamport.clear();
        }
        if fault == Some(Fault::LogForgotten) {
            loaded.logs.pop();
        }
        let me = key.id();
        // A simulation must be repeatable.
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&run.to_le_bytes());
        let salts = Salts::new(seed);
        Self {
            replica: Replica::new(key, run, salts, networks, now, loaded),
            fault,
            me: me.person(),
            now,
            sessions: BTreeMap::new(),
            shown: BTreeMap::new(),
            arriving: None,
            late: None,
            forged: 0,
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn limit_open_rooms(&mut self, limits: RoomLimits) {
        self.replica.limit_open_rooms(limits);
    }

    pub(super) fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        if self.fault.is_some() {
            self.watch_input(&input);
        }
        if self.fault == Some(Fault::AnyNetworkChangeIsAMove)
            && matches!(input, Input::NetworksChanged(_))
        {
            let nowhere = Input::NetworksChanged(BTreeSet::new());
            self.replica.handle(now, nowhere);
        }
        if let Some(input) = self.change_input(input) {
            self.replica.handle(now, input);
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        if self.fault.is_none() {
            return self.replica.poll_output();
        }
        while self.outputs.is_empty() {
            let output = self.replica.poll_output()?;
            self.watch_output(&output);
            self.change_output(output);
        }
        self.outputs.pop_front()
    }

    /// Records the state that the faults need: the sessions, and the arriving batch.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other inputs say nothing about sessions"
    )]
    fn watch_input(&mut self, input: &Input) {
        self.arriving = None;
        match input {
            Input::SessionUp(session, peer, ..) => {
                self.sessions
                    .insert(*session, (peer.person(), BTreeSet::new()));
            }
            Input::SessionRooms(session, rooms) => self.enter(*session, rooms),
            Input::SessionDown { session, .. } => {
                self.sessions.remove(session);
            }
            Input::Batch(_, batch) => {
                self.arriving = Some(batch.clone());
                self.show_again(batch);
                if batch.name.device != batch.name.author.only_device() {
                    self.take_from_other_device(batch);
                }
            }
            _ => {}
        }
    }

    fn watch_output(&mut self, output: &Output) {
        if let Output::Appended { batch, .. } | Output::Received { batch, .. } = output {
            let log = self.shown.entry(batch.batch.name).or_default();
            log.push(batch.clone());
        }
    }

    /// Records that a session shares these rooms now.
    fn enter(&mut self, session: SessionId, rooms: &BTreeSet<ConversationId>) {
        let Some((_, before)) = self.sessions.get_mut(&session) else {
            return;
        };
        let new: Vec<_> = rooms.difference(before).copied().collect();
        *before = rooms.clone();
        if self.fault != Some(Fault::AudienceIgnored) {
            return;
        }
        let opened = |room: &ConversationId| {
            let mut rooms = self.replica.rooms();
            rooms.any(|(id, _, key)| id == *room && key.is_open())
        };
        for room in new.into_iter().filter(opened) {
            let logs = self
                .shown
                .iter()
                .filter(|(name, _)| name.conversation == room);
            for batch in logs.flat_map(|(_, batches)| batches) {
                let frame = Frame::Batch(batch.batch.clone()).encode();
                self.outputs.push_back(Output::SendBatch(session, frame));
            }
        }
    }

    fn show_again(&mut self, batch: &Batch) {
        if self.fault != Some(Fault::NoDuplicateCheck) || batch.name.author == self.me {
            return;
        }
        let log = self.shown.get(&batch.name).into_iter().flatten();
        for batch in log.filter(|held| held.batch == *batch) {
            self.outputs.push_back(received(batch));
        }
    }

    fn take_from_other_device(&mut self, batch: &Batch) {
        let Ok(batch) = batch.clone().read().map(Arc::new) else {
            return;
        };
        match self.fault {
            Some(Fault::AnyDeviceShown) => self.outputs.push_back(received(&batch)),
            Some(Fault::AnyDeviceStored) => {
                let whole = Ranges::span(batch.first(), batch.last());
                self.forge_commit(batch, &whole);
            }
            Some(_) | None => {}
        }
    }

    /// The input as the fault changes it. `None` if the fault hides it.
    fn change_input(&mut self, input: Input) -> Option<Input> {
        if let Input::Committed(id) | Input::CommitFailed(id, _) = &input
            && id.0 > FORGED_COMMITS
        {
            return None;
        }
        match (self.fault, input) {
            (Some(Fault::GoodbyeIgnored), Input::SessionDown { session, .. }) => {
                Some(Input::SessionDown {
                    session,
                    goodbye: false,
                })
            }
            (Some(Fault::NetworkChangeIgnored), Input::NetworksChanged(_))
            | (Some(Fault::LostWakeUp), Input::BatchesWritten(..))
            | (Some(Fault::BlockIgnored), Input::Block(_)) => None,
            (Some(Fault::NoRollBack), Input::CommitFailed(id, _)) => Some(Input::Committed(id)),
            (Some(Fault::HeadsCut), Input::Frame(session, frame)) => {
                Some(Input::Frame(session, cut_heads(frame)))
            }
            (_, input) => Some(input),
        }
    }

    /// Passes on an output as the fault changes it.
    fn change_output(&mut self, output: Output) {
        match (self.fault, &output) {
            (Some(Fault::AckBeforeCommit), Output::Commit(commit)) => self.acknowledge(commit),
            (Some(Fault::ShowBeforeCommit), Output::Commit(commit)) => self.show(commit),
            (Some(Fault::ShowBeforeCommit), Output::Received { .. }) => return,
            (Some(Fault::ForkIgnored), Output::Refused(_, _, Refusal::Conflict)) => {
                self.store_fork()
            }
            (Some(Fault::DeliveredOnSent), Output::Sent(name, peer, first, last)) => {
                let span = Ranges::span(*first, *last);
                self.outputs
                    .push_back(Output::Delivered(*name, *peer, span));
            }
            (Some(Fault::SkippingCursor), Output::SendBatch(session, frame)) if skips(frame) => {
                // The replica believes that the bytes left, so it goes on with the next batch.
                let written = Input::BatchesWritten(*session, frame.len());
                return self.replica.handle(self.now, written);
            }
            (Some(Fault::OrderSwapped), Output::Received { .. }) => {
                match self.late.take() {
                    Some(late) => self.outputs.extend([output, late]),
                    None => self.late = Some(output),
                }
                return;
            }
            _ => {}
        }
        let output = match (self.fault, output) {
            (Some(Fault::ForgetIgnored), Output::Commit(mut commit)) => {
                commit.ops.retain(|op| !matches!(op, Op::Forget(_)));
                Output::Commit(commit)
            }
            (_, output) => output,
        };
        self.outputs.push_back(output);
    }

    fn acknowledge(&mut self, commit: &Commit) {
        for (batch, from, to) in appends(commit) {
            let name = batch.batch.name;
            let have = Frame::Have(name, Ranges::span(from, to).into()).encode();
            let to_author = self
                .sessions
                .iter()
                .filter(|(_, (peer, _))| *peer == name.author);
            let acks = to_author.map(|(session, _)| Output::Send(*session, have.clone()));
            self.outputs.extend(acks);
        }
    }

    fn show(&mut self, commit: &Commit) {
        for (batch, _, _) in appends(commit) {
            if batch.batch.name.author != self.me {
                self.outputs.push_back(received(batch));
            }
        }
    }

    /// Stores the missing entries of a batch that contradicts its log.
    fn store_fork(&mut self) {
        let Some(Ok(batch)) = self.arriving.take().map(Batch::read) else {
            return;
        };
        let name = batch.batch.name;
        let mut lacks = Ranges::span(batch.first(), batch.last());
        for held in self.shown.get(&name).into_iter().flatten() {
            lacks = lacks.minus(&Ranges::span(held.first(), held.last()));
        }
        self.forge_commit(Arc::new(batch), &lacks);
    }

    /// Asks the store for these entries of a batch, without the replica.
    fn forge_commit(&mut self, batch: Arc<CheckedBatch>, entries: &Ranges) {
        let ops = entries.iter().map(|(from, to)| Op::Append {
            batch: batch.clone(),
            from,
            to,
            audience: AudienceId::MEMBERS,
            received_at_ms: 0,
            deleted: Ranges::new(),
        });
        self.forged += 1;
        self.outputs.push_back(Output::Commit(Commit {
            id: CommitId(FORGED_COMMITS + self.forged),
            ops: ops.collect(),
        }));
    }
}

/// The entries that a commit adds: a batch, the first and the last of it.
fn appends(commit: &Commit) -> impl Iterator<Item = (&Arc<CheckedBatch>, Seq, Seq)> {
    commit.ops.iter().filter_map(|op| match op {
        Op::Append {
            batch, from, to, ..
        } => Some((batch, *from, *to)),
        Op::Conversation(_)
        | Op::Fill { .. }
        | Op::Erase { .. }
        | Op::AwaitDeleted(..)
        | Op::Audience(_)
        | Op::AudiencesBefore(..)
        | Op::Lingerers(..)
        | Op::Acked { .. }
        | Op::Trim(..)
        | Op::Request(_)
        | Op::RequestEnds(_)
        | Op::Brought(..)
        | Op::Cost(..)
        | Op::ClientId(..)
        | Op::Forget(_)
        | Op::Alive(_) => None,
    })
}

/// The first logs of a list of heads.
fn cut_heads(mut frame: Frame) -> Frame {
    if let Frame::Heads { authors, .. } = &mut frame {
        authors.truncate(LOGS_BEFORE_CUT);
    }
    frame
}

fn received(batch: &Arc<CheckedBatch>) -> Output {
    Output::Received {
        batch: batch.clone(),
        first: batch.first(),
        last: batch.last(),
        received_at_ms: 0,
    }
}

/// Whether a frame holds the third entry of a log.
fn skips(frame: &Bytes) -> bool {
    match Frame::decode(frame) {
        Ok(Frame::Batch(batch)) => batch
            .read()
            .is_ok_and(|batch| (batch.first()..=batch.last()).contains(&3)),
        Ok(_) | Err(_) => false,
    }
}
