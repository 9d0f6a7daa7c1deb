//! The manifest of a folder: the names and sizes of its files, at the start of its content.

use crate::codec::{self, CodecError};
use crate::offer::{Folder, OFFER_NAME_MAX, Offer};

/// Longest path within a folder, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;

/// Folders within folders at most.
pub const PATH_PARTS_MAX: usize = 64;

/// One file of a folder, or an empty folder within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Names from the folder's own down, with slashes between; an empty folder's ends with one. A
    /// hint, to be cleaned.
    pub path: String,
    /// Bytes of the file.
    pub size: u64,
}

/// Why bytes are not the manifest that an offer promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It can't be read.
    #[error("its list of files is {0}")]
    Codec(#[from] CodecError),
    /// A path that no folder holds.
    #[error("its list of files has a path that is empty, too long or too deep")]
    Path,
    /// It has more folders than a receiver makes.
    #[error("its list of files has too many folders")]
    Folders,
    /// The list is longer than was promised, or its sizes don't sum up to the content.
    #[error("its list of files is not what the offer says")]
    Sum,
}

/// Writes a manifest.
pub fn encode(entries: &[ManifestEntry]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| codec::encode(&(&entry.path, entry.size)))
        .collect()
}

/// Reads the manifest of `offer`, a folder's, from the start of its content.
pub fn decode(
    offer: &Offer,
    folder: Folder,
    mut bytes: &[u8],
) -> Result<Vec<ManifestEntry>, ManifestError> {
    let (mut entries, mut total) = (Vec::new(), folder.manifest_bytes);
    while !bytes.is_empty() {
        let ((path, size), rest) =
            codec::decode_prefix::<(String, u64), { 2 * PATH_BYTES_MAX }>(bytes)?;
        check_path(&path, size)?;
        total = total
            .checked_add(size)
            .filter(|total| *total <= offer.size)
            .ok_or(ManifestError::Sum)?;
        entries.push(ManifestEntry { path, size });
        if entries.len() as u64 > folder.files {
            return Err(ManifestError::Sum);
        }
        bytes = rest;
    }
    let promised = total == offer.size && entries.len() as u64 == folder.files;
    if promised {
        Ok(entries)
    } else {
        Err(ManifestError::Sum)
    }
}

fn check_path(path: &str, size: u64) -> Result<(), ManifestError> {
    let (names, is_folder) = match path.strip_suffix('/') {
        Some(names) => (names, true),
        None => (path, false),
    };
    let fits = path.len() <= PATH_BYTES_MAX
        && names.split('/').count() <= PATH_PARTS_MAX
        && names
            .split('/')
            .all(|name| !name.is_empty() && name.len() <= OFFER_NAME_MAX)
        && (size == 0 || !is_folder);
    if fits {
        Ok(())
    } else {
        Err(ManifestError::Path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offer::ContentHash;
    use proptest::prelude::*;

    fn entry(path: &str, size: u64) -> ManifestEntry {
        ManifestEntry {
            path: path.into(),
            size,
        }
    }

    fn read(
        entries: &[ManifestEntry],
        files: u64,
        extra: u64,
    ) -> Result<Vec<ManifestEntry>, ManifestError> {
        let bytes = encode(entries);
        let folder = Folder {
            manifest_bytes: bytes.len() as u64,
            files,
        };
        let size = folder.manifest_bytes + extra;
        let offer = Offer {
            name: "f".into(),
            media: String::new(),
            size,
            hash: ContentHash([0; 32]),
            folder: Some(folder),
        };
        decode(&offer, folder, &bytes)
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written_and_only_if_it_adds_up() {
        let entries = [entry("a", 3), entry("b/c", 4), entry("empty/", 0)];
        assert_eq!(encode(&entries[..1]), [1, b'a', 3]);
        assert_eq!(read(&entries, 3, 7), Ok(entries.to_vec()));
        for (files, extra) in [(2, 7), (4, 7), (3, 6), (3, 8)] {
            assert_eq!(
                read(&entries, files, extra),
                Err(ManifestError::Sum),
                "{files} files, {extra} bytes"
            );
        }
        assert_eq!(
            read(&[entry("a", u64::MAX), entry("b", 8)], 2, 7),
            Err(ManifestError::Sum)
        );
    }

    #[test]
    fn paths_that_no_folder_holds_are_refused() {
        let deep = vec!["d"; PATH_PARTS_MAX + 1].join("/");
        for path in [
            "",
            "/",
            "/a",
            "a//b",
            &deep,
            &"n".repeat(OFFER_NAME_MAX + 1),
            &"n/".repeat(PATH_BYTES_MAX),
        ] {
            assert!(read(&[entry(path, 0)], 1, 0).is_err(), "{path:?}");
        }
        assert_eq!(read(&[entry("d/", 5)], 1, 5), Err(ManifestError::Path));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let folder = Folder { manifest_bytes: bytes.len() as u64, files: 9 };
            let offer = Offer {
                name: "f".into(), media: String::new(), size: 1000, hash: ContentHash([0; 32]), folder: Some(folder),
            };
            let _ = decode(&offer, folder, &bytes);
        }
    }
}
