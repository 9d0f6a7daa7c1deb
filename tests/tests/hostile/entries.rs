//! Entries that are forged, misplaced, twisted or impossible.

use std::time::Duration;

use hobnob_protocol::{Batch, ConversationId, Frame, LogId, RoomKey, RoomName};
use hobnob_tests::hostile::{
    Forger, Host, Line, Mallory, Town, garbled_entry, random_key, text_entry,
};

#[test]
fn a_forged_signature_is_refused() {
    refused(
        &["the signature is not the author's"],
        async |town: &Town, mallory: &Mallory, line: &mut Line| {
            let mut log = Forger::new(mallory.key(), town.direct(mallory));
            line.pushes(&Forger::spoiled(log.texts(&["forged"]))).await;
            let mut log = Forger::new(mallory.key(), lobby());
            line.pushes(&Forger::spoiled(log.texts(&["forged"]))).await;
        },
    );
}

#[test]
fn nobody_writes_in_bobs_name() {
    refused(
        &["the signature is not the author's"],
        async |town: &Town, mallory: &Mallory, line: &mut Line| {
            let mut log = Forger::in_the_name_of(town.bob.id(), mallory.key(), lobby());
            line.pushes(&log.texts(&["forged"])).await;
        },
    );
}

#[test]
fn nobody_writes_in_the_victims_own_name() {
    refused(
        &["the signature is not the author's"],
        async |town: &Town, mallory: &Mallory, line: &mut Line| {
            for conversation in [lobby(), town.direct(mallory)] {
                let mut log = Forger::in_the_name_of(town.ann.id(), mallory.key(), conversation);
                line.pushes(&log.texts(&["forged"])).await;
            }
            // And in the very log that the victim writes to.
            let (name, head) = log_of(line, town).await;
            let mut log = Forger::in_the_name_of(town.ann.id(), mallory.key(), name.conversation);
            log.name = name;
            (log.next, log.lamport) = (head + 1, 50);
            line.pushes(&log.texts(&["forged"])).await;
        },
    );
}

#[test]
fn a_third_party_writes_nothing_in_a_direct_conversation() {
    refused(
        &[
            "a third party's entry in a direct conversation",
            "not a member of that conversation",
        ],
        async |town: &Town, mallory: &Mallory, line: &mut Line| {
            let other = random_key();
            line.pushes(&Forger::new(&other, town.direct(mallory)).texts(&["forged"]))
                .await;
            let theirs = ConversationId::direct(town.ann.id(), town.bob.id());
            line.pushes(&Forger::new(mallory.key(), theirs).texts(&["forged"]))
                .await;
        },
    );
}

#[test]
fn two_pasts_of_one_log_are_a_conflict_that_is_told_once() {
    let town = town();
    town.attack(async |town: &Town| {
        let mallory = Mallory::new();
        let mut line = mallory.in_session(&town.ann).await;
        let mut one = Forger::new(mallory.key(), lobby());
        let mut other = Forger::new(mallory.key(), lobby());
        other.name = one.name;
        other.hash = one.hash;
        line.pushes(&one.texts(&["the first past"])).await;
        line.hears_until(
            "a receipt",
            |frame| matches!(frame, Frame::Have(name, _) if *name == one.name),
        )
        .await;
        let forked = other.texts(&["forged"]);
        for _ in 0..500 {
            line.pushes(&forked).await;
        }
        line.hears_until("the verdict", |frame| *frame == Frame::Conflict(one.name))
            .await;
        line.pushes(&one.texts(&["still the first past"])).await;
        town.ann.has("still the first past");
    });
    town.ann.prints(&["\"notice\"", "\"conflict\""]);
    let told = town
        .ann
        .output()
        .lines()
        .filter(|line| line.contains("\"conflict\""))
        .count();
    assert_eq!(told, 1, "a user who is told the same 500 times is not told");
    has_nothing_forged(&town.ann);
    town.stands(&["conflict"]);
}

#[test]
fn replayed_reordered_and_gapped_batches_leave_one_log_in_order() {
    let town = town();
    town.attack(async |town: &Town| {
        let mallory = Mallory::new();
        let mut line = mallory.in_session(&town.ann).await;
        let mut log = Forger::new(mallory.key(), town.direct(&mallory));
        let batches: Vec<_> = (0..20)
            .map(|n| log.texts(&[&format!("in order, {n}")]))
            .collect();
        for batch in batches.iter().rev().chain(&batches).chain(&batches) {
            line.pushes(batch).await;
        }
        town.ann.has("in order, 19");
    });
    let texts: Vec<_> = town
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
    town.stands(&[]);
}

#[test]
fn gaps_in_thousands_of_logs_cost_little() {
    let town = Town::alone();
    town.attack(async |town: &Town| {
        let mallory = Mallory::with_window(2048);
        let mut line = mallory.in_session(&town.ann).await;
        let flood = async {
            loop {
                let mut log = Forger::new(mallory.key(), town.direct(&mallory));
                log.next = 7;
                if !line.pushes(&log.texts(&["after a gap"])).await {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(FLOOD, flood).await;
        town.talks("meanwhile");
    });
    town.stands(&[]);
}

#[test]
fn endless_conflicts_towards_a_peer_that_never_reads_cost_little() {
    let town = Town::alone();
    town.attack(async |town: &Town| {
        let mallory = Mallory::with_window(2048);
        let mut line = mallory.in_session(&town.ann).await;
        let mut one = Forger::new(mallory.key(), town.direct(&mallory));
        let mut other = Forger::new(mallory.key(), town.direct(&mallory));
        other.name = one.name;
        other.hash = one.hash;
        line.pushes(&one.texts(&["the first past"])).await;
        town.ann.has("the first past");
        let forked = other.texts(&["forged"]);
        let _ = tokio::time::timeout(FLOOD, async { while line.pushes(&forked).await {} }).await;
        town.talks("meanwhile");
    });
    town.stands(&["conflict"]);
}

#[test]
fn a_lamport_number_that_cannot_be_is_refused() {
    refused(
        &["an impossible Lamport number"],
        async |town: &Town, mallory: &Mallory, line: &mut Line| {
            for conversation in [lobby(), town.direct(mallory)] {
                let mut log = Forger::new(mallory.key(), conversation);
                log.lamport = (1 << 53) + 1;
                line.pushes(&log.texts(&["forged"])).await;
            }
        },
    );
}

#[test]
fn a_lamport_number_far_ahead_neither_silences_a_room_nor_mixes_up_its_order() {
    let town = town();
    town.attack(async |town: &Town| {
        let mallory = Mallory::new();
        let mut line = mallory.in_session(&town.ann).await;
        // In its own name, and after a gap, in the name of an identity that is not here.
        let absent = random_key();
        for (key, next) in [(mallory.key(), 1), (&absent, 5)] {
            let mut log = Forger::new(key, lobby());
            (log.next, log.lamport) = (next, 1 << 53);
            line.pushes(&log.texts(&["from the end of time"])).await;
        }
        town.ann.has("from the end of time");
    });
    town.stands(&[]);
    let town = town.with_ann_restarted();
    let turns = ["one", "two", "three", "four", "five", "six"];
    for (at, text) in turns.iter().enumerate() {
        let (speaker, listener) = if at % 2 == 0 {
            (&town.ann, &town.bob)
        } else {
            (&town.bob, &town.ann)
        };
        speaker.says(text);
        listener.has(text);
    }
    for host in [&town.ann, &town.bob] {
        let said: Vec<_> = host
            .texts(&["#lobby"])
            .into_iter()
            .filter(|text| turns.contains(&text.as_str()))
            .collect();
        assert_eq!(said, turns, "the order in which it was said");
    }
}

#[test]
fn lamport_numbers_that_leap_do_not_shut_newcomers_out() {
    let town = town();
    town.attack(async |town: &Town| {
        let mallory = Mallory::new();
        let mut line = mallory.in_session(&town.ann).await;
        let mut log = Forger::new(mallory.key(), lobby());
        for leap in 1..=8u64 {
            log.lamport = leap << 19;
            line.pushes(&log.texts(&[&format!("leap {leap}")])).await;
        }
        town.ann.has("leap 8");
    });
    town.talks("after the leaps");
    let carl = Host::up(town.dir(), "carl");
    carl.tells(&town.ann.addr().to_string(), "I'm new");
    carl.tells(&town.bob.addr().to_string(), "I'm new here too");
    town.ann.says("welcome, carl");
    carl.has("welcome, carl");
    carl.says("thank you, ann");
    town.ann.has("thank you, ann");
    town.bob.has("thank you, ann");
}

#[test]
fn impossible_texts_are_refused() {
    refused(
        &["an entry is malformed"],
        async |town: &Town, mallory: &Mallory, line: &mut Line| {
            let impossible = [
                text_entry(1, &"forged".repeat(3000)),
                text_entry(1, ""),
                garbled_entry(1, b"forged\xff\xfe"),
                garbled_entry(1, b"forged\xed\xa0\x80"),
                vec![0xff; 900],
            ];
            for entry in impossible {
                for conversation in [lobby(), town.direct(mallory)] {
                    line.pushes(
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
fn batches_without_sense_are_refused() {
    refused(
        &[
            "a batch has 1 to",
            "Lamport numbers decrease",
            "does not start from the hash",
        ],
        async |town, mallory, line| {
            let direct = town.direct(mallory);
            let twisted = |twist: &dyn Fn(&mut Batch)| {
                let Frame::Batch(mut batch) = Forger::new(mallory.key(), direct).texts(&["forged"])
                else {
                    unreachable!()
                };
                twist(&mut batch);
                Frame::Batch(batch)
            };
            line.pushes(&twisted(&|batch| batch.entries = Default::default()))
                .await;
            line.pushes(&twisted(&|batch| batch.first = 0)).await;
            line.pushes(&twisted(&|batch| batch.first = u64::MAX)).await;
            line.pushes(&twisted(&|batch| batch.name.log = LogId(3)))
                .await;
            line.pushes(
                &Forger::new(mallory.key(), direct)
                    .entries(&[text_entry(5, "forged"), text_entry(4, "forged")]),
            )
            .await;
        },
    );
}

/// None of what is pushed is taken, and the log says these reasons.
fn refused(why: &[&str], attack: impl AsyncFnOnce(&Town, &Mallory, &mut Line)) {
    let town = town();
    town.attack(async |town: &Town| {
        let mallory = Mallory::new();
        let mut line = mallory.in_session(&town.ann).await;
        line.lives().await;
        attack(town, &mallory, &mut line).await;
        // An honest entry after all that shows that the session lives and everything before it was
        // judged.
        let mut log = Forger::new(mallory.key(), town.direct(&mallory));
        line.pushes(&log.texts(&["and now an honest one"])).await;
        town.ann.has("and now an honest one");
    });
    town.stands(why);
    has_nothing_forged(&town.ann);
    has_nothing_forged(&town.bob);
}

fn town() -> Town {
    Town::talkative()
}

fn has_nothing_forged(host: &Host) {
    let texts = host.texts(&[]);
    assert!(
        !texts.iter().any(|text| text.contains("forged")),
        "{texts:?}"
    );
    assert!(!host.output().contains("forged"), "it was shown");
}

/// The log that the victim writes in the lobby, and its last entry: she is made to say something.
async fn log_of(line: &mut Line, town: &Town) -> (hobnob_protocol::LogName, u64) {
    line.holds_nothing_of(lobby()).await;
    line.lives().await;
    town.ann.says("I write here");
    let connection = line.connection.clone();
    let mut stream = connection.accept_uni().await.expect("her batches come");
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.expect("a batch comes");
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).await.expect("a batch comes");
    let frame = Frame::decode(&frame.into()).expect("an honest frame");
    let Frame::Batch(batch) = frame else {
        panic!("a batch, not {frame:?}")
    };
    (batch.name, batch.check().expect("an honest batch").last())
}

fn lobby() -> ConversationId {
    RoomKey::derive(&RoomName::lobby(), b"").tag()
}

const FLOOD: Duration = Duration::from_secs(5);
