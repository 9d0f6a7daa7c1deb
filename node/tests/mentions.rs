//! Mentions and the rules about alerts, between real nodes.

use std::path::Path;
use std::time::Duration;

use hobnob::protocol::Body;
use hobnob::{ConversationRef, DeliveryState, Event, HistoryQuery, Message, MessageId, Node};
use hobnob::{NodeError, NotifyRule};

const LIMIT: Duration = Duration::from_secs(30);

async fn start(dir: &Path, nick: &str) -> Node {
    let builder = Node::builder(dir.join(nick)).nick(nick.parse().expect("a nickname"));
    let node = builder.highlight("deploy").loopback().start().await;
    node.expect("the node starts")
}

async fn says(node: &Node, to: &Node, text: &str) -> MessageId {
    let ticket = to.status().await.expect("the node runs").ticket;
    let sent = node.send(ticket.into(), Body::Text(text.into())).await;
    let id = sent.expect("the message is stored").id;
    let state = node.wait_for(id, DeliveryState::Delivered).await;
    assert_eq!(state, Ok(DeliveryState::Delivered));
    id
}

async fn mentions(node: &Node) -> Vec<Message> {
    let query = HistoryQuery {
        mentions: true,
        ..HistoryQuery::default()
    };
    node.history(query).await.expect("the node runs")
}

async fn texts(node: &Node) -> Vec<String> {
    let found = mentions(node).await.into_iter();
    let text = |message: Message| message.body.text().unwrap_or_default().to_owned();
    found.map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn mentions_are_collected_and_follow_edits_deletions_and_names() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    let mut events = bob.events();
    let plain = says(&ann, &bob, "hello").await;
    let first = says(&ann, &bob, "look, @bob").await;
    let second = says(&ann, &bob, "who will Deploy it?").await;
    says(&bob, &ann, "@bob is my own name").await;
    assert_eq!(texts(&bob).await, ["look, @bob", "who will Deploy it?"]);
    assert!(texts(&ann).await.is_empty(), "ann is not called");

    let mut live = Vec::new();
    while live.len() < 3 {
        let event = tokio::time::timeout(LIMIT, events.next()).await;
        if let Event::Message(message) = event.expect("in time").expect("it runs") {
            live.push(message.mention);
        }
    }
    assert_eq!(live, [false, true, true]);

    ann.edit(plain, "hello, @bob").await.expect("it is stored");
    ann.delete(second, false, false)
        .await
        .expect("it is stored");
    let expected = ["hello, @bob", "look, @bob"];
    let changed = async {
        while texts(&bob).await != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let changed = tokio::time::timeout(LIMIT, changed).await;
    assert!(changed.is_ok(), "{:?}", texts(&bob).await);

    bob.set_nick("rob".parse().expect("a nickname"))
        .await
        .expect("the node runs");
    says(&ann, &bob, "@bob is gone").await;
    says(&ann, &bob, "rob: welcome").await;
    assert_eq!(
        texts(&bob).await,
        ["hello, @bob", "look, @bob", "rob: welcome"]
    );
    let found = mentions(&bob).await;
    assert!(found.iter().all(|message| message.mention), "{found:?}");
    // A message is what it was when it came, whatever the name is today.
    bob.set_nick("bob".parse().expect("a nickname"))
        .await
        .expect("the node runs");
    let all = bob.history(HistoryQuery::default()).await;
    let all = all.expect("the node runs").into_iter();
    let text = |message: &Message| message.body.text().unwrap_or_default().to_owned();
    let marked: Vec<_> = all
        .map(|message| (text(&message), message.mention))
        .collect();
    for (text, mention) in [("@bob is gone", false), ("rob: welcome", true)] {
        assert!(marked.contains(&(text.to_owned(), mention)), "{marked:?}");
    }
    let page = HistoryQuery {
        mentions: true,
        before: Some(first),
        limit: Some(1),
        ..HistoryQuery::default()
    };
    let page = bob.history(page).await.expect("the node runs");
    assert_eq!(page.len(), 1, "pages go on before a mention: {page:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_decides_which_messages_alert_and_outlives_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (ann, bob) = (
        start(dir.path(), "ann").await,
        start(dir.path(), "bob").await,
    );
    let with_ann = ConversationRef::Direct(ann.id());
    let alerts = async |bob: &Node, text: &str| {
        let id = says(&ann, bob, text).await;
        let query = HistoryQuery {
            conversation: Some(ConversationRef::Direct(ann.id())),
            ..HistoryQuery::default()
        };
        let messages = bob.history(query).await.expect("the node runs");
        let found = messages.into_iter().find(|message| message.id == id);
        found.expect("it has arrived").notify
    };
    assert!(alerts(&bob, "hi").await, "direct messages alert");
    let set = bob
        .set_notify(with_ann.clone(), Some(NotifyRule::Mentions))
        .await;
    set.expect("the conversation exists");
    assert!(!alerts(&bob, "hi again").await);
    assert!(alerts(&bob, "@bob!").await);
    let set = bob
        .set_notify(with_ann.clone(), Some(NotifyRule::None))
        .await;
    set.expect("the conversation exists");
    assert!(!alerts(&bob, "@bob!").await);
    assert_eq!(
        bob.notify_rules().await,
        Ok(vec![(with_ann.clone(), NotifyRule::None)])
    );
    bob.shutdown().await;
    let bob = start(dir.path(), "bob").await;
    assert!(!alerts(&bob, "@bob?").await, "the rule is on disk");
    bob.set_notify(with_ann, None)
        .await
        .expect("the conversation exists");
    assert!(alerts(&bob, "hi").await);
    assert_eq!(bob.notify_rules().await, Ok(Vec::new()));
    let nowhere = ConversationRef::Room("nowhere".parse().expect("a room"));
    let unknown = bob.set_notify(nowhere, Some(NotifyRule::All)).await;
    assert!(matches!(unknown, Err(NodeError::NoSuchConversation(_))));
}
