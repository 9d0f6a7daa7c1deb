//! Taking turns: hobnob and its rival, round by round, so that whatever else the machine does hits
//! both.

use std::time::Duration;

use anyhow::Context;

use crate::report::{Aim, Report};
use crate::stats::Samples;

/// What is measured in turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contest {
    /// What hobnob does.
    pub(crate) ours: &'static str,
    /// What the rival does.
    pub(crate) theirs: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) rounds: usize,
    /// Of the ratio.
    pub(crate) aim: Aim,
}

/// What came of it.
struct Turns {
    ours: Samples,
    theirs: Samples,
    /// Ours divided by theirs, of the same round.
    ratio: Samples,
}

/// No round of anything takes longer, unless it hangs.
const ROUND_LIMIT: Duration = Duration::from_secs(120);

impl Contest {
    /// Measures both and reports it, or hobnob alone where there is no rival.
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

/// Runs `rounds` rounds of both, and one more before them, which is dropped. Who begins changes
/// from round to round.
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

/// Runs `rounds` rounds of one thing, and one more before them, which is dropped.
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
