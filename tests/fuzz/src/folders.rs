//! Paths of a received folder, before they are created on the disk.

use std::collections::HashSet;
use std::path::{Component, Path};

use hobnob::clean_paths;
use hobnob_protocol::manifest::ManifestEntry;
use hobnob_protocol::text::visible;

/// A clean path stays in the folder, hides nothing and is unique. As many paths as before are left.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let entries: Vec<_> = text.split('\n').map(entry).collect();
    let count = entries.len();
    let Ok(cleaned) = clean_paths(entries) else {
        return;
    };
    assert_eq!(cleaned.len(), count);
    let mut files = HashSet::new();
    for entry in &cleaned {
        let path = Path::new(&entry.path);
        let is_normal = |part: Component<'_>| matches!(part, Component::Normal(_));
        assert!(
            path.components().all(is_normal),
            "{path:?} leaves the folder"
        );
        let parts = entry.path.strip_suffix('/').unwrap_or(&entry.path);
        for part in parts.split('/') {
            assert!(!part.is_empty() && !part.starts_with('.'), "{path:?}");
            assert!(part.len() <= 255 && visible(part) == part, "{path:?}");
        }
        if !entry.path.ends_with('/') {
            assert!(files.insert(parts), "{path:?} is there twice");
        }
    }
    // No file is in the place of a folder.
    for entry in &cleaned {
        let above = entry
            .path
            .match_indices('/')
            .map(|(at, _)| &entry.path[..at]);
        for folder in above {
            assert!(!files.contains(folder), "{folder:?} is a file and a folder");
        }
    }
}

fn entry(path: &str) -> ManifestEntry {
    ManifestEntry {
        attributes: hobnob_protocol::offer::Attributes::default(),
        path: path.to_owned(),
        size: 0,
    }
}

pub(crate) fn samples() -> Vec<Vec<u8>> {
    let lists = [
        "a.txt\na.txt\nfolder/b.txt\nempty/",
        "../../etc/passwd\n.bashrc\na\\b\nCON.txt",
        "a\u{202e}gnp\na\u{1b}[2J\n \n..\n.",
        "a (2)\na\na\na/b",
    ];
    lists.map(|list| list.as_bytes().to_vec()).to_vec()
}
