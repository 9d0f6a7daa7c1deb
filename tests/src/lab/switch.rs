//! A switch: a bridge in its own namespace. It can be split in two, lose packets, or drop
//! everything on a port.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Shared;
use super::addresses::{Lease, Plan};
use super::machine::Machine;
use super::namespace::Namespace;
use super::wait::until;

/// A local network. Clones refer to the same switch.
#[derive(Debug, Clone)]
pub struct Switch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lab: Arc<Shared>,
    plan: Plan,
    namespace: Namespace,
    traffic: Mutex<Traffic>,
}

/// Which frames the switch drops, by the names of its ports.
#[derive(Debug, Default)]
struct Traffic {
    /// The ports of one half of a split switch. Empty if the switch is whole.
    apart: BTreeSet<String>,
    /// Ports that drop all frames, although their links are up.
    unplugged: BTreeSet<String>,
    /// Percent of the frames to a port that are dropped.
    loss: BTreeMap<String, u8>,
}

impl Switch {
    pub(super) fn new(lab: Arc<Shared>, plan: Plan) -> Self {
        let switch = Self(Arc::new(Inner {
            lab,
            plan,
            namespace: Namespace::new(),
            traffic: Mutex::default(),
        }));
        // A bridge without its own MAC address uses the lowest address of its ports, which changes
        // with the ports. Neighbours that cached the old address could no longer reach a router on
        // the bridge.
        let [a, b, c, d] = switch.0.namespace.pid().to_be_bytes();
        let address = format!("02:77:{a:02x}:{b:02x}:{c:02x}:{d:02x}");
        // Snooping would block multicast for the first seconds. STP and its forward delay would
        // block all frames.
        let kind = "type bridge mcast_snooping 0 stp_state 0 forward_delay 0";
        switch.0.namespace.ip(&format!(
            "link add hub address {address} {kind}\nlink set hub up"
        ));
        switch
    }

    /// A new machine on this switch.
    pub fn machine(&self, name: &str) -> Machine {
        let machine = Machine::new(&self.0.lab, name);
        machine.join(self);
        machine
    }

    /// Splits this switch in two: these machines on one side, all others on the other.
    pub fn cut(&self, machines: &[&Machine]) {
        let ports = machines
            .iter()
            .filter_map(|machine| machine.port_on(self))
            .collect();
        self.change(|traffic| traffic.apart = ports);
    }

    /// Undoes [`Switch::cut`].
    pub fn heal(&self) {
        self.cut(&[]);
    }

    /// An address for the card with this number, if the network has IPv4.
    pub(super) fn lease(&self, number: u8) -> Option<Lease> {
        self.0.plan.lease(number)
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    pub(super) fn lab(&self) -> &Arc<Shared> {
        &self.0.lab
    }

    /// Adds a network device to the bridge. The device must already be in this switch's namespace.
    pub(super) fn plug_in(&self, port: &str, lease: Option<Lease>) {
        self.0
            .namespace
            .ip(&format!("link set {port} master hub up"));
        if let (
            Plan::Internet,
            Some(Lease {
                router: Some(router),
                ..
            }),
        ) = (&self.0.plan, lease)
        {
            // Frames, including multicast, do not pass between lines. Packets pass through the
            // router.
            self.0.namespace.ip(&format!(
                "link set {port} type bridge_slave isolated on\naddr add {router}/24 dev hub"
            ));
        }
    }

    /// Makes the switch a router too, like a home router.
    pub(super) fn route(&self) {
        let namespace = &self.0.namespace;
        // A redirect would make neighbours send frames to each other directly, which the internet's
        // switch drops.
        namespace.set("ipv4/conf/all/send_redirects", 0);
        namespace.set("ipv4/conf/hub/send_redirects", 0);
        namespace.set("ipv4/ip_forward", 1);
        // The router's rules must not apply to frames between neighbours. Kernels without this
        // setting never apply them.
        namespace
            .tool(
                "sh",
                &[
                    "-c",
                    "f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 0 > $f",
                ],
                "",
            )
            .expect(0);
    }

    /// Waits until the port forwards frames.
    pub(super) fn wait_for_port(&self, port: &str) {
        until(&format!("port {port} forwards"), LINK_TIME, || {
            let shown = self
                .0
                .namespace
                .tool("bridge", &["link", "show", "dev", port], "");
            if shown.stdout.contains("state forwarding") {
                Ok(())
            } else {
                Err(shown.to_string())
            }
        });
    }

    pub(super) fn set_unplugged(&self, port: &str, unplugged: bool) {
        self.change(|traffic| {
            traffic.unplugged.remove(port);
            if unplugged {
                traffic.unplugged.insert(port.to_owned());
            }
        });
    }

    pub(super) fn set_loss(&self, port: &str, percent: u8) {
        self.change(|traffic| {
            traffic.loss.remove(port);
            if percent > 0 {
                traffic.loss.insert(port.to_owned(), percent);
            }
        });
    }

    pub(super) fn is(&self, other: &Switch) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Changes which frames are dropped. The change is atomic, because nftables replaces the whole
    /// rule set.
    fn change(&self, change: impl FnOnce(&mut Traffic)) {
        let mut traffic = self
            .0
            .traffic
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut traffic);
        self.0.namespace.nft(&traffic.rules());
    }
}

impl Traffic {
    /// The nftables rules. They drop frames at and between ports, so no machine sees an error or a
    /// link that is down.
    fn rules(&self) -> String {
        let (mut entering, mut between, mut leaving) =
            (String::new(), String::new(), String::new());
        if !self.apart.is_empty() {
            let apart = set(&self.apart);
            let _ = writeln!(
                between,
                "iifname {apart} oifname != {apart} drop\niifname != {apart} oifname {apart} drop"
            );
        }
        if !self.unplugged.is_empty() {
            let unplugged = set(&self.unplugged);
            let _ = writeln!(entering, "iifname {unplugged} drop");
            let _ = writeln!(leaving, "oifname {unplugged} drop");
        }
        for (port, percent) in &self.loss {
            let _ = writeln!(
                leaving,
                "oifname {port} ether type != arp numgen random mod 100 <= {} drop",
                percent - 1
            );
        }
        // If the switch is a router, frames to and from the router are not forwarded, but they
        // enter and leave.
        format!(
            "table bridge lab\ndelete table bridge lab\ntable bridge lab {{\n\
             chain entering {{ type filter hook prerouting priority 0\n{entering}}}\n\
             chain between {{ type filter hook forward priority 0\n{between}}}\n\
             chain leaving {{ type filter hook postrouting priority 0\n{leaving}}}\n}}\n"
        )
    }
}

fn set(ports: &BTreeSet<String>) -> String {
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    format!("{{ {} }}", ports.join(", "))
}

/// Time limit for a port to come up. The kernel reports some link changes only once a second.
pub(super) const LINK_TIME: Duration = Duration::from_secs(10);
