//! What is around: the networks this machine is on, and the peers that mDNS finds there.

use super::Engine;
use crate::net::interfaces::Interfaces;
use crate::net::mdns::Discovery;
use crate::net::mdns::Found;
use hobnob_core::paths;
use hobnob_core::presence;
use hobnob_core::replica;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::debug;

impl Engine {
    pub(crate) fn discover(&mut self, discovery: Discovery, found: mpsc::Receiver<Found>) {
        self.discovery = Some(discovery);
        self.found = Some(found);
    }

    pub(crate) fn watch_interfaces(&mut self, interfaces: Interfaces, every: Duration) {
        let (changed, changes) = mpsc::channel(4);
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = interfaces.watch(every, changed) => {}
                () = stopping.cancelled() => {}
            }
        });
        self.network = Some(changes);
    }

    pub(super) fn found(&mut self, found: Option<Found>) {
        let Some(found) = found else {
            self.found = None;
            return;
        };
        debug!(peer = ?found.peer, addrs = ?found.addrs, "found");
        if found.peer == self.me {
            self.look_for_copy(&found.addrs);
            return;
        }
        self.noted.heard(found.peer);
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
            self.network = None;
            return;
        };
        debug!("the network changed");
        let now = self.clock.now();
        self.replica.handle(
            now,
            replica::Input::NetworkChanged(interfaces.fingerprint()),
        );
        self.presence.handle(now, presence::Input::NetworkChanged);
        self.paths.handle(now, paths::Input::NetworkChanged);
        self.interfaces = interfaces;
        self.relays_network_changed();
        self.tell_profile();
    }
}
