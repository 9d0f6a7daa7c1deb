//! The hashes of a chain at a few places: a sorted list, because most logs have two of them and a
//! tree would take several times the memory.

use std::ops::RangeInclusive;

use hobnob_protocol::{EntryHash, Seq};

/// Hashes of entries, sorted by number.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<(Seq, EntryHash)>);

impl Marks {
    /// Adds a hash, or replaces the one at this place.
    pub(super) fn insert(&mut self, seq: Seq, hash: EntryHash) {
        match self.at(seq) {
            Ok(at) => self.0[at].1 = hash,
            Err(at) => {
                // Most logs never have more than two marks.
                if self.0.len() < 2 {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (seq, hash));
            }
        }
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&EntryHash> {
        let at = self.at(seq).ok()?;
        Some(&self.0[at].1)
    }

    /// The hashes of these entries, in order.
    pub(super) fn range(
        &self,
        seqs: RangeInclusive<Seq>,
    ) -> impl Iterator<Item = (Seq, EntryHash)> {
        let first = self.at(*seqs.start()).unwrap_or_else(|at| at);
        let from_first = self.0[first..].iter().copied();
        from_first.take_while(move |(seq, _)| seq <= seqs.end())
    }

    pub(super) fn retain(&mut self, keep: impl Fn(Seq) -> bool) {
        self.0.retain(|(seq, _)| keep(*seq));
    }

    fn at(&self, seq: Seq) -> Result<usize, usize> {
        self.0.binary_search_by_key(&seq, |(seq, _)| *seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> EntryHash {
        EntryHash::from_bytes([n; 32])
    }

    #[test]
    fn marks_are_sorted_and_unique() {
        let mut marks = Marks::default();
        for (seq, n) in [(5, 1), (0, 2), (9, 3), (5, 4)] {
            marks.insert(seq, hash(n));
        }
        assert_eq!(marks.get(5), Some(&hash(4)));
        assert_eq!(marks.get(6), None);
        let some: Vec<_> = marks.range(0..=5).collect();
        assert_eq!(some, [(0, hash(2)), (5, hash(4))]);
        assert_eq!(marks.range(6..=8).count(), 0);
        marks.retain(|seq| seq != 0);
        assert_eq!(marks.range(0..=9).count(), 2);
    }
}
