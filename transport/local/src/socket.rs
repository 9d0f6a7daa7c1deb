//! Binding and reaching the control socket: private to one user, and in folders of any depth.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

use super::home::Claimed;

/// Longest path that fits a socket address (`sun_path` of unix(7), less its closing zero byte).
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
/// let (_asker, asked) = tokio::try_join!(socket::connect(home.socket()), listener.accept())?;
/// assert!(socket::is_same_user(&asked)?);
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
    /// Binds the socket under another name, makes it private, and moves it into place: what stood
    /// there is replaced at once, and nobody ever finds a socket that others may open.
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

    /// The next connection, of whatever user.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.inner.accept().await?.0)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::warn!(path = ?self.path, %error, "the control socket stays behind; the next node replaces it");
        }
    }
}

/// Connects to the socket at `path`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let home = hobnob_local::Home::at(dir.path())?;
/// # let hobnob_local::Claim::Ours(claimed) = home.claim()? else { panic!("it is new") };
/// # let _listener = hobnob_local::socket::Listener::bind(&claimed)?;
/// use tokio::io::AsyncWriteExt;
///
/// let mut stream = hobnob_local::socket::connect(home.socket()).await?;
/// stream.write_all(b"{\"id\":1,\"cmd\":\"ping\"}\n").await?;
/// # Ok(()) }
/// ```
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = ShortPath::of(path)?;
    UnixStream::connect(&short.path).await
}

/// Whether the process at the other end runs as this user.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let home = hobnob_local::Home::at(dir.path())?;
/// # let hobnob_local::Claim::Ours(claimed) = home.claim()? else { panic!("it is new") };
/// # let _listener = hobnob_local::socket::Listener::bind(&claimed)?;
/// use hobnob_local::socket;
///
/// let stream = socket::connect(home.socket()).await?;
/// assert!(socket::is_same_user(&stream)?, "else, do not trust it with a word");
/// # Ok(()) }
/// ```
pub fn is_same_user(stream: &UnixStream) -> io::Result<bool> {
    Ok(stream.peer_cred()?.uid() == rustix::process::geteuid().as_raw())
}

/// A path short enough for a socket address. A long one goes by way of its open folder, which Linux
/// names `/proc/self/fd/N`.
struct ShortPath {
    path: PathBuf,
    /// Keeps the folder's number valid.
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
            let (reached, came) = tokio::join!(connect(&path), listener.accept());
            assert!(
                is_same_user(&came.unwrap()).unwrap() && is_same_user(&reached.unwrap()).unwrap()
            );
            drop(listener);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn what_a_crash_left_behind_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let claimed = claimed(folder.path());
        let path = claimed.home().socket();
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        std::fs::write(path.with_extension("new"), "half done").unwrap();
        assert!(connect(path).await.is_err());
        let listener = Listener::bind(&claimed).unwrap();
        let (reached, came) = tokio::join!(connect(path), listener.accept());
        assert!(reached.is_ok() && came.is_ok());
    }
}
