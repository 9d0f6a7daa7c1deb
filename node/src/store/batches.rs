//! Builds batches for sync from the tables. Each is as large as a frame allows, and ends at a
//! signature of its author.

use hobnob_protocol::batch::BATCH_ENTRIES_BYTES_MAX;
use hobnob_protocol::entry::hash_after;
use hobnob_protocol::{Batch, BodyKey, EntryHash, LogName, Seq, Signature};
use rusqlite::{Connection, Row, params};

use super::chain;
use super::columns::{self, EntryId, number};
use super::error::Fault;

/// Reads batches that cover `from..=to`, up to the first gap, and up to about `max_bytes`.
///
/// The last batch continues beyond `to` if the author's next signature is there. `conn` must be
/// inside a transaction.
pub(super) fn read(
    conn: &Connection,
    name: LogName,
    from: Seq,
    to: Seq,
    max_bytes: usize,
) -> Result<Vec<Batch>, Fault> {
    let Some(log) = chain::log_ordinal(conn, &name)? else {
        return Ok(Vec::new());
    };
    let Some(end) = end_of_stretch(conn, log, from)? else {
        return Ok(Vec::new());
    };
    let prev = chain::hash_at(conn, &name, log, from - 1)?;
    let mut packer = Packer::new(name, from, prev, max_bytes);
    let mut query =
        conn.prepare_cached("SELECT id, lamport, bytes, hash, signature, about FROM entries WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
    let mut rows = query.query([EntryId::new(log, from)?.0, EntryId::new(log, end)?.0])?;
    while packer.next <= end && packer.cut.as_ref().is_none_or(|cut| cut.last < to) {
        let Some(row) = rows.next()? else {
            return Err(chain::missing(packer.next));
        };
        let full = !packer.take(row)?;
        if full {
            return Ok(packer.batches);
        }
    }
    packer.pack()?;
    Ok(packer.batches)
}

/// The last entry before the first gap after `from`. `None` if `from` itself is not held.
fn end_of_stretch(conn: &Connection, log: i64, from: Seq) -> Result<Option<Seq>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT first, last FROM held WHERE log = ?1
         AND first >= (SELECT coalesce(max(first), 0) FROM runs WHERE log = ?1 AND first <= ?2) ORDER BY first",
    )?;
    let mut rows = query.query(params![log, number(from)])?;
    let mut next = from;
    while let Some(row) = rows.next()? {
        if columns::count(row, 0)? > next {
            break;
        }
        next = next.max(columns::count(row, 1)? + 1);
    }
    Ok(if next > from && from > 0 {
        Some(next - 1)
    } else {
        None
    })
}

/// Packs entries into batches. Receives the entries in order.
struct Packer {
    name: LogName,
    key: BodyKey,
    /// The number and hash before the current batch.
    first: Seq,
    prev: EntryHash,
    /// The entries of the current batch, before and after its last signature.
    bytes: Vec<u8>,
    /// The last signature in the current batch.
    cut: Option<Cut>,
    /// Whether the last entry must be alone in its batch.
    is_complete: bool,
    /// The number of the next entry, and the hash and Lamport number before it.
    next: Seq,
    hash: EntryHash,
    lamport: u64,
    /// Bytes left for further batches.
    room: usize,
    batches: Vec<Batch>,
}

/// A signature of the author.
struct Cut {
    last: Seq,
    len: usize,
    hash: EntryHash,
    signature: Signature,
}

impl Packer {
    fn new(name: LogName, first: Seq, prev: EntryHash, room: usize) -> Self {
        let (bytes, batches) = (Vec::new(), Vec::new());
        Self {
            name,
            key: BodyKey::of(&name),
            first,
            prev,
            bytes,
            cut: None,
            is_complete: false,
            next: first,
            hash: prev,
            lamport: 0,
            room,
            batches,
        }
    }

    /// Adds the next entry. Returns false, without adding it, if there is no more room.
    fn take(&mut self, row: &Row<'_>) -> Result<bool, Fault> {
        if EntryId(row.get(0)?).seq() != self.next {
            return Err(chain::missing(self.next));
        }
        let lamport = columns::count(row, 1)?;
        let entry = row
            .get_ref(2)?
            .as_blob()
            .map_err(|error| Fault::Damaged(error.to_string()))?;
        let grown = self.bytes.len() + entry.len();
        // Lamport numbers must grow within a batch. Two batches of an author who breaks this rule
        // can't be merged. An entry about another one is alone in its batch, because the receiver
        // gives it the audience of the other one, and all other entries that of their arrival.
        let is_about_another = row.get::<_, i64>(5)? != 0;
        let ends = grown > BATCH_ENTRIES_BYTES_MAX.min(self.room)
            || lamport <= self.lamport
            || is_about_another
            || self.is_complete;
        if ends && self.cut.is_some() {
            self.pack()?;
        }
        if !self.batches.is_empty() && self.bytes.len() + entry.len() > self.room {
            return Ok(false);
        }
        let hash = hash_after(&self.hash, &self.key, self.next, entry);
        self.hash = hash.map_err(columns::damaged_entry)?;
        self.bytes.extend_from_slice(entry);
        self.lamport = lamport;
        self.is_complete = is_about_another;
        self.note_seal(row)?;
        self.next += 1;
        Ok(true)
    }

    fn note_seal(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        if row.get_ref(3)? == rusqlite::types::ValueRef::Null {
            return Ok(());
        }
        if columns::hash(row, 3)? != self.hash {
            return Err(Fault::Damaged(format!(
                "the entries up to {} are not those that were stored",
                self.next
            )));
        }
        if let Some(signature) = columns::signature(row, 4)? {
            self.cut = Some(Cut {
                last: self.next,
                len: self.bytes.len(),
                hash: self.hash,
                signature,
            });
        }
        Ok(())
    }

    /// Packs everything up to the last signature.
    fn pack(&mut self) -> Result<(), Fault> {
        let Some(Cut {
            last,
            len,
            hash,
            signature,
        }) = self.cut.take()
        else {
            return Err(Fault::Damaged(format!(
                "no signature from entry {} on",
                self.first
            )));
        };
        let rest = self.bytes.split_off(len);
        let entries = std::mem::replace(&mut self.bytes, rest).into();
        self.batches.push(Batch {
            name: self.name,
            first: self.first,
            prev: self.prev,
            entries,
            signature,
        });
        (self.first, self.prev) = (last + 1, hash);
        self.room = self.room.saturating_sub(len);
        Ok(())
    }
}
