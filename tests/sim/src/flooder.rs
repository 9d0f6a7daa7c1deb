//! Nodes that flood the open room with logs of one entry, each from a fresh key, and the run that
//! they disturb.

use hobnob_core::replica::RoomLimits;
use hobnob_protocol::{Body, CheckedBatch, Entry, Frame, LogId, LogName, Salts, SecretKey};

use super::hostile::Hostile;
use super::link::{BATCHES, Item};
use super::oracle;
use super::world::{Event, MILLI, SECOND, World};

/// Logs of others that a node of such a run may hold in the open room.
const LOGS_MAX: usize = 24;

/// Logs that the flooders write in all.
const FLOOD_LOGS: u32 = 400;

/// Maximum flooders. One attacker can have many identities, and a session with each of them.
const FLOODERS_MAX: usize = 4;

impl World {
    /// Sets up five honest nodes that are in the open room only, and flooders that have sessions
    /// with some of them. Returns how many are honest.
    pub(super) fn set_up_flood(&mut self) -> usize {
        let nodes = 5;
        self.set_up_calm(nodes, super::Shape::Mesh);
        self.stay_out_of_the_secret();
        self.room_limits = RoomLimits {
            logs: LOGS_MAX,
            ..RoomLimits::default()
        };
        let flooders = 1 + self.pick(FLOODERS_MAX);
        for _ in 0..flooders {
            let count = u32::try_from(flooders).expect("few");
            self.add_flooder(nodes, FLOOD_LOGS / count);
        }
        nodes
    }

    /// Adds a node that writes this many logs, and has sessions with some of the honest nodes.
    fn add_flooder(&mut self, honest: usize, logs: u32) {
        let flooder = self.add_node(0);
        let run = self.rng.draw();
        let [(_, lobby), _] = oracle::rooms();
        self.nodes[flooder].hostile = Some(Hostile::new([lobby.conversation()].into(), run));
        let id = self.nodes[flooder].id;
        self.oracle.hostile.insert(id);
        for victim in 0..honest {
            if victim == 1 || self.one_in(2) {
                self.edges.insert((victim, flooder));
            }
        }
        self.dial_everybody(flooder);
        self.at(2 * SECOND, Event::Flood(flooder, logs));
    }

    /// The flooder writes a few logs, each to all sessions or to one.
    pub(super) fn flood_on(&mut self, node: usize, left: u32) {
        let ends: Vec<_> = self
            .conns
            .iter()
            .flat_map(|(id, conn)| [(*id, 0, conn.ends[0].node), (*id, 1, conn.ends[1].node)])
            .filter(|(_, _, of)| *of == node)
            .collect();
        for _ in 0..left.min(10) {
            let frame = self.fresh_log();
            let one = self.one_in(2).then(|| self.pick(ends.len().max(1)));
            for (at, (conn, end, _)) in ends.iter().enumerate() {
                if one.is_some_and(|one| one != at) {
                    continue;
                }
                if let Some(of) = self.conns.get_mut(conn) {
                    let stream = &mut of.ends[*end].streams[BATCHES];
                    stream.outstanding += frame.len();
                    stream.queue.push_back(Item::Frame(frame.clone()));
                    self.pump(*conn, *end, BATCHES);
                }
            }
        }
        if left > 10 {
            let pause = self.between(MILLI, 3 * SECOND);
            self.after(pause, Event::Flood(node, left - 10));
        }
    }

    /// A log of the open room with one entry, by an author that nobody knows.
    fn fresh_log(&mut self) -> bytes::Bytes {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.rng.draw().to_le_bytes());
        let key = SecretKey::from_seed(seed);
        self.oracle.hostile.insert(key.id().person());
        let [(_, lobby), _] = oracle::rooms();
        let name = LogName {
            conversation: lobby.conversation(),
            author: key.id().person(),
            device: key.id(),
            log: LogId(self.rng.draw()),
        };
        let entry = Entry::new(1, 0, Body::Text("x".to_owned()));
        let salts = &mut Salts::new([7; 32]);
        let batch = CheckedBatch::author(&key, name, 1, name.genesis(), vec![entry], salts);
        Frame::Batch(batch.batch).encode()
    }

    pub(super) fn say_in_lobby(&mut self, node: usize) {
        let [(_, lobby), _] = oracle::rooms();
        self.say(node, lobby.conversation());
    }

    /// Whether a node lacks an entry that another one holds for it in the open room.
    pub(super) fn lacks_from(&self, node: usize, holder: usize) -> bool {
        let [(_, lobby), _] = oracle::rooms();
        let mine = self.held(node, lobby.conversation());
        let theirs = self.held(holder, lobby.conversation()).into_iter();
        let mut theirs = theirs.flat_map(|(name, held)| {
            let numbers: Vec<_> = held.iter().flat_map(|(first, last)| first..=last).collect();
            numbers.into_iter().map(move |seq| (name, seq))
        });
        let id = self.nodes[node].id;
        theirs.any(|(name, seq)| {
            self.oracle.is_for(holder, &name, seq, id)
                && !mine.get(&name).is_some_and(|held| held.contains(seq))
        })
    }

    /// A node that holds more logs in the open room than it may.
    pub(super) fn overfull(&self) -> Option<String> {
        let [(_, lobby), _] = oracle::rooms();
        let honest = self.nodes.iter().enumerate();
        let mut honest = honest.filter(|(_, node)| node.hostile.is_none());
        honest.find_map(|(at, node)| {
            let logs = node.disk.durable.logs.keys();
            let of_others = logs
                .filter(|name| name.conversation == lobby.conversation() && name.author != node.id);
            let count = of_others.count();
            (count > LOGS_MAX).then(|| format!("n{at} holds {count} logs in the lobby"))
        })
    }
}
