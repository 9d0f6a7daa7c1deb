//! The writer thread: writes all waiting jobs in one transaction, and reports them after it.
//!
//! When it is idle, or a search waits, it updates the search index in small steps.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use bytes::Bytes;
use hobnob_protocol::{ContentHash, OfferId, PersonId};
use rusqlite::{Connection, TransactionBehavior};

use hobnob_core::commit::{Commit, CommitId, OfferRecord, Op};
use hobnob_core::past_names::NameChange;
use hobnob_core::policy::PeerPolicy;

use super::apply::{Apply, Known};
use super::copies::Copies;
use super::damage::Damage;
use super::error::{Fault, StoreError};
use super::index;
use super::mail::{self, MailRow};
use super::mentions::Mentions;
use super::profiles;
use super::read::{Answer, PageRequest, give};
use super::repair;
use super::{KnownPeer, Place};

/// A job for the writer.
pub(super) enum Job {
    Commit(Commit),
    Setting {
        key: String,
        value: String,
    },
    Peer(KnownPeer),
    Mail(MailRow),
    ForgetPeer(PersonId),
    Picture {
        hash: ContentHash,
        bytes: Bytes,
        answer: Answer<()>,
    },
    RemovePicture(ContentHash),
    Rename(NameChange),
    Offer(OfferId, OfferRecord, Answer<()>),
    PeerPolicy {
        peer: PersonId,
        policy: PeerPolicy,
        answer: Answer<()>,
    },
    /// Removes everything that was erased from the write-ahead log.
    Truncate(Answer<()>),
    /// Copies the database into a new file.
    Copy(PathBuf, Answer<()>),
    /// A search. The writer passes it to the reader once the index has all earlier commits.
    Search(PageRequest),
    /// Which texts that are indexed from now on call for the user.
    Mentions(Mentions),
    /// Limits the database to this many pages. Tests fill a disk with it.
    #[cfg(test)]
    Pages(u32),
}

/// Maximum number of commits in one transaction.
const GROUP_COMMITS_MAX: usize = 256;

/// Approximate bytes of entries and of lists of peers in one transaction. The commit that reaches
/// this size is the last. The write-ahead log holds a transaction as a whole.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of a peer in a list.
const PEER_BYTES: usize = 32;

/// How long the writer must be idle before it updates the index.
const QUIET: Duration = Duration::from_secs(1);

/// Maximum number of entries in one update of the index. A new commit waits for at most one update.
const INDEX_PIECE: usize = 1_000;

/// How long rows that are not urgent wait for a commit to be written with. They do not delay a user
/// who writes one message after another: the answer of a holder arrives between two messages.
const WAIT: Duration = Duration::from_millis(20);

/// Maximum rows that wait.
const WAITING_MAX: usize = 64;

/// How often the writer checks the copies that a truncation of the log waits for.
const COPIED_EVERY: Duration = Duration::from_millis(100);

/// The state of the writer thread.
pub(super) struct Writer<F> {
    conn: Connection,
    place: Place,
    on_done: F,
    reader: Sender<PageRequest>,
    known: Known,
    /// Logs with entries that may be missing in the index.
    unindexed: BTreeSet<i64>,
    /// Searches that wait for the index.
    searches: Vec<PageRequest>,
    /// How long to wait for a job before the next update of the index.
    patience: Duration,
    copies: Copies,
    damage: Arc<Damage>,
    /// Which texts call for the user. `None` until the engine has begun.
    mentions: Option<Mentions>,
    /// Rows that wait for the next write.
    waiting: Vec<Job>,
}

/// The jobs of one transaction.
#[derive(Default)]
struct Group {
    writes: Vec<Job>,
    searches: Vec<PageRequest>,
    truncations: Vec<Answer<()>>,
    copies: Vec<(PathBuf, Answer<()>)>,
    mentions: Option<Mentions>,
    bytes: usize,
    entries: usize,
}

/// The next action of the writer.
enum Next {
    Take(Job),
    Index,
    /// The copies that truncations of the log waited for are complete.
    Copied,
    /// No commit arrived with which the waiting rows could be written.
    Waited,
    Stop,
}

impl<F: Fn(CommitId, Result<(), StoreError>)> Writer<F> {
    /// A writer that reports to `on_done` and passes searches to `reader`.
    pub(super) fn new(
        conn: Connection,
        place: Place,
        unindexed: BTreeSet<i64>,
        reader: Sender<PageRequest>,
        damage: Arc<Damage>,
        on_done: F,
    ) -> Self {
        let (known, searches) = (Known::default(), Vec::new());
        Self {
            conn,
            place,
            on_done,
            reader,
            known,
            unindexed,
            searches,
            patience: QUIET,
            copies: Copies::default(),
            damage,
            mentions: None,
            waiting: Vec::new(),
        }
    }

    /// Runs until all senders of `jobs` are dropped and all jobs are done. Returns the connection,
    /// which must be closed last.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) -> Connection {
        loop {
            match self.next(jobs) {
                Next::Take(first) => {
                    let mut group = Group::gather(first, jobs);
                    if group.can_wait() && self.waiting.len() < WAITING_MAX {
                        self.waiting.append(&mut group.writes);
                        continue;
                    }
                    let mut writes = std::mem::take(&mut self.waiting);
                    writes.append(&mut group.writes);
                    group.writes = writes;
                    // Twice as many entries as were written, so the index catches up and searches
                    // are answered even under constant load.
                    let entries = 2 * group.entries;
                    self.write(group);
                    self.patience = QUIET;
                    if !self.searches.is_empty() {
                        self.index(entries.max(INDEX_PIECE));
                    }
                }
                Next::Index => {
                    self.index(INDEX_PIECE);
                    self.patience = Duration::ZERO;
                }
                Next::Waited => self.write_waiting(),
                Next::Copied => {
                    for answer in self.copies.take_truncations() {
                        give(answer, self.truncate());
                    }
                }
                Next::Stop => {
                    self.write_waiting();
                    self.copies.join();
                    for answer in self.copies.take_truncations() {
                        give(answer, self.truncate());
                    }
                    return self.conn;
                }
            }
        }
    }

    /// Writes the rows that wait.
    fn write_waiting(&mut self) {
        let writes = std::mem::take(&mut self.waiting);
        if !writes.is_empty() {
            self.write(Group {
                writes,
                ..Group::default()
            });
        }
    }

    fn next(&mut self, jobs: &Receiver<Job>) -> Next {
        if !self.waiting.is_empty() {
            return match jobs.recv_timeout(WAIT) {
                Ok(job) => Next::Take(job),
                Err(RecvTimeoutError::Timeout) => Next::Waited,
                Err(RecvTimeoutError::Disconnected) => Next::Stop,
            };
        }
        if self.copies.hold_truncations() {
            return match jobs.recv_timeout(COPIED_EVERY) {
                Ok(job) => Next::Take(job),
                Err(RecvTimeoutError::Timeout) => Next::Index,
                Err(RecvTimeoutError::Disconnected) => Next::Stop,
            };
        }
        if self.copies.has_truncations() {
            return Next::Copied;
        }
        if !self.searches.is_empty() {
            return match jobs.try_recv() {
                Ok(job) => Next::Take(job),
                Err(TryRecvError::Empty) => Next::Index,
                Err(TryRecvError::Disconnected) => Next::Stop,
            };
        }
        if self.unindexed.is_empty() {
            return jobs.recv().map_or(Next::Stop, Next::Take);
        }
        match jobs.recv_timeout(self.patience) {
            Ok(job) => Next::Take(job),
            Err(RecvTimeoutError::Timeout) => Next::Index,
            Err(RecvTimeoutError::Disconnected) => Next::Stop,
        }
    }

    fn write(&mut self, group: Group) {
        if let Some(mentions) = group.mentions {
            // The newest messages may not be in the index yet. The name of their time counts.
            if self.mentions.is_some() {
                self.index(INDEX_PIECE);
            }
            self.mentions = Some(mentions);
        }
        let results = if group.writes.is_empty() {
            Ok(Vec::new())
        } else {
            self.transact(&group.writes)
        };
        if let Err(error) = &results {
            self.known.forget();
            self.damage.note_error(error);
        }
        for (index, job) in group.writes.into_iter().enumerate() {
            let result = results
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|each| each[index].clone());
            match job {
                Job::Commit(commit) => (self.on_done)(commit.id, result),
                Job::Offer(_, _, answer)
                | Job::PeerPolicy { answer, .. }
                | Job::Picture { answer, .. } => give(answer, result),
                Job::Setting { .. }
                | Job::Peer(_)
                | Job::Mail(_)
                | Job::ForgetPeer(_)
                | Job::RemovePicture(_)
                | Job::Rename(_)
                | Job::Search(_)
                | Job::Copy(..)
                | Job::Mentions(_)
                | Job::Truncate(_) => {
                    note_failure(result);
                }
                #[cfg(test)]
                Job::Pages(_) => note_failure(result),
            }
        }
        for (file, answer) in group.copies {
            self.copies.start(&self.place, file, answer);
        }
        if self.copies.is_running() {
            self.copies.truncations.extend(group.truncations);
        } else {
            for answer in group.truncations {
                give(answer, self.truncate());
            }
        }
        self.searches.extend(group.searches);
        self.answer_searches();
    }

    /// Moves the write-ahead log into the database and cuts it to nothing. The log holds older
    /// copies of pages, and so the texts that were erased.
    fn truncate(&self) -> Result<(), StoreError> {
        let busy: rusqlite::Result<i64> =
            self.conn
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        match busy.map_err(|error| Fault::from(error).at(&self.place.file))? {
            // A repair keeps the damaged database, which may have it, too.
            0 => repair::remove(&repair::damaged_copy_of(&self.place.file)),
            _ => Err(StoreError::InUse {
                file: self.place.file.clone(),
            }),
        }
    }

    /// Writes all jobs in one transaction. If a commit is wrong, it starts again with a savepoint
    /// for each job, so that only that commit fails. Any other error undoes all jobs.
    fn transact(&mut self, writes: &[Job]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        match self.write_all(writes) {
            Ok(()) => Ok(vec![Ok(()); writes.len()]),
            Err(error) if error.is_of_one_commit() => {
                self.known.forget();
                self.write_each(writes)
            }
            Err(error) => Err(error),
        }
    }

    fn write_all(&mut self, writes: &[Job]) -> Result<(), StoreError> {
        let Self {
            conn,
            place,
            known,
            unindexed,
            mentions,
            ..
        } = self;
        let mut write_all = || -> Result<(), Fault> {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for write in writes {
                apply(
                    &mut Apply {
                        conn: &tx,
                        known,
                        grown: unindexed,
                        mentions: mentions.as_ref(),
                    },
                    write,
                )?;
            }
            Ok(tx.commit()?)
        };
        write_all().map_err(|fault| fault.at(&place.file))
    }

    fn write_each(&mut self, writes: &[Job]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let Self {
            conn,
            place,
            known,
            unindexed,
            mentions,
            ..
        } = self;
        let named = |fault: Fault| fault.at(&place.file);
        let sqlite = |error: rusqlite::Error| Fault::from(error).at(&place.file);
        let tx = conn
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sqlite)?;
        let mut results = Vec::with_capacity(writes.len());
        for write in writes {
            savepoint(&tx, "SAVEPOINT one").map_err(sqlite)?;
            let result = apply(
                &mut Apply {
                    conn: &tx,
                    known,
                    grown: unindexed,
                    mentions: mentions.as_ref(),
                },
                write,
            )
            .map_err(named);
            match &result {
                Ok(()) => {}
                Err(error) if error.is_of_one_commit() => {
                    savepoint(&tx, "ROLLBACK TO one").map_err(sqlite)?;
                    known.forget();
                }
                Err(error) => return Err(error.clone()),
            }
            savepoint(&tx, "RELEASE one").map_err(sqlite)?;
            results.push(result);
        }
        tx.commit().map_err(sqlite)?;
        Ok(results)
    }

    /// Adds about this many entries to the index.
    fn index(&mut self, entries: usize) {
        let mut room = entries;
        while room > 0
            && let Some(log) = self.unindexed.first().copied()
        {
            match index::take_in(&mut self.conn, self.mentions.as_ref(), log, room) {
                Ok(taken) => {
                    if taken.is_complete {
                        self.unindexed.remove(&log);
                    }
                    room = room.saturating_sub(taken.entries);
                }
                Err(fault) => return self.give_up_index(log, fault),
            }
        }
        self.answer_searches();
    }

    /// Answers the waiting searches with the error, or without this log if the log is damaged. The
    /// log is tried again with its next entry, because an immediate retry would fail the same way.
    fn give_up_index(&mut self, log: i64, fault: Fault) {
        let error = fault.at(&self.place.file);
        tracing::warn!(%error, "the search index can't be updated");
        self.unindexed.remove(&log);
        self.damage.note_error(&error);
        if matches!(error, StoreError::Damaged { .. }) {
            return self.answer_searches();
        }
        for search in self.searches.drain(..) {
            search.refuse(error.clone());
        }
    }

    fn answer_searches(&mut self) {
        if self.unindexed.is_empty() {
            for search in self.searches.drain(..) {
                self.reader
                    .send(search)
                    .expect("a reader lives until its last sender, this one, is gone");
            }
        }
    }
}

impl Group {
    /// The waiting jobs, starting with `first`, up to the limits of one transaction.
    fn gather(first: Job, jobs: &Receiver<Job>) -> Self {
        let mut group = Self::default();
        group.add(first);
        while group.writes.len() < GROUP_COMMITS_MAX && group.bytes < GROUP_BYTES {
            match jobs.try_recv() {
                Ok(job) => group.add(job),
                Err(_) => break,
            }
        }
        group
    }

    /// Whether it has nothing but rows that may be written later.
    fn can_wait(&self) -> bool {
        let can_wait = |job: &Job| matches!(job, Job::Mail(row) if row.can_wait());
        let has_more = !self.searches.is_empty()
            || !self.truncations.is_empty()
            || !self.copies.is_empty()
            || self.mentions.is_some();
        !has_more && self.writes.iter().all(can_wait)
    }

    fn add(&mut self, job: Job) {
        if let Job::Search(ask) = job {
            self.searches.push(ask);
            return;
        }
        if let Job::Truncate(answer) = job {
            self.truncations.push(answer);
            return;
        }
        if let Job::Mentions(mentions) = job {
            self.mentions = Some(mentions);
            return;
        }
        if let Job::Copy(file, answer) = job {
            self.copies.push((file, answer));
            return;
        }
        if let Job::Commit(commit) = &job {
            for op in &commit.ops {
                self.bytes += match op {
                    Op::Append { batch, .. } => {
                        self.entries += batch.entries.len();
                        batch.batch.entries.len()
                    }
                    // In a crowded room these are as large as many entries.
                    Op::Audience(record) => PEER_BYTES * record.peers.len(),
                    Op::Lingerers(_, peers) => PEER_BYTES * peers.len(),
                    Op::Conversation(_)
                    | Op::Fill { .. }
                    | Op::Erase { .. }
                    | Op::AwaitDeleted(..)
                    | Op::AudiencesBefore(..)
                    | Op::Acked { .. }
                    | Op::Trim(..)
                    | Op::Brought(..)
                    | Op::Cost(..)
                    | Op::ClientId(..)
                    | Op::Forget(_)
                    | Op::Alive(_)
                    | Op::Request(_)
                    | Op::RequestEnds(_) => 0,
                };
            }
        }
        self.writes.push(job);
    }
}

fn apply(tables: &mut Apply<'_>, write: &Job) -> Result<(), Fault> {
    match write {
        Job::Commit(commit) => commit.ops.iter().try_for_each(|op| tables.op(op)),
        Job::Setting { key, value } => tables.put_setting(key, value),
        Job::Peer(known) => tables.put_peer(known),
        Job::Mail(row) => mail::put(tables.conn, row),
        Job::ForgetPeer(peer) => {
            tables.forget_peer(*peer)?;
            profiles::forget_names(tables.conn, *peer)
        }
        Job::Picture { hash, bytes, .. } => profiles::put_picture(tables.conn, *hash, bytes),
        Job::RemovePicture(hash) => profiles::remove_picture(tables.conn, *hash),
        Job::Rename(change) => profiles::rename(tables.conn, change),
        Job::Offer(offer, record, _) => tables.put_offer(offer, record),
        Job::PeerPolicy { peer, policy, .. } => tables.put_policy(*peer, policy),
        Job::Search(_) | Job::Truncate(_) | Job::Copy(..) | Job::Mentions(_) => Ok(()),
        #[cfg(test)]
        Job::Pages(pages) => Ok(tables.conn.pragma_update(None, "max_page_count", pages)?),
    }
}

fn savepoint(conn: &Connection, sql: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(sql)?.execute([]).map(drop)
}

fn note_failure(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "a setting or a peer's address was not stored");
    }
}
