//! A bounded set of peers: one more replaces the peer that was added first.

use std::collections::{BTreeSet, VecDeque};

use hobnob_protocol::PeerId;

/// Maximum peers in one set.
pub(super) const RECENT_PEERS_MAX: usize = 10_000;

/// The last peers that were added.
#[derive(Debug, Default)]
pub(super) struct RecentPeers {
    peers: BTreeSet<PeerId>,
    /// The same peers, in the order in which they were added.
    order: VecDeque<PeerId>,
}

impl RecentPeers {
    pub(super) fn add(&mut self, peer: PeerId) {
        if !self.peers.insert(peer) {
            return;
        }
        self.order.push_back(peer);
        if self.order.len() > RECENT_PEERS_MAX {
            let first = self.order.pop_front().expect("it was not empty");
            self.peers.remove(&first);
        }
    }

    pub(super) fn remove(&mut self, peer: PeerId) {
        if self.peers.remove(&peer) {
            self.order.retain(|other| *other != peer);
        }
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.peers.contains(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: usize) -> PeerId {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        PeerId::from_bytes(id)
    }

    #[test]
    fn a_peer_is_in_the_set_until_it_is_removed() {
        let mut recent = RecentPeers::default();
        recent.add(peer(1));
        recent.add(peer(2));
        recent.remove(peer(1));
        assert!(!recent.contains(peer(1)) && recent.contains(peer(2)));
        assert_eq!(recent.order, [peer(2)]);
    }

    #[test]
    fn a_flood_of_peers_replaces_those_that_were_added_first() {
        let mut recent = RecentPeers::default();
        for n in 0..=RECENT_PEERS_MAX {
            recent.add(peer(n));
        }
        assert!(!recent.contains(peer(0)));
        assert!(recent.contains(peer(1)) && recent.contains(peer(RECENT_PEERS_MAX)));
        assert_eq!(recent.peers.len(), RECENT_PEERS_MAX);
    }
}
