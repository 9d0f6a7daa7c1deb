//! Measures the speed of the store. Run it with:
//! `cargo test --release -p hobnob rate -- --ignored --nocapture`.
#![expect(clippy::disallowed_methods, reason = "measures time")]

use std::time::{Duration, Instant};

use super::super::HistoryRequest;
use super::*;

/// Commits batches of `per_batch` entries of about 64 bytes each. Prints the time until the last
/// one is on disk.
fn rate(home: &mut Home, author: &mut Author, entries: usize, per_batch: usize) {
    let body = || Body::Text("lorem ipsum dolor sit amet consectetur adipiscing".into());
    let batches: Vec<_> = (0..entries / per_batch)
        .map(|_| author.writes((0..per_batch).map(|_| body()).collect()))
        .collect();
    let started = Instant::now();
    for batch in &batches {
        home.hand_over(vec![append(batch)]);
    }
    for _ in &batches {
        home.answer().1.unwrap();
    }
    say(
        &format!("{entries} entries in batches of {per_batch}"),
        started.elapsed(),
        entries,
    );
}

fn say(what: &str, took: Duration, times: usize) {
    let each = took / u32::try_from(times).unwrap();
    println!(
        "{what}: {took:.1?}, {each:.1?} each, {:.0}/s",
        times as f64 / took.as_secs_f64()
    );
}

#[test]
#[ignore = "measures, checks nothing"]
fn rate_of_inserts_and_reads() {
    let mut home = Home::new();
    let mut ann = Author::new(1, lobby());
    home.commit(vec![the_lobby(true)]);
    rate(&mut home, &mut ann, 1_000_000, 500);
    rate(&mut home, &mut ann, 100_000, 10);
    rate(&mut home, &mut ann, 50_000, 1);
    let started = Instant::now();
    for _ in 0..1_000 {
        home.commit(vec![append(&ann.chats(1))]);
    }
    say("single commits", started.elapsed(), 1_000);
    let started = Instant::now();
    let read = wait(
        home.store()
            .read_batches(ann.name, 500_000, 600_000, usize::MAX),
    )
    .unwrap();
    say(
        &format!("100,000 entries for sync in {} batches", read.len()),
        started.elapsed(),
        100_000,
    );
    let ask = |what: &str, request: HistoryRequest| {
        let started = Instant::now();
        let rows = wait(home.store().history(HistoryRequest {
            limit: 50,
            ..request
        }))
        .unwrap()
        .len();
        say(&format!("{what}: {rows} rows"), started.elapsed(), 1);
    };
    let of = || HistoryRequest {
        conversation: Some(lobby()),
        ..HistoryRequest::default()
    };
    ask("history from the end", of());
    ask(
        "history from the middle",
        HistoryRequest {
            before: Some((ann.name.log, 500_000)),
            ..of()
        },
    );
    ask("history of all", HistoryRequest::default());
    ask(
        "history since the end of time",
        HistoryRequest {
            since_ms: Some(u64::MAX),
            ..of()
        },
    );
    ask(
        "first search, with indexing",
        HistoryRequest {
            search: Some("number".into()),
            ..of()
        },
    );
    ask(
        "search of a rare word",
        HistoryRequest {
            search: Some("number".into()),
            ..of()
        },
    );
    ask(
        "search of a word in all",
        HistoryRequest {
            search: Some("lorem".into()),
            ..of()
        },
    );
    let started = Instant::now();
    home.restart();
    say("restart", started.elapsed(), 1);
}
