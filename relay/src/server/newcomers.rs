//! What became of newcomers: those whose connections were never registered are in no table.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of a newcomer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It began its handshake.
    Begun,
    /// It was asked to prove its address first (Retry), as everybody is.
    Asked,
    /// It was turned away, since too many were ahead of it.
    Refused,
    /// It did not prove its id, or did not register, in time and as it should.
    Failed,
    /// It proved its id, and the operator does not want it: its token, the list, a ban.
    NotAdmitted,
}

impl Fate {
    /// All of them.
    pub const ALL: [Fate; 5] = [
        Fate::Begun,
        Fate::Asked,
        Fate::Refused,
        Fate::Failed,
        Fate::NotAdmitted,
    ];

    /// The word for it.
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

/// Newcomers since the start, by what became of them. One that began is counted again if it failed
/// or was not admitted.
#[derive(Debug, Default)]
pub struct Newcomers([AtomicU64; Fate::ALL.len()]);

impl Newcomers {
    /// One more.
    pub(super) fn count(&self, fate: Fate) {
        self.0[fate as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn read(&self, fate: Fate) -> u64 {
        self.0[fate as usize].load(Ordering::Relaxed)
    }
}
