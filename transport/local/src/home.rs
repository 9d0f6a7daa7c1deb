//! A home: the folder of one identity, its lock, and the path of its control socket.
//!
//! The process with the lock is the node of that home. Only that process may replace the socket
//! file, so a stale file is harmless.

use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use hobnob_transport::lock::{self, Lock, Taken, Unusable, make_private_dir};

/// The name of the file with the settings.
const CONFIG_FILE: &str = "config.toml";

/// The folders and files of one identity.
///
/// ```
/// use hobnob_local::{Claim, Home};
///
/// # let dir = tempfile::tempdir()?;
/// let home = Home::at(dir.path())?;
/// assert_eq!(home.data_dir(), dir.path());
/// for path in [home.downloads(), home.socket(), home.config_file()] {
///     assert!(path.starts_with(home.data_dir()));
/// }
/// let Claim::Ours(claimed) = home.claim()? else { panic!("the folder is new") };
/// assert_eq!(claimed.home(), &home);
/// // Without --home: the folders of the user's own node and relay.
/// if let (Ok(node), Ok(relay)) = (Home::of_user(), Home::of_relay()) {
///     assert!(relay.data_dir().starts_with(node.data_dir()));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    data_dir: PathBuf,
    downloads: PathBuf,
    socket: PathBuf,
    config_file: PathBuf,
}

/// The result of [`Home::claim`].
#[derive(Debug)]
pub enum Claim {
    /// This process has the home now.
    Ours(Claimed),
    /// Another process has the home. Its id, if it has written it to the lock file.
    Busy(Option<u32>),
}

/// A home that this process has claimed. Dropping it releases the home.
#[derive(Debug)]
pub struct Claimed {
    home: Home,
    lock: Lock,
}

/// Why a folder can't be a home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The environment does not name the user's home folder.
    #[error("can't find your home folder ({0}): name a folder for hobnob with --home DIR")]
    NoHome(String),
    /// The folder, or a file in it, can't be created or opened.
    #[error(
        "can't use {path:?} ({error}): make it writable for you, or name another folder with --home DIR"
    )]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

impl Home {
    /// A home with everything in one folder.
    pub fn at(dir: &Path) -> Result<Home, HomeError> {
        let data_dir = std::path::absolute(dir).map_err(|error| HomeError::Unusable {
            path: dir.to_owned(),
            error,
        })?;
        Ok(Home {
            socket: data_dir.join("control.sock"),
            downloads: data_dir.join("downloads"),
            config_file: data_dir.join(CONFIG_FILE),
            data_dir,
        })
    }

    /// The user's own home: data and socket in the folders of the XDG Base Directory specification.
    pub fn of_user() -> Result<Home, HomeError> {
        Self::in_xdg_folders("hobnob")
    }

    /// The home of the user's own relay, in a separate folder beside the node's files.
    pub fn of_relay() -> Result<Home, HomeError> {
        Self::in_xdg_folders("hobnob/relay")
    }

    fn in_xdg_folders(name: &str) -> Result<Home, HomeError> {
        let base =
            etcetera::choose_base_strategy().map_err(|e| HomeError::NoHome(e.to_string()))?;
        let data_dir = base.data_dir().join(name);
        let runtime_dir = base
            .runtime_dir()
            .map_or_else(|| data_dir.clone(), |dir| dir.join(name));
        let downloads = user_downloads(&base.config_dir(), base.home_dir());
        let config_file = base.config_dir().join(name).join(CONFIG_FILE);
        Ok(Home {
            data_dir,
            downloads,
            socket: runtime_dir.join("control.sock"),
            config_file,
        })
    }

    /// A home whose socket is outside its data folder, like that of [`Home::of_user`].
    #[doc(hidden)]
    pub fn with_socket(data_dir: &Path, socket: &Path) -> Home {
        let (downloads, config_file) = (data_dir.join("downloads"), data_dir.join(CONFIG_FILE));
        Home {
            data_dir: data_dir.to_owned(),
            downloads,
            socket: socket.to_owned(),
            config_file,
        }
    }

    /// The folder of the key and the database.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The folder for received files.
    pub fn downloads(&self) -> &Path {
        &self.downloads
    }

    /// The control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where the process that has this home may listen, in this order: the control socket, and the
    /// path that it noted in the lock file. They differ if that process had another environment,
    /// for example no `XDG_RUNTIME_DIR`.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let noted = lock::noted(&self.data_dir).filter(|path| *path != self.socket);
        [Some(self.socket.clone()), noted]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The settings file, which need not exist.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// Claims the home, unless another process has it.
    pub fn claim(&self) -> Result<Claim, HomeError> {
        if let Some(dir) = self.socket.parent() {
            make_private_dir(dir)?;
        }
        Ok(match Lock::take(&self.data_dir)? {
            Taken::Ours(lock) => {
                let home = self.clone();
                let mut claimed = Claimed { home, lock };
                claimed.note_socket(&self.socket)?;
                Claim::Ours(claimed)
            }
            Taken::Busy(pid) => Claim::Busy(pid),
        })
    }
}

impl From<Unusable> for HomeError {
    fn from((path, error): Unusable) -> Self {
        HomeError::Unusable { path, error }
    }
}

impl Claimed {
    /// Notes where this process listens, if that is not the home's own control socket.
    pub fn note_socket(&mut self, path: &Path) -> Result<(), HomeError> {
        self.lock.note(path).map_err(|error| HomeError::Unusable {
            path: self.home.data_dir.clone(),
            error,
        })
    }

    /// The claimed home.
    pub fn home(&self) -> &Home {
        &self.home
    }
}

/// The user's downloads folder from the file `user-dirs.dirs` of xdg-user-dirs. A line names it in
/// quotes, as an absolute path or within `$HOME`.
fn user_downloads(config: &Path, home: &Path) -> PathBuf {
    let lines = std::fs::read_to_string(config.join("user-dirs.dirs")).unwrap_or_default();
    let value = lines
        .lines()
        .find_map(|line| line.trim().strip_prefix("XDG_DOWNLOAD_DIR="));
    let named = value.and_then(|value| {
        let value = value.trim().trim_matches('"');
        let within = value.strip_prefix("$HOME/").map(|rest| home.join(rest));
        within.or_else(|| Some(PathBuf::from(value)).filter(|path| path.is_absolute()))
    });
    // The value `$HOME/` means that the user has disabled this folder.
    named
        .filter(|path| path != home)
        .unwrap_or_else(|| home.join("Downloads"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_process_at_a_time_claims_a_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("deep/er")).unwrap();
        let Claim::Ours(first) = home.claim().unwrap() else {
            panic!("the folder is new")
        };
        assert!(
            matches!(home.claim().unwrap(), Claim::Busy(Some(pid)) if pid == std::process::id())
        );
        drop(first);
        assert!(matches!(home.claim().unwrap(), Claim::Ours(_)));
    }

    #[test]
    fn a_process_with_another_runtime_folder_finds_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let socket = folder.path().join("run/control.sock");
        let with_runtime = Home::with_socket(&data, &socket);
        let without = Home::at(&data).unwrap();
        let Claim::Ours(_claimed) = with_runtime.claim().unwrap() else {
            panic!("the folder is new")
        };
        assert_eq!(with_runtime.sockets(), std::slice::from_ref(&socket));
        assert_eq!(without.sockets(), [data.join("control.sock"), socket]);
    }

    #[test]
    fn only_the_owner_can_read_a_new_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("home")).unwrap();
        home.claim().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(home.data_dir()), 0o700);
        assert_eq!(mode(&home.data_dir().join("lock")), 0o600);
    }

    #[test]
    fn a_folder_that_cannot_be_created_is_reported_with_advice() {
        let error = Home::at(Path::new("/proc/nothing/here"))
            .unwrap()
            .claim()
            .expect_err("nobody can create folders in /proc");
        assert!(
            error.to_string().contains("/proc/nothing/here")
                && error.to_string().contains("--home"),
            "{error}"
        );
    }
}
