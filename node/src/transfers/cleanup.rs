//! Removes what nobody needs any more: partial downloads that a crash left and no user wants, and
//! contents that no offer names.

use std::collections::BTreeSet;
use std::time::Duration;

use hobnob_core::commit::OfferState;

use super::context::Context;
use super::mailed;
use crate::store::{OfferRow, StoreError, WhichOffers};

/// How long a partial download stays without a new piece. Its sender may be gone for good, and its
/// file is hidden.
const PARTIAL_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Why a download whose partial file expired has failed.
const EXPIRED: &str = "nothing arrived for 30 days: accept the offer again to start anew";

/// Removes the partial downloads of offers that are neither wanted nor failed, and those that got no
/// piece for [`PARTIAL_KEPT`]. A failed download stays for another try.
pub(super) async fn remove_leftovers(context: &Context) {
    let files = context.files.clone();
    let begun = tokio::task::spawn_blocking(move || files.partials()).await;
    let mut leftovers = Vec::new();
    for (log, seq) in begun.ok().and_then(Result::ok).unwrap_or_default() {
        // Without the store nothing proves that a partial download is unwanted.
        let Ok(Ok(rows)) = context.store.read(WhichOffers::One(log, seq)).await else {
            return;
        };
        // The user decides about a paused download.
        let is_paused = rows
            .iter()
            .any(|row| row.record.state == OfferState::Paused);
        let age = context.files.age((log, seq)).filter(|_| !is_paused);
        let is_old = age.is_some_and(|age| age > PARTIAL_KEPT);
        if is_old {
            let wanted = rows
                .iter()
                .filter(|row| row.record.state == OfferState::Wanted);
            wanted.for_each(|row| context.record_failure(row.offer.clone(), EXPIRED.to_owned()));
        }
        if is_old || !rows.iter().any(is_needed) {
            leftovers.push((log, seq));
        }
    }
    remove_mailed(context).await;
    let files = context.files.clone();
    let removed = tokio::task::spawn_blocking(move || {
        for of in leftovers {
            files.discard(of);
        }
    });
    // The panic hook has reported a panic.
    let _ = removed.await;
}

/// Removes the parts of contents that came by mail and whose offer the user has declined, or that no
/// offer names.
async fn remove_mailed(context: &Context) {
    let index = context.files.index.clone();
    let there = tokio::task::spawn_blocking(move || mailed::offers(&index)).await;
    let mut needed = BTreeSet::new();
    for (log, seq) in there.ok().and_then(Result::ok).unwrap_or_default() {
        let Ok(Ok(rows)) = context.store.read(WhichOffers::One(log, seq)).await else {
            return;
        };
        let is_open = |row: &OfferRow| row.record.state == OfferState::Offered || is_needed(row);
        if rows.iter().any(is_open) {
            needed.insert((log, seq));
        }
    }
    let index = context.files.index.clone();
    let remove = move || mailed::remove_except(&index, |offer| needed.contains(&offer));
    if let Ok(Err(error)) = tokio::task::spawn_blocking(remove).await {
        tracing::warn!("files that came by mail can't be removed: {error}");
    }
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
    matches!(
        row.record.state,
        OfferState::Wanted | OfferState::Failed | OfferState::Paused
    )
}
