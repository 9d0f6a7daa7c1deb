//! [`Node`]: the handle by which programs use a running node.
//!
//! The engine behind it is one task that owns all state machines. The handle sends it commands and
//! waits for the replies. Not here: the look-up of the peer that a target names, which is in
//! `resolve`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hobnob_protocol::picture;
use hobnob_protocol::{Body, EntryRef, Nickname, PersonId, RoomName, Target};
use tokio::sync::{mpsc, oneshot, watch};

use crate::apps::Apps;
use crate::engine::{AmendTarget, Command};
use crate::start::highlight_limits;
use crate::{
    Builder, ClientId, Config, ConfigureError, ConversationRef, DeliveryState, EraseError, Events,
    HistoryQuery, KeepTimes, LentRelay, LiveConfig, MailboxInfo, Message, MessageId, Messages,
    NodeError, NotifyRule, PeerInfo, ProfileError, ProfilePicture, SendError, Sent, StartError,
    Status, clock, events, start, transfers,
};

/// A node is settled this long after its start, or when no new peer has appeared for [`QUIET`].
const SETTLED: Duration = Duration::from_millis(2500);
const QUIET: Duration = Duration::from_millis(400);

/// A running node. Clones share it. It runs until [`Node::shutdown`], or until the last clone is
/// dropped.
///
/// No method blocks. A future can be dropped at any time: the request is then carried out or not,
/// and [`Node::history`] shows which.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) id: PersonId,
    pub(crate) data_dir: PathBuf,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) transfers: mpsc::UnboundedSender<transfers::messages::ToTransfers>,
    pub(crate) events: events::EventStream,
    pub(crate) apps: Apps,
    /// Changes whenever a session begins or a name changes.
    pub(crate) met: watch::Receiver<u64>,
    pub(crate) contacts: watch::Receiver<BTreeSet<PersonId>>,
    pub(crate) clock: clock::Clock,
    /// Whether nothing may be sent beyond this machine's links except through the proxy.
    pub(crate) proxy_only: bool,
}

impl Node {
    /// Prepares a node whose key and messages are in this folder. The folder is created if it does
    /// not exist. [`Builder`] has the options.
    pub fn builder(data_dir: impl Into<PathBuf>) -> Builder {
        Builder::new(data_dir.into())
    }

    /// Starts a node with all options in one struct.
    pub async fn start(config: Config) -> Result<Node, StartError> {
        start::start_alone(config).await
    }

    /// Starts a node in a folder whose lock the caller holds as long as the node runs. For
    /// hobnob-control.
    #[doc(hidden)]
    pub async fn start_locked(config: Config) -> Result<Node, StartError> {
        start::start(config, None).await
    }

    /// This node's id. It is the same in every run with the same folder.
    pub fn id(&self) -> PersonId {
        self.id
    }

    /// Events from now on: peers, messages, receipts, files, notices. A slow reader misses events
    /// and does not slow the node down; see [`Events`]. To read every message, use
    /// [`Node::messages`].
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

    /// Every message on this node's disk, in all conversations, own messages included. Each appears
    /// once, in order of arrival. Reading begins after the message `after`, or with the first one,
    /// and continues with new messages as they arrive.
    ///
    /// With this a program handles each message exactly once, even if it crashes. It stores the id
    /// of the last message that it has handled, **in the same transaction as the result**, and
    /// continues from there in its next run. It misses no message that arrived meanwhile, and sees
    /// none twice. A program that only answers messages need not store the id: its answers are
    /// among its own messages, which [`Message::state`] marks. The reader does not keep the node
    /// running.
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
        Messages::new(self, after)
    }

    /// This node's id, nickname, addresses, ticket, rooms, relays and newest notices.
    pub async fn status(&self) -> Result<Status, NodeError> {
        self.ask(Command::Status).await
    }

    /// The holders of this node's mail, and the messages that holders have for peers that are away.
    pub async fn mailbox(&self) -> Result<MailboxInfo, NodeError> {
        self.ask(Command::Mailbox).await
    }

    /// Stores a message for a peer. From then on it will arrive once and in order, the next time
    /// the two nodes connect. To learn when it arrives, use [`Node::wait_for`] or receipts.
    ///
    /// The target is resolved first. In the first three seconds after the start, an unknown name is
    /// looked up until then, since discovery may still find it. An address is dialed, to learn the
    /// id of the peer there.
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
        self.send_as(None, target, body).await
    }

    /// As [`Node::send`], for a program that has to send each message exactly once, even if it
    /// crashes. The program chooses a name for the message and stores it before. If a message with
    /// this name is on disk, nothing is sent, and the answer is about that message.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let ann = hobnob::Node::builder(dir.path().join("ann")).loopback().start().await?;
    /// # let bob = hobnob::Node::builder(dir.path().join("bob")).loopback().start().await?;
    /// let bob = bob.status().await?.ticket;
    /// let order: hobnob::ClientId = "order-4711".parse()?;
    /// let sent = ann.send_once(order.clone(), bob.clone().into(), "two pizzas".into()).await?;
    /// // The program can't tell whether it sent the order, and tries again.
    /// let again = ann.send_once(order, bob.into(), "two pizzas".into()).await?;
    /// assert_eq!(sent.id, again.id);
    /// # Ok(()) }
    /// ```
    pub async fn send_once(
        &self,
        id: ClientId,
        target: Target,
        body: Body,
    ) -> Result<Sent, SendError> {
        self.send_as(Some(id), target, body).await
    }

    async fn send_as(
        &self,
        client_id: Option<ClientId>,
        target: Target,
        body: Body,
    ) -> Result<Sent, SendError> {
        body.check_own()?;
        let send = async |peer, certain, body| {
            self.ask(|reply| Command::Send {
                to: ConversationRef::Direct(peer),
                certain,
                client_id: client_id.clone(),
                body,
                reply,
            })
            .await?
        };
        // A known peer is the usual case. It takes one command instead of two.
        if let Target::Id(peer) = target {
            match send(peer, false, body.clone()).await {
                Err(SendError::UnknownId(_)) => {}
                sent => return sent,
            }
        }
        send(self.resolve(target).await?, true, body).await
    }

    /// Stores a message for a room. In an open room it is for the members that are connected now;
    /// [`Sent::to`] lists them. Call [`Node::settled`] first if the node has just started. In a
    /// room with a secret it is for everybody who has the secret.
    pub async fn broadcast(&self, room: RoomName, body: Body) -> Result<Sent, SendError> {
        self.broadcast_as(None, room, body).await
    }

    /// As [`Node::broadcast`], exactly once: see [`Node::send_once`].
    pub async fn broadcast_once(
        &self,
        id: ClientId,
        room: RoomName,
        body: Body,
    ) -> Result<Sent, SendError> {
        self.broadcast_as(Some(id), room, body).await
    }

    async fn broadcast_as(
        &self,
        client_id: Option<ClientId>,
        room: RoomName,
        body: Body,
    ) -> Result<Sent, SendError> {
        body.check_own()?;
        self.ask(|reply| Command::Send {
            to: ConversationRef::Room(room),
            certain: true,
            client_id,
            body,
            reply,
        })
        .await?
    }

    /// Answers a message of any conversation.
    ///
    /// # Errors
    ///
    /// As [`Node::send`], and [`SendError::NoSuchMessage`].
    pub async fn reply(&self, to: MessageId, text: impl Into<String>) -> Result<Sent, SendError> {
        self.reply_as(None, to, text.into()).await
    }

    /// As [`Node::reply`], exactly once: see [`Node::send_once`].
    pub async fn reply_once(
        &self,
        id: ClientId,
        to: MessageId,
        text: impl Into<String>,
    ) -> Result<Sent, SendError> {
        self.reply_as(Some(id), to, text.into()).await
    }

    async fn reply_as(
        &self,
        client_id: Option<ClientId>,
        to: MessageId,
        text: String,
    ) -> Result<Sent, SendError> {
        let target = self
            .ask(|reply| Command::FindTarget { id: to, reply })
            .await??;
        let to = self.reference_to(&target);
        let body = Body::Reply { to, text };
        self.send_about(client_id, target, body).await
    }

    /// Replaces the text of a message of this node on every node that has it. Its earlier texts
    /// stay in the history, see [`Message::edited`].
    ///
    /// # Errors
    ///
    /// As [`Node::send`], [`SendError::NoSuchMessage`], [`SendError::NotYours`] and
    /// [`SendError::NotEditable`].
    pub async fn edit(&self, of: MessageId, text: impl Into<String>) -> Result<Sent, SendError> {
        let target = self
            .ask(|reply| Command::FindTarget { id: of, reply })
            .await??;
        if target.author != self.id {
            return Err(SendError::NotYours(target.name));
        }
        if !target.has_text {
            return Err(SendError::NotEditable);
        }
        let (log, seq, text) = (target.entry.log, target.entry.seq, text.into());
        self.send_about(None, target, Body::Edit { log, seq, text })
            .await
    }

    /// Adds an emoji to a message, or takes it back.
    ///
    /// # Errors
    ///
    /// As [`Node::send`], and [`SendError::NoSuchMessage`].
    pub async fn react(
        &self,
        to: MessageId,
        emoji: impl Into<String>,
        on: bool,
    ) -> Result<Sent, SendError> {
        let target = self
            .ask(|reply| Command::FindTarget { id: to, reply })
            .await??;
        let (to, emoji) = (self.reference_to(&target), emoji.into());
        self.send_about(None, target, Body::React { to, emoji, on })
            .await
    }

    /// Pins a message of any conversation for everybody who has it, or takes that back. The newest
    /// decision about a message counts, whoever made it.
    ///
    /// # Errors
    ///
    /// As [`Node::send`], and [`SendError::NoSuchMessage`].
    pub async fn pin(&self, to: MessageId, on: bool) -> Result<Sent, SendError> {
        let target = self
            .ask(|reply| Command::FindTarget { id: to, reply })
            .await??;
        let to = self.reference_to(&target);
        self.send_about(None, target, Body::Pin { to, on }).await
    }

    /// The pinned messages of a conversation whose contents are here, the one pinned last at the
    /// end: at most 100.
    pub async fn pins(&self, conversation: ConversationRef) -> Result<Vec<Message>, NodeError> {
        self.ask(|reply| Command::Pins {
            conversation,
            reply,
        })
        .await?
    }

    /// Sets the topic of a room, of at most
    /// [`TOPIC_BYTES_MAX`](hobnob_protocol::entry::TOPIC_BYTES_MAX) bytes. An empty text removes
    /// it. Every member may. The newest topic counts, in the order that is the same on every node.
    ///
    /// In an open room, only members that are connected now receive it.
    ///
    /// # Errors
    ///
    /// As [`Node::broadcast`].
    pub async fn set_topic(
        &self,
        room: RoomName,
        topic: impl Into<String>,
    ) -> Result<Sent, SendError> {
        self.broadcast(room, Body::Topic(topic.into())).await
    }

    /// A header names an author only if it is another one.
    fn reference_to(&self, target: &AmendTarget) -> EntryRef {
        let author = target.entry.author.filter(|author| *author != self.id);
        EntryRef {
            author,
            ..target.entry
        }
    }

    async fn send_about(
        &self,
        client_id: Option<ClientId>,
        target: AmendTarget,
        body: Body,
    ) -> Result<Sent, SendError> {
        body.check_own()?;
        self.ask(|reply| Command::Send {
            to: target.conversation,
            certain: true,
            client_id,
            body,
            reply,
        })
        .await?
    }

    pub(super) async fn tell(&self, command: Command) -> Result<(), NodeError> {
        let sent = self.commands.send(command).await;
        sent.map_err(|_| NodeError::Stopped)
    }

    /// Deletes a message of this node that has not left this node: no other node ever gets its
    /// text. The number of the message stays.
    ///
    /// # Errors
    ///
    /// [`EraseError::HasGoneOut`] if a session or a holder of a mailbox was handed the message, or
    /// if an earlier run of this node wrote it: nobody knows then. [`EraseError::NotYours`] and
    /// [`EraseError::NoSuchMessage`].
    pub async fn cancel(&self, id: MessageId) -> Result<(), EraseError> {
        let edits = self.ask(|reply| Command::Edits { id, reply }).await??;
        self.ask(|reply| Command::Cancel { id, edits, reply })
            .await?
    }

    /// Waits until a message of this node has this state with all its addressees. That may take for
    /// ever, so use a time limit. Dropping the future ends the waiting; the message stays queued.
    ///
    /// The addressees of a message to a room are known during the run that wrote it, for the newest
    /// 8192 messages. One that leaves the room is none any more. If nobody else is waited for, the
    /// answer is [`DeliveryState::Sent`] at most.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let node = hobnob::Node::builder(dir.path()).loopback().start().await?;
    /// use std::time::Duration;
    /// use hobnob::{DeliveryState, PersonId, Ticket};
    ///
    /// // Somebody who is not there: the message waits for them.
    /// let away = Ticket { id: PersonId::from_bytes([7; 32]), addrs: vec![], relays: vec![] };
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

    /// All known peers: those connected now, those that were met or written to before, and the
    /// members of this node's rooms that a relay lists. Of a member that was never met, and whose
    /// public record has not arrived, nothing but the id is known.
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, NodeError> {
        self.ask(Command::Peers).await
    }

    /// One known peer.
    pub async fn peer(&self, peer: PersonId) -> Result<Option<PeerInfo>, NodeError> {
        self.ask(|reply| Command::Peer(peer, reply)).await
    }

    /// Reads stored messages: the newest that match the query, oldest first.
    ///
    /// Messages of one conversation are in display order, which is the same on every node: an
    /// answer follows the message that it answers. Messages of all conversations, and those that a
    /// search finds, are in order of arrival.
    /// `before` and `after` continue in that order. In display order a new message may precede one
    /// that was read already. To follow new messages, use [`Node::messages`].
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

    /// Deletes a message. A message of this node is deleted on every node that has it, as soon as
    /// this node meets it; with `here`, on this node only. A message of somebody else is erased on
    /// this node only. Returns when no file of this node contains the message any more.
    ///
    /// # Errors
    ///
    /// [`EraseError::Undelivered`] if a message of this node would be erased here only, and is not
    /// delivered yet. `yes` erases it all the same.
    pub async fn delete(&self, id: MessageId, here: bool, yes: bool) -> Result<(), EraseError> {
        let edits = self.ask(|reply| Command::Edits { id, reply }).await??;
        self.ask(|reply| Command::Delete {
            id,
            edits,
            here,
            yes,
            reply,
        })
        .await?
    }

    /// Erases all messages of a conversation on this node. Nobody else learns of it. Returns when
    /// no file of this node contains them any more.
    ///
    /// # Errors
    ///
    /// [`EraseError::Undelivered`] if own messages are not delivered yet. Then nothing is erased.
    /// `yes` erases them all the same.
    pub async fn clear(&self, conversation: ConversationRef, yes: bool) -> Result<(), EraseError> {
        self.ask(|reply| Command::Clear {
            conversation,
            yes,
            reply,
        })
        .await?
    }

    /// Erases the direct conversation with a peer on this node, as [`Node::clear`], and forgets the
    /// peer: it is a stranger, and its name and its addresses are dropped, also those that the user
    /// typed. Until the next start, only a new session with the peer brings its name back. It stays
    /// blocked or ignored.
    pub async fn forget(&self, peer: PersonId, yes: bool) -> Result<(), EraseError> {
        self.clear(ConversationRef::Direct(peer), yes).await?;
        Ok(self.ask(|reply| Command::Forget(peer, reply)).await?)
    }

    /// Removes one address of a peer, such as one that the user typed wrongly. A node uses the
    /// others, and learns further ones as before.
    ///
    /// # Errors
    ///
    /// [`EraseError::NoSuchAddress`] if the node knows no such address of the peer.
    pub async fn forget_address(&self, peer: PersonId, addr: SocketAddr) -> Result<(), EraseError> {
        let was_there = self
            .ask(|reply| Command::ForgetAddress(peer, addr, reply))
            .await?;
        if was_there {
            Ok(())
        } else {
            Err(EraseError::NoSuchAddress(addr))
        }
    }

    /// Sets how long the messages of a conversation are kept on this node. Older ones are erased
    /// every hour, except those of this node that are not delivered yet. `None` keeps them for
    /// ever.
    pub async fn keep(
        &self,
        conversation: ConversationRef,
        keep: Option<Duration>,
    ) -> Result<(), EraseError> {
        self.ask(|reply| Command::Keep {
            conversation,
            keep,
            reply,
        })
        .await?
    }

    /// How long messages are kept: what [`Node::keep`] has set for conversations of this node, and the
    /// default of all others.
    pub async fn keep_times(&self) -> Result<KeepTimes, NodeError> {
        self.ask(Command::KeepTimes).await
    }

    /// Sets of which messages in a conversation the user is alerted: [`Message::notify`]. `None`: the
    /// default, see [`NotifyRule::default_of`].
    pub async fn set_notify(
        &self,
        conversation: ConversationRef,
        rule: Option<NotifyRule>,
    ) -> Result<(), NodeError> {
        self.ask(|reply| Command::SetNotify {
            conversation,
            rule,
            reply,
        })
        .await?
    }

    /// The rules that [`Node::set_notify`] has set for conversations of this node.
    pub async fn notify_rules(&self) -> Result<Vec<(ConversationRef, NotifyRule)>, NodeError> {
        self.ask(Command::NotifyRules).await
    }

    /// Takes other settings from now on, until the node stops. The next start has its own
    /// [`Config`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// use hobnob::{Config, LiveConfig, Node};
    /// # let node = Node::builder(dir.path()).loopback().start().await?;
    ///
    /// let mut config = Config::new(dir.path());
    /// config.highlights = vec!["outage".into()];
    /// node.configure(LiveConfig::from(config)).await?;
    /// # node.shutdown().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigureError::TooMuch`] if there are too many highlight words, or one is too long. Then
    /// nothing has changed.
    pub async fn configure(&self, config: LiveConfig) -> Result<(), ConfigureError> {
        let mut limits = highlight_limits(&config.highlights).into_iter();
        if let Some((given, max, what)) = limits.find(|(given, max, _)| given > max) {
            let what = format!("{max} {what}");
            return Err(ConfigureError::TooMuch { what, given });
        }
        let config = Box::new(config);
        let configured = self.ask(|reply| Command::Configure { config, reply });
        Ok(configured.await?)
    }

    /// Changes the nickname, for this run and later ones.
    pub async fn set_nick(&self, nick: Nickname) -> Result<(), NodeError> {
        self.ask(|reply| Command::SetNick { nick, reply }).await
    }

    /// Sets the profile picture, for this run and later ones, or removes it. Contacts and members
    /// of rooms with a key see it. The picture is sent as it is, with all that the file says about
    /// it, such as the place where it was taken.
    ///
    /// # Errors
    ///
    /// [`ProfileError::Picture`] if the picture is larger than
    /// [`PICTURE_BYTES_MAX`](hobnob_protocol::picture::PICTURE_BYTES_MAX), or no PNG, JPEG, WebP or
    /// GIF file.
    pub async fn set_picture(&self, picture: Option<Vec<u8>>) -> Result<(), ProfileError> {
        let picture = match picture {
            Some(bytes) => {
                let (_, hash) = picture::check(&bytes)?;
                Some((hash, bytes.into()))
            }
            None => None,
        };
        let set = self.ask(|reply| Command::SetPicture { picture, reply });
        Ok(set.await??)
    }

    /// The profile picture of a peer, or of this node itself. `None` if there is none, or if it is
    /// not here: peers send it to contacts and members only, see [`PeerInfo::picture`].
    pub async fn picture(&self, of: PersonId) -> Result<Option<ProfilePicture>, NodeError> {
        self.ask(|reply| Command::Picture { of, reply }).await?
    }

    /// Reports the result of an automatic backup to the user: why it failed, or none. A failure is
    /// a notice, and a finding of [`Node::diagnose`]. The caller makes the backups.
    pub async fn report_backup(&self, fault: Option<String>) -> Result<(), NodeError> {
        self.ask(|reply| Command::ReportBackup(fault, reply)).await
    }

    /// The contacts that are not blocked, now and after each change. A relay that this node lends
    /// admits them, and nobody else.
    pub fn contacts(&self) -> watch::Receiver<BTreeSet<PersonId>> {
        self.contacts.clone()
    }

    /// A relay on this machine serves the contacts of this node from now on. They learn where it is,
    /// and this node registers there. The caller runs the relay, which admits [`Node::contacts`] and
    /// this node itself. Call it again when the relay's address changes.
    ///
    /// # Errors
    ///
    /// [`NodeError::Stopped`] when the node has stopped.
    pub async fn lend_relay(&self, relay: LentRelay) -> Result<(), NodeError> {
        self.ask(|reply| Command::LendRelay(relay, reply)).await
    }

    /// Waits until discovery has had its chance: no new peer has appeared for a moment, or 2.5 s have
    /// passed since the start. Call it before the first [`Node::broadcast`].
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

    /// Stops the node: says goodbye to its peers, and closes the store. When this returns, another
    /// node may start in the folder. Later calls on this node fail with [`NodeError::Stopped`].
    pub async fn shutdown(&self) {
        // An error means that the node has stopped already.
        let _ = self.ask(Command::Shutdown).await;
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
