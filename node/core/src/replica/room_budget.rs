//! How much an open room may hold, and which logs leave it when it is full.
//!
//! Anybody can write in an open room, with as many keys as they like. So its logs are charged to
//! the peers that brought them. When the room is full, the peer with the largest charge loses its
//! newest logs. See `docs/decisions/0050-charges-in-open-rooms.md`.
//!
//! What strangers wrote in all open rooms has a limit of its own, in bytes on disk. Each open room
//! has an equal share of it. See `docs/decisions/0087-strangers-pay-for-the-disk.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hobnob_limits::RecentSet;
use hobnob_protocol::{CheckedBatch, DeviceId, Ranges};

use super::disk_cost::bytes_on_disk;
use super::log_key::LogKey;

/// Maximum logs that an open room holds.
pub const OPEN_ROOM_LOGS_MAX: usize = 4096;

/// Maximum bytes of the entries that an open room holds, with [`ENTRY_COST`] for each.
pub const OPEN_ROOM_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Maximum bytes on disk of what strangers wrote in all open rooms together. Logs that are dropped
/// leave gaps in the search index, so the files take up to half as much again.
pub const OPEN_ROOMS_STRANGERS_MAX: u64 = 14 * 1024 * 1024;

/// A stranger that was in the room keeps one part in this many of the room's share, as far as its
/// logs are protected.
const STRANGER_KEEPS: u64 = 32;

/// The cost of an entry beside its bytes: its row in the store.
pub const ENTRY_COST: u64 = 128;

/// This many logs of an author that was in the room are never dropped: their messages may have been
/// reported to the author as delivered.
pub const LOGS_KEPT_PER_AUTHOR: usize = 8;

/// This many bytes of such an author are never dropped, counted as in [`OPEN_ROOM_BYTES_MAX`].
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
    /// Maximum bytes on disk of what strangers wrote in all open rooms.
    pub strangers: u64,
}

impl Default for RoomLimits {
    fn default() -> Self {
        Self {
            logs: OPEN_ROOM_LOGS_MAX,
            bytes: OPEN_ROOM_BYTES_MAX,
            strangers: OPEN_ROOMS_STRANGERS_MAX,
        }
    }
}

/// What a batch adds to a room, or what drops take away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) logs: usize,
    /// Bytes of entries, with [`ENTRY_COST`] for each.
    pub(super) bytes: u64,
    /// Bytes on disk of strangers.
    pub(super) of_strangers: u64,
}

impl Load {
    /// What entries of this cost add in a log. `entries`: how many they are.
    pub(super) fn of_entries(is_new: bool, cost: u64, entries: u64, of_stranger: bool) -> Self {
        let of_strangers = match of_stranger {
            true => bytes_on_disk(u64::from(is_new), entries, cost - ENTRY_COST * entries),
            false => 0,
        };
        Self {
            logs: usize::from(is_new),
            bytes: cost,
            of_strangers,
        }
    }
}

/// What a full room lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// Too many logs.
    Logs,
    /// Too many bytes.
    Bytes,
    /// Too many bytes on disk of strangers.
    OfStrangers,
}

impl Lack {
    /// What a log contributes to it. `None`: to drop it would not help.
    pub(super) fn weight(self, log: &Charged) -> Option<u64> {
        match self {
            Self::Logs => Some(1),
            Self::Bytes => Some(log.bytes),
            Self::OfStrangers => Some(log.of_strangers).filter(|bytes| *bytes > 0),
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
    /// The bytes on disk, if its author is a stranger, and 0 otherwise.
    pub(super) of_strangers: u64,
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
    of_strangers: u64,
}

impl Protected {
    /// Adds a log, unless it is too much to be protected. Returns whether it is. `share` is the
    /// room's for strangers.
    pub(super) fn add(&mut self, bytes: u64, of_strangers: u64, share: u64) -> bool {
        let is_kept = self.logs < LOGS_KEPT_PER_AUTHOR
            && self.bytes + bytes <= BYTES_KEPT_PER_AUTHOR
            && self.of_strangers + of_strangers <= share / STRANGER_KEEPS;
        if is_kept {
            self.logs += 1;
            self.bytes += bytes;
            self.of_strangers += of_strangers;
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
/// held. `weight` is what a log contributes to what the room is short of, if it does.
///
/// The peer with the largest charge loses a log, if it has one that can go. Of its logs the oldest
/// ones go that nobody is offered any more, then the newest ones.
pub(super) fn choose(
    held: &[Charged],
    arriving: &Charged,
    weight: impl Fn(&Charged) -> Option<u64>,
) -> Choice {
    let mut accounts: BTreeMap<DeviceId, u64> = BTreeMap::new();
    let others = held.iter().filter(|log| log.key != arriving.key);
    for log in others.chain([arriving]) {
        if let Some(weight) = weight(log) {
            *accounts.entry(log.by).or_default() += weight;
        }
    }
    let mut largest_first: Vec<_> = accounts.into_iter().collect();
    largest_first.sort_by_key(|(by, charge)| (std::cmp::Reverse(*charge), *by));
    for (account, _) in largest_first {
        let others = held.iter().filter(|log| log.key != arriving.key);
        let of_account = others
            .chain([arriving])
            .filter(|log| log.by == account && log.kept != Kept::Always)
            .filter(|log| weight(log).is_some());
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
    /// How many other open rooms have a share of the limit of strangers.
    pub(super) other_rooms: u64,
    logs: usize,
    bytes: u64,
    /// Bytes on disk of what strangers wrote.
    of_strangers: u64,
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

    /// A log of a stranger now takes `now` bytes on disk, instead of `before`.
    pub(super) fn of_stranger_changed(&mut self, before: u64, now: u64) {
        let others = self.of_strangers.checked_sub(before);
        self.of_strangers = others.expect("only what was added is removed") + now;
    }

    /// The bytes on disk that strangers may fill in this room.
    pub(super) fn share_of_strangers(&self) -> u64 {
        self.limits.strangers / (self.other_rooms + 1)
    }

    /// A log is dropped to make room. Until the store has answered, none of its entries is
    /// accepted.
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

    /// Whether nothing must leave before this is added.
    pub(super) fn fits(&self, added: Load) -> bool {
        self.lacks(added, Load::default()).is_none()
    }

    /// What the room lacks for this, after this much was dropped.
    pub(super) fn lacks(&self, added: Load, dropped: Load) -> Option<Lack> {
        let of_strangers = self.of_strangers - dropped.of_strangers + added.of_strangers;
        if added.logs > 0 && self.logs - dropped.logs >= self.limits.logs {
            Some(Lack::Logs)
        } else if self.bytes - dropped.bytes + added.bytes > self.limits.bytes {
            Some(Lack::Bytes)
        } else if added.of_strangers > 0 && of_strangers > self.share_of_strangers() {
            Some(Lack::OfStrangers)
        } else {
            None
        }
    }

    /// How many logs were refused or dropped since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether logs were refused or dropped, and the user was not informed yet. Then the caller
    /// informs the user.
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
            of_strangers: 100,
            ordinal: log,
            kept,
        }
    }

    fn choose_log(held: &[Charged], arriving: Charged) -> Choice {
        choose(held, &arriving, |log| Lack::Logs.weight(log))
    }

    fn adds(logs: usize, bytes: u64) -> Load {
        Load {
            logs,
            bytes,
            of_strangers: 0,
        }
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
    fn a_log_without_a_strangers_bytes_does_not_help_their_share() {
        let mut log = charged(1, 1, Kept::Plain);
        assert_eq!(Lack::OfStrangers.weight(&log), Some(100));
        assert_eq!(Lack::Bytes.weight(&log), Some(10));
        assert_eq!(Lack::Logs.weight(&log), Some(1));
        log.of_strangers = 0;
        assert_eq!(Lack::OfStrangers.weight(&log), None);
    }

    #[test]
    fn a_dropped_log_is_counted_and_leaves_when_the_store_has_dropped_it() {
        let mut budget = RoomBudget::default();
        for log in [1, 2] {
            budget.begin_drop(key(log));
        }
        assert_eq!(budget.lost, 2);
        assert!(budget.is_leaving(&key(1)) && budget.was_dropped(&key(1)));
        budget.end_drop(&key(1));
        assert!(!budget.is_leaving(&key(1)) && budget.was_dropped(&key(1)));
        assert!(budget.is_leaving(&key(2)));
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
        let kept = (0..10).filter(|_| few.add(1, 0, 0)).count();
        assert_eq!(kept, LOGS_KEPT_PER_AUTHOR);
        let mut long = Protected::default();
        assert!(long.add(BYTES_KEPT_PER_AUTHOR - 10, 0, 0));
        assert!(!long.add(11, 0, 0) && long.add(10, 0, 0));
    }

    #[test]
    fn a_stranger_keeps_a_part_of_the_share_of_strangers() {
        let (mut protected, share) = (Protected::default(), 100 * STRANGER_KEEPS);
        assert!(protected.add(1, 60, share) && !protected.add(1, 41, share));
        assert!(protected.add(1, 40, share) && !protected.add(1, 1, share));
    }

    #[test]
    fn a_log_of_a_contact_makes_no_room_for_strangers() {
        let mut of_contact = charged(1, 1, Kept::Plain);
        (of_contact.of_strangers, of_contact.bytes) = (0, 1_000_000);
        let held = [
            of_contact,
            charged(2, 2, Kept::Plain),
            charged(3, 2, Kept::Plain),
        ];
        let by_disk = |log: &Charged| Lack::OfStrangers.weight(log);
        let arriving = charged(4, 3, Kept::Plain);
        assert_eq!(choose(&held, &arriving, by_disk), Choice::Drop(key(3)));
        assert_eq!(choose(&held[..1], &arriving, by_disk), Choice::Refuse);
        let by_bytes = |log: &Charged| Lack::Bytes.weight(log);
        assert_eq!(choose(&held, &arriving, by_bytes), Choice::Drop(key(1)));
    }

    #[test]
    fn open_rooms_share_what_strangers_may_fill() {
        let mut budget = RoomBudget::default();
        budget.limits.strangers = 1_000;
        let of_stranger = |bytes| Load {
            of_strangers: bytes,
            ..adds(1, 1)
        };
        assert!(budget.fits(of_stranger(1_000)) && !budget.fits(of_stranger(1_001)));
        budget.other_rooms = 3;
        assert!(budget.fits(of_stranger(250)) && !budget.fits(of_stranger(251)));
        budget.of_stranger_changed(0, 300);
        assert_eq!(
            budget.lacks(of_stranger(1), Load::default()),
            Some(Lack::OfStrangers)
        );
        assert!(budget.fits(adds(1, 1)), "contacts have room");
        let dropped = Load {
            of_strangers: 51,
            ..Load::default()
        };
        assert_eq!(budget.lacks(of_stranger(1), dropped), None);
        budget.of_stranger_changed(300, 100);
        assert!(budget.fits(of_stranger(150)) && !budget.fits(of_stranger(151)));
    }

    #[test]
    fn entries_of_a_stranger_cost_what_they_take_on_disk() {
        let cost = 100 + 2 * ENTRY_COST;
        let contact = Load::of_entries(true, cost, 2, false);
        assert_eq!(contact, adds(1, cost));
        let stranger = Load::of_entries(true, cost, 2, true);
        assert_eq!(stranger.of_strangers, bytes_on_disk(1, 2, 100));
        let more = Load::of_entries(false, cost, 2, true);
        assert_eq!(
            (more.logs, more.of_strangers),
            (0, bytes_on_disk(0, 2, 100))
        );
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
                strangers: 0,
            },
            ..RoomBudget::default()
        };
        budget.add_log();
        assert!(budget.fits(adds(1, 100)));
        assert_eq!(
            budget.lacks(adds(1, 101), Load::default()),
            Some(Lack::Bytes)
        );
        budget.add_log();
        budget.add_bytes(60);
        assert_eq!(budget.lacks(adds(1, 1), Load::default()), Some(Lack::Logs));
        assert!(budget.fits(adds(0, 40)) && !budget.fits(adds(0, 41)));
        assert_eq!(budget.lacks(adds(1, 41), adds(1, 1)), None);
        budget.remove_log(60);
        assert!(budget.fits(adds(1, 100)));
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
