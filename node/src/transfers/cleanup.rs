//! The start of a run: removes partial downloads that a crash left and no user wants.

use hobnob_core::commit::OfferState;

use super::context::Context;
use crate::store::{OfferRow, WhichOffers};

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

fn is_needed(row: &OfferRow) -> bool {
    matches!(row.record.state, OfferState::Wanted | OfferState::Failed)
}
