//! The control socket: private to one user, or shared with a group, with a path of any length.
//!
//! Who may connect is decided twice. The system checks the permissions of the file, and the program
//! checks the credentials of the process at the other end ([`Access`], [`is_same_user`]).

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::home::Claimed;

/// Longest path that fits a socket address (`sun_path` of unix(7) without its final zero byte).
const PATH_BYTES_MAX: usize = 107;

/// The control socket of a claimed home, open for connections. Dropping it removes the file.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let home = hobnob_local::Home::at(dir.path())?;
/// # let hobnob_local::Claim::Ours(claimed) = home.claim()? else { panic!("it is new") };
/// use hobnob_local::socket::{self, Listener};
///
/// let listener = Listener::bind(&claimed)?;
/// let (_client, accepted) = tokio::try_join!(socket::connect(home.socket()), listener.accept())?;
/// assert!(socket::is_same_user(&accepted)?);
/// drop(listener);
/// assert!(!home.socket().exists());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Listener {
    inner: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Binds the socket under a temporary name, makes it private, and renames it. It replaces an
    /// existing file atomically, and other users can never open it.
    pub fn bind(claimed: &Claimed) -> io::Result<Listener> {
        let path = claimed.home().socket().to_owned();
        let new = path.with_extension("new");
        remove(&new)?;
        let short = ShortPath::of(&new)?;
        let inner = UnixListener::bind(&short.path)?;
        std::fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        std::fs::rename(&new, &path)?;
        Ok(Listener { inner, path })
    }

    /// Binds a socket at `path`, outside a home. Fails with `AddrInUse` if a process listens there.
    ///
    /// The socket is created in a private folder, gets its permissions there, and is then moved to
    /// its place. So nobody can connect before the permissions are right, even if the folder of
    /// `path` is open to all.
    pub fn bind_at(path: &Path, access: Access) -> io::Result<Listener> {
        if std::os::unix::net::UnixStream::connect(&ShortPath::of(path)?.path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let path = std::path::absolute(path)?;
        let private = path.with_extension("new");
        let new = private.join("socket");
        remove(&new)?;
        remove_folder(&private)?;
        DirBuilder::new().mode(0o700).create(&private)?;
        let short = ShortPath::of(&new)?;
        let inner = UnixListener::bind(&short.path)?;
        if let Some(group) = access.group
            && new.symlink_metadata()?.gid() != group
        {
            // The filter of system calls of a service may end a process that calls chown. Such a
            // service has the group as its own, and does not come here.
            std::os::unix::fs::chown(&new, None, Some(group))?;
        }
        let mode = access.group.map_or(0o600, |_| 0o660);
        std::fs::set_permissions(&new, Permissions::from_mode(mode))?;
        std::fs::rename(&new, &path)?;
        remove_folder(&private)?;
        Ok(Listener { inner, path })
    }

    /// Accepts the next connection, of any user.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.inner.accept().await?.0)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = ?self.path, %error, "can't remove the control socket; the next node will replace it");
        }
    }
}

/// Connects to the socket at `path`.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = ShortPath::of(path)?;
    UnixStream::connect(&short.path).await
}

/// Which other users a control socket serves: root always, and the members of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    /// The id of the group.
    pub group: Option<u32>,
}

impl Access {
    /// Whether the process at the other end may use this socket. The system reports its
    /// credentials, as they were when it connected.
    pub fn admits(self, stream: &UnixStream) -> io::Result<bool> {
        let peer = stream.peer_cred()?;
        if peer.uid() == ROOT || peer.uid() == rustix::process::geteuid().as_raw() {
            return Ok(true);
        }
        match self.group {
            Some(group) if peer.gid() == group => Ok(true),
            Some(group) => Ok(other_groups(stream)?.contains(&group)),
            None => Ok(false),
        }
    }
}

const ROOT: u32 = 0;

/// Maximum supplementary groups of one process that are read. Linux allows 65,536. A process with
/// more groups than these is not admitted by its group.
#[cfg(target_os = "linux")]
const GROUPS_MAX: usize = 1_024;

/// The supplementary groups of the process at the other end, as they were when it connected.
#[cfg(target_os = "linux")]
fn other_groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    use std::os::fd::AsFd;

    let mut groups = vec![0_u32; GROUPS_MAX];
    let bytes = size_of_val(&groups[..]);
    let mut len = libc::socklen_t::try_from(bytes).expect("4 KiB");
    let fd = stream.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open while it is borrowed. The system writes at most `len` bytes
    // to `groups`, which has that length, and any bits are valid there.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    groups.truncate(usize::try_from(len).expect("4 KiB") / size_of::<u32>());
    Ok(groups)
}

/// Other systems do not report them. The permissions of the file admit members of its group only.
#[cfg(not(target_os = "linux"))]
fn other_groups(_: &UnixStream) -> io::Result<Vec<u32>> {
    Ok(Vec::new())
}

/// Whether the process that serves the socket at `path` is the one that owns its folder: this user,
/// root, or the owner of the folder. Others could only have put a socket into an open folder.
pub fn is_owner(stream: &UnixStream, path: &Path) -> io::Result<bool> {
    let uid = stream.peer_cred()?.uid();
    if uid == ROOT || uid == rustix::process::geteuid().as_raw() {
        return Ok(true);
    }
    let folder = path.parent().ok_or(io::ErrorKind::InvalidFilename)?;
    Ok(folder.metadata()?.uid() == uid)
}

/// Whether the process at the other end runs as this user. If not, do not trust it.
pub fn is_same_user(stream: &UnixStream) -> io::Result<bool> {
    Ok(stream.peer_cred()?.uid() == rustix::process::geteuid().as_raw())
}

/// A path short enough for a socket address. A long path is replaced by one through its open
/// folder, which is `/proc/self/fd/N` on Linux.
struct ShortPath {
    path: PathBuf,
    /// Keeps the file descriptor in the path valid.
    _folder: Option<File>,
}

impl ShortPath {
    fn of(path: &Path) -> io::Result<ShortPath> {
        if path.as_os_str().len() <= PATH_BYTES_MAX {
            return Ok(ShortPath {
                path: path.to_owned(),
                _folder: None,
            });
        }
        let (Some(folder), Some(name), true) =
            (path.parent(), path.file_name(), cfg!(target_os = "linux"))
        else {
            let text = format!(
                "a socket's path has at most {PATH_BYTES_MAX} bytes: name a shorter folder with --home DIR"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, text));
        };
        let folder = File::open(folder)?;
        let path = Path::new("/proc/self/fd")
            .join(folder.as_raw_fd().to_string())
            .join(name);
        Ok(ShortPath {
            path,
            _folder: Some(folder),
        })
    }
}

fn remove_folder(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => remove(path),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error)
            if ![io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            Err(error)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::{Claim, Home};

    fn claimed(dir: &Path) -> Claimed {
        match Home::at(dir).unwrap().claim().unwrap() {
            Claim::Ours(claimed) => claimed,
            Claim::Busy(_) => panic!("the folder is new"),
        }
    }

    #[tokio::test]
    async fn the_socket_is_private_and_reachable_under_a_very_long_path() {
        let folder = tempfile::tempdir().unwrap();
        for dir in [
            folder.path().join("short"),
            folder
                .path()
                .join("long-".repeat(20))
                .join("and-deep-".repeat(20)),
        ] {
            let claimed = claimed(&dir);
            let path = claimed.home().socket().to_owned();
            let listener = Listener::bind(&claimed).unwrap();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            let (connected, accepted) = tokio::join!(connect(&path), listener.accept());
            assert!(
                is_same_user(&accepted.unwrap()).unwrap()
                    && is_same_user(&connected.unwrap()).unwrap()
            );
            drop(listener);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn leftovers_of_a_crash_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let claimed = claimed(folder.path());
        let path = claimed.home().socket();
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        std::fs::write(path.with_extension("new"), "half done").unwrap();
        assert!(connect(path).await.is_err());
        let listener = Listener::bind(&claimed).unwrap();
        let (connected, accepted) = tokio::join!(connect(path), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
    }

    #[tokio::test]
    async fn a_socket_outside_a_home_is_shared_with_a_group() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let own = rustix::process::getegid().as_raw();
        for (group, mode) in [(None, 0o600), (Some(own), 0o660)] {
            let access = Access { group };
            // Leftovers of a crash are replaced.
            std::fs::write(path.with_extension("new"), "half done").unwrap();
            let listener = Listener::bind_at(&path, access).unwrap();
            let metadata = path.metadata().unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode);
            assert_eq!(metadata.gid(), own);
            assert!(!path.with_extension("new").exists());
            let (connected, accepted) = tokio::join!(connect(&path), listener.accept());
            assert!(access.admits(&accepted.unwrap()).unwrap());
            assert!(is_owner(&connected.unwrap(), &path).unwrap());
            let taken = Listener::bind_at(&path, access).unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
            drop(listener);
            assert!(!path.exists());
        }
    }
}
