//! The content of offered files, for previews and for downloads by the browser.
//!
//! A preview asks with the token. A download is a navigation of the browser, which sends no token, so
//! the page first gets a ticket for it, which works once.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{Path as UrlPath, State};
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hobnob::MessageId;
use hobnob_control::Client;
use hobnob_control::wire::{Failure, ListFiles, Right};
use tokio::sync::mpsc;

use crate::clock;
use crate::response::{CONTENT_POLICY, HttpError, authorized};
use crate::shared::Shared;
use crate::upload::asked;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Chunks that wait for the browser.
const CHUNKS_MAX: usize = 4;

/// The content of the file that the offer `id` names, for a preview.
pub(crate) async fn content(
    State(shared): State<Arc<Shared>>,
    UrlPath(id): UrlPath<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    authorized(&shared, &headers, Right::Read)?;
    let id = id.parse().map_err(HttpError::usage)?;
    send(&shared, id).await
}

/// A ticket for the download of a file: the path of its URL.
pub(crate) async fn ticket(
    State(shared): State<Arc<Shared>>,
    UrlPath(id): UrlPath<String>,
    headers: HeaderMap,
) -> Result<String, HttpError> {
    authorized(&shared, &headers, Right::Read)?;
    let id: MessageId = id.parse().map_err(HttpError::usage)?;
    let text = clock::random_text();
    let mut tickets = shared
        .tickets
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    tickets.add(text.clone(), id, clock::now_ms());
    Ok(format!("/download/{text}"))
}

/// The content of the file that a ticket is for.
pub(crate) async fn download(
    State(shared): State<Arc<Shared>>,
    UrlPath(text): UrlPath<String>,
) -> Result<Response, HttpError> {
    let file = {
        let mut tickets = shared
            .tickets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        tickets.redeem(&text, clock::now_ms())
    };
    let id = file.ok_or_else(|| {
        HttpError::new(
            StatusCode::FORBIDDEN,
            Failure::forbidden("this download link was used or is old: click on the file again"),
        )
    })?;
    send(&shared, id).await
}

async fn send(shared: &Shared, id: MessageId) -> Result<Response, HttpError> {
    let client = Client::connect(&shared.home).await.map_err(asked)?;
    let list = client.ask(ListFiles {}).await.map_err(asked)?;
    let file = list.files.into_iter().find(|file| file.id.0 == id);
    let (name, path) = file
        .and_then(|file| Some((file.offer.name, file.saved?)))
        .ok_or_else(|| HttpError::usage("this file is not here (yet)"))?;
    read(path, &name).await
}

/// The content of a file on this machine, for the browser to save under a name. The file is open when
/// this returns, so it may be deleted then.
pub(crate) async fn read(path: PathBuf, name: &str) -> Result<Response, HttpError> {
    let opened = tokio::task::spawn_blocking(move || open(path)).await;
    let (file, bytes) = opened
        .map_err(HttpError::fault)?
        .map_err(|error| HttpError::fault(format!("the file can't be read: {error}")))?;
    let (chunks, mut read) = mpsc::channel(CHUNKS_MAX);
    tokio::task::spawn_blocking(move || read_chunks(file, &chunks));
    let body = Body::from_stream(stream::poll_fn(move |context| read.poll_recv(context)));
    let headers = [
        // Never the media type that a peer has chosen: the browser must not show it as a page.
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, bytes.to_string()),
        (CONTENT_DISPOSITION, disposition(name)),
        (CONTENT_SECURITY_POLICY, CONTENT_POLICY.to_owned()),
    ];
    Ok((headers, body).into_response())
}

fn open(path: PathBuf) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other(
            "it is a folder: open it in your file manager",
        ));
    }
    Ok((file, about.len()))
}

/// Reads until the end, or until the browser has gone.
fn read_chunks(mut file: File, chunks: &mpsc::Sender<io::Result<Bytes>>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let chunk = match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(bytes) => Ok(Bytes::copy_from_slice(&buffer[..bytes])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let failed = chunk.is_err();
        if chunks.blocking_send(chunk).is_err() || failed {
            return;
        }
    }
}

/// The header that makes a browser save the content under a name (RFC 6266, RFC 8187).
pub(crate) fn disposition(name: &str) -> String {
    let encoded: String = name
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'-' | b'_' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect();
    format!("attachment; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_add_headers() {
        assert_eq!(
            disposition("a \"b\"\r\nX: ü.txt"),
            "attachment; filename*=UTF-8''a%20%22b%22%0D%0AX%3A%20%C3%BC.txt"
        );
    }
}
