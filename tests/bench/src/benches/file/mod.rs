//! A large file from one node to another, from memory to memory, hash checked; and what it does to the chat beside it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use hobnob::protocol::Target;
use hobnob::{DeliveryState, Event, FileState, FilesConfig, Node};
use hobnob_tests::lab::Stopwatch;
use tempfile::TempDir;

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
    let pair = Pair::new(plan.dir(), memory).await?;
    for (theirs, rival, aim) in [
        ("bare quinn, one stream, hashed as it comes", Rival::Quinn(plan.rival(Bulk::new(&memory.file)).await), Aim::AtLeast(0.8)),
        ("scp, OpenSSH", Rival::Scp(plan.rival(async { Scp::start(memory) }).await), Aim::AtLeast(3.0)),
    ] {
        let contest = Contest { ours: "hobnob, a file accepted, until it is there", theirs, unit: "MiB/s", rounds, aim };
        let ours = async || pair.fetch(memory, mib).await;
        match rival {
            Rival::Quinn(mut bulk) => {
                let theirs = bulk.as_mut().map(|bulk| async move || rate(mib, async || bulk.run(&memory.landed).await).await);
                contest.run(report, ours, theirs).await?;
            }
            Rival::Scp(mut scp) => {
                let theirs = scp.as_mut().map(|scp| async move || rate(mib, async || scp.copy(memory).await).await);
                contest.run(report, ours, theirs).await?;
            }
        }
    }
    let read = alone(rounds, async || rate(mib, async || pair.offer(memory).await.map(drop)).await).await?;
    report.figure("hobnob, a file offered: read, hashed, its entry delivered", "MiB/s", read);
    beside_the_chat(&pair, memory, rounds, report).await
}

enum Rival {
    Quinn(anyhow::Result<Bulk>),
    Scp(anyhow::Result<Scp>),
}

/// How long a message takes to be delivered, with and without a transfer beside it.
async fn beside_the_chat(pair: &Pair, memory: &Memory, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    const TIMES: usize = 40;
    let contest = Contest {
        ours: "a message, send to receipt, while a file comes, p50",
        theirs: "and while none does, p50",
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
        fs::remove_file(memory.landed.join(FILE)).ok();
        Ok(took)
    };
    contest.run(report, busy, Ok(async || median_us(TIMES, async || pair.chat().await).await)).await
}

async fn rate(mib: u32, once: impl AsyncFnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let begun = Stopwatch::start();
    once().await?;
    Ok(f64::from(mib) / begun.elapsed().as_secs_f64())
}

const FILE: &str = "file";

/// A file in memory, and a folder there for what comes.
struct Memory {
    dir: TempDir,
    file: PathBuf,
    landed: PathBuf,
}

impl Memory {
    fn new(mib: u32) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("hobnob-bench-").tempdir_in("/dev/shm")?;
        let (file, landed) = (dir.path().join(FILE), dir.path().join("landed"));
        fs::create_dir(&landed)?;
        let (mut from, mut to) = (File::open("/dev/urandom")?.take(u64::from(mib) << 20), File::create(&file)?);
        std::io::copy(&mut from, &mut to)?;
        to.flush()?;
        Ok(Self { dir, file, landed })
    }
}

/// Two nodes that have met; what bob accepts goes to memory.
struct Pair {
    ann: Node,
    bob: Node,
}

impl Pair {
    async fn new(dir: &Path, memory: &Memory) -> anyhow::Result<Self> {
        let ann = nodes::start(&dir.join("files"), "ann").await?;
        let bob = Node::builder(dir.join("files/bob")).nick("bob".parse()?).loopback();
        let bob = bob.files(FilesConfig::new(memory.landed.clone())).start().await?;
        ann.send(nodes::address(&bob).await?, "hi".into()).await?;
        Ok(Self { ann, bob })
    }

    async fn chat(&self) -> anyhow::Result<()> {
        let sent = self.ann.send(Target::Id(self.bob.id()), "hi".into()).await?;
        self.ann.wait_for(sent.id, DeliveryState::Delivered).await?;
        Ok(())
    }

    async fn offer(&self, memory: &Memory) -> anyhow::Result<hobnob::MessageId> {
        let sent = self.ann.offer(Target::Id(self.bob.id()), memory.file.clone()).await?;
        self.ann.wait_for(sent.id, DeliveryState::Delivered).await?;
        Ok(sent.id)
    }

    async fn fetch(&self, memory: &Memory, mib: u32) -> anyhow::Result<f64> {
        let id = self.offer(memory).await?;
        let mut events = self.bob.events();
        let rate = rate(mib, async || {
            self.bob.accept(id).await?;
            until(&mut events, id, FileState::Done).await
        })
        .await?;
        fs::remove_file(memory.landed.join(FILE))?;
        Ok(rate)
    }
}

async fn until(events: &mut hobnob::Events, id: hobnob::MessageId, state: FileState) -> anyhow::Result<()> {
    loop {
        if let Event::File(file) = events.next().await?
            && file.id == id
        {
            ensure!(file.state != FileState::Failed, "the transfer failed: {:?}", file.why);
            if file.state == state {
                return Ok(());
            }
        }
    }
}

/// An sshd of our own on loopback, with keys of its own.
struct Scp {
    server: Child,
    port: u16,
    dir: PathBuf,
}

impl Scp {
    fn start(memory: &Memory) -> anyhow::Result<Self> {
        let dir = memory.dir.path().join("ssh");
        fs::create_dir(&dir)?;
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(dir.join(key)).status()?;
            ensure!(made.success(), "ssh-keygen failed");
        }
        let port = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.local_addr()?.port();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {0}/host\nAuthorizedKeysFile {0}/user.pub\nStrictModes no\nUsePAM no\n\
             PidFile none\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n",
            dir.display()
        );
        fs::write(dir.join("sshd_config"), config)?;
        // sshd insists on a full path of its own, and on this folder.
        fs::create_dir_all("/run/sshd").ok();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(dir.join("sshd_config")).stderr(Stdio::null());
        let server = command.spawn().context("the package openssh-server is not installed")?;
        Ok(Self { server, port, dir })
    }

    async fn copy(&mut self, memory: &Memory) -> anyhow::Result<()> {
        let to = memory.landed.join("by-scp");
        let mut command = tokio::process::Command::new("scp");
        command.args(["-q", "-P", &self.port.to_string(), "-i"]).arg(self.dir.join("user"));
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectionAttempts=10"]);
        let copied = command.arg(&memory.file).arg(format!("127.0.0.1:{}", to.display())).stderr(Stdio::null()).status();
        let copied = tokio::time::timeout(Duration::from_secs(60), copied).await??;
        ensure!(copied.success(), "scp failed");
        // Checked, as the others are.
        let hash = async |path: PathBuf| tokio::task::spawn_blocking(move || hash_of(&path)).await?;
        ensure!(hash(to.clone()).await? == hash(memory.file.clone()).await?, "the copy differs");
        fs::remove_file(to)?;
        Ok(())
    }
}

impl Drop for Scp {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn hash_of(path: &Path) -> anyhow::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize())
}
