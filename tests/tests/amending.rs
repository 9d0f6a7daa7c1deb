//! Replies, edits, reactions and cancelled messages between real nodes.

use std::fs;
use std::time::Duration;

use hobnob_tests::lab::{Lab, Node, until};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// The message with this id, as the node's conversation with the other one has it.
fn message([node, other]: [&Node; 2], id: &str) -> Option<Value> {
    let lines = node.history_of(other);
    lines.into_iter().find(|line| line["id"] == id)
}

/// Waits until the message fits, in the first node's conversation with the second.
fn becomes([node, other]: [&Node; 2], id: &str, what: &str, fits: impl Fn(&Value) -> bool) {
    until(
        &format!("{} shows {what}", node.nick()),
        SOON,
        || match message([node, other], id) {
            Some(line) if fits(&line) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
}

fn holds(node: &Node, word: &str) -> bool {
    let database = node.home().database();
    let folder = database.parent().expect("a file is in a folder");
    let files = fs::read_dir(folder).expect("the home can be read");
    files.into_iter().any(|file| {
        let bytes = fs::read(file.expect("it can be read").path()).unwrap_or_default();
        let mut windows = bytes.windows(word.len());
        windows.any(|window| window == word.as_bytes())
    })
}

#[test]
fn a_message_is_answered_edited_and_reacted_to_and_then_deleted() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    ann.are_contacts(&bob);
    let question = ann.tells(&bob, "xylophone at noon?");

    let reply = bob.run(&["reply", &question, "with pleasure"]).expect(0);
    assert_eq!(reply.one_json()["state"], "delivered", "{reply}");
    let answer = reply.one_json()["id"].as_str().expect("an id").to_owned();
    becomes([&ann, &bob], &answer, "what bob answers", |line| {
        line["text"] == "with pleasure"
            && line["reply_to"]["id"] == question.as_str()
            && line["reply_to"]["nick"] == "ann"
            && line["reply_to"]["text"] == "xylophone at noon?"
    });
    let thread = ann.run(&["history", "--thread", &answer]).expect(0).json();
    assert_eq!(thread.len(), 2, "{thread:?}");

    bob.run(&["edit", &question, "not mine"]).expect(2);
    ann.run(&["edit", &question, "marimba at one?"]).expect(0);
    becomes([&bob, &ann], &question, "the new text", |line| {
        line["text"] == "marimba at one?" && line["edited"]["earlier"][0] == "xylophone at noon?"
    });
    becomes([&bob, &ann], &answer, "the new text in its quote", |line| {
        line["reply_to"]["text"] == "marimba at one?"
    });
    assert_eq!(bob.run(&["search", "marimba"]).expect(0).json().len(), 1);
    assert_eq!(bob.run(&["search", "xylophone"]).expect(0).stdout, "");

    bob.run(&["react", &question, "two words"]).expect(2);
    bob.run(&["react", &question, "👍"]).expect(0);
    becomes([&ann, &bob], &question, "the reaction", |line| {
        line["reactions"][0]["emoji"] == "👍" && line["reactions"][0]["by"][0]["nick"] == "bob"
    });
    bob.run(&["react", &question, "👍", "--off"]).expect(0);
    becomes([&ann, &bob], &question, "no reaction", |line| {
        line["reactions"].is_null()
    });

    ann.run(&["delete", &question]).expect(0);
    becomes([&ann, &bob], &question, "that bob has erased it", |line| {
        line["erased"] == "deleted" && line["confirmed"] == 1
    });
    becomes([&bob, &ann], &answer, "no quote", |line| {
        line["reply_to"]["text"].is_null()
    });
    until("bob has erased all texts of the message", SOON, || {
        match holds(&bob, "xylophone") || holds(&bob, "marimba") {
            true => Err("a text is still there".to_owned()),
            false => Ok(()),
        }
    });
    assert!(!holds(&ann, "xylophone") && !holds(&ann, "marimba"));
}

#[test]
fn every_member_of_a_room_sets_its_topic_and_pins_messages() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    let sent = ann.run(&["broadcast", "the door code is 4711"]).expect(0);
    let id = sent.one_json()["id"].as_str().expect("an id").to_owned();
    bob.shows_once("the door code is 4711");
    ann.run(&["topic", "#lobby", "lunch plans"]).expect(0);
    bob.run(&["pin", &id]).expect(0);
    for node in [&ann, &bob] {
        until("the topic and the pin arrive", SOON, || {
            let topic = node.run(&["topic", "#lobby"]).expect(0);
            let pins = node.run(&["pins", "#lobby"]).expect(0);
            let topic = topic.one_json()["topic"]["text"].clone();
            let pinned: Vec<_> = pins.json().iter().map(|it| it["id"].clone()).collect();
            match topic == "lunch plans" && pinned == [id.as_str()] {
                true => Ok(()),
                false => Err(format!("{topic} and {pinned:?}")),
            }
        });
    }
    bob.run(&["topic", "#lobby", "--off"]).expect(0);
    ann.run(&["unpin", &id]).expect(0);
    for node in [&ann, &bob] {
        until("both are gone", SOON, || {
            let topic = node.run(&["topic", "#lobby"]).expect(0);
            let pins = node.run(&["pins", "#lobby"]).expect(0);
            match topic.one_json()["topic"].is_null() && pins.stdout.is_empty() {
                true => Ok(()),
                false => Err(format!("{topic} and {pins}")),
            }
        });
    }
    let long = "x".repeat(513);
    let refused = ann.run(&["topic", "#lobby", &long]).expect(2);
    assert!(
        refused.to_string().contains("at most 512 bytes"),
        "{refused}"
    );
    ann.run(&["topic", "#nowhere"]).expect(2);
}

#[test]
fn a_queued_message_can_be_cancelled_until_it_leaves() {
    let lab = Lab::open();
    let (ann, bob) = lab.ann_and_bob();
    ann.are_contacts(&bob);
    let sent = ann.tells(&bob, "this one leaves");
    let refused = ann.run(&["cancel", &sent]).expect(1);
    assert!(
        refused.to_string().contains("too late to cancel"),
        "{refused}"
    );

    bob.terminate();
    ann.loses_within(&bob, SOON);
    let queued = ann.queues(&bob, "bandoneon");
    ann.run(&["cancel", &queued]).expect(0);
    assert!(!holds(&ann, "bandoneon"));
    let after = ann.queues(&bob, "this one follows");
    bob.start();
    bob.shows_once_within("this one follows", SOON);
    becomes(
        [&bob, &ann],
        &queued,
        "a deleted message in its place",
        |line| line["erased"] == "deleted",
    );
    ann.gets_receipt(&after, &bob);
    bob.has_not("bandoneon");
    assert!(!holds(&bob, "bandoneon"));
}
