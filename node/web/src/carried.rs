//! Files that the browser saves or brings: messages that are carried by hand or for people to read, and
//! backups.
//!
//! Node and program write and read files, so each is in the folder `uploads` of the home for a moment.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use hobnob::ConversationRef;
use hobnob::protocol::Target;
use hobnob_control::wire::{ExportFor, ImportFile, Right, Text};
use hobnob_control::{Client, ClientError};
use serde::Deserialize;
use tokio::sync::{RwLockReadGuard, SemaphorePermit};
use zeroize::Zeroizing;

use crate::body::{no_room, write};
use crate::content;
use crate::response::{HttpError, authorized, json};
use crate::shared::Shared;
use crate::upload::{Stored, asked};

/// The number of messages in an exported file.
const MESSAGES: HeaderName = HeaderName::from_static("hobnob-messages");

/// A file of a request that is under way. Dropping it deletes the file.
struct Passing<'a> {
    stored: Stored,
    _under_way: RwLockReadGuard<'a, ()>,
    _place: SemaphorePermit<'a>,
}

impl Passing<'_> {
    async fn begin(shared: &Shared) -> Result<Passing<'_>, HttpError> {
        let place = shared
            .uploads
            .try_acquire()
            .map_err(|_| HttpError::busy("other files are under way: try again later"))?;
        let under_way = shared.kept_uploads.begin().await;
        let stored = Stored::create(shared.kept_uploads.folder(), "file");
        Ok(Passing {
            stored: stored.map_err(HttpError::fault)?,
            _under_way: under_way,
            _place: place,
        })
    }

    fn path(&self) -> PathBuf {
        self.stored.path.clone()
    }
}

/// A sealed file with the messages that a peer lacks, and receipts. The header [`MESSAGES`] counts them.
pub(crate) async fn export(
    State(shared): State<Arc<Shared>>,
    UrlPath(peer): UrlPath<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Manage)?;
    let target: Target = peer.parse().map_err(HttpError::usage)?;
    let passing = Passing::begin(&shared).await?;
    let client = Client::connect(&shared.home).await.map_err(asked)?;
    let request = ExportFor {
        target: Text(target),
        path: passing.path(),
    };
    let exported = client.ask(request).await.map_err(asked)?;
    let mut response = content::read(passing.path(), "messages.hobnob").await?;
    let count = HeaderValue::from(exported.messages);
    response.headers_mut().insert(MESSAGES, count);
    Ok(response)
}

/// Takes the messages and receipts from a file that a peer has written, which is the body.
pub(crate) async fn import(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Manage)?;
    let passing = Passing::begin(&shared).await?;
    let room = shared.kept_uploads.room().map_err(HttpError::fault)?;
    write(&passing.path(), body, room.ok_or_else(no_room)?.bytes).await?;
    let client = Client::connect(&shared.home).await.map_err(asked)?;
    let path = passing.path();
    let shown = path.display().to_string();
    let imported = client.ask(ImportFile { path }).await;
    let imported = imported.map_err(|mut error| {
        if let ClientError::Refused(failure) = &mut error {
            // The user has not chosen the file's place here.
            failure.text = failure.text.replace(&shown, "the file");
        }
        asked(error)
    })?;
    Ok(json(&imported))
}

/// The format of saved messages, and the conversation. Without one, all.
#[derive(Debug, Deserialize)]
pub(crate) struct Saved {
    format: String,
    conversation: Option<String>,
}

/// The messages of a conversation, or of all, for people and other programs.
pub(crate) async fn messages(
    State(shared): State<Arc<Shared>>,
    UrlPath(Saved {
        format,
        conversation,
    }): UrlPath<Saved>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Read)?;
    let of = conversation.map(|of| of.parse::<ConversationRef>());
    let of = of.transpose().map_err(HttpError::usage)?;
    let passing = Passing::begin(&shared).await?;
    let written = (shared.words.messages)(shared.home.clone(), of, format, passing.path()).await;
    written.map_err(HttpError::usage)?;
    content::read(passing.path(), "messages").await
}

/// A backup of the home. The body is the passphrase.
pub(crate) async fn backup(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    passphrase: String,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Manage)?;
    let passphrase = Zeroizing::new(passphrase);
    let passing = Passing::begin(&shared).await?;
    let made = (shared.words.backup)(shared.home.clone(), passphrase, passing.path()).await;
    made.map_err(HttpError::usage)?;
    content::read(passing.path(), "hobnob.age").await
}
