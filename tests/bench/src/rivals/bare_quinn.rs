//! Plain quinn with hobnob's TLS provider: an echo over one stream, and a bulk transfer.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, ServerConfig};
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::AsyncReadExt;

/// Two endpoints on loopback with a stream between them.
pub(crate) struct Echo {
    send: SendStream,
    recv: RecvStream,
    message: Vec<u8>,
    _client: (Endpoint, Connection),
    _server: Endpoint,
}

impl Echo {
    /// An echo of messages of this length.
    pub(crate) async fn new(bytes: usize) -> anyhow::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (to_serve, to_dial) = configs()?;
        let server = Endpoint::server(to_serve, any)?;
        let accepting = server.clone();
        // The task ends with the stream, when the client's endpoint is dropped.
        tokio::spawn(async move { answer(&accepting, bytes).await });
        let mut client = Endpoint::client(any)?;
        client.set_default_client_config(to_dial);
        let connection = client.connect(server.local_addr()?, NAME)?.await?;
        let (send, recv) = connection.open_bi().await?;
        Ok(Self {
            send,
            recv,
            message: vec![7; bytes],
            _client: (client, connection),
            _server: server,
        })
    }

    /// Sends a message and waits for its echo.
    pub(crate) async fn round_trip(&mut self) -> anyhow::Result<()> {
        self.send.write_all(&self.message).await?;
        self.recv.read_exact(&mut self.message).await?;
        Ok(())
    }
}

/// Two endpoints on loopback that exchange datagrams.
pub(crate) struct DatagramEcho {
    connection: Connection,
    message: Bytes,
    _endpoints: [Endpoint; 2],
}

impl DatagramEcho {
    /// An echo of datagrams of this length.
    pub(crate) async fn new(bytes: usize) -> anyhow::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (to_serve, to_dial) = configs()?;
        let server = Endpoint::server(to_serve, any)?;
        let accepting = server.clone();
        // The task ends with the connection, when the client's endpoint is dropped.
        tokio::spawn(async move { answer_datagrams(&accepting).await });
        let mut client = Endpoint::client(any)?;
        client.set_default_client_config(to_dial);
        let connection = client.connect(server.local_addr()?, NAME)?.await?;
        Ok(Self {
            connection,
            message: vec![7; bytes].into(),
            _endpoints: [client, server],
        })
    }

    /// Sends a datagram and waits for its echo.
    pub(crate) async fn round_trip(&mut self) -> anyhow::Result<()> {
        self.connection.send_datagram(self.message.clone())?;
        let answer = self.connection.read_datagram().await?;
        ensure!(answer == self.message, "another datagram came back");
        Ok(())
    }
}

async fn answer_datagrams(server: &Endpoint) -> anyhow::Result<()> {
    let incoming = server.accept().await.context("the endpoint is closed")?;
    let connection = incoming.await?;
    loop {
        connection.send_datagram(connection.read_datagram().await?)?;
    }
}

/// Two endpoints on loopback. One sends a file to the other, which hashes it on arrival.
pub(crate) struct Bulk {
    file: PathBuf,
    connection: Connection,
    arriving: Connection,
    _endpoints: [Endpoint; 2],
}

impl Bulk {
    /// A transfer of this file.
    pub(crate) async fn new(file: &Path) -> anyhow::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (to_serve, to_dial) = configs()?;
        let server = Endpoint::server(to_serve, any)?;
        let mut client = Endpoint::client(any)?;
        client.set_default_client_config(to_dial);
        let dialed = async { anyhow::Ok(client.connect(server.local_addr()?, NAME)?.await?) };
        let accepted = async {
            anyhow::Ok(
                server
                    .accept()
                    .await
                    .context("the endpoint is closed")?
                    .await?,
            )
        };
        let (connection, arriving) = tokio::try_join!(dialed, accepted)?;
        Ok(Self {
            file: file.to_owned(),
            connection,
            arriving,
            _endpoints: [client, server],
        })
    }

    /// Sends the file into this folder.
    pub(crate) async fn run(&mut self, to: &Path) -> anyhow::Result<()> {
        let received = to.join("by-quinn");
        let send = async {
            let mut stream = self.connection.open_uni().await?;
            let mut file = tokio::fs::File::open(&self.file).await?;
            file.set_max_buf_size(BULK_BYTES);
            let mut buffer = vec![0; BULK_BYTES];
            loop {
                let read = file.read(&mut buffer).await?;
                if read == 0 {
                    return anyhow::Ok(stream.finish()?);
                }
                stream.write_all(&buffer[..read]).await?;
            }
        };
        let receive = async {
            let mut stream = self.arriving.accept_uni().await?;
            let (mut file, mut hasher) = (std::fs::File::create(&received)?, blake3::Hasher::new());
            // A blocking write is fine, because the file is in memory.
            while let Some(chunk) = stream.read_chunk(BULK_BYTES, true).await? {
                hasher.update(&chunk.bytes);
                file.write_all(&chunk.bytes)?;
            }
            anyhow::Ok(hasher.finalize())
        };
        tokio::try_join!(send, receive)?;
        std::fs::remove_file(received)?;
        Ok(())
    }
}

/// Bytes per read and write.
const BULK_BYTES: usize = 256 * 1024;

const NAME: &str = "bench.invalid";

async fn answer(server: &Endpoint, bytes: usize) -> anyhow::Result<()> {
    let connection = server
        .accept()
        .await
        .context("the endpoint is closed")?
        .await?;
    let (mut send, mut recv) = connection.accept_bi().await?;
    let mut message = vec![0; bytes];
    loop {
        recv.read_exact(&mut message).await?;
        send.write_all(&message).await?;
    }
}

fn configs() -> anyhow::Result<(ServerConfig, ClientConfig)> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::with_single_cert(vec![certificate.clone()], key.into())?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    Ok((
        server,
        ClientConfig::with_root_certificates(Arc::new(roots))?,
    ))
}
