//! Discovery of peers on the local network by mDNS.

use std::time::Duration;

use hobnob_core::diagnosis::{Mdns, MdnsFault};
use hobnob_protocol::PersonId;
use tokio::sync::mpsc;

use super::recent_peers::RecentPeers;
use crate::net::interfaces::Interfaces;
use crate::net::mdns::{self, MdnsError, Own, RecordEvent};

/// How long a start that failed is not repeated, unless the network changes.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Maximum records that wait for the engine.
const RECORD_EVENTS_MAX: usize = 256;

/// The mDNS service, and the peers that it has discovered in this run.
#[derive(Default)]
pub(super) struct Discovery {
    /// The data that this node announces. `None` if the user has disabled discovery.
    own: Option<Own>,
    service: Service,
    /// When to start the service if it does not run.
    start_at: Duration,
    heard: RecentPeers,
}

/// Whether the service runs.
#[derive(Default)]
enum Service {
    #[default]
    NotStarted,
    Failed(MdnsFault),
    Runs {
        mdns: mdns::Discovery,
        records: mpsc::Receiver<RecordEvent>,
    },
}

impl Discovery {
    /// The service runs from now on, announces this, and is started again when it fails.
    pub(super) fn enable(&mut self, own: Own) {
        self.own = Some(own);
    }

    /// When to call [`Discovery::start`].
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let runs = matches!(self.service, Service::Runs { .. });
        (self.own.is_some() && !runs).then_some(self.start_at)
    }

    /// Starts the service. Returns the error of the first of several failures.
    pub(super) fn start(&mut self, now: Duration, interfaces: &Interfaces) -> Option<MdnsError> {
        let own = self.own.as_ref()?;
        self.start_at = now + RETRY_AFTER;
        let (events, records) = mpsc::channel(RECORD_EVENTS_MAX);
        let (service, error) = match mdns::Discovery::start(own, interfaces, events) {
            Ok(mdns) => (Service::Runs { mdns, records }, None),
            Err(error) => (Service::Failed(MdnsFault::from(&error)), Some(error)),
        };
        let failed_before = matches!(self.service, Service::Failed(_));
        self.service = service;
        error.filter(|_| !failed_before)
    }

    /// The machine's interfaces have changed. A service that failed is started at once.
    pub(super) fn network_changed(&mut self, now: Duration, interfaces: &Interfaces) {
        match &self.service {
            Service::Runs { mdns, .. } => mdns.set_interfaces(interfaces),
            Service::NotStarted | Service::Failed(_) => self.start_at = now,
        }
    }

    /// Searches once more, and again by and by: this machine may have moved.
    pub(super) fn search(&self) {
        if let Service::Runs { mdns, .. } = &self.service {
            mdns.search();
        }
    }

    /// The next change of a record. Waits forever while the service does not run.
    pub(super) async fn next(&mut self) -> RecordEvent {
        if let Service::Runs { records, .. } = &mut self.service {
            if let Some(event) = records.recv().await {
                return event;
            }
            // The service has ended. It has logged why. Its next start is `RETRY_AFTER` later than
            // the last one at the earliest.
            self.service = Service::Failed(MdnsFault::Thread);
        }
        std::future::pending().await
    }

    /// Withdraws this node's announcement.
    pub(super) async fn stop(self) {
        if let Service::Runs { mdns, .. } = self.service {
            mdns.stop().await;
        }
    }

    pub(super) fn is_on(&self) -> bool {
        matches!(self.service, Service::Runs { .. })
    }

    /// The state of the service, for the diagnosis.
    pub(super) fn evidence(&self) -> Mdns {
        match (&self.own, &self.service) {
            (None, _) => Mdns::Off,
            (Some(_), Service::Failed(fault)) => Mdns::Failed(*fault),
            (Some(_), Service::NotStarted | Service::Runs { .. }) => Mdns::On,
        }
    }

    pub(super) fn note_heard(&mut self, peer: PersonId) {
        self.heard.add(peer);
    }

    pub(super) fn has_heard(&self, peer: PersonId) -> bool {
        self.heard.contains(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Own {
        Own {
            id: PersonId::from_bytes([1; 32]).only_device(),
            run: 1,
            bound: ([127, 0, 0, 1], 9).into(),
        }
    }

    #[test]
    fn a_service_that_failed_is_started_again_and_at_once_when_the_network_changes() {
        let mut discovery = Discovery::default();
        assert_eq!(discovery.poll_timeout(), None, "the user has disabled it");
        assert_eq!(discovery.evidence(), Mdns::Off);
        discovery.enable(own());
        assert_eq!(discovery.poll_timeout(), Some(Duration::ZERO));
        discovery.start_at = RETRY_AFTER;
        discovery.service = Service::Failed(MdnsFault::PortHeld);
        assert_eq!(discovery.evidence(), Mdns::Failed(MdnsFault::PortHeld));
        assert_eq!(discovery.poll_timeout(), Some(RETRY_AFTER));
        let now = Duration::from_secs(2);
        discovery.network_changed(now, &Interfaces::default());
        assert_eq!(discovery.poll_timeout(), Some(now));
    }
}
