//! Commands of the node's users: what is checked, read and answered for each.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hobnob_core::commit::OfferState;
use hobnob_protocol::{OfferId, PersonId};
use tokio::sync::oneshot;

use super::content_index::place_of;
use super::context::Context;
use super::jobs::{JobResult, Jobs, look_for_pictures};
use super::messages::{FileUpdate, FromTransfers};
use crate::store::{OfferRow, StoreError, WhichOffers};
use crate::{FileError, FileInfo, FileState, MessageId, PreparedOffer};

/// Makes an offer of a path. Hashing takes as long as reading the files.
pub(super) fn prepare(
    context: &Context,
    path: PathBuf,
    reply: oneshot::Sender<Result<PreparedOffer, FileError>>,
) {
    let files = context.files.clone();
    tokio::task::spawn_blocking(move || {
        // A user who stopped waiting needs no answer.
        let _ = reply.send(files.prepare(&path));
    });
}

/// Reads the offer that a user named. Two authors may use one log id: then it is the offer whose
/// log arrived first.
pub(super) fn look_up(
    jobs: &Jobs,
    id: MessageId,
    result: impl FnOnce(Result<OfferRow, FileError>) -> JobResult + Send + 'static,
) {
    let rows = jobs.context.store.read(WhichOffers::One(id.log, id.seq));
    jobs.spawn(async move {
        result(match rows.await.unwrap_or(Err(StoreError::Closed)) {
            Ok(rows) => rows.into_iter().next().ok_or(FileError::NoSuchOffer),
            Err(error) => Err(FileError::Store(error.to_string())),
        })
    });
}

/// Whether a user may accept an offer, or let a paused one of this node continue.
pub(super) fn check_accept(row: &OfferRow, me: PersonId) -> Result<(), FileError> {
    if row.offer.id.name.author == me && row.record.state != OfferState::Paused {
        return Err(FileError::Own);
    }
    match row.record.state {
        OfferState::Done => Err(here(row)),
        OfferState::Offered
        | OfferState::Wanted
        | OfferState::Declined
        | OfferState::Failed
        | OfferState::Refused
        | OfferState::Paused => Ok(()),
    }
}

/// Whether a user may pause the download of an offer, or the sending of a file of this node.
pub(super) fn check_pause(row: &OfferRow, me: PersonId) -> Result<(), FileError> {
    let is_own = row.offer.id.name.author == me;
    match row.record.state {
        OfferState::Done if is_own => Err(FileError::NotMoving),
        OfferState::Done => Err(here(row)),
        OfferState::Wanted => Ok(()),
        OfferState::Offered if is_own => Ok(()),
        OfferState::Offered
        | OfferState::Declined
        | OfferState::Failed
        | OfferState::Refused
        | OfferState::Paused => Err(FileError::NotMoving),
    }
}

/// Whether a user may decline an offer, or withdraw one of this node.
pub(super) fn check_decline(row: &OfferRow, me: PersonId) -> Result<(), FileError> {
    let is_own = row.offer.id.name.author == me;
    if row.record.state == OfferState::Done && !is_own {
        return Err(here(row));
    }
    Ok(())
}

fn here(row: &OfferRow) -> FileError {
    let place = row.record.place.as_deref().map(place_of);
    FileError::Here(place.unwrap_or_default().display().to_string())
}

/// Answers with the newest offers. `current` has the states that are newer than those in the store.
pub(super) fn list(
    context: &Context,
    current: impl Iterator<Item = FileUpdate>,
    reply: oneshot::Sender<Result<Vec<FileInfo>, FileError>>,
) {
    let rows = context.store.read(WhichOffers::Newest);
    let mut current: BTreeMap<OfferId, FileUpdate> =
        current.map(|update| (update.offer.id, update)).collect();
    let shared = context.clone();
    context.tasks.spawn(async move {
        let rows = match rows.await.unwrap_or(Err(StoreError::Closed)) {
            Ok(rows) => rows,
            Err(error) => {
                // A user who stopped waiting needs no answer.
                let _ = reply.send(Err(FileError::Store(error.to_string())));
                return;
            }
        };
        look_for_pictures(&shared.files, rows.iter().map(|row| &row.offer.offer)).await;
        let updates = rows.into_iter().map(|row| {
            let current = current.remove(&row.offer.id);
            current.unwrap_or_else(|| stored_state(row, shared.me))
        });
        let mut updates: Vec<FileUpdate> = updates.collect();
        let (files, me) = (shared.files.clone(), shared.me);
        let placed = tokio::task::spawn_blocking(move || {
            for own in updates.iter_mut().filter(|own| own.is_by(me)) {
                own.place = files.index.root(own.offer.offer.hash);
            }
            updates
        });
        if let Ok(updates) = placed.await {
            shared.engine.send(FromTransfers::Describe(updates, reply));
        }
    });
}

/// The state of an offer that is not being transferred.
fn stored_state(row: OfferRow, me: PersonId) -> FileUpdate {
    let state = match row.record.state {
        OfferState::Offered => FileState::Offered,
        OfferState::Wanted => FileState::Waiting,
        OfferState::Paused => FileState::Paused,
        OfferState::Done => FileState::Done,
        OfferState::Declined | OfferState::Refused => FileState::Declined,
        OfferState::Failed => FileState::Failed,
    };
    let is_done = state == FileState::Done;
    let bytes = if is_done { row.offer.offer.size } else { 0 };
    let is_received = is_done && row.offer.id.name.author != me;
    let place = row.record.place.as_deref().map(place_of);
    FileUpdate {
        bytes,
        place: place.filter(|_| is_received),
        why: row.record.why,
        ..FileUpdate::new(row.offer, state)
    }
}

#[cfg(test)]
mod tests {
    use hobnob_core::commit::OfferRecord;
    use hobnob_protocol::{ContentHash, ConversationId, LogId, LogName, Offer};

    use super::*;
    use crate::store::StoredOffer;

    const ME: PersonId = PersonId::from_bytes([1; 32]);
    const BOB: PersonId = PersonId::from_bytes([2; 32]);

    fn row(author: PersonId, state: OfferState) -> OfferRow {
        let name = LogName {
            conversation: ConversationId::direct(ME, BOB),
            author,
            device: author.only_device(),
            log: LogId(1),
        };
        let offer = Offer {
            attributes: hobnob_protocol::offer::Attributes::default(),
            caption: String::new(),
            name: "notes.txt".into(),
            media: "text/plain".into(),
            size: 12,
            hash: ContentHash([0; 32]),
            folder: None,
        };
        OfferRow {
            offer: StoredOffer {
                id: OfferId { name, seq: 1 },
                offer,
                received_at_ms: 0,
            },
            record: OfferRecord {
                state,
                place: Some(b"/inbox/notes.txt".to_vec()),
                why: None,
            },
        }
    }

    #[test]
    fn an_offer_can_be_accepted_until_it_is_here() {
        for state in [
            OfferState::Offered,
            OfferState::Wanted,
            OfferState::Declined,
            OfferState::Failed,
        ] {
            assert_eq!(check_accept(&row(BOB, state), ME), Ok(()), "{state:?}");
        }
        let here = Err(FileError::Here("/inbox/notes.txt".into()));
        assert_eq!(check_accept(&row(BOB, OfferState::Done), ME), here);
        let own = row(ME, OfferState::Offered);
        assert_eq!(check_accept(&own, ME), Err(FileError::Own));
        let paused = row(ME, OfferState::Paused);
        assert_eq!(check_accept(&paused, ME), Ok(()), "it is sent again");
    }

    #[test]
    fn what_moves_can_be_paused_and_so_can_an_open_own_offer() {
        let not_moving = Err(FileError::NotMoving);
        for (author, state, expected) in [
            (BOB, OfferState::Wanted, Ok(())),
            (BOB, OfferState::Offered, not_moving.clone()),
            (BOB, OfferState::Paused, not_moving.clone()),
            (ME, OfferState::Offered, Ok(())),
            (ME, OfferState::Paused, not_moving.clone()),
            (ME, OfferState::Declined, not_moving.clone()),
            (ME, OfferState::Done, not_moving),
        ] {
            assert_eq!(check_pause(&row(author, state), ME), expected, "{state:?}");
        }
    }

    #[test]
    fn a_received_file_cannot_be_declined_but_an_own_offer_can_be_withdrawn_at_any_time() {
        let here = Err(FileError::Here("/inbox/notes.txt".into()));
        assert_eq!(check_decline(&row(BOB, OfferState::Done), ME), here);
        assert_eq!(check_decline(&row(BOB, OfferState::Wanted), ME), Ok(()));
        assert_eq!(check_decline(&row(ME, OfferState::Done), ME), Ok(()));
    }

    #[test]
    fn a_list_shows_where_a_received_file_is() {
        let received = stored_state(row(BOB, OfferState::Done), ME);
        assert_eq!((received.state, received.bytes), (FileState::Done, 12));
        assert_eq!(received.place, Some("/inbox/notes.txt".into()));
        let waiting = stored_state(row(BOB, OfferState::Wanted), ME);
        assert_eq!((waiting.state, waiting.bytes), (FileState::Waiting, 0));
        assert_eq!(waiting.place, None, "it is not there yet");
    }
}
