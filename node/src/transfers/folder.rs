//! A folder that is accessed only through its open handle. No name leads out of it, and symbolic
//! links are not followed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawMode, RenameFlags};
use rustix::io::Errno;

/// Modes of new files and folders, before the user's umask. Peers have no influence on them.
const FILE_MODE: RawMode = 0o666;
const FOLDER_MODE: RawMode = 0o777;

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder that the user chose. Creates it if it is missing.
    pub(super) fn make(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let handle = rustix::fs::openat(
            CWD,
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self {
            handle,
            path: path.to_owned(),
        })
    }

    /// Whether this folder is still at the path at which it was opened.
    pub(super) fn is_in_place(&self) -> bool {
        let Ok(here) = rustix::fs::fstat(&self.handle) else {
            return false;
        };
        std::fs::metadata(&self.path)
            .is_ok_and(|there| (there.dev(), there.ino()) == (here.st_dev, here.st_ino))
    }

    /// The path at which it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder in it. Creates it if it is missing.
    pub(super) fn sub(&self, name: &str) -> io::Result<Self> {
        match rustix::fs::mkdirat(
            &self.handle,
            component(name)?,
            Mode::from_raw_mode(FOLDER_MODE),
        ) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.open_sub(name)
    }

    /// Opens an existing folder in it.
    pub(super) fn open_sub(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.handle, component(name)?, flags, Mode::empty())?;
        Ok(Self {
            handle,
            path: self.path.join(name),
        })
    }

    /// Opens a file in it for reading and writing. Creates it if it is missing.
    pub(super) fn file(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let handle = rustix::fs::openat(
            &self.handle,
            component(name)?,
            flags,
            Mode::from_raw_mode(FILE_MODE),
        )?;
        let file = File::from(handle);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::other("it is not a regular file"))
        }
    }

    /// Opens a file by its path below this folder. Creates missing folders.
    pub(super) fn file_beneath(&self, path: &str) -> io::Result<File> {
        let Some((folders, name)) = path.rsplit_once('/') else {
            return self.file(path);
        };
        self.beneath(folders)?.file(name)
    }

    /// Opens a folder by its path below this folder. Creates missing folders.
    pub(super) fn beneath(&self, path: &str) -> io::Result<Self> {
        let mut names = path.split('/');
        let mut at = self.sub(names.next().unwrap_or_default())?;
        for name in names {
            at = at.sub(name)?;
        }
        Ok(at)
    }

    /// Whether the name exists: as a file, a folder or anything else.
    pub(super) fn has(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::statat(&self.handle, component(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves a file or folder to a name in another folder. Returns false if the name is taken.
    pub(super) fn move_to(&self, name: &str, to: &Folder, new: &str) -> io::Result<bool> {
        let (name, new) = (component(name)?, component(new)?);
        match rustix::fs::renameat_with(&self.handle, name, &to.handle, new, RenameFlags::NOREPLACE)
        {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // Some file systems can't check and rename in one step. Only the user's own programs
            // could take the name between the two steps.
            Err(Errno::INVAL | Errno::NOSYS) if to.has(new)? => Ok(false),
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::renameat(&self.handle, name, &to.handle, new)?;
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file.
    pub(super) fn remove_file(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.handle,
            component(name)?,
            AtFlags::empty(),
        )?)
    }

    /// Removes an empty folder.
    pub(super) fn remove_folder(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(
            &self.handle,
            component(name)?,
            AtFlags::REMOVEDIR,
        )?)
    }

    /// Syncs its names to disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.handle)?)
    }

    /// Syncs its whole file system to disk. For many small files this is much faster than a sync of
    /// each file.
    pub(super) fn sync_all_beneath(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&self.handle)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }

    /// Bytes that are free on its file system.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(self.handle.as_fd())?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Checks that a name is one path component.
fn component(name: &str) -> io::Result<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "this is not the name of one file",
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn no_name_and_no_link_leads_out() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("file"), "theirs").unwrap();
        let folder = Folder::make(&home.path().join("in")).unwrap();
        symlink(&outside, folder.path().join("link")).unwrap();
        symlink(outside.join("file"), folder.path().join("to-file")).unwrap();
        for name in ["..", ".", "", "a/../..", "../outside/file", "/etc/passwd"] {
            assert!(
                folder.file(name).is_err() && folder.sub(name).is_err(),
                "{name:?}"
            );
        }
        assert!(folder.sub("link").is_err());
        assert!(folder.file_beneath("link/file").is_err());
        assert!(folder.file("to-file").is_err());
        assert!(folder.beneath("a/../../outside").is_err());
        assert_eq!(
            std::fs::read_to_string(outside.join("file")).unwrap(),
            "theirs"
        );
    }

    #[test]
    fn files_are_moved_but_never_over_another_and_never_executable() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::make(home.path()).unwrap();
        let other = folder.sub("other").unwrap();
        other.file("new").unwrap().write_all(b"new").unwrap();
        folder.file("old").unwrap().write_all(b"old").unwrap();
        assert!(!other.move_to("new", &folder, "old").unwrap());
        assert!(other.move_to("new", &folder, "newer").unwrap());
        assert_eq!(
            std::fs::read_to_string(home.path().join("old")).unwrap(),
            "old"
        );
        assert_eq!(
            std::fs::metadata(home.path().join("newer"))
                .unwrap()
                .permissions()
                .mode()
                & 0o111,
            0
        );
    }
}
