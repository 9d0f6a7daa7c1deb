//! Rooms with a secret are closed to those who don't have it.

use hobnob_protocol::frame::Profile;
use hobnob_protocol::{Frame, LogId, LogName, Ranges, RoomKey, RoomName};
use hobnob_tests::hostile::{Forger, Line, Mallory, Town};

const SECRET: &str = "the password of the cellar";

#[test]
fn who_merely_saw_a_rooms_tag_gets_nothing() {
    gets_nothing(async |_: &Town, _: &Mallory, _: &Line| vec![*key(SECRET).tag().as_bytes()]);
}

#[test]
fn a_wrong_secret_opens_nothing() {
    gets_nothing(async |_: &Town, mallory: &Mallory, line: &Line| {
        vec![
            key("the password of the attic").proof(&line.exporter(), mallory.id()),
            key("").proof(&line.exporter(), mallory.id()),
        ]
    });
}

#[test]
fn a_members_own_proof_played_back_opens_nothing() {
    gets_nothing(async |town: &Town, _: &Mallory, line: &Line| {
        // What the victim shows on this very session, and what she and bob would show on it if they
        // could be asked.
        vec![
            key(SECRET).proof(&line.exporter(), town.ann.id()),
            key(SECRET).proof(&line.exporter(), town.bob.id()),
        ]
    });
}

#[test]
fn a_proof_from_another_session_opens_nothing() {
    gets_nothing(async |town: &Town, mallory: &Mallory, _: &Line| {
        let other = mallory.connected(&town.bob).await;
        vec![
            key(SECRET).proof(&other.exporter(), mallory.id()),
            key(SECRET).proof(&[0; 32], mallory.id()),
        ]
    });
}

#[test]
fn the_right_secret_opens_it() {
    let town = town();
    town.attack(async |town: &Town| {
        let mallory = Mallory::new();
        let mut line = mallory.connected(&town.ann).await;
        line.greet(Profile {
            nick: "carl".into(),
            proofs: vec![key(SECRET).proof(&line.exporter(), mallory.id())],
            ..Profile::default()
        })
        .await;
        line.hears_until(
            "the room's digest",
            |frame| matches!(frame, Frame::Digest(of, _) if *of == key(SECRET).tag()),
        )
        .await;
    });
}

/// With these proofs, nothing about the room is heard, whatever is asked, and nothing that is
/// pushed into it is taken.
fn gets_nothing(proofs: impl AsyncFnOnce(&Town, &Mallory, &Line) -> Vec<[u8; 32]>) {
    let town = town();
    town.attack(async |town: &Town| {
        let mallory = Mallory::new();
        let mut line = mallory.connected(&town.ann).await;
        let shown = proofs(town, &mallory, &line).await;
        line.greet(Profile {
            nick: "mallory".into(),
            addrs: Vec::new(),
            proofs: shown.clone(),
        })
        .await;
        line.says(&Frame::Profile(Profile {
            nick: "mallory".into(),
            addrs: Vec::new(),
            proofs: shown,
        }))
        .await;
        let tag = key(SECRET).tag();
        let name = LogName {
            conversation: tag,
            author: town.bob.id(),
            log: LogId(1),
        };
        line.holds_nothing_of(tag).await;
        line.says(&Frame::Heads {
            conversation: tag,
            more: false,
            authors: Vec::new(),
        })
        .await;
        line.says(&Frame::Want {
            name,
            from: 1,
            to: None,
        })
        .await;
        line.says(&Frame::Have(name, Ranges::span(1, 5))).await;
        line.pushes(&Forger::new(mallory.key(), tag).texts(&["forged"]))
            .await;
        town.bob
            .run(&["broadcast", "--room", "cellar", "psst"])
            .expect(0);
        let heard = line.hears_for(std::time::Duration::from_secs(1)).await;
        let about_it = |frame: &&Frame| match frame {
            Frame::Digest(of, _)
            | Frame::Heads {
                conversation: of, ..
            }
            | Frame::Prune(of, _) => *of == tag,
            Frame::Have(of, _) | Frame::Want { name: of, .. } | Frame::Conflict(of) => {
                of.conversation == tag
            }
            Frame::Offer(offer, _) => offer.name.conversation == tag,
            Frame::Hello(_)
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Profile(_)
            | Frame::Candidates(_)
            | Frame::DialBack(_)
            | Frame::DialedBack(_)
            | Frame::Batch(_)
            | Frame::Unknown(_) => false,
        };
        assert_eq!(
            heard.iter().find(about_it),
            None,
            "of a room that it isn't in"
        );
        // Whatever batches came are of other conversations: a stream that isn't there has none at
        // all.
        let stream = tokio::time::timeout(
            std::time::Duration::from_millis(200),
            line.connection.accept_uni(),
        )
        .await;
        assert!(stream.is_err(), "a batch stream was opened");
        line.lives().await;
    });
    town.stands(&["not a member of that conversation"]);
    assert!(!town.ann.texts(&[]).contains(&"forged".to_owned()));
}

/// A town whose honest people have a room of their own.
fn town() -> Town {
    let town = Town::talkative();
    for host in [&town.ann, &town.bob] {
        host.run_with_input(&["join", "cellar", "--secret-file", "-"], SECRET)
            .expect(0);
    }
    town.bob
        .run(&[
            "broadcast",
            "--wait",
            "queued",
            "--room",
            "cellar",
            "the treasure is here",
        ])
        .expect(0);
    town.ann.has("the treasure is here");
    town
}

fn key(secret: &str) -> RoomKey {
    RoomKey::derive(
        &"cellar".parse::<RoomName>().expect("a room's name"),
        secret.as_bytes(),
    )
}
