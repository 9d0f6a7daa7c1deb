//! The system keyring, which stores the keys of locked homes: the Secret Service of the desktop on
//! Linux (GNOME Keyring, KDE Wallet, KeePassXC), the Keychain on macOS.

use std::sync::mpsc;
use std::time::Duration;

use hobnob::KeyringKey;
use keyring::{Entry, Error};

/// The service that the keys belong to. The user of an entry is the id of its key.
const SERVICE: &str = "hobnob";

/// How long the keyring may take. If it is locked, it asks the user in a window.
const LIMIT: Duration = Duration::from_secs(120);

/// Why the keyring does not help.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    #[error("this session has no system keyring ({0})")]
    Absent(String),
    #[error("the system keyring is locked, and was not unlocked ({0}): unlock it, and try again")]
    Locked(String),
    #[error("the system keyring does not have the key {0} of this home")]
    NoKey(String),
    #[error("the system keyring has something else in place of the key {0} of this home")]
    Damaged(String),
    #[error("the system keyring has not answered for {} seconds", LIMIT.as_secs())]
    Silent,
    #[error("the system keyring fails: {0}")]
    Other(String),
}

/// The key with this id.
pub(crate) fn find(id: &str) -> Result<KeyringKey, KeyringError> {
    let id = id.to_owned();
    in_time(move || read(&id))
}

/// Stores a key, and reads it again.
pub(crate) fn store(key: &KeyringKey) -> Result<(), KeyringError> {
    let key = key.clone();
    in_time(move || {
        entry(key.id())?
            .set_password(&key.to_text())
            .map_err(|error| cause(&error, key.id()))?;
        let stored = read(key.id())?;
        (stored == key)
            .then_some(())
            .ok_or_else(|| KeyringError::Damaged(key.id().to_owned()))
    })
}

/// Removes the key with this id.
pub(crate) fn remove(id: &str) -> Result<(), KeyringError> {
    let id = id.to_owned();
    in_time(move || {
        entry(&id)?
            .delete_credential()
            .map_err(|error| cause(&error, &id))
    })
}

fn read(id: &str) -> Result<KeyringKey, KeyringError> {
    // Text, because KDE Wallet stores nothing else.
    let text = entry(id)?
        .get_password()
        .map_err(|error| cause(&error, id))?;
    KeyringKey::from_text(&zeroize::Zeroizing::new(text))
        .filter(|key| key.id() == id)
        .ok_or_else(|| KeyringError::Damaged(id.to_owned()))
}

fn entry(id: &str) -> Result<Entry, KeyringError> {
    if let Err(error) = Entry::store_status() {
        return Err(KeyringError::Absent(words(error)));
    }
    Entry::new(SERVICE, id).map_err(|error| cause(&error, id))
}

fn cause(error: &Error, id: &str) -> KeyringError {
    if matches!(error, Error::NoEntry) {
        KeyringError::NoKey(id.to_owned())
    } else if matches!(error, Error::NoStorageAccess(_)) {
        KeyringError::Locked(words(error))
    } else if matches!(error, Error::NoDefaultStore) {
        KeyringError::Absent(words(error))
    } else if matches!(error, Error::BadEncoding(_) | Error::Ambiguous(_)) {
        KeyringError::Damaged(id.to_owned())
    } else {
        KeyringError::Other(words(error))
    }
}

/// An error and its sources, without those whose words the one before has already.
fn words(error: &Error) -> String {
    let (mut text, mut source) = (error.to_string(), std::error::Error::source(error));
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        source = error.source();
    }
    text
}

/// Asks the keyring on a thread of its own. It may wait for the user, and must not wait within a
/// runtime.
fn in_time<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, KeyringError> + Send + 'static,
) -> Result<T, KeyringError> {
    let (answer, answered) = mpsc::channel();
    let thread = std::thread::Builder::new().name("keyring".to_owned());
    let started = thread.spawn(move || {
        // The caller may wait no longer.
        let _ = answer.send(ask());
    });
    started.map_err(|error| KeyringError::Other(error.to_string()))?;
    answered
        .recv_timeout(LIMIT)
        .unwrap_or(Err(KeyringError::Silent))
}
