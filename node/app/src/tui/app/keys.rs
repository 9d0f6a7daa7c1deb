//! Which key does what: turns the terminal's key events into [`KeyAction`]s.
//!
//! Carrying out the actions is in `key_actions`.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use hobnob_control::wire::Time;

use super::editor::{Edit, Motion};
use super::screen::Mode;
use crate::shared::key_bindings::{BoundAction, KeyBindings};

/// The help page of the keys: the key, and what it does.
pub(crate) const KEYS: &[(&str, &str)] = &[
    (
        "Enter",
        "Send the message; a line that begins with / is a command",
    ),
    ("Alt-Enter, Ctrl-j", "Start a new line in the message"),
    (
        "Tab, Shift-Tab",
        "Complete a command, a room, a name, a path, an id, or an emoji such as :tada",
    ),
    ("Up, Down", "Recall earlier lines"),
    (
        "PgUp, PgDn",
        "Scroll; Alt-Home, Alt-End: to the first or the newest message",
    ),
    (
        "Alt-1 … Alt-9, Alt-j 10",
        "Open that conversation: one digit, or two after Alt-j",
    ),
    ("Ctrl-n, Ctrl-p", "Open the next or previous conversation"),
    ("Alt-a", "Open the next conversation with unread messages"),
    (
        "Alt-m",
        "Go to the newest message that mentions you; again: to the one before",
    ),
    ("Ctrl-r", "Search this conversation"),
    (
        "Alt-o",
        "List the links here: Enter opens the chosen one, c copies it",
    ),
    ("Ctrl-a, Ctrl-e", "Move to the start or end of the line"),
    (
        "Ctrl-b, Ctrl-f, Alt-b, Alt-f",
        "Move by a character or a word",
    ),
    (
        "Ctrl-k, Ctrl-u, Ctrl-w, Alt-d",
        "Cut to the end, to the start, the word before, the word after",
    ),
    ("Ctrl-y, Ctrl-t", "Insert the cut text; swap two characters"),
    ("Ctrl-_", "Undo the last change of the line"),
    ("F2, F3", "Show or hide the conversations, the people"),
    (
        "F4",
        "Give the mouse wheel to the chat (Shift selects text), or back",
    ),
    ("Ctrl-l", "Redraw the screen"),
    (
        "Ctrl-z",
        "Suspend the chat; `fg` in the shell brings it back",
    ),
    ("F1, Esc", "Show this help; back to the chat"),
    ("Ctrl-c twice", "Quit (also Ctrl-d and /quit)"),
];

/// Time within which a second Ctrl-c or Ctrl-d ends the chat.
const TWICE_WITHIN_MS: u64 = 2_000;

/// The action of a key. The first ones work everywhere, the others in one [`Mode`] only.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyAction {
    /// Ctrl-c.
    Interrupt,
    Repaint,
    /// Ctrl-z.
    Suspend,
    ToggleHelp,
    ToggleConversations,
    TogglePeople,
    ToggleMouse,
    /// Alt-j, or the first digit after it: wait for a digit.
    AwaitDigit,
    /// Open the conversation with this index, which may not exist.
    Open(usize),
    OpenNext,
    OpenPrevious,
    OpenNextUnread,
    /// Alt-m.
    OpenMention,
    /// Alt-o.
    ListLinks,
    Chat(ChatAction),
    Search(SearchAction),
    Links(LinksAction),
    Help(HelpAction),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ChatAction {
    Enter,
    Complete { forward: bool },
    Up,
    Down,
    ScrollPage { up: bool },
    ShowOldest,
    ShowNewest,
    Search,
    Edit(Edit),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum SearchAction {
    Close,
    Open,
    Choose { older: bool },
    Edit(Edit),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum LinksAction {
    Choose { older: bool },
    Open,
    Copy,
    Close,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum HelpAction {
    ScrollRow { up: bool },
    ScrollPage { up: bool },
    Close,
}

/// The keys that were pressed before, as far as the next key depends on them.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Alt-j was pressed, and perhaps the first of two digits.
    jump: Option<Jump>,
    /// When Ctrl-c or Ctrl-d was pressed last on an empty line.
    interrupted_at: Option<Time>,
    /// The keys with other actions than usual.
    bindings: KeyBindings,
}

#[derive(Debug, Clone, Copy)]
enum Jump {
    AfterAlt,
    AfterDigit(usize),
}

impl Keys {
    pub(super) fn new(bindings: KeyBindings) -> Keys {
        Keys {
            bindings,
            ..Keys::default()
        }
    }

    /// The keys with other actions than usual.
    pub(crate) fn bindings(&self) -> &KeyBindings {
        &self.bindings
    }

    /// The action of the key, if it has one. `is_line_empty`: nothing is typed.
    pub(super) fn action(
        &mut self,
        key: KeyEvent,
        mode: &Mode,
        is_line_empty: bool,
    ) -> Option<KeyAction> {
        // Any other key ends the jump.
        let jump = self.jump.take();
        if let Some(action) = self.bindings.action(key) {
            return bound(action);
        }
        let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match (ctrl, alt, key.code) {
            (true, false, KeyCode::Char('c')) => Some(KeyAction::Interrupt),
            (true, false, KeyCode::Char('l')) => Some(KeyAction::Repaint),
            (true, false, KeyCode::Char('z')) => Some(KeyAction::Suspend),
            (_, _, KeyCode::F(number)) => function_key(number),
            (false, false, KeyCode::Char(digit @ '0'..='9')) if jump.is_some() => {
                Some(self.after_jump(jump?, value(digit)))
            }
            (false, true, KeyCode::Char('j')) => Some(self.await_digit(Jump::AfterAlt)),
            (false, true, KeyCode::Char(digit @ '1'..='9')) => {
                Some(KeyAction::Open(value(digit) - 1))
            }
            (false, true, KeyCode::Char('a')) => Some(KeyAction::OpenNextUnread),
            (false, true, KeyCode::Char('m')) => Some(KeyAction::OpenMention),
            (false, true, KeyCode::Char('o')) => Some(KeyAction::ListLinks),
            (true, false, KeyCode::Char('n')) => Some(KeyAction::OpenNext),
            (true, false, KeyCode::Char('p')) => Some(KeyAction::OpenPrevious),
            (ctrl, alt, code) => match mode {
                Mode::Chat => chat_key(ctrl, alt, code, is_line_empty),
                Mode::Search(_) => search_key(ctrl, alt, code).map(KeyAction::Search),
                Mode::Links(_) => links_key(ctrl, alt, code).map(KeyAction::Links),
                Mode::Help(_) => help_key(ctrl, alt, code, is_line_empty),
            },
        }
    }

    /// Ctrl-c on an empty line. Returns whether it is the second one in a short time.
    pub(super) fn interrupt(&mut self, now: Time) -> bool {
        let before = self.interrupted_at.replace(now);
        before.is_some_and(|before| now.0.saturating_sub(before.0) < TWICE_WITHIN_MS)
    }

    fn await_digit(&mut self, jump: Jump) -> KeyAction {
        self.jump = Some(jump);
        KeyAction::AwaitDigit
    }

    fn after_jump(&mut self, jump: Jump, digit: usize) -> KeyAction {
        match jump {
            Jump::AfterAlt => self.await_digit(Jump::AfterDigit(digit)),
            // The first conversation is 01; 00 becomes an index that does not exist.
            Jump::AfterDigit(tens) => KeyAction::Open((10 * tens + digit).wrapping_sub(1)),
        }
    }
}

fn bound(action: BoundAction) -> Option<KeyAction> {
    Some(match action {
        BoundAction::Nothing => return None,
        BoundAction::Help => KeyAction::ToggleHelp,
        BoundAction::Conversations => KeyAction::ToggleConversations,
        BoundAction::People => KeyAction::TogglePeople,
        BoundAction::Mouse => KeyAction::ToggleMouse,
        BoundAction::Next => KeyAction::OpenNext,
        BoundAction::Previous => KeyAction::OpenPrevious,
        BoundAction::NextUnread => KeyAction::OpenNextUnread,
        BoundAction::Mention => KeyAction::OpenMention,
        BoundAction::Links => KeyAction::ListLinks,
        BoundAction::Search => KeyAction::Chat(ChatAction::Search),
        BoundAction::PageUp => KeyAction::Chat(ChatAction::ScrollPage { up: true }),
        BoundAction::PageDown => KeyAction::Chat(ChatAction::ScrollPage { up: false }),
        BoundAction::Oldest => KeyAction::Chat(ChatAction::ShowOldest),
        BoundAction::Newest => KeyAction::Chat(ChatAction::ShowNewest),
        BoundAction::NewLine => KeyAction::Chat(new_line()),
        BoundAction::Redraw => KeyAction::Repaint,
        BoundAction::Suspend => KeyAction::Suspend,
    })
}

fn new_line() -> ChatAction {
    ChatAction::Edit(Edit::Insert("\n".to_owned()))
}

fn value(digit: char) -> usize {
    usize::from(digit as u8 - b'0')
}

fn function_key(number: u8) -> Option<KeyAction> {
    match number {
        1 => Some(KeyAction::ToggleHelp),
        2 => Some(KeyAction::ToggleConversations),
        3 => Some(KeyAction::TogglePeople),
        4 => Some(KeyAction::ToggleMouse),
        _ => None,
    }
}

fn chat_key(ctrl: bool, alt: bool, code: KeyCode, is_line_empty: bool) -> Option<KeyAction> {
    Some(KeyAction::Chat(match (ctrl, alt, code) {
        (_, true, KeyCode::Enter) | (true, _, KeyCode::Char('j')) => new_line(),
        (_, _, KeyCode::Enter) => ChatAction::Enter,
        (_, _, KeyCode::Tab) => ChatAction::Complete { forward: true },
        (_, _, KeyCode::BackTab) => ChatAction::Complete { forward: false },
        (_, _, KeyCode::Up) => ChatAction::Up,
        (_, _, KeyCode::Down) => ChatAction::Down,
        (_, _, KeyCode::PageUp) => ChatAction::ScrollPage { up: true },
        (_, _, KeyCode::PageDown) => ChatAction::ScrollPage { up: false },
        (true, _, KeyCode::Home) | (_, true, KeyCode::Home) => ChatAction::ShowOldest,
        (true, _, KeyCode::End) | (_, true, KeyCode::End) => ChatAction::ShowNewest,
        (_, _, KeyCode::Esc) => ChatAction::ShowNewest,
        (true, false, KeyCode::Char('r')) => ChatAction::Search,
        (true, false, KeyCode::Char('d')) if is_line_empty => return Some(KeyAction::Interrupt),
        (ctrl, alt, code) => ChatAction::Edit(edit_key(ctrl, alt, code)?),
    }))
}

fn search_key(ctrl: bool, alt: bool, code: KeyCode) -> Option<SearchAction> {
    Some(match (ctrl, alt, code) {
        (_, _, KeyCode::Esc) | (true, false, KeyCode::Char('g')) => SearchAction::Close,
        (_, _, KeyCode::Enter) => SearchAction::Open,
        (_, _, KeyCode::Up) | (true, false, KeyCode::Char('r')) => {
            SearchAction::Choose { older: true }
        }
        (_, _, KeyCode::Down) | (true, false, KeyCode::Char('s')) => {
            SearchAction::Choose { older: false }
        }
        (ctrl, alt, code) => SearchAction::Edit(edit_key(ctrl, alt, code)?),
    })
}

fn links_key(ctrl: bool, alt: bool, code: KeyCode) -> Option<LinksAction> {
    Some(match (ctrl, alt, code) {
        (_, _, KeyCode::Up) => LinksAction::Choose { older: true },
        (_, _, KeyCode::Down) => LinksAction::Choose { older: false },
        (_, _, KeyCode::Enter) => LinksAction::Open,
        (false, false, KeyCode::Char('c' | 'y')) => LinksAction::Copy,
        (_, _, KeyCode::Esc) | (_, _, KeyCode::Char('q')) => LinksAction::Close,
        (_, _, _) => return None,
    })
}

fn help_key(ctrl: bool, alt: bool, code: KeyCode, is_line_empty: bool) -> Option<KeyAction> {
    if let KeyCode::Char(c) = code
        && c != ' '
    {
        // A user who types while the help is open must not lose a letter.
        return chat_key(ctrl, alt, code, is_line_empty)
            .or(Some(KeyAction::Help(HelpAction::Close)));
    }
    Some(KeyAction::Help(
        if matches!(code, KeyCode::Up | KeyCode::Down) {
            HelpAction::ScrollRow {
                up: code == KeyCode::Up,
            }
        } else if matches!(code, KeyCode::PageUp) {
            HelpAction::ScrollPage { up: true }
        } else if matches!(code, KeyCode::PageDown | KeyCode::Char(' ')) {
            HelpAction::ScrollPage { up: false }
        } else {
            HelpAction::Close
        },
    ))
}

/// The editing keys of readline. Other keys that are not text do nothing.
fn edit_key(ctrl: bool, alt: bool, code: KeyCode) -> Option<Edit> {
    Some(match (ctrl, alt, code) {
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
        // Most terminals send the same bytes for Ctrl-_, Ctrl-/ and Ctrl-7.
        (true, false, KeyCode::Char('_' | '/' | '7')) => Edit::Undo,
        // Some keyboards send AltGr as Ctrl and Alt together.
        (false, false, KeyCode::Char(c)) | (true, true, KeyCode::Char(c)) => {
            Edit::Insert(c.to_string())
        }
        (_, _, _) => return None,
    })
}

/// The key that opens the conversation with this index.
pub(super) fn key_of(index: usize) -> String {
    if index < 9 {
        format!("Alt-{}", index + 1)
    } else {
        format!("Alt-j {}", index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CTRL: KeyModifiers = KeyModifiers::CONTROL;
    const ALT: KeyModifiers = KeyModifiers::ALT;
    const NONE: KeyModifiers = KeyModifiers::NONE;

    fn press(keys: &mut Keys, mode: &Mode, modifiers: KeyModifiers, c: char) -> Option<KeyAction> {
        keys.action(KeyEvent::new(KeyCode::Char(c), modifiers), mode, true)
    }

    fn chat(keys: &mut Keys, modifiers: KeyModifiers, c: char) -> Option<KeyAction> {
        press(keys, &Mode::Chat, modifiers, c)
    }

    fn types(c: char) -> Option<KeyAction> {
        let edit = Edit::Insert(c.to_string());
        Some(KeyAction::Chat(ChatAction::Edit(edit)))
    }

    #[test]
    fn two_digits_after_alt_j_open_a_conversation() {
        let mut keys = Keys::default();
        assert_eq!(chat(&mut keys, ALT, 'j'), Some(KeyAction::AwaitDigit));
        assert_eq!(chat(&mut keys, NONE, '1'), Some(KeyAction::AwaitDigit));
        assert_eq!(chat(&mut keys, NONE, '2'), Some(KeyAction::Open(11)));
        assert_eq!(chat(&mut keys, NONE, '3'), types('3'));
    }

    #[test]
    fn the_settings_replace_the_action_of_a_key() {
        let bindings = "alt-a=links, ctrl-n=nothing, alt-s=search".parse();
        let mut keys = Keys::new(bindings.unwrap());
        assert_eq!(chat(&mut keys, ALT, 'a'), Some(KeyAction::ListLinks));
        assert_eq!(chat(&mut keys, CTRL, 'n'), None);
        assert_eq!(chat(&mut keys, CTRL, 'p'), Some(KeyAction::OpenPrevious));
        let search = KeyAction::Chat(ChatAction::Search);
        assert_eq!(chat(&mut keys, ALT, 's'), Some(search));
    }

    #[test]
    fn another_key_ends_the_jump() {
        let mut keys = Keys::default();
        chat(&mut keys, ALT, 'j');
        assert_eq!(chat(&mut keys, NONE, 'x'), types('x'));
        assert_eq!(chat(&mut keys, NONE, '1'), types('1'));
    }

    #[test]
    fn only_a_second_interrupt_in_a_short_time_counts() {
        let mut keys = Keys::default();
        assert!(!keys.interrupt(Time(10_000)));
        assert!(!keys.interrupt(Time(15_000)));
        assert!(keys.interrupt(Time(16_000)));
    }

    #[test]
    fn the_mode_decides_what_a_key_does() {
        let mut keys = Keys::default();
        let search = Mode::Search(Default::default());
        let help = Mode::Help(0);
        let typed = SearchAction::Edit(Edit::Insert("x".into()));
        assert_eq!(
            press(&mut keys, &search, NONE, 'x'),
            Some(KeyAction::Search(typed))
        );
        assert_eq!(press(&mut keys, &help, NONE, 'x'), types('x'));
        assert_eq!(
            press(&mut keys, &help, NONE, ' '),
            Some(KeyAction::Help(HelpAction::ScrollPage { up: false }))
        );
        assert_eq!(
            press(&mut keys, &help, CTRL, 'c'),
            Some(KeyAction::Interrupt)
        );
    }

    #[test]
    fn ctrl_d_deletes_or_ends_and_altgr_types() {
        let mut keys = Keys::default();
        let ctrl_d = KeyEvent::new(KeyCode::Char('d'), CTRL);
        assert_eq!(
            keys.action(ctrl_d, &Mode::Chat, true),
            Some(KeyAction::Interrupt)
        );
        assert_eq!(
            keys.action(ctrl_d, &Mode::Chat, false),
            Some(KeyAction::Chat(ChatAction::Edit(Edit::Delete(
                Motion::Right
            ))))
        );
        assert_eq!(chat(&mut keys, CTRL | ALT, '@'), types('@'));
    }

    #[test]
    fn the_first_nine_conversations_have_a_key_of_one_digit() {
        assert_eq!((key_of(0), key_of(9)), ("Alt-1".into(), "Alt-j 10".into()));
    }
}
