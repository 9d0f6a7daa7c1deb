//! Benchmarks of networks that block UDP: how soon a node gets through, and how fast the way through
//! a relay by TCP is; compared with iroh, whose relay uses a WebSocket over TLS over TCP.

use std::time::Duration;

use anyhow::Context;
use hobnob_tests::lab::{Filter, Internet, Lab, Nat, Node, Relay as LabRelay, Site, Stopwatch};

use crate::plan::Plan;
use crate::relay::{Pair, Peer, Relay};
use crate::report::{Aim, Report};
use crate::rivals::iroh::Iroh;
use crate::stats::Samples;
use crate::turns::Contest;

const MIB: f64 = 1024.0 * 1024.0;

/// An internet with a relay, and a node behind a NAT that lets UDP through.
struct Scene {
    internet: Internet,
    relay: LabRelay,
    bob: Node,
}

impl Scene {
    fn new(lab: &Lab) -> Self {
        let internet = lab.internet();
        let relay = internet.machine("relay").relay(&[]);
        let site = internet.site(Nat::Symmetric);
        let bob = site.machine("bob").up("bob", &["--relay", &relay.name()]);
        bob.notices("relay-up");
        Self {
            internet,
            relay,
            bob,
        }
    }

    /// Starts a node in a new site with this filter.
    fn up(&self, filter: Filter, nick: &str) -> (Site, Node) {
        let site = self.internet.site(Nat::Symmetric);
        site.filter(filter);
        let machine = site.machine(nick);
        let node = machine.up(nick, &["--relay", &self.relay.name()]);
        (site, node)
    }
}

/// How soon a message gets through where UDP is dropped, from the start and from the loss of UDP.
pub(super) fn times(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let scene = Scene::new(plan.lab()?);
    let rounds = plan.pick(2, 7);
    let (mut started, mut lost) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let begun = Stopwatch::start();
        let (_site, ann) = scene.up(Filter::UdpDropped, &format!("a{round}"));
        ann.tells(&scene.bob, "started");
        started.push(begun.elapsed().as_secs_f64());
        let (site, cat) = scene.up(Filter::Open, &format!("c{round}"));
        cat.tells(&scene.bob, "before");
        site.filter(Filter::UdpDropped);
        let begun = Stopwatch::start();
        cat.tells(&scene.bob, "after");
        lost.push(begun.elapsed().as_secs_f64());
        ann.terminate();
        cat.terminate();
    }
    for (what, times, most) in [
        (
            "hobnob, from its start without UDP to a delivered message",
            started,
            2.0,
        ),
        (
            "hobnob, from the loss of UDP to the next delivered message",
            lost,
            5.0,
        ),
    ] {
        let times = Samples::new(times).context("nothing was measured")?;
        let within = Samples::new(vec![times.median() / most]);
        report.line(what, "s", times, within, Some(Aim::AtMost(1.0)));
    }
    Ok(())
}

/// Bulk and round trips of two peers that both use streams, and the relay's memory for idle ones.
pub(super) async fn streams(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, bytes) = (plan.pick(2, 9), plan.pick(32, 128) << 20);
    let (times, size) = (plan.pick(300, 2000), 64);
    let relay = Relay::start(&plan.folder("reach")?)?;
    let pair = Pair::by_streams(&relay).await?;
    let mut iroh = plan.rival(Iroh::start(plan.target())).await;
    let contest = Contest {
        ours: "hobnob, one stream through a relay, both ends by TCP",
        theirs: "iroh, one stream through iroh-relay, by TCP",
        unit: "MiB/s",
        rounds,
        aim: Aim::AtLeast(1.5),
    };
    let speed = |seconds: f64| bytes as f64 / MIB / seconds;
    let theirs = iroh
        .as_mut()
        .map(|iroh| async move || Ok(speed(iroh.bulk(bytes).await?)));
    let ours = async || Ok(speed(pair.bulk(bytes).await?));
    contest.run(report, ours, theirs).await?;
    let contest = Contest {
        ours: "hobnob, round trip of 64 bytes, both ends by TCP, p50",
        theirs: "iroh, the same through iroh-relay, p50",
        unit: "µs",
        rounds,
        aim: Aim::AtMost(1.0),
    };
    let theirs = iroh
        .as_mut()
        .map(|iroh| async move || iroh.echo(times, size).await);
    contest
        .run(report, async || pair.echo(times, size).await, theirs)
        .await?;
    memory(plan, report).await
}

async fn memory(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let relay = Relay::start(&plan.folder("reach-memory")?)?;
    let count: u16 = plan.pick(100, 1000);
    let mut peers = Vec::new();
    // What the first peers cost belongs to the program.
    let (first, mut before) = (count / 10, 0.0);
    for n in 0..first + count {
        if n == first {
            before = relay.memory()?;
        }
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&n.to_be_bytes());
        let mut peer = Peer::join_by_stream(&relay, seed).await?;
        peer.only_sends_heartbeats();
        peers.push(peer);
    }
    // The registration's buffers are free after the first heartbeats.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let each = (relay.memory()? - before) / f64::from(count);
    let samples = Samples::new(vec![each]).context("one value")?;
    let limit = Samples::new(vec![each / 64.0]);
    let what = "hobnob's relay, memory of each idle peer by TCP";
    report.line(what, "KiB", samples, limit, Some(Aim::AtMost(1.0)));
    Ok(())
}

/// A message beside a file on a line of 50 Mbit/s without UDP, and without the file.
pub(super) fn beside_file(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let lab = plan.lab()?;
    let scene = Scene::new(lab);
    let (_site, ann) = scene.up(Filter::UdpDropped, "ann");
    ann.are_contacts(&scene.bob);
    let line = ["qdisc", "add", "dev", "eth0", "root", "tbf"];
    let rate = ["rate", "50mbit", "burst", "32kb", "latency", "50ms"];
    let limited = ann.machine().run("tc", &[&line[..], &rate].concat());
    limited.expect(0);
    let count = plan.pick(10, 40);
    let bob = scene.bob.id().parse()?;
    let mut client = ann.client();
    anyhow::ensure!(client.is_open(), "the node accepts no commands");
    let mut messages = |text: &str| {
        let mut times = Vec::new();
        for n in 0..count {
            let begun = Stopwatch::start();
            let delivered = client.deliver(bob, &format!("{text} {n}"));
            delivered.context("a message was not delivered")?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        Samples::new(times).context("nothing was measured")
    };
    let alone = messages("alone")?;
    let file = lab.file("film.bin", &"0123456789abcdef".repeat(16 << 20 >> 1));
    let offer = ["send", scene.bob.id(), "--wait", "queued", "--file", &file];
    let offer = ann.run(&offer).one_json();
    let id = offer["id"].as_str().context("an offer has an id")?;
    scene.bob.wait_for(
        "get the offer",
        |event| event["id"] == id,
        Duration::from_secs(20),
    );
    // The download goes on after the command.
    scene.bob.run(&["accept", id, "--timeout", "1ms"]);
    let beside = messages("beside")?;
    let ratio = Samples::new(vec![beside.median() / alone.median()]);
    report.figure(
        "hobnob, a message by TCP on a line of 50 Mbit/s",
        "ms",
        alone,
    );
    let what = "hobnob, the same beside a file";
    report.line(what, "ms", beside, ratio, Some(Aim::AtMost(2.0)));
    Ok(())
}
