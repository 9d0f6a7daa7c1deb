//! Messages of 1,200 bytes that come one by one, from client to client: what each costs the relay;
//! beside coturn, whose own generator paces itself.

use std::time::Duration;

use anyhow::ensure;

use super::relay;
use crate::plan::Plan;
use crate::relay::{INNER, Load, Offer};
use crate::report::{Aim, Report};
use crate::rivals::coturn::Coturn;
use crate::turns::Contest;

/// About what coturn's generator says in a second.
const PER_SECOND: f64 = 5_000.0;

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, messages) = (plan.pick(2, 4), plan.pick(5_000, 20_000));
    let relay = relay(plan, "relay-frames")?;
    let load = Load::new(&relay, 20).await?;
    let coturn = plan
        .rival(async { Coturn::start(&plan.folder("coturn")?).await })
        .await;
    let contest = Contest {
        ours: "hobnob's relay, 1,200 B, one by one, 5,000 a second",
        theirs: "coturn, client to client, 1,200 B, as fast as its generator",
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
