//! One durable message at a time, from `send` until it is known to be on the other's disk.

use crate::nodes;
use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::rivals::bare_quinn::Echo;
use crate::rivals::bare_sqlite::Table;
use crate::turns::{alone, take_turns};

use super::round_trip::median_us;

const BYTES: usize = 64;

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, times) = (plan.pick(4, 12), plan.pick(100, 400));
    let dir = plan.folder("one")?;
    let (ann, bob) = nodes::pair(&dir).await?;
    let (reader, peer, body) = (nodes::Reader::of(&bob), bob.id(), nodes::text(BYTES));
    let (here, there) = (Table::new(&dir.join("here.db"))?, Table::new(&dir.join("there.db"))?);
    let mut echo = Echo::new(BYTES, move |message| there.commit(message)).await?;
    let turns = take_turns(
        rounds,
        async || {
            let median = median_us(times, async || nodes::deliver(&ann, peer, &body).await).await;
            nodes::index(&[&ann, &bob]).await?;
            median
        },
        async || {
            let once = async || {
                here.commit(&[7; BYTES])?;
                echo.round_trip().await
            };
            median_us(times, once).await
        },
    );
    let turns = turns.await?;
    anyhow::ensure!(reader.count() > 0, "bob heard nothing");
    report.turns(
        "hobnob, send to receipt, p50",
        "commit here, quinn there, commit there, quinn back, p50",
        "µs",
        turns,
        Some(Aim::AtMost(1.2)),
    );
    let commits = alone(rounds, async || median_us(times, async || here.commit(&[7; BYTES])).await).await?;
    report.line("one bare SQLite commit, synchronous=FULL, p50", "µs", commits, None);
    ann.shutdown().await;
    bob.shutdown().await;
    Ok(())
}
