//! Replaces `picture` in a build without the feature `pictures`: no canvas and no picture exist.

use std::path::PathBuf;

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

    pub(super) fn rows(&self) -> u16 {
        match *self {}
    }

    pub(super) fn render(&self, _: i16, _: Rect, _: &mut Buffer) {
        match *self {}
    }
}
