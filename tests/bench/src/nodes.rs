//! Nodes of this very process, on loopback.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use hobnob::protocol::{Body, PeerId, Target};
use hobnob::{DeliveryState, Event, HistoryQuery, Lagged, MessageId, Node};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Starts a node that nobody finds by itself.
pub(crate) async fn start(dir: &Path, nick: &str) -> anyhow::Result<Node> {
    Ok(Node::builder(dir.join(nick))
        .nick(nick.parse()?)
        .loopback()
        .start()
        .await?)
}

/// Where it listens.
pub(crate) async fn address(node: &Node) -> anyhow::Result<Target> {
    let status = node.status().await?;
    Ok(status
        .addrs
        .first()
        .context("a node that does not listen")?
        .to_string()
        .parse()?)
}

/// Two that have met.
pub(crate) async fn pair(dir: &Path) -> anyhow::Result<(Node, Node)> {
    let (ann, bob) = (start(dir, "ann").await?, start(dir, "bob").await?);
    let peer = ann.resolve(address(&bob).await?).await?;
    deliver(&ann, peer, &text(64)).await?;
    deliver(&bob, ann.id(), &text(64)).await?;
    Ok((ann, bob))
}

/// One message, until it is on disk at the other end.
pub(crate) async fn deliver(from: &Node, to: PeerId, body: &Body) -> anyhow::Result<()> {
    let sent = from.send(Target::Id(to), body.clone()).await?;
    from.wait_for(sent.id, DeliveryState::Delivered).await?;
    Ok(())
}

/// So many bytes of text.
pub(crate) fn text(bytes: usize) -> Body {
    Body::Text(
        "lorem ipsum dolor sit amet "
            .chars()
            .cycle()
            .take(bytes)
            .collect(),
    )
}

/// Tasks that say something at the same time: as many messages as the clients of rivals have in
/// flight.
const AT_ONCE: usize = 8192;

/// Says `count` things, many at a time, until all are delivered; `say` says one.
pub(crate) async fn say_all<F>(
    node: &Node,
    count: usize,
    say: impl Fn(Node) -> F + Clone + Send + 'static,
) -> anyhow::Result<Vec<MessageId>>
where
    F: Future<Output = anyhow::Result<MessageId>> + Send + 'static,
{
    let mut speakers = JoinSet::new();
    for speaker in 0..AT_ONCE {
        let share = count / AT_ONCE + usize::from(speaker < count % AT_ONCE);
        let (node, say) = (node.clone(), say.clone());
        speakers.spawn(async move {
            let mut ids = Vec::with_capacity(share);
            for _ in 0..share {
                ids.push(say(node.clone()).await?);
            }
            if let Some(last) = ids.last() {
                node.wait_for(*last, DeliveryState::Delivered).await?;
            }
            anyhow::Ok(ids)
        });
    }
    let mut ids = Vec::with_capacity(count);
    while let Some(spoken) = speakers.join_next().await {
        ids.extend(spoken??);
    }
    Ok(ids)
}

/// Checks that these are delivered, one in a hundred of them: receipts are cumulative.
pub(crate) async fn check_delivered(node: &Node, ids: &[MessageId]) -> anyhow::Result<()> {
    for id in ids.iter().step_by(100) {
        node.wait_for(*id, DeliveryState::Delivered).await?;
    }
    Ok(())
}

/// Lets the stores bring their search index up to date, which they would else do while the rival
/// has its turn.
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

/// Somebody who reads what comes to a node, as a screen or a program would.
#[derive(Debug, Clone)]
pub(crate) struct Reader(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    messages: AtomicUsize,
    missed: AtomicUsize,
    more: Notify,
}

impl Reader {
    pub(crate) fn of(node: &Node) -> Self {
        let heard = Arc::new(Heard::default());
        let (mut events, reader) = (node.events(), Self(Arc::clone(&heard)));
        tokio::spawn(async move {
            loop {
                match events.next().await {
                    Ok(Event::Message(_)) => drop(heard.messages.fetch_add(1, Ordering::Relaxed)),
                    Ok(_) => {}
                    Err(Lagged::Behind(missed)) => {
                        heard.missed.fetch_add(
                            usize::try_from(missed).unwrap_or_default(),
                            Ordering::Relaxed,
                        );
                    }
                    Err(Lagged::Stopped) => return,
                }
                heard.more.notify_one();
            }
        });
        reader
    }

    /// Messages and missed events so far.
    pub(crate) fn count(&self) -> usize {
        self.0.messages.load(Ordering::Relaxed) + self.missed()
    }

    /// Events that came faster than they were read.
    pub(crate) fn missed(&self) -> usize {
        self.0.missed.load(Ordering::Relaxed)
    }

    /// Waits until so many have come.
    pub(crate) async fn has(&self, count: usize) {
        while self.count() < count {
            self.0.more.notified().await;
        }
    }
}
