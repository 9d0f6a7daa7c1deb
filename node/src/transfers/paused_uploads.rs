//! This node's offers whose sending the user has paused, for the streams that serve them. The store
//! has the same state for later runs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use hobnob_protocol::OfferId;

/// See the module. All clones are one set.
#[derive(Debug, Clone, Default)]
pub(super) struct PausedUploads(Arc<Mutex<BTreeSet<OfferId>>>);

impl PausedUploads {
    /// Pauses an offer, or lets it continue.
    pub(super) fn set(&self, id: OfferId, paused: bool) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if paused {
            ids.insert(id);
        } else {
            ids.remove(&id);
        }
    }

    pub(super) fn contains(&self, id: OfferId) -> bool {
        let ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.contains(&id)
    }
}
