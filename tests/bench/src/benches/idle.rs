//! Benchmark of idle traffic: two machines whose nodes have a session and send no messages. Counts
//! the bytes of both directions.
//!
//! nftables counts whole IP packets where they leave each machine. ARP, neighbour discovery and
//! multicast group reports are not counted, because the operating system sends them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use hobnob_tests::lab::{Lab, Machine, Node, Stopwatch, pause};
use serde_json::Value;

use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::stats::Samples;

/// Time until Hello, synchronization and mDNS announcements are done.
const SETTLING: Duration = Duration::from_secs(8);

const DAY: f64 = 86_400.0;

const RULES: &str = "table inet bench {
    counter quic4 {}
    counter quic6 {}
    counter mdns4 {}
    counter mdns6 {}
    chain out {
        type filter hook output priority 0
        oifname lo return
        meta nfproto ipv4 udp dport 5353 counter name mdns4 return
        meta nfproto ipv6 udp dport 5353 counter name mdns6 return
        meta nfproto ipv4 meta l4proto udp counter name quic4
        meta nfproto ipv6 meta l4proto udp counter name quic6
    }
}
";

pub(crate) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let lab = plan.lab()?;
    let time = plan.pick(Duration::from_secs(20), Duration::from_secs(120));
    let quiet = Couple::new(lab, &["--no-mdns"]);
    quiet
        .ann
        .tells(format!("{}:4626", quiet.bob.machine().ipv4()), "hi");
    let open = Couple::new(lab, &[]);
    open.ann.sees(&open.bob);
    open.bob.sees(&open.ann);
    pause(SETTLING);
    let begun = Stopwatch::start();
    let before = [quiet.traffic()?, open.traffic()?];
    pause(time);
    let after = [quiet.traffic()?, open.traffic()?];
    let a_day = DAY / begun.elapsed().as_secs_f64() / 1e6;
    let [quiet, open] = [0, 1].map(|which| after[which].since(&before[which]));
    let mut line = |what: &str, bytes: f64, aim: Option<Aim>| -> anyhow::Result<()> {
        report.line(
            what,
            "MB/day",
            Samples::new(vec![bytes * a_day]).context("one value")?,
            None,
            aim,
        );
        Ok(())
    };
    line(
        "hobnob, a session without mDNS, IP packets both ways",
        quiet.quic.bytes,
        Some(Aim::AtMost(1.5)),
    )?;
    line("the same, only UDP payload", quiet.quic.payload, None)?;
    line(
        "hobnob, a session with mDNS on, IP packets both ways",
        open.quic.bytes,
        Some(Aim::AtMost(1.5)),
    )?;
    line(
        "mDNS of both nodes, IP packets; queries become rarer over hours",
        open.mdns.bytes,
        None,
    )?;
    Ok(())
}

struct Couple {
    ann: Node,
    bob: Node,
}

/// Bytes that left both machines.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    quic: Bytes,
    mdns: Bytes,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bytes {
    bytes: f64,
    payload: f64,
}

impl Couple {
    fn new(lab: &Lab, arguments: &[&str]) -> Self {
        let switch = lab.switch();
        let [ann, bob] = ["ann", "bob"].map(|name| {
            let machine = switch.machine(name);
            machine
                .run_with("nft", &["-f", "-"], &BTreeMap::new(), RULES)
                .expect(0);
            machine.up(name, arguments)
        });
        Self { ann, bob }
    }

    fn traffic(&self) -> anyhow::Result<Traffic> {
        let mut traffic = Traffic::default();
        for machine in [self.ann.machine(), self.bob.machine()] {
            for (name, header) in [
                ("quic4", 28.0),
                ("quic6", 48.0),
                ("mdns4", 28.0),
                ("mdns6", 48.0),
            ] {
                let (packets, bytes) = counter(machine, name)?;
                let sum = if name.starts_with("quic") {
                    &mut traffic.quic
                } else {
                    &mut traffic.mdns
                };
                sum.bytes += bytes;
                sum.payload += bytes - packets * header;
            }
        }
        Ok(traffic)
    }
}

impl Traffic {
    fn since(&self, before: &Self) -> Self {
        let minus = |a: Bytes, b: Bytes| Bytes {
            bytes: a.bytes - b.bytes,
            payload: a.payload - b.payload,
        };
        Self {
            quic: minus(self.quic, before.quic),
            mdns: minus(self.mdns, before.mdns),
        }
    }
}

/// Packets and bytes of a counter.
fn counter(machine: &Machine, name: &str) -> anyhow::Result<(f64, f64)> {
    let output = machine
        .run("nft", &["--json", "list", "counter", "inet", "bench", name])
        .expect(0);
    let output: Value = serde_json::from_str(&output.stdout)?;
    let list = output["nftables"]
        .as_array()
        .context("nft printed no list")?;
    let counter = list
        .iter()
        .find_map(|item| item.get("counter"))
        .context("nft printed no counter")?;
    let number = |what: &str| {
        counter[what]
            .as_f64()
            .with_context(|| format!("the counter has no {what}"))
    };
    Ok((number("packets")?, number("bytes")?))
}
