//! The relay: it forwards datagrams between peers that cannot reach each other, and knows which
//! peers are alive. It cannot read what it forwards.
//!
//! Two such peers have an ordinary end-to-end QUIC connection. Its datagrams travel as channel
//! frames through the relay, which replaces nine bytes and the destination. This crate depends only
//! on `hobnob-protocol` and `hobnob-transport`, so a relay can be built and audited without the
//! node.
//!
//! - [`core`]: the decisions as a pure state machine: registrations, rosters, channels.
//! - [`plane`]: the forwarding plane, in the socket under QUIC.
//! - [`route`]: the types that the core and the forwarding plane share.
//! - [`admission`]: which peers may use the relay.
//! - [`fleet`]: several relays that act as one.
//! - [`mailbox`]: sealed envelopes for peers that are away.
//! - [`keys`]: its identity, and the keys that survive a restart.
//! - [`sleeper`]: the types about sleeping peers that the core, the server and the plane share.
//! - [`server`]: control connections, and the handle for the operator.
//! - [`status`]: the status page, metrics and health check.
//!
//! The command line and the sentences for the operator are in `hobnob-relay-app`.

pub mod admission;
pub mod core;
pub mod fleet;
pub mod keys;
pub mod mailbox;
pub mod plane;
pub mod route;
pub mod server;
pub mod sleeper;
pub mod status;
