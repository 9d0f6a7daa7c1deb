//! The QUIC endpoint: dials peers, and accepts peers that prove their identity.
//!
//! An accepted connection leaves this module only when its handshake is done. So connections without
//! a proved identity are limited in one place, the gate. The engine decides which peers are welcome,
//! and how many.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use hobnob_protocol::relay::ALPN_RELAY;
use hobnob_protocol::text::visible;
use hobnob_protocol::{ALPN_NODE, DeviceId, SecretKey, close};
use hobnob_transport::tls::{self, Credentials, SERVER_NAME};
use quinn::{
    ConnectError, ConnectionError, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    TransportConfig, TransportErrorCode, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::app_stream::APP_STREAMS_MAX;
use super::close::hang_up;
use super::congestion::BoundedConfig;
use super::demux::{DATAGRAM_MAX, DemuxSocket};
use super::route_mtu;
use super::socket::BoundSocket;
use super::source_networks::SourceNetworks;
use hobnob_core::presence::{SLEEP_OVERDUE, SLEEP_PING_EVERY};
use hobnob_core::source_network::SourceNetwork;
use hobnob_core::synthetic::is_synthetic;
use hobnob_core::transfers::{STREAM_BYTES, STREAMS_MAX};
use hobnob_transport::addr::undeliverable;
use hobnob_transport::gate::{Admission, Gate, GateLimits, Place};

/// Handshakes under way at the same time. When half of these places are taken, a newcomer must first
/// prove its address (Retry, RFC 9000 section 8.1.2). When all are taken, it takes the place of one
/// from the most crowded source, or is refused.
pub const HANDSHAKES_MAX: usize = 64;

const GATE_LIMITS: GateLimits = GateLimits {
    places: HANDSHAKES_MAX,
    per_network: usize::MAX,
    unvalidated: HANDSHAKES_MAX / 2,
    seats: 0,
};

/// How long an accepted handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Connections with a proved identity that wait for the engine. While this queue is full, handshakes
/// keep their places in the gate.
const ACCEPTED_MAX: usize = 16;

/// Unidirectional streams that a peer may have open. One is used for batches; the others are for
/// later minor versions.
const UNI_STREAMS_MAX: u32 = 8;

/// Bidirectional streams that a peer may have open: the control stream, content streams, one about
/// mailboxes, and those of programs.
const BIDI_STREAMS_MAX: u32 = 32;
const _: () = assert!(BIDI_STREAMS_MAX as usize > STREAMS_MAX + 2 + APP_STREAMS_MAX);

/// Bytes of datagrams of programs, with those that wait to be sent or to be read. Of more, the oldest
/// are dropped.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// Maximum received bytes that this node holds for one peer, over all its streams. One stream may
/// use [`STREAM_BYTES`] of them, so content on one stream cannot use all. More content streams widen
/// this window (see [`super::content`]).
pub(super) const RECEIVE_WINDOW: u32 = 2 * 1024 * 1024;

/// Bytes that this node keeps for one peer until the peer acknowledges them. It grows with the
/// receive window.
pub(super) const SEND_WINDOW: u64 = 2 * 1024 * 1024;

/// When to test again whether a path carries larger packets. Each size that fails costs three packets,
/// which would burden an idle session if it happened often.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection without a sign of life ends after this. Sessions notice a silent peer before, by
/// their own pings, which are rare while they sleep.
const IDLE_LIMIT_MS: u32 = 310_000;
const _: () = assert!(
    IDLE_LIMIT_MS as u64 > 1000 * (SLEEP_PING_EVERY.as_secs() + 2 * SLEEP_OVERDUE.as_secs())
);

/// The TLS alert for "no common ALPN" (RFC 7301). QUIC adds 0x100 to it (RFC 9001 section 4.8).
const NO_COMMON_PROTOCOL: u8 = 120;

/// The node's QUIC endpoint. Clones share it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    quinn: quinn::Endpoint,
    credentials: Arc<Credentials>,
    transports: ByPath<TransportConfig>,
    source_networks: SourceNetworks,
    demux: Arc<DemuxSocket>,
    tasks: TaskTracker,
}

/// A configuration by path. Larger datagrams are tried (RFC 8899) where the first hop carries jumbo
/// frames, or is this machine itself. Elsewhere quinn tries sizes up to an Ethernet frame.
#[derive(Debug)]
struct ByPath<T> {
    usual: Arc<T>,
    large: Arc<T>,
}

impl<T> ByPath<T> {
    fn to(&self, addr: SocketAddr) -> Arc<T> {
        if route_mtu::carries(DATAGRAM_MAX, addr) {
            self.large.clone()
        } else {
            self.usual.clone()
        }
    }
}

impl<T> Clone for ByPath<T> {
    fn clone(&self) -> Self {
        Self {
            usual: self.usual.clone(),
            large: self.large.clone(),
        }
    }
}

/// A connection that a peer dialed and whose handshake is done.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, without any stream yet.
    pub connection: quinn::Connection,
    /// The peer that dialed.
    pub peer: DeviceId,
}

/// Why a dial failed. The text is for the user, and safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Another node answered.
    #[error(
        "another node answers there: {found}, not {expected}; check the address, and where you have the id from"
    )]
    IdentityMismatch {
        /// The identity that was expected.
        expected: DeviceId,
        /// The identity that was proved.
        found: DeviceId,
    },
    /// There was no answer in time.
    #[error(
        "nobody answered in time: is hobnob running there, and does a firewall let its UDP port through?"
    )]
    Timeout,
    /// The node there takes no more connections now.
    #[error("the node there takes no new connections at the moment: try again in a minute")]
    Refused,
    /// The node there closed the connection with a reason.
    #[error("the node there ended the connection ({code}: {reason})", code = close::name(*.code))]
    Closed {
        /// A code of [`hobnob_protocol::close`].
        code: u64,
        /// Its text.
        reason: String,
    },
    /// The answer came from another program, or from another major version of hobnob.
    #[error(
        "what answers there is no hobnob, or one of another major version: update the older of the two"
    )]
    OtherProtocol,
    /// One end did not accept the other's proof of identity.
    #[error("the node there could not prove its identity, or did not accept ours: {0}")]
    Tls(String),
    /// The address can't be dialed at all.
    #[error("{addr} can't be dialed: {why}")]
    Address {
        /// The address.
        addr: SocketAddr,
        /// The reason.
        why: &'static str,
    },
    /// This node is stopping.
    #[error("this node is stopping")]
    Stopping,
    /// Anything else.
    #[error("the connection failed: {0}")]
    Other(String),
}

impl Endpoint {
    /// Starts the endpoint on a bound socket, within a tokio runtime. The receiver yields the
    /// connections that peers dialed. It ends when the endpoint is closed.
    ///
    /// A restarted node sends stateless resets (RFC 9000 section 10.3), so that its peers learn that
    /// their connections are gone. The keys for them are derived from the node's key, so they need
    /// not be stored.
    pub fn new(
        bound: &BoundSocket,
        key: &SecretKey,
    ) -> io::Result<(Self, mpsc::Receiver<Accepted>)> {
        let credentials = Arc::new(Credentials::new(key));
        let transports = transports();
        let servers = server_configs(&credentials, &transports);
        let quinn = quinn::Endpoint::new_with_abstract_socket(
            endpoint_config(key),
            Some((*servers.usual).clone()),
            bound.socket.clone(),
            Arc::new(quinn::TokioRuntime),
        )?;
        let endpoint = Self {
            quinn,
            credentials,
            transports,
            source_networks: SourceNetworks::new(bound.channels.clone()),
            demux: bound.demux.clone(),
            tasks: TaskTracker::new(),
        };
        let (accepted, incoming) = mpsc::channel(ACCEPTED_MAX);
        let door = Door {
            gate: Gate::new(GATE_LIMITS),
            source_networks: endpoint.source_networks.clone(),
            servers,
            accepted,
            tasks: endpoint.tasks.clone(),
        };
        endpoint.tasks.spawn(let_in(endpoint.quinn.clone(), door));
        Ok((endpoint, incoming))
    }

    /// Dials `addr`. With `expected`, any other peer is an error. A dual-stack socket takes IPv4
    /// addresses, too.
    pub async fn dial(
        &self,
        addr: SocketAddr,
        expected: Option<DeviceId>,
        limit: Duration,
    ) -> Result<quinn::Connection, DialError> {
        self.dial_speaking(ALPN_NODE, addr, expected, limit).await
    }

    /// As [`Endpoint::dial`], for a relay.
    pub async fn dial_relay(
        &self,
        addr: SocketAddr,
        expected: Option<DeviceId>,
        limit: Duration,
    ) -> Result<quinn::Connection, DialError> {
        if is_synthetic(addr.ip()) {
            return Err(DialError::Address {
                addr,
                why: "it stands for a relayed peer",
            });
        }
        self.dial_speaking(ALPN_RELAY, addr, expected, limit).await
    }

    /// As [`Endpoint::dial_relay`], through the stream with this synthetic address.
    pub(super) async fn dial_relay_by_stream(
        &self,
        stream: SocketAddr,
        expected: Option<DeviceId>,
        limit: Duration,
    ) -> Result<quinn::Connection, DialError> {
        self.dial_speaking(ALPN_RELAY, stream, expected, limit)
            .await
    }

    /// From now on nothing is sent by UDP beyond this machine's own links.
    pub fn stay_on_links(&self) {
        self.demux.stay_on_links(self.source_networks.clone());
    }

    /// The node's socket, which streams to relays pass datagrams to.
    pub(super) fn demux(&self) -> &Arc<DemuxSocket> {
        &self.demux
    }

    async fn dial_speaking(
        &self,
        alpn: &[u8],
        addr: SocketAddr,
        expected: Option<DeviceId>,
        limit: Duration,
    ) -> Result<quinn::Connection, DialError> {
        if let Some(why) = undeliverable(addr) {
            return Err(DialError::Address { addr, why });
        }
        let setup = self.credentials.client_config(expected, alpn);
        let mut config = quinn::ClientConfig::new(setup.crypto);
        config.transport_config(self.transports.to(addr));
        let connecting = self
            .quinn
            .connect_with(config, addr, SERVER_NAME)
            .map_err(|error| not_dialed(addr, &error))?;
        match timeout(limit, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(match (expected, setup.proven.get()) {
                (Some(expected), Some(&found)) if expected != found => {
                    DialError::IdentityMismatch { expected, found }
                }
                _ => failed(error),
            }),
            Err(_) => Err(DialError::Timeout),
        }
    }

    /// Where connections come from.
    pub fn source_networks(&self) -> &SourceNetworks {
        &self.source_networks
    }

    /// The number of connections, including those in their handshake.
    pub fn connections(&self) -> usize {
        self.quinn.open_connections()
    }

    /// Closes all connections with this code, and accepts no more. It does not wait until the other
    /// ends have received the close, and a close may not be sent while much data is queued. Use
    /// [`super::close`] first.
    pub async fn close(&self, code: u32, reason: &str) {
        self.quinn.close(VarInt::from_u32(code), reason.as_bytes());
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn endpoint_config(key: &SecretKey) -> EndpointConfig {
    let root = hmac::Key::new(hmac::HMAC_SHA256, key.seed());
    let reset_key = hmac::sign(&root, b"hobnob 1 stateless reset");
    let id_key = hmac::sign(&root, b"hobnob 1 connection ids");
    let mut first = [0; 8];
    first.copy_from_slice(&id_key.as_ref()[..8]);
    let id_key = u64::from_le_bytes(first);
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(
        hmac::HMAC_SHA256,
        reset_key.as_ref(),
    )));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    // A greased first byte would not look like QUIC to the socket.
    config.grease_quic_bit(false);
    config
        .max_udp_payload_size(DATAGRAM_MAX)
        .expect("more than 1,200");
    config
}

fn server_configs(
    credentials: &Credentials,
    transports: &ByPath<TransportConfig>,
) -> ByPath<quinn::ServerConfig> {
    let mut config = quinn::ServerConfig::with_crypto(credentials.server_config(ALPN_NODE));
    config.transport_config(transports.usual.clone());
    // Limits for datagrams that arrive before a handshake enters the gate. A client's first flight is
    // two or three datagrams; quinn's own defaults allow 100 MiB.
    config
        .max_incoming(4 * HANDSHAKES_MAX)
        .incoming_buffer_size(16 * 1024)
        .incoming_buffer_size_total(1024 * 1024);
    // No address tokens for later connections: they would link them.
    config.validation_token.sent(0);
    let mut large = config.clone();
    large.transport_config(transports.large.clone());
    ByPath {
        usual: Arc::new(config),
        large: Arc::new(large),
    }
}

fn transports() -> ByPath<TransportConfig> {
    let trying_up_to = |bytes: Option<u16>| {
        let mut mtu = MtuDiscoveryConfig::default();
        mtu.interval(TRIED_AGAIN_AFTER);
        if let Some(bytes) = bytes {
            mtu.upper_bound(bytes);
        }
        let mut transport = transport();
        transport.mtu_discovery_config(Some(mtu));
        Arc::new(transport)
    };
    ByPath {
        usual: trying_up_to(None),
        large: trying_up_to(Some(DATAGRAM_MAX)),
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .stream_receive_window(VarInt::from_u64(STREAM_BYTES).unwrap_or(VarInt::MAX))
        .send_window(SEND_WINDOW)
        .congestion_controller_factory(Arc::new(BoundedConfig::default()))
        .datagram_receive_buffer_size(Some(DATAGRAM_BYTES_MAX))
        .datagram_send_buffer_size(DATAGRAM_BYTES_MAX)
        .keep_alive_interval(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_LIMIT_MS))));
    transport
}

/// Accepts connections.
struct Door {
    gate: Gate<SourceNetwork>,
    source_networks: SourceNetworks,
    servers: ByPath<quinn::ServerConfig>,
    accepted: mpsc::Sender<Accepted>,
    tasks: TaskTracker,
}

async fn let_in(endpoint: quinn::Endpoint, door: Door) {
    while let Some(incoming) = endpoint.accept().await {
        // quinn cannot check the proof of a link-local address, because it loses the zone. Only
        // machines on the same link could forge such an address.
        let from = incoming.remote_address();
        let neighbour = matches!(from, SocketAddr::V6(addr) if addr.scope_id() != 0);
        let validated = neighbour || incoming.remote_address_validated();
        match door.gate.admit(door.source_networks.of(from), validated) {
            Admission::Begin(place) => {
                door.tasks.spawn(finish_handshake(
                    incoming,
                    door.servers.clone(),
                    place,
                    door.accepted.clone(),
                ));
            }
            Admission::Retry => {
                // This fails only for an address that is proved already, and here none is.
                let _ = incoming.retry();
            }
            Admission::Wait(_) | Admission::Refuse => incoming.refuse(),
        }
    }
}

/// Waits until a peer has proved its identity. Its place in the gate is held until the engine has
/// the connection, unless a newcomer from a less crowded source takes it.
async fn finish_handshake(
    incoming: quinn::Incoming,
    servers: ByPath<quinn::ServerConfig>,
    mut place: Place<SourceNetwork>,
    accepted: mpsc::Sender<Accepted>,
) {
    let from = incoming.remote_address();
    let handshake = async {
        let handshake = async { incoming.accept_with(servers.to(from))?.await };
        let connection = match timeout(HANDSHAKE_LIMIT, handshake).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                return tracing::debug!(%from, error = %clean(&error.to_string()), "a handshake failed");
            }
            Err(_) => return tracing::debug!(%from, "a handshake took too long"),
        };
        let Some(peer) = tls::peer_id(connection.peer_identity()) else {
            return hang_up(&connection, close::PROTOCOL, "no certificate");
        };
        tokio::select! {
            _ = accepted.send(Accepted { connection: connection.clone(), peer }) => {}
            _ = connection.closed() => {}
        }
    };
    tokio::select! {
        () = handshake => {}
        () = place.replaced() => tracing::debug!(%from, "a handshake made room for another"),
    }
}

fn not_dialed(addr: SocketAddr, error: &ConnectError) -> DialError {
    match error {
        ConnectError::EndpointStopping => DialError::Stopping,
        ConnectError::InvalidRemoteAddress(_) => DialError::Address {
            addr,
            why: "this node listens on IPv4 only",
        },
        ConnectError::CidsExhausted
        | ConnectError::InvalidServerName(_)
        | ConnectError::NoDefaultClientConfig
        | ConnectError::UnsupportedVersion => DialError::Other(error.to_string()),
    }
}

/// Names the cause of a handshake that failed.
fn failed(error: ConnectionError) -> DialError {
    let code = match &error {
        ConnectionError::TransportError(error) => Some(error.code),
        ConnectionError::ConnectionClosed(close) => Some(close.error_code),
        ConnectionError::VersionMismatch => return DialError::OtherProtocol,
        ConnectionError::ApplicationClosed(close) => {
            let reason = clean(&String::from_utf8_lossy(&close.reason));
            return DialError::Closed {
                code: close.error_code.into_inner(),
                reason,
            };
        }
        ConnectionError::TimedOut => return DialError::Timeout,
        ConnectionError::LocallyClosed => return DialError::Stopping,
        ConnectionError::Reset | ConnectionError::CidsExhausted => None,
    };
    let text = clean(&error.to_string());
    match code {
        Some(TransportErrorCode::CONNECTION_REFUSED) => DialError::Refused,
        Some(code) if code == TransportErrorCode::crypto(NO_COMMON_PROTOCOL) => {
            DialError::OtherProtocol
        }
        Some(code) if (0x100..0x200).contains(&u64::from(code)) => DialError::Tls(text),
        Some(_) | None => DialError::Other(text),
    }
}

/// A text from a peer, shortened and safe to show.
pub(crate) fn clean(words: &str) -> String {
    const CHARS_MAX: usize = 200;
    visible(&words.chars().take(CHARS_MAX).collect::<String>()).into_owned()
}
