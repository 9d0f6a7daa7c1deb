//! All conversations of the node, and the numbers that they share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hobnob_protocol::{
    CheckedBatch, ConversationId, DeviceId, LogName, PersonId, RoomKey, RoomName, Seq,
};

use super::conversation::Conversation;
use super::events::Token;
use super::identity::Identity;
use super::log_key::LogKey;
use super::room_budget::RoomLimits;
use crate::commit::{
    Alive, AudienceId, AudienceRecord, ConversationKind, ConversationRecord, Lingerer, LogRecord,
    NetworkId, Op,
};
use crate::{Now, SessionId};

/// All conversations. A direct one in which nobody ever wrote is forgotten when its peer disconnects.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    by_id: BTreeMap<ConversationId, Conversation>,
    /// The highest number given to a log: logs are numbered by age.
    last_ordinal: u64,
    /// The highest number given to an audience.
    last_audience: u64,
    /// Open rooms whose present peers have changed since they were saved.
    unsaved: BTreeSet<ConversationId>,
    /// The open rooms, which share some limits.
    open_rooms: Vec<ConversationId>,
    /// How much each open room may hold.
    limits: RoomLimits,
}

impl Conversations {
    pub(super) fn load(
        me: PersonId,
        records: Vec<ConversationRecord>,
        logs: Vec<LogRecord>,
        lamport: Vec<(ConversationId, u64)>,
        last_audience: u64,
    ) -> Self {
        let mut loaded = Self {
            last_audience,
            ..Self::default()
        };
        for record in records {
            let (id, conversation) = (record.id, Conversation::load(record));
            if conversation.is_open_room() {
                loaded.open_rooms.push(id);
            }
            loaded.by_id.insert(id, conversation);
        }
        loaded.share_limits();
        for record in logs {
            loaded.last_ordinal = loaded.last_ordinal.max(record.ordinal);
            loaded.at_mut(record.name.conversation).load_log(me, record);
        }
        for (id, lamport) in lamport {
            loaded.at_mut(id).load_lamport(lamport);
        }
        loaded
    }

    /// Loads the deletions that wait for their entries.
    pub(super) fn load_awaited(&mut self, awaited: &[(LogName, Seq)]) {
        for (name, seq) in awaited {
            self.at_mut(name.conversation).awaited.load(name, *seq);
        }
    }

    /// Loads the audiences, and the peers that were present when the last run ended and were reached
    /// by one of these networks. `alive` is the last sign of life.
    pub(super) fn load_presence(
        &mut self,
        audiences: Vec<AudienceRecord>,
        lingerers: Vec<(ConversationId, Vec<Lingerer>)>,
        alive: Option<Alive>,
        networks: &BTreeSet<NetworkId>,
        now: Now,
    ) {
        for record in audiences {
            let conversation = self.at_mut(record.conversation);
            conversation.audiences.load_audience(record, now);
        }
        for (id, lingerers) in lingerers {
            if let Some(alive) = alive {
                let audiences = &mut self.at_mut(id).audiences;
                audiences.load(&lingerers, alive.at_ms, networks, now);
            }
            // The peers of a network that was left are not present any more. The next start on that
            // network must not find them.
            self.unsaved.insert(id);
        }
    }

    pub(super) fn get(&self, id: ConversationId) -> Option<&Conversation> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConversationId) -> Option<&mut Conversation> {
        self.by_id.get_mut(&id)
    }

    /// A conversation that is known to exist.
    pub(super) fn at(&self, id: ConversationId) -> &Conversation {
        self.get(id).expect("the caller knows that it exists")
    }

    /// A conversation that is known to exist.
    pub(super) fn at_mut(&mut self, id: ConversationId) -> &mut Conversation {
        self.get_mut(id).expect("the caller knows that it exists")
    }

    /// The conversation with this record. It is created if it does not exist.
    pub(super) fn open(&mut self, record: ConversationRecord) -> &mut Conversation {
        let (id, limits) = (record.id, self.limits);
        let mut is_new_open_room = false;
        self.by_id.entry(id).or_insert_with(|| {
            let mut conversation = Conversation::new(record);
            conversation.budget.limits = limits;
            is_new_open_room = conversation.is_open_room();
            conversation
        });
        if is_new_open_room {
            self.open_rooms.push(id);
            self.share_limits();
        }
        self.at_mut(id)
    }

    /// All open rooms have an equal share of some limits.
    fn share_limits(&mut self) {
        let others = self.open_rooms.len().saturating_sub(1) as u64;
        for id in &self.open_rooms {
            let room = self.by_id.get_mut(id).expect("rooms are never removed");
            room.share_with(others);
        }
    }

    /// Forgets a direct conversation in which nobody ever wrote.
    pub(super) fn remove_unused(&mut self, id: ConversationId) {
        if self.get(id).is_some_and(Conversation::is_unused) {
            self.by_id.remove(&id);
        }
    }

    /// Counts an author in all open rooms as a stranger from now on, or as a contact.
    pub(super) fn count_author(&mut self, author: PersonId, is_stranger: bool) {
        for id in &self.open_rooms {
            let room = self.by_id.get_mut(id).expect("rooms are never removed");
            room.count_author(author, is_stranger);
        }
    }

    /// Sets how much each open room may hold.
    pub(super) fn limit(&mut self, limits: RoomLimits) {
        self.limits = limits;
        for conversation in self.by_id.values_mut() {
            conversation.budget.limits = limits;
        }
    }

    pub(super) fn contains(&self, id: ConversationId) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ConversationId, &Conversation)> {
        self.by_id.iter().map(|(id, it)| (*id, it))
    }

    pub(super) fn ids(&self) -> Vec<ConversationId> {
        self.by_id.keys().copied().collect()
    }

    /// All rooms, also those that the user has left.
    pub(super) fn room_ids(&self) -> Vec<ConversationId> {
        let rooms = self
            .iter()
            .filter(|(_, conversation)| !conversation.is_direct());
        rooms.map(|(id, _)| id).collect()
    }

    /// The rooms that the node is in, with their keys.
    pub(super) fn joined(&self) -> impl Iterator<Item = (ConversationId, &RoomName, &RoomKey)> {
        self.by_id
            .values()
            .filter_map(|conversation| match &conversation.record.kind {
                ConversationKind::Room {
                    name,
                    key,
                    joined: true,
                } => Some((conversation.record.id, name, key)),
                ConversationKind::Room { joined: false, .. } | ConversationKind::Direct(_) => None,
            })
    }

    // Entries.

    /// The audience of entries that arrive now, with an op if it is a new one.
    pub(super) fn stamp(
        &mut self,
        id: ConversationId,
        networks: &BTreeSet<NetworkId>,
        now: Now,
        ops: &mut Vec<Op>,
    ) -> AudienceId {
        let conversation = self.by_id.get_mut(&id);
        let conversation = conversation.expect("the caller knows that it exists");
        if conversation.is_open_room() {
            let audiences = &mut conversation.audiences;
            audiences.stamp(id, &mut self.last_audience, networks, now, ops)
        } else {
            AudienceId::MEMBERS
        }
    }

    /// Writes as many waiting appends as fit one batch to a log of our own.
    pub(super) fn write_batch(
        &mut self,
        identity: &mut Identity,
        name: LogName,
        now: Now,
    ) -> Option<(Arc<CheckedBatch>, Vec<Token>)> {
        let conversation = self.by_id.get_mut(&name.conversation);
        let conversation = conversation.expect("the caller knows that it exists");
        conversation.write_batch(identity, name, now, &mut self.last_ordinal)
    }

    /// Accepts a batch that was checked. It is not durable yet.
    /// Returns the cost of its log, if the store has to learn it.
    pub(super) fn accept(
        &mut self,
        batch: &CheckedBatch,
        cost: u64,
        brought_by: DeviceId,
    ) -> Option<u64> {
        let conversation = self.by_id.get_mut(&batch.batch.name.conversation);
        let conversation = conversation.expect("the caller knows that it exists");
        conversation.accept(batch, cost, brought_by, &mut self.last_ordinal)
    }

    /// Accepted entries are on disk. Returns an op that keeps a room within its limit.
    pub(super) fn now_durable(
        &mut self,
        name: LogName,
        first: Seq,
        last: Seq,
        audience: AudienceId,
    ) -> Option<Op> {
        let conversation = self.at_mut(name.conversation);
        conversation.now_durable(&LogKey::of(&name), first, last, audience);
        conversation.trim(name.author)
    }

    /// A commit failed: forgets everything that is not durable.
    pub(super) fn roll_back(&mut self) {
        self.by_id.values_mut().for_each(Conversation::roll_back);
    }

    // Sources.

    /// The authors whose missing entries are overdue.
    pub(super) fn overdue(&self, now: Duration) -> Vec<(ConversationId, PersonId)> {
        let overdue = |(id, conversation): (ConversationId, &Conversation)| {
            let authors = conversation.pulls.overdue(now);
            authors.into_iter().map(move |author| (id, author))
        };
        self.iter().flat_map(overdue).collect()
    }

    /// When the next missing entries are overdue.
    pub(super) fn next_retry(&self) -> Option<Duration> {
        let retries = self.by_id.values();
        retries.filter_map(|it| it.pulls.next_retry()).min()
    }

    /// Nothing more is requested of this author. Returns the sessions that forward its entries.
    pub(super) fn end_sources(&mut self, author: PersonId) -> Vec<(SessionId, ConversationId)> {
        let mut sources = Vec::new();
        for (id, conversation) in &mut self.by_id {
            let source = conversation.pulls.end_source(author);
            sources.extend(source.map(|source| (source, *id)));
            conversation.pulls.give_up(author);
        }
        sources
    }

    // The peers that are present in open rooms.

    /// The peers present in an open room have changed.
    pub(super) fn presence_changed(&mut self, id: ConversationId) {
        self.unsaved.insert(id);
    }

    /// The node is on these networks now. The peers that were reached by another one are not known
    /// to be present any more.
    pub(super) fn networks_changed(&mut self, networks: &BTreeSet<NetworkId>) {
        for (id, conversation) in &mut self.by_id {
            if conversation.is_open_room() {
                conversation.audiences.networks_changed(networks);
                self.unsaved.insert(*id);
            }
        }
    }

    pub(super) fn presence_is_saved(&self) -> bool {
        self.unsaved.is_empty()
    }

    /// The rooms whose present peers must be saved, with the ops that do so.
    pub(super) fn save_presence(&mut self, now: Now) -> (BTreeSet<ConversationId>, Vec<Op>) {
        let unsaved = std::mem::take(&mut self.unsaved);
        let stored = unsaved
            .iter()
            .map(|id| (*id, self.at(*id)))
            .filter(|(_, conversation)| conversation.is_asked_to_store());
        let ops = stored.map(|(id, it)| Op::Lingerers(id, it.audiences.lingerers(now)));
        let ops = ops.collect();
        (unsaved, ops)
    }

    /// The store could not save the peers present in these rooms.
    pub(super) fn presence_not_saved(&mut self, rooms: BTreeSet<ConversationId>) {
        self.unsaved.extend(rooms);
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::Ranges;

    use super::super::testing::{
        Author, Bench, announced, closed_room, direct, direct_record, lamports, peer, room_record,
    };
    use super::*;
    use crate::commit::Loaded;

    const BOB: u8 = 2;
    const CAROL: u8 = 3;
    const DAVE: u8 = 4;

    #[test]
    fn after_a_restart_new_logs_are_younger_than_the_stored_ones() {
        let mut stored = Author::with_log(DAVE, closed_room(), 9);
        stored.write(&["a"]);
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(false)],
            logs: vec![stored.stored(5)],
            ..Loaded::default()
        });
        let held = [(stored.name, Ranges::span(1, 1))];
        bench.connect(1, BOB);
        bench.meet_in(1, closed_room(), &held);
        let mut new = Author::with_log(DAVE, closed_room(), 3);
        bench.batch(1, new.write(&["b"]));
        bench.connect(2, CAROL);
        let outputs = bench.meet_in(2, closed_room(), &held);
        let names: Vec<_> = announced(&outputs, 2)
            .iter()
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(names, [stored.name, new.name]);
    }

    #[test]
    fn after_a_restart_the_clock_goes_on() {
        let mut bench = Bench::load(Loaded {
            conversations: vec![room_record(false)],
            lamport: vec![(closed_room(), 41)],
            ..Loaded::default()
        });
        assert_eq!(lamports(&bench.append(closed_room(), "a")), [42]);
    }

    #[test]
    fn stored_conversations_are_known_and_stored_rooms_are_entered() {
        let bench = Bench::load(Loaded {
            conversations: vec![room_record(false), direct_record(BOB)],
            ..Loaded::default()
        });
        assert_eq!(bench.replica.conversations().count(), 2);
        let rooms: Vec<_> = bench.replica.rooms().map(|(id, ..)| id).collect();
        assert_eq!(rooms, [closed_room()]);
        let kind = bench.replica.kind(direct(BOB));
        assert_eq!(kind, Some(&ConversationKind::Direct(peer(BOB))));
    }
}
