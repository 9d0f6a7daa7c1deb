//! scp with its own sshd on loopback.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::ensure;

use super::Memory;
use crate::rivals::server::{Server, free_address};

/// An sshd on loopback with new keys.
pub(super) struct Scp {
    _server: Server,
    addr: SocketAddr,
    dir: PathBuf,
}

impl Scp {
    pub(super) async fn start(memory: &Memory) -> anyhow::Result<Self> {
        let dir = memory.dir.path().join("ssh");
        fs::create_dir(&dir)?;
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(dir.join(key))
                .status()?;
            ensure!(made.success(), "ssh-keygen failed");
        }
        let at = free_address()?;
        let config = format!(
            "ListenAddress {at}\nHostKey {0}/host\nAuthorizedKeysFile {0}/user.pub\nStrictModes no\nUsePAM no\n\
             PidFile none\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n",
            dir.display()
        );
        fs::write(dir.join("sshd_config"), config)?;
        // sshd must be started by its full path, and requires this folder.
        fs::create_dir_all("/run/sshd").ok();
        let mut command = Command::new("/usr/sbin/sshd");
        command
            .args(["-D", "-e", "-f"])
            .arg(dir.join("sshd_config"));
        let server = Server::start(&mut command, "openssh-server", dir.join("log"))?;
        server.listens(at).await?;
        Ok(Self {
            _server: server,
            addr: at,
            dir,
        })
    }

    /// Where its sshd listens.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) async fn copy(&mut self, memory: &Memory) -> anyhow::Result<()> {
        self.copy_at(memory, self.addr, &[]).await
    }

    /// Copies with compression, over another way to its sshd if one is given.
    pub(super) async fn copy_compressed(
        &mut self,
        memory: &Memory,
        way: Option<SocketAddr>,
    ) -> anyhow::Result<()> {
        self.copy_at(memory, way.unwrap_or(self.addr), &["-C"])
            .await
    }

    async fn copy_at(
        &mut self,
        memory: &Memory,
        at: SocketAddr,
        options: &[&str],
    ) -> anyhow::Result<()> {
        let to = memory.received.join("by-scp");
        let mut command = tokio::process::Command::new("scp");
        command
            .args(options)
            .args(["-q", "-P", &at.port().to_string(), "-i"])
            .arg(self.dir.join("user"));
        command.args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]);
        let copied = command
            .arg(&memory.file)
            .arg(format!("127.0.0.1:{}", to.display()))
            .stderr(Stdio::null())
            .status();
        let copied = tokio::time::timeout(Duration::from_secs(60), copied).await??;
        ensure!(copied.success(), "scp failed");
        memory.check(to).await
    }
}
