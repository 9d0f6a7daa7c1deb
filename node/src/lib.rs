//! A peer-to-peer chat node, to be part of a program: nodes that find each other, and messages that
//! are never lost.
//!
//! A [`Node`] finds other nodes on the local network, reaches those elsewhere through relays, and
//! exchanges messages with them: with one peer, or with everybody in a room. What it promises: **a
//! message that it took is never lost, comes to each of those it was for exactly once and in its
//! author's order; and it is called delivered only when the other side has it on disk.**
//!
//! # A first conversation
//!
//! Two nodes of one process, each with a folder of its own for its key and its messages. Real ones
//! are on machines of their own, and find each other without being told; these two are kept to this
//! machine ([`Builder::loopback`]), so one is given the other's ticket.
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
//! # What is sent, and how far it has come
//!
//! [`Node::send`] and [`Node::broadcast`] return once the message is on disk here: from then on it
//! needs no more looking after. If the peer is away, it goes out when the two next meet, in this
//! run or a later one. Who wants to know waits with [`Node::wait_for`], or listens for
//! [`Event::Receipt`]. An error means that the message was not taken, and goes nowhere.
//!
//! A [`Body`] is text for people, or an *app message* for programs: a kind, which is a reverse-DNS
//! name of the program, and up to 16 KiB of bytes. App messages are as durable and as ordered as
//! text. A node keeps and passes on what it has no program for.
//!
//! # Each message exactly once
//!
//! [`Node::events`] tells of what happens while one listens; a reader that is too slow misses
//! events, and one that does not run misses them all. A program that must handle every message
//! takes them from [`Node::messages`], and keeps the id of the last one that it has handled, in the
//! same transaction as what handling did. When it next runs, it goes on from there:
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
//! A game needs even less: its moves are app messages, so the log of the conversation *is* the
//! game, and [`Node::history`] gives it back after a restart. `examples/checkers.rs` is one.
//!
//! # People and rooms
//!
//! A [`PeerId`] is a key, and cannot be forged; a nickname is a hint, and two peers may have the
//! same. A [`Target`] is what a user names a peer by: id, nickname, address, or a [`Ticket`], which
//! holds all that is needed to reach somebody from anywhere. A room is open, and then its messages
//! are for those who are there when they are written, or has a secret, and then for all who have
//! it.
//!
//! # What it costs
//!
//! A node is one UDP socket, one SQLite database, three threads for it, and one task; about 60 KiB
//! for each peer it is connected with. Every queue that a peer or a reader can fill is bounded. It
//! needs a tokio runtime with time and I/O enabled.

// For the project's own tests and simulator, which look beneath: no part of what programs build on,
// and changed at any time.
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod store;

mod api;
mod builder;
mod clock;
mod diagnosis;
mod engine;
mod error;
mod events;
mod files;
mod key;
mod messages;
mod node;
mod policy;
mod start;
mod transfers;

pub use api::*;
pub use builder::Builder;
pub use error::{Cause, JoinError, NodeError, PolicyError, SendError, StartError};
pub use events::{Events, Lagged};
pub use files::{AcceptFrom, FileError, FileInfo, FileState, FilesConfig, OfferError, Picture};
pub use hobnob_protocol as protocol;
#[doc(inline)]
pub use hobnob_protocol::{
    Body, HostPort, LogId, Nickname, PeerId, RelayAddr, RoomName, Seq, Target, Ticket,
    conversation::NotARoomName, entry::BodyError, identity::NotAPeerId, target::TargetError,
    text::NicknameError,
};
pub use messages::Messages;
pub use node::Node;

#[doc(inline)]
pub use hobnob_core::peers::ResolveError;
#[doc(inline)]
pub use net::socket::BindError;
#[doc(inline)]
pub use store::StoreError;

/// The README's example runs, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
