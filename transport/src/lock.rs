//! The lock of a folder: one node at a time has its key and its database.
//!
//! Whoever holds it is the node of that folder, until its process ends, however it ends.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder that this process holds. Dropping it lets the next one in.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Whose a folder is.
#[derive(Debug)]
pub enum Taken {
    /// This process's.
    Ours(Lock),
    /// Another process's, or of another node in this one; the process's id, where it has written it
    /// down.
    Busy(Option<u32>),
}

/// The file or folder that can't be made or opened, and what the system says.
pub type Unusable = (PathBuf, io::Error);

impl Lock {
    /// Takes the lock of the folder, which is made if need be, unless somebody has it.
    pub fn take(dir: &Path) -> Result<Taken, Unusable> {
        make_private_dir(dir)?;
        let path = dir.join("lock");
        let unusable = |error| (path.clone(), error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {
                write_pid(&mut file).map_err(unusable)?;
                Ok(Taken::Ours(Lock { _file: file }))
            }
            Err(TryLockError::WouldBlock) => Ok(Taken::Busy(read_pid(&mut file))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}

/// Makes a folder that is its owner's alone, unless it is there.
pub fn make_private_dir(dir: &Path) -> Result<(), Unusable> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| (dir.to_owned(), error))
}

fn write_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// The holder's process id; none while it has not yet written it.
fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
