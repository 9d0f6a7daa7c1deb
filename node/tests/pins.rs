//! Topics and pinned messages between real nodes.

use std::path::Path;
use std::time::Duration;

use hobnob::protocol::{Body, RoomName};
use hobnob::{ConversationRef, DeliveryState, HistoryQuery, Message, MessageId, Node};

const LIMIT: Duration = Duration::from_secs(30);

async fn start(dir: &Path, nick: &str) -> Node {
    let builder = Node::builder(dir.join(nick)).nick(nick.parse().expect("a nickname"));
    builder.loopback().start().await.expect("the node starts")
}

fn ops() -> RoomName {
    "ops".parse().expect("a room")
}

async fn topic(node: &Node) -> Option<String> {
    let rooms = node.rooms().await.expect("the node runs");
    let room = rooms.into_iter().find(|room| room.name == ops());
    room.and_then(|room| room.topic).map(|topic| topic.text)
}

async fn pinned(node: &Node) -> Vec<MessageId> {
    let pins = node.pins(ConversationRef::Room(ops())).await;
    let id = |message: Message| message.id;
    pins.expect("the node runs").into_iter().map(id).collect()
}

/// Lets one connect to the other, who accepts it as a contact.
async fn meet(one: &Node, other: &Node) {
    let ticket = other.status().await.expect("the node runs").ticket;
    let sent = one.send(ticket.into(), "hello".into()).await;
    let id = sent.expect("it is stored").id;
    let state = one.wait_for(id, DeliveryState::Delivered).await;
    assert_eq!(state, Ok(DeliveryState::Delivered));
    other
        .accept_contact(one.id())
        .await
        .expect("the disk takes it");
}

/// Waits until both have this topic and these pins.
async fn agree(nodes: [&Node; 2], expected: Option<&str>, pins: &[MessageId]) {
    let agreed = async {
        for node in nodes {
            while topic(node).await.as_deref() != expected || pinned(node).await != pins {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let agreed = tokio::time::timeout(LIMIT, agreed).await;
    assert!(agreed.is_ok(), "{expected:?} and {pins:?} in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_member_sets_topic_and_pins_and_one_who_was_away_gets_them() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    ann.create_room(ops()).await.expect("it is stored");
    let ticket = ann.room_ticket(ops()).await.expect("the room has a key");
    bob.join_with_ticket(ticket).await.expect("it is stored");
    meet(&ann, &bob).await;
    let sent = ann.broadcast(ops(), Body::Text("read this".into())).await;
    let first = sent.expect("it is stored").id;
    ann.set_topic(ops(), "the disk of db3")
        .await
        .expect("it is stored");
    ann.pin(first, true).await.expect("it is stored");
    agree([&ann, &bob], Some("the disk of db3"), &[first]).await;

    bob.set_topic(ops(), "the disk is full")
        .await
        .expect("it is stored");
    bob.pin(first, false).await.expect("it is stored");
    agree([&ann, &bob], Some("the disk is full"), &[]).await;

    bob.shutdown().await;
    let sent = ann.broadcast(ops(), Body::Text("and this".into())).await;
    let second = sent.expect("it is stored").id;
    ann.pin(second, true).await.expect("it is stored");
    ann.set_topic(ops(), "all is well")
        .await
        .expect("it is stored");
    let bob = start(dir.path(), "bob").await;
    meet(&ann, &bob).await;
    agree([&ann, &bob], Some("all is well"), &[second]).await;

    ann.delete(second, false, false)
        .await
        .expect("it is stored");
    agree([&ann, &bob], Some("all is well"), &[]).await;
    let long = "x".repeat(hobnob::protocol::entry::TOPIC_BYTES_MAX + 1);
    ann.set_topic(ops(), long)
        .await
        .expect_err("it is too long");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_to_a_change_of_topic_quotes_the_topic() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let ann = start(dir.path(), "ann").await;
    ann.create_room(ops()).await.expect("it is stored");
    for topic in ["the disk of db3", ""] {
        let set = ann.set_topic(ops(), topic).await.expect("it is stored");
        let reply = ann.reply(set.id, "agreed").await.expect("it is stored");
        let history = ann.history(HistoryQuery::default()).await;
        let mut history = history.expect("the node runs").into_iter();
        let reply = history.find(|message| message.id == reply.id);
        let quoted = reply.and_then(|reply| reply.reply_to).expect("a reply");
        assert_eq!(quoted.text.as_deref(), Some(topic));
    }
    ann.shutdown().await;
}
