//! What this node says itself: rooms joined, conversations opened, entries written.

use std::sync::Arc;

use hobnob_protocol::batch::BATCH_ENTRIES_BYTES_MAX;
use hobnob_protocol::{
    Body, CheckedBatch, ConversationId, Entry, LogId, LogName, PeerId, RoomKey, RoomName, Seq,
};

use super::log::Log;
use super::{AfterCommit, Conversation, LAMPORT_MAX, LogKey, Output, Replica, Token};
use crate::commit::{AudienceId, ConversationKind, ConversationRecord, Op};

/// Maximum batches of own entries in one commit. Further appends wait for the next commit.
const APPEND_BATCHES_MAX: usize = 8;

impl Replica {
    pub(super) fn open_direct(&mut self, peer: PeerId) {
        let id = ConversationId::direct(self.me, peer);
        let kind = ConversationKind::Direct(peer);
        self.conversations
            .entry(id)
            .or_insert_with(|| Conversation::new(ConversationRecord { id, kind }, None));
    }

    pub(super) fn join(&mut self, token: Token, name: RoomName, key: RoomKey, open: bool) {
        let record = ConversationRecord {
            id: key.tag(),
            kind: ConversationKind::Room {
                name,
                key,
                open,
                joined: true,
            },
        };
        let room = self
            .conversations
            .entry(record.id)
            .or_insert_with(|| Conversation::new(record.clone(), None));
        room.record = record.clone();
        room.asked_to_store = true;
        self.commit(
            vec![Op::Conversation(record.clone())],
            vec![AfterCommit::Record(record), AfterCommit::Stored(token)],
        );
    }

    pub(super) fn part(&mut self, token: Token, id: ConversationId) {
        let Some(room) = self.conversations.get_mut(&id) else {
            self.outputs.push_back(Output::StoreFailed(
                token,
                "this node is not in that room".to_owned(),
            ));
            return;
        };
        if let ConversationKind::Room { joined, .. } = &mut room.record.kind {
            *joined = false;
        }
        let record = room.record.clone();
        self.commit(
            vec![Op::Conversation(record.clone())],
            vec![AfterCommit::Record(record), AfterCommit::Stored(token)],
        );
    }

    pub(super) fn append(&mut self, token: Token, id: ConversationId, body: Body) {
        match self.conversations.get_mut(&id) {
            Some(conversation) => conversation.waiting.push_back((token, body)),
            None => self.outputs.push_back(Output::AppendFailed(
                token,
                "there is no such conversation".to_owned(),
            )),
        }
        self.write_waiting(id);
    }

    /// Writes the waiting appends in as few batches as possible. Only one commit of own entries runs
    /// at a time, so a burst of appends needs few signatures.
    fn write_waiting(&mut self, id: ConversationId) {
        let Some(conversation) = self.conversations.get_mut(&id) else {
            return;
        };
        if conversation.appending || conversation.waiting.is_empty() {
            return;
        }
        conversation.appending = true;
        let (mut ops, mut steps) = (Vec::new(), Vec::new());
        conversation.store_record(&mut ops, &mut steps);
        let audience = conversation.stamp(&mut self.last_audience, self.now, &mut ops);
        let name = LogName {
            conversation: id,
            author: self.me,
            log: LogId::of_run(self.run, &id),
        };
        for _ in 0..APPEND_BATCHES_MAX {
            let Some((batch, tokens)) = self.write_batch(name) else {
                break;
            };
            let (from, to) = (batch.first(), batch.last());
            ops.push(Op::Append {
                batch: batch.clone(),
                from,
                to,
                audience,
                received_at_ms: self.now.wall_ms,
            });
            steps.push(AfterCommit::Own {
                name,
                batch,
                audience,
                tokens,
            });
        }
        self.commit(ops, steps);
    }

    /// Writes as many waiting appends as fit one batch to the log of this run.
    fn write_batch(&mut self, name: LogName) -> Option<(Arc<CheckedBatch>, Vec<Token>)> {
        let conversation = self.conversations.get_mut(&name.conversation)?;
        let (mut entries, mut tokens, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((_, body)) = conversation.waiting.front() {
            bytes += encoded_size_at_most(body);
            if bytes > BATCH_ENTRIES_BYTES_MAX {
                break;
            }
            let (token, body) = conversation.waiting.pop_front().expect("peeked above");
            conversation.lamport = (conversation.lamport + 1).min(LAMPORT_MAX);
            entries.push(Entry {
                lamport: conversation.lamport,
                sent_at_ms: self.now.wall_ms,
                body,
            });
            tokens.push(token);
        }
        if entries.is_empty() {
            return None;
        }
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let next_ordinal = &mut self.next_ordinal;
        let log = conversation.logs.entry(key).or_insert_with(|| {
            *next_ordinal += 1;
            Log::new(&name, *next_ordinal)
        });
        let (head, hash) = log.head();
        let batch = CheckedBatch::author(&self.key, name, head + 1, hash, entries);
        log.accept(&batch);
        Some((Arc::new(batch), tokens))
    }

    pub(super) fn own_is_durable(
        &mut self,
        name: LogName,
        batch: Arc<CheckedBatch>,
        audience: AudienceId,
        tokens: Vec<Token>,
    ) {
        let key = LogKey {
            author: name.author,
            log: name.log,
        };
        let (first, last) = (batch.first(), batch.last());
        self.now_durable(name, key, first, last, audience);
        self.recent.keep(&batch);
        // Peers first: the author of the entry can wait a moment longer.
        self.pass_on(name, first, last, audience, None);
        self.outputs.push_back(Output::Appended { tokens, batch });
        self.append_went_through(name.conversation);
    }

    /// The commit succeeded or failed: the next appends can be written.
    pub(super) fn append_went_through(&mut self, id: ConversationId) {
        if let Some(conversation) = self.conversations.get_mut(&id) {
            conversation.appending = false;
        }
        self.write_waiting(id);
    }

    /// Marks entries as durable, and keeps rooms within their limit.
    pub(super) fn now_durable(
        &mut self,
        name: LogName,
        key: LogKey,
        first: Seq,
        last: Seq,
        audience: AudienceId,
    ) {
        let Some(conversation) = self.conversations.get_mut(&name.conversation) else {
            return;
        };
        let next_ordinal = &mut self.next_ordinal;
        let log = conversation.logs.entry(key).or_insert_with(|| {
            *next_ordinal += 1;
            Log::new(&name, *next_ordinal)
        });
        log.made_durable(first, last, audience);
        *conversation.entries.entry(key.author).or_default() += last - first + 1;
        self.trim(name.conversation, key.author);
    }

    /// Drops an author's oldest entries from a room that holds too many of them.
    fn trim(&mut self, id: ConversationId, author: PeerId) {
        let Some(room) = self
            .conversations
            .get_mut(&id)
            .filter(|conversation| !conversation.is_direct())
        else {
            return;
        };
        let held = room.entries.get(&author).copied().unwrap_or_default();
        // One per cent of slack: otherwise each entry beyond the limit would need its own commit.
        if held <= super::ROOM_ENTRIES_PER_AUTHOR_MAX + super::ROOM_ENTRIES_PER_AUTHOR_MAX / 100 {
            return;
        }
        let excess = held - super::ROOM_ENTRIES_PER_AUTHOR_MAX;
        let of_author = room
            .logs
            .iter_mut()
            .filter(|(key, log)| key.author == author && !log.durable().is_empty());
        let Some((key, log)) = of_author.min_by_key(|(_, log)| log.ordinal) else {
            return;
        };
        let first = log.durable().first().expect("not empty, as filtered above");
        // The newest entry stays, because the next one continues its chain.
        let keep_from = (first + excess).min(log.durable().last().expect("not empty"));
        let before = log.durable().len();
        log.trim(keep_from);
        let gone = before - log.durable().len();
        room.entries.insert(author, held - gone);
        let name = LogName {
            conversation: id,
            author,
            log: key.log,
        };
        self.commit(vec![Op::Trim(name, keep_from)], Vec::new());
    }
}

/// An upper bound of the encoded size: 40 bytes cover the numbers, the lengths and the kind.
fn encoded_size_at_most(body: &Body) -> usize {
    40 + match body {
        Body::Text(text) => text.len(),
        Body::App { kind, bytes } => kind.len() + bytes.len() + 16,
        Body::Offer(offer) => offer.name.len() + offer.media.len() + 80,
        Body::Unknown { bytes, .. } => bytes.len(),
    }
}
