//! Two nodes in one process, over real sockets and real databases.

use hobnob::protocol::{Body, RoomName, Target};
use hobnob::{
    BodyError, ConversationRef, DeliveryState, Event, HistoryQuery, Node, SendError, StartError,
};

async fn node(dir: &std::path::Path, nick: &str) -> Node {
    let builder = Node::builder(dir.join(nick)).nick(nick.parse().expect("a nickname"));
    builder.loopback().start().await.expect("the node starts")
}

async fn address(node: &Node) -> Target {
    let status = node.status().await.expect("the node runs");
    status
        .addrs
        .first()
        .expect("the node listens")
        .to_string()
        .parse()
        .expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_exchange_direct_and_room_messages_and_store_them() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (node(dir.path(), "ann").await, node(dir.path(), "bob").await);
    let mut events = bob.events();
    let sent = ann
        .send(address(&bob).await, Body::Text("hi".into()))
        .await
        .expect("the message is stored");
    assert_eq!(
        ann.wait_for(sent.id, DeliveryState::Delivered).await,
        Ok(DeliveryState::Delivered)
    );
    let message = loop {
        if let Event::Message(message) = events.next().await.expect("the node runs") {
            break message;
        }
    };
    assert_eq!(
        (message.body, message.name.as_str()),
        (Body::Text("hi".into()), "ann")
    );

    let by_name = bob
        .send("ann".parse().expect("a name"), Body::Text("hello".into()))
        .await
        .expect("the message is stored");
    bob.wait_for(by_name.id, DeliveryState::Delivered)
        .await
        .expect("the message arrives");
    let to_all = bob
        .broadcast(RoomName::lobby(), Body::Text("all".into()))
        .await
        .expect("the message is stored");
    assert_eq!(to_all.to, [ann.id()]);
    bob.wait_for(to_all.id, DeliveryState::Delivered)
        .await
        .expect("the message arrives");

    let history = async |conversation| {
        let query = HistoryQuery {
            conversation: Some(conversation),
            ..HistoryQuery::default()
        };
        let messages = ann.history(query).await.expect("the history is readable");
        messages
            .into_iter()
            .map(|message| (message.body, message.state))
            .collect::<Vec<_>>()
    };
    let text = |text: &str| Body::Text(text.into());
    let direct = history(ConversationRef::Direct(bob.id())).await;
    assert_eq!(
        direct,
        [
            (text("hi"), Some(DeliveryState::Delivered)),
            (text("hello"), None)
        ]
    );
    assert_eq!(
        history(ConversationRef::Room(RoomName::lobby())).await,
        [(text("all"), None)]
    );
    ann.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_sent_while_the_peer_is_away_arrive_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (node(dir.path(), "ann").await, node(dir.path(), "bob").await);
    let first = ann
        .send(address(&bob).await, Body::Text("0".into()))
        .await
        .expect("the message is stored");
    ann.wait_for(first.id, DeliveryState::Delivered)
        .await
        .expect("the message arrives");
    bob.accept_contact(ann.id())
        .await
        .expect("the disk takes it");
    bob.shutdown().await;
    for n in 1..=1000 {
        ann.send("bob".parse().expect("a name"), Body::Text(n.to_string()))
            .await
            .expect("the message is stored");
    }
    let bob = node(dir.path(), "bob").await;
    bob.resolve(address(&ann).await)
        .await
        .expect("the peer answers");
    let expected: Vec<_> = (0..=1000).map(|n| Body::Text(n.to_string())).collect();
    let mut events = bob.events();
    loop {
        let history = bob
            .history(HistoryQuery::default())
            .await
            .expect("the history is readable");
        if history.len() >= expected.len() {
            let texts: Vec<_> = history.into_iter().map(|m| m.body).collect();
            assert_eq!(texts, expected);
            break;
        }
        let _ = events.next().await;
    }
    ann.shutdown().await;
    bob.shutdown().await;
}

/// Changes a text in a database where it lies, as a failing disk might.
fn damage(database: &std::path::Path, text: &str) {
    let mut bytes = std::fs::read(database).expect("a database");
    let places = bytes.windows(text.len());
    let at = places
        .enumerate()
        .find(|(_, part)| *part == text.as_bytes());
    let (at, _) = at.expect("the text is in the database");
    bytes[at] ^= 1;
    std::fs::write(database, bytes).expect("it is writable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_message_is_not_shown_and_comes_back_from_a_peer() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (node(dir.path(), "ann").await, node(dir.path(), "bob").await);
    bob.resolve(address(&ann).await)
        .await
        .expect("the peer answers");
    ann.accept_contact(bob.id())
        .await
        .expect("the disk takes it");
    let expected: Vec<_> = (0..200).map(|n| format!("text {n} of bob")).collect();
    for text in &expected {
        let body = Body::Text(text.clone());
        let sent = bob
            .send("ann".parse().expect("a name"), body)
            .await
            .expect("the message is stored");
        bob.wait_for(sent.id, DeliveryState::Delivered)
            .await
            .expect("the message arrives");
    }
    ann.shutdown().await;
    damage(&dir.path().join("ann/messages.db"), "text 77 of bob");

    // Nothing false is shown, and the others are.
    let ann = node(dir.path(), "ann").await;
    let all = HistoryQuery::default;
    let history = ann.history(all()).await.expect("the rest is readable");
    let texts: Vec<_> = history.into_iter().map(|message| message.body).collect();
    let others = (0..200).filter(|n| *n != 77);
    let others: Vec<_> = others
        .map(|n| Body::Text(format!("text {n} of bob")))
        .collect();
    assert_eq!(texts, others);
    let codes = async |ann: &Node| {
        let findings = ann.diagnose().await.expect("the node runs");
        findings.iter().map(|it| it.code()).collect::<Vec<_>>()
    };
    assert!(codes(&ann).await.contains(&"database-damaged"));
    ann.shutdown().await;
    let ann = node(dir.path(), "ann").await;
    assert!(codes(&ann).await.contains(&"database-repaired"));
    bob.resolve(address(&ann).await)
        .await
        .expect("the peer answers");
    let mut events = ann.events();
    loop {
        let history = ann.history(all()).await.expect("the history is readable");
        let texts: Vec<_> = history.into_iter().map(|message| message.body).collect();
        if texts.len() == expected.len() {
            let whole: Vec<_> = expected.into_iter().map(Body::Text).collect();
            // The message that came back has another place in the order of arrival.
            assert!(whole.iter().all(|body| texts.contains(body)));
            break;
        }
        let _ = events.next().await;
    }
    ann.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test]
async fn values_beyond_a_limit_are_errors_before_anything_starts() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let plain = || Node::builder(dir.path().join("ann")).loopback();
    let rooms = (0..1_000).fold(plain(), |builder, n| {
        builder.room(format!("room-{n}").parse().expect("a name"))
    });
    let relays = (1..100).fold(plain(), |builder, n| {
        builder.relay(format!("127.0.0.1:{n}").parse().expect("a relay"))
    });
    for (builder, expected) in [
        (rooms, "rooms"),
        (relays, "relays"),
        (plain().relay_token([1; 1_000]), "bytes in its relay token"),
    ] {
        match builder.start().await {
            Err(error @ StartError::TooMuch { .. }) => {
                assert!(error.to_string().contains(expected), "{error}")
            }
            other => panic!("{other:?}"),
        }
    }
    let node = plain().start().await.expect("the node starts");
    for kind in [1, 2, 77] {
        let odd = node
            .broadcast(
                RoomName::lobby(),
                Body::Unknown {
                    kind,
                    bytes: vec![0xff],
                },
            )
            .await;
        assert_eq!(
            odd.expect_err("a node could not read this body back"),
            SendError::Body(BodyError::Unknown(kind))
        );
    }
}
