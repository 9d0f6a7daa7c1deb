//! A newcomer on a LAN where two nodes run: until it knows both and both know it.

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
        "hobnob, from starting the program, in a new home, until all know all",
        "ms",
        samples(known)?,
        None,
        Some(Aim::AtMost(300.0)),
    );
    report.figure("of that, until it listens", "ms", samples(listening)?);
    report.figure("and from there on", "ms", samples(after)?);
    Ok(())
}
