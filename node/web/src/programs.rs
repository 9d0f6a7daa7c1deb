//! The tokens of programs and pages, and the password of IRC clients, for the user in the page.
//!
//! Only a page may use these. A program could otherwise give itself a token that permits more than its
//! own, or that stays when its own is revoked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use hobnob_control::wire::{Done, Failure, Right};
use serde::{Deserialize, Serialize};

use crate::response::{HttpError, authorized, json};
use crate::shared::Shared;
use crate::tokens::{Token, TokenError};

/// The token of a page that may manage.
pub(crate) fn by_page(shared: &Shared, headers: &HeaderMap) -> Result<Token, HttpError> {
    let token = authorized(shared, headers, Right::Manage)?;
    match token.page {
        true => Ok(token),
        false => Err(HttpError::new(
            StatusCode::FORBIDDEN,
            Failure::forbidden("only the page in the browser may do that, and no program's token"),
        )),
    }
}

/// The tokens, without their secrets.
#[derive(Serialize)]
struct TokenList<T> {
    tokens: Vec<T>,
    /// The name of the token that the request had.
    own: String,
}

/// The valid tokens.
pub(crate) async fn list(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let own = by_page(&shared, &headers)?.name;
    let tokens = shared.tokens.list().map_err(failed)?;
    let tokens = tokens.iter().map(Token::public).collect();
    Ok(json(&TokenList { tokens, own }))
}

/// A token to create.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewToken {
    name: String,
    rights: BTreeSet<Right>,
    /// For how many seconds it is valid. None: until it is revoked.
    seconds: Option<u64>,
}

/// Creates a token for a program. The answer is its secret.
pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> Result<Response, HttpError> {
    by_page(&shared, &headers)?;
    let new: NewToken = serde_json::from_str(&body).map_err(HttpError::usage)?;
    if new.rights.is_empty() {
        return Err(HttpError::usage("a token needs a right at least"));
    }
    let time = new.seconds.map(Duration::from_secs);
    let secret = shared.tokens.create(&new.name, new.rights, time);
    Ok(json(&secret.map_err(failed)?))
}

/// Revokes a token of a program, or logs a page out.
pub(crate) async fn revoke(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    by_page(&shared, &headers)?;
    shared.tokens.revoke(&name).map_err(failed)?;
    Ok(json(&Done {}))
}

/// The password of IRC clients.
pub(crate) async fn irc_password(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    password(&shared, &headers, false)
}

/// Replaces the password of IRC clients, and answers with the new one.
pub(crate) async fn new_irc_password(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    password(&shared, &headers, true)
}

/// The password of IRC clients, or a new one.
fn password(shared: &Shared, headers: &HeaderMap, new: bool) -> Result<Response, HttpError> {
    by_page(shared, headers)?;
    let password = (shared.words.irc_password)(&shared.home, new);
    Ok(json(&password.map_err(HttpError::fault)?))
}

fn failed(error: TokenError) -> HttpError {
    match error {
        TokenError::Name | TokenError::Taken(_) | TokenError::None(_) | TokenError::TooMany => {
            HttpError::usage(error)
        }
        TokenError::File { .. } => HttpError::fault(error),
    }
}
