//! Faults that the simulator plants, to see that its checks find them. Only there with the feature `faults`.

use super::Replica;

/// A fault in the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A batch that is held already is taken again.
    NoDuplicateCheck,
}

impl Replica {
    /// Makes the replica faulty from now on.
    pub fn plant(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// How many things are remembered on behalf of sessions, all together: what a hostile peer could make grow.
    pub fn kept_of_sessions(&self) -> usize {
        self.sessions.values().map(super::sync::Session::kept).sum()
    }
}
