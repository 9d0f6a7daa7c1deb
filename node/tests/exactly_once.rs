//! A program that ends at any moment, and handles each message exactly once nevertheless.

use std::path::Path;
use std::time::Duration;

use hobnob::{Body, DeliveryState, HistoryQuery, Message, MessageId, Node, NodeError};

/// What a program keeps in its own database: what it did, and how far it came, written as one.
#[derive(Default)]
struct Ledger {
    booked: Vec<Body>,
    last: Option<MessageId>,
}

impl Ledger {
    fn book(&mut self, message: Message) {
        self.last = Some(message.id);
        self.booked.push(message.body);
    }
}

async fn start(dir: &Path, nick: &str) -> Node {
    let builder = Node::builder(dir.join(nick)).nick(nick.parse().expect("a nickname"));
    builder.loopback().start().await.expect("starts")
}

async fn meet(node: &Node, other: &Node) {
    node.resolve(other.status().await.expect("runs").ticket.into())
        .await
        .expect("answers");
}

/// Handles messages until nothing has come for a while, or the `most` have been handled.
async fn run(node: &Node, ledger: &mut Ledger, most: usize) {
    let mut messages = node.messages(ledger.last);
    for _ in 0..most {
        match tokio::time::timeout(QUIET, messages.next()).await {
            Ok(message) => ledger.book(message.expect("the node runs")),
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_anywhere_handles_each_message_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let (ann, mut bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    meet(&ann, &bob).await;
    let number = |n: u32| {
        if n.is_multiple_of(3) {
            app(n)
        } else {
            Body::Text(n.to_string())
        }
    };
    let mut ledger = Ledger::default();
    for round in 0..4 {
        let mut last = None;
        for n in round * 100..(round + 1) * 100 {
            last = Some(
                ann.send(bob.id().into(), number(n))
                    .await
                    .expect("is stored"),
            );
        }
        // The program ends after some messages, in the middle of what it had read ahead, three
        // times; the node, too, each time.
        for most in [7, 300, 40] {
            run(&bob, &mut ledger, most).await;
            bob.shutdown().await;
            bob = start(dir.path(), "bob").await;
            meet(&bob, &ann).await;
        }
        ann.wait_for(last.expect("a hundred").id, DeliveryState::Delivered)
            .await
            .expect("arrives");
    }
    run(&bob, &mut ledger, usize::MAX).await;
    assert_eq!(ledger.booked, (0..400).map(number).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_thousands_behind_misses_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = start(dir.path(), "ann").await;
    let mut messages = node.messages(None);
    let lobby = || "lobby".parse().expect("a room");
    node.broadcast(lobby(), "first".into())
        .await
        .expect("is stored");
    assert_eq!(messages.next().await.expect("runs").body, "first".into());
    // More than events are kept for a reader that is slow.
    let many = 10_000;
    let writers: Vec<_> = (0..many)
        .map(|n| {
            let (node, room) = (node.clone(), lobby());
            tokio::spawn(async move { node.broadcast(room, Body::Text(n.to_string())).await })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic").expect("is stored");
    }
    let mut got = Vec::new();
    for _ in 0..many {
        got.push(messages.next().await.expect("runs").id);
    }
    let all = node
        .history(HistoryQuery {
            after: Some(got[0]),
            oldest: true,
            ..HistoryQuery::default()
        })
        .await
        .expect("reads");
    assert_eq!(
        got[1..],
        all.iter().map(|message| message.id).collect::<Vec<_>>()
    );
    assert_eq!(all.len(), many - 1);
    node.shutdown().await;
    assert_eq!(messages.next().await, Err(NodeError::Stopped));
}

#[tokio::test]
async fn going_on_after_a_message_that_is_not_there_is_an_error_and_no_silence() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = start(dir.path(), "ann").await;
    let unknown = "00000000000000ab-7".parse().expect("an id");
    assert_eq!(
        node.messages(Some(unknown)).next().await,
        Err(NodeError::NoSuchMessage)
    );
}

fn app(n: u32) -> Body {
    Body::App {
        kind: "org.example.count".into(),
        bytes: n.to_le_bytes().to_vec(),
    }
}

/// Longer than a message takes from one node of this machine to the other.
const QUIET: Duration = Duration::from_millis(500);
