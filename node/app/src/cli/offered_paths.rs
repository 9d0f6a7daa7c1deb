//! The paths of `--file`. `-` means the data from stdin.
//!
//! An offer names a file that stays until its recipients have it. So the data from stdin is first
//! written into the home, and deleted when the command has seen the transfer end. Otherwise it stays
//! there for [`KEPT`].
#![expect(
    clippy::disallowed_methods,
    reason = "the age of files is compared with the clock"
)]

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use hobnob_control::Home;

use crate::shared::exit_code::Usage;

/// The argument that means stdin.
const STDIN: &str = "-";

/// The folder in the home. Each file has a folder of its own there, because several may have one name.
const FOLDER: &str = "stdin";

/// How long a file stays whose transfer did not end while its command ran.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The paths that a command offers.
#[derive(Debug)]
pub(super) struct OfferedPaths {
    /// The absolute paths, in the order of the arguments.
    pub(super) paths: Vec<PathBuf>,
    /// The one of them that has the bytes of stdin.
    stdin: Option<PathBuf>,
}

impl OfferedPaths {
    /// Reads stdin to its end if one of the arguments is `-`.
    pub(super) fn of(arguments: &[PathBuf], name: &str, home: &Home) -> anyhow::Result<Self> {
        let is_stdin = |path: &&PathBuf| path.as_os_str() == STDIN;
        if arguments.iter().filter(is_stdin).count() > 1 {
            return Err(Usage("stdin is one file: give `--file -` only once".into()).into());
        }
        let mut offered = OfferedPaths {
            paths: Vec::with_capacity(arguments.len()),
            stdin: None,
        };
        // All other paths are checked before a long stdin is read.
        let files: Vec<_> = arguments.iter().filter(|path| !is_stdin(path)).collect();
        let mut files = absolute(&files)?.into_iter();
        for argument in arguments {
            if is_stdin(&argument) {
                let folder = home.data_dir().join(FOLDER);
                let path = write(&folder, name, &mut io::stdin().lock())?;
                offered.stdin = Some(path.clone());
                offered.paths.push(path);
            } else {
                offered.paths.extend(files.next());
            }
        }
        Ok(offered)
    }

    /// All transfers have ended: deletes the copy of stdin.
    pub(super) fn remove_stdin(&self) {
        if let Some(folder) = self.stdin.as_deref().and_then(Path::parent) {
            // It is deleted later if this fails.
            let _stays = fs::remove_dir_all(folder);
        }
    }

    /// Where the copy of stdin is.
    pub(super) fn stdin(&self) -> Option<&Path> {
        self.stdin.as_deref()
    }
}

/// Paths as the node needs them, which may run in another folder.
fn absolute(paths: &[&PathBuf]) -> Result<Vec<PathBuf>, Usage> {
    let absolute = |path: &&PathBuf| {
        std::path::absolute(path)
            .and_then(|path| path.metadata().map(|_| path))
            .map_err(|error| Usage(format!("can't read {}: {error}", path.display())))
    };
    paths.iter().map(absolute).collect()
}

/// Writes a file with this name into a new folder below `folder`.
fn write(folder: &Path, name: &str, from: &mut impl Read) -> anyhow::Result<PathBuf> {
    if name.is_empty() || name.contains(['/', '\0']) || matches!(name, "." | "..") {
        return Err(Usage(format!("`{name}` is no name of a file: correct --name")).into());
    }
    let context = || format!("can't write the data from stdin to {}", folder.display());
    remove_old(folder, SystemTime::now());
    let own = folder.join(SystemTime::UNIX_EPOCH.elapsed()?.as_nanos().to_string());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&own)
        .with_context(context)?;
    let path = own.join(name);
    let copied = File::create(&path).and_then(|mut file| io::copy(from, &mut file));
    if copied.is_err() {
        let _stays = fs::remove_dir_all(&own);
    }
    copied.with_context(context)?;
    Ok(path)
}

/// Deletes the copies that are older than [`KEPT`].
fn remove_old(folder: &Path, now: SystemTime) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let changed = entry.metadata().and_then(|stat| stat.modified());
        if changed.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > KEPT)) {
            let _stays = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_copies_of_one_name_do_not_replace_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"]
            .map(|text| write(dir.path(), "log.txt", &mut text.as_bytes()).unwrap());
        assert_eq!(fs::read(&one).unwrap(), b"one");
        assert_eq!(fs::read(&other).unwrap(), b"other");
        assert!(one.ends_with("log.txt") && other.ends_with("log.txt"));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", ".", "..", "../x", "a/b"] {
            assert!(write(dir.path(), name, &mut io::empty()).is_err(), "{name}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn old_copies_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), "log.txt", &mut io::empty()).unwrap();
        remove_old(dir.path(), SystemTime::now() + KEPT / 2);
        assert!(path.exists());
        remove_old(dir.path(), SystemTime::now() + 2 * KEPT);
        assert!(!path.exists());
    }
}
