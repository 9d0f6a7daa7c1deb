//! The bans of a fleet, and those that were removed, each with the time of the change.
//!
//! The latest change of a ban wins, at whichever relay it was made. So relays can exchange their records
//! in any order, and as often as they like. A removed ban is kept, too: a relay that was not running may
//! still have it.
//!
//! Relays find out what they have to exchange with digests: each record belongs to one of
//! [`BUCKETS`] buckets, and each bucket has a digest.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use hobnob_transport::private_file;

use crate::admission::{BANS_MAX, BanTarget, Bans};

/// Number of buckets.
pub(crate) const BUCKETS: usize = 256;

/// Maximum removed bans that are kept. Beyond, the oldest is forgotten.
const REMOVED_MAX: usize = 10_000;

/// The name of the file in the relay's home.
const RECORDS_FILE: &str = "fleet-bans";

/// The latest change of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BanRecord {
    pub(crate) target: BanTarget,
    /// When it was made or removed, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// Whether it is in effect.
    pub(crate) banned: bool,
}

/// The records of all bans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BanRecords {
    /// The time of each change, and whether the ban is in effect.
    records: BTreeMap<BanTarget, (u64, bool)>,
    /// The removed bans by time.
    removed: BTreeSet<(u64, BanTarget)>,
    digests: [u64; BUCKETS],
}

impl BanRecords {
    /// Without records.
    fn new() -> Self {
        Self {
            records: BTreeMap::new(),
            removed: BTreeSet::new(),
            digests: [0; BUCKETS],
        }
    }

    /// Reads the records in a relay's home. What differs from the bans there was changed by the
    /// operator, and counts as changed now. A file that is missing or damaged counts as empty.
    pub(crate) fn load(home: &Path, bans: &Bans, now_ms: u64) -> Self {
        let path = home.join(RECORDS_FILE);
        let mut records = match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text).unwrap_or_else(|| {
                tracing::warn!(
                    ?path,
                    "the bans of the fleet count as made now: this file is damaged"
                );
                Self::new()
            }),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(?path, %error, "the bans of the fleet count as made now");
                }
                Self::new()
            }
        };
        let banned: BTreeSet<_> = bans.targets().collect();
        let known = records.records.iter();
        let lifted = known.filter(|(target, (_, is))| *is && !banned.contains(target));
        let lifted: Vec<_> = lifted.map(|(target, _)| *target).collect();
        for target in lifted {
            records.note(target, false, now_ms);
        }
        for target in banned {
            if !records.is_banned(target) {
                records.note(target, true, now_ms);
            }
        }
        records
    }

    /// Writes the records to the relay's home. An error is logged: without the records, the bans count
    /// as made at the next start.
    pub(super) fn store(&self, home: &Path) {
        let path = home.join(RECORDS_FILE);
        if let Err(error) = private_file::replace(&path, &self.text()) {
            tracing::warn!(?path, %error, "can't store the times of the bans");
        }
    }

    fn text(&self) -> String {
        let line = |(target, (at_ms, banned)): (&BanTarget, &(u64, bool))| {
            let sign = if *banned { '+' } else { '-' };
            format!("{at_ms} {sign} {target}\n")
        };
        self.records.iter().map(line).collect()
    }

    /// Whether the target is banned.
    pub(crate) fn is_banned(&self, target: BanTarget) -> bool {
        self.records.get(&target).is_some_and(|(_, banned)| *banned)
    }

    /// The operator of this relay makes a ban or removes it.
    pub(crate) fn note(&mut self, target: BanTarget, banned: bool, now_ms: u64) -> BanRecord {
        // It is later than what it replaces, whatever the clocks of the relays show.
        let before = self.records.get(&target).map_or(0, |(at_ms, _)| *at_ms);
        let record = BanRecord {
            target,
            at_ms: now_ms.max(before.saturating_add(1)),
            banned,
        };
        self.set(record);
        record
    }

    /// Another relay has this record. Returns whether it changes who is banned.
    #[cfg(feature = "fleet")]
    pub(crate) fn merge(&mut self, record: BanRecord) -> bool {
        let known = self.records.get(&record.target);
        // Of two changes at the same time, the ban wins.
        if known.is_some_and(|known| *known >= (record.at_ms, record.banned)) {
            return false;
        }
        let was_banned = known.is_some_and(|(_, banned)| *banned);
        let bans = self.records.len() - self.removed.len();
        if record.banned && !was_banned && bans >= BANS_MAX {
            return false;
        }
        self.set(record);
        was_banned != record.banned
    }

    fn set(&mut self, record: BanRecord) {
        self.forget(record.target);
        self.digests[bucket(record.target)] ^= digest(record);
        let BanRecord {
            target,
            at_ms,
            banned,
        } = record;
        self.records.insert(target, (at_ms, banned));
        if !banned {
            self.removed.insert((at_ms, target));
            if self.removed.len() > REMOVED_MAX
                && let Some((_, oldest)) = self.removed.first().copied()
            {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, target: BanTarget) {
        if let Some((at_ms, banned)) = self.records.remove(&target) {
            self.removed.remove(&(at_ms, target));
            self.digests[bucket(target)] ^= digest(BanRecord {
                target,
                at_ms,
                banned,
            });
        }
    }

    /// The digest of each bucket.
    #[cfg(feature = "fleet")]
    pub(crate) fn digests(&self) -> &[u64; BUCKETS] {
        &self.digests
    }

    /// The records in these buckets.
    #[cfg(feature = "fleet")]
    pub(crate) fn in_buckets(&self, buckets: &BTreeSet<usize>) -> Vec<BanRecord> {
        let records = self.records.iter();
        let records = records.filter(|(target, _)| buckets.contains(&bucket(**target)));
        let record = |(target, (at_ms, banned)): (&BanTarget, &(u64, bool))| BanRecord {
            target: *target,
            at_ms: *at_ms,
            banned: *banned,
        };
        records.map(record).collect()
    }
}

fn parse(text: &str) -> Option<BanRecords> {
    let mut records = BanRecords::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let at_ms = words.next()?.parse().ok()?;
        let banned = match words.next()? {
            "+" => true,
            "-" => false,
            _ => return None,
        };
        let target = words.next()?.parse().ok()?;
        records.set(BanRecord {
            target,
            at_ms,
            banned,
        });
        if records.records.len() > BANS_MAX + REMOVED_MAX {
            return None;
        }
    }
    Some(records)
}

fn hash(target: BanTarget) -> blake3::Hasher {
    let mut hash = blake3::Hasher::new();
    hash.update(target.to_string().as_bytes());
    hash
}

fn bucket(target: BanTarget) -> usize {
    hash(target).finalize().as_bytes()[0].into()
}

fn digest(record: BanRecord) -> u64 {
    let mut hash = hash(record.target);
    hash.update(&record.at_ms.to_le_bytes());
    hash.update(&[record.banned.into()]);
    let [a, b, c, d, e, f, g, h, ..] = *hash.finalize().as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use hobnob_protocol::DeviceId;

    fn target(n: usize) -> BanTarget {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        BanTarget::Peer(DeviceId::from_bytes(bytes))
    }

    fn bans(targets: &[BanTarget]) -> Bans {
        let mut bans = Bans::default();
        for target in targets {
            bans.set(*target, true);
        }
        bans
    }

    #[test]
    fn records_are_stored_and_what_the_operator_changed_in_the_bans_counts_as_made_now() {
        let home = tempfile::tempdir().unwrap();
        let range = BanTarget::Range("192.0.2.0/24".parse().unwrap());
        let first = bans(&[target(1), range]);
        let mut records = BanRecords::load(home.path(), &first, 100);
        records.note(target(1), false, 200);
        records.note(target(2), true, 300);
        records.store(home.path());
        let now = bans(&[target(2), range]);
        assert_eq!(BanRecords::load(home.path(), &now, 900), records);
        // Removed and added by hand.
        let edited = bans(&[range, target(3)]);
        let mut again = BanRecords::load(home.path(), &edited, 900);
        assert_eq!(again.records[&target(2)], (900, false));
        assert_eq!(again.records[&target(3)], (900, true));
        assert_eq!(again.records[&range], (100, true));
        // A change is later than the one before, whatever the clock shows.
        assert_eq!(again.note(target(3), false, 5).at_ms, 901);
        std::fs::write(home.path().join(RECORDS_FILE), "1 * x\n").unwrap();
        let damaged = BanRecords::load(home.path(), &edited, 950);
        assert_eq!(damaged.records[&range], (950, true));
    }

    #[cfg(feature = "fleet")]
    #[test]
    fn the_latest_change_wins_in_any_order() {
        let record = |at_ms, banned| BanRecord {
            target: target(1),
            at_ms,
            banned,
        };
        let all = [
            record(1, true),
            record(2, false),
            record(2, true),
            record(3, false),
        ];
        let mut forth = BanRecords::new();
        let changes: Vec<_> = all.iter().map(|it| forth.merge(*it)).collect();
        assert_eq!(changes, [true, true, true, true]);
        let mut back = BanRecords::new();
        let changes: Vec<_> = all.iter().rev().map(|it| back.merge(*it)).collect();
        assert_eq!(changes, [false; 4], "it was never banned here");
        assert_eq!(forth, back);
        assert!(!back.is_banned(target(1)));
        assert!(back.merge(record(4, true)) && back.is_banned(target(1)));
        assert_ne!(forth.digests(), back.digests());
        forth.merge(record(4, true));
        assert_eq!(forth.digests(), back.digests());
        let everywhere = (0..BUCKETS).collect();
        assert_eq!(back.in_buckets(&everywhere), [record(4, true)]);
    }

    #[cfg(feature = "fleet")]
    #[test]
    fn bans_and_removed_bans_have_a_limit() {
        let mut records = BanRecords::new();
        let record = |n: usize, banned| BanRecord {
            target: target(n),
            at_ms: 1 + u64::try_from(n).unwrap(),
            banned,
        };
        for n in 0..=REMOVED_MAX {
            records.merge(record(n, false));
        }
        assert_eq!(records.records.len(), REMOVED_MAX);
        assert!(!records.records.contains_key(&target(0)), "the oldest");
        for n in 0..BANS_MAX {
            assert!(records.merge(record(1_000_000 + n, true)));
        }
        assert!(!records.merge(record(999_999, true)), "one too many");
        assert!(records.merge(record(2_000_000, false)) || records.removed.len() == REMOVED_MAX);
        assert_eq!(records.records.len(), BANS_MAX + REMOVED_MAX);
    }
}
