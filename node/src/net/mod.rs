//! The network side of a node: one UDP socket, the QUIC endpoint on it, sessions with peers, and
//! mDNS.
//!
//! Everything here moves bytes and reports what happened. What to dial, whom to keep and what to
//! say is decided by `core` and carried out by `node`; nothing here waits for either with a peer's
//! resources in hand.
//!
//! - [`socket`] binds the socket, [`demux`] tells its datagrams apart, [`channels`] says which of
//!   them are relayed peers'.
//! - [`endpoint`] dials and accepts; who the other end is, [`hobnob_transport::tls`] proves.
//! - `first_hop` says how large datagrams may be.
//! - [`relay`] keeps the link to a relay.
//! - [`goodbye`] ends connections in good order.
//! - [`session`] carries frames over one connection.
//! - [`probe`] asks how things stand on the way.
//! - [`mdns`] and [`interfaces`] find peers and ourselves on the local network.

pub mod channels;
mod congestion;
pub mod content;
pub mod demux;
pub mod endpoint;
mod first_hop;
pub mod goodbye;
pub mod interfaces;
pub mod mdns;
pub mod probe;
pub mod relay;
pub mod session;
pub mod socket;

#[cfg(test)]
mod tests;
