//! A peer-to-peer chat node: nodes that find each other, and messages that are never lost.

pub mod control;
pub mod core;
pub mod net;
pub mod node;
pub mod store;

pub use hobnob_protocol as protocol;
