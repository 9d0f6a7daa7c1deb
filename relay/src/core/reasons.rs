//! Why the relay ends a connection, as a type. The sentences for users are in `server/wording.rs`.

use hobnob_limits::Pace;
use hobnob_protocol::DeviceId;
use hobnob_protocol::relay::close;

use super::limits::LimitedAction;

/// Why the relay ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// A newer connection of the same identity has replaced this one.
    Replaced,
    /// No frame arrived for several heartbeats.
    Silent,
    /// The operator disconnected the peer.
    Kicked,
    /// The operator banned the peer.
    Banned,
    /// The operator banned the peer's address.
    AddressBanned,
    /// The operator changed the tokens or the allow list, and the peer is not admitted any more.
    NotAdmitted,
    /// The peer has used its quota of today, which is this many bytes.
    QuotaUsed(u64),
    /// The peer was admitted to accept an invitation, and its time is over.
    GuestOver,
    /// The peer visited this relay of its fleet, and has no channel any more.
    VisitOver,
    /// The peer sleeps, as agreed, and its own end of the connection was lost.
    Asleep,
    /// The relay is about to stop.
    Draining,
    /// The peer sent Register on a connection that was already registered.
    RegisteredTwice,
    /// The relay has the maximum number of peers: this many.
    Full(usize),
    /// The relay is full, and a newcomer from a network with fewer peers needed the place.
    MadeRoom,
    /// The relay has the maximum number of peers from the peer's network: this many.
    NetworkFull(usize),
    /// The peer registers with more rooms than the relay still has place for.
    RoomsFull,
    /// A registered peer changes to more rooms than the relay still has place for.
    TooManyRooms,
    /// This identity registered more often than the pace allows.
    RegisteredTooOften(DeviceId, Pace),
    /// The peer did something more often than the pace allows.
    TooOften(LimitedAction, Pace),
}

impl EndReason {
    /// The close code of the connection.
    pub fn code(&self) -> u32 {
        match self {
            Self::Replaced => close::REPLACED,
            Self::Silent => close::SILENT,
            Self::Kicked => close::KICKED,
            Self::Banned | Self::AddressBanned => close::BANNED,
            Self::NotAdmitted => close::NOT_ADMITTED,
            Self::QuotaUsed(_) => close::QUOTA,
            Self::GuestOver | Self::VisitOver => close::GUEST,
            Self::Asleep => close::ASLEEP,
            Self::Draining => close::DRAINING,
            Self::RegisteredTwice => close::PROTOCOL,
            Self::Full(_) | Self::MadeRoom | Self::NetworkFull(_) | Self::RoomsFull => close::FULL,
            Self::TooManyRooms | Self::RegisteredTooOften(..) | Self::TooOften(..) => close::LIMIT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_relay_differs_from_a_peer_that_asks_for_too_much() {
        assert_eq!(EndReason::RoomsFull.code(), close::FULL);
        assert_eq!(EndReason::TooManyRooms.code(), close::LIMIT);
    }
}
