//! A peer-to-peer chat node: nodes that find each other, and messages that are never lost.
//!
//! [`Node`] is the whole of it for a program that embeds one: start it, send, listen to its [`Event`]s, shut it down.

pub mod control;
pub mod core;
pub mod net;
mod node;
pub mod store;

pub use hobnob_protocol as protocol;
pub use node::{
    Cause, Config, ConversationRef, DeliveryState, Event, Events, HistoryQuery, JoinError, KICKED_FOR, Lagged, MarkError, Marks,
    Message, MessageId, Node, NodeError, Notice, PathKind, PeerInfo, PeerState, RELAYS_MAX, RelayInfo, RoomInfo, SendError, Sent,
    StartError, Status,
};
