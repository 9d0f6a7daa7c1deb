//! Benchmark of a relay with sleeping peers: memory of each, processor time of their heartbeats, and
//! memory after they have left.

use std::time::Duration;

use super::samples;
use crate::plan::Plan;
use crate::relay::{BEAT_EVERY, Relay, Sleepers};
use crate::report::{Aim, Report};

/// Time until the relay has processed what was sent.
const SETTLING: Duration = Duration::from_secs(5);

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let peers = plan.pick(2_000, 1_000_000);
    let relay = Relay::for_peers(&plan.folder("relay-sleepers")?, peers)?;
    let alone = relay.memory()?;
    let sleepers = Sleepers::fall_asleep(relay.id, relay.addr, peers).await?;
    tokio::time::sleep(SETTLING).await;
    sleepers.check().await?;
    // The connections of the peers that were awake left memory to be used again, which is shown by
    // the short form more than by the long one.
    let each = (relay.memory()? - alone) * 1_024.0 / peers as f64;
    report.line(
        format!("hobnob's relay, memory of each of {peers} sleeping peers"),
        "B",
        samples(vec![each])?,
        None,
        plan.pick(None, Some(Aim::AtMost(400.0))),
    );
    let before = relay.cpu()?;
    tokio::time::sleep(BEAT_EVERY).await;
    let used = (relay.cpu()? - before).as_secs_f64() / BEAT_EVERY.as_secs_f64() * 100.0;
    report.line(
        format!("hobnob's relay, heartbeats of {peers} sleeping peers, share of one processor"),
        "%",
        samples(vec![used])?,
        None,
        Some(Aim::AtMost(40.0)),
    );
    sleepers.check().await?;
    sleepers.leave().await?;
    tokio::time::sleep(SETTLING).await;
    let left = (relay.memory()? - alone) / 1_024.0;
    report.figure(
        format!("hobnob's relay, memory after {peers} sleeping peers have left, above its start"),
        "MiB",
        samples(vec![left])?,
    );
    Ok(())
}
