//! One log as this replica holds it: what is accepted, what is durable, and the hashes at the
//! edges.

use std::collections::BTreeMap;

use hobnob_protocol::{CheckedBatch, EntryHash, LogName, Ranges, Seq};

use crate::commit::{AudienceId, LogRecord, Run};

/// A log that this replica holds entries of.
#[derive(Debug)]
pub(super) struct Log {
    /// The order in which the logs of one author are sent.
    pub(super) ordinal: u64,
    /// What is on disk, sorted; runs that touch differ in their audience.
    runs: Vec<Run>,
    /// What is on disk.
    durable: Ranges,
    /// What is on disk or on its way there.
    accepted: Ranges,
    /// The chain's hash at the edges of what is durable or accepted, where it is known.
    marks: BTreeMap<Seq, EntryHash>,
}

impl Log {
    pub(super) fn new(name: &LogName, ordinal: u64) -> Self {
        Self {
            ordinal,
            runs: Vec::new(),
            durable: Ranges::new(),
            accepted: Ranges::new(),
            marks: BTreeMap::from([(0, name.genesis())]),
        }
    }

    pub(super) fn load(record: LogRecord) -> Self {
        let mut log = Self::new(&record.name, record.ordinal);
        for run in &record.runs {
            log.durable.insert(run.first, run.last);
        }
        log.accepted = log.durable.clone();
        log.runs = record.runs;
        log.marks.extend(record.edges);
        log.marks.insert(record.head.0, record.head.1);
        log.keep_edge_marks();
        log
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(super) fn durable(&self) -> &Ranges {
        &self.durable
    }

    pub(super) fn accepted(&self) -> &Ranges {
        &self.accepted
    }

    /// The last accepted entry and its hash; number 0 and the first hash where there is none.
    pub(super) fn head(&self) -> (Seq, EntryHash) {
        let last = self.accepted.last().unwrap_or(0);
        (
            last,
            *self
                .marks
                .get(&last)
                .expect("the mark of the last accepted entry is kept"),
        )
    }

    /// Whether the entry before `first` is held, or there is none.
    pub(super) fn continues_at(&self, first: Seq) -> bool {
        first == 1 || self.accepted.contains(first - 1)
    }

    /// Whether the batch belongs to another chain than the one held.
    pub(super) fn conflicts(&self, batch: &CheckedBatch) -> bool {
        let edges = self.marks.range(batch.first() - 1..=batch.last());
        edges
            .into_iter()
            .any(|(&seq, hash)| batch.hash_at(seq) != Some(*hash))
    }

    /// What the batch holds that is not accepted yet.
    pub(super) fn lacks(&self, batch: &CheckedBatch) -> Ranges {
        Ranges::span(batch.first(), batch.last()).minus(&self.accepted)
    }

    /// Takes the batch in; it is not durable yet.
    pub(super) fn accept(&mut self, batch: &CheckedBatch) {
        self.accepted.insert(batch.first(), batch.last());
        self.marks.insert(batch.first() - 1, batch.batch.prev);
        self.marks.insert(batch.last(), batch.head());
        self.keep_edge_marks();
    }

    /// These entries, accepted before, are on disk now.
    pub(super) fn made_durable(&mut self, first: Seq, last: Seq, audience: AudienceId) {
        self.durable.insert(first, last);
        self.accepted.insert(first, last);
        let at = self.runs.partition_point(|run| run.first < first);
        let extends =
            at > 0 && self.runs[at - 1].last + 1 == first && self.runs[at - 1].audience == audience;
        if extends {
            self.runs[at - 1].last = last;
        } else {
            self.runs.insert(
                at,
                Run {
                    first,
                    last,
                    audience,
                },
            );
        }
        self.keep_edge_marks();
    }

    /// Forgets what was accepted and never reached the disk.
    pub(super) fn roll_back(&mut self) {
        self.accepted = self.durable.clone();
        self.keep_edge_marks();
    }

    /// Lets go of everything below `seq`.
    pub(super) fn trim(&mut self, seq: Seq) {
        if seq <= 1 {
            return;
        }
        self.durable.remove(1, seq - 1);
        self.accepted.remove(1, seq - 1);
        self.runs.retain(|run| run.last >= seq);
        if let Some(run) = self.runs.first_mut() {
            run.first = run.first.max(seq);
        }
        self.keep_edge_marks();
    }

    /// Entry 0 and the edges of ranges are all that a later batch can join on to. What is on its
    /// way to the disk may get there in part, so the end of each batch of it can still become an
    /// edge.
    fn keep_edge_marks(&mut self) {
        let (accepted, durable) = (&self.accepted, &self.durable);
        let is_edge = |set: &Ranges, seq: Seq| set.contains(seq) != set.contains(seq + 1);
        let under_way = |seq: Seq| accepted.contains(seq) && !durable.contains(seq);
        self.marks.retain(|&seq, _| {
            seq == 0 || is_edge(accepted, seq) || is_edge(durable, seq) || under_way(seq)
        });
    }
}
