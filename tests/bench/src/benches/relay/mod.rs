//! Peers by way of a relay: how fast, and what that costs the relay. The relay is a process of its own, the peers are in this one.

mod crowd;
mod frames;
mod load;
mod through;

use crate::plan::Plan;
use crate::relay::Relay;
use crate::report::Report;

/// One part after the other; what fails leaves the others.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let through = through::run(plan, report).await;
    told(report, "relayed bulk and round trip", through);
    let frames = frames::run(plan, report).await;
    told(report, "processor time per message", frames);
    let load = load::run(plan, report).await;
    told(report, "a relay under load", load);
    let crowd = crowd::run(plan, report).await;
    told(report, "a relay with many peers", crowd);
    Ok(())
}

fn told(report: &mut Report, what: &str, done: anyhow::Result<()>) {
    if let Err(error) = done {
        report.absent(what, &format!("{error:#}"));
    }
}

fn relay(plan: &Plan, name: &str) -> anyhow::Result<Relay> {
    Relay::start(&plan.folder(name)?)
}
