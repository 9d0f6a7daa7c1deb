//! magic-wormhole with its own mailbox server on loopback. The content goes directly from the
//! sender to the receiver.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{Memory, took};
use crate::rivals::server::{Server, free_address};

/// The mailbox server, through which the two ends find each other.
pub(super) struct Wormhole {
    _mailbox: Server,
    at: SocketAddr,
    sent: u32,
}

impl Wormhole {
    pub(super) async fn start(memory: &Memory) -> anyhow::Result<Self> {
        let at = free_address()?;
        let there = Command::new("wormhole")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        ensure!(
            there.is_ok_and(|status| status.success()),
            "the package magic-wormhole is not installed"
        );
        let mut command = Command::new("twist3");
        command.args([
            "wormhole-mailbox",
            "--channel-db=:memory:",
            &format!("--port=tcp:{}:interface=127.0.0.1", at.port()),
        ]);
        let log = memory.dir.path().join("mailbox-log");
        let package = "python3-magic-wormhole-mailbox-server";
        let mailbox = Server::start(command.current_dir(memory.dir.path()), package, log)?;
        mailbox.listens(at).await?;
        Ok(Self {
            _mailbox: mailbox,
            at,
            sent: 0,
        })
    }

    /// Starts a sender, then a receiver. Returns the time since the start of the receiver.
    /// magic-wormhole checks its own hash.
    pub(super) async fn copy(&mut self, memory: &Memory) -> anyhow::Result<Duration> {
        self.sent += 1;
        let code = format!("{}-bench-file", self.sent);
        let to = memory.received.join("by-wormhole");
        let mut sender = self
            .end("send")
            .args(["--code", &code])
            .arg(&memory.file)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(sender.stderr.take().context("a pipe")?).lines();
        while !output
            .next_line()
            .await?
            .context("wormhole send has exited")?
            .starts_with("Wormhole code is")
        {}
        let mut receiver = self.end("receive");
        receiver
            .args(["--accept-file", "--output-file"])
            .arg(&to)
            .arg(&code)
            .stderr(Stdio::null());
        let took = took(async {
            ensure!(
                receiver.status().await?.success(),
                "wormhole receive failed"
            );
            Ok(())
        });
        let took = took.await?;
        memory.check(to).await?;
        // The sender prints a confirmation. It would block on a full pipe, so the rest is read.
        while output.next_line().await?.is_some() {}
        ensure!(sender.wait().await?.success(), "wormhole send failed");
        Ok(took)
    }

    /// The command of one end. The transit helper is for ends without a direct path. It is not used
    /// here, so no server listens at its address.
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
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);
        command
    }
}
