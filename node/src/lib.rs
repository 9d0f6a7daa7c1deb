//! A peer-to-peer chat node as a library.
//!
//! A [`Node`] finds other nodes on the local network, reaches distant ones through relays, and
//! exchanges messages with them, either with one peer or with everybody in a room. It guarantees
//! that **a message which it accepted is never lost, arrives exactly once at each addressee and in
//! its author's order, and counts as delivered only when it is on the addressee's disk.**
//!
//! # A first conversation
//!
//! This program runs two nodes in one process. Each has a folder for its key and its messages. In
//! real use, nodes run on different machines and discover each other. These two use the loopback
//! interface only ([`Builder::loopback`]), so one needs the ticket of the other.
//!
//! ```
//! use hobnob::{DeliveryState, Event, Node};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let ann = Node::builder(dir.path().join("ann")).nick("ann".parse()?).loopback().start().await?;
//! let bob = Node::builder(dir.path().join("bob")).nick("bob".parse()?).loopback().start().await?;
//!
//! let mut heard = bob.events();
//! let sent = ann.send(bob.status().await?.ticket.into(), "lunch at noon?".into()).await?;
//! ann.wait_for(sent.id, DeliveryState::Delivered).await?; // it is on bob's disk
//!
//! let message = loop {
//!     if let Event::Message(message) = heard.next().await? {
//!         break message;
//!     }
//! };
//! assert_eq!(message.body, "lunch at noon?".into());
//! bob.send(message.from.into(), "with pleasure".into()).await?;
//!
//! ann.shutdown().await;
//! bob.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! # Sending, and delivery states
//!
//! [`Node::send`] and [`Node::broadcast`] return once the message is on this node's disk. The
//! program need not do anything more: if the peer is away, the message is delivered the next time
//! the two nodes connect, in this run or a later one. To learn when it arrives, use
//! [`Node::wait_for`] or listen for [`Event::Receipt`]. If sending returns an error, the message
//! was not stored and will not be sent.
//!
//! A [`Body`] is either text for people or an *app message* for programs: a reverse-DNS name of
//! the program, and up to 16 KiB of bytes. App messages are as durable and as ordered as text. A
//! node also stores and forwards app messages that no program on its machine understands.
//!
//! # Each message exactly once
//!
//! [`Node::events`] reports what happens while the program listens. A slow reader misses events,
//! and so does a program that is not running. A program that must handle every message reads
//! [`Node::messages`] instead. It stores the id of the last message that it handled, in the same
//! transaction as the result, and continues from there when it next runs:
//!
//! ```
//! # use hobnob::{MessageId, Node, NodeError};
//! # struct Ledger(Option<MessageId>, Vec<String>);
//! # impl Ledger {
//! #     fn last(&self) -> Option<MessageId> { self.0 }
//! #     fn book(&mut self, message: &hobnob::Message) { self.0 = Some(message.id); self.1.push(format!("{:?}", message.body)); }
//! # }
//! async fn run(node: &Node, ledger: &mut Ledger) -> Result<(), NodeError> {
//!     let mut messages = node.messages(ledger.last());
//!     loop {
//!         let message = messages.next().await?;
//!         ledger.book(&message); // one transaction: what it says, and `message.id`
//!     }
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let node = Node::builder(dir.path()).loopback().start().await?;
//! # node.broadcast("lobby".parse()?, "one".into()).await?;
//! # let mut ledger = Ledger(None, Vec::new());
//! # for text in ["two", "three"] {
//! #     let limit = std::time::Duration::from_millis(200);
//! #     let _ = tokio::time::timeout(limit, run(&node, &mut ledger)).await;
//! #     node.broadcast("lobby".parse()?, text.into()).await?;
//! # }
//! # assert_eq!(ledger.1.len(), 2);
//! # Ok(()) }
//! ```
//!
//! A game needs even less. Its moves are app messages, so the log of the conversation *is* the
//! game, and [`Node::history`] returns it after a restart. See `examples/checkers.rs`.
//!
//! # Games and screens
//!
//! What must arrive now or never, such as the position of a ball, does not belong into messages.
//! Two programs that run under the same name at contacts exchange datagrams and streams over the
//! nodes' connection: see [`Node::app`] and `examples/draw.rs`.
//!
//! # People and rooms
//!
//! A [`PersonId`] is a public key and cannot be forged. A nickname is only a hint, and several peers
//! may use the same one. Users name a peer by a [`Target`]: an id, a nickname, an address, or a
//! [`Ticket`], which contains everything that is needed to reach the peer from anywhere. Messages
//! in an open room go to the members that are connected when a message is written. Messages in a
//! room with a secret go to everybody who has the secret.
//!
//! # Costs and limits
//!
//! A node uses one UDP socket, one SQLite database with three threads, and one task, plus about
//! 60 KiB for each connected peer. Every queue that a peer or a reader can fill is bounded. The
//! node needs a tokio runtime with time and I/O enabled.

// For the project's own tests and simulator. These are not part of the API and may change
// at any time.
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod store;
#[doc(hidden)]
pub use transfers::clean_paths;

mod activity;
mod api;
mod apps;
mod builder;
mod carried;
mod clock;
mod data_key;
mod diagnosis;
mod engine;
mod error;
mod events;
mod files;
mod held;
mod invariants;
mod invitations;
mod locked_home;
mod messages;
mod node;
mod policy;
mod resolve;
mod rooms;
mod snapshot;
mod start;
mod transfers;

pub use api::*;
pub use apps::{App, AppDatagram, AppError, AppReader, AppStream, AppWriter};
pub use builder::Builder;
pub use carried::{Exported, Imported};
pub use error::{
    CarryError, Cause, ConfigureError, EraseError, IntroduceError, InviteError, JoinError,
    NodeError, PolicyError, ProfileError, SendError, StartError,
};
pub use events::{Events, Lagged};
pub use files::{
    AcceptFrom, BandwidthLimits, FileError, FileInfo, FileState, FilesConfig, OfferError, Picture,
    PreparedOffer,
};
pub use hobnob_protocol as protocol;
#[doc(inline)]
pub use hobnob_protocol::{
    AppName, Body, DeviceId, HostPort, LogId, Nickname, PersonId, RelayAddr, RelayAt, RoomName,
    RoomTarget, RoomTicket, Seq, Target, Ticket, conversation::NotARoomName, entry::BodyError,
    identity::NotAPeerId, target::TargetError, text::NicknameError,
};
pub use locked_home::{
    KeySlot, KeyringKey, LockError, Locks, UnlockSource, check_lockable, is_locked, lock_home,
    lock_home_with_keyring, locks_of, unlock_home,
};
pub use messages::Messages;
pub use node::Node;
pub use snapshot::{Deletions, Restored, SnapshotError, restore_snapshot};

#[doc(inline)]
pub use hobnob_core::ClientId;
pub use hobnob_core::carrier::Carrier;
pub use hobnob_core::peers::ResolveError;
pub use hobnob_core::scope::is_public;
#[doc(inline)]
pub use hobnob_transport::stream::proxy::{NotAProxy, Proxy};
#[doc(inline)]
pub use net::socket::BindError;
#[doc(inline)]
pub use store::StoreError;

/// The examples in the READMEs are tests, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ProjectReadme;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct CrateReadme;
