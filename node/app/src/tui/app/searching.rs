//! How the chat uses a search: opens it, sends its queries, and goes to the chosen message.

use hobnob_control::wire::{HistoryFilter, MessageList, Text};

use super::screen::Mode;
use super::search::Search;
use super::{App, Tone};
use crate::shared::alerting;

/// Maximum number of messages that one search shows: the newest ones.
const FOUND_MAX: usize = 100;

impl App {
    /// Opens the search, with these words.
    pub(super) fn search(&mut self, words: &str) {
        let mut search = Search::default();
        search.insert(words);
        self.screen.set_mode(Mode::Search(search));
        self.send_query();
    }

    /// Sends the next query, if there is one.
    pub(super) fn send_query(&mut self) {
        let Mode::Search(search) = self.screen.mode_mut() else {
            // The user has left the search before the answer arrived.
            return;
        };
        let Some(words) = search.next_query() else {
            return;
        };
        let filter = HistoryFilter {
            conversation: Some(Text(self.conversations.current().of().clone())),
            search: Some(words.clone()),
            limit: Some(FOUND_MAX),
            ..HistoryFilter::default()
        };
        self.ask(filter, move |app, list| app.take_found(&words, list));
    }

    fn take_found(&mut self, words: &str, list: MessageList) {
        if let Mode::Search(search) = self.screen.mode_mut() {
            search.take_found(words, list.messages);
        }
        // The user may have typed on while the query was waiting.
        self.send_query();
    }

    /// Goes to the newest message that mentions the user, or to the one before the one that is
    /// highlighted.
    pub(super) fn open_mention(&mut self) {
        let before = self.conversations.highlighted();
        let filter = HistoryFilter {
            before: before.map(Text),
            limit: Some(1),
            ..alerting::mentions()
        };
        self.ask(filter, move |app, list: MessageList| {
            let Some(message) = list.messages.into_iter().next() else {
                return app.note(
                    Tone::Info,
                    match before {
                        Some(_) => "no earlier message mentions you: Esc goes back to the newest",
                        None => alerting::NO_MENTIONS,
                    },
                );
            };
            let of = message.conversation.0.clone();
            app.screen.set_mode(Mode::Chat);
            app.open(&of);
            app.conversations.show_found(message);
        });
    }

    /// Shows the chosen message among those around it.
    pub(super) fn open_found(&mut self) {
        let Mode::Search(search) = self.screen.mode() else {
            unreachable!("only the search mode opens what it found");
        };
        if let Some(message) = search.chosen().cloned() {
            self.conversations.show_found(message);
            self.screen.set_mode(Mode::Chat);
        }
    }
}
