//! Invitations by code: which peer has which number, and the guests who may ask for one.
//!
//! A number only finds the inviter. The relay never learns the words of a code. A guest is a peer
//! that the relay would not admit. It may open one channel, with the peer whose invitation it found.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_limits::{Failures, Network};
use hobnob_protocol::DeviceId;
use hobnob_protocol::invitation::{CodeNumber, INVITATION_SECONDS};
use hobnob_protocol::relay::{FoundInvitation, GUEST_STAYS};

/// Maximum guests at once.
pub const GUESTS_MAX: usize = 64;

/// Wrong numbers that one network may name in [`WRONG_NUMBERS_IN`].
pub const WRONG_NUMBERS_MAX: u32 = 5;

/// The time in which wrong numbers are counted.
pub const WRONG_NUMBERS_IN: Duration = Duration::from_secs(60 * 60);

/// Networks whose wrong numbers are counted.
const NETWORKS_MAX: usize = 20_000;

/// The invitations and guests at a relay.
#[derive(Debug)]
pub(super) struct Invitations {
    numbers: BTreeMap<CodeNumber, Registered>,
    guests: BTreeMap<DeviceId, Guest>,
    wrong: Failures<Network>,
}

#[derive(Debug)]
struct Registered {
    peer: DeviceId,
    until: Duration,
}

#[derive(Debug)]
struct Guest {
    until: Duration,
    /// The peer whose invitation it found.
    found: Option<DeviceId>,
}

impl Default for Invitations {
    fn default() -> Self {
        Self {
            numbers: BTreeMap::new(),
            guests: BTreeMap::new(),
            wrong: Failures::new(WRONG_NUMBERS_MAX, WRONG_NUMBERS_IN, NETWORKS_MAX),
        }
    }
}

impl Invitations {
    /// Replaces the numbers of a peer. A number that another peer has stays with it. A guest has
    /// none.
    pub(super) fn set(&mut self, now: Duration, peer: DeviceId, numbers: &[CodeNumber]) {
        self.numbers
            .retain(|number, it| now < it.until && (it.peer != peer || numbers.contains(number)));
        if self.guests.contains_key(&peer) {
            return;
        }
        for number in numbers {
            let until = now + Duration::from_secs(INVITATION_SECONDS);
            let new = Registered { peer, until };
            self.numbers.entry(*number).or_insert(new);
        }
    }

    /// A peer asks for an invitation. Wrong numbers count against its network.
    pub(super) fn find(
        &mut self,
        now: Duration,
        asker: DeviceId,
        network: Network,
        number: CodeNumber,
    ) -> FoundInvitation {
        if !self.wrong.may_try(now, network) {
            return FoundInvitation::TooOften;
        }
        let registered = self.numbers.get(&number).filter(|it| now < it.until);
        let Some(Registered { peer, .. }) = registered else {
            self.wrong.add(now, network);
            return FoundInvitation::NotHere;
        };
        if let Some(guest) = self.guests.get_mut(&asker) {
            // It has one channel, so the first peer that it finds is the only one.
            if *guest.found.get_or_insert(*peer) != *peer {
                return FoundInvitation::NotHere;
            }
        }
        FoundInvitation::At(*peer)
    }

    /// Whether another guest can be admitted.
    pub(super) fn has_room(&self) -> bool {
        self.guests.len() < GUESTS_MAX
    }

    /// A guest has registered.
    pub(super) fn admit(&mut self, now: Duration, peer: DeviceId) {
        let until = now + GUEST_STAYS;
        self.guests.insert(peer, Guest { until, found: None });
    }

    pub(super) fn is_guest(&self, peer: DeviceId) -> bool {
        self.guests.contains_key(&peer)
    }

    /// Whether two peers may have a channel. A guest may have one only with the peer that it found.
    pub(super) fn may_open(&self, one: DeviceId, other: DeviceId) -> bool {
        let may = |guest, with| {
            let guest: Option<&Guest> = self.guests.get(&guest);
            guest.is_none_or(|guest| guest.found == Some(with))
        };
        may(one, other) && may(other, one)
    }

    /// A peer has disconnected, or has a new connection.
    pub(super) fn left(&mut self, peer: DeviceId) {
        self.guests.remove(&peer);
        self.numbers.retain(|_, registered| registered.peer != peer);
    }

    /// When the time of the next guest is over.
    pub(super) fn next_end(&self) -> Option<Duration> {
        self.guests.values().map(|guest| guest.until).min()
    }

    /// The guests whose time is over.
    pub(super) fn over(&self, now: Duration) -> Vec<DeviceId> {
        let over = self.guests.iter().filter(|(_, guest)| guest.until <= now);
        over.map(|(peer, _)| *peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn peer(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    fn number(n: u64) -> CodeNumber {
        CodeNumber::random(n)
    }

    fn network(n: u8) -> Network {
        Network::of([11, 0, n, 1].into())
    }

    #[test]
    fn a_number_finds_its_peer_for_ten_minutes() {
        let mut invitations = Invitations::default();
        invitations.set(NOW, peer(1), &[number(1), number(2)]);
        // Somebody else cannot take the number over.
        invitations.set(NOW, peer(2), &[number(1)]);
        let mut find = |now, n| invitations.find(now, peer(3), network(1), number(n));
        assert_eq!(find(NOW, 1), FoundInvitation::At(peer(1)));
        let end = NOW + Duration::from_secs(INVITATION_SECONDS);
        assert_eq!(find(end, 1), FoundInvitation::NotHere);
        invitations.set(NOW, peer(1), &[number(2)]);
        let mut find = |n| invitations.find(NOW, peer(3), network(2), number(n));
        assert_eq!(find(1), FoundInvitation::NotHere);
        assert_eq!(find(2), FoundInvitation::At(peer(1)));
        invitations.left(peer(1));
        let found = invitations.find(NOW, peer(3), network(2), number(2));
        assert_eq!(found, FoundInvitation::NotHere);
    }

    #[test]
    fn a_network_names_five_wrong_numbers_an_hour() {
        let mut invitations = Invitations::default();
        invitations.set(NOW, peer(1), &[number(1)]);
        let mut find = |now, from, n| invitations.find(now, peer(3), network(from), number(n));
        for n in 0..10_000 {
            let expected = if n < u64::from(WRONG_NUMBERS_MAX) {
                FoundInvitation::NotHere
            } else {
                FoundInvitation::TooOften
            };
            assert_eq!(find(NOW, 1, 10 + n), expected);
        }
        assert_eq!(find(NOW, 1, 1), FoundInvitation::TooOften);
        assert_eq!(find(NOW, 2, 1), FoundInvitation::At(peer(1)));
    }

    #[test]
    fn a_guest_opens_one_channel_with_the_peer_that_it_found() {
        let mut invitations = Invitations::default();
        let (ann, bob, guest) = (peer(1), peer(2), peer(3));
        invitations.set(NOW, ann, &[number(1)]);
        invitations.set(NOW, bob, &[number(2)]);
        invitations.admit(NOW, guest);
        assert!(!invitations.may_open(guest, ann) && !invitations.may_open(ann, guest));
        let mut find = |n| invitations.find(NOW, guest, network(1), number(n));
        assert_eq!(find(1), FoundInvitation::At(ann));
        assert_eq!(find(2), FoundInvitation::NotHere);
        assert!(invitations.may_open(guest, ann) && invitations.may_open(ann, bob));
        assert!(!invitations.may_open(guest, bob) && !invitations.may_open(bob, guest));
        // A guest invites nobody.
        invitations.set(NOW, guest, &[number(3)]);
        let found = invitations.find(NOW, bob, network(2), number(3));
        assert_eq!(found, FoundInvitation::NotHere);
    }

    #[test]
    fn guests_leave_after_two_minutes() {
        let mut invitations = Invitations::default();
        for n in 0..GUESTS_MAX {
            assert!(invitations.has_room());
            invitations.admit(NOW, peer(u8::try_from(n).expect("few")));
        }
        assert!(!invitations.has_room());
        let end = NOW + GUEST_STAYS;
        assert_eq!(invitations.next_end(), Some(end));
        assert_eq!(invitations.over(end).len(), GUESTS_MAX);
        invitations.left(peer(0));
        assert!(invitations.has_room() && !invitations.is_guest(peer(0)));
    }
}
