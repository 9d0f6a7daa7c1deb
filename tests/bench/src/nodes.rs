//! Helpers for nodes in this process, on loopback.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use hobnob::protocol::{Body, PersonId, Target};
use hobnob::{DeliveryState, Event, HistoryQuery, Lagged, MessageId, Node};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Starts a node without discovery.
pub(crate) async fn start(dir: &Path, nick: &str) -> anyhow::Result<Node> {
    Ok(Node::builder(dir.join(nick))
        .nick(nick.parse()?)
        .loopback()
        .start()
        .await?)
}

/// The address that a node listens at.
pub(crate) async fn address(node: &Node) -> anyhow::Result<Target> {
    let status = node.status().await?;
    Ok(status
        .addrs
        .first()
        .context("the node does not listen")?
        .to_string()
        .parse()?)
}

/// Starts two nodes and connects them.
pub(crate) async fn pair(dir: &Path) -> anyhow::Result<(Node, Node)> {
    let (ann, bob) = (start(dir, "ann").await?, start(dir, "bob").await?);
    let peer = ann.resolve(address(&bob).await?).await?;
    deliver(&ann, peer, &text(64)).await?;
    deliver(&bob, ann.id(), &text(64)).await?;
    Ok((ann, bob))
}

/// Sends one message and waits until the recipient has stored it.
pub(crate) async fn deliver(from: &Node, to: PersonId, body: &Body) -> anyhow::Result<()> {
    let sent = from.send(Target::Id(to), body.clone()).await?;
    from.wait_for(sent.id, DeliveryState::Delivered).await?;
    Ok(())
}

/// A text of this length.
pub(crate) fn text(bytes: usize) -> Body {
    Body::Text(
        "lorem ipsum dolor sit amet "
            .chars()
            .cycle()
            .take(bytes)
            .collect(),
    )
}

/// Number of tasks that send at the same time. It equals the number of messages that the rivals'
/// clients have in flight.
const AT_ONCE: usize = 8192;

/// Sends `count` messages, many at a time, and waits until all are delivered. `send_one` sends one.
pub(crate) async fn send_all<F>(
    node: &Node,
    count: usize,
    send_one: impl Fn(Node) -> F + Clone + Send + 'static,
) -> anyhow::Result<Vec<MessageId>>
where
    F: Future<Output = anyhow::Result<MessageId>> + Send + 'static,
{
    let mut senders = JoinSet::new();
    for sender in 0..AT_ONCE {
        let share = count / AT_ONCE + usize::from(sender < count % AT_ONCE);
        let (node, send_one) = (node.clone(), send_one.clone());
        senders.spawn(async move {
            let mut ids = Vec::with_capacity(share);
            for _ in 0..share {
                ids.push(send_one(node.clone()).await?);
            }
            if let Some(last) = ids.last() {
                node.wait_for(*last, DeliveryState::Delivered).await?;
            }
            anyhow::Ok(ids)
        });
    }
    let mut ids = Vec::with_capacity(count);
    while let Some(sent) = senders.join_next().await {
        ids.extend(sent??);
    }
    Ok(ids)
}

/// Checks that every hundredth of these messages is delivered. That suffices, because receipts are
/// cumulative.
pub(crate) async fn check_delivered(node: &Node, ids: &[MessageId]) -> anyhow::Result<()> {
    for id in ids.iter().step_by(100) {
        node.wait_for(*id, DeliveryState::Delivered).await?;
    }
    Ok(())
}

/// Makes the stores update their search index now. Otherwise they would do it during the rival's
/// round.
pub(crate) async fn index(nodes: &[&Node]) -> anyhow::Result<()> {
    for node in nodes {
        node.history(HistoryQuery {
            search: Some("nothing".to_owned()),
            limit: Some(1),
            ..HistoryQuery::default()
        })
        .await?;
    }
    Ok(())
}

/// Reads the events of a node and counts messages, like a user interface.
#[derive(Debug, Clone)]
pub(crate) struct Reader(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    messages: AtomicUsize,
    missed: AtomicUsize,
    more: Notify,
}

impl Reader {
    pub(crate) fn of(node: &Node) -> Self {
        let counts = Arc::new(Counts::default());
        let (mut events, reader) = (node.events(), Self(Arc::clone(&counts)));
        tokio::spawn(async move {
            loop {
                match events.next().await {
                    Ok(Event::Message(_)) => drop(counts.messages.fetch_add(1, Ordering::Relaxed)),
                    Ok(_) => {}
                    Err(Lagged::Behind(missed)) => {
                        counts.missed.fetch_add(
                            usize::try_from(missed).unwrap_or_default(),
                            Ordering::Relaxed,
                        );
                    }
                    Err(Lagged::Stopped) => return,
                }
                counts.more.notify_one();
            }
        });
        reader
    }

    /// Number of messages and missed events so far.
    pub(crate) fn count(&self) -> usize {
        self.0.messages.load(Ordering::Relaxed) + self.missed()
    }

    /// Number of events that the reader missed because it was too slow.
    pub(crate) fn missed(&self) -> usize {
        self.0.missed.load(Ordering::Relaxed)
    }

    /// Waits until the node has received this many messages.
    pub(crate) async fn has(&self, count: usize) {
        while self.count() < count {
            self.0.more.notified().await;
        }
    }
}
