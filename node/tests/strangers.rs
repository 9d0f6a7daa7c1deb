//! A peer that the user has not accepted can write, but not without end.

use std::path::Path;
use std::time::Duration;

use hobnob::protocol::{Body, Target};
use hobnob::{DeliveryState, HistoryQuery, Message, Node};

/// The messages that a stranger may store. See the table in docs/LIMITS.md.
const REQUEST_ENTRIES_MAX: usize = 20;

/// A request may take 64 KiB. Besides, the tables and indexes of a new store grow by some pages.
const DISK_MAX: u64 = 512 * 1024;

async fn start(dir: &Path, nick: &str) -> Node {
    let builder = Node::builder(dir.join(nick)).nick(nick.parse().expect("a nickname"));
    builder.loopback().start().await.expect("the node starts")
}

async fn ticket(node: &Node) -> Target {
    node.status().await.expect("the node runs").ticket.into()
}

async fn texts(node: &Node) -> Vec<Body> {
    let all = node.history(HistoryQuery::default()).await;
    let all = all.expect("the history is readable");
    all.into_iter().map(|message| message.body).collect()
}

/// Waits until the node has this many messages, and returns them.
async fn has(node: &Node, count: usize) -> Vec<Message> {
    let mut events = node.events();
    loop {
        let all = node.history(HistoryQuery::default()).await;
        let all = all.expect("the history is readable");
        if all.len() >= count {
            return all;
        }
        events.next().await.expect("the node runs");
    }
}

/// The bytes of all files of a home.
fn disk(home: &Path) -> u64 {
    let entries = std::fs::read_dir(home).expect("the home is a folder");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("the home is readable");
        let about = entry.metadata().expect("the file exists");
        if about.is_dir() {
            disk(&entry.path())
        } else {
            about.len()
        }
    });
    sizes.sum()
}

fn numbered(n: usize) -> Body {
    Body::Text(format!("{n} {}", "x".repeat(1_000)))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_newcomers_exchange_their_first_messages_without_a_question() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    let hello = ann.send(ticket(&bob).await, "hello".into()).await;
    let hello = hello.expect("the message is stored");
    let state = ann.wait_for(hello.id, DeliveryState::Delivered).await;
    assert_eq!(state, Ok(DeliveryState::Delivered));
    let first = has(&bob, 1).await.remove(0);
    assert!(first.request, "bob learns that ann is a stranger");
    bob.send(ann.id().into(), "who are you?".into())
        .await
        .expect("the message is stored");
    let answer = has(&ann, 2).await.remove(1);
    assert!(!answer.request, "ann has written to bob first");
    let of_ann = bob.peer(ann.id()).await.expect("the node runs");
    assert!(of_ann.expect("they have met").policy.contact);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_that_sends_without_end_fills_no_disk_and_loses_nothing() {
    const MANY: usize = 3_000;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    let before = disk(&dir.path().join("ann"));
    let to_ann = bob.resolve(ticket(&ann).await).await.expect("ann answers");
    let mut last = None;
    for n in 0..MANY {
        let sent = bob.send(to_ann.into(), numbered(n)).await;
        last = Some(sent.expect("the message is stored").id);
    }
    let last = last.expect("the loop sent messages");
    let state = bob.wait_for(last, DeliveryState::Delivered).await;
    assert_eq!(state, Ok(DeliveryState::Sent), "it waits to be accepted");
    let of_ann = bob.peer(ann.id()).await.expect("the node runs");
    assert!(of_ann.expect("they have met").awaits_consent);
    let expected: Vec<_> = (0..MANY).map(numbered).collect();
    assert_eq!(texts(&ann).await, expected[..REQUEST_ENTRIES_MAX]);
    let grown = disk(&dir.path().join("ann")) - before;
    assert!(grown < DISK_MAX, "{grown} bytes");

    // A restart of either node changes nothing about that.
    ann.shutdown().await;
    let ann = start(dir.path(), "ann").await;
    bob.resolve(ticket(&ann).await).await.expect("ann answers");
    tokio::time::timeout(Duration::from_secs(20), async {
        let mut events = bob.events();
        while !awaits_consent(&bob, &ann).await {
            events.next().await.expect("the node runs");
        }
    })
    .await
    .expect("bob is refused again");
    assert_eq!(texts(&ann).await.len(), REQUEST_ENTRIES_MAX);

    let mut shown = ann.messages(None);
    ann.accept_contact(bob.id())
        .await
        .expect("the disk takes it");
    for body in &expected {
        let message = shown.next().await.expect("the node runs");
        assert_eq!(message.body, *body);
    }
    let state = bob.wait_for(last, DeliveryState::Delivered).await;
    assert_eq!(state, Ok(DeliveryState::Delivered));
    assert!(!awaits_consent(&bob, &ann).await);
    assert_eq!(texts(&ann).await.len(), MANY);
}

async fn awaits_consent(node: &Node, other: &Node) -> bool {
    let peer = node.peer(other.id()).await.expect("the node runs");
    peer.is_some_and(|peer| peer.awaits_consent)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_contact_is_a_stranger_after_a_restart_too() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    let is_contact = async |node: &Node| {
        let peer = node.peer(bob.id()).await.expect("the node runs");
        peer.expect("it is known").policy.contact
    };
    ann.send(ticket(&bob).await, "hello".into())
        .await
        .expect("the message is stored");
    assert!(is_contact(&ann).await);
    ann.shutdown().await;
    let ann = start(dir.path(), "ann").await;
    assert!(is_contact(&ann).await);
    ann.remove_contact(bob.id())
        .await
        .expect("the disk takes it");
    ann.shutdown().await;
    let ann = start(dir.path(), "ann").await;
    assert!(!is_contact(&ann).await);
}
