//! A site: a local network behind a router with a NAT and one public address, like a home or an
//! office.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::addresses::{Lease, Plan, ROUTER, host_of};
use super::card::Card;
use super::internet::{Internet, OnInternet};
use super::machine::Machine;
use super::mapping_router::{MappingRouter, Protocols};
use super::nat::{FORGETS_AFTER, Filter, Nat, Translation, WAN, firewall};
use super::switch::Switch;

/// Machines that share a public address. Clones refer to the same site.
#[derive(Debug, Clone)]
pub struct Site(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The local network. Its namespace is also the router's.
    lan: Switch,
    line: Card,
    translation: Mutex<Translation>,
}

impl Site {
    pub(super) fn new(internet: &Internet, nat: Nat, network: Ipv4Addr) -> Self {
        Self::on(internet.switch(), nat, network)
    }

    /// A site whose router is a machine of this one, as a home is behind its provider's NAT.
    pub fn site(&self, nat: Nat, network: Ipv4Addr) -> Self {
        Self::on(&self.0.lan, nat, network)
    }

    /// A site whose router is on this network.
    fn on(outside: &Switch, nat: Nat, network: Ipv4Addr) -> Self {
        let lab = outside.lab();
        let lan = lab.switch(Plan::site(network));
        let router = lan.namespace();
        router.ip(&format!("addr add {}/24 dev hub", host_of(network, ROUTER)));
        lan.route();
        let line = Card::connect(router, WAN, outside, lab.number());
        let Lease {
            address: public, ..
        } = line.lease().expect("the internet has IPv4");
        let translation = Mutex::new(Translation {
            nat,
            public,
            forgets_after: FORGETS_AFTER,
            generation: 1,
        });
        let site = Self(Arc::new(Inner {
            lan,
            line,
            translation,
        }));
        site.retranslate(|_| {});
        site.filter(Filter::Open);
        site
    }

    /// A new machine on the site's local network.
    pub fn machine(&self, name: &str) -> Machine {
        self.0.lan.machine(name)
    }

    /// The router reaches another network through a machine of the site's local network.
    pub fn route(&self, network: &str, via: &Machine) {
        let via = via.ipv4();
        self.0
            .lan
            .namespace()
            .ip(&format!("route add {network} via {via}"));
    }

    /// The site's local network, for machines that move or have two networks.
    pub fn lan(&self) -> &Switch {
        &self.0.lan
    }

    /// The router loses all mappings, like after a power failure. The next packet of each socket
    /// uses another public port.
    pub fn rebind(&self) {
        self.retranslate(|_| {});
    }

    /// The site gets another public address, as some providers do each night. The router loses all
    /// mappings.
    pub fn renumber(&self) {
        let router = self.0.lan.namespace();
        let old = self.public_ipv4();
        let new = host_of(
            old,
            old.octets()[3]
                .checked_add(1)
                .filter(|&host| host < u8::MAX)
                .expect("fewer than 250 addresses"),
        );
        let Lease {
            router: gateway, ..
        } = self.0.line.lease().expect("the internet has IPv4");
        let gateway = gateway.expect("the internet has routers");
        router.ip(&format!(
            "addr add {new}/24 dev {WAN}\naddr del {old}/24 dev {WAN}\naddr replace {new}/24 dev {WAN}\n\
             route replace default via {gateway} dev {WAN}"
        ));
        self.retranslate(|translation| translation.public = new);
    }

    /// Sets the lifetime of unused mappings, in whole seconds (default: 30). The router also loses
    /// all current mappings.
    pub fn forgets_after(&self, time: Duration) {
        assert!(
            time.as_secs() > 0 && time.subsec_nanos() == 0,
            "the kernel counts whole seconds"
        );
        self.retranslate(|translation| translation.forgets_after = time);
    }

    /// Starts `miniupnpd` on the router, which then maps ports by these protocols.
    pub fn maps_ports(&self, protocols: Protocols) -> MappingRouter {
        MappingRouter::start(&self.0.lan, protocols)
    }

    /// Runs a function in the router's network, as a program on the router.
    pub fn on_router<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.0.lan.namespace().inside(act)
    }

    /// The router lets only this through.
    pub fn filter(&self, filter: Filter) {
        let drops_unknown = self.translation().nat != Nat::Unfiltered;
        let rules = firewall(filter, drops_unknown);
        self.0.lan.namespace().nft(&rules);
    }

    /// The router drops UDP in both directions. TCP passes.
    pub fn block_udp(&self) {
        self.filter(Filter::UdpDropped);
    }

    /// Undoes [`Site::block_udp`].
    pub fn allow_udp(&self) {
        self.filter(Filter::Open);
    }

    /// Drops this percentage of the packets from the internet. 0 drops none.
    pub fn loss(&self, percent: u8) {
        self.0.line.set_loss(percent);
    }

    /// Drops all packets on the line to the internet, while the link stays up.
    pub fn unplug(&self) {
        self.0.line.set_unplugged(true);
    }

    /// Undoes [`Site::unplug`].
    pub fn plug(&self) {
        self.0.line.set_unplugged(false);
    }

    fn translation(&self) -> MutexGuard<'_, Translation> {
        let locked = self.0.translation.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the mapping rules. The router loses all mappings.
    fn retranslate(&self, change: impl FnOnce(&mut Translation)) {
        let mut translation = self.translation();
        change(&mut translation);
        translation.generation += 1;
        let router = self.0.lan.namespace();
        for timeout in [
            "nf_conntrack_udp_timeout",
            "nf_conntrack_udp_timeout_stream",
        ] {
            router.set(
                &format!("netfilter/{timeout}"),
                translation.forgets_after.as_secs(),
            );
        }
        router.nft(&translation.rules());
    }
}

impl OnInternet for Site {
    fn public_ipv4(&self) -> Ipv4Addr {
        self.translation().public
    }
}
