//! The liveness table as the operator sees it, and what the relay has counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::PeerId;

use crate::route::Metered;

/// Whether a peer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Its heartbeats come.
    Alive,
    /// It has missed a heartbeat, or two.
    Suspect,
    /// Its connection has ended.
    Gone,
}

impl State {
    /// The word for it, on every screen.
    pub fn name(self) -> &'static str {
        match self {
            State::Alive => "alive",
            State::Suspect => "suspect",
            State::Gone => "gone",
        }
    }
}

/// A peer in the liveness table. Times are on the clock that is passed to `handle`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Who.
    pub peer: PeerId,
    /// Whether it is there.
    pub state: State,
    /// Where from; of one that is gone: where it was last.
    pub addr: SocketAddr,
    /// When it registered.
    pub since: Duration,
    /// When a frame last came from it: every frame says that it is alive.
    pub heard_at: Duration,
    /// The control connection's round trip, if it has been measured.
    pub rtt: Option<Duration>,
    /// Heartbeats missed in a row.
    pub missed: u32,
    /// Rooms it has named.
    pub rooms: usize,
    /// Channels it has.
    pub channels: usize,
    /// What it has made the relay forward and drop.
    pub metered: Metered,
}

/// What the core has counted since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were registered.
    pub registered: u64,
    /// Connections that went of themselves.
    pub left: u64,
    /// Connections that the relay ended, by close code (see
    /// [`close`](hobnob_protocol::relay::close)).
    pub ended: BTreeMap<u32, u64>,
    /// Heartbeats that came.
    pub heartbeats: u64,
    /// Roster frames said.
    pub roster_frames: u64,
    /// Changes in them.
    pub roster_changes: u64,
    /// Members of rooms that were looked at to find out whom to tell of whom: the work behind these
    /// frames.
    pub roster_looks: u64,
    /// Channels opened.
    pub opened: u64,
    /// Channels not opened: the peer was not here.
    pub not_here: u64,
    /// Channels not opened: forbidden.
    pub refused: u64,
    /// Channels not opened: too many.
    pub over_limit: u64,
    /// Peers called that wanted to know whether calls reach them.
    pub calls: u64,
}
