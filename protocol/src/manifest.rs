//! The manifest of a folder: the paths and sizes of its files. It is the start of the folder's
//! content, see [`crate::offer`].

use crate::codec::{self, CodecError};
use crate::offer::{Attributes, Folder, OFFER_NAME_MAX, Offer};

/// Longest path within a folder, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;

/// Maximum depth of a path within a folder, in names.
pub const PATH_PARTS_MAX: usize = 64;

/// One file or one empty folder within a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// The path from the folder down, with slashes. The path of an empty folder ends with a slash.
    /// Only a hint: clean it before you create a file.
    pub path: String,
    /// Length of the file, in bytes.
    pub size: u64,
    /// Properties that a recipient may take over.
    pub attributes: Attributes,
}

/// Why bytes are not the manifest that the offer announces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It does not decode.
    #[error("its list of files is {0}")]
    Codec(#[from] CodecError),
    /// A path is empty, too long or too deep.
    #[error("its list of files has a path that is empty, too long or too deep")]
    Path,
    /// It has more folders than a receiver creates.
    #[error("its list of files has too many folders")]
    Folders,
    /// The number of files, or the sum of their sizes, is not what the offer announces.
    #[error("its list of files does not match the offer")]
    Sum,
}

/// Encodes a manifest.
pub fn encode(entries: &[ManifestEntry]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| codec::encode(&(&entry.path, entry.size, entry.attributes)))
        .collect()
}

/// Decodes the manifest of a folder. `bytes` is the start of the content, of the length that
/// `folder` announces.
pub fn decode(
    offer: &Offer,
    folder: Folder,
    mut bytes: &[u8],
) -> Result<Vec<ManifestEntry>, ManifestError> {
    let (mut entries, mut total) = (Vec::new(), folder.manifest_bytes);
    while !bytes.is_empty() {
        let ((path, size, attributes), rest) =
            codec::decode_prefix::<(String, u64, Attributes), { 2 * PATH_BYTES_MAX }>(bytes)?;
        check_path(&path, size)?;
        total = total
            .checked_add(size)
            .filter(|total| *total <= offer.size)
            .ok_or(ManifestError::Sum)?;
        entries.push(ManifestEntry {
            path,
            size,
            attributes,
        });
        if entries.len() as u64 > folder.files {
            return Err(ManifestError::Sum);
        }
        bytes = rest;
    }
    let as_offered = total == offer.size && entries.len() as u64 == folder.files;
    if as_offered {
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
            attributes: crate::offer::Attributes::default(),
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
            attributes: crate::offer::Attributes::default(),
            caption: String::new(),
            name: "f".into(),
            media: String::new(),
            size,
            hash: ContentHash([0; 32]),
            folder: Some(folder),
        };
        decode(&offer, folder, &bytes)
    }

    #[test]
    fn a_manifest_decodes_only_if_it_matches_the_offer() {
        let entries = [entry("a", 3), entry("b/c", 4), entry("empty/", 0)];
        assert_eq!(encode(&entries[..1]), [1, b'a', 3, 0, 0, 0]);
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
    fn paths_that_no_folder_can_have_are_rejected() {
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
                attributes: crate::offer::Attributes::default(),
                caption: String::new(),
                name: "f".into(), media: String::new(), size: 1000, hash: ContentHash([0; 32]), folder: Some(folder),
            };
            let _ = decode(&offer, folder, &bytes);
        }
    }
}
