//! A fixed number of places, and who holds them.

use std::collections::{BTreeMap, BTreeSet};

/// The fate of a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance<T> {
    /// A place was free. The newcomer has it.
    Free,
    /// The newcomer has the place of this holder, which must go.
    Replaces(T),
    /// All places are taken, and the newcomer has no better claim to one than the holders.
    Full,
}

/// Places for holders `T` that come from networks `N`.
///
/// While places are free, anybody gets one. When all are taken, a newcomer replaces the idlest
/// holder of the network that holds the most, if that network then still holds at least as many as
/// the newcomer's. So networks with the same needs never displace each other, and no network can
/// take a place from one that has fewer.
///
/// A *protected* holder is never replaced and does not count for its network. A protected newcomer
/// replaces an unprotected holder in any case.
#[derive(Debug)]
pub struct Places<N, T> {
    max: usize,
    holders: BTreeMap<T, Holder<N>>,
    /// The unprotected holders by network and by when they were active, so the idlest of each
    /// network comes first. One tree for all networks is small when most of them have one holder.
    by_network: BTreeMap<(N, u64), T>,
    /// The number of unprotected holders of each network.
    counts: BTreeMap<N, usize>,
    /// The networks with unprotected holders, by the number of them.
    sizes: BTreeSet<(usize, N)>,
    /// The number of holders whose places their owners have noted, see [`Places::settle`].
    settled: usize,
    /// The number of entrances and activities so far.
    clock: u64,
}

/// The place of a holder that is not active any more. See [`Places::settle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<N> {
    network: N,
    active_at: u64,
}

#[derive(Debug)]
struct Holder<N> {
    network: N,
    protected: bool,
    /// The clock when it entered or was last active.
    active_at: u64,
}

impl<N: Ord + Copy, T: Ord + Copy> Places<N, T> {
    /// Creates free places.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            holders: BTreeMap::new(),
            by_network: BTreeMap::new(),
            counts: BTreeMap::new(),
            sizes: BTreeSet::new(),
            settled: 0,
            clock: 0,
        }
    }

    /// Changes the number of places. Holders beyond it keep theirs.
    pub fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    /// The number of holders.
    pub fn taken(&self) -> usize {
        self.holders.len() + self.settled
    }

    /// The number of unprotected holders of a network.
    pub fn taken_by(&self, network: N) -> usize {
        self.counts.get(&network).copied().unwrap_or(0)
    }

    /// The fate that a newcomer would have.
    pub fn entrance(&self, network: N, protected: bool) -> Entrance<T> {
        if self.taken() < self.max {
            return Entrance::Free;
        }
        let Some(&(most, largest)) = self.sizes.last() else {
            return Entrance::Full;
        };
        if !protected && most <= self.taken_by(network) + 1 {
            return Entrance::Full;
        }
        let idlest = self.idlest_of(largest);
        Entrance::Replaces(idlest.expect("a network with a size has a holder"))
    }

    /// The idlest unprotected holder of a network.
    pub fn idlest_of(&self, network: N) -> Option<T> {
        let all = (network, 0)..=(network, u64::MAX);
        let (_, idlest) = self.by_network.range(all).next()?;
        Some(*idlest)
    }

    /// Gives a newcomer a place, if it can have one. A replaced holder has no place any more.
    ///
    /// # Panics
    ///
    /// If the newcomer has a place already.
    pub fn enter(&mut self, newcomer: T, network: N, protected: bool) -> Entrance<T> {
        assert!(
            !self.holders.contains_key(&newcomer),
            "a newcomer has no place yet"
        );
        let entrance = self.entrance(network, protected);
        if let Entrance::Replaces(holder) = entrance {
            self.leave(holder);
        }
        if entrance != Entrance::Full {
            self.add(newcomer, network, protected);
        }
        entrance
    }

    /// Notes that a holder is active: it is now the least idle of its network.
    pub fn active(&mut self, holder: T) {
        if let Some(Holder {
            network, protected, ..
        }) = self.remove(holder)
        {
            self.add(holder, network, protected);
        }
    }

    /// Protects a holder, or ends its protection.
    pub fn protect(&mut self, holder: T, protected: bool) {
        if let Some(Holder { network, .. }) = self.remove(holder) {
            self.add(holder, network, protected);
        }
    }

    /// Notes that a holder has moved to another network.
    pub fn relocate(&mut self, holder: T, network: N) {
        if let Some(Holder { protected, .. }) = self.remove(holder) {
            self.add(holder, network, protected);
        }
    }

    /// Frees the place of a holder. Returns false if it has none, because it was replaced.
    pub fn leave(&mut self, holder: T) -> bool {
        self.remove(holder).is_some()
    }

    /// Takes an unprotected holder out of the list of holders. It keeps its place, which the caller
    /// notes from now on: it takes less memory. Returns nothing if it has no unprotected place.
    pub fn settle(&mut self, holder: T) -> Option<Place<N>> {
        let Holder {
            network,
            protected,
            active_at,
        } = *self.holders.get(&holder)?;
        if protected {
            return None;
        }
        self.holders.remove(&holder);
        self.settled += 1;
        Some(Place { network, active_at })
    }

    /// Frees the place of a settled holder.
    pub fn leave_settled(&mut self, place: Place<N>) {
        if self.unlist(place.network, place.active_at).is_some() {
            self.settled -= 1;
        }
    }

    /// A settled holder has moved to another network. Returns its place there.
    pub fn relocate_settled(&mut self, place: Place<N>, network: N) -> Place<N> {
        match self.unlist(place.network, place.active_at) {
            Some(holder) => Place {
                network,
                active_at: self.list(network, holder),
            },
            None => place,
        }
    }

    fn add(&mut self, holder: T, network: N, protected: bool) {
        let active_at = if protected {
            0
        } else {
            self.list(network, holder)
        };
        let entry = Holder {
            network,
            protected,
            active_at,
        };
        self.holders.insert(holder, entry);
    }

    fn remove(&mut self, holder: T) -> Option<Holder<N>> {
        let entry = self.holders.remove(&holder)?;
        if !entry.protected {
            self.unlist(entry.network, entry.active_at);
        }
        Some(entry)
    }

    /// Lists a holder in its network as the least idle. Returns when that was.
    fn list(&mut self, network: N, holder: T) -> u64 {
        self.clock += 1;
        self.by_network.insert((network, self.clock), holder);
        let count = self.counts.entry(network).or_default();
        self.sizes.remove(&(*count, network));
        *count += 1;
        self.sizes.insert((*count, network));
        self.clock
    }

    fn unlist(&mut self, network: N, active_at: u64) -> Option<T> {
        let holder = self.by_network.remove(&(network, active_at))?;
        let count = self
            .counts
            .get_mut(&network)
            .expect("a listed holder is counted in its network");
        self.sizes.remove(&(*count, network));
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&network);
        } else {
            self.sizes.insert((*count, network));
        }
        Some(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Places that holders `1..=count` of one network have taken.
    fn crowded(max: usize, count: u32) -> Places<char, u32> {
        let mut places = Places::new(max);
        for holder in 1..=count {
            assert_eq!(places.enter(holder, 'a', false), Entrance::Free);
        }
        places
    }

    #[test]
    fn anybody_gets_a_free_place_and_one_that_became_free() {
        let mut places = crowded(2, 2);
        assert_eq!(places.enter(3, 'a', false), Entrance::Full);
        assert!(places.leave(1));
        assert_eq!(places.enter(3, 'a', false), Entrance::Free);
        assert_eq!(places.taken(), 2);
    }

    #[test]
    fn a_newcomer_replaces_the_idlest_holder_of_the_largest_network() {
        let mut places = crowded(4, 4);
        places.active(1);
        assert_eq!(places.enter(10, 'b', false), Entrance::Replaces(2));
        assert_eq!(places.enter(11, 'c', false), Entrance::Replaces(3));
        assert!(!places.leave(2), "it was replaced");
        assert_eq!((places.taken_by('a'), places.taken()), (2, 4));
    }

    #[test]
    fn a_settled_holder_keeps_its_place_until_it_leaves_or_is_replaced() {
        let mut places = crowded(3, 3);
        let [first, second] = [1, 2].map(|holder| places.settle(holder).expect("a holder"));
        assert_eq!(places.settle(1), None);
        assert_eq!((places.taken(), places.taken_by('a')), (3, 3));
        assert_eq!(places.entrance('b', false), Entrance::Replaces(1));
        places.leave_settled(first);
        assert_eq!((places.taken(), places.taken_by('a')), (2, 2));
        let moved = places.relocate_settled(second, 'b');
        assert_eq!((places.taken_by('a'), places.taken_by('b')), (1, 1));
        places.leave_settled(moved);
        assert_eq!((places.taken(), places.taken_by('b')), (1, 0));
    }

    #[test]
    fn networks_with_equal_needs_do_not_displace_each_other() {
        let mut places = Places::new(3);
        for network in ['a', 'b', 'c'] {
            assert_eq!(places.enter(network, network, false), Entrance::Free);
        }
        assert_eq!(places.enter('d', 'd', false), Entrance::Full);
    }

    #[test]
    fn a_protected_holder_stays_and_a_protected_newcomer_gets_a_place() {
        let mut places = crowded(3, 3);
        for holder in [1, 2] {
            places.protect(holder, true);
        }
        assert_eq!(places.enter(10, 'b', false), Entrance::Full);
        assert_eq!(places.enter(11, 'b', true), Entrance::Replaces(3));
        assert_eq!(places.enter(12, 'c', true), Entrance::Full);
        assert_eq!(places.taken_by('b'), 0, "protected holders do not count");
        places.protect(2, false);
        assert_eq!(places.enter(12, 'c', true), Entrance::Replaces(2));
    }

    /// An action on the places: its kind, the holder and its network.
    fn actions() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
        prop::collection::vec((0u8..6, 0u8..20, 0u8..4), 0..200)
    }

    proptest! {
        #[test]
        fn the_counts_are_right_after_any_actions(actions in actions()) {
            let mut places = Places::new(8);
            let mut model = BTreeMap::new();
            for (kind, holder, network) in actions {
                match kind {
                    0 | 1 if !model.contains_key(&holder) => {
                        match places.enter(holder, network, kind == 1) {
                            Entrance::Free => {
                                prop_assert!(model.len() < 8);
                                model.insert(holder, (network, kind == 1));
                            }
                            Entrance::Replaces(other) => {
                                prop_assert_eq!(model.len(), 8);
                                prop_assert_eq!(model.remove(&other).map(|(_, protected)| protected), Some(false));
                                model.insert(holder, (network, kind == 1));
                            }
                            Entrance::Full => prop_assert_eq!(model.len(), 8),
                        }
                    }
                    2 => prop_assert_eq!(places.leave(holder), model.remove(&holder).is_some()),
                    3 => places.active(holder),
                    4 => {
                        places.relocate(holder, network);
                        if let Some((home, _)) = model.get_mut(&holder) {
                            *home = network;
                        }
                    }
                    _ => {
                        places.protect(holder, network % 2 == 0);
                        if let Some((_, protected)) = model.get_mut(&holder) {
                            *protected = network % 2 == 0;
                        }
                    }
                }
                prop_assert_eq!(places.taken(), model.len());
                for network in 0..4 {
                    let count = model.values().filter(|value| **value == (network, false)).count();
                    prop_assert_eq!(places.taken_by(network), count);
                }
            }
        }
    }
}
