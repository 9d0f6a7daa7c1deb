//! The states of offers: one row beside the entry of each offer.

use std::collections::BTreeSet;

use hobnob_protocol::text::visible;
use hobnob_protocol::{Body, ContentHash, LogId, Offer, OfferId, Seq};
use rusqlite::{Connection, Row, params_from_iter};

use super::columns::{self, EntryId, number};
use super::error::Fault;
use super::history::{self, COLUMNS, HistoryRow, JOINS};
use super::proofs::Proofs;
use hobnob_core::commit::{OfferRecord, OfferState};

/// Maximum number of rows in one answer.
pub const OFFERS_MAX: usize = 1_000;

/// Which offers to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhichOffers {
    /// The newest ones, at most a thousand.
    Newest,
    /// The ones that were accepted and are not complete, at most a thousand.
    Wanted,
    /// The ones with this number in the logs with this id. Two authors may use one id: then the log
    /// that was stored first comes first.
    One(LogId, Seq),
}

/// An offer whose entry is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOffer {
    /// Names the entry.
    pub id: OfferId,
    /// The offer in the entry.
    pub offer: Offer,
    /// When this node received or wrote the entry, in milliseconds since the Unix epoch.
    pub received_at_ms: u64,
}

impl StoredOffer {
    /// The name that its author gave it, safe for a terminal.
    pub fn visible_name(&self) -> String {
        visible(&self.offer.name).into_owned()
    }
}

/// An offer with its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferRow {
    /// The offer.
    pub offer: StoredOffer,
    /// Its state.
    pub record: OfferRecord,
}

/// Reads offers, oldest first, without those whose entries are damaged.
pub(super) fn read(proofs: &mut Proofs<'_>, which: WhichOffers) -> Result<Vec<OfferRow>, Fault> {
    let conn = proofs.conn();
    let (condition, values) = match which {
        WhichOffers::Newest => ("TRUE", vec![]),
        WhichOffers::Wanted => ("o.state = 1", vec![]),
        WhichOffers::One(log, seq) => (
            "l.log = ?1 AND e.id & ((1 << 40) - 1) = ?2",
            vec![log.0.cast_signed(), number(seq)],
        ),
    };
    let sql = format!(
        "SELECT {COLUMNS}, o.state AS offer_state, o.place AS offer_place, o.why AS offer_why FROM offers o CROSS JOIN entries e ON e.id = o.id {JOINS}
         WHERE e.state = 0 AND {condition} ORDER BY e.received_at_ms DESC, e.id DESC LIMIT {OFFERS_MAX}"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if proofs.proves(EntryId(row.get(0)?))? {
            found.push(offer_row(row)?);
        }
    }
    found.reverse();
    Ok(found)
}

fn offer_row(row: &Row<'_>) -> Result<OfferRow, Fault> {
    let state: i64 = row.get("offer_state")?;
    let state = OfferState::of_code(state)
        .ok_or_else(|| Fault::Damaged(format!("an offer in state {state}")))?;
    let record = OfferRecord {
        state,
        place: row.get("offer_place")?,
        why: row.get("offer_why")?,
    };
    let HistoryRow {
        name,
        seq,
        entry,
        received_at_ms,
        ..
    } = history::history_row(row)?;
    let Body::Offer(offer) = entry.body else {
        return Err(Fault::Damaged(format!(
            "entry {seq} of log {log:016x} is listed as an offer and is none",
            log = name.log.0
        )));
    };
    let offer = StoredOffer {
        id: OfferId { name, seq },
        offer,
        received_at_ms,
    };
    Ok(OfferRow { offer, record })
}

/// Of these contents, those that no offer on disk names.
pub(super) fn not_offered(
    conn: &Connection,
    mut contents: BTreeSet<ContentHash>,
) -> Result<BTreeSet<ContentHash>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT e.bytes FROM offers o CROSS JOIN entries e ON e.id = o.id WHERE e.state = 0",
    )?;
    let mut rows = query.query([])?;
    while !contents.is_empty()
        && let Some(row) = rows.next()?
    {
        let entry = columns::entry(columns::bytes(row, 0)?)?;
        if let Body::Offer(offer) = entry.body {
            contents.remove(&offer.hash);
        }
    }
    Ok(contents)
}

/// Adds a row for an offer that was just stored.
pub(super) fn note(conn: &Connection, id: EntryId) -> Result<(), Fault> {
    conn.prepare_cached("INSERT OR IGNORE INTO offers (id, state) VALUES (?1, 0)")?
        .execute([id.0])?;
    Ok(())
}

/// Adds rows for all stored offers, for a database of a version that did not know offers.
pub(super) fn note_all(conn: &Connection) -> Result<(), Fault> {
    let mut query = conn.prepare("SELECT id, bytes FROM entries")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        // A damaged entry is reported when it is read.
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

/// Deletes the rows between two entries of a log.
pub(super) fn trim(conn: &Connection, first: EntryId, last: EntryId) -> Result<(), Fault> {
    conn.prepare_cached("DELETE FROM offers WHERE id BETWEEN ?1 AND ?2")?
        .execute([first.0, last.0])?;
    Ok(())
}
