//! Carries out the commands about files: `/send`, `/accept`, `/decline` and `/files`.

use hobnob::MessageId;
use hobnob::protocol::text::visible;
use hobnob_control::wire::{
    AcceptFile, DeclineFile, Done, FileLine, OfferFile, PauseFile, Text, WaitOptions,
};

use super::transfers::File;
use super::{App, Doing, Tone};
use crate::shared::chat_input::To;
use crate::shared::typed_path::{self, PathWord};
use crate::shared::{offers, wording};
use crate::tui::text::fit;

/// Maximum number of columns of a name in a list.
const NAME_MAX: usize = 30;

impl App {
    /// Offers a file in the open conversation. The node answers once it has read the file, which
    /// may take a while.
    pub(super) fn offer(&mut self, word: &PathWord) {
        let path = self.composer.path(word);
        let said = format!("[offers {}]", typed_path::shown(&path));
        let conversation = self.conversations.current().of().clone();
        let request = OfferFile::new(conversation, path);
        self.say_pending(said, Doing::Reading, request);
    }

    /// Offers a file in another conversation.
    pub(super) fn offer_to(&mut self, to: To, word: &PathWord) {
        let path = self.composer.path(word);
        let said = format!("[offers {}]", typed_path::shown(&path));
        let (target, room) = to.fields();
        self.ask(
            OfferFile {
                caption: String::new(),
                client_id: None,
                target,
                room,
                path,
                options: WaitOptions::ON_DISK,
            },
            move |app, sent| app.take_said_elsewhere(&said, &sent),
        );
    }

    pub(super) fn accept(&mut self, word: Option<&str>) {
        match self.file_meant(word, "accept", offers::waits_for_answer) {
            Ok(offer) => self.ask(AcceptFile { offer: Text(offer) }, |_, Done {}| {}),
            Err(error) => self.note(Tone::Warning, error),
        }
    }

    pub(super) fn pause(&mut self, word: Option<&str>) {
        match self.file_meant(word, "pause", offers::can_pause) {
            Ok(offer) => self.ask(PauseFile { offer: Text(offer) }, |_, Done {}| {}),
            Err(error) => self.note(Tone::Warning, error),
        }
    }

    pub(super) fn decline(&mut self, word: Option<&str>) {
        match self.file_meant(word, "decline", offers::can_end) {
            Ok(offer) => self.ask(DeclineFile { offer: Text(offer) }, |_, Done {}| {}),
            Err(error) => self.note(Tone::Warning, error),
        }
    }

    fn file_meant(
        &self,
        word: Option<&str>,
        verb: &str,
        fits: fn(&FileLine) -> bool,
    ) -> Result<MessageId, String> {
        offers::meant(
            self.files_here().iter().map(|file| &file.line),
            word,
            verb,
            fits,
        )
    }

    /// The files of the open conversation.
    fn files_here(&self) -> Vec<&File> {
        self.files
            .of_conversation(self.conversations.current().of())
    }

    pub(super) fn list_of_files(&self) -> Vec<String> {
        let row = |file: &&File| {
            let line = &file.line;
            let whose = if line.own {
                "you".to_owned()
            } else {
                self.people.names.of(&line.from.0)
            };
            let size = wording::file_size(line);
            let state = self.file_state(file);
            let state = match line.saved.as_ref().filter(|_| line.own) {
                Some(place) => format!("{state} ({})", visible(&place.display().to_string())),
                None => state,
            };
            [
                offers::short(line.id.0),
                fit(&offers::name(line), NAME_MAX),
                size,
                whose,
                state,
            ]
        };
        let rows: Vec<_> = self.files_here().iter().map(row).collect();
        if rows.is_empty() {
            vec!["nobody has offered a file here: /send PATH offers one".to_owned()]
        } else {
            wording::columns(&rows)
        }
    }
}
