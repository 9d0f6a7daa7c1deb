//! The contents that this node can serve. For each hash, the index has a *layout* (where the bytes
//! are) and a *tree* file (the leaves that prove them).
//!
//! Both are files in the home's `content` folder, named by the hash. The bytes stay in the user's
//! files. The index notices by size and modification time that a file has changed, and no longer
//! serves it. In a locked home, the files and their names are encrypted.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hobnob_limits::RecentSet;
use hobnob_protocol::ContentHash;
use hobnob_protocol::codec;
use hobnob_protocol::content::{LEAF_BYTES, Leaf, PIECE_BYTES, SPAN_PIECES, Shape, Tree};
use hobnob_protocol::offer::Attributes;
use serde::{Deserialize, Serialize};

use super::attributes;
use super::leaf_file::LeafFile;
use crate::data_key::{DataKey, NAMES};

/// Maximum memory for a decoded layout. Enough for a folder with the maximum number of files and
/// long paths.
const LAYOUT_MEMORY_MAX: usize = 512 * 1024 * 1024;

/// Bytes at the start of a layout that contain its root. The longest path is shorter.
const ROOT_BYTES_MAX: usize = 8 * 1024;

/// The kind of a sealed layout.
pub(super) const LAYOUT: &str = "layout";

/// Why content can't be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentError {
    /// It is missing or can't be read.
    #[error("it can't be read: {0}")]
    Missing(#[from] io::Error),
    /// A file has changed since the hash was computed.
    #[error("{0} has changed since it was offered")]
    Changed(String),
}

/// The bytes of a path, as the store and the layouts contain it.
pub(super) fn bytes_of(path: &Path) -> Vec<u8> {
    path.as_os_str().as_bytes().to_vec()
}

/// The path with these bytes.
pub(super) fn place_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Where the bytes of a content are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Layout {
    /// The path of the file, or of the folder that contains `files`.
    root: Vec<u8>,
    /// The bytes before the files: the manifest of a folder.
    head: Vec<u8>,
    /// The files, one after another.
    files: Vec<FileStamp>,
}

/// One file of a content, with its size and modification time when the hash was computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamp {
    /// Its path below the root. Empty if it is the root.
    path: Vec<u8>,
    pub(super) size: u64,
    changed_s: i64,
    changed_ns: i64,
    pub(super) attributes: Attributes,
}

/// A range of the content, within the head or one file.
enum Stretch {
    Head {
        start: usize,
        len: usize,
    },
    File {
        index: usize,
        offset: u64,
        len: usize,
    },
}

impl Layout {
    /// The layout of files as they are now. `paths` are below `root`. One empty path means `root`
    /// itself.
    pub(super) fn of(
        root: &Path,
        head: Vec<u8>,
        paths: impl IntoIterator<Item = PathBuf>,
    ) -> io::Result<Self> {
        let stamp = |path: PathBuf| {
            let stat = fs::metadata(join(root, &path))?;
            let path = path.into_os_string().into_vec();
            Ok(FileStamp {
                path,
                size: stat.len(),
                changed_s: stat.mtime(),
                changed_ns: stat.mtime_nsec(),
                attributes: attributes::of(&stat),
            })
        };
        let files = paths.into_iter().map(stamp).collect::<io::Result<_>>()?;
        Ok(Self {
            root: bytes_of(root),
            head,
            files,
        })
    }

    /// The size of the content in bytes.
    pub(super) fn size(&self) -> u64 {
        self.files.iter().fold(self.head.len() as u64, |sum, file| {
            sum.saturating_add(file.size)
        })
    }

    /// The files.
    pub(super) fn stamps(&self) -> impl Iterator<Item = &FileStamp> {
        self.files.iter()
    }

    /// The sizes of the files.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> {
        self.files.iter().map(|file| file.size)
    }

    /// Whether all files are there and have not changed.
    fn is_unchanged(&self) -> bool {
        let is = |(index, stamp): (usize, &FileStamp)| {
            fs::metadata(self.path_of(index)).is_ok_and(|stat| stamp.is(&stat))
        };
        self.files.iter().enumerate().all(is)
    }

    /// The layout with a manifest before the files.
    pub(super) fn with_head(self, head: Vec<u8>) -> Self {
        Self { head, ..self }
    }

    /// The file, if the content is a single file.
    fn only(&self) -> Option<(PathBuf, &FileStamp)> {
        match &self.files[..] {
            [stamp] if self.head.is_empty() => Some((self.path_of(0), stamp)),
            _ => None,
        }
    }

    fn path_of(&self, index: usize) -> PathBuf {
        let root = Path::new(std::ffi::OsStr::from_bytes(&self.root));
        join(
            root,
            Path::new(std::ffi::OsStr::from_bytes(&self.files[index].path)),
        )
    }
}

impl FileStamp {
    /// Whether the file has not changed.
    fn is(&self, stat: &fs::Metadata) -> bool {
        (stat.len(), stat.mtime(), stat.mtime_nsec())
            == (self.size, self.changed_s, self.changed_ns)
    }
}

fn join(root: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        root.to_owned()
    } else {
        root.join(path)
    }
}

/// The bytes of a content, open for reading.
#[derive(Debug)]
pub(super) struct Reader {
    layout: Layout,
    /// The offset of each file in the content.
    starts: Vec<u64>,
    /// The file that was read last, and its index.
    open: Mutex<Option<(usize, File)>>,
}

impl Reader {
    pub(super) fn new(layout: Layout) -> Self {
        let mut at = layout.head.len() as u64;
        let mut starts = Vec::with_capacity(layout.files.len());
        for size in layout.sizes() {
            starts.push(at);
            at = at.saturating_add(size);
        }
        Self {
            layout,
            starts,
            open: Mutex::new(None),
        }
    }

    /// Fills the buffer with the bytes at `offset`. The range must be within the content.
    pub(super) fn fill(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ContentError> {
        let mut done = 0;
        while done < buffer.len() {
            let rest = &mut buffer[done..];
            let stretch = self
                .stretch(offset + done as u64, rest.len())
                .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            done += match stretch {
                Stretch::Head { start, len } => {
                    rest[..len].copy_from_slice(&self.layout.head[start..start + len]);
                    len
                }
                Stretch::File { index, offset, len } => {
                    self.fill_from(index, offset, &mut rest[..len])?;
                    len
                }
            };
        }
        Ok(())
    }

    fn stretch(&self, at: u64, most: usize) -> Option<Stretch> {
        let head = self.layout.head.len();
        if let Some(start) = usize::try_from(at).ok().filter(|start| *start < head) {
            return Some(Stretch::Head {
                start,
                len: most.min(head - start),
            });
        }
        // If several files start at one offset, all but the last are empty.
        let index = self
            .starts
            .partition_point(|start| *start <= at)
            .checked_sub(1)?;
        let offset = at - self.starts[index];
        let left = self.layout.files[index]
            .size
            .checked_sub(offset)
            .filter(|left| *left > 0)?;
        let len = most.min(usize::try_from(left).unwrap_or(usize::MAX));
        Some(Stretch::File { index, offset, len })
    }

    /// Reads from a file. Fails if the file has changed before or during the read.
    fn fill_from(&self, index: usize, offset: u64, buffer: &mut [u8]) -> Result<(), ContentError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.as_ref().is_none_or(|(at, _)| *at != index) {
            *open = Some((index, File::open(self.layout.path_of(index))?));
        }
        let Some((_, file)) = open.as_ref() else {
            unreachable!("opened above")
        };
        let read = file.read_exact_at(buffer, offset);
        if !self.layout.files[index].is(&file.metadata()?) {
            return Err(ContentError::Changed(
                self.layout.path_of(index).display().to_string(),
            ));
        }
        Ok(read?)
    }
}

/// Content that is open for serving.
#[derive(Debug)]
pub(super) struct IndexedContent {
    pub(super) shape: Shape,
    reader: Reader,
    leaves: LeafFile,
    tree: Tree,
}

impl IndexedContent {
    /// The proof of a span, followed by the leaves of its pieces, as an answer contains them.
    pub(super) fn proof(&self, span: u64) -> io::Result<Bytes> {
        let mut bytes: Vec<u8> = self.tree.proof(span).into_flattened();
        bytes.extend(read_leaves(&self.leaves, self.shape, span)?.into_flattened());
        Ok(bytes.into())
    }

    /// Consecutive pieces.
    pub(super) fn pieces(&self, pieces: std::ops::Range<u64>) -> Result<Bytes, ContentError> {
        let len = pieces
            .clone()
            .map(|piece| self.shape.piece_len(piece))
            .sum();
        let mut bytes = vec![0; len];
        self.reader
            .fill(pieces.start * PIECE_BYTES as u64, &mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads the leaves of a span from a tree file.
pub(super) fn read_leaves(file: &LeafFile, shape: Shape, span: u64) -> io::Result<Vec<Leaf>> {
    let mut leaves = vec![[0; LEAF_BYTES]; shape.pieces_in(span)];
    file.read(span * SPAN_PIECES as u64, &mut leaves)?;
    Ok(leaves)
}

/// Computes the tree above the spans from a tree file.
pub(super) fn read_tree(file: &LeafFile, shape: Shape) -> io::Result<Tree> {
    let spans = (0..shape.spans()).map(|span| Ok(shape.fold(&read_leaves(file, shape, span)?)));
    Ok(Tree::new(spans.collect::<io::Result<_>>()?))
}

/// Maximum number of paths of one content that are remembered. One more replaces a path whose files
/// have changed, or else the last one.
const LAYOUTS_MAX: usize = 4;

/// Contents whose offer is not on disk yet that are remembered.
const AWAITED_MAX: usize = 1024;

/// The home's `content` folder.
#[derive(Debug, Clone)]
pub(super) struct ContentIndex {
    dir: PathBuf,
    /// The key of a locked home.
    data_key: Option<DataKey>,
    /// Contents that were added, and whose offer may not be on disk yet.
    awaited: Arc<Mutex<RecentSet<ContentHash, AWAITED_MAX>>>,
    /// Held while a layout is written.
    writing: Arc<Mutex<()>>,
}

impl ContentIndex {
    /// Opens the folder. Creates it if it is missing.
    pub(super) fn open(dir: PathBuf, data_key: Option<DataKey>) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)?;
        Ok(Self {
            dir,
            data_key,
            awaited: Arc::default(),
            writing: Arc::default(),
        })
    }

    /// The names of the files in it.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = String>> {
        Ok(fs::read_dir(&self.dir)?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok()))
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Adds a content. `leaves` is a file in this folder, which becomes the tree file. The content
    /// is durable when this returns.
    ///
    /// The same content may be at several paths. Each has a layout, up to [`LAYOUTS_MAX`], so that
    /// the content stays available until the last of them is gone.
    pub(super) fn keep(&self, hash: ContentHash, layout: &Layout, leaves: &Path) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.awaited().add(hash);
        let new = self.path(&format!("{}.new", self.stored_name(hash)));
        let mut file = File::create(&new)?;
        file.write_all(&self.seal(LAYOUT, &codec::encode(layout)))?;
        file.sync_all()?;
        File::open(leaves)?.sync_all()?;
        fs::rename(leaves, self.tree_path(hash))?;
        fs::rename(&new, self.layout_path(hash, self.place_for(hash, layout)))?;
        File::open(&self.dir)?.sync_all()
    }

    /// The place of a new layout: that of the same path, a free one, one whose files have changed, or
    /// the last one.
    fn place_for(&self, hash: ContentHash, layout: &Layout) -> usize {
        let read: Vec<_> = (0..LAYOUTS_MAX)
            .map(|n| self.layout(hash, n).ok())
            .collect();
        let same_path = |at: &Option<Layout>| at.as_ref().is_some_and(|at| at.root == layout.root);
        let same = read.iter().position(same_path);
        same.or_else(|| read.iter().position(Option::is_none))
            .or_else(|| read.iter().flatten().position(|at| !at.is_unchanged()))
            .unwrap_or(LAYOUTS_MAX - 1)
    }

    fn layout(&self, hash: ContentHash, n: usize) -> io::Result<Layout> {
        let bytes = self.read_layout(hash, n)?;
        codec::decode::<Layout, LAYOUT_MEMORY_MAX>(&bytes).map_err(io::Error::other)
    }

    /// The layout whose files have not changed, or else the first one. Only a content at several
    /// paths costs a look at all its files.
    fn best_layout(&self, hash: ContentHash) -> io::Result<Layout> {
        let first = self.layout(hash, 0);
        let others: Vec<_> = (1..LAYOUTS_MAX)
            .filter_map(|n| self.layout(hash, n).ok())
            .collect();
        if others.is_empty() || first.as_ref().is_ok_and(Layout::is_unchanged) {
            return first;
        }
        others
            .into_iter()
            .find(Layout::is_unchanged)
            .map_or(first, Ok)
    }

    /// An offer of this content is on disk: the content is part of the index for as long as an offer
    /// names it.
    pub(super) fn is_offered(&self, hash: ContentHash) {
        self.awaited().remove(hash);
    }

    /// The contents that are in the index, apart from those whose offer may not be on disk yet.
    pub(super) fn contents(&self) -> io::Result<BTreeSet<ContentHash>> {
        let content = |name: String| {
            let (hash, kind) = name.split_once('.')?;
            let hash = hash.parse().ok()?;
            let is_layout = kind.starts_with("layout");
            (is_layout || ["tree", "new"].contains(&kind)).then(|| self.hash_of(hash))
        };
        let mut contents: BTreeSet<_> = self.names()?.filter_map(content).collect();
        let awaited = self.awaited();
        contents.retain(|hash| !awaited.contains(*hash));
        Ok(contents)
    }

    /// Removes a content. Its bytes stay in the user's files.
    pub(super) fn remove(&self, hash: ContentHash) -> io::Result<()> {
        if self.awaited().contains(hash) {
            return Ok(()); // It was offered again a moment ago.
        }
        let unfinished = self.path(&format!("{}.new", self.stored_name(hash)));
        let layouts = (0..LAYOUTS_MAX).map(|n| self.layout_path(hash, n));
        for path in layouts.chain([self.tree_path(hash), unfinished]) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn awaited(&self) -> MutexGuard<'_, RecentSet<ContentHash, AWAITED_MAX>> {
        // No code that holds the lock can panic with the set half changed.
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path of the file or folder with this hash. It may have been deleted since.
    pub(super) fn root(&self, hash: ContentHash) -> Option<PathBuf> {
        let roots = (0..LAYOUTS_MAX).map_while(|n| self.root_of(hash, n));
        let mut roots = roots.peekable();
        let first = roots.peek().cloned();
        roots.find(|root| root.symlink_metadata().is_ok()).or(first)
    }

    fn root_of(&self, hash: ContentHash, n: usize) -> Option<PathBuf> {
        let start = match self.data_key {
            Some(_) => self.read_layout(hash, n).ok()?,
            None => {
                let mut start = Vec::with_capacity(ROOT_BYTES_MAX);
                File::open(self.layout_path(hash, n))
                    .ok()?
                    .take(ROOT_BYTES_MAX as u64)
                    .read_to_end(&mut start)
                    .ok()?;
                start
            }
        };
        let start = &start[..start.len().min(ROOT_BYTES_MAX)];
        // A layout begins with its root.
        let (root, _) = codec::decode_prefix::<Vec<u8>, ROOT_BYTES_MAX>(start).ok()?;
        Some(place_of(&root))
    }

    /// The path of a content that is a single file, if the file has not changed.
    pub(super) fn file(&self, hash: ContentHash) -> Option<PathBuf> {
        let layout = self.best_layout(hash).ok()?;
        let (path, stamp) = layout.only()?;
        stamp.is(&fs::metadata(&path).ok()?).then_some(path)
    }

    /// Opens content for serving.
    pub(super) fn find(
        &self,
        hash: ContentHash,
        size: u64,
    ) -> Result<IndexedContent, ContentError> {
        let damaged = |what: &str| ContentError::Missing(io::Error::other(what.to_owned()));
        let layout = self.best_layout(hash)?;
        let leaves = self.leaves_in(File::open(self.tree_path(hash))?);
        let shape = Shape::of(size);
        let tree = read_tree(&leaves, shape)?;
        if layout.size() != size || tree.hash() != hash {
            return Err(damaged("its record in the home folder is damaged"));
        }
        Ok(IndexedContent {
            shape,
            reader: Reader::new(layout),
            leaves,
            tree,
        })
    }

    /// A file of leaves in this folder.
    pub(super) fn leaves_in(&self, file: File) -> LeafFile {
        LeafFile::new(file, self.data_key.clone())
    }

    /// The content of a small file, as it is stored in this folder.
    pub(super) fn seal(&self, kind: &str, content: &[u8]) -> Vec<u8> {
        match &self.data_key {
            Some(key) => key.blobs().seal(kind, content),
            None => content.to_vec(),
        }
    }

    /// Reverses [`ContentIndex::seal`].
    pub(super) fn unseal(&self, kind: &str, stored: Vec<u8>) -> io::Result<Vec<u8>> {
        let Some(key) = &self.data_key else {
            return Ok(stored);
        };
        let opened = key.blobs().open(kind, &stored);
        opened.ok_or_else(|| io::Error::other("its record in the home folder is damaged"))
    }

    fn read_layout(&self, hash: ContentHash, n: usize) -> io::Result<Vec<u8>> {
        self.unseal(LAYOUT, fs::read(self.layout_path(hash, n))?)
    }

    /// The name of a content's files. It does not show the hash of a locked home's content.
    pub(super) fn stored_name(&self, ContentHash(mut hash): ContentHash) -> ContentHash {
        if let Some(key) = &self.data_key {
            key.blocks().encrypt(NAMES, 0, &mut hash);
        }
        ContentHash(hash)
    }

    /// Reverses [`ContentIndex::stored_name`].
    pub(super) fn hash_of(&self, ContentHash(mut name): ContentHash) -> ContentHash {
        if let Some(key) = &self.data_key {
            key.blocks().decrypt(NAMES, 0, &mut name);
        }
        ContentHash(name)
    }

    fn tree_path(&self, hash: ContentHash) -> PathBuf {
        self.path(&format!("{}.tree", self.stored_name(hash)))
    }

    fn layout_path(&self, hash: ContentHash, n: usize) -> PathBuf {
        let name = self.stored_name(hash);
        match n {
            0 => self.path(&format!("{name}.layout")),
            n => self.path(&format!("{name}.layout{n}")),
        }
    }
}
