//! The link to one relay: it registers, and connects again when the connection is lost.
//!
//! One task owns the connection and reports what happens on it. It dials again after a wait that
//! doubles with each failure, with full jitter, so that thousands of nodes do not return to a
//! restarted relay at the same time. The engine decides what to ask of the relay and how far to
//! trust it. Only the table of channels is updated here, before the engine learns of a channel: the
//! channel's first frames may follow at once.

mod error;
mod liveness;
mod probe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::relay::{
    FromRelay, Origin, Register, TOKEN_EXPORTER_LABEL, ToRelay, VERSION, Welcome, close,
    token_proof,
};
use hobnob_protocol::{HostPort, PeerId, RoomKey, RoomTag};
use hobnob_transport::frames::{FrameBatch, FrameReader, ReceiveError};
use hobnob_transport::tls;
use quinn::{Connection, SendStream};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

pub use error::LinkDown;

use self::liveness::{CHECK_EVERY, Counts, Health, Liveness};
use super::channels::{Channels, RelayId, Traffic};
use super::close::{hang_up, say_goodbye};
use super::endpoint::Endpoint;
use hobnob_core::Rng;

/// How long a dial may take. The relay's Welcome may take as long again.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// The first wait before a relay is dialed again, the longest one, and the one after a refusal.
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
const BACK_OFF_REFUSED: Duration = Duration::from_secs(60);

/// The heartbeat intervals that a relay may ask for. Others are replaced by the nearest of these.
const HEARTBEAT_MS: std::ops::RangeInclusive<u32> = 1_000..=60_000;

/// Addresses of a relay's name that are tried.
const ADDRS_MAX: usize = 4;

/// The configuration of a link.
#[derive(Debug)]
pub struct LinkConfig {
    /// This node's number for the relay.
    pub relay: RelayId,
    /// Its name or address.
    pub at: HostPort,
    /// The identity that it must prove, if it is known.
    pub expected: Option<PeerId>,
    /// The admission token, if the node may prove to this relay that it knows it.
    pub token: Option<Vec<u8>>,
    /// For jitter, and for synthetic addresses.
    pub seed: u64,
}

/// A command of the engine to a link.
#[derive(Debug)]
pub enum LinkCommand {
    /// Send this frame. It is lost while there is no connection: the engine sends what matters again
    /// after [`LinkEvent::Up`].
    Send(ToRelay),
    /// The node's rooms have changed to these.
    Rooms(Vec<RoomKey>),
    /// The network has changed. Test the connection, or dial now if there is none.
    Wake,
}

/// An event of a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// The relay has registered this node.
    Up {
        /// The relay's identity, proved.
        id: PeerId,
        /// Its address.
        addr: SocketAddr,
        /// Its answer to the registration.
        welcome: Welcome,
    },
    /// The relay sent this frame. It is never Welcome.
    Received(FromRelay),
    /// The connection is lost, or could not be made. The link tries again.
    Down(LinkDown),
}

/// A link's task.
pub struct RelayLink {
    config: LinkConfig,
    endpoint: Endpoint,
    channels: Channels,
    traffic: Arc<Traffic>,
    commands: mpsc::UnboundedReceiver<LinkCommand>,
    events: mpsc::Sender<(RelayId, LinkEvent)>,
    rooms: Vec<RoomKey>,
    rng: Rng,
    /// The connection, once the relay has proved its identity.
    connection: Option<Connection>,
}

impl std::fmt::Debug for RelayLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayLink")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl RelayLink {
    /// A link that does not run yet.
    pub fn new(
        config: LinkConfig,
        endpoint: Endpoint,
        channels: Channels,
        commands: mpsc::UnboundedReceiver<LinkCommand>,
        events: mpsc::Sender<(RelayId, LinkEvent)>,
    ) -> Self {
        let (rng, traffic) = (Rng::new(config.seed), channels.traffic(config.relay));
        Self {
            config,
            endpoint,
            channels,
            traffic,
            commands,
            events,
            rooms: Vec::new(),
            rng,
            connection: None,
        }
    }

    /// Keeps the link up until `stop`, or until the engine has dropped its end. Then says goodbye.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_up() => {}
        }
        say_goodbye(self.connection.as_slice(), close::BYE, "").await;
    }

    async fn keep_up(&mut self) {
        let mut failures = 0;
        loop {
            let (was_up, down) = match self.connect().await {
                Ok((connected, addr, id, welcome)) => {
                    let heartbeat_ms = welcome.heartbeat_ms;
                    if !self.report(LinkEvent::Up { id, addr, welcome }).await {
                        return;
                    }
                    let Err(down) = self.serve(connected, id, heartbeat_ms).await;
                    (true, down)
                }
                Err(down) => (false, down),
            };
            self.connection = None;
            self.channels.disconnected(self.config.relay);
            failures = if was_up { 0 } else { failures + 1 };
            let most = if down.is_refusal() {
                BACK_OFF_REFUSED
            } else {
                BACK_OFF_MAX.min(BACK_OFF_MIN * (1 << failures.min(7)))
            };
            let least = if down.is_refusal() {
                BACK_OFF_REFUSED / 2
            } else {
                Duration::ZERO
            };
            if !self.report(LinkEvent::Down(down)).await || !self.wait(least, most).await {
                return;
            }
        }
    }

    fn counts(&self, connected: &Connected) -> Counts {
        let (sent, received) = self.traffic.read();
        Counts {
            sent,
            received,
            own: connected.connection.stats().udp_rx.datagrams,
        }
    }

    fn opened(&mut self, connected: &Connected, peer: PeerId, channel: ChannelId, origin: Origin) {
        let relay = connected.connection.remote_address();
        let addr = self
            .channels
            .addr(self.config.relay, peer, || self.rng.draw());
        self.channels.set_origin(addr, origin);
        self.channels.bind(addr, relay, channel);
    }

    /// Reports an event. Returns whether the engine still listens.
    async fn report(&self, event: LinkEvent) -> bool {
        self.events.send((self.config.relay, event)).await.is_ok()
    }

    /// Waits a random time. Returns whether the engine still wants the link.
    async fn wait(&mut self, least: Duration, most: Duration) -> bool {
        let millis = u64::try_from((most - least).as_millis()).expect("a minute at most");
        let pause =
            tokio::time::sleep(least + Duration::from_millis(self.rng.below(millis.max(1))));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                command = self.commands.recv() => match command {
                    None => return false,
                    Some(LinkCommand::Wake) if least.is_zero() => return true,
                    Some(LinkCommand::Rooms(rooms)) => self.rooms = rooms,
                    Some(LinkCommand::Send(_) | LinkCommand::Wake) => {}
                },
            }
        }
    }

    async fn connect(&mut self) -> Result<(Connected, SocketAddr, PeerId, Welcome), LinkDown> {
        let at = &self.config.at;
        let found = tokio::net::lookup_host((at.host.as_str(), at.port)).await;
        let found: Vec<_> = found
            .map_err(|error| LinkDown::NoAddress(error.to_string()))?
            .take(ADDRS_MAX)
            .collect();
        let mut down = LinkDown::NoAddress("the name has none".to_owned());
        for addr in found {
            match self.connect_or_find_cause(addr).await {
                Ok(connected) => return Ok(connected),
                Err(error) => down = error,
            }
        }
        Err(down)
    }

    async fn connect_or_find_cause(
        &mut self,
        addr: SocketAddr,
    ) -> Result<(Connected, SocketAddr, PeerId, Welcome), LinkDown> {
        let connected = self.connect_to(addr).await;
        if !matches!(connected, Err(LinkDown::Unreachable)) {
            return connected;
        }
        let cause = probe::cause(addr).await;
        if cause != LinkDown::Busy {
            return Err(cause);
        }
        // The probe was answered: the relay may have been started in the meantime.
        self.connect_to(addr).await.map_err(|down| {
            if down == LinkDown::Unreachable {
                cause
            } else {
                down
            }
        })
    }

    async fn connect_to(
        &mut self,
        addr: SocketAddr,
    ) -> Result<(Connected, SocketAddr, PeerId, Welcome), LinkDown> {
        let connection = self
            .endpoint
            .dial_relay(addr, self.config.expected, DIAL_LIMIT)
            .await?;
        let id = tls::peer_id(connection.peer_identity())
            .ok_or(LinkDown::Lost("it showed no identity".to_owned()))?;
        // Of commands from before the connection, only the latest rooms still matter.
        while let Ok(command) = self.commands.try_recv() {
            if let LinkCommand::Rooms(rooms) = command {
                self.rooms = rooms;
            }
        }
        self.connection = Some(connection.clone());
        // The relay may open channels as soon as it has read the registration.
        self.channels
            .connected(self.config.relay, connection.remote_address());
        let exporter = tls::exported_secret(&connection, TOKEN_EXPORTER_LABEL);
        let token = self.config.token.as_ref();
        let register = Register {
            version: VERSION,
            features: 0,
            token_proof: token.map(|token| token_proof(token, &exporter)),
            rooms: tags(&self.rooms, id),
        };
        let registering = async {
            let (control_out, control_in) = connection.open_bi().await?;
            let mut connected = Connected {
                connection: connection.clone(),
                control_out,
                control_in: FrameReader::new(control_in),
            };
            connected.send(&ToRelay::Register(register)).await?;
            match connected.next().await? {
                FromRelay::Welcome(welcome) => Ok((connected, welcome)),
                FromRelay::Roster(_)
                | FromRelay::Opened { .. }
                | FromRelay::NotOpened { .. }
                | FromRelay::Ended { .. }
                | FromRelay::Observed(_)
                | FromRelay::DialedBack { .. }
                | FromRelay::Unknown(_) => Err(LinkDown::Protocol(
                    "its first frame was no Welcome".to_owned(),
                )),
            }
        };
        let (connected, welcome) = timeout(DIAL_LIMIT, registering)
            .await
            .unwrap_or(Err(LinkDown::Unreachable))?;
        Ok((connected, connection.remote_address(), id, welcome))
    }

    async fn serve(
        &mut self,
        mut connected: Connected,
        relay: PeerId,
        heartbeat_ms: u32,
    ) -> Result<Never, LinkDown> {
        let every = Duration::from_millis(
            heartbeat_ms
                .clamp(*HEARTBEAT_MS.start(), *HEARTBEAT_MS.end())
                .into(),
        );
        let mut heartbeats = interval(every);
        let mut checks = interval(CHECK_EVERY);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut roster, mut liveness) = (0, Liveness::default());
        loop {
            tokio::select! {
                frame = connected.next() => {
                    let frame = frame?;
                    liveness.heard();
                    match &frame {
                        FromRelay::Roster(changes) => roster = changes.version,
                        FromRelay::Opened { peer, channel, origin } => self.opened(&connected, *peer, *channel, *origin),
                        FromRelay::Welcome(_)
                        | FromRelay::NotOpened { .. }
                        | FromRelay::Ended { .. }
                        | FromRelay::Observed(_)
                        | FromRelay::DialedBack { .. }
                        | FromRelay::Unknown(_) => {}
                    }
                    if !self.report(LinkEvent::Received(frame)).await {
                        return Err(LinkDown::Lost("this node is stopping".to_owned()));
                    }
                }
                command = self.commands.recv() => match command {
                    None => return Err(LinkDown::Lost("this node is stopping".to_owned())),
                    Some(LinkCommand::Send(frame)) => connected.send(&frame).await?,
                    Some(LinkCommand::Rooms(rooms)) => {
                        connected.send(&ToRelay::Rooms(tags(&rooms, relay))).await?;
                        self.rooms = rooms;
                    }
                    Some(LinkCommand::Wake) => connected.beat(roster, &mut liveness).await?,
                },
                _ = heartbeats.tick() => connected.beat(roster, &mut liveness).await?,
                _ = checks.tick() => match liveness.check(self.counts(&connected)) {
                    Health::Alive => {}
                    Health::Ask => connected.beat(roster, &mut liveness).await?,
                    Health::Dead => return Err(LinkDown::Silent),
                },
            }
        }
    }
}

/// The names of the node's rooms at this relay.
fn tags(rooms: &[RoomKey], relay: PeerId) -> Vec<RoomTag> {
    rooms.iter().map(|room| room.relay_tag(relay)).collect()
}

/// A connection with its control stream.
struct Connected {
    connection: Connection,
    control_out: SendStream,
    control_in: FrameReader,
}

impl Connected {
    /// Sends a heartbeat with the version of this node's roster. The relay answers each one.
    async fn beat(&mut self, roster: u64, liveness: &mut Liveness) -> Result<(), LinkDown> {
        liveness.asked();
        self.send(&ToRelay::Heartbeat(roster)).await
    }

    async fn send(&mut self, frame: &ToRelay) -> Result<(), LinkDown> {
        let mut frames = FrameBatch::default();
        frames.push(frame.encode());
        match frames.write(&mut self.control_out).await {
            Ok(()) => Ok(()),
            Err(quinn::WriteError::ConnectionLost(error)) => Err(error.into()),
            Err(error) => Err(self.broke(error.to_string())),
        }
    }

    /// Reads the next frame of a known kind. Cancel-safe.
    async fn next(&mut self) -> Result<FromRelay, LinkDown> {
        loop {
            let frame = match self.control_in.next().await {
                Ok(frame) => frame,
                Err(ReceiveError::Lost(error)) => return Err(error.into()),
                Err(
                    error @ (ReceiveError::TooLarge
                    | ReceiveError::Ended
                    | ReceiveError::Truncated
                    | ReceiveError::Stream(_)),
                ) => return Err(self.broke(error.to_string())),
            };
            match FromRelay::decode(&frame) {
                Ok(FromRelay::Unknown(_)) => {}
                Ok(frame) => return Ok(frame),
                Err(error) => return Err(self.broke(error.to_string())),
            }
        }
    }

    /// The relay broke the protocol. If it has closed the connection, its reason counts instead.
    fn broke(&self, what: String) -> LinkDown {
        if let Some(error) = self.connection.close_reason() {
            return error.into();
        }
        hang_up(&self.connection, close::PROTOCOL, &what);
        LinkDown::Protocol(what)
    }
}

/// The result of a loop that ends only with an error.
enum Never {}
