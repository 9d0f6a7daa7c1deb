//! Reactions: an emoji that somebody adds to a message, its limits and its encoding.

use unicode_segmentation::UnicodeSegmentation;

use crate::codec;
use crate::text::visible;

/// Longest emoji of a reaction, in bytes. The longest family with skin tones has 41, and the longest
/// emoji that keyboards offer has 35.
pub const EMOJI_BYTES_MAX: usize = 48;

/// Why an emoji cannot be a reaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a reaction is one emoji or one character, of at most {EMOJI_BYTES_MAX} bytes")]
pub struct ReactionError;

/// Checks that this is one visible grapheme of at most [`EMOJI_BYTES_MAX`] bytes.
///
/// ```
/// use hobnob_protocol::reaction::check;
///
/// for good in ["👍", "👨‍👩‍👧‍👦", "🏳️‍🌈", "!", "é"] {
///     assert_eq!(check(good), Ok(()));
/// }
/// for bad in ["", " ", "\u{7}", "ok", "👍👍", "\u{202e}"] {
///     assert!(check(bad).is_err(), "{bad:?}");
/// }
/// ```
pub fn check(emoji: &str) -> Result<(), ReactionError> {
    let is_one = emoji.graphemes(true).count() == 1;
    let is_blank = emoji.chars().all(|c| c.is_whitespace() || c.is_control());
    if emoji.len() <= EMOJI_BYTES_MAX && is_one && !is_blank && visible(emoji) == emoji {
        Ok(())
    } else {
        Err(ReactionError)
    }
}

/// The body of a reaction.
pub(crate) fn encode(emoji: &str, on: bool) -> Vec<u8> {
    codec::encode(&(on, emoji))
}

/// Reads the body of a reaction. `None` if it is no valid one.
pub(crate) fn decode(bytes: &[u8]) -> Option<(String, bool)> {
    let (on, emoji) = codec::decode::<(bool, String), { 4 * EMOJI_BYTES_MAX }>(bytes).ok()?;
    check(&emoji).ok()?;
    Some((emoji, on))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_visible_grapheme_is_read() {
        assert_eq!(decode(&encode("👍🏽", false)), Some(("👍🏽".to_owned(), false)));
        // Marks without end are one grapheme.
        let heap = format!("a{}", "\u{301}".repeat(EMOJI_BYTES_MAX));
        for bad in ["", "ok", "\n", &heap] {
            assert_eq!(decode(&encode(bad, true)), None, "{bad:?}");
        }
        assert_eq!(decode(&[2, 1, b'x']), None);
    }
}
