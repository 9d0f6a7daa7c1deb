//! Benchmark of the relay's processor time for single messages of 1,200 bytes between two clients;
//! compared with coturn, whose load generator chooses its own rate.

use std::time::Duration;

use anyhow::ensure;

use super::relay;
use crate::plan::Plan;
use crate::relay::{INNER, Load, Offer};
use crate::report::{Aim, Report};
use crate::rivals::coturn::Coturn;
use crate::turns::Contest;

/// About the rate of coturn's generator.
const PER_SECOND: f64 = 5_000.0;

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, messages) = (plan.pick(2, 4), plan.pick(5_000, 20_000));
    let relay = relay(plan, "relay-frames")?;
    let load = Load::new(&relay, 20).await?;
    let coturn = plan
        .rival(async { Coturn::start(&plan.folder("coturn")?).await })
        .await;
    let contest = Contest {
        ours: "hobnob's relay, single messages of 1,200 B, 5,000 per second",
        theirs: "coturn, the same between two clients, at the rate of its generator",
        unit: "µs/message",
        rounds,
        aim: Aim::AtMost(0.5),
    };
    let ours = async || {
        let before = relay.cpu()?;
        let time = Duration::from_secs_f64(messages as f64 / PER_SECOND);
        let outcome = load
            .offer(Offer {
                frames_per_second: PER_SECOND,
                time,
                at_once: 1,
                timed: false,
            })
            .await?;
        ensure!(
            outcome.arrived * 100 > outcome.sent * 99,
            "{} of {} messages arrived",
            outcome.arrived,
            outcome.sent
        );
        Ok((relay.cpu()? - before).as_secs_f64() * 1e6 / outcome.arrived as f64)
    };
    let mut coturn = coturn;
    let theirs = coturn
        .as_mut()
        .map(|coturn| async move || coturn.cpu_per_message(messages, INNER).await);
    contest.run(report, ours, theirs).await
}
