//! Benchmark of discovery: a new node starts on a LAN with two others. Measures the time until all
//! three see each other.

use anyhow::Context;
use hobnob_tests::lab::Stopwatch;

use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::stats::Samples;

pub(crate) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let office = plan.lab()?.switch();
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    bob.sees(&ann);
    let machine = office.machine("cat");
    let (mut listening, mut known, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=plan.pick(5, 20) {
        let begun = Stopwatch::start();
        let cat = machine.home(&format!("cat{round}")).up(&[]);
        let listens = begun.elapsed();
        for other in [&ann, &bob] {
            cat.sees(other);
            other.sees(&cat);
        }
        let all = begun.elapsed();
        cat.terminate();
        if round > 0 {
            listening.push(listens.as_secs_f64() * 1e3);
            known.push(all.as_secs_f64() * 1e3);
            after.push((all - listens).as_secs_f64() * 1e3);
        }
    }
    let samples = |values| Samples::new(values).context("no rounds");
    report.line(
        "hobnob, from starting the program in a new home until all nodes see each other",
        "ms",
        samples(known)?,
        None,
        Some(Aim::AtMost(300.0)),
    );
    report.figure(
        "part of this until the node listens",
        "ms",
        samples(listening)?,
    );
    report.figure("part of this after that", "ms", samples(after)?);
    Ok(())
}
