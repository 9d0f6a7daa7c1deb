//! Content on its way: the part of it that is here, and the leaves that prove each piece of that
//! part.
//!
//! A part lies in the downloads folder under a name that does not show, and gets its own when it is
//! whole and on disk. It stays in the folder in which it was begun, also when another one is the
//! downloads folder meanwhile: the home knows which. The leaf of a piece is written after the
//! piece. So what a crash leaves behind proves itself: a piece counts as held if it has the hash
//! that is noted for it.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hobnob_protocol::content::{LEAF_BYTES, Leaf, PIECE_BYTES, SPAN_PIECES, Shape};
use hobnob_protocol::manifest::{self, ManifestError};
use hobnob_protocol::{LogId, Offer, OfferId, Seq};

use super::content_index::{ContentIndex, Layout, bytes_of, place_of, read_tree};
use super::folder::Folder;
use super::folder_writer::{FolderWriter, clean_paths};
use super::names::{self, NAMES_MAX};
use hobnob_core::transfers::Held;

/// Bytes after which a part is brought to disk: so much may have to come again after a power cut.
const SYNC_BYTES: u64 = 64 * 1024 * 1024;

/// Why a piece was not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// It does not have the hash it should have.
    #[error("it does not belong to what was offered")]
    Lies,
    /// No room.
    #[error("there is no room left on the disk")]
    Full,
    /// The list of files of a folder makes no sense: its author's doing.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The disk or the system fails.
    #[error("it can't be written: {0}")]
    Io(io::Error),
}

impl From<io::Error> for WriteError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an open list; all others mean: it failed"
    )]
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => WriteError::Full,
            _ => WriteError::Io(error),
        }
    }
}

/// A content that is wanted and not whole.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) id: OfferId,
    pub(super) offer: Offer,
    pub(super) shape: Shape,
    /// Says to those who fetch that nobody wants it any more.
    cancelled: AtomicBool,
    downloads: Folder,
    place: Place,
    leaves: File,
    target: Mutex<Target>,
    unsynced: AtomicU64,
}

#[derive(Debug)]
enum Target {
    File(File),
    Folder(Box<Parts>),
    /// Nobody wants it any more, and it is removed.
    Gone,
}

/// A folder on its way.
#[derive(Debug)]
struct Parts {
    dir: Folder,
    /// The first pieces, which hold the manifest.
    head: File,
    head_pieces: u64,
    head_held: HashSet<u64>,
    /// Where the rest goes, once the manifest is here.
    folder: Option<FolderWriter>,
}

/// The name of the list of leaves of a part, in the home.
fn leaves_name(log: LogId, seq: Seq) -> String {
    format!("{:016x}-{seq}.part", log.0)
}

/// Where a part lies, or will.
#[derive(Debug)]
struct Place {
    downloads: PathBuf,
    /// Its name in there. It begins with a dot, as no file does that has come.
    part: String,
    /// The list of its leaves, in the home.
    leaves: PathBuf,
    /// Says which `downloads` is, in the home.
    noted: PathBuf,
}

impl Place {
    /// Where it was begun, if it is there; else in this folder.
    fn find(downloads: &Path, index: &ContentIndex, (log, seq): (LogId, Seq)) -> Self {
        let leaves = leaves_name(log, seq);
        let part = format!(".hobnob-{leaves}");
        let (leaves, noted) = (
            index.path(&leaves),
            index.path(&format!("{log:016x}-{seq}.folder", log = log.0)),
        );
        let begun = fs::read(&noted).ok().map(|bytes| place_of(&bytes));
        let begun = begun.filter(|folder| folder.is_absolute() && is_there(&folder.join(&part)));
        let here = || std::path::absolute(downloads).unwrap_or_else(|_| downloads.to_owned());
        Self {
            downloads: begun.unwrap_or_else(here),
            part,
            leaves,
            noted,
        }
    }

    /// Remembers it, before there is anything. What is remembered already is not written again: a
    /// crash can't spoil it.
    fn note(&self) -> io::Result<()> {
        let path = bytes_of(&self.downloads);
        if fs::read(&self.noted).is_ok_and(|noted| noted == path) {
            return Ok(());
        }
        let mut file = File::create(&self.noted)?;
        file.write_all(&path)?;
        file.sync_all()
    }

    /// Removes what is there. The leaves go last: they tell that the part is this home's, and one
    /// without them is not touched.
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
            tracing::warn!("what is left of a transfer can't be removed: {error}");
        }
    }
}

/// Whether there is something. Where that can't be told, there may be.
fn is_there(path: &Path) -> bool {
    !path
        .symlink_metadata()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Which offers have leaves in the home: the log and the number of each. What has none there is
/// nothing that this home began.
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

/// In a part that is a folder: the first pieces, and the files.
const HEAD: &str = "head";
const FILES: &str = "files";

impl Partial {
    /// Takes up what is there of it, or begins. Blocks for as long as reading what is there takes.
    pub(super) fn open(
        downloads: &Path,
        index: &ContentIndex,
        id: OfferId,
        offer: Offer,
    ) -> Result<(Self, Held), WriteError> {
        let place = Place::find(downloads, index, (id.name.log, id.seq));
        let downloads = Folder::make(&place.downloads)?;
        place.note()?;
        let shape = Shape::of(offer.size);
        let leaves = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&place.leaves)?;
        leaves.set_len(shape.pieces() * LEAF_BYTES as u64)?;
        let target = match offer.folder {
            None => {
                let file = downloads.file(&place.part)?;
                file.set_len(offer.size)?;
                Target::File(file)
            }
            Some(folder) => {
                let dir = downloads.sub(&place.part)?;
                let head = dir.file(HEAD)?;
                let head_pieces = folder.manifest_bytes.div_ceil(PIECE_BYTES as u64);
                Target::Folder(Box::new(Parts {
                    dir,
                    head,
                    head_pieces,
                    head_held: HashSet::new(),
                    folder: None,
                }))
            }
        };
        let partial = Self {
            id,
            offer,
            shape,
            cancelled: AtomicBool::new(false),
            downloads,
            place,
            leaves,
            target: Mutex::new(target),
            unsynced: AtomicU64::new(0),
        };
        partial.begin_files_if_known()?;
        let held = partial.take_up()?;
        Ok((partial, held))
    }

    /// Whether there is a part of this offer.
    pub(super) fn is_there(downloads: &Path, index: &ContentIndex, id: OfferId) -> bool {
        let place = Place::find(downloads, index, (id.name.log, id.seq));
        is_there(&place.downloads.join(&place.part))
    }

    /// Finds out which pieces are here: those that have the hash noted for them.
    fn take_up(&self) -> Result<Held, WriteError> {
        let mut held = Held::none(self.shape);
        let mut buffer = vec![0; PIECE_BYTES];
        for piece in 0..self.shape.pieces() {
            let mut leaf: Leaf = [0; LEAF_BYTES];
            self.leaves
                .read_exact_at(&mut leaf, piece * LEAF_BYTES as u64)?;
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

    /// Keeps pieces of one span, each if it has the leaf it must have. Those that are kept are
    /// added to `kept`, also if one after them is not.
    pub(super) fn write(
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
            self.leaves.write_all_at(&leaf, piece * LEAF_BYTES as u64)?;
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
        // The files of a folder are left to the system: there may be very many.
        if let Target::File(file) = &*self.target() {
            let file = file.try_clone()?;
            file.sync_data()?;
        }
        self.leaves.sync_data()
    }

    /// Makes a folder's files once its manifest is here, and gives them what came with it.
    fn begin_files_if_known(&self) -> Result<(), WriteError> {
        let Target::Folder(parts) = &mut *self.target() else {
            return Ok(());
        };
        let Some(folder) = self.offer.folder.filter(|_| parts.folder.is_none()) else {
            return Ok(());
        };
        if (parts.head_held.len() as u64) < parts.head_pieces {
            return Ok(());
        }
        let mut manifest =
            vec![0; usize::try_from(folder.manifest_bytes).expect("at most MANIFEST_BYTES_MAX")];
        parts.head.read_exact_at(&mut manifest, 0)?;
        let entries = clean_paths(manifest::decode(&self.offer, folder, &manifest)?)?;
        let writer = FolderWriter::make(parts.dir.sub(FILES)?, manifest, entries)?;
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

    /// Makes sure that it is whole, and on disk.
    pub(super) fn seal(&self) -> Result<(), WriteError> {
        let tree = read_tree(&self.leaves, self.shape)?;
        if tree.hash() != self.offer.hash {
            return Err(WriteError::Lies);
        }
        match &mut *self.target() {
            Target::File(file) => file.sync_all()?,
            Target::Folder(parts) => {
                if let Some(folder) = &mut parts.folder {
                    folder.close();
                }
                parts.dir.sync_all_beneath()?;
            }
            Target::Gone => return Err(gone().into()),
        }
        Ok(())
    }

    /// A name for it that is not taken at the moment.
    pub(super) fn free_name(&self) -> io::Result<String> {
        let name = names::clean(&self.offer.name);
        for n in 1..=NAMES_MAX {
            let name = names::numbered(&name, n);
            if !self.downloads.has(&name)? {
                return Ok(name);
            }
        }
        Err(io::Error::other(format!(
            "there are {NAMES_MAX} files named like {name} already"
        )))
    }

    /// Where something of that name would be.
    pub(super) fn path_of(&self, name: &str) -> PathBuf {
        self.downloads.path().join(name)
    }

    /// Gives it its name, if that is still free, and keeps what is needed to serve it.
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
            tracing::warn!("what is left of a transfer can't be removed: {error}");
        }
        if let Err(error) = self
            .layout(&target, &self.path_of(name))
            .and_then(|it| index.keep(self.offer.hash, &it, &self.place.leaves))
        {
            tracing::warn!("{name} has come, but can't be passed on: {error}");
        }
        Ok(true)
    }

    fn layout(&self, target: &Target, place: &Path) -> io::Result<Layout> {
        let Target::Folder(parts) = target else {
            return Layout::of(place, Vec::new(), [PathBuf::new()]);
        };
        let Some(folder) = &parts.folder else {
            return Err(io::Error::other("its list of files is missing"));
        };
        Layout::of(place, folder.manifest().to_vec(), folder.paths())
    }

    /// Nobody wants it any more: those who fetch stop.
    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Removes what there is of it. Who is still about to write finds nothing to write to.
    pub(super) fn remove(&self) {
        self.cancel();
        let mut target = self.target();
        *target = Target::Gone;
        self.place.clear();
    }

    /// Whether nobody wants it any more.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn target(&self) -> MutexGuard<'_, Target> {
        // Nothing that holds the lock leaves a file half described.
        self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes what there is of a content that nobody has open.
pub(super) fn discard(downloads: &Path, index: &ContentIndex, of: (LogId, Seq)) {
    Place::find(downloads, index, of).clear();
}

fn gone() -> io::Error {
    io::Error::other("nobody wants it any more")
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
            // A hole stays one: the file has its length already.
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
                    "a piece of a file came before the list of files",
                )),
            },
            Target::Gone => Err(gone()),
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0) && bytes.iter().all(|byte| *byte == 0)
}
