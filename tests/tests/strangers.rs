//! A stranger writes, waits, and is accepted: what both users see on the command line.

use std::time::Duration;

use hobnob_tests::lab::Lab;

#[test]
fn a_strangers_messages_beyond_the_limit_wait_until_it_is_accepted() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let mut texts = Vec::new();
    for number in 1..=REQUEST_ENTRIES_MAX {
        let text = format!("number {number}");
        bob.tells(&ann, &text);
        texts.push(text);
    }
    let refused = bob.run(&["send", ann.id(), "one more"]);
    let refused = refused
        .expect(STILL_QUEUED)
        .says(&["waiting to be accepted"]);
    assert_eq!(refused.one_json()["reason"], "waiting to be accepted");
    ann.shows_conversation(&bob, &texts, Duration::from_secs(5));
    let listed = ann.run(&["contacts"]).expect(0).one_json();
    assert_eq!(listed["peer"], bob.id());
    assert_eq!(listed["request"], REQUEST_ENTRIES_MAX);
    ann.befriends(&bob);
    texts.push("one more".to_owned());
    ann.shows_conversation(&bob, &texts, Duration::from_secs(10));
    bob.tells(&ann, "thank you");
}

#[test]
fn an_answer_accepts_a_stranger() {
    let lab = Lab::open();
    let office = lab.switch();
    let (ann, bob) = (
        office.machine("ann").up("ann", &[]),
        office.machine("bob").up("bob", &[]),
    );
    bob.sees(&ann);
    bob.tells(&ann, "do you know me?");
    assert_eq!(ann.history_of(&bob)[0]["request"], true);
    ann.tells(&bob, "I do");
    assert_eq!(ann.history_of(&bob)[0]["request"], serde_json::Value::Null);
    assert_eq!(ann.peers()[0]["contact"], true);
    ann.run(&["contacts", "remove", bob.id()]).expect(0);
    assert_eq!(ann.peers()[0]["contact"], serde_json::Value::Null);
}

/// The messages that a stranger may store.
const REQUEST_ENTRIES_MAX: u64 = 20;

/// The exit code of a message that is not delivered yet.
const STILL_QUEUED: i32 = 4;
