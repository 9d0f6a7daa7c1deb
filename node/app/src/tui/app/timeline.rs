//! The entries of a conversation on the screen: messages, and the chat's own notes between them.

use std::cell::RefCell;

use hobnob::protocol::PersonId;
use hobnob_control::wire::{MessageLine, Time};

use crate::tui::markup::Row;

/// A line from the chat itself, such as an answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) at: Time,
    pub(crate) tone: Tone,
    pub(crate) text: String,
    /// Whose profile picture, or initials, are below the text.
    pub(crate) portrait: Option<PersonId>,
}

/// The purpose of a note. Warnings have another colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Info,
    Warning,
}

/// A message or a note, and the rows into which its text was wrapped last.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) content: EntryContent,
    wrapped: RefCell<Option<(usize, Vec<Row>)>>,
}

#[derive(Debug)]
pub(crate) enum EntryContent {
    Message(Box<MessageLine>),
    Note(Note),
}

impl Entry {
    pub(crate) fn new(content: EntryContent) -> Entry {
        Entry {
            content,
            wrapped: RefCell::new(None),
        }
    }

    /// When the message arrived, or when the note was written.
    pub(crate) fn at(&self) -> Time {
        match &self.content {
            EntryContent::Message(message) => message.received_at,
            EntryContent::Note(note) => note.at,
        }
    }

    pub(crate) fn message(&self) -> Option<&MessageLine> {
        match &self.content {
            EntryContent::Message(message) => Some(message),
            EntryContent::Note(_) => None,
        }
    }

    /// The text in rows of this many columns. The rows are cached until the width changes.
    pub(crate) fn wrapped(&self, columns: usize, wrap: impl FnOnce() -> Vec<Row>) -> Vec<Row> {
        let mut wrapped = self.wrapped.borrow_mut();
        match &*wrapped {
            Some((same, rows)) if *same == columns => rows.clone(),
            Some(_) | None => {
                let rows = wrap();
                *wrapped = Some((columns, rows.clone()));
                rows
            }
        }
    }

    /// The approximate memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let text = match &self.content {
            EntryContent::Message(message) => {
                size_of::<MessageLine>()
                    + message.body.text.as_ref().map_or(0, String::len)
                    + message.body.bytes.as_ref().map_or(0, |b| b.0.len())
            }
            EntryContent::Note(note) => note.text.len(),
        };
        text + size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::markup::plain;

    #[test]
    fn a_text_is_wrapped_again_only_for_another_width() {
        let entry = Entry::new(EntryContent::Note(Note {
            at: Time(0),
            tone: Tone::Info,
            text: "one two".into(),
            portrait: None,
        }));
        let rows = |columns, text: &str| entry.wrapped(columns, || vec![plain(text.to_owned())]);
        let row = |text: &str| plain(text.to_owned());
        assert_eq!(rows(80, "first"), [row("first")]);
        assert_eq!(rows(80, "not called"), [row("first")]);
        assert_eq!(rows(40, "second"), [row("second")]);
    }
}
