//! Sessions between nodes: dialing, transmission, cuts, network changes and shared rooms.

use std::collections::BTreeSet;

use bytes::Bytes;
use hobnob_core::SessionId;
use hobnob_core::commit::NetworkId;
use hobnob_core::replica::{BATCHES_OUTSTANDING_MAX, Input};
use hobnob_core::source_network::SourceNetwork;
use hobnob_protocol::frame::FRAME_MAX;
use hobnob_protocol::{ConversationId, Frame};

use super::link::{BATCHES, CONTROL, Conn, End, Item, PERMITS, WINDOW};
use super::world::{Event, MILLI, SECOND, World};

/// Maximum bytes of control frames that a replica may queue on a session that does not write them.
const FRAMES_OUTSTANDING_LIMIT: usize = 1024 * 1024;

/// From this many nodes on, a node dials only those that it can reach.
const CROWD: usize = 20;

impl World {
    // Start and end of sessions.

    pub(super) fn reachable(&self, a: usize, b: usize) -> bool {
        let (a, b) = (a.min(b), a.max(b));
        let apart = self.blocks.contains(&(a, b)) || self.blocks.contains(&(b, a));
        let near = self.nodes[a].place == self.nodes[b].place && self.groups[a] == self.groups[b];
        self.edges.contains(&(a, b)) && near && !apart
    }

    pub(super) fn running(&self, node: usize) -> bool {
        self.nodes[node].replica.is_some() || self.nodes[node].hostile.is_some()
    }

    pub(super) fn dial_everybody(&mut self, node: usize) {
        // In a crowd almost all dials would be in vain.
        let is_crowd = self.nodes.len() > CROWD;
        for other in 0..self.nodes.len() {
            let edge = (node.min(other), node.max(other));
            if other != node && (!is_crowd || self.edges.contains(&edge)) {
                let delay = self.between(10 * MILLI, SECOND);
                self.after(delay, Event::Dial(node, other));
            }
        }
    }

    pub(super) fn dial(&mut self, a: usize, b: usize) {
        if !self.running(a) || !self.running(b) || !self.reachable(a, b) {
            return;
        }
        // A node dials only if one of the two ends sees no session. After a cut, one end may notice
        // first.
        let believes = |node: usize, other: usize| {
            self.conns.values().any(|conn| {
                conn.joins(node, other) && conn.ends.iter().any(|end| end.node == node && !end.gone)
            })
        };
        let both = believes(a, b) && believes(b, a);
        if both && !(self.script.double_sessions && self.one_in(10)) {
            return;
        }
        self.connect(a, b);
    }

    /// Opens a second session beside the first, as when both ends have dialed.
    pub(super) fn connect_again(&mut self, (a, b): (usize, usize)) {
        if self.running(a) && self.running(b) && self.reachable(a, b) {
            self.connect(a, b);
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        let id = self.next_conn();
        let [of_a, of_b] = [SessionId(id * 2), SessionId(id * 2 + 1)];
        let (rooms_a, rooms_b) = (self.rooms(a), self.rooms(b));
        let slow = self.one_in(6);
        let conn = Conn {
            ends: [End::new(a, of_a, rooms_b), End::new(b, of_b, rooms_a)],
            wire: true,
            latency_us: self.between(200, if slow { 200 * MILLI } else { 20 * MILLI }),
            jitter_us: self.between(0, 10 * MILLI),
            bytes_per_s: if slow {
                self.between(20_000, 200_000)
            } else {
                20_000_000
            },
        };
        self.conns.insert(id, conn);
        self.sessions.insert((a, of_a), (id, 0));
        self.sessions.insert((b, of_b), (id, 1));
        for end in 0..2 {
            let delay = self.between(0, 50 * MILLI);
            self.after(delay, Event::Up { conn: id, end });
        }
    }

    pub(super) fn up(&mut self, id: u64, end: usize) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.ends[end].gone) else {
            return;
        };
        conn.ends[end].up = true;
        let (node, other) = (conn.ends[end].node, conn.ends[1 - end].node);
        let session = conn.ends[end].session;
        let wire = conn.wire;
        let network = self.any_network(node);
        self.conns.get_mut(&id).expect("found above").ends[end].network = network;
        self.note(|| format!("n{node} has a session {} with n{other}", session.0));
        let peer = self.nodes[other].id;
        let source = SourceNetwork(other as u64);
        if self.nodes[node].replica.is_some() {
            self.input(
                node,
                Input::SessionUp(session, peer.only_device(), network, source),
            );
        }
        let told = self.rooms(node);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.ends[end].streams[CONTROL]
                .queue
                .push_front(Item::Rooms(told));
        }
        self.pump(id, end, CONTROL);
        self.share_rooms(id, end, false);
        self.after(0, Event::Drain { conn: id, end });
        if !wire {
            let noticed = self.between(SECOND, 15 * SECOND);
            self.after(
                noticed,
                Event::Down {
                    conn: id,
                    end,
                    goodbye: false,
                },
            );
        }
    }

    pub(super) fn down(&mut self, id: u64, end: usize, goodbye: bool) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.ends[end].gone) else {
            return;
        };
        conn.wire = false;
        let (node, other) = (conn.ends[end].node, conn.ends[1 - end].node);
        let session = conn.ends[end].session;
        let other_gone = conn.ends[1 - end].gone;
        let was_up = conn.ends[end].up;
        self.change_presence(node, goodbye, |world| {
            if let Some(conn) = world.conns.get_mut(&id) {
                conn.ends[end].gone = true;
                conn.ends[end].shared.clear();
            }
        });
        self.note(|| {
            format!(
                "n{node} loses session {} with n{other}, goodbye: {goodbye}",
                session.0
            )
        });
        if was_up && self.nodes[node].replica.is_some() {
            self.input(node, Input::SessionDown { session, goodbye });
        }
        if !other_gone {
            let noticed = self.between(0, 15 * SECOND);
            self.after(
                noticed,
                Event::Down {
                    conn: id,
                    end: 1 - end,
                    goodbye: false,
                },
            );
        } else {
            self.conns.remove(&id);
        }
        let delay = self.between(50 * MILLI, 2 * SECOND);
        self.after(delay, Event::Dial(node, other));
    }

    /// Cuts the wire between two nodes. Each end notices after a different time.
    pub(super) fn cut(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.wire) else {
            return;
        };
        conn.wire = false;
        for end in 0..2 {
            let noticed = if self.one_in(3) {
                10 * MILLI
            } else {
                self.between(0, 15 * SECOND)
            };
            self.after(
                noticed,
                Event::Down {
                    conn: id,
                    end,
                    goodbye: false,
                },
            );
        }
    }

    /// Applies a change of the topology: cuts sessions that are no longer possible, and makes all
    /// nodes dial.
    pub(super) fn rewire(&mut self) {
        let all: Vec<_> = self
            .conns
            .iter()
            .map(|(id, conn)| (*id, conn.ends[0].node, conn.ends[1].node))
            .collect();
        for (id, a, b) in all {
            if !self.reachable(a, b) {
                self.cut(id);
            }
        }
        for node in 0..self.nodes.len() {
            self.dial_everybody(node);
        }
    }

    // Rooms.

    pub(super) fn rooms_changed(&mut self, node: usize) {
        let told = self.rooms(node);
        let ends: Vec<_> = self
            .sessions
            .range((node, SessionId(0))..=(node, SessionId(u64::MAX)))
            .map(|(_, at)| *at)
            .collect();
        for (id, end) in ends {
            let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.ends[end].live()) else {
                continue;
            };
            conn.ends[end].streams[CONTROL]
                .queue
                .push_back(Item::Rooms(told.clone()));
            self.share_rooms(id, end, true);
            self.pump(id, end, CONTROL);
        }
    }

    /// Passes the rooms that a session shares to the replica, as far as its end knows them. Leaving
    /// a room counts as a goodbye.
    fn share_rooms(&mut self, id: u64, end: usize, goodbye: bool) {
        let Some(conn) = self.conns.get(&id).filter(|conn| conn.ends[end].live()) else {
            return;
        };
        let (node, session) = (conn.ends[end].node, conn.ends[end].session);
        let theirs = conn.ends[end].peer_rooms.clone();
        let shared: BTreeSet<ConversationId> =
            self.rooms(node).intersection(&theirs).copied().collect();
        let given = shared.clone();
        let other = conn.ends[1 - end].node;
        if self
            .oracle
            .secret
            .is_some_and(|secret| shared.contains(&secret))
        {
            self.mail_member(node, other);
        }
        self.change_presence(node, goodbye, |world| {
            if let Some(conn) = world.conns.get_mut(&id) {
                conn.ends[end].shared = given;
            }
        });
        if self.nodes[node].replica.is_some() {
            self.input(node, Input::SessionRooms(session, shared));
        }
    }

    // Networks.

    /// A network by which a node can reach a peer now. Sometimes it is a relay.
    fn any_network(&mut self, node: usize) -> Option<NetworkId> {
        let at = self.pick(self.nodes[node].networks.len());
        let network = self.nodes[node].networks.iter().nth(at).copied();
        network.filter(|_| !self.one_in(8))
    }

    /// A node is on other networks than before. Some sessions survive and are confirmed again.
    pub(super) fn networks_changed(
        &mut self,
        node: usize,
        networks: BTreeSet<NetworkId>,
        place: usize,
    ) {
        self.nodes[node].networks = networks.clone();
        self.nodes[node].place = place;
        self.nodes[node].moves += 1;
        let moves = self.nodes[node].moves;
        self.note(|| format!("n{node} is at place {place} on {networks:?}"));
        if self.nodes[node].replica.is_some() {
            self.settle();
            self.oracle.networks_changed(node, self.now, &networks);
            self.input(node, Input::NetworksChanged(networks.clone()));
        }
        let ends: Vec<_> = self
            .sessions
            .range((node, SessionId(0))..=(node, SessionId(u64::MAX)))
            .map(|(_, at)| *at)
            .collect();
        for (id, end) in ends {
            let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.ends[end].live()) else {
                continue;
            };
            let is_left = |network| !networks.contains(&network);
            if conn.ends[end].network.is_some_and(is_left) {
                conn.ends[end].confirmed = false;
            }
            let delay = 2 * conn.latency_us + MILLI;
            self.after(
                delay,
                Event::Confirm {
                    conn: id,
                    end,
                    moves,
                },
            );
        }
        self.rewire();
    }

    pub(super) fn confirm(&mut self, id: u64, end: usize, moves: u64) {
        let Some(conn) = self
            .conns
            .get_mut(&id)
            .filter(|conn| conn.wire && conn.ends[end].live())
        else {
            return;
        };
        let (node, other, session) = (
            conn.ends[end].node,
            conn.ends[1 - end].node,
            conn.ends[end].session,
        );
        if self.nodes[node].moves == moves && self.nodes[node].replica.is_some() {
            let network = self.any_network(node);
            let end = &mut self.conns.get_mut(&id).expect("found above").ends[end];
            (end.confirmed, end.network) = (true, network);
            let in_lobby = self
                .oracle
                .lobby
                .is_some_and(|lobby| end.shared.contains(&lobby));
            let peer = self.nodes[other].id;
            if in_lobby {
                self.oracle.confirmed(node, self.now, peer, network);
            }
            self.input(node, Input::Confirmed(session, network));
        }
    }

    // Bytes.

    pub(super) fn send(&mut self, node: usize, session: SessionId, frame: Bytes) {
        self.note_bytes(&frame);
        self.stats.frames += 1;
        self.stats.frame_bytes += frame.len() as u64;
        self.hand_over(node, session, CONTROL, frame, FRAMES_OUTSTANDING_LIMIT);
    }

    pub(super) fn send_batch(&mut self, node: usize, session: SessionId, frame: Bytes) {
        self.note_bytes(&frame);
        self.hand_over(
            node,
            session,
            BATCHES,
            frame,
            BATCHES_OUTSTANDING_MAX + FRAME_MAX,
        );
    }

    fn hand_over(
        &mut self,
        node: usize,
        session: SessionId,
        stream: usize,
        frame: Bytes,
        limit: usize,
    ) {
        let Some(&(id, end)) = self.sessions.get(&(node, session)) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.ends[end].live()) else {
            return;
        };
        let other = conn.ends[1 - end].node;
        let it = &mut conn.ends[end].streams[stream];
        it.outstanding += frame.len();
        let outstanding = it.outstanding;
        it.queue.push_back(Item::Frame(frame.clone()));
        if outstanding > limit {
            self.fail(format!("n{node} handed {outstanding} bytes to one stream of a session that does not take them"));
        }
        self.check_frame(node, other, &frame);
        self.pump(id, end, stream);
    }

    /// Puts queued items on the wire, as far as the window allows.
    pub(super) fn pump(&mut self, id: u64, end: usize, stream: usize) {
        let now = self.now;
        loop {
            let jitter = self.rng.draw();
            let Some(conn) = self.conns.get_mut(&id) else {
                return;
            };
            let (wire, latency, rate) = (
                conn.wire,
                conn.latency_us + jitter % (conn.jitter_us + 1),
                conn.bytes_per_s,
            );
            let it = &mut conn.ends[end].streams[stream];
            let Some(len) = it
                .queue
                .front()
                .map(Item::len)
                .filter(|len| it.unread == 0 || it.unread + len <= WINDOW)
            else {
                return;
            };
            let item = it.queue.pop_front().expect("peeked above");
            it.unread += len;
            it.busy_until = it.busy_until.max(now) + len as u64 * SECOND / rate;
            it.last_arrival = it.last_arrival.max(it.busy_until + latency);
            let (leaves, arrives) = (it.busy_until, it.last_arrival);
            if matches!(item, Item::Frame(_)) {
                self.at(
                    leaves,
                    Event::Left {
                        conn: id,
                        from: end,
                        stream,
                        len,
                    },
                );
            }
            if wire {
                self.at(
                    arrives,
                    Event::Arrive {
                        conn: id,
                        from: end,
                        stream,
                        item,
                    },
                );
            }
        }
    }

    pub(super) fn left(&mut self, id: u64, from: usize, stream: usize, len: usize) {
        let Some(conn) = self
            .conns
            .get_mut(&id)
            .filter(|conn| conn.ends[from].live())
        else {
            return;
        };
        conn.ends[from].streams[stream].outstanding -= len;
        let (node, session) = (conn.ends[from].node, conn.ends[from].session);
        if self.nodes[node].replica.is_some() {
            let written = if stream == CONTROL {
                Input::FramesWritten(session, len)
            } else {
                Input::BatchesWritten(session, len)
            };
            self.input(node, written);
        }
    }

    pub(super) fn arrive(&mut self, id: u64, from: usize, stream: usize, item: Item) {
        let Some(conn) = self
            .conns
            .get_mut(&id)
            .filter(|conn| conn.wire && !conn.ends[1 - from].gone)
        else {
            return;
        };
        conn.ends[from].streams[stream].inbox.push_back(item);
        self.drain(id, 1 - from);
    }

    /// Passes arrived items to a node, as far as it reads.
    pub(super) fn drain(&mut self, id: u64, end: usize) {
        for stream in [CONTROL, BATCHES] {
            while let Some(item) = self.next_arrived(id, end, stream) {
                self.deliver(id, end, stream, item);
                self.pump(id, 1 - end, stream);
            }
        }
    }

    fn next_arrived(&mut self, id: u64, end: usize, stream: usize) -> Option<Item> {
        let conn = self
            .conns
            .get_mut(&id)
            .filter(|conn| conn.ends[end].live() && !conn.ends[end].stalled)?;
        if stream == BATCHES && conn.ends[end].permits == 0 {
            return None;
        }
        let item = conn.ends[1 - end].streams[stream].inbox.pop_front()?;
        conn.ends[1 - end].streams[stream].unread -= item.len();
        if stream == BATCHES {
            conn.ends[end].permits -= 1;
        }
        Some(item)
    }

    fn deliver(&mut self, id: u64, end: usize, stream: usize, item: Item) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let (node, from, session) = (
            conn.ends[end].node,
            conn.ends[1 - end].node,
            conn.ends[end].session,
        );
        let frame = match item {
            Item::Rooms(rooms) => {
                conn.ends[end].peer_rooms = rooms;
                self.share_rooms(id, end, true);
                return;
            }
            Item::Frame(frame) => frame,
        };
        if self.nodes[node].hostile.is_some() {
            self.seen_by_hostile(node, id, end, stream, frame);
            return;
        }
        match Frame::decode(&frame) {
            Ok(Frame::Batch(batch)) if stream == BATCHES => {
                self.input(node, Input::Batch(session, batch))
            }
            Ok(frame) if stream == CONTROL => self.input(node, Input::Frame(session, frame)),
            wrong if self.nodes[from].hostile.is_none() => {
                self.fail(format!("n{from} sent n{node} the frame {wrong:?}"))
            }
            // A real node ends a session after an invalid frame. Here the session continues, to
            // test more frames.
            _ if stream == BATCHES => self.release(node, session, 1),
            _ => {}
        }
    }

    pub(super) fn release(&mut self, node: usize, session: SessionId, batches: usize) {
        let Some(&(id, end)) = self.sessions.get(&(node, session)) else {
            return;
        };
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| conn.ends[end].live()) else {
            return;
        };
        conn.ends[end].permits += batches;
        if conn.ends[end].permits > PERMITS {
            self.fail(format!("n{node} released more batches than it was given"));
        }
        self.after(0, Event::Drain { conn: id, end });
    }

    pub(super) fn unstall(&mut self, id: u64, end: usize) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.ends[end].stalled = false;
            self.drain(id, end);
        }
    }
}
