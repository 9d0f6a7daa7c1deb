//! The lock of a home folder: only one node at a time uses its key and its database.
//!
//! The system releases the lock when the process ends, even after a crash.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The lock of a folder, taken by this process. Dropping it releases the folder.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The result of [`Lock::take`].
#[derive(Debug)]
pub enum Taken {
    /// This process has the folder now.
    Ours(Lock),
    /// Another process has the folder, or another node in this process. Its process id, if it is in
    /// the lock file.
    Busy(Option<u32>),
}

/// The file or folder that can't be created or opened, and the error of the system.
pub type Unusable = (PathBuf, io::Error);

impl Lock {
    /// Takes the lock of a folder, unless it is taken. Creates the folder if it does not exist.
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

/// Creates a folder that only its owner can access, if it does not exist.
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

/// The process id in the lock file. `None` until its owner has written it.
fn read_pid(lock: &mut File) -> Option<u32> {
    let mut text = String::new();
    lock.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_taken_folder_names_the_process_that_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let Taken::Ours(lock) = Lock::take(dir.path()).unwrap() else {
            panic!("the folder is new")
        };
        match Lock::take(dir.path()).unwrap() {
            Taken::Busy(pid) => assert_eq!(pid, Some(std::process::id())),
            Taken::Ours(_) => panic!("the folder is taken"),
        }
        drop(lock);
        assert!(matches!(Lock::take(dir.path()).unwrap(), Taken::Ours(_)));
    }

    #[test]
    fn a_folder_that_must_be_created_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("deep/home");
        Lock::take(&home).unwrap();
        let mode = fs::metadata(&home).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_lock_file_without_a_number_still_locks() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lock"), "nonsense").unwrap();
        assert!(matches!(Lock::take(dir.path()).unwrap(), Taken::Ours(_)));
    }
}
