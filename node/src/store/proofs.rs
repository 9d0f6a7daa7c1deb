//! Compares entries that were read with the stored hashes of their chain, before anybody sees them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use hobnob_protocol::{LogName, Ranges, Seq};
use rusqlite::Connection;

use super::chain;
use super::columns::{self, EntryId};
use super::error::Fault;

/// Entries beside the one in question that are compared, too: those before it, or those after it if
/// the one before is compared already. A page of history is read backwards, and messages for a program
/// forwards. This saves a query for each of them.
const BESIDE: Seq = 32;

/// The results of one read transaction. Each batch is compared once.
pub(super) struct Proofs<'a> {
    conn: &'a Connection,
    logs: BTreeMap<i64, Proved>,
    found_damage: bool,
}

struct Proved {
    /// `None` if the log has lost its row.
    name: Option<LogName>,
    ranges: Ranges,
}

impl<'a> Proofs<'a> {
    pub(super) fn new(conn: &'a Connection) -> Self {
        let (logs, found_damage) = (BTreeMap::new(), false);
        Self {
            conn,
            logs,
            found_damage,
        }
    }

    /// The connection, inside the transaction.
    pub(super) fn conn(&self) -> &'a Connection {
        self.conn
    }

    /// A page could not be read.
    pub(super) fn note_damage(&mut self) {
        self.found_damage = true;
    }

    /// Whether an entry was not proved, or damage was noted.
    pub(super) fn found_damage(&self) -> bool {
        self.found_damage
    }

    /// Whether a held entry is the one that was stored: the hash at the end of its batch proves it.
    pub(super) fn proves(&mut self, id: EntryId) -> Result<bool, Fault> {
        let proved = match self.prove(id) {
            Err(fault) if fault.is_damage() => false,
            result => result?,
        };
        self.found_damage |= !proved;
        Ok(proved)
    }

    fn prove(&mut self, id: EntryId) -> Result<bool, Fault> {
        let (log, seq) = (id.log(), id.seq());
        let conn = self.conn;
        let known = match self.logs.entry(log) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let (name, ranges) = (log_name(conn, log)?, Ranges::new());
                new.insert(Proved { name, ranges })
            }
        };
        let Some(name) = known.name else {
            return Ok(false);
        };
        if known.ranges.contains(seq) {
            return Ok(true);
        }
        let span = match known.ranges.contains(seq.saturating_sub(1)) {
            true => (seq, seq.saturating_add(BESIDE)),
            false => (seq.saturating_sub(BESIDE).max(1), seq),
        };
        match chain::prove(conn, &name, log, span, &mut known.ranges) {
            Err(fault) if !fault.is_damage() => return Err(fault),
            // Damage in other batches does not concern it.
            Ok(()) | Err(_) => {}
        }
        if !known.ranges.contains(seq) {
            chain::prove(conn, &name, log, (seq, seq), &mut known.ranges)?;
        }
        Ok(known.ranges.contains(seq))
    }
}

fn log_name(conn: &Connection, log: i64) -> Result<Option<LogName>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT c.id, l.author, l.device, l.log FROM logs l JOIN conversations c ON c.ordinal = l.conversation WHERE l.ordinal = ?1",
    )?;
    let mut rows = query.query([log])?;
    rows.next()?
        .map(|row| columns::log_name(row, 0))
        .transpose()
}
