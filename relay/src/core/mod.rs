//! What the relay decides: who is registered and alive, who is told of whom, which channels there
//! are. No clock, no I/O, no task.
//!
//! The shell says what happened with [`Relay::handle`], does what [`Relay::poll_output`] says until
//! there is nothing more, and comes back with [`Input::Timeout`] when [`Relay::poll_timeout`] says.
//! Times are durations since any one moment that the shell chose.
//!
//! - `relay.rs`: what follows from each input; joins the others
//! - `registry.rs`: one connection a peer, heartbeats, the places in the relay
//! - `roster.rs` and `room.rs`: who is told of whom, by versions
//! - `channels.rs`: which two peers have one, under which names; `switch.rs`: who is told of it,
//!   and which routes follow
//! - `limits.rs`: how much of everything, and how often
//! - `table.rs`: what the operator sees; `reasons.rs`: what a user is told at the end
//!
//! The core does not check who somebody is or whether they may come in: the shell does, before it
//! says [`Input::Registered`]. It moves no frames of channels either: it makes
//! [`Route`](crate::route::Route)s, which the plane follows.

mod channels;
mod limits;
mod reasons;
mod registry;
mod relay;
mod room;
mod roster;
mod switch;
mod table;
#[cfg(test)]
mod tests;

pub use channels::CHANNEL_IDLE;
pub use limits::{LimitedAction, Limits, Pace};
pub use reasons::EndReason;
pub use registry::{GONE_KEPT, GONE_MAX, HEARTBEAT_EVERY, HEARTBEAT_GRACE, MISSES_MAX};
pub use relay::{ADDRESS_SETTLES, DRAIN_OVER, Relay};
pub use roster::{PUSH_AFTER, PUSH_EVERY, PUSH_PER_MEMBER, ROSTER_PEERS_MAX};
pub use table::{Counts, Row, State};

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::relay::{FromRelay, ToRelay};
use hobnob_protocol::{ConversationId, PeerId};

use crate::route::Update;

/// Names a control connection for the life of the process; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What can happen to a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A node has proved who it is, may come in, and has sent its first frame.
    Registered {
        /// Its connection.
        connection: ConnectionId,
        /// Who it is.
        peer: PeerId,
        /// Where from, as the plane sees senders.
        addr: SocketAddr,
        /// The rooms it named.
        rooms: Vec<ConversationId>,
    },
    /// A later frame from a registered node.
    Frame {
        /// From where.
        connection: ConnectionId,
        /// What it says.
        frame: ToRelay,
    },
    /// A connection comes from another address now.
    Moved {
        /// Which.
        connection: ConnectionId,
        /// Where from, as the plane sees senders.
        addr: SocketAddr,
    },
    /// A round trip was measured on a connection.
    Rtt {
        /// Which.
        connection: ConnectionId,
        /// How long.
        rtt: Duration,
    },
    /// A connection is over.
    Down {
        /// Which.
        connection: ConnectionId,
    },
    /// The operator ends a peer's connection.
    Kick(PeerId),
    /// The operator keeps a peer out: the shell does not let it in again.
    Ban(PeerId),
    /// The relay is about to stop.
    Drain,
    /// It is as late as [`Relay::poll_timeout`] said.
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Output {
    /// Say this on a connection.
    Say(ConnectionId, FromRelay),
    /// End a connection for this reason. No further output concerns it.
    End(ConnectionId, EndReason),
    /// Send a knock with this token, from a socket of its own, to where the connection comes from;
    /// then say [`Called`](FromRelay::Called) on the connection.
    Call(ConnectionId, [u8; 16]),
    /// Tell the plane.
    Route(Update),
}
