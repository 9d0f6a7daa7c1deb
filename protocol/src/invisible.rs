//! Invisible characters: which of them a script or an emoji needs, and which may hide something.
//!
//! Persian separates letters with U+200C, families of emoji are joined with U+200D, the flags of
//! England, Scotland and Wales consist of tag characters, and right-to-left text uses direction
//! marks. Everywhere else these characters only hide text or imitate a name. The rules follow
//! UAX 31 section 2.3 (joiners) and UTS 51 section 1.4.9 (emoji sequences), by ranges of scripts
//! instead of their full tables: too generous a rule costs nothing here, because names are compared
//! without any invisible character.

use std::ops::RangeInclusive;

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';
const VARIATION_EMOJI: char = '\u{fe0f}';
const BLACK_FLAG: char = '\u{1f3f4}';
const CANCEL_TAG: char = '\u{e007f}';
const KEYCAP: char = '\u{20e3}';

/// Tag characters of a flag between the black flag and the cancel tag: a region code such as
/// `gbeng`.
const FLAG_TAGS: RangeInclusive<usize> = 3..=6;

/// Scripts whose letters join: Arabic, Syriac, N'Ko, Mandaic, Mongolian, Phags-pa, Manichaean to
/// Hanifi Rohingya, Adlam.
const JOINING: [RangeInclusive<u32>; 10] = [
    0x0600..=0x07bf,
    0x07ca..=0x07ff,
    0x0840..=0x08ff,
    0x1800..=0x18af,
    0xa840..=0xa87f,
    0xfb50..=0xfdff,
    0xfe70..=0xfefc,
    0x10ac0..=0x10aff,
    0x10d00..=0x10d3f,
    0x1e900..=0x1e95f,
];

/// Scripts with a virama, which joiners may follow: the Indic blocks, Myanmar, Khmer and others.
const INDIC: [RangeInclusive<u32>; 8] = [
    0x0900..=0x0dff,
    0x0f00..=0x109f,
    0x1700..=0x17ff,
    0x1a20..=0x1aad,
    0x1b00..=0x1bff,
    0xa800..=0xa8ff,
    0xa980..=0xa9df,
    0x11000..=0x11fff,
];

/// Pictographs that can stand in an emoji sequence (Extended_Pictographic of UTS 51, by range).
const PICTOGRAPHS: [RangeInclusive<u32>; 14] = [
    0xa9..=0xa9,
    0xae..=0xae,
    0x203c..=0x203c,
    0x2049..=0x2049,
    0x2122..=0x2122,
    0x2139..=0x2139,
    0x2194..=0x21aa,
    0x231a..=0x23ff,
    0x24c2..=0x24c2,
    0x25aa..=0x27bf,
    0x2934..=0x2935,
    0x2b05..=0x2b55,
    0x3030..=0x303d,
    0x1f000..=0x1faff,
];

/// Right-to-left scripts: Hebrew to Arabic Extended-A, their presentation forms, and the blocks of
/// the supplementary plane that are reserved for them.
const RIGHT_TO_LEFT: [RangeInclusive<u32>; 4] = [
    0x0590..=0x08ff,
    0xfb1d..=0xfdff,
    0xfe70..=0xfefc,
    0x10800..=0x10fff,
];

fn is_in(c: char, ranges: &[RangeInclusive<u32>]) -> bool {
    ranges.iter().any(|range| range.contains(&u32::from(c)))
}

/// Whether Unicode calls a character default-ignorable: a program that does not know the character
/// shows nothing (DerivedCoreProperties.txt).
pub fn is_default_ignorable(c: char) -> bool {
    matches!(u32::from(c),
        0xad | 0x034f | 0x061c | 0x115f | 0x1160 | 0x17b4 | 0x17b5 | 0x180b..=0x180f
        | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f
        | 0xfeff | 0xffa0 | 0xfff0..=0xfff8 | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
        | 0xe0000..=0xe0fff)
}

/// For each character of the text, whether its script or its emoji sequence needs it to be
/// invisible. Visible characters are answered with `false`.
pub(crate) fn needed(chars: &[char]) -> Vec<bool> {
    let mut needed = vec![false; chars.len()];
    let has_right_to_left = chars
        .iter()
        .any(|&c| is_in(c, &RIGHT_TO_LEFT) && !is_default_ignorable(c));
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| chars[before]);
        let after = chars.get(at + 1).copied();
        match c {
            ZWNJ => needed[at] = separates(before, after),
            ZWJ => needed[at] = joins(before, after),
            VARIATION_EMOJI => {
                needed[at] =
                    before.is_some_and(|c| is_in(c, &PICTOGRAPHS)) || after == Some(KEYCAP);
            }
            '\u{200e}' | '\u{200f}' | '\u{061c}' => needed[at] = has_right_to_left,
            BLACK_FLAG => mark_flag(&chars[at + 1..], &mut needed[at + 1..]),
            _ => {}
        }
    }
    needed
}

/// U+200C between two letters of a joining script, or after a letter of a script with a virama.
fn separates(before: Option<char>, after: Option<char>) -> bool {
    let both_in = |ranges: &[RangeInclusive<u32>]| {
        [before, after]
            .iter()
            .all(|c| c.is_some_and(|c| is_in(c, ranges) && !is_default_ignorable(c)))
    };
    both_in(&JOINING) || both_in(&INDIC)
}

/// U+200D between two pictographs, or after a letter that joins.
fn joins(before: Option<char>, after: Option<char>) -> bool {
    let Some(before) = before else { return false };
    let pictographs = (is_in(before, &PICTOGRAPHS) || before == VARIATION_EMOJI)
        && after.is_some_and(|c| is_in(c, &PICTOGRAPHS));
    let letter =
        (is_in(before, &JOINING) || is_in(before, &INDIC)) && !is_default_ignorable(before);
    pictographs || letter
}

/// Marks the tags after a black flag if they are a complete region code.
fn mark_flag(after: &[char], needed: &mut [bool]) {
    let tags = after
        .iter()
        .take_while(|&&c| matches!(c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}'))
        .count();
    if FLAG_TAGS.contains(&tags) && after.get(tags) == Some(&CANCEL_TAG) {
        needed[..=tags].fill(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with `_` for each invisible character that is not needed.
    fn marked(text: &str) -> String {
        let chars: Vec<_> = text.chars().collect();
        let needed = needed(&chars);
        chars
            .iter()
            .zip(needed)
            .map(|(&c, needed)| {
                if is_default_ignorable(c) && !needed {
                    '_'
                } else {
                    c
                }
            })
            .collect()
    }

    #[test]
    fn scripts_and_emoji_keep_what_they_need() {
        for text in [
            "می\u{200c}خواهم",
            "क्\u{200d}ष",
            "क्\u{200c}ष",
            "👩\u{200d}🔬",
            "👩🏽\u{200d}❤\u{fe0f}\u{200d}👩",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "1\u{fe0f}\u{20e3}",
            "שלום\u{200f}!",
        ] {
            assert_eq!(marked(text), text);
        }
    }

    #[test]
    fn what_only_hides_is_not_needed() {
        for (text, shown) in [
            ("a\u{200d}nn", "a_nn"),
            ("a\u{200c}nn", "a_nn"),
            ("an\u{ad}n", "an_n"),
            ("\u{200d}ann", "_ann"),
            ("ann\u{200f}", "ann_"),
            ("a\u{e0061}b", "a_b"),
            ("🏴\u{e0067}\u{e0062}", "🏴__"),
            ("🏴\u{e0067}\u{e0062}\u{e0065}", "🏴___"),
            ("می\u{200c}\u{200c}خواهم", "می__خواهم"),
            ("a\u{fe0f}", "a_"),
        ] {
            assert_eq!(marked(text), shown, "{text:?}");
        }
    }
}
