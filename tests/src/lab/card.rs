//! A network card and its cable to a switch.

use super::addresses::{Lease, ipv6};
use super::namespace::Namespace;
use super::switch::{LINK_TIME, Switch};
use super::wait::until;

/// A card of a machine or a router. Its methods receive the namespace that contains it.
#[derive(Debug, Clone)]
pub(super) struct Card {
    /// Its name on the machine.
    name: String,
    /// The name of the cable's other end, a port of the switch.
    port: String,
    switch: Switch,
    /// The unique part of its addresses.
    number: u8,
    lease: Option<Lease>,
}

impl Card {
    /// Adds a new card to a machine's namespace, connects it to the switch, and waits until packets
    /// can pass.
    pub(super) fn connect(machine: &Namespace, name: &str, switch: &Switch, number: u8) -> Self {
        let lease = switch.lease(number);
        let card = Self {
            name: name.to_owned(),
            port: format!("port{number}"),
            switch: switch.clone(),
            number,
            lease,
        };
        let there = switch.namespace().pid();
        machine.ip(&format!(
            "link add {name} type veth peer name {} netns {there}",
            card.port
        ));
        card.bring_up(machine);
        card
    }

    /// Connects the cable to another switch. The card gets another address.
    pub(super) fn reconnect(&mut self, machine: &Namespace, switch: &Switch, number: u8) {
        // Moving the port to the other switch's namespace removes it from its bridge, and the card
        // loses its carrier.
        let there = switch.namespace().pid();
        self.switch
            .namespace()
            .ip(&format!("link set {} netns {there}", self.port));
        (self.switch, self.number, self.lease) = (switch.clone(), number, switch.lease(number));
        machine.ip(&format!("addr flush dev {}", self.name));
        self.bring_up(machine);
    }

    /// The address and the router, if the network has IPv4.
    pub(super) fn lease(&self) -> Option<Lease> {
        self.lease
    }

    /// The link-local address, without a zone.
    pub(super) fn ipv6(&self) -> String {
        ipv6(self.number)
    }

    pub(super) fn port(&self) -> &str {
        &self.port
    }

    pub(super) fn is_on(&self, switch: &Switch) -> bool {
        self.switch.is(switch)
    }

    /// Drops this percentage of the packets to this card. 0 drops none.
    pub(super) fn set_loss(&self, percent: u8) {
        self.switch.set_loss(&self.port, percent);
    }

    /// Drops all packets, although the link stays up.
    pub(super) fn set_unplugged(&self, unplugged: bool) {
        self.switch.set_unplugged(&self.port, unplugged);
    }

    /// Assigns the addresses, connects the port to the switch, and waits until both ends are up.
    fn bring_up(&self, machine: &Namespace) {
        let Self {
            name,
            port,
            switch,
            lease,
            ..
        } = self;
        switch.plug_in(port, *lease);
        // The kernel does not add an address itself, because duplicate address detection takes
        // seconds.
        let ipv6 = self.ipv6();
        let mut lines = format!(
            "link set {name} addrgenmode none\nlink set {name} up\naddr add {ipv6}/64 dev {name} nodad\n"
        );
        if let Some(Lease { address, router }) = lease {
            lines.push_str(&format!("addr add {address}/24 dev {name}\n"));
            let route =
                router.map(|router| format!("route replace default via {router} dev {name}\n"));
            lines.push_str(&route.unwrap_or_default());
        }
        machine.ip(&lines);
        until(&format!("{name} has a link"), LINK_TIME, || {
            let shown = machine.tool("ip", &["-oneline", "link", "show", "dev", name], "");
            if shown.stdout.contains("state UP") {
                Ok(())
            } else {
                Err(shown.to_string())
            }
        });
        switch.wait_for_port(port);
    }
}
