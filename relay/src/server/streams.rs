//! Clients behind firewalls that block UDP: TCP listeners, and one task for each connection that
//! passes datagrams between it and the plane.
//!
//! A connection is a newcomer until its control connection inside has registered. Until then it has
//! a place in a gate, and limits for its time and its bytes. Afterwards the limits of registered
//! peers apply, as to any other peer. `proxied` reads which
//! client a reverse proxy names.

#![expect(
    clippy::disallowed_methods,
    reason = "a driver: it reads the clock for its time limits"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hobnob_limits::Network;
use hobnob_protocol::datagram::Class;
use hobnob_transport::addr::canonical;
use hobnob_transport::gate::{Admission, Gate, GateLimits, Place};
use hobnob_transport::stream::message::Side;
use hobnob_transport::stream::reader::{DatagramReader, StreamEnd};
use hobnob_transport::stream::tls::{self, CertificateError, TlsAcceptor};
use hobnob_transport::stream::{datagrams, handshake, request, socket, writer};
use hobnob_transport::tls::Credentials;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inherited::Inherited;
use super::listen;
use super::newcomers::{Fate, Newcomers};
use super::proxied;
use crate::plane::{PlaneHandle, Stream};

/// Time limit from the TCP connection to the registration.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(5);

/// Most bytes that a newcomer may send before it has registered. A handshake with the registration
/// of many rooms needs half of it.
const ARRIVAL_BYTES_MAX: u64 = 16 * 1024;

/// Maximum newcomers from all networks, and from one network.
const NEWCOMERS_MAX: usize = 256;
const NEWCOMERS_PER_NETWORK_MAX: usize = 8;

/// How long a connection stays after its control connection has ended, so that the last datagrams
/// leave. They say why.
const LINGER: Duration = Duration::from_secs(1);

/// How long to wait when the system accepts no connection, for example without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the relay accepts streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpConfig {
    /// Listen at the address and port of the UDP socket.
    pub at_udp_port: bool,
    /// Further addresses to listen on.
    pub also: Vec<SocketAddr>,
    /// The files of a certificate and its key. Without them TLS uses the relay's own identity.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The addresses of reverse proxies. With them, loopback addresses of `also` speak plain HTTP
    /// instead of TLS, and these proxies may name the client's address.
    pub proxies: Option<Vec<IpAddr>>,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            at_udp_port: true,
            also: Vec::new(),
            certificate: None,
            proxies: None,
        }
    }
}

/// The reverse proxies that are trusted when the operator names none: this machine.
pub const PROXIES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// The bound listeners.
pub(super) struct Listeners {
    list: Vec<(TcpListener, Outer)>,
    pub(super) certificate: Certificate,
}

/// Replaces the certificate of all listeners.
#[derive(Clone)]
pub(super) struct Certificate(watch::Sender<TlsAcceptor>);

impl Certificate {
    /// Uses this certificate for all later connections.
    pub(super) fn replace(&self, acceptor: TlsAcceptor) {
        self.0.send_replace(acceptor);
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate(..)")
    }
}

/// The layer around the WebSocket.
#[derive(Clone)]
enum Outer {
    /// TLS with the current certificate.
    Tls(watch::Receiver<TlsAcceptor>),
    /// Nothing: these reverse proxies have removed it.
    Plain(Arc<[IpAddr]>),
}

/// The shared parts that each connection's task needs.
#[derive(Clone)]
pub(super) struct StreamContext {
    pub(super) plane: PlaneHandle,
    pub(super) newcomers: Arc<Newcomers>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// The gates of newcomers.
#[derive(Clone)]
struct Gates {
    /// Shared by the networks of clients.
    clients: Gate<Network>,
    /// For connections of reverse proxies whose client is still unknown.
    proxies: Gate<Network>,
}

impl Listeners {
    /// Binds all listeners. Must be called within a tokio runtime.
    pub(super) fn bind(
        config: &TcpConfig,
        udp: SocketAddr,
        credentials: &Credentials,
        inherited: &Inherited,
    ) -> Result<Self, ListenError> {
        let acceptor = match &config.certificate {
            Some((certificate, key)) => tls::acceptor_from_files(certificate, key)?,
            None => tls::acceptor(credentials),
        };
        let (certificate, acceptor) = watch::channel(acceptor);
        let opens_udp_port = config.at_udp_port && inherited.tcp.is_empty();
        let at_udp_port = opens_udp_port.then_some((udp, Outer::Tls(acceptor.clone())));
        let outer = |addr: &SocketAddr| {
            let plain = config.proxies.as_ref().filter(|_| addr.ip().is_loopback());
            match plain {
                Some(proxies) => Outer::Plain(proxies.as_slice().into()),
                None => Outer::Tls(acceptor.clone()),
            }
        };
        let with_outer = |listener: TcpListener| {
            let addr = listener.local_addr()?;
            Ok((listener, outer(&addr)))
        };
        let inherited = inherited.tcp().and_then(|listeners| {
            let listeners = listeners.into_iter().map(with_outer);
            listeners.collect::<io::Result<Vec<_>>>()
        });
        let mut list = inherited.map_err(ListenError::Inherited)?;
        let also = config.also.iter().map(|addr| (*addr, outer(addr)));
        let bind = |(addr, outer)| {
            let listener =
                listen::tcp(addr).map_err(|error| ListenError::Socket { addr, error })?;
            Ok::<_, ListenError>((listener, outer))
        };
        for place in at_udp_port.into_iter().chain(also) {
            list.push(bind(place)?);
        }
        Ok(Self {
            list,
            certificate: Certificate(certificate),
        })
    }

    /// The addresses that the relay listens on.
    pub(super) fn addrs(&self) -> Vec<SocketAddr> {
        let addrs = self.list.iter();
        addrs
            .filter_map(|(listener, _)| listener.local_addr().ok())
            .collect()
    }

    /// Accepts connections on all listeners until the relay stops.
    pub(super) fn serve(self, context: &StreamContext) {
        let limits = GateLimits {
            places: NEWCOMERS_MAX,
            per_network: NEWCOMERS_PER_NETWORK_MAX,
            unvalidated: 0,
            seats: 0,
        };
        let gates = Gates {
            clients: Gate::new(limits),
            proxies: Gate::new(GateLimits {
                per_network: usize::MAX,
                ..limits
            }),
        };
        for (listener, outer) in self.list {
            let accepting = accept_all(listener, outer, gates.clone(), context.clone());
            let stop = context.stop.clone();
            context
                .tasks
                .spawn(stop.run_until_cancelled_owned(accepting));
        }
    }
}

/// Why the relay can't accept streams.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The certificate can't be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A listener that another program has bound can't be used.
    #[error("can't use an inherited TCP socket: {0}")]
    Inherited(io::Error),
    /// The system does not allow it.
    #[error("can't listen on TCP {addr} ({error})")]
    Socket {
        /// The address.
        addr: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
}

async fn accept_all(listener: TcpListener, outer: Outer, gates: Gates, context: StreamContext) {
    loop {
        let (tcp, from) = match listener.accept().await {
            Ok((tcp, from)) => (tcp, canonical(from)),
            Err(error) => {
                tracing::debug!(%error, "can't accept a TCP connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let gate = match &outer {
            Outer::Tls(_) => &gates.clients,
            Outer::Plain(_) => &gates.proxies,
        };
        // The gate has no seats, and asks nobody to validate an address that TCP has validated.
        let Admission::Begin(place) = gate.admit(Network::of(from.ip()), true) else {
            context.newcomers.count(Fate::Refused);
            continue;
        };
        let arrival = arrive(
            tcp,
            from,
            outer.clone(),
            place,
            gates.clone(),
            context.clone(),
        );
        let stop = context.stop.clone();
        context.tasks.spawn(stop.run_until_cancelled_owned(arrival));
    }
}

/// Serves one connection from its first byte to its end.
async fn arrive(
    tcp: TcpStream,
    from: SocketAddr,
    outer: Outer,
    mut place: Place<Network>,
    gates: Gates,
    context: StreamContext,
) {
    let deadline = Instant::now() + ARRIVAL_LIMIT;
    let served = async {
        socket::prepare(&tcp)?;
        match outer {
            Outer::Tls(acceptor) => {
                let acceptor = acceptor.borrow().clone();
                let shake_hands = async {
                    let mut io = tls::accept(&acceptor, tcp).await?;
                    let first = upgrade(&mut io, Vec::new()).await?.1;
                    Ok::<_, io::Error>((io, first))
                };
                let (io, first) = tokio::select! {
                    shaken = timeout_at(deadline, shake_hands) => shaken??,
                    () = place.replaced() => return Err(io::ErrorKind::Interrupted.into()),
                };
                pump(io, from, first, place, deadline, &context).await
            }
            Outer::Plain(proxies) => {
                let mut io = tcp;
                let shake_hands = async {
                    let mut first = Vec::new();
                    let named = proxied::proxy_protocol(&mut io, &mut first).await?;
                    let (head, first) = upgrade(&mut io, first).await?;
                    Ok::<_, io::Error>((proxied::client(from, named, &head, &proxies), first))
                };
                let (client, first) = tokio::select! {
                    shaken = timeout_at(deadline, shake_hands) => shaken??,
                    () = place.replaced() => return Err(io::ErrorKind::Interrupted.into()),
                };
                let admission = gates.clients.admit(Network::of(client.ip()), true);
                let Admission::Begin(place) = admission else {
                    context.newcomers.count(Fate::Refused);
                    return Ok(());
                };
                pump(io, client, first, place, deadline, &context).await
            }
        }
    };
    if let Err(error) = served.await {
        tracing::debug!(%from, %error, "a stream ended");
    }
}

/// Reads a request and answers it. Returns it with the bytes after it, if it is an upgrade.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    mut first: Vec<u8>,
) -> io::Result<(request::Head, Vec<u8>)> {
    let answer = match request::read_head(io, &mut first).await {
        Ok(head) => match handshake::accept(&head) {
            Ok(answer) => {
                io.write_all(&answer).await?;
                io.flush().await?;
                return Ok((head, first));
            }
            Err(refusal) => refusal.answer(),
        },
        Err(request::HeadError::Broken(error)) => return Err(error),
        Err(_) => handshake::Refusal::BadRequest.answer(),
    };
    io.write_all(&answer).await?;
    io.shutdown().await?;
    Err(io::Error::new(io::ErrorKind::InvalidData, "no upgrade"))
}

/// Passes datagrams in both directions until the connection must end.
async fn pump<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    client: SocketAddr,
    first: Vec<u8>,
    place: Place<Network>,
    deadline: Instant,
    context: &StreamContext,
) -> io::Result<()> {
    let (read, mut write) = tokio::io::split(io);
    let stream = context.plane.add_stream(client);
    let reader = DatagramReader::new(read, Side::Server, &first)
        .map_err(|violation| io::Error::new(io::ErrorKind::InvalidData, violation))?;
    let queue = &stream.client.queue;
    let ended = async {
        stream.client.ended.cancelled().await;
        sleep(LINGER).await;
    };
    let end = tokio::select! {
        end = read_all(reader, &stream) => end,
        // A server does not mask, so nothing is drawn.
        end = writer::write_all(&mut write, Side::Server, queue, || [0; 4]) => end,
        () = newcomer(place, deadline, &stream) => Err(io::ErrorKind::TimedOut.into()),
        () = ended => Ok(()),
    };
    // The other end may have gone already.
    let _gone = write.shutdown().await;
    end
}

/// Returns when a newcomer has not registered in time, or has lost its place. Frees the place when
/// it registers.
async fn newcomer(mut place: Place<Network>, deadline: Instant, stream: &Stream) {
    tokio::select! {
        () = stream.client.registered.cancelled() => {}
        () = sleep_until(deadline) => return,
        () = place.replaced() => return,
    }
    drop(place);
    std::future::pending().await
}

/// Passes what the client sends to the plane.
async fn read_all<R: AsyncRead + Unpin>(
    mut reader: DatagramReader<R>,
    stream: &Stream,
) -> io::Result<()> {
    let invalid = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    loop {
        let mut run = Vec::new();
        let ping = match reader.next(&mut run).await {
            Ok(ping) => ping,
            Err(StreamEnd::Closed) => return Ok(()),
            Err(StreamEnd::Broken(error)) => return Err(error),
            Err(StreamEnd::Violation(violation)) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, violation));
            }
        };
        let arrived = stream.client.registered.is_cancelled();
        if !arrived && reader.received() > ARRIVAL_BYTES_MAX {
            return Err(invalid("too many bytes before the registration"));
        }
        let is_ours = |datagram| matches!(Class::of(datagram), Class::Quic | Class::Channel);
        if !datagrams(&run).all(is_ours) {
            return Err(invalid(
                "a datagram of another kind than QUIC and channel frames",
            ));
        }
        if let Some(content) = ping {
            stream.client.queue.push_pong(content);
        }
        if !run.is_empty() {
            stream.pass(run).await;
        }
    }
}
