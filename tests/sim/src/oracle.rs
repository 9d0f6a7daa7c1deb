//! The simulator's own records: which node wrote what, which peers were present when, and who may
//! have which entry. The oracle never asks a replica.

mod frames;
mod presence;

use std::collections::{BTreeMap, BTreeSet};

use hobnob_core::commit::{Commit, Op};
use hobnob_core::replica::{Output, Refusal, Token};
use hobnob_protocol::{
    Body, CheckedBatch, ConversationId, LogName, PersonId, Ranges, RoomKey, Seq,
};

pub(super) use self::presence::Left;
use self::presence::{Audience, Presence};
use super::world::World;

/// A text that a user wrote.
pub(super) struct Said {
    pub(super) node: usize,
    pub(super) life: u64,
    pub(super) conversation: ConversationId,
    pub(super) body: String,
    /// The entry, if it is about another one.
    about: Option<Body>,
    pub(super) answered: bool,
    /// The highest Lamport number on the author's disk when it wrote. The entry's number must be
    /// higher.
    after: u64,
}

/// An entry that was confirmed to be on its author's disk.
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
    /// The nodes that ever had the secret.
    pub(super) in_on_it: BTreeSet<usize>,
    pub(super) ids: Vec<PersonId>,
    pub(super) said: BTreeMap<u64, Said>,
    pub(super) appended: Vec<Appended>,
    pub(super) failed: BTreeSet<String>,
    bodies: BTreeMap<String, (LogName, Seq)>,
    /// The position of each entry in the order in which entries were confirmed.
    place: BTreeMap<(LogName, Seq), usize>,
    shown: Vec<BTreeSet<(LogName, Seq)>>,
    last_shown: Vec<BTreeMap<(ConversationId, PersonId), usize>>,
    last_in_log: Vec<BTreeMap<LogName, Seq>>,
    stamps: BTreeMap<(usize, LogName, Seq), usize>,
    audiences: Vec<Audience>,
    presence: Vec<Presence>,
    ever: BTreeSet<(usize, LogName, Seq)>,
    pub(super) restored_at: Vec<Option<u64>>,
    /// When each node first shared the room with a secret.
    pub(super) in_secret_since: Vec<Option<u64>>,
    pub(super) hostile: BTreeSet<PersonId>,
    /// Deletions that were not confirmed yet, and what they delete.
    pub(super) deleting: BTreeMap<u64, (LogName, Seq)>,
    /// Confirmed deletions: what they delete, and their own place.
    pub(super) deleted: Vec<((LogName, Seq), (LogName, Seq))>,
    /// Entries whose body arrived after their header. They are shown out of order.
    filled: BTreeSet<(usize, LogName, Seq)>,
    next_token: u64,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn add_node(&mut self, id: PersonId) {
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

    pub(super) fn index(&self, id: PersonId) -> Option<usize> {
        self.ids.iter().position(|of| *of == id)
    }

    pub(super) fn is_open(&self, conversation: ConversationId) -> bool {
        Some(conversation) == self.lobby
    }

    /// Whether `peer` must finally have the entry of the open room that `holder` has on disk.
    pub(super) fn is_for(&self, holder: usize, name: &LogName, seq: Seq, peer: PersonId) -> bool {
        name.author == peer
            || self
                .stamps
                .get(&(holder, *name, seq))
                .is_some_and(|at| self.audiences[*at].must.contains(&peer))
    }

    fn may_have(&self, holder: usize, name: &LogName, seq: Seq, peer: PersonId) -> bool {
        name.author == peer
            || self
                .stamps
                .get(&(holder, *name, seq))
                .is_some_and(|at| self.audiences[*at].may.contains(&peer))
    }

    fn ever_had(&self, peer: PersonId, name: &LogName, seq: Seq) -> bool {
        self.index(peer)
            .is_some_and(|node| self.ever.contains(&(node, *name, seq)))
    }
}

impl World {
    pub(super) fn is_durable(&mut self, node: usize, commit: &Commit) {
        let presence = &mut self.oracle.presence[node];
        if let Some((at, left)) = presence.saving.remove(&commit.id) {
            (presence.saved, presence.saved_at) = (left, at);
        }
        for op in &commit.ops {
            if let Op::Fill { batch, seqs } = op {
                let all = seqs.iter().flat_map(|(first, last)| first..=last);
                let filled = all.map(|seq| (node, batch.batch.name, seq));
                self.oracle.filled.extend(filled);
            }
            if let Op::Forget(name) = op {
                // A log that made room may come back, and is shown again then.
                self.oracle.shown[node].retain(|(of, _)| of != name);
            }
            let Op::Append {
                batch, from, to, ..
            } = op
            else {
                continue;
            };
            let name = batch.batch.name;
            if is_of_other_device(&name) {
                return self.fail(format!(
                    "n{node} keeps {name:?}, which no certificate allows"
                ));
            }
            for seq in *from..=*to {
                self.oracle.ever.insert((node, name, seq));
                self.stats.delivered += u64::from(name.author != self.nodes[node].id);
                self.check_body(node, batch, seq);
            }
        }
    }

    /// Checks that each body has only one place in the logs.
    fn check_body(&mut self, node: usize, batch: &CheckedBatch, seq: Seq) {
        let name = batch.batch.name;
        let Some(text) = batch.at(seq).and_then(|entry| entry.entry.body.text()) else {
            return;
        };
        if self.oracle.hostile.contains(&name.author) {
            return;
        }
        let at = *self
            .oracle
            .bodies
            .entry(text.to_owned())
            .or_insert((name, seq));
        if at != (name, seq) {
            let text = text.to_owned();
            self.fail(format!(
                "n{node} keeps “{text}” as {name:?} {seq}, and it is {at:?}"
            ));
        }
    }

    // Reports of replicas.

    pub(super) fn said(&mut self, node: usize, output: Output) {
        match output {
            Output::Appended { tokens, batch } => {
                for (token, seq) in tokens.into_iter().zip(batch.first()..) {
                    match self.oracle.deleting.remove(&token.0) {
                        Some(target) => {
                            let deletion = (batch.batch.name, seq);
                            self.oracle.deleted.push((target, deletion));
                        }
                        None => self.appended(node, token, batch.batch.name, seq),
                    }
                }
            }
            Output::AppendFailed(token, _) => {
                if self.oracle.deleting.remove(&token.0).is_none() {
                    self.append_failed(node, token);
                }
            }
            Output::Received {
                batch, first, last, ..
            } => self.received(node, &batch, first, last),
            Output::Sent(name, _, first, last) => {
                let held =
                    (first..=last).all(|seq| self.nodes[node].disk.durable.holds(&name, seq));
                if !held || name.author != self.nodes[node].id {
                    self.fail(format!(
                        "n{node} says that it sent {name:?} {first}..={last}"
                    ));
                }
            }
            Output::Delivered(name, peer, ranges) => {
                self.delivered(node, name, peer.person(), &ranges)
            }
            Output::Refused(_, _, refusal) => self.refused(node, &refusal),
            Output::OwnRestored(..) => {
                if self.oracle.restored_at[node].is_none() && self.oracle.hostile.is_empty() {
                    self.fail(format!(
                        "n{node} gets entries of its own back, and has lost none"
                    ));
                }
            }
            Output::Accepted(_)
            | Output::AwaitsConsent(..)
            | Output::RequestFull(_)
            | Output::RoomFull(_)
            | Output::Commit(_)
            | Output::Erased { .. }
            | Output::EraseRefused(..)
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
        let logs = self.nodes[node]
            .disk
            .durable
            .logs
            .iter()
            .filter(|(name, _)| name.conversation == conversation);
        logs.filter_map(|(_, log)| log.entries.last_key_value())
            .map(|(_, entry)| entry.lamport)
            .max()
            .unwrap_or(0)
    }

    pub(super) fn says(
        &mut self,
        node: usize,
        conversation: ConversationId,
        body: String,
    ) -> Token {
        self.says_body(node, conversation, body, None)
    }

    /// The same for an entry about another one. `label` is a text that no other entry has.
    pub(super) fn says_about(
        &mut self,
        node: usize,
        conversation: ConversationId,
        label: String,
        body: Body,
    ) -> Token {
        self.says_body(node, conversation, label, Some(body))
    }

    fn says_body(
        &mut self,
        node: usize,
        conversation: ConversationId,
        body: String,
        about: Option<Body>,
    ) -> Token {
        let token = self.oracle.token();
        let (life, after) = (
            self.nodes[node].life,
            self.highest_lamport(node, conversation),
        );
        self.oracle.said.insert(
            token.0,
            Said {
                node,
                life,
                conversation,
                body,
                about,
                answered: false,
                after,
            },
        );
        token
    }

    fn answered(
        &mut self,
        node: usize,
        token: Token,
    ) -> Option<(ConversationId, String, Option<Body>, u64)> {
        match self.oracle.said.get_mut(&token.0) {
            Some(said) if !said.answered && said.node == node => {
                said.answered = true;
                let about = said.about.clone();
                Some((said.conversation, said.body.clone(), about, said.after))
            }
            Some(_) | None => {
                self.fail(format!(
                    "n{node} answers {token:?}, which it was not asked or has answered"
                ));
                None
            }
        }
    }

    fn appended(&mut self, node: usize, token: Token, name: LogName, seq: Seq) {
        let Some((conversation, body, about, after)) = self.answered(node, token) else {
            return;
        };
        self.stats.appended += 1;
        let stored = self.nodes[node]
            .disk
            .durable
            .logs
            .get(&name)
            .and_then(|log| log.entries.get(&seq));
        let Some(stored) = stored else {
            return self.fail(format!(
                "n{node} says that “{body}” is kept as {name:?} {seq}, and it is not on disk"
            ));
        };
        let entry =
            hobnob_protocol::Entry::decode(&stored.bytes).expect("what is on disk was read before");
        if entry.body != about.unwrap_or_else(|| Body::Text(body.clone()))
            || name.conversation != conversation
            || name.author != self.nodes[node].id
        {
            return self.fail(format!(
                "n{node} says that “{body}” is {name:?} {seq}, which is {:?}",
                entry.body
            ));
        }
        // With a hostile node this does not hold: replicas do not follow impossible numbers.
        if entry.lamport <= after && self.oracle.hostile.is_empty() {
            self.fail(format!(
                "“{body}” of n{node} has the Lamport number {}, and answers to {after}",
                entry.lamport
            ));
        }
        let place = self.oracle.appended.len();
        self.oracle.place.insert((name, seq), place);
        self.oracle.appended.push(Appended {
            node,
            name,
            seq,
            at: self.now,
        });
    }

    fn append_failed(&mut self, node: usize, token: Token) {
        if let Some((_, body, ..)) = self.answered(node, token) {
            self.oracle.failed.insert(body);
        }
    }

    fn received(&mut self, node: usize, batch: &CheckedBatch, first: Seq, last: Seq) {
        let name = batch.batch.name;
        if name.author == self.nodes[node].id {
            return self.fail(format!("n{node} shows its own entry as received"));
        }
        if is_of_other_device(&name) {
            return self.fail(format!(
                "n{node} shows {name:?}, which no certificate allows"
            ));
        }
        for seq in first..=last {
            if !self.nodes[node].disk.durable.holds(&name, seq) {
                return self.fail(format!(
                    "n{node} shows {name:?} {seq}, which is not on its disk"
                ));
            }
            let body = batch.at(seq).map(|entry| &entry.entry.body);
            if matches!(body, Some(Body::Erased { .. } | Body::Delete { .. })) {
                return self.fail(format!(
                    "n{node} shows {name:?} {seq}, which is not for its user"
                ));
            }
            if !self.oracle.shown[node].insert((name, seq)) {
                return self.fail(format!("n{node} shows {name:?} {seq} twice"));
            }
            if !self.oracle.filled.contains(&(node, name, seq)) {
                self.check_order(node, name, seq);
            }
        }
    }

    /// Checks that an author's entries appear in their order, in direct conversations and in rooms
    /// with a secret.
    fn check_order(&mut self, node: usize, name: LogName, seq: Seq) {
        // If a newcomer received only the end of a log, nodes with its beginning may receive that
        // end before the middle.
        let odd = Some(name.conversation) == self.oracle.secret && self.cuts_are_odd();
        if odd
            || self.oracle.is_open(name.conversation)
            || self.oracle.hostile.contains(&name.author)
        {
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
        // An entry that was never confirmed to its author has no place. The check of its log
        // suffices.
        let Some(&place) = self.oracle.place.get(&(name, seq)) else {
            return;
        };
        let before = self.oracle.last_shown[node].insert((name.conversation, name.author), place);
        if before.is_some_and(|before| before > place) {
            self.fail(format!(
                "n{node} shows {name:?} {seq}, which was said before what it showed last"
            ));
        }
    }

    fn delivered(&mut self, node: usize, name: LogName, peer: PersonId, ranges: &Ranges) {
        let Some(other) = self.oracle.index(peer) else {
            return;
        };
        if self.oracle.hostile.contains(&peer) {
            return;
        }
        self.no_longer_held(node, other, &name, ranges);
        for seq in ranges.iter().flat_map(|(first, last)| first..=last) {
            let holds = self.nodes[other].disk.durable.is_settled(&name, seq);
            let lost =
                self.oracle.restored_at[other].is_some() && self.oracle.ever_had(peer, &name, seq);
            if !holds && !lost {
                return self.fail(format!("n{node} says that n{other} has {name:?} {seq}, and it is not on n{other}'s disk"));
            }
        }
    }

    /// Checks that honest nodes reject nothing else from each other.
    fn refused(&mut self, node: usize, refusal: &Refusal) {
        match refusal {
            Refusal::NotShared | Refusal::Gap | Refusal::Blocked | Refusal::RoomFull => {}
            Refusal::NotAnAuthor
            | Refusal::NoCertificate
            | Refusal::NewerCertificate
            | Refusal::Batch(_)
            | Refusal::Conflict
            | Refusal::IdentityReused
            | Refusal::Lamport
            | Refusal::Misplaced => {
                if self.oracle.hostile.is_empty() {
                    self.fail(format!(
                        "n{node} refuses something of an honest node: {refusal}"
                    ));
                }
            }
        }
    }
}

/// Whether a log names another device than the author's. There are no certificates, so nothing of it
/// may be kept, shown, requested or passed on.
fn is_of_other_device(name: &LogName) -> bool {
    name.device != name.author.only_device()
}

/// The two rooms of every run.
pub(super) fn rooms() -> [(hobnob_protocol::RoomName, RoomKey); 2] {
    let name = |text: &str| {
        text.parse::<hobnob_protocol::RoomName>()
            .expect("a room's name")
    };
    let (lobby, ops) = (name("lobby"), name("ops"));
    [
        (lobby.clone(), RoomKey::open(&lobby)),
        (ops, RoomKey::random([7; 32])),
    ]
}
