//! Locks or unlocks a home, so that a crash at any moment leaves it complete.
//!
//! All files are written again into the folder [`NEW`] in the home, and synced. Renaming the folder
//! to [`READY`] is the one step that decides. Then each file replaces the old one. Each start
//! completes that, or removes an undecided folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use hobnob_transport::key_file;

use super::slot::{self, Slot};
use super::{LockError, at, read_key_file};
use crate::data_key::{DataKey, disk_of};
use crate::held;
use crate::store::{DATABASE, snapshot};
use crate::transfers::{CONTENT_FOLDER, convert_content};

/// The new files of a home, which are not complete.
const NEW: &str = "switch.new";

/// The new files of a home, which are complete.
const READY: &str = "switch.ready";

/// A file in [`READY`] that says that the home is not locked any more.
const UNLOCKED: &str = "unlocked";

/// The files that SQLite and the store keep beside a database.
const BESIDE_DATABASE: [&str; 6] = [
    "messages.db-wal",
    "messages.db-shm",
    "messages.db-journal",
    "messages.db.damaged",
    "messages.db.repair",
    "messages.db.suspect",
];

/// Files of the program in the home that have content, and that a locked home does not keep.
const NOT_IN_LOCKED: [&str; 2] = ["seen.json", "typed.json"];

/// Bytes that are overwritten at once.
const ZEROS: usize = 64 * 1024;

/// Stores the home with another data key, or without one.
pub(super) fn switch(
    home: &Path,
    from: Option<&DataKey>,
    to: Option<(&DataKey, &Slot)>,
) -> Result<(), LockError> {
    let new = home.join(NEW);
    DirBuilder::new()
        .mode(0o700)
        .create(&new)
        .map_err(at(&new))?;
    let written = write(home, &new, from, to);
    if written.is_err() {
        // The files there may not be encrypted.
        wipe(&new)?;
    }
    written?;
    let ready = home.join(READY);
    fs::rename(&new, &ready).map_err(at(&ready))?;
    sync(home)?;
    finish(home)
}

fn write(
    home: &Path,
    new: &Path,
    from: Option<&DataKey>,
    to: Option<(&DataKey, &Slot)>,
) -> Result<(), LockError> {
    let to_key = to.map(|(key, _)| key);
    if let Some(text) = read_key_file(home, from)? {
        let sealed = to_key.map(|key| key.blobs().seal(key_file::FILE, text.as_bytes()));
        let bytes = sealed.as_deref().unwrap_or(text.as_bytes());
        create(&new.join(key_file::FILE), bytes)?;
    }
    if home.join(DATABASE).exists() {
        let (from, to) = (disk_of(from), disk_of(to_key));
        snapshot::copy_whole(&from, &home.join(DATABASE), &to, &new.join(DATABASE))?;
    }
    if home.join(held::FILE).exists() {
        held::copy(
            home,
            &disk_of(from),
            &disk_of(to_key),
            &new.join(held::FILE),
        )?;
    }
    let content = home.join(CONTENT_FOLDER);
    if content.exists() {
        let converted = new.join(CONTENT_FOLDER);
        convert_content(&content, from, &converted, to_key).map_err(at(&content))?;
        sync(&converted)?;
    }
    match to {
        Some((_, slot)) => create(&new.join(slot::FILE), slot.to_text().as_bytes())?,
        None => create(&new.join(UNLOCKED), b"")?,
    }
    for file in files(new)? {
        sync(&new.join(file))?;
    }
    sync(new)
}

/// Completes a switch that was decided, and removes one that was not.
pub(crate) fn finish(home: &Path) -> Result<(), LockError> {
    let new = home.join(NEW);
    if new.exists() {
        wipe(&new)?;
    }
    let ready = home.join(READY);
    if !ready.exists() {
        return Ok(());
    }
    if ready.join(DATABASE).exists() {
        // Before the new database is there: SQLite would apply the old log to it.
        for name in BESIDE_DATABASE {
            wipe(&home.join(name))?;
        }
    }
    if ready.join(held::FILE).exists() {
        for name in held::BESIDE {
            wipe(&home.join(name))?;
        }
    }
    for name in [DATABASE, held::FILE, key_file::FILE, CONTENT_FOLDER] {
        let (from, to) = (ready.join(name), home.join(name));
        if from.exists() {
            wipe(&to)?;
            sync(home)?;
            fs::rename(&from, &to).map_err(at(&to))?;
        }
    }
    if ready.join(slot::FILE).exists() {
        for name in NOT_IN_LOCKED {
            wipe(&home.join(name))?;
        }
        let slot = home.join(slot::FILE);
        fs::rename(ready.join(slot::FILE), &slot).map_err(at(&slot))?;
    }
    if ready.join(UNLOCKED).exists() {
        wipe(&home.join(slot::FILE))?;
    }
    sync(home)?;
    wipe(&ready)?;
    sync(home)
}

/// Overwrites a file, or all files of a folder, and removes it. It need not exist.
fn wipe(path: &Path) -> Result<(), LockError> {
    let is_folder = match path.symlink_metadata() {
        Ok(stat) => stat.is_dir(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    if is_folder {
        for name in files(path)? {
            wipe(&path.join(name))?;
        }
        return fs::remove_dir(path).map_err(at(path));
    }
    overwrite(path)
        .and_then(|()| fs::remove_file(path))
        .map_err(at(path))
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let mut left = file.metadata()?.len();
    let zeros = vec![0; ZEROS];
    while left > 0 {
        let len = zeros.len().min(usize::try_from(left).unwrap_or(ZEROS));
        file.write_all(&zeros[..len])?;
        left -= len as u64;
    }
    file.sync_data()
}

fn files(folder: &Path) -> Result<Vec<std::ffi::OsString>, LockError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
    names.collect::<io::Result<_>>().map_err(at(folder))
}

fn create(path: &Path, content: &[u8]) -> Result<(), LockError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let write = || options.open(path)?.write_all(content);
    write().map_err(at(path))
}

fn sync(path: &Path) -> Result<(), LockError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(at(path))
}
