//! The events of one run, drawn from the seed.

mod mishaps;
mod talk;

use std::collections::BTreeSet;

use hobnob_core::replica::{EraseWhat, Input, Replica, Undelivered};
use hobnob_protocol::{Body, ConversationId, LogName, RoomKey, RoomName, Seq};

use super::hostile::Hostile;
use super::link::Conn;
use super::oracle;
use super::world::{Backup, Event, MILLI, SECOND, World};

const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 3600 * 1000;

/// Which nodes can have a session with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Every node with every other.
    Mesh,
    /// Every node with the next one.
    Line,
}

/// An event that a run can contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Say,
    Burst,
    Flood,
    Cut,
    Partition,
    Heal,
    Crash,
    Stop,
    DiskFull,
    Backup,
    Restore,
    Move,
    Renet,
    Part,
    Join,
    Stall,
    ClockJump,
    Double,
    LongWhile,
    Block,
    Delete,
    Clear,
    /// Answer, edit, or react to an entry.
    Amend,
    /// Set the topic, or pin an entry.
    Decide,
    /// Copy the disk of a holder of mail, or go on from the copy.
    CopyHolder,
    RestoreHolder,
}

/// The plan of one run.
#[derive(Default)]
pub(super) struct Script {
    acts: Vec<Act>,
    left: u32,
    /// Minimum and maximum time between two acts.
    pace: (u64, u64),
    pub(super) double_sessions: bool,
    pub(super) newcomer_entries: usize,
    /// The nodes that have the secret from the start. `secret_later`: the nodes that receive it
    /// later.
    secret_at_start: BTreeSet<usize>,
    secret_later: BTreeSet<usize>,
    lobby_at_start: BTreeSet<usize>,
    pub(super) clock_jumped: bool,
    pub(super) healed: bool,
    bodies: u64,
    /// Whether all entries have the maximum length.
    long: bool,
    /// Whether all members must show the same in the end.
    views_agree: bool,
}

impl Script {
    pub(super) fn rooms_at_start(&self, node: usize) -> Vec<(RoomName, RoomKey)> {
        let [lobby, secret] = oracle::rooms();
        let in_lobby = self.lobby_at_start.contains(&node).then_some(lobby);
        let in_secret = self.secret_at_start.contains(&node).then_some(secret);
        in_lobby.into_iter().chain(in_secret).collect()
    }
}

impl World {
    fn set_rooms(&mut self) {
        let [(_, lobby), (_, secret)] = oracle::rooms();
        self.oracle.lobby = Some(lobby.conversation());
        self.oracle.secret = Some(secret.conversation());
        self.script.newcomer_entries = hobnob_core::replica::NEWCOMER_ENTRIES;
    }

    pub(super) fn shape(&mut self, shape: Shape) {
        let n = self.nodes.len();
        for a in 0..n {
            for b in a + 1..n {
                if shape == Shape::Mesh || b == a + 1 {
                    self.edges.insert((a, b));
                }
            }
        }
    }

    /// Sets up a few nodes without faults.
    pub(super) fn set_up_calm(&mut self, nodes: usize, shape: Shape) {
        self.set_rooms();
        for node in 0..nodes {
            self.add_node(0);
            self.script.lobby_at_start.insert(node);
            self.script.secret_at_start.insert(node);
            self.oracle.in_on_it.insert(node);
            self.at(0, Event::Start(node));
        }
        self.shape(shape);
    }

    /// Sets up nodes that are in the room with a secret only, without faults and without edges.
    pub(super) fn set_up_members_of_the_secret(&mut self, nodes: usize) {
        self.set_rooms();
        self.oracle.lobby = None;
        for node in 0..nodes {
            self.add_node(0);
            self.script.secret_at_start.insert(node);
            self.oracle.in_on_it.insert(node);
            self.at(0, Event::Start(node));
        }
    }

    /// No node enters the room with a secret.
    pub(super) fn stay_out_of_the_secret(&mut self) {
        self.script.secret_at_start.clear();
        self.oracle.in_on_it.clear();
    }

    /// Sets up a run with all kinds of faults.
    pub(super) fn set_up_storm(&mut self, hostile: bool) {
        self.set_rooms();
        let n = 2 + usize::try_from(self.below(6).min(self.rng.clone().below(6))).expect("small");
        for node in 0..n {
            let skew = if self.one_in(2) {
                0
            } else {
                self.below(2 * TEN_YEARS_MS) as i64 - TEN_YEARS_MS as i64
            };
            self.add_node(skew);
            if !self.one_in(8) {
                self.script.lobby_at_start.insert(node);
            }
            if self.one_in(2) {
                self.oracle.in_on_it.insert(node);
                let later = self.one_in(3);
                if later {
                    &mut self.script.secret_later
                } else {
                    &mut self.script.secret_at_start
                }
                .insert(node);
            }
            let start = self.below(3 * SECOND);
            self.at(start, Event::Start(node));
        }
        if hostile {
            self.add_hostile();
        }
        let shape = if self.one_in(4) {
            Shape::Line
        } else {
            Shape::Mesh
        };
        self.shape(shape);
        self.choose_acts();
        self.at(SECOND, Event::Act);
    }

    /// Sets up contacts who write while others are away.
    pub(super) fn set_up_mail_storm(&mut self, lies: bool) {
        let nodes = 2 + self.pick(4);
        self.set_up_calm(nodes, Shape::Mesh);
        self.script.lobby_at_start.clear();
        let a_node = Some(self.pick(nodes));
        if lies {
            self.set_up_mail(&[a_node, None], true);
        } else {
            let at = if self.one_in(2) { None } else { a_node };
            self.set_up_mail(&[at], false);
        }
        self.script.acts = vec![Act::Say; 6];
        for (act, times) in [
            (Act::Burst, 1),
            (Act::Partition, 4),
            (Act::Heal, 1),
            (Act::Cut, 1),
            (Act::Crash, 2),
            (Act::Stop, 1),
            (Act::DiskFull, 1),
            (Act::Delete, 1),
            (Act::Part, 1),
            (Act::Join, 2),
        ] {
            self.script.acts.extend(std::iter::repeat_n(act, times));
        }
        // Each in a part of the runs, so that one fault does not hide what another one does.
        for acts in [
            [Act::Backup, Act::Restore],
            [Act::CopyHolder, Act::RestoreHolder],
            [Act::Block, Act::Block],
        ] {
            if self.one_in(3) {
                self.script.acts.extend(acts.into_iter().chain(acts));
            }
        }
        self.script.left = u32::try_from(self.between(20, 60)).expect("small");
        self.script.pace = (MILLI, 10 * SECOND);
        self.at(5 * SECOND, Event::Act);
    }

    /// Sets up contacts who meet once. Returns how many they are.
    pub(super) fn set_up_apart(&mut self) -> usize {
        let nodes = 2 + self.pick(3);
        self.set_up_calm(nodes, Shape::Mesh);
        self.script.lobby_at_start.clear();
        self.set_up_mail(&[None], false);
        nodes
    }

    pub(super) fn one_says_something(&mut self, node: usize) {
        let count = self.between(1, 8);
        self.say_something(node, count);
    }

    pub(super) fn crash_for_a_while(&mut self, node: usize) {
        self.crash_one(node, false);
    }

    fn add_hostile(&mut self) {
        let node = self.add_node(0);
        let member = self.one_in(2);
        let [(_, lobby), (_, secret)] = oracle::rooms();
        let mut rooms = BTreeSet::from([lobby.conversation()]);
        if member {
            rooms.insert(secret.conversation());
            self.oracle.in_on_it.insert(node);
        }
        let run = self.rng.draw();
        self.nodes[node].hostile = Some(Hostile::new(rooms, run));
        let id = self.nodes[node].id;
        self.oracle.hostile.insert(id);
        self.at(SECOND, Event::Mischief(node));
        self.dial_everybody(node);
    }

    fn choose_acts(&mut self) {
        self.script.acts = vec![Act::Say; 6];
        self.script.acts.push(Act::Burst);
        let some = [
            (Act::Cut, 2, 2),
            (Act::Partition, 3, 2),
            (Act::Heal, 1, 1),
            (Act::Crash, 2, 2),
            (Act::Stop, 3, 1),
            (Act::DiskFull, 3, 2),
            (Act::Backup, 3, 2),
            (Act::Restore, 3, 2),
            (Act::Move, 3, 2),
            (Act::Renet, 4, 2),
            (Act::Part, 4, 1),
            (Act::Join, 1, 1),
            (Act::Stall, 4, 1),
            (Act::ClockJump, 8, 1),
            (Act::Double, 6, 1),
            (Act::LongWhile, 8, 1),
            (Act::Flood, 16, 1),
            (Act::Block, 5, 2),
            (Act::Delete, 2, 3),
            (Act::Clear, 4, 1),
            (Act::Amend, 3, 4),
            (Act::Decide, 3, 3),
        ];
        for (act, one_in, times) in some {
            if self.one_in(one_in) {
                self.script.acts.extend(std::iter::repeat_n(act, times));
            }
        }
        self.script.left = u32::try_from(self.between(20, 80)).expect("small");
        let most = [300 * MILLI, 2 * SECOND, 8 * SECOND][self.pick(3)];
        self.script.pace = (MILLI, most);
        self.script.double_sessions = self.one_in(6);
        if self.one_in(6) {
            self.script.newcomer_entries = 5;
        }
    }

    /// Whether the storm is over.
    pub(super) fn storm_is_over(&self) -> bool {
        self.script.left == 0
    }

    pub(super) fn act(&mut self) {
        if self.script.left == 0 {
            return;
        }
        self.script.left -= 1;
        let at = self.pick(self.script.acts.len());
        let act = self.script.acts[at];
        let node = self.pick(self.nodes.len());
        self.note(|| format!("-- {act:?} n{node}"));
        let mut pause = self.between(self.script.pace.0, self.script.pace.1);
        match act {
            Act::Say => self.say_something(node, 1),
            Act::Burst => {
                let count = self.between(2, 40);
                self.say_something(node, count);
            }
            // The entries exceed what a session accepts at once.
            Act::Flood => {
                self.script.long = true;
                self.say_something(node, 50);
                self.script.long = false;
            }
            Act::Cut => self.cut_one(),
            Act::Partition => self.partition(),
            Act::Heal => self.heal(),
            Act::Crash | Act::Restore => self.crash_one(node, act == Act::Restore),
            Act::Stop => {
                let life = self.nodes[node].life;
                self.after(
                    0,
                    Event::Stop {
                        node,
                        life,
                        tries: 0,
                    },
                );
            }
            Act::DiskFull => {
                let until = self.now + self.between(50 * MILLI, 10 * SECOND);
                self.nodes[node].disk.full_until = until;
            }
            Act::Backup => self.back_up(node),
            Act::Move => self.move_one(node),
            Act::Renet => self.change_networks(node),
            Act::Part => self.part_one(node),
            Act::Join => self.join_one(node),
            Act::Stall => self.stall_one(),
            Act::ClockJump => self.jump(node),
            Act::Double => self.double(),
            Act::Block => self.block_or_unblock(node),
            Act::Delete => self.delete_something(node),
            Act::Clear => self.clear_something(node),
            Act::Amend => self.amend_something(node),
            Act::Decide => self.decide_something(node),
            Act::CopyHolder => self.copy_holder(),
            Act::RestoreHolder => self.restore_holder(),
            Act::LongWhile => pause = self.between(600 * SECOND, 5000 * SECOND),
        }
        self.after(pause, Event::Act);
    }

    // Writing entries.

    /// The node deletes one of its messages, with the edits of it.
    fn delete_something(&mut self, node: usize) {
        let of_node = self.oracle.appended.iter().filter(|it| it.node == node);
        let of_node: Vec<_> = of_node.map(|it| (it.name, it.seq)).collect();
        let Some(at) = of_node.len().checked_sub(1) else {
            return;
        };
        let newest = self.between(at.saturating_sub(5) as u64, at as u64);
        let message = of_node[usize::try_from(newest).expect("an index")];
        if self.nodes[node].replica.is_none() {
            return;
        }
        let edits = self.edits_of(node, message);
        for (name, seq) in edits.into_iter().chain([message]) {
            self.delete(node, name, seq);
        }
    }

    fn delete(&mut self, node: usize, name: LogName, seq: Seq) {
        let conversation = name.conversation;
        let token = self.oracle.token();
        self.oracle.deleting.insert(token.0, (name, seq));
        let body = Body::Delete { log: name.log, seq };
        self.input(
            node,
            Input::Append {
                token,
                conversation,
                body,
            },
        );
    }

    /// The node erases a conversation, apart from what is undelivered.
    fn clear_something(&mut self, node: usize) {
        let Some(conversation) = self.choose_conversation(node) else {
            return;
        };
        let token = self.oracle.token();
        let what = EraseWhat {
            only: None,
            undelivered: Undelivered::Keep,
        };
        self.input(node, Input::Erase(token, conversation, what));
    }

    fn say_something(&mut self, node: usize, count: u64) {
        let Some(conversation) = self.choose_conversation(node) else {
            return;
        };
        for _ in 0..count {
            self.say(node, conversation);
        }
    }

    pub(super) fn say(&mut self, node: usize, conversation: ConversationId) {
        self.script.bodies += 1;
        let long = if self.script.long {
            16_000
        } else if self.one_in(12) {
            self.between(100, 16_000)
        } else {
            0
        };
        let body = format!(
            "{}{}",
            self.script.bodies,
            " and so on".repeat(usize::try_from(long / 10).expect("small"))
        );
        let token = self.says(node, conversation, body.clone());
        self.input(
            node,
            Input::Append {
                token,
                conversation,
                body: Body::Text(body),
            },
        );
    }

    pub(super) fn flood(&mut self, node: usize, other: usize, count: u64) {
        self.script.long = true;
        // A stranger's flood would wait for consent.
        let author = self.nodes[node].id;
        self.contacts.insert((other, author));
        self.input(other, Input::Accept(author));
        let peer = self.nodes[other].id;
        self.input(node, Input::OpenDirect(peer));
        let conversation = ConversationId::direct(self.nodes[node].id, self.nodes[other].id);
        (0..count).for_each(|_| self.say(node, conversation));
        self.script.long = false;
    }

    fn choose_conversation(&mut self, node: usize) -> Option<ConversationId> {
        self.nodes[node].replica.as_ref()?;
        let rooms: Vec<_> = self.rooms(node).into_iter().collect();
        if !rooms.is_empty() && !self.one_in(3) {
            let at = self.pick(rooms.len());
            return Some(rooms[at]);
        }
        let other = self.pick(self.nodes.len());
        if other == node {
            return None;
        }
        let peer = self.nodes[other].id;
        self.input(node, Input::OpenDirect(peer));
        Some(ConversationId::direct(self.nodes[node].id, peer))
    }

    // Repair.

    /// Repairs everything: from now on all replicas can reach each other along the topology.
    pub(super) fn mend(&mut self) {
        self.note(|| "-- all is mended".to_owned());
        self.script.healed = true;
        self.script.left = 0;
        for node in 0..self.nodes.len() {
            self.nodes[node].disk.full_until = 0;
            self.groups[node] = 0;
            if self.nodes[node].place != 0 {
                self.move_to(node, 0);
            }
        }
        for conn in self.conns.values_mut() {
            conn.ends.iter_mut().for_each(|end| end.stalled = false);
        }
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            for end in 0..2 {
                self.after(0, Event::Drain { conn, end });
            }
        }
        self.unblock_everybody();
        // The nodes that join the room later do so now at the latest.
        for node in self.script.secret_later.clone() {
            let [_, (name, key)] = oracle::rooms();
            if self.nodes[node].replica.is_some() && !self.is_in(node, key.conversation()) {
                self.join(node, name, key);
            }
        }
        self.rewire();
    }

    /// Each node writes one entry in each of its conversations.
    pub(super) fn everybody_speaks(&mut self, direct: bool) {
        for node in (0..self.nodes.len())
            .filter(|node| self.nodes[*node].hostile.is_none())
            .collect::<Vec<_>>()
        {
            for room in self.rooms(node) {
                self.say(node, room);
            }
            for other in 0..self.nodes.len() {
                let id = ConversationId::direct(self.nodes[node].id, self.nodes[other].id);
                if direct
                    && other != node
                    && self.nodes[node]
                        .replica
                        .as_ref()
                        .is_some_and(|it| has(it, id))
                {
                    self.say(node, id);
                }
            }
        }
    }
}

fn has(replica: &Replica, id: ConversationId) -> bool {
    replica.kind(id).is_some()
}
