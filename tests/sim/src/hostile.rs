//! A hostile node: it sends random, forged and replayed frames, and names devices that its author does
//! not have.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use hobnob_protocol::frame::{AuthorHeads, Digest};
use hobnob_protocol::header::tag;
use hobnob_protocol::{
    Batch, Body, CheckedBatch, ConversationId, DeviceId, Entry, EntryHash, Frame, LogId, LogName,
    PersonId, Ranges, Salts, SecretKey, Seq, Signature,
};

use super::link::{BATCHES, CONTROL, Item};
use super::world::{Event, MILLI, World};

/// Maximum stored frames to replay, changed or not.
const MEMORY: usize = 64;

/// Maximum hostile acts in a run.
const ACTS_MAX: u32 = 300;

/// The state of a hostile node.
pub(super) struct Hostile {
    pub(super) rooms: BTreeSet<ConversationId>,
    run: u64,
    /// The key of a device that nobody has certified.
    phone: Arc<SecretKey>,
    seen: VecDeque<Bytes>,
    /// The node's own logs, with two chains each.
    chains: BTreeMap<(LogName, bool), (Seq, EntryHash, u64)>,
    acts: u32,
}

impl Hostile {
    pub(super) fn new(rooms: BTreeSet<ConversationId>, run: u64) -> Self {
        let mut seed = [0xd7; 32];
        seed[..8].copy_from_slice(&run.to_le_bytes());
        Self {
            rooms,
            run,
            phone: Arc::new(SecretKey::from_seed(seed)),
            seen: VecDeque::new(),
            chains: BTreeMap::new(),
            acts: 0,
        }
    }
}

impl World {
    pub(super) fn seen_by_hostile(
        &mut self,
        node: usize,
        conn: u64,
        end: usize,
        stream: usize,
        frame: Bytes,
    ) {
        if stream == BATCHES
            && let Some(conn) = self.conns.get_mut(&conn)
        {
            // A hostile node reads at once, so the session gets its permit back.
            conn.ends[end].permits += 1;
        }
        let Some(hostile) = &mut self.nodes[node].hostile else {
            return;
        };
        hostile.seen.push_back(frame);
        if hostile.seen.len() > MEMORY {
            hostile.seen.pop_front();
        }
    }

    pub(super) fn mischief(&mut self, node: usize) {
        let Some(hostile) = &mut self.nodes[node].hostile else {
            return;
        };
        hostile.acts += 1;
        let more = hostile.acts < ACTS_MAX && !self.script.healed;
        let ends: Vec<_> = self
            .conns
            .iter()
            .flat_map(|(id, conn)| [(*id, 0, conn.ends[0].node), (*id, 1, conn.ends[1].node)])
            .collect();
        let ends: Vec<_> = ends.into_iter().filter(|(_, _, of)| *of == node).collect();
        if !ends.is_empty() {
            let (conn, end, _) = ends[self.pick(ends.len())];
            for _ in 0..self.between(1, 6) {
                self.one_lie(node, conn, end);
            }
        }
        if more {
            let pause = self.between(MILLI, 500 * MILLI);
            self.after(pause, Event::Mischief(node));
        }
    }

    fn one_lie(&mut self, node: usize, conn: u64, end: usize) {
        let victim = match self.conns.get(&conn) {
            Some(conn) => self.nodes[conn.ends[1 - end].node].id,
            None => return,
        };
        let (stream, frame) = match self.below(12) {
            0 => self.garbage(),
            1 | 2 => self.replay(node),
            3 | 4 => (CONTROL, self.false_word(node, victim).encode()),
            5 => (BATCHES, Frame::Batch(self.forged(node, victim)).encode()),
            6..=8 => (BATCHES, self.own_chain(node, victim)),
            9 => (BATCHES, self.far_ahead(node, victim)),
            _ => (BATCHES, self.on_other_device(node, victim)),
        };
        let Some(conn_of) = self.conns.get_mut(&conn) else {
            return;
        };
        conn_of.ends[end].streams[stream].outstanding += frame.len();
        conn_of.ends[end].streams[stream]
            .queue
            .push_back(Item::Frame(frame));
        self.pump(conn, end, stream);
    }

    fn garbage(&mut self) -> (usize, Bytes) {
        let len = self.between(1, 300);
        let mut bytes: Vec<u8> = (0..len).map(|_| self.rng.draw().to_le_bytes()[0]).collect();
        bytes[0] = u8::try_from(self.between(14, 24)).expect("small");
        (self.pick(2), bytes.into())
    }

    /// A received frame, unchanged or with a flipped bit.
    fn replay(&mut self, node: usize) -> (usize, Bytes) {
        let seen = self.nodes[node]
            .hostile
            .as_ref()
            .map_or(0, |hostile| hostile.seen.len());
        if seen == 0 {
            return self.garbage();
        }
        let at = self.pick(seen);
        let mut bytes = self.nodes[node]
            .hostile
            .as_ref()
            .map(|hostile| hostile.seen[at].to_vec())
            .unwrap_or_default();
        if self.one_in(2) {
            let at = self.pick(bytes.len());
            bytes[at] ^= 1 << self.below(8);
        } else if let Some(censored) = self.censor(&bytes) {
            bytes = censored;
        }
        let stream = if bytes[0] == 18 { BATCHES } else { CONTROL };
        (stream, bytes.into())
    }

    /// A received batch without some of its bodies.
    fn censor(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let Ok(Frame::Batch(batch)) = Frame::decode(&Bytes::copy_from_slice(frame)) else {
            return None;
        };
        let batch = batch.check().ok()?;
        let first = self.between(batch.first(), batch.last());
        let last = self.between(first, batch.last());
        let censored = batch.erased(&Ranges::span(first, last));
        Some(Frame::Batch(censored.batch).encode().to_vec())
    }

    fn any_conversation(&mut self, node: usize, victim: PersonId) -> ConversationId {
        let mut all = vec![
            ConversationId::direct(self.nodes[node].id, victim),
            ConversationId::from_bytes([7; 32]),
        ];
        all.extend(
            self.nodes[node]
                .hostile
                .iter()
                .flat_map(|hostile| hostile.rooms.iter().copied()),
        );
        all.extend(self.oracle.secret);
        all[self.pick(all.len())]
    }

    fn any_author(&mut self) -> PersonId {
        if self.one_in(6) {
            return PersonId::from_bytes([self.rng.draw().to_le_bytes()[0]; 32]);
        }
        let at = self.pick(self.nodes.len());
        self.nodes[at].id
    }

    fn any_log(&mut self, node: usize, victim: PersonId) -> LogName {
        let (conversation, author) = (self.any_conversation(node, victim), self.any_author());
        let known: Vec<_> = self
            .nodes
            .iter()
            .flat_map(|node| node.disk.durable.logs.keys().copied())
            .collect();
        if !known.is_empty() && self.one_in(2) {
            return known[self.pick(known.len())];
        }
        LogName {
            conversation,
            author,
            device: self.any_device(node, author),
            log: LogId(self.rng.draw()),
        }
    }

    /// Mostly the device of the author. Otherwise the hostile node's other one, or that of another
    /// person.
    fn any_device(&mut self, node: usize, author: PersonId) -> DeviceId {
        match self.below(4) {
            0 => self.phone(node).id(),
            1 => self.any_author().only_device(),
            _ => author.only_device(),
        }
    }

    fn phone(&self, node: usize) -> Arc<SecretKey> {
        let hostile = self.nodes[node].hostile.as_ref();
        hostile.expect("asked of hostile nodes only").phone.clone()
    }

    fn any_ranges(&mut self) -> Ranges {
        let mut ranges = Ranges::new();
        for _ in 0..self.between(0, 40) {
            let first = self.between(1, 2000);
            ranges.insert(first, first + self.below(30));
        }
        ranges
    }

    fn false_word(&mut self, node: usize, victim: PersonId) -> Frame {
        let name = self.any_log(node, victim);
        let ranges = self.any_ranges();
        match self.below(7) {
            0 => Frame::Have(name, ranges.into()),
            1 => Frame::Want {
                name,
                from: self.below(50),
                to: None,
            },
            2 => Frame::Want {
                name,
                from: self.rng.draw(),
                to: Some(self.rng.draw()),
            },
            3 => Frame::Prune(name.conversation, name.author),
            4 => Frame::Conflict(name),
            5 => {
                let mut digest = [0; 32];
                digest[0] = self.rng.draw().to_le_bytes()[0];
                let nothing = self.one_in(3);
                let hash = if nothing {
                    AuthorHeads::digest(&[])
                } else {
                    digest
                };
                let clock = self.rng.draw();
                Frame::Digest(name.conversation, Digest { hash, clock })
            }
            _ => {
                let more = self.one_in(2);
                let logs = (0..self.between(0, 20))
                    .map(|_| (LogId(self.rng.draw()), ranges.clone().into()))
                    .collect();
                let authors = vec![AuthorHeads {
                    author: name.author,
                    device: name.device,
                    logs,
                }];
                Frame::Heads {
                    conversation: name.conversation,
                    more,
                    authors,
                }
            }
        }
    }

    /// An invented batch, mostly in the name of another author.
    fn forged(&mut self, node: usize, victim: PersonId) -> Batch {
        let name = self.any_log(node, victim);
        let first = self.between(1, 5);
        let entry = Entry::new(self.between(1, 1000), 0, Body::Text("forged".to_owned()));
        let prev = if first == 1 {
            name.genesis()
        } else {
            EntryHash::from_bytes([9; 32])
        };
        Batch {
            name,
            first,
            prev,
            entries: entry.encode(&[0; 16]).into(),
            signature: Signature::from_bytes([3; 64]),
        }
    }

    /// A correctly signed batch in one of two chains of one log.
    fn own_chain(&mut self, node: usize, victim: PersonId) -> Bytes {
        let conversation = self.any_conversation(node, victim);
        let other = self.one_in(2);
        let again = self.one_in(4);
        let texts = self.between(1, 4);
        let salt = self.rng.draw();
        let key = self.nodes[node].key.clone();
        let hostile = self.nodes[node]
            .hostile
            .as_mut()
            .expect("asked of hostile nodes only");
        let name = LogName {
            conversation,
            author: key.id().person(),
            device: key.id(),
            log: LogId::of_run(hostile.run, &conversation),
        };
        let chain = hostile
            .chains
            .entry((name, other))
            .or_insert((0, name.genesis(), 0));
        let entries: Vec<_> = (1..=texts)
            .map(|n| {
                let body = Body::Text(format!("mischief {salt} {n}"));
                Entry::new(chain.2 + n, 0, body)
            })
            .collect();
        let salts = &mut Salts::new([7; 32]);
        let batch = CheckedBatch::author(&key, name, chain.0 + 1, chain.1, entries, salts);
        if !again {
            *chain = (batch.last(), batch.head(), chain.2 + texts);
        }
        Frame::Batch(batch.batch).encode()
    }

    /// A correctly signed batch far in the future: impossible Lamport numbers, after a gap that
    /// nobody can fill.
    fn far_ahead(&mut self, node: usize, victim: PersonId) -> Bytes {
        let conversation = self.any_conversation(node, victim);
        let key = self.nodes[node].key.clone();
        let name = LogName {
            conversation,
            author: key.id().person(),
            device: key.id(),
            log: LogId(self.rng.draw()),
        };
        let lamport = [
            1 << 20,
            1 << 21,
            1 << 52,
            (1 << 53) - 1,
            1 << 53,
            1 << 60,
            u64::MAX,
        ][self.pick(7)];
        let first = [1, 2, 1000, u64::MAX / 2][self.pick(4)];
        let prev = if first == 1 {
            name.genesis()
        } else {
            EntryHash::from_bytes([9; 32])
        };
        let salt = self.rng.draw();
        let entry = Entry::new(lamport, 0, Body::Text(format!("the future {salt}")));
        let salts = &mut Salts::new([7; 32]);
        let batch = CheckedBatch::author(&key, name, first, prev, vec![entry], salts);
        Frame::Batch(batch.batch).encode()
    }

    /// A batch by a device that is not the author's: correctly signed by another device of the same
    /// person, or by a device in the name of another person; or with another person's device in its
    /// name, which has not signed it. Half of them have something that looks like a certificate.
    fn on_other_device(&mut self, node: usize, victim: PersonId) -> Bytes {
        let conversation = self.any_conversation(node, victim);
        let (own, phone) = (self.nodes[node].key.clone(), self.phone(node));
        let me = own.id().person();
        let other = self.any_author();
        let (author, device, key) = match self.below(4) {
            0 => (me, phone.id(), &phone),
            1 => (other, phone.id(), &phone),
            2 => (other, own.id(), &own),
            _ => (me, own.id(), &own),
        };
        let claimed = (key.id() == own.id() && author == me).then(|| victim.only_device());
        let name = LogName {
            conversation,
            author,
            device,
            log: LogId(self.rng.draw()),
        };
        let salt = self.rng.draw();
        let body = Body::Text(format!("by another device {salt}"));
        let mut entry = Entry::new(self.between(1, 1000), 0, body);
        if self.one_in(2) {
            entry.extensions.set(tag::CERTIFICATE, vec![7; 64]);
        }
        let salts = &mut Salts::new([7; 32]);
        let batch = CheckedBatch::author(key, name, 1, name.genesis(), vec![entry], salts);
        let mut batch = batch.batch;
        batch.name.device = claimed.unwrap_or(device);
        Frame::Batch(batch).encode()
    }
}
