//! Damage of the database that is found while the store is open.
//!
//! A file beside the database notes it, so that the next start repairs the database. Not here: the
//! repair, see [`repair`](super::repair).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::StoreError;

/// Whether damage was found. All threads of a store share it.
#[derive(Debug)]
pub(super) struct Damage {
    note: PathBuf,
    found: AtomicBool,
}

impl Damage {
    /// For a database that is open now. A note that is still there is of damage that could not be
    /// repaired.
    pub(super) fn of(database: &Path) -> Self {
        let note = note_of(database);
        let found = AtomicBool::new(note.exists());
        Self { note, found }
    }

    pub(super) fn was_found(&self) -> bool {
        self.found.load(Ordering::Relaxed)
    }

    /// Notes damage.
    pub(super) fn note(&self) {
        if self.found.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!("a part of the database is damaged; the next start repairs it");
        if let Err(error) = fs::write(&self.note, "") {
            tracing::warn!(%error, "damage in the database can't be noted");
        }
    }

    /// Notes damage if this is an error that reports it.
    pub(super) fn note_error(&self, error: &StoreError) {
        if matches!(error, StoreError::Damaged { .. }) {
            self.note();
        }
    }
}

/// The file that notes that damage was found.
pub(super) fn note_of(database: &Path) -> PathBuf {
    let mut path = database.to_owned().into_os_string();
    path.push(".suspect");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_damage_is_noted_and_a_later_start_sees_the_note() {
        let dir = tempfile::TempDir::new().expect("a temporary folder");
        let file = dir.path().join("messages.db");
        let damage = Damage::of(&file);
        damage.note_error(&StoreError::Full { file: file.clone() });
        assert!(!damage.was_found());
        let detail = "a flipped bit".to_owned();
        damage.note_error(&StoreError::Damaged {
            file: file.clone(),
            detail,
        });
        assert!(damage.was_found() && Damage::of(&file).was_found());
    }
}
