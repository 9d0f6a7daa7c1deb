//! The list of the fleet in effect. Clones share it.

use std::sync::{Arc, PoisonError, RwLock};

use hobnob_protocol::DeviceId;
use hobnob_protocol::record::SignedRecord;

use super::ListFile;

/// Why a new list is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NewListError {
    /// It is the list of another fleet.
    #[error("the new list is that of another fleet: {0}")]
    OtherFleet(DeviceId),
    /// Its number is lower than that of the list in effect.
    #[error("the number of the new list is {new}, and that of the list in effect is {old}")]
    Lower {
        /// The number of the list in effect.
        old: u64,
        /// The number of the new list.
        new: u64,
    },
    /// It has the same number, but names other relays.
    #[error("the new list has the number {0} of the list in effect, but is another one")]
    SameNumber(u64),
    /// It does not name this relay.
    #[error("the new list does not name this relay")]
    NotMember,
    /// The relay is not a member of a fleet.
    #[error("the relay was not started with --fleet")]
    NoFleet,
}

/// The list in effect.
#[derive(Debug, Clone)]
pub(crate) struct CurrentList {
    me: DeviceId,
    list: Arc<RwLock<Arc<ListFile>>>,
}

impl CurrentList {
    /// `None` if the list does not name the relay `me`.
    pub(crate) fn new(me: DeviceId, list: ListFile) -> Option<Self> {
        list.list().member(me)?;
        let list = Arc::new(RwLock::new(Arc::new(list)));
        Some(Self { me, list })
    }

    /// The list now.
    pub(crate) fn get(&self) -> Arc<ListFile> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.clone()
    }

    /// The list as it travels, if its number is higher than this one.
    pub(crate) fn above(&self, number: u64) -> Option<SignedRecord> {
        let list = self.get();
        (list.number() > number).then(|| list.signed().clone())
    }

    /// Replaces the list. Returns whether it has changed.
    pub(crate) fn replace(&self, new: ListFile) -> Result<bool, NewListError> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let is_newer = self.is_newer(&list, &new)?;
        if is_newer {
            *list = Arc::new(new);
        }
        Ok(is_newer)
    }

    /// Whether this list would replace the list, unless it is refused.
    pub(crate) fn check(&self, new: &ListFile) -> Result<bool, NewListError> {
        self.is_newer(&self.get(), new)
    }

    fn is_newer(&self, list: &ListFile, new: &ListFile) -> Result<bool, NewListError> {
        if new.fleet() != list.fleet() {
            return Err(NewListError::OtherFleet(new.fleet()));
        }
        if new.number() < list.number() {
            let (old, new) = (list.number(), new.number());
            return Err(NewListError::Lower { old, new });
        }
        if new == list {
            return Ok(false);
        }
        if new.number() == list.number() {
            return Err(NewListError::SameNumber(new.number()));
        }
        if new.list().member(self.me).is_none() {
            return Err(NewListError::NotMember);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::list_file::tests::{list, relay};
    use super::*;

    #[test]
    fn only_a_list_of_this_fleet_with_a_higher_number_and_this_relay_replaces_the_list() {
        let current = CurrentList::new(relay(2), list(1, 7, &[2, 3])).unwrap();
        for (new, error) in [
            (list(9, 8, &[2]), NewListError::OtherFleet(relay(9))),
            (list(1, 6, &[2]), NewListError::Lower { old: 7, new: 6 }),
            (list(1, 7, &[2]), NewListError::SameNumber(7)),
            (list(1, 8, &[3]), NewListError::NotMember),
        ] {
            assert_eq!(current.check(&new), Err(error));
            assert_eq!(current.replace(new), Err(error));
        }
        assert_eq!(current.check(&list(1, 8, &[2])), Ok(true));
        assert_eq!(current.get().number(), 7, "that was a question");
        assert_eq!(current.replace(list(1, 7, &[2, 3])), Ok(false));
        assert_eq!(current.get().number(), 7);
        assert_eq!(current.replace(list(1, 8, &[2])), Ok(true));
        assert_eq!(current.get().number(), 8);
    }

    #[test]
    fn a_list_is_given_to_those_who_have_an_older_one() {
        let current = CurrentList::new(relay(2), list(1, 7, &[2])).unwrap();
        assert!(current.above(6).is_some());
        assert!(current.above(7).is_none());
        assert!(CurrentList::new(relay(3), list(1, 7, &[2])).is_none());
    }
}
