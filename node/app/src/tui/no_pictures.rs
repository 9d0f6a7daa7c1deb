//! Replaces `picture` in a build without the feature `pictures`: no canvas and no picture exist, and
//! profile pictures are not made smaller.

use std::path::{Path, PathBuf};

use hobnob::protocol::picture::{self, PICTURE_BYTES_MAX, PictureError};
use ratatui::buffer::Buffer;
use ratatui::layout::{Rect, Size};

use super::queries::{Answers, Questions};

/// No terminal has a canvas.
#[derive(Debug, Clone, Copy)]
pub(super) enum Canvas {}

/// No file has a picture.
#[derive(Debug)]
pub(super) enum Picture {}

impl Canvas {
    pub(super) fn questions(_: impl Fn(&str) -> Option<String>) -> Questions {
        Questions::default()
    }

    pub(super) fn of_terminal(_: impl Fn(&str) -> Option<String>, _: &Answers) -> Option<Canvas> {
        None
    }

    pub(super) fn measure(&mut self) -> bool {
        match *self {}
    }

    pub(super) fn farewell(self, _: usize) -> String {
        match self {}
    }
}

impl Picture {
    pub(super) async fn of(_: PathBuf, canvas: Canvas, _: Size, _: usize) -> Option<Picture> {
        match canvas {}
    }

    pub(super) async fn of_bytes(_: Vec<u8>, canvas: Canvas, _: Size, _: usize) -> Option<Picture> {
        match canvas {}
    }

    pub(super) fn rows(&self) -> u16 {
        match *self {}
    }

    pub(super) fn render(&self, _: i16, _: Rect, _: &mut Buffer) {
        match *self {}
    }
}

/// Reads a picture file that is small enough to be a profile picture as it is.
pub(crate) async fn profile_picture(path: PathBuf) -> Result<Vec<u8>, String> {
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || read(&path)).await;
    let read = read.unwrap_or_else(|error| Err(error.to_string()));
    read.map_err(|why| format!("can't use {shown} as a profile picture: {why}"))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?;
    let size = usize::try_from(size.len()).unwrap_or(usize::MAX);
    if size > PICTURE_BYTES_MAX {
        return Err(PictureError::TooLarge(size).to_string());
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    picture::check(&bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}
