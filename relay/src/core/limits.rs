//! The relay's limits: how much it serves in all and for one peer, and how often a peer may act.

use std::time::Duration;

use hobnob_limits::{Bucket, Pace};

/// The default of [`Limits::sleep_after`].
pub const SLEEP_AFTER: Duration = Duration::from_secs(60);

/// The relay's limits. Exceeding one affects only the peer that did it, and the reason that the
/// peer receives names the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Peers registered at once. Beyond: the newcomer replaces the idlest peer of the network that
    /// has the most, or is rejected (`full`).
    pub peers: usize,
    /// Peers registered at once from one [`Network`](hobnob_limits::Network). Beyond: the newcomer is
    /// rejected (`full`).
    pub peers_per_network: usize,
    /// Room memberships of all peers together. Beyond: the newcomer is rejected (`full`), a
    /// change of rooms ends its peer's connection.
    pub memberships: usize,
    /// Channels of one peer at once. Beyond: `NotOpened(Limit)`.
    pub channels_per_peer: usize,
    /// Channels in all. Beyond: `NotOpened(Limit)`.
    pub channels: usize,
    /// Whether the relay sends peers the roster of their rooms. If not, it does not store room
    /// tags.
    pub roster: bool,
    /// Whether the relay holds mail. The core only reports it to peers; the server sets it.
    pub mailboxes: bool,
    /// Whether the relay is a member of a fleet. The server sets it.
    pub fleet: bool,
    /// Whether peers that are not admitted may come as guests, to accept an invitation.
    pub guests: bool,
    /// Bytes per second that the relay forwards for one peer; 0 means no limit. The core only
    /// reports the rate to peers; the plane enforces it.
    pub rate: u64,
    /// Bytes that the relay forwards for one peer in one day (UTC); 0 means no limit. Beyond: the
    /// peer's connection ends, and it is rejected until the next day (`quota`).
    pub day_quota: u64,
    /// After this time without anything to say, a peer may sleep: it ends its connection and sends
    /// sealed heartbeats instead. `None`: nobody sleeps.
    pub sleep_after: Option<Duration>,
    /// Registrations of one peer. Beyond: the new connection ends (`limit`), the old one stays.
    pub registrations: Pace,
    /// Frames of any kind from one peer. Beyond, here and below: its connection ends (`limit`).
    pub frames: Pace,
    /// Heartbeats of one peer.
    pub heartbeats: Pace,
    /// Changes of its rooms by one peer.
    pub room_changes: Pace,
    /// Requests for channels by one peer.
    pub opens: Pace,
    /// Changes of one peer's address.
    pub moves: Pace,
    /// Reachability tests that one peer asks for. Beyond: the relay reports that there was no test,
    /// and the connection stays.
    pub dial_backs: Pace,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: 20_000,
            peers_per_network: 2_000,
            memberships: 400_000,
            channels_per_peer: 64,
            channels: 200_000,
            roster: true,
            mailboxes: false,
            fleet: false,
            guests: true,
            rate: 0,
            day_quota: 0,
            sleep_after: Some(SLEEP_AFTER),
            registrations: Pace::new(20, Duration::from_secs(5)),
            frames: Pace::new(500, Duration::from_millis(20)),
            heartbeats: Pace::new(20, Duration::from_secs(2)),
            room_changes: Pace::new(20, Duration::from_secs(2)),
            opens: Pace::new(384, Duration::from_millis(100)),
            moves: Pace::new(30, Duration::from_secs(1)),
            dial_backs: Pace::new(12, Duration::from_secs(1)),
        }
    }
}

/// An action of a registered peer with a limited pace. Exceeding the pace ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitedAction {
    /// Sending frames of any kind.
    Frames,
    /// Sending heartbeats.
    Heartbeats,
    /// Changing its rooms.
    RoomChanges,
    /// Asking for channels.
    Opens,
    /// Changing its address.
    Moves,
}

impl LimitedAction {
    /// The pace at which one peer may do this.
    pub(super) fn pace(self, limits: &Limits) -> Pace {
        match self {
            Self::Frames => limits.frames,
            Self::Heartbeats => limits.heartbeats,
            Self::RoomChanges => limits.room_changes,
            Self::Opens => limits.opens,
            Self::Moves => limits.moves,
        }
    }
}

impl Allowance {
    /// Uses up one action, or returns false if the pace does not allow it now.
    pub(super) fn take(&mut self, now: Duration, action: LimitedAction, pace: Pace) -> bool {
        let bucket = match action {
            LimitedAction::Frames => &mut self.frames,
            LimitedAction::Heartbeats => &mut self.heartbeats,
            LimitedAction::RoomChanges => &mut self.room_changes,
            LimitedAction::Opens => &mut self.opens,
            LimitedAction::Moves => &mut self.moves,
        };
        bucket.take(now, pace)
    }
}

/// One peer's use of every [`Pace`] in [`Limits`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Allowance {
    pub(super) registrations: Bucket,
    frames: Bucket,
    heartbeats: Bucket,
    room_changes: Bucket,
    opens: Bucket,
    moves: Bucket,
    pub(super) dial_backs: Bucket,
}
