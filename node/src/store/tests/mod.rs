//! Tests of the store through its public interface: an author writes, the store commits and reads
//! back.

mod amendments;
mod campaign;
mod commits;
mod disk_cost;
mod erase;
mod failures;
mod history;
mod model;
mod rate;
mod repair;
mod snapshots;
mod sync;
mod versions;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use hobnob_protocol::{
    Body, CheckedBatch, ConversationId, Entry, EntryHash, LogId, LogName, PersonId, Ranges,
    RoomKey, RoomName, Salts, SecretKey, Seq,
};
use tempfile::TempDir;

use hobnob_core::commit::{
    AudienceId, Commit, CommitId, ConversationKind, ConversationRecord, Loaded, Op,
};

use super::apply::LAMPORT_STRIDE;
use super::writer::Job;
use super::{MailRow, Opened, Pending, Store, StoreError};

/// A store in its own temporary folder.
struct Home {
    dir: TempDir,
    open: Option<OpenStore>,
    commits: u64,
}

impl Home {
    fn new() -> Self {
        let mut home = Home {
            dir: TempDir::new().unwrap(),
            open: None,
            commits: 0,
        };
        home.restart();
        home
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("hobnob.db")
    }

    fn store(&self) -> &Store {
        &self.open.as_ref().unwrap().0.store
    }

    fn loaded(&self) -> &Loaded {
        &self.open.as_ref().unwrap().0.loaded
    }

    /// The rows about mailboxes that were loaded.
    fn mail(&self) -> &[MailRow] {
        &self.open.as_ref().unwrap().0.mail
    }

    /// Asserts the Lamport number loaded for the lobby: this one, or above it by at most one
    /// stride.
    fn goes_on_after(&self, lamport: u64) {
        let loaded = self
            .loaded()
            .lamport
            .iter()
            .find(|(id, _)| *id == lobby())
            .expect("something was said in the lobby")
            .1;
        assert!(
            (lamport..=lamport + LAMPORT_STRIDE).contains(&loaded),
            "{lamport} was loaded as {loaded}"
        );
    }

    fn stop(&mut self) {
        if let Some((opened, _)) = self.open.take() {
            opened.store.shutdown();
        }
    }

    fn restart(&mut self) {
        self.restart_with_audiences_since(0);
    }

    fn restart_with_audiences_since(&mut self, since_ms: u64) {
        self.stop();
        self.open = Some(open(&self.file(), since_ms).unwrap());
    }

    /// Queues a commit without waiting for its result.
    fn hand_over(&mut self, ops: Vec<Op>) -> CommitId {
        self.commits += 1;
        let id = CommitId(self.commits);
        self.store().commit(Commit { id, ops });
        id
    }

    /// Waits for the next result of a commit.
    fn answer(&self) -> (CommitId, Result<(), StoreError>) {
        self.open.as_ref().unwrap().1.recv().unwrap()
    }

    fn try_commit(&mut self, ops: Vec<Op>) -> Result<(), StoreError> {
        let id = self.hand_over(ops);
        let (answered, result) = self.answer();
        assert_eq!(answered, id);
        result
    }

    fn commit(&mut self, ops: Vec<Op>) {
        self.try_commit(ops).unwrap();
    }

    /// Limits the database to this many pages.
    fn limit_pages(&self, pages: u32) {
        self.store().write(Job::Pages(pages));
    }

    /// Copies the current files to another folder, as a crash would leave them.
    fn crashed_copy(&self) -> Home {
        let copy = Home {
            dir: TempDir::new().unwrap(),
            open: None,
            commits: 0,
        };
        for suffix in ["", "-wal"] {
            let name = format!("hobnob.db{suffix}");
            std::fs::copy(self.dir.path().join(&name), copy.dir.path().join(&name)).unwrap();
        }
        copy
    }
}

/// A store, and the results of its commits.
type OpenStore = (Opened, Receiver<(CommitId, Result<(), StoreError>)>);

fn open(file: &Path, since_ms: u64) -> Result<OpenStore, StoreError> {
    let (tell, told) = mpsc::channel();
    // A test may have dropped the receiver, so a send error is no reason to panic.
    let on_done = move |id, result| drop(tell.send((id, result)));
    Ok((Store::open(file, since_ms, on_done)?, told))
}

fn wait<T>(pending: Pending<T>) -> Result<T, StoreError> {
    pending.blocking_recv().expect("the store is open")
}

fn lobby() -> ConversationId {
    RoomKey::open(&RoomName::lobby()).conversation()
}

fn the_lobby(joined: bool) -> Op {
    let name = RoomName::lobby();
    let key = RoomKey::open(&name);
    Op::Conversation(ConversationRecord {
        id: key.conversation(),
        kind: ConversationKind::Room { name, key, joined },
    })
}

fn peer(number: u8) -> PersonId {
    SecretKey::from_seed([number; 32]).id().person()
}

fn direct(with: u8) -> Op {
    let id = ConversationId::direct(peer(0), peer(with));
    Op::Conversation(ConversationRecord {
        id,
        kind: ConversationKind::Direct(peer(with)),
    })
}

/// The author of one log.
struct Author {
    key: SecretKey,
    name: LogName,
    /// The number, hash and Lamport number of the last entry.
    last: Seq,
    head: EntryHash,
    lamport: u64,
}

impl Author {
    fn new(number: u8, conversation: ConversationId) -> Self {
        let key = SecretKey::from_seed([number; 32]);
        let name = LogName {
            conversation,
            author: key.id().person(),
            device: key.id(),
            log: LogId(u64::MAX - u64::from(number)),
        };
        Author {
            key,
            name,
            last: 0,
            head: name.genesis(),
            lamport: 0,
        }
    }

    fn says(&mut self, texts: &[&str]) -> Arc<CheckedBatch> {
        self.writes(
            texts
                .iter()
                .map(|text| Body::Text((*text).to_owned()))
                .collect(),
        )
    }

    /// Writes this many short entries.
    fn chats(&mut self, entries: usize) -> Arc<CheckedBatch> {
        let from = self.last + 1;
        self.writes(
            (from..)
                .take(entries)
                .map(|seq| Body::Text(format!("message number {seq}")))
                .collect(),
        )
    }

    fn writes(&mut self, bodies: Vec<Body>) -> Arc<CheckedBatch> {
        let lamport = self.lamport + 1;
        let entries: Vec<_> = (lamport..)
            .zip(bodies)
            .map(|(lamport, body)| Entry::new(lamport, 1_000 + lamport, body))
            .collect();
        self.lamport += entries.len() as u64;
        let (first, prev) = (self.last + 1, self.head);
        let salts = &mut Salts::new([9; 32]);
        let batch = CheckedBatch::author(&self.key, self.name, first, prev, entries, salts);
        (self.last, self.head) = (batch.last(), batch.head());
        Arc::new(batch)
    }
}

fn append(batch: &Arc<CheckedBatch>) -> Op {
    part(batch, batch.first(), batch.last(), AudienceId::MEMBERS)
}

fn part(batch: &Arc<CheckedBatch>, from: Seq, to: Seq, audience: AudienceId) -> Op {
    Op::Append {
        batch: batch.clone(),
        from,
        to,
        audience,
        received_at_ms: 5_000 + batch.first(),
        deleted: Ranges::new(),
    }
}

fn append_at(batch: &Arc<CheckedBatch>, received_at_ms: u64) -> Op {
    let (from, to, audience) = (batch.first(), batch.last(), AudienceId::MEMBERS);
    Op::Append {
        batch: batch.clone(),
        from,
        to,
        audience,
        received_at_ms,
        deleted: Ranges::new(),
    }
}
