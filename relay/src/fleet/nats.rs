//! The connection with NATS: carries out what the hub asks of the directory, and answers other relays.
//!
//! One task decides. It never waits for NATS: messages leave through a bounded queue, and each
//! subscription has a task of its own. What does not fit is dropped. A search then asks again.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, SystemTime};

use async_nats::connection::State;
use async_nats::{Client, ConnectOptions, Event, Message as Delivery, ServerAddr, StatusCode};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hobnob_limits::{Bucket, Pace};
use hobnob_protocol::DeviceId;
use nkeys::{KeyPair, KeyPairType};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::lookups::{Lookups, Step};
use super::message::{self, Ignored, Message, Nonce};
use super::{DirectoryEvent, DirectoryRequest, FleetConfig, FleetError, Surroundings, UserKey};
use crate::core::{ConnectionId, Found};
use crate::keys;
use crate::server::clock::Clock;

/// Maximum messages that wait in one direction. Further ones are dropped.
const QUEUE_MAX: usize = 1_024;

/// Maximum messages of one subscription that wait. All answers to this relay share one. A subscription
/// takes memory for those that wait only.
const SUBSCRIPTION_MAX: usize = QUEUE_MAX;

/// How many messages of other relays of each kind are read. Further ones are dropped: a signature costs
/// 0.1 ms.
const READS: Pace = Pace::new(4_000, Duration::from_micros(500));

/// How far the clock of another relay may be ahead.
const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(5);

/// After the connection with NATS was made, the peers that are registered here are announced again: so
/// many at once, and as many after each pause.
const ANNOUNCED_AT_ONCE: usize = 50;
const ANNOUNCE_EVERY: Duration = Duration::from_millis(50);

/// After the connection with NATS was made, other relays may still be missing there for so long.
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
    let mut directory = Directory {
        inbox: client.new_inbox(),
        client,
        surroundings,
        clock: Clock::start(),
        here: BTreeMap::new(),
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

/// What a delivery is about: the peer of the subscription, or an answer to this relay.
type About = Option<DeviceId>;

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
    is_only: bool,
    subscription: AbortHandle,
}

/// The messages that were read, by kind: a flood of one kind leaves the others alone.
#[derive(Default)]
struct Reads {
    answers: Bucket,
    moves: Bucket,
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
}

struct Directory<R> {
    client: Client,
    /// The beginning of the subjects for answers to this relay.
    inbox: String,
    surroundings: Surroundings<R>,
    clock: Clock,
    here: BTreeMap<DeviceId, Registered>,
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
        self.subscribe(None, answers, message::BYTES_MAX);
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let stop = self.surroundings.stop.clone();
        let task = async move {
            // The result only shows whether the relay stops.
            let _stopped = stop.run_until_cancelled_owned(task).await;
        };
        self.surroundings.tasks.spawn(task).abort_handle()
    }

    /// Subscribes to messages of at most this many bytes. NATS allows up to 1 MB, so longer ones are
    /// dropped before they wait.
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
                is_only,
            } => self.add(peer, connection, is_only),
            DirectoryRequest::Gone(peer, connection) => {
                if self
                    .here
                    .get(&peer)
                    .is_some_and(|it| it.connection == connection)
                {
                    self.remove(peer);
                }
            }
            DirectoryRequest::Find(asker, peer, _place) => self.find(asker, peer).await,
        }
    }

    fn add(&mut self, peer: DeviceId, connection: ConnectionId, is_only: bool) {
        self.remove(peer);
        let since_ms = self.wall_ms();
        let registered = Registered {
            connection,
            since_ms,
            is_only,
            subscription: self.subscribe(Some(peer), self.subject(peer), message::BYTES_MAX),
        };
        self.here.insert(peer, registered);
        self.announce(peer);
    }

    /// Reports to the other relays that a peer is registered here, and since when.
    fn announce(&self, peer: DeviceId) {
        if let Some(registered) = self.here.get(&peer).filter(|it| it.is_only) {
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
        self.lookups.next_due().into_iter().chain(announce).min()
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
                self.report(DirectoryEvent::Connected(true)).await;
            }
            Event::Disconnected | Event::Closed => {
                if self.connected_at.take().is_none() {
                    return;
                }
                tracing::warn!("the connection with NATS is lost");
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
        let Some(peer) = about else {
            return self.received_answer(now, delivery).await;
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
                if since_ms > self.wall_ms().saturating_add(millis(CLOCK_AHEAD_MAX)) {
                    return tracing::warn!(?relay, "the clock of another relay is ahead");
                }
                let ours = self.here.get(&peer).filter(|it| it.is_only);
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
        let ignored = |ignored: Ignored| {
            tracing::debug!(?ignored, subject = %delivery.subject, "ignored a message at NATS");
        };
        let list = self.surroundings.list.get();
        let decoded = Message::decode(&delivery.payload, &list);
        let unverified = decoded.map_err(ignored).ok()?;
        // A member that has this relay's key would be this relay.
        if unverified.relay == self.surroundings.key.id() {
            return None;
        }
        if !self.reads.take(now, &unverified.message) {
            tracing::debug!("dropped a message of another relay: too many arrive");
            return None;
        }
        unverified.verify().map_err(ignored).ok()
    }

    fn send(&self, subject: String, reply: Option<String>, message: Message) {
        if self.connected_at.is_none() {
            return;
        }
        let list = self.surroundings.list.get();
        let bytes = message.encode(list.fleet(), &self.surroundings.key);
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

    fn wall_ms(&self) -> u64 {
        let since = self.clock.date().duration_since(SystemTime::UNIX_EPOCH);
        millis(since.unwrap_or_default())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The beginning of the subjects for answers to a relay of a fleet. NATS can allow each relay to read
/// its own only.
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
        pass_on(all, None, max, incoming).await;
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
