//! What a [`Node`] asks of its engine.

use super::super::start::NICK;
use super::Engine;
use super::policy::PolicyChange;
use crate::ConversationRef;
use crate::DeliveryState;
use crate::HistoryQuery;
use crate::JoinError;
use crate::Message;
use crate::MessageId;
use crate::NodeError;
use crate::PeerInfo;
use crate::PolicyError;
use crate::ResolveError;
use crate::RoomInfo;
use crate::SendError;
use crate::Sent;
use crate::Status;
use hobnob_core::diagnosis::{Evidence, PeerEvidence};
use hobnob_protocol::Body;
use hobnob_protocol::Nickname;
use hobnob_protocol::PeerId;
use hobnob_protocol::RelayAddr;
use hobnob_protocol::RoomName;
use hobnob_protocol::Ticket;
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// What a [`Node`] asks of its engine.
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
    Mark {
        peer: PeerId,
        mark: PolicyChange,
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

impl Engine {
    pub(super) fn command(&mut self, command: Command) {
        // Whoever does not wait for the answer any more does not need it.
        match command {
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Peers(reply) => {
                drop(reply.send(self.peers.all().map(|peer| self.peer_info(peer)).collect()))
            }
            Command::Peer(peer, reply) => {
                drop(reply.send(self.peers.knows(peer).then(|| self.peer_info(peer))))
            }
            Command::Resolve { name, reply } => drop(reply.send(self.peers.resolve(&name))),
            Command::IsKnown { peer, reply } => drop(reply.send(self.peers.knows(peer))),
            Command::Reach {
                peer,
                addrs,
                relays,
                reply,
            } => {
                self.reach_by_relay(peer, addrs, relays);
                let _ = reply.send(());
            }
            Command::Dial {
                addr,
                expected,
                reply,
            } => self.dial_for_user(addr, expected, reply),
            Command::Send {
                to,
                certain,
                body,
                reply,
            } => self.send(to, certain, body, reply),
            Command::WaitFor { id, state, reply } => self.wait_for(id, state, reply),
            Command::History { query, reply } => self.read_history(query, reply),
            Command::Join {
                room,
                secret,
                reply,
            } => self.join(room, secret, reply),
            Command::Part { room, reply } => self.part(&room, reply),
            Command::SetNick { nick, reply } => {
                self.set_nick(nick);
                let _ = reply.send(());
            }
            Command::Mark { peer, mark, reply } => self.mark(peer, mark, reply),
            Command::DialBack { again, reply } => {
                self.ask_for_calls(again);
                let _ = reply.send(());
            }
            Command::AskCallers(reply) => drop(reply.send(self.ask_callers())),
            Command::Ping(peer, reply) => self.ping(peer, reply),
            Command::Evidence(reply) => drop(reply.send(self.evidence())),
            Command::PeerEvidence(peer, reply) => drop(reply.send(self.peer_evidence(peer))),
            Command::Shutdown(reply) => self.begin_stop(reply),
        }
    }

    fn status(&self) -> Status {
        let addrs = self.listening_addrs();
        let ticket = Ticket {
            id: self.me,
            addrs: addrs.iter().map(|addr| (*addr).into()).collect(),
            relays: self.relays.addrs(),
        };
        let (nick, notices) = (self.peers.own().clone(), self.notices.told());
        let (rooms, relays) = (self.room_infos(), self.relays.infos());
        Status {
            id: self.me,
            nick,
            addrs,
            ticket,
            rooms,
            relays,
            notices,
        }
    }

    fn set_nick(&mut self, nick: Nickname) {
        self.store.set_setting(NICK, nick.as_str());
        self.peers.set_own(nick);
        self.tell_profile();
    }
}
