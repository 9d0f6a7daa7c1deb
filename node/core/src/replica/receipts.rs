//! Which peers hold which of our own entries on disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hobnob_protocol::{DeviceId, LogName, PersonId, Ranges, Seq};

/// Maximum receipts of strangers for own logs in open rooms. One more replaces the oldest: anybody can
/// be in an open room, with as many keys as they like.
pub const STRANGERS_RECEIPTS_MAX: usize = 8192;

/// The entries of own logs that peers have confirmed, and the confirmations that are not saved yet.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    confirmed: BTreeMap<(LogName, DeviceId), Ranges>,
    unsaved: BTreeSet<(LogName, DeviceId)>,
    /// The receipts of strangers in open rooms, the oldest first.
    of_strangers: VecDeque<(LogName, DeviceId)>,
}

impl Receipts {
    /// The receipts that the store has. `is_open`: whether a log belongs to an open room.
    pub(super) fn load(
        receipts: Vec<(LogName, DeviceId, Ranges)>,
        is_open: impl Fn(&LogName) -> bool,
    ) -> Self {
        let mut loaded = Self::default();
        for (name, peer, ranges) in receipts {
            // The contacts are not known yet.
            if is_open(&name) {
                loaded.of_strangers.push_back((name, peer));
            }
            loaded.confirmed.insert((name, peer), ranges);
        }
        loaded
    }

    /// Limits the receipts of strangers in open rooms, after the first one of this device for this log.
    /// `is_stranger` says who is a stranger now. What a contact has confirmed stays.
    pub(super) fn limit(
        &mut self,
        name: LogName,
        peer: DeviceId,
        is_stranger: impl Fn(PersonId) -> bool,
    ) {
        if !is_stranger(peer.person()) {
            return;
        }
        self.of_strangers.push_back((name, peer));
        while self.of_strangers.len() > STRANGERS_RECEIPTS_MAX
            && let Some(oldest) = self.of_strangers.pop_front()
        {
            if is_stranger(oldest.1.person()) {
                self.confirmed.remove(&oldest);
                self.unsaved.insert(oldest);
            }
        }
    }

    /// Notes that the peer has these entries on disk. Returns the entries that it had not confirmed
    /// before.
    pub(super) fn confirm(&mut self, name: LogName, peer: DeviceId, has: &Ranges) -> Ranges {
        let new = has.minus(&self.of(name, peer));
        if !new.is_empty() {
            let confirmed = self.confirmed.entry((name, peer)).or_default();
            confirmed.insert_all(&new);
            self.unsaved.insert((name, peer));
        }
        new
    }

    /// The entries of a log that the peer has confirmed.
    pub(super) fn of(&self, name: LogName, peer: DeviceId) -> Ranges {
        self.confirmed
            .get(&(name, peer))
            .cloned()
            .unwrap_or_default()
    }

    /// The entries of a log that any peer has confirmed.
    pub(super) fn of_anybody(&self, name: LogName) -> Ranges {
        let mut all = Ranges::new();
        let of_log = self
            .confirmed
            .range((name, DeviceId::from_bytes([0; 32]))..)
            .take_while(|((of, _), _)| *of == name);
        of_log.for_each(|(_, ranges)| all.insert_all(ranges));
        all
    }

    /// The peers that have confirmed this entry.
    pub(super) fn peers_with(&self, name: LogName, seq: Seq) -> Vec<DeviceId> {
        let of_log = self
            .confirmed
            .range((name, DeviceId::from_bytes([0; 32]))..)
            .take_while(|((of, _), _)| *of == name);
        of_log
            .filter(|(_, ranges)| ranges.contains(seq))
            .map(|((_, peer), _)| *peer)
            .collect()
    }

    pub(super) fn is_saved(&self) -> bool {
        self.unsaved.is_empty()
    }

    /// The receipts that changed since the last call.
    pub(super) fn take_unsaved(&mut self) -> BTreeSet<(LogName, DeviceId)> {
        std::mem::take(&mut self.unsaved)
    }

    /// The store could not save these receipts.
    pub(super) fn not_saved(&mut self, receipts: BTreeSet<(LogName, DeviceId)>) {
        self.unsaved.extend(receipts);
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, LogId, SecretKey};

    use super::*;

    fn peer(n: u8) -> DeviceId {
        SecretKey::from_seed([n; 32]).id()
    }

    fn log(n: u64) -> LogName {
        LogName {
            conversation: ConversationId::direct(peer(1).person(), peer(2).person()),
            author: peer(1).person(),
            device: peer(1),
            log: LogId(n),
        }
    }

    #[test]
    fn a_receipt_counts_once() {
        let mut receipts = Receipts::default();
        let new = receipts.confirm(log(1), peer(2), &Ranges::span(1, 3));
        assert_eq!(new, Ranges::span(1, 3));
        let new = receipts.confirm(log(1), peer(2), &Ranges::span(2, 5));
        assert_eq!(new, Ranges::span(4, 5));
        assert_eq!(receipts.of(log(1), peer(2)), Ranges::span(1, 5));
    }

    #[test]
    fn each_peer_and_each_log_has_its_own_receipts() {
        let mut receipts = Receipts::default();
        receipts.confirm(log(1), peer(2), &Ranges::span(1, 3));
        receipts.confirm(log(1), peer(3), &Ranges::span(3, 4));
        receipts.confirm(log(2), peer(4), &Ranges::span(3, 3));
        let mut with_3 = receipts.peers_with(log(1), 3);
        with_3.sort();
        let mut expected = vec![peer(2), peer(3)];
        expected.sort();
        assert_eq!(with_3, expected);
        assert_eq!(receipts.peers_with(log(1), 4), [peer(3)]);
        assert_eq!(receipts.peers_with(log(2), 1), []);
    }

    #[test]
    fn what_any_peer_has_confirmed_of_a_log_is_safe() {
        let mut receipts = Receipts::default();
        assert_eq!(receipts.of_anybody(log(1)), Ranges::new());
        receipts.confirm(log(1), peer(2), &Ranges::span(1, 3));
        receipts.confirm(log(1), peer(3), &Ranges::span(3, 4));
        receipts.confirm(log(2), peer(2), &Ranges::span(1, 9));
        assert_eq!(receipts.of_anybody(log(1)), Ranges::span(1, 4));
    }

    #[test]
    fn strangers_in_open_rooms_fill_no_memory_with_receipts() {
        let stranger = |n: usize| {
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            DeviceId::from_bytes(bytes)
        };
        let (contact, one) = (stranger(0), Ranges::span(1, 1));
        let at_start = vec![(log(1), contact, one.clone())];
        let mut receipts = Receipts::load(at_start, |_| true);
        let is_stranger = |peer: PersonId| peer != contact.person();
        for n in 1..STRANGERS_RECEIPTS_MAX {
            receipts.confirm(log(1), stranger(n), &one);
            receipts.limit(log(1), stranger(n), is_stranger);
        }
        assert_eq!(receipts.of(log(1), stranger(1)), one, "as many as may be");
        receipts.take_unsaved();
        for n in STRANGERS_RECEIPTS_MAX..STRANGERS_RECEIPTS_MAX + 2 {
            receipts.confirm(log(1), stranger(n), &one);
            receipts.limit(log(1), stranger(n), is_stranger);
        }
        assert_eq!(receipts.of(log(1), contact), one, "a contact's stays");
        assert!(receipts.of(log(1), stranger(1)).is_empty());
        assert_eq!(receipts.of(log(1), stranger(2)), one);
        assert!(receipts.take_unsaved().contains(&(log(1), stranger(1))));
    }

    #[test]
    fn only_changes_are_saved() {
        let at_start = vec![(log(1), peer(2), Ranges::span(1, 3))];
        let mut receipts = Receipts::load(at_start, |_| false);
        receipts.confirm(log(1), peer(2), &Ranges::span(1, 3));
        assert!(receipts.is_saved());
        receipts.confirm(log(1), peer(2), &Ranges::span(4, 4));
        assert!(!receipts.is_saved());
        let unsaved = receipts.take_unsaved();
        assert_eq!(unsaved, BTreeSet::from([(log(1), peer(2))]));
        assert!(receipts.is_saved());
        receipts.not_saved(unsaved);
        assert!(!receipts.is_saved());
    }
}
