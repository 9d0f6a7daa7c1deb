//! What a relay can see of what passes through it: nothing.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat};

use crate::world::World;

#[test]
fn a_relay_carries_ciphertext_only() {
    let lab = Lab::open();
    let world = World::of(&lab);
    let mark = format!("{:x}q{:x}", std::process::id(), nanos());
    let [nick, room, secret, text, reply, file, content] =
        ["nick", "room", "secret", "text", "reply", "file", "content"]
            .map(|what| format!("{what}{mark}"));
    let tap = world.relay.machine().capture();
    let (_home, ann) = world.alone_behind(Nat::Symmetric, &nick);
    let (office, bob) = world.alone_behind(Nat::Symmetric, "bob");
    for node in [&ann, &bob] {
        node.joins(&room, &secret);
    }
    ann.sees(&bob);
    bob.sees(&ann);
    for round in 0..20 {
        let (asked, answered) = (format!("{text} {round}"), format!("{reply} {round}"));
        ann.tells(&bob, &asked);
        bob.shows_once(&asked);
        bob.says_in(&room, &answered);
        ann.shows_once(&answered);
    }
    let path = ann.home().path().with_extension(&file);
    std::fs::write(&path, content.repeat(1_000)).expect("the lab's folder can be written to");
    let fits = |event: &serde_json::Value, state: &str| {
        event["event"] == "file" && event["state"] == state
    };
    ann.run(&[
        "send",
        bob.id(),
        "--wait",
        "queued",
        "--file",
        &path.to_string_lossy(),
    ])
    .expect(0);
    let offer = bob.wait_for("hear of a file", |event| fits(event, "offered"), PATIENCE);
    bob.run(&["accept", offer["id"].as_str().expect("an id")]);
    bob.wait_for("have the file", |event| fits(event, "done"), PATIENCE);
    assert!(
        ann.is_connected_over("relay", &bob),
        "all of it went through the relay"
    );

    // That the tap hears, and that memory can be searched, is shown by what they must find.
    let control = format!("plain{mark}");
    let sent = office
        .machine("shouter")
        .udp()
        .send_to(control.as_bytes(), world.relay.address())
        .expect("there is a route");
    assert_eq!(sent, control.len());
    let recording = tap.end();
    assert!(recording.size() > 100_000, "{} bytes", recording.size());
    assert!(recording.has(&control));
    let marked = [nick, room, secret, text, reply, file, content];
    for word in &marked {
        assert!(
            !recording.has(word),
            "{word} crossed the relay's network card"
        );
    }
    let home = world.relay.home().path().display().to_string();
    let words: Vec<_> = marked.iter().chain([&home]).cloned().collect();
    assert_eq!(
        world
            .relay
            .memory_contains(&words)
            .into_iter()
            .collect::<Vec<_>>(),
        [home],
        "in the relay's memory"
    );
    let at_the_ends = [
        marked[0].clone(),
        marked[1].clone(),
        marked[3].clone(),
        marked[4].clone(),
    ];
    for node in [&ann, &bob] {
        assert_eq!(
            node.memory_contains(&at_the_ends).len(),
            at_the_ends.len(),
            "in the memory of {}",
            node.nick()
        );
    }
}

/// For a file to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Different in each run.
fn nanos() -> u32 {
    std::time::UNIX_EPOCH
        .elapsed()
        .expect("the clock is past 1970")
        .subsec_nanos()
}
