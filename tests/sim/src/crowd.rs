//! A room with a key and many members behind a relay: each has sessions with its neighbours only.

use hobnob_core::overlay::neighbours;

use super::oracle;
use super::world::World;

impl World {
    /// Sets up this many members. They have sessions with the neighbours that a node chooses.
    pub(super) fn set_up_crowd(&mut self, nodes: usize) {
        self.set_up_members_of_the_secret(nodes);
        let mut order: Vec<_> = (0..nodes).collect();
        order.sort_by_key(|node| self.nodes[*node].id);
        let ids: Vec<_> = order
            .iter()
            .map(|node| self.nodes[*node].id.only_device())
            .collect();
        for at in 0..nodes {
            let others = [&ids[at + 1..], &ids[..at]].concat();
            for neighbour in neighbours(ids[at], &others) {
                let other = ids.binary_search(&neighbour).expect("one of them");
                let (a, b) = (order[at], order[other]);
                self.edges.insert((a.min(b), a.max(b)));
            }
        }
    }

    /// A node writes a message in the room.
    pub(super) fn say_in_secret(&mut self, node: usize) {
        let [_, (_, secret)] = oracle::rooms();
        self.say(node, secret.conversation());
    }

    /// The largest number of sessions of one node.
    pub(super) fn most_sessions(&self) -> usize {
        let of = |node: usize| {
            let ends = self.conns.values().flat_map(|conn| &conn.ends);
            ends.filter(|end| end.node == node && end.live()).count()
        };
        (0..self.nodes.len()).map(of).max().unwrap_or_default()
    }
}
