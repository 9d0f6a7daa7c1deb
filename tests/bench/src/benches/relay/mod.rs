//! Peers by way of a relay: how fast, and what that costs the relay. The relay is a process of its
//! own, the peers are in this one.

pub(super) mod crowd;
pub(super) mod frames;
pub(super) mod load;
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
