//! Replaces `keyring` in a build without the feature `keyring`: there is no keyring.

use hobnob::KeyringKey;

/// Why the keyring does not help.
#[derive(Debug, thiserror::Error)]
#[error("this hobnob was built without the system keyring (feature `keyring`)")]
pub(crate) struct KeyringError(());

/// Finds nothing.
pub(crate) fn find(_: &str) -> Result<KeyringKey, KeyringError> {
    Err(KeyringError(()))
}

/// Stores nothing.
pub(crate) fn store(_: &KeyringKey) -> Result<(), KeyringError> {
    Err(KeyringError(()))
}

/// Removes nothing.
pub(crate) fn remove(_: &str) -> Result<(), KeyringError> {
    Err(KeyringError(()))
}
