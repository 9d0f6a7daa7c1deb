//! A file over a path that takes time.

use std::time::Duration;

use hobnob_tests::far::Far;

use super::{Memory, Pair};
use crate::plan::Plan;
use crate::report::Report;
use crate::turns::alone;

/// As between continents.
const EACH_WAY: Duration = Duration::from_millis(50);

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mib = plan.pick(64, 512);
    let memory = Memory::new(mib)?;
    let pair = Pair::new(&plan.folder("far")?, &memory, |builder| builder).await?;
    let path = Far::away(pair.bob.status().await?.addrs[0], EACH_WAY)?;
    pair.meet(path.addr().to_string().parse()?).await?;
    let rates = alone(plan.pick(1, 3), async || pair.fetch(&memory, mib).await).await?;
    report.figure("hobnob, a file over a path of 100 ms there and back", "MiB/s", rates);
    Ok(())
}
