//! Starts, stops and crashes of nodes. A node may restart from an older copy of its store.

use super::*;

impl World {
    pub(super) fn start(&mut self, node: usize) {
        if self.nodes[node].replica.is_some() || self.nodes[node].hostile.is_some() {
            return;
        }
        let run = self.rng.draw();
        let reuse = self.fault == Some(Fault::OneLogForAllRuns) && self.nodes[node].run != 0;
        let now = Now {
            mono: Duration::ZERO,
            wall_ms: self.wall_ms(node),
        };
        let fault = self.fault;
        let it = &mut self.nodes[node];
        it.run = if reuse { it.run } else { run };
        it.life += 1;
        it.started_at = self.now;
        it.armed = None;
        let mut replica = FaultyReplica::new(
            fault,
            it.key.clone(),
            it.run,
            it.networks.clone(),
            now,
            it.disk.durable.loaded(),
        );
        replica.limit_open_rooms(self.room_limits);
        it.replica = Some(replica);
        let life = it.life;
        self.note(|| format!("n{node} starts, run {life}"));
        self.oracle.started(node, &self.nodes[node].networks);
        let rooms = self.script.rooms_at_start(node);
        for (name, key) in rooms {
            if !self.is_in(node, key.conversation()) {
                self.join(node, name, key);
            }
        }
        let contacts = self.contacts.iter().filter(|(of, _)| *of == node);
        for (_, contact) in contacts.copied().collect::<Vec<_>>() {
            self.input(node, Input::Accept(contact));
        }
        for blocked in self.blocked_by(node) {
            self.input(node, Input::Block(blocked));
        }
        self.input(node, Input::Timeout);
        self.dial_everybody(node);
    }

    pub(crate) fn join(&mut self, node: usize, name: RoomName, key: RoomKey) {
        let token = self.oracle.token();
        self.input(node, Input::Join { token, name, key });
    }

    /// Simulates a power failure: everything that is not durable is lost. Some waiting commits may
    /// have been written without a confirmation.
    pub(crate) fn crash(&mut self, node: usize, down_for: u64, restore: bool) {
        let waiting = self.nodes[node].disk.queue.len();
        let written = if self.nodes[node].disk.full_until > self.now
            || self.fault == Some(Fault::AnswerBeforeWriting)
        {
            0
        } else {
            self.pick(waiting + 1)
        };
        for _ in 0..written {
            let Some(commit) = self.nodes[node].disk.queue.pop_front() else {
                break;
            };
            self.apply(node, &commit);
        }
        self.note(|| format!("n{node} crashes; restored backup: {restore}"));
        self.oracle_crash(node);
        self.leave(node, false);
        if restore {
            self.restore(node);
        }
        self.after(down_for, Event::Start(node));
    }

    pub(super) fn restore(&mut self, node: usize) {
        let now = self.now;
        let Some(backup) = self.nodes[node].backup.take() else {
            return;
        };
        self.nodes[node].disk.durable = backup.durable;
        self.restore_mail(node, backup.mail);
        self.oracle.restored(
            node,
            now,
            backup.left,
            backup.in_secret_since,
            &self.nodes[node].disk.durable,
        );
    }

    /// Stops a node in an orderly way: it flushes lazy writes and says goodbye to all peers.
    pub(super) fn stop(&mut self, node: usize, life: u64, tries: u32) {
        if self.nodes[node].life != life || self.nodes[node].replica.is_none() {
            return;
        }
        if tries == 0 {
            self.input(node, Input::Flush);
        }
        let idle = self.nodes[node]
            .replica
            .as_ref()
            .is_some_and(|replica| replica.commits_under_way() == 0);
        if (tries > 0 && idle) || tries > 100 {
            self.oracle_crash(node);
            self.leave(node, true);
            let away = self.between(SECOND, 20 * SECOND);
            self.after(away, Event::Start(node));
        } else {
            self.after(
                20 * MILLI,
                Event::Stop {
                    node,
                    life,
                    tries: tries + 1,
                },
            );
        }
    }

    fn leave(&mut self, node: usize, goodbye: bool) {
        let it = &mut self.nodes[node];
        it.replica = None;
        it.life += 1;
        it.disk.queue.clear();
        it.disk.busy = false;
        let ids: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.ends.iter().any(|end| end.node == node && !end.gone))
            .collect();
        let ids: Vec<_> = ids
            .into_iter()
            .map(|(id, conn)| (*id, usize::from(conn.ends[1].node == node)))
            .collect();
        for (id, mine) in ids {
            let Some(conn) = self.conns.get_mut(&id) else {
                continue;
            };
            conn.wire = false;
            conn.ends[mine].gone = true;
            let noticed = if goodbye || self.rng.below(2) == 0 {
                30 * MILLI
            } else {
                SECOND * (1 + self.rng.below(15))
            };
            self.after(
                noticed,
                Event::Down {
                    conn: id,
                    end: 1 - mine,
                    goodbye,
                },
            );
        }
    }
}
