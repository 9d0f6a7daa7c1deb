//! Benchmark of latency: one durable message at a time, from `send` until its receipt.

use crate::nodes;
use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::rivals::bare_quinn::Echo;
use crate::rivals::bare_sqlite::Table;
use crate::turns::{Contest, alone};

use super::round_trip::median_us;

const BYTES: usize = 64;

/// More commits than a store's write-ahead log holds before it starts again from the beginning.
const LONG: usize = 1000;

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, times) = (plan.pick(4, 12), plan.pick(100, 400));
    let dir = plan.folder("one")?;
    let (ann, bob) = nodes::pair(&dir).await?;
    let (reader, peer, body) = (nodes::Reader::of(&bob), bob.id(), nodes::text(BYTES));
    let table = Table::new(&dir.join("bare.db"))?;
    let mut echo = plan.rival(Echo::new(BYTES)).await;
    // Fills the write-ahead logs, as in a store that has been in use.
    for _ in 0..LONG {
        nodes::deliver(&ann, peer, &body).await?;
    }
    let contest = Contest {
        ours: "hobnob, send to receipt, p50",
        theirs: "two bare SQLite commits, synchronous=FULL, and a bare quinn round trip, p50s",
        unit: "µs",
        rounds,
        aim: Aim::AtMost(1.2),
    };
    let ours = async || {
        let median = median_us(times, async || nodes::deliver(&ann, peer, &body).await).await;
        nodes::index(&[&ann, &bob]).await?;
        median
    };
    let commit = async || median_us(times, async || table.commit(&[7; BYTES])).await;
    let theirs = echo.as_mut().map(|echo| {
        async move || {
            Ok(2.0 * commit().await? + median_us(times, async || echo.round_trip().await).await?)
        }
    });
    contest.run(report, ours, theirs).await?;
    anyhow::ensure!(reader.count() > 0, "bob received nothing");
    report.figure(
        "one of these commits, p50",
        "µs",
        alone(rounds, commit).await?,
    );
    ann.shutdown().await;
    bob.shutdown().await;
    Ok(())
}
