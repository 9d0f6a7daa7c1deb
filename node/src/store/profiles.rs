//! What belongs to profiles besides the records: profile pictures, and the names that peers had
//! before.

use hobnob_core::past_names::{NameChange, PastName};
use hobnob_protocol::{ContentHash, Nickname, PersonId, picture};
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::{self, number};
use super::error::Fault;

pub(super) fn put_picture(conn: &Connection, hash: ContentHash, bytes: &[u8]) -> Result<(), Fault> {
    conn.prepare_cached("INSERT OR REPLACE INTO pictures (hash, bytes) VALUES (?1, ?2)")?
        .execute(params![hash.0, bytes])?;
    Ok(())
}

pub(super) fn remove_picture(conn: &Connection, hash: ContentHash) -> Result<(), Fault> {
    conn.prepare_cached("DELETE FROM pictures WHERE hash = ?1")?
        .execute([hash.0])?;
    Ok(())
}

/// The bytes of a picture. None if it is not here, or damaged.
pub(super) fn picture(conn: &Connection, hash: ContentHash) -> Result<Option<Vec<u8>>, Fault> {
    let bytes: Option<Vec<u8>> = conn
        .prepare_cached("SELECT bytes FROM pictures WHERE hash = ?1")?
        .query_row([hash.0], |row| row.get(0))
        .optional()?;
    Ok(bytes.filter(|bytes| picture::check(bytes).is_ok_and(|(_, found)| found == hash)))
}

pub(super) fn pictures(conn: &Connection) -> Result<Vec<ContentHash>, Fault> {
    let mut select = conn.prepare("SELECT hash FROM pictures")?;
    let mut rows = select.query([])?;
    let mut hashes = Vec::new();
    while let Some(row) = rows.next()? {
        hashes.push(ContentHash(columns::blob(row, 0)?));
    }
    Ok(hashes)
}

pub(super) fn rename(conn: &Connection, change: &NameChange) -> Result<(), Fault> {
    let PastName {
        peer,
        until_ms,
        nick,
    } = &change.added;
    conn.prepare_cached(
        "INSERT OR REPLACE INTO past_names (peer, until_ms, nick) VALUES (?1, ?2, ?3)",
    )?
    .execute(params![peer.as_bytes(), number(*until_ms), nick.as_str()])?;
    for (peer, until_ms) in &change.removed {
        conn.prepare_cached("DELETE FROM past_names WHERE peer = ?1 AND until_ms = ?2")?
            .execute(params![peer.as_bytes(), number(*until_ms)])?;
    }
    Ok(())
}

pub(super) fn forget_names(conn: &Connection, peer: PersonId) -> Result<(), Fault> {
    conn.prepare_cached("DELETE FROM past_names WHERE peer = ?1")?
        .execute([peer.as_bytes()])?;
    Ok(())
}

/// The names that peers had. One that no peer could have is left out.
pub(super) fn past_names(conn: &Connection) -> Result<Vec<PastName>, Fault> {
    let mut select = conn.prepare("SELECT peer, until_ms, nick FROM past_names")?;
    let mut rows = select.query([])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        let nick: String = row.get(2)?;
        if let Ok(nick) = Nickname::new(&nick) {
            names.push(PastName {
                peer: columns::peer(row, 0)?,
                until_ms: columns::count(row, 1)?,
                nick,
            });
        }
    }
    Ok(names)
}
