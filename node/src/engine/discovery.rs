//! Discovery of peers on the local network by mDNS.

use std::collections::BTreeSet;

use hobnob_protocol::PeerId;
use tokio::sync::mpsc;

use crate::net::mdns;

/// Peers that are remembered, at most. Further ones count as not discovered.
const HEARD_MAX: usize = 10_000;

/// The mDNS service, and the peers that it has named in this run.
#[derive(Default)]
pub(super) struct Discovery {
    pub(super) mdns: Option<mdns::Discovery>,
    pub(super) found: Option<mpsc::Receiver<mdns::Found>>,
    heard: BTreeSet<PeerId>,
}

impl Discovery {
    pub(super) fn is_on(&self) -> bool {
        self.mdns.is_some()
    }

    pub(super) fn note_heard(&mut self, peer: PeerId) {
        if self.heard.len() < HEARD_MAX {
            self.heard.insert(peer);
        }
    }

    pub(super) fn has_heard(&self, peer: PeerId) -> bool {
        self.heard.contains(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_names_is_not_remembered() {
        let peer = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&n.to_be_bytes());
            PeerId::from_bytes(id)
        };
        let mut discovery = Discovery::default();
        for n in 0..=HEARD_MAX {
            discovery.note_heard(peer(n));
        }
        assert!(discovery.has_heard(peer(0)));
        assert!(!discovery.has_heard(peer(HEARD_MAX)));
    }
}
