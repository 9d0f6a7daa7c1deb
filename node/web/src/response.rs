//! Headers and errors of answers.

use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hobnob_control::wire::{Failure, Right, to_line};
use serde::Serialize;

use crate::clock;
use crate::shared::Shared;
use crate::tokens::Token;

/// Headers of every answer. No other page may show this one in a frame or read its resources.
const HEADERS: [(HeaderName, &str); 6] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("x-frame-options"), "DENY"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// The policy of all answers but contents of files. Scripts and styles come from files of the program
/// only. Chromium also refuses text as markup (`require-trusted-types-for`). Previews are blobs.
pub(crate) fn policy(host: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
         connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

/// The policy of a file's content: if the browser shows it at all, it can do nothing.
pub(crate) const CONTENT_POLICY: &str =
    "default-src 'none'; sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds the headers of every answer.
pub(crate) fn add_headers(response: &mut Response, policy: &HeaderValue) {
    let headers = response.headers_mut();
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers
        .entry(CONTENT_SECURITY_POLICY)
        .or_insert_with(|| policy.clone());
}

/// An answer with a media type.
pub(crate) fn typed(media_type: &'static str, body: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, media_type)], body).into_response()
}

/// An answer in JSON.
pub(crate) fn json(value: &impl Serialize) -> Response {
    typed("application/json", to_line(value))
}

/// An HTTP request that failed. The body is the `error` of a JSON line.
#[derive(Debug)]
pub(crate) struct HttpError {
    status: StatusCode,
    failure: Failure,
}

impl HttpError {
    pub(crate) fn new(status: StatusCode, failure: Failure) -> HttpError {
        HttpError { status, failure }
    }

    /// Something failed on this machine.
    pub(crate) fn fault(text: impl ToString) -> HttpError {
        HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, Failure::fault(text))
    }

    /// The request makes no sense.
    pub(crate) fn usage(text: impl ToString) -> HttpError {
        HttpError::new(StatusCode::BAD_REQUEST, Failure::usage(text))
    }

    /// A limit is reached.
    pub(crate) fn busy(text: impl ToString) -> HttpError {
        HttpError::new(StatusCode::SERVICE_UNAVAILABLE, Failure::fault(text))
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        (self.status, json(&self.failure)).into_response()
    }
}

/// The token in the header `Authorization`, if it has the right.
pub(crate) fn authorized(
    shared: &Shared,
    headers: &HeaderMap,
    right: Right,
) -> Result<Token, HttpError> {
    let secret = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let token = match secret {
        Some(secret) => shared.tokens.admit(secret, clock::now_ms()),
        None => Ok(None),
    };
    match token.map_err(HttpError::fault)? {
        None => Err(HttpError::new(
            StatusCode::UNAUTHORIZED,
            Failure::forbidden("this needs a valid token in the header Authorization"),
        )),
        Some(token) if !token.rights.contains(&right) => Err(HttpError::new(
            StatusCode::FORBIDDEN,
            Failure::forbidden(format!(
                "this token does not have the right `{}`",
                right.as_str()
            )),
        )),
        Some(token) => Ok(token),
    }
}
