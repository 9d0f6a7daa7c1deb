//! Counts broken invariants: states that only a fault of this program can lead to, and after which
//! it can still go on.
//!
//! Each is logged, and `hobnob doctor` shows the count. In debug builds it is a panic, so that tests
//! find the fault. Where the program cannot go on, `expect` with the proof is the right choice
//! instead. What a peer sends is never an invariant.

use std::sync::atomic::{AtomicU64, Ordering};

static BROKEN: AtomicU64 = AtomicU64::new(0);

/// An invariant does not hold. `what` says which, for the log.
pub(crate) fn broken(what: &str) {
    BROKEN.fetch_add(1, Ordering::Relaxed);
    tracing::error!("a fault in this program: {what}");
    debug_assert!(false, "{what}");
}

/// The number of broken invariants in this process so far.
pub(crate) fn count() -> u64 {
    BROKEN.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_invariant_is_counted_and_loud_in_debug_builds() {
        let before = count();
        let result = std::panic::catch_unwind(|| broken("this is a test"));
        assert_eq!(result.is_err(), cfg!(debug_assertions));
        assert_eq!(count(), before + 1);
    }
}
