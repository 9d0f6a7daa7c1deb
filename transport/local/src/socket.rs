//! The control socket: private to one user, with a path of any length.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
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

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
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
}
