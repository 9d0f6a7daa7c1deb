//! The liveness table for the operator, and the counters of the core.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::DeviceId;

use crate::route::Metered;

/// Whether a peer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Its heartbeats arrive.
    Alive,
    /// It has missed one or two heartbeats.
    Suspect,
    /// It sleeps: it has no connection, and its sealed heartbeats arrive.
    Asleep,
    /// Its connection has ended.
    Gone,
}

impl State {
    /// The name that all outputs use.
    pub fn name(self) -> &'static str {
        match self {
            State::Alive => "alive",
            State::Suspect => "suspect",
            State::Asleep => "asleep",
            State::Gone => "gone",
        }
    }
}

/// A peer in the liveness table. Times are on the clock that is passed to `handle`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its identity.
    pub peer: DeviceId,
    /// Whether it is connected.
    pub state: State,
    /// Its address. For a peer that is gone: its last address.
    pub addr: SocketAddr,
    /// When it registered.
    pub since: Duration,
    /// When its last frame arrived. Every frame shows that it is alive. Of a peer that sleeps: when
    /// it fell asleep.
    pub heard_at: Duration,
    /// The round-trip time of the control connection, if it was measured.
    pub rtt: Option<Duration>,
    /// Consecutive missed heartbeats.
    pub missed: u32,
    /// Rooms that it named.
    pub rooms: usize,
    /// Its channels.
    pub channels: usize,
    /// Counters of the frames that the relay forwarded and dropped for the peer.
    pub metered: Metered,
}

/// The counters of the core since its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were registered.
    pub registered: u64,
    /// Connections that ended, other than by the relay.
    pub left: u64,
    /// Connections that the relay ended, by close code (see
    /// [`close`](hobnob_protocol::relay::close)).
    pub ended: BTreeMap<u32, u64>,
    /// Heartbeats received.
    pub heartbeats: u64,
    /// How often a peer fell asleep.
    pub slept: u64,
    /// How often a sleeping peer connected again.
    pub woke: u64,
    /// How often the relay asked a sleeping peer to connect, for a peer that wanted a channel.
    pub wakes: u64,
    /// Roster frames sent.
    pub roster_frames: u64,
    /// Changes in these frames.
    pub roster_changes: u64,
    /// Members of rooms that were examined to find these changes. It measures the work.
    pub roster_looks: u64,
    /// Channels opened.
    pub opened: u64,
    /// Channels not opened because the peer was not registered.
    pub not_here: u64,
    /// Channels not opened because a peer asked for one with itself.
    pub refused: u64,
    /// Channels not opened because of a limit.
    pub over_limit: u64,
    /// Channels not opened because the other relays of the fleet could not be asked.
    pub unsure: u64,
    /// Requests for channels with a peer that another relay of the fleet has.
    pub elsewhere: u64,
    /// Dial-backs that peers asked for and that were made.
    pub dial_backs: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_own_name() {
        let states = [State::Alive, State::Suspect, State::Asleep, State::Gone];
        let names = ["alive", "suspect", "asleep", "gone"];
        assert_eq!(states.map(State::name), names);
    }
}
