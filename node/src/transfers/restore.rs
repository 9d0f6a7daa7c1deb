//! The start of a run: continues the downloads that earlier runs did not finish.

use std::path::PathBuf;

use super::content_index::place_of;
use super::jobs::{JobResult, Jobs};
use super::local_files::LocalFiles;
use crate::store::{OfferRow, WhichOffers};

/// Reads the offers that were accepted and are not complete.
pub(super) fn read_wanted(jobs: &Jobs) {
    let rows = jobs.context.store.read(WhichOffers::Wanted);
    jobs.spawn(async move {
        let rows = rows.await.ok().and_then(Result::ok).unwrap_or_default();
        JobResult::WantedRead(rows)
    });
}

/// The path of a content that was complete when the last run ended.
///
/// The store records the path before the move, and the move removes the partial download. So the
/// move has happened if the path exists and the partial download does not.
pub(super) fn finished_at(row: &OfferRow, files: &LocalFiles) -> Option<PathBuf> {
    let place = row.record.place.as_deref().map(place_of)?;
    let is_moved = place.symlink_metadata().is_ok() && !files.has_partial(row.offer.id);
    is_moved.then_some(place)
}

#[cfg(test)]
mod tests {
    use hobnob_core::commit::{OfferRecord, OfferState};
    use hobnob_protocol::{ContentHash, ConversationId, DeviceId, LogId, LogName, Offer, OfferId};

    use super::super::content_index::bytes_of;
    use super::super::pictures::Pictures;
    use super::*;
    use crate::store::StoredOffer;

    #[test]
    fn a_crash_before_the_move_continues_the_download_and_a_crash_after_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = dir.path().join("inbox");
        let files = LocalFiles::open(dir.path(), None, inbox.clone(), Pictures::default()).unwrap();
        let name = LogName {
            conversation: ConversationId::from_bytes([1; 32]),
            author: DeviceId::from_bytes([2; 32]).person(),
            device: DeviceId::from_bytes([2; 32]),
            log: LogId(3),
        };
        let offer = StoredOffer {
            id: OfferId { name, seq: 4 },
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
        };
        let (partial, _) = files.open_partial(offer.clone()).unwrap();
        let place = inbox.join("notes.txt");
        let mut row = OfferRow {
            offer,
            record: OfferRecord {
                state: OfferState::Wanted,
                place: None,
                why: None,
            },
        };
        assert_eq!(finished_at(&row, &files), None, "no path was recorded");
        row.record.place = Some(bytes_of(&place));
        assert_eq!(finished_at(&row, &files), None, "nothing is there");
        std::fs::write(&place, "another file").unwrap();
        assert_eq!(finished_at(&row, &files), None, "it is not this content");
        partial.remove();
        assert_eq!(finished_at(&row, &files), Some(place));
    }
}
