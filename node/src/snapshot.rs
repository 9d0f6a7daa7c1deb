//! Snapshots: a consistent copy of a node's home, made while the node runs, and the way back.
//!
//! A snapshot is a folder with the key, the database and the content index, as in a home. Not here:
//! packing and encrypting it, which is up to the program that asked for it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hobnob_protocol::PersonId;
use hobnob_transport::key_file::{self, KeyFileError};
use hobnob_vfs::Disk;

use crate::Node;
use crate::data_key::{DataKey, disk_of};
use crate::engine::Command;
use crate::error::NodeError;
use crate::locked_home::{self, LockError, SLOT_FILE, UnlockSource, read_key_file};
use crate::store::{DATABASE, StoreError, snapshot};
use crate::transfers::CONTENT_FOLDER;

/// The files that SQLite and the store keep beside a database.
const BESIDE_DATABASE: [&str; 4] = ["-wal", "-shm", ".suspect", ".damaged"];

/// Why a snapshot could not be made or restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file or folder cannot be used.
    #[error("can't use {}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The snapshot has no key.
    #[error("{} has no key", .0.display())]
    NoKey(PathBuf),
    /// A key is damaged.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The home belongs to somebody else.
    #[error(
        "the home belongs to another identity ({home}), and the copy to {snapshot}: restore it into another folder"
    )]
    OtherIdentity {
        /// The identity of the home.
        home: PersonId,
        /// The identity of the snapshot.
        snapshot: PersonId,
    },
    /// The snapshot is locked and cannot be opened.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// A database cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node could not copy its database.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// The result of [`restore_snapshot`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The identity of the home.
    pub peer: PersonId,
    /// What became of the deletions in the home that was replaced.
    pub deletions: Deletions,
}

/// The deletions of a home that a snapshot has replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletions {
    /// There was no home.
    None,
    /// This number of messages were deleted in the home. They are deleted in the restored home,
    /// too.
    Repeated(u64),
    /// The database of the home could not be read, for this reason. Messages that were deleted
    /// since the snapshot are there again.
    Unknown(String),
}

impl Node {
    /// Copies this node's key, messages, settings and content index into a new folder that only its
    /// owner can read. The copy has everything that the node had stored at one moment, and nothing
    /// of later. The node continues meanwhile.
    ///
    /// The folder can be used as a home, but two nodes must never run with one key: a snapshot is a
    /// backup. **It is not encrypted**, unless the home is locked: then it opens as the home does,
    /// with the same passphrase or the same key of a keyring.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path().join("home")).loopback().start().await?;
    /// let (copy, home) = (dir.path().join("copy"), dir.path().join("home"));
    /// node.snapshot(copy.clone()).await?;
    /// node.shutdown().await;
    ///
    /// // The disk is lost, and replaced.
    /// std::fs::remove_dir_all(&home)?;
    /// std::fs::create_dir(&home)?;
    /// let restored = hobnob::restore_snapshot(&copy, &home, None)?;
    /// assert_eq!(restored.peer, node.id());
    /// # Ok(()) }
    /// ```
    pub async fn snapshot(&self, folder: PathBuf) -> Result<(), SnapshotError> {
        make_folder(&folder)?;
        let copied = self.copy_into(&folder).await;
        if copied.is_err() {
            // What is there is of no use, and not encrypted.
            let _ = fs::remove_dir_all(&folder);
        }
        copied
    }

    async fn copy_into(&self, folder: &Path) -> Result<(), SnapshotError> {
        let (from, into) = (
            self.data_dir.join(key_file::FILE),
            folder.join(key_file::FILE),
        );
        blocking(move || copy_file(&from, &into)).await?;
        if locked_home::is_locked(&self.data_dir) {
            let (from, into) = (self.data_dir.join(SLOT_FILE), folder.join(SLOT_FILE));
            blocking(move || copy_file(&from, &into)).await?;
        }
        let database = folder.join(DATABASE);
        self.ask(|reply| Command::CopyDatabase(database, reply))
            .await??;
        // After the database, so that no offer in it lacks its content.
        let (from, into) = (
            self.data_dir.join(CONTENT_FOLDER),
            folder.join(CONTENT_FOLDER),
        );
        blocking(move || copy_folder(&from, &into)).await
    }
}

/// Makes a home from a snapshot. Moves the files of the snapshot. The caller holds the home's lock.
/// The home may have an older or newer state of the same identity, which is replaced: what was
/// deleted there stays deleted. The snapshot of a locked home becomes a locked home, and `source`
/// opens it as it opened that home. Blocks.
///
/// # Errors
///
/// The home is unchanged, unless the system could not move a file.
pub fn restore_snapshot(
    snapshot: &Path,
    home: &Path,
    source: Option<&UnlockSource>,
) -> Result<Restored, SnapshotError> {
    locked_home::finish(home)?;
    let data_key = locked_home::open(snapshot, source)?;
    let peer = identity_of(snapshot, data_key.as_ref())?
        .ok_or_else(|| SnapshotError::NoKey(snapshot.to_owned()))?;
    let (copy, database) = (snapshot.join(DATABASE), home.join(DATABASE));
    if !copy.exists() {
        let error = io::ErrorKind::NotFound.into();
        return Err(SnapshotError::Io { path: copy, error });
    }
    let disk = disk_of(data_key.as_ref());
    snapshot::check_on(&disk, &copy)?;
    let was_locked = locked_home::is_locked(home);
    // The same data key opens both, unless the home was locked again since the snapshot.
    let home_key = data_key.as_ref().filter(|_| was_locked);
    let existing = match identity_of(home, home_key) {
        Err(_) if was_locked => None,
        existing => existing?,
    };
    if let Some(existing) = existing
        && existing != peer
    {
        return Err(SnapshotError::OtherIdentity {
            home: existing,
            snapshot: peer,
        });
    }
    let deletions = if database.exists() {
        repeat_deletions((&disk, &copy), (&disk_of(home_key), &database))
    } else {
        Deletions::None
    };
    // The key first: without it, a start would make another identity. The old write-ahead log must
    // be gone before the new database is there, or SQLite would apply it to that.
    move_file(&snapshot.join(key_file::FILE), &home.join(key_file::FILE))?;
    if data_key.is_some() {
        move_file(&snapshot.join(SLOT_FILE), &home.join(SLOT_FILE))?;
    } else {
        remove_file(&home.join(SLOT_FILE))?;
    }
    for suffix in BESIDE_DATABASE {
        let mut path = database.clone().into_os_string();
        path.push(suffix);
        remove_file(Path::new(&path))?;
    }
    move_file(&copy, &database)?;
    let content = home.join(CONTENT_FOLDER);
    match fs::remove_dir_all(&content) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(SnapshotError::Io {
                path: content,
                error,
            });
        }
        Ok(()) | Err(_) => {}
    }
    if snapshot.join(CONTENT_FOLDER).exists() {
        move_file(&snapshot.join(CONTENT_FOLDER), &content)?;
    }
    sync_folder(home)?;
    Ok(Restored { peer, deletions })
}

/// The identity of a home, if it has one.
fn identity_of(home: &Path, data_key: Option<&DataKey>) -> Result<Option<PersonId>, SnapshotError> {
    let Some(text) = read_key_file(home, data_key)? else {
        return Ok(None);
    };
    let key = key_file::parse(&text).map_err(|damage| KeyFileError::Damaged {
        path: home.join(key_file::FILE),
        damage,
    })?;
    Ok(Some(key.id().person()))
}

/// People restore because their database is damaged. So a database that can't be read is no error.
fn repeat_deletions(copy: (&Disk, &Path), database: (&Disk, &Path)) -> Deletions {
    match snapshot::erase_as_in(copy, database) {
        Ok(count) => Deletions::Repeated(count),
        Err(error) => Deletions::Unknown(error.to_string()),
    }
}

async fn blocking(
    work: impl FnOnce() -> Result<(), SnapshotError> + Send + 'static,
) -> Result<(), SnapshotError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| NodeError::Stopped)?
}

fn make_folder(path: &Path) -> Result<(), SnapshotError> {
    DirBuilder::new().mode(0o700).create(path).map_err(at(path))
}

fn copy_folder(from: &Path, into: &Path) -> Result<(), SnapshotError> {
    make_folder(into)?;
    for file in fs::read_dir(from).map_err(at(from))? {
        let file = file.map_err(at(from))?;
        match copy_file(&file.path(), &into.join(file.file_name())) {
            // It was removed meanwhile, with its offer, or renamed when it was complete.
            Err(SnapshotError::Io { path, error })
                if error.kind() == io::ErrorKind::NotFound && path == file.path() => {}
            copied => copied?,
        }
    }
    Ok(())
}

fn copy_file(from: &Path, into: &Path) -> Result<(), SnapshotError> {
    let mut source = File::open(from).map_err(at(from))?;
    let mut copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(into)
        .map_err(at(into))?;
    io::copy(&mut source, &mut copy).map_err(at(into))?;
    Ok(())
}

fn move_file(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    if from.is_file() {
        let synced = File::open(from).and_then(|file| file.sync_all());
        synced.map_err(at(from))?;
    }
    fs::rename(from, to).map_err(at(to))
}

fn remove_file(path: &Path) -> Result<(), SnapshotError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_folder(path: &Path) -> Result<(), SnapshotError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SnapshotError + '_ {
    |error| SnapshotError::Io {
        path: path.to_owned(),
        error,
    }
}
