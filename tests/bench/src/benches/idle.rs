//! Benchmark of idle traffic: machines whose nodes have sessions and send no messages.
//!
//! The figures are of the steady state: the first searches are over, and the sessions sleep.
//! A sleeping session sends two packets every 280 seconds, so only a run of many minutes counts
//! them. The short form waits for a few of them.

use std::time::Duration;

use anyhow::Context;
use hobnob_tests::lab::{Addresses, Lab, Node, Stopwatch, Traffic, pause};

use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::stats::Samples;

/// Time until Hello, synchronization and the first three searches by mDNS are done, and sessions
/// sleep. The next search begins at least seven minutes later.
const SETTLING: Duration = Duration::from_secs(240);

/// A sleeping session has a round of pings in each such time.
const ROUND: Duration = Duration::from_secs(280);

const DAY: f64 = 86_400.0;

pub(crate) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let lab = plan.lab()?;
    let couples = [
        ("a session", Couple::new(lab, Addresses::Both)),
        (
            "a session by IPv6 only",
            Couple::new(lab, Addresses::Ipv6Only),
        ),
    ];
    pause(SETTLING);
    let before = couples.each_ref().map(|(_, couple)| couple.traffic());
    // Whole rounds, so that the figure does not depend on when the first one begins.
    pause(ROUND * plan.pick(1, 4));
    let rounds = ROUND.as_secs_f64() * f64::from(plan.pick(1_u32, 4));
    let a_day = DAY / rounds / 1e3;
    for ((what, couple), before) in couples.iter().zip(before) {
        let sent = couple.traffic() - before;
        let mut line = |what: String, bytes: u64, aim: Option<Aim>| -> anyhow::Result<()> {
            let value = Samples::new(vec![as_f64(bytes) * a_day]).context("one value")?;
            report.line(what, "kB/day", value, None, aim);
            Ok(())
        };
        line(
            format!("hobnob, {what}, IP packets both ways"),
            sent.sessions.bytes,
            Some(Aim::AtMost(50.0)),
        )?;
        line(
            format!("hobnob, {what}, only UDP payload"),
            sent.sessions.payload,
            None,
        )?;
        line(
            format!("hobnob, mDNS of both nodes of {what}, IP packets; with one search at most"),
            sent.mdns.bytes,
            Some(Aim::AtMost(500.0)),
        )?;
        eprintln!("  {what}: {sent:?}");
    }
    search(lab, report)
}

/// What the search of a node costs that begins while another one is there.
fn search(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let switch = lab.switch();
    let ann = node(&switch, "ann");
    pause(Duration::from_secs(15));
    let bob = node(&switch, "bob");
    ann.sees(&bob);
    pause(Duration::from_secs(15));
    let sent = ann.machine().traffic() + bob.machine().traffic();
    report.figure(
        "hobnob, mDNS of two nodes until they have found each other and search no more",
        "kB",
        Samples::new(vec![as_f64(sent.mdns.bytes) / 1e3]).context("one value")?,
    );
    Ok(())
}

/// Many nodes on one LAN, each with sessions to all others.
pub(crate) fn lan(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    for count in [10, 50] {
        let switch = plan.lab()?.switch();
        let nodes: Vec<_> = (0..count)
            .map(|n| {
                let machine = switch.machine(&format!("node{n}"));
                if count > 10 {
                    // All namespaces share one table of neighbours, which has room for one family.
                    let arguments = ["-6", "addr", "flush", "dev", "eth0"];
                    machine.run("ip", &arguments).expect(0);
                }
                machine.count_traffic();
                machine.up(machine.name(), &[])
            })
            .collect();
        for (n, one) in nodes.iter().enumerate() {
            nodes[..n].iter().for_each(|other| one.sees(other));
        }
        pause(SETTLING);
        let begun = Stopwatch::start();
        let before = sums(&nodes);
        pause(plan.pick(Duration::from_secs(60), Duration::from_secs(600)));
        let after = sums(&nodes);
        let (seconds, each) = (begun.elapsed().as_secs_f64(), f64::from(count));
        let sent = after.0 - before.0;
        eprintln!("  {count} nodes: {sent:?}");
        let bytes = as_f64(sent.sessions.bytes + sent.mdns.bytes);
        report.line(
            format!("hobnob, {count} idle nodes on a LAN, IP packets that each sends"),
            "kB/min",
            Samples::new(vec![bytes / each / seconds * 60.0 / 1e3]).context("one value")?,
            None,
            Some(Aim::AtMost(10.0)),
        );
        let busy = (after.1 - before.1).as_secs_f64();
        report.line(
            format!("hobnob, {count} idle nodes on a LAN, processor time of each"),
            "%",
            Samples::new(vec![100.0 * busy / each / seconds]).context("one value")?,
            None,
            Some(Aim::AtMost(0.2)),
        );
    }
    Ok(())
}

/// Two nodes with a session.
struct Couple([Node; 2]);

impl Couple {
    fn new(lab: &Lab, addresses: Addresses) -> Self {
        let switch = lab.switch_with(addresses);
        let [ann, bob] = ["ann", "bob"].map(|name| node(&switch, name));
        ann.sees(&bob);
        bob.sees(&ann);
        Self([ann, bob])
    }

    /// What left both machines.
    fn traffic(&self) -> Traffic {
        let [ann, bob] = &self.0;
        ann.machine().traffic() + bob.machine().traffic()
    }
}

fn node(switch: &hobnob_tests::lab::Switch, name: &str) -> Node {
    let machine = switch.machine(name);
    machine.count_traffic();
    machine.up(name, &[])
}

/// What all nodes have sent, and their processor time.
fn sums(nodes: &[Node]) -> (Traffic, Duration) {
    let traffic = nodes.iter().map(|node| node.machine().traffic());
    let times = nodes.iter().map(Node::processor_time);
    (
        traffic.fold(Traffic::default(), |all, one| all + one),
        times.sum(),
    )
}

fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}
