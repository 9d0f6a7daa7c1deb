//! A peer: its endpoint, its control connection to the relay, and its channel.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::BytesMut;
use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::heartbeat::Handle;
use hobnob_protocol::relay::{ALPN_RELAY, FromRelay, Register, ToRelay, VERSION, features};
use hobnob_protocol::{DeviceId, SecretKey};
use hobnob_transport::tls::{Credentials, SERVER_NAME};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig,
    TokioRuntime,
};
use tokio::task::JoinHandle;
use tokio_util::codec::{Decoder, LengthDelimitedCodec};

use super::carrier::{Carrier, FAR};
use super::stream_socket::StreamSocket;
use super::{Relay, streams};

/// The ALPN protocol between the two ends of a channel.
const ALPN: &[u8] = b"bench";

/// More often than the relay's interval of 15 s.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// A registered peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: DeviceId,
    pub(crate) carrier: Arc<Carrier>,
    credentials: Arc<Credentials>,
    endpoint: Endpoint,
    control: Option<Control>,
    heartbeats: Option<JoinHandle<()>>,
}

/// The control stream.
#[derive(Debug)]
pub(crate) struct Control {
    send: SendStream,
    recv: RecvStream,
    buffer: BytesMut,
    codec: LengthDelimitedCodec,
}

impl Control {
    /// Registers on a new connection and waits for the relay's Welcome.
    pub(crate) async fn register(connection: Connection) -> anyhow::Result<Self> {
        Self::register_with(connection, 0).await
    }

    /// Registers as a peer that can sleep.
    pub(crate) async fn register_to_sleep(connection: Connection) -> anyhow::Result<Self> {
        Self::register_with(connection, features::SLEEP).await
    }

    /// Asks for the relay's agreement to sleep, and waits for it.
    pub(crate) async fn asks_to_sleep(&mut self) -> anyhow::Result<Handle> {
        self.send(&ToRelay::Sleep).await?;
        loop {
            if let FromRelay::Sleep { handle, .. } = self.receive().await? {
                return Ok(handle);
            }
        }
    }

    async fn register_with(connection: Connection, features: u64) -> anyhow::Result<Self> {
        let (send, recv) = connection.open_bi().await?;
        let mut control = Self {
            send,
            recv,
            buffer: BytesMut::new(),
            codec: LengthDelimitedCodec::new(),
        };
        control
            .send(&ToRelay::Register(Register {
                version: VERSION,
                features,
                ..Register::default()
            }))
            .await?;
        match control.receive().await? {
            FromRelay::Welcome(_) => Ok(control),
            other => bail!("expected a Welcome, received {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, frame: &ToRelay) -> anyhow::Result<()> {
        let body = frame.encode();
        let length = u32::try_from(body.len())?.to_be_bytes();
        Ok(self.send.write_all(&[&length[..], &body].concat()).await?)
    }

    async fn receive(&mut self) -> anyhow::Result<FromRelay> {
        loop {
            if let Some(bytes) = self.codec.decode(&mut self.buffer)? {
                return Ok(FromRelay::decode(&bytes)?);
            }
            let chunk = self
                .recv
                .read_chunk(64 * 1024, true)
                .await?
                .context("the relay ended the control stream")?;
            self.buffer.extend_from_slice(&chunk.bytes);
        }
    }

    async fn opened(&mut self, with: DeviceId) -> anyhow::Result<ChannelId> {
        loop {
            match self.receive().await? {
                FromRelay::Opened { peer, channel, .. } if peer == with => return Ok(channel),
                FromRelay::NotOpened { why, .. } => {
                    bail!("the relay refused to open a channel: {why:?}")
                }
                _ => {}
            }
        }
    }

    /// Sends heartbeats and reads the relay's frames until the connection ends.
    async fn send_heartbeats(mut self) {
        let mut every = tokio::time::interval(HEARTBEAT_EVERY);
        loop {
            let connected = tokio::select! {
                _ = every.tick() => self.send(&ToRelay::Heartbeat(0)).await.is_ok(),
                frame = self.receive() => frame.is_ok(),
            };
            if !connected {
                return;
            }
        }
    }
}

impl Peer {
    /// Registers at a relay, over UDP.
    pub(crate) async fn join(relay: &Relay, seed: u8) -> anyhow::Result<Self> {
        let carrier = Carrier::bind(Ipv4Addr::LOCALHOST, relay.addr)?;
        Self::join_over(carrier, relay, [seed; 32]).await
    }

    /// Registers at a relay, over TCP.
    pub(crate) async fn join_by_stream(relay: &Relay, seed: [u8; 32]) -> anyhow::Result<Self> {
        let stream = StreamSocket::connect(relay.addr).await?;
        Self::join_over(Carrier::over(stream, relay.addr), relay, seed).await
    }

    async fn join_over(
        carrier: Arc<Carrier>,
        relay: &Relay,
        seed: [u8; 32],
    ) -> anyhow::Result<Self> {
        let key = SecretKey::from_seed(seed);
        let credentials = Arc::new(Credentials::new(&key));
        let mut config = EndpointConfig::default();
        config.grease_quic_bit(false);
        let server = ServerConfig::with_crypto(credentials.server_config(ALPN));
        let socket = carrier.clone();
        let endpoint = Endpoint::new_with_abstract_socket(
            config,
            Some(server),
            socket,
            Arc::new(TokioRuntime),
        )?;
        let dial = ClientConfig::new(credentials.client_config(Some(relay.id), ALPN_RELAY).crypto);
        let connection = endpoint
            .connect_with(dial, relay.addr, SERVER_NAME)?
            .await?;
        let control = Some(Control::register(connection).await?);
        Ok(Self {
            id: key.id(),
            carrier,
            credentials,
            endpoint,
            control,
            heartbeats: None,
        })
    }

    /// Requests a channel between two peers and waits until both know it.
    pub(crate) async fn open(&mut self, other: &mut Peer) -> anyhow::Result<[ChannelId; 2]> {
        let (ours, theirs) = (
            self.control
                .as_mut()
                .context("the peer only sends heartbeats")?,
            other
                .control
                .as_mut()
                .context("the peer only sends heartbeats")?,
        );
        ours.send(&ToRelay::Open(other.id)).await?;
        let (here, there) = tokio::join!(ours.opened(other.id), theirs.opened(self.id));
        let channels = [here?, there?];
        self.carrier.set_channel(channels[0]);
        other.carrier.set_channel(channels[1]);
        Ok(channels)
    }

    /// Gives the control stream to a task that only sends heartbeats.
    pub(crate) fn only_sends_heartbeats(&mut self) {
        if let Some(control) = self.control.take() {
            self.heartbeats = Some(tokio::spawn(control.send_heartbeats()));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(heartbeats) = &self.heartbeats {
            heartbeats.abort();
        }
        self.endpoint.close(0_u32.into(), b"");
    }
}

/// Two peers with a QUIC connection through the relay.
#[derive(Debug)]
pub(crate) struct Pair {
    near: Connection,
    _peers: [Peer; 2],
}

impl Pair {
    /// Two peers that use UDP.
    pub(crate) async fn new(relay: &Relay) -> anyhow::Result<Self> {
        Self::of(Peer::join(relay, 1).await?, Peer::join(relay, 2).await?).await
    }

    /// Two peers that use TCP.
    pub(crate) async fn by_streams(relay: &Relay) -> anyhow::Result<Self> {
        let ann = Peer::join_by_stream(relay, [1; 32]).await?;
        Self::of(ann, Peer::join_by_stream(relay, [2; 32]).await?).await
    }

    async fn of(mut ann: Peer, mut bob: Peer) -> anyhow::Result<Self> {
        ann.open(&mut bob).await?;
        ann.only_sends_heartbeats();
        bob.only_sends_heartbeats();
        let dial = ClientConfig::new(ann.credentials.client_config(Some(bob.id), ALPN).crypto);
        let accepting = async {
            anyhow::Ok(
                bob.endpoint
                    .accept()
                    .await
                    .context("bob's endpoint is closed")?
                    .await?,
            )
        };
        let (near, far) = tokio::join!(
            ann.endpoint.connect_with(dial, FAR, SERVER_NAME)?,
            accepting
        );
        // The task ends with the connection.
        tokio::spawn(streams::answer(far?));
        Ok(Self {
            near: near?,
            _peers: [ann, bob],
        })
    }

    /// Sends this many bytes. Returns the seconds until the receiver had them.
    pub(crate) async fn bulk(&self, bytes: u64) -> anyhow::Result<f64> {
        streams::bulk(&self.near, bytes).await
    }

    /// Makes `count` round trips. Returns the median in microseconds.
    pub(crate) async fn echo(&self, count: usize, bytes: u64) -> anyhow::Result<f64> {
        streams::echo(&self.near, count, bytes).await
    }
}
