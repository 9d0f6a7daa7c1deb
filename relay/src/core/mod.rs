//! The decisions of the relay, as a pure state machine: which peers are registered and alive, which
//! peers learn of each other, and which channels exist. It has no clock, no I/O and no tasks.
//!
//! The shell passes each input to [`Relay::handle`]. It then executes the outputs of
//! [`Relay::poll_output`] until there are none, and passes [`Input::Timeout`] at the time that
//! [`Relay::poll_timeout`] returns. Times are durations since one moment that the shell chooses.
//!
//! - `relay.rs`: handles each input and connects the parts below
//! - `registry.rs`: one connection for each peer, heartbeats, the limits on peers
//! - `roster.rs` and `room.rs`: which peers learn of each other, with versions
//! - `channels.rs`: the channels and the names that their ends use; `channel_events.rs`: the frames
//!   and routes that follow from them
//! - `visitors.rs`: peers of other relays of the fleet
//! - `invitations.rs`: which peer has an invitation of which number, and guests
//! - `sleep.rs`: peers without a connection, and who wakes them
//! - `limits.rs`: how much the relay serves, and how often a peer may act
//! - `quotas.rs`: how much the relay forwarded today, for each peer
//! - `liveness.rs`: the liveness table for the operator; `reasons.rs`: why a connection ends
//!
//! The core does not authenticate or admit peers: the shell does, before it passes
//! [`Input::Registered`]. The core does not forward channel frames either: it creates
//! [`Route`](crate::route::Route)s for the plane.

mod channel_events;
mod channels;
mod invitations;
mod limits;
mod liveness;
mod origins;
mod quotas;
mod reasons;
mod registry;
mod relay;
mod room;
mod roster;
mod sleep;
#[cfg(test)]
mod tests;
mod visitors;

pub use channels::CHANNEL_IDLE;
pub use hobnob_limits::Pace;
pub use invitations::{GUESTS_MAX, WRONG_NUMBERS_IN, WRONG_NUMBERS_MAX};
pub use limits::{LimitedAction, Limits, SLEEP_AFTER};
pub use liveness::{Counts, Row, State};
pub use quotas::QUOTA_PEERS_MAX;
pub use reasons::EndReason;
pub use registry::{GONE_KEPT, GONE_MAX, HEARTBEAT_EVERY, HEARTBEAT_GRACE, MISSES_MAX};
pub use relay::{ADDRESS_SETTLES, DRAIN_OVER, Relay};
pub use room::ROSTER_PEERS_MAX;
pub use roster::{PUSH_AFTER, PUSH_EVERY, PUSH_PER_MEMBER};
pub use sleep::{BEAT_EVERY, WAKERS_MAX};
pub use visitors::{VISITOR_IDLE, VISITORS_MAX};

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::heartbeat::Handle;
use hobnob_protocol::relay::{FromRelay, ToRelay};
use hobnob_protocol::{DeviceId, RoomTag};

use crate::route::Update;
use crate::sleeper::SleeperNews;

/// The id of a control connection. It is unique for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// An event for the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A node has proved its identity, is admitted, and has sent its first frame.
    Registered {
        /// Its connection.
        connection: ConnectionId,
        /// Its identity.
        peer: DeviceId,
        /// Its address. With a stream, that of its TCP connection; otherwise as the plane sees
        /// senders.
        addr: SocketAddr,
        /// The synthetic address of its stream, if it uses one. Its frames have this address.
        stream: Option<SocketAddr>,
        /// The rooms that it named.
        rooms: Vec<RoomTag>,
        /// Why it is here.
        role: Role,
        /// Whether it can sleep.
        sleeps: bool,
    },
    /// The answer to [`Output::Find`].
    Found {
        /// The connection of the peer that asked.
        connection: ConnectionId,
        /// The peer that it asked for.
        peer: DeviceId,
        /// Where that peer is.
        found: Found,
    },
    /// The peer of this connection has registered at another relay of the fleet since.
    MovedAway(ConnectionId),
    /// Other relays of the fleet list a peer in these rooms now. They are sorted.
    Elsewhere {
        /// The peer.
        peer: DeviceId,
        /// Its rooms there. None: it is not there any more.
        rooms: Vec<RoomTag>,
    },
    /// A registered node sent a later frame.
    Frame {
        /// The connection that it arrived on.
        connection: ConnectionId,
        /// The frame.
        frame: ToRelay,
    },
    /// The address of a connection has changed.
    Moved {
        /// The connection.
        connection: ConnectionId,
        /// The new address, as the plane sees senders.
        addr: SocketAddr,
    },
    /// A round trip was measured on a connection.
    Rtt {
        /// The connection.
        connection: ConnectionId,
        /// The round-trip time.
        rtt: Duration,
    },
    /// A connection has ended.
    Disconnected {
        /// The connection.
        connection: ConnectionId,
    },
    /// The node ended a connection because it sleeps from now on.
    FellAsleep {
        /// The connection.
        connection: ConnectionId,
    },
    /// The plane has news of a sleeping peer.
    Sleeper(SleeperNews),
    /// The operator ends a peer's connection.
    Kick(DeviceId),
    /// The operator bans a peer. The shell does not admit it again.
    Ban(DeviceId),
    /// The operator banned the address of a peer, or does not admit the peer any more.
    Exclude(DeviceId, Exclusion),
    /// The operator changed the limits. Their `roster` is fixed when the relay starts.
    Limits(Box<Limits>),
    /// It is this day, counted from 1970 in UTC. The shell passes it about every second. The core
    /// then adds what was forwarded to the quotas.
    Day(u64),
    /// The relay is about to stop.
    Drain,
    /// The time that [`Relay::poll_timeout`] returned has passed.
    Timeout,
}

/// Why a node registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// To be reached here.
    Peer,
    /// To accept an invitation. Otherwise it is not admitted.
    Guest,
    /// For channels with peers of this relay. It is registered at another relay of the fleet.
    Visitor,
}

/// Where the relays of a fleet have found a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is registered at the relay with this identity.
    At(DeviceId),
    /// It is registered at no relay of the fleet.
    Nowhere,
    /// The other relays could not be asked.
    Unsure,
}

/// Why the shell does not admit a registered peer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exclusion {
    /// Its address is banned.
    Address,
    /// The tokens or the allow list do not admit it.
    Rule,
}

/// An action for the shell.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send this frame on a connection.
    Send(ConnectionId, FromRelay),
    /// End a connection for this reason. No further output concerns it.
    End(ConnectionId, EndReason),
    /// Send a probe with this token to the connection's address, from a new socket. Then send
    /// [`DialedBack`](FromRelay::DialedBack) on the connection.
    DialBack(ConnectionId, [u8; 16]),
    /// Pass this change to the plane.
    Route(Update),
    /// A peer asks on a connection for a channel with this peer, which is not registered here: ask the
    /// other relays of the fleet, and pass [`Input::Found`].
    Find(ConnectionId, DeviceId),
    /// The peer of this connection is in these rooms from now on: tell the other relays of the fleet.
    Rooms(ConnectionId, Vec<RoomTag>),
    /// The peer of this connection may sleep. Export the secret, pass it to the plane with this
    /// handle, and send [`Sleep`](FromRelay::Sleep).
    Grant(ConnectionId, Handle),
    /// Tell a sleeping peer that another one wants a channel with it.
    Wake(Handle, DeviceId),
    /// The plane can forget this sleep.
    Forget(Handle),
    /// A sleeping peer is not registered any more. Tell it, and remove it from the plane.
    EndSleep {
        /// The name of its sleep.
        handle: Handle,
        /// The peer.
        peer: DeviceId,
        /// Its address.
        addr: SocketAddr,
        /// The cause.
        reason: EndReason,
    },
}
