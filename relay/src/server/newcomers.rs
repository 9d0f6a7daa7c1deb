//! Counts newcomers by their fate. A newcomer that never registers is in no table, only here.

use std::sync::atomic::{AtomicU64, Ordering};

/// The outcome for a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It began its handshake.
    Begun,
    /// It was asked to validate its address first (Retry), like every newcomer.
    Asked,
    /// It was refused, because too many were waiting.
    Refused,
    /// It did not prove its identity, or did not register, correctly and in time.
    Failed,
    /// It proved its identity, but the operator does not admit it: token, allow list or ban.
    NotAdmitted,
}

impl Fate {
    /// All fates.
    pub const ALL: [Fate; 5] = [
        Fate::Begun,
        Fate::Asked,
        Fate::Refused,
        Fate::Failed,
        Fate::NotAdmitted,
    ];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Begun => "begun",
            Fate::Asked => "asked",
            Fate::Refused => "refused",
            Fate::Failed => "failed",
            Fate::NotAdmitted => "not-admitted",
        }
    }
}

/// Newcomers since the start, by fate. One that began is counted again if it fails or is not
/// admitted.
#[derive(Debug, Default)]
pub struct Newcomers([AtomicU64; Fate::ALL.len()]);

impl Newcomers {
    /// Counts one newcomer.
    pub(super) fn count(&self, fate: Fate) {
        self.0[fate as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The number of newcomers with this fate.
    pub fn read(&self, fate: Fate) -> u64 {
        self.0[fate as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_has_its_own_counter_and_name() {
        let newcomers = Newcomers::default();
        for (n, fate) in Fate::ALL.into_iter().enumerate() {
            (0..=n).for_each(|_| newcomers.count(fate));
        }
        let counts = Fate::ALL.map(|fate| newcomers.read(fate));
        assert_eq!(counts, [1, 2, 3, 4, 5]);
        let names = std::collections::BTreeSet::from(Fate::ALL.map(Fate::name));
        assert_eq!(names.len(), Fate::ALL.len());
    }
}
