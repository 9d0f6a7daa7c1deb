//! What a running process and its home use.

use std::path::Path;
use std::time::Duration;

use rustix::process::Pid;

use super::memory;

/// What a process and its home use at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of memory.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Bytes of all files in the home.
    pub disk: u64,
}

impl Usage {
    pub(super) fn of(process: Pid, home: &Path) -> Self {
        let descriptors = format!("/proc/{}/fd", process.as_raw_nonzero());
        let descriptors = std::fs::read_dir(descriptors).expect("the process is a running child");
        Self {
            memory: memory::resident(process),
            descriptors: descriptors.count(),
            disk: bytes_in(home),
        }
    }
}

/// The processor time of a process so far (proc(5): fields 14 and 15 of stat, in hundredths).
pub(super) fn processor_time(process: Pid) -> Duration {
    let file = format!("/proc/{}/stat", process.as_raw_nonzero());
    let stat = std::fs::read_to_string(file).expect("the process is a running child");
    let (_, after_name) = stat.rsplit_once(')').expect("the name is in brackets");
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks
        .map(|field| field.parse::<u64>().expect("a number of ticks"))
        .sum();
    Duration::from_millis(10 * ticks)
}

/// Bytes of all files in a folder. Files that disappear meanwhile do not count.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let bytes = |path: &Path| match std::fs::symlink_metadata(path) {
        Ok(of) if of.is_dir() => bytes_in(path),
        Ok(of) => of.len(),
        Err(_) => 0,
    };
    entries.flatten().map(|entry| bytes(&entry.path())).sum()
}
