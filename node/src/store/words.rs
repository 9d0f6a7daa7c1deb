//! Words for the search index: the tokens of a text, and the query for what a user typed.
//!
//! The index gets tokens that are made here, separated by spaces, and not the text itself. So one
//! tokenizer of SQLite, which splits at spaces, serves every script:
//!
//! - Han, kana, Hangul, Thai and other scripts without spaces: overlapping pairs of characters.
//! - Emoji: one token each, without skin tone and presentation.
//! - Other scripts: the first one and two characters of each word, and overlapping groups of three.
//!   So one or two characters find the starts of words, and three or more find any part.
//!
//! Both the text and what a user types are folded first: compatible forms, upper case and diacritics
//! make no difference. A search for one character of a script with pairs, or for punctuation only,
//! cannot use the index: it compares the texts of the newest messages.

use std::ops::RangeInclusive;

use hobnob_protocol::invisible::is_default_ignorable;
use unicode_normalization::UnicodeNormalization;

/// Precedes the number of the conversation in a token of its own. No token of a text has it.
const CONVERSATION: char = '\u{e000}';

/// Separates runs of pairs and of emoji, so that a phrase does not match across them.
const BREAK: &str = "\u{e001}";

/// Maximum number of runs of characters that one query passes to the index. Further ones are compared
/// with the text of each message.
const INDEXED_RUNS_MAX: usize = 64;

/// Scripts that are written without spaces, or that are searched like those: Thai and Lao, Burmese,
/// Hangul, Khmer, kana and Bopomofo, Han.
const PAIRED: [RangeInclusive<u32>; 10] = [
    0x0e00..=0x0eff,
    0x1000..=0x109f,
    0x1100..=0x11ff,
    0x1780..=0x17ff,
    0x3005..=0x3007,
    0x3040..=0x31ff,
    0x3400..=0x9fff,
    0xac00..=0xd7ff,
    0xf900..=0xfaff,
    0x20000..=0x3ffff,
];

/// Symbols that are searched like words: arrows to miscellaneous symbols, and the emoji blocks.
const SYMBOLS: [RangeInclusive<u32>; 2] = [0x2190..=0x2bff, 0x1f000..=0x1faff];

const SKIN_TONES: RangeInclusive<u32> = 0x1f3fb..=0x1f3ff;

/// Scripts of India and Tibet, whose marks are parts of words.
const INDIC: RangeInclusive<u32> = 0x0900..=0x0fff;

/// Diacritics that are ignored: general ones, Cyrillic, Hebrew points, Arabic vowels and tatweel, and
/// further general ones.
const DIACRITICS: [RangeInclusive<u32>; 13] = [
    0x0300..=0x036f,
    0x0483..=0x0489,
    0x0591..=0x05bd,
    0x05bf..=0x05bf,
    0x05c1..=0x05c2,
    0x05c4..=0x05c5,
    0x05c7..=0x05c7,
    0x0610..=0x061a,
    0x0640..=0x0640,
    0x064b..=0x065f,
    0x0670..=0x0670,
    0x1dc0..=0x1dff,
    0x20d0..=0x20ff,
];

/// The tokens of a text, as the index stores it.
pub(super) fn document(conversation: i64, text: &str) -> String {
    let mut tokens = conversation_token(conversation);
    // Each character of a word is in a token of three, and has a space.
    tokens.reserve(4 * text.len());
    for run in runs(&fold(text)) {
        run.add_tokens(&mut tokens);
    }
    tokens
}

fn conversation_token(conversation: i64) -> String {
    format!("{CONVERSATION}{conversation}")
}

/// What a user searches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SearchTerms {
    /// Phrases of tokens that a text must have.
    phrases: Vec<String>,
    /// Parts that the index does not have, and that each text is searched for.
    needles: Vec<Needle>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Needle {
    /// To be found in a folded text.
    Folded(String),
    /// Has only punctuation or marks, so it is compared with them.
    WithMarks(String),
}

impl SearchTerms {
    /// The terms in a typed text. `None` if it is blank.
    pub(super) fn of(typed: &str) -> Option<Self> {
        let folded = fold(typed);
        let (mut phrases, mut needles) = (Vec::new(), Vec::new());
        for (index, run) in runs(&folded).enumerate() {
            match run.phrase().filter(|_| index < INDEXED_RUNS_MAX) {
                Some(phrase) => phrases.push(phrase),
                None => needles.push(Needle::Folded(run.text())),
            }
        }
        if phrases.is_empty() && needles.is_empty() {
            let is_blank = |c: char| c.is_whitespace() || c.is_control();
            let typed = with_marks(typed.trim_matches(is_blank));
            if typed.is_empty() {
                return None;
            }
            needles.push(Needle::WithMarks(typed));
        }
        Some(Self { phrases, needles })
    }

    /// The query for the index. `None` if the index has none of the terms.
    pub(super) fn query(&self, conversation: Option<i64>) -> Option<String> {
        if self.phrases.is_empty() {
            return None;
        }
        let conversation = conversation.map(conversation_token);
        // No token has a quote: the quotes keep FTS5 from reading operators.
        let all = conversation.iter().chain(&self.phrases);
        let quoted: Vec<_> = all.map(|phrase| format!("\"{phrase}\"")).collect();
        Some(quoted.join(" AND "))
    }

    /// Whether texts must be compared with what the index does not have.
    pub(super) fn needs_scan(&self) -> bool {
        !self.needles.is_empty()
    }

    /// Whether a text has all terms that the index does not have.
    pub(super) fn needles_in(&self, text: &str) -> bool {
        let folded = fold(text);
        self.needles.iter().all(|needle| match needle {
            Needle::Folded(needle) => folded.contains(needle),
            Needle::WithMarks(needle) => with_marks(text).contains(needle),
        })
    }
}

/// Consecutive characters of one kind.
#[derive(Debug, PartialEq, Eq)]
struct Run<'a> {
    kind: Kind,
    chars: &'a [char],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Pairs,
    Symbols,
}

impl Run<'_> {
    /// Adds the tokens of this run, each after a space.
    fn add_tokens(&self, tokens: &mut String) {
        let mut add = |chars: &[char]| {
            tokens.push(' ');
            tokens.extend(chars);
        };
        match self.kind {
            Kind::Word => {
                let starts = 1..=self.chars.len().min(2);
                starts.for_each(|len| add(&self.chars[..len]));
                self.chars.windows(3).for_each(&mut add);
            }
            Kind::Pairs if self.chars.len() == 1 => add(self.chars),
            Kind::Pairs => self.chars.windows(2).for_each(&mut add),
            Kind::Symbols => self.chars.chunks(1).for_each(&mut add),
        }
        // The short starts of a word separate it from the one before.
        if self.kind != Kind::Word {
            tokens.push(' ');
            tokens.push_str(BREAK);
        }
    }

    /// The tokens that a text with this run has. `None` if the index can't tell.
    fn phrase(&self) -> Option<String> {
        let group = match (self.kind, self.chars.len()) {
            (Kind::Pairs, 1) => return None,
            (Kind::Pairs, _) => 2,
            (Kind::Symbols, _) => 1,
            (Kind::Word, len) => len.min(3),
        };
        let groups: Vec<_> = self.chars.windows(group).map(String::from_iter).collect();
        Some(groups.join(" "))
    }

    fn text(&self) -> String {
        String::from_iter(self.chars)
    }
}

/// Whether a character belongs to a script that is written without spaces between words.
pub(super) fn is_paired(c: char) -> bool {
    is_in(u32::from(c), &PAIRED)
}

/// The runs of a folded text.
fn runs(folded: &Folded) -> impl Iterator<Item = Run<'_>> {
    let same = |a: &char, b: &char| kind_of(*a) == kind_of(*b);
    folded.0.chunk_by(same).filter_map(|chars| {
        let kind = kind_of(*chars.first()?)?;
        Some(Run { kind, chars })
    })
}

fn kind_of(c: char) -> Option<Kind> {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric().then_some(Kind::Word);
    }
    let code = u32::from(c);
    // The rest of the block are letters, digits and marks.
    let is_indic = INDIC.contains(&code)
        && !matches!(code, 0x0964 | 0x0965 | 0x0970 | 0x0df4 | 0x0f01..=0x0f14 | 0x0f3a..=0x0f3d);
    if is_in(code, &PAIRED) && !matches!(code, 0x104a..=0x104f | 0x17d4..=0x17da) {
        Some(Kind::Pairs)
    } else if c.is_alphanumeric() || is_indic {
        Some(Kind::Word)
    } else if is_in(code, &SYMBOLS) {
        Some(Kind::Symbols)
    } else {
        None
    }
}

fn is_in(code: u32, ranges: &[RangeInclusive<u32>]) -> bool {
    ranges.iter().any(|range| range.contains(&code))
}

/// A text in which compatible forms, case, diacritics and invisible characters make no difference.
#[derive(Debug)]
struct Folded(Vec<char>);

impl Folded {
    fn contains(&self, needle: &str) -> bool {
        String::from_iter(&self.0).contains(needle)
    }
}

fn fold(text: &str) -> Folded {
    if text.is_ascii() {
        // Most texts: nothing to decompose.
        return Folded(text.chars().map(|c| c.to_ascii_lowercase()).collect());
    }
    let mut folded = Vec::with_capacity(text.len());
    for c in text.nfkc().flat_map(char::to_lowercase) {
        let code = u32::from(c);
        // Other scripts need their marks: a kana with its voicing mark is another letter.
        let has_diacritics = code < 0x0700 || (0x1e00..0x2000).contains(&code);
        if c.is_ascii() {
            folded.push(c);
        } else if has_diacritics {
            for c in std::iter::once(c).nfd() {
                if !is_in(u32::from(c), &DIACRITICS) && !is_default_ignorable(c) {
                    fold_letter(c, &mut folded);
                }
            }
        } else if !is_default_ignorable(c)
            && !SKIN_TONES.contains(&code)
            && !is_in(code, &DIACRITICS)
        {
            folded.push(c);
        }
    }
    Folded(folded)
}

/// Letters with a plain form that Unicode does not decompose.
fn fold_letter(c: char, folded: &mut Vec<char>) {
    let plain = match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ł' => "l",
        'ħ' => "h",
        'ı' => "i",
        'þ' => "th",
        'ς' => "σ",
        other => return folded.push(other),
    };
    folded.extend(plain.chars());
}

/// A text in which only compatible forms and case make no difference.
fn with_marks(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        let document = document(7, text);
        let tokens = document.split(' ').map(str::to_owned);
        tokens.skip(1).filter(|token| token != BREAK).collect()
    }

    fn query(typed: &str) -> Option<String> {
        SearchTerms::of(typed)?.query(None)
    }

    #[test]
    fn a_word_has_its_start_and_its_parts() {
        assert_eq!(tokens("a Café!"), ["a", "c", "ca", "caf", "afe"]);
        assert_eq!(query("CAFÉ").as_deref(), Some("\"caf afe\""));
        assert_eq!(query("ca fe").as_deref(), Some("\"ca\" AND \"fe\""));
    }

    #[test]
    fn scripts_without_spaces_have_pairs_and_emoji_are_words() {
        assert_eq!(tokens("今晚十"), ["今晚", "晚十"]);
        assert_eq!(tokens("👍🏽ok"), ["👍", "o", "ok"]);
        assert_eq!(query("👍").as_deref(), Some("\"👍\""));
    }

    #[test]
    fn what_the_index_does_not_have_is_looked_for_in_each_text() {
        let terms = SearchTerms::of("今").expect("a term");
        assert!(terms.needs_scan() && terms.query(None).is_none());
        assert!(terms.needles_in("晚今") && !terms.needles_in("晚"));
        let terms = SearchTerms::of("?!").expect("a term");
        assert!(terms.needles_in("what?!") && !terms.needles_in("what!"));
        assert_eq!(SearchTerms::of(" \t"), None);
    }

    #[test]
    fn a_search_in_a_conversation_has_its_token() {
        let terms = SearchTerms::of("tea").expect("a term");
        let in_one = terms.query(Some(7)).expect("a query");
        assert_eq!(in_one, format!("\"{CONVERSATION}7\" AND \"tea\""));
        assert!(document(7, "tea").starts_with(&format!("{CONVERSATION}7 ")));
    }
}
