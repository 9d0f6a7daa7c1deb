//! Benchmark of two QUIC endpoints that reach each other only through a relay; compared with iroh's
//! endpoints and iroh's relay.

use std::time::Duration;

use super::{relay, samples};
use crate::plan::Plan;
use crate::relay::Pair;
use crate::report::{Aim, Report};
use crate::rivals::iroh::Iroh;
use crate::stats::Samples;
use crate::turns::Contest;

const MIB: f64 = 1024.0 * 1024.0;

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, bytes) = (plan.pick(3, 9), plan.pick(64, 256) << 20);
    let (times, size) = (plan.pick(500, 2000), 64);
    let relay = relay(plan, "relay-through")?;
    let pair = Pair::new(&relay).await?;
    let mut iroh = plan.rival(Iroh::start(plan.target())).await;
    let (mut our_cpu, mut their_cpu) = (Vec::new(), Vec::new());
    let contest = Contest {
        ours: "hobnob, one stream through a relay",
        theirs: "iroh, one stream through iroh-relay",
        unit: "MiB/s",
        rounds,
        aim: Aim::AtLeast(2.5),
    };
    let ours = async || {
        let before = relay.cpu()?;
        let seconds = pair.bulk(bytes).await?;
        our_cpu.push(per_mib(relay.cpu()? - before, bytes));
        Ok(bytes as f64 / MIB / seconds)
    };
    // iroh sends a quarter of the bytes, which takes about as long.
    let fewer = bytes / 4;
    let theirs = iroh.as_mut().map(|iroh| {
        let their_cpu = &mut their_cpu;
        async move || {
            let before = iroh.cpu()?;
            let seconds = iroh.bulk(fewer).await?;
            their_cpu.push(per_mib(iroh.cpu()? - before, fewer));
            Ok(fewer as f64 / MIB / seconds)
        }
    });
    contest.run(report, ours, theirs).await?;
    compare_cpu(report, &our_cpu, &their_cpu)?;
    let contest = Contest {
        ours: "hobnob, round trip of 64 bytes through a relay, p50",
        theirs: "iroh, the same through iroh-relay, p50",
        unit: "µs",
        rounds,
        aim: Aim::AtMost(0.8),
    };
    let theirs = iroh
        .as_mut()
        .map(|iroh| async move || iroh.echo(times, size).await);
    contest
        .run(report, async || pair.echo(times, size).await, theirs)
        .await
}

fn per_mib(cpu: Duration, bytes: u64) -> f64 {
    cpu.as_secs_f64() * 1e3 / (bytes as f64 / MIB)
}

/// Ignores the first round of each, as the contest does.
fn compare_cpu(report: &mut Report, ours: &[f64], theirs: &[f64]) -> anyhow::Result<()> {
    let ratios = Samples::new(
        ours.iter()
            .zip(theirs)
            .skip(1)
            .map(|(us, them)| us / them)
            .collect(),
    );
    let aim = ratios.is_some().then_some(Aim::AtMost(0.25));
    report.line(
        "hobnob's relay, processor time",
        "ms/MiB",
        samples(ours[1..].to_vec())?,
        ratios,
        aim,
    );
    if let [_, theirs @ ..] = theirs {
        report.figure(
            "iroh-relay, processor time",
            "ms/MiB",
            samples(theirs.to_vec())?,
        );
    }
    Ok(())
}
