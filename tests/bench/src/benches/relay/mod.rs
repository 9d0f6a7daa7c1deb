//! Benchmarks of peers that use a relay: their speed and the relay's processor time. The relay is a
//! separate process. The peers are in this process.

pub(super) mod crowd;
pub(super) mod frames;
pub(super) mod load;
pub(super) mod sleepers;
pub(super) mod through;

use anyhow::Context;

use crate::plan::Plan;
use crate::relay::Relay;
use crate::stats::Samples;

fn relay(plan: &Plan, name: &str) -> anyhow::Result<Relay> {
    Relay::start(&plan.folder(name)?)
}

fn samples(values: Vec<f64>) -> anyhow::Result<Samples> {
    Samples::new(values).context("nothing was measured")
}
