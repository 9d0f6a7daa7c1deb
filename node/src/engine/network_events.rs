//! Changes of the network, and addresses that mDNS or peers name.

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_core::address_checks::{self, Source};
use hobnob_core::diagnosis::PortMapping;
use hobnob_core::known_addrs::Origin;
use hobnob_core::{paths, rendezvous, replica};
use hobnob_protocol::DeviceId;
use hobnob_protocol::datagram::AddressCheck;
use hobnob_protocol::frame::HELLO_ADDRS_MAX;
use hobnob_transport::addr::canonical;
use tokio::sync::mpsc;
use tracing::debug;

use super::dialback_requests::new_token;
use super::internal::Internal;
use super::state::Engine;
use crate::api::NoticeReason;
use crate::net::demux::SideDatagram;
use crate::net::interfaces::Interfaces;
use crate::net::mdns::{Own, RecordEvent};
use crate::net::port_mapping;

impl Engine {
    /// Announces this run of the node to the machines on its networks, and looks for others.
    pub(crate) fn discover(&mut self, run: u64) {
        self.discovery.enable(Own {
            id: self.device,
            run,
            bound: self.network.bound_addr(),
        });
        self.start_discovery();
    }

    pub(super) fn start_discovery(&mut self) {
        let now = self.clock.now().mono;
        if let Some(error) = self.discovery.start(now, self.network.interfaces()) {
            self.notice(NoticeReason::NoDiscovery {
                why: error.to_string(),
            });
        }
    }

    /// Asks the router for a port while the node runs. The task removes the port at the end.
    pub(crate) fn map_port(&self) {
        let reports = self.tasks.reporter();
        // An engine that has ended needs no report.
        let report = move |answer| drop(reports.send(Internal::PortMapping(answer)));
        self.tasks.spawn(port_mapping::keep_mapped(
            self.network.bound_addr(),
            self.router_port.fixed(),
            self.router_port.network_changed(),
            report,
            self.tasks.stopping(),
        ));
    }

    /// The router maps a port, or does so no longer.
    pub(super) fn router_answered(&mut self, answer: PortMapping) {
        if self.router_port.answered(answer) {
            self.tell_rendezvous(rendezvous::Input::NetworkChanged);
            self.send_profile_to_all();
        }
    }

    /// The addresses at which peers beyond the router may reach this node.
    pub(super) fn router_addrs(&self) -> Vec<SocketAddr> {
        self.router_port.addrs(self.relays.observed())
    }

    /// The addresses at which this node listens, and those at its router.
    pub(super) fn reachable_addrs(&self) -> Vec<SocketAddr> {
        let mut addrs = self.network.listening_addrs();
        for addr in self.router_addrs() {
            // Beyond the router, only the router's address is of use.
            addrs.truncate(HELLO_ADDRS_MAX - 1);
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        addrs
    }

    pub(crate) fn watch_interfaces(&mut self, interfaces: Interfaces, every: Duration) {
        let (changed, changes) = mpsc::channel(4);
        self.tasks
            .spawn_until_stop(async move { interfaces.watch(every, changed).await });
        self.network.watch(changes);
    }

    /// An mDNS record appeared, changed or expired. Anybody on the link can forge a record, so each
    /// address is checked before it is dialed. That the record names this node's own id is no
    /// exception: a copy of this node is looked for only where a node with this id answers.
    pub(super) fn record_event(&mut self, event: RecordEvent) {
        debug!(?event, "mDNS");
        match event {
            RecordEvent::Found(found) => {
                for addr in found.addrs {
                    if self.network.may_be_neighbour(addr) {
                        self.claim(found.peer, addr, Source::Record);
                    }
                }
            }
            RecordEvent::Expired(expired) => {
                for addr in expired.addrs {
                    self.address_checks.withdraw(expired.peer, canonical(addr));
                }
            }
        }
    }

    /// A peer is claimed to be at an address.
    pub(super) fn claim(&mut self, peer: DeviceId, addr: SocketAddr, source: Source) {
        let now = self.clock.now();
        self.address_checks
            .claim(now, peer, canonical(addr), source);
    }

    pub(super) fn address_checks_output(&mut self, output: address_checks::Output) {
        match output {
            address_checks::Output::Check(to, token) => {
                let question = AddressCheck::Question(token);
                self.network.check(None, to, question);
            }
            address_checks::Output::Answers(peer, addr) if peer == self.device => {
                self.look_for_copy(addr);
            }
            address_checks::Output::Answers(peer, addr) => self.answers(peer, addr),
        }
    }

    /// A peer answers at an address that it was claimed to be at.
    fn answers(&mut self, peer: DeviceId, addr: SocketAddr) {
        debug!(?peer, %addr, "it answers");
        if self.network.interfaces().is_on_link(addr.ip()) {
            self.discovery.note_heard(peer.person());
        }
        // A session that sleeps may be one with an earlier run of the peer.
        self.sessions.check(peer, self.clock.now());
        self.tell_paths(paths::Input::Found {
            peer,
            addrs: vec![addr],
            origin: Origin::Checked,
            alive: true,
        });
    }

    /// Somebody asks which node is here, or answers this node's question.
    pub(super) fn address_check(&mut self, datagram: &SideDatagram, check: AddressCheck) {
        match check {
            AddressCheck::Question(token) => {
                // The question may have been sent to many machines. Only a host's address can
                // be the source of the answer.
                let asked = datagram.to;
                let from = asked.filter(|ip| self.network.interfaces().has(*ip));
                let answer = AddressCheck::answer(token, self.device);
                self.network.check(from, datagram.from, answer);
            }
            AddressCheck::Answer(..) => {
                self.address_checks
                    .answered(canonical(datagram.from), check);
            }
        }
    }

    /// Looks which sessions may sleep, and whether this machine was suspended. It may have woken on
    /// another network, or while its peers had given it up.
    pub(super) fn watch_sessions(&mut self) {
        let now = self.clock.now();
        let (network, apps) = (&self.network, &self.apps);
        let on_link = |addr| network.is_on_own_link(addr);
        self.sessions.ask_to_be_reached(on_link, new_token, now);
        let in_use = |id| apps.has_streams(id);
        if self.sessions.watch_traffic(on_link, in_use, now) {
            debug!("this machine was suspended");
            self.discovery.search();
            self.tell_paths(paths::Input::NetworkChanged);
        }
    }

    /// The addresses of this machine have changed.
    pub(super) fn network_changed(&mut self, interfaces: Interfaces) {
        debug!("the network changed");
        let now = self.clock.now();
        self.tell_replica(replica::Input::NetworksChanged(interfaces.networks()));
        self.sessions.network_changed(now);
        self.tell_paths(paths::Input::NetworkChanged);
        self.discovery.network_changed(now.mono, &interfaces);
        self.network.set_interfaces(interfaces);
        self.sessions.links_changed(now);
        self.router_port.note_network_change();
        self.relays.wake();
        self.tell_rendezvous(rendezvous::Input::NetworkChanged);
        self.send_profile_to_all();
    }
}
