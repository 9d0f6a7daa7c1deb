//! The conditions that must hold some time after everything was repaired.

use std::collections::{BTreeMap, BTreeSet};

use hobnob_protocol::{ConversationId, LogName, Ranges, Seq};

use super::disk::Stand;
use super::world::World;

type Held = BTreeMap<LogName, Ranges>;

impl World {
    /// The first unmet condition.
    pub(super) fn unmet(&self) -> Option<String> {
        self.not_running()
            .or_else(|| self.lost())
            .or_else(|| self.apart_in_direct())
            .or_else(|| self.apart_in_secret())
            .or_else(|| self.apart_in_lobby())
            .or_else(|| self.undeleted())
            .or_else(|| self.censored())
            .or_else(|| self.views_differ())
    }

    fn honest(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].hostile.is_none())
    }

    fn not_running(&self) -> Option<String> {
        self.honest()
            .find(|node| self.nodes[*node].replica.is_none())
            .map(|node| format!("n{node} is not running"))
    }

    fn adjacent(&self) -> impl Iterator<Item = (usize, usize)> {
        let both = self.edges.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
        both.filter(|(a, b)| self.nodes[*a].hostile.is_none() && self.nodes[*b].hostile.is_none())
    }

    /// Checks that confirmed entries are on their author's disk.
    fn lost(&self) -> Option<String> {
        for said in &self.oracle.appended {
            if self.nodes[said.node]
                .disk
                .durable
                .holds(&said.name, said.seq)
            {
                continue;
            }
            let restored = self.oracle.restored_at[said.node].is_some_and(|at| at > said.at);
            let holder = self.adjacent().find(|(holder, author)| {
                *author == said.node
                    && self.share(*holder, *author, said.name.conversation)
                    && self.nodes[*holder].disk.durable.holds(&said.name, said.seq)
            });
            if !restored {
                return Some(format!(
                    "n{} has lost {:?} {}",
                    said.node, said.name, said.seq
                ));
            }
            if let Some((holder, _)) = holder {
                return Some(format!(
                    "n{} did not get back {:?} {} from n{holder}",
                    said.node, said.name, said.seq
                ));
            }
        }
        None
    }

    fn share(&self, a: usize, b: usize, conversation: ConversationId) -> bool {
        let direct = ConversationId::direct(self.nodes[a].id, self.nodes[b].id);
        conversation == direct || (self.is_in(a, conversation) && self.is_in(b, conversation))
    }

    pub(super) fn held(&self, node: usize, conversation: ConversationId) -> Held {
        let logs = self.nodes[node].disk.durable.logs.iter();
        let logs = logs.filter(|(name, _)| {
            name.conversation == conversation && !self.oracle.hostile.contains(&name.author)
        });
        logs.map(|(name, log)| (*name, log.held())).collect()
    }

    fn apart_in_direct(&self) -> Option<String> {
        for (a, b) in self.adjacent() {
            let id = ConversationId::direct(self.nodes[a].id, self.nodes[b].id);
            let theirs = self.held(b, id);
            for (name, held) in self.held(a, id) {
                let lacks = held.minus(theirs.get(&name).unwrap_or(&Ranges::new()));
                if let Some(seq) = lacks.first() {
                    return Some(format!(
                        "n{b} lacks {name:?} {seq} of its conversation with n{a}"
                    ));
                }
            }
        }
        None
    }

    /// Checks that members connected by any path have the same entries, except older ones that a
    /// newcomer may lack.
    fn apart_in_secret(&self) -> Option<String> {
        let secret = self.oracle.secret?;
        let mut left: BTreeSet<usize> = self
            .honest()
            .filter(|node| self.is_in(*node, secret))
            .collect();
        while let Some(first) = left.pop_first() {
            let mut group = BTreeSet::from([first]);
            loop {
                let next = self
                    .adjacent()
                    .find(|(a, b)| group.contains(a) && left.contains(b));
                let Some((_, b)) = next else { break };
                left.remove(&b);
                group.insert(b);
            }
            if let Some(wrong) = self.apart_in_group(secret, &group) {
                return Some(wrong);
            }
        }
        None
    }

    fn apart_in_group(&self, secret: ConversationId, group: &BTreeSet<usize>) -> Option<String> {
        let mut all = Held::new();
        for node in group {
            for (name, held) in self.held(*node, secret) {
                all.entry(name).or_default().insert_all(&held);
            }
        }
        let said_at: BTreeMap<_, _> = self
            .oracle
            .appended
            .iter()
            .map(|said| ((said.name, said.seq), said.at))
            .collect();
        for &node in group {
            let held = self.held(node, secret);
            let since = self.oracle.in_secret_since[node].unwrap_or(u64::MAX);
            for (name, of_all) in &all {
                let mine = held.get(name).cloned().unwrap_or_default();
                let lacks = of_all.minus(&mine);
                for seq in lacks.iter().flat_map(|(first, last)| first..=last) {
                    let after_it_came = said_at.get(&(*name, seq)).is_some_and(|at| *at > since)
                        && !self.cuts_are_odd();
                    let hole = mine.first().is_some_and(|first| seq > first);
                    let history = !self.cuts_are_odd() && group.len() > 1;
                    if after_it_came || hole || history {
                        return Some(format!(
                            "n{node} lacks {name:?} {seq} of the room with a secret"
                        ));
                    }
                }
            }
        }
        None
    }

    /// Whether newcomers may lack entries: the history is short, or a clock makes all of it old.
    pub(super) fn cuts_are_odd(&self) -> bool {
        self.script.clock_jumped
            || self.script.newcomer_entries < hobnob_core::replica::NEWCOMER_ENTRIES
    }

    /// Checks that a node's neighbours have the entries of the open room that are for them.
    fn apart_in_lobby(&self) -> Option<String> {
        let lobby = self.oracle.lobby?;
        for (a, b) in self.adjacent() {
            if !self.share(a, b, lobby) {
                continue;
            }
            let theirs = self.held(b, lobby);
            for (name, held) in self.held(a, lobby) {
                let lacks = held.minus(theirs.get(&name).unwrap_or(&Ranges::new()));
                let lacks = lacks.iter().flat_map(|(first, last)| first..=last);
                let log = &self.nodes[a].disk.durable.logs[&name];
                // An entry can't be sent to a peer if its signature also covers entries that are
                // not for the peer.
                let sendable = |seq: &Seq| {
                    log.signed_after(*seq)
                        .all(|seq| self.oracle.is_for(a, &name, seq, self.nodes[b].id))
                };
                // A node offers no entry whose body has not arrived: it has nothing to show.
                let holder = &self.nodes[a].disk.durable;
                let mut lacks = lacks.filter(|seq| holder.is_settled(&name, *seq));
                if let Some(seq) = lacks.find(sendable) {
                    return Some(format!(
                        "n{b} lacks {name:?} {seq}, which n{a} has for it in the lobby"
                    ));
                }
            }
        }
        None
    }

    /// Checks that a node that holds a deletion does not hold what it deletes.
    fn undeleted(&self) -> Option<String> {
        for ((name, seq), (deletion, at)) in &self.oracle.deleted {
            let wrong = self.honest().find(|node| {
                let durable = &self.nodes[*node].disk.durable;
                durable.holds(deletion, *at) && durable.body(name, *seq) == Some(Stand::Whole)
            });
            if let Some(node) = wrong {
                return Some(format!("n{node} has {name:?} {seq}, which is deleted"));
            }
        }
        None
    }

    /// Checks that no honest node lacks a body that an honest neighbour could give it.
    fn censored(&self) -> Option<String> {
        for (a, b) in self.adjacent() {
            let (holder, lacks) = (&self.nodes[a].disk.durable, &self.nodes[b].disk.durable);
            for (name, log) in &lacks.logs {
                let is_hostile = self.oracle.hostile.contains(&name.author);
                if is_hostile || !self.share(a, b, name.conversation) {
                    continue;
                }
                let mut missing = log.missing();
                let here = missing.find(|seq| {
                    let is_for = !self.oracle.is_open(name.conversation)
                        || self.oracle.is_for(a, name, *seq, self.nodes[b].id);
                    is_for && holder.body(name, *seq) == Some(Stand::Whole)
                });
                if let Some(seq) = here {
                    return Some(format!(
                        "n{b} lacks the body of {name:?} {seq}, which n{a} has"
                    ));
                }
            }
        }
        None
    }

    /// Conditions that are checked only once, at the end.
    pub(super) fn wrong_at_the_end(&self) -> Option<String> {
        for said in self.oracle.said.values() {
            let waits = !said.answered && self.nodes[said.node].life == said.life;
            if waits {
                return Some(format!(
                    "n{} never heard what became of “{}”",
                    said.node, said.body
                ));
            }
        }
        for node in self.honest() {
            for (name, log) in &self.nodes[node].disk.durable.logs {
                if self.oracle.hostile.contains(&name.author) {
                    continue;
                }
                for (seq, stored) in &log.entries {
                    let entry =
                        hobnob_protocol::Entry::decode(&stored.bytes).expect("was read before");
                    if let hobnob_protocol::Body::Text(text) = &entry.body
                        && self.oracle.failed.contains(text)
                    {
                        return Some(format!(
                            "n{node} has {name:?} {seq}, of which its author was told that it failed"
                        ));
                    }
                }
            }
            let durable = &self.nodes[node].disk.durable;
            let replica = self.nodes[node].replica.as_ref()?;
            for record in replica
                .conversations()
                .filter(|record| durable.conversations.get(&record.id) != Some(record))
            {
                let written = durable
                    .logs
                    .keys()
                    .any(|name| name.conversation == record.id);
                if written || self.is_in(node, record.id) {
                    return Some(format!(
                        "n{node} takes {:?} for something else than its store does",
                        record.id
                    ));
                }
            }
        }
        None
    }
}
