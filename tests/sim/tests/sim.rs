//! The replica under the simulator: thousands of seeds, planted faults, calm weather, and an hour
//! of silence.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hobnob_sim::{self as sim, Fault, Shape};

/// Seeds of a whole run. `SIM_SEEDS` asks for another number.
const SEEDS: u64 = 3_000;

/// Seeds of conversations with edits, deletions, reactions and replies.
const TALK_SEEDS: u64 = 1_000;

/// Seeds of each kind of run with mail.
const MAIL_SEEDS: u64 = 300;

/// Seeds of runs with a flood of logs.
const FLOOD_SEEDS: u64 = 30;

/// Within this many seeds each planted fault is found.
const FAULT_SEEDS: u64 = 400;

#[test]
fn nothing_is_lost_or_shown_twice_or_told_to_strangers() {
    if let Some(seed) = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        let outcome = sim::run(seed, None, true);
        assert_eq!(outcome.failure, None, "SEED={seed}");
        return;
    }
    let seeds = std::env::var("SIM_SEEDS").map_or(SEEDS, |n| n.parse().expect("a number of seeds"));
    let (ran, delivered, failures) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new(Vec::new()));
    sim::run_many(0..seeds, None, |seed, outcome| {
        ran.fetch_add(1, Ordering::Relaxed);
        delivered.fetch_add(outcome.stats.delivered, Ordering::Relaxed);
        if let Some(failure) = &outcome.failure {
            failures
                .lock()
                .expect("no panic while it is held")
                .push(format!("SEED={seed}: {failure}"));
        }
    });
    let failures = failures.into_inner().expect("no panic while it was held");
    println!(
        "{} seeds, {} deliveries",
        ran.load(Ordering::Relaxed),
        delivered.load(Ordering::Relaxed)
    );
    assert!(
        failures.is_empty(),
        "{} of {} seeds failed:\n{}",
        failures.len(),
        seeds,
        failures.join("\n")
    );
    assert_eq!(ran.load(Ordering::Relaxed), seeds, "seeds run");
}

#[test]
fn five_members_who_edit_delete_react_and_reply_show_the_same_in_the_end() {
    if let Some(seed) = std::env::var("TALK_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        let outcome = sim::run_talk(seed, true);
        assert_eq!(outcome.failure, None, "TALK_SEED={seed}");
        return;
    }
    let failures = Mutex::new(Vec::new());
    let run = |seed| sim::run_talk(seed, false);
    sim::run_each(0..TALK_SEEDS, run, |seed, outcome| {
        if let Some(failure) = &outcome.failure {
            let failed = format!("TALK_SEED={seed}: {failure}");
            failures
                .lock()
                .expect("no panic while it is held")
                .push(failed);
        }
    });
    let failures = failures.into_inner().expect("no panic while it was held");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Runs these seeds, of which each has mail. `MAIL_SEED` runs one with its trace.
fn mail_seeds(run: impl Fn(u64, bool) -> sim::Outcome + Sync) {
    if let Some(seed) = std::env::var("MAIL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        assert_eq!(run(seed, true).failure, None, "MAIL_SEED={seed}");
        return;
    }
    let (failures, mailed) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    sim::run_each(
        0..MAIL_SEEDS,
        |seed| run(seed, false),
        |seed, outcome| {
            mailed.fetch_add(outcome.stats.mailed, Ordering::Relaxed);
            if let Some(failure) = &outcome.failure {
                let failed = format!("MAIL_SEED={seed}: {failure}");
                let mut failures = failures.lock().expect("no panic while it is held");
                failures.push(failed);
            }
        },
    );
    let failures = failures.into_inner().expect("no panic while it was held");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let mailed = mailed.load(Ordering::Relaxed);
    println!("{mailed} batches by mail");
    assert!(mailed > MAIL_SEEDS, "{mailed} batches by mail");
}

#[test]
fn contacts_and_members_get_all_messages_once_by_mail_and_in_sessions() {
    mail_seeds(|seed, trace| sim::run_mail(seed, false, trace));
}

#[test]
fn holders_that_lie_lose_nothing_and_repeat_nothing() {
    mail_seeds(|seed, trace| sim::run_mail(seed, true, trace));
}

#[test]
fn those_who_never_meet_again_get_everything_by_mail_with_receipts() {
    mail_seeds(sim::run_apart);
}

#[test]
fn a_flood_of_logs_loses_no_honest_message_and_fills_no_room() {
    for seed in 0..FLOOD_SEEDS {
        let outcome = sim::run_flooded(seed, None);
        assert_eq!(outcome.failure, None, "SEED={seed}");
    }
}

#[test]
fn one_seed_is_one_run() {
    for seed in 0..20 {
        let [first, again] = [(); 2].map(|()| sim::run(seed, None, false));
        assert_eq!(first.hash, again.hash, "SEED={seed} went two ways");
    }
    assert_ne!(sim::run(1, None, false).hash, sim::run(2, None, false).hash);
}

#[test]
fn every_planted_fault_is_found() {
    let faults = [
        Fault::AnswerBeforeWriting,
        Fault::OneLogForAllRuns,
        Fault::NoDuplicateCheck,
        Fault::AckBeforeCommit,
        Fault::ShowBeforeCommit,
        Fault::ForkIgnored,
        Fault::DeliveredOnSent,
        Fault::AudienceIgnored,
        Fault::GoodbyeIgnored,
        Fault::NetworkChangeIgnored,
        Fault::AnyNetworkChangeIsAMove,
        Fault::ClockForgotten,
        Fault::LogForgotten,
        Fault::OrderSwapped,
        Fault::SkippingCursor,
        Fault::LostWakeUp,
        Fault::NoRollBack,
        Fault::BlockIgnored,
        Fault::HeadsCut,
        Fault::ForgetIgnored,
        Fault::AnyDeviceShown,
        Fault::AnyDeviceStored,
    ];
    let missed: Vec<_> = faults
        .into_iter()
        .filter(|fault| !is_found(*fault))
        .collect();
    assert!(
        missed.is_empty(),
        "not found in {FAULT_SEEDS} seeds: {missed:?}"
    );
}

fn is_found(fault: Fault) -> bool {
    // A flood first: it is a single run, and the only one in which a session is sure to be full.
    let flood = sim::flood(1, Some(fault))
        .failure
        .map(|failure| (1, failure));
    let storm = |seed| {
        sim::run(seed, Some(fault), false)
            .failure
            .map(|failure| (seed, failure))
    };
    let flooded = |seed| {
        sim::run_flooded(seed, Some(fault))
            .failure
            .map(|failure| (seed, failure))
    };
    let found = flood
        .or_else(|| (0..FLOOD_SEEDS).find_map(flooded))
        .or_else(|| (0..FAULT_SEEDS).find_map(storm));
    if let Some((seed, failure)) = &found {
        println!("{fault:?}: seed {seed}: {failure}");
    }
    found.is_some()
}

#[test]
fn in_a_full_mesh_each_entry_crosses_each_link_about_once() {
    for (nodes, shape) in [
        (2, Shape::Mesh),
        (5, Shape::Mesh),
        (8, Shape::Mesh),
        (5, Shape::Line),
    ] {
        let outcome = sim::run_calm(1, nodes, shape, 50);
        assert_eq!(outcome.failure, None, "{nodes} nodes, {shape:?}");
        let redundancy = outcome.stats.sent as f64 / outcome.stats.delivered as f64;
        println!("{nodes} nodes, {shape:?}: {redundancy:.3} entries sent for each delivered");
        assert!(redundancy <= 1.2, "{nodes} nodes, {shape:?}: {redundancy}");
    }
}

/// Members of a large room. `SIM_CROWD` asks for another number, such as 1,000.
const CROWD: usize = 150;

#[test]
fn everybody_in_a_large_room_gets_each_message_once_with_few_sessions() {
    let members = std::env::var("SIM_CROWD").map_or(CROWD, |n| n.parse().expect("a number"));
    for cuts in [false, true] {
        let outcome = sim::run_crowd(1, members, 10, cuts);
        assert_eq!(outcome.failure, None, "{members} members, cuts: {cuts}");
        let stats = outcome.stats;
        println!(
            "{members} members, cuts: {cuts}: at most {} sessions, {} sent, {} delivered, all after {} ms",
            stats.sessions_max, stats.sent, stats.delivered, stats.converged_ms
        );
        assert!(stats.sessions_max <= 16, "{} sessions", stats.sessions_max);
        let copies = stats.sent as f64 / stats.delivered as f64;
        assert!(
            cuts || copies <= 1.2,
            "{copies} copies sent for each delivered"
        );
    }
}

#[test]
fn a_flood_is_all_delivered() {
    let outcome = sim::flood(1, None);
    assert_eq!(outcome.failure, None);
    assert_eq!(
        (outcome.stats.appended, outcome.stats.sent),
        (150, 150),
        "each entry is sent once"
    );
}

#[test]
fn a_block_costs_the_others_little_and_loses_nothing_once_it_is_undone() {
    for seed in 0..20 {
        let (outcome, frames) = sim::run_blocked(seed, 4);
        assert_eq!(outcome.failure, None, "SEED={seed}");
        // Where two hold different things, they compare notes twice a minute, and say what they
        // hold.
        assert!(
            frames <= 40,
            "SEED={seed}: {frames} frames a session in a minute of silence"
        );
    }
}

#[test]
fn an_hour_of_silence_costs_little() {
    let (outcome, bytes) = sim::idle_hour(1, 5);
    assert_eq!(outcome.failure, None);
    println!("idle: {bytes} bytes of log frames per session and hour, both ways");
    assert!(bytes < 20_000, "{bytes} bytes");
}

#[test]
fn a_liar_fills_no_memory() {
    let (kept, bytes) = sim::lie_to(1, 60_000);
    println!(
        "60,000 lies: {kept} things remembered, {bytes} bytes handed to a session that reads nothing"
    );
    // What it tells, in what was told and in what is being told; what it was asked for; and small
    // things.
    assert!(
        kept < 6 * hobnob_core::replica::LOGS_ANNOUNCED_MAX,
        "{kept} things"
    );
    assert!(bytes < 2 * 1024 * 1024, "{bytes} bytes");
}
