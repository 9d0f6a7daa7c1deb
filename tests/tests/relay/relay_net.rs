//! The fixture of these tests: an internet with a relay, and nodes in sites of their own.

use hobnob_tests::lab::{Internet, Lab, Machine, MessageClient, Nat, Node, Relay, Site};

/// An internet with a relay.
pub(crate) struct RelayNet {
    pub(crate) internet: Internet,
    pub(crate) relay: Relay,
}

impl RelayNet {
    pub(crate) fn of(lab: &Lab) -> Self {
        let internet = lab.internet();
        let relay = internet.machine("relay").relay(&[]);
        Self { internet, relay }
    }

    /// Starts a node that uses the relay, alone in a new site behind such a NAT.
    pub(crate) fn alone_behind(&self, nat: Nat, nick: &str) -> (Site, Node) {
        let site = self.internet.site(nat);
        let node = self.up(&site.machine(nick), nick);
        (site, node)
    }

    /// Starts a node on this machine that uses the relay.
    pub(crate) fn up(&self, machine: &Machine, nick: &str) -> Node {
        machine.up(nick, &["--relay", &self.relay.name()])
    }
}

/// Submits a message for a peer to a running node. Waits only until the node has stored it.
pub(crate) fn submit(client: &mut MessageClient, to: &Node, text: &str) -> String {
    assert!(client.is_open(), "a running node accepts commands");
    client
        .submit(to.id().parse().expect("a peer id"), text)
        .expect("a running node accepts messages")
}
