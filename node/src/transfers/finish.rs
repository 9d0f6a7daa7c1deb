//! The end of a transfer: on disk, under its own name, and told.

use super::Done;
use super::TransferTask;
use super::content_index::ContentIndex;
use super::content_index::bytes_of;
use super::messages::FromTransfers;
use super::partial::Partial;
use super::partial::WriteError;
use super::pictures::Pictures;
use crate::store::OfferStore;
use hobnob_core::commit::OfferRecord;
use hobnob_core::commit::OfferState;
use hobnob_core::transfers::FULL_AGAIN_AFTER;
use hobnob_protocol::Offer;
use hobnob_protocol::OfferId;
use hobnob_protocol::OfferWord;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What came of finishing.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) id: OfferId,
    pub(super) offer: Offer,
    pub(super) received_at_ms: u64,
    pub(super) outcome: Result<PathBuf, String>,
}

impl TransferTask {
    /// All pieces are here: finishes it.
    pub(super) fn finish(&mut self, id: OfferId) {
        let Some(wanted) = self.wanted.remove(&id) else {
            return;
        };
        self.busy.insert(id);
        let (partial, received_at_ms) = (wanted.partial, wanted.received_at_ms);
        let (desk, index, done) = (self.desk.clone(), self.index.clone(), self.done.clone());
        let pictures = self.pictures.clone();
        self.spawn(async move {
            let outcome = loop {
                match finish(&partial, &desk, &index, &pictures).await {
                    Err(WriteError::Full) => tokio::time::sleep(FULL_AGAIN_AFTER).await,
                    Ok(place) => break Ok(place),
                    Err(error) => break Err(error.to_string()),
                }
            };
            let offer = partial.offer.clone();
            let _ = done.send(Done::Finished(Finished {
                id,
                offer,
                received_at_ms,
                outcome,
            }));
        });
    }

    pub(super) fn finished(&mut self, finished: Finished) {
        let Finished {
            id,
            offer,
            received_at_ms,
            outcome,
        } = finished;
        let wanted = self.busy.remove(&id);
        match outcome {
            Ok(place) => {
                self.engine
                    .send(FromTransfers::Say(id, OfferWord::Whole, None));
                self.say_done(id, offer, received_at_ms, place);
            }
            Err(why) if wanted => self.fail(id, offer, received_at_ms, why),
            // Declined meanwhile.
            Err(_) => {}
        }
    }
}

/// Brings a content to disk under a free name. Its place is noted before it goes there, so that a
/// crash between the two does not bring it here twice.
async fn finish(
    partial: &Arc<Partial>,
    desk: &OfferStore,
    index: &ContentIndex,
    pictures: &Pictures,
) -> Result<PathBuf, WriteError> {
    blocking(partial, |partial| partial.seal()).await?;
    loop {
        let name = blocking(partial, |partial| Ok(partial.free_name()?)).await?;
        let place = partial.path_of(&name);
        let record = |state| OfferRecord {
            state,
            place: Some(bytes_of(&place)),
            why: None,
        };
        note(desk, partial.id, record(OfferState::Wanted)).await?;
        let (index, pictures) = (index.clone(), pictures.clone());
        let finished = blocking(partial, move |partial| {
            let finished = partial.finish(&name, &index)?;
            pictures.look(&partial.offer, &index);
            Ok(finished)
        });
        if finished.await? {
            note(desk, partial.id, record(OfferState::Done)).await?;
            return Ok(place);
        }
    }
}

async fn note(desk: &OfferStore, id: OfferId, record: OfferRecord) -> Result<(), WriteError> {
    match desk.set(id, record).await {
        Ok(Err(error)) => Err(WriteError::Io(io::Error::other(error))),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    partial: &Arc<Partial>,
    work: impl FnOnce(&Partial) -> Result<T, WriteError> + Send + 'static,
) -> Result<T, WriteError> {
    let partial = partial.clone();
    let done = tokio::task::spawn_blocking(move || work(&partial)).await;
    done.unwrap_or_else(|error| Err(WriteError::Io(io::Error::other(error))))
}
