//! A rival's server: a child process that ends with this value.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    package: &'static str,
    log: PathBuf,
}

impl Server {
    /// Starts it, its output in a file, for whoever wonders why it did not come up.
    pub(crate) fn start(
        command: &mut Command,
        package: &'static str,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let out = std::fs::File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn();
        let child = child
            .with_context(|| format!("no {package} on this system: apt-get install {package}"))?;
        Ok(Self {
            child,
            package,
            log,
        })
    }

    /// Waits until it listens at an address, and gives the connection that shows it.
    pub(crate) async fn listens(&self, at: SocketAddr) -> anyhow::Result<TcpStream> {
        self.comes_up(async || TcpStream::connect(at).await.ok())
            .await
    }

    /// Waits until there is a sign of its being up, which can only be looked for: a foreign program
    /// does not tell us when.
    pub(super) async fn comes_up<T>(
        &self,
        mut sign: impl AsyncFnMut() -> Option<T>,
    ) -> anyhow::Result<T> {
        for _ in 0..500 {
            if let Some(seen) = sign().await {
                return Ok(seen);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        bail!("{} did not come up within ten seconds: {log}", self.package)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address for a server that can't be asked for any free port: one that was free just now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
