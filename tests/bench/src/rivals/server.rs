//! A rival's server: a child process that ends with this value.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

#[derive(Debug)]
pub(super) struct Server(Child);

impl Server {
    /// Starts it, its output in a file, for whoever wonders why it did not come up.
    pub(super) fn start(command: &mut Command, package: &str, log: &Path) -> anyhow::Result<Self> {
        let log = std::fs::File::create(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        Ok(Self(child.with_context(|| format!("no {package} on this system: apt-get install {package}"))?))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
