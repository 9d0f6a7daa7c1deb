//! Blocks between nodes. The two have no session, and the blocking node neither accepts nor
//! forwards entries of the blocked one.

use hobnob_core::commit::{Commit, Op};
use hobnob_core::replica::Input;
use hobnob_protocol::PersonId;

use super::world::{Event, World};

impl World {
    pub(super) fn has_blocked(&self, node: usize, author: PersonId) -> bool {
        self.oracle
            .index(author)
            .is_some_and(|author| self.blocks.contains(&(node, author)))
    }

    pub(super) fn blocked_by(&self, node: usize) -> Vec<PersonId> {
        self.blocks
            .range((node, 0)..(node + 1, 0))
            .map(|(_, other)| self.nodes[*other].id)
            .collect()
    }

    /// Blocks a node. All sessions between the two end. For the blocking node, this counts as a
    /// goodbye.
    pub(super) fn block(&mut self, node: usize, other: usize) {
        if node == other || self.nodes[node].replica.is_none() {
            return;
        }
        let author = self.nodes[other].id;
        self.note(|| format!("n{node} blocks n{other}"));
        self.input(node, Input::Block(author));
        self.settle();
        self.blocks.insert((node, other));
        let between: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.joins(node, other))
            .map(|(id, _)| *id)
            .collect();
        for conn in between {
            let end = usize::from(self.conns[&conn].ends[1].node == node);
            self.after(
                0,
                Event::Down {
                    conn,
                    end,
                    goodbye: true,
                },
            );
        }
    }

    pub(super) fn unblock(&mut self, node: usize, other: usize) {
        if self.blocks.remove(&(node, other)) {
            self.note(|| format!("n{node} unblocks n{other}"));
            let author = self.nodes[other].id;
            self.input(node, Input::Unblock(author));
            self.after(0, Event::Dial(node, other));
        }
    }

    /// Blocks a random node in a storm, or unblocks it.
    pub(super) fn block_or_unblock(&mut self, node: usize) {
        let other = self.pick(self.nodes.len());
        let is_blocked = self.blocks.contains(&(node, other));
        if is_blocked {
            self.unblock(node, other)
        } else {
            self.block(node, other)
        }
    }

    pub(super) fn unblock_everybody(&mut self) {
        for (node, other) in self.blocks.clone() {
            self.unblock(node, other);
        }
    }

    pub(super) fn check_not_taken(&mut self, node: usize, commit: &Commit) {
        for op in &commit.ops {
            if let Op::Append { batch, .. } = op
                && self.has_blocked(node, batch.batch.name.author)
            {
                self.fail(format!(
                    "n{node} takes entries of {:?}, whose author it has blocked",
                    batch.batch.name
                ));
            }
        }
    }
}
