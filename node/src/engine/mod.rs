//! The engine: one task that owns the state machines, feeds them what happens, and carries out what
//! they decide.
//!
//! It waits for nobody: sessions, the store and the system report through channels. What a burst
//! brings is handled together before the outputs are carried out, so that a thousand appends become
//! one batch and a thousand batches one receipt.

mod commands;
mod diagnosis;
mod dialback;
mod dialing;
mod direct;
mod files;
mod liveness;
mod messages;
mod network;
mod notices;
mod policy;
mod profiles;
mod reading;
mod relays;
mod rooms;
mod sessions;
mod stop;
mod waiters;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::{Batch, ConversationId, LogName, Nickname, PeerId, Ranges, SecretKey, Seq};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

pub(super) use self::commands::Command;
use self::dialing::{GreetedConnection, Met};
use self::messages::Sending;
use self::notices::Notices;
pub(super) use self::policy::PolicyChange;
pub(super) use self::relays::RELAY_SETTING;
use self::relays::Relays;
use self::rooms::Joining;
use self::sessions::SessionState;
use self::stop::Stop;
use self::waiters::Waiters;
use super::clock::Clock;
use super::events::Publisher;
use super::transfers::messages::{FromTransfers, ToTransfers};
use super::transfers::pictures::Pictures;
use crate::net::demux::{Counted, SideDatagram};
use crate::net::endpoint::{Accepted, Endpoint};
use crate::net::interfaces::Interfaces;
use crate::net::mdns::{Discovery, Found};
use crate::net::session::SessionEvent;
use crate::net::socket::BoundSocket;
use crate::store::{KnownPeer, Store, StoreError};
use crate::{Event, MessageId, PathKind};
use hobnob_core::commit::CommitId;
use hobnob_core::paths::{self, Instance, Paths};
use hobnob_core::peers::Peers;
use hobnob_core::policy::{DenyReason, Policies};
use hobnob_core::presence::{self, Presence};
use hobnob_core::rendezvous::{self, Rendezvous};
use hobnob_core::replica::{self, Replica, Token};
use hobnob_core::{Rng, SessionId};
use hobnob_transport::lock::Lock;

/// Commands or events that are handled before outputs are carried out.
const BURST_MAX: usize = 256;

/// How often it is looked whether the socket dropped anything.
const COUNTERS_EVERY: Duration = Duration::from_secs(10);

/// What the engine's own tasks report.
#[derive(Debug)]
pub(super) enum Internal {
    Transfers(FromTransfers),
    Stored(CommitId, Result<(), StoreError>),
    Read(SessionId, LogName, Result<Vec<Batch>, String>),
    NewcomerCut(SessionId, ConversationId, BTreeMap<LogName, Seq>),
    History(reading::HistoryRead),
    Met(Met),
    DialFailed(PeerId),
    WrongPeer {
        addr: SocketAddr,
        expected: PeerId,
        found: PeerId,
    },
    TurnedAway(PeerId, DenyReason),
    Called(SessionId, [u8; 16]),
}

/// What an engine is made of.
pub(super) struct Parts {
    pub(super) clock: Clock,
    pub(super) key: Arc<SecretKey>,
    pub(super) run: u64,
    pub(super) nick: Nickname,
    pub(super) replica: Replica,
    pub(super) store: Store,
    pub(super) endpoint: Endpoint,
    pub(super) bound: BoundSocket,
    pub(super) beside: mpsc::Receiver<SideDatagram>,
    pub(super) policies: Policies,
    pub(super) relay_ids: BTreeMap<String, PeerId>,
    pub(super) relay_token: Vec<u8>,
    pub(super) interfaces: Interfaces,
    pub(super) accepted: mpsc::Receiver<Accepted>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) internal: mpsc::UnboundedSender<Internal>,
    pub(super) internal_events: mpsc::UnboundedReceiver<Internal>,
    pub(super) session_events: mpsc::Sender<SessionEvent>,
    pub(super) session_queue: mpsc::Receiver<SessionEvent>,
    pub(super) events: Publisher,
    pub(super) met: watch::Sender<u64>,
    pub(super) transfers: mpsc::UnboundedSender<ToTransfers>,
    pub(super) pictures: Pictures,
    pub(super) tasks: TaskTracker,
    pub(super) stopping: CancellationToken,
    pub(super) lock: Option<Lock>,
}

pub(super) struct Engine {
    clock: Clock,
    me: PeerId,
    instance: Instance,
    replica: Replica,
    presence: Presence,
    paths: Paths,
    peers: Peers,
    policies: Policies,
    rendezvous: Rendezvous,
    relays: Relays,
    store: Store,
    endpoint: Endpoint,
    bound: BoundSocket,
    interfaces: Interfaces,
    accepted: mpsc::Receiver<Accepted>,
    commands: mpsc::Receiver<Command>,
    internal: mpsc::UnboundedSender<Internal>,
    internal_events: mpsc::UnboundedReceiver<Internal>,
    session_events: mpsc::Sender<SessionEvent>,
    session_queue: mpsc::Receiver<SessionEvent>,
    events: Publisher,
    met: watch::Sender<u64>,
    discovery: Option<Discovery>,
    found: Option<mpsc::Receiver<Found>>,
    network: Option<mpsc::Receiver<Interfaces>>,
    transfers: mpsc::UnboundedSender<ToTransfers>,
    /// The pictures among offers, as transfers find them.
    pictures: Pictures,
    /// Tasks that end by themselves or when `stopping` says so.
    tasks: TaskTracker,
    stopping: CancellationToken,
    next_session: u64,
    next_token: u64,
    links: BTreeMap<SessionId, SessionState>,
    /// Connections that have not said Hello yet, the oldest first.
    greetings: VecDeque<dialing::Greeting>,
    /// Connections that have said Hello and wait for the verdict of `paths`.
    candidates: BTreeMap<SessionId, GreetedConnection>,
    /// Acknowledgements that had come on a session when a light ping went out.
    light_pings: BTreeMap<SessionId, u64>,
    /// The conversations with those to whom something was said in this run.
    directs: BTreeMap<PeerId, ConversationId>,
    sending: BTreeMap<Token, Sending>,
    joining: BTreeMap<Token, Joining>,
    waiters: Waiters,
    sent: BTreeMap<(LogName, PeerId), Ranges>,
    /// Whom the newest messages to rooms are for.
    addressed: VecDeque<(MessageId, Vec<PeerId>)>,
    notices: Notices,
    clocks_told: BTreeSet<PeerId>,
    /// Other running instances of this identity that the user was told of.
    copies_told: BTreeSet<Instance>,
    /// Peers of whom the user was told that they want no session with this node, and why.
    turned_away_told: BTreeMap<PeerId, DenyReason>,
    noted: diagnosis::Noted,
    /// Peers whose last connection, over this path, was closed as a duplicate of one that is yet to
    /// come, and until when.
    offline_owed: BTreeMap<PeerId, (Duration, PathKind)>,
    store_failing: bool,
    counted: Counted,
    count_at: Duration,
    stop: Option<Stop>,
    /// The folder's, where the node holds it itself.
    lock: Option<Lock>,
}

impl Engine {
    pub(super) fn new(parts: Parts) -> Self {
        let me = parts.key.id();
        let started = parts.clock.now();
        let engine = Self {
            clock: parts.clock,
            me,
            instance: Instance {
                started_at_ms: started.wall_ms,
                number: parts.run,
            },
            replica: parts.replica,
            presence: Presence::default(),
            paths: Paths::new(me, Rng::new(parts.run ^ 1)),
            peers: Peers::new(me, parts.nick),
            policies: parts.policies,
            rendezvous: Rendezvous::default(),
            relays: Relays::new(parts.relay_ids, parts.relay_token, parts.beside),
            store: parts.store,
            endpoint: parts.endpoint,
            bound: parts.bound,
            interfaces: parts.interfaces,
            accepted: parts.accepted,
            commands: parts.commands,
            internal: parts.internal,
            internal_events: parts.internal_events,
            session_events: parts.session_events,
            session_queue: parts.session_queue,
            events: parts.events,
            met: parts.met,
            discovery: None,
            found: None,
            network: None,
            transfers: parts.transfers,
            pictures: parts.pictures,
            tasks: parts.tasks,
            stopping: parts.stopping,
            next_session: 1,
            next_token: 1,
            links: BTreeMap::new(),
            greetings: VecDeque::new(),
            candidates: BTreeMap::new(),
            light_pings: BTreeMap::new(),
            directs: BTreeMap::new(),
            sending: BTreeMap::new(),
            joining: BTreeMap::new(),
            waiters: Waiters::default(),
            sent: BTreeMap::new(),
            addressed: VecDeque::new(),
            notices: Notices::default(),
            clocks_told: BTreeSet::new(),
            copies_told: BTreeSet::new(),
            turned_away_told: BTreeMap::new(),
            noted: diagnosis::Noted::default(),
            offline_owed: BTreeMap::new(),
            store_failing: false,
            counted: Counted::default(),
            count_at: COUNTERS_EVERY,
            stop: None,
            lock: parts.lock,
        };
        if engine.bound.fell_back {
            info!(
                "UDP port {} is taken; listening on {} instead",
                hobnob_protocol::PORT_NODE,
                engine.port()
            );
        }
        engine
    }

    pub(super) fn id(&self) -> PeerId {
        self.me
    }

    pub(super) fn bound_addr(&self) -> SocketAddr {
        self.bound.local_addr
    }

    /// Takes up what earlier runs knew of peers; those seen most recently are tried again.
    pub(super) fn remember(&mut self, known: Vec<KnownPeer>) {
        const TRIED_MAX: usize = 64;
        let now = self.clock.now();
        for (i, known) in known.into_iter().enumerate() {
            self.peers.learn(
                known.peer,
                known.nick.as_deref().and_then(Nickname::cleaned),
            );
            if i < TRIED_MAX {
                let found = paths::Input::Found {
                    peer: known.peer,
                    addrs: known.addrs,
                    alive: false,
                };
                self.paths.handle(now, found);
            }
        }
        self.take_up_marks();
        // Whoever there is a conversation with can be named, whether or not an address is known.
        for peer in self.talked_with() {
            if self.peers.nick(peer).is_none() {
                self.peers.learn(peer, None);
            }
        }
    }

    pub(super) async fn run(mut self) {
        let addrs = self.listening_addrs();
        self.say(Event::Listening {
            peer: self.me,
            addrs,
        });
        let mut session_events = Vec::with_capacity(BURST_MAX);
        let mut commands = Vec::with_capacity(BURST_MAX);
        let mut internal = Vec::with_capacity(BURST_MAX);
        self.carry_out();
        while !self.is_done() {
            let wake = self.next_timeout().map(|mono| self.clock.at(mono));
            tokio::select! {
                _ = self.session_queue.recv_many(&mut session_events, BURST_MAX) => {}
                _ = self.internal_events.recv_many(&mut internal, BURST_MAX) => {}
                n = self.commands.recv_many(&mut commands, BURST_MAX), if self.stop.is_none() => {
                    if n == 0 {
                        // Every handle is gone: nobody can ask for anything any more.
                        self.begin_stop(oneshot::channel().0);
                    }
                }
                Some((relay, event)) = self.relays.queue.recv() => self.relay_event(relay, event),
                Some(beside) = self.relays.beside.recv() => self.came_beside(beside),
                Some(accepted) = self.accepted.recv() => self.greet_accepted(accepted),
                found = next_of(&mut self.found) => self.found(found),
                interfaces = next_of(&mut self.network) => self.network_changed(interfaces),
                () = sleep_until(wake) => {}
            }
            session_events
                .drain(..)
                .for_each(|event| self.session_event(event));
            internal.drain(..).for_each(|event| self.internal(event));
            commands.drain(..).for_each(|command| self.command(command));
            self.time_out();
            self.carry_out();
        }
        self.end().await;
    }

    fn next_timeout(&self) -> Option<Duration> {
        let (replica, presence) = (self.replica.poll_timeout(), self.presence.poll_timeout());
        [
            replica,
            presence,
            self.paths.poll_timeout(),
            self.rendezvous.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .chain(self.offline_owed.values().map(|(at, _)| *at))
        .chain([self.count_at])
        .chain(self.stop.as_ref().map(|stop| stop.deadline))
        .min()
    }

    fn time_out(&mut self) {
        let now = self.clock.now();
        if self.replica.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.replica.handle(now, replica::Input::Timeout);
        }
        if self
            .presence
            .poll_timeout()
            .is_some_and(|at| at <= now.mono)
        {
            self.note_acks(now);
            self.presence.handle(now, presence::Input::Timeout);
        }
        if self.paths.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.paths.handle(now, paths::Input::Timeout);
        }
        if self
            .rendezvous
            .poll_timeout()
            .is_some_and(|at| at <= now.mono)
        {
            self.rendezvous.handle(now, rendezvous::Input::Timeout);
        }
        self.say_owed_offline();
        if self.count_at <= now.mono {
            self.count_at = now.mono + COUNTERS_EVERY;
            self.log_counters();
        }
    }

    /// Carries out what the machines decided, until none of them wants anything.
    fn carry_out(&mut self) {
        loop {
            if let Some(output) = self.presence.poll_output() {
                self.note_light_ping(&output);
                self.presence_output(output);
            } else if let Some(output) = self.paths.poll_output() {
                self.paths_output(output);
            } else if let Some(output) = self.rendezvous.poll_output() {
                self.rendezvous_output(output);
            } else if let Some(output) = self.replica.poll_output() {
                self.replica_output(output);
            } else {
                return;
            }
        }
    }

    fn tell_replica(&mut self, input: replica::Input) {
        self.replica.handle(self.clock.now(), input);
    }

    fn internal(&mut self, event: Internal) {
        match event {
            Internal::Transfers(what) => self.transfers_ask(what),
            Internal::Stored(commit, Ok(())) => {
                self.store_recovered();
                self.tell_replica(replica::Input::Committed(commit));
            }
            Internal::Stored(commit, Err(error)) => {
                self.store_failed(&error);
                self.tell_replica(replica::Input::CommitFailed(commit, error.to_string()));
            }
            Internal::Read(session, name, batches) => {
                self.tell_replica(replica::Input::Read(session, name, batches))
            }
            Internal::NewcomerCut(session, conversation, cut) => {
                self.tell_replica(replica::Input::NewcomerCut(session, conversation, cut));
            }
            Internal::History(read) => self.history_read(read),
            Internal::Met(met) => self.met(met),
            Internal::WrongPeer {
                addr,
                expected,
                found,
            } => self.wrong_peer(addr, expected, found),
            Internal::Called(session, token) => self.called(session, token),
            Internal::TurnedAway(peer, bar) => self.turned_away(peer, bar),
            Internal::DialFailed(peer) => self.dial_failed(peer),
        }
    }

    fn port(&self) -> u16 {
        self.bound.local_addr.port()
    }

    fn listening_addrs(&self) -> Vec<SocketAddr> {
        self.interfaces.listening_addrs(self.bound.local_addr)
    }

    fn say(&self, event: Event) {
        self.events.publish(event);
    }

    /// Something about who is known has changed.
    fn somebody_changed(&self) {
        self.met.send_modify(|count| *count += 1);
    }
}

/// The next value of a channel that may not be there; waits forever without one.
async fn next_of<T>(receiver: &mut Option<mpsc::Receiver<T>>) -> Option<T> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
