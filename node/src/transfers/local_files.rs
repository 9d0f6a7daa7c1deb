//! This node's files: the downloads folder, the content index and the pictures. The methods wait
//! for the disk, so call them on a blocking thread.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hobnob_core::transfers::Held;
use hobnob_protocol::{LogId, OfferId, Seq};

use super::attributes::KeptAttributes;
use super::content_index::ContentIndex;
use super::folder::Folder;
use super::mailed;
use super::offering;
use super::partial::{self, Partial, WriteError};
use super::pictures::Pictures;
use crate::data_key::DataKey;
use crate::store::StoredOffer;
use crate::{FileError, PreparedOffer};

/// The folder of the content index in a home.
pub(crate) const CONTENT_FOLDER: &str = "content";

/// Bytes that a new download leaves free on the disk.
const SPARE_BYTES: u64 = 16 * 1024 * 1024;

/// Where files are. Each blocking thread gets a clone.
#[derive(Debug, Clone)]
pub(super) struct LocalFiles {
    downloads: PathBuf,
    disk: Arc<DownloadsDisk>,
    kept: KeptAttributes,
    pub(super) index: ContentIndex,
    pub(super) pictures: Pictures,
}

impl LocalFiles {
    /// Opens the content index in the node's home. Creates it if it is missing.
    pub(super) fn open(
        home: &Path,
        data_key: Option<DataKey>,
        downloads: PathBuf,
        pictures: Pictures,
    ) -> io::Result<Self> {
        Ok(Self {
            disk: Arc::new(DownloadsDisk::of(&downloads)),
            downloads,
            kept: KeptAttributes::default(),
            index: ContentIndex::open(home.join(CONTENT_FOLDER), data_key)?,
            pictures,
        })
    }

    /// Sets which properties of files are taken over.
    pub(super) fn keeping(self, kept: KeptAttributes) -> Self {
        Self { kept, ..self }
    }

    /// Reads the file or folder at a path, and returns an offer of it.
    pub(super) fn prepare(&self, path: &Path) -> Result<PreparedOffer, FileError> {
        let prepared = offering::offer(path, &self.index)
            .map_err(|error| FileError::Path(error.to_string()))?;
        self.pictures.look(&prepared.offer, &self.index);
        Ok(prepared)
    }

    /// Checks that the downloads folder has room for a content. A partial download has reserved its
    /// room already.
    pub(super) fn check_room(&self, id: OfferId, size: u64) -> Result<(), FileError> {
        if let Some(folder) = partial::unmounted(&self.index, id) {
            // A new download there would fill another disk.
            return Err(FileError::Downloads {
                folder: folder.display().to_string(),
                why: "the disk with the begun download is not mounted".to_owned(),
            });
        }
        if self.has_partial(id) {
            return Ok(());
        }
        let folder = || self.downloads.display().to_string();
        if !self.disk.is_mounted(&self.downloads) {
            return Err(FileError::Downloads {
                folder: folder(),
                why: "its disk is not mounted any more".to_owned(),
            });
        }
        let free = Folder::make(&self.downloads)
            .and_then(|folder| folder.free_bytes())
            .map_err(|error| FileError::Downloads {
                folder: folder(),
                why: error.to_string(),
            })?;
        let needs = size.saturating_add(SPARE_BYTES);
        if free < needs {
            return Err(FileError::NoRoom {
                folder: folder(),
                needs,
                free,
            });
        }
        Ok(())
    }

    /// Whether there is a partial download of an offer.
    pub(super) fn has_partial(&self, id: OfferId) -> bool {
        Partial::is_there(&self.downloads, &self.index, id)
    }

    /// Opens the partial download of an offer, and reads which pieces it has. Creates it if it is
    /// missing.
    pub(super) fn open_partial(
        &self,
        offer: StoredOffer,
    ) -> Result<(Arc<Partial>, Held), WriteError> {
        let (partial, mut held) = Partial::open(&self.downloads, &self.index, offer, self.kept)?;
        for piece in mailed::fill(&self.index, &partial)? {
            held.insert(piece);
        }
        Ok((Arc::new(partial), held))
    }

    /// The offers that have partial downloads.
    pub(super) fn partials(&self) -> io::Result<Vec<(LogId, Seq)>> {
        partial::begun(&self.index)
    }

    /// Stores a part of a content that arrived by mail.
    pub(super) fn store_part(&self, id: OfferId, part: u8, bytes: &[u8]) -> io::Result<()> {
        mailed::store(&self.index, id, part, bytes)
    }

    /// Writes the content that arrived by mail into an open download, if it is whole.
    pub(super) fn fill_from_mail(&self, partial: &Partial) -> Result<Vec<u64>, WriteError> {
        mailed::fill(&self.index, partial)
    }

    /// Removes the content of an offer that arrived by mail.
    pub(super) fn remove_mailed(&self, id: OfferId) {
        mailed::remove(&self.index, id);
    }

    /// How long ago the last piece of a partial download was written.
    pub(super) fn age(&self, of: (LogId, Seq)) -> Option<Duration> {
        partial::age(&self.index, of)
    }

    /// Removes a partial download that is not open.
    pub(super) fn discard(&self, of: (LogId, Seq)) {
        partial::discard(&self.downloads, &self.index, of);
    }
}

/// The disk of the downloads folder when it was used last. `None`: the folder was not there yet.
#[derive(Debug)]
struct DownloadsDisk(Mutex<Option<u64>>);

impl DownloadsDisk {
    fn of(downloads: &Path) -> Self {
        Self(Mutex::new(disk_of(downloads)))
    }

    /// Whether the disk is still mounted. A folder below the mount point must not fill the disk of the
    /// system. Another disk that is mounted there is fine.
    fn is_mounted(&self, downloads: &Path) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = disk_of(downloads);
        let Some(before) = *known else {
            *known = now;
            return true;
        };
        let real = downloads.canonicalize();
        // Of a folder that is missing, the next one above it tells.
        let mut above = real.as_deref().unwrap_or(downloads).ancestors().skip(1);
        let above = above.find_map(disk_of);
        match now {
            Some(now) if now == before => true,
            Some(now) => {
                let is_mount_point = above != Some(now);
                if is_mount_point {
                    *known = Some(now);
                }
                is_mount_point
            }
            None => above == Some(before),
        }
    }
}

/// The system's number of the disk with a folder.
fn disk_of(folder: &Path) -> Option<u64> {
    fs::metadata(folder).ok().map(|stat| stat.dev())
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, DeviceId, LogName};

    use super::*;

    fn id() -> OfferId {
        let name = LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: DeviceId::from_bytes([2; 32]).person(),
            device: DeviceId::from_bytes([2; 32]),
            log: LogId(3),
        };
        OfferId { name, seq: 4 }
    }

    #[test]
    fn a_folder_on_another_disk_than_before_is_a_mount_point_or_not_mounted() {
        let home = tempfile::tempdir().unwrap();
        let downloads = home.path().join("downloads");
        let new = DownloadsDisk::of(&downloads);
        assert!(new.is_mounted(&downloads), "it is created");
        fs::create_dir(&downloads).unwrap();
        assert!(new.is_mounted(&downloads));
        fs::remove_dir(&downloads).unwrap();
        assert!(new.is_mounted(&downloads), "removed, on the same disk");
        // As if another disk had been mounted there, or above it.
        let unmounted = DownloadsDisk(Mutex::new(Some(u64::MAX)));
        assert!(!unmounted.is_mounted(&downloads), "the folder is missing");
        fs::create_dir(&downloads).unwrap();
        assert!(!unmounted.is_mounted(&downloads));
        // /proc is always a mount point.
        assert!(unmounted.is_mounted(Path::new("/proc")));
    }

    #[test]
    fn a_content_that_does_not_fit_is_refused_before_the_download() {
        let home = tempfile::tempdir().unwrap();
        let inbox = home.path().join("inbox");
        let files = LocalFiles::open(home.path(), None, inbox, Pictures::default()).unwrap();
        assert_eq!(files.check_room(id(), 1), Ok(()));
        let refused = files.check_room(id(), u64::MAX);
        assert!(matches!(refused, Err(FileError::NoRoom { .. })));
    }

    #[test]
    fn an_unusable_downloads_folder_is_reported_by_its_path() {
        let home = tempfile::tempdir().unwrap();
        let inbox = home.path().join("inbox");
        let nowhere = home.path().join("an unmounted disk");
        std::os::unix::fs::symlink(nowhere, &inbox).unwrap();
        let files =
            LocalFiles::open(home.path(), None, inbox.clone(), Pictures::default()).unwrap();
        match files.check_room(id(), 1) {
            Err(FileError::Downloads { folder, .. }) => {
                assert_eq!(folder, inbox.display().to_string());
            }
            other => panic!("{other:?}"),
        }
    }
}
