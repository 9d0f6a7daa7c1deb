//! A relay sees only ciphertext of the traffic that it forwards.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Nat};

use crate::relay_net::RelayNet;

#[test]
fn a_relay_forwards_only_ciphertext() {
    let lab = Lab::open();
    let net = RelayNet::of(&lab);
    let mark = format!("{:x}q{:x}", std::process::id(), nanos());
    let [nick, room, secret, text, reply, file, content] =
        ["nick", "room", "secret", "text", "reply", "file", "content"]
            .map(|what| format!("{what}{mark}"));
    let tap = net.relay.machine().capture();
    let (_home, ann) = net.alone_behind(Nat::Symmetric, &nick);
    let (office, bob) = net.alone_behind(Nat::Symmetric, "bob");
    for node in [&ann, &bob] {
        node.joins(&room, &secret);
    }
    ann.sees(&bob);
    bob.sees(&ann);
    for round in 0..20 {
        let (asked, answered) = (format!("{text} {round}"), format!("{reply} {round}"));
        ann.tells(&bob, &asked);
        bob.shows_once(&asked);
        bob.befriends(&ann);
        bob.says_in(&room, &answered);
        ann.shows_once(&answered);
    }
    let path = ann.home().path().with_extension(&file);
    std::fs::write(&path, content.repeat(1_000)).expect("the lab's folder is writable");
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
    let offer = bob.wait_for(
        "learn of the offer",
        |event| fits(event, "offered"),
        TIMEOUT,
    );
    bob.run(&["accept", offer["id"].as_str().expect("an id")]);
    bob.wait_for("have the file", |event| fits(event, "done"), TIMEOUT);
    assert!(
        ann.is_connected_over("relay", &bob),
        "all traffic passed through the relay"
    );

    // Controls: the capture must contain this plaintext, and the search of the memory must find the
    // relay's home and the nodes' own texts.
    let control = format!("plain{mark}");
    let sent = office
        .machine("plain")
        .udp()
        .send_to(control.as_bytes(), net.relay.address())
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
    let home = net.relay.home().path().display().to_string();
    let words: Vec<_> = marked.iter().chain([&home]).cloned().collect();
    assert_eq!(
        net.relay
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

/// The limit for a file transfer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A number that differs in each run.
fn nanos() -> u32 {
    std::time::UNIX_EPOCH
        .elapsed()
        .expect("the clock is past 1970")
        .subsec_nanos()
}
