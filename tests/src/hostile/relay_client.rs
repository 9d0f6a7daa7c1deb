//! A client that registers with a relay and ignores the relay's limits.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{ALPN_RELAY, FromRelay, Register, ToRelay, VERSION};
use hobnob_protocol::{DeviceId, RoomKey, SecretKey};
use hobnob_transport::tls::{self, Credentials, SERVER_NAME};
use quinn::{
    Connection, ConnectionError, Endpoint, EndpointConfig, RecvStream, SendStream, TokioRuntime,
};
use tokio::io::AsyncReadExt;

use super::mallory::random_key;

/// An identity that registers with a relay. Create and use it within a tokio runtime.
#[derive(Debug)]
pub struct RelayClient {
    key: SecretKey,
    endpoint: Endpoint,
    relay: SocketAddr,
}

/// A registered control connection.
#[derive(Debug)]
pub struct Registration {
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
}

/// How a relay closed a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayClose {
    /// A code of [`hobnob_protocol::relay::close`].
    pub code: u32,
    /// The reason in words.
    pub reason: String,
}

impl RelayClient {
    /// A client with a new key, on this socket.
    pub fn new(socket: UdpSocket, relay: SocketAddr) -> Self {
        let mut config = EndpointConfig::default();
        config.grease_quic_bit(false);
        let endpoint = Endpoint::new(config, None, socket, Arc::new(TokioRuntime))
            .expect("the socket is usable");
        Self {
            key: random_key(),
            endpoint,
            relay,
        }
    }

    /// The client's peer id.
    pub fn id(&self) -> DeviceId {
        self.key.id()
    }

    /// Connects and registers, in no room. The error is the relay's refusal.
    pub async fn registers(&self) -> Result<Registration, RelayClose> {
        self.registers_in(&[]).await
    }

    /// As [`RelayClient::registers`], as a member of these rooms.
    pub async fn registers_in(&self, rooms: &[RoomKey]) -> Result<Registration, RelayClose> {
        self.try_register(rooms).await.map_err(relay_close)
    }

    /// As [`RelayClient::registers_in`]. The error may also be that of the handshake.
    pub async fn try_register(&self, rooms: &[RoomKey]) -> Result<Registration, ConnectionError> {
        let setup = Credentials::new(&self.key).client_config(None, ALPN_RELAY);
        let config = quinn::ClientConfig::new(setup.crypto);
        let connecting = self
            .endpoint
            .connect_with(config, self.relay, SERVER_NAME)
            .expect("the address can be dialed");
        let connection = connecting.await?;
        let relay = tls::peer_id(connection.peer_identity()).expect("a relay proves its identity");
        let (mut send, mut receive) = connection.open_bi().await?;
        let mut registration = Vec::new();
        push(
            &ToRelay::Register(Register {
                version: VERSION,
                rooms: rooms.iter().map(|room| room.relay_tag(relay)).collect(),
                ..Register::default()
            }),
            &mut registration,
        );
        // The relay's answer shows whether it accepts the registration.
        let _ = send.write_all(&registration).await;
        match next(&mut receive).await {
            Ok(_welcome) => Ok(Registration {
                connection,
                send,
                receive,
            }),
            Err(_) => Err(connection.closed().await),
        }
    }
}

impl Registration {
    /// Requests a channel to this peer and waits until the relay opens it.
    pub async fn opens(&mut self, peer: DeviceId) -> ChannelId {
        let mut bytes = Vec::new();
        push(&ToRelay::Open(peer), &mut bytes);
        self.send
            .write_all(&bytes)
            .await
            .expect("the relay reads the request");
        loop {
            if let FromRelay::Opened { channel, .. } =
                next(&mut self.receive).await.expect("the relay answers")
            {
                return channel;
            }
        }
    }

    /// Sends a frame. Returns false if the relay has closed the connection.
    pub async fn sends(&mut self, frame: &ToRelay) -> bool {
        let mut bytes = Vec::new();
        push(frame, &mut bytes);
        self.sends_bytes(&bytes).await
    }

    /// Sends these bytes.
    pub async fn sends_bytes(&mut self, bytes: &[u8]) -> bool {
        self.send.write_all(bytes).await.is_ok()
    }

    /// Sends the frame repeatedly until the relay closes the connection. `None`: this client was so
    /// slow that the relay has forgotten the connection, and only its reset arrived (RFC 9000 section
    /// 10.2.2).
    pub async fn floods(mut self, frame: &ToRelay) -> Option<RelayClose> {
        let mut bytes = Vec::new();
        (0..100).for_each(|_| push(frame, &mut bytes));
        while self.send.write_all(&bytes).await.is_ok() {}
        let closed = self.connection.closed().await;
        let reset = matches!(closed, ConnectionError::Reset);
        (!reset).then(|| relay_close(closed))
    }
}

async fn next(receive: &mut RecvStream) -> anyhow::Result<FromRelay> {
    let length = receive.read_u32().await?;
    let mut body = vec![0; usize::try_from(length)?];
    receive.read_exact(&mut body).await?;
    Ok(FromRelay::decode(&body)?)
}

fn push(frame: &ToRelay, to: &mut Vec<u8>) {
    let body = frame.encode();
    to.extend_from_slice(
        &u32::try_from(body.len())
            .expect("a frame is short")
            .to_be_bytes(),
    );
    to.extend_from_slice(&body);
}

fn relay_close(error: ConnectionError) -> RelayClose {
    let ConnectionError::ApplicationClosed(closed) = error else {
        panic!("the relay did not close the connection: {error}")
    };
    let code = u32::try_from(closed.error_code.into_inner()).expect("codes are small");
    RelayClose {
        code,
        reason: String::from_utf8_lossy(&closed.reason).into_owned(),
    }
}
