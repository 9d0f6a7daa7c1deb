//! Accepted offers that wait for a place among the running downloads, or for space on the disk.
//!
//! The store knows all of them, so this memory is limited: beyond it, the store is read again.

use std::collections::VecDeque;
use std::time::Duration;

use hobnob_protocol::OfferId;

use crate::store::StoredOffer;

/// Maximum number of waiting offers in memory. The others are read from the store when these have
/// begun.
const WAITING_MAX: usize = 1024;

/// What to do for the next free place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Begin this download.
    Begin(Box<StoredOffer>),
    /// Read the accepted offers from the store: there are more.
    ReadStore,
    /// Nothing waits.
    Nothing,
}

/// The accepted offers that do not run, in the order in which they begin.
#[derive(Debug, Default)]
pub(super) struct WaitingDownloads {
    queue: VecDeque<StoredOffer>,
    /// Offers for which the disk had no room, and when to try again.
    later: Vec<(Duration, StoredOffer)>,
    /// Whether only the store knows further ones.
    more: bool,
}

impl WaitingDownloads {
    pub(super) fn contains(&self, id: OfferId) -> bool {
        self.all().any(|offer| offer.id == id)
    }

    /// Adds an offer that the store has as accepted.
    pub(super) fn add(&mut self, offer: StoredOffer) {
        if self.contains(offer.id) {
            return;
        }
        if self.all().count() >= WAITING_MAX {
            self.more = true;
        } else {
            self.queue.push_back(offer);
        }
    }

    /// The disk has no room for an offer: it is tried again at this time.
    pub(super) fn retry_later(&mut self, at: Duration, offer: StoredOffer) {
        if self.all().count() >= WAITING_MAX {
            self.more = true;
        } else {
            self.later.push((at, offer));
        }
    }

    /// The store has more accepted offers than it returned.
    pub(super) fn expect_more(&mut self) {
        self.more = true;
    }

    pub(super) fn remove(&mut self, id: OfferId) {
        self.queue.retain(|offer| offer.id != id);
        self.later.retain(|(_, offer)| offer.id != id);
    }

    /// When an offer for which the disk had no room is tried again.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.later.iter().map(|(at, _)| *at).min()
    }

    /// What to do for a free place.
    pub(super) fn next(&mut self, now: Duration) -> Next {
        let due = self.later.iter().position(|(at, _)| *at <= now);
        if let Some(due) = due {
            return Next::Begin(Box::new(self.later.remove(due).1));
        }
        if let Some(offer) = self.queue.pop_front() {
            return Next::Begin(Box::new(offer));
        }
        // While the disk is full, reading the store would only find the same offers again.
        if self.later.is_empty() && std::mem::take(&mut self.more) {
            return Next::ReadStore;
        }
        Next::Nothing
    }

    fn all(&self) -> impl Iterator<Item = &StoredOffer> {
        let later = self.later.iter().map(|(_, offer)| offer);
        self.queue.iter().chain(later)
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ContentHash, ConversationId, DeviceId, LogId, LogName, Offer};

    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn offer(seq: u64) -> StoredOffer {
        let name = LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: DeviceId::from_bytes([2; 32]).person(),
            device: DeviceId::from_bytes([2; 32]),
            log: LogId(3),
        };
        StoredOffer {
            id: OfferId { name, seq },
            offer: Offer {
                attributes: hobnob_protocol::offer::Attributes::default(),
                caption: String::new(),
                name: "notes.txt".into(),
                media: "text/plain".into(),
                size: 12,
                hash: ContentHash([0; 32]),
                folder: None,
            },
            received_at_ms: 0,
        }
    }

    #[test]
    fn offers_begin_in_their_order_and_once() {
        let mut waiting = WaitingDownloads::default();
        [1, 2, 1]
            .into_iter()
            .for_each(|seq| waiting.add(offer(seq)));
        waiting.add(offer(3));
        waiting.remove(offer(2).id);
        assert_eq!(waiting.next(NOW), Next::Begin(Box::new(offer(1))));
        assert_eq!(waiting.next(NOW), Next::Begin(Box::new(offer(3))));
        assert_eq!(waiting.next(NOW), Next::Nothing);
    }

    #[test]
    fn an_offer_without_room_is_tried_again_when_it_is_due() {
        let mut waiting = WaitingDownloads::default();
        let at = NOW + Duration::from_secs(5);
        waiting.retry_later(at, offer(1));
        assert_eq!(waiting.next(NOW), Next::Nothing);
        assert_eq!(waiting.poll_timeout(), Some(at));
        assert_eq!(waiting.next(at), Next::Begin(Box::new(offer(1))));
    }

    #[test]
    fn beyond_the_limit_the_store_is_read_again() {
        let mut waiting = WaitingDownloads::default();
        (0..=WAITING_MAX as u64).for_each(|seq| waiting.add(offer(seq)));
        for seq in 0..WAITING_MAX as u64 {
            assert_eq!(waiting.next(NOW), Next::Begin(Box::new(offer(seq))));
        }
        assert_eq!(waiting.next(NOW), Next::ReadStore);
        assert_eq!(waiting.next(NOW), Next::Nothing);
    }
}
