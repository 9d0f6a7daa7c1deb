//! Writes small private files so that a crash leaves the old content or the new one, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Replaces the content of a file that only its owner can read.
///
/// The content is written beside the file under the extension `new`, synced, and renamed. A `new`
/// file that exists is a leftover of a crash: callers do not replace one file at the same time.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = create_new(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let folder = path
        .parent()
        .ok_or_else(|| io::Error::from(ErrorKind::InvalidFilename))?;
    File::open(folder)?.sync_all()
}

/// Creates a file with O_EXCL. A leftover is unlinked, never opened: it may be a symbolic link, or
/// readable by others.
fn create_new(path: &Path) -> io::Result<File> {
    let create = || {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    };
    match create() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()
        }
        created => created,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_new_content_replaces_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("banned");
        replace(&path, "ann").unwrap();
        replace(&path, "bob").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "bob");
        assert!(!path.with_extension("new").exists());
    }

    #[test]
    fn a_leftover_of_a_crash_is_replaced_and_its_permissions_do_not_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let leftover = path.with_extension("new");
        fs::write(&leftover, "half a k").unwrap();
        fs::set_permissions(&leftover, fs::Permissions::from_mode(0o644)).unwrap();
        replace(&path, "whole").unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(
            (fs::read_to_string(&path).unwrap().as_str(), mode & 0o777),
            ("whole", 0o600)
        );
    }

    #[test]
    fn a_symbolic_link_beside_the_file_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (dir.path().join("key"), dir.path().join("elsewhere"));
        symlink(&elsewhere, path.with_extension("new")).unwrap();
        replace(&path, "secret").unwrap();
        assert!(!elsewhere.exists());
        assert_eq!(fs::read_to_string(&path).unwrap(), "secret");
    }
}
