//! Finds the ordinal of a log, and hashes in its chain. The writer and the readers use it.

use hobnob_protocol::entry::hash_after;
use hobnob_protocol::{BodyKey, EntryHash, LogName, Seq};
use rusqlite::{Connection, OptionalExtension, Rows, params};

use super::columns::{self, EntryId, number};
use super::error::Fault;

/// The ordinal of a log, if the store has one.
pub(super) fn log_ordinal(conn: &Connection, name: &LogName) -> Result<Option<i64>, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT logs.ordinal FROM logs JOIN conversations ON conversations.ordinal = logs.conversation
         WHERE logs.log = ?1 AND logs.author = ?2 AND conversations.id = ?3",
    )?;
    let of_name = params![
        name.log.0.cast_signed(),
        name.author.as_bytes(),
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
