//! Faults of a disk, for tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A fault at one write or sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The system reports an error, and nothing is written.
    Io,
    /// The disk is full.
    NoSpace,
    /// The first half is written, then the system reports an error.
    Torn,
    /// A sync fails, and what was written since the last one is lost. The next sync succeeds. At a
    /// write, the same as `Io`.
    Unsynced,
}

/// The faults of one disk.
#[derive(Debug, Default)]
pub struct Faults {
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    /// Writes and syncs so far.
    count: u64,
    at: Option<u64>,
    fault: Option<Fault>,
    stays: bool,
    struck: u64,
}

impl Faults {
    /// The number of writes and syncs so far.
    pub fn count(&self) -> u64 {
        self.plan().count
    }

    /// How often a fault has struck.
    pub fn struck(&self) -> u64 {
        self.plan().struck
    }

    /// The write or sync after this number of others fails. `stays`: and all later ones, until
    /// [`Faults::mend`].
    pub fn arm(&self, after: u64, fault: Fault, stays: bool) {
        let mut plan = self.plan();
        plan.at = Some(plan.count + after);
        plan.fault = Some(fault);
        plan.stays = stays;
    }

    /// From now on, nothing fails.
    pub fn mend(&self) {
        self.plan().at = None;
    }

    /// Counts a write or sync, and returns what goes wrong with it.
    pub(crate) fn next(&self) -> Option<Fault> {
        let mut plan = self.plan();
        let now = plan.count;
        plan.count += 1;
        let at = plan.at?;
        let strikes = if plan.stays { now >= at } else { now == at };
        if !strikes {
            return None;
        }
        plan.struck += 1;
        plan.fault
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_once_or_until_it_is_mended() {
        let faults = Faults::default();
        faults.arm(1, Fault::Io, false);
        let three = [faults.next(), faults.next(), faults.next()];
        assert_eq!(three, [None, Some(Fault::Io), None]);
        faults.arm(0, Fault::NoSpace, true);
        assert_eq!([faults.next(), faults.next()], [Some(Fault::NoSpace); 2]);
        faults.mend();
        assert_eq!(faults.next(), None);
        assert_eq!((faults.count(), faults.struck()), (6, 3));
    }
}
