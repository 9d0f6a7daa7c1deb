//! The relay's QUIC endpoint: its keys, and settings that make an idle peer cheap.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::SecretKey;
use hobnob_protocol::relay::ALPN_RELAY;
use hobnob_transport::tls::Credentials;
use quinn::{AsyncUdpSocket, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use super::gate::{HANDSHAKES_MAX, WAITING_MAX};
use crate::keys::Derived;

/// What one peer can make the relay hold in received data: a few of the longest frames that it has
/// reason to send.
const RECEIVE_WINDOW: u32 = 32 * 1024;

/// What one peer can make the relay hold in data that it has not acknowledged.
const SEND_WINDOW: u64 = 64 * 1024;

/// A connection without a sign of life ends after this; by missed heartbeats a silent peer is
/// noticed before.
const IDLE_LIMIT_MS: u32 = 90_000;

/// The least time between two stateless resets. All peers of a restarted relay want one at once; at
/// quinn's own 20 ms the last of 10,000 would hear of the restart after three minutes. A reset is
/// shorter than what it answers.
const RESET_EVERY: Duration = Duration::from_micros(200);

/// Memory for datagrams of newcomers that have not been let in, each and all.
const INCOMING_BYTES_MAX: u64 = 8 * 1024;
const INCOMING_BYTES_TOTAL_MAX: u64 = 16 * 1024 * 1024;

/// The endpoint on a bound socket, within a tokio runtime.
pub(super) fn new(socket: Arc<dyn AsyncUdpSocket>, key: &SecretKey) -> io::Result<quinn::Endpoint> {
    let derived = Derived::from(key);
    let server = server_config(&Credentials::new(key), &derived);
    quinn::Endpoint::new_with_abstract_socket(
        endpoint_config(&derived),
        Some(server),
        socket,
        Arc::new(quinn::TokioRuntime),
    )
}

fn endpoint_config(derived: &Derived) -> EndpointConfig {
    let id_key = derived.connection_ids;
    let mut config = EndpointConfig::new(derived.resets.clone());
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    // A greased first byte would not look like QUIC to the socket.
    config
        .grease_quic_bit(false)
        .min_reset_interval(RESET_EVERY);
    config
}

fn server_config(credentials: &Credentials, derived: &Derived) -> ServerConfig {
    let mut config = ServerConfig::new(
        credentials.server_config(ALPN_RELAY),
        derived.tokens.clone(),
    );
    config.transport_config(Arc::new(transport()));
    // What comes before a handshake is let in: a client's first flight is two or three datagrams.
    // quinn's own defaults allow 100 MiB.
    config
        .max_incoming(HANDSHAKES_MAX + WAITING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX);
    // No address tokens for later connections: they would link them.
    config.validation_token.sent(0);
    config
}

/// Ten thousand idle connections are the usual state of a relay: one stream, small windows, no
/// search for larger packets, which would also send probes and keep their state, and no
/// segmentation offload, whose buffers stay.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .stream_receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(None)
        .enable_segmentation_offload(false)
        .keep_alive_interval(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_LIMIT_MS))));
    transport
}
