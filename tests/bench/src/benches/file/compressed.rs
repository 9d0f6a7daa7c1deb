//! Benchmarks of text on the way between two nodes, which compress it where that pays: a file of
//! source code, and messages to somebody who was away. The text is real: sources of crates that
//! cargo has downloaded, and the documentation of this project.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use hobnob::DeliveryState;
use hobnob::protocol::Target;
use hobnob_tests::delayed_path::{DelayedPath, RateLimit};
use hobnob_tests::lab::Stopwatch;

use super::scp::Scp;
use super::{Memory, Pair, rate, took};
use crate::nodes;
use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::rivals::thin_tcp::ThinTcp;
use crate::stats::Samples;
use crate::turns::{Contest, alone};

/// 10 Mbit/s, with a queue that takes 200 ms to drain.
const THIN: RateLimit = RateLimit {
    bytes_per_s: 1_250_000,
    queue_bytes: 250_000,
};
const EACH_WAY: Duration = Duration::from_millis(10);

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    file_on_a_fast_path(plan, report).await?;
    file_on_a_thin_path(plan, report).await?;
    messages_on_a_thin_path(plan, report).await
}

async fn file_on_a_fast_path(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mib = plan.pick(64, 256);
    let rounds = plan.pick(2, 5);
    let memory = &sources(mib)?;
    let pair = Pair::new(&plan.folder("fast")?, memory, |builder| builder).await?;
    pair.meet(nodes::address(&pair.bob).await?).await?;
    let mut scp = plan.rival(Scp::start(memory)).await;
    let contest = Contest {
        ours: "hobnob, a file of source code, loopback",
        theirs: "scp -C, the same, then hashed",
        unit: "MiB/s",
        rounds,
        aim: Aim::AtLeast(3.0),
    };
    let theirs = scp
        .as_mut()
        .map(|scp| async move || Ok(rate(mib, took(scp.copy_compressed(memory, None)).await?)));
    contest
        .run(report, async || pair.fetch(memory, mib).await, theirs)
        .await?;
    let random = &Memory::new(mib)?;
    let pair = Pair::new(&plan.folder("random")?, random, |builder| builder).await?;
    pair.meet(nodes::address(&pair.bob).await?).await?;
    let rates = alone(rounds, async || pair.fetch(random, mib).await).await?;
    report.figure("hobnob, random bytes, loopback", "MiB/s", rates);
    Ok(())
}

async fn file_on_a_thin_path(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mib = plan.pick(4, 16);
    let rounds = plan.pick(2, 5);
    let memory = &sources(mib)?;
    let (pair, path) = thin_pair(plan, "thin-sources", memory).await?;
    let mut scp = plan.rival(Scp::start(memory)).await;
    let contest = Contest {
        ours: "hobnob, a file of source code, 10 Mbit/s",
        theirs: "scp -C, the same, then hashed",
        unit: "MiB/s",
        rounds,
        aim: Aim::AtLeast(0.8),
    };
    let theirs = scp.as_mut().map(|scp| {
        async move || {
            let thin = ThinTcp::open(scp.addr(), THIN.bytes_per_s).await?;
            Ok(rate(
                mib,
                took(scp.copy_compressed(memory, Some(thin.addr()))).await?,
            ))
        }
    });
    let mut shares = Vec::new();
    let ours = async || {
        let before = path.carried()[0];
        let rate = pair.fetch(memory, mib).await?;
        shares.push(share(path.carried()[0] - before, u64::from(mib) << 20));
        Ok(rate)
    };
    contest.run(report, ours, theirs).await?;
    let shares = Samples::new(shares).context("no rounds")?;
    report.figure(
        "hobnob, bytes on the path for 100 of source code",
        "",
        shares,
    );

    let random = &Memory::new(mib)?;
    let (pair, path) = thin_pair(plan, "thin-random", random).await?;
    let mut shares = Vec::new();
    let rates = alone(rounds, async || {
        let before = path.carried()[0];
        let rate = pair.fetch(random, mib).await?;
        shares.push(share(path.carried()[0] - before, u64::from(mib) << 20));
        Ok(rate)
    });
    let rates = rates.await?;
    report.figure("hobnob, random bytes, 10 Mbit/s", "MiB/s", rates);
    let shares = Samples::new(shares).context("no rounds")?;
    report.figure("hobnob, bytes on the path for 100 random ones", "", shares);
    Ok(())
}

async fn messages_on_a_thin_path(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let rounds = plan.pick(1, 3);
    for (what, texts) in [
        ("messages of a paragraph", paragraphs()),
        ("messages of a line", lines()),
    ] {
        let texts: Vec<_> = texts
            .into_iter()
            .cycle()
            .take(plan.pick(2_000, 6_000))
            .collect();
        let bytes: usize = texts.iter().map(String::len).sum();
        let bytes = u64::try_from(bytes)?;
        let (mut shares, mut seconds) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let memory = Memory::of(std::io::empty())?;
            let dir = plan.folder(&format!("{what} {round}"))?;
            let pair = Pair::new(&dir, &memory, |builder| builder).await?;
            // More than twenty messages of a stranger would wait.
            pair.ann.accept_contact(pair.bob.id()).await?;
            pair.bob.accept_contact(pair.ann.id()).await?;
            let bob = Target::Id(pair.bob.id());
            let mut last = None;
            for text in &texts {
                last = Some(pair.ann.send(bob.clone(), text.as_str().into()).await?.id);
            }
            let last = last.context("no messages")?;
            let listens = pair.bob.status().await?.addrs[0];
            let path = DelayedPath::with_limit(listens, EACH_WAY, THIN)?;
            let begun = Stopwatch::start();
            pair.meet(path.addr().to_string().parse()?).await?;
            pair.ann.wait_for(last, DeliveryState::Delivered).await?;
            seconds.push(begun.elapsed().as_secs_f64());
            shares.push(share(path.carried()[0], bytes));
        }
        let about = format!(
            "hobnob, {} {what} for somebody who was away, 10 Mbit/s",
            texts.len()
        );
        report.figure(about, "s", Samples::new(seconds).context("no rounds")?);
        let about = format!("the same, bytes on the path for 100 of text ({bytes} in all)");
        report.figure(about, "", Samples::new(shares).context("no rounds")?);
    }
    Ok(())
}

/// Two nodes with a thin path between them, on which ann has dialed bob.
async fn thin_pair(
    plan: &Plan,
    folder: &str,
    memory: &Memory,
) -> anyhow::Result<(Pair, DelayedPath)> {
    let pair = Pair::new(&plan.folder(folder)?, memory, |builder| builder).await?;
    let path = DelayedPath::with_limit(pair.bob.status().await?.addrs[0], EACH_WAY, THIN)?;
    pair.meet(path.addr().to_string().parse()?).await?;
    Ok((pair, path))
}

/// The share of `part` in `of`, in percent.
fn share(part: u64, of: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
    let share = 100.0 * part as f64 / of as f64;
    share
}

/// A file in memory, of source code of crates.
fn sources(mib: u32) -> anyhow::Result<Memory> {
    let registry = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => PathBuf::from(std::env::var_os("HOME").context("no HOME")?).join(".cargo"),
    };
    let wanted = usize::try_from(mib)? << 20;
    let mut text = Vec::with_capacity(wanted);
    add_sources(&registry.join("registry/src"), wanted, &mut text)?;
    ensure!(!text.is_empty(), "cargo has downloaded no sources");
    let whole = text.len();
    // A small registry has less. The copies are farther apart than any piece is long.
    while text.len() < wanted {
        text.extend_from_within(..whole.min(wanted - text.len()));
    }
    Memory::of(&text[..wanted])
}

fn add_sources(folder: &Path, wanted: usize, text: &mut Vec<u8>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder)?;
    let mut paths: Vec<_> = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    // The same order on each machine.
    paths.sort();
    for path in paths {
        if text.len() >= wanted {
            return Ok(());
        }
        if path.is_dir() {
            add_sources(&path, wanted, text)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            std::fs::File::open(path)?.read_to_end(text)?;
        }
    }
    Ok(())
}

fn documentation() -> String {
    [
        include_str!("../../../../../docs/GUIDE.md"),
        include_str!("../../../../../docs/PROTOCOL.md"),
        include_str!("../../../../../docs/RELAY.md"),
        include_str!("../../../../../docs/THREATS.md"),
    ]
    .join("\n\n")
}

/// The paragraphs of the documentation.
fn paragraphs() -> Vec<String> {
    let text = documentation();
    let paragraphs = text.split("\n\n").map(str::trim);
    let paragraphs = paragraphs.filter(|text| !text.is_empty() && text.len() < 16_000);
    paragraphs.map(str::to_owned).collect()
}

/// The lines of the documentation, which are as long as chat messages.
fn lines() -> Vec<String> {
    let text = documentation();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}
