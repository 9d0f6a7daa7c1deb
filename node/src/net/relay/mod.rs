//! The link to one relay: it registers, and connects again when the connection is lost.
//!
//! The connection uses UDP where that works, and a stream elsewhere (`race` tries both). While it
//! uses a stream, the link looks for UDP. While UDP is silent, the link looks for a stream. The new
//! connection registers before the old one is dropped.
//!
//! An idle connection sleeps, if the relay offers it (`idle`, `asleep`): it is closed, and sealed
//! heartbeats keep the registration. The link connects again when a peer or the node needs it.
//!
//! One task owns the connection and reports what happens on it. The engine decides what to ask of
//! the relay and how far to trust it. Only the table of channels is updated here, before the engine
//! learns of a channel: the channel's first frames may follow at once.

mod asleep;
mod connected;
mod error;
mod fleet;
mod identities;
mod idle;
mod liveness;
mod locations;
mod probe;
mod race;
mod redial;
mod stream;
mod watch;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hobnob_protocol::datagram::ChannelId;
use hobnob_protocol::heartbeat::{Datagram, Handle, SLEEP_EXPORTER_LABEL, SleepSecret};
use hobnob_protocol::mailbox::FromHolder;
use hobnob_protocol::relay::{
    FromRelay, Origin, Register, TOKEN_EXPORTER_LABEL, ToRelay, VERSION, Welcome, close, features,
};
use hobnob_protocol::{DeviceId, RelayToken, RoomKey, RoomTag};
use hobnob_transport::addr::canonical;
use hobnob_transport::tls;
use quinn::Connection;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub use error::LinkDown;
pub use identities::Identities;
pub use locations::{LOCATIONS_MAX, Location};

use self::asleep::{Agreement, Asleep, Due, GOODBYES, Heard};
use self::connected::Connected;
use self::idle::Idle;
use self::liveness::{CHECK_EVERY, Counts, Health, Liveness};
use self::locations::Locations;
use self::race::{DIAL_LIMIT, Preferred, Race, Shaken, UDP_PAUSE_MAX, without_udp};
use self::redial::Redial;
use self::stream::RelayStream;
use self::watch::Watch;
use super::channels::{Channels, RelayId, Traffic};
use super::close::{hang_up, say_goodbye};
use super::endpoint::Endpoint;
use super::mail::{self, MailStream};
use crate::clock::Clock;
use hobnob_core::Rng;
use hobnob_core::carrier::Carrier;

/// The heartbeat intervals that a relay may ask for. Others are replaced by the nearest of these.
const HEARTBEAT_MS: std::ops::RangeInclusive<u32> = 1_000..=60_000;

/// The shortest pause before the first look whether UDP works again.
const UDP_PAUSE_MIN: Duration = Duration::from_secs(2);

/// UDP that has worked for this many checks, a minute, is trusted again.
const UDP_LASTS_CHECKS: u32 = 240;

/// UDP has this many checks, a quarter to half a second, to answer after another way was found.
const LAST_CHANCE_CHECKS: u32 = 2;

/// While the user wants the relay, further attempts begin after this time. A relay that starts in
/// the meantime is found by them sooner than by what QUIC and TCP send again.
const ATTEMPTS_EVERY: Duration = Duration::from_millis(1_500);

/// Frames that wait until a link has woken. Further ones are lost.
const UNSENT_MAX: usize = 64;

/// Time between two goodbyes of a sleeping link.
const GOODBYE_PAUSE: Duration = Duration::from_millis(50);

/// The configuration of a link.
#[derive(Debug)]
pub struct LinkConfig {
    /// This node's number for the relay.
    pub relay: RelayId,
    /// Its name or address.
    pub location: Location,
    /// The identity that it must prove, if it is known.
    pub expected: Option<DeviceId>,
    /// The admission token, if the node may prove to this relay that it knows it.
    pub token: Option<RelayToken>,
    /// Whether nothing may be sent to the relay except through the proxy.
    pub proxy_only: bool,
    /// The identities of the relays that other links lead to.
    pub identities: Identities,
    /// Whether the relay may admit this node as a guest, to accept an invitation.
    pub guest: Arc<AtomicBool>,
    /// The fleet that the relay is a member of, if this node reaches it as one.
    pub fleet: Option<DeviceId>,
    /// Whether the expected identity may be that of a fleet, of which the relay is a member.
    pub may_be_fleet: bool,
    /// Whether this node only visits the relay: it is registered at another one of the fleet.
    pub visiting: bool,
    pub(crate) clock: Clock,
    /// For jitter, and for synthetic addresses.
    pub seed: u64,
}

/// A command of the engine to a link.
#[derive(Debug)]
pub enum LinkCommand {
    /// Send this frame. It is lost while there is no connection: the engine sends what matters
    /// again after [`LinkEvent::Up`].
    Send(ToRelay),
    /// The node's rooms have changed to these.
    Rooms(Vec<RoomKey>),
    /// The network has changed. Test the connection, or dial now if there is none.
    Wake,
    /// A peer has not answered. If that is because this node's public address has changed, the
    /// relay learns the new one from a heartbeat, and forwards again.
    Beat,
    /// The user sends a message, or names a peer: dial now, whatever the back-off.
    Want,
    /// This node does not need the relay until [`LinkCommand::Use`]: say goodbye.
    Rest,
    /// Register at the relay, or only visit it.
    Use {
        /// This node is registered at another relay of the fleet.
        visiting: bool,
    },
    /// The relay has another name or address. The node may prove to it that it knows this token.
    Locate(Location, Option<RelayToken>),
    /// Whether the link wakes for this peer, the answer to [`LinkEvent::Wanted`].
    WakeFor(DeviceId, bool),
}

/// An event of a link.
#[derive(Debug)]
pub enum LinkEvent {
    /// The relay has registered this node.
    Up {
        /// The relay's identity, proved.
        id: DeviceId,
        /// Its address. With a stream, that of the TCP connection.
        addr: SocketAddr,
        /// The carrier of the datagrams between this node and the relay.
        carrier: Carrier,
        /// Its answer to the registration.
        welcome: Welcome,
        /// The stream about mailboxes, if the relay holds mail.
        mail: Option<MailStream>,
        /// Whether the link slept meanwhile, and the relay has had this node all the time.
        woke: bool,
    },
    /// The link sleeps: there is no connection, but the relay has this node.
    Asleep,
    /// The link sleeps, and this peer wants a channel.
    Wanted(DeviceId),
    /// The relay sent this frame. It is never Welcome.
    Received(FromRelay),
    /// The relay sent this frame about mailboxes, on the stream with this number. `None`: the
    /// stream has ended.
    Mail(u64, Option<FromHolder>),
    /// The relay, a member of a fleet, does not answer at the moment, or answers again.
    Suspect(bool),
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
    locations: Locations,
    redial: Redial,
    /// The carrier that worked last. It starts first at the next attempt.
    preferred: Option<Preferred>,
    /// This node does not need the relay.
    resting: bool,
    /// The relay has admitted this node as a visitor.
    is_visit: bool,
    /// How often UDP failed soon after it seemed to work.
    udp_falls: u32,
    /// The connection, once the relay has proved its identity.
    connection: Option<Connection>,
    /// The stream that carries it, unless UDP does.
    stream: Option<Arc<RelayStream>>,
    /// How many streams about mailboxes there were.
    mail_streams: u64,
    /// The sleep, until the relay has registered this node again.
    asleep: Option<Sleep>,
    /// Frames that woke the link, to be sent when it is up.
    unsent: Vec<ToRelay>,
}

/// A sleep, and where its relay is.
#[derive(Debug)]
struct Sleep {
    state: Asleep,
    addr: SocketAddr,
    datagrams: mpsc::Receiver<Datagram>,
}

/// Why a connection is served no longer, although it is not lost.
enum Left {
    /// There is one by a better way.
    ForBetter(Shaken),
    /// The link may sleep.
    ToSleep {
        handle: Handle,
        reset: [u8; 16],
        every: Duration,
    },
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
            locations: Locations::new(config.location.clone(), config.proxy_only),
            redial: Redial::default(),
            config,
            endpoint,
            channels,
            traffic,
            commands,
            events,
            rooms: Vec::new(),
            rng,
            preferred: None,
            resting: false,
            is_visit: false,
            udp_falls: 0,
            connection: None,
            stream: None,
            mail_streams: 0,
            asleep: None,
            unsent: Vec::new(),
        }
    }

    /// Keeps the link up until `stop`, or until the engine has dropped its end. Then says goodbye.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_up() => {}
        }
        if self.commands.is_closed() {
            // The engine has dropped this link, perhaps while it registered or opened a channel.
            self.config.identities.release(self.config.relay);
            self.channels.forget(self.config.relay);
        }
        self.leave_asleep().await;
        say_goodbye(self.connection.as_slice(), close::BYE, "").await;
    }

    async fn keep_up(&mut self) {
        loop {
            let (was_up, down) = match self.connect().await {
                Ok((connected, welcome)) => match self.stay_up(connected, welcome).await {
                    Some(down) => (true, down),
                    None => return,
                },
                Err(down) => (false, down),
            };
            (self.connection, self.stream) = (None, None);
            self.woke();
            self.unsent.clear();
            self.channels.disconnected(self.config.relay);
            let (now, cause) = (self.config.clock.now().mono, down.cause());
            self.redial.failed(now, was_up, cause, &mut self.rng);
            let is_for_good = matches!(down, LinkDown::Duplicate { .. } | LinkDown::Fleet(_));
            if is_for_good {
                self.config.identities.release(self.config.relay);
            }
            if !self.report(LinkEvent::Down(down)).await || is_for_good || !self.wait().await {
                return;
            }
        }
    }

    /// Serves a connection, and each one by a better way that replaces it, until the last is lost.
    /// Returns the reason, or nothing if the engine no longer listens.
    async fn stay_up(&mut self, mut connected: Connected, welcome: Welcome) -> Option<LinkDown> {
        let mut heartbeat = heartbeat(&welcome);
        self.report_up(&connected, welcome, false).await?;
        loop {
            let stream_ended = connected.stream_ended();
            let left = tokio::select! {
                left = self.serve(&mut connected, heartbeat) => left,
                // Also while a frame waits for the relay.
                down = stream_ended => Err(down),
            };
            let shaken = match left {
                Ok(Left::ForBetter(shaken)) => shaken,
                Ok(Left::ToSleep {
                    handle,
                    reset,
                    every,
                }) => {
                    self.fall_asleep(connected, handle, reset, every).await;
                    if !self.report(LinkEvent::Asleep).await {
                        return None;
                    }
                    self.sleep().await?;
                    let (woken, welcome) = match self.wake_up().await {
                        Ok(woken) => woken,
                        Err(down) => return Some(down),
                    };
                    connected = woken;
                    heartbeat = self::heartbeat(&welcome);
                    let woke = welcome.features & features::SLEEP != 0;
                    self.report_up(&connected, welcome, woke).await?;
                    for frame in std::mem::take(&mut self.unsent) {
                        if let Err(down) = connected.send(&frame).await {
                            return Some(down);
                        }
                    }
                    continue;
                }
                Err(down) => return Some(down),
            };
            let (before, way) = (connected.carrier(), shaken.carrier());
            tracing::debug!(relay = %self.locations.first(), ?before, ?way, "changing the way to a relay");
            // The old connection stays until the relay has answered. The relay then replaces it, so
            // nobody sees this node leave.
            match self.register(shaken).await {
                Ok((new, welcome)) => {
                    heartbeat = self::heartbeat(&welcome);
                    self.report_up(&new, welcome, false).await?;
                    connected = new;
                }
                Err(error) if self.is_unwanted_visit() => return Some(error),
                Err(error) => {
                    tracing::debug!(%error, "the other way to a relay failed");
                    self.adopt(&connected.connection, connected.stream.clone());
                }
            }
        }
    }

    /// Whether this node is to register at the relay, which has admitted it as a visitor only.
    fn is_unwanted_visit(&self) -> bool {
        self.is_visit && !self.config.visiting
    }

    /// Closes an idle connection, as the relay has agreed, and begins to sleep.
    async fn fall_asleep(
        &mut self,
        connected: Connected,
        handle: Handle,
        reset: [u8; 16],
        every: Duration,
    ) {
        let secret = tls::exported_secret(&connected.connection, SLEEP_EXPORTER_LABEL);
        let agreement = Agreement {
            secret: SleepSecret::new(secret),
            handle,
            reset,
            every,
        };
        let addr = connected.connection.remote_address();
        self.asleep = Some(Sleep {
            state: Asleep::new(self.config.clock.now().mono, agreement),
            addr,
            datagrams: self.channels.fell_asleep(addr),
        });
        // Without a confirmation, the first heartbeat begins the sleep at the relay.
        let connection = std::slice::from_ref(&connected.connection);
        say_goodbye(connection, close::ASLEEP, "").await;
        (self.connection, self.stream) = (None, None);
        tracing::debug!(relay = %self.locations.first(), "a link sleeps");
    }

    /// Sleeps until something needs the connection, or until the relay does not have this node any
    /// more. Returns nothing if the engine no longer listens.
    async fn sleep(&mut self) -> Option<()> {
        loop {
            let sleep = self.asleep.as_mut().expect("the caller has begun a sleep");
            let due = self.config.clock.at(sleep.state.due());
            let heard = tokio::select! {
                () = sleep_until(due) => match sleep.state.time_out(self.config.clock.now().mono) {
                    Due::Nothing => continue,
                    Due::Send(beat) => Heard::Send(beat),
                    Due::Over | Due::Silent => return Some(()),
                },
                // The channel ends with the sleep only.
                Some(datagram) = sleep.datagrams.recv() => sleep.state.received(&datagram),
                command = self.commands.recv() => {
                    if self.command_asleep(command?) {
                        return Some(());
                    }
                    continue;
                }
            };
            match heard {
                Heard::Nothing => {}
                Heard::Send(datagram) => self.endpoint.demux().send_sealed(sleep.addr, &datagram),
                Heard::Forgotten => return Some(()),
                Heard::Wanted(peer) => {
                    if !self.report(LinkEvent::Wanted(peer)).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Carries out a command while the link sleeps. Returns whether the link must wake.
    fn command_asleep(&mut self, command: LinkCommand) -> bool {
        let sleep = self.asleep.as_mut().expect("the caller has begun a sleep");
        match command {
            LinkCommand::Rooms(rooms) => std::mem::replace(&mut self.rooms, rooms) != self.rooms,
            LinkCommand::Beat => {
                sleep.state.beat(self.config.clock.now().mono);
                false
            }
            LinkCommand::WakeFor(peer, false) => {
                let declined = sleep.state.decline(peer);
                self.endpoint.demux().send_sealed(sleep.addr, &declined);
                false
            }
            // There is no channel.
            LinkCommand::Send(ToRelay::Close(_)) | LinkCommand::Want => false,
            // The new connection rests at once.
            LinkCommand::Rest => {
                self.resting = true;
                true
            }
            LinkCommand::Use { visiting } => {
                self.resting = false;
                std::mem::replace(&mut self.config.visiting, visiting) != visiting
            }
            LinkCommand::Send(frame) => {
                self.keep_unsent(frame);
                true
            }
            LinkCommand::Locate(location, token) => {
                let had_token = self.config.token.is_some();
                self.locate(location, token);
                // Without a token, the relay may have admitted this node as a guest only.
                !had_token && self.config.token.is_some()
            }
            // Another network has other addresses.
            LinkCommand::Wake | LinkCommand::WakeFor(_, true) => true,
        }
    }

    /// Keeps a frame until the link has woken.
    fn keep_unsent(&mut self, frame: ToRelay) {
        // The engine asks for channels and invitations again when the link is up.
        let is_repeated = matches!(frame, ToRelay::Open(_) | ToRelay::FindInvitation(_));
        if !is_repeated && self.unsent.len() < UNSENT_MAX {
            self.unsent.push(frame);
        }
    }

    /// Connects again after a sleep.
    async fn wake_up(&mut self) -> Result<(Connected, Welcome), LinkDown> {
        // The addresses are known. If the relay is not there any more, look them up.
        let woken = match self.race().await {
            Err(LinkDown::Unreachable) => self.connect().await,
            woken => woken,
        };
        if woken.is_err()
            && let Some(sleep) = &mut self.asleep
        {
            // The sleep ends here, so the relay is not to show this node as present until it is
            // silent.
            let goodbye = sleep.state.leave();
            self.endpoint.demux().send_sealed(sleep.addr, &goodbye);
        }
        self.woke();
        woken
    }

    /// The relay has registered this node again, or its sleep is over for another reason.
    fn woke(&mut self) {
        if let Some(sleep) = self.asleep.take() {
            self.channels.woke(sleep.addr);
        }
    }

    /// Tells the relay of a sleeping link that this node leaves.
    async fn leave_asleep(&mut self) {
        let Some(mut sleep) = self.asleep.take() else {
            return;
        };
        for _ in 0..GOODBYES {
            let goodbye = sleep.state.leave();
            self.endpoint.demux().send_sealed(sleep.addr, &goodbye);
            tokio::time::sleep(GOODBYE_PAUSE).await;
        }
    }

    async fn report_up(
        &mut self,
        connected: &Connected,
        welcome: Welcome,
        woke: bool,
    ) -> Option<()> {
        self.preferred = Some((connected.carrier(), connected.addr.port()));
        self.traffic.set_rtt(connected.connection.rtt());
        let holds_mail = welcome.features & features::MAILBOX != 0;
        let mail = holds_mail.then(|| {
            self.mail_streams += 1;
            let (relay, number) = (self.config.relay, self.mail_streams);
            let (connection, events) = (connected.connection.clone(), self.events.clone());
            let event = move |frame| (relay, LinkEvent::Mail(number, frame));
            mail::start(connection, number, events, event)
        });
        let up = LinkEvent::Up {
            id: connected.id,
            addr: connected.addr,
            carrier: connected.carrier(),
            welcome,
            mail,
            woke,
        };
        self.report(up).await.then_some(())
    }

    fn counts(&self, connected: &Connected) -> Counts {
        let (sent, received) = self.traffic.read();
        Counts {
            sent,
            received,
            own: connected.connection.stats().udp_rx.datagrams,
        }
    }

    fn opened(
        &mut self,
        connected: &Connected,
        peer: DeviceId,
        channel: ChannelId,
        origin: Origin,
    ) {
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

    /// Waits until the relay is to be dialed again. Returns whether the engine still wants the
    /// link.
    async fn wait(&mut self) -> bool {
        loop {
            let due = self.config.clock.at(self.redial.due());
            tokio::select! {
                () = sleep_until(due), if !self.resting => return true,
                command = self.commands.recv() => match command {
                    Some(command) => self.note(command),
                    None => return false,
                },
            }
        }
    }

    /// Notes a command while there is no connection.
    fn note(&mut self, command: LinkCommand) {
        let now = self.config.clock.now().mono;
        match command {
            // The engine believes that a sleeping link is up.
            LinkCommand::Send(frame) if self.asleep.is_some() => self.keep_unsent(frame),
            // It is lost, see `LinkCommand::Send`.
            LinkCommand::Send(_) => {}
            LinkCommand::Rooms(rooms) => self.rooms = rooms,
            LinkCommand::Wake => self.redial.network_changed(now),
            // The connection that is dialed has the new address.
            LinkCommand::Beat => {}
            // The link wakes already.
            LinkCommand::WakeFor(..) => {}
            LinkCommand::Want => self.redial.want(now),
            LinkCommand::Rest => self.resting = true,
            LinkCommand::Use { visiting } => {
                self.resting = false;
                self.config.visiting = visiting;
                self.redial.needed(now);
            }
            LinkCommand::Locate(location, token) => self.locate(location, token),
        }
    }

    /// The relay has another name or address. `token`: this node may prove it to the relay.
    fn locate(&mut self, location: Location, token: Option<RelayToken>) {
        if self.config.fleet.is_some() {
            self.locations.moved_to(location);
        } else {
            self.locations.add(location);
        }
        self.config.token = self.config.token.take().or(token);
        self.redial.begin_anew(self.config.clock.now().mono);
    }

    async fn connect(&mut self) -> Result<(Connected, Welcome), LinkDown> {
        self.locations.look_up().await?;
        let connected = self.race().await;
        if !matches!(connected, Err(LinkDown::Unreachable)) {
            return connected;
        }
        let Some(addr) = self.locations.udp_addrs().first().copied() else {
            // There is no UDP port to probe.
            return connected;
        };
        let cause = probe::cause(addr).await;
        if cause != LinkDown::Busy {
            return Err(cause);
        }
        // The probe was answered: the relay may have been started in the meantime.
        self.race().await.map_err(|down| {
            if down == LinkDown::Unreachable {
                cause
            } else {
                down
            }
        })
    }

    /// Tries all ways side by side, and registers on the first that leads to the relay.
    async fn race(&mut self) -> Result<(Connected, Welcome), LinkDown> {
        let started = self.config.clock.now().mono;
        let mut race = Race::default();
        self.begin_attempts(&mut race, DIAL_LIMIT);
        let mut again_at = started + ATTEMPTS_EVERY;
        let mut down = LinkDown::Unreachable;
        // The other identities whose relays were asked for the list of a fleet.
        let mut asked = BTreeSet::new();
        loop {
            let is_wanted = self.redial.is_wanted(again_at) && again_at < started + DIAL_LIMIT;
            let attempt = tokio::select! {
                attempt = race.next() => attempt,
                command = self.commands.recv() => match command {
                    Some(command) => {
                        self.note(command);
                        if self.resting {
                            return Err(LinkDown::Rested);
                        }
                        continue;
                    }
                    None => return Err(LinkDown::Lost("this node is stopping".to_owned())),
                },
                () = sleep_until(self.config.clock.at(again_at)), if is_wanted => {
                    self.begin_attempts(&mut race, started + DIAL_LIMIT - again_at);
                    again_at += ATTEMPTS_EVERY;
                    continue;
                }
            };
            let Some((way, shaken)) = attempt else {
                return Err(down);
            };
            let registered = match shaken {
                Ok(shaken) => self.register(shaken).await,
                Err(LinkDown::Identity { expected, found })
                    if self.may_be_fleet() && asked.insert(found) =>
                {
                    race.go_on(self.fleet_or_other(way, expected, found));
                    continue;
                }
                Err(error) => Err(error),
            };
            match registered {
                Ok(connected) => return Ok(connected),
                // This holds for the relay whatever way leads to it, so no other way is tried.
                Err(
                    error @ (LinkDown::Refused { .. }
                    | LinkDown::Duplicate { .. }
                    | LinkDown::Fleet(_)),
                ) => return Err(error),
                Err(LinkDown::Unreachable) => {}
                Err(error) if self.locations.is_by_first(&way) => down = error,
                Err(error) => tracing::debug!(?way, %error, "another relay is there"),
            }
        }
    }

    /// Begins an attempt by each way.
    fn begin_attempts(&mut self, race: &mut Race, limit: Duration) {
        let ways = self.locations.ways(self.preferred);
        race.add(
            &self.endpoint,
            self.config.expected,
            ways,
            limit,
            &mut self.rng,
        );
    }

    /// Registers on a connection. Its way has won when the relay's Welcome has arrived.
    async fn register(&mut self, shaken: Shaken) -> Result<(Connected, Welcome), LinkDown> {
        let connection = shaken.connection.clone();
        let (id, relay) = (shaken.id, self.config.relay);
        if let Err(of) = self.config.identities.claim(id, relay) {
            hang_up(&connection, close::BYE, "");
            return Err(LinkDown::Duplicate { id, of });
        }
        // Commands after the first connection are carried out by the connection that stays.
        while self.connection.is_none()
            && let Ok(command) = self.commands.try_recv()
        {
            self.note(command);
        }
        // The relay may open channels as soon as it has read the registration.
        self.adopt(&connection, shaken.stream.clone());
        let exporter = tls::exported_secret(&connection, TOKEN_EXPORTER_LABEL);
        let token = self.config.token.as_ref();
        let register = Register {
            version: VERSION,
            features: self.features(),
            token_proof: token.map(|token| token.proof(&exporter)),
            rooms: self.room_tags(shaken.id),
            reached_at: shaken
                .stream
                .is_none()
                .then(|| canonical(connection.remote_address())),
        };
        let registering = async {
            let mut connected = Connected::open(shaken).await?;
            connected.send(&ToRelay::Register(register)).await?;
            match connected.next().await? {
                FromRelay::Welcome(welcome) => Ok((connected, welcome)),
                FromRelay::Roster(_)
                | FromRelay::Opened { .. }
                | FromRelay::NotOpened { .. }
                | FromRelay::Ended { .. }
                | FromRelay::Observed(_)
                | FromRelay::DialedBack { .. }
                | FromRelay::Invitation(..)
                | FromRelay::FleetList(_)
                | FromRelay::Elsewhere { .. }
                | FromRelay::MaySleep { .. }
                | FromRelay::Sleep { .. }
                | FromRelay::Unknown(_) => Err(LinkDown::Protocol(
                    "its first frame was no Welcome".to_owned(),
                )),
            }
        };
        let registered = timeout(DIAL_LIMIT, registering)
            .await
            .unwrap_or(Err(LinkDown::Unreachable))?;
        // Other names may lead to this relay from now on. So its identity must stay the same.
        self.config.expected = Some(id);
        self.config.may_be_fleet = false;
        self.is_visit = registered.1.features & features::VISITOR != 0;
        // Channels of an earlier connection ended with this registration.
        self.channels.disconnected(self.config.relay);
        self.channels
            .connected(self.config.relay, connection.remote_address());
        Ok(registered)
    }

    /// From now on the relay is at the other end of this connection.
    fn adopt(&mut self, connection: &Connection, stream: Option<Arc<RelayStream>>) {
        self.connection = Some(connection.clone());
        self.stream = stream;
        self.channels
            .connected(self.config.relay, connection.remote_address());
    }

    /// Serves a connection until it is lost, until there is one by a better way, or until the link
    /// may sleep.
    async fn serve(
        &mut self,
        connected: &mut Connected,
        heartbeat: Duration,
    ) -> Result<Left, LinkDown> {
        let mut heartbeats = interval(heartbeat);
        let mut checks = interval(CHECK_EVERY);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if self.resting {
            return Err(rested(connected));
        }
        let (mut roster, mut liveness, mut checked) = (0, Liveness::default(), 0);
        let (mut was_suspect, mut watch) = (false, Watch::new());
        let mut idle = Idle::new(self.config.clock.now().mono);
        // Relays of a fleet have no sleeping nodes.
        let is_member = self.config.fleet.is_some();
        let by_udp = connected.carrier() == Carrier::Udp;
        let has_udp = self.locations.has_udp();
        let mut other_way =
            (!by_udp && has_udp).then(|| self.back_to_udp(connected.id, self.udp_pause()));
        // The ways of a registration that replaces this one: it proves a token, or is no visit.
        let mut anew = None;
        // A way without UDP, and the number of checks when it was found.
        let mut found: Option<(Shaken, u32)> = None;
        loop {
            tokio::select! {
                frame = connected.next() => {
                    let frame = frame?;
                    liveness.heard();
                    let now = self.config.clock.now().mono;
                    match &frame {
                        FromRelay::Roster(changes) => {
                            roster = changes.version;
                            if !changes.changes.is_empty() {
                                idle.busy(now);
                            }
                        }
                        FromRelay::Opened { peer, channel, origin } => {
                            idle.busy(now);
                            self.opened(connected, *peer, *channel, *origin);
                        }
                        FromRelay::MaySleep { after_ms, every_ms } if by_udp && !is_member => {
                            idle.offered(*after_ms, *every_ms);
                        }
                        FromRelay::Sleep { handle, reset } => {
                            if let Some(every) = idle.agreed()
                                && !self.channels.has_open(self.config.relay)
                            {
                                return Ok(Left::ToSleep { handle: *handle, reset: *reset, every });
                            }
                            // Any frame takes the agreement back.
                            connected.beat(roster, &mut liveness).await?;
                        }
                        FromRelay::Ended { .. }
                        | FromRelay::DialedBack { .. }
                        | FromRelay::Invitation(..) => idle.busy(now),
                        // That a peer is not there is no reason to stay awake: it will ask for this
                        // node when it comes.
                        FromRelay::Welcome(_)
                        | FromRelay::NotOpened { .. }
                        | FromRelay::Observed(_)
                        | FromRelay::MaySleep { .. }
                        | FromRelay::FleetList(_)
                        | FromRelay::Elsewhere { .. }
                        | FromRelay::Unknown(_) => {}
                    }
                    if !self.report(LinkEvent::Received(frame)).await {
                        return Err(LinkDown::Lost("this node is stopping".to_owned()));
                    }
                }
                command = self.commands.recv() => match command {
                    None => return Err(LinkDown::Lost("this node is stopping".to_owned())),
                    Some(LinkCommand::Send(frame)) => {
                        let now = self.config.clock.now().mono;
                        match frame {
                            ToRelay::Open(_) => idle.opening(now),
                            ToRelay::Register(_)
                            | ToRelay::Heartbeat(_)
                            | ToRelay::Rooms(_)
                            | ToRelay::Close(_)
                            | ToRelay::DialBack(_)
                            | ToRelay::Invitations(_)
                            | ToRelay::FindInvitation(_)
                            | ToRelay::FleetList(_)
                            | ToRelay::Sleep
                            | ToRelay::Unknown(_) => idle.busy(now),
                        }
                        connected.send(&frame).await?;
                    }
                    Some(LinkCommand::Rooms(rooms)) => {
                        idle.busy(self.config.clock.now().mono);
                        self.rooms = rooms;
                        let tags = self.room_tags(connected.id);
                        connected.send(&ToRelay::Rooms(tags)).await?;
                    }
                    Some(LinkCommand::Wake) => {
                        idle.busy(self.config.clock.now().mono);
                        connected.beat(roster, &mut liveness).await?;
                        if !by_udp && has_udp {
                            other_way = Some(self.back_to_udp(connected.id, Duration::ZERO));
                        }
                    }
                    Some(LinkCommand::Beat) => {
                        idle.sent();
                        connected.beat(roster, &mut liveness).await?;
                    }
                    Some(LinkCommand::Want | LinkCommand::WakeFor(..)) => {}
                    Some(LinkCommand::Rest) => {
                        self.resting = true;
                        return Err(rested(connected));
                    }
                    Some(LinkCommand::Use { visiting }) => {
                        if std::mem::replace(&mut self.config.visiting, visiting) != visiting {
                            anew = Some(self.by_any_way(connected.id));
                        }
                    }
                    Some(LinkCommand::Locate(location, token)) => {
                        idle.busy(self.config.clock.now().mono);
                        let had_token = self.config.token.is_some();
                        self.locate(location, token);
                        if !had_token && self.config.token.is_some() {
                            // Without a token, the relay may have admitted this node as a guest
                            // only.
                            anew = Some(self.by_any_way(connected.id));
                        }
                    }
                },
                outcome = outcome(&mut anew) => match outcome {
                    Some(shaken) => return Ok(Left::ForBetter(shaken)),
                    None if self.is_unwanted_visit() => {
                        return Err(LinkDown::Lost("it cannot be registered at".to_owned()));
                    }
                    None => anew = None,
                },
                _ = heartbeats.tick() => {
                    if !idle.is_asking(self.config.clock.now().mono) {
                        idle.sent();
                        connected.beat(roster, &mut liveness).await?;
                    }
                }
                _ = checks.tick() => {
                    let counts = self.counts(connected);
                    if is_member && watch.is_due(counts.sent, counts.received) {
                        idle.sent();
                        connected.beat(roster, &mut liveness).await?;
                    }
                    match liveness.check(counts) {
                        Health::Alive => {}
                        Health::Ask => {
                            idle.sent();
                            connected.beat(roster, &mut liveness).await?;
                        }
                        Health::Dead => return Err(LinkDown::Silent),
                    }
                    let is_suspect = liveness.is_suspect();
                    if is_member
                        && std::mem::replace(&mut was_suspect, is_suspect) != is_suspect
                        && !self.report(LinkEvent::Suspect(is_suspect)).await
                    {
                        return Err(LinkDown::Lost("this node is stopping".to_owned()));
                    }
                    let now = self.config.clock.now().mono;
                    let is_changing = is_suspect || anew.is_some();
                    if is_changing || self.channels.has_open(self.config.relay) {
                        idle.busy(now);
                    } else if idle.asks(now) {
                        connected.send(&ToRelay::Sleep).await?;
                    }
                    checked += 1;
                    self.traffic.set_rtt(connected.connection.rtt());
                    if by_udp && checked == UDP_LASTS_CHECKS {
                        self.udp_falls = 0;
                    }
                    if by_udp && !liveness.is_suspect() {
                        (other_way, found) = (None, None);
                    } else if let Some((shaken, _)) =
                        found.take_if(|(_, at)| checked >= *at + LAST_CHANCE_CHECKS)
                    {
                        self.udp_falls += 1;
                        return Ok(Left::ForBetter(shaken));
                    } else if by_udp && other_way.is_none() {
                        other_way = Some(self.without_udp(connected.id));
                    }
                }
                shaken = first(&mut other_way), if found.is_none() => {
                    if !by_udp {
                        return Ok(Left::ForBetter(shaken));
                    }
                    // The whole network may have been down. Then UDP answers now, too.
                    idle.sent();
                    connected.beat(roster, &mut liveness).await?;
                    found = Some((shaken, checked));
                }
            }
        }
    }

    /// Dials by all ways.
    fn by_any_way(&mut self, relay: DeviceId) -> Race {
        let ways = self.locations.ways(self.preferred);
        let mut race = Race::default();
        race.add(&self.endpoint, Some(relay), ways, DIAL_LIMIT, &mut self.rng);
        race
    }

    /// Looks for a way without UDP, which does not answer at the moment.
    fn without_udp(&mut self, relay: DeviceId) -> Race {
        let ways = without_udp(self.locations.ways(None));
        let mut race = Race::default();
        race.add(&self.endpoint, Some(relay), ways, DIAL_LIMIT, &mut self.rng);
        race
    }

    /// Looks for UDP, which was blocked when the connection was made. The first look is after this
    /// pause.
    fn back_to_udp(&mut self, relay: DeviceId, pause: Duration) -> Race {
        let addrs = self.locations.udp_addrs();
        Race::back_to_udp(&self.endpoint, relay, addrs, pause, &mut self.rng)
    }

    /// The pause before the first look whether UDP works. It is longer each time that UDP has
    /// failed soon after it seemed to work.
    fn udp_pause(&self) -> Duration {
        UDP_PAUSE_MAX.min(UDP_PAUSE_MIN * (1 << self.udp_falls.saturating_sub(1).min(7)))
    }
}

/// Says goodbye to a relay that this node does not need at the moment.
fn rested(connected: &Connected) -> LinkDown {
    hang_up(&connected.connection, close::BYE, "");
    LinkDown::Rested
}

/// The first success of a race. Never returns if there is none.
async fn first(race: &mut Option<Race>) -> Shaken {
    match outcome(race).await {
        Some(shaken) => shaken,
        None => std::future::pending().await,
    }
}

/// The first success of a race, or nothing when all its attempts have failed. Never returns without
/// a race.
async fn outcome(race: &mut Option<Race>) -> Option<Shaken> {
    let Some(race) = race else {
        return std::future::pending().await;
    };
    while let Some((_, attempt)) = race.next().await {
        match attempt {
            Ok(shaken) => return Some(shaken),
            Err(error) => tracing::debug!(%error, "a way to a relay failed"),
        }
    }
    None
}

/// The time between heartbeats that a relay asks for.
fn heartbeat(welcome: &Welcome) -> Duration {
    let millis = welcome.heartbeat_ms;
    Duration::from_millis(
        millis
            .clamp(*HEARTBEAT_MS.start(), *HEARTBEAT_MS.end())
            .into(),
    )
}

/// The names of the node's rooms at this relay.
pub fn tags(rooms: &[RoomKey], relay: DeviceId) -> Vec<RoomTag> {
    rooms.iter().map(|room| room.relay_tag(relay)).collect()
}
