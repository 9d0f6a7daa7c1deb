//! The end of a download: brings a complete content to disk and moves it to a free path.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hobnob_core::commit::{OfferRecord, OfferState};
use hobnob_protocol::OfferId;

use super::content_index::bytes_of;
use super::context::{Context, record_of};
use super::partial::{Partial, WriteError};
use crate::store::OfferStore;

/// Moves a complete content to a free path, which it returns.
///
/// The store records the path before the move. So if a crash follows the move, the next run finds
/// the content there and does not download it again.
pub(super) async fn finish(
    partial: &Arc<Partial>,
    context: &Context,
) -> Result<PathBuf, WriteError> {
    blocking(partial, Partial::check_mounted).await?;
    blocking(partial, Partial::seal).await?;
    loop {
        let name = blocking(partial, |partial| Ok(partial.free_name()?)).await?;
        let place = partial.path_of(&name);
        let record = |state| OfferRecord {
            place: Some(bytes_of(&place)),
            ..record_of(state)
        };
        let id = partial.stored.id;
        store(&context.store, id, record(OfferState::Wanted)).await?;
        let files = context.files.clone();
        let moved = blocking(partial, move |partial| {
            let moved = partial.finish(&name, &files.index)?;
            files.pictures.look(&partial.stored.offer, &files.index);
            Ok(moved)
        });
        if moved.await? {
            store(&context.store, id, record(OfferState::Done)).await?;
            return Ok(place);
        }
        // Another program took the name meanwhile: try the next one.
    }
}

async fn store(store: &OfferStore, id: OfferId, record: OfferRecord) -> Result<(), WriteError> {
    match store.set(id, record).await {
        Ok(Err(error)) => Err(WriteError::Io(io::Error::other(error))),
        // Without an answer the store is closed: the node stops, and this task with it.
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

/// Runs work on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    partial: &Arc<Partial>,
    work: impl FnOnce(&Partial) -> Result<T, WriteError> + Send + 'static,
) -> Result<T, WriteError> {
    let partial = partial.clone();
    let done = tokio::task::spawn_blocking(move || work(&partial)).await;
    done.unwrap_or_else(|panic| Err(WriteError::Io(io::Error::other(panic))))
}
