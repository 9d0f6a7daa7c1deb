//! Benchmark of the library: the time until a message is on disk, by a call of the library and by a
//! request through the local socket.

use hobnob::protocol::RoomName;
use hobnob::{Config, DeliveryState};
use hobnob_control::Home;
use hobnob_control::attach::attach;
use hobnob_control::wire::{BodyFields, BroadcastMessage, Text, WaitOptions};

use super::median_us;
use crate::nodes;
use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::turns::Contest;

const BYTES: usize = 64;

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, times) = (plan.pick(4, 12), plan.pick(100, 400));
    let dir = plan.folder("library")?;
    // Two nodes, because a node with a local socket belongs to the process that serves the socket.
    let node = nodes::start(&dir, "ann").await?;
    let home = Home::at(&dir.join("bob"))?;
    let config = Config {
        listen: Some("127.0.0.1:0".parse()?),
        mdns: false,
        ..Config::new(home.data_dir())
    };
    let attached = attach(&home, || config).await?;
    let (body, room) = (nodes::text(BYTES), RoomName::lobby());
    let contest = Contest {
        ours: "hobnob, a message on disk, by a call of the library, p50",
        theirs: "the same by a request through the local socket, p50",
        unit: "µs",
        rounds,
        aim: Aim::AtMost(1.0),
    };
    let by_call = async || {
        let send = async || {
            node.broadcast(room.clone(), body.clone())
                .await
                .map(drop)
                .map_err(Into::into)
        };
        median_us(times, send).await
    };
    let by_line = async || {
        let options = WaitOptions {
            wait: DeliveryState::Queued,
            timeout_ms: 0,
        };
        let line = || BroadcastMessage {
            client_id: None,
            room: Text(room.clone()),
            body: BodyFields::from(body.clone()),
            options,
        };
        let send = async || {
            attached
                .client
                .ask(line())
                .await
                .map(drop)
                .map_err(Into::into)
        };
        median_us(times, send).await
    };
    contest
        .run(
            report,
            by_call,
            anyhow::Result::<_, &mut anyhow::Error>::Ok(by_line),
        )
        .await?;
    attached.finish().await;
    node.shutdown().await;
    Ok(())
}
