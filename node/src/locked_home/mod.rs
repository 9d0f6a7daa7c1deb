//! Locked homes: the key, the databases and the content index of a home are encrypted on the disk.
//!
//! A random *data key* encrypts the files. The *key slot*, a file in the home, has the data key,
//! encrypted with a passphrase, with a key that a keyring stores, or once with each. So another
//! passphrase changes only the slot. Not here: the encryption itself, which is in `hobnob-vfs`; the
//! keyring, which belongs to the program; the node's settings and downloaded files, which are never
//! encrypted.

mod key_slot;
mod keyring_key;
mod slot;
mod switch;
mod unlock_source;

use std::io;
use std::path::{Path, PathBuf};

use hobnob_mailbox::MailboxError;
use hobnob_transport::key_file::{self, KeyDamage, KeyFileError};
use zeroize::Zeroizing;

pub use key_slot::{KeySlot, Locks, locks_of};
pub use keyring_key::KeyringKey;
pub(crate) use slot::FILE as SLOT_FILE;
pub(crate) use switch::finish;
pub use unlock_source::UnlockSource;

use slot::Slot;

use crate::data_key::DataKey;
use crate::store::StoreError;

/// Why a home can't be locked, unlocked or opened.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A file or folder cannot be used.
    #[error("can't use {}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The key slot is damaged.
    #[error("{} is damaged ({why}): restore the home from a backup", path.display())]
    Slot {
        /// The file.
        path: PathBuf,
        /// The damage.
        why: &'static str,
    },
    /// The key file of a locked home is damaged.
    #[error("{} is damaged: restore the home from a backup", .0.display())]
    Key(PathBuf),
    /// A key file that is not encrypted is damaged.
    #[error(transparent)]
    PlainKey(#[from] KeyFileError),
    /// Nobody gave the passphrase.
    #[error(
        "{} is locked: it needs its passphrase", .0.display()
    )]
    NoPassphrase(PathBuf),
    /// The passphrase can't be asked for.
    #[error("{} is locked, and its passphrase can't be read: {why}", home.display())]
    Ask {
        /// The home.
        home: PathBuf,
        /// The reason.
        why: String,
    },
    /// Only the keyring opens the home, and it does not.
    #[error("the keyring does not open {}: {why}", home.display())]
    Keyring {
        /// The home.
        home: PathBuf,
        /// The reason.
        why: String,
    },
    /// Without the keyring, nothing would open the home.
    #[error("only the keyring opens {}: give it a passphrase first", .0.display())]
    OnlyKeyring(PathBuf),
    /// The passphrase is wrong.
    #[error("this is not the passphrase of {}", .0.display())]
    WrongPassphrase(PathBuf),
    /// The passphrase is empty or too long.
    #[error("a passphrase has 1 to {PASSPHRASE_MAX} bytes")]
    Length,
    /// The home is locked already.
    #[error("{} is locked already: `hobnob passwd` changes its passphrase", .0.display())]
    AlreadyLocked(PathBuf),
    /// The home is not locked.
    #[error("{} is not locked: `hobnob lock` locks it", .0.display())]
    NotLocked(PathBuf),
    /// The folder is not a home.
    #[error("{} is not the home of a node: start hobnob there first", .0.display())]
    NoHome(PathBuf),
    /// The database cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database of mail for others cannot be read or written.
    #[error(transparent)]
    Held(#[from] MailboxError),
}

/// Longest passphrase of a home in bytes.
pub(crate) const PASSPHRASE_MAX: usize = 1024;

/// Whether a home is locked.
pub fn is_locked(home: &Path) -> bool {
    slot::is_there(home)
}

/// Whether a home can be locked. [`lock_home`] checks the same, after the user has typed a passphrase.
///
/// # Errors
///
/// It is locked already, or the folder is not a home.
pub fn check_lockable(home: &Path) -> Result<(), LockError> {
    if is_locked(home) {
        return Err(LockError::AlreadyLocked(home.to_owned()));
    }
    if !home.join(key_file::FILE).exists() {
        return Err(LockError::NoHome(home.to_owned()));
    }
    Ok(())
}

/// Encrypts a home, so that only the passphrase opens it. The caller holds the home's lock, and no
/// node runs there. Blocks for as long as the database is copied. A crash leaves a home that is
/// locked or not locked, and complete.
///
/// The files that were not encrypted are overwritten before they are removed. Disks and file systems
/// that write elsewhere may keep parts of them.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let node = || hobnob::Node::builder(dir.path()).loopback();
/// let id = { let node = node().start().await?; node.shutdown().await; node.id() };
/// hobnob::lock_home(dir.path(), "tin roof rust")?;
/// assert!(node().start().await.is_err());
/// assert!(node().passphrase("tin roof").start().await.is_err());
/// let opened = node().passphrase("tin roof rust").start().await?;
/// assert_eq!(opened.id(), id);
/// # opened.shutdown().await;
/// # Ok(()) }
/// ```
pub fn lock_home(home: &Path, passphrase: &str) -> Result<(), LockError> {
    let key = DataKey::random();
    let slot = Slot::default().with_passphrase(&key, check_length(passphrase)?);
    lock(home, &key, &slot)
}

/// Encrypts a home like [`lock_home`], so that only this key opens it. The caller has stored the key
/// in a keyring.
///
/// ```
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # hobnob::Node::builder(dir.path()).loopback().start().await?.shutdown().await;
/// let key = hobnob::KeyringKey::random();
/// let stored = (key.id().to_owned(), key.to_text());
/// hobnob::lock_home_with_keyring(dir.path(), &key)?;
///
/// let find = move |id: &str| {
///     let text = (id == stored.0).then_some(&stored.1);
///     let key = text.and_then(|text| hobnob::KeyringKey::from_text(text));
///     key.ok_or_else(|| std::io::ErrorKind::NotFound.into())
/// };
/// let source = hobnob::UnlockSource::from("").with_keyring(find);
/// let slot = hobnob::KeySlot::open(dir.path(), &source)?;
/// slot.set_passphrase("tin roof rust")?; // From now on both open it.
/// assert!(hobnob::locks_of(dir.path())?.is_some_and(|locks| locks.has_passphrase));
/// hobnob::unlock_home(dir.path(), &source)?;
/// # Ok(()) }
/// ```
pub fn lock_home_with_keyring(home: &Path, keyring_key: &KeyringKey) -> Result<(), LockError> {
    let key = DataKey::random();
    let slot = Slot::default().with_keyring(&key, keyring_key);
    lock(home, &key, &slot)
}

fn lock(home: &Path, key: &DataKey, slot: &Slot) -> Result<(), LockError> {
    switch::finish(home)?;
    check_lockable(home)?;
    switch::switch(home, None, Some((key, slot)))
}

/// Stores a locked home without encryption again. The caller holds the home's lock, and no node runs
/// there. Blocks for as long as the database is copied.
pub fn unlock_home(home: &Path, source: &UnlockSource) -> Result<(), LockError> {
    switch::finish(home)?;
    let slot = load_slot(home)?;
    let key = open_slot(home, &slot, source)?;
    switch::switch(home, Some(&key), None)
}

/// Opens a home. `None` if it is not locked. Completes a change that a crash has interrupted. Blocks.
pub(crate) fn open(
    home: &Path,
    source: Option<&UnlockSource>,
) -> Result<Option<DataKey>, LockError> {
    switch::finish(home)?;
    let Some(slot) = Slot::load(home)? else {
        return Ok(None);
    };
    let source = source.ok_or_else(|| LockError::NoPassphrase(home.to_owned()))?;
    open_slot(home, &slot, source).map(Some)
}

fn load_slot(home: &Path) -> Result<Slot, LockError> {
    Slot::load(home)?.ok_or_else(|| LockError::NotLocked(home.to_owned()))
}

/// Opens a slot with the key of the keyring, or else with the passphrase.
fn open_slot(home: &Path, slot: &Slot, source: &UnlockSource) -> Result<DataKey, LockError> {
    let mut keyring_fails = None;
    if let Some(id) = slot.keyring_id() {
        match source.find_key(id) {
            Ok(key) => match slot.open_with(&key) {
                Some(key) => return Ok(key),
                None => keyring_fails = Some("its key is another one".to_owned()),
            },
            Err(error) => keyring_fails = Some(error.to_string()),
        }
    }
    if !slot.has_passphrase() {
        return Err(LockError::Keyring {
            home: home.to_owned(),
            why: keyring_fails.unwrap_or_default(),
        });
    }
    let passphrase = source.ask().map_err(|error| LockError::Ask {
        home: home.to_owned(),
        why: match &keyring_fails {
            Some(why) => format!("{error}. The keyring does not open it: {why}"),
            None => error.to_string(),
        },
    })?;
    let key = slot.open(&passphrase);
    key.ok_or_else(|| LockError::WrongPassphrase(home.to_owned()))
}

fn check_length(passphrase: &str) -> Result<&str, LockError> {
    if (1..=PASSPHRASE_MAX).contains(&passphrase.len()) {
        Ok(passphrase)
    } else {
        Err(LockError::Length)
    }
}

/// The text of the key file of a home, if it has one.
pub(crate) fn read_key_file(
    home: &Path,
    key: Option<&DataKey>,
) -> Result<Option<Zeroizing<String>>, LockError> {
    let path = home.join(key_file::FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LockError::Io { path, error }),
    };
    let Some(key) = key else {
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| KeyFileError::Damaged {
            path,
            damage: KeyDamage::NotText,
        })?;
        return Ok(Some(Zeroizing::new(text)));
    };
    let opened = key.blobs().open(key_file::FILE, &bytes);
    let text = opened.and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(|text| Some(Zeroizing::new(text)))
        .ok_or(LockError::Key(path))
}

/// Maps errors of the system to a path.
fn at(path: &Path) -> impl FnOnce(io::Error) -> LockError + '_ {
    |error| LockError::Io {
        path: path.to_owned(),
        error,
    }
}
