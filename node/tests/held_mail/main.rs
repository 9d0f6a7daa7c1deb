//! A node that holds mail for its contacts: Ann and Bob are never online together, and Carol is.

mod denied;
mod files;
mod net;
mod rooms;

use std::time::Duration;

use hobnob::{DeliveryState, MailRefusal, MailboxInfo};
use tokio::time::{sleep, timeout};

use self::net::{LIMIT, mailbox, start, start_carol, texts, three, ticket};

#[tokio::test]
async fn a_contact_holds_mail_between_two_that_never_meet() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = three(dir.path(), 64 << 20).await;
    let to = bob.id();
    bob.shutdown().await;
    let mut last = None;
    for n in 0..50 {
        let sent = ann.send(to.into(), format!("message {n}").into()).await;
        last = Some(sent.expect("it is stored").id);
    }
    let last = last.expect("there are some");
    let held = timeout(LIMIT, ann.wait_for(last, DeliveryState::Held)).await;
    held.expect("in time").expect("carol holds it");
    let info = mailbox(&ann, "carol is named", |info| {
        info.deposited.iter().any(|it| it.messages == 50)
    })
    .await;
    assert_eq!(info.deposited[0].holder, Some(carol.id().only_device()));
    let holding = carol.mailbox().await.expect("the node runs").holding;
    let holding = holding.expect("she holds mail");
    assert_eq!(holding.recipients, 1, "the stranger has no mailbox");
    assert!(holding.envelopes > 0 && holding.bytes <= holding.bytes_max);
    ann.shutdown().await;

    let bob = start(dir.path(), "bob").await;
    let all: Vec<_> = (0..50).map(|n| format!("message {n}")).collect();
    let arrived = async {
        while texts(&bob).await.len() < 54 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, arrived).await.expect("all arrive");
    let mut shown = texts(&bob).await;
    assert_eq!(shown.split_off(4), all, "in order, once");
    // Bob's receipts wait for Ann, once she lets Carol hold her mail. Carol accepts her now.
    bob.shutdown().await;
    carol.shutdown().await;
}

#[tokio::test]
async fn held_mail_is_locked_with_the_home_and_fetched_after_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = three(dir.path(), 64 << 20).await;
    let (to, from) = (bob.id(), ann.id());
    bob.shutdown().await;
    let sent = ann.send(to.into(), "keep this".into()).await;
    let id = sent.expect("it is stored").id;
    let held = timeout(LIMIT, ann.wait_for(id, DeliveryState::Held)).await;
    held.expect("in time").expect("carol holds it");
    ann.shutdown().await;
    carol.shutdown().await;
    let home = dir.path().join("carol");
    let file = || std::fs::read(home.join("held.db")).expect("it is there");
    let names = |needle: &[u8]| file().windows(needle.len()).any(|window| window == needle);
    assert!(names(from.as_bytes()), "the control: the sender is there");
    hobnob::lock_home(&home, "tin roof rust").expect("it is locked");
    assert!(!names(from.as_bytes()) && !names(b"SQLite format"));
    let carol = start_carol(dir.path(), 64 << 20).await;
    let bob = start(dir.path(), "bob").await;
    let again = bob.send(ticket(&carol).await, "I am back".into()).await;
    again.expect("it is stored");
    let arrived = async {
        while !texts(&bob).await.contains(&"keep this".to_owned()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, arrived).await.expect("it arrives");
    let none = |info: &MailboxInfo| info.holding.is_some_and(|it| it.envelopes == 0);
    mailbox(&carol, "the envelope is deleted", none).await;
    assert!(!names(from.as_bytes()), "the new file is encrypted, too");
    bob.shutdown().await;
    carol.shutdown().await;
}

#[tokio::test]
async fn a_full_holder_is_reported_and_nothing_is_lost() {
    let dir = tempfile::tempdir().expect("a folder");
    // A contact gets an eighth of it.
    let [ann, bob, carol] = three(dir.path(), 256 * 1024).await;
    let to = bob.id();
    bob.shutdown().await;
    for n in 0..6 {
        let text = format!("{n} {}", "x".repeat(14_000));
        ann.send(to.into(), text.into())
            .await
            .expect("it is stored");
    }
    mailbox(&ann, "carol refuses", |info| {
        info.deposited
            .iter()
            .any(|it| it.refused == Some(MailRefusal::Full))
    })
    .await;
    let holding = carol.mailbox().await.expect("the node runs").holding;
    assert!(holding.expect("she holds mail").bytes <= 32 * 1024);
    let bob = start(dir.path(), "bob").await;
    let sent = bob.send(ticket(&ann).await, "back".into()).await;
    sent.expect("it is stored");
    let arrived = async {
        while texts(&bob).await.len() < 11 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, arrived).await.expect("all arrive");
    for node in [ann, bob, carol] {
        node.shutdown().await;
    }
}
