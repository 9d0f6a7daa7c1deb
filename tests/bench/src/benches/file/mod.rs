//! Benchmarks of a large file from one node to another, from memory to memory, hash checked; and of
//! messages during a transfer.

pub(super) mod compressed;
pub(super) mod far;
pub(super) mod relayed;
mod scp;
mod wormhole;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use hobnob::protocol::Target;
use hobnob::{Builder, DeliveryState, Event, FileState, FilesConfig, Node};
use hobnob_tests::lab::Stopwatch;
use tempfile::TempDir;

use self::scp::Scp;
use self::wormhole::Wormhole;
use super::median_us;
use crate::nodes;
use crate::plan::Plan;
use crate::report::{Aim, Report};
use crate::rivals::bare_quinn::Bulk;
use crate::turns::{Contest, alone};

pub(crate) async fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mib = plan.pick(128, 1024);
    let rounds = plan.pick(2, 5);
    let memory = &Memory::new(mib)?;
    let pair = Pair::new(plan.dir(), memory, |builder| builder).await?;
    pair.meet(nodes::address(&pair.bob).await?).await?;
    for (theirs, mut rival, aim) in [
        (
            "bare quinn, one stream, hashed on arrival",
            plan.rival(async { Ok(Rival::Quinn(Bulk::new(&memory.file).await?)) })
                .await,
            Aim::AtLeast(0.8),
        ),
        (
            "scp of OpenSSH, then hashed",
            plan.rival(async { Ok(Rival::Scp(Scp::start(memory).await?)) })
                .await,
            Aim::AtLeast(3.0),
        ),
        (
            "magic-wormhole, from starting the receiver",
            plan.rival(async { Ok(Rival::Wormhole(Wormhole::start(memory).await?)) })
                .await,
            Aim::AtLeast(3.0),
        ),
    ] {
        let contest = Contest {
            ours: "hobnob, a file, from accepting it until it is complete",
            theirs,
            unit: "MiB/s",
            rounds,
            aim,
        };
        let theirs = rival
            .as_mut()
            .map(|rival| async move || Ok(rate(mib, rival.copy(memory).await?)));
        contest
            .run(report, async || pair.fetch(memory, mib).await, theirs)
            .await?;
    }
    let read = alone(rounds, async || {
        Ok(rate(
            mib,
            took(async { pair.offer(memory).await.map(drop) }).await?,
        ))
    })
    .await?;
    report.figure(
        "hobnob, offering a file: read, hash, deliver the entry",
        "MiB/s",
        read,
    );
    messages_during_transfer(&pair, memory, rounds, report).await
}

enum Rival {
    Quinn(Bulk),
    Scp(Scp),
    Wormhole(Wormhole),
}

impl Rival {
    /// Copies the file and returns how long it took.
    async fn copy(&mut self, memory: &Memory) -> anyhow::Result<Duration> {
        match self {
            Self::Quinn(bulk) => took(bulk.run(&memory.received)).await,
            Self::Scp(scp) => took(scp.copy(memory)).await,
            Self::Wormhole(wormhole) => wormhole.copy(memory).await,
        }
    }
}

/// Measures the delivery time of a message, with and without a transfer at the same time.
async fn messages_during_transfer(
    pair: &Pair,
    memory: &Memory,
    rounds: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    const TIMES: usize = 40;
    let contest = Contest {
        ours: "a message, send to receipt, during a transfer, p50",
        theirs: "the same without a transfer, p50",
        unit: "µs",
        rounds,
        aim: Aim::AtMost(1.5),
    };
    let busy = async || {
        let id = pair.offer(memory).await?;
        let mut events = pair.bob.events();
        pair.bob.accept(id).await?;
        until(&mut events, id, FileState::Moving).await?;
        let took = median_us(TIMES, async || pair.chat().await).await?;
        pair.bob.decline(id).await.ok();
        fs::remove_file(memory.received.join(FILE)).ok();
        Ok(took)
    };
    contest
        .run(
            report,
            busy,
            Ok(async || median_us(TIMES, async || pair.chat().await).await),
        )
        .await
}

async fn took(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Duration> {
    let begun = Stopwatch::start();
    work.await?;
    Ok(begun.elapsed())
}

fn rate(mib: u32, took: Duration) -> f64 {
    f64::from(mib) / took.as_secs_f64()
}

const FILE: &str = "file";

/// A file in memory, its hash, and a folder in memory for received files.
struct Memory {
    dir: TempDir,
    file: PathBuf,
    received: PathBuf,
    hash: blake3::Hash,
}

impl Memory {
    /// Random bytes, which nothing makes shorter.
    fn new(mib: u32) -> anyhow::Result<Self> {
        Self::of(File::open("/dev/urandom")?.take(u64::from(mib) << 20))
    }

    /// A file with all bytes of a reader.
    fn of(mut from: impl Read) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("hobnob-bench-")
            .tempdir_in("/dev/shm")?;
        let (file, received) = (dir.path().join(FILE), dir.path().join("received"));
        fs::create_dir(&received)?;
        let mut to = File::create(&file)?;
        std::io::copy(&mut from, &mut to)?;
        to.flush()?;
        let hash = hash_of(&file)?;
        Ok(Self {
            dir,
            file,
            received,
            hash,
        })
    }

    /// Checks the hash of a copy, as the other programs do, and deletes the copy.
    async fn check(&self, copy: PathBuf) -> anyhow::Result<()> {
        let hash = tokio::task::spawn_blocking({
            let copy = copy.clone();
            move || hash_of(&copy)
        });
        ensure!(hash.await?? == self.hash, "the copy differs");
        Ok(fs::remove_file(copy)?)
    }
}

/// Two nodes. Bob's downloads folder is in memory.
struct Pair {
    ann: Node,
    bob: Node,
}

impl Pair {
    async fn new(
        dir: &Path,
        memory: &Memory,
        how: impl Fn(Builder) -> Builder,
    ) -> anyhow::Result<Self> {
        let start = async |nick: &str| {
            let builder = Node::builder(dir.join("files").join(nick))
                .nick(nick.parse()?)
                .loopback();
            let files = FilesConfig::new(memory.received.clone());
            anyhow::Ok(how(builder).files(files).start().await?)
        };
        Ok(Self {
            ann: start("ann").await?,
            bob: start("bob").await?,
        })
    }

    async fn meet(&self, bob: Target) -> anyhow::Result<()> {
        let sent = self.ann.send(bob, "hi".into()).await?;
        self.ann.wait_for(sent.id, DeliveryState::Delivered).await?;
        Ok(())
    }

    async fn chat(&self) -> anyhow::Result<()> {
        let sent = self
            .ann
            .send(Target::Id(self.bob.id()), "hi".into())
            .await?;
        self.ann.wait_for(sent.id, DeliveryState::Delivered).await?;
        Ok(())
    }

    async fn offer(&self, memory: &Memory) -> anyhow::Result<hobnob::MessageId> {
        let sent = self
            .ann
            .offer(Target::Id(self.bob.id()), memory.file.clone())
            .await?;
        self.ann.wait_for(sent.id, DeliveryState::Delivered).await?;
        Ok(sent.id)
    }

    async fn fetch(&self, memory: &Memory, mib: u32) -> anyhow::Result<f64> {
        let id = self.offer(memory).await?;
        let mut events = self.bob.events();
        let took = took(async {
            self.bob.accept(id).await?;
            until(&mut events, id, FileState::Done).await
        });
        let took = took.await?;
        fs::remove_file(memory.received.join(FILE))?;
        Ok(rate(mib, took))
    }
}

async fn until(
    events: &mut hobnob::Events,
    id: hobnob::MessageId,
    state: FileState,
) -> anyhow::Result<()> {
    loop {
        if let Event::File(file) = events.next().await?
            && file.id == id
        {
            ensure!(
                file.state != FileState::Failed,
                "the transfer failed: {:?}",
                file.why
            );
            if file.state == state {
                return Ok(());
            }
        }
    }
}

fn hash_of(path: &Path) -> anyhow::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize())
}
