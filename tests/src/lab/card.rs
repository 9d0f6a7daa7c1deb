//! A network card, and the cable from it to a switch.

use super::addresses::{Lease, ipv6};
use super::namespace::Namespace;
use super::switch::{LINK_TIME, Switch};
use super::wait::until;

/// A card of a machine or a router. It knows of the namespace it is in only while it is plugged in.
#[derive(Debug, Clone)]
pub(super) struct Card {
    /// Its name on the machine.
    name: String,
    /// The name of the cable's other end, on the switch.
    port: String,
    switch: Switch,
    /// The part of its addresses that nothing else in the lab has.
    number: u8,
    lease: Option<Lease>,
}

impl Card {
    /// Puts a new card into a machine's namespace, connects it to the switch, and waits until
    /// packets can pass.
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

    /// Plugs the cable in elsewhere, which gives the card another address.
    pub(super) fn reconnect(&mut self, machine: &Namespace, switch: &Switch, number: u8) {
        // The cable's end loses its bridge, and the card its carrier, by going to the other
        // switch's namespace.
        let there = switch.namespace().pid();
        self.switch
            .namespace()
            .ip(&format!("link set {} netns {there}", self.port));
        (self.switch, self.number, self.lease) = (switch.clone(), number, switch.lease(number));
        machine.ip(&format!("addr flush dev {}", self.name));
        self.bring_up(machine);
    }

    /// The address and the router, where there is IPv4.
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

    /// Loses this share of the packets to this card; 0 ends that.
    pub(super) fn set_loss(&self, percent: u8) {
        self.switch.set_loss(&self.port, percent);
    }

    /// Whether the cable is dead, though its lights are on.
    pub(super) fn set_unplugged(&self, unplugged: bool) {
        self.switch.set_unplugged(&self.port, unplugged);
    }

    /// Gives the card its addresses, connects the cable's other end, and waits until both ends are
    /// up.
    fn bring_up(&self, machine: &Namespace) {
        let Self {
            name,
            port,
            switch,
            lease,
            ..
        } = self;
        switch.plug_in(port, *lease);
        // The kernel makes no address of its own, so that none has to be waited for (duplicate
        // address detection takes seconds).
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
