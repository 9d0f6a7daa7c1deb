//! Mailboxes that are full or can't be written: the sender learns why, and nothing is lost.

use serde_json::Value;

use super::net::{LIMIT, MailNet, all_are};

/// The exit code of `send` for a message that is on disk and has not arrived.
const STILL_QUEUED: i32 = 4;

fn of_bob(net: &MailNet) -> Value {
    let shown = net.ann.run(&["mailbox"]).expect(0).json();
    shown[0]["deposited"][0].clone()
}

#[test]
fn a_full_mailbox_is_reported_to_the_sender_and_loses_nothing() {
    // A recipient gets an eighth of what is free.
    let net = MailNet::with("256k", |_| {});
    net.each_may_deposit();
    let (ann, bob) = (&net.ann, &net.bob);
    bob.terminate();
    let long: Vec<_> = (1..=12)
        .map(|n| format!("{n} {}", "x".repeat(14_000)))
        .collect();
    net.ann_writes(&long);
    let notice = ann.notices("mail-refused");
    assert_eq!(
        (&notice["peer"], &notice["reason"]),
        (&bob.id().into(), &"full".into())
    );
    let sent = ann.run(&[
        "send",
        "--wait",
        "held",
        "--timeout",
        "1s",
        bob.id(),
        "the last",
    ]);
    let sent = sent.expect(STILL_QUEUED);
    assert_eq!(sent.json()[0]["reason"], "the mailbox is full");
    assert!(sent.stderr.contains("the mailbox is full"), "{sent}");
    let newest = ann.history_of(bob).pop().expect("a message");
    assert_eq!(newest["reason"], "the mailbox is full");
    let why = ann.run(&["why", bob.id()]);
    assert!(why.stdout.contains("mail-refused"), "{why}");
    assert_eq!(of_bob(&net)["refused"], "full");
    assert!(
        ann.history_of(bob)
            .iter()
            .all(|message| message["state"] != "sent")
    );

    bob.start();
    let mut all = long;
    all.push("the last".to_owned());
    bob.shows_conversation(ann, &net.after_hello(&all), LIMIT);
    all_are(ann, bob, "delivered");
    assert!(of_bob(&net)["refused"].is_null());
}

#[test]
fn a_holder_with_a_full_disk_confirms_only_what_it_stored() {
    let net = MailNet::with("1G", |home| home.put_on_small_disk("16m"));
    net.each_is_held_for();
    let (ann, bob) = (&net.ann, &net.bob);
    bob.terminate();
    ann.queues(bob, "there is room");
    all_are(ann, bob, "held");
    net.relay.home().fill_disk();
    let long: Vec<_> = (1..=200)
        .map(|n| format!("{n} {}", "x".repeat(14_000)))
        .collect();
    net.ann_writes(&long);
    let notice = ann.notices("mail-refused");
    assert_eq!(notice["reason"], "failed");
    net.relay.home().free_disk();
    all_are(ann, bob, "held");
    assert!(of_bob(&net)["refused"].is_null());
    ann.terminate();
    bob.start();
    let all: Vec<_> = ["there is room".to_owned()]
        .into_iter()
        .chain(long)
        .collect();
    bob.shows_conversation(ann, &net.after_hello(&all), LIMIT);
}
