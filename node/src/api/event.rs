//! Events: what a node reports while a program listens.

use std::net::SocketAddr;

use hobnob_protocol::PersonId;

use super::message::{ActivityInfo, Amended, ConversationRef, DeliveryState, Message, MessageId};
use super::notice::Notice;
use super::peer::PeerInfo;
use crate::files::FileInfo;

/// Something that happened: see [`Node::events`](crate::Node::events).
///
/// ```
/// use hobnob::{DeliveryState, Event};
///
/// fn print(event: &Event) {
///     match event {
///         Event::Message(message) => println!("<{}> {:?}", message.name, message.body),
///         Event::Receipt { id, peer, state: DeliveryState::Delivered } => println!("{id} is on disk at {}", peer.short()),
///         Event::Notice(notice) => println!("* {:?}", notice.reason),
///         _ => {}
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub enum Event {
    /// The node listens.
    Listening {
        /// This node's id.
        peer: PersonId,
        /// The addresses that it listens on.
        addrs: Vec<SocketAddr>,
    },
    /// The state of a peer has changed, or it joined or left a room of this node.
    Peer(PeerInfo),
    /// A message from another peer is on disk. Each message is reported once, and the messages of
    /// one author in their order.
    Message(Message),
    /// A message of this node is on disk here.
    Own(Message),
    /// The delivery state of a message of this node has changed for one peer.
    Receipt {
        /// The message.
        id: MessageId,
        /// The peer.
        peer: PersonId,
        /// The new state.
        state: DeliveryState,
    },
    /// Somebody, perhaps this node's user, edited a message or reacted to it. The target may not be
    /// here.
    Amended(Amended),
    /// Another user types, has read messages, is away or back.
    Activity(ActivityInfo),
    /// The contents of messages were erased on this node.
    Erased {
        /// The conversation.
        conversation: ConversationRef,
        /// The messages.
        ids: Vec<MessageId>,
        /// Whether their author deleted them. Otherwise this node's user, or the time for which the
        /// conversation is kept, erased them here only.
        by_author: bool,
    },
    /// An offer of a file is new, or its state has changed.
    File(FileInfo),
    /// A message to the user about the node's condition.
    Notice(Notice),
}
