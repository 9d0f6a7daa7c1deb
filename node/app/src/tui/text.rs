//! Text as cells: what people wrote becomes lines of a given width that hold nothing which could
//! disturb a screen, and nothing that is cut in half.

use hobnob::protocol::text::visible;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Characters in one cell at most. The longest emoji in use have ten; what a peer piles on top of
/// that is left out.
const GRAPHEME_CHARS_MAX: usize = 16;

/// What a tab looks like.
const TAB: &str = "    ";

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// As much of the text as fits, with an ellipsis where something is missing.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut kept, mut used) = (String::new(), 0);
    for grapheme in text.graphemes(true) {
        used += grapheme.width();
        if used >= columns {
            break;
        }
        kept.push_str(grapheme);
    }
    if columns > 0 {
        kept.push('…');
    }
    kept
}

/// The lines of a text from anybody, safe to show: line breaks part them, tabs are spaces, all else
/// that disturbs has a stand-in.
pub(super) fn lines(text: &str) -> impl Iterator<Item = String> {
    text.split('\n').map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line).replace('\t', TAB);
        thin(&visible(&line))
    })
}

/// Leaves out what is piled onto one character beyond measure.
fn thin(text: &str) -> String {
    text.graphemes(true)
        .flat_map(|grapheme| grapheme.chars().take(GRAPHEME_CHARS_MAX))
        .collect()
}

/// Breaks one line into lines of at most `columns`, at spaces and around wide characters where
/// there is a place, else between graphemes. `first` columns are taken already on the first line. A
/// grapheme wider than a line has one to itself.
pub(super) fn wrap(text: &str, columns: usize, first: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut wrapped = Wrapped {
        lines: vec![String::new()],
        used: first.min(columns),
        columns,
    };
    let mut word = String::new();
    for grapheme in text.graphemes(true) {
        let space = grapheme.chars().all(char::is_whitespace);
        if space || grapheme.width() > 1 {
            wrapped.add(&std::mem::take(&mut word));
            wrapped.add(grapheme);
        } else {
            word.push_str(grapheme);
        }
    }
    wrapped.add(&word);
    wrapped.lines
}

/// Rows of at most so many columns, broken between graphemes: what is typed must not jump about.
pub(super) fn broken(text: &str, columns: usize) -> Vec<String> {
    let mut rows = vec![];
    for line in text.split('\n') {
        let (mut row, mut used) = (String::new(), 0);
        for grapheme in line.graphemes(true) {
            if used + grapheme.width() > columns {
                rows.push(std::mem::take(&mut row));
                used = 0;
            }
            row.push_str(grapheme);
            used += grapheme.width();
        }
        rows.push(row);
        if used >= columns {
            rows.push(String::new());
        }
    }
    rows
}

struct Wrapped {
    lines: Vec<String>,
    used: usize,
    columns: usize,
}

impl Wrapped {
    fn add(&mut self, word: &str) {
        let needs = width(word);
        if self.used + needs <= self.columns {
            return self.push(word, needs);
        }
        // Spaces at which a line breaks are not seen.
        if word.chars().all(char::is_whitespace) {
            return self.used = self.columns;
        }
        if needs <= self.columns {
            self.line_break();
            return self.push(word, needs);
        }
        // What is to be copied, as a ticket, begins on a line of its own.
        if self.used > 0 {
            self.line_break();
        }
        for grapheme in word.graphemes(true) {
            let needs = grapheme.width();
            if self.used + needs > self.columns {
                self.line_break();
            }
            self.push(grapheme, needs);
        }
    }

    fn push(&mut self, text: &str, columns: usize) {
        self.lines
            .last_mut()
            .expect("there is a first line")
            .push_str(text);
        self.used += columns;
    }

    fn line_break(&mut self) {
        self.lines.push(String::new());
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_break_between_words_and_long_words_between_graphemes() {
        let cases: [(&str, usize, usize, &[&str]); 9] = [
            ("", 5, 0, &[""]),
            ("one two three", 7, 0, &["one two", "three"]),
            ("one two", 7, 4, &["one", "two"]),
            ("abcdefghij", 4, 0, &["abcd", "efgh", "ij"]),
            ("日本語", 5, 0, &["日本", "語"]),
            (
                "a e\u{301}e\u{301}e\u{301}",
                3,
                0,
                &["a ", "e\u{301}e\u{301}e\u{301}"],
            ),
            (
                "👩\u{200d}🔬👩\u{200d}🔬👩\u{200d}🔬",
                4,
                0,
                &["👩\u{200d}🔬👩\u{200d}🔬", "👩\u{200d}🔬"],
            ),
            ("שלום עולם", 5, 0, &["שלום ", "עולם"]),
            ("see /help or #lobby", 9, 0, &["see /help", "or #lobby"]),
        ];
        for (text, columns, first, lines) in cases {
            assert_eq!(wrap(text, columns, first), lines, "{text:?}");
        }
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        for (text, columns, shown) in [
            ("ann", 3, "ann"),
            ("annabel", 4, "ann…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("x", 0, ""),
        ] {
            assert_eq!(fit(text, columns), shown);
        }
    }

    #[test]
    fn texts_from_peers_are_lines_without_anything_that_disturbs() {
        let shown: Vec<String> = lines("a\tb\r\n\u{1b}[2J\u{202e}x\n").collect();
        assert_eq!(shown, ["a    b", "␛[2J⟨U+202E⟩x", ""]);
        let piled: String = std::iter::once('e')
            .chain(std::iter::repeat_n('\u{301}', 5000))
            .collect();
        assert_eq!(
            lines(&piled).next().unwrap().chars().count(),
            GRAPHEME_CHARS_MAX
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_but_spaces_and_no_line_is_too_wide(text in "\\PC{0,80}", columns in 2_usize..30, first in 0_usize..10) {
            let lines = wrap(&text, columns, first);
            let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(solid(&lines.concat()), solid(&text));
            for (index, line) in lines.iter().enumerate() {
                let taken = if index == 0 { first.min(columns) } else { 0 };
                // Some graphemes are three columns wide.
                prop_assert!(width(line) + taken <= columns || line.graphemes(true).count() == 1);
            }
        }
    }
}
