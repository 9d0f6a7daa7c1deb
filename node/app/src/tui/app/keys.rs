//! What the keys do.

use std::collections::BTreeSet;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use hobnob::ConversationRef;
use hobnob::protocol::PeerId;

use super::{About, App, Hint, Mode, Output};
use crate::shared::wording::Names;
use crate::tui::completion::{Choices, Completion};
use crate::tui::editor::{Editor, Motion};
use crate::tui::window::PageDirection;

/// Rows that one turn of the wheel scrolls.
const WHEEL_ROWS: usize = 3;

/// Within what time a second Ctrl-c or Ctrl-d ends the chat.
const TWICE_WITHIN_MS: u64 = 2_000;

/// The keys, for whoever presses F1.
pub(crate) const KEYS: &[(&str, &str)] = &[
    (
        "Enter",
        "send what is typed; a line that begins with / is a command",
    ),
    ("Alt-Enter, Ctrl-j", "a new line in the message"),
    (
        "Tab, Shift-Tab",
        "complete a command, a room, a name, a path or an id",
    ),
    ("Up, Down", "what you typed before"),
    (
        "PgUp, PgDn",
        "scroll; Alt-Home, Alt-End: to the first message, to the newest",
    ),
    (
        "Alt-1 … Alt-9, Alt-j 10",
        "go to that conversation: one digit, or two behind Alt-j",
    ),
    ("Ctrl-n, Ctrl-p", "next, previous conversation"),
    ("Alt-a", "next conversation with something unread"),
    ("Ctrl-r", "search this conversation"),
    ("Ctrl-a, Ctrl-e", "start, end of the line"),
    (
        "Ctrl-b, Ctrl-f, Alt-b, Alt-f",
        "a character, a word back or forth",
    ),
    (
        "Ctrl-k, Ctrl-u, Ctrl-w, Alt-d",
        "cut to the end, to the start, the word before, the word after",
    ),
    (
        "Ctrl-y, Ctrl-t",
        "put back what was cut; swap two characters",
    ),
    ("Ctrl-_", "undo, in what is being typed"),
    ("F2, F3", "fold the conversations, the people"),
    (
        "F4",
        "let the mouse wheel scroll (then Shift selects text), or not",
    ),
    ("Ctrl-l", "draw the screen anew"),
    ("F1, Esc", "this help; back to the chat"),
    ("Ctrl-c twice", "end (Ctrl-d and /quit too)"),
];

/// What a key does to a line that is being typed.
enum Edit {
    Go(Motion),
    Delete(Motion),
    Yank,
    Transpose,
    Undo,
    Type(char),
}

impl App {
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        self.hint = None;
        let jump = self.jump.take();
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        if !matches!(key.code, KeyCode::Tab | KeyCode::BackTab) {
            self.completion = None;
        }
        match (ctrl, alt, key.code) {
            (true, false, KeyCode::Char('c')) => self.interrupt(),
            (true, false, KeyCode::Char('l')) => self.outputs.push_back(Output::Repaint),
            (_, _, KeyCode::F(n)) => self.function_key(n),
            (false, false, KeyCode::Char(digit @ '0'..='9')) if jump.is_some() => {
                self.jump(jump.flatten(), digit)
            }
            (false, true, KeyCode::Char('j')) => self.jump_on(None),
            (false, true, KeyCode::Char(digit @ '1'..='9')) => {
                self.go_to(usize::from(digit as u8 - b'1'))
            }
            (false, true, KeyCode::Char('a')) => self.next_unread(),
            (true, false, KeyCode::Char('n')) => self.step(1),
            (true, false, KeyCode::Char('p')) => self.step(self.conversations.len() - 1),
            (ctrl, alt, code) => match self.mode {
                Mode::Chat => self.chat_key(ctrl, alt, code),
                Mode::Search(_) => self.search_key(ctrl, alt, code),
                Mode::Help(_) => self.help_key(ctrl, alt, code),
            },
        }
    }

    pub(super) fn paste(&mut self, text: &str) {
        self.completion = None;
        match &mut self.mode {
            Mode::Search(search) => search.words.insert(&text.replace('\n', " ")),
            Mode::Chat | Mode::Help(_) => {
                // The line break at the end of what was copied is no part of it.
                let text = text.trim_end_matches(['\r', '\n']);
                // A piece of code is no command, and keeps its slashes; one line may well be a
                // command that somebody sent.
                if self.editor.is_empty()
                    && (text.starts_with("//")
                        || (text.starts_with('/') && text.contains(['\r', '\n'])))
                {
                    self.editor.insert("/");
                }
                self.editor.insert(text);
                // Few of them may be seen.
                let lines = self.editor.text().split('\n').count();
                self.hint = (lines > 1).then_some(Hint::Pasted(lines));
            }
        }
        self.search_on();
    }

    pub(super) fn wheel(&mut self, up: bool) {
        match &mut self.mode {
            Mode::Chat => self.scroll(up, WHEEL_ROWS),
            Mode::Search(search) => search.choose(up),
            Mode::Help(scrolled) => *scrolled = turned(*scrolled, up, WHEEL_ROWS),
        }
    }

    /// What comes while nobody looks is unread from its first message on.
    pub(super) fn focus(&mut self, focused: bool) {
        self.focused = focused;
        if !focused {
            self.conversations[self.current].first_unread = None;
        }
    }

    fn chat_key(&mut self, ctrl: bool, alt: bool, code: KeyCode) {
        let page = self.layout().rows().saturating_sub(2).max(1);
        match (ctrl, alt, code) {
            (_, true, KeyCode::Enter) | (true, _, KeyCode::Char('j')) => self.editor.insert("\n"),
            (_, _, KeyCode::Enter) => self.enter(),
            (_, _, KeyCode::Tab) => self.complete(true),
            (_, _, KeyCode::BackTab) => self.complete(false),
            (_, _, KeyCode::Up) => self.editor.up(),
            (_, _, KeyCode::Down) => self.editor.down(),
            (_, _, KeyCode::PageUp) => self.scroll(true, page),
            (_, _, KeyCode::PageDown) => self.scroll(false, page),
            (true, _, KeyCode::Home) | (_, true, KeyCode::Home) => self.show_oldest(),
            (true, _, KeyCode::End) | (_, true, KeyCode::End) => self.show_newest(),
            (_, _, KeyCode::Esc) => self.show_newest(),
            (true, false, KeyCode::Char('r')) => self.search(""),
            (true, false, KeyCode::Char('d')) if self.editor.is_empty() => self.interrupt(),
            (ctrl, alt, code) => edit(&mut self.editor, ctrl, alt, code),
        }
    }

    fn search_key(&mut self, ctrl: bool, alt: bool, code: KeyCode) {
        let Mode::Search(search) = &mut self.mode else {
            return;
        };
        match (ctrl, alt, code) {
            (_, _, KeyCode::Esc) | (true, false, KeyCode::Char('g')) => self.mode = Mode::Chat,
            (_, _, KeyCode::Enter) => self.go_to_found(),
            (_, _, KeyCode::Up) | (true, false, KeyCode::Char('r')) => search.choose(true),
            (_, _, KeyCode::Down) | (true, false, KeyCode::Char('s')) => search.choose(false),
            (ctrl, alt, code) => {
                edit(&mut search.words, ctrl, alt, code);
                self.search_on();
            }
        }
    }

    /// Turns pages. What begins a message ends the help, and is not lost.
    fn help_key(&mut self, ctrl: bool, alt: bool, code: KeyCode) {
        let page = self.layout().rows().saturating_sub(1).max(1);
        let Mode::Help(scrolled) = &mut self.mode else {
            return;
        };
        match (code,) {
            (KeyCode::Up,) => *scrolled = turned(*scrolled, true, 1),
            (KeyCode::Down,) => *scrolled = turned(*scrolled, false, 1),
            (KeyCode::PageUp,) => *scrolled = turned(*scrolled, true, page),
            (KeyCode::PageDown | KeyCode::Char(' '),) => *scrolled = turned(*scrolled, false, page),
            (KeyCode::Char(_),) => {
                self.mode = Mode::Chat;
                self.chat_key(ctrl, alt, code);
            }
            (_,) => self.mode = Mode::Chat,
        }
    }

    fn function_key(&mut self, number: u8) {
        let layout = self.layout();
        match number {
            1 if matches!(self.mode, Mode::Help(_)) => self.mode = Mode::Chat,
            1 => self.mode = Mode::Help(0),
            2 => self.sidebars.left = Some(layout.left.is_none()),
            3 => self.sidebars.right = Some(layout.right.is_none()),
            4 => {
                self.mouse = !self.mouse;
                self.outputs.push_back(Output::CaptureMouse(self.mouse));
                let hint = if self.mouse {
                    "the wheel scrolls; Shift and the mouse select text"
                } else {
                    "the mouse selects text"
                };
                self.hint = Some(Hint::Words(hint));
            }
            _ => {}
        }
    }

    /// Once clears the line, or says how to end; twice ends.
    fn interrupt(&mut self) {
        if !matches!(self.mode, Mode::Chat) {
            return self.mode = Mode::Chat;
        }
        if !self.editor.is_empty() {
            self.editor.take();
            return;
        }
        if self.now.0.saturating_sub(self.interrupted_at.0) < TWICE_WITHIN_MS {
            return self.outputs.push_back(Output::Quit);
        }
        self.interrupted_at = self.now;
        self.hint = Some(Hint::Words("once more ends hobnob"));
    }

    /// A digit behind Alt-j: the first, or the second.
    fn jump(&mut self, tens: Option<usize>, digit: char) {
        let digit = usize::from(digit as u8 - b'0');
        match tens {
            None => self.jump_on(Some(digit)),
            Some(tens) => self.go_to((10 * tens + digit).wrapping_sub(1)),
        }
    }

    fn jump_on(&mut self, tens: Option<usize>) {
        self.jump = Some(tens);
        self.hint = Some(Hint::Words("to which conversation? two digits"));
    }

    fn step(&mut self, by: usize) {
        self.go_to((self.current + by) % self.conversations.len());
    }

    /// The next after this one in the list, those first that concern this user.
    fn next_unread(&mut self) {
        let count = self.conversations.len();
        let after = |index: usize| (index + count - self.current) % count;
        let unread = (0..count).filter(|index| self.conversations[*index].unread > 0);
        if let Some(index) =
            unread.min_by_key(|index| (!self.conversations[*index].loud, after(*index)))
        {
            self.go_to(index);
        }
    }

    fn show_oldest(&mut self) {
        let (request, filter) = self.window.begin(PageDirection::Oldest);
        self.ask(filter, About::Page(request));
    }

    fn complete(&mut self, forth: bool) {
        if self.completion.is_none() {
            if self.complete_path(forth) {
                return;
            }
            self.completion = Completion::of(self.editor.before_cursor(), &self.choices());
        }
        self.show_completion(forth);
    }

    pub(super) fn show_completion(&mut self, forth: bool) {
        let Some(completion) = &mut self.completion else {
            return;
        };
        let start = completion.start;
        let word = if forth {
            completion.next()
        } else {
            completion.previous()
        };
        self.editor.replace_before(start, word);
    }

    fn choices(&self) -> Choices {
        let rooms = self
            .conversations
            .iter()
            .filter_map(|conversation| match &conversation.of {
                ConversationRef::Room(room) => Some(room.to_string()),
                ConversationRef::Direct(_) => None,
            });
        let people = self.people_by_speech();
        let names: &Names = &self.people.names;
        let target = |peer: &PeerId| {
            let name = names.of(peer);
            if name.contains(char::is_whitespace) {
                peer.short()
            } else {
                name
            }
        };
        let [accepted, declined] = self.ids_of_files();
        Choices {
            rooms: rooms.collect(),
            names: people.iter().map(|peer| names.of(peer)).collect(),
            targets: people.iter().map(target).collect(),
            accepted,
            declined,
        }
    }

    /// Who spoke here last; who is here; everybody else who is known.
    fn people_by_speech(&self) -> Vec<PeerId> {
        let spoke = self.conversation().speakers.iter().copied();
        let online = self.people.online().map(|peer| peer.peer.0);
        let mut seen = BTreeSet::new();
        let all = spoke
            .chain(self.people_here())
            .chain(online)
            .chain(self.people.peers.keys().copied());
        all.filter(|peer| seen.insert(*peer)).collect()
    }
}

/// The keys of readline; whatever else is no text does nothing.
fn edit(editor: &mut Editor, ctrl: bool, alt: bool, code: KeyCode) {
    let edit = match (ctrl, alt, code) {
        (true, false, KeyCode::Char('a')) | (_, _, KeyCode::Home) => Edit::Go(Motion::Start),
        (true, false, KeyCode::Char('e')) | (_, _, KeyCode::End) => Edit::Go(Motion::End),
        (true, false, KeyCode::Char('b')) | (false, false, KeyCode::Left) => Edit::Go(Motion::Left),
        (true, false, KeyCode::Char('f')) | (false, false, KeyCode::Right) => {
            Edit::Go(Motion::Right)
        }
        (false, true, KeyCode::Char('b')) | (_, _, KeyCode::Left) => Edit::Go(Motion::WordLeft),
        (false, true, KeyCode::Char('f')) | (_, _, KeyCode::Right) => Edit::Go(Motion::WordRight),
        (true, false, KeyCode::Char('h')) | (false, false, KeyCode::Backspace) => {
            Edit::Delete(Motion::Left)
        }
        (true, false, KeyCode::Char('d')) | (_, _, KeyCode::Delete) => Edit::Delete(Motion::Right),
        (_, _, KeyCode::Backspace) => Edit::Delete(Motion::WordLeft),
        (false, true, KeyCode::Char('d')) => Edit::Delete(Motion::WordRight),
        (true, false, KeyCode::Char('w')) => Edit::Delete(Motion::BlankLeft),
        (true, false, KeyCode::Char('u')) => Edit::Delete(Motion::Start),
        (true, false, KeyCode::Char('k')) => Edit::Delete(Motion::End),
        (true, false, KeyCode::Char('y')) => Edit::Yank,
        (true, false, KeyCode::Char('t')) => Edit::Transpose,
        // Most terminals send the same for Ctrl-_, Ctrl-/ and Ctrl-7.
        (true, false, KeyCode::Char('_' | '/' | '7')) => Edit::Undo,
        (false, false, KeyCode::Char(c)) => Edit::Type(c),
        // AltGr comes as both on some keyboards.
        (true, true, KeyCode::Char(c)) => Edit::Type(c),
        (_, _, _) => return,
    };
    match edit {
        Edit::Go(motion) => editor.go(motion),
        Edit::Delete(motion) => editor.delete(motion),
        Edit::Yank => editor.yank(),
        Edit::Transpose => editor.transpose(),
        Edit::Undo => editor.undo(),
        Edit::Type(c) => editor.insert(c.encode_utf8(&mut [0; 4])),
    }
}

/// What goes to the conversation at this place of the list.
pub(super) fn key_of(index: usize) -> String {
    if index < 9 {
        format!("Alt-{}", index + 1)
    } else {
        format!("Alt-j {}", index + 1)
    }
}

fn turned(scrolled: usize, up: bool, by: usize) -> usize {
    if up {
        scrolled.saturating_sub(by)
    } else {
        scrolled.saturating_add(by)
    }
}
