//! The relay's state machine: handles each input with the registry, the roster and the channels.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_limits::Network;
use hobnob_protocol::invitation::CodeNumber;
use hobnob_protocol::relay::{
    FromRelay, Origin, Roster as RosterFrame, ToRelay, VERSION, Welcome, features,
};
use hobnob_protocol::{DeviceId, RoomTag};
use hobnob_transport::addr::canonical;

use super::Exclusion;
use super::channels::Channels;
use super::invitations::{GUESTS_MAX, Invitations};
use super::limits::{LimitedAction, Limits};
use super::liveness::{Counts, Row};
use super::origins::Origins;
use super::quotas::Quotas;
use super::reasons::EndReason;
use super::registry::{HEARTBEAT_EVERY, PeerRecord, Registry};
use super::roster::Roster;
use super::sleep::Sleep;
use super::visitors::{VISITORS_MAX, Visitors};
use super::{ConnectionId, Input, Output, Role};

/// A draining relay spreads the ends of its connections over this time, so that not all peers
/// connect to the next relay at once.
pub const DRAIN_OVER: Duration = Duration::from_secs(3);

/// After a change of address, the relay sends a peer no dial-back for this time. QUIC reports a new
/// address before it is validated (RFC 9000 section 8.2). After this time QUIC has either validated
/// it or returned to the old one.
pub const ADDRESS_SETTLES: Duration = Duration::from_secs(10);

/// The relay's decisions. See the documentation of the module.
#[derive(Debug)]
pub struct Relay {
    pub(super) limits: Limits,
    pub(super) registry: Registry,
    pub(super) roster: Roster,
    pub(super) channels: Channels,
    pub(super) invitations: Invitations,
    pub(super) visitors: Visitors,
    origins: Origins,
    quotas: Quotas,
    pub(super) sleep: Sleep,
    /// Once the relay drains: the connections still to end, and when.
    pub(super) drain: Option<BTreeSet<(Duration, ConnectionId)>>,
    pub(super) counts: Counts,
    pub(super) outputs: VecDeque<Output>,
}

impl Relay {
    /// A relay without peers. The seed must be random and secret: channel ids derive from it and
    /// must be unguessable.
    pub fn new(limits: Limits, seed: [u8; 32]) -> Self {
        Self {
            registry: Registry::new(limits.peers),
            limits,
            roster: Roster::new(),
            channels: Channels::new(&seed),
            invitations: Invitations::default(),
            visitors: Visitors::default(),
            origins: Origins::new(&seed),
            quotas: Quotas::default(),
            sleep: Sleep::new(&seed),
            drain: None,
            counts: Counts::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Handles one input. It ignores frames and events of a connection that has ended or was
    /// replaced.
    pub fn handle(&mut self, now: Duration, input: Input) {
        match input {
            Input::Registered {
                connection,
                peer,
                addr,
                stream,
                rooms,
                role,
                sleeps,
            } => {
                let newcomer = Newcomer {
                    connection,
                    peer,
                    addr,
                    stream,
                    role,
                    sleeps,
                };
                // Guests and visitors are seen by nobody but the peers that they look for.
                let rooms = match role {
                    Role::Peer => distinct(rooms),
                    Role::Guest | Role::Visitor => Vec::new(),
                };
                self.registered(now, newcomer, rooms);
            }
            Input::Frame { connection, frame } => self.frame(now, connection, frame),
            Input::Moved { connection, addr } => self.moved(now, connection, addr),
            Input::Rtt { connection, rtt } => self.measured(connection, rtt),
            Input::Disconnected { connection } => self.disconnected(now, connection),
            Input::Found {
                connection,
                peer,
                found,
            } => self.found(now, connection, peer, found),
            Input::MovedAway(connection) => {
                // The peer may have registered here again in the meantime.
                if let Some(peer) = self.registry.peer_of(connection) {
                    self.end(now, peer, EndReason::Replaced);
                }
            }
            Input::Elsewhere { peer, rooms } => {
                if self.limits.roster {
                    self.roster.set_elsewhere(now, peer, rooms);
                }
            }
            Input::FellAsleep { connection } => self.fell_asleep(now, connection),
            Input::Sleeper(news) => self.sleeper_news(now, news),
            Input::Kick(peer) => self.end_peer(now, peer, EndReason::Kicked),
            Input::Ban(peer) => self.end_peer(now, peer, EndReason::Banned),
            Input::Exclude(peer, Exclusion::Address) => {
                self.end_peer(now, peer, EndReason::AddressBanned);
            }
            Input::Exclude(peer, Exclusion::Rule) => {
                self.end_peer(now, peer, EndReason::NotAdmitted);
            }
            Input::Limits(limits) => self.set_limits(*limits),
            Input::Day(day) => self.count_quotas(now, day),
            Input::Drain => self.start_draining(now),
            Input::Timeout => self.timeout(now),
        }
    }

    /// The next output, until there is none.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to pass [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Duration> {
        let drain = self
            .drain
            .as_ref()
            .and_then(|drain| drain.first())
            .map(|(at, _)| *at);
        [
            self.registry.next_look(),
            self.roster.next_push(),
            self.channels.next_look(),
            self.invitations.next_end(),
            self.visitors.next_look(),
            self.sleep.next_wake(),
            drain,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The liveness table, sorted by peer id, with at most this many sleepers.
    pub fn table(&self, sleepers_max: usize) -> Vec<Row> {
        let row = |(id, peer): (DeviceId, &PeerRecord)| Row {
            peer: id,
            state: peer.state(),
            addr: canonical(peer.addr),
            since: peer.since,
            heard_at: peer.heard_at,
            rtt: peer.rtt,
            missed: peer.missed,
            rooms: peer.rooms,
            channels: self.channels.count(id),
            metered: peer.meter.read(),
        };
        let mut rows: Vec<_> = self.registry.peers().map(row).collect();
        rows.extend(self.sleeper_rows().take(sleepers_max));
        rows.sort_by_key(|row| row.peer);
        rows
    }

    /// The counters since the start.
    pub fn counts(&self) -> Counts {
        Counts {
            roster_looks: self.roster.looks(),
            ..self.counts.clone()
        }
    }

    /// Continues the quotas of an earlier run, which has forwarded this many bytes on this day.
    pub fn restore_usage(&mut self, day: u64, used: BTreeMap<DeviceId, u64>) {
        self.quotas = Quotas::restored(day, used);
    }

    /// The day of the quotas, and the bytes of each peer.
    pub fn usage(&self) -> (u64, BTreeMap<DeviceId, u64>) {
        self.quotas.all()
    }

    /// The maximum number of connected peers.
    pub fn peers_max(&self) -> usize {
        self.limits.peers
    }

    /// Whether peers that are not admitted may come as guests.
    pub fn admits_guests(&self) -> bool {
        self.limits.guests
    }

    /// All peers of the table, without an order.
    pub fn known_peers(&self) -> impl Iterator<Item = DeviceId> {
        let sleepers = self.registry.sleepers().map(|(peer, _)| peer);
        self.registry.peers().map(|(peer, _)| peer).chain(sleepers)
    }

    /// Whether a peer is connected or sleeps.
    pub fn is_registered(&self, peer: DeviceId) -> bool {
        self.registry.get(peer).is_some() || self.is_asleep(peer)
    }

    /// Number of sleeping peers.
    pub fn asleep(&self) -> usize {
        self.registry.asleep()
    }

    /// Whether a peer sleeps.
    pub fn is_asleep(&self, peer: DeviceId) -> bool {
        self.registry.sleeper(peer).is_some()
    }

    /// The sleeping peers, with their addresses.
    pub fn sleepers(&self) -> impl Iterator<Item = (DeviceId, SocketAddr)> {
        let all = self.registry.sleepers();
        all.map(|(peer, sleeper)| (peer, canonical(sleeper.addr.socket_addr())))
    }

    /// Number of connected peers: alive or suspect.
    pub fn connected(&self) -> usize {
        self.registry.connected()
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Number of rooms with at least one connected peer.
    pub fn rooms(&self) -> usize {
        self.roster.rooms()
    }

    fn registered(&mut self, now: Duration, newcomer: Newcomer, rooms: Vec<RoomTag>) {
        let Newcomer {
            connection,
            peer,
            addr,
            stream,
            role,
            sleeps,
        } = newcomer;
        if self.drain.is_some() {
            return self.refuse(now, connection, peer, EndReason::Draining);
        }
        if role == Role::Guest && !self.invitations.has_room() {
            return self.output_end(connection, EndReason::Full(GUESTS_MAX));
        }
        // A visitor that comes back by another way takes its own place.
        if role == Role::Visitor && !self.visitors.is_visitor(peer) && !self.visitors.has_room() {
            return self.output_end(connection, EndReason::Full(VISITORS_MAX));
        }
        match self.admit(now, peer, addr, rooms.len()) {
            Ok(None) => {}
            // It is registered at another relay of the fleet. Those for whom this one is the home stay.
            Ok(Some(_)) if role == Role::Visitor => {
                return self.output_end(connection, EndReason::Full(self.limits.peers));
            }
            Ok(Some(idle)) => self.end(now, idle, EndReason::MadeRoom),
            Err(reason) => return self.refuse(now, connection, peer, reason),
        }
        let slept = self.registry.wake(peer);
        if let Some(handle) = slept {
            self.counts.woke += 1;
            self.outputs.push_back(Output::Forget(handle));
            if role != Role::Peer {
                self.invitations.left(peer);
            }
        } else if let Some(older) = self.registry.connection_of(peer) {
            self.revoke_sleep(peer);
            self.output_end(older, EndReason::Replaced);
            self.end_channels(peer);
            self.invitations.left(peer);
            self.visitors.left(peer);
            self.registry.disconnect(now, peer);
        }
        self.registry
            .connect(now, peer, connection, addr, rooms.len());
        self.registry.connected_mut(peer).stream = stream;
        match role {
            Role::Peer => {}
            Role::Guest => self.invitations.admit(now, peer),
            Role::Visitor => self.visitors.admit(now, peer),
        }
        self.set_rooms(now, peer, rooms);
        self.counts.registered += 1;
        self.send(
            peer,
            FromRelay::Welcome(self.welcome(addr, stream.is_some(), role, slept.is_some())),
        );
        if sleeps {
            self.offer_sleep(peer);
        }
        self.open_for_wakers(now, peer);
    }

    /// A peer cannot register. If it slept, it sleeps no longer: the node has dropped that sleep.
    fn refuse(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        peer: DeviceId,
        reason: EndReason,
    ) {
        self.end_sleeper(now, peer, reason);
        self.output_end(connection, reason);
    }

    fn admit(
        &mut self,
        now: Duration,
        peer: DeviceId,
        addr: SocketAddr,
        rooms: usize,
    ) -> Result<Option<DeviceId>, EndReason> {
        let quota = self.limits.day_quota;
        if quota > 0 && self.quotas.used(peer) >= quota {
            return Err(EndReason::QuotaUsed(quota));
        }
        let makes_room = self.registry.admit(now, peer, addr, &self.limits)?;
        let fits = self.roster.memberships_with(peer, rooms) <= self.limits.memberships;
        if fits {
            Ok(makes_room)
        } else {
            Err(EndReason::RoomsFull)
        }
    }

    /// The answer to a registration. A peer that uses a stream learns the address of its network
    /// with port 0: no datagram can reach it there.
    /// `slept`: the relay has had this peer all the time.
    fn welcome(&self, addr: SocketAddr, stream: bool, role: Role, slept: bool) -> Welcome {
        let mut observed = canonical(addr);
        if stream {
            observed.set_port(0);
        }
        let mut features = features::DIAL_BACK;
        features |= match role {
            Role::Peer if self.limits.mailboxes => features::MAILBOX,
            Role::Peer => 0,
            Role::Guest => features::GUEST,
            Role::Visitor => features::VISITOR,
        };
        if self.limits.fleet {
            features |= features::FLEET;
        }
        if slept && role == Role::Peer {
            features |= features::SLEEP;
        }
        Welcome {
            version: VERSION,
            features,
            observed,
            heartbeat_ms: u32::try_from(HEARTBEAT_EVERY.as_millis())
                .expect("a quarter of a minute"),
            roster: self.limits.roster,
            channels_max: u32::try_from(self.limits.channels_per_peer).unwrap_or(u32::MAX),
            rate: self.limits.rate,
        }
    }

    fn frame(&mut self, now: Duration, connection: ConnectionId, frame: ToRelay) {
        let Some(peer) = self.registry.peer_of(connection) else {
            return;
        };
        self.registry.heard(now, peer);
        if !self.may(now, peer, LimitedAction::Frames) {
            return;
        }
        self.revoke_sleep(peer);
        match frame {
            ToRelay::Register(_) => self.end(now, peer, EndReason::RegisteredTwice),
            ToRelay::Heartbeat(version) => self.heartbeat(now, peer, version),
            ToRelay::Rooms(_)
                if self.invitations.is_guest(peer) || self.visitors.is_visitor(peer) => {}
            ToRelay::Rooms(rooms) => self.change_rooms(now, peer, distinct(rooms)),
            ToRelay::Open(other) => self.open(now, peer, other),
            ToRelay::Close(channel) => self.close(peer, channel),
            ToRelay::DialBack(token) => self.dial_back(now, connection, peer, token),
            ToRelay::Invitations(numbers) => self.invitations.set(now, peer, &numbers),
            ToRelay::FindInvitation(number) => self.find_invitation(now, peer, number),
            ToRelay::Sleep => self.grant_sleep(now, connection, peer),
            // The shell answers it.
            ToRelay::FleetList(_) | ToRelay::Unknown(_) => {}
        }
    }

    fn find_invitation(&mut self, now: Duration, peer: DeviceId, number: CodeNumber) {
        let network = Network::of(self.registry.connected_mut(peer).addr.ip());
        let found = self.invitations.find(now, peer, network, number);
        self.send(peer, FromRelay::Invitation(number, found));
    }

    fn heartbeat(&mut self, now: Duration, peer: DeviceId, version: u64) {
        if !self.may(now, peer, LimitedAction::Heartbeats) {
            return;
        }
        self.counts.heartbeats += 1;
        if !self.limits.roster {
            let nobody = RosterFrame {
                version: 0,
                anew: false,
                changes: Vec::new(),
            };
            return self.send_roster(peer, nobody);
        }
        for frame in self.roster.answer(now, peer, version) {
            self.send_roster(peer, frame);
        }
    }

    fn change_rooms(&mut self, now: Duration, peer: DeviceId, rooms: Vec<RoomTag>) {
        if !self.may(now, peer, LimitedAction::RoomChanges) {
            return;
        }
        if self.roster.memberships_with(peer, rooms.len()) > self.limits.memberships {
            return self.end(now, peer, EndReason::TooManyRooms);
        }
        self.registry.connected_mut(peer).rooms = rooms.len();
        self.set_rooms(now, peer, rooms);
    }

    /// Sets the rooms of a connected peer.
    fn set_rooms(&mut self, now: Duration, peer: DeviceId, rooms: Vec<RoomTag>) {
        if !self.limits.roster {
            return;
        }
        if self.limits.fleet
            && let Some(connection) = self.registry.connection_of(peer)
        {
            self.outputs
                .push_back(Output::Rooms(connection, rooms.clone()));
        }
        self.roster.set(now, peer, rooms);
    }

    fn moved(&mut self, now: Duration, connection: ConnectionId, addr: SocketAddr) {
        let Some(peer) = self.registry.peer_of(connection) else {
            return;
        };
        if !self.may(now, peer, LimitedAction::Moves) {
            return;
        }
        self.registry.moved(now, peer, addr);
        self.revoke_sleep(peer);
        self.move_routes(peer);
        self.send(peer, FromRelay::Observed(canonical(addr)));
    }

    /// Orders the dial-back that a peer asks for, or reports to it that there is none.
    fn dial_back(
        &mut self,
        now: Duration,
        connection: ConnectionId,
        peer: DeviceId,
        token: [u8; 16],
    ) {
        let pace = self.limits.dial_backs;
        let known = self.registry.connected_mut(peer);
        let settled = known.moved_at.is_none_or(|at| now >= at + ADDRESS_SETTLES);
        if settled && known.stream.is_none() && known.allowance.dial_backs.take(now, pace) {
            self.counts.dial_backs += 1;
            self.outputs.push_back(Output::DialBack(connection, token));
        } else {
            self.send(peer, FromRelay::DialedBack { token, from: None });
        }
    }

    fn measured(&mut self, connection: ConnectionId, rtt: Duration) {
        let peer = self
            .registry
            .peer_of(connection)
            .and_then(|peer| self.registry.get_mut(peer));
        if let Some(peer) = peer {
            peer.rtt = Some(rtt);
        }
    }

    pub(super) fn disconnected(&mut self, now: Duration, connection: ConnectionId) {
        let Some(peer) = self.registry.peer_of(connection) else {
            return;
        };
        self.counts.left += 1;
        self.gone(now, peer);
    }

    fn set_limits(&mut self, limits: Limits) {
        if self.limits.day_quota == 0 {
            // Bytes of the time without a quota do not count.
            self.registry.forwarded();
        }
        self.registry.set_peers_max(limits.peers);
        // Peers know since they registered whether there is a roster.
        let roster = self.limits.roster;
        self.limits = Limits { roster, ..limits };
    }

    fn count_quotas(&mut self, now: Duration, day: u64) {
        self.quotas.begin(day);
        let quota = self.limits.day_quota;
        if quota == 0 {
            return;
        }
        for (peer, bytes) in self.registry.forwarded() {
            if self.quotas.add(peer, bytes) >= quota {
                self.end(now, peer, EndReason::QuotaUsed(quota));
            }
        }
    }

    fn end_peer(&mut self, now: Duration, peer: DeviceId, reason: EndReason) {
        if self.registry.get(peer).is_some() || self.registry.sleeper(peer).is_some() {
            self.end(now, peer, reason);
        }
    }

    fn start_draining(&mut self, now: Duration) {
        if self.drain.is_some() {
            return;
        }
        let connections: Vec<_> = self.registry.connections().collect();
        let step = DRAIN_OVER / u32::try_from(connections.len().max(1)).unwrap_or(u32::MAX);
        let at = |i: usize| now + step * u32::try_from(i).unwrap_or(u32::MAX);
        self.drain = Some(
            connections
                .into_iter()
                .enumerate()
                .map(|(i, connection)| (at(i), connection))
                .collect(),
        );
        self.timeout(now);
    }

    fn timeout(&mut self, now: Duration) {
        self.drain_due(now);
        for (peer, _) in self.registry.silent(now) {
            self.end(now, peer, EndReason::Silent);
        }
        for guest in self.invitations.over(now) {
            self.end(now, guest, EndReason::GuestOver);
        }
        let channels = &self.channels;
        let has_channels = |peer| channels.count(peer) > 0;
        for visitor in self.visitors.idle(now, has_channels) {
            self.end(now, visitor, EndReason::VisitOver);
        }
        self.registry.forget(now);
        self.wake_due(now);
        self.end_idle(now);
        for (peer, frame) in self.roster.timeout(now) {
            self.send_roster(peer, frame);
        }
    }

    fn drain_due(&mut self, now: Duration) {
        while let Some((_, connection)) = self.drain.as_mut().and_then(|drain| pop_due(drain, now))
        {
            if let Some(peer) = self.registry.peer_of(connection) {
                self.end(now, peer, EndReason::Draining);
            }
        }
    }

    /// Whether the pace allows the peer this action now. If not, its connection ends.
    pub(super) fn may(&mut self, now: Duration, peer: DeviceId, action: LimitedAction) -> bool {
        let pace = action.pace(&self.limits);
        let known = self.registry.connected_mut(peer);
        if known.allowance.take(now, action, pace) {
            return true;
        }
        self.end(now, peer, EndReason::TooOften(action, pace));
        false
    }

    /// Ends the registration of a connected or sleeping peer.
    pub(super) fn end(&mut self, now: Duration, peer: DeviceId, reason: EndReason) {
        if self.registry.sleeper(peer).is_some() {
            return self.end_sleeper(now, peer, reason);
        }
        let connection = self
            .registry
            .connection_of(peer)
            .expect("only connected or sleeping peers are ended");
        self.output_end(connection, reason);
        self.gone(now, peer);
    }

    pub(super) fn output_end(&mut self, connection: ConnectionId, reason: EndReason) {
        *self.counts.ended.entry(reason.code()).or_default() += 1;
        self.outputs.push_back(Output::End(connection, reason));
    }

    fn gone(&mut self, now: Duration, peer: DeviceId) {
        self.revoke_sleep(peer);
        self.count_forwarded(peer);
        self.registry.disconnect(now, peer);
        self.roster.leave(now, peer);
        self.invitations.left(peer);
        self.visitors.left(peer);
        self.end_channels(peer);
    }

    /// Adds what was forwarded for a connected peer to its quota.
    pub(super) fn count_forwarded(&mut self, peer: DeviceId) {
        if self.limits.day_quota > 0 {
            let bytes = self.registry.connected_mut(peer).take_forwarded();
            self.quotas.add(peer, bytes);
        }
    }

    fn send_roster(&mut self, peer: DeviceId, frame: RosterFrame) {
        self.counts.roster_frames += 1;
        self.counts.roster_changes += frame.changes.len() as u64;
        self.send(peer, FromRelay::Roster(frame));
    }

    /// Where a connected peer comes from, for other peers.
    pub(super) fn origin(&mut self, now: Duration, peer: DeviceId) -> Origin {
        let addr = self.registry.connected_mut(peer).addr;
        self.origins.of(now, Network::of(addr.ip()))
    }

    pub(super) fn send(&mut self, peer: DeviceId, frame: FromRelay) {
        let connection = self
            .registry
            .connection_of(peer)
            .expect("rosters and channels name connected peers only");
        self.outputs.push_back(Output::Send(connection, frame));
    }
}

/// A peer that registers.
struct Newcomer {
    connection: ConnectionId,
    peer: DeviceId,
    addr: SocketAddr,
    stream: Option<SocketAddr>,
    role: Role,
    sleeps: bool,
}

fn pop_due<T: Ord>(queue: &mut BTreeSet<(Duration, T)>, now: Duration) -> Option<(Duration, T)> {
    let due = queue.first().is_some_and(|(at, _)| *at <= now);
    if due { queue.pop_first() } else { None }
}

fn distinct(mut rooms: Vec<RoomTag>) -> Vec<RoomTag> {
    rooms.sort_unstable();
    rooms.dedup();
    rooms
}
