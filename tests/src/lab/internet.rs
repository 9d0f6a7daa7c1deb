//! A simulated internet: public addresses, one router without delay between them, and paths that
//! can be cut one by one.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use super::Shared;
use super::addresses::{Plan, host_of};
use super::machine::Machine;
use super::nat::Nat;
use super::site::Site;
use super::switch::Switch;

/// Machines with public addresses, and sites. Clones refer to the same internet.
#[derive(Debug, Clone)]
pub struct Internet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The router, and the lines of all machines and sites.
    switch: Switch,
    /// Pairs of networks without a path between them, the smaller first.
    cuts: Mutex<BTreeSet<[Ipv4Addr; 2]>>,
}

/// Something with a public address: a machine on the internet, or a site.
pub trait OnInternet {
    /// The current public address.
    fn public_ipv4(&self) -> Ipv4Addr;
}

impl Internet {
    pub(super) fn new(lab: &Arc<Shared>) -> Self {
        let switch = Switch::new(Arc::clone(lab), Plan::Internet);
        switch.route();
        switch.namespace().nft(STRAYS);
        Self(Arc::new(Inner {
            switch,
            cuts: Mutex::default(),
        }))
    }

    /// A new machine with a public address, without a NAT.
    pub fn machine(&self, name: &str) -> Machine {
        self.0.switch.machine(name)
    }

    /// Gives a machine of a site a public address, too.
    pub fn connects(&self, machine: &Machine) {
        machine.join(self.switch());
    }

    /// A new site behind a NAT of this kind. Its local network is 192.168.1.0/24, as in all sites.
    pub fn site(&self, nat: Nat) -> Site {
        self.site_with(nat, HOME)
    }

    /// Like [`Internet::site`], with this network of 24 bits.
    pub fn site_with(&self, nat: Nat, network: Ipv4Addr) -> Site {
        Site::new(self, nat, network)
    }

    /// Silently drops all packets between these two. Other paths are not affected.
    pub fn cut(&self, one: &impl OnInternet, other: &impl OnInternet) {
        self.change(|cuts| {
            cuts.insert(pair(one, other));
        });
    }

    /// Undoes [`Internet::cut`].
    pub fn heal(&self, one: &impl OnInternet, other: &impl OnInternet) {
        self.change(|cuts| {
            cuts.remove(&pair(one, other));
        });
    }

    /// The number of packets with a private address that left a site so far. The router drops them.
    pub fn strays(&self) -> u64 {
        let shown = self
            .switch()
            .namespace()
            .tool("nft", &["list", "counter", "ip", "strays", "strays"], "")
            .expect(0);
        let count = shown
            .stdout
            .split("packets ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok());
        count.unwrap_or_else(|| panic!("nft printed no count: {shown}"))
    }

    pub(super) fn switch(&self) -> &Switch {
        &self.0.switch
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<[Ipv4Addr; 2]>)) {
        let mut cuts = self.0.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut cuts);
        let mut rules =
            String::from("table ip cuts\ndelete table ip cuts\ntable ip cuts {\nchain forward {\n");
        rules.push_str("type filter hook forward priority filter\n");
        for [one, other] in cuts.iter() {
            let _ = writeln!(
                rules,
                "ip saddr {one}/24 ip daddr {other}/24 drop\nip saddr {other}/24 ip daddr {one}/24 drop"
            );
        }
        rules.push_str("}\n}\n");
        self.switch().namespace().nft(&rules);
    }
}

impl OnInternet for Machine {
    fn public_ipv4(&self) -> Ipv4Addr {
        self.ipv4().parse().expect("an address")
    }
}

fn pair(one: &impl OnInternet, other: &impl OnInternet) -> [Ipv4Addr; 2] {
    let mut pair = [
        host_of(one.public_ipv4(), 0),
        host_of(other.public_ipv4(), 0),
    ];
    pair.sort();
    pair
}

/// The local network of most homes.
const HOME: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 0);

/// Rules that drop and count packets with a private address.
const STRAYS: &str = "table ip strays {
    counter strays { }
    chain entering {
        type filter hook prerouting priority raw
        ip saddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } counter name strays drop
        ip daddr { 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 } counter name strays drop
    }
}";
