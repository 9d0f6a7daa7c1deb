//! What became of offered files: one row beside the entry of each offer.

use hobnob_protocol::{Body, LogId, Seq};
use rusqlite::{Connection, Row, params_from_iter};

use super::columns::{self, EntryId, number};
use super::error::Fault;
use super::history::{self, COLUMNS, HistoryRow, JOINS};
use hobnob_core::commit::{OfferRecord, OfferState};

/// Rows in one answer at most.
const OFFERS_MAX: usize = 1_000;

/// Which offers to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichOffers {
    /// The newest, at most a thousand.
    Newest,
    /// Those that were accepted and are not here yet, at most a thousand.
    Wanted,
    /// The one in this log (of the log heard of first, should two authors use one id), at this
    /// place.
    One(LogId, Seq),
}

/// An offer as it is held: its entry, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferRow {
    /// The entry.
    pub entry: HistoryRow,
    /// What became of it.
    pub record: OfferRecord,
}

/// The offers asked for, oldest first.
pub(super) fn read(conn: &Connection, which: WhichOffers) -> Result<Vec<OfferRow>, Fault> {
    let (condition, values) = match which {
        WhichOffers::Newest => ("TRUE", vec![]),
        WhichOffers::Wanted => ("o.state = 1", vec![]),
        WhichOffers::One(log, seq) => (
            "l.log = ?1 AND e.id & ((1 << 40) - 1) = ?2",
            vec![log.0.cast_signed(), number(seq)],
        ),
    };
    let sql = format!(
        "SELECT {COLUMNS}, o.state, o.place, o.why FROM offers o CROSS JOIN entries e ON e.id = o.id {JOINS}
         WHERE {condition} ORDER BY e.received_at_ms DESC, e.id DESC LIMIT {OFFERS_MAX}"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(offer_row(row)?);
    }
    found.reverse();
    Ok(found)
}

fn offer_row(row: &Row<'_>) -> Result<OfferRow, Fault> {
    let state: i64 = row.get(6)?;
    let state = OfferState::of_code(state)
        .ok_or_else(|| Fault::Damaged(format!("an offer in state {state}")))?;
    let record = OfferRecord {
        state,
        place: row.get(7)?,
        why: row.get(8)?,
    };
    Ok(OfferRow {
        entry: history::history_row(row)?,
        record,
    })
}

/// Notes an offer that was just stored.
pub(super) fn note(conn: &Connection, id: EntryId) -> Result<(), Fault> {
    conn.prepare_cached("INSERT OR IGNORE INTO offers (id, state) VALUES (?1, 0)")?
        .execute([id.0])?;
    Ok(())
}

/// Notes all offers that are held: those that came while this program did not know yet what they
/// are.
pub(super) fn note_all(conn: &Connection) -> Result<(), Fault> {
    let mut query = conn.prepare("SELECT id, bytes FROM entries")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        // What is damaged is found out when it is read.
        let entry = row
            .get_ref(1)?
            .as_blob()
            .ok()
            .and_then(|bytes| columns::entry(bytes).ok());
        if entry.is_some_and(|entry| matches!(entry.body, Body::Offer(_))) {
            note(conn, EntryId(row.get(0)?))?;
        }
    }
    Ok(())
}

/// Forgets the offers between two entries of a log.
pub(super) fn trim(conn: &Connection, first: EntryId, last: EntryId) -> Result<(), Fault> {
    conn.prepare_cached("DELETE FROM offers WHERE id BETWEEN ?1 AND ?2")?
        .execute([first.0, last.0])?;
    Ok(())
}
