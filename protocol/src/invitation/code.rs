//! The code of an invitation: `481593-maple-violin-stone@relay.example:4627`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::target::RelayAt;
use crate::text;
use crate::words::{self, WORD_BITS};

/// Longest code that is parsed, in bytes.
pub const CODE_LEN_MAX: usize = 512;

/// The digits of a number.
const DIGITS: usize = 6;

/// How many numbers there are.
const NUMBERS: u64 = 1_000_000;

/// The words of a code.
const WORDS: usize = 3;

/// The public part of a code: six digits that find the inviter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CodeNumber(u32);

impl CodeNumber {
    /// A number, from a random value.
    pub fn random(value: u64) -> Self {
        Self(u32::try_from(value % NUMBERS).expect("six digits fit"))
    }
}

impl fmt::Display for CodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0DIGITS$}", self.0)
    }
}

impl FromStr for CodeNumber {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let is_number = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| is_number);
        number.map(Self).ok_or(CodeError::Number)
    }
}

/// The secret part of a code: three words, 33 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Words([&'static str; WORDS]);

impl Words {
    /// Words, from random bytes.
    pub fn random(seed: &[u8; 32]) -> Self {
        const { assert!(WORDS * WORD_BITS == 33) };
        Self(words::words_of(seed))
    }

    pub(crate) fn as_password(&self) -> String {
        self.0.join("-")
    }
}

/// Shows nothing: the words are secret.
impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words(..)")
    }
}

/// A code that one user reads to another.
///
/// ```
/// use hobnob_protocol::invitation::{CodeError, InviteCode};
///
/// let code: InviteCode = "481593 Maple violin stone".parse()?;
/// assert_eq!(code.to_string(), "481593-maple-violin-stone");
/// let mistyped = "481593-mapel-violin-stone".parse::<InviteCode>();
/// assert!(matches!(mistyped, Err(CodeError::UnknownWord { suggestion: Some("maple"), .. })));
/// # Ok::<(), CodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteCode {
    /// The public number.
    pub number: CodeNumber,
    /// The secret words.
    pub words: Words,
    /// A relay at which the inviter is registered.
    pub relay: Option<RelayAt>,
}

/// Why a text is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// It does not begin with six digits.
    #[error("an invitation code begins with six digits, as in 481593-maple-violin-stone")]
    Number,
    /// It has more or fewer than three words.
    #[error("an invitation code has six digits and three words, as in 481593-maple-violin-stone")]
    Parts,
    /// A word is not in the list, so it was misread or mistyped.
    #[error(
        "{word} is no word of a code{}. Nothing was sent: correct it and try again",
        suggestion.map(|word| format!(" (did you mean {word}?)")).unwrap_or_default()
    )]
    UnknownWord {
        /// The word as it was typed.
        word: String,
        /// The nearest word of the list, if one is near.
        suggestion: Option<&'static str>,
    },
    /// The text after the `@` is no relay.
    #[error("the relay in this code, {0}, is not valid")]
    Relay(String),
}

impl FromStr for InviteCode {
    type Err = CodeError;

    /// Words may be separated by hyphens or spaces, in upper or lower case.
    fn from_str(text: &str) -> Result<Self, CodeError> {
        if text.len() > CODE_LEN_MAX {
            return Err(CodeError::Parts);
        }
        let (code, relay) = match text.trim().split_once('@') {
            Some((code, relay)) => (code, Some(relay)),
            None => (text.trim(), None),
        };
        let mut parts = code
            .split(|c: char| c == '-' || c.is_whitespace())
            .filter(|part| !part.is_empty());
        let number = parts.next().ok_or(CodeError::Number)?.parse()?;
        let parts: Vec<String> = parts.map(str::to_lowercase).collect();
        let parts: [String; WORDS] = parts.try_into().map_err(|_| CodeError::Parts)?;
        let mut words = [""; WORDS];
        for (word, typed) in words.iter_mut().zip(&parts) {
            *word = words::find(typed).ok_or_else(|| CodeError::UnknownWord {
                word: text::visible(typed).into_owned(),
                suggestion: words::nearest(typed),
            })?;
        }
        let relay = relay.map(|relay| {
            let parsed = relay.trim().parse();
            parsed.map_err(|_| CodeError::Relay(text::visible(relay).into_owned()))
        });
        Ok(Self {
            number,
            words: Words(words),
            relay: relay.transpose()?,
        })
    }
}

/// The whole code with its secret words.
impl fmt::Display for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.words.as_password())?;
        match &self.relay {
            Some(relay) => write!(f, "@{relay}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<InviteCode, CodeError> {
        text.parse()
    }

    #[test]
    fn a_code_is_read_as_it_is_spoken_or_copied() {
        let code = parse("481593-maple-violin-stone").expect("a code");
        assert_eq!(code.to_string(), "481593-maple-violin-stone");
        assert_eq!(parse(" 481593 Maple  VIOLIN stone "), Ok(code));
        let named = parse("000007-maple-violin-stone@relay.example:4627").expect("a code");
        assert_eq!(named.number.to_string(), "000007");
        assert_eq!(
            named.to_string(),
            "000007-maple-violin-stone@relay.example:4627"
        );
    }

    #[test]
    fn a_mistyped_word_gets_a_suggestion() {
        let unknown = |text: String| match parse(&text) {
            Err(CodeError::UnknownWord { word, suggestion }) => (word, suggestion),
            other => panic!("{other:?}"),
        };
        for (typed, meant) in [
            ("mapel", Some("maple")),
            ("violn", Some("violin")),
            ("stoen", Some("stone")),
            ("xyzzyx", None),
        ] {
            let (word, suggestion) = unknown(format!("481593-{typed}-violin-stone"));
            assert_eq!((word.as_str(), suggestion), (typed, meant));
        }
    }

    #[test]
    fn other_texts_are_no_codes() {
        for text in [
            "",
            "maple-violin-stone",
            "48159-maple-violin-stone",
            "+48159-maple",
        ] {
            assert_eq!(parse(text), Err(CodeError::Number), "{text}");
        }
        for text in [
            "481593",
            "481593-maple-violin",
            "481593-maple-violin-stone-zoo",
        ] {
            assert_eq!(parse(text), Err(CodeError::Parts), "{text}");
        }
        let relay = parse("481593-maple-violin-stone@");
        assert!(matches!(relay, Err(CodeError::Relay(_))), "{relay:?}");
        assert_eq!(parse(&"4".repeat(CODE_LEN_MAX + 1)), Err(CodeError::Parts));
    }

    #[test]
    fn debug_output_has_no_words() {
        let code = parse("481593-maple-violin-stone").expect("a code");
        assert!(!format!("{code:?}").contains("maple"));
    }

    proptest! {
        #[test]
        fn random_codes_round_trip(value: u64, seed: [u8; 32]) {
            let code = InviteCode {
                number: CodeNumber::random(value),
                words: Words::random(&seed),
                relay: None,
            };
            prop_assert_eq!(parse(&code.to_string()), Ok(code));
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,80}") {
            let _ = parse(&text);
        }
    }
}
