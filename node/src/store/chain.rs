//! Finds the ordinal of a log, and hashes in its chain. The writer and the readers use it.

use hobnob_protocol::entry::hash_after;
use hobnob_protocol::{BodyKey, EntryHash, LogName, Ranges, Seq};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Rows, params};

use super::columns::{self, EntryId, SEQ_MAX, number};
use super::error::Fault;

/// The ordinal of a log, if the store has one.
pub(super) fn log_ordinal(conn: &Connection, name: &LogName) -> Result<Option<i64>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT logs.ordinal FROM logs JOIN conversations ON conversations.ordinal = logs.conversation
         WHERE logs.log = ?1 AND logs.author = ?2 AND logs.device = ?3 AND conversations.id = ?4",
    )?;
    let of_name = params![
        name.log.0.cast_signed(),
        name.author.as_bytes(),
        name.device.as_bytes(),
        name.conversation.as_bytes()
    ];
    Ok(query.query_row(of_name, |row| row.get(0)).optional()?)
}

/// The stored hash of an entry. Only some entries have one.
pub(super) fn seal_at(conn: &Connection, log: i64, seq: Seq) -> Result<Option<EntryHash>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT hash FROM entries WHERE id = ?1 AND hash IS NOT NULL UNION ALL SELECT hash FROM bases WHERE log = ?2 AND seq = ?3",
    )?;
    let mut rows = query.query(params![EntryId::new(log, seq)?.0, log, number(seq)])?;
    rows.next()?.map(|row| columns::hash(row, 0)).transpose()
}

/// The hash of the entry `seq`, computed from the nearest stored hash before it. The entry must be
/// held, or the one after it.
pub(super) fn hash_at(
    conn: &Connection,
    name: &LogName,
    log: i64,
    seq: Seq,
) -> Result<EntryHash, Fault> {
    let (at, mut hash) = seal_at_or_below(conn, log, seq)?.unwrap_or((0, name.genesis()));
    let mut query = conn
        .prepare_cached("SELECT id, bytes FROM entries WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
    let mut rows = query.query(params![
        EntryId::new(log, at + 1)?.0,
        EntryId::new(log, seq)?.0
    ])?;
    let key = BodyKey::of(name);
    for expected in at + 1..=seq {
        hash = next_hash(&mut rows, &key, expected, &hash)?;
    }
    Ok(hash)
}

/// Compares the batches from the one of the entry `from` to the one of the held entry `seq` with the
/// hash that is stored with the end of each. Adds those that fit to `proved`. Stops at a gap.
pub(super) fn prove(
    conn: &Connection,
    name: &LogName,
    log: i64,
    (from, seq): (Seq, Seq),
    proved: &mut Ranges,
) -> Result<(), Fault> {
    let before = from.saturating_sub(1);
    let (at, hash) = seal_at_or_below(conn, log, before)?.unwrap_or((0, name.genesis()));
    let mut query = conn.prepare_cached(
        "SELECT id, bytes, hash FROM entries WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
    )?;
    let (first, last) = (EntryId::new(log, at + 1)?, EntryId::new(log, SEQ_MAX)?);
    let mut rows = query.query([first.0, last.0])?;
    let key = BodyKey::of(name);
    let mut hash = Some(hash);
    let (mut first, mut next) = (at + 1, at + 1);
    while let Some(row) = rows.next()?
        && EntryId(row.get(0)?).seq() == next
    {
        let bytes = row.get_ref(1)?.as_blob().ok();
        // An entry that can't be read has no hash, and neither have the rest of its batch.
        hash = hash
            .zip(bytes)
            .and_then(|(before, bytes)| hash_after(&before, &key, next, bytes).ok());
        if row.get_ref(2)? != ValueRef::Null {
            let stored = columns::hash(row, 2)?;
            if hash == Some(stored) {
                proved.insert(first, next);
            }
            if next >= seq {
                break;
            }
            // After a damaged batch, its stored end may still be right: then the next one fits.
            hash = Some(stored);
            first = next + 1;
        }
        next += 1;
    }
    Ok(())
}

/// The hashes of the entries `first..=last`, which are held.
pub(super) fn hashes(
    conn: &Connection,
    name: &LogName,
    log: i64,
    (first, last): (Seq, Seq),
) -> Result<Vec<(Seq, EntryHash)>, Fault> {
    let mut hash = hash_at(conn, name, log, first - 1)?;
    let mut hashes = Vec::new();
    let mut query = conn
        .prepare_cached("SELECT id, bytes FROM entries WHERE id BETWEEN ?1 AND ?2 ORDER BY id")?;
    let mut rows = query.query([EntryId::new(log, first)?.0, EntryId::new(log, last)?.0])?;
    let key = BodyKey::of(name);
    for expected in first..=last {
        hash = next_hash(&mut rows, &key, expected, &hash)?;
        hashes.push((expected, hash));
    }
    Ok(hashes)
}

/// The hash of the entry in the next row, which is the expected one.
fn next_hash(
    rows: &mut Rows<'_>,
    key: &BodyKey,
    expected: Seq,
    before: &EntryHash,
) -> Result<EntryHash, Fault> {
    let row = rows
        .next()?
        .filter(|row| row.get(0).is_ok_and(|id| EntryId(id).seq() == expected));
    let Some(row) = row else {
        return Err(missing(expected));
    };
    let bytes = columns::bytes(row, 1)?;
    hash_after(before, key, expected, bytes).map_err(columns::damaged_entry)
}

fn seal_at_or_below(
    conn: &Connection,
    log: i64,
    seq: Seq,
) -> Result<Option<(Seq, EntryHash)>, Fault> {
    // The end of each stored batch has a hash, so at most one batch is read here.
    let mut query = conn.prepare_cached(
        "SELECT id, hash FROM entries WHERE id BETWEEN ?1 AND ?2 AND hash IS NOT NULL ORDER BY id DESC LIMIT 1",
    )?;
    let mut rows = query.query([EntryId::new(log, 0)?.0, EntryId::new(log, seq)?.0])?;
    let sealed = rows
        .next()?
        .map(|row| Ok::<_, Fault>((EntryId(row.get(0)?).seq(), columns::hash(row, 1)?)))
        .transpose()?;
    let mut query = conn.prepare_cached(
        "SELECT seq, hash FROM bases WHERE log = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1",
    )?;
    let mut rows = query.query(params![log, number(seq)])?;
    let base = rows
        .next()?
        .map(|row| Ok::<_, Fault>((columns::count(row, 0)?, columns::hash(row, 1)?)))
        .transpose()?;
    Ok(sealed.into_iter().chain(base).max_by_key(|(seq, _)| *seq))
}

/// The error for a held entry without a row.
pub(super) fn missing(seq: Seq) -> Fault {
    Fault::Damaged(format!("entry {seq} of a log is missing"))
}
