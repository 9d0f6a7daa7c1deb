//! Discovery of peers on the local network by mDNS.

use hobnob_protocol::PeerId;
use tokio::sync::mpsc;

use super::recent_peers::RecentPeers;
use crate::net::mdns;

/// The mDNS service, and the peers that it has discovered in this run.
#[derive(Default)]
pub(super) struct Discovery {
    mdns: Option<mdns::Discovery>,
    records: Option<mpsc::Receiver<mdns::RecordEvent>>,
    heard: RecentPeers,
}

impl Discovery {
    /// mDNS runs, and reports records through this channel.
    pub(super) fn start(
        &mut self,
        mdns: mdns::Discovery,
        records: mpsc::Receiver<mdns::RecordEvent>,
    ) {
        (self.mdns, self.records) = (Some(mdns), Some(records));
    }

    /// The next change of a record. Waits forever where mDNS does not run, or has failed.
    pub(super) async fn next(&mut self) -> mdns::RecordEvent {
        if let Some(records) = &mut self.records {
            if let Some(event) = records.recv().await {
                return event;
            }
            // The service has ended. It has logged why.
            self.records = None;
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
        self.heard.add(peer);
    }

    pub(super) fn has_heard(&self, peer: PeerId) -> bool {
        self.heard.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn records_arrive_until_the_service_ends() {
        let (records, queue) = mpsc::channel(1);
        let mut discovery = Discovery {
            records: Some(queue),
            ..Discovery::default()
        };
        let found = mdns::RecordEvent::Found(mdns::Found {
            peer: PeerId::from_bytes([1; 32]),
            addrs: Vec::new(),
        });
        records.send(found.clone()).await.expect("room");
        assert_eq!(discovery.next().await, found);
        drop(records);
        let nothing = tokio::time::timeout(std::time::Duration::from_millis(20), discovery.next());
        assert!(nothing.await.is_err(), "it waits");
    }
}
