//! A dishonest relay. It follows the protocol's format, but it can open wrong channels, send false
//! rosters, and drop, repeat or alter frames.
//!
//! A minimal implementation for tests: one socket, one lock, no limits.

#![expect(
    clippy::disallowed_methods,
    reason = "the relay decides at random what to do with each frame"
)]

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hobnob_protocol::datagram::{CHANNEL_HEADER, ChannelId, Class, Probe};
use hobnob_protocol::relay::{
    ALPN_RELAY, FromRelay, Origin, Register, Roster, RosterChange, ToRelay, VERSION, Welcome,
    features,
};
use hobnob_protocol::{DeviceId, RoomTag, SecretKey};
use hobnob_transport::tls::{self, Credentials};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, Connection, Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig,
    TokioRuntime, UdpPoller,
};
use rand::Rng;
use tokio::io::{AsyncReadExt, Interest};
use tokio::sync::mpsc;

/// How the relay misbehaves. With the default, it is honest.
#[derive(Debug, Clone, Default)]
pub struct Lies {
    /// A request for a channel to the key opens a channel to the value instead. The relay names the
    /// requested peer in its answer.
    pub instead_of: BTreeMap<DeviceId, DeviceId>,
    /// Percent of the frames that are dropped.
    pub drop: u32,
    /// Percent of the frames that are sent twice.
    pub repeat: u32,
    /// Percent of the frames that are delayed until the next frame.
    pub hold: u32,
    /// Percent of the frames that are sent with one changed byte.
    pub garble: u32,
    /// Percent of the frames that trigger a replay: the relay sends one of the last thousand frames
    /// of any channel again.
    pub replay: u32,
    /// Frames for the first peer are also sent to the second, under the name of one of its own
    /// channels.
    pub copy_to: Option<(DeviceId, DeviceId)>,
    /// How many invented peers the roster lists in each room.
    pub ghosts: u32,
    /// The roster is empty.
    pub hides: bool,
    /// The called peer is informed of a channel only after the caller's first flight passed.
    /// Nothing else passes until the called peer answers.
    pub late: bool,
    /// The relay claims that it made a requested dial-back. With `None`, it reports that it did
    /// not.
    pub dial_back: Option<FalseDialBack>,
}

/// What the relay really does when it claims to have made a dial-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FalseDialBack {
    /// Nothing.
    Silent,
    /// It sends the probe from its own port. Any firewall accepts packets from there.
    FromItsPort,
}

/// The dishonest relay.
#[derive(Debug)]
pub struct LyingRelay {
    addr: SocketAddr,
    id: DeviceId,
    state: Arc<Mutex<State>>,
    runtime: Option<tokio::runtime::Runtime>,
}

#[derive(Debug, Default)]
struct State {
    lies: Lies,
    clients: BTreeMap<DeviceId, Client>,
    /// By the sender's channel id: the recipient, and the recipient's id of the same channel.
    routes: BTreeMap<ChannelId, (DeviceId, ChannelId)>,
    held: Option<(SocketAddr, Vec<u8>)>,
    /// Recently forwarded frames, the oldest first.
    past: VecDeque<(SocketAddr, Vec<u8>)>,
    /// By the caller's channel id: channels that the called peer has not answered.
    pending: BTreeMap<ChannelId, PendingChannel>,
    forwarded: u64,
    version: u64,
    /// Probes to send from the relay's port.
    probes: Vec<(SocketAddr, Probe)>,
}

#[derive(Debug)]
struct Client {
    connection: Connection,
    out: mpsc::UnboundedSender<FromRelay>,
    rooms: Vec<RoomTag>,
}

/// A channel that the called peer does not know of, or has not answered.
#[derive(Debug)]
struct PendingChannel {
    caller: DeviceId,
    frames: u32,
}

/// Number of forwarded frames that are stored for replays.
const PAST_MAX: usize = 1_000;

/// A post-quantum ClientHello takes two datagrams.
const FIRST_FLIGHT: u32 = 2;

impl LyingRelay {
    /// Starts an honest relay on a free port of loopback.
    pub fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts an honest relay at this address, with a new identity.
    pub fn start_at(addr: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads start");
        let _inside = runtime.enter();
        let key = SecretKey::from_seed(rand::random());
        let state = Arc::new(Mutex::new(State::default()));
        let socket = UdpSocket::bind(addr).expect("the address is free");
        let addr = socket.local_addr().expect("bound");
        socket.set_nonblocking(true).expect("the socket is open");
        let socket = Arc::new(Socket {
            io: tokio::net::UdpSocket::from_std(socket).expect("within tokio"),
            state: state.clone(),
        });
        let server = ServerConfig::with_crypto(Credentials::new(&key).server_config(ALPN_RELAY));
        let mut config = EndpointConfig::default();
        config.grease_quic_bit(false);
        let endpoint = Endpoint::new_with_abstract_socket(
            config,
            Some(server),
            socket,
            Arc::new(TokioRuntime),
        );
        tokio::spawn(accept(
            endpoint.expect("the socket is usable"),
            state.clone(),
        ));
        drop(_inside);
        Self {
            addr,
            id: key.id(),
            state,
            runtime: Some(runtime),
        }
    }

    /// The address that it listens at.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its identity.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// The value for a node's `--relay`.
    pub fn name(&self) -> String {
        format!("{}@{}", self.id, self.addr)
    }

    /// Misbehaves like this from now on.
    pub fn lies(&self, lies: Lies) {
        let mut state = lock(&self.state);
        state.lies = lies;
        let peers: Vec<_> = state.clients.keys().copied().collect();
        for peer in peers {
            state.send_roster(peer);
        }
    }

    /// The tags that a peer has registered with, in the order of the frame.
    pub fn tags(&self, peer: DeviceId) -> Vec<RoomTag> {
        let state = lock(&self.state);
        let client = state.clients.get(&peer);
        client.map_or_else(Vec::new, |client| client.rooms.clone())
    }

    /// Number of channel frames that it has forwarded.
    pub fn forwarded(&self) -> u64 {
        lock(&self.state).forwarded
    }
}

impl Drop for LyingRelay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(endpoint: Endpoint, state: Arc<Mutex<State>>) {
    while let Some(incoming) = endpoint.accept().await {
        let state = state.clone();
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else {
                return;
            };
            let Some(peer) = tls::peer_id(connection.peer_identity()) else {
                return;
            };
            // The client disconnects for any reason.
            let _ = serve(&connection, peer, &state).await;
            let mut state = lock(&state);
            if state
                .clients
                .get(&peer)
                .is_some_and(|client| client.connection.stable_id() == connection.stable_id())
            {
                state.clients.remove(&peer);
            }
        });
    }
}

async fn serve(
    connection: &Connection,
    peer: DeviceId,
    state: &Arc<Mutex<State>>,
) -> anyhow::Result<()> {
    let (to, mut from) = connection.accept_bi().await?;
    let ToRelay::Register(Register { rooms, .. }) = read(&mut from).await? else {
        return Ok(());
    };
    let (out, queue) = mpsc::unbounded_channel();
    let _writer = AbortOnDrop(tokio::spawn(write(to, queue)));
    let observed = connection.remote_address();
    let welcome = Welcome {
        version: VERSION,
        features: features::DIAL_BACK,
        observed,
        heartbeat_ms: 15_000,
        roster: true,
        channels_max: 64,
        rate: 0,
    };
    out.send(FromRelay::Welcome(welcome))?;
    {
        let mut state = lock(state);
        state.clients.insert(
            peer,
            Client {
                connection: connection.clone(),
                out,
                rooms,
            },
        );
        let all: Vec<_> = state.clients.keys().copied().collect();
        for peer in all {
            state.send_roster(peer);
        }
    }
    loop {
        match read(&mut from).await? {
            ToRelay::Heartbeat(_) => lock(state).send_roster(peer),
            ToRelay::Open(other) => lock(state).open(peer, other),
            ToRelay::Rooms(rooms) => {
                if let Some(client) = lock(state).clients.get_mut(&peer) {
                    client.rooms = rooms;
                }
            }
            ToRelay::DialBack(token) => lock(state).dial_back(peer, token),
            ToRelay::Register(_)
            | ToRelay::Close(_)
            | ToRelay::Invitations(_)
            | ToRelay::FindInvitation(_)
            | ToRelay::FleetList(_)
            | ToRelay::Sleep
            | ToRelay::Unknown(_) => {}
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn read(from: &mut RecvStream) -> anyhow::Result<ToRelay> {
    let length = from.read_u32().await?;
    let mut body = vec![0; usize::try_from(length)?];
    from.read_exact(&mut body).await?;
    Ok(ToRelay::decode(&body)?)
}

async fn write(mut to: SendStream, mut queue: mpsc::UnboundedReceiver<FromRelay>) {
    while let Some(frame) = queue.recv().await {
        let body = frame.encode();
        let length = u32::try_from(body.len())
            .expect("a frame is short")
            .to_be_bytes();
        if to.write_all(&[&length[..], &body].concat()).await.is_err() {
            return;
        }
    }
}

impl State {
    fn send_roster(&mut self, to: DeviceId) {
        self.version += 1;
        let Some(client) = self.clients.get(&to) else {
            return;
        };
        let others = self
            .clients
            .keys()
            .filter(|peer| **peer != to && !self.lies.hides);
        let here = |peer: DeviceId| RosterChange::Here {
            peer,
            rooms: client.rooms.iter().take(8).copied().collect(),
        };
        let mut changes: Vec<_> = others.map(|peer| here(*peer)).collect();
        changes.extend((0..self.lies.ghosts).map(|_| here(DeviceId::from_bytes(rand::random()))));
        let _ = client.out.send(FromRelay::Roster(Roster {
            version: self.version,
            anew: true,
            changes,
        }));
    }

    fn open(&mut self, caller: DeviceId, requested: DeviceId) {
        let really = self
            .lies
            .instead_of
            .get(&requested)
            .copied()
            .unwrap_or(requested);
        let (Some(one), Some(other)) = (self.clients.get(&caller), self.clients.get(&really))
        else {
            if let Some(one) = self.clients.get(&caller) {
                let why = hobnob_protocol::relay::OpenRefusal::NotHere;
                let _ = one.out.send(FromRelay::NotOpened {
                    peer: requested,
                    why,
                });
            }
            return;
        };
        let [ours, theirs] = [ChannelId(rand::random()), ChannelId(rand::random())];
        self.routes.insert(ours, (really, theirs));
        self.routes.insert(theirs, (caller, ours));
        let _ = one.out.send(FromRelay::Opened {
            peer: requested,
            channel: ours,
            origin: Origin::default(),
        });
        if self.lies.late {
            self.pending
                .insert(ours, PendingChannel { caller, frames: 0 });
        } else {
            let _ = other.out.send(FromRelay::Opened {
                peer: caller,
                channel: theirs,
                origin: Origin::default(),
            });
        }
    }

    fn dial_back(&mut self, peer: DeviceId, token: [u8; 16]) {
        let Some(client) = self.clients.get(&peer) else {
            return;
        };
        if self.lies.dial_back == Some(FalseDialBack::FromItsPort) {
            self.probes.push((
                client.connection.remote_address(),
                Probe {
                    answer: false,
                    token,
                },
            ));
        }
        let _ = client.out.send(FromRelay::DialedBack {
            token,
            from: self.lies.dial_back.map(|_| 9),
        });
    }

    /// Whether the relay forwards a frame of this channel now (see [`Lies::late`]).
    fn may_pass(&mut self, channel: ChannelId, to: DeviceId, becomes: ChannelId) -> bool {
        self.pending.remove(&becomes);
        let Some(call) = self.pending.get_mut(&channel) else {
            return true;
        };
        call.frames += 1;
        if call.frames == FIRST_FLIGHT
            && let Some(called) = self.clients.get(&to)
        {
            let _ = called.out.send(FromRelay::Opened {
                peer: call.caller,
                channel: becomes,
                origin: Origin::default(),
            });
        }
        call.frames <= FIRST_FLIGHT
    }

    /// The frames to send for a received frame, with their destinations.
    fn forward(&mut self, frame: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        let Some(channel) = ChannelId::of(frame) else {
            return Vec::new();
        };
        let Some((to, becomes)) = self.routes.get(&channel).copied() else {
            return Vec::new();
        };
        if !self.may_pass(channel, to, becomes) {
            return Vec::new();
        }
        let Some(client) = self.clients.get(&to) else {
            return Vec::new();
        };
        let named = |channel: ChannelId| [&channel.header()[..], &frame[CHANNEL_HEADER..]].concat();
        let (addr, mut bytes) = (client.connection.remote_address(), named(becomes));
        let mut out = Vec::new();
        if let Some((_, second)) = self.lies.copy_to.filter(|(first, _)| *first == to)
            && let Some((channel, _)) = self.routes.iter().find(|(_, (peer, _))| *peer != second)
            && let Some(other) = self.clients.get(&second)
        {
            out.push((other.connection.remote_address(), named(*channel)));
        }
        self.forwarded += 1;
        self.past.push_back((addr, bytes.clone()));
        if self.past.len() > PAST_MAX {
            self.past.pop_front();
        }
        if rand::rng().random_range(0..100) < self.lies.replay {
            out.push(self.past[rand::rng().random_range(0..self.past.len())].clone());
        }
        let dice = rand::rng().random_range(0..100);
        let Lies {
            drop,
            repeat,
            hold,
            garble,
            ..
        } = self.lies;
        if dice < drop {
            return out;
        }
        if dice < drop + repeat {
            out.push((addr, bytes.clone()));
        } else if dice < drop + repeat + hold {
            out.extend(self.held.replace((addr, bytes)));
            return out;
        } else if dice < drop + repeat + hold + garble {
            let at = rand::rng().random_range(CHANNEL_HEADER..bytes.len());
            bytes[at] ^= 0x55;
        }
        out.push((addr, bytes));
        out.extend(self.held.take());
        out
    }
}

/// Handles channel frames, and passes all other datagrams to QUIC.
struct Socket {
    io: tokio::net::UdpSocket,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        for (to, probe) in std::mem::take(&mut lock(&self.state).probes) {
            let _ = self.io.try_send_to(&probe.encode(), to);
        }
        let segment = transmit
            .segment_size
            .unwrap_or(transmit.contents.len())
            .max(1);
        for datagram in transmit.contents.chunks(segment) {
            // A full buffer loses a datagram, as a network does.
            let _ = self.io.try_send_to(datagram, transmit.destination);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let Ok((len, addr)) = self
                .io
                .try_io(Interest::READABLE, || self.io.try_recv_from(&mut bufs[0]))
            else {
                continue;
            };
            if Class::of(&bufs[0][..len]) == Class::Channel {
                for (to, frame) in lock(&self.state).forward(&bufs[0][..len]) {
                    let _ = self.io.try_send_to(&frame, to);
                }
                continue;
            }
            meta[0] = RecvMeta {
                addr,
                len,
                stride: len,
                ecn: None,
                dst_ip: None,
            };
            return Poll::Ready(Ok(1));
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
