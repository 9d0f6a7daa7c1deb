//! SQLite with the settings of hobnob's store, with one table and one row per commit.

use std::path::Path;

use rusqlite::Connection;

/// A database on disk.
pub(crate) struct Table(Connection);

impl Table {
    pub(crate) fn new(file: &Path) -> anyhow::Result<Self> {
        let conn = Connection::open(file)?;
        let mode: String =
            conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        anyhow::ensure!(mode == "wal", "no write-ahead log, only {mode}");
        conn.pragma_update(None, "synchronous", "full")?;
        conn.pragma_update(None, "cache_size", -16 * 1024)?;
        conn.pragma_update(None, "wal_autocheckpoint", 4096)?;
        conn.execute_batch("CREATE TABLE entries (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")?;
        // Fills the log, as in a store that has been in use, so that no commit waits for the file
        // system to extend it.
        conn.execute(
            "INSERT INTO entries (bytes) VALUES (zeroblob(?1))",
            [20 * 1024 * 1024],
        )?;
        Ok(Self(conn))
    }

    /// Commits one row. It is on disk when this returns.
    pub(crate) fn commit(&self, bytes: &[u8]) -> anyhow::Result<()> {
        self.0
            .prepare_cached("INSERT INTO entries (bytes) VALUES (?1)")?
            .execute([bytes])?;
        Ok(())
    }
}
