//! What a [`Node`](crate::node::Node) asks of its engine.

use std::net::SocketAddr;

use hobnob_core::diagnosis::{Evidence, PeerEvidence};
use hobnob_core::peers::ResolveError;
use hobnob_protocol::{Body, Nickname, PeerId, RelayAddr, RoomName};
use tokio::sync::oneshot;

use crate::api::{
    ConversationRef, DeliveryState, HistoryQuery, Message, MessageId, PeerInfo, RoomInfo, Sent,
    Status,
};
use crate::error::{JoinError, NodeError, PolicyError, SendError};

/// The setting that holds the nickname.
pub(crate) const NICK_SETTING: &str = "nick";

/// What a [`Node`](crate::node::Node) asks of its engine.
#[derive(Debug)]
pub(crate) enum Command {
    Status(oneshot::Sender<Status>),
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    Peer(PeerId, oneshot::Sender<Option<PeerInfo>>),
    Resolve {
        name: String,
        reply: oneshot::Sender<Result<PeerId, ResolveError>>,
    },
    IsKnown {
        peer: PeerId,
        reply: oneshot::Sender<bool>,
    },
    Reach {
        peer: PeerId,
        addrs: Vec<SocketAddr>,
        relays: Vec<RelayAddr>,
        reply: oneshot::Sender<()>,
    },
    Dial {
        addr: SocketAddr,
        expected: Option<PeerId>,
        reply: oneshot::Sender<Result<PeerId, SendError>>,
    },
    /// `certain` says that the peer, if it goes to one, is known to exist.
    Send {
        to: ConversationRef,
        certain: bool,
        body: Body,
        reply: oneshot::Sender<Result<Sent, SendError>>,
    },
    WaitFor {
        id: MessageId,
        state: DeliveryState,
        reply: oneshot::Sender<Result<DeliveryState, NodeError>>,
    },
    History {
        query: HistoryQuery,
        reply: oneshot::Sender<Result<Vec<Message>, NodeError>>,
    },
    Join {
        room: RoomName,
        secret: Option<Vec<u8>>,
        reply: oneshot::Sender<Result<RoomInfo, JoinError>>,
    },
    Part {
        room: RoomName,
        reply: oneshot::Sender<Result<(), JoinError>>,
    },
    SetNick {
        nick: Nickname,
        reply: oneshot::Sender<()>,
    },
    ChangePolicy {
        peer: PeerId,
        change: PolicyChange,
        reply: oneshot::Sender<Result<PeerInfo, PolicyError>>,
    },
    /// Asks some peers and all relays to call, or again those relays of whose calls none has come;
    /// the answer comes at once, the calls a moment later.
    DialBack {
        again: bool,
        reply: oneshot::Sender<()>,
    },
    /// Asks the sockets that relays have called from how this node looks to them, as far as they
    /// have not said so; whether any was.
    AskCallers(oneshot::Sender<bool>),
    Evidence(oneshot::Sender<Evidence>),
    /// Asks a peer whether it is there; without an answer once it is not. One that says other
    /// things, and no pong, leaves it open.
    Ping(PeerId, oneshot::Sender<()>),
    /// With the addresses at which the peer may be.
    PeerEvidence(PeerId, oneshot::Sender<(PeerEvidence, Vec<SocketAddr>)>),
    Shutdown(oneshot::Sender<()>),
}

/// Something that a user decides about a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PolicyChange {
    Ignore,
    Unignore,
    Block,
    Unblock,
    Kick,
    Verify,
    Unverify,
}
