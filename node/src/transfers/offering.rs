//! Makes an offer of a file or folder: reads it, computes its hash, and adds it to the content index.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use hobnob_protocol::content::{Leaf, PIECE_BYTES, SPAN_PIECES, Shape, Tree};
use hobnob_protocol::manifest::{self, ManifestEntry, PATH_BYTES_MAX, PATH_PARTS_MAX};
use hobnob_protocol::offer::{
    self, Attributes, FOLDER_FILES_MAX, MANIFEST_BYTES_MAX, OFFER_NAME_MAX, Offer, OfferError,
};
use rustix::fs::Access;

use super::attributes;
use super::content_index::{ContentError, ContentIndex, Layout, Reader};
use super::leaf_file::LeafFile;
use super::names;
use crate::PreparedOffer;

/// Maximum number of paths that an offer of a folder reports as left out.
const LEFT_OUT_MAX: usize = 100;

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
    /// A path in a folder is longer or deeper than a recipient accepts.
    #[error(
        "{0} is too long or too deep for a recipient: rename it, or pack the folder into an archive"
    )]
    TooDeep(String),
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
pub(super) fn offer(path: &Path, index: &ContentIndex) -> Result<PreparedOffer, PathError> {
    let read = |source| read_error(path, source);
    let root = path.canonicalize().map_err(read)?;
    let stat = fs::metadata(&root).map_err(read)?;
    let name = wire_name(root.file_name().unwrap_or(root.as_os_str()));
    let mut left_out = LeftOut::default();
    let (layout, folder) = if stat.is_file() {
        (
            Layout::of(&root, Vec::new(), [PathBuf::new()]).map_err(read)?,
            None,
        )
    } else if stat.is_dir() {
        let (layout, folder) = lay_out(&root, &mut left_out)?;
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
        attributes: match folder {
            Some(_) => Attributes::default(),
            None => attributes::of(&stat),
        },
        caption: String::new(),
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
    Ok(PreparedOffer {
        offer: Offer { hash, ..unhashed },
        left_out: left_out.lines(),
    })
}

fn read_error(path: &Path, source: io::Error) -> PathError {
    PathError::Read {
        path: path.display().to_string(),
        source,
    }
}

/// A name as the recipient reads it. A name in another encoding has stand-ins for its bytes, which
/// may be longer than the name: it is shortened to the length that every recipient accepts.
fn wire_name(name: &OsStr) -> String {
    names::cut(&name.to_string_lossy(), OFFER_NAME_MAX)
}

/// The paths that a folder's offer does not contain.
#[derive(Debug, Default)]
struct LeftOut {
    lines: Vec<String>,
    others: usize,
}

impl LeftOut {
    fn add(&mut self, path: &Path, why: &str) {
        if self.lines.len() < LEFT_OUT_MAX {
            self.lines.push(format!("{} ({why})", path.display()));
        } else {
            self.others += 1;
        }
    }

    fn lines(mut self) -> Vec<String> {
        if self.others > 0 {
            self.lines.push(format!("and {} more", self.others));
        }
        self.lines
    }
}

/// The layout of a folder, with its entries sorted by name. Leaves out symbolic links, files that
/// can't be read, and everything else that is neither file nor folder.
fn lay_out(root: &Path, left_out: &mut LeftOut) -> Result<(Layout, offer::Folder), PathError> {
    let mut entries = Vec::new();
    walk(root, Path::new(""), &mut entries, left_out)?;
    let files = entries.len() as u64;
    let paths = entries
        .iter()
        .filter(|(_, is_folder)| !is_folder)
        .map(|(path, _)| path.clone());
    let layout = Layout::of(root, Vec::new(), paths).map_err(|source| read_error(root, source))?;
    let mut stamps = layout.stamps();
    let listed = entries.iter().map(|(path, is_folder)| {
        let names: Vec<_> = path.iter().map(wire_name).collect();
        let fits = |path: &str| path.len() <= PATH_BYTES_MAX && names.len() <= PATH_PARTS_MAX;
        let (path_sent, size, attributes) = match is_folder {
            true => (names.join("/") + "/", 0, Attributes::default()),
            false => {
                let stamp = stamps.next();
                let stamp = stamp.expect("the layout has one stamp for each file");
                (names.join("/"), stamp.size, stamp.attributes)
            }
        };
        if !fits(&path_sent) {
            return Err(PathError::TooDeep(path.display().to_string()));
        }
        Ok(ManifestEntry {
            attributes,
            path: path_sent,
            size,
        })
    });
    let listed = listed.collect::<Result<Vec<_>, _>>()?;
    drop(stamps);
    let head = manifest::encode(&listed);
    let manifest_bytes = head.len() as u64;
    if manifest_bytes > MANIFEST_BYTES_MAX {
        return Err(OfferError::Folder.into());
    }
    Ok((
        layout.with_head(head),
        offer::Folder {
            manifest_bytes,
            files,
        },
    ))
}

/// Lists files and empty folders.
fn walk(
    root: &Path,
    below: &Path,
    entries: &mut Vec<(PathBuf, bool)>,
    left_out: &mut LeftOut,
) -> Result<(), PathError> {
    let folder = root.join(below);
    let read = |source| read_error(&folder, source);
    let listed = match fs::read_dir(&folder) {
        Ok(listed) => listed,
        Err(error) if !below.as_os_str().is_empty() && is_forbidden(&error) => {
            left_out.add(below, "can't be read");
            return Ok(());
        }
        Err(error) => return Err(read(error)),
    };
    let names =
        listed.map(|entry| entry.and_then(|entry| Ok((entry.file_name(), entry.file_type()?))));
    let mut names = names.collect::<io::Result<Vec<_>>>().map_err(read)?;
    names.sort_by(|(one, _), (other, _)| one.cmp(other));
    let before = entries.len();
    for (name, kind) in names {
        let path = below.join(name);
        if kind.is_dir() {
            walk(root, &path, entries, left_out)?;
        } else if !kind.is_file() {
            left_out.add(&path, kind_of(kind));
        } else if rustix::fs::access(root.join(&path), Access::READ_OK).is_err() {
            left_out.add(&path, "can't be read");
        } else {
            entries.push((path, false));
        }
        if entries.len() as u64 > FOLDER_FILES_MAX {
            return Err(OfferError::Folder.into());
        }
    }
    if entries.len() == before && !below.as_os_str().is_empty() {
        entries.push((below.to_owned(), true));
    }
    Ok(())
}

fn is_forbidden(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn kind_of(kind: fs::FileType) -> &'static str {
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a pipe"
    } else {
        "a device"
    }
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
            let offer = offer(&path, &index).unwrap().offer;
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
        let PreparedOffer { offer, left_out } = offer(&root, &index).unwrap();
        assert_eq!(left_out, ["link (a symbolic link)"]);
        let folder = offer.folder.unwrap();
        let content = index.find(offer.hash, offer.size).unwrap();
        let bytes = content.pieces(0..1).unwrap();
        let (head, files) = bytes.split_at(usize::try_from(folder.manifest_bytes).unwrap());
        let entry = |path: &str, size| ManifestEntry {
            attributes: hobnob_protocol::offer::Attributes::default(),
            path: path.into(),
            size,
        };
        let expected = [
            entry("a", 0),
            entry("b", 2),
            entry("sub/c", 3),
            entry("sub/empty/", 0),
        ];
        let mut entries = manifest::decode(&offer, folder, head).unwrap();
        for entry in &mut entries {
            let times = std::mem::take(&mut entry.attributes).modified_s;
            assert_eq!(times > 0, !entry.path.ends_with('/'), "{}", entry.path);
        }
        assert_eq!(entries, expected);
        assert_eq!(files, b"bbccc");
    }

    #[test]
    fn a_long_name_in_another_encoding_is_offered_so_that_every_recipient_accepts_it() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("folder");
        fs::create_dir(&root).unwrap();
        let name = [&[0xbb; 120], &b".txt"[..]].concat();
        fs::write(root.join(OsStr::from_bytes(&name)), "x").unwrap();
        let index = index(dir.path());
        let offer = offer(&root, &index).unwrap().offer;
        let folder = offer.folder.unwrap();
        let content = index.find(offer.hash, offer.size).unwrap();
        let bytes = content.pieces(0..1).unwrap();
        let head = &bytes[..usize::try_from(folder.manifest_bytes).unwrap()];
        let entries = manifest::decode(&offer, folder, head).unwrap();
        assert!(entries[0].path.len() <= OFFER_NAME_MAX);
        assert!(entries[0].path.ends_with(".txt"), "{:?}", entries[0].path);
    }

    #[test]
    fn a_path_that_is_too_deep_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("folder");
        fs::create_dir_all(root.join(["d"; PATH_PARTS_MAX].join("/")).join("deepest")).unwrap();
        let refused = offer(&root, &index(dir.path()));
        assert!(matches!(refused, Err(PathError::TooDeep(path)) if path.ends_with("deepest")));
    }

    #[test]
    fn a_file_that_changed_is_served_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "before").unwrap();
        let index = index(dir.path());
        let offer = offer(&path, &index).unwrap().offer;
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
