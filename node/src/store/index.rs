//! The search index: which entries it has. Their tokens are made in [`words`].
//!
//! The table `mentions` belongs to it: it has the texts that call for this node's user.
//!
//! The number of a document in the index is the arrival number of its entry, so that a page of a
//! large result costs no more than its own rows.
//!
//! The writer updates it when it is idle or a search waits. An update with each commit would cost
//! more than the commit itself.

use std::borrow::Cow;

use hobnob_protocol::{Body, Ranges, Seq};
use rusqlite::{Connection, params};

use super::amendments;
use super::columns::{self, EntryId, number};
use super::error::Fault;
use super::mentions::Mentions;
use super::words;

/// Bytes of entries that one transaction adds. The index of a text can be eight times as large, and the
/// write-ahead log holds all of it.
const BYTES_MAX: usize = 256 * 1024;

/// The progress with a log.
pub(super) struct Taken {
    /// How many entries were added.
    pub(super) entries: usize,
    /// Whether the index has all entries of the log.
    pub(super) is_complete: bool,
}

/// Adds entries of a log to the index, in one transaction: up to `most`, and up to about
/// [`BYTES_MAX`].
pub(super) fn take_in(
    conn: &mut Connection,
    mentions: Option<&Mentions>,
    log: i64,
    most: usize,
) -> Result<Taken, Fault> {
    let tx = conn.transaction()?;
    let mut seen = ranges(&tx, SEEN, log)?;
    let missing = ranges(&tx, HELD, log)?.minus(&seen);
    let (mut taken, mut bytes) = (Ranges::new(), 0);
    for (first, last) in missing.iter() {
        let mut query = tx.prepare_cached(DOCUMENTS)?;
        let mut rows = query.query([EntryId::new(log, first)?.0, EntryId::new(log, last)?.0])?;
        while !is_enough(&taken, most, bytes)
            && let Some(row) = rows.next()?
        {
            let (at, entry) = (At::read(row)?, columns::bytes(row, 3)?);
            add_words(&tx, mentions, at, entry)?;
            bytes += entry.len();
            taken.insert(at.id.seq(), at.id.seq());
        }
        // A run without these rows is damaged. It counts as seen, or it would be tried for ever.
        if !is_enough(&taken, most, bytes) {
            taken.insert(first, last);
        }
    }
    if !taken.is_empty() {
        seen.insert_all(&taken);
        write_seen(&tx, log, &seen)?;
    }
    tx.commit()?;
    Ok(Taken {
        entries: usize::try_from(taken.len()).expect("not many more than `most`"),
        is_complete: missing.minus(&taken).is_empty(),
    })
}

fn is_enough(taken: &Ranges, most: usize, bytes: usize) -> bool {
    taken.len() >= most as u64 || bytes >= BYTES_MAX
}

/// Deletes the entries of a log below this number from the index.
pub(super) fn trim(
    conn: &Connection,
    mentions: Option<&Mentions>,
    log: i64,
    below: Seq,
) -> Result<(), Fault> {
    let (first, last) = (EntryId::new(log, 0)?, EntryId::new(log, below - 1)?);
    for edit in amendments::edits_between(conn, first, last)? {
        remove_edit(conn, mentions, edit)?;
    }
    let mut seen = ranges(conn, SEEN, log)?;
    let indexed = seen.intersect(&Ranges::span(1, below - 1));
    for (first, last) in indexed.iter() {
        let mut query = conn.prepare_cached(DOCUMENTS)?;
        let mut rows = query.query([EntryId::new(log, first)?.0, EntryId::new(log, last)?.0])?;
        while let Some(row) = rows.next()? {
            remove_words(conn, mentions, At::read(row)?, columns::bytes(row, 3)?)?;
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

/// Where an entry is in the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    /// The entry.
    pub(super) id: EntryId,
    /// Its arrival number.
    pub(super) arrival: i64,
    /// The ordinal of its conversation.
    pub(super) conversation: i64,
}

impl At {
    /// Reads the first three columns of a row.
    pub(super) fn read(row: &rusqlite::Row<'_>) -> Result<Self, Fault> {
        Ok(Self {
            id: EntryId(row.get(0)?),
            arrival: row.get(1)?,
            conversation: row.get(2)?,
        })
    }
}

/// Deletes an entry from the index. The index does not store texts: it finds the tokens to remove in
/// the text that it is given.
pub(super) fn remove_words(
    conn: &Connection,
    mentions: Option<&Mentions>,
    at: At,
    bytes: &[u8],
) -> Result<(), Fault> {
    let body = columns::entry(bytes)?.body;
    if matches!(body, Body::Edit { .. }) {
        return remove_edit(conn, mentions, at.id);
    }
    if let Some(text) = text_of(&body) {
        match edit_in_index(conn, at.id)? {
            Some((_, text)) => delete_words(conn, at, &text)?,
            None => delete_words(conn, at, &text)?,
        }
        note_edit(conn, at.id, None)?;
    }
    Ok(())
}

/// Adds an entry to the index. A message is found by the words of its newest edit.
pub(super) fn add_words(
    conn: &Connection,
    mentions: Option<&Mentions>,
    at: At,
    bytes: &[u8],
) -> Result<(), Fault> {
    let body = columns::entry(bytes)?.body;
    if matches!(body, Body::Edit { .. }) {
        return match amendments::target_of_edit(conn, at.id)? {
            Some(target) if has_seen(conn, target.log(), target.seq())? => {
                show_newest(conn, mentions, target, None)
            }
            Some(_) | None => Ok(()),
        };
    }
    let newest = match amendments::is_editable(&body) {
        true => amendments::newest_edit(conn, at.id, None)?,
        false => None,
    };
    if let Some((edit, text)) = newest {
        insert_words(conn, mentions, at, &text)?;
        return note_edit(conn, at.id, Some(edit));
    }
    match text_of(&body) {
        Some(text) => insert_words(conn, mentions, at, &text),
        None => Ok(()),
    }
}

/// Removes the text of an edit from the index, if the index has it.
fn remove_edit(conn: &Connection, mentions: Option<&Mentions>, edit: EntryId) -> Result<(), Fault> {
    let Some(target) = amendments::target_of_edit(conn, edit)? else {
        return Ok(());
    };
    match edit_in_index(conn, target)? {
        Some((newest, _)) if newest == edit => show_newest(conn, mentions, target, Some(edit)),
        Some(_) | None => Ok(()),
    }
}

/// Replaces the words of a message by those of its newest edit, apart from `except`. The index has
/// seen the message.
fn show_newest(
    conn: &Connection,
    mentions: Option<&Mentions>,
    id: EntryId,
    except: Option<EntryId>,
) -> Result<(), Fault> {
    let mut query = conn.prepare_cached(
        "SELECT id, arrival, conversation, bytes FROM entries WHERE id = ?1 AND state = 0",
    )?;
    let mut rows = query.query([id.0])?;
    let Some(row) = rows.next()? else {
        return Ok(()); // Erased, or not complete: the index has nothing of it.
    };
    let at = At::read(row)?;
    let body = columns::entry(columns::bytes(row, 3)?)?.body;
    if !amendments::is_editable(&body) {
        return Ok(());
    }
    let own = text_of(&body).unwrap_or_default();
    let shown = edit_in_index(conn, id)?;
    let newest = amendments::newest_edit(conn, id, except)?;
    let edit = newest.as_ref().map(|(edit, _)| *edit);
    if shown.as_ref().map(|(edit, _)| *edit) == edit {
        return Ok(());
    }
    delete_words(conn, at, shown.as_ref().map_or(&*own, |(_, text)| text))?;
    let text = newest.as_ref().map_or(&*own, |(_, text)| text);
    insert_words(conn, mentions, at, text)?;
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
    let body = columns::entry(columns::bytes(row, 1)?)?.body;
    let text = text_of(&body).unwrap_or_default().into_owned();
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

fn delete_words(conn: &Connection, at: At, text: &str) -> Result<(), Fault> {
    conn.prepare_cached("INSERT INTO words (words, rowid, text) VALUES ('delete', ?1, ?2)")?
        .execute(params![at.arrival, words::document(at.conversation, text)])?;
    conn.prepare_cached("DELETE FROM mentions WHERE arrival = ?1")?
        .execute([at.arrival])?;
    Ok(())
}

fn insert_words(
    conn: &Connection,
    mentions: Option<&Mentions>,
    at: At,
    text: &str,
) -> Result<(), Fault> {
    conn.prepare_cached("INSERT INTO words (rowid, text) VALUES (?1, ?2)")?
        .execute(params![at.arrival, words::document(at.conversation, text)])?;
    if let Some(mentions) = mentions.filter(|mentions| mentions.are_in(text)) {
        // Nobody mentions himself.
        conn.prepare_cached(
            "INSERT OR IGNORE INTO mentions (arrival)
             SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM logs WHERE ordinal = ?2 AND author = ?3)",
        )?
        .execute(params![at.arrival, at.id.log(), mentions.me().as_bytes()])?;
    }
    Ok(())
}

/// The text of an entry that can be searched. A file is found by its name and its caption.
pub(crate) fn text_of(body: &Body) -> Option<Cow<'_, str>> {
    match body {
        Body::Text(text) | Body::Reply { text, .. } | Body::Edit { text, .. } => {
            Some(Cow::Borrowed(text))
        }
        Body::Offer(offer) if offer.caption.is_empty() => Some(Cow::Borrowed(&offer.name)),
        Body::Offer(offer) => Some(Cow::Owned(format!("{}\n{}", offer.name, offer.caption))),
        Body::App { .. }
        | Body::React { .. }
        | Body::Topic(_)
        | Body::Pin { .. }
        | Body::Delete { .. }
        | Body::Erased { .. }
        | Body::Unknown { .. } => None,
    }
}

/// The text by which a search finds an entry: that of the newest edit, if there is one. An edit is not
/// found by itself.
pub(super) fn shown_text<'a>(
    conn: &Connection,
    id: EntryId,
    body: &'a Body,
) -> Result<Option<Cow<'a, str>>, Fault> {
    if matches!(body, Body::Edit { .. }) {
        return Ok(None);
    }
    if amendments::is_editable(body)
        && let Some((_, text)) = amendments::newest_edit(conn, id, None)?
    {
        return Ok(Some(Cow::Owned(text)));
    }
    Ok(text_of(body))
}

const DOCUMENTS: &str =
    "SELECT id, arrival, conversation, bytes FROM entries WHERE id BETWEEN ?1 AND ?2";
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
