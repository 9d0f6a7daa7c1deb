//! Names of peers with which a node never had a session: their signed records are passed on.
//!
//! ann and carl meet only bob, and all are in the lobby.

use std::path::Path;
use std::time::Duration;

use hobnob::protocol::{Nickname, PersonId, RoomName, Target};
use hobnob::{Message, Node};

async fn start(dir: &Path, nick: &str) -> Node {
    let builder = Node::builder(dir.join(nick)).nick(name(nick));
    builder.loopback().start().await.expect("the node starts")
}

fn name(nick: &str) -> Nickname {
    nick.parse().expect("a nickname")
}

/// A node meets another one.
async fn meets(node: &Node, other: &Node) {
    let ticket = other.status().await.expect("the node runs").ticket;
    let met = node.resolve(ticket.into()).await;
    assert_eq!(met.expect("the other node answers"), other.id());
}

/// Says something in the lobby until the listener has received it.
async fn is_heard(speaker: &Node, listener: &Node, text: &str) {
    let mut messages = listener.messages(None);
    let heard = async {
        loop {
            let said = speaker.broadcast(RoomName::lobby(), text.into()).await;
            said.expect("the message is stored");
            let next = tokio::time::timeout(Duration::from_secs(1), messages.next());
            if let Ok(Ok(Message { from, .. })) = next.await
                && from == speaker.id()
            {
                return;
            }
        }
    };
    let heard = tokio::time::timeout(Duration::from_secs(20), heard).await;
    heard.unwrap_or_else(|_| panic!("{text:?} does not arrive"));
}

/// Waits until a node knows a peer by this name.
async fn knows(node: &Node, peer: PersonId, name: &str) {
    let known = async {
        loop {
            let found = node.resolve(Target::Name(name.to_owned())).await;
            if found == Ok(peer) {
                return;
            }
        }
    };
    let known = tokio::time::timeout(Duration::from_secs(20), known).await;
    known.unwrap_or_else(|_| panic!("{name:?} is not known"));
}

async fn nick_of(node: &Node, peer: PersonId) -> Option<String> {
    let peer = node.peer(peer).await.expect("the node runs")?;
    peer.nick.map(String::from)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_has_a_name_that_changes_and_is_kept() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let [ann, bob, carl] = ["ann", "bob", "carl"].map(|nick| start(dir.path(), nick));
    let (ann, bob, carl) = (ann.await, bob.await, carl.await);
    meets(&ann, &bob).await;
    meets(&carl, &bob).await;
    is_heard(&carl, &ann, "I am carl").await;
    knows(&ann, carl.id(), "carl").await;
    // The new record passes through bob.
    carl.set_nick(name("carlo")).await.expect("the node runs");
    knows(&ann, carl.id(), "carlo").await;
    ann.shutdown().await;
    bob.shutdown().await;
    let ann = start(dir.path(), "ann").await;
    knows(&ann, carl.id(), "carlo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_do_not_bring_back_the_name_of_a_forgotten_peer() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let [ann, bob, carl] = ["ann", "bob", "carl"].map(|nick| start(dir.path(), nick));
    let (ann, bob, carl) = (ann.await, bob.await, carl.await);
    meets(&ann, &bob).await;
    meets(&carl, &bob).await;
    is_heard(&carl, &ann, "I am carl").await;
    knows(&ann, carl.id(), "carl").await;
    ann.forget(carl.id(), true).await.expect("it is forgotten");
    assert_eq!(nick_of(&ann, carl.id()).await, None, "in this run, too");
    // Another newcomer becomes known, and the requests for its record would bring carl's, too.
    let dan = start(dir.path(), "dan").await;
    meets(&dan, &bob).await;
    is_heard(&carl, &ann, "I am still carl").await;
    is_heard(&dan, &ann, "I am dan").await;
    knows(&ann, dan.id(), "dan").await;
    assert_eq!(nick_of(&ann, carl.id()).await, None);
    // The peer itself may introduce itself again.
    meets(&ann, &carl).await;
    knows(&ann, carl.id(), "carl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_passed_on_cannot_imitate_a_verified_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let [ann, bob, carl] = ["ann", "bob", "carl"].map(|nick| start(dir.path(), nick));
    let (ann, bob, carl) = (ann.await, bob.await, carl.await);
    meets(&ann, &bob).await;
    meets(&carl, &bob).await;
    ann.verify(bob.id()).await.expect("the disk takes it");
    is_heard(&carl, &ann, "I am carl").await;
    knows(&ann, carl.id(), "carl").await;
    // A Cyrillic o.
    let imitation = "b\u{43e}b";
    carl.set_nick(name(imitation)).await.expect("the node runs");
    let noticed = async {
        loop {
            let status = ann.status().await.expect("the node runs");
            let codes = status.notices.iter().map(|notice| notice.reason.code());
            if codes.into_iter().any(|code| code == "verified-name") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let noticed = tokio::time::timeout(Duration::from_secs(20), noticed).await;
    noticed.expect("ann is warned");
    assert_eq!(nick_of(&ann, carl.id()).await.as_deref(), Some("carl"));
}
