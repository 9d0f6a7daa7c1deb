//! Ten thousand peers that are there and say nothing: memory, heartbeats, and the moment when they
//! all come back.

use std::time::Duration;

use super::{relay, samples};
use crate::plan::Plan;
use crate::relay::Crowd;
use crate::report::{Aim, Report};

/// How often the relay wants a heartbeat.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// For the relay to be done with those who have just come.
const SETTLING: Duration = Duration::from_secs(3);

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (peers, fewer) = plan.pick((2_000, 1_800), (10_000, 9_000));
    let relay = relay(plan, "relay-crowd")?;
    let alone = relay.memory()?;
    let mut crowd = Crowd::new(relay.id, relay.addr, fewer)?;
    crowd.comes().await?;
    tokio::time::sleep(SETTLING).await;
    let each = (relay.memory()? - alone) / fewer as f64;
    let aim = Some(Aim::AtMost(28.0));
    report.line(
        format!("hobnob's relay, memory of an idle peer, of {fewer}"),
        "KiB",
        samples(vec![each])?,
        None,
        aim,
    );
    drop((crowd, relay));

    let mut relay = super::relay(plan, "relay-crowd")?;
    let mut crowd = Crowd::new(relay.id, relay.addr, peers)?;
    crowd.comes().await?;
    tokio::time::sleep(SETTLING).await;
    let before = relay.cpu()?;
    crowd.beats(HEARTBEAT_EVERY).await?;
    let used = (relay.cpu()? - before).as_secs_f64() / HEARTBEAT_EVERY.as_secs_f64() * 100.0;
    report.figure(
        format!("hobnob's relay, heartbeats of {peers} peers, of one processor"),
        "%",
        samples(vec![used])?,
    );
    // The peers' share of the work is the larger one, and they have no processor of their own: this
    // is how long both take.
    let (mut took, mut used) = (Vec::new(), Vec::new());
    for _ in 0..plan.pick(1, 3) {
        relay = relay.restart()?;
        crowd.vanishes()?;
        took.push(crowd.comes().await?);
        used.push(relay.cpu()?.as_secs_f64());
    }
    let aim = Some(Aim::AtMost(8.0));
    report.line(
        format!("{peers} peers come back at once, to the last"),
        "s",
        samples(took)?,
        None,
        aim,
    );
    report.figure("the relay's processor time of this", "s", samples(used)?);
    Ok(())
}
