//! What opens the home. Its passphrase can change while a node runs. To lock or unlock the home, the node
//! has to stop, and with it the page.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use hobnob_control::wire::Done;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::programs::by_page;
use crate::response::{HttpError, json};
use crate::shared::Shared;

/// How the home is locked. `null`: it is not.
pub(crate) async fn lock(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    by_page(&shared, &headers)?;
    let lock = (shared.words.lock)(&shared.home);
    Ok(json(&lock.map_err(HttpError::fault)?))
}

/// The passphrases of a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// Not needed if the system keyring opens the home.
    old: String,
    new: String,
}

/// Changes the passphrase of a locked home, or adds one.
pub(crate) async fn change_passphrase(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, HttpError> {
    by_page(&shared, &headers)?;
    let body = Zeroizing::new(body);
    let change: Change = serde_json::from_str(&body).map_err(HttpError::usage)?;
    // A passphrase takes a moment and much memory, so few are tried at once.
    let _place = shared
        .uploads
        .try_acquire()
        .map_err(|_| HttpError::busy("files are under way: try again later"))?;
    let (old, new) = (Zeroizing::new(change.old), Zeroizing::new(change.new));
    let changed = (shared.words.change_passphrase)(shared.home.clone(), old, new);
    changed.await.map_err(HttpError::usage)?;
    Ok(json(&Done {}))
}
