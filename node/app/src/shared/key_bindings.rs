//! The keys that the settings give to actions of the full-screen chat: `alt-u=next-unread`.

use std::fmt;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;

/// An action that can have another key. The names are those of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoundAction {
    /// The key does nothing.
    Nothing,
    Help,
    Conversations,
    People,
    Mouse,
    Next,
    Previous,
    NextUnread,
    Mention,
    Links,
    Search,
    PageUp,
    PageDown,
    Oldest,
    Newest,
    NewLine,
    Redraw,
    Suspend,
}

const ACTIONS: [(&str, BoundAction); 18] = [
    ("nothing", BoundAction::Nothing),
    ("help", BoundAction::Help),
    ("conversations", BoundAction::Conversations),
    ("people", BoundAction::People),
    ("mouse", BoundAction::Mouse),
    ("next", BoundAction::Next),
    ("previous", BoundAction::Previous),
    ("next-unread", BoundAction::NextUnread),
    ("mention", BoundAction::Mention),
    ("links", BoundAction::Links),
    ("search", BoundAction::Search),
    ("page-up", BoundAction::PageUp),
    ("page-down", BoundAction::PageDown),
    ("oldest", BoundAction::Oldest),
    ("newest", BoundAction::Newest),
    ("new-line", BoundAction::NewLine),
    ("redraw", BoundAction::Redraw),
    ("suspend", BoundAction::Suspend),
];

/// The keys that have names.
const NAMED: [(&str, KeyCode); 10] = [
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("insert", KeyCode::Insert),
    ("delete", KeyCode::Delete),
];

/// A key with Ctrl or Alt, or a function key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    ctrl: bool,
    alt: bool,
    code: KeyCode,
}

/// The keys with other actions than usual, and the name of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub(crate) struct KeyBindings(Vec<(Key, BoundAction)>);

/// Why a word of the settings names no key or no action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyBindingError {
    #[error("{0:?} names no key: use ctrl- or alt- and a character, or f1 to f12")]
    NoKey(String),
    #[error("{0:?} always means the same: bind another key")]
    Fixed(String),
    #[error("{0:?} names no action: use one of {list}", list = names())]
    NoAction(String),
    #[error("{0:?} is given twice")]
    Twice(String),
    #[error("{0:?} is not KEY=ACTION")]
    NoPair(String),
}

fn names() -> String {
    ACTIONS.map(|(name, _)| name).join(", ")
}

impl KeyBindings {
    /// The action that this key has by the settings.
    pub(crate) fn action(&self, key: KeyEvent) -> Option<BoundAction> {
        let pressed = Key {
            ctrl: key.modifiers.contains(KeyModifiers::CONTROL),
            alt: key.modifiers.contains(KeyModifiers::ALT),
            code: key.code,
        };
        let mut bindings = self.0.iter();
        bindings
            .find(|(key, _)| *key == pressed)
            .map(|(_, action)| *action)
    }

    /// Each key and the name of its action.
    pub(crate) fn names(&self) -> impl Iterator<Item = (String, &'static str)> {
        self.0.iter().map(|(key, action)| {
            let name = ACTIONS.iter().find(|(_, it)| it == action);
            (key.to_string(), name.map_or("", |(name, _)| *name))
        })
    }

    fn of<'a>(words: impl Iterator<Item = &'a str>) -> Result<Self, KeyBindingError> {
        let mut bindings = KeyBindings::default();
        for word in words {
            let pair = word.split_once('=');
            let (key, action) = pair.ok_or_else(|| KeyBindingError::NoPair(word.to_owned()))?;
            bindings.add(key.trim(), action.trim())?;
        }
        Ok(bindings)
    }

    fn add(&mut self, key: &str, action: &str) -> Result<(), KeyBindingError> {
        let bound: Key = key.parse()?;
        let found = ACTIONS.iter().find(|(name, _)| *name == action);
        let (_, action) = found.ok_or_else(|| KeyBindingError::NoAction(action.to_owned()))?;
        if self.0.iter().any(|(other, _)| *other == bound) {
            return Err(KeyBindingError::Twice(key.to_owned()));
        }
        self.0.push((bound, *action));
        Ok(())
    }
}

impl TryFrom<Vec<String>> for KeyBindings {
    type Error = KeyBindingError;

    fn try_from(list: Vec<String>) -> Result<Self, Self::Error> {
        Self::of(list.iter().map(String::as_str))
    }
}

impl FromStr for KeyBindings {
    type Err = KeyBindingError;

    /// `alt-u=next-unread, f5=redraw`
    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let words = list.split(',').map(str::trim);
        Self::of(words.filter(|word| !word.is_empty()))
    }
}

impl FromStr for Key {
    type Err = KeyBindingError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let lower = word.to_lowercase();
        let (mut ctrl, mut alt, mut rest) = (false, false, lower.as_str());
        while let Some((modifier, after)) = rest.split_once('-').filter(|(_, it)| !it.is_empty()) {
            match modifier {
                "ctrl" => ctrl = true,
                "alt" => alt = true,
                _ => return Err(KeyBindingError::NoKey(word.to_owned())),
            }
            rest = after;
        }
        let code = code(rest).ok_or_else(|| KeyBindingError::NoKey(word.to_owned()))?;
        let is_function = matches!(code, KeyCode::F(_) | KeyCode::PageUp | KeyCode::PageDown);
        if !(ctrl || alt || is_function) {
            return Err(KeyBindingError::NoKey(word.to_owned()));
        }
        // Ctrl-c ends the chat. Terminals send the same for the others as for Tab, Enter, Backspace
        // and Esc.
        let is_fixed = matches!(code, KeyCode::Char('c' | 'i' | 'm' | 'h' | '['));
        if ctrl && !alt && is_fixed {
            return Err(KeyBindingError::Fixed(word.to_owned()));
        }
        Ok(Key { ctrl, alt, code })
    }
}

fn code(word: &str) -> Option<KeyCode> {
    let mut chars = word.chars();
    if let (Some(only), None) = (chars.next(), chars.next()) {
        return (!only.is_control() && !only.is_whitespace()).then_some(KeyCode::Char(only));
    }
    if let Some(number) = word
        .strip_prefix('f')
        .and_then(|number| number.parse().ok())
    {
        return (1..=12).contains(&number).then_some(KeyCode::F(number));
    }
    let named = NAMED.iter().find(|(name, _)| *name == word);
    named.map(|(_, code)| *code)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = [(self.ctrl, "Ctrl-"), (self.alt, "Alt-")];
        for (_, name) in prefix.iter().filter(|(on, _)| *on) {
            f.write_str(name)?;
        }
        if let KeyCode::Char(c) = self.code {
            return write!(f, "{c}");
        }
        if let KeyCode::F(number) = self.code {
            return write!(f, "F{number}");
        }
        let named = NAMED.iter().find(|(_, code)| *code == self.code);
        f.write_str(named.map_or("", |(name, _)| *name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(
        bindings: &KeyBindings,
        code: KeyCode,
        modifiers: KeyModifiers,
    ) -> Option<BoundAction> {
        bindings.action(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn keys_get_other_actions() {
        let bindings: KeyBindings =
            "alt-u=next-unread, F5 = redraw, Ctrl-Alt-PageUp=oldest, ctrl--=help"
                .parse()
                .unwrap();
        let both = KeyModifiers::CONTROL | KeyModifiers::ALT;
        for (code, modifiers, action) in [
            (
                KeyCode::Char('u'),
                KeyModifiers::ALT,
                Some(BoundAction::NextUnread),
            ),
            (KeyCode::F(5), KeyModifiers::NONE, Some(BoundAction::Redraw)),
            (KeyCode::PageUp, both, Some(BoundAction::Oldest)),
            (
                KeyCode::Char('-'),
                KeyModifiers::CONTROL,
                Some(BoundAction::Help),
            ),
            (KeyCode::Char('u'), KeyModifiers::NONE, None),
            (KeyCode::Char('u'), KeyModifiers::CONTROL, None),
            (KeyCode::PageUp, KeyModifiers::NONE, None),
        ] {
            assert_eq!(press(&bindings, code, modifiers), action, "{code:?}");
        }
        let names: Vec<_> = bindings.names().collect();
        assert_eq!(names[0], ("Alt-u".to_owned(), "next-unread"));
        assert_eq!(names[2], ("Ctrl-Alt-pageup".to_owned(), "oldest"));
    }

    #[test]
    fn wrong_words_are_errors() {
        let error = |list: &str| list.parse::<KeyBindings>().unwrap_err();
        for word in [
            "u", "enter", "alt-", "shift-u", "f13", "f0", "alt-uu", "ctrl-",
        ] {
            let expected = KeyBindingError::NoKey(word.to_owned());
            assert_eq!(error(&format!("{word}=help")), expected);
        }
        for word in ["ctrl-c", "Ctrl-I", "ctrl-m"] {
            let expected = KeyBindingError::Fixed(word.to_owned());
            assert_eq!(error(&format!("{word}=help")), expected);
        }
        assert_eq!(
            error("alt-u=dance"),
            KeyBindingError::NoAction("dance".into())
        );
        assert_eq!(error("alt-u"), KeyBindingError::NoPair("alt-u".into()));
        assert_eq!(
            error("alt-u=help,Alt-U=help"),
            KeyBindingError::Twice("Alt-U".into())
        );
        assert!(error("alt-u=dance").to_string().contains("next-unread"));
    }
}
