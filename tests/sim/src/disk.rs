//! A simulated store: the durable state, and the queue of commits.
//!
//! The store checks each commit. It rejects broken chains, duplicate entries, and entries of an
//! unknown conversation or audience.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use hobnob_core::commit::{
    Alive, AudienceId, AudienceRecord, Commit, ConversationRecord, Lingerer, Loaded, LogRecord, Op,
    RequestRecord, Run,
};
use hobnob_core::replica::{ENTRY_COST, REQUEST_ENTRIES_MAX};
use hobnob_protocol::batch::BATCH_ENTRIES_BYTES_MAX;
use hobnob_protocol::entry::erase;
use hobnob_protocol::{
    Batch, BodyKey, CheckedBatch, ConversationId, DeviceId, Entry, EntryHash, LogName, PersonId,
    Ranges, Seq, Signature,
};

/// One entry on disk.
#[derive(Clone)]
pub(super) struct Stored {
    pub(super) bytes: Bytes,
    prev: EntryHash,
    hash: EntryHash,
    pub(super) lamport: u64,
    received_at_ms: u64,
    audience: AudienceId,
    pub(super) body: Stand,
}

impl Stored {
    fn is_about_another(&self) -> bool {
        let entry = Entry::decode(&self.bytes).expect("it was decoded when it arrived");
        entry.about().is_some()
    }
}

/// The state of an entry's body on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// The body.
    Whole,
    /// It was here, or its author deleted it.
    Erased,
    /// It has not arrived.
    Missing,
}

/// One log on disk.
#[derive(Clone, Default)]
pub(super) struct StoredLog {
    ordinal: u64,
    brought_by: Option<DeviceId>,
    pub(super) entries: BTreeMap<Seq, Stored>,
    signatures: BTreeMap<Seq, Signature>,
}

impl StoredLog {
    pub(super) fn held(&self) -> Ranges {
        let mut held = Ranges::new();
        self.entries.keys().for_each(|&seq| held.insert(seq, seq));
        held
    }

    fn cost(&self) -> u64 {
        let entries = self.entries.values();
        entries
            .map(|stored| stored.bytes.len() as u64 + ENTRY_COST)
            .sum()
    }

    /// The entries from `seq` to the next signature.
    pub(super) fn signed_after(&self, seq: Seq) -> std::ops::RangeInclusive<Seq> {
        seq..=self
            .signatures
            .range(seq..)
            .next()
            .map_or(seq, |(end, _)| *end)
    }

    /// The batch of entries `from..=to`. The author signed at `to`.
    fn batch(&self, name: LogName, from: Seq, to: Seq) -> Batch {
        let bytes: Vec<u8> = self
            .entries
            .range(from..=to)
            .flat_map(|(_, stored)| stored.bytes.to_vec())
            .collect();
        Batch {
            name,
            first: from,
            prev: self.entries[&from].prev,
            entries: bytes.into(),
            signature: self.signatures[&to],
        }
    }

    /// The end of a batch that starts at `from`: the last signature that fits a frame, but at most
    /// the first one at or after `to`. An entry about another one is alone
    /// in its batch.
    fn end_of_batch(&self, from: Seq, to: Seq) -> Option<Seq> {
        let (mut bytes, mut end) = (0, None);
        for (expected, (&seq, stored)) in (from..).zip(self.entries.range(from..)) {
            bytes += stored.bytes.len();
            let is_full = bytes > BATCH_ENTRIES_BYTES_MAX || stored.is_about_another();
            if seq != expected || (is_full && end.is_some()) {
                break;
            }
            if self.signatures.contains_key(&seq) {
                end = Some(seq);
                if seq >= to || stored.is_about_another() {
                    break;
                }
            }
        }
        end
    }

    fn edges(&self) -> Vec<(Seq, EntryHash)> {
        let held = self.held();
        let edges = held.iter().flat_map(|(first, last)| {
            [
                (first - 1, self.entries[&first].prev),
                (last, self.entries[&last].hash),
            ]
        });
        let unsettled = self.missing().map(|seq| (seq, self.entries[&seq].hash));
        edges.chain(unsettled).collect()
    }

    /// The entries whose body has not arrived.
    pub(super) fn missing(&self) -> impl Iterator<Item = Seq> + '_ {
        let missing = self.entries.iter();
        let missing = missing.filter(|(_, it)| it.body == Stand::Missing);
        missing.map(|(seq, _)| *seq)
    }

    fn with_body(&self, body: Stand) -> Ranges {
        let mut seqs = Ranges::new();
        let with = self.entries.iter().filter(|(_, it)| it.body == body);
        with.for_each(|(&seq, _)| seqs.insert(seq, seq));
        seqs
    }

    fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (&seq, stored) in &self.entries {
            match runs
                .last_mut()
                .filter(|run| run.last + 1 == seq && run.audience == stored.audience)
            {
                Some(run) => run.last = seq,
                None => runs.push(Run {
                    first: seq,
                    last: seq,
                    audience: stored.audience,
                }),
            }
        }
        runs
    }
}

/// Everything that survives a crash.
#[derive(Clone, Default)]
pub(super) struct Durable {
    pub(super) conversations: BTreeMap<ConversationId, ConversationRecord>,
    pub(super) logs: BTreeMap<LogName, StoredLog>,
    audiences: BTreeMap<AudienceId, AudienceRecord>,
    last_audience: u64,
    lingerers: BTreeMap<ConversationId, Vec<Lingerer>>,
    pub(super) acked: BTreeMap<(LogName, DeviceId), Ranges>,
    alive: Option<Alive>,
    /// The requests of strangers.
    requests: BTreeMap<PersonId, RequestRecord>,
    next_ordinal: u64,
    awaited_deleted: BTreeSet<(LogName, Seq)>,
}

impl Durable {
    pub(super) fn holds(&self, name: &LogName, seq: Seq) -> bool {
        self.logs
            .get(name)
            .is_some_and(|log| log.entries.contains_key(&seq))
    }

    /// Whether the body of an entry was here, or its author deleted it.
    pub(super) fn is_settled(&self, name: &LogName, seq: Seq) -> bool {
        self.body(name, seq)
            .is_some_and(|body| body != Stand::Missing)
    }

    /// The state of an entry's body on disk.
    pub(super) fn body(&self, name: &LogName, seq: Seq) -> Option<Stand> {
        let entry = self.logs.get(name)?.entries.get(&seq)?;
        Some(entry.body)
    }

    /// Applies a commit, or reports what is wrong with it.
    pub(super) fn apply(&mut self, commit: &Commit) -> Result<(), String> {
        for op in &commit.ops {
            match op {
                Op::Conversation(record) => {
                    self.conversations.insert(record.id, record.clone());
                }
                Op::Append {
                    batch,
                    from,
                    to,
                    audience,
                    received_at_ms,
                    deleted,
                } => {
                    self.append(batch, *from, *to, *audience, *received_at_ms)?;
                    self.note_bodies(batch, *from, *to, deleted)?;
                }
                Op::Fill { batch, seqs } => self.fill(batch, seqs)?,
                Op::Erase {
                    name,
                    seqs,
                    by_author,
                } => self.erase(name, seqs, *by_author)?,
                Op::AwaitDeleted(name, seq) => {
                    self.awaited_deleted.insert((*name, *seq));
                }
                Op::Audience(record) => {
                    self.last_audience = self.last_audience.max(record.id.0);
                    self.audiences.insert(record.id, record.clone());
                }
                Op::AudiencesBefore(conversation, first) => {
                    self.audiences
                        .retain(|id, it| it.conversation != *conversation || id >= first);
                }
                Op::Lingerers(conversation, list) => {
                    self.lingerers.insert(*conversation, list.clone());
                }
                Op::Acked { name, peer, ranges } => {
                    self.acked.insert((*name, *peer), ranges.clone());
                }
                Op::Trim(name, first) => {
                    self.logs
                        .entry(*name)
                        .or_default()
                        .entries
                        .retain(|seq, _| seq >= first);
                }
                Op::Brought(name, peer) => {
                    let log = self.logs.get_mut(name);
                    let log =
                        log.ok_or_else(|| format!("who brought {name:?}, without an entry"))?;
                    log.brought_by = Some(*peer);
                }
                // This disk counts what it has.
                Op::Cost(..) | Op::ClientId(..) => {}
                Op::Forget(name) => {
                    let log = self.logs.remove(name);
                    log.ok_or_else(|| format!("{name:?} to forget, which is not there"))?;
                }
                Op::Alive(alive) => self.alive = Some(*alive),
                Op::Request(record) => {
                    if record.entries > REQUEST_ENTRIES_MAX {
                        return Err(format!("a stranger has stored {} messages", record.entries));
                    }
                    self.requests.insert(record.peer, *record);
                }
                Op::RequestEnds(peer) => drop(self.requests.remove(peer)),
            }
        }
        Ok(())
    }

    /// Notes which of the new entries have no body.
    fn note_bodies(
        &mut self,
        batch: &CheckedBatch,
        from: Seq,
        to: Seq,
        deleted: &Ranges,
    ) -> Result<(), String> {
        let name = batch.batch.name;
        let log = self.logs.get_mut(&name).expect("just appended");
        for seq in from..=to {
            let is_erased = batch.at(seq).is_some_and(|it| it.entry.body.is_erased());
            let stored = log.entries.get_mut(&seq).expect("just appended");
            let is_deleted = deleted.contains(seq);
            stored.body = match (is_erased, is_deleted) {
                (false, false) => Stand::Whole,
                (true, false) => Stand::Missing,
                (true, true) => Stand::Erased,
                (false, true) => return Err(format!("{name:?} {seq} is deleted and has a body")),
            };
            self.awaited_deleted.remove(&(name, seq));
        }
        Ok(())
    }

    fn fill(&mut self, batch: &CheckedBatch, seqs: &Ranges) -> Result<(), String> {
        let name = batch.batch.name;
        for seq in seqs.iter().flat_map(|(first, last)| first..=last) {
            let filled = batch.at(seq).filter(|it| !it.entry.body.is_erased());
            let filled = filled.ok_or_else(|| format!("no body for {name:?} {seq}"))?;
            let stored = self.logs.get_mut(&name);
            let stored = stored.and_then(|log| log.entries.get_mut(&seq));
            let Some(stored) = stored.filter(|stored| stored.body == Stand::Missing) else {
                continue;
            };
            if stored.hash != filled.hash {
                return Err(format!("the body of {name:?} {seq} is another one"));
            }
            stored.bytes = filled.bytes.clone();
            stored.body = Stand::Whole;
        }
        Ok(())
    }

    fn erase(&mut self, name: &LogName, seqs: &Ranges, by_author: bool) -> Result<(), String> {
        let key = BodyKey::of(name);
        let Some(log) = self.logs.get_mut(name) else {
            return Ok(());
        };
        for (&seq, stored) in log
            .entries
            .iter_mut()
            .filter(|(seq, _)| seqs.contains(**seq))
        {
            let entry = Entry::decode(&stored.bytes).map_err(|error| error.to_string())?;
            if entry.body.is_deletion() {
                continue;
            }
            if stored.body == Stand::Whole || by_author {
                let erased = erase(&key, seq, &stored.bytes);
                stored.bytes = erased.map_err(|error| error.to_string())?.into();
                stored.body = Stand::Erased;
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        batch: &CheckedBatch,
        from: Seq,
        to: Seq,
        audience: AudienceId,
        at: u64,
    ) -> Result<(), String> {
        let name = batch.batch.name;
        if !self.conversations.contains_key(&name.conversation) {
            return Err(format!(
                "an entry of the conversation {:?}, which the store does not know",
                name.conversation
            ));
        }
        if audience != AudienceId::MEMBERS && !self.audiences.contains_key(&audience) {
            return Err(format!(
                "an entry for {audience:?}, which the store does not know"
            ));
        }
        let next_ordinal = &mut self.next_ordinal;
        let log = self.logs.entry(name).or_insert_with(|| {
            *next_ordinal += 1;
            StoredLog {
                ordinal: *next_ordinal,
                ..StoredLog::default()
            }
        });
        for seq in from..=to {
            let entry = batch
                .at(seq)
                .ok_or_else(|| format!("{name:?} {seq} is not in its batch"))?;
            let prev = batch
                .hash_at(seq - 1)
                .expect("the entry at `seq` has one before it");
            let broken_before = log
                .entries
                .get(&(seq - 1))
                .is_some_and(|before| before.hash != prev);
            let broken_after = log
                .entries
                .get(&(seq + 1))
                .is_some_and(|after| after.prev != entry.hash);
            if broken_before || broken_after {
                return Err(format!("the chain of {name:?} is broken at {seq}"));
            }
            let (bytes, hash, lamport) = (entry.bytes.clone(), entry.hash, entry.entry.lamport);
            let stored = Stored {
                bytes,
                prev,
                hash,
                lamport,
                received_at_ms: at,
                audience,
                body: Stand::Whole,
            };
            if log.entries.insert(seq, stored).is_some() {
                return Err(format!("{name:?} {seq} is stored twice"));
            }
        }
        if to < batch.last() && !log.entries.contains_key(&(to + 1)) {
            return Err(format!(
                "{name:?} {to}, which is neither the end of its batch nor held on from there"
            ));
        }
        log.signatures.insert(batch.last(), batch.batch.signature);
        Ok(())
    }

    /// At most eight batches that cover `from` to `to`, or a little more. The replica reads the
    /// rest after sending them.
    pub(super) fn read(&self, name: LogName, from: Seq, to: Seq) -> Vec<Batch> {
        let (mut batches, mut at) = (Vec::new(), from);
        while let Some(log) = self
            .logs
            .get(&name)
            .filter(|_| at <= to && batches.len() < 8)
        {
            let Some(end) = log
                .end_of_batch(at, to)
                .filter(|_| log.entries.contains_key(&at))
            else {
                break;
            };
            batches.push(log.batch(name, at, end));
            at = end + 1;
        }
        batches
    }

    /// For each log, the first of the last `most` entries that arrived since `since_ms`.
    pub(super) fn newcomer_cut(
        &self,
        room: ConversationId,
        since_ms: u64,
        most: usize,
    ) -> BTreeMap<LogName, Seq> {
        let mut newest = Vec::new();
        for (name, log) in self
            .logs
            .iter()
            .filter(|(name, _)| name.conversation == room)
        {
            let recent = log
                .entries
                .iter()
                .filter(|(_, stored)| stored.received_at_ms >= since_ms);
            newest.extend(recent.map(|(&seq, stored)| (stored.lamport, *name, seq)));
        }
        newest.sort();
        let mut cut = BTreeMap::new();
        for (_, name, seq) in newest.into_iter().rev().take(most) {
            let first = cut.entry(name).or_insert(seq);
            *first = seq.min(*first);
        }
        cut
    }

    /// The state that a replica loads when its node starts.
    pub(super) fn loaded(&self) -> Loaded {
        let mut lamport = BTreeMap::<ConversationId, u64>::new();
        let mut logs = Vec::new();
        for (name, log) in &self.logs {
            let Some((&last, stored)) = log.entries.last_key_value() else {
                continue;
            };
            let highest = log
                .entries
                .values()
                .map(|stored| stored.lamport)
                .max()
                .unwrap_or(0);
            let of_all = lamport.entry(name.conversation).or_default();
            *of_all = highest.max(*of_all);
            let (head, edges) = ((last, stored.hash), log.edges());
            logs.push(LogRecord {
                name: *name,
                ordinal: log.ordinal,
                brought_by: log.brought_by,
                bytes: log.cost(),
                runs: log.runs(),
                head,
                edges,
                erased: log.with_body(Stand::Erased),
                unsettled: log.with_body(Stand::Missing),
            });
        }
        Loaded {
            conversations: self.conversations.values().cloned().collect(),
            logs,
            lamport: lamport.into_iter().collect(),
            audiences: self.audiences.values().cloned().collect(),
            last_audience: self.last_audience,
            lingerers: self
                .lingerers
                .iter()
                .map(|(id, list)| (*id, list.clone()))
                .collect(),
            acked: self
                .acked
                .iter()
                .map(|((name, peer), ranges)| (*name, *peer, ranges.clone()))
                .collect(),
            alive: self.alive,
            requests: self.requests.values().copied().collect(),
            awaited_deleted: self.awaited_deleted.iter().copied().collect(),
        }
    }
}

/// The durable state and the queue of commits.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) durable: Durable,
    /// Waiting commits, in order.
    pub(super) queue: VecDeque<Commit>,
    /// Whether a write is in progress.
    pub(super) busy: bool,
    /// The disk is full until this time.
    pub(super) full_until: u64,
    /// When a write last failed on a full disk.
    pub(super) last_full: u64,
}
