//! The user's actions: open conversations, enter and leave rooms, and write messages.

use std::sync::Arc;

use hobnob_protocol::{
    Body, CheckedBatch, ConversationId, LogName, PeerId, Ranges, RoomKey, RoomName,
};

use super::commits::AfterCommit;
use super::events::{Output, Token};
use super::log_key::LogKey;
use super::state::Replica;
use crate::commit::{AudienceId, ConversationKind, ConversationRecord, Op};

/// Maximum batches of own entries in one commit. Further appends wait for the next commit.
const APPEND_BATCHES_MAX: usize = 8;

impl Replica {
    pub(super) fn open_direct(&mut self, peer: PeerId) {
        let id = ConversationId::direct(self.identity.id, peer);
        let kind = ConversationKind::Direct(peer);
        self.conversations.open(ConversationRecord { id, kind });
    }

    pub(super) fn join(&mut self, token: Token, name: RoomName, key: RoomKey) {
        let record = ConversationRecord {
            id: key.conversation(),
            kind: ConversationKind::Room {
                name,
                key,
                joined: true,
            },
        };
        let room = self.conversations.open(record.clone());
        room.enter(record.clone());
        self.commit_record(record, token);
    }

    pub(super) fn part(&mut self, token: Token, id: ConversationId) {
        let Some(room) = self.conversations.get_mut(id) else {
            let why = "this node is not in that room".to_owned();
            self.outputs.push_back(Output::StoreFailed(token, why));
            return;
        };
        room.leave();
        let record = room.record.clone();
        self.commit_record(record, token);
    }

    fn commit_record(&mut self, record: ConversationRecord, token: Token) {
        self.commit(
            vec![Op::Conversation(record.clone())],
            vec![AfterCommit::Record(record), AfterCommit::Stored(token)],
        );
    }

    pub(super) fn append(&mut self, token: Token, id: ConversationId, body: Body) {
        let Some(conversation) = self.conversations.get_mut(id) else {
            let why = "there is no such conversation".to_owned();
            self.outputs.push_back(Output::AppendFailed(token, why));
            return;
        };
        if let Body::Delete { log, seq } = body {
            let author = self.identity.id;
            let log = conversation.log(&LogKey { author, log });
            if log.is_none_or(|log| !log.durable().contains(seq)) {
                let why = "this node has no such message of its own".to_owned();
                self.outputs.push_back(Output::AppendFailed(token, why));
                return;
            }
        }
        conversation.appends.add(token, body);
        if let ConversationKind::Direct(peer) = conversation.record.kind {
            self.accept_by_writing(peer);
        }
        self.write_waiting(id);
    }

    /// Writes the waiting appends in as few batches as possible, unless a commit of own entries is
    /// under way.
    fn write_waiting(&mut self, id: ConversationId) {
        let conversation = self.conversations.at_mut(id);
        if !conversation.appends.begin() {
            return;
        }
        let (mut ops, mut steps) = (Vec::new(), Vec::new());
        conversation.store_record(&mut ops, &mut steps);
        let audience = self
            .conversations
            .stamp(id, &self.networks, self.now, &mut ops);
        let name = self.identity.log_of_run(id);
        for _ in 0..APPEND_BATCHES_MAX {
            let written = self
                .conversations
                .write_batch(&mut self.identity, name, self.now);
            let Some((batch, tokens)) = written else {
                break;
            };
            let (from, to) = (batch.first(), batch.last());
            let pieces = Ranges::span(from, to);
            let of_target = self.audience_of_target(&batch, &pieces);
            let audience = of_target.unwrap_or(audience);
            ops.push(Op::Append {
                batch: batch.clone(),
                from,
                to,
                audience,
                received_at_ms: self.now.wall_ms,
                deleted: Ranges::new(),
            });
            steps.push(AfterCommit::Own {
                name,
                batch: batch.clone(),
                audience,
                tokens,
            });
            self.apply_deletions(batch, &pieces, &mut ops, &mut steps);
        }
        self.commit(ops, steps);
    }

    pub(super) fn own_is_durable(
        &mut self,
        name: LogName,
        batch: Arc<CheckedBatch>,
        audience: AudienceId,
        tokens: Vec<Token>,
    ) {
        let (first, last) = (batch.first(), batch.last());
        self.now_durable(name, first, last, audience);
        self.recent.keep(&batch);
        // Peers first: the author of the entry can wait a moment longer.
        self.pass_on(name, first, last, audience, None);
        self.outputs.push_back(Output::Appended { tokens, batch });
        self.append_answered(name.conversation);
    }

    /// The commit of own entries succeeded or failed: the next appends can be written.
    pub(super) fn append_answered(&mut self, id: ConversationId) {
        self.conversations.at_mut(id).appends.end();
        self.write_waiting(id);
    }
}
