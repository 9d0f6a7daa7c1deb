//! The bans of a fleet, as the parts of this relay share them. Clones share them.
//!
//! The directory merges the changes of other relays. The hub applies them. The server writes them to the
//! files of the relay.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::ban_records::{BanRecord, BanRecords};
use crate::admission::{BanTarget, Bans, FileError};

/// The bans.
#[derive(Debug, Clone)]
pub(crate) struct SharedBans {
    state: Arc<Mutex<State>>,
    merged: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    records: BanRecords,
    /// The changes of other relays that the file with the bans does not have yet.
    unwritten: BTreeMap<BanTarget, bool>,
}

impl SharedBans {
    /// Reads the records in the relay's home, and writes what the operator has changed since. Otherwise
    /// these changes would count as made at each start anew.
    pub(crate) fn load(home: &Path, bans: &Bans, now_ms: u64) -> Self {
        let records = BanRecords::load(home, bans, now_ms);
        let unwritten = BTreeMap::new();
        let shared = Self {
            state: Arc::new(Mutex::new(State { records, unwritten })),
            merged: Arc::default(),
        };
        shared.lock().records.store(home);
        shared
    }

    /// Whether the target is banned.
    pub(crate) fn is_banned(&self, target: BanTarget) -> bool {
        self.lock().records.is_banned(target)
    }

    /// The operator of this relay makes a ban or removes it.
    pub(crate) fn note(&self, target: BanTarget, banned: bool, now_ms: u64) -> BanRecord {
        let mut state = self.lock();
        state.unwritten.remove(&target);
        state.records.note(target, banned, now_ms)
    }

    /// Another relay has these records. Returns the bans that have changed.
    #[cfg(feature = "fleet")]
    pub(crate) fn merge(&self, records: Vec<BanRecord>) -> Vec<BanTarget> {
        let mut state = self.lock();
        let before = *state.records.digests();
        let changed = |record: BanRecord| state.merge(record).then_some(record.target);
        let changed: Vec<_> = records.into_iter().filter_map(changed).collect();
        // Also if only times have changed: they are in the file with the records.
        if *state.records.digests() != before {
            self.merged.notify_one();
        }
        changed
    }

    /// Reads the records.
    #[cfg(feature = "fleet")]
    pub(crate) fn with_records<T>(&self, read: impl FnOnce(&BanRecords) -> T) -> T {
        read(&self.lock().records)
    }

    /// Waits until other relays have changed something.
    pub(crate) async fn merged(&self) {
        self.merged.notified().await;
    }

    /// Writes the changes of other relays to the file with the bans, and then all records. Changes
    /// that the operator has made in the file stay.
    ///
    /// The file with the bans comes first, and has all that the records have. Otherwise, after a crash,
    /// a ban that is missing there would count as removed by the operator.
    pub(crate) fn write_merged(&self, home: &Path) -> Result<(), FileError> {
        let (unwritten, records) = {
            let mut state = self.lock();
            let unwritten = std::mem::take(&mut state.unwritten);
            (unwritten, state.records.clone())
        };
        if let Err(error) = apply(home, &unwritten) {
            let mut state = self.lock();
            for (target, banned) in unwritten {
                state.unwritten.entry(target).or_insert(banned);
            }
            return Err(error);
        }
        records.store(home);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    #[cfg(feature = "fleet")]
    fn merge(&mut self, record: BanRecord) -> bool {
        let changed = self.records.merge(record);
        if changed {
            self.unwritten.insert(record.target, record.banned);
        }
        changed
    }
}

fn apply(home: &Path, changes: &BTreeMap<BanTarget, bool>) -> Result<(), FileError> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut bans = Bans::load(home)?;
    for (target, banned) in changes {
        bans.set(*target, *banned);
    }
    bans.write(home)
}

#[cfg(all(test, feature = "fleet"))]
mod tests {
    use super::*;
    use hobnob_protocol::DeviceId;

    fn target(n: u8) -> BanTarget {
        BanTarget::Peer(DeviceId::from_bytes([n; 32]))
    }

    fn record(n: u8, banned: bool) -> BanRecord {
        BanRecord {
            target: target(n),
            at_ms: 500,
            banned,
        }
    }

    #[test]
    fn changes_of_other_relays_are_written_beside_those_of_the_operator() {
        let home = tempfile::tempdir().unwrap();
        let mut bans = Bans::default();
        bans.set(target(1), true);
        bans.write(home.path()).unwrap();
        let shared = SharedBans::load(home.path(), &bans, 100);
        let changed = shared.merge(vec![record(1, false), record(2, true), record(3, true)]);
        assert_eq!(changed, [target(1), target(2), target(3)]);
        assert!(shared.is_banned(target(2)) && !shared.is_banned(target(1)));
        // The operator removes one at this relay, and adds another one to the file.
        shared.note(target(3), false, 600);
        bans.set(target(4), true);
        bans.write(home.path()).unwrap();
        shared.write_merged(home.path()).unwrap();
        let written: Vec<_> = Bans::load(home.path()).unwrap().targets().collect();
        assert_eq!(written, [target(2), target(4)]);
        // The next start takes over what the operator has added.
        let bans = Bans::load(home.path()).unwrap();
        let again = SharedBans::load(home.path(), &bans, 700);
        assert!(again.is_banned(target(4)) && !again.is_banned(target(1)));
        assert_eq!(again.merge(vec![record(3, true)]), [], "it is older");
    }

    #[test]
    fn a_ban_does_not_count_as_made_again_at_each_start() {
        let home = tempfile::tempdir().unwrap();
        let mut bans = Bans::default();
        bans.set(target(1), true);
        drop(SharedBans::load(home.path(), &bans, 100));
        let again = SharedBans::load(home.path(), &bans, 900);
        assert_eq!(again.merge(vec![record(1, false)]), [target(1)]);
    }

    #[test]
    fn changes_that_cannot_be_written_are_written_later() {
        let home = tempfile::tempdir().unwrap();
        let shared = SharedBans::load(home.path(), &Bans::default(), 100);
        shared.merge(vec![record(2, true)]);
        std::fs::write(home.path().join("banned"), "nonsense\n").unwrap();
        assert!(shared.write_merged(home.path()).is_err());
        std::fs::write(home.path().join("banned"), "").unwrap();
        shared.write_merged(home.path()).unwrap();
        assert!(
            Bans::load(home.path())
                .unwrap()
                .has_peer(DeviceId::from_bytes([2; 32]))
        );
    }
}
