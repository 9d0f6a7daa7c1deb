//! How much an open room may hold, and which logs leave it when it is full.
//!
//! Anybody can write in an open room, with as many keys as they like. So its logs are charged to
//! the peers that brought them. When the room is full, the peer with the largest charge loses its
//! newest logs. See `docs/decisions/0050-charges-in-open-rooms.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_limits::RecentSet;
use hobnob_protocol::{CheckedBatch, DeviceId, Ranges};

use super::log_key::LogKey;

/// Maximum logs that an open room holds.
pub const OPEN_ROOM_LOGS_MAX: usize = 4096;

/// Maximum bytes of the entries that an open room holds, with [`ENTRY_COST`] for each.
pub const OPEN_ROOM_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The cost of an entry beside its bytes: its row in the store.
pub const ENTRY_COST: u64 = 128;

/// So many logs of an author that was in the room are never dropped: their messages may have been
/// reported to the author as delivered.
pub const LOGS_KEPT_PER_AUTHOR: usize = 8;

/// So many bytes of such an author are never dropped, counted as in [`OPEN_ROOM_BYTES_MAX`].
pub const BYTES_KEPT_PER_AUTHOR: u64 = 1024 * 1024;

/// After a log was refused, no other one of this peer is considered for this long.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Maximum logs that are remembered as dropped. They are not accepted again.
const DROPPED_MAX: usize = 4096;

/// How much an open room may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomLimits {
    /// Maximum logs.
    pub logs: usize,
    /// Maximum bytes of their entries, with [`ENTRY_COST`] for each.
    pub bytes: u64,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            logs: OPEN_ROOM_LOGS_MAX,
            bytes: OPEN_ROOM_BYTES_MAX,
        }
    }
}

/// A log that may leave a full room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charged {
    pub(super) key: LogKey,
    /// The peer that brought the log.
    pub(super) by: DeviceId,
    pub(super) bytes: u64,
    /// The place of the log among all logs, by age.
    pub(super) ordinal: u64,
    pub(super) kept: Kept,
}

/// How much a log is worth keeping. The least comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kept {
    /// No entry is offered to anybody any more: all are too old.
    Past,
    /// The peer that brought the log has dropped it.
    Abandoned,
    /// Nothing speaks for the log.
    Plain,
    /// The log can't be dropped: it is our own, its author was in the room, or the store is writing
    /// to it.
    Always,
}

/// The protected logs of an author that was in the room.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Protected {
    logs: usize,
    bytes: u64,
}

impl Protected {
    /// Adds a log, unless it is too much to be protected. Returns whether it is.
    pub(super) fn add(&mut self, bytes: u64) -> bool {
        let is_kept =
            self.logs < LOGS_KEPT_PER_AUTHOR && self.bytes + bytes <= BYTES_KEPT_PER_AUTHOR;
        if is_kept {
            self.logs += 1;
            self.bytes += bytes;
        }
        is_kept
    }
}

/// The decision about a full room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Drop this log.
    Drop(LogKey),
    /// Refuse what arrives.
    Refuse,
}

/// Chooses what leaves a full room. `arriving` is the log that needs room, charged as if it was
/// held. `weight` is what the room is short of.
///
/// The peer with the largest charge loses a log, if it has one that can go. Of its logs the oldest
/// ones go that nobody is offered any more, then the newest ones.
pub(super) fn choose(
    held: &[Charged],
    arriving: &Charged,
    weight: impl Fn(&Charged) -> u64,
) -> Choice {
    let mut accounts: BTreeMap<DeviceId, u64> = BTreeMap::new();
    for log in held.iter().filter(|log| log.key != arriving.key) {
        *accounts.entry(log.by).or_default() += weight(log);
    }
    *accounts.entry(arriving.by).or_default() += weight(arriving);
    let mut largest_first: Vec<_> = accounts.into_iter().collect();
    largest_first.sort_by_key(|(by, charge)| (std::cmp::Reverse(*charge), *by));
    for (account, _) in largest_first {
        let others = held.iter().filter(|log| log.key != arriving.key);
        let of_account = others
            .chain([arriving])
            .filter(|log| log.by == account && log.kept != Kept::Always);
        let first = of_account.min_by_key(|log| match log.kept {
            Kept::Past => (log.kept, log.ordinal),
            Kept::Abandoned | Kept::Plain | Kept::Always => (log.kept, u64::MAX - log.ordinal),
        });
        match first {
            Some(log) if log.key == arriving.key => return Choice::Refuse,
            Some(log) => return Choice::Drop(log.key),
            None => {}
        }
    }
    Choice::Refuse
}

/// How much a room holds, and what it dropped lately.
#[derive(Debug, Default)]
pub(super) struct RoomBudget {
    pub(super) limits: RoomLimits,
    logs: usize,
    bytes: u64,
    /// The peers whose logs were refused lately.
    refused: BTreeMap<DeviceId, Duration>,
    /// How many logs were refused or dropped.
    lost: u64,
    /// Whether the user was informed of that.
    is_reported: bool,
    /// Logs that the store still has to drop.
    leaving: BTreeSet<LogKey>,
    dropped: RecentSet<LogKey, DROPPED_MAX>,
}

impl RoomBudget {
    /// A log is held from now on.
    pub(super) fn add_log(&mut self) {
        self.logs += 1;
    }

    /// Entries are held from now on.
    pub(super) fn add_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Entries are not held any more.
    pub(super) fn remove_bytes(&mut self, bytes: u64) {
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.expect("only what was added is removed");
    }

    /// A log is not held any more.
    pub(super) fn remove_log(&mut self, bytes: u64) {
        self.logs -= 1;
        self.remove_bytes(bytes);
    }

    /// A log is dropped to make room. Until the store has answered, none of its entries is accepted.
    pub(super) fn begin_drop(&mut self, key: LogKey) {
        self.leaving.insert(key);
        self.note_dropped(key);
    }

    /// The store has answered.
    pub(super) fn end_drop(&mut self, key: &LogKey) {
        self.leaving.remove(key);
    }

    /// Whether the store still has to drop this log.
    pub(super) fn is_leaving(&self, key: &LogKey) -> bool {
        self.leaving.contains(key)
    }

    fn note_dropped(&mut self, key: LogKey) {
        self.lost += 1;
        self.dropped.add(key);
    }

    /// Whether the log was dropped to make room.
    pub(super) fn was_dropped(&self, key: &LogKey) -> bool {
        self.dropped.contains(*key)
    }

    /// Whether a log with these bytes, or these bytes for a log that is held, need no room.
    pub(super) fn fits(&self, is_new: bool, bytes: u64) -> bool {
        self.fits_after(is_new, bytes, 0, 0)
    }

    /// As [`RoomBudget::fits`], after so many logs with so many bytes were dropped.
    pub(super) fn fits_after(&self, is_new: bool, bytes: u64, dropped: usize, freed: u64) -> bool {
        !self.lacks_logs(is_new, dropped) && self.bytes - freed + bytes <= self.limits.bytes
    }

    /// Whether a log must leave before another one is added, after so many were dropped.
    pub(super) fn lacks_logs(&self, is_new: bool, dropped: usize) -> bool {
        is_new && self.logs - dropped >= self.limits.logs
    }

    /// How many logs were refused or dropped since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether logs were refused or dropped, and the user was not informed yet. Then the caller informs
    /// the user.
    pub(super) fn is_news(&mut self) -> bool {
        self.lost > 0 && !std::mem::replace(&mut self.is_reported, true)
    }

    /// A log of this peer was refused.
    pub(super) fn note_refused(&mut self, by: DeviceId, now: Duration) {
        self.lost += 1;
        self.refused.retain(|_, at| now < *at + REFUSED_FOR);
        self.refused.insert(by, now);
    }

    /// Whether a log of this peer was refused a moment ago, so that the next one would be as well.
    pub(super) fn is_refused(&self, by: DeviceId, now: Duration) -> bool {
        let at = self.refused.get(&by);
        at.is_some_and(|at| now < *at + REFUSED_FOR)
    }
}

/// The cost of these entries of a batch.
pub(super) fn cost(batch: &CheckedBatch, pieces: &Ranges) -> u64 {
    let numbers = pieces.iter().flat_map(|(first, last)| first..=last);
    let entries = numbers.filter_map(|seq| batch.at(seq));
    entries
        .map(|entry| entry.bytes.len() as u64 + ENTRY_COST)
        .sum()
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{LogId, SecretKey};

    use super::*;

    fn peer(n: u8) -> DeviceId {
        SecretKey::from_seed([n; 32]).id()
    }

    fn key(log: u64) -> LogKey {
        LogKey {
            author: peer(100).person(),
            device: peer(100),
            log: LogId(log),
        }
    }

    fn charged(log: u64, by: u8, kept: Kept) -> Charged {
        Charged {
            key: key(log),
            by: peer(by),
            bytes: 10,
            ordinal: log,
            kept,
        }
    }

    fn choose_log(held: &[Charged], arriving: Charged) -> Choice {
        choose(held, &arriving, |_| 1)
    }

    #[test]
    fn the_peer_with_the_largest_charge_loses_its_newest_log() {
        let held = [
            charged(1, 1, Kept::Plain),
            charged(2, 1, Kept::Plain),
            charged(3, 2, Kept::Plain),
        ];
        let arriving = charged(4, 3, Kept::Plain);
        assert_eq!(choose_log(&held, arriving), Choice::Drop(key(2)));
    }

    #[test]
    fn a_flood_drops_nothing() {
        let held = [charged(1, 1, Kept::Plain), charged(3, 2, Kept::Plain)];
        let arriving = charged(4, 1, Kept::Plain);
        assert_eq!(choose_log(&held, arriving), Choice::Refuse);
    }

    #[test]
    fn logs_of_authors_who_were_there_are_kept() {
        let held = [
            charged(1, 1, Kept::Plain),
            charged(2, 1, Kept::Always),
            charged(3, 1, Kept::Always),
        ];
        // The largest charge has one log that can go, although it is the oldest.
        let arriving = charged(4, 2, Kept::Plain);
        assert_eq!(choose_log(&held, arriving), Choice::Drop(key(1)));
        // If none can go, what arrives is refused.
        assert_eq!(choose_log(&held[1..], arriving), Choice::Refuse);
    }

    #[test]
    fn logs_that_nobody_is_offered_go_first_and_the_oldest_of_them() {
        let held = [
            charged(1, 1, Kept::Plain),
            charged(2, 1, Kept::Past),
            charged(3, 1, Kept::Past),
        ];
        let arriving = charged(4, 1, Kept::Plain);
        assert_eq!(choose_log(&held, arriving), Choice::Drop(key(2)));
    }

    #[test]
    fn a_log_that_its_bringer_has_dropped_makes_room_for_a_newer_one() {
        let held = [
            charged(1, 1, Kept::Plain),
            charged(2, 1, Kept::Abandoned),
            charged(3, 1, Kept::Plain),
        ];
        let arriving = charged(4, 1, Kept::Plain);
        assert_eq!(choose_log(&held, arriving), Choice::Drop(key(2)));
    }

    #[test]
    fn an_author_keeps_a_few_logs_and_a_mebibyte() {
        let mut few = Protected::default();
        let kept = (0..10).filter(|_| few.add(1)).count();
        assert_eq!(kept, LOGS_KEPT_PER_AUTHOR);
        let mut long = Protected::default();
        assert!(long.add(BYTES_KEPT_PER_AUTHOR - 10));
        assert!(!long.add(11) && long.add(10));
    }

    #[test]
    fn a_dropped_log_is_remembered_for_a_while() {
        let mut budget = RoomBudget::default();
        for log in 0..=DROPPED_MAX as u64 {
            budget.note_dropped(key(log));
        }
        assert!(!budget.was_dropped(&key(0)));
        assert!(budget.was_dropped(&key(1)));
    }

    #[test]
    fn a_room_is_full_by_logs_or_by_bytes() {
        let mut budget = RoomBudget {
            limits: RoomLimits {
                logs: 2,
                bytes: 100,
            },
            ..RoomBudget::default()
        };
        budget.add_log();
        assert!(budget.fits(true, 100) && !budget.fits(true, 101));
        budget.add_log();
        budget.add_bytes(60);
        assert!(!budget.fits(true, 1) && budget.fits(false, 40));
        budget.remove_log(60);
        assert!(budget.fits(true, 100));
    }

    #[test]
    fn a_log_is_leaving_until_the_store_has_answered() {
        let mut budget = RoomBudget::default();
        budget.begin_drop(key(1));
        assert!(budget.is_leaving(&key(1)) && !budget.is_leaving(&key(2)));
        budget.end_drop(&key(1));
        assert!(!budget.is_leaving(&key(1)) && budget.was_dropped(&key(1)));
    }

    #[test]
    fn a_full_room_is_news_once() {
        let mut budget = RoomBudget::default();
        assert!(!budget.is_news(), "nothing was lost");
        budget.note_refused(peer(1), Duration::ZERO);
        assert!(budget.is_news() && !budget.is_news());
        budget.note_refused(peer(2), Duration::ZERO);
        assert!(!budget.is_news(), "the user knows");
    }

    #[test]
    fn several_peers_wait_at_the_same_time_and_none_for_ever() {
        let (mut budget, now) = (RoomBudget::default(), Duration::from_secs(100));
        budget.note_refused(peer(1), now);
        budget.note_refused(peer(2), now + REFUSED_FOR / 2);
        assert!(budget.is_refused(peer(1), now + REFUSED_FOR / 2));
        assert!(budget.is_refused(peer(2), now + REFUSED_FOR));
        budget.note_refused(peer(3), now + 2 * REFUSED_FOR);
        assert_eq!(budget.refused.len(), 1, "the others are forgotten");
    }

    #[test]
    fn a_refused_peer_waits() {
        let (mut budget, now) = (RoomBudget::default(), Duration::from_secs(100));
        budget.note_refused(peer(1), now);
        assert!(budget.is_refused(peer(1), now + REFUSED_FOR / 2));
        assert!(!budget.is_refused(peer(2), now));
        assert!(!budget.is_refused(peer(1), now + REFUSED_FOR));
        assert_eq!(budget.lost(), 1);
    }
}
