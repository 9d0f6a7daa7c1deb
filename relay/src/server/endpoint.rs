//! The relay's QUIC endpoint: its keys, and settings that keep idle peers cheap.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::SecretKey;
use hobnob_protocol::relay::ALPN_RELAY;
use hobnob_transport::tls::Credentials;
use quinn::{AsyncUdpSocket, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use super::arrivals::{HANDSHAKES_MAX, WAITING_MAX};
use crate::keys::Derived;

/// Maximum received data that the relay buffers for one peer. A peer has no reason to send more
/// than a few long frames.
const RECEIVE_WINDOW: u32 = 32 * 1024;

/// Maximum unacknowledged data that the relay buffers for one peer.
const SEND_WINDOW: u64 = 64 * 1024;

/// A connection that receives nothing ends after this time. The core notices missed heartbeats
/// earlier.
const IDLE_LIMIT_MS: u32 = 90_000;

/// Shortest time between two stateless resets. All peers of a restarted relay need one at once.
/// With quinn's default of 20 ms, the last of 10,000 peers would notice the restart after three
/// minutes. A reset is shorter than the packet that it answers.
const RESET_EVERY: Duration = Duration::from_micros(200);

/// Memory for the first datagrams of newcomers: for each of them, and for all.
const INCOMING_BYTES_MAX: u64 = 8 * 1024;
const INCOMING_BYTES_TOTAL_MAX: u64 = 16 * 1024 * 1024;

/// Creates the endpoint on a bound socket. Each peer may open this many streams. Needs a tokio
/// runtime.
pub(super) fn new(
    socket: Arc<dyn AsyncUdpSocket>,
    key: &SecretKey,
    streams: u32,
) -> io::Result<quinn::Endpoint> {
    let derived = Derived::from(key);
    let server = server_config(&Credentials::new(key), &derived, streams);
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
    // The plane recognizes QUIC by its first byte, which greasing would change.
    config
        .grease_quic_bit(false)
        .min_reset_interval(RESET_EVERY);
    config
}

fn server_config(credentials: &Credentials, derived: &Derived, streams: u32) -> ServerConfig {
    let mut config = ServerConfig::new(
        credentials.server_config(ALPN_RELAY),
        derived.tokens.clone(),
    );
    config.transport_config(Arc::new(transport(streams)));
    // A client's first flight is two or three datagrams. quinn's defaults would buffer 100 MiB.
    config
        .max_incoming(HANDSHAKES_MAX + WAITING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX);
    // Address tokens for later connections would link a peer's connections.
    config.validation_token.sent(0);
    config
}

/// Settings for a relay with ten thousand idle connections: few streams and small windows. MTU
/// discovery is off, because it sends probes and keeps state. Segmentation offload is off, because
/// its buffers stay allocated.
fn transport(streams: u32) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
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
