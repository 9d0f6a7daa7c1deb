//! A room with a secret is closed to peers that do not know the secret.

use std::sync::LazyLock;

use hobnob_protocol::frame::Profile;
use hobnob_protocol::{Frame, LogId, LogName, Ranges, RoomKey, RoomName, RoomProof};
use hobnob_tests::hostile::{Forger, MIB, Mallory, RawStream, TestNet};

const SECRET: &str = "the password of the cellar";

/// The victim stretches its passphrase during the test, which takes this much memory for a moment.
const STRETCHING: u64 = 64 * MIB;

#[test]
fn a_rooms_tag_alone_opens_nothing() {
    assert_opens_nothing(async |_: &TestNet, _: &Mallory, _: &RawStream| {
        vec![RoomProof {
            epoch: 0,
            hash: *key(SECRET).conversation().as_bytes(),
        }]
    });
}

#[test]
fn a_wrong_secret_opens_nothing() {
    assert_opens_nothing(async |_: &TestNet, mallory: &Mallory, stream: &RawStream| {
        vec![
            key("the password of the attic").proof(&stream.exporter(), mallory.id().only_device()),
            RoomKey::open(&cellar()).proof(&stream.exporter(), mallory.id().only_device()),
        ]
    });
}

#[test]
fn a_members_own_proof_played_back_opens_nothing() {
    assert_opens_nothing(async |net: &TestNet, _: &Mallory, stream: &RawStream| {
        // The proofs that ann and bob would present on this session.
        vec![
            key(SECRET).proof(&stream.exporter(), net.ann.id().only_device()),
            key(SECRET).proof(&stream.exporter(), net.bob.id().only_device()),
        ]
    });
}

#[test]
fn a_proof_from_another_session_opens_nothing() {
    assert_opens_nothing(async |net: &TestNet, mallory: &Mallory, _: &RawStream| {
        let other = mallory.connected(&net.bob).await;
        vec![
            key(SECRET).proof(&other.exporter(), mallory.id().only_device()),
            key(SECRET).proof(&[0; 32], mallory.id().only_device()),
        ]
    });
}

#[test]
fn the_right_secret_opens_the_room() {
    let net = net();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.connected(&net.ann).await;
        stream
            .greet(Profile {
                proofs: vec![key(SECRET).proof(&stream.exporter(), mallory.id().only_device())],
                ..mallory.profile("carl")
            })
            .await;
        stream
            .receives_until(
                "the room's digest",
                |frame| matches!(frame, Frame::Digest(of, _) if *of == key(SECRET).conversation()),
            )
            .await;
    });
}

/// A stranger that dials learns nothing from which it could guess the passphrase.
#[test]
fn a_stranger_that_connects_receives_no_proof_of_a_room_with_a_passphrase() {
    let net = net();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.connected(&net.ann).await;
        let wrong =
            key("the password of the attic").proof(&stream.exporter(), mallory.id().only_device());
        let seen = proofs_seen(&mallory, &mut stream, vec![wrong]).await;
        assert!(
            seen.len() >= 8 && seen.len().is_multiple_of(8),
            "{}",
            seen.len()
        );
        for prover in [&net.ann, &net.bob] {
            let proof = key(SECRET).proof(&stream.exporter(), prover.id().only_device());
            assert!(!seen.contains(&proof), "a proof of {:?}", prover.id());
        }
        // The control: a member that dials the same way receives the proof.
        let member = Mallory::new();
        let mut stream = member.connected(&net.ann).await;
        let right = key(SECRET).proof(&stream.exporter(), stream.me().only_device());
        let seen = proofs_seen(&member, &mut stream, vec![right]).await;
        assert!(seen.contains(&key(SECRET).proof(&stream.exporter(), net.ann.id().only_device())));
    });
}

/// Greets with these proofs. Returns all proofs in the victim's Hello and its profiles.
async fn proofs_seen(
    mallory: &Mallory,
    stream: &mut RawStream,
    proofs: Vec<RoomProof>,
) -> Vec<RoomProof> {
    let profile = Profile {
        proofs,
        ..mallory.profile("carl")
    };
    let mut seen = stream.greet(profile).await.proofs;
    for frame in stream.receives_for(std::time::Duration::from_secs(1)).await {
        if let Frame::Profile(profile) = frame {
            seen.extend(profile.proofs);
        }
    }
    seen
}

/// Checks that these proofs open nothing: ann answers no question about the room and accepts no
/// entry in it.
fn assert_opens_nothing(
    proofs: impl AsyncFnOnce(&TestNet, &Mallory, &RawStream) -> Vec<RoomProof>,
) {
    let net = net();
    net.attack(async |net: &TestNet| {
        let mallory = Mallory::new();
        let mut stream = mallory.connected(&net.ann).await;
        let presented = proofs(net, &mallory, &stream).await;
        stream
            .greet(Profile {
                proofs: presented.clone(),
                ..mallory.profile("mallory")
            })
            .await;
        stream
            .sends(&Frame::Profile(Profile {
                proofs: presented,
                ..mallory.profile("mallory")
            }))
            .await;
        let tag = key(SECRET).conversation();
        let name = LogName {
            conversation: tag,
            author: net.bob.id(),
            device: net.bob.id().only_device(),
            log: LogId(1),
        };
        stream.sends_empty_digest(tag).await;
        stream
            .sends(&Frame::Heads {
                conversation: tag,
                more: false,
                authors: Vec::new(),
            })
            .await;
        stream
            .sends(&Frame::Want {
                name,
                from: 1,
                to: None,
            })
            .await;
        stream
            .sends(&Frame::Have(name, Ranges::span(1, 5).into()))
            .await;
        stream
            .sends_batch(&Forger::new(mallory.key(), tag).texts(&["forged"]))
            .await;
        net.bob
            .run(&["broadcast", "--room", "cellar", "psst"])
            .expect(0);
        let received = stream.receives_for(std::time::Duration::from_secs(1)).await;
        let about_the_room = |frame: &&Frame| match frame {
            Frame::Digest(of, _)
            | Frame::Heads {
                conversation: of, ..
            }
            | Frame::Prune(of, _)
            | Frame::Waiting(of) => *of == tag,
            Frame::Have(of, _) | Frame::Want { name: of, .. } | Frame::Conflict(of) => {
                of.conversation == tag
            }
            Frame::Offer(offer, _) => offer.name.conversation == tag,
            Frame::Hello(_)
            | Frame::Invite(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Profile(_)
            | Frame::Records { .. }
            | Frame::WantRecords(_)
            | Frame::ContactRecord(_)
            | Frame::Mailbox { .. }
            | Frame::Content { .. }
            | Frame::Room(_)
            | Frame::HoldsMail(_)
            | Frame::WantPicture(_)
            | Frame::Picture(..)
            | Frame::Activity(_)
            | Frame::Candidates(_)
            | Frame::DialBack(_)
            | Frame::DialedBack(_)
            | Frame::Batch(_)
            | Frame::Unknown(_) => false,
        };
        assert_eq!(
            received.iter().find(about_the_room),
            None,
            "a frame about a room without membership"
        );
        // Batches would arrive on a stream of their own. Ann opened no such stream.
        let batches = tokio::time::timeout(
            std::time::Duration::from_millis(200),
            stream.connection.accept_uni(),
        )
        .await;
        assert!(batches.is_err(), "a batch stream was opened");
        stream.is_alive().await;
    });
    net.survives_within(
        &["not a member of that conversation"],
        STRETCHING + 16 * MIB,
    );
    assert!(!net.ann.texts(&[]).contains(&"forged".to_owned()));
}

/// Ann and bob in a room with a secret, where bob has written a message.
fn net() -> TestNet {
    let net = TestNet::verbose();
    for host in [&net.ann, &net.bob] {
        host.run_with_input(&["join", "cellar", "--secret-file", "-"], SECRET)
            .expect(0);
    }
    net.bob
        .run(&[
            "broadcast",
            "--wait",
            "queued",
            "--room",
            "cellar",
            "the treasure is here",
        ])
        .expect(0);
    net.ann.has("the treasure is here");
    net
}

fn cellar() -> RoomName {
    "cellar".parse().expect("a room's name")
}

/// The key of the room. Each costs a stretching, so the one that all tests use is made once.
fn key(secret: &str) -> RoomKey {
    static RIGHT: LazyLock<RoomKey> = LazyLock::new(|| stretched(SECRET));
    if secret == SECRET {
        RIGHT.clone()
    } else {
        stretched(secret)
    }
}

fn stretched(secret: &str) -> RoomKey {
    RoomKey::from_passphrase(&cellar(), secret.as_bytes()).expect("it is not weak")
}
