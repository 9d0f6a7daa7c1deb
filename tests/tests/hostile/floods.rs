//! Floods of valid entries, and peers that never read.

use std::time::Duration;

use hobnob_protocol::{ConversationId, RoomKey, RoomName};
use hobnob_tests::hostile::{Forger, Host, MIB, Mallory, TestNet, random_key, text_entry};
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
    flood(|net, mallory| net.direct(mallory), 2000, 1);
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

/// Issue 13, point 1: a flood of logs broke an open room for good. `FLOOD_LOGS=400000` runs the long
/// form.
#[test]
fn a_flood_of_logs_takes_no_message_from_a_member() {
    let mut net = TestNet::alone();
    let logs = std::env::var("FLOOD_LOGS").map_or(FLOOD_LOGS, |n| n.parse().expect("a number"));
    let lobby = RoomKey::open(&RoomName::lobby()).conversation();
    let watch = Stopwatch::start();
    net.attack_while(
        async |net: &TestNet| {
            let mut stream = Mallory::new().in_session(&net.ann).await;
            for _ in 0..logs {
                let key = random_key();
                let frame = Forger::new(&key, lobby).texts(&["x"]);
                assert!(stream.sends_batch(&frame).await, "the session ended");
            }
        },
        || net.talks("during the flood"),
    );
    eprintln!("{logs} logs in {:?}", watch.elapsed());

    // Bob drops out. Six others each say something and leave.
    net.bob.kill();
    let names = ["cat", "dan", "eve", "fay", "gus", "hal"];
    for name in names {
        let other = Host::up(net.dir(), name);
        other.tells(&net.ann.addr().to_string(), "hello");
        other.says(&format!("said by {name}"));
        net.ann.has_in_lobby(&format!("said by {name}"));
        other.terminate();
    }
    net.bob = Host::up(net.dir(), "bob");
    net.bob.tells(&net.ann.addr().to_string(), "back again");
    for name in names {
        net.bob.has_in_lobby(&format!("said by {name}"));
    }

    let newcomer = Host::up(net.dir(), "ivy");
    let watch = Stopwatch::start();
    newcomer.tells(&net.ann.addr().to_string(), "may I come in?");
    assert!(watch.elapsed() < SERVED, "served in {:?}", watch.elapsed());
    newcomer.says("new here");
    net.ann.has_in_lobby("new here");
    net.survives_within(&[], 64 * MIB);
}

/// Logs in the short form of the flood: twice as many as an open room holds.
const FLOOD_LOGS: u64 = 8_192;

/// Within this time a newcomer gets a session and a receipt, even during a flood.
const SERVED: Duration = Duration::from_secs(5);

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
