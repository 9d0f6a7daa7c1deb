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
    mdns: Option<mdns::Discovery>,
    found: Option<mpsc::Receiver<mdns::Found>>,
    heard: BTreeSet<PeerId>,
}

impl Discovery {
    /// mDNS runs, and reports peers through this channel.
    pub(super) fn start(&mut self, mdns: mdns::Discovery, found: mpsc::Receiver<mdns::Found>) {
        (self.mdns, self.found) = (Some(mdns), Some(found));
    }

    /// The next peer that mDNS finds. Waits forever where it does not run, or has failed.
    pub(super) async fn next(&mut self) -> mdns::Found {
        if let Some(found) = &mut self.found {
            if let Some(found) = found.recv().await {
                return found;
            }
            // The service has ended. It has logged why.
            self.found = None;
        }
        std::future::pending().await
    }

    /// Withdraws this node's announcement.
    pub(super) async fn stop(self) {
        if let Some(mdns) = self.mdns {
            mdns.stop().await;
        }
    }

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

    #[tokio::test]
    async fn found_peers_arrive_until_the_service_ends() {
        let (found, queue) = mpsc::channel(1);
        let mut discovery = Discovery {
            found: Some(queue),
            ..Discovery::default()
        };
        let peer = PeerId::from_bytes([1; 32]);
        let addrs = Vec::new();
        found.send(mdns::Found { peer, addrs }).await.expect("room");
        assert_eq!(discovery.next().await.peer, peer);
        drop(found);
        let nothing = tokio::time::timeout(std::time::Duration::from_millis(20), discovery.next());
        assert!(nothing.await.is_err(), "it waits");
    }

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
