//! Checks the whole database, when the user asks what is wrong.
//!
//! Other reads notice only damage of what they read. A damaged index can hide an entry from them.

use hobnob_protocol::{LogName, Ranges, Seq};
use rusqlite::Connection;

use super::chain;
use super::columns::{self, BodyState, EntryId, number};
use super::error::Fault;
use super::schema;

/// Returns a fault if any part of the database is not what was written, as far as that can be known.
pub(super) fn whole(conn: &Connection) -> Result<(), Fault> {
    schema::check_all(conn)?;
    columns_of_entries(conn)?;
    let mut entries = 0;
    for (log, name) in logs(conn)? {
        for (first, last) in held(conn, log)? {
            entries += last - first + 1;
            let mut proved = Ranges::new();
            chain::prove(conn, &name, log, (first, last), &mut proved)?;
            if let Some((lacking, _)) = Ranges::span(first, last).minus(&proved).iter().next() {
                let why = format!("entry {lacking} of a log is not the one that was stored");
                return Err(Fault::Damaged(why));
            }
        }
    }
    let stored: i64 = conn.query_row("SELECT count(*) FROM entries", [], |row| row.get(0))?;
    if number(entries) == stored {
        Ok(())
    } else {
        let why = format!("{stored} entries are stored, and {entries} can be found");
        Err(Fault::Damaged(why))
    }
}

/// Compares the columns by which entries are found with the entries.
fn columns_of_entries(conn: &Connection) -> Result<(), Fault> {
    let mut query = conn.prepare(
        "SELECT e.id, e.lamport, e.bytes, e.conversation = l.conversation, e.state
         FROM entries e LEFT JOIN logs l ON l.ordinal = e.id >> 40",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let id = EntryId(row.get(0)?);
        let entry = columns::entry(columns::bytes(row, 2)?)?;
        let is_sound = row.get::<_, Option<bool>>(3)? == Some(true)
            && columns::count(row, 1)? == entry.lamport
            && BodyState::read(row, 4)?.suits(&entry.body);
        if !is_sound {
            let why = format!("entry {} is not where it was stored", id.seq());
            return Err(Fault::Damaged(why));
        }
    }
    Ok(())
}

fn logs(conn: &Connection) -> Result<Vec<(i64, LogName)>, Fault> {
    let mut query = conn.prepare(
        "SELECT c.id, l.author, l.device, l.log, l.ordinal FROM logs l
         JOIN conversations c ON c.ordinal = l.conversation ORDER BY l.ordinal",
    )?;
    let mut rows = query.query([])?;
    let mut logs = Vec::new();
    while let Some(row) = rows.next()? {
        logs.push((row.get(4)?, columns::log_name(row, 0)?));
    }
    Ok(logs)
}

fn held(conn: &Connection, log: i64) -> Result<Vec<(Seq, Seq)>, Fault> {
    let mut query =
        conn.prepare_cached("SELECT first, last FROM held WHERE log = ?1 ORDER BY first")?;
    let mut rows = query.query([log])?;
    let mut held = Vec::new();
    while let Some(row) = rows.next()? {
        held.push((columns::count(row, 0)?, columns::count(row, 1)?));
    }
    Ok(held)
}
