//! The relay: it lets peers behind NAT reach each other, keeps the table of who is alive, and can
//! read nothing.
//!
//! Two nodes that can't reach each other hold an ordinary end-to-end QUIC connection whose
//! datagrams travel as channel frames through the relay, which swaps nine bytes and the
//! destination. This crate depends on `hobnob-protocol` and `hobnob-transport` alone, so
//! that a relay can be built and audited without the node.
//!
//! - [`core`]: what the relay decides: who is registered and alive, who is told of whom, which
//!   channels there are.
//! - [`plane`]: the forwarding plane, in the socket under QUIC.
//! - [`route`]: what the slow path and the forwarding plane share.
//! - [`admission`]: who may use the relay.
//! - [`keys`]: its identity, and what survives a restart.
//! - [`server`]: control connections, and the operator's hold on them.
//! - [`status`]: what the operator sees in a browser and in Prometheus.

pub mod admission;
pub mod core;
pub mod keys;
pub mod plane;
pub mod route;
pub mod server;
pub mod status;
