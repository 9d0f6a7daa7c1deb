//! The lock of a home folder: only one node at a time uses its key and its database.
//!
//! The system releases the lock when the process ends, even after a crash. The file contains the
//! process id, and after it a note of the process, such as the path of its socket.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const LOCK_FILE: &str = "lock";

/// Longest content of a lock file that is read: a process id, and the longest path of Linux.
const LOCK_FILE_MAX: u64 = 4096 + 16;

/// The lock of a folder, taken by this process. Dropping it releases the folder.
#[derive(Debug)]
pub struct Lock {
    file: File,
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
        let path = dir.join(LOCK_FILE);
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
                Ok(Taken::Ours(Lock { file }))
            }
            Err(TryLockError::WouldBlock) => Ok(Taken::Busy(read_pid(&mut file))),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}

impl Lock {
    /// Adds a path to the lock file, for processes that know only the folder. It is there until
    /// another process takes the lock.
    pub fn note(&mut self, path: &Path) -> io::Result<()> {
        write_pid(&mut self.file)?;
        self.file.write_all(path.as_os_str().as_bytes())
    }
}

/// The path that the process with the lock of a folder has noted, or the last process that had it.
pub fn noted(dir: &Path) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let file = File::open(dir.join(LOCK_FILE)).ok()?;
    file.take(LOCK_FILE_MAX).read_to_end(&mut bytes).ok()?;
    let at = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let path = Path::new(OsStr::from_bytes(&bytes[at..]));
    path.is_absolute().then(|| path.to_owned())
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
    let mut text = Vec::new();
    lock.take(LOCK_FILE_MAX).read_to_end(&mut text).ok()?;
    let first = text.split(|byte| *byte == b'\n').next()?;
    str::from_utf8(first).ok()?.trim().parse().ok()
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
    fn a_noted_path_is_found_until_the_lock_is_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(noted(dir.path()), None);
        let take = || match Lock::take(dir.path()).unwrap() {
            Taken::Ours(lock) => lock,
            Taken::Busy(_) => panic!("the folder is free"),
        };
        let mut lock = take();
        assert_eq!(noted(dir.path()), None);
        let path = Path::new("/run/user/1000/hobnob/control.sock");
        lock.note(path).unwrap();
        assert_eq!(noted(dir.path()).as_deref(), Some(path));
        match Lock::take(dir.path()).unwrap() {
            Taken::Busy(pid) => assert_eq!(pid, Some(std::process::id())),
            Taken::Ours(_) => panic!("the folder is taken"),
        }
        drop(lock);
        let _lock = take();
        assert_eq!(noted(dir.path()), None);
    }

    #[test]
    fn a_lock_file_without_a_number_still_locks() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("lock"), "nonsense").unwrap();
        assert!(matches!(Lock::take(dir.path()).unwrap(), Taken::Ours(_)));
    }
}
