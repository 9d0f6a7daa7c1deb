//! The NAT of a site's router, as nftables rules. The terms are those of RFC 4787.
//!
//! The NAT of Linux has only one behaviour: it chooses a public port for each destination, and lets
//! in packets that belong to a known flow. The other kinds need three tables in the rules: the
//! public port of each inner socket, the inner socket of each public port, and the addresses that
//! each public port has sent to.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

/// The kinds of NAT. They differ in how they map inner sockets to public ports, and in which
/// packets they let in.
///
/// All choose a random public port for an inner socket. None supports hairpinning: packets from
/// inside to its own public address are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// One public port for each inner socket. Packets from any address are let in.
    FullCone,
    /// Like full cone, but only packets from addresses that this socket has sent to, from any port.
    AddressRestricted,
    /// Like address-restricted, but only packets from an address and port that this socket has sent
    /// to.
    PortRestricted,
    /// A new random public port for each destination address and port. Only packets from that
    /// destination are let in.
    Symmetric,
    /// The NAT of Linux on a router without a firewall: it keeps the port where it can. A packet from
    /// outside that belongs to no flow reaches the router itself, and then occupies the port for its
    /// sender: the router cannot use it for a flow to that sender any more.
    Unfiltered,
}

/// The parameters of the mapping rules.
#[derive(Debug, Clone, Copy)]
pub(super) struct Translation {
    pub(super) nat: Nat,
    /// The public address.
    pub(super) public: Ipv4Addr,
    /// A mapping expires after this time without an outgoing packet.
    pub(super) forgets_after: Duration,
    /// How often the router has lost all mappings. The kernel does not find flows of earlier
    /// generations.
    pub(super) generation: u16,
}

impl Nat {
    /// The four kinds of RFC 4787.
    pub const ALL: [Self; 4] = [
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
    ];

    /// Whether hole punching between sockets behind these two NATs can succeed.
    pub fn can_be_punched_with(self, other: Self) -> bool {
        // The other side cannot know the port that a symmetric NAT will choose. So the other NAT
        // must let in any port.
        match (self, other) {
            (Self::Symmetric, Self::Symmetric | Self::PortRestricted | Self::Unfiltered)
            | (Self::PortRestricted | Self::Unfiltered, Self::Symmetric) => false,
            (Self::FullCone | Self::AddressRestricted, _)
            | (_, Self::FullCone | Self::AddressRestricted) => true,
            (Self::PortRestricted | Self::Unfiltered, Self::PortRestricted | Self::Unfiltered) => {
                true
            }
        }
    }
}

impl Translation {
    /// The rules. They replace an older table and its mappings.
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
             set contacted {{ type inet_service . ipv4_addr; {timeout} }}\n\
             chain generation {{ type filter hook prerouting priority raw; ct zone set {generation}; }}\n\
             chain own {{ type filter hook output priority raw; ct zone set {generation}; }}\n"
        );
        match self.nat {
            Nat::Symmetric => {
                let _ = writeln!(
                    rules,
                    "chain source {{ {SOURCE} oifname {WAN} snat to {public} random,fully-random; }}"
                );
            }
            Nat::Unfiltered => {
                let _ = writeln!(
                    rules,
                    "chain source {{ {SOURCE} oifname {WAN} snat to {public}; }}"
                );
            }
            Nat::PortRestricted => self.one_port_per_socket(&mut rules),
            Nat::AddressRestricted => {
                self.one_port_per_socket(&mut rules);
                self.let_in(&mut rules, "udp dport . ip saddr @contacted");
            }
            Nat::FullCone => {
                self.one_port_per_socket(&mut rules);
                self.let_in(&mut rules, "");
            }
        }
        rules.push_str("}\n");
        rules
    }

    /// Endpoint-independent mapping: the first packet of a socket creates a mapping, and each
    /// further packet extends it.
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

    /// Lets in packets to a public port that belong to no known flow, if they match `fits`.
    fn let_in(&self, rules: &mut String, fits: &str) {
        let Self { public, .. } = self;
        // At this hook the source address is already the public one. The inner address is the
        // source of an outgoing flow, or the destination of an incoming flow.
        let _ = writeln!(
            rules,
            "chain learn {{ type filter hook postrouting priority srcnat + 1\n\
             {OUT} ct direction original update @sockets {{ udp sport : ct original ip saddr . ct original proto-src }}\n\
             {OUT} ct direction reply update @sockets {{ udp sport : ct reply ip saddr . ct reply proto-src }}\n\
             {OUT} update @contacted {{ udp sport . ip daddr }}\n}}\n\
             chain enter {{ type nat hook prerouting priority dstnat\n\
             iifname {WAN} ip daddr {public} meta l4proto udp {fits} dnat to udp dport map @sockets\n}}"
        );
    }
}

/// The packets that a site's router lets through, apart from those of unknown senders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Everything.
    Open,
    /// Everything but UDP, which it drops silently.
    UdpDropped,
    /// Everything but UDP, which it rejects with ICMP.
    UdpRejected,
    /// Only TCP to port 443.
    OnlyHttps,
    /// No UDP, and TCP only to the router itself: connections to every address end at its port
    /// [`Filter::PORTAL_PORT`], as in a hotel before the guest has logged in.
    Portal,
    /// Nothing. Only a machine of the site that is on the internet, too, is a way out.
    Nothing,
}

impl Filter {
    /// The router's port at which connections end.
    pub const PORTAL_PORT: u16 = 8080;
}

/// The router's firewall. It drops packets from unknown senders, and what the filter does not let
/// through.
///
/// Without `drops_unknown` the router itself answers unknown senders, and remembers them as a flow.
pub(super) fn firewall(filter: Filter, drops_unknown: bool) -> String {
    let unknown = if drops_unknown { "drop" } else { "accept" };
    let block = match filter {
        Filter::Open => "",
        Filter::UdpDropped => "meta l4proto udp drop",
        Filter::UdpRejected => "meta l4proto udp reject with icmp type admin-prohibited",
        Filter::Nothing | Filter::Portal => "oifname wan drop",
        Filter::OnlyHttps => "meta l4proto udp drop\noifname wan tcp dport != 443 drop",
    };
    let portal = match filter {
        Filter::Portal => format!(
            "chain portal {{ type nat hook prerouting priority dstnat\niifname != {WAN} meta l4proto tcp redirect to :{}\n}}\n",
            Filter::PORTAL_PORT
        ),
        Filter::Open
        | Filter::UdpDropped
        | Filter::UdpRejected
        | Filter::OnlyHttps
        | Filter::Nothing => String::new(),
    };
    // A dropped packet creates no flow, so it uses no port. The router sends no answer: neither to
    // unknown senders, nor to inner sockets that send to the site's own public address, because
    // there is no hairpinning. Its ports for SSDP and PCP are open inside.
    format!(
        "table ip firewall\ndelete table ip firewall\ntable ip firewall {{\n{portal}\
         chain input {{ type filter hook input priority filter\n\
         iifname {WAN} meta l4proto tcp ct state established accept\niifname {WAN} {unknown}\n\
         udp dport {{ 1900, 5351 }} accept\nmeta l4proto udp drop\n}}\n\
         chain forward {{ type filter hook forward priority filter; policy drop\n{block}\n\
         oifname {WAN} accept\nct state established,related accept\nct status dnat accept\n}}\n}}\n"
    )
}

/// The name of a router's card on the internet side.
pub(super) const WAN: &str = "wan";

/// The default lifetime of a mapping: 30 s, as in many home routers.
pub(super) const FORGETS_AFTER: Duration = Duration::from_secs(30);

const SOURCE: &str = "type nat hook postrouting priority srcnat;";
const OUT: &str = "oifname wan meta l4proto udp";
const ANY_PORT: &str = "numgen random mod 40000 offset 20000";
