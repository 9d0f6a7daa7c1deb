//! Frames that no honest node sends.

use std::net::SocketAddr;
use std::time::Duration;

use hobnob::net::compression::Compressor;
use hobnob_protocol::compression::COMPRESSED_BATCH;
use hobnob_protocol::frame::{AuthorHeads, Digest, FRAME_MAX, Profile};
use hobnob_protocol::{
    Batch, ConversationId, Frame, LogId, LogName, Ranges, RoomKey, RoomName, RoomProof, close,
    codec,
};
use hobnob_tests::hostile::{Forger, Mallory, RawStream, TestNet, random_key};

/// A digest of heads that nobody has.
fn digest(n: u8) -> Digest {
    Digest {
        hash: [n; 32],
        clock: 0,
    }
}

#[test]
fn a_frame_of_four_gigabytes_ends_the_session_before_it_costs_memory() {
    assert_ends_session(
        close::FRAME_TOO_LARGE,
        "a frame of more than 65536 bytes",
        async |stream: &mut RawStream| {
            stream.sends_bytes(&u32::MAX.to_be_bytes()).await;
            stream.sends_bytes(&[7; 100_000]).await;
        },
    );
}

#[test]
fn a_batch_of_four_gigabytes_ends_the_session() {
    assert_ends_session(
        close::FRAME_TOO_LARGE,
        "a frame of more than 65536 bytes",
        async |stream: &mut RawStream| {
            stream.sends_batch_bytes(&u32::MAX.to_be_bytes()).await;
        },
    );
}

#[test]
fn a_stream_that_ends_within_a_frame_ends_the_session() {
    assert_ends_session(
        close::PROTOCOL,
        "a stream ended within a frame",
        async |stream: &mut RawStream| {
            stream.sends_bytes(&[0, 0, 1, 0, 2, 2, 2]).await;
            stream.finishes();
        },
    );
}

#[test]
fn a_second_hello_ends_the_session() {
    assert_ends_session(
        close::PROTOCOL,
        "a second Hello",
        async |stream: &mut RawStream| {
            stream.sends(&Mallory::hello(Profile::default())).await;
        },
    );
}

#[test]
fn a_batch_on_the_control_stream_ends_the_session() {
    assert_ends_session(
        close::PROTOCOL,
        "a batch on the control stream",
        async |stream: &mut RawStream| {
            let key = random_key();
            stream
                .sends(&Forger::new(&key, lobby()).texts(&["hi"]))
                .await;
        },
    );
}

#[test]
fn compressed_batches_that_lie_about_their_length_end_the_session() {
    let net = TestNet::new();
    net.attack(async |net: &TestNet| {
        let key = random_key();
        // RFC 8878: a frame without a length that goes on for 12 MiB, and one that announces 2^62 bytes.
        let block = |last: u32| (((128 << 10) << 3) | (1 << 1) | last).to_le_bytes();
        let repeated = |last| [&block(last)[..3], &[7]].concat();
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        let endless = [
            &magic[..],
            &[0, 0x58],
            &repeated(0).repeat(96),
            &repeated(1),
        ]
        .concat();
        let huge = [
            &magic[..],
            &[0xc0, 0],
            &(1u64 << 62).to_le_bytes(),
            &[3, 0, 0],
        ]
        .concat();
        for (len, compressed) in [
            (u64::MAX, endless.clone()),
            (1 << 32, endless.clone()),
            (65_281, vec![7; 65_000]),
            (60_000, vec![7; 100]),
            (5, vec![7; 100]),
            (0, Vec::new()),
            (12_000, endless),
            (500, huge),
            (60_000, vec![7; 50_000]),
        ] {
            let Frame::Batch(batch) = Forger::new(&key, lobby()).texts(&["hi"]) else {
                unreachable!("texts() returns a batch")
            };
            let entries = compressed.into();
            let batch = Batch { entries, ..batch };
            let body = [codec::encode(&len), batch.encode()].concat();
            let mut stream = Mallory::new().in_session(&net.ann).await;
            stream
                .sends_batch_bytes(&framed(COMPRESSED_BATCH, &body))
                .await;
            assert_eq!(stream.is_closed().await.0, u64::from(close::PROTOCOL));
        }
    });
    net.survives(&[
        "compressed bytes that claim to be",
        "damaged, or not as long as announced",
    ]);
}

#[test]
fn a_compressed_batch_is_checked_like_any_other() {
    let net = TestNet::new();
    let text = "long text ".repeat(500);
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        net.accept(&mallory);
        let mut stream = mallory.in_session(&net.ann).await;
        let mut log = Forger::new(mallory.key(), net.direct(&mallory));
        let good = log.texts(&[&varied(&text)]);
        let forged = Forger::with_bad_signature(log.texts(&[&varied("a forged text")]));
        for frame in [good, forged] {
            let compressed = Compressor::default().batch(frame.encode());
            assert_eq!(compressed[0], COMPRESSED_BATCH);
            stream
                .sends_batch_bytes(&framed(COMPRESSED_BATCH, &compressed[1..]))
                .await;
        }
        net.ann.has(&varied(&text));
    });
    let all = net.ann.texts(&["--limit", "100"]);
    assert!(!all.contains(&varied("a forged text")), "{all:?}");
    net.survives(&[]);
}

/// A text that becomes shorter, but not so much that it is sent as it is.
fn varied(text: &str) -> String {
    let numbers = (0..1_000).map(|n: u32| format!("{} ", n * n));
    format!("{text} {}", numbers.collect::<String>().trim_end())
}

#[test]
fn another_frame_on_the_batch_stream_ends_the_session() {
    assert_ends_session(
        close::PROTOCOL,
        "something else than a batch",
        async |stream: &mut RawStream| {
            stream.sends_batch(&Frame::Ping(1)).await;
        },
    );
}

#[test]
fn malformed_ranges_end_the_session() {
    let name = LogName {
        conversation: lobby(),
        author: random_key().id().person(),
        device: random_key().id(),
        log: LogId(1),
    };
    let many = (1..=65).map(|n| (n * 3, n * 3)).collect();
    let net = TestNet::new();
    net.attack(async |net: &TestNet| {
        for ranges in [
            vec![(0u64, 1u64)],
            vec![(5, 4)],
            vec![(1, 3), (2, 9)],
            vec![(1, u64::MAX)],
            many,
        ] {
            let mut stream = Mallory::new().in_session(&net.ann).await;
            stream
                .sends_bytes(&framed(19, &codec::encode(&(name, ranges))))
                .await;
            assert_eq!(stream.is_closed().await.0, u64::from(close::PROTOCOL));
        }
    });
    net.survives(&["frame of kind 19"]);
}

#[test]
fn empty_and_malformed_frames_end_the_session() {
    let net = TestNet::new();
    net.attack(async |net: &TestNet| {
        for malformed in [
            framed(17, &[0xff; 5000]),
            framed(18, &[0; 100]),
            framed(4, &[0xfd; 60]),
            vec![0; 4],
        ] {
            let mut stream = Mallory::new().in_session(&net.ann).await;
            stream.sends_bytes(&malformed).await;
            assert_eq!(stream.is_closed().await.0, u64::from(close::PROTOCOL));
        }
    });
    net.survives(&["frame of kind 17", "an empty frame"]);
}

#[test]
fn a_frame_before_hello_ends_the_connection() {
    let net = TestNet::new();
    net.attack(async |net: &TestNet| {
        for frame in [
            Frame::Ping(1),
            Frame::Digest(lobby(), digest(0)),
            Forger::new(&random_key(), lobby()).texts(&["hi"]),
        ] {
            let mut stream = Mallory::new().connected(&net.ann).await;
            stream.sends(&frame).await;
            assert_eq!(stream.is_closed().await.0, u64::from(close::VERSION));
        }
    });
    net.survives(&["its first frame was no Hello"]);
}

#[test]
fn a_hello_of_another_major_version_is_refused_with_a_reason() {
    let net = TestNet::new();
    net.attack(async |net: &TestNet| {
        let mut stream = Mallory::new().connected(&net.ann).await;
        let Frame::Hello(mut hello) = Mallory::hello(Profile::default()) else {
            unreachable!("hello() returns a Hello")
        };
        hello.version = (9, 3);
        stream.sends(&Frame::Hello(hello)).await;
        assert_eq!(stream.is_closed().await.0, u64::from(close::VERSION));
    });
    net.survives(&["it speaks hobnob protocol 9.3"]);
}

#[test]
fn unknown_frames_are_skipped_without_harm() {
    let net = TestNet::new();
    net.attack(async |net: &TestNet| {
        let mut stream = Mallory::new().in_session(&net.ann).await;
        for kind in [0, 31, 99, 255] {
            stream
                .sends_bytes(&framed(kind, &vec![kind; FRAME_MAX - 1]))
                .await;
            stream.sends_batch_bytes(&framed(kind, &[kind; 9])).await;
        }
        stream.is_alive().await;
    });
    net.survives(&[]);
}

#[test]
fn frames_about_conversations_of_others_get_no_answer() {
    let net = TestNet::verbose();
    net.attack(async |net: &TestNet| {
        let mut stream = Mallory::new().in_session(&net.ann).await;
        stream.receives_for(SETTLE).await;
        let theirs = ConversationId::direct(net.ann.id(), net.bob.id());
        let name = LogName {
            conversation: theirs,
            author: net.ann.id(),
            device: net.ann.id().only_device(),
            log: LogId(1),
        };
        for conversation in [theirs, ConversationId::from_bytes([9; 32])] {
            let name = LogName {
                conversation,
                ..name
            };
            stream.sends(&Frame::Digest(conversation, digest(1))).await;
            stream
                .sends(&Frame::Heads {
                    conversation,
                    more: false,
                    authors: Vec::new(),
                })
                .await;
            stream
                .sends(&Frame::Have(name, Ranges::span(1, 9).into()))
                .await;
            stream
                .sends(&Frame::Want {
                    name,
                    from: 1,
                    to: None,
                })
                .await;
            stream
                .sends(&Frame::Prune(conversation, net.bob.id()))
                .await;
            stream.sends(&Frame::Conflict(name)).await;
        }
        assert_eq!(stream.receives_for(SETTLE).await, []);
    });
    net.survives(&["not a member of that conversation"]);
}

#[test]
fn thousands_of_logs_in_heads_cost_little_memory_and_do_not_stall_the_node() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mut stream = Mallory::new().in_session(&net.ann).await;
        for frame in 0..200u64 {
            let logs = |author: u64| {
                (0..4)
                    .map(|n| (LogId(n), Ranges::span(1, 1 + author).into()))
                    .collect()
            };
            let author = |n: u64| AuthorHeads {
                author: random_key().id().person(),
                device: random_key().id(),
                logs: logs(n),
            };
            stream
                .sends(&Frame::Heads {
                    conversation: lobby(),
                    more: frame < 199,
                    authors: (0..500).map(author).collect(),
                })
                .await;
        }
        for round in 0..40 {
            let ranges = |n: u64| {
                (1..=60).fold(Ranges::new(), |mut all, i| {
                    all.insert(i * 7 + n, i * 7 + n);
                    all
                })
            };
            let logs = (0..200)
                .map(|n| (LogId(round * 1000 + n), ranges(n).into()))
                .collect();
            stream
                .sends(&Frame::Heads {
                    conversation: lobby(),
                    more: true,
                    authors: vec![AuthorHeads {
                        author: random_key().id().person(),
                        device: random_key().id(),
                        logs,
                    }],
                })
                .await;
        }
        stream.is_alive().await;
        net.talks("meanwhile");
    });
    net.survives(&[]);
}

#[test]
fn a_log_of_a_million_holes_costs_little_memory() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mut stream = Mallory::new().in_session(&net.ann).await;
        let name = LogName {
            conversation: lobby(),
            author: random_key().id().person(),
            device: random_key().id(),
            log: LogId(1),
        };
        for round in 0..16_000u64 {
            let mut ranges = Ranges::new();
            (0..64).for_each(|n| ranges.insert((round * 64 + n) * 3 + 1, (round * 64 + n) * 3 + 1));
            stream.sends(&Frame::Have(name, ranges.into())).await;
        }
        stream.is_alive().await;
    });
    net.survives(&[]);
}

#[test]
fn a_flood_of_digests_and_pings_from_a_peer_that_never_reads_costs_little_memory() {
    let net = TestNet::alone();
    for n in 0..50 {
        net.ann.says(&format!("message {n}"));
    }
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::with_window(2048);
        let mut stream = mallory.in_session(&net.ann).await;
        let deadline = tokio::time::sleep(FLOOD);
        tokio::pin!(deadline);
        let flood = async {
            let (digest, ping) = (
                framed_frame(&Frame::Digest(lobby(), digest(3))),
                framed_frame(&Frame::Ping(3)),
            );
            let want = LogName {
                conversation: lobby(),
                author: net.ann.id(),
                device: net.ann.id().only_device(),
                log: LogId(1),
            };
            let want = framed_frame(&Frame::Want {
                name: want,
                from: 1,
                to: None,
            });
            let many = [digest, ping, want].concat().repeat(100);
            while stream.sends_bytes(&many).await {}
        };
        tokio::select! { () = flood => {}, () = &mut deadline => {} }
        net.talks("meanwhile");
    });
    net.survives(&[]);
}

#[test]
fn a_flood_of_profiles_costs_little_memory() {
    let net = TestNet::alone();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.in_session(&net.ann).await;
        let flood = async {
            for n in 0u16.. {
                let addrs = (0..16)
                    .map(|i| SocketAddr::from(([127, 0, 0, 1], 1 + n.wrapping_mul(16) / 2 + i)))
                    .collect();
                let profile = Profile {
                    addrs,
                    proofs: vec![
                        RoomProof {
                            epoch: 0,
                            hash: [7; 32]
                        };
                        256
                    ],
                    ..mallory.profile(&format!("mallory {n}"))
                };
                if !stream.sends(&Frame::Profile(profile)).await {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(FLOOD, flood).await;
        net.talks("meanwhile");
    });
    net.survives(&["a flood of profiles"]);
}

/// Checks that the attack assert_ends_session the session with this close code, and that ann logs the reason.
fn assert_ends_session(code: u32, why: &str, attack: impl AsyncFnOnce(&mut RawStream)) {
    let net = TestNet::new();
    net.attack(async |net: &TestNet| {
        let mut stream = Mallory::new().in_session(&net.ann).await;
        attack(&mut stream).await;
        assert_eq!(
            stream.is_closed().await.0,
            u64::from(code),
            "{:?}",
            stream.connection.close_reason()
        );
    });
    net.survives(&[why]);
}

fn lobby() -> ConversationId {
    RoomKey::open(&RoomName::lobby()).conversation()
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(1 + body.len()).expect("the body is short");
    [&length.to_be_bytes()[..], &[kind], body].concat()
}

fn framed_frame(frame: &Frame) -> Vec<u8> {
    let frame = frame.encode();
    framed(frame[0], &frame[1..])
}

/// Time for the frames that a new session sends without a request.
const SETTLE: Duration = Duration::from_millis(500);

const FLOOD: Duration = Duration::from_secs(5);
