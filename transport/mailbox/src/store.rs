//! The database of envelopes. One thread writes all requests that wait in one transaction, and
//! answers them after it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use hobnob_protocol::DeviceId;
use hobnob_protocol::mailbox::{
    Deposit, DepositAnswer, Envelope, FromHolder, HELD_FOR, KeyId, PAGE_BYTES_MAX, TokenHash,
    Waiting,
};
use hobnob_protocol::record::{MailboxRecord, SignedRecord};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tokio::sync::mpsc;

use crate::config::{RECIPIENT_BYTES_MAX, RECIPIENTS_MAX, SENDER_BYTES_MAX};
use crate::news::News;

/// Maximum requests that wait for the thread. Beyond it the frames stay in their streams.
const JOBS_MAX: usize = 512;

/// Maximum requests in one transaction.
const GROUP_MAX: usize = 256;

/// How often old envelopes are removed.
const EXPIRE_EVERY_MS: u64 = 60 * 60 * 1000;

const SCHEMA: &str = "
CREATE TABLE recipients (
    id INTEGER PRIMARY KEY, peer BLOB NOT NULL UNIQUE, record BLOB NOT NULL, list BLOB NOT NULL,
    key INTEGER NOT NULL, since_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL,
    envelopes INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE senders (
    recipient INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (recipient, hash)
) WITHOUT ROWID;
CREATE TABLE shares (
    recipient INTEGER NOT NULL, sender BLOB NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (recipient, sender)
) WITHOUT ROWID;
CREATE TABLE envelopes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, recipient INTEGER NOT NULL, sender BLOB NOT NULL,
    at_ms INTEGER NOT NULL, size INTEGER NOT NULL, bytes BLOB NOT NULL
);
CREATE INDEX envelopes_of ON envelopes (recipient, number);
CREATE INDEX envelopes_at ON envelopes (at_ms);
CREATE INDEX recipients_seen ON recipients (seen_ms);
";

/// Changes version 1 of the schema to version 2. The hash recognizes an envelope that is deposited
/// again.
const WITH_HASHES: &str = "
ALTER TABLE envelopes ADD COLUMN hash BLOB;
CREATE INDEX envelopes_hash ON envelopes (recipient, hash);
";

/// The version of the schema.
const SCHEMA_VERSION: i64 = 2;

/// Bytes of the hash of an envelope that are stored. It is compared among the envelopes of one sender
/// for one recipient.
const HASH_BYTES: usize = 16;

/// Why the mailboxes can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// The thread can't be started.
    #[error("can't start the thread of the mailboxes: {0}")]
    Thread(std::io::Error),
    /// The file can't be created.
    #[error("can't create {0:?}: {1}")]
    File(PathBuf, std::io::Error),
    /// The database can't be opened.
    #[error("can't open {0:?}: {1}")]
    Database(PathBuf, rusqlite::Error),
    /// A newer version of hobnob has written the database.
    #[error("{0:?} was written by a newer hobnob: update this one")]
    Newer(PathBuf),
}

/// How much the mailboxes hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// The peers for which the relay holds mail.
    pub recipients: u64,
    /// The envelopes that wait.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The maximum of these bytes.
    pub bytes_max: u64,
}

/// The answers of the database to one request, and the end that they go to.
pub(crate) type Reply = Box<dyn FnOnce(Vec<FromHolder>) + Send>;

/// A request of one node. The node has proved its id.
pub(crate) enum Request {
    Hold(SignedRecord, Vec<TokenHash>),
    Deposit(Deposit),
    Fetch(u64),
    Delete(Vec<u64>),
    /// Nothing but a look at what is too old, as each request causes from time to time.
    Expire,
}

pub(crate) struct Job {
    pub(crate) from: DeviceId,
    pub(crate) request: Request,
    pub(crate) reply: Reply,
}

/// A handle to the mailboxes. The thread ends when the last one is dropped, or is closed.
#[derive(Debug, Clone)]
pub struct Mailboxes {
    /// `None` ends the thread.
    jobs: mpsc::Sender<Option<Job>>,
    counts: Arc<Counts>,
    thread: Arc<Thread>,
    news: News,
}

/// The totals, for readers on other threads.
#[derive(Debug, Default)]
struct Counts {
    recipients: AtomicU64,
    envelopes: AtomicU64,
    bytes: AtomicU64,
    bytes_max: u64,
}

#[derive(Debug)]
struct Thread(Mutex<Option<JoinHandle<()>>>);

impl Mailboxes {
    /// Prepares a database, which may be new, and starts the thread. `path` is for messages only.
    /// `bytes_max` limits the bytes of all envelopes. `wall_ms` reads the wall clock, in milliseconds
    /// since the Unix epoch.
    pub fn open(
        conn: Connection,
        path: &Path,
        bytes_max: u64,
        wall_ms: impl Fn() -> u64 + Send + 'static,
    ) -> Result<Self, MailboxError> {
        let conn = prepare(conn, path)?;
        let counts = Arc::new(Counts {
            bytes_max,
            ..Counts::default()
        });
        let store = Store::new(conn, counts.clone())
            .map_err(|error| MailboxError::Database(path.to_owned(), error))?;
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let thread = std::thread::Builder::new()
            .name("mailboxes".to_owned())
            .spawn(move || store.run(queue, wall_ms))
            .map_err(MailboxError::Thread)?;
        Ok(Self {
            jobs,
            counts,
            thread: Arc::new(Thread(Mutex::new(Some(thread)))),
            news: News::default(),
        })
    }

    /// The recipients that are connected.
    pub(crate) fn news(&self) -> &News {
        &self.news
    }

    /// Queues a request. Returns nothing if the thread has ended.
    pub(crate) async fn ask(&self, job: Job) -> Option<()> {
        self.jobs.send(Some(job)).await.ok()
    }

    /// Removes what is too old. A holder that gets requests all the time needs no call, because they
    /// have the same effect.
    pub fn expire(&self) {
        let job = Job {
            from: DeviceId::from_bytes([0; 32]),
            request: Request::Expire,
            reply: Box::new(|_| {}),
        };
        // With a full queue there are requests.
        let _ = self.jobs.try_send(Some(job));
    }

    /// How much is held.
    pub fn totals(&self) -> Totals {
        let counts = &self.counts;
        Totals {
            recipients: counts.recipients.load(Ordering::Relaxed),
            envelopes: counts.envelopes.load(Ordering::Relaxed),
            bytes: counts.bytes.load(Ordering::Relaxed),
            bytes_max: counts.bytes_max,
        }
    }

    /// Waits until all earlier requests are answered and the database is closed. Blocks.
    pub fn close(self) {
        let Self { jobs, thread, .. } = self;
        // An error means that the thread has ended.
        let _ended = jobs.blocking_send(None);
        drop(jobs);
        let handle = thread
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(handle) = handle
            && handle.join().is_err()
        {
            tracing::error!("the thread of the mailboxes has panicked");
        }
    }
}

fn prepare(mut conn: Connection, path: &Path) -> Result<Connection, MailboxError> {
    let is_known =
        migrate(&mut conn).map_err(|error| MailboxError::Database(path.to_owned(), error))?;
    is_known
        .then_some(conn)
        .ok_or_else(|| MailboxError::Newer(path.to_owned()))
}

/// Brings the database to this version. Returns whether this version knows its form.
fn migrate(conn: &mut Connection) -> rusqlite::Result<bool> {
    conn.pragma_update(None, "journal_mode", "wal")?;
    // An answer means that the envelope survives a power failure.
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "secure_delete", true)?;
    conn.set_prepared_statement_cache_capacity(32);
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        tx.execute_batch(SCHEMA)?;
    }
    if version < 2 {
        tx.execute_batch(WITH_HASHES)?;
        tx.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    tx.commit()?;
    Ok(version <= SCHEMA_VERSION)
}

/// Counts of all mailboxes together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    recipients: u64,
    envelopes: u64,
    bytes: u64,
}

/// The state of the thread.
struct Store {
    conn: Connection,
    /// What is on disk. Counting anew would read all recipients.
    tally: Tally,
    counts: Arc<Counts>,
    /// When old envelopes were last removed.
    expired_at_ms: u64,
}

impl Store {
    fn new(conn: Connection, counts: Arc<Counts>) -> rusqlite::Result<Self> {
        let sql =
            "SELECT count(*), coalesce(sum(envelopes), 0), coalesce(sum(bytes), 0) FROM recipients";
        let tally = conn.query_row(sql, [], |row| {
            Ok(Tally {
                recipients: number(row, 0)?,
                envelopes: number(row, 1)?,
                bytes: number(row, 2)?,
            })
        })?;
        let store = Self {
            conn,
            tally,
            counts,
            expired_at_ms: 0,
        };
        store.publish();
        Ok(store)
    }

    fn run(mut self, mut queue: mpsc::Receiver<Option<Job>>, wall_ms: impl Fn() -> u64) {
        let (mut group, mut stop) = (Vec::with_capacity(GROUP_MAX), false);
        while !stop && let Some(Some(first)) = queue.blocking_recv() {
            group.push(first);
            while group.len() < GROUP_MAX
                && let Ok(next) = queue.try_recv()
            {
                let Some(job) = next else {
                    stop = true;
                    break;
                };
                group.push(job);
            }
            self.answer(std::mem::take(&mut group), wall_ms());
        }
    }

    /// Carries out requests in one transaction, then answers all of them.
    fn answer(&mut self, group: Vec<Job>, now_ms: u64) {
        let answers = match self.carry_out(&group, now_ms) {
            Ok(answers) => answers,
            Err(error) => {
                // Nothing of the group is on disk.
                tracing::warn!(%error, "the mailboxes can't be written");
                group.iter().map(|job| failed(&job.request)).collect()
            }
        };
        self.publish();
        for (job, answers) in group.into_iter().zip(answers) {
            (job.reply)(answers);
        }
    }

    fn carry_out(&mut self, group: &[Job], now_ms: u64) -> rusqlite::Result<Vec<Vec<FromHolder>>> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let expires = now_ms.abs_diff(self.expired_at_ms) >= EXPIRE_EVERY_MS;
        let mut group_tx = Mailbox {
            tx: &tx,
            tally: self.tally,
            bytes_max: self.counts.bytes_max,
            now_ms,
        };
        if expires {
            // A recipient that returns just in time keeps its mail.
            for job in group
                .iter()
                .filter(|job| matches!(job.request, Request::Hold(..)))
            {
                let seen = params![&job.from.as_bytes()[..], sql(now_ms)];
                tx.execute("UPDATE recipients SET seen_ms = ?2 WHERE peer = ?1", seen)?;
            }
            group_tx.expire()?;
        }
        let answers = group
            .iter()
            .map(|job| match &job.request {
                Request::Hold(record, senders) => group_tx.hold(job.from, record, senders),
                Request::Deposit(deposit) => {
                    let answer = group_tx.deposit(job.from, deposit)?;
                    Ok(vec![FromHolder::Answer(deposit.number, answer)])
                }
                Request::Fetch(after) => group_tx.fetch(job.from, *after),
                Request::Delete(numbers) => group_tx.delete(job.from, numbers),
                Request::Expire => Ok(Vec::new()),
            })
            .collect::<rusqlite::Result<_>>()?;
        let tally = group_tx.tally;
        tx.commit()?;
        self.tally = tally;
        if expires {
            self.expired_at_ms = now_ms;
        }
        Ok(answers)
    }

    fn publish(&self) {
        let (tally, counts) = (self.tally, &self.counts);
        counts.recipients.store(tally.recipients, Ordering::Relaxed);
        counts.envelopes.store(tally.envelopes, Ordering::Relaxed);
        counts.bytes.store(tally.bytes, Ordering::Relaxed);
    }
}

/// The answer to a request of which nothing is on disk.
fn failed(request: &Request) -> Vec<FromHolder> {
    match request {
        Request::Hold(..) => vec![FromHolder::NotHolding],
        Request::Deposit(deposit) => {
            vec![FromHolder::Answer(deposit.number, DepositAnswer::Failed)]
        }
        Request::Fetch(_) => vec![FromHolder::PageEnd(false)],
        Request::Delete(_) | Request::Expire => Vec::new(),
    }
}

/// SQLite's numbers are signed. Those here are counts, and times of this millennium.
fn number(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column)
        .map(|number| u64::try_from(number).unwrap_or_default())
}

fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A short form of a list of senders, to recognize one that has not changed.
fn hash_of(senders: &[TokenHash]) -> Vec<u8> {
    let mut hash = blake3::Hasher::new();
    for sender in senders {
        hash.update(sender.as_bytes());
    }
    hash.finalize().as_bytes().to_vec()
}

/// A row of `recipients`.
struct Recipient {
    id: i64,
    record: Vec<u8>,
    list: Vec<u8>,
    key: KeyId,
    since_ms: u64,
    envelopes: u64,
    bytes: u64,
}

/// The mailboxes within one transaction.
struct Mailbox<'a> {
    tx: &'a Transaction<'a>,
    tally: Tally,
    bytes_max: u64,
    now_ms: u64,
}

impl Mailbox<'_> {
    fn recipient(&self, peer: DeviceId) -> rusqlite::Result<Option<Recipient>> {
        let mut select = self.tx.prepare_cached(
            "SELECT id, record, list, key, since_ms, envelopes, bytes FROM recipients WHERE peer = ?1",
        )?;
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Recipient {
                id: row.get(0)?,
                record: row.get(1)?,
                list: row.get(2)?,
                key: number(row, 3)?,
                since_ms: number(row, 4)?,
                envelopes: number(row, 5)?,
                bytes: number(row, 6)?,
            })
        };
        select.query_row([&peer.as_bytes()[..]], row).optional()
    }

    /// Holds mail for a peer from now on, from these senders.
    fn hold(
        &mut self,
        peer: DeviceId,
        record: &SignedRecord,
        senders: &[TokenHash],
    ) -> rusqlite::Result<Vec<FromHolder>> {
        let refused = || Ok(vec![FromHolder::NotHolding]);
        let Ok(checked) = record.clone().check::<MailboxRecord>(peer) else {
            return refused();
        };
        let (known, list) = (self.recipient(peer)?, hash_of(senders));
        if known.is_none() {
            if self.tally.recipients >= RECIPIENTS_MAX {
                return refused();
            }
            self.tally.recipients += 1;
        }
        self.tx
            .prepare_cached(
                "INSERT INTO recipients (peer, record, list, key, since_ms, seen_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5)
                 ON CONFLICT (peer) DO UPDATE SET record = ?2, list = ?3, key = ?4, seen_ms = ?5",
            )?
            .execute(params![
                &peer.as_bytes()[..],
                record.as_bytes(),
                list,
                sql(checked.record().key),
                sql(self.now_ms),
            ])?;
        let recipient = self.recipient(peer)?.expect("inserted above");
        if known.is_none_or(|known| known.list != list) {
            self.tx
                .prepare_cached("DELETE FROM senders WHERE recipient = ?1")?
                .execute([recipient.id])?;
            let mut insert = self
                .tx
                .prepare_cached("INSERT OR IGNORE INTO senders VALUES (?1, ?2)")?;
            for hash in senders {
                insert.execute(params![recipient.id, &hash.as_bytes()[..]])?;
            }
        }
        Ok(vec![FromHolder::Holding {
            envelopes: recipient.envelopes,
            bytes: recipient.bytes,
            since_ms: recipient.since_ms,
        }])
    }

    fn deposit(&mut self, from: DeviceId, deposit: &Deposit) -> rusqlite::Result<DepositAnswer> {
        // A sender without a token does not learn whether there is a mailbox.
        let Some(recipient) = self.recipient(deposit.recipient)? else {
            return Ok(DepositAnswer::NotAccepted);
        };
        let (id, hash) = (recipient.id, deposit.token.hash(from));
        let is_named = self
            .tx
            .prepare_cached("SELECT 1 FROM senders WHERE recipient = ?1 AND hash = ?2")?
            .exists(params![id, &hash.as_bytes()[..]])?;
        let envelope = Envelope::from_bytes(deposit.envelope.clone().into());
        let (true, Ok(envelope)) = (is_named, envelope) else {
            return Ok(DepositAnswer::NotAccepted);
        };
        if envelope.key != recipient.key {
            let record = SignedRecord::from_bytes(recipient.record);
            return Ok(DepositAnswer::SealAgain(record));
        }
        let size = deposit.envelope.len() as u64;
        let sender = &from.as_bytes()[..];
        let hash = blake3::hash(&deposit.envelope);
        let hash = &hash.as_bytes()[..HASH_BYTES];
        // The sender has not received the answer to its first deposit of this envelope.
        let is_here = self
            .tx
            .prepare_cached(
                "SELECT 1 FROM envelopes WHERE recipient = ?1 AND hash = ?2 AND sender = ?3",
            )?
            .exists(params![id, hash, sender])?;
        if is_here {
            return Ok(DepositAnswer::Stored);
        }
        let share = self
            .tx
            .prepare_cached("SELECT bytes FROM shares WHERE recipient = ?1 AND sender = ?2")?
            .query_row(params![id, sender], |row| number(row, 0))
            .optional()?
            .unwrap_or_default();
        let left = self.bytes_max.saturating_sub(self.tally.bytes);
        let of_recipient = RECIPIENT_BYTES_MAX.min((left + recipient.bytes) / 8);
        if share + size > SENDER_BYTES_MAX || recipient.bytes + size > of_recipient {
            return Ok(DepositAnswer::Full);
        }
        self.tx
            .prepare_cached(
                "INSERT INTO envelopes (recipient, sender, at_ms, size, bytes, hash)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                id,
                sender,
                sql(self.now_ms),
                sql(size),
                deposit.envelope,
                hash
            ])?;
        self.tx
            .prepare_cached(
                "UPDATE recipients SET envelopes = envelopes + 1, bytes = bytes + ?2 WHERE id = ?1",
            )?
            .execute(params![id, sql(size)])?;
        self.tx
            .prepare_cached(
                "INSERT INTO shares VALUES (?1, ?2, ?3)
                 ON CONFLICT (recipient, sender) DO UPDATE SET bytes = bytes + ?3",
            )?
            .execute(params![id, sender, sql(size)])?;
        self.tally.envelopes += 1;
        self.tally.bytes += size;
        Ok(DepositAnswer::Stored)
    }

    fn fetch(&self, peer: DeviceId, after: u64) -> rusqlite::Result<Vec<FromHolder>> {
        let Some(recipient) = self.recipient(peer)? else {
            return Ok(vec![FromHolder::PageEnd(false)]);
        };
        let mut select = self.tx.prepare_cached(
            "SELECT number, sender, at_ms, bytes FROM envelopes
             WHERE recipient = ?1 AND number > ?2 ORDER BY number",
        )?;
        let mut rows = select.query(params![recipient.id, sql(after)])?;
        let (mut page, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            if bytes >= PAGE_BYTES_MAX {
                page.push(FromHolder::PageEnd(true));
                return Ok(page);
            }
            let envelope: Vec<u8> = row.get(3)?;
            bytes += envelope.len() as u64;
            page.push(FromHolder::Waiting(Waiting {
                number: number(row, 0)?,
                sender: DeviceId::from_bytes(row.get(1)?),
                arrived_at_ms: number(row, 2)?,
                envelope,
            }));
        }
        page.push(FromHolder::PageEnd(false));
        Ok(page)
    }

    fn delete(&mut self, peer: DeviceId, numbers: &[u64]) -> rusqlite::Result<Vec<FromHolder>> {
        let Some(recipient) = self.recipient(peer)? else {
            return Ok(Vec::new());
        };
        for number in numbers {
            let gone = self
                .tx
                .prepare_cached(
                    "DELETE FROM envelopes WHERE number = ?1 AND recipient = ?2
                     RETURNING sender, size",
                )?
                .query_row(params![sql(*number), recipient.id], |row| {
                    Ok((row.get::<_, Vec<u8>>(0)?, self::number(row, 1)?))
                })
                .optional()?;
            if let Some((sender, size)) = gone {
                self.left(recipient.id, &sender, 1, size)?;
            }
        }
        Ok(Vec::new())
    }

    /// Removes envelopes that nobody fetched in time, and recipients that have not returned.
    fn expire(&mut self) -> rusqlite::Result<()> {
        let held_for = u64::try_from(HELD_FOR.as_millis()).expect("30 days");
        let before = sql(self.now_ms.saturating_sub(held_for));
        let tx = self.tx;
        let mut select = tx.prepare(
            "SELECT recipient, sender, count(*), sum(size) FROM envelopes WHERE at_ms < ?1
             OR recipient IN (SELECT id FROM recipients WHERE seen_ms < ?1)
             GROUP BY recipient, sender",
        )?;
        let mut rows = select.query([before])?;
        while let Some(row) = rows.next()? {
            let (recipient, sender): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
            self.left(recipient, &sender, number(row, 2)?, number(row, 3)?)?;
        }
        tx.execute(
            "DELETE FROM envelopes WHERE at_ms < ?1
             OR recipient IN (SELECT id FROM recipients WHERE seen_ms < ?1)",
            [before],
        )?;
        tx.execute(
            "DELETE FROM senders WHERE recipient IN (SELECT id FROM recipients WHERE seen_ms < ?1)",
            [before],
        )?;
        let gone = tx.execute("DELETE FROM recipients WHERE seen_ms < ?1", [before])?;
        self.tally.recipients = self.tally.recipients.saturating_sub(gone as u64);
        Ok(())
    }

    /// Envelopes of a sender leave a mailbox.
    fn left(
        &mut self,
        recipient: i64,
        sender: &[u8],
        envelopes: u64,
        bytes: u64,
    ) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "UPDATE recipients SET envelopes = envelopes - ?2, bytes = bytes - ?3 WHERE id = ?1",
            )?
            .execute(params![recipient, sql(envelopes), sql(bytes)])?;
        self.tx
            .prepare_cached(
                "UPDATE shares SET bytes = bytes - ?3 WHERE recipient = ?1 AND sender = ?2",
            )?
            .execute(params![recipient, sender, sql(bytes)])?;
        self.tx
            .prepare_cached(
                "DELETE FROM shares WHERE recipient = ?1 AND sender = ?2 AND bytes <= 0",
            )?
            .execute(params![recipient, sender])?;
        self.tally.envelopes = self.tally.envelopes.saturating_sub(envelopes);
        self.tally.bytes = self.tally.bytes.saturating_sub(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hobnob_protocol::SecretKey;
    use hobnob_protocol::mailbox::{DepositToken, MailboxKey};
    use hobnob_protocol::record::Checked;

    use super::*;

    fn open(dir: &Path) -> Connection {
        let path = dir.join("mailbox.db");
        prepare(Connection::open(&path).unwrap(), &path).unwrap()
    }

    const DAY_MS: u64 = 24 * 60 * 60 * 1000;

    fn ann() -> SecretKey {
        SecretKey::from_seed([1; 32])
    }

    fn bob() -> SecretKey {
        SecretKey::from_seed([2; 32])
    }

    /// A store in a folder that lives as long, and Bob's mailbox key.
    struct Bench {
        store: Store,
        key: MailboxKey,
        dir: tempfile::TempDir,
    }

    impl Bench {
        fn new(bytes_max: u64) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let conn = open(dir.path());
            let counts = Counts {
                bytes_max,
                ..Counts::default()
            };
            let store = Store::new(conn, Arc::new(counts)).unwrap();
            let key = MailboxKey::generate();
            Self { store, key, dir }
        }

        fn reader(&self) -> Connection {
            open(self.dir.path())
        }

        /// A mailbox of Bob, in which Ann may deposit.
        fn with_mailbox(bytes_max: u64) -> Self {
            let mut bench = Self::new(bytes_max);
            let holding = bench.hold(1, &[ann()], 0);
            assert!(matches!(
                holding[..],
                [FromHolder::Holding { envelopes: 0, .. }]
            ));
            bench
        }

        fn ask(&mut self, from: &SecretKey, request: Request, now_ms: u64) -> Vec<FromHolder> {
            let job = Job {
                from: from.id(),
                request,
                reply: Box::new(|_| {}),
            };
            let answers = self.store.carry_out(&[job], now_ms).unwrap();
            let read = Store::new(self.reader(), self.store.counts.clone()).unwrap();
            assert_eq!(read.tally, self.store.tally, "as if counted anew");
            answers.into_iter().flatten().collect()
        }

        fn hold(&mut self, key: KeyId, senders: &[SecretKey], now_ms: u64) -> Vec<FromHolder> {
            let record = MailboxRecord {
                number: key,
                key,
                public: self.key.public(),
                needs_newer_version: false,
            };
            let record = Checked::sign(record, &bob()).signed().clone();
            let senders = senders.iter().map(|sender| token(sender).hash(sender.id()));
            self.ask(&bob(), Request::Hold(record, senders.collect()), now_ms)
        }

        fn deposit(
            &mut self,
            from: &SecretKey,
            token: DepositToken,
            key: KeyId,
            at: u64,
        ) -> DepositAnswer {
            let envelope = self.envelope(from, key);
            self.deposit_envelope(from, token, envelope, at)
        }

        /// A new envelope for Bob. No two are equal.
        fn envelope(&self, from: &SecretKey, key: KeyId) -> Vec<u8> {
            let frame = Bytes::from_static(&[2, 5]);
            let public = self.key.public();
            let envelope = Envelope::seal(&[frame], from, bob().id(), key, &public).unwrap();
            envelope.as_bytes().to_vec()
        }

        fn deposit_envelope(
            &mut self,
            from: &SecretKey,
            token: DepositToken,
            envelope: Vec<u8>,
            at: u64,
        ) -> DepositAnswer {
            let deposit = Deposit {
                number: 7,
                recipient: bob().id(),
                token,
                envelope,
            };
            match &self.ask(from, Request::Deposit(deposit), at)[..] {
                [FromHolder::Answer(7, answer)] => answer.clone(),
                other => panic!("one answer: {other:?}"),
            }
        }

        fn waiting(&mut self) -> Vec<u64> {
            let mut numbers = Vec::new();
            loop {
                let after = numbers.last().copied().unwrap_or_default();
                for answer in self.ask(&bob(), Request::Fetch(after), 0) {
                    if let FromHolder::Waiting(waiting) = answer {
                        assert_eq!(waiting.sender, ann().id());
                        numbers.push(waiting.number);
                    } else if answer == FromHolder::PageEnd(false) {
                        return numbers;
                    }
                }
            }
        }
    }

    fn token(sender: &SecretKey) -> DepositToken {
        DepositToken::new(&[9; 32], sender.id(), DeviceId::from_bytes([8; 32]), 1)
    }

    #[test]
    fn an_envelope_waits_until_its_recipient_deletes_it() {
        let mut bench = Bench::with_mailbox(1 << 30);
        for _ in 0..2 {
            let answer = bench.deposit(&ann(), token(&ann()), 1, 5);
            assert_eq!(answer, DepositAnswer::Stored);
        }
        assert_eq!(bench.waiting(), [1, 2]);
        bench.ask(&ann(), Request::Delete(vec![1, 2]), 0);
        assert_eq!(bench.waiting(), [1, 2], "Ann can't delete Bob's");
        bench.ask(&bob(), Request::Delete(vec![1, 9]), 0);
        assert_eq!(bench.waiting(), [2]);
        bench.ask(&bob(), Request::Delete(vec![2]), 0);
        assert_eq!(bench.store.tally.bytes, 0);
        bench.deposit(&ann(), token(&ann()), 1, 5);
        assert_eq!(bench.waiting(), [3], "numbers are not used twice");
    }

    #[test]
    fn an_envelope_that_is_deposited_again_is_stored_once() {
        let mut bench = Bench::with_mailbox(1 << 30);
        bench.hold(1, &[ann(), bob()], 0);
        let envelope = bench.envelope(&ann(), 1);
        for _ in 0..2 {
            let answer = bench.deposit_envelope(&ann(), token(&ann()), envelope.clone(), 5);
            assert_eq!(answer, DepositAnswer::Stored);
        }
        assert_eq!(bench.waiting(), [1]);
        assert_eq!(bench.store.tally.bytes, envelope.len() as u64);
        // Somebody else who has the same bytes is another sender.
        bench.deposit_envelope(&bob(), token(&bob()), envelope, 5);
        assert_eq!(bench.store.tally.envelopes, 2);
    }

    #[test]
    fn a_database_of_version_1_is_migrated_and_a_newer_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mailbox.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(SCHEMA).unwrap();
        conn.execute_batch(
            "INSERT INTO envelopes VALUES (3, 1, x'01', 5, 1, x'02'); PRAGMA user_version = 1",
        )
        .unwrap();
        drop(conn);
        let conn = open(dir.path());
        let count = "SELECT count(*) FROM envelopes WHERE number = 3 AND hash IS NULL";
        let kept: i64 = conn.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 1);
        conn.pragma_update(None, "user_version", SCHEMA_VERSION + 1)
            .unwrap();
        let newer = prepare(conn, &path);
        assert!(matches!(newer, Err(MailboxError::Newer(_))));
    }

    #[test]
    fn only_senders_that_the_recipient_named_may_deposit() {
        let mut bench = Bench::with_mailbox(1 << 30);
        let mallory = SecretKey::from_seed([3; 32]);
        for token in [token(&mallory), token(&ann())] {
            let answer = bench.deposit(&mallory, token, 1, 0);
            assert_eq!(answer, DepositAnswer::NotAccepted);
        }
        bench.hold(1, std::slice::from_ref(&mallory), 0);
        let answer = bench.deposit(&mallory, token(&mallory), 1, 0);
        assert_eq!(answer, DepositAnswer::Stored);
        let answer = bench.deposit(&ann(), token(&ann()), 1, 0);
        assert_eq!(answer, DepositAnswer::NotAccepted, "Bob has revoked it");
    }

    #[test]
    fn a_sender_learns_the_newest_key() {
        let mut bench = Bench::with_mailbox(1 << 30);
        bench.hold(2, &[ann()], 0);
        let DepositAnswer::SealAgain(record) = bench.deposit(&ann(), token(&ann()), 1, 0) else {
            panic!("the key is old")
        };
        let record = record.check::<MailboxRecord>(bob().id()).unwrap();
        assert_eq!(record.record().key, 2);
        assert_eq!(bench.waiting(), [0; 0]);
    }

    #[test]
    fn a_full_mailbox_stores_nothing_more() {
        let mut bench = Bench::with_mailbox(8 * 8 * 1024);
        let mut answers = Vec::new();
        for _ in 0..9 {
            answers.push(bench.deposit(&ann(), token(&ann()), 1, 0));
        }
        let stored = answers
            .iter()
            .filter(|it| **it == DepositAnswer::Stored)
            .count();
        assert_eq!(stored, bench.waiting().len());
        assert!((2..=4).contains(&stored), "{stored}");
        assert_eq!(answers.last(), Some(&DepositAnswer::Full));
        bench.ask(&bob(), Request::Delete(vec![1]), 0);
        let answer = bench.deposit(&ann(), token(&ann()), 1, 0);
        assert_eq!(answer, DepositAnswer::Stored);
    }

    #[test]
    fn old_envelopes_and_recipients_that_never_return_are_dropped() {
        let mut bench = Bench::with_mailbox(1 << 30);
        let (start, held) = (100 * DAY_MS, 30 * DAY_MS);
        bench.hold(1, &[ann()], start);
        bench.deposit(&ann(), token(&ann()), 1, start);
        bench.deposit(&ann(), token(&ann()), 1, start + DAY_MS);
        bench.hold(1, &[ann()], start + held + 1);
        assert_eq!(bench.waiting(), [2]);
        let late = start + 2 * held + 2;
        let answer = bench.deposit(&ann(), token(&ann()), 1, late);
        assert_eq!(answer, DepositAnswer::NotAccepted);
        assert_eq!(bench.store.tally.recipients, 0);
        assert_eq!(bench.store.tally.bytes, 0);
    }

    #[test]
    fn somebody_elses_record_opens_no_mailbox() {
        let mut bench = Bench::new(1 << 30);
        let record = MailboxRecord {
            number: 1,
            key: 1,
            public: bench.key.public(),
            needs_newer_version: false,
        };
        let record = Checked::sign(record, &ann()).signed().clone();
        let answer = bench.ask(&bob(), Request::Hold(record, Vec::new()), 0);
        assert_eq!(answer, [FromHolder::NotHolding]);
    }

    #[test]
    fn a_page_has_a_maximum() {
        let mut bench = Bench::with_mailbox(1 << 30);
        for _ in 0..300 {
            bench.deposit(&ann(), token(&ann()), 1, 0);
        }
        let page = bench.ask(&bob(), Request::Fetch(0), 0);
        assert!(page.len() < 300);
        assert_eq!(page.last(), Some(&FromHolder::PageEnd(true)));
        assert_eq!(bench.waiting().len(), 300);
    }
}
