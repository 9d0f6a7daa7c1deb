//! Fixtures of the relay's benchmarks: a relay process, and minimal peers.

mod carrier;
mod crowd;
mod load;
mod peer;
mod sleepers;
mod stream_socket;
mod streams;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use hobnob_protocol::DeviceId;
use serde_json::Value;

pub(crate) use crowd::Crowd;
pub(crate) use load::{INNER, Load, Offer};
pub(crate) use peer::{Pair, Peer};
pub(crate) use sleepers::{BEAT_EVERY, Sleepers};

/// A `hobnob relay` process.
#[derive(Debug)]
pub(crate) struct Relay {
    child: Child,
    home: PathBuf,
    mail: Option<PathBuf>,
    pub(crate) id: DeviceId,
    pub(crate) addr: SocketAddr,
}

impl Relay {
    /// Starts a relay on a free port.
    pub(crate) fn start(home: &Path) -> anyhow::Result<Self> {
        Self::start_at(home, None, "127.0.0.1:0".parse()?, &[])
    }

    /// Starts a relay on a free port that admits this many peers.
    pub(crate) fn for_peers(home: &Path, peers: usize) -> anyhow::Result<Self> {
        let options = ["--peers-max", &peers.to_string()];
        Self::start_at(home, None, "127.0.0.1:0".parse()?, &options)
    }

    /// Starts a relay on a free port that holds mail in this folder.
    pub(crate) fn with_mailbox(home: &Path, mail: &Path) -> anyhow::Result<Self> {
        Self::start_at(home, Some(mail), "127.0.0.1:0".parse()?, &[])
    }

    /// Kills the relay and starts it again with the same key and address.
    pub(crate) fn restart(mut self) -> anyhow::Result<Self> {
        self.end();
        let (home, mail) = (self.home.clone(), self.mail.clone());
        Self::start_at(&home, mail.as_deref(), self.addr, &[])
    }

    fn start_at(
        home: &Path,
        mail: Option<&Path>,
        listen: SocketAddr,
        options: &[&str],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(home)?;
        let program =
            std::env::var_os("HOBNOB_BIN").context("HOBNOB_BIN is not set: run scripts/bench")?;
        let mut command = Command::new(program);
        command
            .arg("--home")
            .arg(home)
            .args(["--listen", &listen.to_string(), "--json", "relay"])
            .args(options);
        if let Some(mail) = mail {
            command
                .arg("--mailbox")
                .arg(mail)
                .args(["--mailbox-max", "4G"]);
        }
        let log = std::fs::File::create(home.join("log"))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
        let listening: Value = serde_json::from_str(&line)
            .with_context(|| format!("the relay did not start: {line:?}"))?;
        let text = |value: &Value| {
            value
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("in {line:?}"))
        };
        let (id, addr) = (
            text(&listening["relay"])?.parse()?,
            text(&listening["addrs"][0])?.parse()?,
        );
        Ok(Self {
            child,
            home: home.to_owned(),
            mail: mail.map(Path::to_owned),
            id,
            addr,
        })
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time that the relay has used so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu(self.child.id())
    }

    /// Memory that the relay uses now, in KiB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Kills the relay.
    pub(crate) fn end(&mut self) {
        // The process may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.end();
    }
}

/// Processor time that the running threads of a process have used so far.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end during the loop.
        let stat = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanos += stat
            .split(' ')
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanos))
}

/// Restricts all current threads of a process to one processor, or lets them run on any.
pub(crate) fn pin(pid: u32, processor: Option<usize>) -> anyhow::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for number in processor.map_or(0..rustix::thread::CpuSet::MAX_CPU, |one| one..one + 1) {
        set.set(number);
    }
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let id = task?.file_name().to_string_lossy().parse()?;
        // A thread may end during the loop.
        let _ = rustix::thread::sched_setaffinity(rustix::thread::Pid::from_raw(id), &set);
    }
    Ok(())
}
