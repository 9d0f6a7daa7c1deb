//! Benchmark of a file through a relay. No direct path exists, because peers do not exchange
//! loopback addresses.

use anyhow::ensure;
use hobnob::PathKind;
use hobnob::protocol::{HostPort, RelayAddr, RelayAt, Target};

use super::{Memory, Pair};
use crate::plan::Plan;
use crate::relay::Relay;
use crate::report::{Aim, Report};
use crate::rivals::iroh::Iroh;
use crate::turns::Contest;

pub(in crate::benches) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mib = plan.pick(64, 512);
    let memory = Memory::new(mib)?;
    let relay = Relay::start(&plan.folder("file-relay")?)?;
    let at = RelayAt::from(HostPort {
        host: relay.addr.ip().to_string(),
        port: relay.addr.port(),
    });
    let by = RelayAddr {
        id: Some(relay.id),
        at: at.clone(),
    };
    let pair = Pair::new(&plan.folder("relayed")?, &memory, |builder| {
        builder.relay(by.clone())
    })
    .await?;
    pair.bob.settled().await;
    pair.meet(Target::AtRelay(pair.bob.id(), at)).await?;
    let mut iroh = plan.rival(Iroh::start(plan.target())).await;
    let contest = Contest {
        ours: "hobnob, a file through a relay, hash checked and on disk",
        theirs: "iroh, the same bytes on one stream through iroh-relay, not hashed, not stored",
        unit: "MiB/s",
        rounds: plan.pick(2, 5),
        aim: Aim::AtLeast(2.5),
    };
    // iroh sends a quarter of the bytes, which takes about as long.
    let bytes = u64::from(mib / 4) << 20;
    let theirs = iroh
        .as_mut()
        .map(|iroh| async move || Ok(f64::from(mib / 4) / iroh.bulk(bytes).await?));
    contest
        .run(report, async || pair.fetch(&memory, mib).await, theirs)
        .await?;
    let path = pair
        .ann
        .peer(pair.bob.id())
        .await?
        .and_then(|peer| peer.path);
    ensure!(
        path == Some(PathKind::Relay),
        "the session used another path: {path:?}"
    );
    Ok(())
}
