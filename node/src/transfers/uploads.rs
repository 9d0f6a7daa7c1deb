//! Uploads: how many bytes of each offer this node has sent to each peer, for progress reports.
//!
//! Not here: sending ([`serve`](super::serve)).

use std::collections::BTreeMap;
use std::time::Duration;

use hobnob_protocol::{OfferId, PersonId};

use super::messages::FileUpdate;
use super::meter::Meter;
use crate::FileState;
use crate::store::StoredOffer;

/// Maximum number of uploads that are counted. Further ones are served but not reported.
const UPLOADS_MAX: usize = 1024;

/// A content on its way to a peer.
#[derive(Debug, Default)]
struct Upload {
    bytes: u64,
    meter: Meter,
    /// `None` until the store has answered.
    offer: Option<StoredOffer>,
}

/// The uploads of this node.
#[derive(Debug, Default)]
pub(super) struct Uploads(BTreeMap<(OfferId, PersonId), Upload>);

impl Uploads {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts bytes that were sent to a peer. Returns whether a new upload begins: its offer must
    /// be read for [`Uploads::describe`].
    pub(super) fn count(&mut self, id: OfferId, peer: PersonId, bytes: u64) -> bool {
        if let Some(upload) = self.0.get_mut(&(id, peer)) {
            upload.bytes += bytes;
            return false;
        }
        let is_new = self.0.len() < UPLOADS_MAX;
        if is_new {
            let upload = Upload {
                bytes,
                ..Upload::default()
            };
            self.0.insert((id, peer), upload);
        }
        is_new
    }

    /// Sets the offer of an upload. Without an offer it is not reported.
    pub(super) fn describe(&mut self, peer: PersonId, offer: StoredOffer) {
        // The upload may have ended while the store was read.
        if let Some(upload) = self.0.get_mut(&(offer.id, peer)) {
            upload.offer = Some(offer);
        }
    }

    /// A peer needs no more of an offer.
    pub(super) fn end(&mut self, id: OfferId, peer: PersonId) {
        self.0.remove(&(id, peer));
    }

    /// Nobody may have an offer any more.
    pub(super) fn end_all(&mut self, id: OfferId) {
        self.0.retain(|(of, _), _| *of != id);
    }

    /// A peer has no session any more.
    pub(super) fn peer_left(&mut self, peer: PersonId) {
        self.0.retain(|(_, to), _| *to != peer);
    }

    /// The uploads whose progress has changed since the last call.
    pub(super) fn progress(&mut self, now: Duration) -> Vec<FileUpdate> {
        let mut updates = Vec::new();
        for ((_, peer), upload) in &mut self.0 {
            upload.meter.measure(now, upload.bytes);
            if upload.meter.has_changed((true, false)) {
                updates.extend(upload.update(*peer));
            }
        }
        updates
    }

    /// The state of every upload.
    pub(super) fn current(&self) -> impl Iterator<Item = FileUpdate> {
        self.0
            .iter()
            .filter_map(|((_, peer), upload)| upload.update(*peer))
    }
}

impl Upload {
    fn update(&self, peer: PersonId) -> Option<FileUpdate> {
        let offer = self.offer.clone()?;
        Some(FileUpdate {
            // A peer that lost a piece requests it again, so more bytes than the content has may
            // have been sent.
            bytes: self.bytes.min(offer.offer.size),
            rate: self.meter.rate(),
            peers: vec![peer],
            ..FileUpdate::new(offer, FileState::Moving)
        })
    }
}

#[cfg(test)]
mod tests {
    use hobnob_protocol::{ContentHash, ConversationId, LogId, LogName, Offer};

    use super::*;

    const ANN: PersonId = PersonId::from_bytes([1; 32]);
    const BOB: PersonId = PersonId::from_bytes([2; 32]);

    fn offer(seq: u64) -> StoredOffer {
        let name = LogName {
            conversation: ConversationId::from_bytes([3; 32]),
            author: ANN,
            device: ANN.only_device(),
            log: LogId(1),
        };
        StoredOffer {
            id: OfferId { name, seq },
            offer: Offer {
                attributes: hobnob_protocol::offer::Attributes::default(),
                caption: String::new(),
                name: "notes.txt".into(),
                media: "text/plain".into(),
                size: 100,
                hash: ContentHash([0; 32]),
                folder: None,
            },
            received_at_ms: 0,
        }
    }

    #[test]
    fn an_upload_is_reported_once_its_offer_is_known_and_when_it_moves() {
        let mut uploads = Uploads::default();
        let notes = offer(1);
        assert!(uploads.count(notes.id, BOB, 60), "a new one");
        assert_eq!(uploads.progress(Duration::ZERO).len(), 0);
        uploads.describe(BOB, notes.clone());
        assert!(!uploads.count(notes.id, BOB, 60), "a known one");
        let updates = uploads.progress(Duration::from_secs(1));
        assert_eq!(updates.len(), 1);
        assert_eq!((updates[0].bytes, &updates[0].peers), (100, &vec![BOB]));
        assert_eq!(updates[0].rate, Some(60));
        assert_eq!(uploads.progress(Duration::from_secs(2)).len(), 0);
        assert_eq!(uploads.current().count(), 1);
    }

    #[test]
    fn an_upload_ends_with_its_peer_or_its_offer() {
        let mut uploads = Uploads::default();
        for peer in [ANN, BOB] {
            uploads.count(offer(1).id, peer, 1);
            uploads.count(offer(2).id, peer, 1);
        }
        uploads.peer_left(ANN);
        assert_eq!(uploads.0.len(), 2);
        uploads.end_all(offer(1).id);
        uploads.end(offer(2).id, BOB);
        assert!(uploads.is_empty());
        uploads.describe(BOB, offer(2));
        assert!(uploads.is_empty(), "its offer was read too late");
    }

    #[test]
    fn the_number_of_counted_uploads_is_limited() {
        let mut uploads = Uploads::default();
        let counted = (0..2_000).filter(|seq| uploads.count(offer(*seq).id, BOB, 1));
        assert_eq!(counted.count(), UPLOADS_MAX);
    }
}
