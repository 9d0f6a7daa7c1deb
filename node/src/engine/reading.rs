//! What is read back from the store: for users, and for peers.

use std::collections::BTreeMap;

use hobnob_core::SessionId;
use hobnob_core::replica::NEWCOMER_ENTRIES;
use hobnob_protocol::{ConversationId, LogName, Seq};
use tokio::sync::oneshot::{self, Receiver};
use tracing::warn;

use super::internal::{HistoryRead, Internal};
use super::state::Engine;
use crate::api::{HistoryQuery, Message};
use crate::error::NodeError;
use crate::store::{HistoryRequest, StoreError};

/// Messages that one answer to a history query holds, if the query sets no limit.
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
            Some(named) => match self.conversation_id(named) {
                Some(id) => Some(id),
                None => {
                    return drop(reply.send(Err(NodeError::NoSuchConversation(named.to_string()))));
                }
            },
        };
        let rows = self.store.history(HistoryRequest {
            conversation,
            search: query.search,
            since_ms: query.since_ms,
            before: query.before.map(|id| (id.log, id.seq)),
            after: query.after.map(|id| (id.log, id.seq)),
            shown: true,
            oldest: query.oldest,
            limit: query.limit.unwrap_or(HISTORY_MAX).min(HISTORY_MAX),
        });
        let internal = self.tasks.reports.clone();
        self.tasks.spawn(async move {
            let rows = answer(rows).await;
            let _ = internal.send(Internal::History(HistoryRead { rows, reply }));
        });
    }

    pub(super) fn history_read(&mut self, read: HistoryRead) {
        let messages = read.rows.map_err(NodeError::from).map(|rows| {
            rows.into_iter()
                .filter_map(|row| self.message(row.name, row.seq, row.entry, row.received_at_ms))
                .collect()
        });
        let _ = read.reply.send(messages);
    }

    pub(super) fn read_for(&mut self, session: SessionId, name: LogName, from: Seq, to: Seq) {
        let batches = self.store.read_batches(name, from, to, READ_BYTES);
        let internal = self.tasks.reports.clone();
        self.tasks.spawn(async move {
            let batches = answer(batches).await.map_err(|error| {
                warn!("entries for a peer can't be read: {error}");
                error.to_string()
            });
            let _ = internal.send(Internal::Read(session, name, batches));
        });
    }

    /// Finds from where on a newcomer to a room may read.
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
        let internal = self.tasks.reports.clone();
        self.tasks.spawn(async move {
            let mut cut: BTreeMap<LogName, Seq> = BTreeMap::new();
            for row in answer(rows).await.unwrap_or_default() {
                let first = cut.entry(row.name).or_insert(row.seq);
                *first = row.seq.min(*first);
            }
            let _ = internal.send(Internal::NewcomerCut(session, conversation, cut));
        });
    }
}
/// What the store answers; a store that has closed has nothing to say.
async fn answer<T>(rows: Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    rows.await.unwrap_or_else(|_| Err(StoreError::Closed))
}
