//! The node: the shell around core that owns the tasks, the store and the sessions.
//!
//! [`Node`] is a handle; the engine behind it is one task that owns all state machines. Whatever waits for a peer, the disk or
//! the system does so in a task of its own and reports back, so that the engine never waits for anybody.

mod api;
mod clock;
mod engine;
mod error;
mod events;
mod key;
mod marks;
mod start;

use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::{Body, HostPort, Nickname, PeerId, RelayAddr, RoomName, Target, Ticket};
use tokio::sync::{mpsc, oneshot, watch};

pub use api::*;
use engine::Command;
pub use error::{Cause, JoinError, MarkError, NodeError, SendError, StartError};
pub use events::{Events, Lagged};

use crate::core::peers::ResolveError;

/// How long after its start a node waits for peers to be discovered before it says that a name is nobody's.
const DISCOVERY: Duration = Duration::from_secs(3);

/// After this time, or once nobody new has come for [`QUIET`], those who are there have been met.
const SETTLED: Duration = Duration::from_millis(2500);
const QUIET: Duration = Duration::from_millis(400);

/// A running node. Clones share it; it runs until [`Node::shutdown`].
#[derive(Debug, Clone)]
pub struct Node {
    id: PeerId,
    commands: mpsc::Sender<Command>,
    events: events::Feed,
    /// Changes whenever somebody was met or a name changed.
    met: watch::Receiver<u64>,
    clock: clock::Clock,
}

impl Node {
    /// Starts a node. Must be called within a tokio runtime; the caller has made sure that no other node uses the folder.
    pub async fn start(config: Config) -> Result<Node, StartError> {
        start::start(config).await
    }

    /// This node's id.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// What happens from now on. A slow reader loses events, never the node its time.
    pub fn events(&self) -> Events {
        self.events.subscribe()
    }

    /// What this node is.
    pub async fn status(&self) -> Result<Status, NodeError> {
        self.ask(Command::Status).await
    }

    /// Puts a message for a peer on disk; from then on it will arrive, once, in order. Names are looked up first, for a moment
    /// longer while the node is young.
    pub async fn send(&self, target: Target, body: Body) -> Result<Sent, SendError> {
        body.check()?;
        let send = async |peer, certain, body| {
            self.ask(|reply| Command::Send { to: ConversationRef::Direct(peer), certain, body, reply }).await?
        };
        // To a peer that is known, which is nearly always so, it takes one question and not two.
        if let Target::Id(peer) = target {
            match send(peer, false, body.clone()).await {
                Err(SendError::UnknownId(_)) => {}
                sent => return sent,
            }
        }
        send(self.resolve(target).await?, true, body).await
    }

    /// Puts a message for a room on disk, for those who are in it.
    pub async fn broadcast(&self, room: RoomName, body: Body) -> Result<Sent, SendError> {
        body.check()?;
        self.ask(|reply| Command::Send { to: ConversationRef::Room(room), certain: true, body, reply }).await?
    }

    /// Waits until a message of this run has come so far with everybody it is for.
    pub async fn wait_for(&self, id: MessageId, state: DeliveryState) -> Result<DeliveryState, NodeError> {
        self.ask(|reply| Command::WaitFor { id, state, reply }).await?
    }

    /// Everybody known.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NodeError> {
        self.ask(Command::Peers).await
    }

    /// What is known of one peer; none if it is not known.
    pub async fn peer(&self, peer: PeerId) -> Result<Option<PeerInfo>, NodeError> {
        self.ask(|reply| Command::Peer(peer, reply)).await
    }

    /// Reads messages back.
    pub async fn history(&self, query: HistoryQuery) -> Result<Vec<Message>, NodeError> {
        self.ask(|reply| Command::History { query, reply }).await?
    }

    /// Joins a room; with a secret, only those who have it are members.
    pub async fn join(&self, room: RoomName, secret: Option<Vec<u8>>) -> Result<RoomInfo, JoinError> {
        self.ask(|reply| Command::Join { room, secret, reply }).await?
    }

    /// Leaves a room. What was said there stays readable.
    pub async fn part(&self, room: RoomName) -> Result<(), JoinError> {
        self.ask(|reply| Command::Part { room, reply }).await?
    }

    /// The rooms this node is in.
    pub async fn rooms(&self) -> Result<Vec<RoomInfo>, NodeError> {
        self.status().await.map(|status| status.rooms)
    }

    /// Takes another nickname, now and for later runs.
    pub async fn set_nick(&self, nick: Nickname) -> Result<(), NodeError> {
        self.ask(|reply| Command::SetNick { nick, reply }).await
    }

    /// Finds out whom a target means; dials where an address says so.
    pub async fn resolve(&self, target: Target) -> Result<PeerId, SendError> {
        match target {
            Target::Name(name) => self.resolve_name(name).await,
            Target::Id(peer) => self.resolve_id(peer).await,
            Target::Address(at) => self.resolve_address(at).await,
            Target::Ticket(ticket) => self.resolve_ticket(ticket).await,
            Target::AtRelay(peer, at) => self.reach(peer, Vec::new(), vec![RelayAddr { id: None, at }]).await,
        }
    }

    /// Returns once discovery has had its chance.
    pub async fn settled(&self) {
        let deadline = self.clock.at(SETTLED);
        let mut met = self.met.clone();
        loop {
            let anybody = *met.borrow_and_update() > 0;
            let quiet = async {
                match anybody {
                    true => tokio::time::sleep(QUIET).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return,
                () = quiet => return,
                changed = met.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Stops the node: says goodbye to its peers, and closes the store. Returns when all is done.
    pub async fn shutdown(&self) {
        // A node that has stopped already has done all of it.
        let _ = self.ask(Command::Shutdown).await;
    }

    async fn resolve_name(&self, name: String) -> Result<PeerId, SendError> {
        let found = self
            .until_known(|| async {
                match self.ask(|reply| Command::Resolve { name: name.clone(), reply }).await {
                    Ok(Err(unknown @ ResolveError::Unknown { .. })) => Err(SendError::from(unknown)),
                    Ok(Ok(peer)) => Ok(Ok(peer)),
                    Ok(Err(error)) => Ok(Err(error.into())),
                    Err(_) => Ok(Err(SendError::Stopped)),
                }
            })
            .await;
        found?
    }

    async fn resolve_id(&self, peer: PeerId) -> Result<PeerId, SendError> {
        if peer == self.id {
            return Err(SendError::Myself);
        }
        let known = async || self.ask(|reply| Command::IsKnown { peer, reply }).await.unwrap_or(false);
        self.until_known(|| async { if known().await { Ok(peer) } else { Err(SendError::UnknownId(peer)) } }).await
    }

    /// Tries until it succeeds or the node has been up long enough to have met everybody who is there.
    async fn until_known<T, F: Future<Output = Result<T, SendError>>>(&self, attempt: impl Fn() -> F) -> Result<T, SendError> {
        let deadline = self.clock.at(DISCOVERY);
        let mut met = self.met.clone();
        loop {
            met.borrow_and_update();
            let found = attempt().await;
            if found.is_ok() {
                return found;
            }
            match tokio::time::timeout_at(deadline, met.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return found,
            }
        }
    }

    async fn resolve_address(&self, at: HostPort) -> Result<PeerId, SendError> {
        let mut failure = None;
        for addr in look_up(&at).await? {
            match self.ask(|reply| Command::Dial { addr, expected: None, reply }).await? {
                Ok(peer) => return Ok(peer),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or(SendError::Host { host: at.host, why: "it has no address".to_owned() }))
    }

    async fn resolve_ticket(&self, ticket: Ticket) -> Result<PeerId, SendError> {
        if ticket.id == self.id {
            return Err(SendError::Myself);
        }
        if !ticket.relays.is_empty() {
            let mut addrs = Vec::new();
            for at in &ticket.addrs {
                addrs.extend(look_up(at).await.unwrap_or_default());
            }
            return self.reach(ticket.id, addrs, ticket.relays).await;
        }
        let mut failure = None;
        for at in &ticket.addrs {
            for addr in look_up(at).await.unwrap_or_default() {
                match self.ask(|reply| Command::Dial { addr, expected: Some(ticket.id), reply }).await? {
                    Ok(peer) => return Ok(peer),
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        match failure {
            Some(mismatch @ SendError::IdentityMismatch { .. }) => Err(mismatch),
            // The id is certain, whether or not the peer is there now: the message waits for it.
            Some(_) | None => Ok(ticket.id),
        }
    }

    /// A peer at a relay. Who it is is certain, whether or not it is there now: a message waits for it.
    async fn reach(&self, peer: PeerId, addrs: Vec<SocketAddr>, relays: Vec<RelayAddr>) -> Result<PeerId, SendError> {
        if peer == self.id {
            return Err(SendError::Myself);
        }
        self.ask(|reply| Command::Reach { peer, addrs, relays, reply }).await?;
        Ok(peer)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| NodeError::Stopped)?;
        answer.await.map_err(|_| NodeError::Stopped)
    }
}

impl From<NodeError> for SendError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Store(why) => SendError::Store(why),
            NodeError::Stopped | NodeError::NoSuchMessage | NodeError::NoSuchConversation(_) => SendError::Stopped,
        }
    }
}

impl From<NodeError> for JoinError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Store(why) => JoinError::Store(why),
            NodeError::Stopped | NodeError::NoSuchMessage | NodeError::NoSuchConversation(_) => JoinError::Stopped,
        }
    }
}

/// The addresses of a host: of a name by the system's resolver, of a literal (with or without a zone) itself.
async fn look_up(at: &HostPort) -> Result<Vec<SocketAddr>, SendError> {
    let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
    let why = |error: std::io::Error| SendError::Host { host: at.host.clone(), why: error.to_string() };
    Ok(found.map_err(why)?.take(8).collect())
}
