//! The settings of the home, which the page lists and changes. The program that serves the page reads
//! and writes the file.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use hobnob_control::Client;
use hobnob_control::wire::{ApplySettings, Done, Right};
use serde_json::Value;

use crate::response::{HttpError, authorized, json};
use crate::shared::Shared;

/// The settings, in the order of their documentation.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Manage)?;
    let settings = (shared.words.settings)(&shared.home).map_err(HttpError::fault)?;
    Ok(json(&settings))
}

/// Sets one, from JSON in the body. `null` removes it, so that the default applies. Answers whether the
/// running node has read the settings again.
pub(crate) async fn set(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    value: String,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Manage)?;
    let value: Value = serde_json::from_str(&value).map_err(HttpError::usage)?;
    (shared.words.set)(&shared.home, &name, &value).map_err(HttpError::usage)?;
    // The file has changed, so the node takes what it can. Without a node, the next start does.
    let applied = match Client::connect(&shared.home).await {
        Ok(client) => client.ask(ApplySettings {}).await.map(|Done {}| ()),
        Err(error) => Err(error),
    };
    if let Err(error) = &applied {
        tracing::debug!(%error, "the node does not take settings now");
    }
    Ok(json(&applied.is_ok()))
}
