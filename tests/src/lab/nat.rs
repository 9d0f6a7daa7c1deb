//! What a site's router does to packets, as rules of nftables. In the words of RFC 4787.
//!
//! Linux itself has a NAT of one kind only: it looks for a public port for each destination, and
//! lets back in what belongs to a flow that it knows. The other kinds come from three tables that
//! the rules keep: which public port an inner socket has, which inner socket a public port has, and
//! which addresses a public port has sent to.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The kinds of NAT, by how they map inner sockets to public ports, and by whom they let in.
///
/// All give an inner socket a random public port, and none passes packets from its inside to its
/// own public address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// One public port for an inner socket, whatever the destination; anybody is let in.
    FullCone,
    /// As full cone, but lets in only addresses that this socket has sent to, from any port there.
    AddressRestricted,
    /// As address-restricted, but lets in only the very ports that this socket has sent to.
    PortRestricted,
    /// A new random public port for every destination, address or port; only that destination is
    /// let in.
    Symmetric,
}

/// All that the mapping rules depend on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Translation {
    pub(super) nat: Nat,
    /// The public address.
    pub(super) public: Ipv4Addr,
    /// A mapping that nothing has been sent over for this long is forgotten.
    pub(super) forgets_after: Duration,
    /// How often the router has forgotten all. Flows that the kernel knows from another generation
    /// it no longer finds.
    pub(super) generation: u16,
}

impl Nat {
    /// All four.
    pub const ALL: [Self; 4] = [
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
    ];

    /// Whether sockets behind this NAT and behind that one can come to talk directly, with knocks
    /// from both sides at once.
    pub fn can_be_punched_with(self, other: Self) -> bool {
        // A port that is new for each destination can't be told to the other side beforehand: that
        // other side must let in any port.
        match (self, other) {
            (Self::Symmetric, Self::Symmetric | Self::PortRestricted)
            | (Self::PortRestricted, Self::Symmetric) => false,
            (Self::FullCone | Self::AddressRestricted, _)
            | (_, Self::FullCone | Self::AddressRestricted) => true,
            (Self::PortRestricted, Self::PortRestricted) => true,
        }
    }
}

impl Translation {
    /// The table of rules, which takes the place of an older one; what that one had learned goes
    /// with it.
    pub(super) fn rules(&self) -> String {
        let Self {
            public, generation, ..
        } = self;
        let timeout = format!(
            "flags dynamic,timeout; size 65535; timeout {}s;",
            self.forgets_after.as_secs()
        );
        let mut rules = format!(
            "table ip nat\ndelete table ip nat\ntable ip nat {{\n\
             map ports {{ type ipv4_addr . inet_service : inet_service; {timeout} }}\n\
             map sockets {{ type inet_service : ipv4_addr . inet_service; {timeout} }}\n\
             set heard {{ type inet_service . ipv4_addr; {timeout} }}\n\
             chain generation {{ type filter hook prerouting priority raw; ct zone set {generation}; }}\n"
        );
        match self.nat {
            Nat::Symmetric => {
                let _ = writeln!(
                    rules,
                    "chain source {{ {SOURCE} oifname {WAN} snat to {public} random,fully-random; }}"
                );
            }
            Nat::PortRestricted => self.one_port_per_socket(&mut rules),
            Nat::AddressRestricted => {
                self.one_port_per_socket(&mut rules);
                self.let_in(&mut rules, "udp dport . ip saddr @heard");
            }
            Nat::FullCone => {
                self.one_port_per_socket(&mut rules);
                self.let_in(&mut rules, "");
            }
        }
        rules.push_str("}\n");
        rules
    }

    /// Endpoint-independent mapping: a socket gets a public port with its first packet, and each
    /// further one keeps it longer.
    fn one_port_per_socket(&self, rules: &mut String) {
        let Self { public, .. } = self;
        let _ = writeln!(
            rules,
            "chain mapping {{ type filter hook postrouting priority srcnat - 1\n\
             {OUT} update @ports {{ ip saddr . udp sport : {ANY_PORT} }}\n}}\n\
             chain source {{ {SOURCE}\n\
             {OUT} snat to {public} : ip saddr . udp sport map @ports\n\
             oifname {WAN} snat to {public}\n}}"
        );
    }

    /// Lets in packets to a public port that are of no known flow, if they fit.
    fn let_in(&self, rules: &mut String, fits: &str) {
        let Self { public, .. } = self;
        // By then the source is the public one. The inner one is where the flow began or, if it
        // came from outside, where it led.
        let _ = writeln!(
            rules,
            "chain learn {{ type filter hook postrouting priority srcnat + 1\n\
             {OUT} ct direction original update @sockets {{ udp sport : ct original ip saddr . ct original proto-src }}\n\
             {OUT} ct direction reply update @sockets {{ udp sport : ct reply ip saddr . ct reply proto-src }}\n\
             {OUT} update @heard {{ udp sport . ip daddr }}\n}}\n\
             chain enter {{ type nat hook prerouting priority dstnat\n\
             iifname {WAN} ip daddr {public} meta l4proto udp {fits} dnat to udp dport map @sockets\n}}"
        );
    }
}

/// The rules that keep strangers, and UDP if the site does not want it, from passing.
pub(super) fn firewall(udp_blocked: bool) -> String {
    let block = if udp_blocked {
        "meta l4proto udp drop"
    } else {
        ""
    };
    // What is dropped here leaves no flow behind, and so takes no port. Nothing answers: neither to
    // strangers, nor, hairpin being absent, to the inside where that knocks at the site's own
    // public address.
    format!(
        "table ip firewall\ndelete table ip firewall\ntable ip firewall {{\n\
         chain input {{ type filter hook input priority filter\niifname {WAN} drop\nmeta l4proto udp drop\n}}\n\
         chain forward {{ type filter hook forward priority filter; policy drop\n{block}\n\
         oifname {WAN} accept\nct state established,related accept\nct status dnat accept\n}}\n}}\n"
    )
}

/// The name of a router's card towards the internet.
pub(super) const WAN: &str = "wan";

/// What a router forgets after unless it is told otherwise: as soon as many of those in homes do.
pub(super) const FORGETS_AFTER: Duration = Duration::from_secs(30);

const SOURCE: &str = "type nat hook postrouting priority srcnat;";
const OUT: &str = "oifname wan meta l4proto udp";
const ANY_PORT: &str = "numgen random mod 40000 offset 20000";
