//! Runs as many seeds of the simulator as one likes: `sim COUNT [FIRST-SEED]`, or `SEED=n sim` to
//! replay one with its trace.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use hobnob_sim as sim;

fn main() -> ExitCode {
    if let Some(seed) = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        let outcome = sim::run(seed, None, true);
        println!("seed {seed}: {outcome:?}");
        return if outcome.failure.is_none() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let count = args.next().and_then(Result::ok).unwrap_or(1000);
    let first = args.next().and_then(Result::ok).unwrap_or(0);
    let failed = AtomicU64::new(0);
    sim::run_many(first..first + count, None, |seed, outcome| {
        if let Some(failure) = &outcome.failure {
            println!("SEED={seed}: {failure}");
            failed.fetch_add(1, Ordering::Relaxed);
        }
    });
    println!(
        "{count} seeds from {first} on, {} failed",
        failed.load(Ordering::Relaxed)
    );
    if failed.load(Ordering::Relaxed) == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
