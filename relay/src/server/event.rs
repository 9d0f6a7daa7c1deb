//! The hub's inbox: what the other tasks of the server report to it.

use std::net::SocketAddr;
use std::sync::Arc;

use hobnob_protocol::DeviceId;
use hobnob_protocol::relay::{Register, ToRelay};
use quinn::Connection;
use tokio::sync::oneshot;

use super::frames::Outbox;
use super::operator::OperatorRequest;
use crate::core::ConnectionId;
use crate::fleet::DirectoryEvent;
use crate::plane::StreamClient;

/// An event for the hub.
#[derive(Debug)]
pub(super) enum Event {
    /// A peer has proved its id and wants to register.
    Register(Box<Registration>),
    /// A registered peer sent a frame.
    Frame(ConnectionId, ToRelay),
    /// A connection has ended.
    Disconnected(ConnectionId),
    /// The operator asks for something.
    Operator(OperatorRequest),
    /// The directory of the fleet reports something.
    Fleet(DirectoryEvent),
    /// The relay stops. The hub answers when all peers have been disconnected.
    Drain(oneshot::Sender<usize>),
}

/// A newcomer that wants to register.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) id: ConnectionId,
    pub(super) connection: Connection,
    /// The address of its handshake, which has validated the address. Of a stream it is synthetic.
    pub(super) from: SocketAddr,
    pub(super) peer: DeviceId,
    pub(super) register: Register,
    /// Its stream, if it uses one.
    pub(super) stream: Option<Arc<StreamClient>>,
    pub(super) outbox: Arc<Outbox>,
    /// Completed once the peer is registered.
    pub(super) admitted: oneshot::Sender<Admitted>,
}

/// How a peer was admitted.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Only to accept an invitation.
    pub(super) guest: bool,
}
