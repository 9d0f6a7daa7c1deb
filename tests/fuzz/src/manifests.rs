//! Manifests: the list of files at the start of a folder's content.

use hobnob_protocol::ContentHash;
use hobnob_protocol::manifest::{self, ManifestEntry};
use hobnob_protocol::offer::{Folder, Offer};

/// A manifest names as many files and bytes as its offer announces, and is not longer when it is
/// written again.
pub(crate) fn run(data: &[u8]) {
    // The first bytes choose what the offer announces: the number of files and their size.
    let Some((&[files, size, more_size], bytes)) = data.split_first_chunk() else {
        return;
    };
    let folder = Folder {
        manifest_bytes: bytes.len() as u64,
        files: files.into(),
    };
    let offer = Offer {
        attributes: hobnob_protocol::offer::Attributes::default(),
        caption: String::new(),
        name: "folder".to_owned(),
        media: String::new(),
        size: folder.manifest_bytes + u64::from(u16::from_be_bytes([size, more_size])),
        hash: ContentHash([0; 32]),
        folder: Some(folder),
    };
    let Ok(entries) = manifest::decode(&offer, folder, bytes) else {
        return;
    };
    assert_eq!(entries.len() as u64, folder.files);
    let sizes: u64 = entries.iter().map(|entry| entry.size).sum();
    assert_eq!(sizes + folder.manifest_bytes, offer.size);
    let encoded = manifest::encode(&entries);
    assert!(encoded.len() <= bytes.len());
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let entry = |path: &str, size| ManifestEntry {
        attributes: hobnob_protocol::offer::Attributes::default(),
        path: path.to_owned(),
        size,
    };
    let entries = [
        entry("a.txt", 3),
        entry("folder/b.txt", 4),
        entry("../folder\\.c", 300),
        entry("empty/", 0),
    ];
    let input = |count: u8, size: u16| {
        let manifest = manifest::encode(&entries[..count.into()]);
        [&[count], &size.to_be_bytes()[..], &manifest].concat()
    };
    vec![input(2, 7), input(4, 307)]
}
