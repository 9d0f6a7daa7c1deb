//! A stand-in for the node, in memory: enough to build and test the control socket against. To be thrown away.
#![allow(missing_docs, clippy::unwrap_used)]

mod api;

pub use api::*;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hobnob_protocol::entry::BodyError;
use hobnob_protocol::{Body, HostPort, LogId, Nickname, PeerId, RoomName, Target, Ticket};
use tokio::sync::broadcast;

#[derive(Clone)]
pub struct Node {
    id: PeerId,
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<Event>,
}

struct State {
    nick: Nickname,
    rooms: BTreeMap<RoomName, bool>,
    messages: Vec<Message>,
    peers: Vec<PeerInfo>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

#[derive(Debug, thiserror::Error)]
#[error("the node has stopped")]
pub struct NodeError;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JoinError(String);

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("{text}")]
    NoSuchPeer { text: String },
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("this node is not in {0}: join it first")]
    NotInRoom(RoomName),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Fault,
    NoSuchPeer,
    Refused,
    IdentityMismatch,
}

impl SendError {
    pub fn cause(&self) -> Cause {
        match self {
            SendError::NoSuchPeer { .. } => Cause::NoSuchPeer,
            SendError::Body(_) | SendError::NotInRoom(_) => Cause::Fault,
        }
    }
}

pub struct Events(broadcast::Receiver<Event>);

#[derive(Debug)]
pub enum Lagged {
    Behind(u64),
    Stopped,
}

impl Events {
    pub async fn next(&mut self) -> Result<Event, Lagged> {
        self.0.recv().await.map_err(|e| match e {
            broadcast::error::RecvError::Lagged(n) => Lagged::Behind(n),
            broadcast::error::RecvError::Closed => Lagged::Stopped,
        })
    }
}

impl Node {
    pub async fn start(config: Config) -> Result<Node, StartError> {
        let mut bytes = [7; 32];
        for (i, b) in config.data_dir.as_os_str().as_encoded_bytes().iter().enumerate() {
            bytes[i % 32] ^= b.rotate_left(u32::try_from(i % 8).unwrap());
        }
        let mut rooms = BTreeMap::from([(RoomName::lobby(), true)]);
        rooms.extend(config.rooms.into_iter().map(|r| (r, true)));
        let nick = config.nick.unwrap_or_else(|| Nickname::new("me").unwrap());
        let state = State { nick, rooms, messages: Vec::new(), peers: Vec::new() };
        Ok(Node { id: PeerId::from_bytes(bytes), state: Arc::new(Mutex::new(state)), events: broadcast::channel(256).0 })
    }

    pub fn id(&self) -> PeerId {
        self.id
    }

    pub async fn status(&self) -> Result<Status, NodeError> {
        let addrs = vec!["127.0.0.1:4626".parse().unwrap()];
        let ticket = Ticket { id: self.id, addrs: addrs.iter().map(|&a| HostPort::from(a)).collect(), relays: vec![] };
        let nick = self.state.lock().unwrap().nick.clone();
        Ok(Status { id: self.id, nick, addrs, ticket, rooms: self.rooms().await? })
    }

    fn append(&self, conversation: ConversationRef, body: Body, to: Vec<PeerId>, state: DeliveryState) -> Sent {
        let mut s = self.state.lock().unwrap();
        let id = MessageId { log: LogId(1), seq: s.messages.len() as u64 + 1 };
        let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap();
        let message = Message {
            id,
            conversation: conversation.clone(),
            from: self.id,
            name: s.nick.to_string(),
            body,
            sent_at_ms: now,
            received_at_ms: now,
            state: Some(state),
        };
        s.messages.push(message.clone());
        let _ = self.events.send(Event::Own(message));
        for &peer in to.iter().filter(|_| state == DeliveryState::Delivered) {
            let _ = self.events.send(Event::Receipt { id, peer, state });
        }
        Sent { id, conversation, to }
    }

    pub async fn send(&self, target: Target, body: Body) -> Result<Sent, SendError> {
        body.check()?;
        let state = if matches!(target, Target::Address(_)) { DeliveryState::Delivered } else { DeliveryState::Queued };
        let peer = self.resolve(target).await?;
        Ok(self.append(ConversationRef::Direct(peer), body, vec![peer], state))
    }

    pub async fn broadcast(&self, room: RoomName, body: Body) -> Result<Sent, SendError> {
        body.check()?;
        if !self.state.lock().unwrap().rooms.contains_key(&room) {
            return Err(SendError::NotInRoom(room));
        }
        let to: Vec<_> = self.state.lock().unwrap().peers.iter().map(|p| p.peer).collect();
        Ok(self.append(ConversationRef::Room(room), body, to, DeliveryState::Delivered))
    }

    pub async fn wait_for(&self, id: MessageId, state: DeliveryState) -> Result<DeliveryState, NodeError> {
        let has = self.state.lock().unwrap().messages.iter().find(|m| m.id == id).and_then(|m| m.state);
        if has >= Some(state) { Ok(has.unwrap()) } else { std::future::pending().await }
    }

    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NodeError> {
        Ok(self.state.lock().unwrap().peers.clone())
    }

    pub async fn history(&self, query: HistoryQuery) -> Result<Vec<Message>, NodeError> {
        let s = self.state.lock().unwrap();
        let mut found: Vec<_> = s
            .messages
            .iter()
            .filter(|m| query.conversation.as_ref().is_none_or(|c| *c == m.conversation))
            .filter(|m| query.before.is_none_or(|b| m.id < b))
            .filter(|m| query.since_ms.is_none_or(|t| m.received_at_ms >= t))
            .filter(|m| query.search.as_ref().is_none_or(|q| matches!(&m.body, Body::Text(t) if t.contains(q))))
            .cloned()
            .collect();
        let skip = found.len().saturating_sub(query.limit.unwrap_or(usize::MAX));
        Ok(found.split_off(skip))
    }

    pub async fn resolve(&self, target: Target) -> Result<PeerId, SendError> {
        match target {
            Target::Id(id) | Target::AtRelay(id, _) => Ok(id),
            Target::Ticket(ticket) => Ok(ticket.id),
            Target::Name(name) => {
                Err(SendError::NoSuchPeer { text: format!("nobody here is called {name}: see `hobnob peers`") })
            }
            Target::Address(at) => {
                let peer = PeerId::from_bytes([at.port.to_be_bytes()[1]; 32]);
                let nick = Nickname::new(&format!("p{}", at.port)).unwrap();
                let info = PeerInfo {
                    peer,
                    name: nick.to_string(),
                    nick: Some(nick),
                    state: PeerState::Online,
                    path: Some(PathKind::Lan),
                    addr: format!("127.0.0.1:{}", at.port).parse().ok(),
                    rtt_ms: Some(1.25),
                };
                let mut s = self.state.lock().unwrap();
                if !s.peers.iter().any(|p| p.peer == peer) {
                    s.peers.push(info.clone());
                    let _ = self.events.send(Event::Peer(info));
                }
                Ok(peer)
            }
        }
    }

    pub async fn join(&self, room: RoomName, secret: Option<Vec<u8>>) -> Result<RoomInfo, JoinError> {
        self.state.lock().unwrap().rooms.insert(room.clone(), secret.is_none());
        Ok(RoomInfo { name: room, open: secret.is_none(), here: vec![] })
    }

    pub async fn part(&self, room: RoomName) -> Result<(), JoinError> {
        let gone = self.state.lock().unwrap().rooms.remove(&room);
        gone.map(|_| ()).ok_or_else(|| JoinError(format!("this node is not in {room}")))
    }

    pub async fn rooms(&self) -> Result<Vec<RoomInfo>, NodeError> {
        let s = self.state.lock().unwrap();
        let here: Vec<_> = s.peers.iter().map(|p| p.peer).collect();
        Ok(s.rooms.iter().map(|(name, &open)| RoomInfo { name: name.clone(), open, here: here.clone() }).collect())
    }

    pub async fn set_nick(&self, nick: Nickname) -> Result<(), NodeError> {
        self.state.lock().unwrap().nick = nick;
        Ok(())
    }

    pub async fn settled(&self) {}

    pub fn events(&self) -> Events {
        Events(self.events.subscribe())
    }

    pub async fn shutdown(&self) {}
}
