//! Rows of the table `entries`, written several at once.
//!
//! SQLite opens the table and each of its indexes for every statement, and seeks the place of the
//! first row in each. In a statement of several rows, the others are appended where the first one
//! went.

use std::sync::LazyLock;

use rusqlite::{CachedStatement, Connection};

use super::columns::{BodyState, EntryId};
use super::error::Fault;

/// Rows of one statement.
const ROWS: usize = 16;

const COLUMNS: usize = 10;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| insert_statement(1));
static INSERT_ROWS: LazyLock<String> = LazyLock::new(|| insert_statement(ROWS));

/// A row of `entries`.
pub(super) struct EntryRow<'a> {
    pub(super) id: EntryId,
    /// The ordinal of the conversation.
    pub(super) conversation: i64,
    pub(super) lamport: i64,
    pub(super) received_at_ms: i64,
    /// The chain's hash and the author's signature, at the end of a batch.
    pub(super) seal: Option<(&'a [u8; 32], &'a [u8; 64])>,
    pub(super) bytes: &'a [u8],
    pub(super) arrival: i64,
    pub(super) state: BodyState,
    /// The kind of an entry about another one, or 0.
    pub(super) about: i64,
}

/// Inserts rows, in order.
pub(super) fn insert(conn: &Connection, rows: &[EntryRow<'_>]) -> Result<(), Fault> {
    let (groups, rest) = rows.as_chunks::<ROWS>();
    if !groups.is_empty() {
        let mut insert = conn.prepare_cached(&INSERT_ROWS)?;
        for group in groups {
            execute(&mut insert, group)?;
        }
    }
    if !rest.is_empty() {
        let mut insert = conn.prepare_cached(&INSERT_ONE)?;
        for row in rest {
            execute(&mut insert, std::slice::from_ref(row))?;
        }
    }
    Ok(())
}

fn execute(insert: &mut CachedStatement<'_>, rows: &[EntryRow<'_>]) -> Result<(), Fault> {
    for (at, row) in rows.iter().enumerate() {
        let first = at * COLUMNS;
        insert.raw_bind_parameter(first + 1, row.id.0)?;
        insert.raw_bind_parameter(first + 2, row.conversation)?;
        insert.raw_bind_parameter(first + 3, row.lamport)?;
        insert.raw_bind_parameter(first + 4, row.received_at_ms)?;
        insert.raw_bind_parameter(first + 5, row.seal.map(|(hash, _)| &hash[..]))?;
        insert.raw_bind_parameter(first + 6, row.seal.map(|(_, signature)| &signature[..]))?;
        insert.raw_bind_parameter(first + 7, row.bytes)?;
        insert.raw_bind_parameter(first + 8, row.arrival)?;
        insert.raw_bind_parameter(first + 9, row.state.code())?;
        insert.raw_bind_parameter(first + 10, row.about)?;
    }
    insert.raw_execute()?;
    Ok(())
}

fn insert_statement(rows: usize) -> String {
    let row = format!("({})", ["?"; COLUMNS].join(", "));
    let columns =
        "id, conversation, lamport, received_at_ms, hash, signature, bytes, arrival, state, about";
    let values = vec![row; rows].join(", ");
    format!("INSERT INTO entries ({columns}) VALUES {values}")
}
