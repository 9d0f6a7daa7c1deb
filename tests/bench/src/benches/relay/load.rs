//! A relay on a processor of its own that gets more than it can pass on, and one at half its
//! ceiling.
//!
//! Frames of two channels come in turn, so that each is sent by itself: what many peers who say
//! little ask of a relay.

use std::time::Duration;

use anyhow::Context;

use super::{relay, samples};
use crate::plan::Plan;
use crate::relay::{Crowd, Load, Offer, Relay, pin};
use crate::report::{Aim, Report};

/// Frames that the generator gives to the system as one: it has to be cheaper than the relay.
const AT_ONCE: usize = 10;

const START: f64 = 50_000.0;

const STEP: f64 = 1.25;

/// Of what is offered, below the ceiling.
const PASSES: f64 = 0.97;

/// How often less may pass before that is the ceiling.
const FAILS: usize = 2;

/// A peer that says little while another floods the relay.
const MODEST: f64 = 2_000.0;

/// More than any generator makes: it sends as fast as it can.
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
        "hobnob's relay, frames of 1,200 B passed on, at most",
        "frames/s",
        samples(vec![ceiling])?,
    );
    let mut shares = Vec::new();
    for _ in 0..rounds {
        shares.push(load.offer(offer(ceiling * 1.5, false)).await?.goodput() / ceiling);
    }
    let at_most = Some(Aim::AtLeast(0.9));
    report.line(
        "of this, while 150 % of it is offered",
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
        "a message of 64 B through it at half load, p50",
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
        "what a modest peer keeps while another floods at line rate",
        "×",
        samples(kept)?,
        None,
        at_least,
    );
    drop(apart);
    Ok(())
}

/// A few messages, while many newcomers shake hands with the relay.
async fn beside_newcomers(
    plan: &Plan,
    report: &mut Report,
    relay: &Relay,
    load: &Load,
) -> anyhow::Result<()> {
    let (id, addr, count) = (relay.id, relay.addr, plan.pick(300, 2_000));
    // On a thread of their own: the messages must not wait for the newcomers' work.
    let (tell, begins) = tokio::sync::oneshot::channel();
    let newcomers = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut crowd = Crowd::new(id, addr, count)?;
            let _nobody_asks = tell.send(());
            crowd.comes().await
        })
    });
    // An error means that they don't come: then they say why.
    let _begun = begins.await;
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
        format!("a message of 64 B through it while {count} newcomers come, p50"),
        "µs",
        quantile(0.5)?,
    );
    report.figure("the same, p99", "µs", quantile(0.99)?);
    Ok(())
}

/// Offers more and more until not all of it passes, several times in a row: something else may have
/// had the processor.
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

/// While this lives, the relay has one processor and this process another.
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
        // It worked before.
        let _ = pin(std::process::id(), None);
    }
}
