//! Lists the links of the open conversation, and opens or copies the chosen one.

use super::links::Links;
use super::screen::{Hint, Mode};
use super::{App, Output, Tone};

impl App {
    /// Alt-o: shows the links of the messages that are in memory.
    pub(super) fn list_links(&mut self) {
        match Links::of(self.conversations.window().entries().iter()) {
            Some(links) => self.screen.set_mode(Mode::Links(links)),
            None => self
                .screen
                .set_hint(Some(Hint::Text("there are no links here"))),
        }
    }

    pub(super) fn choose_link(&mut self, older: bool) {
        if let Mode::Links(links) = self.screen.mode_mut() {
            links.choose(older);
        }
    }

    /// Opens the chosen link, or copies it.
    pub(super) fn use_link(&mut self, open: bool) {
        let Mode::Links(links) = self.screen.mode() else {
            unreachable!("only the list of links has such actions");
        };
        let address = links.address();
        self.screen.set_mode(Mode::Chat);
        if open {
            self.outputs.push_back(Output::OpenLink(address));
        } else {
            self.outputs.push_back(Output::Copy(address));
            self.screen.set_hint(Some(Hint::Text(
                "copied, if this terminal lets programs copy",
            )));
        }
    }

    /// No program of this machine opens links.
    pub(super) fn link_failed(&mut self, why: &str) {
        let words = format!("can't open the link here: {why}. Alt-o and c copy it");
        self.note(Tone::Warning, words);
    }
}
