//! Peers whose last session broke, as opposed to those that said goodbye.

use std::collections::BTreeSet;

use hobnob_protocol::PeerId;

/// Peers that are remembered, at most. Further ones count as having said goodbye.
const LOST_MAX: usize = 10_000;

/// Peers whose last session broke.
#[derive(Debug, Default)]
pub(super) struct LostPeers(BTreeSet<PeerId>);

impl LostPeers {
    pub(super) fn add(&mut self, peer: PeerId) {
        if self.0.len() < LOST_MAX {
            self.0.insert(peer);
        }
    }

    /// A session with the peer is up again.
    pub(super) fn remove(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }

    pub(super) fn contains(&self, peer: PeerId) -> bool {
        self.0.contains(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_lost_until_it_is_back() {
        let ann = PeerId::from_bytes([1; 32]);
        let mut lost = LostPeers::default();
        lost.add(ann);
        assert!(lost.contains(ann));
        lost.remove(ann);
        assert!(!lost.contains(ann));
    }
}
