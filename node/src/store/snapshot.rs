//! Copies of the database: made while it is in use, checked before they replace it, and relieved of
//! what was erased meanwhile.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hobnob_protocol::{ConversationId, LogName, Ranges, Seq};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::apply::{Apply, Known};
use super::columns::{self, EntryId};
use super::error::{Fault, StoreError};
use super::{chain, keep_plans, load_all, open_for_writing};
use hobnob_core::commit::Op;

/// Tables whose rows are in no copy: secrets that are worthless, or a danger, once they are old.
/// `mail` has the private keys of the mailbox. A restored node makes new ones.
const NEVER_COPIED: &[&str] = &["mail"];

/// Copies the database into a new file that only its owner can read. The copy has all commits of one
/// moment, and none later. The database may be in use: this only reads.
///
/// The copy is written row by row, so that it has no free pages and nothing that was erased.
pub(super) fn copy(file: &Path, into: &Path) -> Result<(), StoreError> {
    copy_without(file, into, NEVER_COPIED)
}

fn copy_without(file: &Path, into: &Path, without: &[&str]) -> Result<(), StoreError> {
    // SQLite accepts an empty file, which has the right permissions from the start.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(into)
        .map_err(|error| StoreError::from_io(&error, into))?;
    let copy = || -> Result<(), Fault> {
        let from = open_for_reading(file)?;
        let name = into.to_str().ok_or_else(|| {
            Fault::Damaged("the path of the copy is no text, which SQLite needs".to_owned())
        })?;
        from.execute("VACUUM INTO ?1", [name])?;
        Ok(())
    };
    copy().map_err(|fault| fault.at(file))?;
    if without.is_empty() {
        return Ok(());
    }
    let leave_out = || -> Result<(), Fault> {
        let conn = Connection::open_with_flags(into, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // Otherwise the rows would stay in free parts of the file.
        conn.pragma_update(None, "secure_delete", true)?;
        without
            .iter()
            .try_for_each(|table| conn.execute_batch(&format!("DELETE FROM {table}")))?;
        conn.close().map_err(|(_, error)| error)?;
        Ok(())
    };
    leave_out().map_err(|fault| fault.at(into))
}

/// Checks a copy that is to become a node's database, and migrates it to this version. Reads all of
/// it.
pub(crate) fn check(file: &Path) -> Result<(), StoreError> {
    let check = || -> Result<(), Fault> {
        let mut conn = open_for_writing(file)?;
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
pub(crate) fn erase_as_in(file: &Path, newer: &Path) -> Result<u64, StoreError> {
    erase(file, newer).map_err(|fault| fault.at(newer))
}

fn erase(file: &Path, newer: &Path) -> Result<u64, Fault> {
    let (from, mut into) = (open_for_writing(newer)?, open_for_writing(file)?);
    let tx = into.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (mut known, mut grown) = (Known::default(), BTreeSet::new());
    let mut copy = Apply {
        conn: &tx,
        known: &mut known,
        grown: &mut grown,
    };
    let mut count = 0;
    let mut erased = from.prepare(ERASED)?;
    let mut rows = erased.query([])?;
    while let Some(row) = rows.next()? {
        let name = columns::log_name(row, 0)?;
        let (seq, by_author) = (columns::count(row, 3)?, row.get(4)?);
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

/// Conversation, author and log of each entry that was erased or that is to be, its number, and
/// whether its author deleted it.
const ERASED: &str = "
SELECT c.id, l.author, l.log, e.seq, e.by_author FROM (
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

fn open_for_reading(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags)?;
    keep_plans(&conn)?;
    Ok(conn)
}

/// Closes the last connection: then SQLite merges the write-ahead log and removes it.
fn close(conn: Connection) -> Result<(), Fault> {
    Ok(conn.close().map_err(|(_, error)| error)?)
}
