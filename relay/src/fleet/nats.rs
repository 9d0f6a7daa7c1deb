//! The connection with NATS: carries out what the hub asks of the directory, and answers other
//! relays.
//!
//! One task decides. It never waits for NATS: messages leave through a bounded queue, and each
//! subscription has a task of its own. What does not fit is dropped. A search then asks again.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, Message as Delivery, ServerAddr, StatusCode};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hobnob_limits::{Bucket, Pace};
use hobnob_protocol::{DeviceId, RoomTag};
use nkeys::{KeyPair, KeyPairType};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::ban_records::BanRecord;
use super::ban_sync::{BanReport, BanSync};
use super::kicks::Kicks;
use super::lookups::{Lookups, Step};
use super::message::{self, Ignored, Message, Nonce, Unverified};
use super::own_roster::OwnRoster;
use super::report::{self, AnswerPart, Report};
use super::rosters::Rosters;
use super::{DirectoryEvent, DirectoryRequest, FleetConfig, FleetError, Surroundings, UserKey};
use crate::core::{ConnectionId, Found};
use crate::keys;
use crate::server::clock::Clock;

/// Maximum messages that wait in one direction. Further ones are dropped.
const QUEUE_MAX: usize = 1_024;

/// Maximum messages of one subscription that wait. All answers to this relay share one. A
/// subscription takes memory for those that wait only.
const SUBSCRIPTION_MAX: usize = QUEUE_MAX;

/// How many messages of other relays of each kind are read. Further ones are dropped: a signature
/// costs
/// 0.1 ms.
const READS: Pace = Pace::new(4_000, Duration::from_micros(500));

/// How many reports and answers are read of each relay, and how many of its questions are answered.
const REPORT_READS: Pace = Pace::new(512, Duration::from_millis(5));
const REPORT_QUESTIONS: Pace = Pace::new(64, Duration::from_millis(20));

/// How often the list of the fleet is compared with the relays that are known.
const LIST_EVERY: Duration = Duration::from_secs(1);

/// How far the clock of another relay may be ahead.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(5);

/// After the connection with NATS was made, the peers that are registered here are announced again:
/// so many at once, and as many after each pause.
const ANNOUNCED_AT_ONCE: usize = 50;
const ANNOUNCE_EVERY: Duration = Duration::from_millis(50);

/// After the connection with NATS was made, other relays may still be missing there for this long.
const SETTLES: Duration = Duration::from_secs(2);

/// The longest pause before NATS is dialed again.
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// How often the connection with NATS is tested.
const PING_EVERY: Duration = Duration::from_secs(5);

/// How long the dial of one NATS server may take.
const DIAL_LIMIT: Duration = Duration::from_secs(3);

/// The options of the connection, and the servers.
pub(super) struct Options {
    options: ConnectOptions,
    servers: Vec<ServerAddr>,
}

/// Makes a user key for NATS. Returns nothing only if the encoding fails, which it never did.
pub fn new_user_key() -> Option<UserKey> {
    let key = KeyPair::new_from_raw(KeyPairType::User, keys::random()).ok()?;
    Some(UserKey {
        public: key.public_key(),
        seed: key.seed().ok()?,
    })
}

/// Checks the configuration and reads its files.
pub(super) fn options(config: &FleetConfig, me: DeviceId) -> Result<Options, FleetError> {
    let unreadable = |path: &Path, error| FleetError::Unreadable(path.to_owned(), error);
    let path = &config.credentials;
    let seed = std::fs::read_to_string(path).map_err(|error| unreadable(path, error))?;
    let seed = seed.trim();
    let is_user = |key: &KeyPair| key.key_pair_type() == KeyPairType::User;
    if !KeyPair::from_seed(seed).is_ok_and(|key| is_user(&key)) {
        return Err(FleetError::Seed(path.clone()));
    }
    let mut options = ConnectOptions::with_nkey(seed.to_owned())
        .require_tls(true)
        .no_echo()
        .name("hobnob-relay")
        .custom_inbox_prefix(inbox(config.list.fleet(), me))
        .retry_on_initial_connect()
        .max_reconnects(None)
        .subscription_capacity(SUBSCRIPTION_MAX)
        .ping_interval(PING_EVERY)
        .connection_timeout(DIAL_LIMIT)
        .reconnect_delay_callback(|attempts| {
            let doubled = 100 << attempts.clamp(1, 6);
            RECONNECT_MAX.min(Duration::from_millis(doubled))
        });
    if let Some(path) = &config.authorities {
        // The client reads it at each connection.
        std::fs::read(path).map_err(|error| unreadable(path, error))?;
        options = options.add_root_certificates(path.clone());
    }
    let server = |addr: &String| {
        let parsed = addr.parse::<ServerAddr>();
        parsed.map_err(|error| FleetError::Server(addr.clone(), error.to_string()))
    };
    let servers = config
        .servers
        .iter()
        .map(server)
        .collect::<Result<_, _>>()?;
    Ok(Options { options, servers })
}

/// Starts the directory's tasks.
pub(super) fn start<R, F>(
    options: Options,
    surroundings: Surroundings<R>,
    queue: mpsc::UnboundedReceiver<DirectoryRequest>,
) where
    R: Fn(DirectoryEvent) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (tasks, stop) = (surroundings.tasks.clone(), surroundings.stop.clone());
    let run = run(options, surroundings, queue);
    tasks.spawn(stop.run_until_cancelled_owned(run));
}

async fn run<R, F>(
    options: Options,
    surroundings: Surroundings<R>,
    mut requests: mpsc::UnboundedReceiver<DirectoryRequest>,
) where
    R: Fn(DirectoryEvent) -> F + Send + Sync,
    F: Future<Output = ()> + Send + 'static,
{
    let (connection, mut events) = mpsc::unbounded_channel();
    let options_with_events = options.options.event_callback(move |event| {
        // The receiver is gone when the relay stops.
        let _stopping = connection.send(event);
        std::future::ready(())
    });
    let client = match options_with_events.connect(options.servers).await {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "can't use NATS: this relay finds no peers of other relays");
            return refuse_all(&surroundings, &mut requests).await;
        }
    };
    let (outgoing, to_send) = mpsc::channel(QUEUE_MAX);
    let (incoming, mut received) = mpsc::channel(QUEUE_MAX);
    let clock = Clock::start();
    let mut directory = Directory {
        inbox: client.new_inbox(),
        client,
        surroundings,
        here: BTreeMap::new(),
        // A relay that starts again continues with higher numbers.
        own_roster: OwnRoster::new(clock.date_ms().saturating_mul(1_000)),
        in_rooms: BTreeMap::new(),
        rosters: Rosters::default(),
        ban_sync: BanSync::default(),
        kicks: Kicks::default(),
        list_at: Duration::ZERO,
        clock,
        lookups: Lookups::default(),
        connected_at: None,
        reads: Reads::default(),
        to_announce: VecDeque::new(),
        announce_at: Duration::ZERO,
        outgoing,
        incoming,
    };
    directory.start_tasks(to_send);
    loop {
        let due = directory.next_due();
        let due = due.map(|moment| directory.clock.at(moment));
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => directory.request(request).await,
                None => return,
            },
            Some(event) = events.recv() => directory.connection_event(&event).await,
            Some((about, delivery)) = received.recv() => directory.received(about, &delivery).await,
            () = at(due) => directory.timeout().await,
        }
    }
}

/// Answers all searches, without NATS.
async fn refuse_all<R, F>(
    surroundings: &Surroundings<R>,
    requests: &mut mpsc::UnboundedReceiver<DirectoryRequest>,
) where
    R: Fn(DirectoryEvent) -> F,
    F: Future<Output = ()>,
{
    while let Some(request) = requests.recv().await {
        if let DirectoryRequest::Find(asker, peer, _place) = request {
            let (askers, found) = (vec![asker], Found::Unsure);
            let event = DirectoryEvent::Found {
                askers,
                peer,
                found,
            };
            (surroundings.report)(event).await;
        }
    }
}

/// What a delivery is about.
#[derive(Debug, Clone, Copy)]
enum About {
    /// A peer of this relay.
    Peer(DeviceId),
    /// A search of this relay.
    Search,
    /// A report of another relay, or a question or an answer about it.
    Reports,
}

/// A message to send.
struct Outgoing {
    subject: String,
    reply: Option<String>,
    bytes: Bytes,
}

/// A peer that is registered here.
struct Registered {
    connection: ConnectionId,
    since_ms: u64,
    /// Whether it is registered at one relay of the fleet only.
    uses_fleet: bool,
    subscription: AbortHandle,
}

/// The messages that were read, by kind: a flood of one kind leaves the others alone.
#[derive(Default)]
struct Reads {
    answers: Bucket,
    moves: Bucket,
    questions: Bucket,
    /// The reports, by the member that is said to have sent them.
    reports: BTreeMap<DeviceId, ReportReads>,
}

#[derive(Default)]
struct ReportReads {
    all: Bucket,
    questions: Bucket,
}

impl Reads {
    fn take(&mut self, now: Duration, message: &Message) -> bool {
        let bucket = match message {
            Message::Answer { .. } => &mut self.answers,
            Message::Here { .. } => &mut self.moves,
            Message::Query { .. } => &mut self.questions,
        };
        bucket.take(now, READS)
    }

    fn take_report(&mut self, now: Duration, relay: DeviceId, message: &Report) -> bool {
        let reads = self.reports.entry(relay).or_default();
        match message {
            Report::Question { .. } => reads.questions.take(now, REPORT_QUESTIONS),
            Report::Changes { .. } | Report::Answer(_) | Report::Bans(_) | Report::Kick { .. } => {
                reads.all.take(now, REPORT_READS)
            }
        }
    }
}

struct Directory<R> {
    client: Client,
    /// The beginning of the subjects for answers to this relay.
    inbox: String,
    surroundings: Surroundings<R>,
    clock: Clock,
    here: BTreeMap<DeviceId, Registered>,
    own_roster: OwnRoster,
    /// The connections of the peers in rooms.
    in_rooms: BTreeMap<DeviceId, ConnectionId>,
    rosters: Rosters,
    ban_sync: BanSync,
    kicks: Kicks,
    /// When to read the list of the fleet again.
    list_at: Duration,
    lookups: Lookups,
    /// Since when there is a connection with NATS, if there is one.
    connected_at: Option<Duration>,
    reads: Reads,
    /// The peers to announce again, and when the next ones are due.
    to_announce: VecDeque<DeviceId>,
    announce_at: Duration,
    outgoing: mpsc::Sender<Outgoing>,
    incoming: mpsc::Sender<(About, Delivery)>,
}

impl<R, F> Directory<R>
where
    R: Fn(DirectoryEvent) -> F + Send + Sync,
    F: Future<Output = ()> + Send + 'static,
{
    fn start_tasks(&self, to_send: mpsc::Receiver<Outgoing>) {
        self.spawn(send_all(self.client.clone(), to_send));
        let answers = format!("{}.*", self.inbox);
        self.subscribe(About::Search, answers, message::BYTES_MAX);
        let fleet = self.surroundings.list.get().fleet();
        let to_all = format!("hobnob.{fleet}.report.*");
        let to_this = report_inbox(fleet, self.surroundings.key.id());
        for subject in [to_all, to_this] {
            self.subscribe(About::Reports, subject, report::BYTES_MAX);
        }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let stop = self.surroundings.stop.clone();
        let task = async move {
            // The result only shows whether the relay stops.
            let _stopped = stop.run_until_cancelled_owned(task).await;
        };
        self.surroundings.tasks.spawn(task).abort_handle()
    }

    /// Subscribes to messages of at most this many bytes. NATS allows up to 1 MB, so longer ones
    /// are dropped before they wait.
    fn subscribe(&self, about: About, subject: String, longest: usize) -> AbortHandle {
        let (client, incoming) = (self.client.clone(), self.incoming.clone());
        self.spawn(async move {
            match client.subscribe(subject).await {
                Ok(subscription) => pass_on(subscription, about, longest, incoming).await,
                Err(error) => tracing::warn!(%error, "can't subscribe at NATS"),
            }
        })
    }

    async fn request(&mut self, request: DirectoryRequest) {
        match request {
            DirectoryRequest::Here {
                peer,
                connection,
                uses_fleet,
            } => self.add(peer, connection, uses_fleet),
            DirectoryRequest::Rooms(peer, connection, rooms) => {
                self.in_rooms.insert(peer, connection);
                self.set_rooms(peer, rooms).await;
            }
            DirectoryRequest::Gone(peer, connection) => {
                if self.in_rooms.get(&peer) == Some(&connection) {
                    self.set_rooms(peer, Vec::new()).await;
                }
                if self
                    .here
                    .get(&peer)
                    .is_some_and(|it| it.connection == connection)
                {
                    self.remove(peer);
                }
            }
            DirectoryRequest::BanChanged(record) => self.ban_sync.changed(record),
            DirectoryRequest::Kick(peer) => {
                let at_ms = self.clock.date_ms();
                let subject = self.report_subject(self.surroundings.key.id());
                self.send_report(subject, &Report::Kick { peer, at_ms });
            }
            DirectoryRequest::Find(asker, peer, _place) => self.find(asker, peer).await,
        }
    }

    /// Sets the rooms of a peer of this relay.
    async fn set_rooms(&mut self, peer: DeviceId, rooms: Vec<RoomTag>) {
        if rooms.is_empty() {
            self.in_rooms.remove(&peer);
        }
        let changed = self.own_roster.set(self.clock.now(), peer, rooms);
        for room in changed.opened {
            self.rosters.open(room);
        }
        for room in changed.closed {
            self.rosters.close(room);
        }
        self.report_rosters().await;
    }

    fn add(&mut self, peer: DeviceId, connection: ConnectionId, uses_fleet: bool) {
        self.remove(peer);
        let since_ms = self.clock.date_ms();
        let registered = Registered {
            connection,
            since_ms,
            uses_fleet,
            subscription: self.subscribe(About::Peer(peer), self.subject(peer), message::BYTES_MAX),
        };
        self.here.insert(peer, registered);
        self.announce(peer);
    }

    /// Reports to the other relays that a peer is registered here, and since when.
    fn announce(&self, peer: DeviceId) {
        if let Some(registered) = self.here.get(&peer).filter(|it| it.uses_fleet) {
            let since_ms = registered.since_ms;
            let here = Message::Here { peer, since_ms };
            self.send(self.subject(peer), None, here);
        }
    }

    fn remove(&mut self, peer: DeviceId) {
        if let Some(registered) = self.here.remove(&peer) {
            registered.subscription.abort();
        }
    }

    async fn find(&mut self, asker: ConnectionId, peer: DeviceId) {
        let step = if self.is_connected() {
            let now = self.clock.now();
            self.lookups.find(now, asker, peer, keys::random())
        } else {
            Some(Step::Done(peer, vec![asker], Found::Unsure))
        };
        self.carry_out(step).await;
    }

    /// Whether there is a connection with NATS. The report that it is lost may still wait.
    fn is_connected(&self) -> bool {
        self.connected_at.is_some() && self.client.connection_state() == State::Connected
    }

    /// When [`Directory::timeout`] has work.
    fn next_due(&self) -> Option<Duration> {
        let announce = (!self.to_announce.is_empty()).then_some(self.announce_at);
        let rosters = self.rosters.next_due().filter(|_| self.is_connected());
        let due = [
            announce,
            self.lookups.next_due(),
            self.own_roster.next_due(),
            rosters,
            self.ban_sync.next_due(),
            Some(self.list_at),
        ];
        due.into_iter().flatten().min()
    }

    async fn timeout(&mut self) {
        let now = self.clock.now();
        if !self.to_announce.is_empty() && now >= self.announce_at {
            let count = self.to_announce.len().min(ANNOUNCED_AT_ONCE);
            let peers: Vec<_> = self.to_announce.drain(..count).collect();
            for peer in peers {
                self.announce(peer);
            }
            self.announce_at = now + ANNOUNCE_EVERY;
        }
        let steps = self.lookups.timeout(now);
        self.carry_out(steps).await;
        self.roster_timeout(now).await;
        let bans = &self.surroundings.bans;
        for report in bans.with_records(|records| self.ban_sync.timeout(now, records)) {
            let subject = self.report_subject(self.surroundings.key.id());
            self.send_report(subject, &Report::Bans(report));
        }
    }

    async fn roster_timeout(&mut self, now: Duration) {
        if now >= self.list_at {
            self.list_at = now + LIST_EVERY;
            let list = self.surroundings.list.get();
            let all = list.list().relays().iter().filter_map(|relay| relay.id);
            let me = self.surroundings.key.id();
            let others: BTreeSet<_> = all.filter(|id| *id != me).collect();
            self.reads.reports.retain(|id, _| others.contains(id));
            self.rosters.set_relays(&others);
        }
        for (number, changes) in self.own_roster.timeout(now) {
            let subject = self.report_subject(self.surroundings.key.id());
            self.send_report(subject, &Report::Changes { number, changes });
        }
        for (relay, nonce, rooms) in self.rosters.timeout(now, keys::random) {
            let subject = self.report_inbox_of(relay);
            self.send_report(subject, &Report::Question { nonce, rooms });
        }
        self.report_rosters().await;
    }

    /// Reports the peers of other relays whose rooms have changed.
    async fn report_rosters(&mut self) {
        loop {
            let updates = self.rosters.take_updates();
            if updates.is_empty() {
                return;
            }
            self.report(DirectoryEvent::Elsewhere(updates)).await;
        }
    }

    async fn received_report(&mut self, now: Duration, delivery: &Delivery) {
        let Some((relay, message)) = self.read_report(now, delivery) else {
            return;
        };
        match message {
            Report::Changes { number, changes } => {
                self.rosters.changes(now, relay, number, changes);
            }
            Report::Question { nonce, rooms } => self.answer_roster(relay, nonce, &rooms),
            Report::Answer(part) => self.rosters.answered(now, relay, part),
            Report::Bans(BanReport::Digests(theirs)) => {
                let bans = &self.surroundings.bans;
                bans.with_records(|ours| self.ban_sync.digests(now, &theirs, ours));
            }
            Report::Kick { peer, at_ms } => {
                if self.kicks.acts(self.clock.date_ms(), peer, at_ms) {
                    self.report(DirectoryEvent::Kicked(peer)).await;
                }
            }
            Report::Bans(BanReport::Records(records)) => self.merge_bans(relay, records).await,
        }
        self.report_rosters().await;
    }

    /// Another relay has these records of bans.
    async fn merge_bans(&mut self, relay: DeviceId, mut records: Vec<BanRecord>) {
        let latest = self.clock.date_ms().saturating_add(millis(CLOCK_AHEAD_MAX));
        let count = records.len();
        records.retain(|record| record.at_ms <= latest);
        if records.len() < count {
            tracing::warn!(
                ?relay,
                "the clock of another relay is ahead: ignored its bans"
            );
        }
        let changed = self.surroundings.bans.merge(records);
        if !changed.is_empty() {
            tracing::info!(
                ?relay,
                count = changed.len(),
                "another relay has changed bans"
            );
            self.report(DirectoryEvent::BansChanged(changed)).await;
        }
    }

    /// Answers which peers of this relay are in these rooms.
    fn answer_roster(&self, relay: DeviceId, nonce: Nonce, rooms: &[RoomTag]) {
        let (number, answer) = self.own_roster.answer(rooms);
        let parts = u8::try_from(answer.len()).expect("an answer has few parts");
        for (part, rooms) in (0..parts).zip(answer) {
            let part = AnswerPart {
                nonce,
                number,
                part,
                parts,
                rooms,
            };
            self.send_report(self.report_inbox_of(relay), &Report::Answer(part));
        }
    }

    /// Reads and checks a report. Nothing if it is to be ignored.
    fn read_report(&mut self, now: Duration, delivery: &Delivery) -> Option<(DeviceId, Report)> {
        let list = self.surroundings.list.get();
        let decoded = Report::decode(&delivery.payload, &list);
        let unverified = decoded.map_err(|why| ignored(delivery, why)).ok()?;
        let Unverified { relay, message, .. } = &unverified;
        if *relay == self.surroundings.key.id() {
            return None;
        }
        // NATS may allow each relay its own subject only. So each can use up only its own pace.
        let is_to_one = matches!(message, Report::Question { .. } | Report::Answer(_));
        if !is_to_one && delivery.subject.as_str() != self.report_subject(*relay) {
            return None;
        }
        if !self.reads.take_report(now, *relay, message) {
            tracing::debug!("dropped a report: too many arrive");
            return None;
        }
        unverified
            .verify()
            .map_err(|why| ignored(delivery, why))
            .ok()
    }

    async fn carry_out(&mut self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            match step {
                Step::Ask(peer, nonce, asked) => {
                    let reply = format!("{}.{}", self.inbox, last_token(nonce, asked));
                    let query = Message::Query { peer, nonce };
                    self.send(self.subject(peer), Some(reply), query);
                }
                Step::Done(peer, askers, found) => {
                    let now = self.clock.now();
                    let settled = self.is_connected()
                        && self.connected_at.is_some_and(|at| now >= at + SETTLES);
                    let found = if found == Found::Nowhere && !settled {
                        Found::Unsure
                    } else {
                        found
                    };
                    let event = DirectoryEvent::Found {
                        askers,
                        peer,
                        found,
                    };
                    self.report(event).await;
                }
            }
        }
    }

    async fn connection_event(&mut self, event: &Event) {
        match event {
            Event::Connected => {
                tracing::info!("connected with NATS");
                let now = self.clock.now();
                self.connected_at = Some(now);
                // The other relays have missed what was reported in the meantime.
                self.to_announce = self.here.keys().copied().collect();
                self.announce_at = now;
                self.own_roster.connected(now);
                self.rosters.connected(now);
                self.ban_sync.connected(now);
                self.report(DirectoryEvent::Connected(true)).await;
            }
            Event::Disconnected | Event::Closed => {
                if self.connected_at.take().is_none() {
                    return;
                }
                tracing::warn!("the connection with NATS is lost");
                self.own_roster.lost();
                self.ban_sync.lost();
                let steps = self.lookups.lost();
                self.carry_out(steps).await;
                self.report(DirectoryEvent::Connected(false)).await;
            }
            Event::SlowConsumer(_) => tracing::debug!("NATS delivers faster than is read"),
            Event::LameDuckMode | Event::Draining => tracing::info!(%event, "NATS"),
            Event::ServerError(_) | Event::ClientError(_) => tracing::warn!(%event, "NATS"),
        }
    }

    async fn received(&mut self, about: About, delivery: &Delivery) {
        let now = self.clock.now();
        let peer = match about {
            About::Peer(peer) => peer,
            About::Search => return self.received_answer(now, delivery).await,
            About::Reports => return self.received_report(now, delivery).await,
        };
        if !self.here.contains_key(&peer) {
            return;
        }
        let Some((relay, message)) = self.read(now, delivery) else {
            return;
        };
        match message {
            Message::Query { peer: of, nonce } if of == peer => {
                // An answer goes to the relay that has signed the question, and to nobody else.
                let inbox = inbox(self.surroundings.list.get().fleet(), relay);
                let is_inbox = |reply: &str| {
                    reply
                        .strip_prefix(&inbox)
                        .is_some_and(|rest| rest.starts_with('.'))
                };
                if let Some(reply) = delivery.reply.as_deref().filter(|reply| is_inbox(reply)) {
                    self.send(reply.to_owned(), None, Message::Answer { peer, nonce });
                }
            }
            Message::Here { peer: of, since_ms } if of == peer => {
                if since_ms > self.clock.date_ms().saturating_add(millis(CLOCK_AHEAD_MAX)) {
                    return tracing::warn!(?relay, "the clock of another relay is ahead");
                }
                let ours = self.here.get(&peer).filter(|it| it.uses_fleet);
                let Some((since, connection)) = ours.map(|it| (it.since_ms, it.connection)) else {
                    return;
                };
                match since.cmp(&since_ms) {
                    Ordering::Less => {
                        tracing::debug!(?peer, ?relay, "a peer has moved to another relay");
                        self.remove(peer);
                        self.report(DirectoryEvent::MovedAway(connection)).await;
                    }
                    // That relay has missed that the peer moved here.
                    Ordering::Greater => self.announce(peer),
                    Ordering::Equal => {}
                }
            }
            Message::Query { .. } | Message::Answer { .. } | Message::Here { .. } => {}
        }
    }

    async fn received_answer(&mut self, now: Duration, delivery: &Delivery) {
        let Some((searched, asked)) = search_of(&delivery.subject) else {
            return;
        };
        if !self.lookups.is_pending(searched) {
            return;
        }
        if delivery.status == Some(StatusCode::NO_RESPONDERS) {
            let step = self.lookups.nobody(now, searched, asked);
            return self.carry_out(step).await;
        }
        if let Some((relay, Message::Answer { peer, nonce })) = self.read(now, delivery) {
            let step = self.lookups.answered(nonce, peer, relay);
            self.carry_out(step).await;
        }
    }

    /// Reads and checks a message. Nothing if it is to be ignored.
    fn read(&mut self, now: Duration, delivery: &Delivery) -> Option<(DeviceId, Message)> {
        let list = self.surroundings.list.get();
        let decoded = Message::decode(&delivery.payload, &list);
        let unverified = decoded.map_err(|why| ignored(delivery, why)).ok()?;
        // A member that has this relay's key would be this relay.
        if unverified.relay == self.surroundings.key.id() {
            return None;
        }
        if !self.reads.take(now, &unverified.message) {
            tracing::debug!("dropped a message of another relay: too many arrive");
            return None;
        }
        unverified
            .verify()
            .map_err(|why| ignored(delivery, why))
            .ok()
    }

    fn send(&self, subject: String, reply: Option<String>, message: Message) {
        let fleet = self.surroundings.list.get().fleet();
        self.send_bytes(subject, reply, || {
            message.encode(fleet, &self.surroundings.key)
        });
    }

    fn send_report(&self, subject: String, message: &Report) {
        let fleet = self.surroundings.list.get().fleet();
        self.send_bytes(subject, None, || {
            message.encode(fleet, &self.surroundings.key)
        });
    }

    fn send_bytes(&self, subject: String, reply: Option<String>, encode: impl FnOnce() -> Vec<u8>) {
        if self.connected_at.is_none() {
            return;
        }
        let bytes = encode();
        let outgoing = Outgoing {
            subject,
            reply,
            bytes: bytes.into(),
        };
        if self.outgoing.try_send(outgoing).is_err() {
            tracing::debug!("dropped a message to other relays: too many wait");
        }
    }

    async fn report(&self, event: DirectoryEvent) {
        (self.surroundings.report)(event).await;
    }

    /// The subject of a peer.
    fn subject(&self, peer: DeviceId) -> String {
        format!(
            "hobnob.{}.peer.{peer}",
            self.surroundings.list.get().fleet()
        )
    }

    /// The subject on which a relay reports to all others.
    fn report_subject(&self, relay: DeviceId) -> String {
        format!(
            "hobnob.{}.report.{relay}",
            self.surroundings.list.get().fleet()
        )
    }

    fn report_inbox_of(&self, relay: DeviceId) -> String {
        report_inbox(self.surroundings.list.get().fleet(), relay)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn ignored(delivery: &Delivery, why: Ignored) {
    tracing::debug!(?why, subject = %delivery.subject, "ignored a message at NATS");
}

/// The subject for questions and answers that are meant for one relay.
fn report_inbox(fleet: DeviceId, relay: DeviceId) -> String {
    format!("{}.report", inbox(fleet, relay))
}

/// The beginning of the subjects for answers to a relay of a fleet. NATS can allow each relay to
/// read its own only.
fn inbox(fleet: DeviceId, relay: DeviceId) -> String {
    format!("hobnob.{fleet}.inbox.{relay}")
}

/// The end of the subject for the answers to one question of a search.
fn last_token(nonce: Nonce, asked: u32) -> String {
    format!("{:032x}-{asked}", u128::from_be_bytes(nonce))
}

/// The number of the search in the subject of an answer, and which of its questions is answered.
fn search_of(subject: &str) -> Option<(Nonce, u32)> {
    let (_, last) = subject.rsplit_once('.')?;
    let (nonce, asked) = last.split_once('-')?;
    let nonce = u128::from_str_radix(nonce, 16).ok()?;
    Some((nonce.to_be_bytes(), asked.parse().ok()?))
}

async fn send_all(client: Client, mut queue: mpsc::Receiver<Outgoing>) {
    while let Some(outgoing) = queue.recv().await {
        let Outgoing {
            subject,
            reply,
            bytes,
        } = outgoing;
        let sent = match reply {
            Some(reply) => client.publish_with_reply(subject, reply, bytes).await,
            None => client.publish(subject, bytes).await,
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "can't publish at NATS");
        }
    }
}

/// Passes on the messages of a subscription that have at most `longest` bytes.
async fn pass_on(
    mut subscription: impl Stream<Item = Delivery> + Unpin,
    about: About,
    longest: usize,
    incoming: mpsc::Sender<(About, Delivery)>,
) {
    while let Some(delivery) = subscription.next().await {
        if delivery.payload.len() > longest {
            tracing::debug!("ignored a message at NATS: it is too long");
        } else if incoming.try_send((about, delivery)).is_err() {
            tracing::debug!("dropped a message of another relay: too many wait");
        }
    }
}

async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_an_answer_names_the_question() {
        let id = |n| DeviceId::from_bytes([n; 32]);
        let subject = format!("{}.x.{}", inbox(id(1), id(2)), last_token([7; 16], 3));
        assert_eq!(search_of(&subject), Some(([7; 16], 3)));
        for wrong in ["", "x", "a.b", "a.b-1-", "a.1-", "a.-1", "a.zz-1"] {
            assert_eq!(search_of(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn long_messages_do_not_wait() {
        let delivery = |len: usize| Delivery {
            subject: "subject".into(),
            reply: None,
            payload: vec![0; len].into(),
            headers: None,
            status: None,
            description: None,
            length: len,
        };
        let max = message::BYTES_MAX;
        let all = futures_util::stream::iter([max + 1, max, 1_000_000].map(delivery));
        let (incoming, mut received) = mpsc::channel(QUEUE_MAX);
        pass_on(all, About::Search, max, incoming).await;
        let (_, passed) = received.recv().await.expect("one fits");
        assert_eq!(passed.payload.len(), max);
        assert!(received.recv().await.is_none());
    }

    #[test]
    fn a_flood_of_one_kind_of_message_leaves_the_others_alone() {
        let (mut reads, now) = (Reads::default(), Duration::from_secs(1));
        let (peer, nonce) = (DeviceId::from_bytes([1; 32]), [2; 16]);
        let question = Message::Query { peer, nonce };
        while reads.take(now, &question) {}
        assert!(reads.take(now, &Message::Answer { peer, nonce }));
        let since_ms = 1;
        assert!(reads.take(now, &Message::Here { peer, since_ms }));
    }
}
