//! The single faults of a storm.

use hobnob_core::commit::NetworkId;

use super::*;
use crate::world::main_network;

impl World {
    pub(crate) fn cut_one(&mut self) {
        let all: Vec<_> = self.conns.keys().copied().collect();
        if !all.is_empty() {
            let at = self.pick(all.len());
            self.cut(all[at]);
        }
    }

    pub(super) fn partition(&mut self) {
        for node in 0..self.nodes.len() {
            self.groups[node] = self.pick(2);
        }
        self.rewire();
    }

    /// Isolates every node.
    pub(crate) fn part_ways(&mut self) {
        self.groups = (0..self.nodes.len()).collect();
        self.rewire();
    }

    /// Isolates these nodes, each from all others.
    pub(crate) fn part(&mut self, apart: &[usize]) {
        self.groups.fill(0);
        for (group, node) in apart.iter().enumerate() {
            self.groups[*node] = group + 1;
        }
        self.rewire();
    }

    pub(super) fn heal(&mut self) {
        self.groups.fill(0);
        self.rewire();
    }

    pub(super) fn crash_one(&mut self, node: usize, restore: bool) {
        if self.nodes[node].replica.is_some() {
            let down_for = self.between(10 * MILLI, 10 * SECOND);
            self.crash(node, down_for, restore && self.nodes[node].backup.is_some());
        }
    }

    pub(super) fn back_up(&mut self, node: usize) {
        if self.nodes[node].hostile.is_some() {
            return;
        }
        let left = self.left_as_stored(node);
        let it = &self.nodes[node];
        let in_secret_since = self.oracle.in_secret_since[node];
        let (durable, mail) = (it.disk.durable.clone(), self.stored_mail(node));
        self.nodes[node].backup = Some(Backup {
            durable,
            left,
            in_secret_since,
            mail,
        });
    }

    pub(super) fn move_one(&mut self, node: usize) {
        if self.nodes[node].hostile.is_some() {
            return;
        }
        let place = self.pick(3);
        if place != self.nodes[node].place {
            self.move_to(node, place);
        }
    }

    /// Moves a node to a place. It keeps its other networks.
    pub(crate) fn move_to(&mut self, node: usize, place: usize) {
        let mut networks = self.nodes[node].networks.clone();
        networks.remove(&main_network(self.nodes[node].place));
        networks.insert(main_network(place));
        self.networks_changed(node, networks, place);
    }

    /// Adds a network, or takes one away, or replaces all. The node stays where it is.
    pub(super) fn change_networks(&mut self, node: usize) {
        let place = self.nodes[node].place;
        let mut networks = self.nodes[node].networks.clone();
        match self.below(3) {
            0 => networks.clear(),
            1 if networks.len() > 1 => {
                let at = self.pick(networks.len());
                let of_all = networks.iter().nth(at).copied();
                networks.remove(&of_all.expect("below the length"));
                return self.networks_changed(node, networks, place);
            }
            _ => {}
        }
        networks.insert(NetworkId(self.rng.draw()));
        self.networks_changed(node, networks, place);
    }

    pub(super) fn part_one(&mut self, node: usize) {
        let rooms: Vec<_> = self.rooms(node).into_iter().collect();
        if self.nodes[node].replica.is_some() && !rooms.is_empty() {
            let (at, token) = (self.pick(rooms.len()), self.oracle.token());
            self.input(node, Input::Part(token, rooms[at]));
        }
    }

    pub(super) fn join_one(&mut self, node: usize) {
        let [lobby, secret] = oracle::rooms();
        let (name, key) = if self.oracle.in_on_it.contains(&node) && self.one_in(2) {
            secret
        } else {
            lobby
        };
        if self.nodes[node].replica.is_some() && !self.is_in(node, key.conversation()) {
            self.join(node, name, key);
        }
    }

    pub(super) fn stall_one(&mut self) {
        let all: Vec<_> = self.conns.keys().copied().collect();
        if all.is_empty() {
            return;
        }
        let (at, end) = (self.pick(all.len()), self.pick(2));
        if let Some(conn) = self.conns.get_mut(&all[at]) {
            conn.ends[end].stalled = true;
        }
        let wait = self.between(100 * MILLI, 20 * SECOND);
        self.after(wait, Event::Unstall { conn: all[at], end });
    }

    pub(super) fn jump(&mut self, node: usize) {
        self.script.clock_jumped = true;
        self.nodes[node].skew_ms = self.below(2 * TEN_YEARS_MS) as i64 - TEN_YEARS_MS as i64;
    }

    pub(super) fn double(&mut self) {
        let pairs: Vec<_> = self
            .conns
            .values()
            .filter(|conn| conn.wire)
            .map(Conn::nodes)
            .collect();
        if !pairs.is_empty() {
            let at = self.pick(pairs.len());
            self.connect_again(pairs[at]);
        }
    }
}
