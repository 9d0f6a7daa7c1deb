//! Counts the bytes that a machine sends.
//!
//! nftables counts whole IP packets where they leave the machine. ARP, neighbour discovery and
//! multicast group reports are not counted, because the operating system sends them.

use std::collections::BTreeMap;
use std::ops::{Add, Sub};

use serde_json::Value;

use super::machine::Machine;

const RULES: &str = "table inet traffic {
    counter session4 {}
    counter session6 {}
    counter mdns4 {}
    counter mdns6 {}
    chain out {
        type filter hook output priority 0
        oifname lo return
        meta nfproto ipv4 udp dport 5353 counter name mdns4 return
        meta nfproto ipv6 udp dport 5353 counter name mdns6 return
        meta nfproto ipv4 meta l4proto udp counter name session4
        meta nfproto ipv6 meta l4proto udp counter name session6
    }
}
";

/// What a machine has sent since [`Machine::count_traffic`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// mDNS.
    pub mdns: Sent,
    /// All other UDP: sessions, and checks of addresses.
    pub sessions: Sent,
}

/// A number of packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// The packets.
    pub packets: u64,
    /// Their bytes, with the headers of IP and UDP.
    pub bytes: u64,
    /// Their bytes without these headers.
    pub payload: u64,
}

impl Traffic {
    pub(super) fn count(machine: &Machine) {
        machine
            .run_with("nft", &["-f", "-"], &BTreeMap::new(), RULES)
            .expect(0);
    }

    pub(super) fn of(machine: &Machine) -> Self {
        let sum = |ipv4, ipv6| counter(machine, ipv4, 28) + counter(machine, ipv6, 48);
        Self {
            mdns: sum("mdns4", "mdns6"),
            sessions: sum("session4", "session6"),
        }
    }
}

/// A counter of packets with this many bytes of headers.
fn counter(machine: &Machine, name: &str, headers: u64) -> Sent {
    let arguments = ["--json", "list", "counter", "inet", "traffic", name];
    let output = machine.run("nft", &arguments).expect(0);
    let output: Value = serde_json::from_str(&output.stdout).expect("nft prints JSON");
    let list = output["nftables"].as_array().expect("nft prints a list");
    let counter = list.iter().find_map(|item| item.get("counter"));
    let counter = counter.expect("the counter was made by `Traffic::count`");
    let number = |what: &str| counter[what].as_u64().expect("a counter has numbers");
    let (packets, bytes) = (number("packets"), number("bytes"));
    Sent {
        packets,
        bytes,
        payload: bytes - packets * headers,
    }
}

impl Sent {
    fn each(self, other: Self, calculate: fn(u64, u64) -> u64) -> Self {
        Self {
            packets: calculate(self.packets, other.packets),
            bytes: calculate(self.bytes, other.bytes),
            payload: calculate(self.payload, other.payload),
        }
    }
}

impl Add for Sent {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.each(other, u64::add)
    }
}

impl Sub for Sent {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        self.each(before, u64::sub)
    }
}

impl Traffic {
    fn each(self, other: Self, calculate: fn(Sent, Sent) -> Sent) -> Self {
        Self {
            mdns: calculate(self.mdns, other.mdns),
            sessions: calculate(self.sessions, other.sessions),
        }
    }
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.each(other, Sent::add)
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        self.each(before, Sent::sub)
    }
}
