//! Copies of the database: made while it is in use, checked before they replace it, and without what
//! was erased meanwhile.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hobnob_protocol::{ConversationId, LogName, Ranges, Seq};
use hobnob_vfs::Disk;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::apply::{Apply, Known};
use super::columns::{self, EntryId};
use super::error::{Fault, StoreError};
use super::{Place, chain, keep_plans, load_all, open_for_writing};
use hobnob_core::commit::Op;

/// Tables whose rows are in no copy: secrets that are worthless, or a danger, once they are old.
/// `mail` has the private keys of the mailbox. A restored node makes new ones.
const NEVER_COPIED: &[&str] = &["mail"];

/// Copies the database into a new file on the same disk. The copy has all commits of one moment, and
/// none later. The database may be in use: this only reads.
///
/// The copy is written row by row, so that it has no free pages and nothing that was erased.
pub(super) fn copy(from: &Place, into: &Path) -> Result<(), StoreError> {
    let Place { disk, file } = from;
    let copy = || copy_rows(open_for_reading(disk, file)?, disk, into);
    create_empty(into)?;
    copy().map_err(|fault: Fault| fault.at(file))?;
    let leave_out = || -> Result<(), Fault> {
        let conn = disk.open(into, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Otherwise the rows would stay in free parts of the file.
        conn.pragma_update(None, "secure_delete", true)?;
        NEVER_COPIED
            .iter()
            .try_for_each(|table| conn.execute_batch(&format!("DELETE FROM {table}")))?;
        close(conn)
    };
    leave_out().map_err(|fault| fault.at(into))
}

/// Copies all of a database that nobody uses into a new file, which may be on another disk.
pub(crate) fn copy_whole(
    from: &Disk,
    file: &Path,
    to: &Disk,
    into: &Path,
) -> Result<(), StoreError> {
    create_empty(into)?;
    let copy = || copy_rows(open_for_writing(from, file)?, to, into);
    copy().map_err(|fault: Fault| fault.at(file))?;
    check_on(to, into)
}

/// Creates an empty file that only its owner can read. SQLite accepts it as a database.
fn create_empty(file: &Path) -> Result<(), StoreError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .map(drop)
        .map_err(|error| StoreError::from_io(&error, file))
}

fn copy_rows(from: Connection, to: &Disk, into: &Path) -> Result<(), Fault> {
    from.execute("VACUUM INTO ?1", [to.name(into)])?;
    close(from)
}

/// Checks a copy that is to become a node's database, and migrates it to this version. Reads all of
/// it.
pub(crate) fn check_on(disk: &Disk, file: &Path) -> Result<(), StoreError> {
    let check = || -> Result<(), Fault> {
        let mut conn = open_for_writing(disk, file)?;
        let said: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if said != "ok" {
            return Err(Fault::Damaged(said));
        }
        load_all(&mut conn, 0)?;
        close(conn)
    };
    check().map_err(|fault| fault.at(file))
}

/// Erases in `file` what is erased in `newer`, another database of this node: an old copy must not
/// bring back what the user or an author has deleted since. Returns the number of entries.
pub(crate) fn erase_as_in(
    (disk, file): (&Disk, &Path),
    (newer_disk, newer): (&Disk, &Path),
) -> Result<u64, StoreError> {
    erase((disk, file), (newer_disk, newer)).map_err(|fault| fault.at(newer))
}

fn erase((disk, file): (&Disk, &Path), (newer_disk, newer): (&Disk, &Path)) -> Result<u64, Fault> {
    let from = open_for_writing(newer_disk, newer)?;
    let mut into = open_for_writing(disk, file)?;
    let tx = into.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut known, mut grown) = (Known::default(), BTreeSet::new());
    let mut copy = Apply {
        conn: &tx,
        known: &mut known,
        grown: &mut grown,
        // A mention that an erased edit had hidden is found when the user is called again.
        mentions: None,
    };
    let mut count = 0;
    let mut erased = from.prepare(ERASED)?;
    let mut rows = erased.query([])?;
    while let Some(row) = rows.next()? {
        let name = columns::log_name(row, 0)?;
        let (seq, by_author) = (columns::count(row, 4)?, row.get(5)?);
        if is_held(&tx, &name, seq)? {
            copy.op(&Op::Erase {
                name,
                seqs: Ranges::span(seq, seq),
                by_author,
            })?;
        } else {
            // A peer may still have it. It is erased when it arrives.
            copy_conversation(&from, &mut copy, name.conversation)?;
            copy.op(&Op::AwaitDeleted(name, seq))?;
        }
        count += 1;
    }
    drop(rows);
    drop(erased);
    tx.commit()?;
    close(into)?;
    close(from)?;
    Ok(count)
}

/// Conversation, author, device and log of each entry that was erased or that is to be, its number, and
/// whether its author deleted it.
const ERASED: &str = "
SELECT c.id, l.author, l.device, l.log, e.seq, e.by_author FROM (
    SELECT id >> 40 AS log, id & ((1 << 40) - 1) AS seq, state = 3 AS by_author FROM entries
        WHERE state > 0 AND state IN (1, 3)
    UNION ALL SELECT log, seq, 1 FROM awaited
) e JOIN logs l ON l.ordinal = e.log JOIN conversations c ON c.ordinal = l.conversation";

fn is_held(conn: &Connection, name: &LogName, seq: Seq) -> Result<bool, Fault> {
    let Some(log) = chain::log_ordinal(conn, name)? else {
        return Ok(false);
    };
    let mut held = conn.prepare_cached("SELECT 1 FROM entries WHERE id = ?1")?;
    Ok(held.exists([EntryId::new(log, seq)?.0])?)
}

/// Adds the conversation, if the copy is older than it.
fn copy_conversation(
    from: &Connection,
    into: &mut Apply<'_>,
    conversation: ConversationId,
) -> Result<(), Fault> {
    let id = conversation.as_bytes();
    let mut known = into
        .conn
        .prepare_cached("SELECT 1 FROM conversations WHERE id = ?1")?;
    if known.exists([id])? {
        return Ok(());
    }
    let sql = "SELECT id, peer, room, key, kind, joined FROM conversations WHERE id = ?1";
    let mut found = from.prepare_cached(sql)?;
    let mut rows = found.query([id])?;
    let row = rows.next()?.expect("a log refers to its conversation");
    let record = columns::conversation_record(row)?;
    into.op(&Op::Conversation(record))
}

fn open_for_reading(disk: &Disk, file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = disk.open(file, flags)?;
    keep_plans(&conn)?;
    Ok(conn)
}

/// Closes the last connection: then SQLite merges the write-ahead log and removes it.
fn close(conn: Connection) -> Result<(), Fault> {
    Ok(conn.close().map_err(|(_, error)| error)?)
}
