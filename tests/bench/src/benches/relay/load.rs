//! Benchmarks of a relay on its own processor: its maximum rate, overload, and latency at half
//! load.
//!
//! Frames alternate between two channels, so that the relay sends each one separately, as for many
//! peers that send little.

use std::time::Duration;

use anyhow::Context;

use super::{relay, samples};
use crate::plan::Plan;
use crate::relay::{Crowd, Load, Offer, Relay, pin};
use crate::report::{Aim, Report};

/// Frames that the generator sends with one system call. The generator must use less processor time
/// than the relay.
const AT_ONCE: usize = 10;

/// Frames per second of the first attempt.
const START: f64 = 50_000.0;

/// The rate grows by this factor.
const STEP: f64 = 1.25;

/// Share of the frames that arrive while the relay is below its maximum rate.
const PASSES: f64 = 0.97;

/// How often in a row the share may be lower before the rate counts as the maximum.
const FAILS: usize = 2;

/// Frames per second of a modest peer, while another one floods the relay.
const MODEST: f64 = 2_000.0;

/// More frames per second than the generator can send, so it sends as fast as it can.
const FLOOD: f64 = 1e9;

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let relay = relay(plan, "relay-load")?;
    let (load, modest) = (Load::new(&relay, 40).await?, Load::new(&relay, 50).await?);
    let apart = Apart::new(&relay)?;
    let rounds = plan.pick(2, 5);
    let offer = |rate, timed| Offer {
        frames_per_second: rate,
        time: Duration::from_millis(plan.pick(700, 1500)),
        at_once: AT_ONCE,
        timed,
    };
    beside_newcomers(plan, report, &relay, &modest).await?;
    let ceiling = ceiling(&load, |rate| offer(rate, false)).await?;
    report.figure(
        "hobnob's relay, maximum rate of forwarded frames of 1,200 B",
        "frames/s",
        samples(vec![ceiling])?,
    );
    let mut shares = Vec::new();
    for _ in 0..rounds {
        shares.push(load.offer(offer(ceiling * 1.5, false)).await?.goodput() / ceiling);
    }
    let at_most = Some(Aim::AtLeast(0.9));
    report.line(
        "share of this rate while 150 % of it is sent",
        "×",
        samples(shares)?,
        None,
        at_most,
    );
    let (mut medians, mut tails) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let latencies = load.offer(offer(ceiling * 0.5, true)).await?.latencies;
        let latencies = samples(latencies)?;
        medians.push(latencies.median());
        tails.push(latencies.quantile(0.99));
    }
    report.figure(
        "a message of 64 B through the relay at half load, p50",
        "µs",
        samples(medians)?,
    );
    report.figure("the same, p99", "µs", samples(tails)?);
    let mut kept = Vec::new();
    for _ in 0..rounds {
        let little = Offer {
            at_once: 1,
            ..offer(MODEST, false)
        };
        let before = modest.offer(little).await?;
        let (_, beside) = tokio::join!(load.offer(offer(FLOOD, false)), modest.offer(little));
        kept.push(beside?.share() / before.share());
    }
    let at_least = Some(Aim::AtLeast(0.9));
    report.line(
        "arrived frames of a modest peer during a flood at line rate, relative to no flood",
        "×",
        samples(kept)?,
        None,
        at_least,
    );
    drop(apart);
    Ok(())
}

/// Measures messages while many new peers do their handshakes with the relay.
async fn beside_newcomers(
    plan: &Plan,
    report: &mut Report,
    relay: &Relay,
    load: &Load,
) -> anyhow::Result<()> {
    let (id, addr, count) = (relay.id, relay.addr, plan.pick(300, 2_000));
    // The new peers have their own thread, so that the messages do not wait for their work.
    let (started, has_started) = tokio::sync::oneshot::channel();
    let newcomers = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut crowd = Crowd::new(id, addr, count)?;
            let _nobody_asks = started.send(());
            crowd.registers().await
        })
    });
    // An error means that the thread failed. Joining it below returns the reason.
    let _begun = has_started.await;
    let mut latencies = Vec::new();
    while !newcomers.is_finished() {
        let time = Duration::from_millis(200);
        let few = Offer {
            frames_per_second: MODEST,
            time,
            at_once: 1,
            timed: true,
        };
        latencies.extend(load.offer(few).await?.latencies);
    }
    newcomers
        .join()
        .ok()
        .context("the newcomers' thread failed")??;
    let latencies = samples(latencies)?;
    let quantile = |share| samples(vec![latencies.quantile(share)]);
    report.figure(
        format!("a message of 64 B through the relay while {count} new peers register, p50"),
        "µs",
        quantile(0.5)?,
    );
    report.figure("the same, p99", "µs", quantile(0.99)?);
    Ok(())
}

/// Increases the rate until frames are lost several times in a row. A single loss may have another
/// cause, such as another process on the processor.
async fn ceiling(load: &Load, offer: impl Fn(f64) -> Offer) -> anyhow::Result<f64> {
    let (mut rate, mut best, mut failed) = (START, 0.0_f64, 0);
    loop {
        let outcome = load.offer(offer(rate)).await?;
        best = best.max(outcome.goodput());
        let generated = outcome.sent as f64 / outcome.seconds;
        anyhow::ensure!(
            generated > rate * 0.8,
            "the generator is slower than the relay: {generated:.0} frames a second"
        );
        if outcome.share() > PASSES {
            (rate, failed) = (rate * STEP, 0);
        } else if failed < FAILS {
            failed += 1;
        } else {
            return Ok(best);
        }
    }
}

/// While this value exists, the relay has one processor and this process another.
struct Apart;

impl Apart {
    fn new(relay: &Relay) -> anyhow::Result<Self> {
        pin(relay.pid(), Some(0))?;
        pin(std::process::id(), Some(1))?;
        Ok(Self)
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Cannot fail, because `new` did the same.
        let _ = pin(std::process::id(), None);
    }
}
