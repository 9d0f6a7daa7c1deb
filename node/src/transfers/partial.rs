//! A partial download: the pieces of a content that have arrived, and the leaf of each piece.
//!
//! The pieces are in the downloads folder, in a file or folder with a hidden name. It gets its real
//! name once the content is complete and on disk. The home records the downloads folder of each
//! partial download, so a download stays in its folder when the user sets another one.
//!
//! The leaf of a piece is written after the piece. So a crash can't leave a piece that wrongly
//! counts as held: a piece is held only if its hash is the recorded leaf.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hobnob_protocol::content::{LEAF_BYTES, Leaf, PIECE_BYTES, SPAN_PIECES, Shape};
use hobnob_protocol::manifest::{self, ManifestError};
use hobnob_protocol::offer::Attributes;
use hobnob_protocol::{LogId, OfferId, Seq};

use super::attributes::KeptAttributes;
use super::content_index::{ContentIndex, Layout, bytes_of, place_of, read_tree};
use super::folder::Folder;
use super::folder_writer::{FolderWriter, clean_paths};
use super::leaf_file::LeafFile;
use super::names::{self, NAMES_MAX};
use crate::store::StoredOffer;
use hobnob_core::transfers::Held;

/// The kind of a sealed record of a downloads folder.
pub(super) const NOTED: &str = "folder";

/// Bytes between two syncs. A power failure loses at most this much.
const SYNC_BYTES: u64 = 64 * 1024 * 1024;

/// Why a piece was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// Its hash differs from the leaf that the proof gave.
    #[error("the data does not match the offer")]
    Lies,
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// Another folder is at the path of the downloads folder, or none.
    #[error("the disk with the begun download is not mounted")]
    NotMounted,
    /// The manifest of the folder is invalid. Its author made it so.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The disk or the system failed.
    #[error("it can't be written: {0}")]
    Io(io::Error),
}

impl From<io::Error> for WriteError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open list; every other kind is a failure"
    )]
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => WriteError::Full,
            _ => WriteError::Io(error),
        }
    }
}

/// An open partial download.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) stored: StoredOffer,
    pub(super) shape: Shape,
    /// The download has ended, and no more pieces are needed.
    cancelled: AtomicBool,
    downloads: Folder,
    place: Place,
    leaves: LeafFile,
    target: Mutex<Target>,
    unsynced: AtomicU64,
    kept: KeptAttributes,
}

#[derive(Debug)]
enum Target {
    File(File),
    Folder(Box<FolderTarget>),
    /// The files are removed.
    Gone,
}

/// The files of a partial download of a folder.
#[derive(Debug)]
struct FolderTarget {
    dir: Folder,
    /// The pieces that contain the manifest.
    head: File,
    head_pieces: u64,
    head_held: HashSet<u64>,
    /// Writes all later pieces. `None` until the manifest is complete.
    folder: Option<FolderWriter>,
}

/// The name of the file with the leaves, in the content index.
fn leaves_name(log: LogId, seq: Seq) -> String {
    format!("{:016x}-{seq}.part", log.0)
}

/// The paths of a partial download.
#[derive(Debug)]
struct Place {
    downloads: PathBuf,
    /// The hidden name in `downloads`. It begins with a dot, and no finished download's name does.
    part: String,
    /// The file with the leaves, in the content index.
    leaves: PathBuf,
    /// The file that records `downloads`, in the content index.
    noted: PathBuf,
}

impl Place {
    /// The recorded folder if the download is there, or else `downloads`.
    fn find(downloads: &Path, index: &ContentIndex, (log, seq): (LogId, Seq)) -> Self {
        let leaves = leaves_name(log, seq);
        let part = format!(".hobnob-{leaves}");
        let (leaves, noted) = (
            index.path(&leaves),
            index.path(&format!("{log:016x}-{seq}.folder", log = log.0)),
        );
        let begun = Note::read(&noted, index).map(|note| note.folder);
        let begun = begun.filter(|folder| folder.is_absolute() && is_there(&folder.join(&part)));
        let here = || std::path::absolute(downloads).unwrap_or_else(|_| downloads.to_owned());
        Self {
            downloads: begun.unwrap_or_else(here),
            part,
            leaves,
            noted,
        }
    }

    /// Records the folder, before the first file is created. An equal record is not written again,
    /// so a crash can't damage it.
    fn note(&self, index: &ContentIndex) -> io::Result<()> {
        let note = Note {
            folder: self.downloads.clone(),
            disk: fs::metadata(&self.downloads)?.dev(),
        };
        if Note::read(&self.noted, index).as_ref() == Some(&note) {
            return Ok(());
        }
        let mut file = File::create(&self.noted)?;
        file.write_all(&index.seal(NOTED, &note.to_bytes()))?;
        file.sync_all()
    }

    /// Removes the files. The leaves prove that a partial download belongs to this home, so they
    /// are removed last, and a download without leaves is left alone.
    fn clear(&self) {
        if !is_there(&self.leaves) {
            let _ = fs::remove_file(&self.noted);
            return;
        }
        let part = self.downloads.join(&self.part);
        let is_folder = part.symlink_metadata().is_ok_and(|stat| stat.is_dir());
        let removed = if is_folder {
            fs::remove_dir_all(part)
        } else {
            fs::remove_file(part)
        };
        let absent_is_fine = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        };
        let removed = absent_is_fine(removed)
            .and_then(|()| absent_is_fine(fs::remove_file(&self.noted)))
            .and_then(|()| absent_is_fine(fs::remove_file(&self.leaves)));
        if let Err(error) = removed {
            tracing::warn!("a partial download can't be removed: {error}");
        }
    }
}

/// The record of the folder of a partial download.
#[derive(Debug, PartialEq, Eq)]
struct Note {
    folder: PathBuf,
    /// The system's number of the disk with the folder. It may be another one after a restart of the
    /// machine.
    disk: u64,
}

impl Note {
    fn read(file: &Path, index: &ContentIndex) -> Option<Self> {
        let bytes = index.unseal(NOTED, fs::read(file).ok()?).ok()?;
        let (disk, folder) = bytes.split_first_chunk()?;
        Some(Self {
            folder: place_of(folder),
            disk: u64::from_le_bytes(*disk),
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        [&self.disk.to_le_bytes()[..], &bytes_of(&self.folder)].concat()
    }
}

/// The folder of a partial download whose disk is not mounted: the folder is missing, or is on another
/// disk and does not contain the download. `None` if the disk is there, or nothing was downloaded.
pub(super) fn unmounted(index: &ContentIndex, id: OfferId) -> Option<PathBuf> {
    let place = Place::find(Path::new("/"), index, (id.name.log, id.seq));
    let Note { folder, disk } = Note::read(&place.noted, index)?;
    if is_there(&folder.join(&place.part)) || !is_there(&place.leaves) {
        return None;
    }
    let same_disk = fs::metadata(&folder).is_ok_and(|stat| stat.dev() == disk);
    (!same_disk).then_some(folder)
}

/// How long ago the last piece of a partial download was written. `None` if the system can't tell.
pub(super) fn age(index: &ContentIndex, (log, seq): (LogId, Seq)) -> Option<Duration> {
    let stat = fs::metadata(index.path(&leaves_name(log, seq))).ok()?;
    stat.modified().ok()?.elapsed().ok()
}

/// Whether a path exists. True if the system can't tell.
fn is_there(path: &Path) -> bool {
    !path
        .symlink_metadata()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The log and number of each offer with a partial download of this home.
pub(super) fn begun(index: &ContentIndex) -> io::Result<Vec<(LogId, Seq)>> {
    let named = |name: &str| {
        let (log, seq) = name
            .strip_suffix(".part")
            .or(name.strip_suffix(".folder"))?
            .split_once('-')?;
        Some((LogId(u64::from_str_radix(log, 16).ok()?), seq.parse().ok()?))
    };
    let begun: BTreeSet<_> = index.names()?.filter_map(|name| named(&name)).collect();
    Ok(begun.into_iter().collect())
}

/// Names in the partial download of a folder: the pieces of the manifest, and the files.
const HEAD: &str = "head";
const FILES: &str = "files";

impl Partial {
    /// Opens a partial download, and returns which pieces it has. Creates it if it is missing. Waits
    /// until all existing pieces are read.
    pub(super) fn open(
        downloads: &Path,
        index: &ContentIndex,
        stored: StoredOffer,
        kept: KeptAttributes,
    ) -> Result<(Self, Held), WriteError> {
        let (id, offer) = (stored.id, &stored.offer);
        let place = Place::find(downloads, index, (id.name.log, id.seq));
        let downloads = Folder::make(&place.downloads)?;
        place.note(index)?;
        let shape = Shape::of(offer.size);
        let leaves = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&place.leaves)?;
        let len = shape.pieces() * LEAF_BYTES as u64;
        // Otherwise its modification time would no longer be that of the last piece.
        if leaves.metadata()?.len() != len {
            leaves.set_len(len)?;
        }
        let leaves = index.leaves_in(leaves);
        let target = match offer.folder {
            None => {
                let file = downloads.file(&place.part)?;
                file.set_len(offer.size)?;
                // From the first byte on.
                let private = Attributes {
                    private: offer.attributes.private,
                    ..Attributes::default()
                };
                kept.apply(private, &file)?;
                Target::File(file)
            }
            Some(folder) => {
                let dir = downloads.sub(&place.part)?;
                let head = dir.file(HEAD)?;
                let head_pieces = folder.manifest_bytes.div_ceil(PIECE_BYTES as u64);
                Target::Folder(Box::new(FolderTarget {
                    dir,
                    head,
                    head_pieces,
                    head_held: HashSet::new(),
                    folder: None,
                }))
            }
        };
        let partial = Self {
            stored,
            shape,
            cancelled: AtomicBool::new(false),
            downloads,
            place,
            leaves,
            target: Mutex::new(target),
            unsynced: AtomicU64::new(0),
            kept,
        };
        partial.begin_files_if_known()?;
        let held = partial.take_up()?;
        Ok((partial, held))
    }

    /// Whether there is a partial download of this offer.
    pub(super) fn is_there(downloads: &Path, index: &ContentIndex, id: OfferId) -> bool {
        let place = Place::find(downloads, index, (id.name.log, id.seq));
        is_there(&place.downloads.join(&place.part))
    }

    /// Reads which pieces are held: those whose hash is the recorded leaf.
    fn take_up(&self) -> Result<Held, WriteError> {
        let mut held = Held::none(self.shape);
        let mut buffer = vec![0; PIECE_BYTES];
        for piece in 0..self.shape.pieces() {
            let mut leaf: Leaf = [0; LEAF_BYTES];
            self.leaves.read(piece, slice::from_mut(&mut leaf))?;
            let bytes = &mut buffer[..self.shape.piece_len(piece)];
            if leaf == [0; LEAF_BYTES]
                || self.target().read(piece, bytes).is_err()
                || self.shape.leaf(piece, bytes) != leaf
            {
                continue;
            }
            held.insert(piece);
            if let Target::Folder(parts) = &mut *self.target() {
                parts.head_held.insert(piece);
            }
            self.begin_files_if_known()?;
        }
        Ok(held)
    }

    /// Writes pieces of one span whose hashes are in `span_leaves`. Stops at the first error. The
    /// pieces before it are written and added to `kept`.
    pub(super) fn write(
        &self,
        span_leaves: &[Leaf],
        pieces: &[(u64, Bytes)],
        kept: &mut Vec<u64>,
    ) -> Result<(), WriteError> {
        self.check_mounted()?;
        let written = self.write_pieces(span_leaves, pieces, kept);
        // A disk that was pulled out fails first, and is unmounted then.
        match written {
            Err(WriteError::Io(error)) => {
                self.check_mounted()?;
                Err(WriteError::Io(error))
            }
            written => written,
        }
    }

    /// Whether the downloads folder is still at its path. If its disk was unmounted, the files are
    /// closed soon, so that nothing keeps the disk busy.
    pub(super) fn check_mounted(&self) -> Result<(), WriteError> {
        if self.downloads.is_in_place() {
            Ok(())
        } else {
            Err(WriteError::NotMounted)
        }
    }

    fn write_pieces(
        &self,
        span_leaves: &[Leaf],
        pieces: &[(u64, Bytes)],
        kept: &mut Vec<u64>,
    ) -> Result<(), WriteError> {
        for (piece, bytes) in pieces {
            let within = usize::try_from(piece % SPAN_PIECES as u64).expect("below 64");
            let leaf = self.shape.leaf(*piece, bytes);
            if span_leaves.get(within) != Some(&leaf) {
                return Err(WriteError::Lies);
            }
            self.target().write(*piece, bytes)?;
            self.leaves.write(*piece, &[leaf])?;
            self.begin_files_if_known()?;
            kept.push(*piece);
        }
        self.sync_now_and_then(pieces)?;
        Ok(())
    }

    fn sync_now_and_then(&self, pieces: &[(u64, Bytes)]) -> io::Result<()> {
        let more: u64 = pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if self.unsynced.fetch_add(more, Ordering::Relaxed) + more < SYNC_BYTES {
            return Ok(());
        }
        self.unsynced.store(0, Ordering::Relaxed);
        // A folder may have very many files, so the system decides when to sync them.
        if let Target::File(file) = &*self.target() {
            let file = file.try_clone()?;
            file.sync_data()?;
        }
        self.leaves.sync()
    }

    /// Creates the files of a folder once its manifest is complete. The last piece of the manifest
    /// may contain the start of the first file, which is copied there.
    fn begin_files_if_known(&self) -> Result<(), WriteError> {
        let Target::Folder(parts) = &mut *self.target() else {
            return Ok(());
        };
        let Some(folder) = self.stored.offer.folder.filter(|_| parts.folder.is_none()) else {
            return Ok(());
        };
        if (parts.head_held.len() as u64) < parts.head_pieces {
            return Ok(());
        }
        let mut manifest =
            vec![0; usize::try_from(folder.manifest_bytes).expect("at most MANIFEST_BYTES_MAX")];
        parts.head.read_exact_at(&mut manifest, 0)?;
        let entries = clean_paths(manifest::decode(&self.stored.offer, folder, &manifest)?)?;
        let writer = FolderWriter::make(parts.dir.sub(FILES)?, manifest, entries, self.kept)?;
        let end = self
            .shape
            .size()
            .min(parts.head_pieces * PIECE_BYTES as u64);
        let mut rest =
            vec![0; usize::try_from(end - folder.manifest_bytes).expect("less than a piece")];
        parts.head.read_exact_at(&mut rest, folder.manifest_bytes)?;
        parts
            .folder
            .insert(writer)
            .write(folder.manifest_bytes, &rest)?;
        Ok(())
    }

    /// Checks the hash of the complete content, and syncs it to disk.
    pub(super) fn seal(&self) -> Result<(), WriteError> {
        let tree = read_tree(&self.leaves, self.shape)?;
        if tree.hash() != self.stored.offer.hash {
            return Err(WriteError::Lies);
        }
        match &mut *self.target() {
            Target::File(file) => {
                self.kept.apply(self.stored.offer.attributes, file)?;
                file.sync_all()?;
            }
            Target::Folder(parts) => {
                if let Some(folder) = &mut parts.folder {
                    folder.close()?;
                }
                parts.dir.sync_all_beneath()?;
            }
            Target::Gone => return Err(gone().into()),
        }
        Ok(())
    }

    /// A name that no other file in the folder has now.
    pub(super) fn free_name(&self) -> io::Result<String> {
        let name = names::clean(&self.stored.offer.name);
        for n in 1..=NAMES_MAX {
            let name = names::numbered(&name, n);
            if !self.downloads.has(&name)? {
                return Ok(name);
            }
        }
        Err(io::Error::other(format!(
            "the downloads folder has {NAMES_MAX} files named like {name}"
        )))
    }

    /// The path of this name in the downloads folder.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.downloads.path().join(name)
    }

    /// Renames the content, and adds it to the content index. Returns false if the name is taken.
    pub(super) fn finish(&self, name: &str, index: &ContentIndex) -> Result<bool, WriteError> {
        let target = self.target();
        let finished = match &*target {
            Target::File(_) => self
                .downloads
                .move_to(&self.place.part, &self.downloads, name)?,
            Target::Folder(parts) => parts.dir.move_to(FILES, &self.downloads, name)?,
            Target::Gone => return Err(gone().into()),
        };
        if !finished {
            return Ok(false);
        }
        if let Target::Folder(parts) = &*target {
            parts.dir.remove_file(HEAD)?;
            self.downloads.remove_folder(&self.place.part)?;
        }
        self.downloads.sync()?;
        if let Err(error) = fs::remove_file(&self.place.noted) {
            tracing::warn!("the record of a finished download can't be removed: {error}");
        }
        if let Err(error) = self
            .layout(&target, &self.path_of(name))
            .and_then(|it| index.keep(self.stored.offer.hash, &it, &self.place.leaves))
        {
            tracing::warn!("{name} is complete, but can't be served to others: {error}");
        }
        index.is_offered(self.stored.offer.hash);
        Ok(true)
    }

    fn layout(&self, target: &Target, place: &Path) -> io::Result<Layout> {
        let Target::Folder(parts) = target else {
            return Layout::of(place, Vec::new(), [PathBuf::new()]);
        };
        let Some(folder) = &parts.folder else {
            return Err(io::Error::other("its manifest is missing"));
        };
        Layout::of(place, folder.manifest().to_vec(), folder.paths())
    }

    /// Ends the download: streams stop at the next piece.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Removes the files. Later writes fail.
    pub(super) fn remove(&self) {
        self.cancel();
        let mut target = self.target();
        *target = Target::Gone;
        self.place.clear();
    }

    /// Whether the download has ended.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn target(&self) -> MutexGuard<'_, Target> {
        // A panic while the lock is held can't leave a target half changed.
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a partial download that is not open.
pub(super) fn discard(downloads: &Path, index: &ContentIndex, of: (LogId, Seq)) {
    Place::find(downloads, index, of).clear();
}

fn gone() -> io::Error {
    io::Error::other("the download has ended")
}

impl Target {
    fn read(&mut self, piece: u64, bytes: &mut [u8]) -> io::Result<()> {
        let offset = piece * PIECE_BYTES as u64;
        match self {
            Target::File(file) => file.read_exact_at(bytes, offset),
            Target::Folder(parts) if piece < parts.head_pieces => {
                parts.head.read_exact_at(bytes, offset)
            }
            Target::Folder(parts) => match &mut parts.folder {
                Some(folder) => folder.read(offset, bytes),
                None => Err(io::ErrorKind::NotFound.into()),
            },
            Target::Gone => Err(gone()),
        }
    }

    fn write(&mut self, piece: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = piece * PIECE_BYTES as u64;
        match self {
            // The file has its final length, so a piece of zeros may stay a hole.
            Target::File(_) if is_zero(bytes) => Ok(()),
            Target::File(file) => file.write_all_at(bytes, offset),
            Target::Folder(parts) if piece < parts.head_pieces => {
                parts.head.write_all_at(bytes, offset)?;
                parts.head_held.insert(piece);
                Ok(())
            }
            Target::Folder(parts) => match &mut parts.folder {
                Some(folder) => folder.write(offset, bytes),
                None => Err(io::Error::other(
                    "a piece of a file arrived before the manifest",
                )),
            },
            Target::Gone => Err(gone()),
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0) && bytes.iter().all(|byte| *byte == 0)
}
