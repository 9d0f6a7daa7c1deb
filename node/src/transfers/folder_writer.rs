//! Writes a received folder: maps offsets in its content to files in an open folder.
//!
//! [`clean_paths`] makes the paths of the manifest harmless first.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use hobnob_protocol::manifest::{ManifestEntry, ManifestError};

use super::attributes::KeptAttributes;
use super::folder::Folder;
use super::names::{self, NAMES_MAX};

/// Maximum number of folders in a received folder, including the folders in its paths.
const FOLDERS_MAX: usize = 200_000;

/// Writes the files of a partial download.
#[derive(Debug)]
pub(super) struct FolderWriter {
    files: Folder,
    manifest: Vec<u8>,
    entries: Vec<ManifestEntry>,
    /// The offset of each entry in the content.
    starts: Vec<u64>,
    /// The entry that was used last, and its open file.
    open: Option<(usize, File)>,
    kept: KeptAttributes,
}

impl FolderWriter {
    /// Creates all files, with their sizes, and all folders.
    pub(super) fn make(
        files: Folder,
        manifest: Vec<u8>,
        entries: Vec<ManifestEntry>,
        kept: KeptAttributes,
    ) -> io::Result<Self> {
        let mut starts = Vec::with_capacity(entries.len());
        let mut at = manifest.len() as u64;
        for entry in &entries {
            starts.push(at);
            at += entry.size;
            match entry.path.strip_suffix('/') {
                Some(folder) => drop(files.beneath(folder)?),
                None => {
                    let file = files.file_beneath(&entry.path)?;
                    file.set_len(entry.size)?;
                    kept.apply(entry.attributes, &file)?;
                }
            }
        }
        Ok(Self {
            files,
            manifest,
            entries,
            starts,
            open: None,
            kept,
        })
    }

    /// Writes bytes at an offset of the content.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let (file, at, room) = self.at(offset + done as u64)?;
            let end = bytes.len().min(done.saturating_add(room));
            file.write_all_at(&bytes[done..end], at)?;
            done = end;
        }
        Ok(())
    }

    /// Reads bytes at an offset of the content.
    pub(super) fn read(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let (file, at, room) = self.at(offset + done as u64)?;
            let end = bytes.len().min(done.saturating_add(room));
            file.read_exact_at(&mut bytes[done..end], at)?;
            done = end;
        }
        Ok(())
    }

    /// The manifest as its author encoded it.
    pub(super) fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// The paths of the files, in the order of the content.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let files = self
            .entries
            .iter()
            .filter(|entry| !entry.path.ends_with('/'));
        files.map(|entry| PathBuf::from(&entry.path))
    }

    /// Closes the file that was used last.
    pub(super) fn close(&mut self) -> io::Result<()> {
        // Writing has changed its time.
        match self.open.take() {
            Some((index, file)) => self.kept.apply(self.entries[index].attributes, &file),
            None => Ok(()),
        }
    }

    /// The file at an offset of the content, the offset in that file, and the bytes to its end.
    fn at(&mut self, offset: u64) -> io::Result<(&File, u64, usize)> {
        let beyond = || io::Error::other("a piece beyond the last file");
        // If several entries start at one offset, all but the last are empty.
        let index = self
            .starts
            .partition_point(|start| *start <= offset)
            .checked_sub(1)
            .ok_or_else(beyond)?;
        let within = offset - self.starts[index];
        let left = self.entries[index]
            .size
            .checked_sub(within)
            .filter(|left| *left > 0)
            .ok_or_else(beyond)?;
        if self.open.as_ref().is_none_or(|(open, _)| *open != index) {
            self.close()?;
            self.open = Some((index, self.files.file_beneath(&self.entries[index].path)?));
        }
        let Some((_, file)) = &self.open else {
            unreachable!("opened above")
        };
        Ok((file, within, usize::try_from(left).unwrap_or(usize::MAX)))
    }
}

/// Makes every path of a manifest harmless and unique. No name makes the folder fail: a name that
/// is taken gets a number.
///
/// The work is linear in the manifest: a name that is taken continues with the number after the last
/// one given to that name, and more than `FOLDERS_MAX` folders are an error.
pub fn clean_paths(entries: Vec<ManifestEntry>) -> Result<Vec<ManifestEntry>, ManifestError> {
    let mut paths = CleanPaths::default();
    let mut cleaned = Vec::with_capacity(entries.len());
    for ManifestEntry {
        path,
        size,
        attributes,
    } in entries
    {
        let path = match path.strip_suffix('/') {
            Some(folder) => format!("{}/", paths.folder(folder)?),
            None => paths.file(&path)?,
        };
        cleaned.push(ManifestEntry {
            path,
            size,
            attributes,
        });
    }
    Ok(cleaned)
}

/// The harmless paths that were given so far.
#[derive(Debug, Default)]
struct CleanPaths {
    /// The path of each folder of the manifest. Two folders stay two, even if their harmless names
    /// would be equal.
    folders: HashMap<String, String>,
    taken: HashSet<String>,
    /// The last number that was given to each name.
    last_numbers: HashMap<String, u32>,
}

impl CleanPaths {
    fn folder(&mut self, path: &str) -> Result<String, ManifestError> {
        if let Some(cleaned) = self.folders.get(path) {
            return Ok(cleaned.clone());
        }
        if self.folders.len() >= FOLDERS_MAX {
            return Err(ManifestError::Folders);
        }
        let cleaned = self.new_path(path)?;
        self.folders.insert(path.to_owned(), cleaned.clone());
        Ok(cleaned)
    }

    fn file(&mut self, path: &str) -> Result<String, ManifestError> {
        self.new_path(path)
    }

    fn new_path(&mut self, path: &str) -> Result<String, ManifestError> {
        let (parent, name) = match path.rsplit_once('/') {
            // A manifest limits the depth, so the recursion is limited.
            Some((above, name)) => (self.folder(above)? + "/", name),
            None => (String::new(), path),
        };
        let name = names::clean(name);
        let last_number = self
            .last_numbers
            .entry(format!("{parent}{name}"))
            .or_default();
        let (number, path) = (*last_number + 1..=NAMES_MAX)
            .map(|n| (n, format!("{parent}{}", names::numbered(&name, n))))
            .find(|(_, path)| !self.taken.contains(path))
            .ok_or(ManifestError::Path)?;
        *last_number = number;
        self.taken.insert(path.clone());
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::offer::Attributes;

    use super::*;

    fn cleaned(paths: impl IntoIterator<Item = String>) -> Result<Vec<String>, ManifestError> {
        let entries = paths.into_iter().map(|path| ManifestEntry {
            path,
            size: 0,
            attributes: Attributes::default(),
        });
        let entries = clean_paths(entries.collect())?;
        Ok(entries.into_iter().map(|entry| entry.path).collect())
    }

    #[test]
    fn files_of_one_name_are_numbered_and_a_folder_listed_twice_is_one() {
        let paths = ["a.txt", "a.txt", "a (2).txt", "d/", "d/", "d", "a.txt"];
        assert_eq!(
            cleaned(paths.map(str::to_owned)).unwrap(),
            [
                "a.txt",
                "a (2).txt",
                "a (2) (2).txt",
                "d/",
                "d/",
                "d (2)",
                "a (3).txt"
            ]
        );
    }

    #[test]
    fn two_names_that_become_one_get_numbers_and_nothing_fails() {
        let paths = [".git/a", "_git/a", "x", "x/y", "z/", "z"];
        assert_eq!(
            cleaned(paths.map(str::to_owned)).unwrap(),
            ["_git/a", "_git (2)/a", "x", "x (2)/y", "z/", "z (2)"]
        );
    }

    #[test]
    fn the_names_tried_grow_with_the_manifest_and_not_with_its_square() {
        let same_name = |n: usize| (0..n).map(|_| "a/b".to_owned());
        assert!(cleaned(same_name(NAMES_MAX as usize)).is_ok());
        assert_eq!(
            cleaned(same_name(NAMES_MAX as usize + 1)),
            Err(ManifestError::Path)
        );
    }

    #[test]
    fn a_manifest_of_more_folders_than_the_limit_is_refused() {
        let deep =
            |n: usize| (0..n).map(|n| format!("{n}/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s/x"));
        assert!(cleaned(deep(FOLDERS_MAX / 20)).is_ok());
        assert_eq!(
            cleaned(deep(FOLDERS_MAX / 20 + 1)),
            Err(ManifestError::Folders)
        );
    }
}
