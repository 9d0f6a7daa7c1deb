//! Commits to the simulated disks.

use super::*;

impl World {
    pub(super) fn commit(&mut self, node: usize, commit: Commit) {
        self.stamp(node, &commit);
        self.check_not_taken(node, &commit);
        if self.fault == Some(Fault::AnswerBeforeWriting) {
            self.input(node, Input::Committed(commit.id));
        }
        self.nodes[node].disk.queue.push_back(commit);
        self.kick_disk(node);
    }

    fn kick_disk(&mut self, node: usize) {
        if !self.nodes[node].disk.busy && !self.nodes[node].disk.queue.is_empty() {
            self.nodes[node].disk.busy = true;
            let (life, delay) = (self.nodes[node].life, self.between(0, 20 * MILLI));
            self.after(delay, Event::Disk(node, life));
        }
    }

    /// Makes a group of waiting commits durable. On a full disk, all waiting commits fail.
    pub(super) fn write_some(&mut self, node: usize, life: u64) {
        if self.nodes[node].life != life {
            return;
        }
        self.nodes[node].disk.busy = false;
        if self.nodes[node].disk.full_until > self.now {
            self.nodes[node].disk.last_full = self.now;
            for commit in std::mem::take(&mut self.nodes[node].disk.queue) {
                self.input(
                    node,
                    Input::CommitFailed(commit.id, "no room on the disk".to_owned()),
                );
            }
            return;
        }
        let waiting = self.nodes[node].disk.queue.len();
        let group = 1 + self.pick(waiting);
        for _ in 0..group {
            let Some(commit) = self.nodes[node].disk.queue.pop_front() else {
                break;
            };
            self.apply(node, &commit);
            if self.fault != Some(Fault::AnswerBeforeWriting) {
                self.input(node, Input::Committed(commit.id));
            }
        }
        self.kick_disk(node);
    }

    pub(crate) fn apply(&mut self, node: usize, commit: &Commit) {
        match self.nodes[node].disk.durable.apply(commit) {
            Ok(()) => self.is_durable(node, commit),
            Err(wrong) => self.fail(format!("n{node}'s store was given {wrong}")),
        }
    }
}
