//! Erases what the user or an author asked for: single messages, whole conversations, and old
//! messages by the retention. The user is answered when no file of the database contains the texts
//! any more.

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_core::replica::{self, EraseWhat, Token, Undelivered};
use hobnob_protocol::{Body, ConversationId, LogName, Ranges, Seq};
use tokio::sync::oneshot;
use tracing::warn;

use super::erasing::{Edits, EraseReply, KEEP, PendingErase};
use super::internal::Internal;
use super::state::Engine;
use crate::api::{ConversationRef, Event, KeepTimes, MessageId};
use crate::error::EraseError;
use crate::store::StoreError;

/// How often old messages are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(60 * 60);

/// How soon the files are rid of texts that a peer has deleted. Many deletions share one pass.
const SCRUB_AFTER: Duration = Duration::from_secs(10);

impl Engine {
    /// Finds the edits of a message, which are deleted with it.
    pub(super) fn edits_of(
        &mut self,
        id: MessageId,
        reply: oneshot::Sender<Result<Edits, EraseError>>,
    ) {
        let Some(name) = self.replica.find(id.log, id.seq) else {
            return drop(reply.send(Err(EraseError::NoSuchMessage)));
        };
        let edits = self.store.edits_of(name, id.seq);
        self.tasks.spawn(async move {
            let edits = edits.await.unwrap_or(Err(StoreError::Closed));
            let _ = reply.send(edits.map_err(|error| EraseError::Store(error.to_string())));
        });
    }

    /// Deletes a message of this node that no session, holder or copy has got. Its number stays.
    pub(super) fn cancel(&mut self, id: MessageId, edits: &Edits, reply: EraseReply) {
        let Some(name) = self.replica.find(id.log, id.seq) else {
            return drop(reply.send(Err(EraseError::NoSuchMessage)));
        };
        if name.author != self.me {
            return drop(reply.send(Err(EraseError::NotYours)));
        }
        if self.replica.has_gone_out(name, id.seq) {
            return drop(reply.send(Err(EraseError::HasGoneOut)));
        }
        let token = self.outbox.token();
        self.erasing.begin_cancel(token, reply, (name, id.seq));
        self.append_deletions(token, name, id.seq, edits);
    }

    /// Writes the deletions of a message and of its edits. Edits go first, so that the answer for
    /// the message comes last.
    fn append_deletions(&mut self, token: Token, name: LogName, seq: Seq, edits: &Edits) {
        for (edit, seqs) in edits {
            for seq in seqs.iter().flat_map(|(first, last)| first..=last) {
                let token = self.outbox.token();
                self.erasing.begin(token, None);
                self.append_deletion(token, edit, seq);
            }
        }
        self.append_deletion(token, &name, seq);
    }

    fn append_deletion(&mut self, token: Token, of: &LogName, seq: Seq) {
        let (conversation, log) = (of.conversation, of.log);
        self.tell_replica(replica::Input::Append {
            token,
            conversation,
            body: Body::Delete { log, seq },
        });
    }

    /// Deletes one message with its edits. One of this node is deleted for everybody, unless
    /// `here`.
    pub(super) fn delete(
        &mut self,
        id: MessageId,
        edits: &Edits,
        here: bool,
        yes: bool,
        reply: EraseReply,
    ) {
        let Some(name) = self.replica.find(id.log, id.seq) else {
            return drop(reply.send(Err(EraseError::NoSuchMessage)));
        };
        let token = self.outbox.token();
        self.erasing.begin(token, Some(reply));
        let conversation = name.conversation;
        if name.author == self.me && !here {
            return self.append_deletions(token, name, id.seq, edits);
        }
        let mut only = edits.clone();
        only.entry(name).or_default().insert(id.seq, id.seq);
        let what = EraseWhat {
            only: Some(only),
            undelivered: unless(yes),
        };
        self.tell_replica(replica::Input::Erase(token, conversation, what));
    }

    /// Erases a whole conversation on this node.
    pub(super) fn clear(&mut self, named: &ConversationRef, yes: bool, reply: EraseReply) {
        let Some(conversation) = self.conversation_id(named) else {
            let error = EraseError::NoSuchConversation(named.to_string());
            return drop(reply.send(Err(error)));
        };
        if self.replica.kind(conversation).is_none() {
            // Nothing was ever written there.
            return drop(reply.send(Ok(())));
        }
        let token = self.outbox.token();
        self.erasing.begin(token, Some(reply));
        let what = EraseWhat {
            only: None,
            undelivered: unless(yes),
        };
        self.tell_replica(replica::Input::Erase(token, conversation, what));
    }

    /// Sets how long the messages of a conversation are kept. `None` means for ever.
    pub(super) fn keep_for(
        &mut self,
        named: &ConversationRef,
        keep: Option<Duration>,
        reply: EraseReply,
    ) {
        let Some(id) = self.conversation_id(named) else {
            let error = EraseError::NoSuchConversation(named.to_string());
            return drop(reply.send(Err(error)));
        };
        let keep = keep.unwrap_or_default();
        self.store
            .set_setting(KEEP.name(id), keep.as_secs().to_string());
        self.erasing.set_kept_for(id, keep);
        let _ = reply.send(Ok(()));
        self.retain(id);
    }

    /// How long messages are kept.
    pub(super) fn keep_times(&self) -> KeepTimes {
        let conversations = self.replica.conversations();
        let own = conversations.filter_map(|it| {
            let time = self.erasing.own_time(it.id)?;
            Some((self.conversation_ref(it.id)?, time))
        });
        let mut own: Vec<_> = own.collect();
        own.sort();
        KeepTimes {
            default: self.erasing.default_time(),
            own,
        }
    }

    /// The replica has erased what a request asked for, or stored the deletion.
    pub(super) fn deleted_for_user(&mut self, pending: PendingErase) {
        let PendingErase { reply, cancels } = pending;
        match cancels {
            // A session was handed the message while its deletion was on its way to the disk.
            Some((name, seq)) if self.replica.has_gone_out(name, seq) => {
                self.erase_failed(reply, EraseError::HasGoneOut);
            }
            Some(_) | None => self.erased_for_user(reply),
        }
    }

    /// Removes erased texts from all files. The answer follows when no file contains them any more.
    fn erased_for_user(&self, reply: Option<EraseReply>) {
        let (scrubbed, removed) = (self.store.scrub(), self.files.remove_contents());
        self.tasks.spawn(async move {
            let scrubbed = scrubbed.await.unwrap_or(Err(StoreError::Closed));
            let removed = removed.await;
            let removed = removed.unwrap_or_else(|_| Err(StoreError::Closed.to_string()));
            let scrubbed = scrubbed.map_err(|error| error.to_string()).and(removed);
            match reply {
                Some(reply) => drop(reply.send(scrubbed.map_err(EraseError::Store))),
                None => {
                    if let Err(error) = scrubbed {
                        warn!("erased texts may still be in the files: {error}");
                    }
                }
            }
        });
    }

    pub(super) fn erase_failed(&mut self, reply: Option<EraseReply>, error: EraseError) {
        if let Some(reply) = reply {
            drop(reply.send(Err(error)));
        }
    }

    /// Undelivered messages are in the way.
    pub(super) fn erase_refused(&mut self, token: Token, undelivered: &[(LogName, Seq)]) {
        let ids = undelivered.iter().map(|(name, seq)| MessageId {
            log: name.log,
            seq: *seq,
        });
        let error = EraseError::Undelivered(ids.collect());
        if let Some(pending) = self.erasing.take(token) {
            self.erase_failed(pending.reply, error);
        }
    }

    /// Bodies were erased, by the user or because their author deleted them.
    pub(super) fn erased(&mut self, name: LogName, seqs: &Ranges, by_author: bool) {
        if self.reports.is_heard() {
            let ids = seqs.iter().flat_map(|(first, last)| first..=last);
            let ids = ids.map(|seq| MessageId { log: name.log, seq });
            if let Some(conversation) = self.conversation_ref(name.conversation) {
                self.reports.event(Event::Erased {
                    conversation,
                    ids: ids.collect(),
                    by_author,
                });
            }
        }
        if by_author && !self.erasing.note_scrub_is_due() {
            let reports = self.tasks.reporter();
            self.tasks.spawn_until_stop(async move {
                tokio::time::sleep(SCRUB_AFTER).await;
                let _ = reports.send(Internal::ScrubIsDue);
            });
        }
    }

    pub(super) fn scrub(&mut self) {
        self.erasing.scrubs();
        self.erased_for_user(None);
    }

    // Retention.

    /// Erases what is older than the user wants, now and every hour.
    pub(crate) fn retain_all(&mut self) {
        let ids: Vec<_> = self.replica.conversations().map(|it| it.id).collect();
        for id in ids {
            self.retain(id);
        }
        let reports = self.tasks.reporter();
        self.tasks.spawn_until_stop(async move {
            tokio::time::sleep(RETENTION_EVERY).await;
            let _ = reports.send(Internal::RetentionIsDue);
        });
    }

    fn retain(&self, id: ConversationId) {
        let Some(keep) = self.erasing.kept_for(id) else {
            return;
        };
        let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let before_ms = self.clock.now().wall_ms.saturating_sub(keep_ms);
        let older = self.store.older_than(id, before_ms);
        let reports = self.tasks.reporter();
        self.tasks.spawn(async move {
            if let Ok(Ok(older)) = older.await
                && !older.is_empty()
            {
                let _ = reports.send(Internal::Older(id, older));
            }
        });
    }

    /// Erases old entries, apart from undelivered ones of our own.
    pub(super) fn erase_older(&mut self, id: ConversationId, older: BTreeMap<LogName, Ranges>) {
        let token = self.outbox.token();
        self.erasing.begin(token, None);
        let what = EraseWhat {
            only: Some(older),
            undelivered: Undelivered::Keep,
        };
        self.tell_replica(replica::Input::Erase(token, id, what));
    }
}

fn unless(yes: bool) -> Undelivered {
    if yes {
        Undelivered::Erase
    } else {
        Undelivered::Ask
    }
}
