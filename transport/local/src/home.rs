//! A home: the folder of one identity, its lock, and where its control socket is.
//!
//! Whoever holds the lock is the node of that home. Only the holder may replace the socket file, so
//! a stale one harms nobody.

use std::io;
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use hobnob_transport::lock::{Lock, Taken, Unusable, make_private_dir};

/// The name of the file with the settings.
const CONFIG_FILE: &str = "config.toml";

/// Where one identity lives.
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
/// let Claim::Ours(claimed) = home.claim()? else { panic!("nobody else knows of it") };
/// assert_eq!(claimed.home(), &home);
/// // Without --home: where the user's own node and relay live.
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

/// Whose a home is.
///
/// ```
/// use hobnob_local::{Claim, Home};
///
/// fn tell(home: &Home) -> Result<(), hobnob_local::HomeError> {
///     match home.claim()? {
///         Claim::Ours(_) => println!("no node runs here"), // and none starts until the claim is dropped
///         Claim::Busy(Some(process)) => println!("process {process} has it"),
///         Claim::Busy(None) => println!("another process has it"),
///     }
///     Ok(())
/// }
/// # let dir = tempfile::tempdir()?;
/// # tell(&Home::at(dir.path())?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum Claim {
    /// This process's.
    Ours(Claimed),
    /// Another process's; its id, where it has written it down.
    Busy(Option<u32>),
}

/// A home that this process holds. Dropping it lets the next one in.
///
/// ```
/// use hobnob_local::{Claim, Home};
///
/// # let dir = tempfile::tempdir()?;
/// let home = Home::at(dir.path())?;
/// for _ in 0..2 {
///     let Claim::Ours(claimed) = home.claim()? else { panic!("it is free") };
///     drop(claimed); // for the next one
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Claimed {
    home: Home,
    _lock: Lock,
}

/// Why a folder can't be a home.
///
/// ```
/// use hobnob_local::{Home, HomeError};
///
/// # let dir = tempfile::tempdir()?;
/// std::fs::write(dir.path().join("file"), "")?;
/// let error = Home::at(&dir.path().join("file/home"))?.claim();
/// assert!(matches!(error, Err(HomeError::Unusable { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The environment names no home folder to put ours into.
    #[error("can't tell where your home folder is ({0}): name a folder for hobnob with --home DIR")]
    NoHome(String),
    /// The folder, or a file in it, can't be made or opened.
    #[error(
        "can't use {path:?} ({error}): make it writable for you, or name another folder with --home DIR"
    )]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl Home {
    /// Everything in one folder.
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

    /// Where the user's own relay lives: beside the node, and apart from it.
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

    /// A home whose socket is elsewhere than its data, as those of users are.
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

    /// Where files that were received go.
    pub fn downloads(&self) -> &Path {
        &self.downloads
    }

    /// The control socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The settings, which need not exist.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// Whether the socket is in a folder that homes may share: then who answers there may be the
    /// node of another home.
    pub fn shares_socket_folder(&self) -> bool {
        !self.socket.starts_with(&self.data_dir)
    }

    /// Takes the lock, unless another process has it.
    pub fn claim(&self) -> Result<Claim, HomeError> {
        if let Some(dir) = self.socket.parent() {
            make_private_dir(dir)?;
        }
        Ok(match Lock::take(&self.data_dir)? {
            Taken::Ours(lock) => Claim::Ours(Claimed {
                home: self.clone(),
                _lock: lock,
            }),
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
    /// What is claimed.
    pub fn home(&self) -> &Home {
        &self.home
    }
}

/// The user's downloads folder, as xdg-user-dirs keeps it: a line of `user-dirs.dirs` names it, in
/// quotes, absolute or in `$HOME`.
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
    // With nothing after it, `$HOME/` says that the user wants no such folder.
    named
        .filter(|path| path != home)
        .unwrap_or_else(|| home.join("Downloads"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_home_has_one_holder_at_a_time_and_says_who() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("deep/er")).unwrap();
        let Claim::Ours(first) = home.claim().unwrap() else {
            panic!("nobody else is here")
        };
        assert!(
            matches!(home.claim().unwrap(), Claim::Busy(Some(pid)) if pid == std::process::id())
        );
        drop(first);
        assert!(matches!(home.claim().unwrap(), Claim::Ours(_)));
    }

    #[test]
    fn a_new_home_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(&folder.path().join("home")).unwrap();
        home.claim().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(home.data_dir()), 0o700);
        assert_eq!(mode(&home.data_dir().join("lock")), 0o600);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_what_to_do() {
        let error = Home::at(Path::new("/proc/nothing/here"))
            .unwrap()
            .claim()
            .expect_err("/proc takes no folders");
        assert!(
            error.to_string().contains("/proc/nothing/here")
                && error.to_string().contains("--home"),
            "{error}"
        );
    }
}
