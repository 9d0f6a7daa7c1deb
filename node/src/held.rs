//! The database of the mail that a node holds for others: its file in the home.
//!
//! Not here: what is in it, which is in `hobnob_mailbox`, and for whom the node holds mail, which is in
//! `engine::holding`. No backup has it: the senders still have all messages.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use hobnob_mailbox::{MailboxError, Mailboxes};
use hobnob_vfs::Disk;
use rusqlite::OpenFlags;

/// The name of the database in the home.
pub(crate) const FILE: &str = "held.db";

/// The files that SQLite keeps beside it.
pub(crate) const BESIDE: [&str; 3] = ["held.db-wal", "held.db-shm", "held.db-journal"];

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Opens the database in a home, and creates it if it is missing. Blocks. `wall_ms` reads the wall
/// clock, in milliseconds since the Unix epoch.
pub(crate) fn open(
    home: &Path,
    disk: &Disk,
    bytes_max: u64,
    wall_ms: impl Fn() -> u64 + Send + 'static,
) -> Result<Mailboxes, MailboxError> {
    let file = home.join(FILE);
    create(&file)?;
    let conn = disk.open(&file, FLAGS);
    let conn = conn.map_err(|error| MailboxError::Database(file.clone(), error))?;
    Mailboxes::open(conn, &file, bytes_max, wall_ms)
}

/// Copies the database in a home into a new file, which may be on another disk. Nobody uses it. Blocks.
pub(crate) fn copy(home: &Path, from: &Disk, to: &Disk, into: &Path) -> Result<(), MailboxError> {
    let file = home.join(FILE);
    create(into)?;
    let copy = || {
        let conn = from.open(&file, FLAGS)?;
        conn.execute("VACUUM INTO ?1", [to.name(into)])
    };
    copy()
        .map(drop)
        .map_err(|error| MailboxError::Database(file.clone(), error))
}

/// Creates an empty file that only its owner can read, if it is missing. SQLite accepts it as a
/// database.
fn create(file: &Path) -> Result<(), MailboxError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let created = options.open(file);
    created
        .map(drop)
        .map_err(|error| MailboxError::File(file.to_owned(), error))
}
