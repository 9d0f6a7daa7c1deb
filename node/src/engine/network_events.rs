//! Changes of the network, and peers that mDNS finds.

use std::time::Duration;

use hobnob_core::{paths, presence, replica};
use tokio::sync::mpsc;
use tracing::debug;

use super::state::Engine;
use crate::net::interfaces::Interfaces;
use crate::net::mdns::{self, Found};

impl Engine {
    pub(crate) fn discover(&mut self, discovery: mdns::Discovery, found: mpsc::Receiver<Found>) {
        self.discovery.mdns = Some(discovery);
        self.discovery.found = Some(found);
    }

    pub(crate) fn watch_interfaces(&mut self, interfaces: Interfaces, every: Duration) {
        let (changed, changes) = mpsc::channel(4);
        self.tasks
            .spawn_until_stop(async move { interfaces.watch(every, changed).await });
        self.network.changes = Some(changes);
    }

    pub(super) fn found(&mut self, found: Option<Found>) {
        let Some(found) = found else {
            self.discovery.found = None;
            return;
        };
        debug!(peer = ?found.peer, addrs = ?found.addrs, "found");
        if found.peer == self.me {
            self.look_for_copy(&found.addrs);
            return;
        }
        self.discovery.note_heard(found.peer);
        self.paths.handle(
            self.clock.now(),
            paths::Input::Found {
                peer: found.peer,
                addrs: found.addrs,
                alive: true,
            },
        );
    }

    pub(super) fn network_changed(&mut self, interfaces: Option<Interfaces>) {
        let Some(interfaces) = interfaces else {
            self.network.changes = None;
            return;
        };
        debug!("the network changed");
        let now = self.clock.now();
        self.replica.handle(
            now,
            replica::Input::NetworkChanged(interfaces.fingerprint()),
        );
        self.sessions
            .presence
            .handle(now, presence::Input::NetworkChanged);
        self.paths.handle(now, paths::Input::NetworkChanged);
        self.network.interfaces = interfaces;
        self.relays_network_changed();
        self.tell_profile();
    }
}
