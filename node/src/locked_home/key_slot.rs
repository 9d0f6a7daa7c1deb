//! [`KeySlot`]: what opens a locked home, and how to change it.

use std::path::{Path, PathBuf};

use super::slot::Slot;
use super::{KeyringKey, LockError, UnlockSource, check_length, load_slot, open_slot};
use crate::data_key::DataKey;

/// What opens a locked home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locks {
    /// Whether a passphrase opens it.
    pub has_passphrase: bool,
    /// The id of the key in a keyring that opens it.
    pub keyring_id: Option<String>,
}

/// What opens a home, without opening it. `None` if it is not locked.
pub fn locks_of(home: &Path) -> Result<Option<Locks>, LockError> {
    Ok(Slot::load(home)?.map(|slot| Locks {
        has_passphrase: slot.has_passphrase(),
        keyring_id: slot.keyring_id().map(str::to_owned),
    }))
}

/// The key slot of a locked home, opened. A node may run there. Each change writes only the slot: the
/// files stay as they are.
#[derive(Debug)]
pub struct KeySlot {
    home: PathBuf,
    key: DataKey,
    slot: Slot,
}

impl KeySlot {
    /// Opens the key slot of a home. Blocks for as long as a guess of a passphrase costs.
    ///
    /// # Errors
    ///
    /// Nothing in `source` opens it, or the home can't be read or isn't locked.
    pub fn open(home: &Path, source: &UnlockSource) -> Result<Self, LockError> {
        let slot = load_slot(home)?;
        let key = open_slot(home, &slot, source)?;
        let home = home.to_owned();
        Ok(Self { home, key, slot })
    }

    /// Adds a passphrase, or changes it. A key in a keyring stays.
    pub fn set_passphrase(&self, passphrase: &str) -> Result<(), LockError> {
        let slot = self.slot.clone();
        let slot = slot.with_passphrase(&self.key, check_length(passphrase)?);
        slot.replace(&self.home)
    }

    /// Adds a key that a keyring stores, or changes it. A passphrase stays.
    pub fn set_keyring(&self, key: &KeyringKey) -> Result<(), LockError> {
        let slot = self.slot.clone().with_keyring(&self.key, key);
        slot.replace(&self.home)
    }

    /// Removes the key that a keyring stores. With a new passphrase, that one opens the home from now
    /// on; otherwise the one that it has.
    ///
    /// # Errors
    ///
    /// Nothing would open the home any more.
    pub fn remove_keyring(&self, new_passphrase: Option<&str>) -> Result<(), LockError> {
        let mut slot = self.slot.clone();
        if let Some(passphrase) = new_passphrase {
            slot = slot.with_passphrase(&self.key, check_length(passphrase)?);
        }
        let slot = slot
            .without_keyring()
            .ok_or_else(|| LockError::OnlyKeyring(self.home.clone()))?;
        slot.replace(&self.home)
    }
}
