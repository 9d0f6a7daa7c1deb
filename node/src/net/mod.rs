//! The network side of a node: one UDP socket, the QUIC endpoint on it, sessions with peers, and
//! mDNS.
//!
//! Everything here moves bytes and reports what happened. `hobnob_core` decides what to dial, which
//! connections to keep and what to send; the engine carries that out.
//!
//! - [`socket`] binds the socket, [`demux`] sorts its datagrams, [`channels`] is the table of
//!   relayed peers, [`counters`] counts what is dropped.
//! - [`endpoint`] dials and accepts. TLS proves the identity of the other end. [`source_networks`] says
//!   where a connection comes from.
//! - `route_mtu` looks up how large datagrams to an address may be, `congestion` keeps queues short.
//! - [`session`] carries frames over one connection, [`content`] the bytes of files, both compressed
//!   by [`compression`] where that pays. [`close`] ends connections in good order.
//! - [`mail`] carries frames about mailboxes, [`app_stream`] the bytes of application programs.
//! - [`relay`] holds the link to a relay, [`streams`] the streams to relays where UDP is blocked.
//! - [`port_mapping`] asks the router for a port.
//! - [`probe`] tests what is in the way to an address.
//! - [`mdns`] and [`interfaces`] find peers and this machine's own addresses on the local network.

pub mod app_stream;
pub mod channels;
pub mod close;
pub mod compression;
mod congestion;
pub mod content;
pub mod counters;
pub mod demux;
pub mod endpoint;
pub mod interfaces;
pub mod mail;
pub mod mdns;
pub mod port_mapping;
pub mod probe;
pub mod relay;
mod route_mtu;
pub mod session;
pub mod socket;
pub mod source_networks;
pub mod streams;

#[cfg(test)]
pub(crate) mod tests;
