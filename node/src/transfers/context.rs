//! The values that all parts of the transfer task share: this node's id, its files, the store, the
//! engine, and a way to start tasks.

use hobnob_core::commit::{OfferRecord, OfferState};
use hobnob_protocol::{ConversationId, OfferId, PersonId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::local_files::LocalFiles;
use super::messages::{EngineHandle, FileUpdate, FromTransfers};
use super::paused_uploads::PausedUploads;
use super::throttle::Throttle;
use crate::FileState;
use crate::store::{OfferStore, StoredOffer};

/// Shared handles. Each task that the parts start gets a clone.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) me: PersonId,
    pub(super) files: LocalFiles,
    pub(super) store: OfferStore,
    pub(super) engine: EngineHandle,
    pub(super) tasks: Tasks,
    pub(super) throttle: Throttle,
    pub(super) paused: PausedUploads,
}

impl Context {
    pub(super) fn is_own(&self, id: OfferId) -> bool {
        id.name.author == self.me
    }

    /// Reports states to the node's users.
    pub(super) fn publish(&self, updates: Vec<FileUpdate>) {
        if !updates.is_empty() {
            self.engine.send(FromTransfers::Publish(updates));
        }
    }

    /// Stores the state of an offer. If the disk fails, the log reports it, and the old state
    /// returns with the next start.
    pub(super) fn record(&self, id: OfferId, record: OfferRecord) {
        let stored = self.store.set(id, record);
        self.tasks.spawn(async move {
            if let Ok(Err(error)) = stored.await {
                warn!("the state of an offer can't be stored: {error}");
            }
        });
    }

    /// Stores and reports that an offer failed.
    pub(super) fn record_failure(&self, offer: StoredOffer, why: String) {
        let record = OfferRecord {
            why: Some(why.clone()),
            ..record_of(OfferState::Failed)
        };
        self.record(offer.id, record);
        self.publish(vec![FileUpdate {
            why: Some(why),
            ..FileUpdate::new(offer, FileState::Failed)
        }]);
    }

    /// Stores that the recipient of an offer of this node declined it, or why it could not store
    /// it.
    pub(super) fn record_refused(&self, id: OfferId, why: Option<String>) {
        let state = match why {
            Some(_) => OfferState::Failed,
            None => OfferState::Refused,
        };
        let record = OfferRecord {
            why,
            ..record_of(state)
        };
        self.record(id, record);
    }

    /// Stores that the recipient of an offer of this node has all of it.
    pub(super) fn record_received(&self, id: OfferId) {
        self.record(id, record_of(OfferState::Done));
    }
}

/// A state without a path or a reason.
pub(super) fn record_of(state: OfferState) -> OfferRecord {
    OfferRecord {
        state,
        place: None,
        why: None,
    }
}

/// Whether an offer is part of the conversation between these two peers.
pub(super) fn is_direct(id: OfferId, me: PersonId, peer: PersonId) -> bool {
    id.name.conversation == ConversationId::direct(me, peer)
}

/// Starts tasks that end by themselves or when the node stops.
#[derive(Debug, Clone)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    stopping: CancellationToken,
}

impl Tasks {
    pub(super) fn new(tracker: TaskTracker, stopping: CancellationToken) -> Self {
        Self { tracker, stopping }
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stopping = self.stopping.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stopping.cancelled() => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_ends_when_the_node_stops() {
        let (tracker, stopping) = (TaskTracker::new(), CancellationToken::new());
        let tasks = Tasks::new(tracker.clone(), stopping.clone());
        tasks.spawn(std::future::pending());
        tracker.close();
        assert_eq!(tracker.len(), 1);
        stopping.cancel();
        tracker.wait().await;
    }
}
