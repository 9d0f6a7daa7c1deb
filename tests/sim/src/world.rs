//! The simulated world: nodes, time and events. It handles one event at a time, in an order that
//! only the seed determines.

mod lives;
mod stores;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use hobnob_core::commit::{Commit, NetworkId};
use hobnob_core::replica::{Input, Output, RoomLimits};
use hobnob_core::{Now, Rng, SessionId};
use hobnob_protocol::{ConversationId, PersonId, RoomKey, RoomName, SecretKey};

use super::Fault;
use super::disk::{Disk, Durable};
use super::faulty::FaultyReplica;
use super::hostile::Hostile;
use super::link::{Conn, Item};
use super::mail::{Mail, Posted, StoredMail};
use super::oracle::{Left, Oracle};
use super::script::Script;

pub(super) const MILLI: u64 = 1_000;
pub(super) const SECOND: u64 = 1_000_000;

/// The wall clock of an unskewed node at virtual time 0.
const WALL_START_MS: u64 = 1_750_000_000_000;

/// Maximum events in a run. A run that ends needs fewer.
const EVENTS_MAX: u64 = 3_000_000;

/// A scheduled event.
pub(super) enum Event {
    Act,
    Wake(usize, u64),
    Disk(usize, u64),
    Answer(usize, u64, Box<Input>),
    Arrive {
        conn: u64,
        from: usize,
        stream: usize,
        item: Item,
    },
    Left {
        conn: u64,
        from: usize,
        stream: usize,
        len: usize,
    },
    Up {
        conn: u64,
        end: usize,
    },
    Down {
        conn: u64,
        end: usize,
        goodbye: bool,
    },
    Drain {
        conn: u64,
        end: usize,
    },
    Confirm {
        conn: u64,
        end: usize,
        moves: u64,
    },
    Unstall {
        conn: u64,
        end: usize,
    },
    Dial(usize, usize),
    /// A node's user accepts a stranger.
    Accept(usize, PersonId),
    Start(usize),
    Stop {
        node: usize,
        life: u64,
        tries: u32,
    },
    Mischief(usize),
    /// The node still has this many logs to write.
    Flood(usize, u32),
    RoomsChanged(usize),
    /// A node looks after its mail.
    Mail(usize),
    /// A holder answers a deposit.
    Posted(Box<Posted>),
}

/// An older copy of a node's home.
pub(super) struct Backup {
    pub(super) durable: Durable,
    pub(super) left: BTreeMap<PersonId, Left>,
    pub(super) in_secret_since: Option<u64>,
    pub(super) mail: StoredMail,
}

/// A node and its surroundings.
pub(super) struct Node {
    pub(super) key: Arc<SecretKey>,
    pub(super) id: PersonId,
    pub(super) replica: Option<FaultyReplica>,
    pub(super) hostile: Option<Hostile>,
    pub(super) disk: Disk,
    pub(super) backup: Option<Backup>,
    /// The number of starts and stops, to recognize events of an earlier run.
    pub(super) life: u64,
    pub(super) run: u64,
    pub(super) started_at: u64,
    pub(super) skew_ms: i64,
    pub(super) place: usize,
    /// The networks that the node is on. There is always one.
    pub(super) networks: BTreeSet<NetworkId>,
    /// How often the networks changed.
    pub(super) moves: u64,
    armed: Option<u64>,
}

/// The counters of a run.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Events handled.
    pub events: u64,
    /// Virtual time in seconds.
    pub seconds: u64,
    /// Entries written by their authors.
    pub appended: u64,
    /// Entries passed to sessions.
    pub sent: u64,
    /// Entries that became durable at nodes other than their author.
    pub delivered: u64,
    /// Control frames.
    pub frames: u64,
    /// Bytes of control frames.
    pub frame_bytes: u64,
    /// Batches that arrived by mail.
    pub mailed: u64,
    /// Virtual milliseconds from healing to convergence.
    pub converged_ms: u64,
    /// Maximum items that a replica stored about its sessions.
    pub kept_max: usize,
    /// Maximum sessions of a node in a crowd.
    pub sessions_max: usize,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<Node>,
    pub(super) conns: BTreeMap<u64, Conn>,
    pub(super) sessions: BTreeMap<(usize, SessionId), (u64, usize)>,
    pub(super) oracle: Oracle,
    pub(super) script: Script,
    pub(super) fault: Option<Fault>,
    pub(super) failure: Option<String>,
    pub(super) trace: bool,
    pub(super) stats: Stats,
    /// Pairs that may have a session: the topology.
    pub(super) edges: BTreeSet<(usize, usize)>,
    /// Blocks, as pairs of the blocking node and the blocked one.
    pub(super) blocks: BTreeSet<(usize, usize)>,
    /// Contacts, as pairs of a node and a peer that its user has accepted.
    pub(super) contacts: BTreeSet<(usize, PersonId)>,
    /// Group of each node while the network is partitioned.
    pub(super) groups: Vec<usize>,
    /// How much an open room may hold.
    pub(super) room_limits: RoomLimits,
    pub(super) mail: Mail,
    hash: DefaultHasher,
    queue: BTreeMap<(u64, u64), Event>,
    next_event: u64,
    next_conn: u64,
    inputs: VecDeque<(usize, u64, Input)>,
}

impl World {
    pub(super) fn new(seed: u64, fault: Option<Fault>, trace: bool) -> Self {
        let oracle = Oracle::new();
        Self {
            now: 0,
            rng: Rng::new(seed ^ 0x5eed),
            nodes: Vec::new(),
            conns: BTreeMap::new(),
            sessions: BTreeMap::new(),
            oracle,
            script: Script::default(),
            fault,
            failure: None,
            trace,
            stats: Stats::default(),
            edges: BTreeSet::new(),
            blocks: BTreeSet::new(),
            contacts: BTreeSet::new(),
            groups: Vec::new(),
            // All nodes are strangers to each other, and the storms have many long texts.
            room_limits: RoomLimits {
                strangers: 1 << 40,
                ..RoomLimits::default()
            },
            mail: Mail::default(),
            hash: DefaultHasher::new(),
            queue: BTreeMap::new(),
            next_event: 0,
            next_conn: 0,
            inputs: VecDeque::new(),
        }
    }

    pub(super) fn add_node(&mut self, skew_ms: i64) -> usize {
        let index = self.nodes.len();
        let mut seed = [0; 32];
        for chunk in seed.chunks_mut(8) {
            chunk.copy_from_slice(&self.rng.draw().to_le_bytes());
        }
        let key = Arc::new(SecretKey::from_seed(seed));
        let id = key.id();
        self.oracle.add_node(id.person());
        self.groups.push(0);
        self.nodes.push(Node {
            key,
            id: id.person(),
            replica: None,
            hostile: None,
            disk: Disk::default(),
            backup: None,
            life: 0,
            run: 0,
            started_at: 0,
            skew_ms,
            place: 0,
            networks: BTreeSet::from([main_network(0)]),
            moves: 0,
            armed: None,
        });
        index
    }

    // Randomness.

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound.max(1))
    }

    pub(super) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("below a length")
    }

    // Time.

    pub(super) fn at(&mut self, when: u64, event: Event) {
        self.next_event += 1;
        self.queue
            .insert((when.max(self.now), self.next_event), event);
    }

    pub(super) fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    pub(super) fn wall_ms(&self, node: usize) -> u64 {
        (WALL_START_MS + self.now / MILLI).saturating_add_signed(self.nodes[node].skew_ms)
    }

    /// Runs the world until `until`, or until a check fails.
    pub(super) fn run_until(&mut self, until: u64) {
        self.settle();
        while self.failure.is_none() {
            let Some((&(at, _), _)) = self
                .queue
                .first_key_value()
                .filter(|((at, _), _)| *at <= until)
            else {
                break;
            };
            let (_, event) = self.queue.pop_first().expect("peeked above");
            self.now = at;
            self.stats.events += 1;
            if self.stats.events > EVENTS_MAX {
                self.fail("this run does not come to rest".to_owned());
            }
            self.handle(event);
            self.settle();
        }
        self.now = self.now.max(until);
        self.stats.seconds = self.now / SECOND;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Act => self.act(),
            Event::Wake(node, life) => self.wake(node, life),
            Event::Disk(node, life) => self.write_some(node, life),
            Event::Answer(node, life, input) => self.inputs.push_back((node, life, *input)),
            Event::Arrive {
                conn,
                from,
                stream,
                item,
            } => self.arrive(conn, from, stream, item),
            Event::Left {
                conn,
                from,
                stream,
                len,
            } => self.left(conn, from, stream, len),
            Event::Up { conn, end } => self.up(conn, end),
            Event::Down { conn, end, goodbye } => self.down(conn, end, goodbye),
            Event::Drain { conn, end } => self.drain(conn, end),
            Event::Confirm { conn, end, moves } => self.confirm(conn, end, moves),
            Event::Unstall { conn, end } => self.unstall(conn, end),
            Event::Dial(a, b) => self.dial(a, b),
            Event::Accept(node, peer) => {
                self.contacts.insert((node, peer));
                self.input(node, Input::Accept(peer));
            }
            Event::Start(node) => self.start(node),
            Event::Stop { node, life, tries } => self.stop(node, life, tries),
            Event::Mischief(node) => self.mischief(node),
            Event::Flood(node, left) => self.flood_on(node, left),
            Event::RoomsChanged(node) => self.rooms_changed(node),
            Event::Mail(node) => self.mail_turn(node),
            Event::Posted(posted) => self.posted(&posted),
        }
    }

    /// Passes all queued inputs to the replicas.
    pub(super) fn settle(&mut self) {
        while let Some((node, life, input)) = self.inputs.pop_front() {
            if self.nodes[node].life == life && self.failure.is_none() {
                self.tell(node, input);
            }
        }
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        let life = self.nodes[node].life;
        self.inputs.push_back((node, life, input));
    }

    fn tell(&mut self, node: usize, input: Input) {
        let mono = Duration::from_micros(self.now - self.nodes[node].started_at);
        let now = Now {
            mono,
            wall_ms: self.wall_ms(node),
        };
        self.note(|| format!("n{node} < {}", super::describe::input(&input)));
        let Some(mut replica) = self.nodes[node].replica.take() else {
            return;
        };
        replica.handle(now, input);
        let mut outputs = 0;
        while let Some(output) = replica.poll_output() {
            outputs += 1;
            if outputs > 20_000 {
                self.fail(format!("n{node} says more than 20,000 things at once"));
                break;
            }
            self.output(node, output);
        }
        let wake = replica
            .poll_timeout()
            .map(|at| self.nodes[node].started_at + micros(at));
        self.stats.kept_max = self.stats.kept_max.max(replica.remembered_for_sessions());
        self.nodes[node].replica = Some(replica);
        if let Some(at) = wake.filter(|at| self.nodes[node].armed != Some(*at)) {
            self.nodes[node].armed = Some(at);
            let life = self.nodes[node].life;
            self.at(at, Event::Wake(node, life));
        }
    }

    fn wake(&mut self, node: usize, life: u64) {
        if self.nodes[node].life == life && self.nodes[node].armed.is_some_and(|at| at <= self.now)
        {
            self.nodes[node].armed = None;
            self.input(node, Input::Timeout);
        }
    }

    // Outputs of replicas.

    fn output(&mut self, node: usize, output: Output) {
        self.note(|| format!("n{node} > {}", super::describe::output(&output)));
        let Some(output) = self.by_mail(node, output) else {
            return;
        };
        match output {
            Output::Commit(commit) => self.commit(node, commit),
            Output::Send(session, frame) => self.send(node, session, frame),
            Output::SendBatch(session, frame) => self.send_batch(node, session, frame),
            Output::Read {
                session,
                name,
                from,
                to,
            } => {
                let full = self.nodes[node].disk.full_until > self.now;
                let fails = full && self.one_in(3);
                let batches = if fails {
                    Err("no".to_owned())
                } else {
                    Ok(self.nodes[node].disk.durable.read(name, from, to))
                };
                self.answer(node, Input::Read(session, name, batches));
            }
            Output::FindNewcomerCut {
                session,
                conversation,
                since_ms,
            } => {
                let cut = self.nodes[node].disk.durable.newcomer_cut(
                    conversation,
                    since_ms,
                    self.script.newcomer_entries,
                );
                self.answer(node, Input::NewcomerCut(session, conversation, cut));
            }
            Output::Accepted(peer) => drop(self.contacts.insert((node, peer))),
            Output::AwaitsConsent(..) => {}
            // The user accepts the stranger after a while: what was refused must arrive then.
            Output::RequestFull(peer) => {
                let delay = self.between(0, 10 * SECOND);
                self.after(delay, Event::Accept(node, peer));
            }
            Output::Release(session, batches) => self.release(node, session, batches),
            said @ (Output::Appended { .. }
            | Output::AppendFailed(..)
            | Output::Received { .. }
            | Output::Sent(..)
            | Output::Delivered(..)
            | Output::OwnRestored(..)
            | Output::Refused(..)) => self.said(node, said),
            Output::Stored(_) | Output::StoreFailed(..) => self.after(0, Event::RoomsChanged(node)),
            Output::Erased { .. } | Output::EraseRefused(..) | Output::RoomFull(_) => {}
        }
    }

    fn answer(&mut self, node: usize, input: Input) {
        let (life, delay) = (self.nodes[node].life, self.between(0, 5 * MILLI));
        self.after(delay, Event::Answer(node, life, Box::new(input)));
    }

    // Queries about nodes.

    pub(super) fn rooms(&self, node: usize) -> BTreeSet<ConversationId> {
        if let Some(hostile) = &self.nodes[node].hostile {
            return hostile.rooms.clone();
        }
        self.nodes[node]
            .replica
            .as_ref()
            .map(|replica| replica.rooms().map(|(id, ..)| id).collect())
            .unwrap_or_default()
    }

    pub(super) fn is_in(&self, node: usize, room: ConversationId) -> bool {
        self.rooms(node).contains(&room)
    }

    pub(super) fn next_conn(&mut self) -> u64 {
        self.next_conn += 1;
        self.next_conn
    }

    // The trace.

    pub(super) fn fail(&mut self, what: String) {
        if self.failure.is_none() {
            self.failure = Some(format!("at {:.3} s: {what}", self.now as f64 / 1e6));
        }
    }

    /// Adds an event to the hash of the trace, and prints it if tracing is on.
    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        (self.now, self.next_event).hash(&mut self.hash);
        if self.trace {
            println!("{:12.6} {}", self.now as f64 / 1e6, what());
        }
    }

    pub(super) fn note_bytes(&mut self, bytes: &[u8]) {
        bytes.hash(&mut self.hash);
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.hash.finish()
    }
}

/// The network that joins the nodes at a place.
pub(super) fn main_network(place: usize) -> NetworkId {
    NetworkId(place as u64 + 1)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).expect("a virtual time is short")
}
