//! Nodes on this machine that meet only if a test says so.

use std::path::Path;
use std::time::Duration;

use hobnob::protocol::{Body, Target};
use hobnob::{DeliveryState, HistoryQuery, HoldFor, MailboxInfo, Node};
use tokio::time::{sleep, timeout};

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn start(dir: &Path, nick: &str) -> Node {
    let builder = Node::builder(dir.join(nick)).nick(nick.parse().expect("a nickname"));
    builder.loopback().start().await.expect("the node starts")
}

/// Carol, who holds at most this many bytes for her contacts.
pub(crate) async fn start_carol(dir: &Path, bytes_max: u64) -> Node {
    let builder = Node::builder(dir.join("carol")).nick("carol".parse().expect("a nickname"));
    let builder = builder.hold_for(HoldFor::Contacts, bytes_max);
    let started = builder.loopback().passphrase("tin roof rust").start().await;
    started.expect("the node starts")
}

pub(crate) async fn ticket(node: &Node) -> Target {
    node.status().await.expect("the node runs").ticket.into()
}

/// Each writes to the other, so each has the other as a contact.
pub(crate) async fn meet(one: &Node, other: &Node) {
    for (from, to) in [(one, ticket(other).await), (other, ticket(one).await)] {
        let sent = from.send(to, "hello".into()).await.expect("it is stored");
        let delivered = from.wait_for(sent.id, DeliveryState::Delivered);
        let delivered = timeout(LIMIT, delivered).await.expect("in time");
        delivered.expect("it arrives");
    }
}

/// Waits until the state of a node's mail is as expected.
pub(crate) async fn mailbox(
    node: &Node,
    what: &str,
    fits: impl Fn(&MailboxInfo) -> bool,
) -> MailboxInfo {
    let waiting = async {
        loop {
            let info = node.mailbox().await.expect("the node runs");
            if fits(&info) {
                return info;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, waiting).await.expect(what)
}

pub(crate) async fn texts(node: &Node) -> Vec<String> {
    let all = node.history(HistoryQuery::default()).await;
    let all = all.expect("the history is readable").into_iter();
    let text = |body: Body| body.text().map(str::to_owned);
    all.filter_map(|message| text(message.body)).collect()
}

/// Bob's mail is held by Carol, and Ann knows. Ann is a stranger to Carol.
pub(crate) async fn three(dir: &Path, bytes_max: u64) -> [Node; 3] {
    let carol = start_carol(dir, bytes_max).await;
    let (ann, bob) = (start(dir, "ann").await, start(dir, "bob").await);
    meet(&bob, &carol).await;
    let held_by = |info: &MailboxInfo| info.held_by.iter().any(|it| it.fetched_at_ms.is_some());
    let info = mailbox(&bob, "carol holds bob's mail", held_by).await;
    assert_eq!(info.held_by[0].id, carol.id().only_device());
    assert_eq!(info.held_by[0].name.as_deref(), Some("carol"));
    // Ann writes to Carol, who does not answer.
    let sent = ann.send(ticket(&carol).await, "may I?".into()).await;
    let sent = sent.expect("it is stored");
    let delivered = ann.wait_for(sent.id, DeliveryState::Delivered).await;
    delivered.expect("it arrives");
    meet(&ann, &bob).await;
    [ann, bob, carol]
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, waiting).await.expect(what);
}

/// Connects a node to another that it knows, because neither looks for the other here.
pub(crate) async fn finds(node: &Node, other: Target) {
    let sent = node.send(other, "I am back".into()).await;
    let sent = sent.expect("it is stored");
    let delivered = node.wait_for(sent.id, DeliveryState::Delivered);
    let delivered = timeout(LIMIT, delivered).await.expect("in time");
    delivered.expect("it arrives");
}

/// Carol holds the mail of Ann and of Bob, and each of them knows where that of the other is held.
pub(crate) async fn both_held(dir: &Path) -> [Node; 3] {
    let [ann, bob, carol] = three(dir, 64 << 20).await;
    // Ann has written to Carol already.
    finds(&carol, ticket(&ann).await).await;
    mailbox(&ann, "carol holds ann's mail", |info| {
        info.held_by.iter().any(|it| it.fetched_at_ms.is_some())
    })
    .await;
    // Bob learns where Ann's mail is held no later than this.
    meet(&ann, &bob).await;
    [ann, bob, carol]
}
