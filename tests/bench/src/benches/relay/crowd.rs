//! Benchmark of a relay with ten thousand idle peers: memory, heartbeats, and the return of all
//! peers after a restart.

use std::time::Duration;

use super::{relay, samples};
use crate::plan::Plan;
use crate::relay::Crowd;
use crate::report::{Aim, Report};

/// The relay's interval for heartbeats.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// Time until the relay has processed all registrations.
const SETTLING: Duration = Duration::from_secs(3);

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (peers, fewer) = plan.pick((2_000, 1_800), (10_000, 9_000));
    let relay = relay(plan, "relay-crowd")?;
    let alone = relay.memory()?;
    let mut crowd = Crowd::new(relay.id, relay.addr, fewer)?;
    crowd.registers().await?;
    tokio::time::sleep(SETTLING).await;
    let each = (relay.memory()? - alone) / fewer as f64;
    let aim = Some(Aim::AtMost(28.0));
    report.line(
        format!("hobnob's relay, memory of each of {fewer} idle peers"),
        "KiB",
        samples(vec![each])?,
        None,
        aim,
    );
    drop((crowd, relay));

    let mut relay = super::relay(plan, "relay-crowd")?;
    let mut crowd = Crowd::new(relay.id, relay.addr, peers)?;
    crowd.registers().await?;
    tokio::time::sleep(SETTLING).await;
    let before = relay.cpu()?;
    crowd.sends_heartbeats(HEARTBEAT_EVERY).await?;
    let used = (relay.cpu()? - before).as_secs_f64() / HEARTBEAT_EVERY.as_secs_f64() * 100.0;
    report.figure(
        format!("hobnob's relay, heartbeats of {peers} peers, share of one processor"),
        "%",
        samples(vec![used])?,
    );
    // The peers run on the same processors and do the larger part of the work. So this time
    // includes the work of both.
    let (mut took, mut used) = (Vec::new(), Vec::new());
    for _ in 0..plan.pick(1, 3) {
        relay = relay.restart()?;
        crowd.disconnects_silently()?;
        took.push(crowd.registers().await?);
        used.push(relay.cpu()?.as_secs_f64());
    }
    let aim = Some(Aim::AtMost(8.0));
    report.line(
        format!("{peers} peers return at once, until the last one is registered"),
        "s",
        samples(took)?,
        None,
        aim,
    );
    report.figure("the relay's processor time for this", "s", samples(used)?);
    Ok(())
}
