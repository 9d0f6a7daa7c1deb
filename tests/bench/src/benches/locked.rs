//! Benchmarks of a locked home: the time until it is open, and until a message is on disk, encrypted
//! and not.

use std::path::Path;

use anyhow::Context;
use hobnob::Node;
use hobnob::protocol::RoomName;
use hobnob_tests::lab::Stopwatch;

use crate::nodes;
use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::stats::Samples;

const BYTES: usize = 64;

const PASSPHRASE: &str = "tin roof rust";

/// Tasks that write messages at the same time, to fill a home.
const AT_ONCE: usize = 64;

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, times) = (plan.pick(4, 12), plan.pick(100, 400));
    let dir = plan.folder("locked")?;
    let plain = nodes::start(&dir, "ann").await?;
    nodes::start(&dir, "bob").await?.shutdown().await;
    hobnob::lock_home(&dir.join("bob"), PASSPHRASE)?;
    let locked = open(&dir.join("bob")).await?;
    // A warm-up, and in turns, so that other load on the machine affects both.
    let mut ratios: [Vec<f64>; 2] = Default::default();
    let mut ours: [Vec<f64>; 2] = Default::default();
    let mut theirs: [Vec<f64>; 2] = Default::default();
    for round in 0..=rounds {
        let (of_locked, of_plain) = if round % 2 == 0 {
            let of_locked = commits(&locked, times).await?;
            (of_locked, commits(&plain, times).await?)
        } else {
            let of_plain = commits(&plain, times).await?;
            (commits(&locked, times).await?, of_plain)
        };
        if round == 0 {
            continue;
        }
        for (at, share) in [0.5, 0.99].into_iter().enumerate() {
            let (us, them) = (of_locked.quantile(share), of_plain.quantile(share));
            ours[at].push(us);
            theirs[at].push(them);
            ratios[at].push(us / them);
        }
    }
    let samples = |values: &[f64]| Samples::new(values.to_vec()).context("no rounds");
    for (at, name) in ["p50", "p99"].into_iter().enumerate() {
        report.line(
            format!("a message on disk in a locked home, {name}"),
            "µs",
            samples(&ours[at])?,
            Some(samples(&ratios[at])?),
            Some(Aim::AtMost(1.5)),
        );
        let what = format!("the same in a home that is not locked, {name}");
        report.figure(what, "µs", samples(&theirs[at])?);
    }
    locked.shutdown().await;
    plain.shutdown().await;
    Ok(())
}

/// The time until a locked home with many messages is open, and until its node has started.
pub(crate) async fn opening(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, messages) = plan.pick((3, 2_000), (12, 100_000));
    let dir = plan.folder("locked-open")?;
    let (home, node) = (dir.join("ann"), nodes::start(&dir, "ann").await?);
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (node, body) = (node.clone(), nodes::text(BYTES));
        senders.spawn(async move {
            for _ in 0..messages / AT_ONCE {
                node.broadcast(RoomName::lobby(), body.clone()).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    nodes::index(&[&node]).await?;
    node.shutdown().await;
    hobnob::lock_home(&home, PASSPHRASE)?;
    let mut took = Vec::new();
    for round in 0..=rounds {
        let begun = Stopwatch::start();
        let node = open(&home).await?;
        if round > 0 {
            took.push(begun.elapsed().as_secs_f64());
        }
        node.shutdown().await;
    }
    report.line(
        format!("a locked home with {messages} messages, until its node runs"),
        "s",
        Samples::new(took).context("no rounds")?,
        None,
        Some(Aim::AtMost(1.5)),
    );
    Ok(())
}

async fn open(home: &Path) -> anyhow::Result<Node> {
    let node = Node::builder(home).passphrase(PASSPHRASE).loopback();
    Ok(node.start().await?)
}

/// How long messages take until each is on disk, in microseconds.
async fn commits(node: &Node, times: usize) -> anyhow::Result<Samples> {
    let (body, room) = (nodes::text(BYTES), RoomName::lobby());
    let mut each = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Stopwatch::start();
        node.broadcast(room.clone(), body.clone()).await?;
        each.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    Samples::new(each).context("no times")
}
