//! What a hobnob node and a hobnob relay share below their protocols.
//!
//! - [`addr`]: judges socket addresses.
//! - [`frames`]: frames on a QUIC stream.
//! - [`gate`]: limits handshakes, fairly among source networks.
//! - [`hop_limit`]: sends one datagram that ends after a few routers.
//! - [`key_file`]: the key of a home folder.
//! - [`lock`]: one process at a time holds a home folder.
//! - [`private_file`]: small files that a crash cannot damage.
//! - [`stream`]: datagrams over TLS and TCP, where UDP is blocked.
//! - [`stun`]: requests and answers that reveal where a datagram came from.
//! - [`tls`]: mutual TLS whose keys are the peers' identities.
//! - [`udp`]: opens the UDP socket and sends batches of datagrams.
//!
//! What the frames and entries mean is defined by `hobnob_protocol`.

pub mod addr;
pub mod frames;
pub mod gate;
pub mod hop_limit;
pub mod key_file;
pub mod lock;
pub mod private_file;
pub mod stream;
pub mod stun;
pub mod tls;
pub mod udp;
