//! The node: the shell around core that owns the tasks, the store and the sessions.
//!
//! [`Node`] is a handle; the engine behind it is one task that owns all state machines. Whatever
//! waits for a peer, the disk or the system does so in a task of its own and reports back, so that
//! the engine never waits for anybody.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hobnob_protocol::{Body, HostPort, Nickname, PeerId, RelayAddr, RoomName, Target, Ticket};
use tokio::sync::{mpsc, oneshot, watch};

use crate::engine::Command;
use crate::{
    Builder, Config, ConversationRef, DeliveryState, Events, HistoryQuery, JoinError, Message,
    MessageId, Messages, NodeError, PeerInfo, RoomInfo, SendError, Sent, StartError, Status, clock,
    events, start, transfers,
};
use hobnob_core::peers::ResolveError;

/// How long after its start a node waits for peers to be discovered before it says that a name is
/// nobody's.
const DISCOVERY: Duration = Duration::from_secs(3);

/// After this time, or once nobody new has come for [`QUIET`], those who are there have been met.
const SETTLED: Duration = Duration::from_millis(2500);
const QUIET: Duration = Duration::from_millis(400);

/// A running node. Clones share it; it runs until [`Node::shutdown`], or until the last clone is
/// dropped.
///
/// Nothing here blocks, and none of the futures loses anything when it is dropped: what was asked
/// is then done or not, as [`Node::history`] tells.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) id: PeerId,
    pub(crate) data_dir: PathBuf,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) transfers: mpsc::UnboundedSender<transfers::messages::ToTransfers>,
    pub(crate) events: events::EventStream,
    /// Changes whenever somebody was met or a name changed.
    pub(crate) met: watch::Receiver<u64>,
    pub(crate) clock: clock::Clock,
}

impl Node {
    /// A node that is to run with its key and its messages in this folder, which is made if need
    /// be. See [`Builder`] for what can be said of it before it starts.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let node = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
    /// println!("I am {}", node.id());
    /// node.shutdown().await;
    /// # Ok(()) }
    /// ```
    pub fn builder(data_dir: impl Into<PathBuf>) -> Builder {
        Builder::new(data_dir.into())
    }

    /// Starts a node with all that [`Builder`] says one by one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// use hobnob::{Config, Node};
    ///
    /// let config = Config { listen: Some("127.0.0.1:0".parse()?), mdns: false, ..Config::new(dir.path()) };
    /// let node = Node::start(config).await?;
    /// # Ok(()) }
    /// ```
    pub async fn start(config: Config) -> Result<Node, StartError> {
        start::start_alone(config).await
    }

    /// Starts a node in a folder whose lock the caller holds for as long as the node runs: for
    /// hobnob-control.
    #[doc(hidden)]
    pub async fn start_locked(config: Config) -> Result<Node, StartError> {
        start::start(config, None).await
    }

    /// This node's id: the same in every run with the same folder.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// let id = node.id();
    /// assert_eq!(id.to_string().len(), 52);
    /// assert_eq!(id.to_string().parse(), Ok(id));
    /// # Ok(()) }
    /// ```
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// What happens from now on: who comes and goes, what is said, how far it has come. A slow
    /// reader loses events, never the node its time; see [`Events`]. For messages alone, none left
    /// out, there is [`Node::messages`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
    /// use hobnob::{Event, PeerState};
    ///
    /// let mut events = bob.events();
    /// ann.send(bob.status().await?.ticket.into(), "hi".into()).await?;
    /// loop {
    ///     match events.next().await? {
    ///         Event::Peer(peer) if peer.state == PeerState::Online => println!("{} is here", peer.name),
    ///         Event::Message(message) => {
    ///             assert_eq!((message.name.as_str(), message.body), ("ann", "hi".into()));
    ///             break;
    ///         }
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn events(&self) -> Events {
        self.events.subscribe()
    }

    /// Every message that is on disk here, of all conversations, own ones included: each once, in
    /// the order in which it came here, from the one after `after` on, or from the first; then
    /// those that come, as they come.
    ///
    /// This is how a program handles each message exactly once, whatever happens to it: it keeps
    /// the id of the last message that it has handled, **in the same transaction as what handling
    /// did**, and goes on from there when it next runs. It misses nothing that came while it was
    /// away, however long, and sees nothing twice. A program whose work is to answer can do without
    /// a place to keep the id: what it has answered stands among its own messages, as
    /// [`Message::state`] shows.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
    /// use hobnob::{Body, Node};
    ///
    /// for text in ["one", "two", "three"] {
    ///     ann.send(bob.status().await?.ticket.into(), text.into()).await?;
    /// }
    /// let mut messages = bob.messages(None);
    /// assert_eq!(messages.next().await?.body, "one".into());
    /// let handled = messages.next().await?;
    /// assert_eq!(handled.body, "two".into());
    /// // The program ends here, and remembers `handled.id`, which is a short text, too:
    /// let remembered = handled.id.to_string();
    /// # drop(messages);
    /// bob.shutdown().await;
    ///
    /// let bob = Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// let mut messages = bob.messages(Some(remembered.parse()?));
    /// # ann.send(bob.status().await?.ticket.into(), "four".into()).await?;
    /// assert_eq!(messages.next().await?.body, "three".into());
    /// # Ok(()) }
    /// ```
    pub fn messages(&self, after: Option<MessageId>) -> Messages {
        Messages::new(self.clone(), after)
    }

    /// What this node is: its id and nickname, addresses, ticket, rooms and relays.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// let status = node.status().await?;
    /// println!("{} ({}) can be reached with {}", status.nick, status.id.short(), status.ticket);
    /// # Ok(()) }
    /// ```
    pub async fn status(&self) -> Result<Status, NodeError> {
        self.ask(Command::Status).await
    }

    /// Puts a message for a peer on disk; from then on it will arrive, once, in order, whenever the
    /// two next meet. Whether it has, [`Node::wait_for`] and receipts tell.
    ///
    /// Names are looked up first, for a moment longer while the node is young: up to three seconds
    /// after its start, somebody who is not known yet may still be discovered. An address is
    /// dialed, so that it is known whose message it is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
    /// use hobnob::{Body, DeliveryState, SendError};
    ///
    /// // A peer is named by its address, its ticket, its id or the start of it, or its nickname.
    /// let sent = ann.send(bob.status().await?.ticket.into(), "hi".into()).await?;
    /// assert_eq!(ann.wait_for(sent.id, DeliveryState::Delivered).await?, DeliveryState::Delivered);
    ///
    /// // Programs speak to programs of their kind.
    /// let hello = Body::App { kind: "org.example.chess".into(), bytes: vec![1, 2, 3] };
    /// ann.send("bob".parse()?, hello).await?;
    ///
    /// assert_eq!(ann.send(ann.id().into(), "hi".into()).await.unwrap_err(), SendError::Myself);
    /// # Ok(()) }
    /// ```
    pub async fn send(&self, target: Target, body: Body) -> Result<Sent, SendError> {
        body.check_own()?;
        let send = async |peer, certain, body| {
            self.ask(|reply| Command::Send {
                to: ConversationRef::Direct(peer),
                certain,
                body,
                reply,
            })
            .await?
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

    /// Puts a message for a room on disk, for those who are in it. In an open room, that is who is
    /// there now: [`Sent::to`] says who, and a node that has just started waits until it is
    /// [`Node::settled`] first. In a room with a secret it is whoever has the secret.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
    /// use hobnob::{DeliveryState, RoomName};
    ///
    /// # bob.resolve(ann.status().await?.ticket.into()).await?;
    /// # ann.send(bob.id().into(), "to meet".into()).await?;
    /// let sent = ann.broadcast(RoomName::lobby(), "good morning, everybody".into()).await?;
    /// ann.wait_for(sent.id, DeliveryState::Delivered).await?;
    /// println!("delivered to all {} who are there", sent.to.len());
    /// # Ok(()) }
    /// ```
    pub async fn broadcast(&self, room: RoomName, body: Body) -> Result<Sent, SendError> {
        body.check_own()?;
        self.ask(|reply| Command::Send {
            to: ConversationRef::Room(room),
            certain: true,
            body,
            reply,
        })
        .await?
    }

    /// Waits until a message of this node's own has come so far with everybody it is for; for as
    /// long as that takes, which may be for ever: put a time limit around it. Dropping the future
    /// gives up waiting, not the message.
    ///
    /// For whom a message to a room was is known within the run that wrote it, for the newest 8192.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// use std::time::Duration;
    /// use hobnob::{DeliveryState, PeerId, Ticket};
    ///
    /// // Somebody who is not there: the message waits for them.
    /// let away = Ticket { id: PeerId::from_bytes([7; 32]), addrs: vec![], relays: vec![] };
    /// let sent = node.send(away.into(), "call me back".into()).await?;
    /// let delivered = node.wait_for(sent.id, DeliveryState::Delivered);
    /// assert!(tokio::time::timeout(Duration::from_millis(10), delivered).await.is_err());
    /// assert_eq!(node.wait_for(sent.id, DeliveryState::Queued).await?, DeliveryState::Queued);
    /// # Ok(()) }
    /// ```
    pub async fn wait_for(
        &self,
        id: MessageId,
        state: DeliveryState,
    ) -> Result<DeliveryState, NodeError> {
        self.ask(|reply| Command::WaitFor { id, state, reply })
            .await?
    }

    /// Everybody known: who is here, and who was met or written to before.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
    /// use hobnob::PeerState;
    ///
    /// ann.resolve(bob.status().await?.ticket.into()).await?;
    /// for peer in ann.peers().await? {
    ///     println!("{} is {} at {:?}", peer.name, peer.state.as_str(), peer.addr);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NodeError> {
        self.ask(Command::Peers).await
    }

    /// What is known of one peer; none if it is not known.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// assert_eq!(node.peer(node.id()).await?, None, "nobody is a peer of their own");
    /// # Ok(()) }
    /// ```
    pub async fn peer(&self, peer: PeerId) -> Result<Option<PeerInfo>, NodeError> {
        self.ask(|reply| Command::Peer(peer, reply)).await
    }

    /// Reads messages back, the newest that fit the query, oldest first.
    ///
    /// Of one conversation they come in display order, which is the same on every node: who
    /// answered comes after what was answered. Of all conversations they come in the order in which
    /// they came here. `before` and `after` go on in the order of the answer; in display order,
    /// something new may come before what was read already, so to follow what comes is for
    /// [`Node::messages`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
    /// use hobnob::{ConversationRef, HistoryQuery};
    ///
    /// for text in ["breakfast?", "lunch at noon?", "supper, then"] {
    ///     ann.send(bob.status().await?.ticket.into(), text.into()).await?;
    /// }
    /// let conversation = Some(ConversationRef::Direct(bob.id()));
    /// let newest = HistoryQuery { conversation: conversation.clone(), limit: Some(2), ..HistoryQuery::default() };
    /// let page = ann.history(newest.clone()).await?;
    /// assert_eq!(page[1].body, "supper, then".into());
    /// let before = ann.history(HistoryQuery { before: Some(page[0].id), ..newest }).await?;
    /// assert_eq!(before[0].body, "breakfast?".into());
    /// let found = ann.history(HistoryQuery { search: Some("lunch".into()), ..HistoryQuery::default() }).await?;
    /// assert_eq!(found.len(), 1);
    /// # Ok(()) }
    /// ```
    pub async fn history(&self, query: HistoryQuery) -> Result<Vec<Message>, NodeError> {
        self.ask(|reply| Command::History { query, reply }).await?
    }

    /// Joins a room, for this run and later ones. With a secret, only those who have it are
    /// members, and read what is said there; a room with a secret is another room than the open one
    /// of that name.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// use hobnob::JoinError;
    ///
    /// let room = node.join("ops".parse()?, Some(b"correct horse battery staple".to_vec())).await?;
    /// assert!(!room.open);
    /// let other = node.join("ops".parse()?, Some(b"another".to_vec())).await;
    /// assert!(matches!(other, Err(JoinError::OtherSecret(_))));
    /// # Ok(()) }
    /// ```
    pub async fn join(
        &self,
        room: RoomName,
        secret: Option<Vec<u8>>,
    ) -> Result<RoomInfo, JoinError> {
        self.ask(|reply| Command::Join {
            room,
            secret,
            reply,
        })
        .await?
    }

    /// Leaves a room. What was said there stays readable.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// use hobnob::{RoomName, SendError};
    ///
    /// node.part(RoomName::lobby()).await?;
    /// let refused = node.broadcast(RoomName::lobby(), "is anybody here?".into()).await;
    /// assert!(matches!(refused, Err(SendError::NotInRoom(_))));
    /// # Ok(()) }
    /// ```
    pub async fn part(&self, room: RoomName) -> Result<(), JoinError> {
        self.ask(|reply| Command::Part { room, reply }).await?
    }

    /// The rooms this node is in.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// let rooms = node.rooms().await?;
    /// assert_eq!(rooms[0].name.to_string(), "#lobby");
    /// # Ok(()) }
    /// ```
    pub async fn rooms(&self) -> Result<Vec<RoomInfo>, NodeError> {
        self.status().await.map(|status| status.rooms)
    }

    /// Takes another nickname, now and for later runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// node.set_nick("ann".parse()?).await?;
    /// assert_eq!(node.status().await?.nick.as_str(), "ann");
    /// # Ok(()) }
    /// ```
    pub async fn set_nick(&self, nick: Nickname) -> Result<(), NodeError> {
        self.ask(|reply| Command::SetNick { nick, reply }).await
    }

    /// Finds out whom a target means; dials where an address says so. Names are looked up as
    /// [`Node::send`] does.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
    /// let addr = bob.status().await?.addrs[0];
    /// assert_eq!(ann.resolve(addr.to_string().parse()?).await?, bob.id());
    /// # Ok(()) }
    /// ```
    pub async fn resolve(&self, target: Target) -> Result<PeerId, SendError> {
        match target {
            Target::Name(name) => self.resolve_name(name).await,
            Target::Id(peer) => self.resolve_id(peer).await,
            Target::Address(at) => self.resolve_address(at).await,
            Target::Ticket(ticket) => self.resolve_ticket(ticket).await,
            Target::AtRelay(peer, at) => {
                self.reach(peer, Vec::new(), vec![RelayAddr { id: None, at }])
                    .await
            }
        }
    }

    /// Returns once discovery has had its chance: nobody new has come for a moment, or 2.5 s have
    /// passed since the start. Worth waiting for before a first [`Node::broadcast`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// node.settled().await;
    /// println!("{} are here", node.peers().await?.len());
    /// # Ok(()) }
    /// ```
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

    /// Stops the node: says goodbye to its peers, and closes the store. Returns when all is done;
    /// then the folder is free for another start. Whoever asks this node for anything afterwards is
    /// told that it has stopped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// use hobnob::NodeError;
    ///
    /// node.shutdown().await;
    /// assert_eq!(node.peers().await.unwrap_err(), NodeError::Stopped);
    /// # Ok(()) }
    /// ```
    pub async fn shutdown(&self) {
        // A node that has stopped already has done all of it.
        let _ = self.ask(Command::Shutdown).await;
    }

    pub(crate) async fn resolve_name(&self, name: String) -> Result<PeerId, SendError> {
        let found = self
            .until_known(|| async {
                match self
                    .ask(|reply| Command::Resolve {
                        name: name.clone(),
                        reply,
                    })
                    .await
                {
                    Ok(Err(unknown @ ResolveError::Unknown { .. })) => {
                        Err(SendError::from(unknown))
                    }
                    Ok(Ok(peer)) => Ok(Ok(peer)),
                    Ok(Err(error)) => Ok(Err(error.into())),
                    Err(_) => Ok(Err(SendError::Stopped)),
                }
            })
            .await;
        found?
    }

    pub(crate) async fn resolve_id(&self, peer: PeerId) -> Result<PeerId, SendError> {
        if peer == self.id {
            return Err(SendError::Myself);
        }
        let known = async || {
            self.ask(|reply| Command::IsKnown { peer, reply })
                .await
                .unwrap_or(false)
        };
        self.until_known(|| async {
            if known().await {
                Ok(peer)
            } else {
                Err(SendError::UnknownId(peer))
            }
        })
        .await
    }

    /// Tries until it succeeds or the node has been up long enough to have met everybody who is
    /// there.
    pub(crate) async fn until_known<T, F: Future<Output = Result<T, SendError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, SendError> {
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

    pub(crate) async fn resolve_address(&self, at: HostPort) -> Result<PeerId, SendError> {
        let mut failure = None;
        for addr in look_up(&at).await? {
            match self
                .ask(|reply| Command::Dial {
                    addr,
                    expected: None,
                    reply,
                })
                .await?
            {
                Ok(peer) => return Ok(peer),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or(SendError::Host {
            host: at.host,
            why: "it has no address".to_owned(),
        }))
    }

    pub(crate) async fn resolve_ticket(&self, ticket: Ticket) -> Result<PeerId, SendError> {
        if ticket.id == self.id {
            return Err(SendError::Myself);
        }
        if !ticket.relays.is_empty() {
            return self
                .reach(ticket.id, look_up_all(&ticket.addrs).await, ticket.relays)
                .await;
        }
        let mut failure = None;
        for at in &ticket.addrs {
            for addr in look_up(at).await.unwrap_or_default() {
                match self
                    .ask(|reply| Command::Dial {
                        addr,
                        expected: Some(ticket.id),
                        reply,
                    })
                    .await?
                {
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

    /// A peer at a relay. Who it is is certain, whether or not it is there now: a message waits for
    /// it.
    pub(crate) async fn reach(
        &self,
        peer: PeerId,
        addrs: Vec<SocketAddr>,
        relays: Vec<RelayAddr>,
    ) -> Result<PeerId, SendError> {
        if peer == self.id {
            return Err(SendError::Myself);
        }
        self.ask(|reply| Command::Reach {
            peer,
            addrs,
            relays,
            reply,
        })
        .await?;
        Ok(peer)
    }

    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, NodeError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| NodeError::Stopped)?;
        answer.await.map_err(|_| NodeError::Stopped)
    }
}

impl From<NodeError> for SendError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Store(why) => SendError::Store(why),
            NodeError::Stopped | NodeError::NoSuchMessage | NodeError::NoSuchConversation(_) => {
                SendError::Stopped
            }
        }
    }
}

impl From<NodeError> for JoinError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Store(why) => JoinError::Store(why),
            NodeError::Stopped | NodeError::NoSuchMessage | NodeError::NoSuchConversation(_) => {
                JoinError::Stopped
            }
        }
    }
}

/// The addresses of a host: of a name by the system's resolver, of a literal (with or without a
/// zone) itself.
pub(crate) async fn look_up(at: &HostPort) -> Result<Vec<SocketAddr>, SendError> {
    let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
    let why = |error: std::io::Error| SendError::Host {
        host: at.host.clone(),
        why: error.to_string(),
    };
    Ok(found.map_err(why)?.take(8).collect())
}

/// The addresses of several hosts, as far as they can be looked up.
pub(crate) async fn look_up_all(hosts: &[HostPort]) -> Vec<SocketAddr> {
    let mut addrs = Vec::new();
    for at in hosts {
        addrs.extend(look_up(at).await.unwrap_or_default());
    }
    addrs
}
