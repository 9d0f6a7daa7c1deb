//! Offers a file that a browser sends: it has the content, but no path.
//!
//! The file is stored in the folder `uploads` of the home, because the node reads the content there
//! when a peer fetches it. How long it stays there is the concern of `kept_uploads`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures_util::StreamExt;
use hobnob::ConversationRef;
use hobnob_control::wire::{Failure, OfferFile, Right};
use hobnob_control::{Client, ClientError};
use tokio::sync::mpsc;

use crate::clock;
use crate::response::{HttpError, authorized, json};
use crate::shared::Shared;

/// Maximum number of uploads at once. A further one is refused with 503.
pub const UPLOADS_MAX: usize = 4;

/// The longest name of an uploaded file, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Chunks that wait for the disk.
const CHUNKS_MAX: usize = 4;

/// Stores the body and offers it in the conversation.
pub(crate) async fn upload(
    State(shared): State<Arc<Shared>>,
    UrlPath((conversation, name)): UrlPath<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Send)?;
    let conversation: ConversationRef = conversation.parse().map_err(HttpError::usage)?;
    let name = cleaned(&name).ok_or_else(|| {
        HttpError::usage(format!(
            "a file name has 1 to {NAME_BYTES_MAX} bytes: rename it first"
        ))
    })?;
    let _place = shared
        .uploads
        .try_acquire()
        .map_err(|_| HttpError::busy("other files are being uploaded: try again later"))?;
    let uploads = &shared.kept_uploads;
    let _under_way = uploads.begin().await;
    let room = uploads.room().map_err(HttpError::fault)?;
    let room = room.ok_or_else(no_room)?;
    let stored = Stored::create(uploads.folder(), &name).map_err(HttpError::fault)?;
    write(&stored.path, body, room).await?;
    let offer = OfferFile::new(conversation, stored.path.clone());
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

/// A name that is one component of a path, or none.
fn cleaned(name: &str) -> Option<String> {
    let cleaned: String = name
        .chars()
        .map(|letter| match letter {
            '/' | '\\' => '_',
            letter if letter.is_control() => '_',
            letter => letter,
        })
        .collect();
    let usable = !["", ".", ".."].contains(&cleaned.as_str()) && cleaned.len() <= NAME_BYTES_MAX;
    usable.then_some(cleaned)
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

/// Too many files or bytes of earlier uploads are kept.
pub(crate) fn no_room() -> HttpError {
    HttpError::busy(
        "the files that were uploaded before take all the room: withdraw offers that nobody needs",
    )
}

/// Writes the body, of at most `room` bytes, to a new file, on a thread that may wait for the disk.
pub(crate) async fn write(path: &Path, body: Body, mut room: u64) -> Result<(), HttpError> {
    let path = path.to_owned();
    let (chunks, received) = mpsc::channel(CHUNKS_MAX);
    let writing = tokio::task::spawn_blocking(move || write_chunks(&path, received));
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk =
            chunk.map_err(|error| HttpError::usage(format!("the upload broke: {error}")))?;
        room = u64::try_from(chunk.len())
            .ok()
            .and_then(|len| room.checked_sub(len))
            .ok_or_else(no_room)?;
        if chunks.send(chunk).await.is_err() {
            // The disk has failed. The result below explains it.
            break;
        }
    }
    drop(chunks);
    let written = writing.await.map_err(HttpError::fault)?;
    written.map_err(|error| HttpError::fault(format!("the file can't be stored: {error}")))
}

fn write_chunks(path: &Path, mut chunks: mpsc::Receiver<Bytes>) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    while let Some(chunk) = chunks.blocking_recv() {
        file.write_all(&chunk)?;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_folder() {
        assert_eq!(cleaned("film.mp4").as_deref(), Some("film.mp4"));
        assert_eq!(cleaned("../../key").as_deref(), Some(".._.._key"));
        assert_eq!(cleaned("a\nb").as_deref(), Some("a_b"));
        for name in ["", ".", "..", &"x".repeat(201)] {
            assert_eq!(cleaned(name), None);
        }
    }

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
