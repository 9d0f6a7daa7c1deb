//! Hostile peers: what attacks real nodes, over real QUIC and TLS, and what must still hold then.
//!
//! A [`TestNet`] has two honest nodes, ann and bob, in a session with each other; ann is the victim. A
//! [`Mallory`] connects to her with a [`TestCert`] of its choice and says any bytes on a [`RawStream`].
//! Afterwards [`TestNet::survives`] checks what every attack has to leave alone: both nodes run, their
//! messages arrive, ann's memory is bounded, her output is clean, and her log names the cause. A
//! [`RelayClient`] does to relays what their limits forbid.
//!
//! Nothing here uses the node's own network code, so that a mistake there isn't made on both sides.

#![expect(
    clippy::disallowed_methods,
    reason = "attackers are random strangers, on the real clock, as real nodes take them"
)]

mod forge;
mod host;
mod mallory;
mod raw_stream;
mod relay_client;
mod test_cert;
mod test_net;

pub use forge::{Forger, garbled_entry, text_entry};
pub use host::{Host, is_clean};
pub use mallory::{Mallory, random_key};
pub use raw_stream::RawStream;
pub use relay_client::{Registration, RelayClient, RelayClose};
pub use test_cert::TestCert;
pub use test_net::{MIB, TestNet};
