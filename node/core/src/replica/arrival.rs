//! The new entries that a commit takes from a peer's batch, sorted by their use.
//!
//! It decides nothing. `receive` chooses the entries, and `erasing` finds what is deleted.

use hobnob_protocol::{CheckedBatch, Ranges};

/// The entries that a commit takes from a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrival {
    /// The new entries.
    pub(super) pieces: Ranges,
    /// Of these, the ones that their author has deleted.
    pub(super) deleted: Ranges,
    /// Of these, the ones that arrived without their body.
    pub(super) unsettled: Ranges,
    /// Of these, the ones for the user.
    pub(super) shown: Ranges,
    /// Bodies of entries that were held without them.
    pub(super) bodies: Ranges,
}

impl Arrival {
    /// Sorts the new entries of a batch, of which `deleted` are erased already.
    pub(super) fn new(batch: &CheckedBatch, pieces: Ranges, deleted: Ranges) -> Self {
        let mut arrival = Self {
            pieces,
            deleted,
            ..Self::default()
        };
        // Nearly always, all entries are for the user.
        arrival.shown = arrival.pieces.minus(&arrival.deleted);
        for (seq, entry) in (batch.first()..).zip(&batch.entries) {
            if !arrival.shown.contains(seq) {
                continue;
            }
            if entry.entry.body.is_erased() {
                arrival.shown.remove(seq, seq);
                arrival.unsettled.insert(seq, seq);
            } else if entry.entry.body.is_deletion() {
                arrival.shown.remove(seq, seq);
            }
        }
        arrival
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Author, direct, without_bodies};
    use super::*;
    use hobnob_protocol::Body;

    #[test]
    fn only_bodies_that_are_here_are_shown_and_deletions_never_are() {
        let mut bob = Author::new(2, direct(2));
        let log = bob.name.log;
        let bodies = vec![
            "old".into(),
            "deleted".into(),
            "censored".into(),
            Body::Delete { log, seq: 2 },
            "new".into(),
        ];
        let batch = without_bodies(bob.write_bodies(1, bodies), &Ranges::span(2, 3));
        let batch = batch.read().expect("erased entries can be read");
        let arrival = Arrival::new(&batch, Ranges::span(2, 5), Ranges::span(2, 2));
        assert_eq!(arrival.shown, Ranges::span(5, 5));
        assert_eq!(arrival.unsettled, Ranges::span(3, 3));
    }
}
