//! magic-wormhole, with a mailbox server of our own on loopback; its content goes from one end to the other without a helper.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

use super::{Memory, took};

/// The server by which two ends find each other.
pub(super) struct Wormhole {
    mailbox: Child,
    at: SocketAddr,
    sent: u32,
}

impl Wormhole {
    pub(super) async fn start(memory: &Memory) -> anyhow::Result<Self> {
        let at = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.local_addr()?;
        let there = Command::new("wormhole").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        ensure!(there.is_ok_and(|status| status.success()), "the package magic-wormhole is not installed");
        let mut command = Command::new("twist3");
        command.args(["wormhole-mailbox", "--channel-db=:memory:", &format!("--port=tcp:{}:interface=127.0.0.1", at.port())]);
        command.current_dir(memory.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mailbox = command.spawn().context("the package python3-magic-wormhole-mailbox-server is not installed")?;
        let wormhole = Self { mailbox, at, sent: 0 };
        for _ in 0..500 {
            if TcpStream::connect(at).await.is_ok() {
                return Ok(wormhole);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::bail!("the mailbox server does not listen");
    }

    /// How long it took from when the receiver was started; the sender waits for it already. It checks a hash of its own.
    pub(super) async fn copy(&mut self, memory: &Memory) -> anyhow::Result<Duration> {
        self.sent += 1;
        let code = format!("{}-bench-file", self.sent);
        let to = memory.landed.join("by-wormhole");
        let mut sender = self.end("send").args(["--code", &code]).arg(&memory.file).stderr(Stdio::piped()).spawn()?;
        let mut says = BufReader::new(sender.stderr.take().context("a pipe")?).lines();
        while !says.next_line().await?.context("its sender has ended")?.starts_with("Wormhole code is") {}
        let mut receiver = self.end("receive");
        receiver.args(["--accept-file", "--output-file"]).arg(&to).arg(&code).stderr(Stdio::null());
        let took = took(async {
            ensure!(receiver.status().await?.success(), "its receiver failed");
            Ok(())
        });
        let took = took.await?;
        memory.check(to).await?;
        // It says that all was received, and ends only when it could.
        while says.next_line().await?.is_some() {}
        ensure!(sender.wait().await?.success(), "its sender failed");
        Ok(took)
    }

    /// One of the two. Its helper for those who can't meet is never needed, and is not asked for: nothing listens there.
    fn end(&self, what: &str) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("wormhole");
        command.args([
            "--relay-url",
            &format!("ws://{}/v1", self.at),
            "--transit-helper",
            "tcp:127.0.0.1:1",
            what,
            "--hide-progress",
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        command
    }
}

impl Drop for Wormhole {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.mailbox.kill();
        let _ = self.mailbox.wait();
    }
}
