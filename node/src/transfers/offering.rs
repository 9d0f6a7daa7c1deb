//! Makes an offer of a file or folder: reads it, computes its hash, and adds it to the content index.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use hobnob_protocol::content::{Leaf, PIECE_BYTES, SPAN_PIECES, Shape, Tree};
use hobnob_protocol::manifest::{self, ManifestEntry};
use hobnob_protocol::offer::{self, FOLDER_FILES_MAX, MANIFEST_BYTES_MAX, Offer, OfferError};

use super::content_index::{ContentError, ContentIndex, Layout, Reader};
use super::leaf_file::LeafFile;

/// Why a path can't be offered.
#[derive(Debug, thiserror::Error)]
pub(super) enum PathError {
    /// The file can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// The path.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The path is neither a file nor a folder.
    #[error("{0} is neither a file nor a folder")]
    Special(String),
    /// A file changed while it was read.
    #[error("{0} has changed while it was read: try again when no program writes to it")]
    Changed(String),
    /// The content index can't be written.
    #[error("can't store the hashes of a file in this home: {0}")]
    Keep(io::Error),
    /// The limits of an offer are exceeded.
    #[error(transparent)]
    Offer(#[from] OfferError),
}

/// Reads the file or folder at `path` and adds it to the index. Waits until all of it is read.
pub(super) fn offer(path: &Path, index: &ContentIndex) -> Result<Offer, PathError> {
    let read = |source| PathError::Read {
        path: path.display().to_string(),
        source,
    };
    let root = path.canonicalize().map_err(read)?;
    let stat = fs::metadata(&root).map_err(read)?;
    let name = root
        .file_name()
        .unwrap_or(root.as_os_str())
        .to_string_lossy()
        .into_owned();
    let (layout, folder) = if stat.is_file() {
        (
            Layout::of(&root, Vec::new(), [PathBuf::new()]).map_err(read)?,
            None,
        )
    } else if stat.is_dir() {
        let (layout, folder) = lay_out(&root).map_err(|error| error.unwrap_or_else(read))?;
        (layout, Some(folder))
    } else {
        return Err(PathError::Special(root.display().to_string()));
    };
    let media = if folder.is_some() {
        String::new()
    } else {
        media_type(&name).to_owned()
    };
    let size = layout.size();
    let unhashed = Offer {
        name,
        media,
        size,
        hash: offer::ContentHash([0; 32]),
        folder,
    };
    unhashed.check()?;
    let hash = hash(layout, index).map_err(|error| match error {
        HashError::ContentIndex(ContentError::Changed(what)) => PathError::Changed(what),
        HashError::ContentIndex(ContentError::Missing(source)) => read(source),
        HashError::Keep(error) => PathError::Keep(error),
    })?;
    Ok(Offer { hash, ..unhashed })
}

/// Why a folder has no layout.
enum LayError {
    Read(io::Error),
    Offer(OfferError),
}

impl LayError {
    fn unwrap_or_else(self, read: impl FnOnce(io::Error) -> PathError) -> PathError {
        match self {
            LayError::Read(error) => read(error),
            LayError::Offer(error) => error.into(),
        }
    }
}

/// The layout of a folder, with its entries sorted by name. Leaves out symbolic links and everything
/// else that is neither file nor folder.
fn lay_out(root: &Path) -> Result<(Layout, offer::Folder), LayError> {
    let mut entries = Vec::new();
    walk(root, Path::new(""), &mut entries)
        .map_err(|error| error.map_or(LayError::Offer(OfferError::Folder), LayError::Read))?;
    let files = entries.len() as u64;
    let paths = entries
        .iter()
        .filter(|(_, is_folder)| !is_folder)
        .map(|(path, _)| path.clone());
    let layout = Layout::of(root, Vec::new(), paths).map_err(LayError::Read)?;
    let mut sizes = layout.sizes();
    let listed = entries.iter().map(|(path, is_folder)| {
        let name = path.to_string_lossy();
        if *is_folder {
            return ManifestEntry {
                path: format!("{name}/"),
                size: 0,
            };
        }
        ManifestEntry {
            path: name.into_owned(),
            size: sizes.next().expect("the layout has one size for each file"),
        }
    });
    let listed: Vec<_> = listed.collect();
    drop(sizes);
    let head = manifest::encode(&listed);
    let manifest_bytes = head.len() as u64;
    if manifest_bytes > MANIFEST_BYTES_MAX {
        return Err(LayError::Offer(OfferError::Folder));
    }
    Ok((
        layout.with_head(head),
        offer::Folder {
            manifest_bytes,
            files,
        },
    ))
}

/// Lists files and empty folders. `Err(None)` means that there are too many.
fn walk(
    root: &Path,
    below: &Path,
    entries: &mut Vec<(PathBuf, bool)>,
) -> Result<(), Option<io::Error>> {
    let read = fs::read_dir(root.join(below)).map_err(Some)?;
    let names =
        read.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(Some)?;
    names.sort_by(|(one, _), (other, _)| one.cmp(other));
    let before = entries.len();
    for (name, kind) in names {
        let path = below.join(name);
        if kind.is_dir() {
            walk(root, &path, entries)?;
        } else if kind.is_file() {
            entries.push((path, false));
        }
        if entries.len() as u64 > FOLDER_FILES_MAX {
            return Err(None);
        }
    }
    if entries.len() == before && !below.as_os_str().is_empty() {
        entries.push((below.to_owned(), true));
    }
    Ok(())
}

enum HashError {
    ContentIndex(ContentError),
    Keep(io::Error),
}

/// Computes the hash of a content and adds the content to the index.
fn hash(layout: Layout, index: &ContentIndex) -> Result<offer::ContentHash, HashError> {
    let shape = Shape::of(layout.size());
    // Each call has its own file until the hash names it, so two calls can run at once.
    let (file, path) = tempfile_in(index).map_err(HashError::Keep)?;
    let hashed = write_leaves(&layout, shape, &index.leaves_in(file));
    let kept = hashed.and_then(|hash| {
        index
            .keep(hash, &layout, &path)
            .map(|()| hash)
            .map_err(HashError::Keep)
    });
    if kept.is_err() {
        let _ = fs::remove_file(&path);
    }
    kept
}

fn tempfile_in(index: &ContentIndex) -> io::Result<(File, PathBuf)> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let path = index.path(&format!("{}.leaves", NEXT.fetch_add(1, Ordering::Relaxed)));
    Ok((File::create(&path)?, path))
}

fn write_leaves(
    layout: &Layout,
    shape: Shape,
    file: &LeafFile,
) -> Result<offer::ContentHash, HashError> {
    let reader = Reader::new(layout.clone());
    let mut spans = Vec::with_capacity(usize::try_from(shape.spans()).unwrap_or_default());
    let mut buffer = vec![0; PIECE_BYTES * SPAN_PIECES];
    for span in 0..shape.spans() {
        let first = span * SPAN_PIECES as u64;
        let start = first * PIECE_BYTES as u64;
        let len = usize::try_from((shape.size() - start).min(buffer.len() as u64))
            .expect("at most a span");
        let bytes = &mut buffer[..len];
        reader.fill(start, bytes).map_err(HashError::ContentIndex)?;
        let leaves = leaves_of(shape, first, bytes);
        file.write(first, &leaves).map_err(HashError::Keep)?;
        spans.push(shape.fold(&leaves));
    }
    Ok(Tree::new(spans).hash())
}

/// The leaves of a span. A second thread helps if the span has more than half of its pieces.
fn leaves_of(shape: Shape, first: u64, bytes: &[u8]) -> Vec<Leaf> {
    let leaves = |first: u64, bytes: &[u8]| -> Vec<Leaf> {
        bytes
            .chunks(PIECE_BYTES)
            .zip(first..)
            .map(|(bytes, piece)| shape.leaf(piece, bytes))
            .collect()
    };
    let half = PIECE_BYTES * SPAN_PIECES / 2;
    if bytes.len() <= half {
        return leaves(first, bytes);
    }
    let (low, high) = bytes.split_at(half);
    std::thread::scope(|scope| {
        let high = scope.spawn(|| leaves(first + SPAN_PIECES as u64 / 2, high));
        let mut all = leaves(first, low);
        all.extend(high.join().expect("hashing does not panic"));
        all
    })
}

/// The media type for a file name's extension. Only a hint for the recipient, so the list has just
/// the common types.
fn media_type(name: &str) -> &'static str {
    let ending = name
        .rsplit_once('.')
        .map(|(_, ending)| ending.to_ascii_lowercase())
        .unwrap_or_default();
    match ending.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "flac" => "audio/flac",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "json" => "application/json",
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn index(dir: &Path) -> ContentIndex {
        ContentIndex::open(dir.join("content"), None).unwrap()
    }

    #[test]
    fn a_file_is_offered_by_the_hash_that_everybody_knows() {
        let dir = tempfile::tempdir().unwrap();
        let index = index(dir.path());
        for size in [0, 1, PIECE_BYTES, PIECE_BYTES * SPAN_PIECES + 77] {
            let bytes: Vec<u8> = (0..=252).cycle().take(size).collect();
            let path = dir.path().join("a.png");
            fs::write(&path, &bytes).unwrap();
            let offer = offer(&path, &index).unwrap();
            assert_eq!(
                (offer.name.as_str(), offer.media.as_str(), offer.size),
                ("a.png", "image/png", size as u64)
            );
            assert_eq!(offer.hash.0, *blake3::hash(&bytes).as_bytes());
            let content = index.find(offer.hash, offer.size).unwrap();
            assert_eq!(content.pieces(0..content.shape.pieces()).unwrap(), bytes);
        }
    }

    #[test]
    fn a_folder_is_its_manifest_and_its_files_without_links() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("folder");
        fs::create_dir_all(root.join("sub/empty")).unwrap();
        fs::write(root.join("b"), "bb").unwrap();
        fs::write(root.join("a"), "").unwrap();
        fs::write(root.join("sub/c"), "ccc").unwrap();
        symlink("/etc/passwd", root.join("link")).unwrap();
        let index = index(dir.path());
        let offer = offer(&root, &index).unwrap();
        let folder = offer.folder.unwrap();
        let content = index.find(offer.hash, offer.size).unwrap();
        let bytes = content.pieces(0..1).unwrap();
        let (head, files) = bytes.split_at(usize::try_from(folder.manifest_bytes).unwrap());
        let entry = |path: &str, size| ManifestEntry {
            path: path.into(),
            size,
        };
        let expected = [
            entry("a", 0),
            entry("b", 2),
            entry("sub/c", 3),
            entry("sub/empty/", 0),
        ];
        assert_eq!(manifest::decode(&offer, folder, head).unwrap(), expected);
        assert_eq!(files, b"bbccc");
    }

    #[test]
    fn a_file_that_changed_is_served_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "before").unwrap();
        let index = index(dir.path());
        let offer = offer(&path, &index).unwrap();
        fs::write(&path, "and after").unwrap();
        let content = index.find(offer.hash, offer.size).unwrap();
        assert!(
            matches!(content.pieces(0..1), Err(ContentError::Changed(what)) if what.ends_with("/a"))
        );
        fs::remove_file(&path).unwrap();
        let content = index.find(offer.hash, offer.size).unwrap();
        assert!(matches!(
            content.pieces(0..1),
            Err(ContentError::Missing(_))
        ));
    }

    #[test]
    fn what_is_neither_file_nor_folder_is_no_offer() {
        let dir = tempfile::tempdir().unwrap();
        let index = index(dir.path());
        assert!(matches!(
            offer(Path::new("/dev/null"), &index),
            Err(PathError::Special(_))
        ));
        assert!(matches!(
            offer(&dir.path().join("none"), &index),
            Err(PathError::Read { .. })
        ));
    }
}
