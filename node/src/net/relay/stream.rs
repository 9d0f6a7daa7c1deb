//! A stream to a relay: a TCP connection with TLS and a WebSocket, and the task that passes
//! datagrams between it and the node's socket.
//!
//! TLS proves nothing here and is not trusted. The QUIC connection inside proves the relay's
//! identity.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hobnob_core::Rng;
use hobnob_transport::stream::message::Side;
use hobnob_transport::stream::proxy::Proxy;
use hobnob_transport::stream::queue::DatagramQueue;
use hobnob_transport::stream::reader::DatagramReader;
use hobnob_transport::stream::{handshake, request, socket, tls, writer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::net::demux::DemuxSocket;
use crate::net::endpoint::Endpoint;

/// The port of HTTPS, which most firewalls let through.
pub(super) const PORT_HTTPS: u16 = 443;

/// Where a stream leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamTo {
    /// The address to connect to. Through a proxy only its port counts.
    pub(super) addr: SocketAddr,
    /// The host that the user named. The server learns a name (SNI, Host).
    pub(super) host: String,
    /// The path of the WebSocket.
    pub(super) path: String,
    /// The proxy that makes the connection.
    pub(super) proxy: Option<Proxy>,
}

impl StreamTo {
    /// The host for TLS: a name, or an address without its zone.
    fn tls_host(&self) -> String {
        match self.host_ip() {
            Some(ip) => ip.to_string(),
            None => self.host.clone(),
        }
    }

    /// The value of the header Host.
    fn host_header(&self) -> String {
        let host = match self.host_ip() {
            Some(IpAddr::V6(ip)) => format!("[{ip}]"),
            Some(IpAddr::V4(ip)) => ip.to_string(),
            None => self.host.clone(),
        };
        match self.addr.port() {
            PORT_HTTPS => host,
            port => format!("{host}:{port}"),
        }
    }

    /// The address, if the user named no name.
    fn host_ip(&self) -> Option<IpAddr> {
        let host = self.host.split('%').next().unwrap_or_default();
        host.parse().ok()
    }
}

/// A stream to a relay. Dropping it closes the TCP connection.
#[derive(Debug)]
pub(super) struct RelayStream {
    /// Its synthetic address, at which quinn sees the relay.
    pub(super) addr: SocketAddr,
    demux: Arc<DemuxSocket>,
    ended: CancellationToken,
    task: JoinHandle<()>,
}

impl RelayStream {
    /// Connects. Any error means that no relay can be used there.
    ///
    /// Returns the address at the other end of the TCP connection, too.
    pub(super) async fn open(
        endpoint: &Endpoint,
        to: &StreamTo,
        mut rng: Rng,
    ) -> io::Result<(Self, SocketAddr)> {
        let tcp = connect(to).await?;
        let peer = tcp.peer_addr()?;
        let mut io = tls::connect(&to.tls_host(), tcp).await?;
        let first = upgrade(&mut io, to, &mut rng).await?;
        let demux = endpoint.demux().clone();
        let channels = demux.channels();
        let is_taken = |addr| channels.peer_at(addr).is_some();
        let (addr, queue) = demux
            .streams()
            .add(channels.is_v6(), || rng.draw(), is_taken);
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let pumping = pump(io, first, addr, queue, demux.clone(), rng);
        let task = tokio::spawn(async move {
            let _ended = guard;
            if let Err(error) = pumping.await {
                tracing::debug!(%error, "the stream to a relay broke");
            }
        });
        let stream = Self {
            addr,
            demux,
            ended,
            task,
        };
        Ok((stream, peer))
    }

    /// Returns when the TCP connection has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Drop for RelayStream {
    fn drop(&mut self) {
        self.task.abort();
        self.demux.streams().remove(self.addr);
    }
}

/// Connects over TCP, through the proxy if there is one.
async fn connect(to: &StreamTo) -> io::Result<TcpStream> {
    let Some(proxy) = &to.proxy else {
        let tcp = TcpStream::connect(to.addr).await?;
        socket::prepare(&tcp)?;
        return Ok(tcp);
    };
    let mut tcp = TcpStream::connect(proxy.at()).await?;
    socket::prepare(&tcp)?;
    let host = to.tls_host();
    let connected = proxy.connect(&mut tcp, &host, to.addr.port()).await;
    connected.map_err(io::Error::other)?;
    Ok(tcp)
}

/// Asks the server for a WebSocket. Returns the bytes after its answer.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    to: &StreamTo,
    rng: &mut Rng,
) -> io::Result<Vec<u8>> {
    let random = (u128::from(rng.draw()) << 64 | u128::from(rng.draw())).to_be_bytes();
    let (request, key) = handshake::request(&to.host_header(), &to.path, random);
    io.write_all(&request).await?;
    io.flush().await?;
    let mut first = Vec::new();
    let answer = request::read_head(io, &mut first).await.map_err(invalid)?;
    if handshake::is_upgraded(&answer, &key) {
        Ok(first)
    } else {
        // A captive portal, or another program.
        Err(invalid("no relay answers there"))
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Passes datagrams in both directions until the connection ends.
async fn pump<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    first: Vec<u8>,
    addr: SocketAddr,
    queue: Arc<DatagramQueue>,
    demux: Arc<DemuxSocket>,
    mut rng: Rng,
) -> io::Result<()> {
    let (read, mut write) = tokio::io::split(io);
    let mut reader = DatagramReader::new(read, Side::Client, &first).map_err(invalid)?;
    let reading = async {
        let mut run = Vec::new();
        loop {
            run.clear();
            let ping = reader.next(&mut run).await.map_err(invalid)?;
            if let Some(content) = ping {
                queue.push_pong(content);
            }
            if !demux.receive_from_stream(addr, &run).await {
                return Err(invalid("a datagram of an unexpected kind"));
            }
        }
    };
    let mask = || {
        let [mask @ .., _, _, _, _] = rng.draw().to_le_bytes();
        mask
    };
    tokio::select! {
        end = reading => end,
        end = writer::write_all(&mut write, Side::Client, &queue, mask) => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_learns_the_name_that_the_user_wrote() {
        let shown = |host: &str, addr: &str| {
            let to = StreamTo {
                addr: addr.parse().unwrap(),
                host: host.to_owned(),
                path: "/".to_owned(),
                proxy: None,
            };
            (to.host_header(), to.tls_host())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let name = "relay.example";
        assert_eq!(shown(name, "192.0.2.1:443"), pair(name, name));
        assert_eq!(
            shown(name, "192.0.2.1:4627"),
            pair("relay.example:4627", name)
        );
        assert_eq!(
            shown("192.0.2.1", "192.0.2.1:443"),
            pair("192.0.2.1", "192.0.2.1")
        );
        let link_local = shown("fe80::1%eth0", "[fe80::1%3]:4627");
        assert_eq!(link_local, pair("[fe80::1]:4627", "fe80::1"));
    }
}
