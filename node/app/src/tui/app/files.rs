//! Files: offered, fetched, listed, ended; and paths that are completed.

use hobnob::protocol::Target;
use hobnob::protocol::text::visible;
use hobnob::{ConversationRef, MessageId};
use hobnob_control::wire::{AcceptFile, DeclineFile, FileLine, OfferFile, Text, WaitOptions};

use super::{About, App, Doing, Output, Tone};
use crate::shared::actions;
use crate::shared::chat_input::{To, addressed};
use crate::shared::typed_path::{self, PathWord};
use crate::shared::{offers, wording};
use crate::tui::completion::Completion;
use crate::tui::text::fit;
use crate::tui::transfers::{File, Transfer};

/// Columns of a name in a list.
const NAME_MAX: usize = 30;

impl App {
    /// The answer comes once the file has been read, which may take a while.
    pub(super) fn offer(&mut self, word: &PathWord) {
        let path = self.places.path(word);
        let said = format!("[offers {}]", typed_path::shown(&path));
        let (target, room) = match &self.conversation().of {
            ConversationRef::Direct(peer) => (Some(Text(Target::Id(*peer))), None),
            ConversationRef::Room(room) => (None, Some(Text(room.clone()))),
        };
        self.say_pending(
            said,
            Doing::Reading,
            OfferFile {
                target,
                room,
                path,
                options: WaitOptions::ON_DISK,
            }
            .into(),
        );
    }

    /// Offers it in a conversation that need not be the open one.
    pub(super) fn offer_to(&mut self, to: To, word: &PathWord) {
        let path = self.places.path(word);
        let said = format!("[offers {}]", typed_path::shown(&path));
        let (target, room) = to.fields();
        self.ask(
            OfferFile {
                target,
                room,
                path,
                options: WaitOptions::ON_DISK,
            },
            About::Told(said),
        );
    }

    pub(super) fn accept(&mut self, word: Option<&str>) {
        match self.file_meant(word, "accept", offers::waits_for_answer) {
            Ok(offer) => self.ask(AcceptFile { offer: Text(offer) }, About::Decided),
            Err(error) => self.note(Tone::Warning, error),
        }
    }

    pub(super) fn decline(&mut self, word: Option<&str>) {
        match self.file_meant(word, "decline", offers::can_end) {
            Ok(offer) => self.ask(DeclineFile { offer: Text(offer) }, About::Decided),
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

    /// Those of the conversation that is open.
    pub(super) fn files_here(&self) -> Vec<&File> {
        self.files.of_conversation(&self.conversation().of)
    }

    /// What moves in the conversation that is open.
    pub(in crate::tui) fn transfers(&self) -> Vec<Transfer<'_>> {
        self.files.transfers(self.now, &self.conversation().of)
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
            let state = file.state(self.now, &self.people.names);
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
            vec!["no file was offered here: /send PATH offers one".to_owned()]
        } else {
            wording::columns(&rows)
        }
    }

    /// Ids that can stand behind `/accept`, and behind `/decline`; the newest first.
    pub(super) fn ids_of_files(&self) -> [Vec<String>; 2] {
        let ids = |fits: fn(&FileLine) -> bool| {
            let here = self
                .files_here()
                .into_iter()
                .rev()
                .filter(|file| fits(&file.line));
            here.map(|file| offers::short(file.line.id.0)).collect()
        };
        [ids(offers::waits_for_answer), ids(offers::can_end)]
    }

    /// Whether a speed is shown that may have to go.
    pub(super) fn may_come_to_rest(&self) -> bool {
        self.files.any_moves(&self.conversation().of)
    }

    /// The path before the cursor is to be completed; where it is, the disk tells. Whether there is
    /// one.
    pub(super) fn complete_path(&mut self, forth: bool) -> bool {
        let Some(start) = path_start(self.editor.before_cursor()) else {
            return false;
        };
        let typed = self.editor.before_cursor()[start..].to_owned();
        let word = PathWord::begun(&typed);
        let (folder, name) = word.folder_and_name();
        let path = self.places.path(&folder);
        self.outputs.push_back(Output::List {
            path,
            start: name.to_owned(),
            folder,
            typed,
            forth,
        });
        true
    }

    /// Names of the folder have come that begin as what was typed.
    pub(super) fn take_names(
        &mut self,
        folder: &PathWord,
        names: &[String],
        typed: &str,
        forth: bool,
    ) {
        let before = self.editor.before_cursor();
        let Some(start) = path_start(before).filter(|start| before[*start..] == *typed) else {
            return;
        };
        let paths: Vec<String> = names.iter().map(|name| folder.with(name).typed()).collect();
        let shared = shared_start(names);
        let longer = folder.with(shared).typed();
        if paths.len() == 1
            || (!shared.is_empty() && longer.len() > typed.len() && longer.starts_with(typed))
        {
            return self.editor.replace_before(start, &longer);
        }
        self.completion = Completion::among(start, paths);
        self.show_completion(forth);
    }
}

/// Where the path begins that a command takes, if one is being typed.
fn path_start(before: &str) -> Option<usize> {
    let (command, rest) = before.strip_prefix('/')?.split_once(' ')?;
    actions::find_in_chat(command).filter(|action| action.takes().ends_with("PATH"))?;
    let rest = rest.trim_start();
    match addressed(rest) {
        // Without a space behind it, it is the conversation that is being typed.
        (Some(to), _) if to.len() == rest.len() => None,
        (_, path) => Some(before.len() - path.len()),
    }
}

/// How all of them begin.
fn shared_start(names: &[String]) -> &str {
    let Some(first) = names.first() else {
        return "";
    };
    let shared = |name: &String| {
        first
            .char_indices()
            .zip(name.chars())
            .find(|((_, a), b)| a != b)
            .map_or(name.len(), |((at, _), _)| at)
    };
    let len = names
        .iter()
        .map(|name| shared(name).min(first.len()))
        .min()
        .unwrap_or(0);
    first.get(..len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_behind_the_command_and_the_conversation() {
        for (before, path) in [
            ("/send my f", Some("my f")),
            ("/send ", Some("")),
            ("/send @bob my f", Some("my f")),
            ("/send @bob my ", Some("my ")),
            ("/send #ops ", Some("")),
            ("/send @bo", None),
            ("/send", None),
            ("/msg bob /etc", None),
            ("see /send x", None),
        ] {
            assert_eq!(
                path_start(before).map(|start| &before[start..]),
                path,
                "{before}"
            );
        }
    }

    #[test]
    fn names_share_whole_letters() {
        for (names, shared) in [
            (vec!["abc", "abd"], "ab"),
            (vec!["é1", "è1"], ""),
            (vec!["日本", "日食"], "日"),
            (vec!["a", "abc"], "a"),
            (vec!["abc", "a"], "a"),
            (vec!["one"], "one"),
            (vec![], ""),
        ] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            assert_eq!(shared_start(&names), shared, "{names:?}");
        }
    }
}
