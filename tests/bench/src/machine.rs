//! Describes this machine and its load for the report.

use std::path::Path;

use serde_json::{Value, json};

/// The properties of the machine that matter for comparing results.
pub(crate) fn describe(dir: &Path) -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({ "cores": cores, "cpu": cpu(), "kernel": read("/proc/sys/kernel/osrelease"), "disk": disk(dir), "load_before": load() })
}

/// The load average of the last minute.
pub(crate) fn load() -> String {
    read("/proc/loadavg")
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// Processor time since the machine started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Time {
    all: u64,
    /// Time that other virtual machines on the same hardware used (proc_stat(5), `steal`).
    stolen: u64,
}

impl Time {
    pub(crate) fn now() -> Self {
        // Only the first eight numbers: the others are included in them.
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

    /// Percent of the time since `then` that was stolen.
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

/// The file system type and device of the longest mount point that contains `dir`.
fn disk(dir: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?))
    });
    let longest = mounts
        .filter(|(_, at, _)| dir.starts_with(at))
        .max_by_key(|(_, at, _)| at.len());
    longest.map_or("unknown".to_owned(), |(device, _, kind)| {
        format!("{kind} on {device}")
    })
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .trim_end()
        .to_owned()
}
