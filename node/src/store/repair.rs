//! Makes a database without its damaged entries. Peers send them again.
//!
//! All tables but that of the entries are copied into a new file. Entries are copied batch by
//! batch, if the hash that was stored with the end of the batch proves them. Where a batch is
//! missing, the new database has a gap, as if the batch had never arrived. Not here: damage of
//! small tables, on which all others depend. They can't be replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use hobnob_protocol::batch::is_signed;
use hobnob_protocol::entry::hash_after;
use hobnob_protocol::{BodyKey, EntryHash, LogName, Seq, Signature};
use hobnob_vfs::Disk;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params, params_from_iter};

use super::amendments;
use super::columns::{self, BodyState, EntryId, SEQ_MAX, number};
use super::damage::note_of;
use super::error::{Fault, StoreError};
use super::schema;
use super::{create, open_for_writing};

/// After this many entries that can't be read, each step is longer by one. So it takes few attempts
/// to reach the end of a log without a readable page, and a lost page costs only a few entries
/// behind it.
const STEP_PART: Seq = 64;

/// Rows of entries that are in memory at once.
const ROWS: u32 = 500;

/// The result of a repair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Entries that are in the new database.
    pub kept: u64,
    /// Entries that were damaged, as far as they can be counted.
    pub lost: u64,
}

/// The damaged database, which a repair keeps.
pub(super) fn damaged_copy_of(file: &Path) -> PathBuf {
    beside(file, ".damaged")
}

/// Replaces the database by one without the damaged entries.
pub(super) fn repair(disk: &Disk, file: &Path) -> Result<Repaired, StoreError> {
    let new = beside(file, ".repair");
    for path in with_logs(&new) {
        remove(&path)?;
    }
    create(&new).map_err(|error| StoreError::from_io(&error, &new))?;
    let repaired = copy(disk, file, &new).map_err(|fault| fault.at(file));
    if repaired.is_err() {
        for path in with_logs(&new) {
            remove(&path)?;
        }
    }
    let repaired = repaired?;
    let damaged = damaged_copy_of(file);
    remove(&damaged)?;
    // A second name, so that the database has its own name at each moment.
    if let Err(error) = fs::hard_link(file, &damaged) {
        tracing::warn!(%error, "the damaged database is not kept");
    }
    // SQLite would apply them to the new database.
    let [_, wal, shm] = with_logs(file);
    remove(&wal)?;
    remove(&shm)?;
    let renamed = fs::rename(&new, file).and_then(|()| match file.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    });
    renamed.map_err(|error| StoreError::from_io(&error, file))?;
    remove(&note_of(file))?;
    Ok(repaired)
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.to_owned().into_os_string();
    path.push(suffix);
    path.into()
}

fn with_logs(file: &Path) -> [PathBuf; 3] {
    [file.to_owned(), beside(file, "-wal"), beside(file, "-shm")]
}

pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::from_io(&error, path))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn copy(disk: &Disk, file: &Path, new: &Path) -> Result<Repaired, Fault> {
    let from = disk.open(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    // Otherwise SQLite opens no database whose end is cut off.
    from.pragma_update(None, "writable_schema", true)?;
    schema::refuse_foreign(&from, schema::MIGRATIONS)?;
    schema::refuse_older(&from, schema::MIGRATIONS)?;
    let mut into = open_for_writing(disk, new)?;
    // Tables are copied in any order.
    into.pragma_update(None, "foreign_keys", false)?;
    let tx = into.transaction()?;
    let mut repaired = Repaired::default();
    for table in tables(&tx)? {
        copy_table(&from, &tx, &table)?;
    }
    for (ordinals, name) in logs(&tx)? {
        let mut copy = LogCopy::new(&from, &tx, ordinals, name)?;
        copy.run()?;
        repaired.kept += copy.repaired.kept;
        repaired.lost += copy.repaired.lost;
    }
    tx.commit()?;
    into.close().map_err(|(_, error)| error)?;
    // The damaged database may not let itself be closed cleanly.
    drop(from);
    Ok(repaired)
}

/// The tables that are copied as they are.
fn tables(conn: &Connection) -> Result<Vec<String>, Fault> {
    // Entries and what is derived from them. The search index begins anew.
    const OTHERS: [&str; 7] = [
        "entries", "runs", "bases", "refs", "indexed", "edited", "mentions",
    ];
    let mut query = conn.prepare(
        "SELECT name FROM sqlite_schema t WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND NOT EXISTS (
             SELECT 1 FROM sqlite_schema v WHERE v.sql LIKE 'CREATE VIRTUAL TABLE%'
             AND (t.name = v.name OR t.name LIKE v.name || '\\_%' ESCAPE '\\'))",
    )?;
    let names = query.query_map([], |row| row.get::<_, String>(0))?;
    let names = names.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(names
        .into_iter()
        .filter(|name| !OTHERS.contains(&name.as_str()))
        .collect())
}

/// Copies a table. The rest of a damaged one is lost, unless all others depend on it.
fn copy_table(from: &Connection, into: &Connection, table: &str) -> Result<(), Fault> {
    // A migration may have put rows there.
    into.execute_batch(&format!("DELETE FROM {table}"))?;
    let copy = || -> Result<(), Fault> {
        let mut query = from.prepare(&format!("SELECT * FROM {table}"))?;
        let marks = vec!["?"; query.column_count()].join(", ");
        let mut insert = into.prepare(&format!("INSERT INTO {table} VALUES ({marks})"))?;
        let count = query.column_count();
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let values = (0..count).map(|at| row.get::<_, Value>(at));
            let values = values.collect::<rusqlite::Result<Vec<_>>>()?;
            insert.execute(params_from_iter(values))?;
        }
        Ok(())
    };
    match copy() {
        Err(fault) if !schema::is_checked(table) => {
            let error = fault.at(Path::new(table));
            tracing::warn!(%error, "a part of a table is lost");
            Ok(())
        }
        copied => copied,
    }
}

/// The ordinals of a log and its conversation.
type Ordinals = (i64, i64);

/// The ordinals of each log and its conversation, and its name.
fn logs(conn: &Connection) -> Result<Vec<(Ordinals, LogName)>, Fault> {
    let mut query = conn.prepare(
        "SELECT c.id, l.author, l.device, l.log, l.ordinal, c.ordinal FROM logs l
         JOIN conversations c ON c.ordinal = l.conversation ORDER BY l.ordinal",
    )?;
    let mut rows = query.query([])?;
    let mut logs = Vec::new();
    while let Some(row) = rows.next()? {
        logs.push(((row.get(4)?, row.get(5)?), columns::log_name(row, 0)?));
    }
    Ok(logs)
}

/// The last entry of a log that an index knows, or else the highest number.
fn last_known(conn: &Connection, log: i64) -> Result<Seq, Fault> {
    let sql = "SELECT coalesce(max(id), 0) FROM entries INDEXED BY entries_arrived WHERE id BETWEEN ?1 AND ?2";
    let (first, last) = (EntryId::new(log, 0)?, EntryId::new(log, SEQ_MAX)?);
    let found = conn
        .prepare_cached(sql)
        .and_then(|mut query| query.query_row([first.0, last.0], |row| row.get(0)));
    Ok(found.map_or(SEQ_MAX, |id| EntryId(id).seq()))
}

/// A row of the table of entries.
struct EntryRow {
    seq: Seq,
    /// The hash of the chain, at the end of a batch.
    hash: Option<EntryHash>,
    signature: Option<Signature>,
    state: Option<BodyState>,
    /// Whether the columns beside the entry have values that they can have.
    is_sound: bool,
    values: Vec<Value>,
    bytes: Vec<u8>,
}

fn integer(value: &Value) -> Option<i64> {
    if let Value::Integer(integer) = value {
        Some(*integer)
    } else {
        None
    }
}

/// Copies the entries of one log.
struct LogCopy<'a> {
    from: &'a Connection,
    into: &'a Connection,
    log: i64,
    name: LogName,
    conversation: i64,
    /// The last entry that the index knows. It is as good as the table itself.
    end: Seq,
    key: BodyKey,
    /// The start and audience of each run in the damaged database.
    runs: BTreeMap<Seq, i64>,
    bases: BTreeMap<Seq, EntryHash>,
    /// The entry that comes next, and the hash before it, if that is known.
    next: Seq,
    before: Option<EntryHash>,
    /// The hash before the first entry of `batch`.
    batch_before: Option<EntryHash>,
    /// Entries whose hash was not yet compared.
    batch: Vec<EntryRow>,
    /// The proved ranges, and the hash before each.
    proved: Vec<(Seq, Seq, EntryHash)>,
    /// Entries that were erased and must not come back.
    erased: BTreeSet<Seq>,
    repaired: Repaired,
}

impl<'a> LogCopy<'a> {
    fn new(
        from: &'a Connection,
        into: &'a Connection,
        (log, conversation): Ordinals,
        name: LogName,
    ) -> Result<Self, Fault> {
        let mut runs = BTreeMap::new();
        let mut query = from.prepare_cached("SELECT first, audience FROM runs WHERE log = ?1")?;
        let mut rows = query.query([log])?;
        while let Some(row) = rows.next()? {
            runs.insert(columns::count(row, 0)?, row.get(1)?);
        }
        let mut bases = BTreeMap::new();
        let mut query = from.prepare_cached("SELECT seq, hash FROM bases WHERE log = ?1")?;
        let mut rows = query.query([log])?;
        while let Some(row) = rows.next()? {
            bases.insert(columns::count(row, 0)?, columns::hash(row, 1)?);
        }
        Ok(Self {
            from,
            into,
            log,
            name,
            conversation,
            end: last_known(from, log)?,
            key: BodyKey::of(&name),
            before: Some(name.genesis()),
            runs,
            bases,
            next: 1,
            batch_before: None,
            batch: Vec::new(),
            proved: Vec::new(),
            erased: BTreeSet::new(),
            repaired: Repaired::default(),
        })
    }

    fn run(&mut self) -> Result<(), Fault> {
        if self.runs.is_empty() {
            // Nobody knows whom its entries were for. They arrive again with an audience.
            return Ok(());
        }
        let (mut from, mut skipped) = (1, 0);
        while from <= self.end {
            let (rows, failed) = self.read(from);
            let (count, last) = (rows.len(), rows.last().map(|row| row.seq));
            for row in rows {
                self.take(row)?;
            }
            if let Some(last) = last {
                (from, skipped) = (last + 1, 0);
            }
            if failed {
                // The page of the next entry can't be read. A page further on may be whole.
                let step = 1 + skipped / STEP_PART;
                skipped += step;
                from += step;
            } else if count < ROWS as usize {
                break;
            }
        }
        self.drop_batch();
        self.write_ranges()
    }

    /// Reads up to [`ROWS`] rows, and whether the next one can't be read.
    fn read(&self, from: Seq) -> (Vec<EntryRow>, bool) {
        let mut found: Vec<EntryRow> = Vec::new();
        let mut read = || -> Result<(), Fault> {
            let mut query = self.from.prepare_cached(
                "SELECT * FROM entries WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
            )?;
            let count = query.column_count();
            let (first, last) = (
                EntryId::new(self.log, from)?,
                EntryId::new(self.log, self.end)?,
            );
            let names = query.column_names();
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            let mut rows = query.query(params![first.0, last.0, ROWS])?;
            while let Some(row) = rows.next()? {
                let values = (0..count).map(|at| row.get::<_, Value>(at));
                let values = values.collect::<rusqlite::Result<Vec<_>>>()?;
                let row = self.entry_row(&names, values)?;
                if row.seq < found.last().map_or(from, |last| last.seq + 1) {
                    // A page with rows in a wrong order: the row before may be the wrong one.
                    found.pop();
                    return Err(Fault::Damaged("entries in a wrong order".to_owned()));
                }
                found.push(row);
            }
            Ok(())
        };
        let failed = read().is_err();
        (found, failed)
    }

    fn entry_row(&self, names: &[String], values: Vec<Value>) -> Result<EntryRow, Fault> {
        let value = |name: &str| {
            let at = names.iter().position(|other| other == name);
            let lacks = || Fault::Damaged(format!("the entries have no column {name}"));
            at.and_then(|at| values.get(at)).ok_or_else(lacks)
        };
        let blob = |name| -> Result<Option<&[u8]>, Fault> {
            if let Value::Blob(bytes) = value(name)? {
                Ok(Some(bytes.as_slice()))
            } else {
                Ok(None)
            }
        };
        let count = |name| Ok::<_, Fault>(integer(value(name)?).is_some_and(|count| count >= 0));
        let bytes = blob("bytes")?.unwrap_or_default().to_vec();
        let entry = columns::entry(&bytes).ok();
        let lamport = entry
            .as_ref()
            .map(|entry| Value::Integer(number(entry.lamport)));
        let or_null =
            |name, is_there: bool| Ok::<_, Fault>(is_there || matches!(value(name)?, Value::Null));
        let (hash, signature) = (blob("hash")?, blob("signature")?);
        let hash = hash.and_then(|hash| Some(EntryHash::from_bytes(hash.try_into().ok()?)));
        let signature = signature.and_then(|it| Some(Signature::from_bytes(it.try_into().ok()?)));
        let state = integer(value("state")?).and_then(BodyState::of_code);
        let id = integer(value("id")?).map(EntryId);
        let id = id.ok_or_else(|| Fault::Damaged("an entry without a number".to_owned()))?;
        let is_sound = *value("conversation")? == Value::Integer(self.conversation)
            && lamport.as_ref() == Some(value("lamport")?)
            && count("received_at_ms")?
            && count("arrival")?
            && entry
                .zip(state)
                .is_some_and(|(entry, state)| state.suits(&entry.body))
            && or_null("hash", hash.is_some())?
            && or_null("signature", signature.is_some())?;
        Ok(EntryRow {
            seq: id.seq(),
            hash,
            signature,
            state,
            is_sound,
            bytes,
            values,
        })
    }

    fn take(&mut self, row: EntryRow) -> Result<(), Fault> {
        if row.seq != self.next {
            self.drop_batch();
            if !self.runs.contains_key(&row.seq) {
                // No gap was here before.
                self.repaired.lost += row.seq - self.next;
            }
            self.before = self.bases.get(&(row.seq - 1)).copied();
        }
        if self.batch.is_empty() {
            self.batch_before = self.before;
        }
        self.next = row.seq + 1;
        let before = self.before.filter(|_| row.is_sound);
        let hash =
            before.and_then(|before| hash_after(&before, &self.key, row.seq, &row.bytes).ok());
        // A peer would refuse a batch whose signature is damaged.
        let hash = hash.filter(|hash| {
            let signed = |it| is_signed(&self.name, row.seq, hash, it);
            row.signature.as_ref().is_none_or(signed)
        });
        let end = row.hash;
        self.before = hash;
        self.batch.push(row);
        let Some(end) = end else {
            return Ok(());
        };
        if hash == Some(end) {
            self.keep_batch()?;
        } else {
            self.drop_batch();
        }
        // After a damaged batch, its stored end may still be right: then the next one fits.
        self.before = Some(end);
        Ok(())
    }

    fn keep_batch(&mut self) -> Result<(), Fault> {
        let before = self.batch_before.expect("its end was computed from it");
        let first = self.batch.first().expect("its end is in it").seq;
        let last = self.next - 1;
        for row in self.batch.drain(..) {
            let id = EntryId::new(self.log, row.seq)?;
            let entry = columns::entry(&row.bytes)?;
            amendments::note(self.into, self.conversation, &self.name, id, &entry)?;
            let marks = vec!["?"; row.values.len()].join(", ");
            self.into
                .prepare_cached(&format!("INSERT INTO entries VALUES ({marks})"))?
                .execute(params_from_iter(row.values))?;
            self.repaired.kept += 1;
        }
        match self.proved.last_mut() {
            Some((_, end, _)) if *end + 1 == first => *end = last,
            Some(_) | None => self.proved.push((first, last, before)),
        }
        Ok(())
    }

    fn drop_batch(&mut self) {
        let erased = [BodyState::ErasedHere, BodyState::Deleted];
        for row in self.batch.drain(..) {
            self.repaired.lost += 1;
            if row.state.is_some_and(|state| erased.contains(&state)) {
                self.erased.insert(row.seq);
            }
        }
    }

    /// Writes where the ranges start, with which audience, and the hash before each.
    fn write_ranges(&self) -> Result<(), Fault> {
        for (first, last, before) in &self.proved {
            // The number of a damaged run may be too high.
            let audience = self.runs.range(..=first).next_back();
            let audience = audience.or_else(|| self.runs.iter().next());
            let first_run = audience.map(|(_, audience)| (first, audience));
            let later = self.runs.range(first + 1..=*last);
            let mut written = None;
            for (start, audience) in first_run.into_iter().chain(later) {
                if written.replace(audience) == Some(audience) {
                    continue;
                }
                self.into
                    .prepare_cached("INSERT INTO runs (log, first, audience) VALUES (?1, ?2, ?3)")?
                    .execute(params![self.log, number(*start), audience])?;
            }
            if *first > 1 {
                self.into
                    .prepare_cached("INSERT INTO bases (log, seq, hash) VALUES (?1, ?2, ?3)")?
                    .execute(params![self.log, number(first - 1), before.as_bytes()])?;
            }
        }
        for seq in &self.erased {
            self.into
                .prepare_cached("INSERT OR IGNORE INTO awaited (log, seq) VALUES (?1, ?2)")?
                .execute(params![self.log, number(*seq)])?;
        }
        Ok(())
    }
}
