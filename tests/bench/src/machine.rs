//! What this machine is, and how busy.

use std::path::Path;

use serde_json::{Value, json};

/// Whatever someone who compares figures wants to know.
pub(crate) fn describe(dir: &Path) -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({ "cores": cores, "cpu": cpu(), "kernel": read("/proc/sys/kernel/osrelease"), "disk": disk(dir), "load_before": load() })
}

/// How many programs wanted to run, on average over the last minute.
pub(crate) fn load() -> String {
    read("/proc/loadavg")
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// What the processors have done since the machine began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Time {
    all: u64,
    /// What others on the same hardware got meanwhile (proc_stat(5), `steal`).
    stolen: u64,
}

impl Time {
    pub(crate) fn now() -> Self {
        // The first eight; what follows is part of them.
        let stat = read("/proc/stat");
        let ticks: Vec<u64> = stat
            .split_whitespace()
            .skip(1)
            .take(8)
            .map_while(|word| word.parse().ok())
            .collect();
        Self {
            all: ticks.iter().sum(),
            stolen: ticks.get(7).copied().unwrap_or(0),
        }
    }

    /// How many in a hundred were stolen since then.
    pub(crate) fn percent_stolen_since(self, then: Self) -> u64 {
        (100 * self.stolen.saturating_sub(then.stolen))
            .checked_div(self.all.saturating_sub(then.all))
            .unwrap_or(0)
    }
}

fn cpu() -> String {
    let info = read("/proc/cpuinfo");
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown processor", |rest| {
        rest.trim_start_matches([' ', '\t', ':'])
    })
    .to_owned()
}

/// The kind of the file system and what it is on, for the longest mount point that holds `dir`.
fn disk(dir: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?))
    });
    let held = mounts
        .filter(|(_, at, _)| dir.starts_with(at))
        .max_by_key(|(_, at, _)| at.len());
    held.map_or("unknown".to_owned(), |(device, _, kind)| {
        format!("{kind} on {device}")
    })
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}
