//! Benchmark of memory: an idle `hobnob up` without sessions, with one session and with fifty.

use std::time::Duration;

use anyhow::Context;
use hobnob::Node;

use super::start::Program;
use crate::nodes;
use crate::plan::Plan;
use crate::report::Report;
use crate::stats::Samples;

const PEERS: usize = 50;

/// Time until the sessions are established.
const SETTLING: Duration = Duration::from_secs(1);

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mut figures: [Vec<f64>; 5] = Default::default();
    for round in 0..plan.pick(1, 5) {
        let dir = plan.folder(&format!("memory{round}"))?;
        for (all, value) in figures.iter_mut().zip(measure(&dir).await?) {
            all.push(value);
        }
    }
    let whats = [
        "hobnob up, no session, resident",
        "with one session, resident",
        "with fifty sessions, resident",
        "with fifty sessions, proportional (PSS)",
        "hobnob, memory of each session",
    ];
    for (what, values) in whats.into_iter().zip(figures) {
        report.figure(what, "KiB", Samples::new(values).context("no rounds")?);
    }
    Ok(())
}

async fn measure(dir: &std::path::Path) -> anyhow::Result<[f64; 5]> {
    let program = Program::start(&dir.join("home"), &["--no-mdns", "--listen", "127.0.0.1:0"])?;
    let address = program.address()?.parse()?;
    let mut peers: Vec<Node> = Vec::new();
    tokio::time::sleep(SETTLING).await;
    let alone = kib(program.id(), "status", "VmRSS")?;
    let mut one = 0.0;
    for number in 0..PEERS {
        let peer = nodes::start(dir, &format!("peer{number}")).await?;
        peer.resolve(Clone::clone(&address)).await?;
        peers.push(peer);
        if number == 0 {
            tokio::time::sleep(SETTLING).await;
            one = kib(program.id(), "status", "VmRSS")?;
        }
    }
    tokio::time::sleep(SETTLING).await;
    let all = kib(program.id(), "status", "VmRSS")?;
    let shared = kib(program.id(), "smaps_rollup", "Pss")?;
    for peer in &peers {
        peer.shutdown().await;
    }
    Ok([
        alone,
        one,
        all,
        shared,
        (all - one) / super::many(PEERS - 1),
    ])
}

fn kib(process: u32, file: &str, key: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/{file}"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let number = line.and_then(|line| line.trim().strip_suffix("kB"));
    Ok(number
        .with_context(|| format!("{file} of process {process} has no {key}"))?
        .trim()
        .parse()?)
}
