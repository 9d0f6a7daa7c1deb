//! The hub: one task that drives the pure core, and so makes all decisions about registered peers.
//!
//! It receives [`Event`]s one by one. It passes the core's outputs at once to outboxes, connections
//! and the forwarding plane, and never waits for any of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hobnob_limits::{Bucket, Network, Pace};
use hobnob_protocol::DeviceId;
use hobnob_protocol::heartbeat::{Handle, Reset, SLEEP_EXPORTER_LABEL, SleepSecret};
use hobnob_protocol::relay::{FromRelay, TOKEN_EXPORTER_LABEL, ToRelay, close, features};
use hobnob_transport::addr::canonical;
use hobnob_transport::tls;
use quinn::{Connection, ConnectionError, VarInt};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::addrs;
use super::clock::Clock;
use super::close::end;
use super::dial_back::DialBacks;
use super::event::{Admitted, Event, Registration};
use super::frames::{Full, OUT_BYTES_MAX, Outbox};
use super::log_event::LogEvent;
use super::newcomers::{Fate, Newcomers};
use super::operator::{
    Banned, Change, Changed, OperatorError, OperatorRequest, PeerStatus, Table, resolve,
    resolve_ban,
};
use super::public_address::PublicAddresses;
use super::wording;
use crate::admission::{Admission, BANS_MAX, BanTarget, Credentials, Refusal, Token};
use crate::core::{ConnectionId, EndReason, Exclusion, Found, Input, Output, Relay, Role, Row};
use crate::fleet::{CurrentList, DirectoryEvent, DirectoryRequest, SharedBans};
use crate::plane::{PlaneConfig, PlaneHandle};
use crate::sleeper::{NewSleeper, NewsKind, SleepUpdate, SleeperNews};

/// How often the hub checks whether peers' addresses have changed, and counts their quotas.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How often a peer may ask for peers that are not at this relay. The other relays of the fleet answer
/// these questions. Beyond, the answer is "unsure".
const SEARCHES: Pace = Pace::new(128, Duration::from_millis(500));

/// Maximum questions of all peers that wait for the directory. Beyond, the answer is "unsure".
const WAITING_SEARCHES_MAX: usize = 8_192;

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// The core and everything that it acts on.
pub(super) struct Hub {
    relay: Relay,
    clock: Clock,
    admission: Admission,
    plane: PlaneHandle,
    newcomers: Arc<Newcomers>,
    dial_backs: DialBacks,
    /// The directory of the fleet, if the relay is a member of one.
    directory: Option<mpsc::UnboundedSender<DirectoryRequest>>,
    /// The places for questions that wait for the directory.
    places: Arc<Semaphore>,
    fleet: Option<CurrentList>,
    /// The bans of the fleet.
    shared_bans: Option<SharedBans>,
    /// The number of the list that the peers have.
    list_number: u64,
    links: HashMap<ConnectionId, RegisteredPeer>,
    public_addresses: PublicAddresses,
    log: broadcast::Sender<LogEvent>,
    /// The tokens of the sleeping peers that proved one.
    sleepers_tokens: BTreeMap<DeviceId, Arc<Token>>,
    /// The key of the tokens in [`FromRelay::Sleep`].
    sleep_resets: [u8; 32],
    /// News of sleeping peers.
    sleeper_news: mpsc::Receiver<SleeperNews>,
    /// Who waits until all peers have been disconnected, with the number of peers at the beginning.
    drained: Vec<(usize, oneshot::Sender<usize>)>,
}

/// The connection of a registered peer.
struct RegisteredPeer {
    connection: Connection,
    outbox: Arc<Outbox>,
    peer: DeviceId,
    /// The address that the core knows.
    addr: SocketAddr,
    /// The client of its stream, if it uses one. `addr` is synthetic then.
    stream_from: Option<SocketAddr>,
    /// The token that it proved.
    token: Option<Arc<Token>>,
    /// Whether it is a peer of this relay, a guest or a visitor.
    role: Role,
    /// Whether it understands that a peer is at another relay of the fleet.
    knows_fleets: bool,
    /// Its questions for peers that are not here.
    searches: Bucket,
    /// Whether the core has registered it.
    registered: bool,
}

impl RegisteredPeer {
    /// The address that the peer connects from.
    fn client_addr(&self) -> SocketAddr {
        self.stream_from.unwrap_or(self.addr)
    }
}

impl Hub {
    #[expect(clippy::too_many_arguments, reason = "each has another type")]
    pub(super) fn new(
        relay: Relay,
        admission: Admission,
        (plane, sleep_resets): (PlaneHandle, [u8; 32]),
        newcomers: Arc<Newcomers>,
        dial_backs: DialBacks,
        directory: Option<mpsc::UnboundedSender<DirectoryRequest>>,
        fleet: Option<(CurrentList, SharedBans)>,
        log: broadcast::Sender<LogEvent>,
    ) -> Self {
        let (fleet, shared_bans) = fleet.unzip();
        Self {
            sleepers_tokens: BTreeMap::new(),
            sleep_resets,
            sleeper_news: plane.serve_sleepers(sleep_resets),
            relay,
            clock: Clock::start(),
            admission,
            plane,
            newcomers,
            dial_backs,
            directory,
            places: Arc::new(Semaphore::new(WAITING_SEARCHES_MAX)),
            list_number: fleet.as_ref().map_or(0, |fleet| fleet.get().number()),
            fleet,
            shared_bans,
            links: HashMap::new(),
            public_addresses: PublicAddresses::default(),
            log,
            drained: Vec::new(),
        }
    }

    /// Runs until all senders of events are gone.
    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut check = interval(CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let timeout = self
                .relay
                .poll_timeout()
                .map(|moment| self.clock.at(moment));
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.event(event),
                    None => return,
                },
                Some(news) = self.sleeper_news.recv() => self.sleeper_news(news),
                () = at(timeout) => self.handle(Input::Timeout),
                _ = check.tick() => {
                    self.check_addresses();
                    self.push_list();
                    self.handle(Input::Day(self.day()));
                }
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Register(registration) => self.register(*registration),
            Event::Frame(id, frame) => self.frame(id, frame),
            Event::Disconnected(id) => {
                // The core knows already if it has ended the connection itself.
                if let Some(link) = self.links.remove(&id) {
                    self.disconnected(id, link);
                }
            }
            Event::Operator(request) => self.answer(request),
            Event::Fleet(event) => self.fleet_event(event),
            Event::Drain(done) => {
                self.drained.push((self.links.len(), done));
                self.handle(Input::Drain);
            }
        }
    }

    fn disconnected(&mut self, connection: ConnectionId, link: RegisteredPeer) {
        // Peers of a fleet do not sleep, so it is gone for the other relays in both cases.
        self.left(connection, &link);
        // Otherwise the sleep is of an earlier address, which may have been anybody's.
        let is_there = link.connection.remote_address() == link.addr;
        if !is_there || !fell_asleep(&link.connection) {
            return self.handle(Input::Disconnected { connection });
        }
        let (peer, token) = (link.peer, link.token);
        self.handle(Input::FellAsleep { connection });
        self.note_sleepers_token(peer, token);
    }

    /// Keeps the token of a peer, if it sleeps now.
    fn note_sleepers_token(&mut self, peer: DeviceId, token: Option<Arc<Token>>) {
        if let Some(token) = token.filter(|_| self.relay.is_asleep(peer)) {
            self.sleepers_tokens.insert(peer, token);
        }
    }

    fn sleeper_news(&mut self, news: SleeperNews) {
        let peer = news.peer;
        let banned = match &news.kind {
            NewsKind::Moved(addr) => self.admission.bans().has_addr(addr.ip()),
            NewsKind::Began | NewsKind::Silent | NewsKind::Left | NewsKind::Declined(_) => false,
        };
        // Otherwise the end of its connection has arrived, as usual.
        let is_connected = news.kind == NewsKind::Began && !self.relay.is_asleep(peer);
        let mut links = self.links.values().filter(|_| is_connected);
        let token = links
            .find(|link| link.peer == peer)
            .and_then(|link| link.token.clone());
        self.handle(Input::Sleeper(news));
        self.note_sleepers_token(peer, token);
        if !self.relay.is_asleep(peer) {
            self.sleepers_tokens.remove(&peer);
        }
        if banned {
            self.handle(Input::Exclude(peer, Exclusion::Address));
        }
    }

    fn register(&mut self, registration: Registration) {
        let Registration {
            id,
            connection,
            from: addr,
            peer,
            register,
            stream,
            outbox,
            admitted,
        } = registration;
        let exporter = tls::exported_secret(&connection, TOKEN_EXPORTER_LABEL);
        let proof = register.token_proof.as_ref();
        // Of a stream, the address of its packets is synthetic.
        let client_addr = stream.as_ref().map_or(addr, |client| client.addr);
        let credentials = Credentials {
            addr: client_addr.ip(),
            proof,
            exporter: &exporter,
            now: self.clock.date(),
        };
        let wants_guest = register.features & features::GUEST != 0;
        let checked = self.admission.check(peer, credentials);
        let guest = wants_guest
            && self.relay.admits_guests()
            && checked.as_ref().is_err_and(Refusal::admits_guests);
        let visits = register.features & features::VISITOR != 0 && self.fleet.is_some();
        let role = match (guest, visits) {
            (true, _) => Role::Guest,
            (false, true) => Role::Visitor,
            (false, false) => Role::Peer,
        };
        let token = match checked {
            Ok(token) => token,
            Err(_) if guest => None,
            Err(refusal) => {
                self.newcomers.count(Fate::NotAdmitted);
                self.log(LogEvent::Refused {
                    peer,
                    addr: client_addr,
                    reason: refusal.name(),
                });
                if self.relay.is_asleep(peer) {
                    // It has dropped its sleep to come back.
                    self.handle(Input::Exclude(peer, Exclusion::Rule));
                }
                return end(&connection, refusal.code(), wording::refusal(refusal));
            }
        };
        let link = RegisteredPeer {
            connection,
            outbox,
            peer,
            addr,
            stream_from: stream.as_ref().map(|client| client.addr),
            token,
            role,
            knows_fleets: register.features & features::FLEET != 0,
            searches: Bucket::default(),
            registered: false,
        };
        self.links.insert(id, link);
        if let Some(client) = &stream {
            client.registered.cancel();
        }
        self.handle(Input::Registered {
            connection: id,
            peer,
            addr: client_addr,
            stream: stream.as_ref().map(|_| addr),
            rooms: register.rooms,
            role,
            sleeps: register.features & features::SLEEP != 0,
        });
        if !self.relay.is_asleep(peer) {
            self.sleepers_tokens.remove(&peer);
        }
        // Otherwise the core has refused the peer.
        if let Some(link) = self.links.get_mut(&id) {
            link.registered = true;
            let uses_fleet = link.knows_fleets;
            // The connection's task is gone if the connection has just ended.
            let _gone = admitted.send(Admitted { guest });
            let token = link.token.as_ref().map(|token| token.name().to_owned());
            self.log(LogEvent::Registered {
                peer,
                addr: client_addr,
                token,
            });
            if role == Role::Peer {
                self.ask_directory(DirectoryRequest::Here {
                    peer,
                    connection: id,
                    uses_fleet,
                });
            }
            if let Some(addr) = register.reached_at.filter(|_| !guest) {
                self.reached_at(client_addr, addr);
            }
        }
        self.check_address(id);
    }

    /// A peer reached this relay at an address. It is news if a router translates it.
    fn reached_at(&mut self, from: SocketAddr, addr: SocketAddr) {
        let local = self.plane.local_addr();
        let is_own = |addr| addrs::is_of(local, addr);
        if self
            .public_addresses
            .named(Network::of(from.ip()), canonical(addr), is_own)
        {
            self.log(LogEvent::ReachedAt(addr));
        }
    }

    /// The connection of a registered peer has ended.
    fn left(&self, id: ConnectionId, link: &RegisteredPeer) {
        if link.role == Role::Peer {
            self.ask_directory(DirectoryRequest::Gone(link.peer, id));
        }
    }

    fn ask_directory(&self, request: DirectoryRequest) {
        if let Some(directory) = &self.directory {
            // The directory ends only when the relay stops.
            let _stopping = directory.send(request);
        }
    }

    fn fleet_event(&mut self, event: DirectoryEvent) {
        match event {
            DirectoryEvent::Found {
                askers,
                peer,
                found,
            } => {
                for connection in askers {
                    self.handle(Input::Found {
                        connection,
                        peer,
                        found,
                    });
                }
            }
            DirectoryEvent::MovedAway(id) => self.handle(Input::MovedAway(id)),
            DirectoryEvent::Elsewhere(peers) => {
                for (peer, rooms) in peers {
                    self.handle(Input::Elsewhere { peer, rooms });
                }
            }
            DirectoryEvent::Kicked(peer) => self.handle(Input::Kick(peer)),
            DirectoryEvent::BansChanged(targets) => self.apply_shared_bans(targets),
            DirectoryEvent::Connected(connected) => self.log(LogEvent::Fleet { connected }),
        }
    }

    /// Asks the other relays for a peer, or answers at once that it is not here.
    fn find(&mut self, asker: ConnectionId, peer: DeviceId) -> Option<Input> {
        let now = self.clock.now();
        let link = self.links.get_mut(&asker).expect(IS_LINKED);
        let found = if !link.knows_fleets {
            Found::Nowhere
        } else if link.searches.take(now, SEARCHES)
            && let Ok(place) = self.places.clone().try_acquire_owned()
        {
            self.ask_directory(DirectoryRequest::Find(asker, peer, place));
            return None;
        } else {
            Found::Unsure
        };
        Some(Input::Found {
            connection: asker,
            peer,
            found,
        })
    }

    /// Sends a list of the fleet that has replaced another one to the peers that use the fleet.
    fn push_list(&mut self) {
        let Some(fleet) = &self.fleet else {
            return;
        };
        let list = fleet.get();
        if list.number() <= self.list_number {
            return;
        }
        self.list_number = list.number();
        let frame = FromRelay::FleetList(Some(list.signed().clone()));
        let users = self.links.iter();
        let users = users.filter(|(_, link)| link.registered && link.knows_fleets);
        for id in users.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.send(id, &frame);
        }
    }

    fn log(&self, event: LogEvent) {
        // The program need not log.
        let _nobody = self.log.send(event);
    }

    /// Logs that the core has ended a connection. Peers that are silent, that connected again or
    /// that the relay leaves are normal.
    fn log_end(&self, (peer, addr): (DeviceId, SocketAddr), registered: bool, reason: &EndReason) {
        let name = close::name(reason.code().into());
        match reason {
            _ if !registered => self.log(LogEvent::Refused {
                peer,
                addr,
                reason: name,
            }),
            EndReason::Silent
            | EndReason::Replaced
            | EndReason::GuestOver
            | EndReason::VisitOver
            | EndReason::Asleep
            | EndReason::Draining => {}
            EndReason::Kicked
            | EndReason::Banned
            | EndReason::AddressBanned
            | EndReason::NotAdmitted
            | EndReason::QuotaUsed(_)
            | EndReason::RegisteredTwice
            | EndReason::Full(_)
            | EndReason::MadeRoom
            | EndReason::NetworkFull(_)
            | EndReason::RoomsFull
            | EndReason::TooManyRooms
            | EndReason::RegisteredTooOften(..)
            | EndReason::TooOften(..) => self.log(LogEvent::Ended {
                peer,
                addr,
                reason: name,
            }),
        }
    }

    /// Today, counted from 1970 in UTC.
    fn day(&self) -> u64 {
        let since = self.clock.date().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_secs() / SECONDS_PER_DAY
    }

    fn frame(&mut self, id: ConnectionId, frame: ToRelay) {
        // A frame may arrive after the core has ended the connection.
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let rtt = matches!(frame, ToRelay::Heartbeat(_)).then(|| link.connection.rtt());
        if let ToRelay::FleetList(number) = frame {
            let list = self.fleet.as_ref().and_then(|fleet| fleet.above(number));
            self.send(id, &FromRelay::FleetList(list));
        }
        self.check_address(id);
        if let Some(rtt) = rtt {
            self.handle(Input::Rtt {
                connection: id,
                rtt,
            });
        }
        self.handle(Input::Frame {
            connection: id,
            frame,
        });
    }

    fn check_addresses(&mut self) {
        let moved = self
            .links
            .iter()
            .filter(|(_, link)| link.connection.remote_address() != link.addr);
        for id in moved.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.check_address(id);
        }
    }

    /// Reports to the core if a peer's address has changed: its NAT rebound it, or its network
    /// changed.
    fn check_address(&mut self, id: ConnectionId) {
        // The core may have ended the connection at an earlier input.
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let addr = link.connection.remote_address();
        if std::mem::replace(&mut link.addr, addr) == addr {
            return;
        }
        let peer = link.peer;
        self.handle(Input::Moved {
            connection: id,
            addr,
        });
        if self.admission.bans().has_addr(addr.ip()) {
            self.handle(Input::Exclude(peer, Exclusion::Address));
        }
    }

    /// Passes one input to the core and executes all outputs.
    fn handle(&mut self, input: Input) {
        self.relay.handle(self.clock.now(), input);
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Send(id, frame) => self.send(id, &frame),
                Output::End(id, reason) => {
                    let link = self.links.remove(&id).expect(IS_LINKED);
                    self.left(id, &link);
                    let who = (link.peer, link.client_addr());
                    self.log_end(who, link.registered, &reason);
                    let words = wording::end_reason(&reason);
                    end(&link.connection, reason.code(), &words);
                }
                Output::DialBack(id, token) => self.dial_back(id, token),
                Output::Route(update) => self.plane.update(update),
                Output::Find(asker, peer) => {
                    if let Some(answer) = self.find(asker, peer) {
                        self.relay.handle(self.clock.now(), answer);
                    }
                }
                Output::Rooms(id, rooms) => {
                    let link = self.links.get(&id).expect(IS_LINKED);
                    if link.knows_fleets {
                        self.ask_directory(DirectoryRequest::Rooms(link.peer, id, rooms));
                    }
                }
                Output::Grant(id, handle) => self.grant_sleep(id, handle),
                Output::Wake(handle, by) => self.plane.sleep(SleepUpdate::Wake(handle, by)),
                Output::Forget(handle) => self.forget_sleep(handle, false),
                Output::EndSleep {
                    handle,
                    peer,
                    addr,
                    reason,
                } => {
                    self.sleepers_tokens.remove(&peer);
                    self.log_end((peer, addr), true, &reason);
                    self.forget_sleep(handle, true);
                }
            }
        }
        if self.links.is_empty() {
            for (count, drained) in self.drained.drain(..) {
                // The receiver is gone if it stopped waiting.
                let _gone = drained.send(count);
            }
        }
    }

    /// The peer of a connection may sleep: the plane gets the secret of the sleep.
    fn grant_sleep(&mut self, id: ConnectionId, handle: Handle) {
        let link = self.links.get(&id).expect(IS_LINKED);
        let secret = tls::exported_secret(&link.connection, SLEEP_EXPORTER_LABEL);
        let new = NewSleeper {
            handle,
            peer: link.peer,
            secret: SleepSecret::new(secret),
            addr: link.addr,
            at: link.connection.local_ip(),
        };
        self.plane.sleep(SleepUpdate::Add(Box::new(new)));
        let reset = Reset::token(&self.sleep_resets, handle);
        self.send(id, &FromRelay::Sleep { handle, reset });
    }

    fn forget_sleep(&self, handle: Handle, inform: bool) {
        self.plane.sleep(SleepUpdate::Remove { handle, inform });
    }

    /// Sends a probe to the address that the core knows, or reports to the peer that there is none.
    fn dial_back(&mut self, id: ConnectionId, token: [u8; 16]) {
        let link = self.links.get(&id).expect(IS_LINKED);
        let from = link
            .connection
            .local_ip()
            .unwrap_or(self.plane.local_addr().ip());
        let outbox = link.outbox.clone();
        let report = move |port| {
            let frame = FromRelay::DialedBack {
                token,
                from: Some(port),
            };
            // If a peer reads so little that this frame does not fit, a later frame that does not
            // fit will end its connection.
            let _full = outbox.push(&frame.encode());
        };
        if !self.dial_backs.start(from, link.addr, token, report) {
            self.send(id, &FromRelay::DialedBack { token, from: None });
        }
    }

    fn send(&mut self, id: ConnectionId, frame: &FromRelay) {
        let link = self.links.get(&id).expect(IS_LINKED);
        if link.outbox.push(&frame.encode()) == Err(Full) {
            // The connection's task will report its end.
            let reason = format!(
                "more than {OUT_BYTES_MAX} bytes from this relay are waiting for you to read them"
            );
            end(&link.connection, close::LIMIT, &reason);
        }
    }

    fn answer(&mut self, request: OperatorRequest) {
        // The receiver is gone if the operator's request was cancelled.
        match request {
            OperatorRequest::Peers(sleepers_max, answer) => {
                drop(answer.send(self.table(sleepers_max)))
            }
            OperatorRequest::Kick(target, answer) => drop(answer.send(self.kick(target))),
            OperatorRequest::SetBanned(target, banned, answer) => {
                drop(answer.send(self.set_banned(target, banned)))
            }
            OperatorRequest::Change(change, answer) => drop(answer.send(self.change(*change))),
            OperatorRequest::Usage(answer) => drop(answer.send(self.relay.usage())),
        }
    }

    fn table(&self, sleepers_max: usize) -> Table {
        let now = self.clock.now();
        let peer = |row: Row| PeerStatus {
            label: self.admission.label(row.peer).map(str::to_owned),
            since: self.clock.wall(row.since),
            heard_ago: now.saturating_sub(row.heard_at),
            row,
        };
        Table {
            peers: self
                .relay
                .table(sleepers_max)
                .into_iter()
                .map(peer)
                .collect(),
            asleep: self.relay.asleep(),
            peers_max: self.relay.peers_max(),
            bans: self.admission.bans().clone(),
            counts: self.relay.counts(),
            connections: self.links.len(),
            channels: self.relay.channels(),
            rooms: self.relay.rooms(),
            up: now,
        }
    }

    fn kick(&mut self, target: String) -> Result<DeviceId, OperatorError> {
        let peer = resolve(target, &self.admission, self.relay.known_peers())?;
        if !self.relay.is_registered(peer) {
            if self.directory.is_none() {
                return Err(OperatorError::NotConnected(peer));
            }
            self.ask_directory(DirectoryRequest::Kick(peer));
            return Ok(peer);
        }
        self.handle(Input::Kick(peer));
        Ok(peer)
    }

    fn set_banned(&mut self, target: String, banned: bool) -> Result<Banned, OperatorError> {
        let target = resolve_ban(target, &self.admission, self.relay.known_peers())?;
        if banned && self.admission.bans().len() >= BANS_MAX {
            return Err(OperatorError::TooManyBans);
        }
        if !self.admission.set_banned(target, banned) {
            return Err(if banned {
                OperatorError::BannedAlready(target)
            } else {
                OperatorError::NotBanned(target)
            });
        }
        self.share_ban(target, banned);
        self.log_ban(target, banned);
        if banned {
            match target {
                BanTarget::Peer(peer) => self.handle(Input::Ban(peer)),
                BanTarget::Range(_) => drop(self.exclude()),
            }
        }
        Ok(Banned {
            target,
            all: self.admission.bans().clone(),
        })
    }

    fn log_ban(&self, target: BanTarget, banned: bool) {
        self.log(if banned {
            LogEvent::Banned(target)
        } else {
            LogEvent::Unbanned(target)
        });
    }

    /// Tells the other relays of the fleet that the operator has changed a ban here.
    fn share_ban(&self, target: BanTarget, banned: bool) {
        if let Some(shared) = &self.shared_bans {
            let record = shared.note(target, banned, self.clock.date_ms());
            self.ask_directory(DirectoryRequest::BanChanged(record));
        }
    }

    /// Other relays of the fleet have changed these bans.
    fn apply_shared_bans(&mut self, targets: Vec<BanTarget>) {
        let Some(shared) = self.shared_bans.clone() else {
            return;
        };
        let mut is_range_banned = false;
        for target in targets {
            // The operator may have changed it here in the meantime.
            let banned = shared.is_banned(target);
            if !self.admission.set_banned(target, banned) {
                continue;
            }
            self.log_ban(target, banned);
            match target {
                BanTarget::Peer(peer) if banned => self.handle(Input::Ban(peer)),
                BanTarget::Range(_) => is_range_banned |= banned,
                BanTarget::Peer(_) => {}
            }
        }
        if is_range_banned {
            self.exclude();
        }
    }

    fn change(&mut self, change: Change) -> Changed {
        let Change { rule, bans, limits } = change;
        let before: BTreeSet<BanTarget> = self.admission.bans().targets().collect();
        let after: BTreeSet<BanTarget> = bans.targets().collect();
        self.admission = Admission::new(rule, bans);
        for target in before.symmetric_difference(&after) {
            self.share_ban(*target, after.contains(target));
        }
        self.plane.limit(&PlaneConfig::of_rate(limits.rate));
        self.handle(Input::Limits(Box::new(limits)));
        Changed {
            bans_added: after.difference(&before).count(),
            bans_removed: before.difference(&after).count(),
            disconnected: self.exclude(),
        }
    }

    /// Disconnects the peers that are not admitted any more. Returns how many.
    fn exclude(&mut self) -> usize {
        let excluded = self.links.values().filter_map(|link| {
            let token = link.token.as_deref();
            let checked = self
                .admission
                .check_again(link.peer, link.client_addr().ip(), token);
            Some((link.peer, checked.err()?))
        });
        let mut excluded: Vec<_> = excluded.collect();
        excluded.extend(self.relay.sleepers().filter_map(|(peer, addr)| {
            let token = self.sleepers_tokens.get(&peer).map(Arc::as_ref);
            let checked = self.admission.check_again(peer, addr.ip(), token);
            Some((peer, checked.err()?))
        }));
        for (peer, refusal) in &excluded {
            self.handle(match refusal {
                Refusal::Banned => Input::Ban(*peer),
                Refusal::AddressBanned => Input::Exclude(*peer, Exclusion::Address),
                Refusal::NoToken
                | Refusal::WrongToken
                | Refusal::ExpiredToken
                | Refusal::NotListed => Input::Exclude(*peer, Exclusion::Rule),
            });
        }
        excluded.len()
    }
}

/// Proof for lookups of links: `register` adds the link before the core knows the connection, and
/// the link is removed together with the core's entry.
const IS_LINKED: &str = "the core acts on registered connections only";

/// Whether the node ended this connection because it sleeps from now on.
fn fell_asleep(connection: &Connection) -> bool {
    matches!(
        connection.close_reason(),
        Some(ConnectionError::ApplicationClosed(closed))
            if closed.error_code == VarInt::from_u32(close::ASLEEP)
    )
}

async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
