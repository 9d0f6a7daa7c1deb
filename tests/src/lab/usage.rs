//! What a running process and its home use.

use std::path::Path;

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
