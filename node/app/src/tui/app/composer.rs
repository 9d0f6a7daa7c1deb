//! The line that the user types, and its completion with the Tab key.
//!
//! The editor itself is in `editor`. Names of files are on the disk, so completing a path takes
//! two steps: the composer asks for a [`FolderLookup`] and later receives the names.

use std::path::PathBuf;

use super::completion::{Choices, Completion};
use super::editor::{Edit, Editor};
use super::path_completion;
use crate::shared::typed_path::{PathWord, Places};

/// A question to the disk: which names in a folder begin with `start`?
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FolderLookup {
    /// The folder as the user typed it.
    pub(crate) folder: PathWord,
    /// Where the folder is.
    pub(crate) path: PathBuf,
    pub(crate) start: String,
    /// The whole path before the cursor. The answer is void if it has changed meanwhile.
    pub(crate) typed: String,
    /// Whether to show the first candidate, or the last.
    pub(crate) forward: bool,
}

/// What has become of text from the clipboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pasted {
    /// The number of lines of the whole text that Enter sends.
    pub(crate) lines: usize,
    /// The number of pasted characters for which there was no room.
    pub(crate) left_out: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Composer {
    editor: Editor,
    completion: Option<Completion>,
    /// The folders that typed paths are relative to.
    places: Places,
}

impl Composer {
    pub(super) fn new(places: Places) -> Composer {
        Composer {
            editor: Editor::default(),
            completion: None,
            places,
        }
    }

    pub(crate) fn editor(&self) -> &Editor {
        &self.editor
    }

    pub(crate) fn text(&self) -> &str {
        self.editor.text()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.editor.is_empty()
    }

    /// The absolute path that a typed one means.
    pub(super) fn path(&self, word: &PathWord) -> PathBuf {
        self.places.path(word)
    }

    pub(super) fn edit(&mut self, edit: Edit) {
        self.editor.edit(edit);
    }

    /// Recalls the line before, or moves up inside a text of several lines.
    pub(super) fn up(&mut self) {
        self.editor.up();
    }

    /// The opposite of [`Composer::up`].
    pub(super) fn down(&mut self) {
        self.editor.down();
    }

    /// Inserts text from the clipboard.
    pub(super) fn paste(&mut self, text: &str) -> Pasted {
        self.completion = None;
        // A line break at the end was copied by accident.
        let text = text.trim_end_matches(['\r', '\n']);
        // Pasted code must not run as a command: a second slash makes it a message. A single line
        // that begins with one slash may well be a command that somebody sent.
        let is_code =
            text.starts_with("//") || (text.starts_with('/') && text.contains(['\r', '\n']));
        if self.editor.is_empty() && is_code {
            self.editor.insert("/");
        }
        let left_out = self.editor.insert(text);
        Pasted {
            lines: self.editor.text().split('\n').count(),
            left_out,
        }
    }

    /// Empties the line, which joins the history.
    pub(super) fn clear(&mut self) {
        self.editor.take();
    }

    /// Adds the lines of earlier chats, the oldest first, to those that Up recalls.
    pub(super) fn recall(&mut self, lines: Vec<String>) {
        self.editor.prepend(lines);
    }

    /// Replaces the line by the draft of another conversation.
    pub(super) fn set_draft(&mut self, draft: String) {
        self.editor.set(draft);
    }

    /// A key other than Tab was pressed: the next Tab begins anew.
    pub(super) fn end_completion(&mut self) {
        self.completion = None;
    }

    /// The user pressed Tab: completes the word before the cursor, or shows the next candidate.
    /// For a path, returns the question to the disk instead.
    pub(super) fn complete(
        &mut self,
        forward: bool,
        choices: impl FnOnce() -> Choices,
    ) -> Option<FolderLookup> {
        if self.completion.is_none() {
            if let Some(lookup) = self.folder_lookup(forward) {
                return Some(lookup);
            }
            self.completion = Completion::of(self.editor.before_cursor(), &choices());
        }
        self.show_candidate(forward);
        None
    }

    fn folder_lookup(&self, forward: bool) -> Option<FolderLookup> {
        let before = self.editor.before_cursor();
        let typed = &before[path_completion::start(before)?..];
        let word = PathWord::begun(typed);
        let (folder, name) = word.folder_and_name();
        Some(FolderLookup {
            path: self.places.path(&folder),
            start: name.to_owned(),
            folder,
            typed: typed.to_owned(),
            forward,
        })
    }

    /// Completes the path with the names that were found in its folder.
    pub(super) fn take_names(&mut self, lookup: &FolderLookup, names: &[String]) {
        let before = self.editor.before_cursor();
        let start = path_completion::start(before).filter(|at| before[*at..] == *lookup.typed);
        let Some(start) = start else {
            // The user has typed on meanwhile.
            return;
        };
        let paths: Vec<String> = names
            .iter()
            .map(|name| lookup.folder.with(name).typed())
            .collect();
        let shared = path_completion::shared_start(names);
        let longer = lookup.folder.with(shared).typed();
        let is_longer = longer.len() > lookup.typed.len() && longer.starts_with(&lookup.typed);
        if paths.len() == 1 || (!shared.is_empty() && is_longer) {
            return self.editor.replace_before(start, &longer);
        }
        self.completion = Completion::among(start, paths);
        self.show_candidate(lookup.forward);
    }

    fn show_candidate(&mut self, forward: bool) {
        if let Some(completion) = &mut self.completion {
            let start = completion.start();
            let word = if forward {
                completion.next()
            } else {
                completion.previous()
            };
            self.editor.replace_before(start, word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composer(typed: &str) -> Composer {
        let mut composer = Composer::new(Places {
            folder: "/home/ann/work".into(),
            home: Some("/home/ann".into()),
        });
        composer.edit(Edit::Insert(typed.to_owned()));
        composer
    }

    fn choices() -> Choices {
        Choices {
            names: vec!["bob".into(), "bea".into()],
            ..Choices::default()
        }
    }

    #[test]
    fn each_tab_shows_the_next_name_until_another_key() {
        let mut composer = composer("b");
        let mut after_tab = |forward| {
            assert_eq!(composer.complete(forward, choices), None);
            composer.text().to_owned()
        };
        assert_eq!(after_tab(true), "bob: ");
        assert_eq!(after_tab(true), "bea: ");
        assert_eq!(after_tab(false), "bob: ");
        composer.end_completion();
        composer.complete(true, choices);
        assert_eq!(composer.text(), "bob: bob ");
    }

    #[test]
    fn a_path_is_completed_in_two_steps() {
        let mut composer = composer("/send ~/my pic");
        let lookup = composer.complete(true, Choices::default).unwrap();
        assert_eq!(
            (lookup.path.as_path(), lookup.start.as_str()),
            ("/home/ann".as_ref(), "my pic")
        );
        composer.take_names(&lookup, &["my picture.png".into()]);
        assert_eq!(composer.text(), "/send ~/my picture.png");
        // The same answer a second time is about a path that is no longer there.
        composer.take_names(&lookup, &["my pick".into()]);
        assert_eq!(composer.text(), "/send ~/my picture.png");
    }

    #[test]
    fn pasted_code_is_not_a_command() {
        for (pasted, text) in [
            ("/* two\nlines */\n", "//* two\nlines */"),
            ("// a comment", "/// a comment"),
            ("/me waves\n", "/me waves"),
        ] {
            let mut composer = composer("");
            let expected = Pasted {
                lines: text.split('\n').count(),
                left_out: 0,
            };
            assert_eq!(composer.paste(pasted), expected);
            assert_eq!(composer.text(), text);
        }
    }
}
