//! Benchmarks of mail: a message deposited at a holder, many messages fetched, and the memory of a
//! relay that holds mail for many people. The relay is a separate process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use hobnob::protocol::{Body, Target};
use hobnob::{DeliveryState, MessageId, Node};
use hobnob_tests::lab::Stopwatch;
use rusqlite::{Connection, OpenFlags};

use super::median_us;
use crate::nodes;
use crate::plan::Plan;
use crate::relay::Relay;
use crate::report::{Aim, Report};
use crate::rivals::bare_quinn::Echo;
use crate::rivals::bare_sqlite::Table;
use crate::stats::Samples;
use crate::turns::Contest;

const BYTES: usize = 64;

/// Interval between two looks at the relay's database.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The authors of what is fetched. Each may have at most 8 MiB at a holder.
const AUTHORS: usize = 4;

/// Bytes of an envelope with one message, nearly.
const ENVELOPE: usize = 2_300;

/// All who may deposit mail for somebody.
const SENDERS: &str = "SELECT count(*) FROM senders";

/// A relay that holds mail.
struct Holder {
    relay: Relay,
    dir: PathBuf,
    mail: PathBuf,
}

impl Holder {
    fn start(dir: PathBuf) -> anyhow::Result<Self> {
        let mail = dir.join("mail");
        let relay = Relay::with_mailbox(&dir.join("relay"), &mail)?;
        Ok(Self { relay, dir, mail })
    }

    /// Starts a node that uses the relay.
    async fn node(&self, nick: &str) -> anyhow::Result<Node> {
        let relay = format!("{}@{}", self.relay.id, self.relay.addr);
        let node = Node::builder(self.dir.join(nick)).nick(nick.parse()?);
        Ok(node.loopback().relay(relay.parse()?).start().await?)
    }

    /// Starts Bob and these contacts of his, who may deposit mail for him, and stops Bob.
    async fn contacts_of_bob(&self, nicks: &[String]) -> anyhow::Result<(Target, Vec<Node>)> {
        let before = self.count(SENDERS)?;
        let bob = self.node("bob").await?;
        let mut contacts = Vec::new();
        for nick in nicks {
            let contact = self.node(nick).await?;
            let peer = contact.resolve(nodes::address(&bob).await?).await?;
            nodes::deliver(&contact, peer, &nodes::text(BYTES)).await?;
            nodes::deliver(&bob, contact.id(), &nodes::text(BYTES)).await?;
            contacts.push(contact);
        }
        // One for each contact of Bob's, and Bob for each of them.
        let senders = before + i64::try_from(2 * contacts.len())?;
        while self.count(SENDERS)? < senders {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let id = Target::Id(bob.id());
        bob.shutdown().await;
        Ok((id, contacts))
    }

    /// Starts the relay again.
    fn restart(self) -> anyhow::Result<Self> {
        let relay = self.relay.restart()?;
        Ok(Self { relay, ..self })
    }

    fn count(&self, sql: &str) -> anyhow::Result<i64> {
        let file = self.mail.join("mailbox.db");
        let db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(db.query_row(sql, [], |row| row.get(0))?)
    }
}

/// Sends one message to somebody who is away, and waits until it is held.
async fn deposit(node: &Node, to: &Target, body: &Body) -> anyhow::Result<()> {
    let sent = node.send(to.clone(), body.clone()).await?;
    node.wait_for(sent.id, DeliveryState::Held).await?;
    Ok(())
}

/// One message at a time, from `send` until the holder's answer.
pub(crate) async fn deposits(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    // All of them fit the mailbox: a round has at most `times` envelopes.
    let (rounds, times) = (plan.pick(4, 12), plan.pick(50, 200));
    let holder = Holder::start(plan.folder("mail-deposit")?)?;
    let (bob, authors) = holder.contacts_of_bob(&["ann".to_owned()]).await?;
    let (ann, body) = (&authors[0], nodes::text(BYTES));
    deposit(ann, &bob, &body).await?;
    let table = Table::new(&holder.dir.join("bare.db"))?;
    let mut echo = plan.rival(Echo::new(ENVELOPE)).await;
    let contest = Contest {
        ours: "a message at a holder, from sending to its answer, p50",
        theirs: "two bare SQLite commits, synchronous=FULL, and a bare quinn round trip, p50s",
        unit: "µs",
        rounds,
        aim: Aim::AtMost(1.2),
    };
    let ours = async || median_us(times, async || deposit(ann, &bob, &body).await).await;
    // Author and holder each store the message: once its text, once its envelope.
    let commit = async |bytes| median_us(times, async || table.commit(&vec![7; bytes])).await;
    let theirs = echo.as_mut().map(|echo| {
        async move || {
            let commits = commit(BYTES).await? + commit(ENVELOPE).await?;
            Ok(commits + median_us(times, async || echo.round_trip().await).await?)
        }
    });
    contest.run(report, ours, theirs).await?;
    stop(authors).await;
    Ok(())
}

/// Messages that were held, until the recipient has all of them on disk.
pub(crate) async fn fetches(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, many, few) = plan.pick((1, 10_000, 1_000), (3, 100_000, 12_000));
    let (mut full, mut single) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let dir = plan.folder(&format!("mail-full{round}"))?;
        full.push(fetch(dir, many, true).await?);
        let dir = plan.folder(&format!("mail-single{round}"))?;
        single.push(fetch(dir, few, false).await?);
    }
    let samples = |values| Samples::new(values).context("no rounds");
    report.line(
        format!("{many} held messages fetched, in full envelopes"),
        "/s",
        samples(full)?,
        None,
        Some(Aim::AtLeast(20_000.0)),
    );
    report.line(
        format!("{few} held messages fetched, each in an envelope of its own"),
        "/s",
        samples(single)?,
        None,
        Some(Aim::AtLeast(3_000.0)),
    );
    Ok(())
}

/// Deposits messages, and measures how many a second the recipient fetches, from its start.
async fn fetch(dir: PathBuf, count: usize, in_full: bool) -> anyhow::Result<f64> {
    let mut holder = Holder::start(dir)?;
    let nicks: Vec<String> = (0..AUTHORS).map(|n| format!("ann{n}")).collect();
    let (bob, authors) = holder.contacts_of_bob(&nicks).await?;
    if in_full {
        // What waits when the relay returns shares envelopes.
        holder.relay.end();
    }
    let mut last = Vec::new();
    for written in join_all(&authors, |author| {
        write(author, bob.clone(), count / AUTHORS, !in_full)
    }) {
        last.push(written.await??);
    }
    if in_full {
        holder = holder.restart()?;
    }
    for (author, last) in authors.iter().zip(last) {
        author.wait_for(last, DeliveryState::Held).await?;
    }
    let envelopes = usize::try_from(holder.count("SELECT count(*) FROM envelopes")?)?;
    ensure!(
        in_full == (envelopes < count / 10),
        "{count} messages are in {envelopes} envelopes"
    );
    stop(authors).await;

    let begun = Stopwatch::start();
    let bob = holder.node("bob").await?;
    // Those by which they met come first.
    let (mut messages, all) = (bob.messages(None), count + 2 * AUTHORS);
    for _ in 0..all {
        messages.next().await?;
    }
    let rate = super::many(count) / begun.elapsed().as_secs_f64();
    bob.shutdown().await;
    Ok(rate)
}

/// Starts work for each of these nodes.
fn join_all<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    nodes: &[Node],
    work: impl Fn(Node) -> F,
) -> Vec<tokio::task::JoinHandle<T>> {
    nodes
        .iter()
        .map(|node| tokio::spawn(work(node.clone())))
        .collect()
}

/// Writes messages. `each_is_held`: one after another, so that each has an envelope of its own.
async fn write(
    author: Node,
    to: Target,
    count: usize,
    each_is_held: bool,
) -> anyhow::Result<MessageId> {
    let (body, mut last) = (nodes::text(BYTES), None);
    for _ in 0..count {
        let sent = author.send(to.clone(), body.clone()).await?;
        if each_is_held {
            author.wait_for(sent.id, DeliveryState::Held).await?;
        }
        last = Some(sent.id);
    }
    last.context("no messages")
}

async fn stop(nodes: Vec<Node>) {
    for node in nodes {
        node.shutdown().await;
    }
}

/// Memory of a relay that holds mail for many people, above that of one that holds none.
pub(crate) async fn memory(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let people = plan.pick(10_000, 100_000);
    let mut each = Vec::new();
    for round in 0..plan.pick(1, 3) {
        let empty = after_work(plan.folder(&format!("mail-empty{round}"))?, 0).await?;
        let full = after_work(plan.folder(&format!("mail-memory{round}"))?, people).await?;
        each.push((full - empty) * 1024.0 / super::many(people));
    }
    report.line(
        format!("memory of a relay for each of {people} people whose mail it holds"),
        "B",
        Samples::new(each).context("no rounds")?,
        None,
        Some(Aim::AtMost(300.0)),
    );
    Ok(())
}

/// The relay's memory in KiB after it has held a message and given it to its recipient.
async fn after_work(dir: PathBuf, people: usize) -> anyhow::Result<f64> {
    let mut holder = Holder::start(dir)?;
    if people > 0 {
        holder.relay.end();
        fill(&holder.mail.join("mailbox.db"), people)?;
        holder = holder.restart()?;
    }
    let (bob, authors) = holder.contacts_of_bob(&["ann".to_owned()]).await?;
    let held = usize::try_from(holder.count("SELECT count(*) FROM recipients")?)?;
    ensure!(held == people + 2, "the relay lost recipients: {held}");
    deposit(&authors[0], &bob, &nodes::text(BYTES)).await?;
    stop(authors).await;
    let bob = holder.node("bob").await?;
    let mut messages = bob.messages(None);
    for _ in 0..3 {
        messages.next().await?;
    }
    bob.shutdown().await;
    let memory = holder.relay.memory()?;
    holder.relay.end();
    // It takes a third of a gigabyte.
    std::fs::remove_dir_all(&holder.mail)?;
    Ok(memory)
}

/// Adds recipients with one sender and one envelope each, as the relay would.
fn fill(file: &Path, people: usize) -> anyhow::Result<()> {
    let db = Connection::open(file)?;
    db.execute_batch(&format!(
        "BEGIN;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {people})
         INSERT INTO recipients (peer, record, list, key, since_ms, seen_ms, envelopes, bytes)
         SELECT randomblob(32), randomblob(1400), randomblob(32), 1, 1000 * unixepoch(),
                1000 * unixepoch(), 1, {ENVELOPE} FROM n;
         INSERT INTO senders (recipient, hash) SELECT id, randomblob(32) FROM recipients;
         INSERT INTO shares (recipient, sender, bytes)
         SELECT id, randomblob(32), {ENVELOPE} FROM recipients;
         INSERT INTO envelopes (recipient, sender, at_ms, size, bytes, hash)
         SELECT id, randomblob(32), 1000 * unixepoch(), {ENVELOPE}, zeroblob({ENVELOPE}),
                randomblob(16) FROM recipients;
         COMMIT;"
    ))?;
    Ok(())
}
