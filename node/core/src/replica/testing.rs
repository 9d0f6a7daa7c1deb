//! A replica for unit tests: drives it with inputs, and plays the store and the peers.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each helper looks for one kind of output"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::frame::AuthorHeads;
use hobnob_protocol::{
    Batch, Body, CheckedBatch, ConversationId, DeviceId, Entry, EntryHash, Frame, Holding, LogId,
    LogName, PersonId, Ranges, RoomKey, RoomName, Salts, SecretKey, Seq,
};

use super::events::{Input, Output, Token};
use super::log_key::LogKey;
use super::refusal::Refusal;
use super::state::Replica;
use crate::commit::{
    AudienceId, CommitId, ConversationKind, ConversationRecord, Loaded, LogRecord, NetworkId, Op,
    Run,
};
use crate::source_network::SourceNetwork;
use crate::{Now, SessionId};

/// The replica under test belongs to this peer.
pub(super) const ME: u8 = 1;

/// The network that all peers are reached by.
const NETWORK: NetworkId = NetworkId(7);

pub(super) fn key(n: u8) -> SecretKey {
    SecretKey::from_seed([n; 32])
}

pub(super) fn peer(n: u8) -> PersonId {
    key(n).id().person()
}

pub(super) fn device(n: u8) -> DeviceId {
    key(n).id()
}

/// A log of a peer.
pub(super) fn log_key(author: u8, log: u64) -> LogKey {
    LogKey {
        author: peer(author),
        device: peer(author).only_device(),
        log: LogId(log),
    }
}

/// The direct conversation of the replica under test with a peer.
pub(super) fn direct(n: u8) -> ConversationId {
    ConversationId::direct(peer(ME), peer(n))
}

fn room_key(open: bool) -> (RoomName, RoomKey) {
    if open {
        (RoomName::lobby(), RoomKey::open(&RoomName::lobby()))
    } else {
        ("ops".parse().expect("a name"), RoomKey::random([7; 32]))
    }
}

pub(super) fn open_room() -> ConversationId {
    room_key(true).1.conversation()
}

pub(super) fn closed_room() -> ConversationId {
    room_key(false).1.conversation()
}

/// The user enters one of the two rooms.
pub(super) fn entering(open: bool) -> Input {
    let (name, key) = room_key(open);
    Input::Join {
        token: Token(0),
        name,
        key,
    }
}

/// The store's record of one of the two rooms, which the node is in.
pub(super) fn room_record(open: bool) -> ConversationRecord {
    let (name, key) = room_key(open);
    ConversationRecord {
        id: key.conversation(),
        kind: ConversationKind::Room {
            name,
            key,
            joined: true,
        },
    }
}

/// The store's record of the direct conversation with a peer.
pub(super) fn direct_record(n: u8) -> ConversationRecord {
    ConversationRecord {
        id: direct(n),
        kind: ConversationKind::Direct(peer(n)),
    }
}

/// Another author, who writes one log of a conversation.
pub(super) struct Author {
    key: SecretKey,
    pub(super) name: LogName,
    next: Seq,
    head: EntryHash,
    salts: Salts,
}

impl Author {
    pub(super) fn new(n: u8, conversation: ConversationId) -> Self {
        Self::with_log(n, conversation, 1)
    }

    pub(super) fn with_log(n: u8, conversation: ConversationId, log: u64) -> Self {
        Self::on_device(n, n, conversation, log)
    }

    /// A log that an author writes on a device with another key.
    pub(super) fn on_device(n: u8, with: u8, conversation: ConversationId, log: u64) -> Self {
        let name = LogName {
            conversation,
            author: peer(n),
            device: device(with),
            log: LogId(log),
        };
        Self {
            key: key(with),
            name,
            next: 1,
            head: name.genesis(),
            salts: Salts::new([with; 32]),
        }
    }

    /// The log as the store of the replica under test holds it: all entries that were written,
    /// for all members. `ordinal` is its place among all logs, by age.
    pub(super) fn stored(&self, ordinal: u64) -> LogRecord {
        let last = self.next - 1;
        LogRecord {
            name: self.name,
            ordinal,
            brought_by: None,
            bytes: 0,
            runs: vec![Run {
                first: 1,
                last,
                audience: AudienceId::MEMBERS,
            }],
            head: (last, self.head),
            edges: vec![(0, self.name.genesis()), (last, self.head)],
            erased: Ranges::new(),
            unsettled: Ranges::new(),
        }
    }

    /// Continues after this many entries, without writing them.
    pub(super) fn skip_to(&mut self, last: Seq) {
        self.next = last + 1;
    }

    /// The next entries of the log, one for each text, in one batch.
    pub(super) fn write(&mut self, texts: &[&str]) -> Batch {
        self.write_at(1, texts)
    }

    /// Like [`Author::write`], with a Lamport number.
    pub(super) fn write_at(&mut self, lamport: u64, texts: &[&str]) -> Batch {
        let bodies = texts.iter().map(|text| Body::Text((*text).to_owned()));
        let bodies = bodies.collect();
        self.write_bodies(lamport, bodies)
    }

    /// The next entries of the log, in one batch.
    pub(super) fn write_bodies(&mut self, lamport: u64, bodies: Vec<Body>) -> Batch {
        let entries = bodies.into_iter().map(|body| Entry::new(lamport, 1, body));
        self.write_entries(entries.collect())
    }

    pub(super) fn write_entries(&mut self, entries: Vec<Entry>) -> Batch {
        let batch = CheckedBatch::author(
            &self.key,
            self.name,
            self.next,
            self.head,
            entries,
            &mut self.salts,
        );
        self.next = batch.last() + 1;
        self.head = batch.head();
        batch.batch
    }
}

/// A replica with its clock. The store answers when the test says so.
pub(super) struct Bench {
    pub(super) replica: Replica,
    pub(super) now: Now,
}

impl Bench {
    /// A replica that starts for the first time.
    pub(super) fn new() -> Self {
        Self::load(Loaded::default())
    }

    /// A replica in the room with a secret, with sessions 1, 2 and so on with these members.
    pub(super) fn in_closed_room(members: &[u8]) -> Self {
        let mut bench = Self::new();
        bench.join(false);
        for (session, n) in (1..).zip(members) {
            bench.connect(session, *n);
            bench.meet_in(session, closed_room(), &[]);
        }
        bench
    }

    pub(super) fn load(loaded: Loaded) -> Self {
        Self::of(ME, loaded)
    }

    /// The replica of another peer.
    pub(super) fn of(n: u8, loaded: Loaded) -> Self {
        let now = Now {
            mono: Duration::from_secs(1000),
            wall_ms: 1_000_000_000,
        };
        let mut bench = Self {
            replica: Replica::new(
                Arc::new(key(n)),
                42,
                Salts::new([n; 32]),
                BTreeSet::from([NETWORK]),
                now,
                loaded,
            ),
            now,
        };
        // The first sign of life is not what these tests are about.
        bench.settle(Input::Timeout);
        bench
    }

    /// Handles an input and returns all outputs.
    pub(super) fn handle(&mut self, input: Input) -> Vec<Output> {
        self.replica.handle(self.now, input);
        std::iter::from_fn(|| self.replica.poll_output()).collect()
    }

    /// Handles an input, and lets the store take every commit.
    pub(super) fn settle(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = self.handle(input);
        let mut at = 0;
        while at < outputs.len() {
            if let Output::Commit(commit) = &outputs[at] {
                let committed = Input::Committed(commit.id);
                outputs.extend(self.handle(committed));
            }
            at += 1;
        }
        outputs
    }

    /// Lets time pass, with every timer on time.
    pub(super) fn wait(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now.mono + time;
        let mut outputs = Vec::new();
        let mut timeouts = 0;
        while let Some(at) = self.replica.poll_timeout().filter(|at| *at <= end) {
            self.advance_to(at);
            outputs.extend(self.settle(Input::Timeout));
            timeouts += 1;
            assert!(timeouts < 100_000, "a timer is always due");
        }
        self.advance_to(end);
        outputs
    }

    fn advance_to(&mut self, at: Duration) {
        let passed = at.saturating_sub(self.now.mono);
        self.now.mono += passed;
        self.now.wall_ms += u64::try_from(passed.as_millis()).expect("a short test");
    }

    /// A session with a contact begins. The peer holds nothing yet.
    pub(super) fn connect(&mut self, session: u64, n: u8) -> Vec<Output> {
        let mut outputs = self.connect_only(session, n);
        outputs.extend(self.heads(session, direct(n), &[]));
        outputs
    }

    /// A session with a stranger begins. The peer holds nothing yet.
    pub(super) fn connect_stranger(&mut self, session: u64, n: u8) -> Vec<Output> {
        let mut outputs = self.session_up(session, n);
        outputs.extend(self.heads(session, direct(n), &[]));
        outputs
    }

    /// A session with a contact begins. It is not known what the peer holds.
    pub(super) fn connect_only(&mut self, session: u64, n: u8) -> Vec<Output> {
        self.settle(Input::Accept(peer(n)));
        self.session_up(session, n)
    }

    fn session_up(&mut self, session: u64, n: u8) -> Vec<Output> {
        let source = SourceNetwork(u64::from(n));
        let up = Input::SessionUp(
            SessionId(session),
            peer(n).only_device(),
            Some(NETWORK),
            source,
        );
        self.settle(up)
    }

    /// Both ends of a session are in a room. It is not known what the peer holds of it.
    pub(super) fn share_room(&mut self, session: u64, room: ConversationId) -> Vec<Output> {
        let rooms = BTreeSet::from([room]);
        self.settle(Input::SessionRooms(SessionId(session), rooms))
    }

    /// Both ends of a session are in a room. The peer holds these logs of it.
    pub(super) fn meet_in(
        &mut self,
        session: u64,
        room: ConversationId,
        heads: &[(LogName, Ranges)],
    ) -> Vec<Output> {
        let mut outputs = self.share_room(session, room);
        outputs.extend(self.heads(session, room, heads));
        outputs
    }

    /// The peer of a session holds these logs of a conversation.
    pub(super) fn heads(
        &mut self,
        session: u64,
        conversation: ConversationId,
        heads: &[(LogName, Ranges)],
    ) -> Vec<Output> {
        let mut sorted = heads.to_vec();
        sorted.sort_by_key(|(name, _)| *name);
        let mut authors: Vec<AuthorHeads> = Vec::new();
        for (name, ranges) in sorted {
            let log = (name.log, Holding::from(ranges));
            match authors
                .last_mut()
                .filter(|last| (last.author, last.device) == (name.author, name.device))
            {
                Some(last) => last.logs.push(log),
                None => authors.push(AuthorHeads {
                    author: name.author,
                    device: name.device,
                    logs: vec![log],
                }),
            }
        }
        let frame = Frame::Heads {
            conversation,
            more: false,
            authors,
        };
        self.frame(session, frame)
    }

    pub(super) fn frame(&mut self, session: u64, frame: Frame) -> Vec<Output> {
        self.settle(Input::Frame(SessionId(session), frame))
    }

    /// The peer of a session has these entries of a log on disk.
    pub(super) fn have(
        &mut self,
        session: u64,
        name: LogName,
        first: Seq,
        last: Seq,
    ) -> Vec<Output> {
        self.frame(session, Frame::Have(name, Ranges::span(first, last).into()))
    }

    /// The peer of a session requests entries of a log.
    pub(super) fn want(
        &mut self,
        session: u64,
        name: LogName,
        from: Seq,
        to: Option<Seq>,
    ) -> Vec<Output> {
        self.frame(session, Frame::Want { name, from, to })
    }

    /// The store answers a read for a session with these batches.
    pub(super) fn read(&mut self, session: u64, name: LogName, batches: Vec<Batch>) -> Vec<Output> {
        self.settle(Input::Read(SessionId(session), name, Ok(batches)))
    }

    /// A session ends.
    pub(super) fn hang_up(&mut self, session: u64, goodbye: bool) -> Vec<Output> {
        let session = SessionId(session);
        self.settle(Input::SessionDown { session, goodbye })
    }

    pub(super) fn batch(&mut self, session: u64, batch: Batch) -> Vec<Output> {
        self.settle(Input::Batch(SessionId(session), batch))
    }

    /// The user enters a room.
    pub(super) fn join(&mut self, open: bool) -> Vec<Output> {
        self.settle(entering(open))
    }

    /// The user leaves a room.
    pub(super) fn part(&mut self, room: ConversationId) -> Vec<Output> {
        self.settle(Input::Part(Token(0), room))
    }

    /// The user writes a message. The store has not answered yet.
    pub(super) fn begin_append(
        &mut self,
        token: u64,
        conversation: ConversationId,
        text: &str,
    ) -> Vec<Output> {
        self.handle(Input::Append {
            token: Token(token),
            conversation,
            body: Body::Text(text.to_owned()),
        })
    }

    /// The user writes a message, and it becomes durable.
    pub(super) fn append(&mut self, conversation: ConversationId, text: &str) -> Vec<Output> {
        self.append_body(conversation, Body::Text(text.to_owned()))
    }

    /// The user writes an entry, and it reaches the disk.
    pub(super) fn append_body(&mut self, conversation: ConversationId, body: Body) -> Vec<Output> {
        self.settle(Input::Append {
            token: Token(1),
            conversation,
            body,
        })
    }

    /// The log that the replica under test writes.
    pub(super) fn own_log(&self, conversation: ConversationId) -> LogName {
        self.replica.identity.log_of_run(conversation)
    }
}

/// The batch without the bodies of these entries.
pub(super) fn without_bodies(batch: Batch, seqs: &Ranges) -> Batch {
    let checked = batch.check().expect("an author wrote it");
    checked.erased(seqs).batch
}

// What came out.

pub(super) fn commits(outputs: &[Output]) -> Vec<CommitId> {
    let commit = |output: &Output| match output {
        Output::Commit(commit) => Some(commit.id),
        _ => None,
    };
    outputs.iter().filter_map(commit).collect()
}

/// The frames for one session, other than batches.
pub(super) fn frames(outputs: &[Output], session: u64) -> Vec<Frame> {
    let frame = |output: &Output| match output {
        Output::Send(to, bytes) if to.0 == session => Frame::decode(bytes).ok(),
        _ => None,
    };
    outputs.iter().filter_map(frame).collect()
}

/// The first and last entries of the batches for one session.
pub(super) fn batches(outputs: &[Output], session: u64) -> Vec<(LogName, Seq, Seq)> {
    let batch = |output: &Output| match output {
        Output::SendBatch(to, bytes) if to.0 == session => match Frame::decode(bytes) {
            Ok(Frame::Batch(batch)) => {
                let batch = batch.read().expect("well formed");
                Some((batch.batch.name, batch.first(), batch.last()))
            }
            other => panic!("not a batch: {other:?}"),
        },
        _ => None,
    };
    outputs.iter().filter_map(batch).collect()
}

/// The texts that were shown to the user, in order.
pub(super) fn received(outputs: &[Output]) -> Vec<String> {
    let mut texts = Vec::new();
    for output in outputs {
        if let Output::Received {
            batch, first, last, ..
        } = output
        {
            for seq in *first..=*last {
                match &batch.at(seq).expect("in the batch").entry.body {
                    Body::Text(text) | Body::Reply { text, .. } => texts.push(text.clone()),
                    other => panic!("not a text: {other:?}"),
                }
            }
        }
    }
    texts
}

/// Why things were refused.
pub(super) fn refusals(outputs: &[Output]) -> Vec<Refusal> {
    let refusal = |output: &Output| match output {
        Output::Refused(_, _, refusal) => Some(refusal.clone()),
        _ => None,
    };
    outputs.iter().filter_map(refusal).collect()
}

/// The receipts for one session.
pub(super) fn receipts(outputs: &[Output], session: u64) -> Vec<(LogName, Ranges)> {
    let receipt = |frame| match frame {
        Frame::Have(name, held) => Some((name, held.settled)),
        _ => None,
    };
    let frames = frames(outputs, session).into_iter();
    frames.filter_map(receipt).collect()
}

/// The requests to one session: log, first entry, last entry.
pub(super) fn wants(outputs: &[Output], session: u64) -> Vec<(LogName, Seq, Option<Seq>)> {
    let want = |frame| match frame {
        Frame::Want { name, from, to } => Some((name, from, to)),
        _ => None,
    };
    let frames = frames(outputs, session).into_iter();
    frames.filter_map(want).collect()
}

/// The entries that were erased: log, entries, and whether their author deleted them.
pub(super) fn erased(outputs: &[Output]) -> Vec<(LogName, Ranges, bool)> {
    let erased = |output: &Output| match output {
        Output::Erased {
            name,
            seqs,
            by_author,
        } => Some((*name, seqs.clone(), *by_author)),
        _ => None,
    };
    outputs.iter().filter_map(erased).collect()
}

/// The entries that were announced to a session.
pub(super) fn holdings(outputs: &[Output], session: u64) -> Vec<Holding> {
    let have = |output: &Output| match output {
        Output::Send(to, bytes) if to.0 == session => match Frame::decode(bytes) {
            Ok(Frame::Have(_, held)) => Some(held),
            _ => None,
        },
        _ => None,
    };
    outputs.iter().filter_map(have).collect()
}

/// How many more batches the sessions may deliver.
pub(super) fn released(outputs: &[Output]) -> usize {
    let release = |output: &Output| match output {
        Output::Release(_, batches) => *batches,
        _ => 0,
    };
    outputs.iter().map(release).sum()
}

/// The changes that the store was asked to make, in order.
pub(super) fn ops(outputs: &[Output]) -> Vec<&Op> {
    let mut ops = Vec::new();
    for output in outputs {
        if let Output::Commit(commit) = output {
            ops.extend(&commit.ops);
        }
    }
    ops
}

/// How many changes each commit has.
pub(super) fn commit_sizes(outputs: &[Output]) -> Vec<usize> {
    let size = |output: &Output| match output {
        Output::Commit(commit) => Some(commit.ops.len()),
        _ => None,
    };
    outputs.iter().filter_map(size).collect()
}

/// The Lamport numbers of own entries that became durable.
pub(super) fn lamports(outputs: &[Output]) -> Vec<u64> {
    let mut lamports = Vec::new();
    for output in outputs {
        if let Output::Appended { batch, .. } = output {
            lamports.extend(batch.entries.iter().map(|checked| checked.entry.lamport));
        }
    }
    lamports
}

/// Whether more heads follow, for each page of heads for one session.
pub(super) fn pages(outputs: &[Output], session: u64) -> Vec<bool> {
    let more = |frame| match frame {
        Frame::Heads { more, .. } => Some(more),
        _ => None,
    };
    let frames = frames(outputs, session).into_iter();
    frames.filter_map(more).collect()
}

/// The appends that are durable.
pub(super) fn appended(outputs: &[Output]) -> Vec<u64> {
    let appended = |output: &Output| match output {
        Output::Appended { tokens, .. } => tokens.iter().map(|token| token.0).collect(),
        _ => Vec::new(),
    };
    outputs.iter().flat_map(appended).collect()
}

/// The appends that failed.
pub(super) fn failed(outputs: &[Output]) -> Vec<u64> {
    let failed = |output: &Output| match output {
        Output::AppendFailed(token, _) => Some(token.0),
        _ => None,
    };
    outputs.iter().filter_map(failed).collect()
}

/// The entries of our own that peers have newly confirmed.
pub(super) fn delivered(outputs: &[Output]) -> Vec<(LogName, PersonId, Ranges)> {
    let delivered = |output: &Output| match output {
        Output::Delivered(name, peer, ranges) => Some((*name, peer.person(), ranges.clone())),
        _ => None,
    };
    outputs.iter().filter_map(delivered).collect()
}

/// The entries of our own that were written to sessions.
pub(super) fn sent(outputs: &[Output]) -> Vec<(LogName, PersonId, Seq, Seq)> {
    let sent = |output: &Output| match output {
        Output::Sent(name, peer, first, last) => Some((*name, peer.person(), *first, *last)),
        _ => None,
    };
    outputs.iter().filter_map(sent).collect()
}

/// The logs in the heads for one session, in order.
pub(super) fn announced(outputs: &[Output], session: u64) -> Vec<(LogName, Ranges)> {
    let mut logs = Vec::new();
    for frame in frames(outputs, session) {
        if let Frame::Heads {
            conversation,
            authors,
            ..
        } = frame
        {
            for AuthorHeads {
                author,
                device,
                logs: of,
            } in authors
            {
                let name = |log| LogName {
                    conversation,
                    author,
                    device,
                    log,
                };
                logs.extend(of.into_iter().map(|(log, held)| (name(log), held.settled)));
            }
        }
    }
    logs
}

/// The authors whose entries one session is asked not to forward any more.
pub(super) fn pruned(outputs: &[Output], session: u64) -> Vec<PersonId> {
    let prune = |frame| match frame {
        Frame::Prune(_, author) => Some(author),
        _ => None,
    };
    let frames = frames(outputs, session).into_iter();
    frames.filter_map(prune).collect()
}

/// The conversations that one session was sent a digest of.
pub(super) fn compared(outputs: &[Output], session: u64) -> Vec<ConversationId> {
    let digest = |frame| match frame {
        Frame::Digest(conversation, _) => Some(conversation),
        _ => None,
    };
    let frames = frames(outputs, session).into_iter();
    frames.filter_map(digest).collect()
}

/// The reads that the store is asked for, for one session: log, first entry, last entry.
pub(super) fn reads(outputs: &[Output], session: u64) -> Vec<(LogName, Seq, Seq)> {
    let read = |output: &Output| match output {
        Output::Read {
            session: to,
            name,
            from,
            to: last,
        } if to.0 == session => Some((*name, *from, *last)),
        _ => None,
    };
    outputs.iter().filter_map(read).collect()
}
