//! iroh and its relay: the program in `tests/bench/iroh`, which is built separately.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A relay and two endpoints that reach each other only through it.
pub(crate) struct Iroh {
    relay: Program,
    pair: Program,
}

/// A process of the program in one of its two roles. Dropping this value kills the process.
struct Program {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    input: ChildStdin,
}

impl Iroh {
    pub(crate) async fn start(target: &Path) -> anyhow::Result<Self> {
        let program = target.join("release/hobnob-bench-iroh");
        ensure!(program.exists(), "not built: scripts/bench relay builds it");
        let mut relay = Program::start(&program, &["relay"])?;
        let url = relay.line().await?;
        let mut pair = Program::start(&program, &["pair", &url])?;
        ensure!(
            pair.line().await? == "ready",
            "iroh's endpoints did not connect"
        );
        Ok(Self { relay, pair })
    }

    /// Sends this many bytes. Returns the seconds until the receiver had them.
    pub(crate) async fn bulk(&mut self, bytes: u64) -> anyhow::Result<f64> {
        self.pair.ask(&format!("bulk {bytes}\n")).await
    }

    /// Makes `count` round trips. Returns the median in microseconds.
    pub(crate) async fn echo(&mut self, count: usize, bytes: u64) -> anyhow::Result<f64> {
        self.pair.ask(&format!("echo {count} {bytes}\n")).await
    }

    /// Processor time that the relay has used so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<std::time::Duration> {
        crate::relay::cpu(self.relay.child.id().context("iroh's relay has exited")?)
    }
}

impl Program {
    fn start(program: &PathBuf, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let input = child.stdin.take().context("a pipe")?;
        Ok(Self {
            child,
            output,
            input,
        })
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        self.output
            .next_line()
            .await?
            .context("iroh's process has exited")
    }

    async fn ask(&mut self, what: &str) -> anyhow::Result<f64> {
        self.input.write_all(what.as_bytes()).await?;
        Ok(self.line().await?.parse()?)
    }
}
