//! Which peers reported that they have all of an offer. The next download of it can use them.

use std::collections::{BTreeMap, VecDeque};

use hobnob_protocol::{DeviceId, OfferId};

/// Maximum number of offers. A further one replaces the smallest id. Its peers report again in
/// their next session.
const OFFERS_MAX: usize = 1024;

/// Maximum peers of one offer. One more replaces the one that was noted first.
const PEERS_MAX: usize = 64;

/// The known sources of each offer, beside its author.
#[derive(Debug, Default)]
pub(super) struct KnownSources(BTreeMap<OfferId, VecDeque<DeviceId>>);

impl KnownSources {
    pub(super) fn add(&mut self, id: OfferId, peer: DeviceId) {
        if self.0.len() >= OFFERS_MAX && !self.0.contains_key(&id) {
            self.0.pop_first();
        }
        let peers = self.0.entry(id).or_default();
        if peers.contains(&peer) {
            return;
        }
        if peers.len() >= PEERS_MAX {
            peers.pop_front();
        }
        peers.push_back(peer);
    }

    pub(super) fn of(&self, id: OfferId) -> impl Iterator<Item = DeviceId> {
        self.0.get(&id).into_iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ConversationId, LogId, LogName};

    use super::*;

    fn peer(n: u16) -> DeviceId {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        DeviceId::from_bytes(bytes)
    }

    fn offer(seq: u64) -> OfferId {
        let name = LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: peer(0).person(),
            device: peer(0),
            log: LogId(1),
        };
        OfferId { name, seq }
    }

    #[test]
    fn a_peer_is_a_source_of_what_it_reported() {
        let mut sources = KnownSources::default();
        sources.add(offer(1), peer(7));
        sources.add(offer(1), peer(8));
        assert!(sources.of(offer(1)).eq([peer(7), peer(8)]));
        assert_eq!(sources.of(offer(2)).count(), 0);
    }

    #[test]
    fn peers_cannot_fill_the_memory() {
        let mut sources = KnownSources::default();
        for n in 0..100 {
            sources.add(offer(0), peer(n));
        }
        assert_eq!(sources.of(offer(0)).count(), PEERS_MAX);
        assert!(sources.of(offer(0)).any(|source| source == peer(99)));
        for seq in 0..2_000 {
            sources.add(offer(seq), peer(1));
        }
        assert_eq!(sources.0.len(), OFFERS_MAX);
        assert!(
            sources.of(offer(1_999)).eq([peer(1)]),
            "the newest is known"
        );
    }
}
