//! Peer policies: ignore, block, kick and verify. They survive restarts. Lifting one delivers the
//! messages that it held back.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, Switch, hobnob_binary};

#[test]
fn a_blocked_peer_is_informed_and_gets_no_session_until_unblocked() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    ann.run(&["block", "bob"]).expect(0);
    ann.loses_within(&bob, SOON);
    bob.notices("turned-away");
    let waiting = bob.queues(&ann, "please");
    bob.run(&["send", ann.id(), "more", "--timeout", "3s"])
        .expect(REFUSED)
        .says(&["ann has blocked this node", "queued"]);
    ann.run(&["send", bob.id(), "for bob"])
        .expect(REFUSED)
        .says(&["hobnob unblock"]);
    ann.restart();
    bob.restart();
    // The nodes discover each other again. Ann refuses bob, also when he dials her address.
    bob.notices("turned-away");
    let address = format!("{}:4626", ann.machine().ipv4());
    bob.run(&["send", &address, "by address"])
        .expect(REFUSED)
        .says(&["blocked"]);
    ann.has_not("please");
    assert!(!ann.has_connected_over("lan", &bob));
    ann.run(&["unblock", bob.id()]).expect(0);
    ann.shows_once("please");
    bob.gets_receipt(&waiting, &ann);
}

#[test]
fn room_messages_of_a_blocked_peer_are_hidden_and_not_forwarded_until_unblocked() {
    let lab = Lab::open();
    // Only Ann is on both networks.
    let (office, home) = (lab.switch(), lab.switch());
    let machine = office.machine("ann");
    machine.join(&home);
    let ann = machine.up("ann", &[]);
    let bob = office.machine("bob").up("bob", &[]);
    let cat = home.machine("cat").up("cat", &[]);
    let dan = office.machine("dan").up("dan", &[]);
    for node in [&ann, &bob, &cat, &dan] {
        node.joins("ops", "correct-horse-battery-staple");
    }
    for node in [&bob, &cat, &dan] {
        ann.sees(node);
    }
    dan.sees(&bob);
    bob.says_in("ops", "before");
    cat.shows_once("before");
    ann.run(&["block", bob.id()]).expect(0);
    bob.says_in("ops", "while blocked");
    dan.shows_once("while blocked");
    // Dan's message follows bob's over the same sessions, so a forwarded message of bob would have
    // arrived before it.
    dan.says_in("ops", "after that");
    for node in [&ann, &cat] {
        node.shows_once("after that");
        node.has_not("while blocked");
    }
    assert!(
        !ann.texts_of("#ops").contains(&"before".to_owned()),
        "stored messages of a blocked peer are hidden"
    );
    ann.run(&["unblock", bob.id()]).expect(0);
    for node in [&ann, &cat] {
        node.shows_once("while blocked");
    }
    assert!(
        ann.texts_of("#ops").contains(&"before".to_owned()),
        "the message stayed on disk"
    );
}

#[test]
fn messages_of_an_ignored_peer_are_stored_but_hidden() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    ann.run(&["ignore", "bob"]).expect(0);
    assert_eq!(ann.peers()[0]["ignored"], true);
    // The message is delivered, because bob does not learn that he is ignored.
    bob.tells(&ann, "can you hear me?");
    ann.restart();
    bob.sees(&ann);
    bob.tells(&ann, "and now?");
    ann.has_not("can you hear me?");
    ann.has_not("and now?");
    ann.run(&["unignore", "bob"]).expect(0);
    assert_eq!(ann.texts_of(&bob), ["can you hear me?", "and now?"]);
    bob.tells(&ann, "hello?");
    ann.shows_once("hello?");
}

#[test]
fn a_kicked_peer_is_disconnected_and_loses_no_message() {
    let lab = Lab::open();
    let (ann, bob) = connected_pair(&lab.switch());
    let home = ann
        .home()
        .path()
        .to_str()
        .expect("the lab's paths are ASCII")
        .to_owned();
    let mut chat = ann
        .machine()
        .screen(hobnob_binary(), &["--home", &home, "--plain"]);
    chat.types("/kick bob");
    chat.shows("refused for 10 minutes");
    ann.loses_within(&bob, SOON);
    bob.notices("turned-away");
    bob.queues(&ann, "may I come back?");
    chat.types("/unblock bob");
    chat.shows("no longer blocked");
    ann.shows_once("may I come back?");
    ann.sees(&bob);
}

#[test]
fn both_ends_show_the_same_safety_number_and_a_verified_name_is_reserved() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = connected_pair(&office);
    let number = |node: &Node, other: &Node| {
        let answer = node.run(&["verify", other.id()]).expect(0).one_json();
        answer["safety_number"].clone()
    };
    assert_eq!(number(&ann, &bob), number(&bob, &ann));
    let digits = number(&ann, &bob)
        .as_str()
        .map(|text| text.replace(' ', "").len());
    assert_eq!(digits, Some(60));
    ann.run(&["verify", "bob", "--confirm"]).expect(0);
    assert_eq!(ann.peers()[0]["verified"], true);
    bob.terminate();
    ann.restart();
    // Eve uses bob's nickname while bob is offline. Ann refuses a session with her.
    let eve = office.machine("eve").up("bob", &[]);
    let notice = ann.notices("verified-name");
    assert_eq!(notice["peer"], eve.id());
    eve.notices("turned-away");
    let address = format!("{}:4626", eve.machine().ipv4());
    ann.run(&["send", &address, "for bob"])
        .expect(IDENTITY_MISMATCH)
        .says(&["verified"]);
    assert!(!ann.has_connected_over("lan", &eve));
    bob.start();
    ann.sees(&bob);
    ann.tells("bob", "it is you");
    // Eve was bob's new machine. After ann verifies it, both peers may use the name.
    ann.run(&["verify", eve.id(), "--confirm"]).expect(0);
    ann.sees(&eve);
    eve.tells(&ann, "my new machine");
    ann.shows_once("my new machine");
}

#[test]
fn a_peer_that_takes_a_verified_name_during_a_session_is_disconnected() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = connected_pair(&office);
    let eve = office.machine("eve").up("eve", &[]);
    ann.sees(&eve);
    ann.run(&["verify", "bob", "--confirm"]).expect(0);
    let home = eve
        .home()
        .path()
        .to_str()
        .expect("the lab's paths are ASCII")
        .to_owned();
    let mut chat = eve
        .machine()
        .screen(hobnob_binary(), &["--home", &home, "--plain"]);
    chat.types("/nick bob");
    ann.notices("verified-name");
    ann.loses_within(&eve, SOON);
    ann.tells("bob", "still you");
    bob.shows_once("still you");
}

fn connected_pair(office: &Switch) -> (Node, Node) {
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    bob.sees(&ann);
    (ann, bob)
}

const SOON: Duration = Duration::from_secs(5);
const REFUSED: i32 = 5;
const IDENTITY_MISMATCH: i32 = 6;
