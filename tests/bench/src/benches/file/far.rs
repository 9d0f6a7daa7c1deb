//! Benchmarks of a file over a path with delay or a limited rate.

use std::time::Duration;

use hobnob_tests::delayed_path::{DelayedPath, RateLimit};

use super::{Memory, Pair};
use crate::plan::Plan;
use crate::report::Report;
use crate::turns::alone;

/// A delay as between continents.
const EACH_WAY: Duration = Duration::from_millis(50);

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mib = plan.pick(64, 512);
    let memory = Memory::new(mib)?;
    let pair = Pair::new(&plan.folder("far")?, &memory, |builder| builder).await?;
    let path = DelayedPath::new(pair.bob.status().await?.addrs[0], EACH_WAY)?;
    pair.meet(path.addr().to_string().parse()?).await?;
    let rates = alone(plan.pick(1, 3), async || pair.fetch(&memory, mib).await).await?;
    report.figure(
        "hobnob, a file over a path with a round trip of 100 ms",
        "MiB/s",
        rates,
    );
    Ok(())
}

/// The uplink of a home: 50 Mbit/s, with a queue that takes 320 ms to drain.
const HOME: RateLimit = RateLimit {
    bytes_per_s: 6_250_000,
    queue_bytes: 2_000_000,
};
const HOME_EACH_WAY: Duration = Duration::from_millis(10);

pub(in crate::benches) async fn thin(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mib = plan.pick(64, 128);
    let memory = Memory::new(mib)?;
    let pair = Pair::new(&plan.folder("thin")?, &memory, |builder| builder).await?;
    let path = DelayedPath::with_limit(pair.bob.status().await?.addrs[0], HOME_EACH_WAY, HOME)?;
    pair.meet(path.addr().to_string().parse()?).await?;
    super::messages_during_transfer(&pair, &memory, plan.pick(1, 3), report).await?;
    let rates = alone(1, async || pair.fetch(&memory, mib).await).await?;
    report.figure("hobnob, a file over a path of 5.96 MiB/s", "MiB/s", rates);
    Ok(())
}
