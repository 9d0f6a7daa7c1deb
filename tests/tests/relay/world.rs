//! What these tests begin with: an internet with a relay on it, and people in sites of their own.

use hobnob_tests::lab::{Internet, Lab, Machine, MessageClient, Nat, Node, Relay, Site};

/// An internet with a relay.
pub(crate) struct World {
    pub(crate) net: Internet,
    pub(crate) relay: Relay,
}

impl World {
    pub(crate) fn of(lab: &Lab) -> Self {
        let net = lab.internet();
        let relay = net.machine("relay").relay(&[]);
        Self { net, relay }
    }

    /// Somebody who is alone in a new site behind such a NAT, and uses the relay.
    pub(crate) fn alone_behind(&self, nat: Nat, nick: &str) -> (Site, Node) {
        let site = self.net.site(nat);
        let node = self.up(&site.machine(nick), nick);
        (site, node)
    }

    /// Starts a node on this machine that uses the relay.
    pub(crate) fn up(&self, machine: &Machine, nick: &str) -> Node {
        machine.up(nick, &["--relay", &self.relay.name()])
    }
}

/// Gives a node that is up a message for a peer, over an open line to it, without waiting for more
/// than its disk.
pub(crate) fn submit(client: &mut MessageClient, to: &Node, text: &str) -> String {
    assert!(client.is_open(), "a node that is up takes commands");
    client
        .submit(to.id().parse().expect("a peer id"), text)
        .expect("a node that is up takes messages")
}
