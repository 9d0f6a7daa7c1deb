//! Offers a file or a folder that a browser sends: it has the content, but no path.
//!
//! The file is stored in the folder `uploads` of the home, because the node reads the content there
//! when a peer fetches it. How long it stays there is the concern of `kept_uploads`.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use hobnob::ConversationRef;
use hobnob_control::wire::{Failure, OfferFile, Right};
use hobnob_control::{Client, ClientError};
use serde::Deserialize;

use crate::body::{checked_name, no_room, pass, write};
use crate::clock;
use crate::folder;
use crate::kept_uploads::Room;
use crate::response::{HttpError, authorized, json};
use crate::shared::Shared;

/// Maximum number of uploads at once. A further one is refused with 503.
pub const UPLOADS_MAX: usize = 4;

/// What the path of an upload has.
#[derive(Debug, Deserialize)]
pub(crate) struct To {
    conversation: String,
    name: String,
    /// What the user says about it.
    #[serde(default)]
    caption: String,
}

/// Stores the body and offers it in the conversation.
pub(crate) async fn upload(
    State(shared): State<Arc<Shared>>,
    UrlPath(to): UrlPath<To>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    offer(&shared, to, &headers, Form::File, body).await
}

/// Stores the files of a folder, and offers the folder in the conversation. The body has the files as
/// [`folder::store`] reads them.
pub(crate) async fn upload_folder(
    State(shared): State<Arc<Shared>>,
    UrlPath(to): UrlPath<To>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    offer(&shared, to, &headers, Form::Folder, body).await
}

/// What a body has.
#[derive(Debug, Clone, Copy)]
enum Form {
    File,
    Folder,
}

async fn offer(
    shared: &Shared,
    to: To,
    headers: &HeaderMap,
    form: Form,
    body: Body,
) -> Result<Response, HttpError> {
    authorized(shared, headers, Right::Send)?;
    let conversation: ConversationRef = to.conversation.parse().map_err(HttpError::usage)?;
    let name = checked_name(&to.name)?;
    let _place = shared
        .uploads
        .try_acquire()
        .map_err(|_| HttpError::busy("other files are being uploaded: try again later"))?;
    let uploads = &shared.kept_uploads;
    let _under_way = uploads.begin().await;
    let room = uploads.room().map_err(HttpError::fault)?;
    let Room { files, bytes } = room.ok_or_else(no_room)?;
    let stored = Stored::create(uploads.folder(), &name).map_err(HttpError::fault)?;
    match form {
        Form::File => write(&stored.path, body, bytes).await?,
        Form::Folder => {
            let path = stored.path.clone();
            let store = move |content| folder::store(&path, content, files);
            pass(body, bytes, store).await?;
        }
    }
    let mut offer = OfferFile::new(conversation, stored.path.clone());
    offer.caption = to.caption;
    let client = Client::connect(&shared.home).await.map_err(asked)?;
    let sent = client.ask(offer).await.map_err(asked)?;
    stored.keep();
    uploads.look_again();
    Ok(json(&sent))
}

/// The answer for a request that the node did not carry out.
pub(crate) fn asked(error: ClientError) -> HttpError {
    match error {
        ClientError::Refused(failure) => HttpError::new(StatusCode::BAD_REQUEST, failure),
        ClientError::NotRunning { .. }
        | ClientError::OtherHome { .. }
        | ClientError::OtherUser(_)
        | ClientError::TooLong(_)
        | ClientError::Lost
        | ClientError::Unreadable(_) => {
            HttpError::new(StatusCode::SERVICE_UNAVAILABLE, Failure::fault(error))
        }
    }
}

/// An uploaded file in a folder of its own. Dropping it deletes both, unless it was kept: a browser
/// may disconnect at any time.
pub(crate) struct Stored {
    folder: PathBuf,
    pub(crate) path: PathBuf,
    kept: bool,
}

impl Stored {
    pub(crate) fn create(uploads: &Path, name: &str) -> io::Result<Stored> {
        let folder = uploads.join(clock::random_text());
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(&folder)?;
        Ok(Stored {
            path: folder.join(name),
            folder,
            kept: false,
        })
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_dir_all(&self.folder)
        {
            tracing::warn!(%error, folder = ?self.folder, "an unfinished upload could not be deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_upload_is_deleted() {
        let home = tempfile::tempdir().unwrap();
        let stored = Stored::create(home.path(), "a.txt").unwrap();
        let folder = stored.folder.clone();
        std::fs::write(&stored.path, "half").unwrap();
        drop(stored);
        assert!(!folder.exists());
        let stored = Stored::create(home.path(), "a.txt").unwrap();
        let folder = stored.folder.clone();
        stored.keep();
        assert!(folder.exists());
    }
}
