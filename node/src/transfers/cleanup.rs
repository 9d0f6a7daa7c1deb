//! Removes what nobody needs any more: partial downloads that a crash left and no user wants, and
//! contents that no offer names.

use hobnob_core::commit::OfferState;

use super::context::Context;
use crate::store::{OfferRow, StoreError, WhichOffers};

/// Removes the partial downloads of offers that are neither wanted nor failed. A failed download
/// stays for another try.
pub(super) async fn remove_leftovers(context: &Context) {
    let files = context.files.clone();
    let begun = tokio::task::spawn_blocking(move || files.partials()).await;
    let mut leftovers = Vec::new();
    for (log, seq) in begun.ok().and_then(Result::ok).unwrap_or_default() {
        // Without the store nothing proves that a partial download is unwanted.
        let Ok(Ok(rows)) = context.store.read(WhichOffers::One(log, seq)).await else {
            return;
        };
        if !rows.iter().any(is_needed) {
            leftovers.push((log, seq));
        }
    }
    let files = context.files.clone();
    let removed = tokio::task::spawn_blocking(move || {
        for of in leftovers {
            files.discard(of);
        }
    });
    // The panic hook has reported a panic.
    let _ = removed.await;
}

/// Removes the contents that no offer names any more: their files name the user's files and contain
/// the names in a folder.
pub(super) async fn remove_contents(context: &Context) -> Result<(), String> {
    let index = context.files.index.clone();
    let contents = tokio::task::spawn_blocking(move || index.contents()).await;
    let contents = contents.map_err(|error| error.to_string())?;
    let contents = contents.map_err(|error| error.to_string())?;
    let unused = context.store.not_offered(contents).await;
    let unused = unused.map_err(|_| StoreError::Closed.to_string())?;
    let unused = unused.map_err(|error| error.to_string())?;
    let index = context.files.index.clone();
    let removed = tokio::task::spawn_blocking(move || {
        unused.into_iter().try_for_each(|hash| index.remove(hash))
    });
    let removed = removed.await.map_err(|error| error.to_string())?;
    removed.map_err(|error| error.to_string())
}

fn is_needed(row: &OfferRow) -> bool {
    matches!(row.record.state, OfferState::Wanted | OfferState::Failed)
}
