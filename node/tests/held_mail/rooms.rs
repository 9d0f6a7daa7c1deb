//! Rooms with a key by mail.

use std::path::Path;

use hobnob::protocol::{RoomName, Target};
use hobnob::{DeliveryState, HistoryQuery, Message, Node};
use tokio::time::timeout;

use super::net::{
    LIMIT, both_held, finds, mailbox, meet, start, start_carol, texts, three, ticket, until,
};

pub(crate) fn ops() -> RoomName {
    "ops".parse().expect("a room")
}

/// These nodes are in a room with a random key, and each has seen that the others are.
pub(crate) async fn in_room(nodes: &[&Node]) {
    nodes[0].create_room(ops()).await.expect("it is new");
    let ticket = nodes[0].room_ticket(ops()).await.expect("it has a key");
    for node in &nodes[1..] {
        let joined = node.join_with_ticket(ticket.clone()).await;
        joined.expect("it is new here");
    }
    for node in nodes {
        until("all others are in the room", async || {
            let rooms = node.rooms().await.expect("the node runs");
            let room = rooms.iter().find(|room| room.name == ops());
            room.is_some_and(|room| room.here.len() == nodes.len() - 1)
        })
        .await;
    }
}

pub(crate) async fn says(node: &Node, text: &str) {
    let sent = node.broadcast(ops(), text.into()).await;
    sent.expect("it is stored");
}

/// Waits until holders have this many messages for a peer.
async fn held(node: &Node, messages: u64) {
    mailbox(node, "it is held", |info| {
        info.deposited.iter().any(|it| it.messages == messages)
    })
    .await;
}

pub(crate) async fn of_room(node: &Node) -> Vec<Message> {
    let query = HistoryQuery {
        conversation: Some(hobnob::ConversationRef::Room(ops())),
        ..HistoryQuery::default()
    };
    let all = node.history(query).await.expect("the history is readable");
    let is_text = |message: &Message| message.body.text().is_some();
    all.into_iter().filter(is_text).collect()
}

async fn shown(node: &Node) -> Vec<String> {
    let texts = of_room(node).await.into_iter();
    texts
        .filter_map(|message| message.body.text().map(str::to_owned))
        .collect()
}

async fn shows(node: &Node, expected: &[String]) {
    until("the room is complete", async || {
        shown(node).await.len() >= expected.len()
    })
    .await;
    assert_eq!(shown(node).await, expected, "in order, once");
}

/// Carol holds the mail of Ann and of Bob, who are in a room with a key. She is not.
async fn members_of_ops(dir: &Path) -> [Node; 3] {
    let [ann, bob, carol] = both_held(dir).await;
    in_room(&[&ann, &bob]).await;
    [ann, bob, carol]
}

#[tokio::test]
async fn a_room_with_a_key_goes_on_while_its_members_take_turns() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = members_of_ops(dir.path()).await;
    says(&ann, "before").await;
    shows(&bob, &["before".to_owned()]).await;
    bob.shutdown().await;
    let mut all = vec!["before".to_owned()];
    for n in 0..40 {
        says(&ann, &format!("message {n}")).await;
        all.push(format!("message {n}"));
    }
    held(&ann, 40).await;
    let states = of_room(&ann).await.into_iter();
    let states: Vec<_> = states.filter_map(|it| it.state).skip(1).collect();
    assert_eq!(states, [DeliveryState::Held; 40]);
    let holding = carol.mailbox().await.expect("the node runs").holding;
    let envelopes = holding.expect("she holds mail").envelopes;
    assert!((1..40).contains(&envelopes), "they share {envelopes}");
    ann.shutdown().await;

    let bob = start(dir.path(), "bob").await;
    finds(&bob, ticket(&carol).await).await;
    shows(&bob, &all).await;
    // Bob's receipts wait for Ann.
    mailbox(&carol, "mail for ann", |info| {
        info.holding.is_some_and(|it| it.envelopes > 0)
    })
    .await;
    says(&bob, "and this is for ann").await;
    held(&bob, 1).await;
    all.push("and this is for ann".to_owned());
    bob.shutdown().await;

    let ann = start(dir.path(), "ann").await;
    finds(&ann, ticket(&carol).await).await;
    shows(&ann, &all).await;
    until("ann has the receipts", async || {
        let mut own = of_room(&ann).await.into_iter().filter_map(|it| it.state);
        own.all(|state| state == DeliveryState::Delivered)
    })
    .await;
    // When both meet, nothing is shown again.
    let bob = start(dir.path(), "bob").await;
    finds(&bob, ticket(&ann).await).await;
    says(&bob, "the end").await;
    all.push("the end".to_owned());
    shows(&ann, &all).await;
    shows(&bob, &all).await;
    for node in [ann, bob, carol] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_member_that_meets_others_before_its_mail_shows_each_message_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = three(dir.path(), 64 << 20).await;
    let dave = start(dir.path(), "dave").await;
    meet(&ann, &dave).await;
    meet(&bob, &dave).await;
    in_room(&[&ann, &bob, &dave]).await;
    bob.shutdown().await;
    let all: Vec<_> = (0..10).map(|n| format!("message {n}")).collect();
    for text in &all {
        says(&ann, text).await;
    }
    shows(&dave, &all).await;
    held(&ann, 10).await;
    ann.shutdown().await;
    carol.shutdown().await;

    let bob = start(dir.path(), "bob").await;
    finds(&bob, ticket(&dave).await).await;
    shows(&bob, &all).await;
    let carol = start_carol(dir.path(), 64 << 20).await;
    finds(&bob, ticket(&carol).await).await;
    mailbox(&carol, "bob has fetched all", |info| {
        info.holding.is_some_and(|it| it.envelopes == 0)
    })
    .await;
    assert_eq!(shown(&bob).await, all, "nothing is repeated");
    for node in [bob, carol, dave] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn who_has_left_the_room_or_has_another_key_reads_nothing_of_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let [ann, bob, carol] = members_of_ops(dir.path()).await;
    bob.shutdown().await;
    says(&ann, "for members").await;
    held(&ann, 1).await;
    ann.shutdown().await;
    carol.shutdown().await;

    let bob = start(dir.path(), "bob").await;
    bob.part(ops()).await.expect("he was in it");
    // The same name, and another key.
    bob.create_room(ops()).await.expect("he has left the other");
    let carol = start_carol(dir.path(), 64 << 20).await;
    finds(&bob, ticket(&carol).await).await;
    mailbox(&carol, "bob has fetched all", |info| {
        info.holding.is_some_and(|it| it.envelopes == 0)
    })
    .await;
    assert_eq!(shown(&bob).await, [""; 0]);
    assert!(!texts(&bob).await.contains(&"for members".to_owned()));

    // Ann learns in a session that Bob has left, and mails him no more of the room.
    let ann = start(dir.path(), "ann").await;
    finds(&ann, ticket(&bob).await).await;
    bob.shutdown().await;
    mailbox(&ann, "nothing is held", |info| info.deposited.is_empty()).await;
    says(&ann, "later").await;
    let sent = ann.send(bob_id(&ann).await, "to you alone".into()).await;
    let id = sent.expect("it is stored").id;
    finds(&ann, ticket(&carol).await).await;
    let held = timeout(LIMIT, ann.wait_for(id, DeliveryState::Held)).await;
    held.expect("in time").expect("carol holds it");
    let deposited = ann.mailbox().await.expect("the node runs").deposited;
    assert_eq!(deposited[0].messages, 1, "the direct one");
    for node in [ann, carol] {
        node.shutdown().await;
    }
}

async fn bob_id(node: &Node) -> Target {
    let peers = node.peers().await.expect("the node runs");
    let bob = peers.iter().find(|peer| peer.name == "bob");
    bob.expect("he is known").peer.into()
}
