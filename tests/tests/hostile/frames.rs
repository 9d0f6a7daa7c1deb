//! Frames that no honest node sends.

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::frame::{AuthorHeads, FRAME_MAX, Profile};
use hobnob_protocol::{
    ConversationId, Frame, LogId, LogName, Ranges, RoomKey, RoomName, close, codec,
};
use hobnob_tests::hostile::{Forger, Line, Mallory, Town, random_key};

#[test]
fn a_frame_of_four_gigabytes_ends_the_session_before_it_takes_memory() {
    ends(
        close::FRAME_TOO_LARGE,
        "a frame of more than 65536 bytes",
        async |line: &mut Line| {
            line.says_raw(&u32::MAX.to_be_bytes()).await;
            line.says_raw(&[7; 100_000]).await;
        },
    );
}

#[test]
fn a_batch_of_four_gigabytes_ends_the_session_too() {
    ends(
        close::FRAME_TOO_LARGE,
        "a frame of more than 65536 bytes",
        async |line: &mut Line| {
            line.pushes_raw(&u32::MAX.to_be_bytes()).await;
        },
    );
}

#[test]
fn a_stream_that_ends_within_a_frame_ends_the_session() {
    ends(
        close::PROTOCOL,
        "a stream ended within a frame",
        async |line: &mut Line| {
            line.says_raw(&[0, 0, 1, 0, 2, 2, 2]).await;
            line.ends_stream();
        },
    );
}

#[test]
fn a_second_hello_ends_the_session() {
    ends(
        close::PROTOCOL,
        "a second Hello",
        async |line: &mut Line| {
            line.says(&Mallory::hello(Profile::default())).await;
        },
    );
}

#[test]
fn a_batch_on_the_control_stream_ends_the_session() {
    ends(
        close::PROTOCOL,
        "a batch on the control stream",
        async |line: &mut Line| {
            let key = random_key();
            line.says(&Forger::new(&key, lobby()).texts(&["hi"])).await;
        },
    );
}

#[test]
fn something_else_on_the_batch_stream_ends_the_session() {
    ends(
        close::PROTOCOL,
        "something else than a batch",
        async |line: &mut Line| {
            line.pushes(&Frame::Ping(1)).await;
        },
    );
}

#[test]
fn malformed_ranges_end_the_session() {
    let name = LogName {
        conversation: lobby(),
        author: random_key().id(),
        log: LogId(1),
    };
    let many = (1..=65).map(|n| (n * 3, n * 3)).collect();
    let town = Town::new();
    town.attack(async |town: &Town| {
        for ranges in [
            vec![(0u64, 1u64)],
            vec![(5, 4)],
            vec![(1, 3), (2, 9)],
            vec![(1, u64::MAX)],
            many,
        ] {
            let mut line = Mallory::new().in_session(&town.ann).await;
            line.says_raw(&framed(19, &codec::encode(&(name, ranges))))
                .await;
            assert_eq!(line.is_closed().await.0, u64::from(close::PROTOCOL));
        }
    });
    town.stands(&["frame of kind 19"]);
}

#[test]
fn empty_frames_and_rubbish_end_the_session() {
    let town = Town::new();
    town.attack(async |town: &Town| {
        for rubbish in [
            framed(17, &[0xff; 5000]),
            framed(18, &[0; 100]),
            framed(4, &[0xfd; 60]),
            vec![0; 4],
        ] {
            let mut line = Mallory::new().in_session(&town.ann).await;
            line.says_raw(&rubbish).await;
            assert_eq!(line.is_closed().await.0, u64::from(close::PROTOCOL));
        }
    });
    town.stands(&["frame of kind 17", "an empty frame"]);
}

#[test]
fn frames_before_hello_come_to_nothing() {
    let town = Town::new();
    town.attack(async |town: &Town| {
        for frame in [
            Frame::Ping(1),
            Frame::Digest(lobby(), [0; 32]),
            Forger::new(&random_key(), lobby()).texts(&["hi"]),
        ] {
            let mut line = Mallory::new().connected(&town.ann).await;
            line.says(&frame).await;
            assert_eq!(line.is_closed().await.0, u64::from(close::VERSION));
        }
    });
    town.stands(&["its first frame was no Hello"]);
}

#[test]
fn a_hello_of_another_major_version_is_refused_with_a_reason() {
    let town = Town::new();
    town.attack(async |town: &Town| {
        let mut line = Mallory::new().connected(&town.ann).await;
        let Frame::Hello(mut hello) = Mallory::hello(Profile::default()) else {
            unreachable!("as written there")
        };
        hello.version = (9, 3);
        line.says(&Frame::Hello(hello)).await;
        assert_eq!(line.is_closed().await.0, u64::from(close::VERSION));
    });
    town.stands(&["it speaks hobnob protocol 9.3"]);
}

#[test]
fn unknown_frames_are_skipped_and_the_session_lives() {
    let town = Town::new();
    town.attack(async |town: &Town| {
        let mut line = Mallory::new().in_session(&town.ann).await;
        for kind in [0, 15, 99, 255] {
            line.says_raw(&framed(kind, &vec![kind; FRAME_MAX - 1]))
                .await;
            line.pushes_raw(&framed(kind, &[kind; 9])).await;
        }
        line.lives().await;
    });
    town.stands(&[]);
}

#[test]
fn what_concerns_conversations_of_others_is_answered_by_nothing() {
    let town = Town::talkative();
    town.attack(async |town: &Town| {
        let mut line = Mallory::new().in_session(&town.ann).await;
        line.hears_for(SETTLE).await;
        let theirs = ConversationId::direct(town.ann.id(), town.bob.id());
        let name = LogName {
            conversation: theirs,
            author: town.ann.id(),
            log: LogId(1),
        };
        for conversation in [theirs, ConversationId::from_bytes([9; 32])] {
            let name = LogName {
                conversation,
                ..name
            };
            line.says(&Frame::Digest(conversation, [1; 32])).await;
            line.says(&Frame::Heads {
                conversation,
                more: false,
                authors: Vec::new(),
            })
            .await;
            line.says(&Frame::Have(name, Ranges::span(1, 9))).await;
            line.says(&Frame::Want {
                name,
                from: 1,
                to: None,
            })
            .await;
            line.says(&Frame::Prune(conversation, town.bob.id())).await;
            line.says(&Frame::Conflict(name)).await;
        }
        assert_eq!(line.hears_for(SETTLE).await, []);
    });
    town.stands(&["not a member of that conversation"]);
}

#[test]
fn thousands_of_logs_in_heads_are_neither_kept_without_end_nor_do_they_stall_the_node() {
    let town = Town::alone();
    town.attack(async |town: &Town| {
        let mut line = Mallory::new().in_session(&town.ann).await;
        for frame in 0..200u64 {
            let logs = |author: u64| {
                (0..4)
                    .map(|n| (LogId(n), Ranges::span(1, 1 + author)))
                    .collect()
            };
            let author = |n: u64| AuthorHeads {
                author: random_key().id(),
                logs: logs(n),
            };
            line.says(&Frame::Heads {
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
                .map(|n| (LogId(round * 1000 + n), ranges(n)))
                .collect();
            line.says(&Frame::Heads {
                conversation: lobby(),
                more: true,
                authors: vec![AuthorHeads {
                    author: random_key().id(),
                    logs,
                }],
            })
            .await;
        }
        line.lives().await;
        town.talks("meanwhile");
    });
    town.stands(&["a frame that does not belong here"]);
}

#[test]
fn a_log_of_a_million_holes_is_not_kept_without_end() {
    let town = Town::alone();
    town.attack(async |town: &Town| {
        let mut line = Mallory::new().in_session(&town.ann).await;
        let name = LogName {
            conversation: lobby(),
            author: random_key().id(),
            log: LogId(1),
        };
        for round in 0..16_000u64 {
            let mut ranges = Ranges::new();
            (0..64).for_each(|n| ranges.insert((round * 64 + n) * 3 + 1, (round * 64 + n) * 3 + 1));
            line.says(&Frame::Have(name, ranges)).await;
        }
        line.lives().await;
    });
    town.stands(&[]);
}

#[test]
fn a_peer_that_floods_with_digests_and_pings_and_never_reads_costs_little() {
    let town = Town::alone();
    for n in 0..50 {
        town.ann.says(&format!("something to tell of, {n}"));
    }
    town.attack(async |town: &Town| {
        let mallory = Mallory::with_window(2048);
        let mut line = mallory.in_session(&town.ann).await;
        let deadline = tokio::time::sleep(FLOOD);
        tokio::pin!(deadline);
        let flood = async {
            let (digest, ping) = (
                framed_frame(&Frame::Digest(lobby(), [3; 32])),
                framed_frame(&Frame::Ping(3)),
            );
            let want = LogName {
                conversation: lobby(),
                author: town.ann.id(),
                log: LogId(1),
            };
            let want = framed_frame(&Frame::Want {
                name: want,
                from: 1,
                to: None,
            });
            let many = [digest, ping, want].concat().repeat(100);
            while line.says_raw(&many).await {}
        };
        tokio::select! { () = flood => {}, () = &mut deadline => {} }
        town.talks("meanwhile");
    });
    town.stands(&[]);
}

#[test]
fn a_peer_that_floods_with_new_names_costs_little() {
    let town = Town::alone();
    town.attack(async |town: &Town| {
        let mut line = Mallory::new().in_session(&town.ann).await;
        let flood = async {
            for n in 0u16.. {
                let addrs = (0..16)
                    .map(|i| SocketAddr::from(([127, 0, 0, 1], 1 + n.wrapping_mul(16) / 2 + i)))
                    .collect();
                let profile = Profile {
                    nick: format!("mallory {n}"),
                    addrs,
                    proofs: vec![[7; 32]; 256],
                };
                if !line.says(&Frame::Profile(profile)).await {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(FLOOD, flood).await;
        town.talks("meanwhile");
    });
    town.stands(&["a flood of profiles"]);
}

/// The session ends with this code, and the log says why.
fn ends(code: u32, why: &str, attack: impl AsyncFnOnce(&mut Line)) {
    let town = Town::new();
    town.attack(async |town: &Town| {
        let mut line = Mallory::new().in_session(&town.ann).await;
        attack(&mut line).await;
        assert_eq!(
            line.is_closed().await.0,
            u64::from(code),
            "{:?}",
            line.connection.close_reason()
        );
    });
    town.stands(&[why]);
}

fn lobby() -> ConversationId {
    RoomKey::derive(&RoomName::lobby(), b"").tag()
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(1 + body.len()).expect("short");
    [&length.to_be_bytes()[..], &[kind], body].concat()
}

fn framed_frame(frame: &Frame) -> Vec<u8> {
    let frame = frame.encode();
    framed(frame[0], &frame[1..])
}

/// For what a session says by itself when it is new.
const SETTLE: Duration = Duration::from_millis(500);

const FLOOD: Duration = Duration::from_secs(5);
