//! Random events, compared with a model that has no versions, timers or indexes. `SEED=` replays
//! one run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use hobnob_protocol::DeviceId;
use hobnob_protocol::relay::{ToRelay, close};

use super::test_net::{TestNet, peer, room};
use crate::core::{
    CHANNEL_IDLE, ConnectionId, GONE_KEPT, HEARTBEAT_EVERY, HEARTBEAT_GRACE, Input, Limits,
    MISSES_MAX, Pace, State,
};

const PEERS: u16 = 40;
const ROOMS: u64 = 7;

/// SplitMix64.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn peer(&mut self) -> DeviceId {
        peer(u16::try_from(self.below(u64::from(PEERS))).expect("few"))
    }

    fn rooms(&mut self) -> Vec<u8> {
        let mask = self.below(1 << ROOMS);
        (0..7)
            .filter(|n| mask & (1 << n) != 0 && !mask.is_multiple_of(3))
            .collect()
    }

    fn addr(&mut self) -> SocketAddr {
        SocketAddr::from((
            [11, 0, 0, 1],
            u16::try_from(1 + self.below(60_000)).expect("a port"),
        ))
    }
}

struct Known {
    connection: Option<ConnectionId>,
    addr: SocketAddr,
    rooms: BTreeSet<u8>,
    heard_at: Duration,
    gone_at: Duration,
}

impl Known {
    fn missed(&self, now: Duration) -> u32 {
        let silence = now - self.heard_at;
        match silence.checked_sub(HEARTBEAT_EVERY + HEARTBEAT_GRACE) {
            None => 0,
            Some(over) => {
                1 + u32::try_from(over.as_micros() / HEARTBEAT_EVERY.as_micros()).expect("few")
            }
        }
    }
}

/// The expected state.
#[derive(Default)]
struct Model {
    peers: BTreeMap<DeviceId, Known>,
    channels: BTreeMap<(DeviceId, DeviceId), Duration>,
}

fn pair(a: DeviceId, b: DeviceId) -> (DeviceId, DeviceId) {
    (a.min(b), a.max(b))
}

impl Model {
    fn connected(&self, id: DeviceId) -> Option<&Known> {
        self.peers
            .get(&id)
            .filter(|known| known.connection.is_some())
    }

    fn is_connected(&self, id: DeviceId) -> bool {
        self.connected(id).is_some()
    }

    fn goes(&mut self, id: DeviceId, at: Duration) {
        if let Some(known) = self.peers.get_mut(&id) {
            (known.connection, known.gone_at) = (None, at);
        }
        self.channels.retain(|(a, b), _| *a != id && *b != id);
    }

    fn heard(&mut self, id: DeviceId, now: Duration) {
        self.peers.get_mut(&id).expect("known").heard_at = now;
    }

    /// Applies the effects of time. Idle channels are checked elsewhere, because the time of their end
    /// is not exact.
    fn time(&mut self, now: Duration) {
        let dead_after = HEARTBEAT_EVERY * MISSES_MAX + HEARTBEAT_GRACE;
        let connected = self
            .peers
            .iter()
            .filter(|(_, known)| known.connection.is_some());
        let dead = connected
            .map(|(id, known)| (*id, known.heard_at + dead_after))
            .filter(|(_, at)| *at <= now);
        for (id, at) in dead.collect::<Vec<_>>() {
            self.goes(id, at);
        }
        self.peers
            .retain(|_, known| known.connection.is_some() || now < known.gone_at + GONE_KEPT);
    }

    fn state(&self, id: DeviceId, now: Duration) -> Option<State> {
        let known = self.peers.get(&id)?;
        Some(match (known.connection, known.missed(now)) {
            (None, _) => State::Gone,
            (Some(_), 0) => State::Alive,
            (Some(_), _) => State::Suspect,
        })
    }

    fn shared(&self, a: DeviceId, b: DeviceId) -> Vec<u8> {
        let (Some(a), Some(b)) = (self.connected(a), self.connected(b)) else {
            return Vec::new();
        };
        a.rooms.intersection(&b.rooms).copied().collect()
    }
}

struct Run {
    net: TestNet,
    model: Model,
    dice: Dice,
    comings: u32,
    /// Connections that have ended.
    over: Vec<ConnectionId>,
    idle: u32,
}

impl Run {
    fn new(seed: u64) -> Self {
        let fast = Pace {
            every: Duration::from_millis(1),
            burst: 10_000,
        };
        let limits = Limits {
            registrations: fast,
            room_changes: fast,
            opens: fast,
            moves: fast,
            heartbeats: fast,
            frames: fast,
            ..Limits::default()
        };
        Self {
            net: TestNet::new(limits),
            model: Model::default(),
            dice: Dice(seed),
            comings: 0,
            over: Vec::new(),
            idle: 0,
        }
    }

    fn step(&mut self) {
        let id = self.dice.peer();
        match self.dice.below(20) {
            0..=4 => self.comes(id),
            5..=6 => self.goes(id),
            7 => self.operator(id),
            8..=9 => self.moves_rooms(id),
            10..=14 => self.opens(id),
            15 => self.closes(id),
            16 => self.moves(id),
            17 => self.stale(),
            18 => self.beat(id),
            _ => self.waits(),
        }
        self.check();
    }

    fn now(&self) -> Duration {
        self.net.now
    }

    fn connection(&self, id: DeviceId) -> Option<ConnectionId> {
        self.model.connected(id)?.connection
    }

    fn comes(&mut self, id: DeviceId) {
        let (rooms, addr) = (self.dice.rooms(), self.dice.addr());
        self.over.extend(self.connection(id));
        self.model.goes(id, self.now());
        let connection = self.net.register_at(id, &addr.to_string(), &rooms);
        let now = self.now();
        let known = Known {
            connection: Some(connection),
            addr,
            rooms: rooms.into_iter().collect(),
            heard_at: now,
            gone_at: now,
        };
        self.model.peers.insert(id, known);
        self.comings += 1;
    }

    fn goes(&mut self, id: DeviceId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        self.net.tell(Input::Disconnected { connection });
        self.model.goes(id, self.now());
    }

    fn operator(&mut self, id: DeviceId) {
        let connection = self.connection(id);
        self.net.tell(Input::Kick(id));
        if let Some(connection) = connection {
            assert_eq!(
                self.net.end(connection).map(|reason| reason.code()),
                Some(close::KICKED)
            );
            self.over.push(connection);
            self.model.goes(id, self.now());
        }
    }

    fn moves_rooms(&mut self, id: DeviceId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let rooms = self.dice.rooms();
        self.net.moves_rooms(connection, &rooms);
        self.model.heard(id, self.now());
        self.model.peers.get_mut(&id).expect("connected").rooms = rooms.into_iter().collect();
    }

    fn opens(&mut self, id: DeviceId) {
        let (Some(connection), other) = (self.connection(id), self.dice.peer()) else {
            return;
        };
        self.net.says(connection, ToRelay::Open(other));
        let now = self.now();
        self.model.heard(id, now);
        if id != other && self.model.is_connected(other) {
            self.model.channels.entry(pair(id, other)).or_insert(now);
        }
    }

    fn channel(&mut self, id: DeviceId) -> Option<DeviceId> {
        let others: Vec<_> = self
            .net
            .node(self.connection(id)?)
            .channels
            .keys()
            .copied()
            .collect();
        let at = self.dice.below(others.len().max(1) as u64);
        others.get(usize::try_from(at).expect("few")).copied()
    }

    fn closes(&mut self, id: DeviceId) {
        let (Some(connection), Some(other)) = (self.connection(id), self.channel(id)) else {
            return;
        };
        let name = self
            .net
            .node_mut(connection)
            .channels
            .remove(&other)
            .expect("there");
        self.net.says(connection, ToRelay::Close(name));
        self.model.heard(id, self.now());
        self.model.channels.remove(&pair(id, other));
    }

    fn moves(&mut self, id: DeviceId) {
        let (Some(connection), addr) = (self.connection(id), self.dice.addr()) else {
            return;
        };
        self.net.tell(Input::Moved { connection, addr });
        self.model.peers.get_mut(&id).expect("connected").addr = addr;
    }

    /// An event arrives late from a connection that has ended.
    fn stale(&mut self) {
        let at = self.dice.below(self.over.len().max(1) as u64);
        let Some(&connection) = self.over.get(usize::try_from(at).expect("few")) else {
            return;
        };
        let other = self.dice.peer();
        let input = match self.dice.below(4) {
            0 => Input::Disconnected { connection },
            1 => Input::Moved {
                connection,
                addr: self.dice.addr(),
            },
            2 => Input::Frame {
                connection,
                frame: ToRelay::Open(other),
            },
            _ => Input::Frame {
                connection,
                frame: ToRelay::Rooms(vec![room(1)]),
            },
        };
        self.net.tell(input);
    }

    fn beat(&mut self, id: DeviceId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        self.net.beats(connection);
        self.model.heard(id, self.now());
        let seen = self.net.sees(connection);
        let everybody = (0..PEERS).map(peer).filter(|other| *other != id);
        let should = everybody
            .map(|other| (other, self.model.shared(id, other)))
            .filter(|(_, rooms)| !rooms.is_empty());
        let should: Vec<_> = should
            .map(|(other, rooms)| (other, rooms.into_iter().map(room).collect::<Vec<_>>()))
            .collect();
        assert_eq!(seen, should, "{id:?} at {:?}", self.now());
    }

    /// Time passes. Some peers use their channels, some send heartbeats.
    fn waits(&mut self) {
        let steps = if self.dice.below(8) == 0 {
            self.dice.below(300)
        } else {
            self.dice.below(20)
        };
        for _ in 0..steps {
            self.net
                .wait(Duration::from_millis(100 + self.dice.below(3_000)));
            self.model.time(self.now());
            for id in (0..PEERS).map(peer) {
                if self.dice.below(5) == 0 {
                    self.beat(id);
                }
            }
            self.use_channels();
        }
    }

    fn use_channels(&mut self) {
        let now = self.now();
        let late = CHANNEL_IDLE + 2 * Duration::from_secs(60);
        let relay = &self.net;
        let connection = |id: DeviceId| self.model.peers[&id].connection.expect("connected");
        let is_open =
            |(a, b): (DeviceId, DeviceId)| relay.node(connection(a)).channels.contains_key(&b);
        let (open, ended): (Vec<_>, Vec<_>) = self
            .model
            .channels
            .keys()
            .copied()
            .partition(|pair| is_open(*pair));
        for pair in ended {
            let used_at = self.model.channels.remove(&pair).expect("listed");
            self.idle += 1;
            assert!(
                now >= used_at + CHANNEL_IDLE,
                "{pair:?} ended after {:?}",
                now - used_at
            );
        }
        for (a, b) in open {
            assert!(
                now < self.model.channels[&(a, b)] + late,
                "{a:?} and {b:?} have long been idle"
            );
            if self.dice.below(60) == 0 {
                let name = self
                    .net
                    .node(self.model.peers[&a].connection.expect("connected"))
                    .channels[&b];
                self.net.routes[&name].used.mark();
                self.model.channels.insert((a, b), now);
            }
        }
    }

    /// Checks that table, channels and routes match the model.
    fn check(&self) {
        let now = self.now();
        let table: Vec<_> = self
            .net
            .relay
            .table(usize::MAX)
            .into_iter()
            .map(|row| (row.peer, Some(row.state), row.addr, row.rooms, row.heard_at))
            .collect();
        let model = self.model.peers.iter().map(|(id, known)| {
            (
                *id,
                self.model.state(*id, now),
                known.addr,
                known.rooms.len(),
                known.heard_at,
            )
        });
        assert_eq!(table, model.collect::<Vec<_>>());
        let mut routes = BTreeSet::new();
        for (id, known) in self.model.peers.iter() {
            let Some(connection) = known.connection else {
                continue;
            };
            let node = self.net.node(connection);
            assert_eq!((node.observed, &node.end), (Some(known.addr), &None));
            let with: Vec<_> = node
                .channels
                .keys()
                .map(|other| pair(*id, *other))
                .collect();
            let mut should: Vec<_> = self
                .model
                .channels
                .keys()
                .filter(|(a, b)| a == id || b == id)
                .copied()
                .collect();
            should.sort_by_key(|(a, b)| if a == id { *b } else { *a });
            assert_eq!(with, should, "channels of {id:?}");
            for (other, name) in &node.channels {
                let theirs = &self.model.peers[other];
                let becomes = self
                    .net
                    .node(theirs.connection.expect("connected"))
                    .channels[id];
                routes.insert((known.addr, *name, theirs.addr, becomes));
            }
        }
        assert_eq!(self.net.forwards(), routes);
        assert_eq!(self.net.relay.channels(), self.model.channels.len());
    }
}

fn seeds() -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (1..=8).collect(),
    }
}

#[test]
fn table_rosters_and_channels_match_the_model_through_random_events() {
    let mut seen = [0; 5];
    for seed in seeds() {
        println!("SEED={seed}");
        let mut run = Run::new(seed);
        while run.comings < 1_000 {
            run.step();
        }
        let counts = run.net.counts();
        let ended = |code: u32| counts.ended.get(&code).copied().unwrap_or(0);
        let now = [
            counts.left,
            counts.opened,
            ended(close::REPLACED),
            ended(close::SILENT),
            u64::from(run.idle),
        ];
        seen.iter_mut().zip(now).for_each(|(all, now)| *all += now);
    }
    // Every kind of event occurred: peers left, opened channels, were replaced or fell silent, and
    // channels were idle.
    assert!(seen.iter().all(|times| *times >= 4), "{seen:?}");
}
