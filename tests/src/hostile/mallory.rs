//! The attacker: an identity and a QUIC endpoint that do not follow the protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hobnob_protocol::frame::{Profile, features};
use hobnob_protocol::{
    Frame, Hello, PersonId, RoomKey, RoomName, SecretKey, SignedRecord, VERSION, codec,
};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, Endpoint, TransportConfig, VarInt};

use super::host::Host;
use super::raw_stream::RawStream;
use super::test_cert::TestCert;

/// An attacker. Create and use it within a tokio runtime.
#[derive(Debug)]
pub struct Mallory {
    key: SecretKey,
    endpoint: Endpoint,
    transport: Arc<TransportConfig>,
}

impl Mallory {
    /// An attacker with a new key, on loopback.
    pub fn new() -> Self {
        Self::at(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            TransportConfig::default(),
        )
    }

    /// An attacker whose flow control windows stay this small unless it reads.
    pub fn with_window(bytes: u32) -> Self {
        let mut transport = TransportConfig::default();
        transport
            .stream_receive_window(VarInt::from_u32(bytes))
            .receive_window(VarInt::from_u32(2 * bytes));
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), transport)
    }

    /// An attacker that dials from this address, and listens at it.
    pub fn at(addr: SocketAddr, transport: TransportConfig) -> Self {
        let key = random_key();
        let crypto = QuicServerConfig::try_from(TestCert::of(&key).server())
            .expect("the provider has QUIC's initial cipher suite");
        let server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = Endpoint::server(server, addr).expect("the address belongs to this machine");
        Self {
            key,
            endpoint,
            transport: Arc::new(transport),
        }
    }

    /// The attacker's key.
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The attacker's peer id.
    pub fn id(&self) -> PersonId {
        self.key.id().person()
    }

    /// The address that it listens at.
    pub fn addr(&self) -> SocketAddr {
        self.endpoint.local_addr().expect("the endpoint is bound")
    }

    /// Presents this certificate to nodes that dial, from now on.
    pub fn answers_with(&self, cert: &TestCert) {
        let crypto = QuicServerConfig::try_from(cert.server())
            .expect("the provider has QUIC's initial cipher suite");
        self.endpoint
            .set_server_config(Some(quinn::ServerConfig::with_crypto(Arc::new(crypto))));
    }

    /// Waits until a node dials, and for the handshake.
    pub async fn is_dialed(&self) -> Result<Connection, ConnectionError> {
        self.endpoint
            .accept()
            .await
            .expect("the endpoint is open")
            .await
    }

    /// Dials a node and presents this certificate.
    pub async fn dial(&self, host: &Host, cert: &TestCert) -> Result<Connection, ConnectionError> {
        self.dial_at(host.addr(), cert).await
    }

    /// Like [`Mallory::dial`], at any address.
    pub async fn dial_at(
        &self,
        addr: SocketAddr,
        cert: &TestCert,
    ) -> Result<Connection, ConnectionError> {
        let crypto = QuicClientConfig::try_from(cert.client())
            .expect("the provider has QUIC's initial cipher suite");
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        config.transport_config(Arc::clone(&self.transport));
        self.endpoint
            .connect_with(config, addr, "hobnob.invalid")
            .expect("the address can be dialed")
            .await
    }

    /// Dials with its own key and opens the control stream, without sending anything.
    pub async fn connected(&self, host: &Host) -> RawStream {
        let connection = self
            .dial(host, &TestCert::of(&self.key))
            .await
            .expect("an honest handshake succeeds");
        RawStream::open(connection, self.id()).await
    }

    /// Dials and sends a correct Hello. Returns `None` if the victim refuses either.
    pub async fn try_session_at(&self, victim: SocketAddr) -> Option<RawStream> {
        let connection = self.dial_at(victim, &TestCert::of(&self.key)).await.ok()?;
        let mut stream = RawStream::try_open(connection, self.id()).await?;
        stream.try_greet(self.profile("crowd")).await?;
        Some(stream)
    }

    /// Dials and sends a correct Hello, as a member of the lobby. Returns `None` if the victim refuses
    /// either.
    pub async fn try_lobby_at(&self, victim: SocketAddr, nick: &str) -> Option<RawStream> {
        let connection = self.dial_at(victim, &TestCert::of(&self.key)).await.ok()?;
        let mut stream = RawStream::try_open(connection, self.id()).await?;
        let lobby = RoomKey::open(&RoomName::lobby());
        let proofs = vec![lobby.proof(&stream.exporter(), self.id().only_device())];
        let profile = Profile {
            proofs,
            ..self.profile(nick)
        };
        stream.try_greet(profile).await?;
        Some(stream)
    }

    /// Dials and sends a correct Hello, as a member of the lobby with the nickname `mallory`.
    pub async fn in_session(&self, host: &Host) -> RawStream {
        self.in_session_as(host, "mallory", Vec::new()).await
    }

    /// Like [`Mallory::in_session`], with any nickname and addresses.
    pub async fn in_session_as(
        &self,
        host: &Host,
        nick: &str,
        addrs: Vec<SocketAddr>,
    ) -> RawStream {
        let mut stream = self.connected(host).await;
        let lobby = RoomKey::open(&RoomName::lobby());
        let proofs = vec![lobby.proof(&stream.exporter(), self.id().only_device())];
        stream
            .greet(Profile {
                addrs,
                proofs,
                ..self.profile(nick)
            })
            .await;
        stream
    }

    /// Dials any address and sends a correct Hello with these addresses, without any room.
    pub async fn in_session_at(&self, victim: SocketAddr, addrs: Vec<SocketAddr>) -> RawStream {
        let connection = self
            .dial_at(victim, &TestCert::of(&self.key))
            .await
            .expect("an honest handshake succeeds");
        let mut stream = RawStream::open(connection, self.id()).await;
        stream
            .greet(Profile {
                addrs,
                ..self.profile("mallory")
            })
            .await;
        stream
    }

    /// A profile with a record that has this nickname, without addresses and proofs.
    pub fn profile(&self, nick: &str) -> Profile {
        Profile {
            record: public_record(&self.key, nick),
            ..Profile::default()
        }
    }

    /// Dials any address and sends a Hello with these feature bits, without any room.
    pub async fn in_session_with(&self, victim: SocketAddr, features: u64) -> RawStream {
        let connection = self
            .dial_at(victim, &TestCert::of(&self.key))
            .await
            .expect("an honest handshake succeeds");
        let mut stream = RawStream::open(connection, self.id()).await;
        let hello = Self::hello_with(self.profile("mallory"), features);
        let greeted = stream.try_greet_with(&hello).await;
        greeted.expect("the victim answers with a Hello");
        stream
    }

    /// A Hello with this profile.
    pub fn hello(profile: Profile) -> Frame {
        let features = features::CONTENT | features::APPS | features::PICTURES;
        Self::hello_with(profile, features)
    }

    /// A Hello with this profile and these feature bits.
    pub fn hello_with(profile: Profile, features: u64) -> Frame {
        Frame::Hello(Hello {
            version: VERSION,
            features,
            instance: rand::random(),
            started_at_ms: now_ms(),
            clock_ms: now_ms(),
            profile,
        })
    }
}

impl Default for Mallory {
    fn default() -> Self {
        Self::new()
    }
}

/// A public record with any nickname, correctly signed. Later ones have higher numbers.
pub fn public_record(key: &SecretKey, nick: &str) -> SignedRecord {
    static SIGNED: AtomicU64 = AtomicU64::new(0);
    let number = now_ms() + SIGNED.fetch_add(1, Ordering::Relaxed);
    public_record_numbered(key, nick, number)
}

/// As [`public_record`], with any number.
pub fn public_record_numbered(key: &SecretKey, nick: &str, number: u64) -> SignedRecord {
    signed_record(key, nick, number, None)
}

/// As [`public_record`], with the hash of a picture.
pub fn public_record_with_picture(key: &SecretKey, nick: &str, picture: [u8; 32]) -> SignedRecord {
    signed_record(key, nick, now_ms(), Some(picture))
}

fn signed_record(
    key: &SecretKey,
    nick: &str,
    number: u64,
    picture: Option<[u8; 32]>,
) -> SignedRecord {
    let extensions: Vec<(u16, Vec<u8>)> = Vec::new();
    let fields = (nick, vec![(1u16, key.id())], picture, extensions);
    let signed = codec::encode(&(1u16, number, fields));
    let mut hash = blake3::Hasher::new_derive_key("hobnob 1 public record");
    hash.update(key.id().as_bytes()).update(&signed);
    let signature = key.sign(hash.finalize().as_bytes());
    SignedRecord::from_bytes([&signature.as_bytes()[..], &signed].concat())
}

/// A random key.
pub fn random_key() -> SecretKey {
    SecretKey::from_seed(rand::random())
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500 million")
}
