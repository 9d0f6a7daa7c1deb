//! A folder that is only ever worked in through its own handle: no name leads out of it, and none
//! is followed if it is a link.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawMode, RenameFlags};
use rustix::io::Errno;

/// New files and folders get what the user's umask leaves of these: nothing of a peer's choosing.
const FILE_MODE: RawMode = 0o666;
const FOLDER_MODE: RawMode = 0o777;

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    handle: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder of the user's choosing; makes it if need be.
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

    /// Where it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a folder in it; makes it if need be.
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

    /// Opens a folder in it that is there.
    pub(super) fn open_sub(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.handle, component(name)?, flags, Mode::empty())?;
        Ok(Self {
            handle,
            path: self.path.join(name),
        })
    }

    /// Opens a file in it for reading and writing; makes it if need be.
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
            Err(io::Error::other("it is no ordinary file"))
        }
    }

    /// Opens a file beneath it, by the names of the folders on the way and its own.
    pub(super) fn file_beneath(&self, path: &str) -> io::Result<File> {
        let Some((folders, name)) = path.rsplit_once('/') else {
            return self.file(path);
        };
        self.beneath(folders)?.file(name)
    }

    /// Opens a folder beneath it, and makes all that is missing on the way.
    pub(super) fn beneath(&self, path: &str) -> io::Result<Self> {
        let mut names = path.split('/');
        let mut at = self.sub(names.next().unwrap_or_default())?;
        for name in names {
            at = at.sub(name)?;
        }
        Ok(at)
    }

    /// Whether there is something of that name, whatever it is.
    pub(super) fn has(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::statat(&self.handle, component(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves something of this folder to a name in another; whether that name was free.
    pub(super) fn move_to(&self, name: &str, to: &Folder, new: &str) -> io::Result<bool> {
        let (name, new) = (component(name)?, component(new)?);
        match rustix::fs::renameat_with(&self.handle, name, &to.handle, new, RenameFlags::NOREPLACE)
        {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            // Some file systems can't do both in one step. What comes between is the user's own
            // doing.
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

    /// Sees to it that what was done to its names is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.handle)?)
    }

    /// Sees to it that everything on its file system is on disk: with many small files, far quicker
    /// than one by one.
    pub(super) fn sync_all_beneath(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&self.handle)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }

    /// Bytes that may still be written there.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(self.handle.as_fd())?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// A name that stays in its folder.
fn component(name: &str) -> io::Result<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a name of one file",
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
