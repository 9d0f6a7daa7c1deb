//! A set of sequence numbers, stored as sorted, disjoint, inclusive ranges. A replica uses it for
//! the entries of a log that it has.

use serde::{Deserialize, Serialize};

use crate::log::Seq;

/// Maximum ranges of one log in one frame. A log with more gaps names only its newest ranges.
pub const RANGES_MAX: usize = 64;

/// A set of sequence numbers (all at least 1), kept sorted, disjoint and not touching.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ranges(Vec<(Seq, Seq)>);

impl Ranges {
    /// The empty set.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The set of all numbers from `first` to `last`, both included. Empty if `first` is above
    /// `last`.
    pub fn span(first: Seq, last: Seq) -> Self {
        let mut set = Self::new();
        set.insert(first, last);
        set
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, lowest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Seq, Seq)> + '_ {
        self.0.iter().copied()
    }

    /// How many numbers the set contains.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The lowest number.
    pub fn first(&self) -> Option<Seq> {
        self.0.first().map(|r| r.0)
    }

    /// The highest number.
    pub fn last(&self) -> Option<Seq> {
        self.0.last().map(|r| r.1)
    }

    /// The lowest range.
    pub fn first_range(&self) -> Option<(Seq, Seq)> {
        self.0.first().copied()
    }

    /// Whether `seq` is in the set.
    pub fn contains(&self, seq: Seq) -> bool {
        self.covers(seq, seq)
    }

    /// Whether every number from `first` to `last` is in the set.
    pub fn covers(&self, first: Seq, last: Seq) -> bool {
        let at = self.0.partition_point(|r| r.1 < first);
        self.0.get(at).is_some_and(|r| r.0 <= first && last <= r.1)
    }

    /// Adds the numbers from `first` to `last`.
    pub fn insert(&mut self, first: Seq, last: Seq) {
        if first > last {
            return;
        }
        // The ranges that overlap or touch the new one become one range with it.
        let from = self.0.partition_point(|r| r.1.saturating_add(1) < first);
        let to = self.0.partition_point(|r| r.0 <= last.saturating_add(1));
        if from == to {
            reserve_first(&mut self.0);
            self.0.insert(from, (first, last));
            return;
        }
        let merged = (first.min(self.0[from].0), last.max(self.0[to - 1].1));
        self.0.splice(from..to, [merged]);
    }

    /// Removes the numbers from `first` to `last`.
    pub fn remove(&mut self, first: Seq, last: Seq) {
        if first <= last {
            *self = self.minus(&Self(vec![(first, last)]));
        }
    }

    /// Adds all of `other`.
    pub fn insert_all(&mut self, other: &Ranges) {
        for (first, last) in other.iter() {
            self.insert(first, last);
        }
    }

    /// The numbers that are in this set but not in `other`.
    pub fn minus(&self, other: &Ranges) -> Ranges {
        let mut left = Vec::new();
        for (first, last) in self.iter() {
            let mut next = first;
            for (cut_first, cut_last) in other
                .iter()
                .skip_while(|r| r.1 < first)
                .take_while(|r| r.0 <= last)
            {
                if cut_first > next {
                    reserve_first(&mut left);
                    left.push((next, cut_first - 1));
                }
                next = next.max(cut_last.saturating_add(1));
            }
            if next <= last {
                reserve_first(&mut left);
                left.push((next, last));
            }
        }
        Ranges(left)
    }

    /// The numbers that are in both sets.
    pub fn intersect(&self, other: &Ranges) -> Ranges {
        self.minus(&self.minus(other))
    }

    /// The newest [`RANGES_MAX`] ranges. Only a log with very many gaps has more.
    pub fn for_frame(&self) -> Ranges {
        Ranges(self.0[self.0.len().saturating_sub(RANGES_MAX)..].to_vec())
    }
}

/// Makes room for exactly one range in an empty list, which would otherwise take room for four. Most
/// sets have one range, and a replica has several sets for each log.
fn reserve_first(ranges: &mut Vec<(Seq, Seq)>) {
    if ranges.is_empty() {
        ranges.reserve_exact(1);
    }
}

impl<'de> Deserialize<'de> for Ranges {
    /// Accepts only what [`Ranges`] can encode: at most [`RANGES_MAX`] ranges, sorted, disjoint,
    /// not touching, from 1 to below `u64::MAX`.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let ranges = Vec::<(Seq, Seq)>::deserialize(deserializer)?;
        if ranges.len() > RANGES_MAX {
            return Err(D::Error::custom("too many ranges"));
        }
        let mut least = 1;
        for &(first, last) in &ranges {
            if first < least || last < first || last >= Seq::MAX - 1 {
                return Err(D::Error::custom("ranges out of order"));
            }
            least = last + 2;
        }
        Ok(Self(ranges))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn model(set: &Ranges) -> BTreeSet<Seq> {
        set.iter().flat_map(|(a, b)| a..=b).collect()
    }

    fn any_ranges() -> impl Strategy<Value = Ranges> {
        proptest::collection::vec((1u64..60, 0u64..8), 0..12).prop_map(|parts| {
            let mut set = Ranges::new();
            for (first, more) in parts {
                set.insert(first, first + more);
            }
            set
        })
    }

    #[test]
    fn a_set_of_one_range_takes_memory_for_one() {
        let mut set = Ranges::span(1, 9);
        set.insert(10, 10);
        let rest = set.minus(&Ranges::span(1, 5));
        let both = set.intersect(&Ranges::span(3, 4));
        let capacities = [&set, &rest, &both].map(|set| set.0.capacity());
        assert_eq!(capacities, [1, 1, 1]);
        assert_eq!(set.minus(&set).0.capacity(), 0);
    }

    proptest! {
        #[test]
        fn ranges_behave_like_sets(a in any_ranges(), b in any_ranges(), first in 1u64..70, more in 0u64..9) {
            let (sa, sb) = (model(&a), model(&b));
            prop_assert_eq!(model(&a.minus(&b)), &sa - &sb);
            prop_assert_eq!(model(&a.intersect(&b)), &sa & &sb);
            let mut both = a.clone();
            both.insert_all(&b);
            prop_assert_eq!(model(&both), &sa | &sb);
            let mut less = a.clone();
            less.remove(first, first + more);
            prop_assert_eq!(model(&less), sa.iter().copied().filter(|s| !(first..=first + more).contains(s)).collect());
            prop_assert_eq!(a.len(), sa.len() as u64);
            prop_assert_eq!(a.covers(first, first + more), (first..=first + more).all(|s| sa.contains(&s)));
            let bytes = crate::codec::encode(&both);
            prop_assert_eq!(crate::codec::decode::<Ranges, 4096>(&bytes), Ok(both));
        }
    }

    #[test]
    fn ranges_that_no_replica_can_have_are_rejected() {
        for wrong in [
            vec![(0u64, 1u64)],
            vec![(5, 4)],
            vec![(1, 2), (3, 4)],
            vec![(5, 6), (1, 2)],
            vec![(1, u64::MAX)],
        ] {
            let bytes = crate::codec::encode(&wrong);
            assert!(
                crate::codec::decode::<Ranges, 4096>(&bytes).is_err(),
                "{wrong:?}"
            );
        }
    }
}
