//! Measures hobnob and its rival alternately, so that other load on the machine affects both.

use std::time::Duration;

use anyhow::Context;

use crate::report::{Aim, Report};
use crate::stats::Samples;

/// A comparison of hobnob with a rival.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contest {
    /// The name of hobnob's measurement.
    pub(crate) ours: &'static str,
    /// The name of the rival's measurement.
    pub(crate) theirs: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) rounds: usize,
    /// The goal for the ratio.
    pub(crate) aim: Aim,
}

/// The results of all rounds.
struct Turns {
    ours: Samples,
    theirs: Samples,
    /// hobnob's value divided by the rival's value of the same round.
    ratio: Samples,
}

/// Time limit of a round.
const ROUND_LIMIT: Duration = Duration::from_secs(120);

impl Contest {
    /// Measures both and reports the results. Measures only hobnob if there is no rival.
    pub(crate) async fn run<F: AsyncFnMut() -> anyhow::Result<f64>>(
        self,
        report: &mut Report,
        ours: impl AsyncFnMut() -> anyhow::Result<f64>,
        theirs: Result<F, &mut anyhow::Error>,
    ) -> anyhow::Result<()> {
        match theirs {
            Ok(theirs) => {
                let turns = take_turns(self.rounds, ours, theirs).await?;
                report.line(
                    self.ours,
                    self.unit,
                    turns.ours,
                    Some(turns.ratio),
                    Some(self.aim),
                );
                report.figure(self.theirs, self.unit, turns.theirs);
            }
            Err(error) => {
                report.figure(self.ours, self.unit, alone(self.rounds, ours).await?);
                report.rival_absent(self.theirs, &format!("{error:#}"));
            }
        }
        Ok(())
    }
}

/// Runs a warm-up round, which is ignored, and then `rounds` rounds of both. The one that begins
/// changes with each round.
async fn take_turns(
    rounds: usize,
    mut ours: impl AsyncFnMut() -> anyhow::Result<f64>,
    mut theirs: impl AsyncFnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<Turns> {
    let (mut of_us, mut of_them, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (us, them) = if round % 2 == 0 {
            let us = in_time(ours()).await?;
            (us, in_time(theirs()).await?)
        } else {
            let them = in_time(theirs()).await?;
            (in_time(ours()).await?, them)
        };
        if round > 0 {
            of_us.push(us);
            of_them.push(them);
            ratios.push(us / them);
        }
    }
    let samples = |values| Samples::new(values).context("no rounds");
    Ok(Turns {
        ours: samples(of_us)?,
        theirs: samples(of_them)?,
        ratio: samples(ratios)?,
    })
}

/// Runs a warm-up round, which is ignored, and then `rounds` rounds of one measurement.
pub(crate) async fn alone(
    rounds: usize,
    mut ours: impl AsyncFnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<Samples> {
    let mut values = Vec::new();
    for round in 0..=rounds {
        let value = in_time(ours()).await?;
        if round > 0 {
            values.push(value);
        }
    }
    Samples::new(values).context("no rounds")
}

async fn in_time<T>(round: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(ROUND_LIMIT, round)
        .await
        .context("a round hangs")?
}
