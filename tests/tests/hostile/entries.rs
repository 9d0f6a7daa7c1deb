//! Forged, misplaced, malformed and impossible entries.

use std::time::Duration;

use hobnob_protocol::{Batch, ConversationId, Frame, LogId, RoomKey, RoomName};
use hobnob_tests::hostile::{
    Forger, Host, Mallory, RawStream, TestNet, garbled_entry, random_key, text_entry,
};

#[test]
fn a_forged_signature_is_refused() {
    assert_refused(
        &["the signature is not the author's"],
        async |net: &TestNet, mallory: &Mallory, stream: &mut RawStream| {
            let mut log = Forger::new(mallory.key(), net.direct(mallory));
            stream
                .sends_batch(&Forger::with_bad_signature(log.texts(&["forged"])))
                .await;
            let mut log = Forger::new(mallory.key(), lobby());
            stream
                .sends_batch(&Forger::with_bad_signature(log.texts(&["forged"])))
                .await;
        },
    );
}

#[test]
fn an_entry_in_bobs_name_is_refused() {
    assert_refused(
        &["the signature is not the author's"],
        async |net: &TestNet, mallory: &Mallory, stream: &mut RawStream| {
            let mut log = Forger::impersonating(net.bob.id(), mallory.key(), lobby());
            stream.sends_batch(&log.texts(&["forged"])).await;
        },
    );
}

#[test]
fn an_entry_in_the_victims_own_name_is_refused() {
    assert_refused(
        &["the signature is not the author's"],
        async |net: &TestNet, mallory: &Mallory, stream: &mut RawStream| {
            for conversation in [lobby(), net.direct(mallory)] {
                let mut log = Forger::impersonating(net.ann.id(), mallory.key(), conversation);
                stream.sends_batch(&log.texts(&["forged"])).await;
            }
            // The same attack on the log that the victim writes to now.
            let (name, head) = log_of(stream, net).await;
            let mut log = Forger::impersonating(net.ann.id(), mallory.key(), name.conversation);
            log.name = name;
            (log.next, log.lamport) = (head + 1, 50);
            stream.sends_batch(&log.texts(&["forged"])).await;
        },
    );
}

#[test]
fn an_entry_of_a_third_party_in_a_direct_conversation_is_refused() {
    assert_refused(
        &[
            "a third party's entry in a direct conversation",
            "not a member of that conversation",
        ],
        async |net: &TestNet, mallory: &Mallory, stream: &mut RawStream| {
            let other = random_key();
            stream
                .sends_batch(&Forger::new(&other, net.direct(mallory)).texts(&["forged"]))
                .await;
            let theirs = ConversationId::direct(net.ann.id(), net.bob.id());
            stream
                .sends_batch(&Forger::new(mallory.key(), theirs).texts(&["forged"]))
                .await;
        },
    );
}

#[test]
fn a_forked_log_is_a_conflict_that_is_reported_once() {
    let net = net();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.in_session(&net.ann).await;
        let mut first = Forger::new(mallory.key(), lobby());
        let mut fork = Forger::new(mallory.key(), lobby());
        fork.name = first.name;
        fork.hash = first.hash;
        stream
            .sends_batch(&first.texts(&["the first branch"]))
            .await;
        stream
            .receives_until(
                "a receipt",
                |frame| matches!(frame, Frame::Have(name, _) if *name == first.name),
            )
            .await;
        let forked = fork.texts(&["forged"]);
        for _ in 0..500 {
            stream.sends_batch(&forked).await;
        }
        stream
            .receives_until("the conflict", |frame| {
                *frame == Frame::Conflict(first.name)
            })
            .await;
        stream
            .sends_batch(&first.texts(&["still the first branch"]))
            .await;
        net.ann.has("still the first branch");
    });
    net.ann.prints(&["\"notice\"", "\"conflict\""]);
    let notices = net
        .ann
        .output()
        .lines()
        .filter(|line| line.contains("\"conflict\""))
        .count();
    assert_eq!(notices, 1, "one notice for 500 conflicting batches");
    assert_nothing_forged(&net.ann);
    net.survives(&["conflict"]);
}

#[test]
fn replayed_reordered_and_gapped_batches_leave_one_log_in_order() {
    let net = net();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.in_session(&net.ann).await;
        let mut log = Forger::new(mallory.key(), net.direct(&mallory));
        let batches: Vec<_> = (0..20)
            .map(|n| log.texts(&[&format!("in order, {n}")]))
            .collect();
        for batch in batches.iter().rev().chain(&batches).chain(&batches) {
            stream.sends_batch(batch).await;
        }
        net.ann.has("in order, 19");
    });
    let texts: Vec<_> = net
        .ann
        .texts(&[])
        .into_iter()
        .filter(|text| text.starts_with("in order"))
        .collect();
    assert_eq!(
        texts,
        (0..20)
            .map(|n| format!("in order, {n}"))
            .collect::<Vec<_>>()
    );
    net.survives(&[]);
}

#[test]
fn gaps_in_thousands_of_logs_cost_little_memory() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::with_window(2048);
        let mut stream = mallory.in_session(&net.ann).await;
        let flood = async {
            loop {
                let mut log = Forger::new(mallory.key(), net.direct(&mallory));
                log.next = 7;
                if !stream.sends_batch(&log.texts(&["after a gap"])).await {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(FLOOD, flood).await;
        net.talks("meanwhile");
    });
    net.survives(&[]);
}

#[test]
fn endless_conflicts_with_a_peer_that_never_reads_cost_little_memory() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::with_window(2048);
        let mut stream = mallory.in_session(&net.ann).await;
        let mut first = Forger::new(mallory.key(), net.direct(&mallory));
        let mut fork = Forger::new(mallory.key(), net.direct(&mallory));
        fork.name = first.name;
        fork.hash = first.hash;
        stream
            .sends_batch(&first.texts(&["the first branch"]))
            .await;
        net.ann.has("the first branch");
        let forked = fork.texts(&["forged"]);
        let _ =
            tokio::time::timeout(FLOOD, async { while stream.sends_batch(&forked).await {} }).await;
        net.talks("meanwhile");
    });
    net.survives(&["conflict"]);
}

#[test]
fn an_impossible_lamport_number_is_refused() {
    assert_refused(
        &["an impossible Lamport number"],
        async |net: &TestNet, mallory: &Mallory, stream: &mut RawStream| {
            for conversation in [lobby(), net.direct(mallory)] {
                let mut log = Forger::new(mallory.key(), conversation);
                log.lamport = (1 << 53) + 1;
                stream.sends_batch(&log.texts(&["forged"])).await;
            }
        },
    );
}

#[test]
fn a_lamport_number_far_ahead_neither_blocks_a_room_nor_changes_its_order() {
    let net = net();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.in_session(&net.ann).await;
        // One entry in mallory's own name, and one after a gap in the name of an absent identity.
        let absent = random_key();
        for (key, next) in [(mallory.key(), 1), (&absent, 5)] {
            let mut log = Forger::new(key, lobby());
            (log.next, log.lamport) = (next, 1 << 53);
            stream
                .sends_batch(&log.texts(&["from the end of time"]))
                .await;
        }
        net.ann.has("from the end of time");
    });
    net.survives(&[]);
    let net = net.with_ann_restarted();
    let turns = ["one", "two", "three", "four", "five", "six"];
    for (at, text) in turns.iter().enumerate() {
        let (author, receiver) = if at % 2 == 0 {
            (&net.ann, &net.bob)
        } else {
            (&net.bob, &net.ann)
        };
        author.says(text);
        receiver.has(text);
    }
    for host in [&net.ann, &net.bob] {
        let texts: Vec<_> = host
            .texts(&["#lobby"])
            .into_iter()
            .filter(|text| turns.contains(&text.as_str()))
            .collect();
        assert_eq!(texts, turns, "the order in which the messages were written");
    }
}

#[test]
fn lamport_numbers_that_leap_do_not_exclude_newcomers() {
    let net = net();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.in_session(&net.ann).await;
        let mut log = Forger::new(mallory.key(), lobby());
        for leap in 1..=8u64 {
            log.lamport = leap << 19;
            stream
                .sends_batch(&log.texts(&[&format!("leap {leap}")]))
                .await;
        }
        net.ann.has("leap 8");
    });
    net.talks("after the leaps");
    let carl = Host::up(net.dir(), "carl");
    carl.tells(&net.ann.addr().to_string(), "I'm new");
    carl.tells(&net.bob.addr().to_string(), "I'm new here too");
    net.ann.says("welcome, carl");
    carl.has("welcome, carl");
    carl.says("thank you, ann");
    net.ann.has("thank you, ann");
    net.bob.has("thank you, ann");
}

#[test]
fn impossible_texts_are_refused() {
    assert_refused(
        &["an entry is malformed"],
        async |net: &TestNet, mallory: &Mallory, stream: &mut RawStream| {
            let impossible = [
                text_entry(1, &"forged".repeat(3000)),
                text_entry(1, ""),
                garbled_entry(1, b"forged\xff\xfe"),
                garbled_entry(1, b"forged\xed\xa0\x80"),
                vec![0xff; 900],
            ];
            for entry in impossible {
                for conversation in [lobby(), net.direct(mallory)] {
                    stream
                        .sends_batch(
                            &Forger::new(mallory.key(), conversation)
                                .entries(std::slice::from_ref(&entry)),
                        )
                        .await;
                }
            }
        },
    );
}

#[test]
fn malformed_batches_are_refused() {
    assert_refused(
        &[
            "a batch has 1 to",
            "Lamport numbers decrease",
            "does not start from the hash",
        ],
        async |net, mallory, stream| {
            let direct = net.direct(mallory);
            let modified = |change: &dyn Fn(&mut Batch)| {
                let Frame::Batch(mut batch) = Forger::new(mallory.key(), direct).texts(&["forged"])
                else {
                    unreachable!()
                };
                change(&mut batch);
                Frame::Batch(batch)
            };
            stream
                .sends_batch(&modified(&|batch| batch.entries = Default::default()))
                .await;
            stream
                .sends_batch(&modified(&|batch| batch.first = 0))
                .await;
            stream
                .sends_batch(&modified(&|batch| batch.first = u64::MAX))
                .await;
            stream
                .sends_batch(&modified(&|batch| batch.name.log = LogId(3)))
                .await;
            stream
                .sends_batch(
                    &Forger::new(mallory.key(), direct)
                        .entries(&[text_entry(5, "forged"), text_entry(4, "forged")]),
                )
                .await;
        },
    );
}

/// Checks that ann accepts nothing that the attack pushes, and logs these reasons.
fn assert_refused(why: &[&str], attack: impl AsyncFnOnce(&TestNet, &Mallory, &mut RawStream)) {
    let net = net();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.in_session(&net.ann).await;
        stream.is_alive().await;
        attack(net, &mallory, &mut stream).await;
        // An honest entry at the end shows that the session still works and that ann has processed
        // everything before it.
        let mut log = Forger::new(mallory.key(), net.direct(&mallory));
        stream
            .sends_batch(&log.texts(&["and now an honest one"]))
            .await;
        net.ann.has("and now an honest one");
    });
    net.survives(why);
    assert_nothing_forged(&net.ann);
    assert_nothing_forged(&net.bob);
}

fn net() -> TestNet {
    TestNet::verbose()
}

fn assert_nothing_forged(host: &Host) {
    let texts = host.texts(&[]);
    assert!(
        !texts.iter().any(|text| text.contains("forged")),
        "{texts:?}"
    );
    assert!(!host.output().contains("forged"), "a forged text was shown");
}

/// Returns the log that the victim writes in the lobby, and its last entry. Makes her write a
/// message.
async fn log_of(stream: &mut RawStream, net: &TestNet) -> (hobnob_protocol::LogName, u64) {
    stream.sends_empty_digest(lobby()).await;
    stream.is_alive().await;
    net.ann.says("I write here");
    let connection = stream.connection.clone();
    let mut batches = connection.accept_uni().await.expect("ann sends batches");
    let mut length = [0; 4];
    batches
        .read_exact(&mut length)
        .await
        .expect("the stream contains a batch");
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    batches
        .read_exact(&mut frame)
        .await
        .expect("the stream contains a batch");
    let frame = Frame::decode(&frame.into()).expect("an honest frame");
    let Frame::Batch(batch) = frame else {
        panic!("expected a batch, received {frame:?}")
    };
    (batch.name, batch.check().expect("an honest batch").last())
}

fn lobby() -> ConversationId {
    RoomKey::open(&RoomName::lobby()).conversation()
}

const FLOOD: Duration = Duration::from_secs(5);
