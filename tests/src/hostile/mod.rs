//! Hostile peers that attack real nodes over real QUIC and TLS, and the checks after an attack.
//!
//! A [`TestNet`] has two honest nodes with a session: ann, the victim, and bob. A [`Mallory`]
//! connects to ann with any [`TestCert`] and sends any bytes on a [`RawStream`]. Afterwards
//! [`TestNet::survives`] checks that both nodes run and that their messages arrive. It also checks
//! that ann's memory is bounded, her output is clean and her log names the cause. A [`RelayClient`]
//! exceeds the limits of a relay.
//!
//! This module does not use the node's network code. Otherwise both ends could have the same bug.

#![expect(
    clippy::disallowed_methods,
    reason = "attackers use random keys and the real clock"
)]

mod forge;
mod forged_record;
mod host;
mod mallory;
mod raw_stream;
mod relay_client;
mod test_cert;
mod test_net;

pub use forge::{Forger, encoded, garbled_entry, text_entry};
pub use forged_record::{ForgedRecord, mdns_socket};
pub use host::{Host, is_clean};
pub use mallory::{
    Mallory, public_record, public_record_numbered, public_record_with_picture, random_key,
};
pub use raw_stream::RawStream;
pub use relay_client::{Registration, RelayClient, RelayClose};
pub use test_cert::TestCert;
pub use test_net::{MIB, TestNet};
