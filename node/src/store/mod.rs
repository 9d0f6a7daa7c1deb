//! The store: one SQLite database with everything that must outlive the process.
//!
//! It carries out commits. It does not decide which entries to store and who may have them: the
//! replica does. It reads no clock and checks no signatures. It compares hashes with its own
//! copies, so that damage is not forwarded.
//!
//! Callers never wait. A callback reports each commit that is on disk, and a oneshot channel
//! returns each answer. One thread writes commits in groups (`writer`, `apply`, `index`). Two
//! threads read, so that a search does not delay sync (`read`, `batches`, `history`).

mod amendments;
mod apply;
mod batches;
mod chain;
mod check;
mod columns;
mod copies;
mod damage;
mod entry_rows;
mod erase;
mod error;
mod history;
mod index;
mod load;
mod mail;
mod mentions;
mod offers;
mod profiles;
mod proofs;
mod read;
mod repair;
mod schema;
pub(crate) mod snapshot;
#[cfg(test)]
mod tests;
mod words;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use bytes::Bytes;
use hobnob_protocol::{
    Batch, ContentHash, ConversationId, LogId, LogName, OfferId, PersonId, Ranges, RelayAddr, Seq,
    SignedRecord,
};
use hobnob_vfs::Disk;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use hobnob_core::ClientId;
use hobnob_core::commit::{Commit, CommitId, Loaded, OfferRecord};
use hobnob_core::past_names::{NameChange, PastName};
use hobnob_core::policy::PeerPolicy;

pub use amendments::{Amendments, Quoted, TopicRow};
pub use columns::SEQ_MAX;
pub use error::StoreError;
pub use history::{HISTORY_ROWS_MAX, HistoryRequest, HistoryRow};
pub(crate) use index::text_of;
pub use mail::{MailKind, MailRow};
pub use mentions::{HIGHLIGHT_CHARS_MAX, HIGHLIGHTS_MAX, Mentions};
pub use offers::{OFFERS_MAX, OfferRow, StoredOffer, WhichOffers};
pub use repair::Repaired;

use damage::Damage;
use error::Fault;
use read::{Answer, PageRequest};
use writer::{Job, Writer};

/// Maximum number of known peers. The next start deletes all but contacts and those seen last.
pub const PEERS_MAX: usize = 10_000;

/// The name of the database in the home folder.
pub(crate) const DATABASE: &str = "messages.db";

/// A peer known from earlier sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPeer {
    /// The peer's id.
    pub peer: PersonId,
    /// Its newest public record, if one is known.
    pub public: Option<SignedRecord>,
    /// Its newest contact record, if it is a contact that has sent one.
    pub contact: Option<SignedRecord>,
    /// The relays that the user named for it, by a ticket.
    pub relays: Vec<RelayAddr>,
    /// The peer's addresses in the last session.
    pub addrs: Vec<SocketAddr>,
    /// Those that the user named.
    pub named: Vec<SocketAddr>,
    /// When the peer was last seen, in milliseconds since the Unix epoch.
    pub seen_at_ms: u64,
}

/// An open store, and its contents that a node needs at its start.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: Store,
    /// The state for the replica.
    pub loaded: Loaded,
    /// The settings stored by [`Store::set_setting`].
    pub settings: BTreeMap<String, String>,
    /// The peers stored by [`Store::remember_peer`], latest first.
    pub peers: Vec<KnownPeer>,
    /// The policies stored by [`Store::set_policy`].
    pub policies: Vec<(PersonId, PeerPolicy)>,
    /// The rows stored by [`Store::set_mail`].
    pub mail: Vec<MailRow>,
    /// The pictures stored by [`Store::put_picture`].
    pub pictures: Vec<ContentHash>,
    /// The names stored by [`Store::rename`].
    pub past_names: Vec<PastName>,
    /// What became of a damaged database.
    pub repaired: Option<Repaired>,
}

/// The open database. Dropping it writes all waiting commits and closes it.
#[derive(Debug)]
pub struct Store {
    /// `None` only in `drop`. The threads end when the senders are dropped.
    queues: Option<Arc<Queues>>,
    threads: Option<Threads>,
    damage: Arc<Damage>,
}

#[derive(Debug)]
struct Queues {
    writer: Sender<Job>,
    sync: Sender<PageRequest>,
    history: Sender<PageRequest>,
}

#[derive(Debug)]
struct Threads {
    writer: JoinHandle<Connection>,
    readers: [JoinHandle<()>; 2],
}

/// A handle to the offers in the store.
#[derive(Debug, Clone)]
pub struct OfferStore {
    /// Weak, so that the store's threads end when the store is closed.
    queues: Weak<Queues>,
}

impl OfferStore {
    /// Reads offers, oldest first.
    pub fn read(&self, which: WhichOffers) -> Pending<Vec<OfferRow>> {
        match self.queues.upgrade() {
            Some(queues) => ask(&queues.history, |answer| PageRequest::Offers {
                which,
                answer,
            }),
            None => oneshot::channel().1,
        }
    }

    /// Of these contents, those that no offer on disk names.
    pub fn not_offered(&self, contents: BTreeSet<ContentHash>) -> Pending<BTreeSet<ContentHash>> {
        match self.queues.upgrade() {
            Some(queues) => ask(&queues.history, |answer| PageRequest::NotOffered {
                contents,
                answer,
            }),
            None => oneshot::channel().1,
        }
    }

    /// Stores the state of an offer whose entry is held.
    pub fn set(&self, offer: OfferId, record: OfferRecord) -> Pending<()> {
        let (answer, pending) = oneshot::channel();
        if let Some(queues) = self.queues.upgrade() {
            queues
                .writer
                .send(Job::Offer(offer, record, answer))
                .expect("the writer runs until this sender is gone");
        }
        pending
    }
}

/// An answer that will arrive. The channel closes without an answer only if the store is closed.
pub type Pending<T> = oneshot::Receiver<Result<T, StoreError>>;

impl Store {
    /// Opens a database and migrates it to the current version. If the file is missing, creates it,
    /// readable by its owner only. The folder must exist.
    ///
    /// The writer's thread calls `on_done` for each commit, in order, once the commit is on disk or
    /// has failed. `on_done` must not block. Loads the audiences formed since `audiences_since_ms`,
    /// and the newest audience of each conversation.
    pub fn open(
        path: &Path,
        audiences_since_ms: u64,
        on_done: impl Fn(CommitId, Result<(), StoreError>) + Send + 'static,
    ) -> Result<Opened, StoreError> {
        Self::open_on(&Disk::plain(), path, audiences_since_ms, on_done)
    }

    /// The same for a database on a disk that may be encrypted.
    pub fn open_on(
        disk: &Disk,
        path: &Path,
        audiences_since_ms: u64,
        on_done: impl Fn(CommitId, Result<(), StoreError>) + Send + 'static,
    ) -> Result<Opened, StoreError> {
        create(path).map_err(|error| StoreError::from_io(&error, path))?;
        let (conn, everything, repaired) = open_or_repair(disk, path, audiences_since_ms)?;
        let Everything {
            loaded,
            settings,
            peers,
            policies,
            mail,
            pictures,
            past_names,
            ordinals,
        } = everything;
        let damage = Arc::new(Damage::of(path));
        let (sync, sync_thread) = read::start(disk, path, "store-sync", damage.clone())?;
        let (history, history_thread) = read::start(disk, path, "store-history", damage.clone())?;
        let writer = Writer::new(
            conn,
            Place {
                disk: disk.clone(),
                file: path.to_owned(),
            },
            ordinals.into_iter().collect(),
            history.clone(),
            damage.clone(),
            on_done,
        );
        let (jobs, queue) = mpsc::channel();
        let writer = spawn("store-writer", path, move || writer.run(&queue))?;
        let queues = Some(Arc::new(Queues {
            writer: jobs,
            sync,
            history,
        }));
        let threads = Some(Threads {
            writer,
            readers: [sync_thread, history_thread],
        });
        Ok(Opened {
            store: Store {
                queues,
                threads,
                damage,
            },
            loaded,
            settings,
            peers,
            policies,
            mail,
            pictures,
            past_names,
            repaired,
        })
    }

    /// Whether damage was found in the database since it was opened. Damaged entries are left out
    /// of all answers. The next start repairs the database.
    pub fn is_damaged(&self) -> bool {
        self.damage.was_found()
    }

    /// Queues a commit for the writer.
    pub fn commit(&self, commit: Commit) {
        self.write(Job::Commit(commit));
    }

    /// Stores a setting of the node.
    pub fn set_setting(&self, key: impl Into<String>, value: impl Into<String>) {
        self.write(Job::Setting {
            key: key.into(),
            value: value.into(),
        });
    }

    /// Sets which texts call for the user. Texts that are in the index already stay as they are.
    pub fn set_mentions(&self, mentions: Mentions) {
        self.write(Job::Mentions(mentions));
    }

    /// Stores rows about mailboxes, none or more. Each replaces the earlier one. They are on disk
    /// no later than a commit that is queued after them.
    pub fn set_mail(&self, rows: impl IntoIterator<Item = MailRow>) {
        rows.into_iter().for_each(|row| self.write(Job::Mail(row)));
    }

    /// Stores a peer for later sessions. Replaces the earlier value.
    pub fn remember_peer(&self, known: KnownPeer) {
        self.write(Job::Peer(known));
    }

    /// Stores a profile picture under its hash. The answer arrives once it is on disk.
    pub fn put_picture(&self, hash: ContentHash, bytes: Bytes) -> Pending<()> {
        let (answer, pending) = oneshot::channel();
        self.write(Job::Picture {
            hash,
            bytes,
            answer,
        });
        pending
    }

    /// Removes profile pictures.
    pub fn remove_pictures(&self, hashes: impl IntoIterator<Item = ContentHash>) {
        let remove = |hash| self.write(Job::RemovePicture(hash));
        hashes.into_iter().for_each(remove);
    }

    /// Reads a profile picture. `None` if it is not stored, or damaged.
    pub fn picture(&self, hash: ContentHash) -> Pending<Option<Vec<u8>>> {
        ask(&self.queues().history, |answer| PageRequest::Picture {
            hash,
            answer,
        })
    }

    /// Stores a name that a peer had.
    pub fn rename(&self, change: NameChange) {
        self.write(Job::Rename(change));
    }

    /// Forgets a peer's records, addresses and earlier names.
    pub fn forget_peer(&self, peer: PersonId) {
        self.write(Job::ForgetPeer(peer));
    }

    /// Stores the user's policy about a peer. Replaces the earlier policy. The answer arrives once
    /// it is on disk.
    pub fn set_policy(&self, peer: PersonId, policy: PeerPolicy) -> Pending<()> {
        let (answer, pending) = oneshot::channel();
        self.write(Job::PeerPolicy {
            peer,
            policy,
            answer,
        });
        pending
    }

    /// Removes what was erased from all files of the database. The answer arrives once no file
    /// contains it any more.
    pub fn scrub(&self) -> Pending<()> {
        let (answer, pending) = oneshot::channel();
        self.write(Job::Truncate(answer));
        pending
    }

    /// Copies the database into a new file. The copy has all changes that were queued before, and
    /// none later. Writing continues meanwhile.
    pub fn copy_into(&self, file: PathBuf) -> Pending<()> {
        let (answer, pending) = oneshot::channel();
        self.write(Job::Copy(file, answer));
        pending
    }

    /// The entries with a body that this node received or wrote before this time, in milliseconds
    /// since the Unix epoch.
    pub fn older_than(
        &self,
        conversation: ConversationId,
        before_ms: u64,
    ) -> Pending<BTreeMap<LogName, Ranges>> {
        ask(&self.queues().history, |answer| PageRequest::Older {
            conversation,
            before_ms,
            answer,
        })
    }

    /// The edits of a message.
    pub fn edits_of(&self, name: LogName, seq: Seq) -> Pending<BTreeMap<LogName, Ranges>> {
        ask(&self.queues().history, |answer| PageRequest::Edits {
            name,
            seq,
            answer,
        })
    }

    /// Reads batches that cover the entries `from..=to`, up to the first gap, and up to about
    /// `max_bytes`. There is at least one batch if `from` is held.
    ///
    /// Each batch is as large as a frame allows and ends at a signature of the author. So the last
    /// batch may continue beyond `to`.
    pub fn read_batches(
        &self,
        name: LogName,
        from: Seq,
        to: Seq,
        max_bytes: usize,
    ) -> Pending<Vec<Batch>> {
        ask(&self.queues().sync, |answer| PageRequest::Batches {
            name,
            from,
            to,
            max_bytes,
            answer,
        })
    }

    /// Reads the newest entries that match the request, oldest first. A search sees every commit
    /// that was queued before it.
    pub fn history(&self, request: HistoryRequest) -> Pending<Vec<HistoryRow>> {
        if request.search.is_none() && !request.mentions {
            return ask(&self.queues().history, |answer| PageRequest::History {
                request,
                answer,
            });
        }
        let (answer, pending) = oneshot::channel();
        self.write(Job::Search(PageRequest::History { request, answer }));
        pending
    }

    /// Reads the topics of all rooms that have one.
    pub fn topics(&self) -> Pending<BTreeMap<ConversationId, TopicRow>> {
        ask(&self.queues().history, |answer| PageRequest::Topics {
            answer,
        })
    }

    /// Reads the pinned messages of a conversation, the one pinned last at the end.
    pub fn pinned(&self, conversation: ConversationId) -> Pending<Vec<HistoryRow>> {
        ask(&self.queues().history, |answer| PageRequest::Pinned {
            conversation,
            answer,
        })
    }

    /// Reads the held entries among `first..=last` of a log, at most [`HISTORY_ROWS_MAX`].
    pub fn entries(&self, name: LogName, first: Seq, last: Seq) -> Pending<Vec<HistoryRow>> {
        ask(&self.queues().history, |answer| PageRequest::Entries {
            name,
            first,
            last,
            answer,
        })
    }

    /// Reads one entry, if it is held.
    pub fn message(&self, log: LogId, seq: Seq) -> Pending<Option<HistoryRow>> {
        ask(&self.queues().history, |answer| PageRequest::Message {
            log,
            seq,
            answer,
        })
    }

    /// The entry to which a program gave this name.
    pub fn named(&self, id: ClientId) -> Pending<Option<(LogName, Seq)>> {
        ask(&self.queues().history, |answer| PageRequest::Named {
            id,
            answer,
        })
    }

    /// Checks the whole database. Damage is an error, and noted.
    pub fn check(&self) -> Pending<()> {
        ask(&self.queues().history, |answer| PageRequest::Check {
            answer,
        })
    }

    /// A handle to the offers. It gets no answers once the store is closed.
    pub fn offers(&self) -> OfferStore {
        OfferStore {
            queues: Arc::downgrade(self.queues()),
        }
    }

    /// Writes all waiting commits, closes the database and ends the threads. Blocks meanwhile, so
    /// do not call it in an async task.
    pub fn shutdown(self) {
        drop(self);
    }

    fn write(&self, job: Job) {
        self.queues()
            .writer
            .send(job)
            .expect("the writer runs until this sender is gone");
    }

    fn queues(&self) -> &Arc<Queues> {
        self.queues.as_ref().expect("taken in drop only")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queues = None;
        let Threads { writer, readers } = self.threads.take().expect("taken in drop only");
        let conn = writer.join();
        for reader in readers {
            if reader.join().is_err() {
                tracing::error!("a reader thread of the store has panicked");
            }
        }
        // Close this connection last: then SQLite merges the write-ahead log into the database.
        match conn.map(Connection::close) {
            Ok(Ok(())) => {}
            Ok(Err((_, error))) => {
                tracing::warn!(%error, "the database could not be closed cleanly")
            }
            Err(_) => tracing::error!("the writer thread of the store has panicked"),
        }
    }
}

/// The place of a database.
#[derive(Debug, Clone)]
struct Place {
    disk: Disk,
    file: PathBuf,
}

fn ask<T>(
    reader: &Sender<PageRequest>,
    question: impl FnOnce(Answer<T>) -> PageRequest,
) -> Pending<T> {
    let (answer, pending) = oneshot::channel();
    reader
        .send(question(answer))
        .expect("a reader runs until this sender is gone");
    pending
}

/// Creates the file if it is missing, and makes sure that only its owner can read it.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    own(&file)
}

#[cfg(unix)]
fn own(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if file.metadata()?.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn own(_: &File) -> io::Result<()> {
    Ok(())
}

fn open_for_writing(disk: &Disk, path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = disk.open(path, flags)?;
    schema::refuse_foreign(&conn, schema::MIGRATIONS)?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Fault::Damaged(format!(
            "it can't use a write-ahead log, only {mode}"
        )));
    }
    conn.pragma_update(None, "synchronous", "full")?;
    // Erased texts are overwritten. Without this, they stay in free parts of the file.
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    conn.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    conn.set_prepared_statement_cache_capacity(64);
    keep_plans(&conn)?;
    schema::migrate(&mut conn, schema::MIGRATIONS)?;
    schema::check(&conn)?;
    Ok(conn)
}

/// Makes statements keep their plans. Otherwise SQLite compiles a statement with a range again for
/// each new value, in case the statistics of `ANALYZE` suggest a better plan. The store never runs
/// `ANALYZE`.
fn keep_plans(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map(drop)
}

/// The size of the writer's page cache.
const CACHE_KIB: i64 = 8 * 1024;

/// Pages in the write-ahead log before SQLite merges them into the database: 8 MiB.
const CHECKPOINT_PAGES: i64 = 2048;

/// A larger write-ahead log is truncated to this size by the next transaction.
const WAL_BYTES_KEPT: i64 = CHECKPOINT_PAGES * 4096;

/// Opens a database. If it is damaged, or damage was found in an earlier run, repairs it first.
fn open_or_repair(
    disk: &Disk,
    path: &Path,
    audiences_since_ms: u64,
) -> Result<(Connection, Everything, Option<Repaired>), StoreError> {
    let open = || -> Result<(Connection, Everything), StoreError> {
        let mut conn = open_for_writing(disk, path).map_err(|fault| fault.at(path))?;
        let everything = load_all(&mut conn, audiences_since_ms);
        Ok((conn, everything.map_err(|fault| fault.at(path))?))
    };
    let mut repaired = None;
    if damage::note_of(path).exists() {
        repaired = repair::repair(disk, path)
            .inspect_err(|error| tracing::warn!(%error, "the database can't be repaired"))
            .ok();
    }
    match open() {
        Ok((conn, everything)) => Ok((conn, everything, repaired)),
        Err(error @ StoreError::Damaged { .. }) => {
            // The first error says what is wrong.
            let again = repair::repair(disk, path).map_err(|_| error)?;
            let (conn, everything) = open()?;
            Ok((conn, everything, Some(again)))
        }
        Err(error) => Err(error),
    }
}

/// Everything that is read when a database is opened.
struct Everything {
    loaded: Loaded,
    settings: BTreeMap<String, String>,
    peers: Vec<KnownPeer>,
    policies: Vec<(PersonId, PeerPolicy)>,
    mail: Vec<MailRow>,
    pictures: Vec<ContentHash>,
    past_names: Vec<PastName>,
    ordinals: Vec<i64>,
}

fn load_all(conn: &mut Connection, audiences_since_ms: u64) -> Result<Everything, Fault> {
    let tx = conn.transaction()?;
    let everything = Everything {
        loaded: load::loaded(&tx, audiences_since_ms)?,
        settings: load::settings(&tx)?,
        peers: load::peers(&tx)?,
        policies: load::policies(&tx)?,
        mail: mail::load(&tx)?,
        pictures: profiles::pictures(&tx)?,
        past_names: profiles::past_names(&tx)?,
        ordinals: load::log_ordinals(&tx)?,
    };
    if everything.peers.len() == PEERS_MAX {
        let last = everything
            .peers
            .last()
            .map_or(0, |peer| columns::number(peer.seen_at_ms));
        tx.execute(
            "DELETE FROM peers WHERE seen_at_ms < ?1 AND named = '' AND relays = ''
             AND peer NOT IN (SELECT peer FROM policies WHERE contact)",
            [last],
        )?;
    }
    tx.commit()?;
    Ok(everything)
}

fn spawn<T: Send + 'static>(
    name: &str,
    file: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StoreError> {
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work);
    thread.map_err(|error| StoreError::from_io(&error, file))
}
