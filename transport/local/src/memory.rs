//! Gives memory that is free back to the system.
//!
//! glibc keeps freed memory in pools of the program's threads. After a flood, the pools can be
//! several times as large as the memory in use, and they never shrink by themselves.

use std::time::Duration;

/// How often the program looks whether it has grown.
const EVERY: Duration = Duration::from_secs(60);

/// The growth since the last time that is worth the work. The work takes some milliseconds, in
/// which threads that allocate may wait.
const GROWTH: u64 = 8 << 20;

/// Gives free memory back from time to time, until it is cancelled. Does nothing if the system's
/// allocator is not glibc's.
pub async fn give_back() {
    let mut least = resident();
    loop {
        tokio::time::sleep(EVERY).await;
        let (Some(now), Some(before)) = (resident(), least) else {
            return;
        };
        if now >= before + GROWTH {
            // If the task fails, no memory was given back. Nothing else can happen.
            let _failed = tokio::task::spawn_blocking(trim).await;
            let after = resident();
            tracing::debug!(now, ?after, "gave free memory back");
            least = after;
        } else {
            least = Some(now.min(before));
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: takes the locks of the allocator itself, so any thread may call it at any time.
    // It reports only whether anything was given back.
    let _given = unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

/// The memory of this process that is not swapped out, in bytes. Nothing where it cannot be known,
/// or where [`trim`] does nothing.
fn resident() -> Option<u64> {
    if cfg!(not(all(target_os = "linux", target_env = "gnu"))) {
        return None;
    }
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    let page_size = u64::try_from(rustix::param::page_size()).ok()?;
    pages.checked_mul(page_size)
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn memory_that_was_freed_is_given_back() {
        // Small pieces, which the allocator does not map one by one. The last ones keep the heap's
        // end.
        let piece = || vec![1_u8; 1_000];
        let mut pieces: Vec<_> = (0..64_000).map(|_| piece()).collect();
        pieces.drain(..63_000);
        let full = resident().expect("Linux");
        trim();
        let after = resident().expect("Linux");
        assert!(after + (40 << 20) < full, "{full} bytes, then {after}");
    }
}
