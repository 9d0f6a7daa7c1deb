//! Benchmark of throughput: durable messages from one author to one peer, and in both directions at
//! once.

use std::path::Path;

use hobnob::Node;
use hobnob::protocol::{PersonId, Target};
use hobnob_tests::lab::Stopwatch;

use super::many;
use crate::nodes::{self, Reader};
use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::rivals::nats::{Acks, JetStream, Subject};
use crate::stats::Samples;
use crate::turns::{Contest, alone};

const BYTES: usize = 64;

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, count) = (plan.pick(3, 8), plan.pick(20_000, 100_000));
    let ours = &mut Ours::new(&plan.folder("many")?, count).await?;
    let dir = plan.folder("nats")?;
    let mut theirs = plan.rival(Theirs::new(&dir, count)).await;
    let one_way = Contest {
        ours: "hobnob, one author to one peer, on both disks",
        theirs: "JetStream: publish, consume, ack each; no sync to disk",
        unit: "/s",
        rounds,
        aim: Aim::AtLeast(2.0),
    };
    let rival = theirs
        .as_mut()
        .map(|theirs| async move || theirs.one_way(Acks::Each).await);
    one_way
        .run(report, async || ours.one_way().await, rival)
        .await?;
    if let Ok(theirs) = &mut theirs {
        let lazy = alone(rounds, async || theirs.one_way(Acks::Hundredth).await).await?;
        report.figure("JetStream, the consumer acks every hundredth", "/s", lazy);
    }
    let both_ways = Contest {
        ours: "hobnob, both directions at once, sum",
        theirs: "JetStream, two authors and two consumers, sum",
        ..one_way
    };
    let rival = theirs
        .as_mut()
        .map(|theirs| async move || theirs.both_ways().await);
    both_ways
        .run(report, async || ours.both_ways().await, rival)
        .await?;
    if let Some(indexing) = Samples::new(std::mem::take(&mut ours.indexing)) {
        report.figure(
            "hobnob, indexing a message for search at both nodes, afterwards",
            "µs",
            indexing,
        );
    }
    eprintln!(
        "  events that a reader missed because it was too slow: {}",
        ours.readers.iter().map(Reader::missed).sum::<usize>()
    );
    ours.ann.shutdown().await;
    ours.bob.shutdown().await;
    Ok(())
}

struct Ours {
    ann: Node,
    bob: Node,
    readers: [Reader; 2],
    count: usize,
    /// Time to index one message afterwards, for each round, in microseconds.
    indexing: Vec<f64>,
}

impl Ours {
    async fn new(dir: &Path, count: usize) -> anyhow::Result<Self> {
        let (ann, bob) = nodes::pair(dir).await?;
        let readers = [Reader::of(&ann), Reader::of(&bob)];
        Ok(Self {
            ann,
            bob,
            readers,
            count,
            indexing: Vec::new(),
        })
    }

    async fn one_way(&mut self) -> anyhow::Result<f64> {
        let received = self.readers[1].count();
        let begun = Stopwatch::start();
        let ids = send(&self.ann, self.bob.id(), self.count).await?;
        self.readers[1].has(received + self.count).await;
        let took = begun.elapsed().as_secs_f64();
        nodes::check_delivered(&self.ann, &ids).await?;
        self.index(self.count).await?;
        Ok(many(self.count) / took)
    }

    async fn both_ways(&mut self) -> anyhow::Result<f64> {
        let half = self.count / 2;
        let received = self.readers.each_ref().map(Reader::count);
        let begun = Stopwatch::start();
        let (there, back) = tokio::join!(
            send(&self.ann, self.bob.id(), half),
            send(&self.bob, self.ann.id(), half)
        );
        for (reader, received) in self.readers.iter().zip(received) {
            reader.has(received + half).await;
        }
        let took = begun.elapsed().as_secs_f64();
        nodes::check_delivered(&self.ann, &there?).await?;
        nodes::check_delivered(&self.bob, &back?).await?;
        self.index(2 * half).await?;
        Ok(many(2 * half) / took)
    }

    async fn index(&mut self, messages: usize) -> anyhow::Result<()> {
        let begun = Stopwatch::start();
        nodes::index(&[&self.ann, &self.bob]).await?;
        self.indexing
            .push(begun.elapsed().as_secs_f64() * 1e6 / many(messages));
        Ok(())
    }
}

async fn send(from: &Node, to: PersonId, count: usize) -> anyhow::Result<Vec<hobnob::MessageId>> {
    nodes::send_all(from, count, move |node| async move {
        Ok(node.send(Target::Id(to), nodes::text(BYTES)).await?.id)
    })
    .await
}

struct Theirs {
    _server: JetStream,
    each: Subject,
    back: Subject,
    hundredth: Subject,
    count: usize,
}

impl Theirs {
    async fn new(dir: &Path, count: usize) -> anyhow::Result<Self> {
        let server = JetStream::start(dir).await?;
        let each = server.subject("each", Acks::Each).await?;
        let back = server.subject("back", Acks::Each).await?;
        let hundredth = server.subject("hundredth", Acks::Hundredth).await?;
        Ok(Self {
            _server: server,
            each,
            back,
            hundredth,
            count,
        })
    }

    async fn one_way(&mut self, acks: Acks) -> anyhow::Result<f64> {
        let subject = match acks {
            Acks::Each => &mut self.each,
            Acks::Hundredth => &mut self.hundredth,
        };
        let begun = Stopwatch::start();
        subject.pass(self.count, BYTES, acks).await?;
        Ok(many(self.count) / begun.elapsed().as_secs_f64())
    }

    async fn both_ways(&mut self) -> anyhow::Result<f64> {
        let half = self.count / 2;
        let begun = Stopwatch::start();
        let (each, back) = (
            self.each.pass(half, BYTES, Acks::Each),
            self.back.pass(half, BYTES, Acks::Each),
        );
        tokio::try_join!(each, back)?;
        Ok(many(2 * half) / begun.elapsed().as_secs_f64())
    }
}
