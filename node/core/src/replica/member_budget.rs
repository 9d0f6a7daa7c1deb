//! How much members may store in a room with a secret.
//!
//! Everybody who knows the secret can write with as many keys as they like. So what arrives is
//! charged to the peer that brought its log. Once the room is half full, a bringer fills at most a
//! share of what the others leave. Beyond its share nothing is stored or acknowledged. Nothing that
//! is stored is ever dropped for others. A part of the room is for contacts only.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::{DeviceId, PersonId};

/// Maximum logs in a room with a secret, apart from our own.
pub const CLOSED_ROOM_LOGS_MAX: u64 = 65_536;

/// Maximum bytes of the entries in a room with a secret, with
/// [`ENTRY_COST`](super::ENTRY_COST) for each.
pub const CLOSED_ROOM_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Once the room is half full, a bringer fills at most one part in this many of what the others
/// leave. One part in this many of the room is for the logs of contacts.
const SHARE: u64 = 8;

/// After an author's entries were refused, no session is asked for them for this long.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// Maximum refusals that are remembered.
const REFUSED_MAX: usize = 1024;

/// The logs and bytes charged to one bringer, or to all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Charge {
    logs: u64,
    bytes: u64,
}

/// The charges in one room. See the module's doc.
#[derive(Debug, Default)]
pub(super) struct MemberBudget {
    total: Charge,
    by_bringer: BTreeMap<DeviceId, Charge>,
    /// The sessions' peers and the authors whose entries were refused lately.
    refused: BTreeMap<(DeviceId, PersonId), Duration>,
    /// How often entries were refused.
    lost: u64,
}

impl MemberBudget {
    /// A log of this bringer is held from now on.
    pub(super) fn add_log(&mut self, by: DeviceId) {
        self.total.logs += 1;
        self.by_bringer.entry(by).or_default().logs += 1;
    }

    /// Entries in a log of this bringer are held from now on.
    pub(super) fn add_bytes(&mut self, by: DeviceId, bytes: u64) {
        self.total.bytes += bytes;
        self.by_bringer.entry(by).or_default().bytes += bytes;
    }

    /// Entries in a log of this bringer are not held any more.
    pub(super) fn remove_bytes(&mut self, by: DeviceId, bytes: u64) {
        let charge = self.by_bringer.get_mut(&by);
        let charge = charge.expect("only what was added is removed");
        charge.bytes -= bytes;
        self.total.bytes -= bytes;
        if *charge == Charge::default() {
            self.by_bringer.remove(&by);
        }
    }

    /// A log of this bringer is not held any more.
    pub(super) fn remove_log(&mut self, by: DeviceId, bytes: u64) {
        let charge = self.by_bringer.get_mut(&by);
        charge.expect("only what was added is removed").logs -= 1;
        self.total.logs -= 1;
        self.remove_bytes(by, bytes);
    }

    /// Whether these bytes fit, in a new log or in one that is held. `for_contact`: the author of the
    /// log is a contact.
    pub(super) fn allows(&self, by: DeviceId, for_contact: bool, is_new: bool, bytes: u64) -> bool {
        let charge = self.by_bringer.get(&by).copied().unwrap_or_default();
        let fits = |max: u64, total: u64, charged: u64, added: u64| {
            if for_contact {
                return total + added <= max;
            }
            let others = total - charged;
            let left = (max - max / SHARE).saturating_sub(others);
            added == 0 || total + added <= max / 2 || charged + added <= left / SHARE
        };
        let (all, logs) = (self.total, u64::from(is_new));
        fits(CLOSED_ROOM_LOGS_MAX, all.logs, charge.logs, logs)
            && fits(CLOSED_ROOM_BYTES_MAX, all.bytes, charge.bytes, bytes)
    }

    /// Entries of this author, on the session of this peer, were refused.
    pub(super) fn note_refused(&mut self, from: DeviceId, author: PersonId, now: Duration) {
        self.lost += 1;
        self.refused.retain(|_, at| now < *at + REFUSED_FOR);
        if self.refused.len() < REFUSED_MAX {
            self.refused.insert((from, author), now);
        }
    }

    /// Whether entries of this author were refused a moment ago on the session of this peer.
    pub(super) fn is_refused(&self, from: DeviceId, author: PersonId, now: Duration) -> bool {
        let at = self.refused.get(&(from, author));
        at.is_some_and(|at| now < *at + REFUSED_FOR)
    }

    /// How often entries were refused since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    /// Adds logs of this many bytes until no further one fits. Returns how many fitted.
    fn fill(budget: &mut MemberBudget, by: u8, bytes: u64) -> u64 {
        let mut logs = 0;
        while budget.allows(peer(by), false, true, bytes) {
            budget.add_log(peer(by));
            budget.add_bytes(peer(by), bytes);
            logs += 1;
        }
        logs
    }

    #[test]
    fn in_a_room_that_is_half_full_a_bringer_fills_an_eighth_of_what_the_others_leave() {
        let mut budget = MemberBudget::default();
        let for_all = CLOSED_ROOM_LOGS_MAX - CLOSED_ROOM_LOGS_MAX / 8;
        let first = fill(&mut budget, 1, 1);
        assert_eq!(
            first,
            CLOSED_ROOM_LOGS_MAX / 2,
            "one member can bring the whole history"
        );
        assert_eq!(fill(&mut budget, 2, 1), (for_all - first) / 8);
        let megabyte = 1024 * 1024;
        let mut long = MemberBudget::default();
        assert_eq!(fill(&mut long, 1, megabyte), 512);
    }

    #[test]
    fn whatever_the_others_do_a_contact_has_room() {
        let mut budget = MemberBudget::default();
        for n in 1..=255 {
            fill(&mut budget, n, 1024);
        }
        assert!(!budget.allows(peer(1), false, true, 1024));
        assert!(budget.allows(peer(1), true, true, 1024));
        let most = CLOSED_ROOM_BYTES_MAX / 8;
        assert!(budget.allows(peer(1), true, true, most));
    }

    #[test]
    fn what_is_dropped_makes_room() {
        let mut budget = MemberBudget::default();
        let full = fill(&mut budget, 1, 10);
        budget.remove_bytes(peer(1), 10);
        assert!(
            !budget.allows(peer(1), false, true, 10),
            "the log is still there"
        );
        budget.remove_log(peer(1), 0);
        assert_eq!(fill(&mut budget, 1, 10), 1);
        (0..full).for_each(|_| budget.remove_log(peer(1), 10));
        assert!(budget.by_bringer.is_empty() && budget.total == Charge::default());
    }

    #[test]
    fn a_flood_of_refused_authors_is_remembered_up_to_a_limit() {
        let mut budget = MemberBudget::default();
        let author = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(n as u64).to_le_bytes());
            PersonId::from_bytes(bytes)
        };
        for n in 0..=REFUSED_MAX {
            budget.note_refused(peer(1), author(n), NOW);
        }
        assert!(budget.is_refused(peer(1), author(REFUSED_MAX - 1), NOW));
        assert!(
            !budget.is_refused(peer(1), author(REFUSED_MAX), NOW),
            "one too many"
        );
        // The old ones are forgotten, so there is room again.
        let later = NOW + REFUSED_FOR;
        budget.note_refused(peer(1), author(REFUSED_MAX), later);
        assert!(budget.is_refused(peer(1), author(REFUSED_MAX), later));
        assert_eq!(budget.refused.len(), 1);
    }

    #[test]
    fn a_refused_author_is_not_asked_for_on_that_session() {
        let mut budget = MemberBudget::default();
        budget.note_refused(peer(1), peer(2).person(), NOW);
        assert!(budget.is_refused(peer(1), peer(2).person(), NOW + REFUSED_FOR / 2));
        assert!(!budget.is_refused(peer(3), peer(2).person(), NOW));
        assert!(!budget.is_refused(peer(1), peer(2).person(), NOW + REFUSED_FOR));
        assert_eq!(budget.lost(), 1);
    }
}
