//! What the simulator knows by itself: who said what, who was where when, who may have what. It never asks a replica.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hobnob::core::durable::{Commit, CommitId, Op};
use hobnob::core::replica::{Output, Refusal, Token};
use hobnob::protocol::frame::AuthorHeads;
use hobnob::protocol::{Batch, Body, CheckedBatch, ConversationId, Frame, LogName, PeerId, Ranges, RoomKey, Seq};

use super::disk::Durable;
use super::world::{MILLI, SECOND, World};

const LINGER: u64 = 3600 * SECOND;

/// What is kept lazily may be lost in a crash if it is younger than this.
const LAZY: u64 = 3 * SECOND;

/// Somebody who was in the open room and dropped out without a goodbye.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    at: u64,
    /// Whether the node must remember it: not across a crash, in which it may have forgotten.
    sure: bool,
    /// Whether it was still there at that time: its store then counts from its last sign of life.
    here: bool,
}

/// Who is and was in the open room, as one node saw it.
#[derive(Default)]
struct Presence {
    left: BTreeMap<PeerId, Left>,
    /// What the node's store knew of it when it was last written.
    saved: BTreeMap<PeerId, Left>,
    saved_at: u64,
    /// Notes for the store that are on their way there.
    saving: BTreeMap<CommitId, (u64, BTreeMap<PeerId, Left>)>,
    changes: Vec<u64>,
    /// Those who are here and were heard from on this network.
    heard: BTreeSet<PeerId>,
    network: u64,
    /// Before the last change of network: what, where, and when that was.
    before: Option<(BTreeMap<PeerId, Left>, u64, u64)>,
    /// Audiences that a peer joins if it is heard from on this network.
    unconfirmed: Vec<(usize, PeerId)>,
}

/// Whom one entry of the open room was for, as one node saw it.
#[derive(Debug, Clone, Default)]
struct Audience {
    may: BTreeSet<PeerId>,
    must: BTreeSet<PeerId>,
}

/// Something that a user said.
pub(super) struct Said {
    pub(super) node: usize,
    pub(super) life: u64,
    pub(super) conversation: ConversationId,
    pub(super) body: String,
    pub(super) answered: bool,
    /// Lamport numbers must grow from what the author had on disk when it spoke.
    after: u64,
}

/// Something that is on its author's disk, as the author was told.
pub(super) struct Appended {
    pub(super) node: usize,
    pub(super) name: LogName,
    pub(super) seq: Seq,
    pub(super) at: u64,
}

#[derive(Default)]
pub(super) struct Oracle {
    pub(super) lobby: Option<ConversationId>,
    pub(super) secret: Option<ConversationId>,
    /// Who was ever given the secret.
    pub(super) in_on_it: BTreeSet<usize>,
    pub(super) ids: Vec<PeerId>,
    pub(super) said: BTreeMap<u64, Said>,
    pub(super) appended: Vec<Appended>,
    pub(super) failed: BTreeSet<String>,
    bodies: BTreeMap<String, (LogName, Seq)>,
    /// Place of each entry in what its author said in a conversation.
    place: BTreeMap<(LogName, Seq), usize>,
    shown: Vec<BTreeSet<(LogName, Seq)>>,
    last_shown: Vec<BTreeMap<(ConversationId, PeerId), usize>>,
    last_in_log: Vec<BTreeMap<LogName, Seq>>,
    stamps: BTreeMap<(usize, LogName, Seq), usize>,
    audiences: Vec<Audience>,
    presence: Vec<Presence>,
    ever: BTreeSet<(usize, LogName, Seq)>,
    pub(super) restored_at: Vec<Option<u64>>,
    /// Since when each node has shared the room with a secret with anybody.
    pub(super) in_secret_since: Vec<Option<u64>>,
    pub(super) hostile: BTreeSet<PeerId>,
    next_token: u64,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn add_node(&mut self, id: PeerId) {
        self.ids.push(id);
        self.shown.push(BTreeSet::new());
        self.last_shown.push(BTreeMap::new());
        self.last_in_log.push(BTreeMap::new());
        self.presence.push(Presence::default());
        self.restored_at.push(None);
        self.in_secret_since.push(None);
    }

    pub(super) fn token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    pub(super) fn index(&self, id: PeerId) -> Option<usize> {
        self.ids.iter().position(|of| *of == id)
    }

    pub(super) fn is_open(&self, conversation: ConversationId) -> bool {
        Some(conversation) == self.lobby
    }

    /// Whether `peer` must in the end have the entry of the open room that `holder` has on disk.
    pub(super) fn is_for(&self, holder: usize, name: &LogName, seq: Seq, peer: PeerId) -> bool {
        name.author == peer || self.stamps.get(&(holder, *name, seq)).is_some_and(|at| self.audiences[*at].must.contains(&peer))
    }

    fn may_have(&self, holder: usize, name: &LogName, seq: Seq, peer: PeerId) -> bool {
        name.author == peer || self.stamps.get(&(holder, *name, seq)).is_some_and(|at| self.audiences[*at].may.contains(&peer))
    }

    fn ever_had(&self, peer: PeerId, name: &LogName, seq: Seq) -> bool {
        self.index(peer).is_some_and(|node| self.ever.contains(&(node, *name, seq)))
    }

    // Crashes and restarts.

    pub(super) fn started(&mut self, node: usize, network: u64) {
        let presence = &mut self.presence[node];
        if presence.network != network {
            presence.left.clear();
            if let Some((left, _, _)) = presence.before.take().filter(|(_, was, _)| *was == network) {
                presence.left = left;
            }
        }
        presence.network = network;
        presence.left.values_mut().for_each(|left| left.sure = false);
        presence.saved = presence.left.clone();
        presence.changes.clear();
    }

    /// What the store may know of who was here: what is true now, and what was true when it was last written, if that is so
    /// short a time ago that it need not have been written again.
    fn as_stored(&self, node: usize, now: u64, here: BTreeMap<PeerId, Left>, disk_was_full: bool) -> BTreeMap<PeerId, Left> {
        let presence = &self.presence[node];
        let stale = presence.changes.iter().find(|at| **at > presence.saved_at);
        let mut left = here;
        if stale.is_some_and(|at| now - at < LAZY || disk_was_full) {
            for (peer, saved) in &presence.saved {
                let at = if saved.here { now } else { saved.at };
                left.entry(*peer).or_insert(Left { at, ..*saved });
            }
        }
        left
    }

    fn crashed(&mut self, node: usize, now: u64, here: BTreeMap<PeerId, Left>, disk_was_full: bool) {
        let left = self.as_stored(node, now, here, disk_was_full);
        let presence = &mut self.presence[node];
        presence.left = left;
        if presence.before.as_ref().is_some_and(|(_, _, at)| now - at > LAZY && !disk_was_full) {
            presence.before = None;
        }
        presence.saving.clear();
        presence.unconfirmed.clear();
        presence.heard.clear();
    }

    pub(super) fn restored(
        &mut self,
        node: usize,
        now: u64,
        left: BTreeMap<PeerId, Left>,
        network: u64,
        in_secret_since: Option<u64>,
        durable: &Durable,
    ) {
        self.restored_at[node] = Some(now);
        self.in_secret_since[node] = in_secret_since;
        let presence = &mut self.presence[node];
        presence.left = left;
        presence.network = network;
        presence.before = None;
        let held = durable.logs.iter().flat_map(|(name, log)| log.entries.keys().map(|seq| (*name, *seq)));
        self.shown[node] = held.collect();
        self.last_shown[node].clear();
        self.last_in_log[node].clear();
    }

    pub(super) fn network_changed(&mut self, node: usize, now: u64, network: u64, here: BTreeMap<PeerId, Left>) {
        let presence = &mut self.presence[node];
        presence.left.clear();
        presence.before = Some((here, presence.network, now));
        presence.network = network;
        presence.unconfirmed.clear();
        presence.heard.clear();
        presence.changes.push(now);
    }

    pub(super) fn confirmed(&mut self, node: usize, peer: PeerId) {
        self.presence[node].heard.insert(peer);
        let grown: Vec<_> = self.presence[node].unconfirmed.extract_if(.., |(_, of)| *of == peer).collect();
        for (audience, peer) in grown {
            self.audiences[audience].may.insert(peer);
        }
    }
}

impl World {
    // Presence.

    /// Who shares the open room with the node by a session, and whether they were heard from on its network.
    fn here(&self, node: usize) -> BTreeMap<PeerId, bool> {
        let mut here = BTreeMap::new();
        let Some(lobby) = self.oracle.lobby else { return here };
        for conn in self.conns.values() {
            for end in 0..2 {
                let it = &conn.ends[end];
                if it.node == node && it.live() && it.shared.contains(&lobby) {
                    let peer = self.nodes[conn.ends[1 - end].node].id;
                    *here.entry(peer).or_default() |= it.confirmed || self.oracle.presence[node].heard.contains(&peer);
                }
            }
        }
        here
    }

    /// Lets something change about sessions, and notes who came and who went by it.
    pub(super) fn change_presence(&mut self, node: usize, goodbye: bool, change: impl FnOnce(&mut World)) {
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
        if before.keys().ne(after.keys()) {
            presence.changes.push(now);
        }
        for (peer, confirmed) in &before {
            if !after.contains_key(peer) {
                presence.unconfirmed.retain(|(_, of)| of != peer);
                presence.heard.remove(peer);
                if !goodbye && *confirmed {
                    presence.left.insert(*peer, Left { at: now, sure: true, here: false });
                }
            }
        }
        for (peer, confirmed) in after {
            presence.left.remove(&peer);
            if confirmed {
                presence.heard.insert(peer);
            }
        }
    }

    /// As if everybody who is here now dropped out now.
    pub(super) fn left_if_it_ended_now(&self, node: usize) -> BTreeMap<PeerId, Left> {
        let here = self.here(node).into_iter().filter(|(_, confirmed)| *confirmed);
        let mut left = self.oracle.presence[node].left.clone();
        left.extend(here.map(|(peer, _)| (peer, Left { at: self.now, sure: false, here: true })));
        left
    }

    pub(super) fn oracle_crash(&mut self, node: usize) {
        let here = self.left_if_it_ended_now(node);
        let disk_was_full = self.disk_was_full(node);
        self.oracle.crashed(node, self.now, here, disk_was_full);
    }

    /// Who counts as having been here for a copy of the store that is made now.
    pub(super) fn left_as_stored(&self, node: usize) -> BTreeMap<PeerId, Left> {
        self.oracle.as_stored(node, self.now, self.left_if_it_ended_now(node), self.disk_was_full(node))
    }

    fn disk_was_full(&self, node: usize) -> bool {
        let last_full = self.nodes[node].disk.last_full;
        last_full > 0 && last_full + 130 * SECOND > self.now
    }

    /// A replica asks for a commit: whom its entries of the open room are for is known at this moment.
    pub(super) fn stamp(&mut self, node: usize, commit: &Commit) {
        if commit.ops.iter().any(|op| matches!(op, Op::Lingerers(..))) {
            let now_left = (self.now, self.left_if_it_ended_now(node));
            self.oracle.presence[node].saving.insert(commit.id, now_left);
        }
        for op in &commit.ops {
            if let Op::Append { batch, from, to, .. } = op
                && self.oracle.is_open(batch.batch.name.conversation)
            {
                let audience = self.audience_now(node);
                for seq in *from..=*to {
                    self.oracle.stamps.insert((node, batch.batch.name, seq), audience);
                }
            }
        }
    }

    fn audience_now(&mut self, node: usize) -> usize {
        let (here, now) = (self.here(node), self.now);
        let presence = &mut self.oracle.presence[node];
        let mut audience = Audience::default();
        let number = self.oracle.audiences.len();
        for (peer, confirmed) in here {
            if confirmed {
                audience.may.insert(peer);
                audience.must.insert(peer);
            } else {
                presence.unconfirmed.push((number, peer));
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

    pub(super) fn is_durable(&mut self, node: usize, commit: &Commit) {
        let presence = &mut self.oracle.presence[node];
        if let Some((at, left)) = presence.saving.remove(&commit.id) {
            (presence.saved, presence.saved_at) = (left, at);
        }
        for op in &commit.ops {
            let Op::Append { batch, from, to, .. } = op else { continue };
            let name = batch.batch.name;
            for seq in *from..=*to {
                self.oracle.ever.insert((node, name, seq));
                self.stats.delivered += u64::from(name.author != self.nodes[node].id);
                self.check_body(node, batch, seq);
            }
        }
    }

    /// Each body is said once, and stays where its author put it.
    fn check_body(&mut self, node: usize, batch: &CheckedBatch, seq: Seq) {
        let name = batch.batch.name;
        let Some(Body::Text(text)) = batch.at(seq).map(|entry| &entry.entry.body) else { return };
        if self.oracle.hostile.contains(&name.author) {
            return;
        }
        let at = *self.oracle.bodies.entry(text.clone()).or_insert((name, seq));
        if at != (name, seq) {
            let text = text.clone();
            self.fail(format!("n{node} keeps “{text}” as {name:?} {seq}, and it is {at:?}"));
        }
    }

    // What replicas say.

    pub(super) fn said(&mut self, node: usize, output: Output) {
        match output {
            Output::Appended { token, name, seq, .. } => self.appended(node, token, name, seq),
            Output::AppendFailed(token, _) => self.append_failed(node, token),
            Output::Received { batch, first, last, .. } => self.received(node, &batch, first, last),
            Output::Sent(name, _, first, last) => {
                let held = (first..=last).all(|seq| self.nodes[node].disk.durable.holds(&name, seq));
                if !held || name.author != self.nodes[node].id {
                    self.fail(format!("n{node} says that it sent {name:?} {first}..={last}"));
                }
            }
            Output::Delivered(name, peer, ranges) => self.delivered(node, name, peer, &ranges),
            Output::Refused(_, refusal) => self.refused(node, &refusal),
            Output::OwnRestored(..) => {
                if self.oracle.restored_at[node].is_none() && self.oracle.hostile.is_empty() {
                    self.fail(format!("n{node} gets entries of its own back, and has lost none"));
                }
            }
            Output::Commit(_)
            | Output::Send(..)
            | Output::SendBatch(..)
            | Output::Read { .. }
            | Output::FindNewcomerCut { .. }
            | Output::Release(..)
            | Output::Stored(_)
            | Output::StoreFailed(..) => {}
        }
    }

    /// The highest Lamport number of a conversation that a node has on disk.
    pub(super) fn highest_lamport(&self, node: usize, conversation: ConversationId) -> u64 {
        let logs = self.nodes[node].disk.durable.logs.iter().filter(|(name, _)| name.conversation == conversation);
        logs.filter_map(|(_, log)| log.entries.last_key_value()).map(|(_, entry)| entry.lamport).max().unwrap_or(0)
    }

    pub(super) fn says(&mut self, node: usize, conversation: ConversationId, body: String) -> Token {
        let token = self.oracle.token();
        let (life, after) = (self.nodes[node].life, self.highest_lamport(node, conversation));
        self.oracle.said.insert(token.0, Said { node, life, conversation, body, answered: false, after });
        token
    }

    fn answered(&mut self, node: usize, token: Token) -> Option<(ConversationId, String, u64)> {
        match self.oracle.said.get_mut(&token.0) {
            Some(said) if !said.answered && said.node == node => {
                said.answered = true;
                Some((said.conversation, said.body.clone(), said.after))
            }
            Some(_) | None => {
                self.fail(format!("n{node} answers {token:?}, which it was not asked or has answered"));
                None
            }
        }
    }

    fn appended(&mut self, node: usize, token: Token, name: LogName, seq: Seq) {
        let Some((conversation, body, after)) = self.answered(node, token) else { return };
        self.stats.appended += 1;
        let stored = self.nodes[node].disk.durable.logs.get(&name).and_then(|log| log.entries.get(&seq));
        let Some(stored) = stored else {
            return self.fail(format!("n{node} says that “{body}” is kept as {name:?} {seq}, and it is not on disk"));
        };
        let entry = hobnob::protocol::Entry::decode(&stored.bytes).expect("what is on disk was read before");
        if entry.body != Body::Text(body.clone()) || name.conversation != conversation || name.author != self.nodes[node].id {
            return self.fail(format!("n{node} says that “{body}” is {name:?} {seq}, which is {:?}", entry.body));
        }
        // A liar's impossible numbers are not followed.
        if entry.lamport <= after && self.oracle.hostile.is_empty() {
            self.fail(format!("“{body}” of n{node} has the Lamport number {}, and answers to {after}", entry.lamport));
        }
        let place = self.oracle.appended.len();
        self.oracle.place.insert((name, seq), place);
        self.oracle.appended.push(Appended { node, name, seq, at: self.now });
    }

    fn append_failed(&mut self, node: usize, token: Token) {
        if let Some((_, body, _)) = self.answered(node, token) {
            self.oracle.failed.insert(body);
        }
    }

    fn received(&mut self, node: usize, batch: &CheckedBatch, first: Seq, last: Seq) {
        let name = batch.batch.name;
        if name.author == self.nodes[node].id {
            return self.fail(format!("n{node} shows its own entry as received"));
        }
        for seq in first..=last {
            if !self.nodes[node].disk.durable.holds(&name, seq) {
                return self.fail(format!("n{node} shows {name:?} {seq}, which is not on its disk"));
            }
            if !self.oracle.shown[node].insert((name, seq)) {
                return self.fail(format!("n{node} shows {name:?} {seq} twice"));
            }
            self.check_order(node, name, seq);
        }
    }

    /// In direct conversations and rooms with a secret, an author's entries come out in the order in which they were said.
    fn check_order(&mut self, node: usize, name: LogName, seq: Seq) {
        // Where a newcomer got only the end of a log, those who had its beginning may get that end before the middle.
        let odd = Some(name.conversation) == self.oracle.secret && self.cuts_are_odd();
        if odd || self.oracle.is_open(name.conversation) || self.oracle.hostile.contains(&name.author) {
            return;
        }
        let last = self.oracle.last_in_log[node].insert(name, seq).unwrap_or(0);
        if last > seq {
            return self.fail(format!("n{node} shows {name:?} {seq} after {last}"));
        }
        let author = self.oracle.index(name.author).expect("only nodes write");
        if self.oracle.restored_at[author].is_some() || self.oracle.restored_at[node].is_some() {
            return;
        }
        // An entry that its author never learned to be durable has no place; its log says enough.
        let Some(&place) = self.oracle.place.get(&(name, seq)) else { return };
        let before = self.oracle.last_shown[node].insert((name.conversation, name.author), place);
        if before.is_some_and(|before| before > place) {
            self.fail(format!("n{node} shows {name:?} {seq}, which was said before what it showed last"));
        }
    }

    fn delivered(&mut self, node: usize, name: LogName, peer: PeerId, ranges: &Ranges) {
        let Some(other) = self.oracle.index(peer) else { return };
        if self.oracle.hostile.contains(&peer) {
            return;
        }
        for seq in ranges.iter().flat_map(|(first, last)| first..=last) {
            let holds = self.nodes[other].disk.durable.holds(&name, seq);
            let lost = self.oracle.restored_at[other].is_some() && self.oracle.ever_had(peer, &name, seq);
            if !holds && !lost {
                return self.fail(format!("n{node} says that n{other} has {name:?} {seq}, and it is not on n{other}'s disk"));
            }
        }
    }

    /// Honest nodes have no reason to refuse one another more than this.
    fn refused(&mut self, node: usize, refusal: &Refusal) {
        match refusal {
            Refusal::NotShared | Refusal::Gap => {}
            Refusal::NotAnAuthor
            | Refusal::Batch(_)
            | Refusal::Conflict
            | Refusal::Impostor
            | Refusal::Lamport
            | Refusal::Misplaced => {
                if self.oracle.hostile.is_empty() {
                    self.fail(format!("n{node} refuses something of an honest node: {refusal}"));
                }
            }
        }
    }

    // What travels.

    /// Checks that a frame tells its receiver nothing that is not for it.
    pub(super) fn check_frame(&mut self, node: usize, to: usize, frame: &Bytes) {
        let peer = self.nodes[to].id;
        let wrong = match Frame::decode(frame) {
            Ok(Frame::Batch(batch)) => self.wrong_batch(node, to, batch),
            Ok(Frame::Have(name, ranges)) => self.wrong_word(node, to, name, &ranges),
            Ok(Frame::Heads { conversation, authors, .. }) => {
                let names = |AuthorHeads { author, logs }| logs.into_iter().map(move |(log, ranges)| (author, log, ranges));
                let all = authors.into_iter().flat_map(names);
                all.into_iter()
                    .find_map(|(author, log, ranges)| self.wrong_word(node, to, LogName { conversation, author, log }, &ranges))
            }
            Ok(Frame::Digest(conversation, _) | Frame::Prune(conversation, _)) => self.not_theirs(conversation, node, to),
            Ok(Frame::Want { name, .. } | Frame::Conflict(name)) => self.not_theirs(name.conversation, node, to),
            Ok(
                Frame::Hello(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Profile(_) | Frame::Candidates(_) | Frame::Unknown(_),
            ) => Some("a frame that is not a replica's".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(wrong) = wrong {
            self.fail(format!("n{node} sends n{to} ({peer:?}) {wrong}"));
        }
    }

    /// Whether one of the two ends is no member of the conversation.
    fn not_theirs(&self, conversation: ConversationId, node: usize, to: usize) -> Option<String> {
        let (me, peer) = (self.nodes[node].id, self.nodes[to].id);
        let member = if Some(conversation) == self.oracle.secret {
            self.oracle.in_on_it.contains(&to)
        } else {
            self.oracle.is_open(conversation) || conversation == ConversationId::direct(me, peer)
        };
        (!member).then(|| format!("a frame of {conversation:?}, of which it is no member"))
    }

    fn wrong_word(&self, node: usize, to: usize, name: LogName, ranges: &Ranges) -> Option<String> {
        if let Some(wrong) = self.not_theirs(name.conversation, node, to) {
            return Some(wrong);
        }
        let peer = self.nodes[to].id;
        if !self.oracle.is_open(name.conversation) || self.oracle.hostile.contains(&peer) {
            return None;
        }
        let mut named = ranges.iter().flat_map(|(first, last)| first..=last);
        let secret = |seq: &Seq| !self.oracle.may_have(node, &name, *seq, peer) && !self.oracle.ever_had(peer, &name, *seq);
        named.find(secret).map(|seq| format!("word of {name:?} {seq}, which is not for it"))
    }

    fn wrong_batch(&mut self, node: usize, to: usize, batch: Batch) -> Option<String> {
        let name = batch.name;
        if let Some(wrong) = self.not_theirs(name.conversation, node, to) {
            return Some(wrong);
        }
        let Ok(batch) = batch.read() else { return Some("a batch that can't be read".to_owned()) };
        let peer = self.nodes[to].id;
        self.stats.sent += batch.last() - batch.first() + 1;
        let holds = |seq: &Seq| self.nodes[node].disk.durable.holds(&name, *seq);
        if let Some(seq) = (batch.first()..=batch.last()).find(|seq| !holds(seq)) {
            return Some(format!("{name:?} {seq}, which is not on its own disk"));
        }
        let leaks = |seq: &Seq| !self.oracle.may_have(node, &name, *seq, peer);
        if self.oracle.is_open(name.conversation)
            && let Some(seq) = (batch.first()..=batch.last()).find(leaks)
        {
            return Some(format!("{name:?} {seq}, which is not for it"));
        }
        None
    }
}

/// The two rooms of every run.
pub(super) fn rooms() -> [(hobnob::protocol::RoomName, RoomKey, bool); 2] {
    let name = |text: &str| text.parse::<hobnob::protocol::RoomName>().expect("a room's name");
    let (lobby, ops) = (name("lobby"), name("ops"));
    [(lobby.clone(), RoomKey::derive(&lobby, b""), true), (ops.clone(), RoomKey::derive(&ops, b"s3cret"), false)]
}
