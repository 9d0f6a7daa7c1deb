//! The verdicts of `hobnob why`: the problems between a node and one peer.

use hobnob_tests::lab::{AsTarget, Lab, Node, hobnob_binary};

use super::{TIMEOUT, checks};

#[test]
fn why_explains_a_missing_session() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &["--listen", RELAY_LISTEN]),
    );
    ann.sees(&bob);
    bob.sees(&ann);
    ann.run(&["block", "bob"]).expect(0);
    assert_eq!(why(&ann, &bob), ["you-blocked"]);
    bob.notices("turned-away");
    assert_eq!(why(&bob, &ann), ["blocked-you"]);
    ann.run(&["unblock", "bob"]).expect(0);
    ann.sees(&bob);
    bob.terminate();
    ann.loses_within(&bob, TIMEOUT);
    assert_eq!(why(&ann, &bob), ["not-running"]);
    // Another node uses bob's address. After it, a program that is not a node.
    let other = bob
        .machine()
        .up("eve", &["--no-mdns", "--listen", RELAY_LISTEN]);
    assert_eq!(why(&ann, &bob), ["key-mismatch"]);
    other.terminate();
    let _relay = bob.machine().relay(&[]);
    assert_eq!(why(&ann, &bob), ["other-version"]);
}

#[test]
fn why_does_not_report_a_peer_that_just_became_silent_as_connected() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    lab.cut(&[bob.machine()]);
    let found = checks(&ann, &["why", "bob"]);
    assert!(
        found.contains(&("session".to_owned(), "unknown".to_owned(), String::new())),
        "{found:?}"
    );
}

#[test]
fn why_explains_that_no_node_answers_at_an_address_or_ticket() {
    let lab = Lab::open();
    let office = lab.switch();
    let [ann, bob, cat] =
        ["ann", "bob", "cat"].map(|nick| office.machine(nick).up(nick, &["--no-mdns"]));
    let (address, ticket) = (format!("{}:4626", bob.machine().ipv4()), bob.ticket());
    bob.terminate();
    // A machine answers each other machine only so often that nobody listens.
    assert_eq!(why(&ann, &address), ["not-running"]);
    assert_eq!(why(&cat, &ticket), ["not-running"]);
    bob.start();
    for (node, target) in [(&ann, &address), (&cat, &ticket)] {
        assert_eq!(why(node, target), [""; 0]);
    }
}

#[test]
fn why_explains_kicked_and_ignored_peers() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    ann.run(&["ignore", "bob"]).expect(0);
    assert_eq!(why(&ann, &bob), ["you-ignore"]);
    assert_eq!(
        why(&bob, &ann),
        [""; 0],
        "an ignored peer does not learn of it"
    );
    ann.run(&["unignore", "bob"]).expect(0);
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
    ann.loses_within(&bob, TIMEOUT);
    assert_eq!(why(&ann, &bob), ["you-kicked"]);
    bob.notices("turned-away");
    assert_eq!(why(&bob, &ann), ["kicked-you"]);
}

#[test]
fn why_explains_that_a_peer_uses_a_verified_name() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    ann.run(&["verify", "bob", "--confirm"]).expect(0);
    let eve = office.machine("eve").up("bob", &[]);
    ann.notices("verified-name");
    eve.notices("turned-away");
    assert_eq!(why(&ann, &eve), ["name-taken"]);
    assert_eq!(why(&eve, &ann), ["your-name-taken"]);
    assert_eq!(why(&ann, &bob), [""; 0]);
}

/// The codes of notes and problems between a node and a peer.
pub(super) fn why(node: &Node, peer: impl AsTarget) -> Vec<String> {
    checks(node, &["why", peer.as_target()])
        .into_iter()
        .map(|(_, _, code)| code)
        .filter(|code| !code.is_empty())
        .collect()
}

/// The address and port at which a relay listens.
const RELAY_LISTEN: &str = "0.0.0.0:4627";
