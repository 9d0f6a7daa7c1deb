//! Text from people and peers: names with limits, and stand-ins for characters that must not reach
//! a screen.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invisible;

/// Maximum characters of a nickname. A longer typed one is refused, and a longer received one is
/// cut.
pub const NICKNAME_CHARS_MAX: usize = 32;

/// Characters of a received nickname that are read. The rest is ignored.
const NICKNAME_READ_MAX: usize = 4 * NICKNAME_CHARS_MAX;

/// Maximum text of one message, in bytes of UTF-8. A longer typed text is refused.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// How the text of a message begins that says what its author does: `/me waves`.
pub const ACTION: &str = "/me ";

/// A name that a person chose: 1 to 32 characters, none of which can disturb a screen. It is a hint,
/// not an identity.
///
/// ```
/// use hobnob_protocol::Nickname;
///
/// assert_eq!(Nickname::new(" Ann ").map(String::from).as_deref(), Ok("Ann"));
/// let bob: Nickname = "bob".parse()?;
/// assert_eq!((bob.as_str(), bob.to_string()), ("bob", "bob".to_owned()));
/// assert_eq!(Nickname::cleaned("bob\u{7}"), Some(bob)); // as a peer may have sent it
/// # Ok::<(), hobnob_protocol::text::NicknameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Nickname(String);

/// The fault in a text that cannot be a nickname.
///
/// ```
/// use hobnob_protocol::{Nickname, text::NicknameError};
///
/// assert_eq!(Nickname::new("  "), Err(NicknameError::Empty));
/// assert_eq!(Nickname::new("bell\u{7}"), Err(NicknameError::Forbidden(7)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NicknameError {
    /// It contains only white space.
    #[error("a nickname needs at least one character")]
    Empty,
    /// More than [`NICKNAME_CHARS_MAX`] characters.
    #[error("a nickname has at most {NICKNAME_CHARS_MAX} characters; this has {0}")]
    TooLong(usize),
    /// It contains a control character, a bidi override, white space other than single spaces, or
    /// an invisible character that its script does not need.
    #[error("a nickname can't contain the character U+{0:04X}")]
    Forbidden(u32),
}

impl Nickname {
    /// Checks a typed name.
    pub fn new(text: &str) -> Result<Self, NicknameError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(NicknameError::Empty);
        }
        let chars = text.chars().count();
        if chars > NICKNAME_CHARS_MAX {
            return Err(NicknameError::TooLong(chars));
        }
        let chars: Vec<_> = text.chars().collect();
        match forbidden_in_name(&chars).iter().position(|&no| no) {
            Some(at) => Err(NicknameError::Forbidden(u32::from(chars[at]))),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// Cleans a received name: removes forbidden characters, and cuts a long name. Returns `None` if
    /// nothing is left.
    pub fn cleaned(text: &str) -> Option<Self> {
        let mut chars: Vec<_> = text
            .chars()
            .filter(|c| !c.is_control())
            .map(|c| if c.is_whitespace() { ' ' } else { c })
            .take(NICKNAME_READ_MAX)
            .collect();
        // Without its neighbor, an invisible character may no longer be one that a script needs:
        // repeat until nothing is removed.
        loop {
            let before = chars.len();
            let mut forbidden = forbidden_in_name(&chars).into_iter();
            chars.retain(|_| !forbidden.next().expect("one answer for each character"));
            chars.truncate(NICKNAME_CHARS_MAX);
            if chars.len() == before {
                return Self::new(&String::from_iter(chars)).ok();
            }
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Nickname {
    type Err = NicknameError;

    fn from_str(text: &str) -> Result<Self, NicknameError> {
        Self::new(text)
    }
}

impl fmt::Display for Nickname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Nickname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<Nickname> for String {
    fn from(name: Nickname) -> Self {
        name.0
    }
}

impl TryFrom<String> for Nickname {
    type Error = NicknameError;

    fn try_from(text: String) -> Result<Self, NicknameError> {
        Self::new(&text)
    }
}

/// Replaces each character that could move a cursor, hide text or reorder the text around it with a
/// visible stand-in.
///
/// C0 controls and DEL become their pictures (U+2400 block: `␛`, `␊`). Others become their code
/// point, as in `⟨U+202E⟩`. Invisible characters that a script or an emoji needs stay. Ordinary text
/// is borrowed unchanged.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_disturbing) {
        return Cow::Borrowed(text);
    }
    let chars: Vec<_> = text.chars().collect();
    let needed = invisible::needed(&chars);
    let mut shown = String::with_capacity(text.len() + 16);
    for (c, needed) in chars.into_iter().zip(needed) {
        match u32::from(c) {
            code @ 0..=0x1f => shown.push(char::from_u32(0x2400 + code).unwrap_or('\u{fffd}')),
            0x7f => shown.push('\u{2421}'),
            code if is_disturbing(c) && !needed => shown.push_str(&format!("⟨U+{code:04X}⟩")),
            _ => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Replaces the same characters with one stand-in, for a text that must stay short, such as the name
/// of a file.
pub fn without_disturbing(text: &str, stand_in: char) -> String {
    let chars: Vec<_> = text.chars().collect();
    let needed = invisible::needed(&chars);
    let kept = chars.into_iter().zip(needed);
    kept.map(|(c, needed)| match needed || !is_disturbing(c) {
        true => c,
        false => stand_in,
    })
    .collect()
}

/// For each character, whether it is forbidden in a nickname.
fn forbidden_in_name(chars: &[char]) -> Vec<bool> {
    let needed = invisible::needed(chars);
    let forbidden = |(&c, needed): (&char, bool)| {
        (!needed && (is_disturbing(c) || invisible::is_default_ignorable(c)))
            || (c.is_whitespace() && c != ' ')
    };
    chars.iter().zip(needed).map(forbidden).collect()
}

/// Writes the same characters of a JSON text as `\uXXXX`. The JSON value stays the same, and the
/// text is safe to print on a terminal.
///
/// `json` must be valid JSON, which has such characters only inside strings.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_disturbing) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if is_disturbing(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            escaped.push(c);
        }
    }
    Cow::Owned(escaped)
}

/// Controls (C0, DEL, C1), line and paragraph separators, bidi marks, embeddings, overrides and
/// isolates (UAX #9), the invisible operators and fillers, interlinear annotations, the byte order
/// mark, and tag characters.
fn is_disturbing(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0x061c | 0x115f | 0x1160 | 0x180e
            | 0x200b..=0x200c | 0x200e..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f
            | 0x3164 | 0xfeff | 0xffa0 | 0xfff9..=0xfffb
            | 0xe0000..=0xe007f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_and_overrides_become_stand_ins() {
        let cases = [
            (
                "plain, naïve, 日本, 👩\u{200d}🔬",
                "plain, naïve, 日本, 👩\u{200d}🔬",
            ),
            ("\x1b[2J\x07", "␛[2J␇"),
            ("a\nb\tc\x7f", "a␊b␉c␡"),
            ("\u{202e}evil\u{2066}", "⟨U+202E⟩evil⟨U+2066⟩"),
            ("\u{9b}31m", "⟨U+009B⟩31m"),
            ("a\u{200c}b \u{200f}", "a⟨U+200C⟩b ⟨U+200F⟩"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            (
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            ),
        ];
        for (text, shown) in cases {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn a_nickname_is_refused_here_and_cleaned_on_receipt() {
        assert_eq!(Nickname::new("  ann "), Ok(Nickname("ann".into())));
        assert_eq!(Nickname::new(" "), Err(NicknameError::Empty));
        assert_eq!(
            Nickname::new(&"x".repeat(33)),
            Err(NicknameError::TooLong(33))
        );
        assert_eq!(Nickname::new("a\x1bb"), Err(NicknameError::Forbidden(0x1b)));
        assert_eq!(
            Nickname::cleaned("a\x1bb\u{202e}"),
            Some(Nickname("ab".into()))
        );
        assert_eq!(
            Nickname::cleaned(&"é".repeat(99)).map(|n| n.0.chars().count()),
            Some(32)
        );
        assert_eq!(Nickname::cleaned("\x1b\r\n"), None);
        assert_eq!(
            Nickname::cleaned("a\u{200d}n\u{ad}n\u{fe0f}"),
            Some(Nickname("ann".into()))
        );
        assert_eq!(
            Nickname::new("a\u{ad}nn"),
            Err(NicknameError::Forbidden(0xad))
        );
        let persian = "می\u{200c}نا";
        assert_eq!(Nickname::cleaned(persian), Nickname::new(persian).ok());
    }

    #[test]
    fn json_keeps_its_value() {
        assert_eq!(
            visible_json("\"a\u{202e}b\u{e0041}\""),
            r#""a\u202eb\udb40\udc41""#
        );
    }

    proptest! {
        #[test]
        fn what_is_shown_holds_nothing_disturbing(text in ".*") {
            let shown: Vec<_> = visible(&text).chars().collect();
            let needed = invisible::needed(&shown);
            for (c, needed) in shown.into_iter().zip(needed) {
                prop_assert!(needed || !is_disturbing(c), "{c:?}");
            }
        }

        #[test]
        fn a_cleaned_nickname_is_one_a_person_could_have_typed(text in ".*") {
            if let Some(name) = Nickname::cleaned(&text) {
                prop_assert_eq!(Nickname::new(name.as_str()), Ok(name));
            }
        }
    }
}
