//! What a conversation shows: messages, and what the screen itself says between them.

use std::cell::RefCell;

use hobnob_control::wire::{MessageLine, Time};

/// Something this screen said by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) at: Time,
    pub(super) tone: Tone,
    pub(super) text: String,
}

/// How a note sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Info,
    Warning,
}

/// A message or a note, and the lines it was last broken into.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) content: EntryContent,
    wrapped: RefCell<Option<(usize, Vec<String>)>>,
}

#[derive(Debug)]
pub(super) enum EntryContent {
    Message(MessageLine),
    Note(Note),
}

impl Entry {
    pub(super) fn new(content: EntryContent) -> Entry {
        Entry {
            content,
            wrapped: RefCell::new(None),
        }
    }

    /// When it came here.
    pub(super) fn at(&self) -> Time {
        match &self.content {
            EntryContent::Message(message) => message.received_at,
            EntryContent::Note(note) => note.at,
        }
    }

    pub(super) fn message(&self) -> Option<&MessageLine> {
        match &self.content {
            EntryContent::Message(message) => Some(message),
            EntryContent::Note(_) => None,
        }
    }

    /// Its text in lines of so many columns, kept until another width is asked for.
    pub(super) fn wrapped(
        &self,
        columns: usize,
        wrap: impl FnOnce() -> Vec<String>,
    ) -> Vec<String> {
        let mut wrapped = self.wrapped.borrow_mut();
        match &*wrapped {
            Some((same, lines)) if *same == columns => lines.clone(),
            Some(_) | None => {
                let lines = wrap();
                *wrapped = Some((columns, lines.clone()));
                lines
            }
        }
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let text = match &self.content {
            EntryContent::Message(message) => {
                message.body.text.as_ref().map_or(0, String::len)
                    + message.body.bytes.as_ref().map_or(0, |b| b.0.len())
            }
            EntryContent::Note(note) => note.text.len(),
        };
        text + size_of::<Entry>()
    }
}
