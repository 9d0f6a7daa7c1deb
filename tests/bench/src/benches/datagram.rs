//! Benchmark of a datagram between programs of two nodes, and back: compared with plain quinn.

use std::time::Duration;

use anyhow::ensure;
use hobnob::App;

use super::median_us;
use crate::nodes;
use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::rivals::bare_quinn::DatagramEcho;
use crate::turns::Contest;

/// Bytes of a datagram: the position of a ball and two paddles, for example.
const BYTES: usize = 100;

/// Datagrams of a round. A node sends at most 512 to one peer at once, and 4,000 a second.
const TIMES: usize = 400;

/// After this time a node may send as many again.
const PAUSE: Duration = Duration::from_millis(150);

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (ann, bob) = nodes::pair(&plan.folder("datagram")?).await?;
    let (near, far) = (ann.app("bench")?, bob.app("bench")?);
    // It ends with bob's node.
    tokio::spawn(answer(far));
    let mut echo = plan.rival(DatagramEcho::new(BYTES)).await;
    let contest = Contest {
        ours: "hobnob, a datagram of 100 bytes between two programs and back, p50",
        theirs: "bare quinn datagram, the same number of bytes, p50",
        unit: "µs",
        rounds: plan.pick(4, 12),
        aim: Aim::AtMost(1.5),
    };
    let message = [7; BYTES];
    let ours = async || {
        tokio::time::sleep(PAUSE).await;
        let once = async || {
            near.send_datagram(bob.id(), &message)?;
            let answer = near.recv_datagram().await?;
            ensure!(answer.bytes[..] == message, "another datagram came back");
            Ok(())
        };
        median_us(TIMES, once).await
    };
    let theirs = echo.as_mut().map(|echo| {
        async move || {
            tokio::time::sleep(PAUSE).await;
            median_us(TIMES, async || echo.round_trip().await).await
        }
    });
    contest.run(report, ours, theirs).await?;
    ann.shutdown().await;
    bob.shutdown().await;
    Ok(())
}

/// Sends each datagram back.
async fn answer(program: App) {
    while let Ok(datagram) = program.recv_datagram().await {
        if program
            .send_datagram(datagram.from, &datagram.bytes)
            .is_err()
        {
            return;
        }
    }
}
