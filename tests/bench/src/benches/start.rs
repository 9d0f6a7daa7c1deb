//! Benchmarks of the program: its start-up time and its size.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;
use hobnob_tests::lab::{Stopwatch, hobnob_binary};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::plan::Plan;
use crate::report::Report;
use crate::stats::Samples;

pub(crate) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let dir = plan.folder("start")?;
    let (mut new, mut known) = (Vec::new(), Vec::new());
    for round in 0..=plan.pick(5, 20) {
        let home = dir.join(format!("home{round}"));
        for times in [&mut new, &mut known] {
            let begun = Stopwatch::start();
            let program = Program::start(&home, &["--no-mdns", "--listen", "127.0.0.1:0"])?;
            let took = begun.elapsed();
            program.terminate()?;
            if round > 0 {
                times.push(took.as_secs_f64() * 1e3);
            }
        }
    }
    report.figure(
        "hobnob up in a new home, until it listens",
        "ms",
        Samples::new(new).context("no rounds")?,
    );
    report.figure(
        "the same in an existing home",
        "ms",
        Samples::new(known).context("no rounds")?,
    );
    Ok(())
}

pub(crate) fn size(_: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let bytes = std::fs::metadata(hobnob_binary())?.len();
    let mib = f64::from(u32::try_from(bytes / 1024)?) / 1024.0;
    report.figure(
        "the hobnob program, release build",
        "MiB",
        Samples::new(vec![mib]).context("one value")?,
    );
    Ok(())
}

/// A `hobnob up` that listens. Dropping it kills the process.
pub(super) struct Program {
    process: Child,
    listening: Value,
}

impl Program {
    /// Starts the program and waits until it reports that it listens.
    pub(super) fn start(home: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut process = Command::new(hobnob_binary())
            .args(["up", "--json", "--nick", "bench", "--home"])
            .arg(home)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = process.stdout.take().context("piped above")?;
        let mut program = Self {
            process,
            listening: Value::Null,
        };
        let mut lines = BufReader::new(out).lines();
        program.listening =
            serde_json::from_str(&lines.next().context("hobnob up printed nothing")??)?;
        anyhow::ensure!(
            program.listening["event"] == "listening",
            "expected a listening event: {}",
            program.listening
        );
        // Reads and ignores the rest of the output, so that the pipe does not fill. The thread ends
        // with the program.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(program)
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The address that the program listens at.
    pub(super) fn address(&self) -> anyhow::Result<&str> {
        self.listening["addrs"][0]
            .as_str()
            .context("the node has no address")
    }

    fn terminate(mut self) -> anyhow::Result<()> {
        let id = i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id is a positive i32")?;
        kill_process(id, Signal::TERM)?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
