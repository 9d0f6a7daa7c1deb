//! The search index: the words of texts.
//!
//! The writer updates it when it is idle or a search waits. An update with each commit would cost
//! more than the commit itself.

use hobnob_protocol::{Body, Ranges, Seq};
use rusqlite::{Connection, params};

use super::amendments;
use super::columns::{self, EntryId, number};
use super::error::Fault;

/// Adds up to `most` entries of a log to the index, in one transaction.
///
/// Returns how many entries it added. Fewer than `most` means that the log is complete.
pub(super) fn take_in(conn: &mut Connection, log: i64, most: usize) -> Result<usize, Fault> {
    let tx = conn.transaction()?;
    let mut seen = ranges(&tx, SEEN, log)?;
    let missing = ranges(&tx, HELD, log)?.minus(&seen);
    let mut taken = 0;
    for (first, last) in missing.iter() {
        let Some(last) = last_within(first, last, most - taken) else {
            break;
        };
        take_stretch(&tx, log, first, last)?;
        seen.insert(first, last);
        taken += usize::try_from(last - first + 1).expect("not above `most`");
    }
    if taken > 0 {
        write_seen(&tx, log, &seen)?;
    }
    tx.commit()?;
    Ok(taken)
}

/// Deletes the entries of a log below this number from the index.
pub(super) fn trim(conn: &Connection, log: i64, below: Seq) -> Result<(), Fault> {
    let (first, last) = (EntryId::new(log, 0)?, EntryId::new(log, below - 1)?);
    for edit in amendments::edits_between(conn, first, last)? {
        remove_edit(conn, edit)?;
    }
    let mut seen = ranges(conn, SEEN, log)?;
    let indexed = seen.intersect(&Ranges::span(1, below - 1));
    for (first, last) in indexed.iter() {
        let mut query =
            conn.prepare_cached("SELECT id, bytes FROM entries WHERE id BETWEEN ?1 AND ?2")?;
        let mut rows = query.query([EntryId::new(log, first)?.0, EntryId::new(log, last)?.0])?;
        while let Some(row) = rows.next()? {
            remove_words(conn, row.get(0)?, columns::bytes(row, 1)?)?;
        }
    }
    seen.remove(1, below - 1);
    write_seen(conn, log, &seen)
}

/// Whether the index has been updated with this entry.
pub(super) fn has_seen(conn: &Connection, log: i64, seq: Seq) -> Result<bool, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT count(*) FROM indexed WHERE log = ?1 AND first <= ?2 AND last >= ?2",
    )?;
    let count: i64 = query.query_row(params![log, number(seq)], |row| row.get(0))?;
    Ok(count > 0)
}

/// Deletes an entry from the index. The index does not store texts: it finds the words to remove in
/// the text that it is given.
pub(super) fn remove_words(conn: &Connection, id: i64, bytes: &[u8]) -> Result<(), Fault> {
    let body = columns::entry(bytes)?.body;
    if matches!(body, Body::Edit { .. }) {
        return remove_edit(conn, EntryId(id));
    }
    if let Some(text) = text_of(body) {
        let text = edit_in_index(conn, EntryId(id))?.map_or(text, |(_, text)| text);
        delete_words(conn, EntryId(id), &text)?;
        note_edit(conn, EntryId(id), None)?;
    }
    Ok(())
}

/// Adds an entry to the index. A message is found by the words of its newest edit.
pub(super) fn add_words(conn: &Connection, id: i64, bytes: &[u8]) -> Result<(), Fault> {
    let (id, body) = (EntryId(id), columns::entry(bytes)?.body);
    if matches!(body, Body::Edit { .. }) {
        return match amendments::target_of_edit(conn, id)? {
            Some(target) if has_seen(conn, target.log(), target.seq())? => {
                show_newest(conn, target, None)
            }
            Some(_) | None => Ok(()),
        };
    }
    let newest = match amendments::is_editable(&body) {
        true => amendments::newest_edit(conn, id, None)?,
        false => None,
    };
    if let Some((edit, text)) = newest {
        insert_words(conn, id, &text)?;
        return note_edit(conn, id, Some(edit));
    }
    match text_of(body) {
        Some(text) => insert_words(conn, id, &text),
        None => Ok(()),
    }
}

/// Removes the text of an edit from the index, if the index has it.
fn remove_edit(conn: &Connection, edit: EntryId) -> Result<(), Fault> {
    let Some(target) = amendments::target_of_edit(conn, edit)? else {
        return Ok(());
    };
    match edit_in_index(conn, target)? {
        Some((newest, _)) if newest == edit => show_newest(conn, target, Some(edit)),
        Some(_) | None => Ok(()),
    }
}

/// Replaces the words of a message by those of its newest edit, apart from `except`. The index has
/// seen the message.
fn show_newest(conn: &Connection, id: EntryId, except: Option<EntryId>) -> Result<(), Fault> {
    let mut query = conn.prepare_cached("SELECT bytes FROM entries WHERE id = ?1 AND state = 0")?;
    let mut rows = query.query([id.0])?;
    let Some(row) = rows.next()? else {
        return Ok(()); // Erased, or not complete: the index has nothing of it.
    };
    let body = columns::entry(columns::bytes(row, 0)?)?.body;
    if !amendments::is_editable(&body) {
        return Ok(());
    }
    let own = text_of(body).unwrap_or_default();
    let shown = edit_in_index(conn, id)?;
    let newest = amendments::newest_edit(conn, id, except)?;
    let edit = newest.as_ref().map(|(edit, _)| *edit);
    if shown.as_ref().map(|(edit, _)| *edit) == edit {
        return Ok(());
    }
    delete_words(
        conn,
        id,
        &shown.map_or_else(|| own.clone(), |(_, text)| text),
    )?;
    insert_words(conn, id, &newest.map_or(own, |(_, text)| text))?;
    note_edit(conn, id, edit)
}

/// The edit whose text the index has for a message.
fn edit_in_index(conn: &Connection, id: EntryId) -> Result<Option<(EntryId, String)>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT e.id, e.bytes FROM edited n CROSS JOIN entries e ON e.id = n.newest WHERE n.target = ?1",
    )?;
    let mut rows = query.query([id.0])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let text = text_of(columns::entry(columns::bytes(row, 1)?)?.body).unwrap_or_default();
    Ok(Some((EntryId(row.get(0)?), text)))
}

fn note_edit(conn: &Connection, id: EntryId, edit: Option<EntryId>) -> Result<(), Fault> {
    match edit {
        Some(edit) => conn
            .prepare_cached("INSERT OR REPLACE INTO edited (target, newest) VALUES (?1, ?2)")?
            .execute([id.0, edit.0])?,
        None => conn
            .prepare_cached("DELETE FROM edited WHERE target = ?1")?
            .execute([id.0])?,
    };
    Ok(())
}

fn delete_words(conn: &Connection, id: EntryId, text: &str) -> Result<(), Fault> {
    conn.prepare_cached("INSERT INTO words (words, rowid, text) VALUES ('delete', ?1, ?2)")?
        .execute(params![id.0, text])?;
    Ok(())
}

fn insert_words(conn: &Connection, id: EntryId, text: &str) -> Result<(), Fault> {
    conn.prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?
        .execute(params![id.0, text])?;
    Ok(())
}

/// The text of an entry that can be searched.
fn text_of(body: Body) -> Option<String> {
    match body {
        Body::Text(text) | Body::Reply { text, .. } | Body::Edit { text, .. } => Some(text),
        Body::Offer(offer) => Some(offer.name),
        Body::App { .. }
        | Body::React { .. }
        | Body::Delete { .. }
        | Body::Erased { .. }
        | Body::Unknown { .. } => None,
    }
}

/// An FTS5 query for what a user typed: all words, of which the last may be the start of a word. The
/// quotes keep FTS5 from reading operators in it.
pub(super) fn query_of(typed: &str) -> Option<String> {
    let words = typed
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty());
    let quoted: Vec<String> = words
        .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
        .collect();
    if quoted.is_empty() {
        None
    } else {
        Some(quoted.join(" ") + " *")
    }
}

const SEEN: &str = "SELECT first, last FROM indexed WHERE log = ?1";
const HELD: &str = "SELECT first, last FROM held WHERE log = ?1";

fn ranges(conn: &Connection, sql: &str, log: i64) -> Result<Ranges, Fault> {
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query([log])?;
    let mut ranges = Ranges::new();
    while let Some(row) = rows.next()? {
        ranges.insert(columns::count(row, 0)?, columns::count(row, 1)?);
    }
    Ok(ranges)
}

fn last_within(first: Seq, last: Seq, room: usize) -> Option<Seq> {
    let room = u64::try_from(room).expect("a usize fits");
    if room == 0 {
        None
    } else {
        Some(last.min(first + room - 1))
    }
}

fn take_stretch(conn: &Connection, log: i64, first: Seq, last: Seq) -> Result<(), Fault> {
    let mut query =
        conn.prepare_cached("SELECT id, bytes FROM entries WHERE id BETWEEN ?1 AND ?2")?;
    let mut rows = query.query([EntryId::new(log, first)?.0, EntryId::new(log, last)?.0])?;
    while let Some(row) = rows.next()? {
        add_words(conn, row.get(0)?, columns::bytes(row, 1)?)?;
    }
    Ok(())
}

fn write_seen(conn: &Connection, log: i64, seen: &Ranges) -> Result<(), Fault> {
    conn.prepare_cached("DELETE FROM indexed WHERE log = ?1")?
        .execute([log])?;
    for (first, last) in seen.iter() {
        let row = params![log, number(first), number(last)];
        conn.prepare_cached("INSERT INTO indexed (log, first, last) VALUES (?1, ?2, ?3)")?
            .execute(row)?;
    }
    Ok(())
}
