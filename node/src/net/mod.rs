//! The network side of a node: one UDP socket, the QUIC endpoint on it, sessions with peers, and mDNS.
//!
//! Everything here moves bytes and reports what happened. What to dial, whom to keep and what to say is decided by
//! `core` and carried out by `node`; nothing here waits for either with a peer's resources in hand.
//!
//! - [`socket`] binds the socket, [`demux`] tells its datagrams apart.
//! - [`tls`] proves who the other end is, [`endpoint`] dials and accepts.
//! - [`session`] carries frames over one connection.
//! - [`mdns`] and [`interfaces`] find peers and ourselves on the local network.

pub mod demux;
pub mod endpoint;
pub mod interfaces;
pub mod mdns;
pub mod session;
pub mod socket;
pub mod tls;

#[cfg(test)]
mod tests;
