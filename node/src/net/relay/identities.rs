//! Which link leads to which relay. It finds two links that lead to one relay by different names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hobnob_protocol::DeviceId;

use crate::net::channels::RelayId;

/// The identities that relays have proved to the links of a node. Clones share them.
///
/// A relay keeps one registration for each peer. If two links registered at one relay, they would
/// replace each other for ever.
#[derive(Debug, Clone, Default)]
pub struct Identities(Arc<Mutex<BTreeMap<DeviceId, RelayId>>>);

impl Identities {
    /// A relay has proved this identity to a link, which may register if this succeeds. Fails with
    /// the link that leads to the same relay.
    pub(crate) fn claim(&self, identity: DeviceId, link: RelayId) -> Result<(), RelayId> {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match links.get(&identity) {
            Some(other) if *other != link => Err(*other),
            Some(_) => Ok(()),
            None => {
                // A link has one relay. That relay may have got another identity.
                links.retain(|_, other| *other != link);
                links.insert(identity, link);
                Ok(())
            }
        }
    }

    /// A link has ended for good. Another one may lead to its relay.
    pub(crate) fn release(&self, link: RelayId) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|_, other| *other != link);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_link_to_a_relay_keeps_it() {
        let [one, other] = [1, 2].map(|n| DeviceId::from_bytes([n; 32]));
        let [first, second] = [1, 2].map(RelayId);
        let identities = Identities::default();
        assert_eq!(identities.claim(one, first), Ok(()));
        assert_eq!(identities.claim(one, first), Ok(()), "it connects again");
        assert_eq!(identities.claim(one, second), Err(first));
        assert_eq!(identities.claim(other, first), Ok(()), "a new identity");
        assert_eq!(identities.claim(one, second), Ok(()));
        identities.release(second);
        assert_eq!(identities.claim(one, first), Ok(()), "the second has ended");
    }
}
