//! Runs seeds of the simulator: `sim COUNT [FIRST-SEED]`. `SEED=n sim` runs one seed and prints its
//! trace.
//!
//! The last line contains a fingerprint of all runs. A change that only moves code does not change
//! the fingerprint.

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
        return exit_code(outcome.failure.is_none());
    }
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let count = args.next().and_then(Result::ok).unwrap_or(1000);
    let first = args.next().and_then(Result::ok).unwrap_or(0);
    let (failed, fingerprint) = (AtomicU64::new(0), AtomicU64::new(0));
    sim::run_many(first..first + count, None, |seed, outcome| {
        // A sum does not depend on the order in which the threads finish their seeds.
        fingerprint.fetch_add(outcome.hash, Ordering::Relaxed);
        if let Some(failure) = &outcome.failure {
            println!("SEED={seed}: {failure}");
            failed.fetch_add(1, Ordering::Relaxed);
        }
    });
    let failed = failed.load(Ordering::Relaxed);
    println!(
        "{count} seeds from {first} on, {failed} failed, fingerprint {:016x}",
        fingerprint.load(Ordering::Relaxed)
    );
    exit_code(failed == 0)
}

fn exit_code(success: bool) -> ExitCode {
    if success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
