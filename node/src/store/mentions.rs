//! Mentions: which texts call for the user of this node.
//!
//! The reader finds them, not the author: a message has no list of those whom it mentions. So a text
//! mentions everybody who is called like that, and an author can't ring anybody whose name the text
//! does not show.

use hobnob_protocol::{Nickname, PersonId};

use super::words::is_paired;

/// Maximum number of highlight words.
pub const HIGHLIGHTS_MAX: usize = 64;

/// Longest highlight word, in characters.
pub const HIGHLIGHT_CHARS_MAX: usize = 64;

/// How texts call for the user of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mentions {
    me: PersonId,
    /// The nickname and the short id, in lower case, each after an `@`.
    names: [String; 2],
    /// The words that the user has chosen, in lower case.
    highlights: Vec<String>,
}

impl Mentions {
    /// The user with this id and nickname, and the words that the user wants to be called for.
    pub fn new(me: PersonId, nick: &Nickname, highlights: &[String]) -> Self {
        let mut mentions = Self {
            me,
            names: [called(nick), format!("@{}", me.short())],
            highlights: Vec::new(),
        };
        mentions.set_highlights(highlights);
        mentions
    }

    /// The user wants to be called for these words now.
    pub(crate) fn set_highlights(&mut self, words: &[String]) {
        let words = words.iter().map(|word| word.trim().to_lowercase());
        self.highlights = words.filter(|word| !word.is_empty()).collect();
    }

    /// The user's id. Nobody mentions himself.
    pub(super) fn me(&self) -> PersonId {
        self.me
    }

    /// The user has another nickname now.
    pub(crate) fn set_nick(&mut self, nick: &Nickname) {
        self.names[0] = called(nick);
    }

    /// Whether a text of somebody else calls for the user: it has the name or the short id as a whole
    /// word after an `@`, or begins with the name and a colon or comma, or has a highlight word.
    pub fn are_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let has_at = text.contains('@');
        let named = |at_name: &String| {
            (has_at && has_word(&text, at_name, |after| !goes_on(after)))
                || text
                    .trim_start()
                    .strip_prefix(&at_name[1..])
                    .is_some_and(|after| {
                        let after = after.strip_prefix([':', ',']);
                        after.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
                    })
        };
        self.names.iter().any(named)
            || self
                .highlights
                .iter()
                .any(|word| has_word(&text, word, |_| true))
    }
}

/// How a text calls somebody with this nickname.
fn called(nick: &Nickname) -> String {
    format!("@{}", nick.as_str().to_lowercase())
}

/// Whether the text has this as a whole word, and `accepts` what follows it.
fn has_word(text: &str, word: &str, accepts: impl Fn(&str) -> bool) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let first = word.chars().next().filter(|c| *c != '@');
        // An @ within a word is a part of an address.
        let begins = match (before.chars().next_back(), first) {
            (Some(before), Some(first)) => !is_one_word(before, first),
            (Some(before), None) => !before.is_alphanumeric() || is_paired(before),
            (None, _) => true,
        };
        let last = word.chars().next_back();
        let ends = match (last, after.chars().next()) {
            (Some(last), Some(after)) => !is_one_word(last, after),
            (_, None) | (None, _) => true,
        };
        begins && ends && accepts(after)
    })
}

/// Whether two neighbours belong to one word. Scripts without spaces have no limits between words.
fn is_one_word(one: char, other: char) -> bool {
    let is_part = |c: char| (c.is_alphanumeric() || c == '_') && !is_paired(c);
    is_part(one) && is_part(other)
}

/// Whether a longer name goes on after the one that was found, as in `@bob-smith` and `@bob.org`.
fn goes_on(after: &str) -> bool {
    let mut chars = after.chars();
    matches!(chars.next(), Some('-' | '.' | '@')) && chars.next().is_some_and(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mentions_of(nick: &str, highlights: &[&str]) -> Mentions {
        let highlights: Vec<_> = highlights.iter().map(|word| (*word).to_owned()).collect();
        let nick = Nickname::new(nick).expect("a nickname");
        Mentions::new(PersonId::from_bytes([7; 32]), &nick, &highlights)
    }

    #[test]
    fn a_name_is_a_whole_word_after_an_at_sign() {
        let bob = mentions_of("Bob", &[]);
        for text in [
            "@bob",
            "hi @BOB!",
            "(@bob)",
            "@bob: yes",
            "@bob's turn",
            "thanks, @bob.",
            "@bob\nlook",
            "今晩@bob",
            "bob: lunch?",
            "Bob, lunch?",
            "bob:",
        ] {
            assert!(bob.are_in(text), "{text:?}");
        }
        for text in [
            "bob",
            "is bob here",
            "ask bob: he knows",
            "@bobby",
            "@bob_2",
            "@bob-smith",
            "ann@bob.org",
            "@bob.org",
            "@bob@example.org",
            "bobby: hi",
            "bob:sled",
            "@ bob",
            "",
        ] {
            assert!(!bob.are_in(text), "{text:?}");
        }
    }

    #[test]
    fn a_name_may_have_spaces_and_any_script() {
        assert!(mentions_of("Ann B", &[]).are_in("ask @ann b about it"));
        assert!(!mentions_of("Ann B", &[]).are_in("ask @ann bell"));
        assert!(mentions_of("小明", &[]).are_in("@小明你好"));
        assert!(mentions_of("Ünal", &[]).are_in("@ÜNAL"));
        assert!(mentions_of("C++", &[]).are_in("@c++ and others"));
    }

    #[test]
    fn the_short_id_names_a_user_whose_name_others_have_too() {
        let bob = mentions_of("bob", &[]);
        let short = PersonId::from_bytes([7; 32]).short();
        assert!(bob.are_in(&format!("@{short} look")));
        assert!(!bob.are_in(&format!("{short} look")));
        assert!(!bob.are_in(&format!("@{short}x")));
    }

    #[test]
    fn highlight_words_call_wherever_they_stand() {
        let bob = mentions_of("bob", &["Deploy", "c++", " ", "障害"]);
        for text in ["who will deploy?", "DEPLOY!", "I like C++.", "今日障害発生"] {
            assert!(bob.are_in(text), "{text:?}");
        }
        for text in ["deployment", "redeploy", "c+", " ", ""] {
            assert!(!bob.are_in(text), "{text:?}");
        }
    }

    #[test]
    fn a_new_name_replaces_the_old_one() {
        let mut bob = mentions_of("bob", &[]);
        bob.set_nick(&Nickname::new("Robert").expect("a nickname"));
        assert!(bob.are_in("@robert") && !bob.are_in("@bob"));
    }
}
