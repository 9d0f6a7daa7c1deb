//! The body of a request on its way to the disk, and the names that a browser gives to files.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use axum::body::{Body, Bytes};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::response::HttpError;

/// The longest name of an uploaded file, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Chunks that wait for the disk.
const CHUNKS_MAX: usize = 4;

/// The name of a file that the browser names.
pub(crate) fn checked_name(name: &str) -> Result<String, HttpError> {
    cleaned(name).ok_or_else(|| {
        HttpError::usage(format!(
            "a file name has 1 to {NAME_BYTES_MAX} bytes: rename it first"
        ))
    })
}

/// A name that is one component of a path, or none.
pub(crate) fn cleaned(name: &str) -> Option<String> {
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

/// Too many files or bytes of earlier uploads are kept.
pub(crate) fn no_room() -> HttpError {
    HttpError::busy(
        "the files that were uploaded before take all the room: withdraw offers that nobody needs",
    )
}

/// Writes the body, of at most `room` bytes, to a new file.
pub(crate) async fn write(path: &Path, body: Body, room: u64) -> Result<(), HttpError> {
    let path = path.to_owned();
    let store = move |mut content: Content| {
        let mut file = create_file(&path)?;
        io::copy(&mut content, &mut file)?;
        file.sync_all()
    };
    pass(body, room, store).await
}

/// Passes the body, of at most `room` bytes, to `store`, on a thread that may wait for the disk.
pub(crate) async fn pass(
    body: Body,
    mut room: u64,
    store: impl FnOnce(Content) -> io::Result<()> + Send + 'static,
) -> Result<(), HttpError> {
    let (chunks, received) = mpsc::channel(CHUNKS_MAX);
    let content = Content {
        received,
        chunk: Bytes::new(),
    };
    let storing = tokio::task::spawn_blocking(move || store(content));
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk =
            chunk.map_err(|error| HttpError::usage(format!("the upload broke: {error}")))?;
        room = u64::try_from(chunk.len())
            .ok()
            .and_then(|len| room.checked_sub(len))
            .ok_or_else(no_room)?;
        if chunks.send(chunk).await.is_err() {
            // The thread has failed. The result below explains it.
            break;
        }
    }
    drop(chunks);
    let stored = storing.await.map_err(HttpError::fault)?;
    stored.map_err(|error| {
        if error.kind() == io::ErrorKind::InvalidInput {
            HttpError::usage(error)
        } else {
            HttpError::fault(format!("the file can't be stored: {error}"))
        }
    })
}

/// Creates a file that only the user can read.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// The body of a request, on a thread that may wait.
pub(crate) struct Content {
    received: mpsc::Receiver<Bytes>,
    /// What is not read yet.
    chunk: Bytes,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Content {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.chunk.is_empty() {
            match self.received.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => break,
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk = self.chunk.slice(count..);
    }
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
}
