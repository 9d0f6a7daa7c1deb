//! A rival's server: a child process that is killed when this value is dropped.

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
    /// Starts the server. Its output is written to a file, which the error message contains if the
    /// server does not start.
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

    /// Waits until the server listens at an address. Returns a connection to it.
    pub(crate) async fn listens(&self, at: SocketAddr) -> anyhow::Result<TcpStream> {
        self.starts(async || TcpStream::connect(at).await.ok())
            .await
    }

    /// Waits until `sign` returns a value, by polling, because the server does not report that it
    /// is ready.
    pub(super) async fn starts<T>(
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
        bail!("{} did not start within ten seconds: {log}", self.package)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free address, for a server that cannot choose a free port itself.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
