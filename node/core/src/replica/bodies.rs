//! Missing bodies: which bodies a peer can't send, and which it was asked for.

use std::collections::BTreeMap;

use hobnob_protocol::{LogName, Ranges};

use super::log_key::LogKey;

/// Maximum ranges of erased entries that one session may announce of a conversation. Of further
/// logs they are not remembered. Then the peer is asked once for a body that it does not have.
pub const ERASED_RANGES_MAX: usize = 20_000;

/// The announcements of one session about the bodies of one conversation.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    /// Entries that the peer holds without their body.
    erased: BTreeMap<LogKey, Ranges>,
    erased_ranges: usize,
    /// Missing bodies that the peer was asked for. It is asked once.
    asked: BTreeMap<LogKey, Ranges>,
}

impl Bodies {
    /// The peer holds exactly these entries of a log without their body.
    pub(super) fn note_erased(&mut self, key: LogKey, erased: Ranges) {
        let former = self.erased.remove(&key);
        self.erased_ranges -= former.map_or(0, |former| former.iter().count());
        let count = erased.iter().count();
        if count > 0 && self.erased_ranges + count <= ERASED_RANGES_MAX {
            self.erased_ranges += count;
            self.erased.insert(key, erased);
        }
    }

    /// Of the missing bodies of a log, those that the peer has and was not asked for. `theirs` are
    /// the entries that it holds.
    pub(super) fn can_ask(&self, key: &LogKey, missing: &Ranges, theirs: &Ranges) -> Ranges {
        let mut can = missing.intersect(theirs);
        let known = [self.erased.get(key), self.asked.get(key)];
        for known in known.into_iter().flatten() {
            can = can.minus(known);
        }
        can
    }

    /// The peer was asked for these bodies.
    pub(super) fn note_asked(&mut self, key: LogKey, bodies: &Ranges) {
        if !bodies.is_empty() {
            self.asked.entry(key).or_default().insert_all(bodies);
        }
    }

    /// The peer's entries of this log could not be stored: it may be asked again.
    pub(super) fn forget_asked(&mut self, key: &LogKey) {
        self.asked.remove(key);
    }

    /// The number of items held, for the limit of a session.
    pub(super) fn size(&self) -> usize {
        self.erased_ranges + self.asked.len()
    }
}

/// Maximum deletions of one author in one conversation that wait for the entries that they delete.
/// While there are more, further ones are not remembered: if such an entry arrives later all the
/// same, it is shown.
pub const AWAITED_DELETIONS_MAX: u64 = 4096;

/// Entries of one conversation that their authors have deleted and that are not held.
#[derive(Debug, Default)]
pub(super) struct AwaitedDeletions(BTreeMap<LogKey, Ranges>);

impl AwaitedDeletions {
    pub(super) fn load(&mut self, name: &LogName, seq: u64) {
        let of_log = self.0.entry(LogKey::of(name)).or_default();
        of_log.insert(seq, seq);
    }

    /// The author has deleted an entry. Returns whether it was not known and is remembered.
    pub(super) fn add(&mut self, key: LogKey, seq: u64) -> bool {
        let of_author = self.0.iter().filter(|(of, _)| of.author == key.author);
        let count: u64 = of_author.map(|(_, seqs)| seqs.len()).sum();
        if count >= AWAITED_DELETIONS_MAX || seq == 0 || self.of(&key).contains(seq) {
            return false;
        }
        self.0.entry(key).or_default().insert(seq, seq);
        true
    }

    /// The awaited entries of a log.
    pub(super) fn of(&self, key: &LogKey) -> Ranges {
        self.0.get(key).cloned().unwrap_or_default()
    }

    /// These entries have arrived.
    pub(super) fn arrived(&mut self, key: &LogKey, seqs: &Ranges) {
        if let Some(awaited) = self.0.get_mut(key) {
            *awaited = awaited.minus(seqs);
            if awaited.is_empty() {
                self.0.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::log_key as log;
    use super::*;

    #[test]
    fn a_peer_is_asked_once_for_bodies_that_it_has() {
        let (mut bodies, key) = (Bodies::default(), log(1, 1));
        let (missing, theirs) = (Ranges::span(3, 6), Ranges::span(1, 5));
        bodies.note_erased(key, Ranges::span(5, 9));
        let can = bodies.can_ask(&key, &missing, &theirs);
        assert_eq!(can, Ranges::span(3, 4));
        bodies.note_asked(key, &can);
        assert!(bodies.can_ask(&key, &missing, &theirs).is_empty());
        bodies.forget_asked(&key);
        assert_eq!(bodies.can_ask(&key, &missing, &theirs), Ranges::span(3, 4));
        // The newest list counts.
        bodies.note_erased(key, Ranges::new());
        assert_eq!(bodies.can_ask(&key, &missing, &theirs), Ranges::span(3, 5));
    }

    #[test]
    fn a_list_of_erased_entries_that_is_too_long_is_ignored() {
        let (mut bodies, key) = (Bodies::default(), log(1, 1));
        let holes = |count: u64| {
            let mut holes = Ranges::new();
            (1..=count).for_each(|n| holes.insert(2 * n, 2 * n));
            holes
        };
        let (missing, theirs) = (Ranges::span(1, 9), Ranges::span(1, 9));
        let most = u64::try_from(ERASED_RANGES_MAX).unwrap();
        bodies.note_erased(key, holes(most + 1));
        assert_eq!(bodies.can_ask(&key, &missing, &theirs), Ranges::span(1, 9));
        bodies.note_erased(key, holes(most));
        assert!(!bodies.can_ask(&key, &missing, &theirs).contains(2));
    }

    #[test]
    fn the_size_counts_erased_ranges_and_logs_with_asked_bodies() {
        let mut bodies = Bodies::default();
        let mut holes = Ranges::span(1, 1);
        holes.insert(3, 3);
        bodies.note_erased(log(1, 1), holes);
        assert_eq!(bodies.size(), 2);
        bodies.note_asked(log(1, 1), &Ranges::span(5, 9));
        bodies.note_asked(log(1, 2), &Ranges::span(5, 9));
        assert_eq!(bodies.size(), 4);
        bodies.note_erased(log(1, 1), Ranges::new());
        assert_eq!(bodies.size(), 2);
    }

    #[test]
    fn a_peer_with_endless_erased_entries_fills_no_memory() {
        let mut bodies = Bodies::default();
        let mut holes = Ranges::new();
        (0..64).for_each(|n| holes.insert(2 * n + 1, 2 * n + 1));
        for n in 0..1_000 {
            bodies.note_erased(log(1, n), holes.clone());
        }
        assert!(bodies.size() <= ERASED_RANGES_MAX);
        bodies.note_erased(log(1, 0), Ranges::new());
        bodies.note_erased(log(2, 0), holes);
        assert!(bodies.size() <= ERASED_RANGES_MAX);
    }

    #[test]
    fn a_deletion_waits_until_its_entry_arrives() {
        let (mut awaited, key) = (AwaitedDeletions::default(), log(1, 1));
        assert!(awaited.add(key, 7));
        assert!(!awaited.add(key, 7), "known");
        assert_eq!(awaited.of(&key), Ranges::span(7, 7));
        awaited.arrived(&key, &Ranges::span(1, 9));
        assert!(awaited.of(&key).is_empty());
    }

    #[test]
    fn one_author_cannot_use_up_the_deletions_of_another() {
        let mut awaited = AwaitedDeletions::default();
        for n in 1..=AWAITED_DELETIONS_MAX {
            assert!(awaited.add(log(1, n), 1));
        }
        assert!(!awaited.add(log(1, 1), 2));
        assert!(awaited.add(log(2, 1), 2));
    }
}
