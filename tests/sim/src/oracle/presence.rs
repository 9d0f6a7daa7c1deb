//! The presence in the open room as each node saw it, and the resulting audience of each entry.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use hobnob_core::commit::{Commit, CommitId, NetworkId, Op};
use hobnob_protocol::{CheckedBatch, LogName, PersonId, Seq};

use super::super::disk::Durable;
use super::super::world::{MILLI, SECOND, World};
use super::Oracle;

const LINGER: u64 = 3600 * SECOND;

/// A crash may lose lazy writes that are younger than this.
const LAZY: u64 = 3 * SECOND;

/// A peer that was in the open room and disconnected without a goodbye.
#[derive(Debug, Clone)]
pub(crate) struct Left {
    at: u64,
    /// Whether the node must still know the peer. A crash may make it forget.
    sure: bool,
    /// Whether the peer was still present at that time. The store then counts from the peer's last
    /// sign of life.
    here: bool,
    /// The networks by which the node may have reached the peer. `None` is a relay. It is one
    /// network, unless a crash may have lost a change of it: the store then has the one before.
    networks: Reached,
}

impl Left {
    /// The node is on these networks now. Returns whether the peer may still count as present.
    fn stays(&mut self, networks: &BTreeSet<NetworkId>) -> bool {
        self.networks.retain(|network| is_on(*network, networks));
        !self.networks.is_empty()
    }
}

/// The networks by which a node reaches a peer and by which the peer was confirmed.
type Reached = Vec<Option<NetworkId>>;

fn is_on(network: Option<NetworkId>, networks: &BTreeSet<NetworkId>) -> bool {
    network.is_none_or(|network| networks.contains(&network))
}

/// The presence in the open room as one node saw it.
#[derive(Default)]
pub(super) struct Presence {
    left: BTreeMap<PersonId, Left>,
    /// The content of the node's store after its last write.
    pub(super) saved: BTreeMap<PersonId, Left>,
    pub(super) saved_at: u64,
    /// Writes to the store that are not durable yet.
    pub(super) saving: BTreeMap<CommitId, (u64, BTreeMap<PersonId, Left>)>,
    changes: Vec<u64>,
    /// Audiences that a peer joins when it is confirmed by one of these networks.
    unconfirmed: Vec<(usize, PersonId, BTreeSet<NetworkId>)>,
}

/// The audience of an entry of the open room, as one node saw it.
#[derive(Debug, Clone, Default)]
pub(super) struct Audience {
    pub(super) may: BTreeSet<PersonId>,
    pub(super) must: BTreeSet<PersonId>,
}

impl Oracle {
    pub(crate) fn started(&mut self, node: usize, networks: &BTreeSet<NetworkId>) {
        let presence = &mut self.presence[node];
        presence.left.retain(|_, left| left.stays(networks));
        presence
            .left
            .values_mut()
            .for_each(|left| left.sure = false);
        presence.saved = presence.left.clone();
        presence.changes.clear();
    }

    /// The peers that the store may contain: the current ones, and the saved ones if the store may
    /// not have been written since the last change. A peer that was reached by another network when
    /// it was saved may be stored with that one.
    fn as_stored(
        &self,
        node: usize,
        now: u64,
        here: BTreeMap<PersonId, Left>,
        disk_was_full: bool,
    ) -> BTreeMap<PersonId, Left> {
        let presence = &self.presence[node];
        let stale = presence.changes.iter().find(|at| **at > presence.saved_at);
        let mut left = here;
        if stale.is_some_and(|at| now - at < LAZY || disk_was_full) {
            for (peer, saved) in &presence.saved {
                let at = if saved.here { now } else { saved.at };
                let saved = Left {
                    at,
                    ..saved.clone()
                };
                match left.entry(*peer) {
                    Entry::Vacant(vacant) => drop(vacant.insert(saved)),
                    Entry::Occupied(mut current) => {
                        current.get_mut().networks.extend(saved.networks)
                    }
                }
            }
        }
        left
    }

    fn crashed(
        &mut self,
        node: usize,
        now: u64,
        here: BTreeMap<PersonId, Left>,
        disk_was_full: bool,
    ) {
        let left = self.as_stored(node, now, here, disk_was_full);
        let presence = &mut self.presence[node];
        presence.left = left;
        presence.saving.clear();
        presence.unconfirmed.clear();
    }

    pub(crate) fn restored(
        &mut self,
        node: usize,
        now: u64,
        left: BTreeMap<PersonId, Left>,
        in_secret_since: Option<u64>,
        durable: &Durable,
    ) {
        self.restored_at[node] = Some(now);
        self.in_secret_since[node] = in_secret_since;
        let presence = &mut self.presence[node];
        presence.left = left;
        let held = durable
            .logs
            .iter()
            .flat_map(|(name, log)| log.entries.keys().map(|seq| (*name, *seq)));
        // An entry whose body never came is shown when it comes.
        self.shown[node] = held
            .filter(|(name, seq)| durable.is_settled(name, *seq))
            .collect();
        self.last_shown[node].clear();
        self.last_in_log[node].clear();
    }

    pub(crate) fn networks_changed(
        &mut self,
        node: usize,
        now: u64,
        networks: &BTreeSet<NetworkId>,
    ) {
        let presence = &mut self.presence[node];
        presence.left.retain(|_, left| left.stays(networks));
        presence
            .unconfirmed
            .retain(|(_, _, then)| !then.is_disjoint(networks));
        presence.changes.push(now);
    }

    pub(crate) fn confirmed(
        &mut self,
        node: usize,
        now: u64,
        peer: PersonId,
        network: Option<NetworkId>,
    ) {
        let presence = &mut self.presence[node];
        presence.left.remove(&peer);
        presence.changes.push(now);
        let grown: Vec<_> = presence
            .unconfirmed
            .extract_if(.., |(_, of, then)| *of == peer && is_on(network, then))
            .collect();
        for (audience, peer, _) in grown {
            self.audiences[audience].may.insert(peer);
        }
    }
}

impl World {
    /// The peers that share the open room with the node on a session, and how each is reached.
    fn here(&self, node: usize) -> BTreeMap<PersonId, Reached> {
        let mut here = BTreeMap::<_, Reached>::new();
        let Some(lobby) = self.oracle.lobby else {
            return here;
        };
        for conn in self.conns.values() {
            for end in 0..2 {
                let it = &conn.ends[end];
                if it.node == node && it.live() && it.shared.contains(&lobby) {
                    let peer = self.nodes[conn.ends[1 - end].node].id;
                    let reached = here.entry(peer).or_default();
                    reached.extend(it.confirmed.then_some(it.network));
                }
            }
        }
        here
    }

    /// Applies a change of sessions, and records which peers joined or left by it.
    pub(crate) fn change_presence(
        &mut self,
        node: usize,
        goodbye: bool,
        change: impl FnOnce(&mut World),
    ) {
        self.settle();
        let before = self.here(node);
        change(self);
        let after = self.here(node);
        let now = self.now;
        let in_secret = self.oracle.secret.is_some_and(|secret| {
            self.conns
                .values()
                .flat_map(|conn| &conn.ends)
                .any(|end| end.node == node && end.live() && end.shared.contains(&secret))
        });
        if in_secret {
            self.oracle.in_secret_since[node].get_or_insert(now);
        }
        let presence = &mut self.oracle.presence[node];
        let last = |here: &BTreeMap<PersonId, Reached>| -> Vec<_> {
            let reached = here.iter();
            let last = reached.map(|(peer, reached)| (*peer, reached.last().copied()));
            last.collect()
        };
        if last(&before) != last(&after) {
            presence.changes.push(now);
        }
        for (peer, reached) in &before {
            if !after.contains_key(peer) {
                presence.unconfirmed.retain(|(_, of, _)| of != peer);
            }
            let lost = reached.last().copied();
            let still = after.get(peer).is_some_and(|reached| !reached.is_empty());
            if let Some(network) = lost.filter(|_| !goodbye && !still) {
                let left = Left {
                    at: now,
                    sure: true,
                    here: false,
                    networks: vec![network],
                };
                presence.left.insert(*peer, left);
            }
        }
        for (peer, reached) in after {
            if !reached.is_empty() {
                presence.left.remove(&peer);
            }
        }
    }

    /// The state if all present peers disconnected now.
    pub(crate) fn left_if_it_ended_now(&self, node: usize) -> BTreeMap<PersonId, Left> {
        let mut left = self.oracle.presence[node].left.clone();
        let here = self.here(node).into_iter();
        left.extend(here.filter_map(|(peer, reached)| {
            let network = *reached.last()?;
            let left = Left {
                at: self.now,
                sure: false,
                here: true,
                networks: vec![network],
            };
            Some((peer, left))
        }));
        left
    }

    pub(crate) fn oracle_crash(&mut self, node: usize) {
        let here = self.left_if_it_ended_now(node);
        let disk_was_full = self.disk_was_full(node);
        self.oracle.crashed(node, self.now, here, disk_was_full);
    }

    /// The peers that a copy of the store made now contains.
    pub(crate) fn left_as_stored(&self, node: usize) -> BTreeMap<PersonId, Left> {
        self.oracle.as_stored(
            node,
            self.now,
            self.left_if_it_ended_now(node),
            self.disk_was_full(node),
        )
    }

    fn disk_was_full(&self, node: usize) -> bool {
        let last_full = self.nodes[node].disk.last_full;
        last_full > 0 && last_full + 130 * SECOND > self.now
    }

    /// The audience of the entry that the only new entry of a batch is about. Nobody, if that entry
    /// is not held, unless it is deleted.
    fn stamp_of_target(
        &mut self,
        node: usize,
        batch: &CheckedBatch,
        from: Seq,
        to: Seq,
    ) -> Option<usize> {
        let entry = &batch.at(from).filter(|_| from == to)?.entry;
        let about = entry.about()?;
        let name = LogName {
            author: about.author.unwrap_or(batch.batch.name.author),
            device: about
                .author
                .unwrap_or(batch.batch.name.author)
                .only_device(),
            log: about.log,
            ..batch.batch.name
        };
        let stamp = self.oracle.stamps.get(&(node, name, about.seq)).copied();
        let is_held = self.nodes[node].disk.durable.holds(&name, about.seq);
        let stamp = stamp.filter(|_| is_held);
        if stamp.is_none() && !entry.body.is_deletion() {
            self.oracle.audiences.push(Audience::default());
            return Some(self.oracle.audiences.len() - 1);
        }
        stamp
    }

    /// Records the audience of the entries in a commit when the replica requests it.
    pub(crate) fn stamp(&mut self, node: usize, commit: &Commit) {
        if commit.ops.iter().any(|op| matches!(op, Op::Lingerers(..))) {
            let now_left = (self.now, self.left_if_it_ended_now(node));
            self.oracle.presence[node]
                .saving
                .insert(commit.id, now_left);
        }
        for op in &commit.ops {
            if let Op::Append {
                batch, from, to, ..
            } = op
                && self.oracle.is_open(batch.batch.name.conversation)
            {
                // An entry about another one is for those whom the other one was for.
                let of_target = self.stamp_of_target(node, batch, *from, *to);
                let audience = of_target.unwrap_or_else(|| self.audience_now(node));
                for seq in *from..=*to {
                    self.oracle
                        .stamps
                        .insert((node, batch.batch.name, seq), audience);
                }
            }
        }
    }

    fn audience_now(&mut self, node: usize) -> usize {
        let (here, now) = (self.here(node), self.now);
        let presence = &mut self.oracle.presence[node];
        let mut audience = Audience::default();
        let number = self.oracle.audiences.len();
        for (peer, reached) in here {
            if reached.is_empty() {
                let networks = self.nodes[node].networks.clone();
                presence.unconfirmed.push((number, peer, networks));
            } else {
                audience.may.insert(peer);
                audience.must.insert(peer);
            }
        }
        for (peer, left) in &presence.left {
            if now - left.at <= LINGER + MILLI {
                audience.may.insert(*peer);
            }
            if left.sure && now - left.at + SECOND < LINGER {
                audience.must.insert(*peer);
            }
        }
        self.oracle.audiences.push(audience);
        number
    }
}
