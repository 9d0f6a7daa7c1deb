//! Mailboxes on disk: this node's keys, the mailboxes of contacts, and what is held for whom. The
//! values are opaque here.

use rusqlite::{Connection, params};

use super::error::Fault;

/// The kind of a row. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum MailKind {
    /// The secret from which tokens are made.
    Secret = 0,
    /// A private key. In no backup.
    Key = 1,
    /// The mailbox of a contact.
    Contact = 2,
    /// Own entries that are held for a peer.
    Held = 3,
    /// A peer that must get receipts.
    Owed = 4,
    /// Own offers to a peer whose small contents no holder has yet.
    Contents = 5,
    /// A contact that is a member of a room with a key.
    Member = 6,
}

/// A row about mailboxes. Without a value, the row is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRow {
    /// The kind.
    pub kind: MailKind,
    /// The name of the row within its kind.
    pub name: Vec<u8>,
    /// The value.
    pub value: Option<Vec<u8>>,
}

impl MailRow {
    /// Whether the row may be written a moment later, with whatever is written next. If a crash loses
    /// what is held, it is deposited once more, and its recipient shows it once.
    pub(super) fn can_wait(&self) -> bool {
        self.kind == MailKind::Held
    }
}

pub(super) fn put(conn: &Connection, row: &MailRow) -> Result<(), Fault> {
    let kind = row.kind as u8;
    match &row.value {
        Some(value) => conn
            .prepare_cached("INSERT OR REPLACE INTO mail VALUES (?1, ?2, ?3)")?
            .execute(params![kind, row.name, value])?,
        None => conn
            .prepare_cached("DELETE FROM mail WHERE kind = ?1 AND name = ?2")?
            .execute(params![kind, row.name])?,
    };
    Ok(())
}

pub(super) fn load(conn: &Connection) -> Result<Vec<MailRow>, Fault> {
    let mut select = conn.prepare("SELECT kind, name, value FROM mail ORDER BY kind, name")?;
    let rows = select.query_map([], |row| {
        let kind: u8 = row.get(0)?;
        Ok((kind, row.get(1)?, row.get(2)?))
    })?;
    let mut loaded = Vec::new();
    for row in rows {
        let (kind, name, value) = row?;
        let kinds = [
            MailKind::Secret,
            MailKind::Key,
            MailKind::Contact,
            MailKind::Held,
            MailKind::Owed,
            MailKind::Contents,
            MailKind::Member,
        ];
        // A later version may have added kinds.
        if let Some(kind) = kinds.into_iter().find(|known| *known as u8 == kind) {
            loaded.push(MailRow { kind, name, value });
        }
    }
    Ok(loaded)
}
