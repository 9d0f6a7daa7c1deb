//! Which recipients are connected, so that they learn of new envelopes at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hobnob_protocol::DeviceId;
use tokio::sync::Notify;

/// The recipients whose nodes have a stream. The holder notifies them of new envelopes.
#[derive(Debug, Clone, Default)]
pub(crate) struct News(Arc<Mutex<BTreeMap<DeviceId, Arc<Notify>>>>);

impl News {
    pub(crate) fn of(&self, peer: DeviceId) -> Option<Arc<Notify>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&peer).cloned()
    }

    /// A recipient has opened a stream. A newer stream replaces an older one.
    pub(crate) fn begin(&self, peer: DeviceId) -> Arc<Notify> {
        let notify = Arc::new(Notify::new());
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(peer, notify.clone());
        notify
    }

    pub(crate) fn end(&self, peer: DeviceId, notify: &Arc<Notify>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all
            .get(&peer)
            .is_some_and(|of_peer| Arc::ptr_eq(of_peer, notify))
        {
            all.remove(&peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_stream_of_a_recipient_gets_the_news() {
        let (news, bob) = (News::default(), DeviceId::from_bytes([2; 32]));
        let first = news.begin(bob);
        let second = news.begin(bob);
        news.end(bob, &first);
        let of_bob = news.of(bob).expect("the second one is there");
        assert!(Arc::ptr_eq(&of_bob, &second));
        news.end(bob, &second);
        assert!(news.of(bob).is_none());
    }
}
