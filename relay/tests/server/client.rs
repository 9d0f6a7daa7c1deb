//! A small client of a relay, as a node would be.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::heartbeat::{Handle, Message, SLEEP_EXPORTER_LABEL, SleepSecret};
use hobnob_protocol::relay::{
    ALPN_RELAY, FromRelay, Register, Roster, TOKEN_EXPORTER_LABEL, TOKEN_PROOF_LEN, ToRelay,
    VERSION, Welcome, close, features, token_proof,
};
use hobnob_protocol::{DeviceId, RoomTag, SecretKey};
use hobnob_transport::tls::{self, Credentials, SERVER_NAME};
use quinn::{
    ClientConfig, Connecting, Connection, ConnectionError, Endpoint, EndpointConfig, RecvStream,
    SendStream, TransportConfig,
};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::socket::{ClientSocket, QuicFilter};

/// Time limit for each step. Only a step that hangs needs this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("it hangs")
}

/// Waits until the condition holds.
pub(crate) async fn until(limit: Duration, holds: impl Fn() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let looking = async {
        while !holds() {
            look.tick().await;
        }
    };
    tokio::time::timeout(limit, looking)
        .await
        .expect("it comes to that");
}

/// A person's machine: a key, a socket, an endpoint.
pub(crate) struct Client {
    key: SecretKey,
    relay: SocketAddr,
    endpoint: Endpoint,
    io: Arc<UdpSocket>,
    frames: mpsc::UnboundedReceiver<Vec<u8>>,
}

/// A control connection with its one stream.
pub(crate) struct Link {
    pub(crate) connection: Connection,
    send: SendStream,
    receive: RecvStream,
}

/// A client without a connection.
pub(crate) struct Sleeper {
    pub(crate) secret: SleepSecret,
    pub(crate) handle: Handle,
    pub(crate) reset: [u8; 16],
}

/// Why a connection ended: a close code and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: u32,
    pub(crate) reason: String,
}

impl Client {
    pub(crate) async fn new(seed: u16, relay: SocketAddr) -> Self {
        Self::with(seed, relay, QuicFilter::All).await
    }

    pub(crate) async fn with(seed: u16, relay: SocketAddr, filter: QuicFilter) -> Self {
        Self::on(open(Ipv4Addr::LOCALHOST).await, seed, relay, filter)
    }

    /// A client in another network than those that [`Client::new`] makes.
    pub(crate) async fn elsewhere(seed: u16, relay: SocketAddr) -> Self {
        let [high, low] = seed.to_be_bytes();
        let io = open(Ipv4Addr::new(127, high, low, 1)).await;
        Self::on(io, seed, relay, QuicFilter::All)
    }

    fn on(io: Arc<UdpSocket>, seed: u16, relay: SocketAddr, filter: QuicFilter) -> Self {
        let (socket, frames) = ClientSocket::new(io.clone(), filter);
        let mut config = EndpointConfig::default();
        config.grease_quic_bit(false);
        let endpoint =
            Endpoint::new_with_abstract_socket(config, None, socket, Arc::new(quinn::TokioRuntime))
                .unwrap();
        Self {
            key: SecretKey::from_seed(seed_of(seed)),
            relay,
            endpoint,
            io,
            frames,
        }
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.key.id()
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.io.local_addr().unwrap()
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let setup = Credentials::new(&self.key).client_config(None, ALPN_RELAY);
        let mut config = ClientConfig::new(setup.crypto);
        config.transport_config(Arc::new(TransportConfig::default()));
        config
    }

    pub(crate) fn connecting(&self, config: ClientConfig) -> Connecting {
        self.endpoint
            .connect_with(config, self.relay, SERVER_NAME)
            .unwrap()
    }

    /// Connects and opens the control stream, but sends nothing yet.
    pub(crate) async fn connects(&self) -> Link {
        let connection = within(self.connecting(self.config())).await.unwrap();
        let (send, receive) = within(connection.open_bi()).await.unwrap();
        Link {
            connection,
            send,
            receive,
        }
    }

    /// Connects and registers. Returns the relay's answer.
    pub(crate) async fn registers(
        &self,
        token: &str,
        rooms: &[RoomTag],
    ) -> (Link, Result<FromRelay, Ended>) {
        let mut link = self.connects().await;
        let exporter = tls::exported_secret(&link.connection, TOKEN_EXPORTER_LABEL);
        let proof = (!token.is_empty()).then(|| token_proof(token.as_bytes(), &exporter));
        link.says(&ToRelay::Register(register(proof, rooms))).await;
        let answer = link.receives().await;
        (link, answer)
    }

    /// Registers successfully.
    pub(crate) async fn joins(&self, rooms: &[RoomTag]) -> (Link, Welcome) {
        match self.registers("", rooms).await {
            (link, Ok(FromRelay::Welcome(welcome))) => (link, welcome),
            (_, other) => panic!("no welcome: {other:?}"),
        }
    }

    /// Tries to connect and register, and keeps the link if that succeeds.
    pub(crate) async fn tries_to_join(&self) -> Option<Link> {
        let connection = self.connecting(self.config()).await.ok()?;
        let (send, receive) = connection.open_bi().await.ok()?;
        let mut link = Link {
            connection,
            send,
            receive,
        };
        link.says(&ToRelay::Register(register(None, &[]))).await;
        link.receive.read_exact(&mut [0; 4]).await.ok()?;
        Some(link)
    }

    /// Registers and is rejected.
    pub(crate) async fn is_refused(&self, token: &str) -> Ended {
        match self.registers(token, &[]).await {
            (_, Err(ended)) => ended,
            (_, Ok(frame)) => panic!("it was let in: {frame:?}"),
        }
    }

    /// Sends a channel frame from the socket of the control connection.
    pub(crate) async fn sends(&self, channel: ChannelId, inner: &[u8]) {
        let frame = [&channel.header()[..], inner].concat();
        self.io.send_to(&frame, self.relay).await.unwrap();
    }

    /// The next channel frame that arrives on that socket.
    pub(crate) async fn receives(&mut self) -> (ChannelId, Vec<u8>) {
        let mut frame = within(self.frames.recv())
            .await
            .expect("the endpoint lives");
        let channel = ChannelId::of(&frame).unwrap();
        (channel, frame.split_off(9))
    }

    /// Registers as a node that can sleep. Returns the link when the relay has offered it.
    pub(crate) async fn joins_to_sleep(&self) -> Link {
        let mut link = self.connects().await;
        let register = Register {
            features: features::SLEEP,
            ..register(None, &[])
        };
        link.says(&ToRelay::Register(register)).await;
        link.receives_where(|frame| matches!(frame, FromRelay::MaySleep { .. }).then_some(()))
            .await;
        link
    }

    /// Falls asleep in agreement with the relay.
    pub(crate) async fn falls_asleep(&self) -> Sleeper {
        let mut link = self.joins_to_sleep().await;
        link.says(&ToRelay::Sleep).await;
        let (handle, reset) = link
            .receives_where(|frame| match frame {
                FromRelay::Sleep { handle, reset } => Some((*handle, *reset)),
                _ => None,
            })
            .await;
        let secret = tls::exported_secret(&link.connection, SLEEP_EXPORTER_LABEL);
        link.connection.close(close::ASLEEP.into(), b"");
        Sleeper {
            secret: SleepSecret::new(secret),
            handle,
            reset,
        }
    }

    /// Sends a sealed datagram to a relay.
    pub(crate) async fn says_asleep(&self, sleeper: &Sleeper, counter: u64, message: &Message) {
        let datagram = sleeper.secret.seal(sleeper.handle, counter, message);
        self.sends_to(self.relay, datagram.as_slice()).await;
    }

    pub(crate) async fn sends_to(&self, relay: SocketAddr, datagram: &[u8]) {
        self.io.send_to(datagram, relay).await.unwrap();
    }

    /// The next datagram that is not QUIC.
    pub(crate) async fn hears(&mut self) -> Vec<u8> {
        within(self.frames.recv())
            .await
            .expect("the endpoint lives")
    }

    /// The next sealed message of a sleep, with its counter.
    pub(crate) async fn hears_asleep(&mut self, sleeper: &Sleeper) -> (u64, Message) {
        let datagram = self.hears().await;
        sleeper.secret.open(&datagram).expect("sealed")
    }

    /// Changes to another socket, as if a NAT had lost its mapping.
    pub(crate) async fn moves(&mut self) {
        self.io = open(Ipv4Addr::LOCALHOST).await;
        let (socket, frames) = ClientSocket::new(self.io.clone(), QuicFilter::All);
        self.frames = frames;
        self.endpoint.rebind_abstract(socket).unwrap();
    }
}

impl Link {
    pub(crate) async fn says(&mut self, frame: &ToRelay) {
        self.says_bytes(&frame.encode()).await;
    }

    /// Writes bytes as a frame. If the connection ends meanwhile, the next read reports it.
    pub(crate) async fn says_bytes(&mut self, frame: &[u8]) {
        let prefix = u32::try_from(frame.len()).unwrap().to_be_bytes();
        self.says_raw(&[&prefix[..], frame].concat()).await;
    }

    pub(crate) async fn says_raw(&mut self, bytes: &[u8]) {
        let _ended = within(self.send.write_chunk(Bytes::copy_from_slice(bytes))).await;
    }

    /// The next frame, or why the connection ended.
    pub(crate) async fn receives(&mut self) -> Result<FromRelay, Ended> {
        let mut prefix = [0; 4];
        if within(self.receive.read_exact(&mut prefix)).await.is_err() {
            return Err(self.ends().await);
        }
        let mut frame = vec![0; u32::from_be_bytes(prefix) as usize];
        within(self.receive.read_exact(&mut frame)).await.unwrap();
        Ok(FromRelay::decode(&frame).unwrap())
    }

    /// The next frame that `wanted` accepts. Skips all others.
    pub(crate) async fn receives_where<T>(
        &mut self,
        wanted: impl Fn(&FromRelay) -> Option<T>,
    ) -> T {
        loop {
            if let Some(found) = wanted(&self.receives().await.expect("the connection goes on")) {
                return found;
            }
        }
    }

    pub(crate) async fn opened(&mut self) -> (DeviceId, ChannelId) {
        self.receives_where(|frame| match frame {
            FromRelay::Opened { peer, channel, .. } => Some((*peer, *channel)),
            _ => None,
        })
        .await
    }

    pub(crate) async fn roster(&mut self) -> Roster {
        self.receives_where(|frame| match frame {
            FromRelay::Roster(roster) => Some(roster.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ends(&mut self) -> Ended {
        match within(self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => Ended {
                code: u32::try_from(close.error_code.into_inner()).unwrap(),
                reason: String::from_utf8(close.reason.to_vec()).unwrap(),
            },
            other => panic!("the relay said nothing: {other}"),
        }
    }
}

pub(crate) fn register(token_proof: Option<[u8; TOKEN_PROOF_LEN]>, rooms: &[RoomTag]) -> Register {
    Register {
        version: VERSION,
        features: 0,
        token_proof,
        rooms: rooms.to_vec(),
        reached_at: None,
    }
}

pub(crate) fn seed_of(number: u16) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    seed
}

async fn open(ip: Ipv4Addr) -> Arc<UdpSocket> {
    Arc::new(UdpSocket::bind((ip, 0)).await.unwrap())
}
