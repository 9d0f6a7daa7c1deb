//! A bounded set: one more member replaces the one that was added first.

use std::collections::{BTreeSet, VecDeque};

/// The last members that were added, at most `MAX`.
#[derive(Debug)]
pub struct RecentSet<T, const MAX: usize> {
    members: BTreeSet<T>,
    /// The same members, in the order in which they were added.
    order: VecDeque<T>,
}

impl<T, const MAX: usize> Default for RecentSet<T, MAX> {
    fn default() -> Self {
        Self {
            members: BTreeSet::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T: Ord + Copy, const MAX: usize> RecentSet<T, MAX> {
    /// Adds a member, and returns whether it was none before.
    pub fn add(&mut self, member: T) -> bool {
        if !self.members.insert(member) {
            return false;
        }
        self.order.push_back(member);
        if self.order.len() > MAX {
            let first = self.order.pop_front().expect("it was not empty");
            self.members.remove(&first);
        }
        true
    }

    /// Removes a member, and returns whether it was one.
    pub fn remove(&mut self, member: T) -> bool {
        let removed = self.members.remove(&member);
        if removed {
            self.order.retain(|other| *other != member);
        }
        removed
    }

    /// Whether this is a member.
    pub fn contains(&self, member: T) -> bool {
        self.members.contains(&member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_in_the_set_until_it_is_removed() {
        let mut recent = RecentSet::<u32, 10>::default();
        assert!(recent.add(1) && recent.add(2) && !recent.add(2));
        assert!(recent.remove(1) && !recent.remove(1));
        assert!(!recent.contains(1) && recent.contains(2));
        assert_eq!(recent.order, [2]);
    }

    #[test]
    fn a_flood_of_members_replaces_those_that_were_added_first() {
        let mut recent = RecentSet::<u32, 1_000>::default();
        for n in 0..=1_000 {
            recent.add(n);
        }
        assert!(!recent.contains(0));
        assert!(recent.contains(1) && recent.contains(1_000));
        assert_eq!((recent.members.len(), recent.order.len()), (1_000, 1_000));
    }
}
