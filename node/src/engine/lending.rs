//! Which relays of contacts this node borrows, and which one its user lends to contacts.
//!
//! A contact may run a relay for its contacts, and names it in its contact record. A node that has no
//! working relay of its own registers at up to [`BORROWED_MAX`] of these relays, so that contacts find
//! it there. It takes the first ones in the order of their identities: two nodes with the same friends
//! so choose the same relays.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::record::BORROWED_MAX;
use hobnob_protocol::{DeviceId, RelayAddr};

use super::relays::OwnRelays;

/// How long the user's own relays may be out of reach before relays of contacts are used.
pub(super) const ALONE_FOR: Duration = Duration::from_secs(30);

/// How long a borrowed relay may be out of reach before another one takes its place, if there is one.
pub(super) const BORROWED_DOWN_FOR: Duration = Duration::from_secs(10 * 60);

/// The relays that contacts lend: for each identity, the addresses that contacts name for it.
pub(super) type Offers = BTreeMap<DeviceId, Vec<RelayAddr>>;

/// Collects the relays that contacts lend, without `own`. A contact may be wrong about the address of a
/// relay, so all addresses that contacts name for it count.
pub(super) fn offers<'a>(
    lent: impl IntoIterator<Item = &'a RelayAddr>,
    own: Option<DeviceId>,
) -> Offers {
    let mut offers = Offers::new();
    for addr in lent {
        if let Some(id) = addr.id.filter(|id| Some(*id) != own) {
            let addrs = offers.entry(id).or_default();
            if !addrs.contains(addr) {
                addrs.push(addr.clone());
            }
        }
    }
    offers
}

/// What this node lends and borrows.
#[derive(Debug)]
pub(crate) struct Lending {
    /// Whether this node may borrow.
    borrows: bool,
    /// The relay that the user lends, as contacts reach it.
    offer: Option<RelayAddr>,
    borrowed: BTreeMap<DeviceId, Borrowed>,
    /// Since when the user's own relays are out of reach.
    alone_since: Option<Duration>,
    check_at: Option<Duration>,
}

/// A relay that a contact lends and this node uses.
#[derive(Debug)]
struct Borrowed {
    addrs: Vec<RelayAddr>,
    down_since: Option<Duration>,
}

/// What follows from a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Register at this relay, by these addresses. It may be in use already.
    Borrow(DeviceId, Vec<RelayAddr>),
    /// Leave this relay.
    Return(DeviceId),
}

impl Lending {
    /// `borrows`: whether this node may borrow. `offer`: what the user lent in the last run, if the
    /// user is about to lend it again.
    pub(crate) fn new(borrows: bool, offer: Option<RelayAddr>) -> Self {
        Self {
            borrows,
            offer,
            borrowed: BTreeMap::new(),
            alone_since: None,
            check_at: None,
        }
    }

    /// The user lends this relay from now on. `None`: contacts cannot reach it.
    /// Contacts find this node there, so it borrows none.
    pub(super) fn lend(&mut self, offer: Option<RelayAddr>) {
        (self.offer, self.borrows) = (offer, false);
    }

    /// The relay that the user lends, as contacts reach it.
    pub(super) fn offer(&self) -> Option<&RelayAddr> {
        self.offer.as_ref()
    }

    /// The identities of the borrowed relays.
    pub(super) fn borrowed(&self) -> impl Iterator<Item = DeviceId> {
        self.borrowed.keys().copied()
    }

    /// When to choose again.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.check_at
    }

    /// Decides which relays to borrow. `own`: the user's own relays. `is_up`: whether a relay has
    /// registered this node. A borrowed relay stays in use when the user's own relays return: sessions
    /// go through it.
    pub(super) fn choose(
        &mut self,
        now: Duration,
        own: OwnRelays,
        offers: &Offers,
        is_up: impl Fn(DeviceId) -> bool,
    ) -> Vec<Step> {
        self.check_at = None;
        let mut steps = self.drop_unoffered(offers);
        let is_needed = self.borrows && self.is_alone(now, own);
        for (id, borrowed) in &mut self.borrowed {
            let since = borrowed.down_since.get_or_insert(now);
            if is_up(*id) {
                borrowed.down_since = None;
            } else {
                wake_at(&mut self.check_at, now, *since + BORROWED_DOWN_FOR);
            }
        }
        if is_needed {
            self.replace_silent(now, offers, &mut steps);
            self.fill(offers, &mut steps);
        }
        steps
    }

    /// Returns the relays that no contact lends any more, and learns new addresses of the others.
    fn drop_unoffered(&mut self, offers: &Offers) -> Vec<Step> {
        let mut steps = Vec::new();
        self.borrowed.retain(|id, borrowed| {
            let Some(addrs) = offers.get(id) else {
                steps.push(Step::Return(*id));
                return false;
            };
            if borrowed.addrs != *addrs {
                borrowed.addrs.clone_from(addrs);
                steps.push(Step::Borrow(*id, addrs.clone()));
            }
            true
        });
        steps
    }

    /// Whether the user has no relay that works, for a while.
    fn is_alone(&mut self, now: Duration, own: OwnRelays) -> bool {
        match own {
            OwnRelays::None => true,
            OwnRelays::Up => {
                self.alone_since = None;
                false
            }
            OwnRelays::Down => {
                let until = *self.alone_since.get_or_insert(now) + ALONE_FOR;
                wake_at(&mut self.check_at, now, until);
                now >= until
            }
        }
    }

    /// Returns one relay that has not answered for long, if another one can take its place.
    fn replace_silent(&mut self, now: Duration, offers: &Offers, steps: &mut Vec<Step>) {
        let is_silent = |borrowed: &Borrowed| {
            let since = borrowed.down_since;
            since.is_some_and(|since| now >= since + BORROWED_DOWN_FOR)
        };
        let mut all = self.borrowed.iter();
        let silent = all.find(|(_, borrowed)| is_silent(borrowed));
        let Some(silent) = silent.map(|(id, _)| *id) else {
            return;
        };
        // The next one in the order, so that all have their turn.
        let after = offers.keys().filter(|id| **id > silent);
        let mut others = after.chain(offers.keys().filter(|id| **id < silent));
        let Some(next) = others.find(|id| !self.borrowed.contains_key(id)).copied() else {
            return;
        };
        self.borrowed.remove(&silent);
        steps.push(Step::Return(silent));
        self.borrow(next, offers, steps);
    }

    fn fill(&mut self, offers: &Offers, steps: &mut Vec<Step>) {
        for id in offers.keys() {
            if self.borrowed.len() >= BORROWED_MAX {
                return;
            }
            if !self.borrowed.contains_key(id) {
                self.borrow(*id, offers, steps);
            }
        }
    }

    fn borrow(&mut self, id: DeviceId, offers: &Offers, steps: &mut Vec<Step>) {
        let addrs = offers.get(&id).cloned().unwrap_or_default();
        steps.push(Step::Borrow(id, addrs.clone()));
        let borrowed = Borrowed {
            addrs,
            down_since: None,
        };
        self.borrowed.insert(id, borrowed);
    }
}

/// Asks for another look at a moment that has not come yet.
fn wake_at(check_at: &mut Option<Duration>, now: Duration, at: Duration) {
    if now < at {
        *check_at = Some(check_at.map_or(at, |other| other.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn id(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn addr(n: u8, host: &str) -> RelayAddr {
        RelayAddr {
            id: Some(id(n)),
            at: format!("{host}:4627").parse().expect("an address"),
        }
    }

    fn offers(ids: &[u8]) -> Offers {
        let lent: Vec<_> = ids.iter().map(|n| addr(*n, "a.example")).collect();
        super::offers(&lent, None)
    }

    fn borrow(n: u8) -> Step {
        Step::Borrow(id(n), vec![addr(n, "a.example")])
    }

    fn nobody() -> Lending {
        Lending::new(true, None)
    }

    #[test]
    fn a_node_without_a_relay_borrows_the_first_two() {
        let mut lending = nobody();
        let all = offers(&[1, 2, 3]);
        let steps = lending.choose(NOW, OwnRelays::None, &all, |_| false);
        assert_eq!(steps, [borrow(1), borrow(2)]);
        assert_eq!(lending.borrowed().count(), BORROWED_MAX);
        assert_eq!(lending.choose(NOW, OwnRelays::None, &all, |_| true), []);
        assert_eq!(lending.poll_timeout(), None);
    }

    #[test]
    fn a_node_with_a_relay_borrows_when_it_has_been_out_of_reach_for_a_while() {
        let mut lending = nobody();
        let all = offers(&[1]);
        assert_eq!(lending.choose(NOW, OwnRelays::Up, &all, |_| false), []);
        assert_eq!(lending.choose(NOW, OwnRelays::Down, &all, |_| false), []);
        let due = NOW + ALONE_FOR;
        assert_eq!(lending.poll_timeout(), Some(due));
        // It works again in between.
        assert_eq!(lending.choose(due, OwnRelays::Up, &all, |_| false), []);
        assert_eq!(lending.choose(due, OwnRelays::Down, &all, |_| false), []);
        let due = due + ALONE_FOR;
        let steps = lending.choose(due, OwnRelays::Down, &all, |_| false);
        assert_eq!(steps, [borrow(1)]);
        // It stays in use.
        assert_eq!(lending.choose(due, OwnRelays::Up, &all, |_| true), []);
        assert_eq!(lending.borrowed().collect::<Vec<_>>(), [id(1)]);
    }

    #[test]
    fn a_relay_that_is_not_lent_any_more_is_returned() {
        let mut lending = nobody();
        lending.choose(NOW, OwnRelays::None, &offers(&[1, 2, 3]), |_| true);
        let steps = lending.choose(NOW, OwnRelays::None, &offers(&[2, 3]), |_| true);
        assert_eq!(steps, [Step::Return(id(1)), borrow(3)]);
        let steps = lending.choose(NOW, OwnRelays::Up, &offers(&[3]), |_| true);
        assert_eq!(steps, [Step::Return(id(2))]);
    }

    #[test]
    fn a_relay_that_moves_is_used_at_its_new_address() {
        let mut lending = nobody();
        lending.choose(NOW, OwnRelays::None, &offers(&[1]), |_| true);
        let moved = Offers::from([(id(1), vec![addr(1, "b.example")])]);
        let steps = lending.choose(NOW, OwnRelays::Up, &moved, |_| true);
        assert_eq!(steps, [Step::Borrow(id(1), vec![addr(1, "b.example")])]);
    }

    #[test]
    fn a_silent_relay_makes_room_for_another_one() {
        let mut lending = nobody();
        let all = offers(&[1, 2, 3]);
        lending.choose(NOW, OwnRelays::None, &all, |_| false);
        let is_up = |it: DeviceId| it == id(2);
        assert_eq!(lending.choose(NOW, OwnRelays::None, &all, is_up), []);
        let due = NOW + BORROWED_DOWN_FOR;
        assert_eq!(lending.poll_timeout(), Some(due));
        let steps = lending.choose(due, OwnRelays::None, &all, is_up);
        assert_eq!(steps, [Step::Return(id(1)), borrow(3)]);
        // Without another one it is tried again and again.
        let few = offers(&[2, 3]);
        let later = due + BORROWED_DOWN_FOR;
        lending.choose(due, OwnRelays::None, &few, is_up);
        assert_eq!(lending.choose(later, OwnRelays::None, &few, is_up), []);
    }

    #[test]
    fn all_addresses_that_contacts_name_for_a_relay_count() {
        let (right, wrong) = (addr(1, "a.example"), addr(1, "b.example"));
        let lent = [wrong.clone(), right.clone(), wrong.clone(), addr(2, "me")];
        let offers = super::offers(&lent, Some(id(2)));
        assert_eq!(offers, Offers::from([(id(1), vec![wrong, right])]));
    }

    #[test]
    fn a_node_that_may_not_borrow_or_lends_borrows_nothing() {
        let mut lends = nobody();
        lends.lend(Some(addr(9, "me.example")));
        for mut lending in [Lending::new(false, None), lends] {
            let steps = lending.choose(NOW, OwnRelays::None, &offers(&[1]), |_| false);
            assert_eq!(steps, []);
        }
    }
}
