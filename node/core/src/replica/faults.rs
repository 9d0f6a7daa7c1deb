//! Faults that the simulator plants, to see that its checks find them. Only there with the feature
//! `faults`.

use super::Replica;

/// A fault in the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A batch is taken again although it is held.
    NoDuplicateCheck,
    /// Receipts name what is accepted and not on disk yet.
    AckBeforeCommit,
    /// Two chains of one log are mixed.
    ForkIgnored,
    /// What was written to a session counts as delivered.
    DeliveredOnSent,
    /// Entries of an open room go to whoever is in it now.
    AudienceIgnored,
    /// Whoever says goodbye lingers as if they had dropped out.
    GoodbyeIgnored,
    /// A change of network changes nothing.
    NetworkChangeIgnored,
    /// Entries are ordered by the wall clock.
    WallClockOrder,
    /// The cursor passes over an entry now and then.
    SkippingCursor,
    /// Bytes that were written make no room for more.
    LostWakeUp,
    /// What the store did not take is believed to be there.
    NoRollBack,
    /// A block stops nothing.
    BlockIgnored,
    /// A commit of what was received is said before it is durable.
    SayBeforeCommit,
}

impl Replica {
    /// Makes the replica faulty from now on.
    pub fn plant(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.ignore_audiences();
    }

    /// Conversations that come to be later are faulty too.
    pub(super) fn ignore_audiences(&mut self) {
        let ignored = self.has(Fault::AudienceIgnored);
        self.conversations
            .values_mut()
            .for_each(|conversation| conversation.audiences.ignored = ignored);
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// How many things are remembered on behalf of sessions, all together: what a hostile peer
    /// could make grow.
    pub fn kept_of_sessions(&self) -> usize {
        self.sessions.values().map(super::sync::Session::kept).sum()
    }
}
