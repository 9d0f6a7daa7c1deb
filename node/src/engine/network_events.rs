//! Changes of the network, and peers that mDNS finds.

use std::time::Duration;

use hobnob_core::{paths, rendezvous, replica};
use tokio::sync::mpsc;
use tracing::debug;

use super::state::Engine;
use crate::net::interfaces::Interfaces;
use crate::net::mdns::{self, Found};

impl Engine {
    pub(crate) fn discover(&mut self, discovery: mdns::Discovery, found: mpsc::Receiver<Found>) {
        self.discovery.start(discovery, found);
    }

    pub(crate) fn watch_interfaces(&mut self, interfaces: Interfaces, every: Duration) {
        let (changed, changes) = mpsc::channel(4);
        self.tasks
            .spawn_until_stop(async move { interfaces.watch(every, changed).await });
        self.network.watch(changes);
    }

    /// mDNS found a peer.
    pub(super) fn found(&mut self, found: Found) {
        debug!(peer = ?found.peer, addrs = ?found.addrs, "found");
        if found.peer == self.me {
            self.look_for_copy(&found.addrs);
            return;
        }
        self.discovery.note_heard(found.peer);
        self.tell_paths(paths::Input::Found {
            peer: found.peer,
            addrs: found.addrs,
            alive: true,
        });
    }

    /// The addresses of this machine have changed.
    pub(super) fn network_changed(&mut self, interfaces: Interfaces) {
        debug!("the network changed");
        let now = self.clock.now();
        self.tell_replica(replica::Input::NetworksChanged(interfaces.networks()));
        self.sessions.network_changed(now);
        self.tell_paths(paths::Input::NetworkChanged);
        self.network.set_interfaces(interfaces);
        self.relays.wake();
        self.tell_rendezvous(rendezvous::Input::NetworkChanged);
        self.send_profile_to_all();
    }
}
