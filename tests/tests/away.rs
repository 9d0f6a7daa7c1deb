//! Messages to an offline peer are queued on disk, are shown as queued, and arrive once and in
//! order when the peer is online again.

use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, Switch};

#[test]
fn a_message_to_an_offline_peer_stays_queued_and_arrives_once_later() {
    let lab = Lab::open();
    let (ann, bob) = two_that_have_met(&lab.switch());
    bob.terminate();
    ann.loses_within(&bob, Duration::from_secs(5));
    let sent = ann
        .run(&["send", "--timeout", "2s", "bob", "see you later"])
        .expect(STILL_QUEUED)
        .says(&["queued"]);
    assert!(
        sent.took < Duration::from_secs(6),
        "the timeout was two seconds: {sent}"
    );
    let line = sent.one_json();
    assert_eq!(line["state"], "queued");
    bob.start();
    bob.shows_once("see you later");
    ann.gets_receipt(line["id"].as_str().expect("an id"), &bob);
}

#[test]
fn a_later_run_of_the_home_delivers_what_a_command_queued() {
    let lab = Lab::open();
    let (ann, bob) = two_that_have_met(&lab.switch());
    bob.terminate();
    ann.terminate();
    ann.run(&["send", "--timeout", "1s", "bob", "left on the desk"])
        .expect(STILL_QUEUED)
        .says(&["queued"]);
    bob.start();
    bob.has_not("left on the desk");
    ann.start();
    bob.shows_once("left on the desk");
}

#[test]
fn a_command_without_a_running_node_delivers_by_itself() {
    let lab = Lab::open();
    let (ann, bob) = two_that_have_met(&lab.switch());
    ann.terminate();
    ann.tells(&bob, "just passing through");
    bob.shows_once("just passing through");
    assert_eq!(ann.texts_of(&bob), ["we have met", "just passing through"]);
}

#[test]
fn a_thousand_queued_messages_keep_their_order() {
    let lab = Lab::open();
    let (ann, bob) = two_that_have_met(&lab.switch());
    bob.terminate();
    let mut texts = vec!["we have met".to_owned()];
    for number in 1..=1_000 {
        let text = format!("number {number}");
        ann.queues(&bob, &text);
        texts.push(text);
    }
    bob.start();
    bob.shows_conversation(&ann, &texts, Duration::from_secs(60));
    let shown: Vec<_> = bob
        .events()
        .into_iter()
        .filter(|e| e["event"] == "message")
        .map(|e| e["text"].clone())
        .collect();
    assert_eq!(
        shown, texts,
        "each message is shown once, in the same order"
    );
}

#[test]
fn the_author_sees_the_delivery_state_of_a_message() {
    let lab = Lab::open();
    let (ann, bob) = two_that_have_met(&lab.switch());
    bob.terminate();
    let id = ann.queues(&bob, "how far are you?");
    let state = || {
        ann.history_of(&bob)
            .into_iter()
            .find(|m| m["id"] == id.as_str())
            .expect("the history contains the message")["state"]
            .clone()
    };
    assert_eq!(state(), "queued");
    bob.start();
    ann.gets_receipt(&id, &bob);
    assert_eq!(state(), "delivered");
}

#[test]
fn a_delivered_message_survives_a_crash_of_the_recipient() {
    let lab = Lab::open();
    let (ann, bob) = two_that_have_met(&lab.switch());
    for round in 0..10 {
        let text = format!("keep this, {round}");
        ann.tells(&bob, &text);
        bob.kill9();
        bob.start();
        assert_eq!(
            bob.history()
                .iter()
                .filter(|m| m["text"] == text.as_str())
                .count(),
            1,
            "{text}"
        );
        bob.sees(&ann);
        ann.sees(&bob);
    }
}

fn two_that_have_met(office: &Switch) -> (Node, Node) {
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    ann.sees(&bob);
    ann.tells(&bob, "we have met");
    bob.shows_once("we have met");
    bob.befriends(&ann);
    (ann, bob)
}

const STILL_QUEUED: i32 = 4;
