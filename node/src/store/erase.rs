//! Erases bodies, and adds bodies that were missing.
//!
//! An erased entry keeps its header and the hash of its body, so that the chain stays valid.

use hobnob_protocol::entry;
use hobnob_protocol::{BodyKey, CheckedBatch, LogName, Ranges, Seq};
use rusqlite::{Connection, params};

use super::columns::{self, BodyState, EntryId};
use super::error::Fault;
use super::index::{self, At};
use super::mentions::Mentions;
use super::{amendments, offers};

/// Erases the bodies of these entries. Bodies that are not shown, such as deletions, stay.
/// `by_author` is whether the author deleted the entries.
pub(super) fn erase(
    conn: &Connection,
    mentions: Option<&Mentions>,
    name: &LogName,
    log: i64,
    seqs: &Ranges,
    by_author: bool,
) -> Result<(), Fault> {
    let key = BodyKey::of(name);
    for (first, last) in seqs.iter() {
        let mut next = first;
        while next <= last {
            let Some(held) = next_held(conn, log, next, last)? else {
                break;
            };
            next = held.at.id.seq() + 1;
            held.erase(conn, mentions, &key, log, by_author)?;
        }
    }
    Ok(())
}

/// Adds the bodies of these entries, as far as they are missing. They count as arriving now:
/// `arrived` is the arrival number of the newest entry. Returns the new one.
pub(super) fn fill(
    conn: &Connection,
    mentions: Option<&Mentions>,
    log: i64,
    batch: &CheckedBatch,
    seqs: &Ranges,
    mut arrived: i64,
) -> Result<i64, Fault> {
    let key = BodyKey::of(&batch.batch.name);
    for seq in seqs.iter().flat_map(|(first, last)| first..=last) {
        let Some(held) = next_held(conn, log, seq, seq)? else {
            continue;
        };
        if held.state != BodyState::Missing {
            continue;
        }
        let whole = batch
            .at(seq)
            .expect("the replica fills with entries of the batch");
        let erased = entry::erase(&key, seq, &whole.bytes).map_err(columns::damaged_entry)?;
        if erased != held.bytes {
            return Err(Fault::Gap(format!("the body of {seq} is another one")));
        }
        set(conn, held.at.id, &whole.bytes, BodyState::Shown)?;
        arrived += 1;
        conn.prepare_cached("UPDATE entries SET arrival = ?2 WHERE id = ?1")?
            .execute([held.at.id.0, arrived])?;
        if matches!(whole.entry.body, hobnob_protocol::Body::Offer(_)) {
            offers::note(conn, held.at.id)?;
        }
        if index::has_seen(conn, log, seq)? {
            let at = At {
                arrival: arrived,
                ..held.at
            };
            index::add_words(conn, mentions, at, &whole.bytes)?;
        }
    }
    Ok(arrived)
}

/// An entry on disk.
struct Held {
    at: At,
    bytes: Vec<u8>,
    state: BodyState,
    is_edit: bool,
}

impl Held {
    fn erase(
        &self,
        conn: &Connection,
        mentions: Option<&Mentions>,
        key: &BodyKey,
        log: i64,
        by_author: bool,
    ) -> Result<(), Fault> {
        let state = match (self.state, by_author) {
            (BodyState::NotShown | BodyState::Deleted, _)
            | (BodyState::Missing | BodyState::ErasedHere, false) => return Ok(()),
            (BodyState::Shown, false) => BodyState::ErasedHere,
            (BodyState::Shown | BodyState::Missing | BodyState::ErasedHere, true) => {
                BodyState::Deleted
            }
        };
        let seq = self.at.id.seq();
        let erased = entry::erase(key, seq, &self.bytes).map_err(columns::damaged_entry)?;
        // The index may have the text of an edit before it has seen the edit.
        if index::has_seen(conn, log, seq)? || self.is_edit {
            index::remove_words(conn, mentions, self.at, &self.bytes)?;
        }
        offers::trim(conn, self.at.id, self.at.id)?;
        set(conn, self.at.id, &erased, state)
    }
}

/// The first entry that is held among these.
fn next_held(conn: &Connection, log: i64, first: Seq, last: Seq) -> Result<Option<Held>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT id, arrival, conversation, bytes, state, about FROM entries WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1",
    )?;
    let mut rows = query.query([EntryId::new(log, first)?.0, EntryId::new(log, last)?.0])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    Ok(Some(Held {
        at: At::read(row)?,
        bytes: columns::bytes(row, 3)?.to_vec(),
        state: BodyState::read(row, 4)?,
        is_edit: amendments::is_edit(row.get(5)?),
    }))
}

fn set(conn: &Connection, id: EntryId, bytes: &[u8], state: BodyState) -> Result<(), Fault> {
    conn.prepare_cached("UPDATE entries SET bytes = ?2, state = ?3 WHERE id = ?1")?
        .execute(params![id.0, bytes, state.code()])?;
    Ok(())
}
