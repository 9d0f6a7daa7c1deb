//! Floods of valid entries, and peers that never read.

use std::time::Duration;

use hobnob_protocol::{ConversationId, RoomKey, RoomName};
use hobnob_tests::hostile::{Forger, MIB, Mallory, TestNet, text_entry};
use hobnob_tests::lab::Stopwatch;

#[test]
fn a_flood_of_entries_in_the_lobby_delays_no_other_message() {
    flood(
        |_, _| RoomKey::open(&RoomName::lobby()).conversation(),
        100,
        100,
    );
}

#[test]
fn a_flood_of_direct_entries_delays_no_other_message() {
    flood(|net, mallory| net.direct(mallory), 100, 100);
}

#[test]
fn a_flood_of_the_longest_texts_delays_no_other_message() {
    flood(|net, mallory| net.direct(mallory), 3, 16 * 1024);
}

#[test]
fn a_flood_of_the_shortest_texts_delays_no_other_message() {
    flood(|net, mallory| net.direct(mallory), 4000, 1);
}

#[test]
fn a_peer_that_never_reads_costs_little_memory() {
    let net = TestNet::alone();
    let (at, _) = net.attack_while(
        async |net: &TestNet| {
            let mallory = Mallory::with_window(2048);
            let mut stream = mallory.in_session(&net.ann).await;
            stream
                .sends_empty_digest(RoomKey::open(&RoomName::lobby()).conversation())
                .await;
            stream.sends_empty_digest(net.direct(&mallory)).await;
            tokio::time::sleep(FLOOD).await;
            mallory.id()
        },
        || {
            let text = "much to say ".repeat(1000);
            for n in 0..100 {
                net.ann.says(&format!("{n} {text}"));
            }
            net.talks("meanwhile");
        },
    );
    for n in 0..100 {
        net.ann
            .run(&[
                "send",
                "--wait",
                "queued",
                &at.to_string(),
                &format!("for you, {n} {}", "x".repeat(12_000)),
            ])
            .expect(0);
    }
    net.survives(&[]);
}

/// Pushes batches of this many texts of this many bytes for some seconds. Measures how fast ann and
/// bob exchange messages meanwhile.
fn flood(
    conversation: impl FnOnce(&TestNet, &Mallory) -> ConversationId,
    entries: u64,
    bytes: usize,
) {
    let net = TestNet::alone();
    let (pushed, slowest) = net.attack_while(
        async |net: &TestNet| {
            let mallory = Mallory::new();
            let mut stream = mallory.in_session(&net.ann).await;
            net.accept(&mallory);
            let mut log = Forger::new(mallory.key(), conversation(net, &mallory));
            let text = "x".repeat(bytes);
            let mut pushed = 0;
            let push = async {
                loop {
                    let texts: Vec<_> = (0..entries)
                        .map(|n| text_entry(log.lamport + n, &text))
                        .collect();
                    log.lamport += entries;
                    if !stream.sends_batch(&log.entries(&texts)).await {
                        return;
                    }
                    pushed += entries;
                }
            };
            let _ = tokio::time::timeout(FLOOD, push).await;
            pushed
        },
        || {
            let mut slowest = Duration::ZERO;
            for round in 0..4 {
                let watch = Stopwatch::start();
                net.ann.tells("bob", &format!("can you hear me, {round}?"));
                net.bob
                    .tells(&net.ann.id().to_string(), &format!("I can, {round}"));
                slowest = slowest.max(watch.elapsed());
            }
            slowest
        },
    );
    eprintln!("pushed {pushed} entries of {bytes} bytes; the slowest exchange took {slowest:?}");
    assert!(pushed > 0, "there was no flood");
    assert!(slowest < TWO_MESSAGES, "two messages took {slowest:?}");
    net.survives_within(&[], FLOODED);
}

/// The limit for one message each way. Each starts a program, on a machine that the flood keeps
/// busy.
const TWO_MESSAGES: Duration = Duration::from_secs(10);

/// The memory that a flood of wanted entries may cost. The engine holds 16 decoded batches of one
/// frame each (at worst 2 MiB). The store's group takes 4 MiB plus SQLite's share, recent batches
/// 4 MiB. Then there are 64 lines for the screen, and memory that the allocator does not return.
const FLOODED: u64 = 96 * MIB;

const FLOOD: Duration = Duration::from_secs(6);
