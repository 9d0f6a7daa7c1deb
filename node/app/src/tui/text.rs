//! Text in cells of the terminal: measures it, wraps it, and makes texts from peers safe to show.
//! No function here splits a grapheme.

use hobnob::protocol::text::visible;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::cells;

/// Maximum number of characters in one grapheme; the rest is dropped. The longest emoji in use have
/// ten.
const GRAPHEME_CHARS_MAX: usize = 16;

/// A tab on the screen.
const TAB: &str = "    ";

/// The number of columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.graphemes(true).map(UnicodeWidthStr::width).sum()
}

/// The text, cut to this many columns. A cut text ends in an ellipsis.
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

/// The lines of a text from a peer, safe to show: tabs become spaces, and other control characters
/// become visible symbols.
pub(super) fn lines(text: &str) -> impl Iterator<Item = String> {
    text.split('\n').map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line).replace('\t', TAB);
        cells::with_room(limit_graphemes(&visible(&line)))
    })
}

/// Drops the combining characters beyond [`GRAPHEME_CHARS_MAX`].
fn limit_graphemes(text: &str) -> String {
    text.graphemes(true)
        .flat_map(|grapheme| grapheme.chars().take(GRAPHEME_CHARS_MAX))
        .collect()
}

/// Wraps one line into lines of at most `columns`: at spaces and beside wide characters if
/// possible, else between graphemes. `first` columns of the first line are in use already. A
/// grapheme that is wider than a line gets its own line.
pub(super) fn wrap(text: &str, columns: usize, first: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut wrapped = Wrapped {
        lines: vec![String::new()],
        used: first.min(columns),
        columns,
    };
    let mut word = String::new();
    for grapheme in graphemes(text) {
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

/// Breaks the typed text into rows, between graphemes and not at spaces: so the words before the
/// cursor stay where they are while the user types.
pub(super) fn broken(text: &str, columns: usize) -> Vec<String> {
    let mut rows = vec![];
    for line in text.split('\n') {
        let line = line.replace('\t', TAB);
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

/// The graphemes of a text, each with the room for its signs.
fn graphemes(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let mut end = text.graphemes(true).next()?.len();
        while text[end..].starts_with(cells::PAD) {
            end += cells::PAD.len_utf8();
        }
        let (grapheme, rest) = text.split_at(end);
        text = rest;
        Some(grapheme)
    })
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
        // Spaces at the end of a line are dropped.
        if word.chars().all(char::is_whitespace) {
            return self.used = self.columns;
        }
        if needs <= self.columns {
            self.line_break();
            return self.push(word, needs);
        }
        // A long word starts on its own line: it may be a ticket, which the user wants to copy.
        if self.used > 0 {
            self.line_break();
        }
        for grapheme in graphemes(word) {
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
            .expect("`wrap` begins with one line and none is removed")
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
        let cases: [(&str, usize, usize, &[&str]); 10] = [
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
            ("রা⠀রা⠀রা⠀", 5, 0, &["রা⠀রা⠀", "রা⠀"]),
        ];
        for (text, columns, first, lines) in cases {
            assert_eq!(wrap(text, columns, first), lines, "{text:?}");
        }
    }

    #[test]
    fn a_cut_text_ends_in_an_ellipsis() {
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
    fn texts_from_peers_have_no_control_characters_on_the_screen() {
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
        fn wrapping_loses_only_spaces_and_no_line_is_too_wide(text in "\\PC{0,80}", columns in 2_usize..30, first in 0_usize..10) {
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
