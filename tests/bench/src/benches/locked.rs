//! Benchmark of a locked home: the time until a message is on disk, encrypted and not.

use hobnob::Node;
use hobnob::protocol::RoomName;

use super::median_us;
use crate::nodes;
use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::turns::Contest;

const BYTES: usize = 64;

const PASSPHRASE: &str = "tin roof rust";

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, times) = (plan.pick(4, 12), plan.pick(100, 400));
    let dir = plan.folder("locked")?;
    let plain = nodes::start(&dir, "ann").await?;
    nodes::start(&dir, "bob").await?.shutdown().await;
    let home = dir.join("bob");
    hobnob::lock_home(&home, PASSPHRASE)?;
    let locked = Node::builder(&home).passphrase(PASSPHRASE).loopback();
    let locked = locked.start().await?;
    let contest = Contest {
        ours: "a message on disk in a locked home, p50",
        theirs: "the same in a home that is not locked, p50",
        unit: "µs",
        rounds,
        aim: Aim::AtMost(1.5),
    };
    let (body, room) = (nodes::text(BYTES), RoomName::lobby());
    let send = async |node: &Node| {
        let send = async || {
            let sent = node.broadcast(room.clone(), body.clone()).await;
            sent.map(drop).map_err(Into::into)
        };
        median_us(times, send).await
    };
    contest
        .run(
            report,
            async || send(&locked).await,
            anyhow::Result::<_, &mut anyhow::Error>::Ok(async || send(&plain).await),
        )
        .await?;
    locked.shutdown().await;
    plain.shutdown().await;
    Ok(())
}
