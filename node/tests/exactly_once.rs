//! A program that may stop at any moment handles each message exactly once.

use std::path::Path;
use std::time::Duration;

use hobnob::{Body, DeliveryState, HistoryQuery, Message, MessageId, Node, NodeError};

/// A program's own database: the handled messages and the id of the last one, written together.
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
    builder.loopback().start().await.expect("the node starts")
}

async fn meet(node: &Node, other: &Node) {
    node.resolve(other.status().await.expect("the node runs").ticket.into())
        .await
        .expect("the peer answers");
}

/// Handles up to `most` messages. Stops early when no message arrives for `QUIET`.
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
async fn a_program_that_stops_anywhere_handles_each_message_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, mut bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    meet(&ann, &bob).await;
    bob.accept_contact(ann.id())
        .await
        .expect("the disk takes it");
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
                    .expect("the message is stored"),
            );
        }
        // The program stops three times after some messages, although it has read more ahead. The
        // node restarts each time.
        for most in [7, 300, 40] {
            run(&bob, &mut ledger, most).await;
            bob.shutdown().await;
            bob = start(dir.path(), "bob").await;
            meet(&bob, &ann).await;
        }
        ann.wait_for(
            last.expect("the loop sent a hundred messages").id,
            DeliveryState::Delivered,
        )
        .await
        .expect("the message arrives");
    }
    run(&bob, &mut ledger, usize::MAX).await;
    assert_eq!(ledger.booked, (0..400).map(number).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_thousands_behind_misses_no_message() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let node = start(dir.path(), "ann").await;
    let mut messages = node.messages(None);
    let lobby = || "lobby".parse().expect("a room's name");
    node.broadcast(lobby(), "first".into())
        .await
        .expect("the message is stored");
    assert_eq!(
        messages.next().await.expect("the node runs").body,
        "first".into()
    );
    // More messages than the node buffers events for a slow reader.
    let many = 10_000;
    let writers: Vec<_> = (0..many)
        .map(|n| {
            let (node, room) = (node.clone(), lobby());
            tokio::spawn(async move { node.broadcast(room, Body::Text(n.to_string())).await })
        })
        .collect();
    for writer in writers {
        writer
            .await
            .expect("the writer does not panic")
            .expect("the message is stored");
    }
    let mut received = Vec::new();
    for _ in 0..many {
        received.push(messages.next().await.expect("the node runs").id);
    }
    let all = node
        .history(HistoryQuery {
            after: Some(received[0]),
            oldest: true,
            ..HistoryQuery::default()
        })
        .await
        .expect("the history is readable");
    assert_eq!(
        received[1..],
        all.iter().map(|message| message.id).collect::<Vec<_>>()
    );
    assert_eq!(all.len(), many - 1);
    node.shutdown().await;
    assert_eq!(messages.next().await, Err(NodeError::Stopped));
}

#[tokio::test]
async fn reading_after_an_unknown_message_is_an_error() {
    let dir = tempfile::tempdir().expect("a temporary folder");
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

/// Longer than a message takes between two nodes of one machine.
const QUIET: Duration = Duration::from_millis(500);
