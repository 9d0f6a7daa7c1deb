//! The files that browsers have uploaded: each is kept as long as somebody may fetch it.
//!
//! Each upload has a folder of its own in `uploads` of the home. A folder is removed once each
//! offer of its file was withdrawn or erased, or has reached everybody it was for: see
//! `upload_cleaner`.

use std::io;
use std::path::{Path, PathBuf};

use hobnob::FileState;
use hobnob_control::wire::FileLine;
use tokio::sync::{Notify, RwLock, RwLockReadGuard};

/// Maximum bytes of the files that browsers have uploaded. Further uploads are refused.
pub const BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// Maximum number of these files. Those in folders count, too.
pub const FILES_MAX: usize = 10_000;

/// The answer to `files` has only the newest offers, at most this many.
const LISTED_MAX: usize = 1000;

/// What further uploads may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// So many files: one or more.
    pub(crate) files: usize,
    /// So many bytes: one or more.
    pub(crate) bytes: u64,
}

/// The folder of all uploads.
pub(crate) struct KeptUploads {
    folder: PathBuf,
    /// An upload holds the read lock until its file is offered. So while the cleaner holds the write
    /// lock, a file without an offer is a leftover.
    under_way: RwLock<()>,
    /// Something has changed that the node does not report.
    changed: Notify,
}

/// The space that uploads take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Usage {
    files: usize,
    bytes: u64,
}

impl Usage {
    /// What is left, or none if there are too many files or bytes.
    fn room(self) -> Option<Room> {
        let room = Room {
            files: FILES_MAX.checked_sub(self.files)?,
            bytes: BYTES_MAX.checked_sub(self.bytes)?,
        };
        (room.files > 0 && room.bytes > 0).then_some(room)
    }

    /// Counts everything in a folder.
    fn count(&mut self, folder: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            if about.is_dir() {
                self.count(&entry.path())?;
            } else {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(about.len());
            }
        }
        Ok(())
    }
}

impl KeptUploads {
    pub(crate) fn of(data_dir: &Path) -> KeptUploads {
        KeptUploads {
            folder: data_dir.join("uploads"),
            under_way: RwLock::new(()),
            changed: Notify::new(),
        }
    }

    /// The folder of all uploads.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Hold the returned guard while a file is stored and offered.
    pub(crate) async fn begin(&self) -> RwLockReadGuard<'_, ()> {
        self.under_way.read().await
    }

    /// What further uploads may have. None: there are too many files, or bytes.
    pub(crate) fn room(&self) -> io::Result<Option<Room>> {
        let mut usage = Usage { files: 0, bytes: 0 };
        for folder in self.kept()? {
            usage.count(&folder)?;
        }
        Ok(usage.room())
    }

    /// Waits until [`KeptUploads::look_again`] is called.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A browser is connected, or has uploaded something: look at the offers again.
    pub(crate) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// The folder of each upload.
    pub(crate) fn kept(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.path())).collect()
    }

    /// Removes what nobody fetches any more.
    pub(crate) fn sweep(&self, offers: &[FileLine]) -> io::Result<()> {
        let under_way = self.under_way.try_write();
        let knows_all = under_way.is_ok() && offers.len() < LISTED_MAX;
        for folder in self.kept()? {
            if is_over(&folder, offers, knows_all) {
                std::fs::remove_dir_all(&folder)?;
            }
        }
        drop(under_way);
        Ok(())
    }
}

/// Whether nobody fetches the file in this folder any more. `knows_all`: a folder without an offer
/// is a leftover.
fn is_over(folder: &Path, offers: &[FileLine], knows_all: bool) -> bool {
    let of_folder = |offer: &&FileLine| {
        let saved = offer.saved.as_deref();
        offer.own && saved.is_some_and(|saved| saved.starts_with(folder))
    };
    let mut offers = offers.iter().filter(of_folder).peekable();
    match offers.peek() {
        // For an offer of this node, the list has `done` once everybody has it, and `declined` if
        // it was withdrawn or everybody has declined it.
        Some(_) => offers.all(|offer| {
            offer.peers.is_empty() && matches!(offer.state, FileState::Done | FileState::Declined)
        }),
        None => knows_all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(saved: &str, state: &str) -> FileLine {
        let peer = "a".repeat(52);
        let line = serde_json::json!({
            "id": "83792d0f6951611e-1",
            "conversation": "#lobby",
            "from": peer,
            "nick": "ann",
            "name": "a.txt",
            "media": "text/plain",
            "size": 3,
            "hash": "00".repeat(32),
            "own": true,
            "state": state,
            "bytes": 0,
            "peers": [],
            "saved": saved,
            "received_at": "2026-11-25T22:46:28.481Z",
        });
        serde_json::from_value(line).unwrap()
    }

    #[test]
    fn an_upload_is_over_when_all_its_offers_are() {
        let folder = Path::new("/home/uploads/x");
        let file = "/home/uploads/x/a.txt";
        for (offers, knows_all, over) in [
            (vec![offer(file, "offered")], true, false),
            (vec![offer(file, "moving")], true, false),
            (vec![offer(file, "done")], false, true),
            (vec![offer(file, "declined")], false, true),
            // The same content was offered twice.
            (
                vec![offer(file, "done"), offer(file, "offered")],
                true,
                false,
            ),
            (vec![offer("/home/uploads/y/a.txt", "done")], false, false),
            (vec![offer("/home/uploads/y/a.txt", "offered")], true, true),
            (Vec::new(), true, true),
        ] {
            assert_eq!(is_over(folder, &offers, knows_all), over, "{offers:?}");
        }
    }

    #[test]
    fn uploads_have_a_limit_of_files_and_of_bytes() {
        let room = |files, bytes| Usage { files, bytes }.room();
        let left = |files, bytes| Some(Room { files, bytes });
        assert_eq!(room(0, 0), left(FILES_MAX, BYTES_MAX));
        assert_eq!(room(FILES_MAX - 1, BYTES_MAX - 1), left(1, 1));
        assert_eq!(room(FILES_MAX, 0), None);
        assert_eq!(room(0, BYTES_MAX), None);
    }

    #[tokio::test]
    async fn leftovers_are_removed_unless_a_file_is_being_uploaded() {
        let home = tempfile::tempdir().unwrap();
        let uploads = KeptUploads::of(home.path());
        let left = |files, bytes| Some(Room { files, bytes });
        assert_eq!(uploads.room().unwrap(), left(FILES_MAX, BYTES_MAX));
        let folder = uploads.folder().join("x");
        std::fs::create_dir_all(folder.join("photos")).unwrap();
        std::fs::write(folder.join("a.txt"), "abc").unwrap();
        std::fs::write(folder.join("photos/b.txt"), "de").unwrap();
        assert_eq!(uploads.room().unwrap(), left(FILES_MAX - 2, BYTES_MAX - 5));
        let uploading = uploads.begin().await;
        uploads.sweep(&[]).unwrap();
        assert!(folder.exists());
        drop(uploading);
        uploads.sweep(&[]).unwrap();
        assert!(!folder.exists());
    }
}
