//! What the system reports about this process: memory, processor time and file descriptors. Only
//! Linux reports it as text.

use std::fs;

use rustix::process::{Resource, getrlimit};

/// The unit of processor time in `/proc` (`USER_HZ`), per second. It is 100 on every architecture
/// that this program is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// The state of this process. Values that the system does not report are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    /// Memory that is not swapped out, in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Processor time in user and system mode, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<u64>,
    /// The limit of open file descriptors.
    pub(super) max_fds: Option<u64>,
}

impl Process {
    /// Asks the system.
    pub(super) fn now() -> Self {
        let read = |file| fs::read_to_string(file).ok();
        Self {
            resident_bytes: read("/proc/self/status").and_then(|text| resident_bytes(&text)),
            cpu_seconds: read("/proc/self/stat").and_then(|text| cpu_seconds(&text)),
            // One of them is the folder itself, which is open while it is read.
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|fds| (fds.count() as u64).saturating_sub(1)),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// Fields 14 and 15 of proc_pid_stat(5). The name of the process is in parentheses before them and
/// may contain spaces.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut ticks = after_name.split(' ').skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next()?.ok()?, ticks.next()?.ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read_by_name_and_position() {
        assert_eq!(
            resident_bytes("Name:\tx\nVmRSS:\t   34 kB\n"),
            Some(34 * 1024)
        );
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        let stat = "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("42"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_uses_memory_and_descriptors() {
        let process = Process::now();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(process.cpu_seconds.is_some());
        assert!(process.open_fds.is_some_and(|fds| fds > 2));
    }
}
