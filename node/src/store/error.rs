//! Errors of the database by cause. Their texts suggest what the user can do.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store could not do something.
///
/// ```
/// use hobnob::StoreError;
///
/// let error = StoreError::Newer { file: "hobnob.db".into(), found: 9, known: 3 };
/// assert!(error.to_string().contains("update hobnob"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A newer program wrote the database.
    #[error(
        "{} was written by a newer hobnob: its version is {found}, this program knows versions up to {known}. \
         Nothing was changed: update hobnob, or use another home", file.display()
    )]
    Newer {
        /// The database.
        file: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The file is not a database of hobnob, or it is damaged.
    #[error(
        "{} is damaged ({detail}). Restart hobnob: it drops what is damaged, and peers send it again. If the start fails with this, \
         move it aside, with its -wal and -shm files, and start again: your identity stays, in the key file", file.display()
    )]
    Damaged {
        /// The database.
        file: PathBuf,
        /// The damage.
        detail: String,
    },
    /// The file or its folder is not writable.
    #[error("{} can't be written ({detail}): make the file and its folder yours and writable, or use another home", file.display())]
    ReadOnly {
        /// The database.
        file: PathBuf,
        /// The error of the system.
        detail: String,
    },
    /// The disk is full.
    #[error("no room left for {}: free some space on its disk. Nothing of this was stored; hobnob goes on when there is room", file.display())]
    Full {
        /// The database.
        file: PathBuf,
    },
    /// Another program has locked the database.
    #[error("{} is in use by another program: end it (a second hobnob, a backup, a database browser) and try again", file.display())]
    InUse {
        /// The database.
        file: PathBuf,
    },
    /// A commit does not continue the stored entries. The store rejects all of it.
    #[error(
        "a fault in hobnob itself: a commit does not continue what is stored ({0}). Please report it"
    )]
    Gap(String),
    /// A number beyond what the store can hold.
    #[error("{0} is more than the store can hold")]
    Beyond(&'static str),
    /// The store does not have the entry from which to continue.
    #[error("the message to continue from is not stored here, or no longer")]
    NotHeld,
    /// The store was closed before it could answer.
    #[error("the store is closed: this node is stopping")]
    Closed,
    /// The disk or the system failed.
    #[error("{} could not be read or written ({detail}): check the disk", file.display())]
    Io {
        /// The database.
        file: PathBuf,
        /// The error of SQLite or the system.
        detail: String,
    },
}

impl StoreError {
    /// Whether the commit itself is wrong, and not the database or the disk. Then other commits are
    /// not affected.
    pub(super) fn is_of_one_commit(&self) -> bool {
        matches!(self, StoreError::Gap(_) | StoreError::Beyond(_))
    }

    /// Classifies an error of the file system.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open list; all others mean: it failed"
    )]
    pub(super) fn from_io(error: &io::Error, file: &Path) -> Self {
        let (file, detail) = (file.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                StoreError::ReadOnly { file, detail }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { file },
            _ => StoreError::Io { file, detail },
        }
    }
}

/// A [`StoreError`] before it is known which file it is about.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Damaged(String),
    Newer { found: u32, known: u32 },
    Gap(String),
    Beyond(&'static str),
    NotHeld,
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Sqlite(error)
    }
}

impl Fault {
    /// Whether the database is damaged.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Fault::Damaged(_) => true,
            Fault::Sqlite(error) => is_damage(error),
            Fault::Newer { .. } | Fault::Gap(_) | Fault::Beyond(_) | Fault::NotHeld => false,
        }
    }

    /// Names the file.
    pub(super) fn at(self, file: &Path) -> StoreError {
        let file = file.to_owned();
        match self {
            Fault::Sqlite(error) => of_sqlite(&error, file),
            Fault::Damaged(detail) => StoreError::Damaged { file, detail },
            Fault::Newer { found, known } => StoreError::Newer { file, found, known },
            Fault::Gap(detail) => StoreError::Gap(detail),
            Fault::Beyond(what) => StoreError::Beyond(what),
            Fault::NotHeld => StoreError::NotHeld,
        }
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    // A page of an encrypted database is not what was written.
    if error.sqlite_extended_error_code() == Some(rusqlite::ffi::SQLITE_IOERR_DATA) {
        return true;
    }
    match error.sqlite_error_code() {
        // Commits are checked before they are written. So a violated constraint means that the
        // tables contradict each other.
        Some(code) => matches!(
            code,
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation
        ),
        // Without a result code: the type of a column's value is wrong.
        None => true,
    }
}

fn of_sqlite(error: &rusqlite::Error, file: PathBuf) -> StoreError {
    let detail = error.to_string();
    if is_damage(error) {
        return StoreError::Damaged { file, detail };
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { file },
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            StoreError::ReadOnly { file, detail }
        }
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::FileLockingProtocolFailed,
        ) => StoreError::InUse { file },
        // Some parts of SQLite report a full disk as an I/O error.
        Some(_) if is_full(&file) => StoreError::Full { file },
        Some(_) | None => StoreError::Io { file, detail },
    }
}

/// Bytes below which a disk counts as full. SQLite extends its files by less at a time.
const FULL_BYTES: u64 = 128 * 1024;

/// Whether the disk of a file is full.
fn is_full(file: &Path) -> bool {
    rustix::fs::statvfs(file)
        .is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < FULL_BYTES)
}
