//! Searching a conversation: what is asked, what was found, which of it is chosen.

use hobnob_control::wire::{HistoryFilter, MessageLine, Text};

use super::{About, App, Mode};
use crate::tui::editor::Editor;
use crate::tui::window::Window;

/// Messages that one search shows at most: the newest.
const FOUND_MAX: usize = 100;

/// A search under way.
#[derive(Debug, Default)]
pub(crate) struct Search {
    pub(crate) words: Editor,
    /// Oldest first.
    pub(crate) found: Vec<MessageLine>,
    /// How many from the newest on.
    pub(crate) chosen: usize,
    /// What was asked last; none before the first letter.
    asked: Option<String>,
    waiting: bool,
}

impl Search {
    /// Takes the answer about these words.
    pub(super) fn found(&mut self, words: &str, found: Vec<MessageLine>) {
        self.waiting = false;
        self.found = found;
        if self.asked.as_deref() == Some(words) {
            self.chosen = self.chosen.min(self.found.len().saturating_sub(1));
        }
    }

    pub(super) fn choose(&mut self, older: bool) {
        let last = self.found.len().saturating_sub(1);
        self.chosen = if older {
            (self.chosen + 1).min(last)
        } else {
            self.chosen.saturating_sub(1)
        };
    }

    /// The message that is chosen.
    pub(crate) fn choice(&self) -> Option<&MessageLine> {
        self.found.iter().rev().nth(self.chosen)
    }

    /// Whether the answer to what is typed is here.
    pub(crate) fn is_answered(&self) -> bool {
        !self.waiting && self.asked.as_deref() == Some(self.words.text())
    }
}

impl App {
    pub(super) fn search(&mut self, words: &str) {
        let mut search = Search::default();
        search.words.insert(words);
        self.mode = Mode::Search(search);
        self.search_on();
    }

    /// Asks about what is typed now, one request after the other.
    pub(super) fn search_on(&mut self) {
        let conversation = Some(Text(self.conversation().of.clone()));
        let Mode::Search(search) = &mut self.mode else {
            return;
        };
        let words = search.words.text().to_owned();
        if search.waiting || search.asked.as_ref() == Some(&words) {
            return;
        }
        search.chosen = 0;
        search.asked = Some(words.clone());
        if words.trim().is_empty() {
            return search.found.clear();
        }
        search.waiting = true;
        let filter = HistoryFilter {
            conversation,
            search: Some(words.clone()),
            limit: Some(FOUND_MAX),
            ..HistoryFilter::default()
        };
        self.ask(filter, About::Search(words));
    }

    /// Shows the chosen message where it was said.
    pub(super) fn go_to_found(&mut self) {
        let Mode::Search(search) = &self.mode else {
            return;
        };
        let Some(message) = search.choice().cloned() else {
            return;
        };
        self.found = Some(message.id.0);
        self.window = Window::around(message, self.window.requests());
        self.mode = Mode::Chat;
    }
}
