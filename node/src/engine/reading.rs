//! Reads from the store: history for users, entries for sessions.

use std::collections::BTreeMap;

use hobnob_core::SessionId;
use hobnob_core::replica::NEWCOMER_ENTRIES;
use hobnob_protocol::{ConversationId, LogName, Seq};
use tokio::sync::oneshot::{self, Receiver};
use tracing::warn;

use super::internal::{HistoryRead, Internal};
use super::state::Engine;
use crate::api::{ConversationRef, HistoryQuery, Message, RoomTopic, Status};
use crate::error::NodeError;
use crate::store::{HistoryRequest, StoreError};

/// Messages in one answer to a history query, at most.
const HISTORY_MAX: usize = 10_000;

/// Bytes of entries that one read for a session brings into memory.
const READ_BYTES: usize = 256 * 1024;

impl Engine {
    pub(super) fn read_history(
        &mut self,
        query: HistoryQuery,
        reply: oneshot::Sender<Result<Vec<Message>, NodeError>>,
    ) {
        let conversation = match &query.conversation {
            None => None,
            Some(named) => {
                let Some(id) = self.conversation_id(named) else {
                    let error = NodeError::NoSuchConversation(named.to_string());
                    return drop(reply.send(Err(error)));
                };
                Some(id)
            }
        };
        let rows = self.store.history(HistoryRequest {
            conversation,
            search: query.search,
            since_ms: query.since_ms,
            before: query.before.map(|id| (id.log, id.seq)),
            after: query.after.map(|id| (id.log, id.seq)),
            thread: query.thread.map(|id| (id.log, id.seq)),
            mentions: query.mentions,
            shown: true,
            oldest: query.oldest,
            limit: query.limit.unwrap_or(HISTORY_MAX).min(HISTORY_MAX),
        });
        let reports = self.tasks.reporter();
        self.tasks.spawn(async move {
            let rows = answer(rows).await;
            let _ = reports.send(Internal::History(HistoryRead { rows, reply }));
        });
    }

    pub(super) fn history_read(&mut self, read: HistoryRead) {
        let messages = read.rows.map_err(NodeError::from).map(|rows| {
            rows.into_iter()
                .filter_map(|mut row| {
                    let (name, amendments) = (row.name, std::mem::take(&mut row.amendments));
                    let mut message = self.message(row)?;
                    self.amend(&mut message, &name, amendments);
                    Some(message)
                })
                .collect()
        });
        let _ = read.reply.send(messages);
    }

    /// Adds the topics to the rooms of this node's status.
    pub(super) fn read_status(&self, mut status: Status, reply: oneshot::Sender<Status>) {
        let rooms = self.replica.rooms();
        let ids: Vec<_> = rooms.map(|(id, name, _)| (name.clone(), id)).collect();
        let topics = self.store.topics();
        self.tasks.spawn(async move {
            // A store that can't be read is reported elsewhere. The rest of the status helps then.
            let topics = answer(topics).await.unwrap_or_default();
            for room in &mut status.rooms {
                let id = ids.iter().find(|(name, _)| *name == room.name);
                let topic = id.and_then(|(_, id)| topics.get(id));
                room.topic = topic.map(|topic| RoomTopic {
                    text: topic.text.clone(),
                    by: topic.author,
                    at_ms: topic.sent_at_ms,
                });
            }
            let _ = reply.send(status);
        });
    }

    /// Reads the pinned messages of a conversation.
    pub(super) fn read_pins(
        &self,
        named: &ConversationRef,
        reply: oneshot::Sender<Result<Vec<Message>, NodeError>>,
    ) {
        let Some(id) = self.conversation_id(named) else {
            let error = NodeError::NoSuchConversation(named.to_string());
            return drop(reply.send(Err(error)));
        };
        let rows = self.store.pinned(id);
        let reports = self.tasks.reporter();
        self.tasks.spawn(async move {
            let rows = answer(rows).await;
            let _ = reports.send(Internal::History(HistoryRead { rows, reply }));
        });
    }

    pub(super) fn read_for(&mut self, session: SessionId, name: LogName, from: Seq, to: Seq) {
        let batches = self.store.read_batches(name, from, to, READ_BYTES);
        let reports = self.tasks.reporter();
        self.tasks.spawn(async move {
            let batches = answer(batches).await.map_err(|error| {
                warn!("entries for a peer can't be read: {error}");
                error.to_string()
            });
            let _ = reports.send(Internal::Read(session, name, batches));
        });
    }

    /// Finds the first entry of each log that a newcomer to a room may read.
    pub(super) fn find_cut(
        &mut self,
        session: SessionId,
        conversation: ConversationId,
        since_ms: u64,
    ) {
        let rows = self.store.history(HistoryRequest {
            conversation: Some(conversation),
            since_ms: Some(since_ms),
            limit: NEWCOMER_ENTRIES,
            ..HistoryRequest::default()
        });
        let reports = self.tasks.reporter();
        self.tasks.spawn(async move {
            let mut cut: BTreeMap<LogName, Seq> = BTreeMap::new();
            for row in answer(rows).await.unwrap_or_default() {
                let first = cut.entry(row.name).or_insert(row.seq);
                *first = row.seq.min(*first);
            }
            let _ = reports.send(Internal::NewcomerCut(session, conversation, cut));
        });
    }
}

/// The answer of the store. A store that has closed drops the request.
pub(super) async fn answer<T>(rows: Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    rows.await.unwrap_or_else(|_| Err(StoreError::Closed))
}
