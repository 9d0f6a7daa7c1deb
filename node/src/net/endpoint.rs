//! The QUIC endpoint: dials peers, and lets in those that prove who they are.
//!
//! An accepted connection leaves here only when its handshake is done, so that what is unproven is
//! bounded in one place, the gate. Whether a peer is welcome, and how many, is for the caller to
//! decide.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use hobnob_protocol::relay::ALPN_RELAY;
use hobnob_protocol::text::visible;
use hobnob_protocol::{ALPN_NODE, PeerId, SecretKey, close};
use hobnob_transport::tls::{self, Credentials, SERVER_NAME};
use quinn::{
    ConnectError, ConnectionError, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    TransportConfig, TransportErrorCode, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::congestion::BoundedConfig;
use super::demux::DATAGRAM_MAX;
use super::first_hop;
use super::goodbye::hang_up;
use super::socket::BoundSocket;
use hobnob_core::synthetic::is_synthetic;
use hobnob_core::transfers::{LANE_BYTES, LANES_MAX};
use hobnob_transport::addr::undeliverable;

/// Unproven handshakes at once; above half of that a newcomer must first show that it is where it
/// says (Retry, RFC 9000 section 8.1.2), and beyond all of it it is refused.
pub const HANDSHAKES_MAX: usize = 64;

/// How long an accepted handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Proven connections that wait for the engine; while it is full, handshakes keep their places in
/// the gate.
const ACCEPTED_MAX: usize = 16;

/// Streams that a peer may have open in one direction only. Batches are used; the rest is for later
/// minor versions.
const UNI_STREAMS_MAX: u32 = 8;

/// Streams that a peer may have open in both directions: control, and content's.
const BIDI_STREAMS_MAX: u32 = 24;
const _: () = assert!(BIDI_STREAMS_MAX as usize > LANES_MAX + 1);

/// What one peer can make us hold in received data, over all its streams; each has room for
/// [`LANE_BYTES`]. So content, on one stream, can't take it all; more streams of it widen this
/// window (see [`super::content`]).
pub(super) const RECEIVE_WINDOW: u32 = 2 * 1024 * 1024;

/// What one peer can make us hold in data that it has not acknowledged. It grows with the other.
pub(super) const SEND_WINDOW: u64 = 2 * 1024 * 1024;

/// When it is looked again whether a path has come to carry more. Each size that is tried in vain
/// costs three packets: an idle session would feel it if it were often.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A connection without a sign of life ends after this. Sessions notice a silent peer long before,
/// by their own pings.
const IDLE_LIMIT_MS: u32 = 60_000;

/// The error code by which TLS says that there is no common ALPN: 0x100 and alert 120 (RFC 9001
/// section 4.8, RFC 7301).
const NO_COMMON_PROTOCOL: u8 = 120;

/// A node's end of all its connections. Clones share it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    quinn: quinn::Endpoint,
    credentials: Arc<Credentials>,
    transports: ByPath<TransportConfig>,
    tasks: TaskTracker,
}

/// What a path wants: where the first hop carries jumbo frames, or is the machine itself, larger
/// datagrams are tried (RFC 8899); elsewhere quinn looks no further than an Ethernet frame.
#[derive(Debug)]
struct ByPath<T> {
    usual: Arc<T>,
    large: Arc<T>,
}

impl<T> ByPath<T> {
    fn to(&self, addr: SocketAddr) -> Arc<T> {
        if first_hop::carries(DATAGRAM_MAX, addr) {
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
    /// Who dialed.
    pub peer: PeerId,
}

/// Why a dial failed. The text is for the user, and safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// Another node answered.
    #[error(
        "another node answers there: {found}, not {expected}; check the address, and where you have the id from"
    )]
    IdentityMismatch {
        /// Who was meant.
        expected: PeerId,
        /// Who answered, and proved it.
        found: PeerId,
    },
    /// Nobody answered in time.
    #[error(
        "nobody answered in time: is hobnob running there, and does a firewall let its UDP port through?"
    )]
    Timeout,
    /// The node there takes no more connections now.
    #[error("the node there takes no new connections at the moment: try again in a minute")]
    Refused,
    /// The node there ended the connection, and said why.
    #[error("the node there ended the connection ({code}: {reason})", code = close::name(*.code))]
    Closed {
        /// A code of [`hobnob_protocol::close`].
        code: u64,
        /// Its words.
        reason: String,
    },
    /// Something that is no hobnob answered, or one of another major version.
    #[error(
        "what answers there is no hobnob, or one of another major version: update the older of the two"
    )]
    OtherProtocol,
    /// One side did not accept the other's proof of identity.
    #[error("the node there could not prove its identity, or did not accept ours: {0}")]
    Tls(String),
    /// The address can't be dialed at all.
    #[error("{addr} can't be dialed: {why}")]
    Address {
        /// The address.
        addr: SocketAddr,
        /// What is wrong with it.
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
    /// Starts the endpoint on a bound socket, within a tokio runtime. Connections that peers dialed
    /// come out of the receiver, which ends when the endpoint is closed.
    ///
    /// The keys by which a restarted node tells its peers that their connections are gone
    /// (stateless resets, RFC 9000 section 10.3) are derived from the node's key, so that nothing
    /// else needs to be kept for it.
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
            tasks: TaskTracker::new(),
        };
        let (accepted, incoming) = mpsc::channel(ACCEPTED_MAX);
        let gate = Gate::new(HANDSHAKES_MAX);
        let door = Door {
            gate,
            servers,
            accepted,
            tasks: endpoint.tasks.clone(),
        };
        endpoint.tasks.spawn(let_in(endpoint.quinn.clone(), door));
        Ok((endpoint, incoming))
    }

    /// Dials `addr`; with `expected`, only that peer will do. IPv4 addresses are dialed as such on
    /// a dual-stack socket.
    pub async fn dial(
        &self,
        addr: SocketAddr,
        expected: Option<PeerId>,
        limit: Duration,
    ) -> Result<quinn::Connection, DialError> {
        self.dial_speaking(ALPN_NODE, addr, expected, limit).await
    }

    /// As [`Endpoint::dial`], for a relay.
    pub async fn dial_relay(
        &self,
        addr: SocketAddr,
        expected: Option<PeerId>,
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

    async fn dial_speaking(
        &self,
        alpn: &[u8],
        addr: SocketAddr,
        expected: Option<PeerId>,
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

    /// How many connections there are, those in their handshake among them.
    pub fn connections(&self) -> usize {
        self.quinn.open_connections()
    }

    /// Ends all connections with this code, and accepts no more. It does not wait until the other
    /// ends have heard, and who sends much may not be heard at all: see [`super::goodbye`] for what
    /// comes before.
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
    // What comes before a handshake is let in: a client's first flight is two or three datagrams.
    // quinn's own defaults allow 100 MiB.
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
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(DATAGRAM_MAX).interval(TRIED_AGAIN_AFTER);
    let mut large = transport();
    large.mtu_discovery_config(Some(mtu));
    ByPath {
        usual: Arc::new(transport()),
        large: Arc::new(large),
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(BIDI_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW))
        .stream_receive_window(VarInt::from_u64(LANE_BYTES).unwrap_or(VarInt::MAX))
        .send_window(SEND_WINDOW)
        .congestion_controller_factory(Arc::new(BoundedConfig::default()))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(None)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_LIMIT_MS))));
    transport
}

/// What those who dial this node meet.
struct Door {
    gate: Gate,
    servers: ByPath<quinn::ServerConfig>,
    accepted: mpsc::Sender<Accepted>,
    tasks: TaskTracker,
}

/// Bounds the handshakes that anybody can make us begin.
struct Gate {
    places: Arc<Semaphore>,
    max: usize,
}

enum Admission {
    Enter(OwnedSemaphorePermit),
    Retry,
    Refuse,
}

impl Gate {
    fn new(max: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(max)),
            max,
        }
    }

    /// Decides about one newcomer; `validated` says that its address is proved.
    fn admit(&self, validated: bool) -> Admission {
        let crowded = self.places.available_permits() <= self.max / 2;
        if crowded && !validated {
            return Admission::Retry;
        }
        match self.places.clone().try_acquire_owned() {
            Ok(place) => Admission::Enter(place),
            Err(_) => Admission::Refuse,
        }
    }
}

async fn let_in(endpoint: quinn::Endpoint, door: Door) {
    while let Some(incoming) = endpoint.accept().await {
        // quinn can't understand the proof of a link-local address: it forgets the zone. Only
        // neighbours could forge one.
        let neighbour =
            matches!(incoming.remote_address(), SocketAddr::V6(addr) if addr.scope_id() != 0);
        match door
            .gate
            .admit(neighbour || incoming.remote_address_validated())
        {
            Admission::Enter(place) => {
                door.tasks.spawn(finish_handshake(
                    incoming,
                    door.servers.clone(),
                    place,
                    door.accepted.clone(),
                ));
            }
            Admission::Retry => {
                // Only an address that is already proved can't be asked again, and those are not.
                let _ = incoming.retry();
            }
            Admission::Refuse => incoming.refuse(),
        }
    }
}

/// Waits for a peer to prove itself; `_place` is held until the engine has the connection.
async fn finish_handshake(
    incoming: quinn::Incoming,
    servers: ByPath<quinn::ServerConfig>,
    _place: OwnedSemaphorePermit,
    accepted: mpsc::Sender<Accepted>,
) {
    let from = incoming.remote_address();
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

/// A peer's words, short and safe to show.
pub(crate) fn clean(words: &str) -> String {
    const CHARS_MAX: usize = 200;
    visible(&words.chars().take(CHARS_MAX).collect::<String>()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_asks_for_proof_of_address_when_crowded_and_refuses_when_full() {
        let gate = Gate::new(4);
        let mut inside = Vec::new();
        let mut enter = |validated| match gate.admit(validated) {
            Admission::Enter(place) => {
                inside.push(place);
                "enter"
            }
            Admission::Retry => "retry",
            Admission::Refuse => "refuse",
        };
        assert_eq!(
            [enter(false), enter(false), enter(false)],
            ["enter", "enter", "retry"]
        );
        assert_eq!(
            [enter(true), enter(true), enter(true), enter(false)],
            ["enter", "enter", "refuse", "retry"]
        );
        inside.clear();
        assert!(matches!(gate.admit(false), Admission::Enter(_)));
    }
}
