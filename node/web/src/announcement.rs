//! The address of a home's web server, in a file beside its control socket.
//!
//! The server holds a lock on the file. Without the lock, the address is out of date, and another
//! program may listen there.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hobnob_local::{Home, private_file};

/// The name of the file.
const FILE: &str = "web";

/// The longest content that is read, in bytes: an address is shorter.
const BYTES_MAX: u64 = 128;

/// A web server that runs for a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its address.
    pub addr: SocketAddr,
    /// The folder that it reads login files from.
    pub folder: PathBuf,
}

/// The file of a running server. Dropping it removes the address.
#[derive(Debug)]
pub(crate) struct Announcement {
    file: File,
}

impl Announcement {
    /// Writes the address. Fails with the address of the server that runs already.
    pub(crate) fn publish(folder: &Path, addr: SocketAddr) -> io::Result<Result<Self, Found>> {
        let mut file = private_file::open(&folder.join(FILE))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let running = read(&mut file).unwrap_or(addr);
                return Ok(Err(Found {
                    addr: running,
                    folder: folder.to_owned(),
                }));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        file.set_len(0)?;
        file.rewind()?;
        write!(file, "{addr}")?;
        Ok(Ok(Announcement { file }))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // The lock ends with the file, so a leftover address misleads nobody.
        let _unimportant = self.file.set_len(0);
    }
}

/// The web server that runs for a home.
pub fn find(home: &Home) -> Option<Found> {
    let sockets = home.sockets();
    let mut folders = sockets.iter().filter_map(|path| path.parent());
    folders.find_map(|folder| {
        let mut file = File::open(folder.join(FILE)).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(Found {
                addr: read(&mut file)?,
                folder: folder.to_owned(),
            }),
            // Nobody holds the lock, so no server runs.
            Ok(()) | Err(TryLockError::Error(_)) => None,
        }
    })
}

fn read(file: &mut File) -> Option<SocketAddr> {
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_as_long_as_the_server_runs() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        let addr: SocketAddr = "127.0.0.1:4680".parse().unwrap();
        assert_eq!(find(&home), None);
        let first = Announcement::publish(folder.path(), addr).unwrap().unwrap();
        let found = Found {
            addr,
            folder: folder.path().to_owned(),
        };
        assert_eq!(find(&home), Some(found.clone()));
        let second: SocketAddr = "127.0.0.1:4681".parse().unwrap();
        let refused = Announcement::publish(folder.path(), second).unwrap();
        assert_eq!(refused.expect_err("one server runs"), found);
        drop(first);
        assert_eq!(find(&home), None);
    }

    #[test]
    fn an_address_without_a_running_server_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "127.0.0.1:4680").unwrap();
        assert_eq!(find(&Home::at(folder.path()).unwrap()), None);
    }
}
