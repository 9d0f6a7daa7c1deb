//! The signs for emphasis that people write in messages, as Markdown has them: `**bold**`,
//! `*italic*`, `` `code` ``, fenced code, and `> quotes`.
//!
//! A message is shown with its signs, and only in another style. So a text that is copied from the
//! screen is the text that was written.

use super::text::wrap;

/// The signs that can begin an emphasis.
const SIGNS: [char; 4] = ['*', '_', '`', '>'];

/// A fence begins and ends lines of code.
const FENCE: &str = "```";

/// Maximum number of characters in one emphasis. A sign without a partner costs at most as many.
const EMPHASIS_MAX: usize = 1_000;

/// Maximum depth of emphasis inside emphasis.
const DEPTH_MAX: usize = 3;

/// The style of a character.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Emphasis {
    pub(crate) bold: bool,
    pub(crate) italic: bool,
    pub(crate) code: bool,
    pub(crate) quote: bool,
    /// It is a sign itself.
    pub(crate) sign: bool,
}

/// A part of a row in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) emphasis: Emphasis,
}

/// A row of the screen.
pub(crate) type Row = Vec<Piece>;

/// A row without emphasis.
pub(crate) fn plain(text: String) -> Row {
    let emphasis = Emphasis::default();
    vec![Piece { text, emphasis }]
}

/// The lines of a text in rows of at most `columns`. The first `before` bytes of the first line are
/// not part of the text.
pub(super) fn rows(lines: &[String], before: usize, columns: usize) -> Vec<Row> {
    let mut in_code = false;
    let mut rows = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let before = if index == 0 { before } else { 0 };
        let wrapped = wrap(line, columns, 0);
        let is_fence = line[before..].trim_start().starts_with(FENCE);
        if !is_fence && !in_code && !line[before..].contains(SIGNS) {
            rows.extend(wrapped.into_iter().map(plain));
            continue;
        }
        let chars: Vec<char> = line.chars().collect();
        let mut styles = vec![Emphasis::default(); chars.len()];
        let start = line[..before].chars().count();
        if is_fence || in_code {
            let style = Emphasis {
                code: true,
                sign: is_fence,
                ..Emphasis::default()
            };
            styles[start..].fill(style);
            in_code ^= is_fence;
        } else {
            style_line(&chars[start..], &mut styles[start..]);
        }
        rows.extend(pieces(&chars, &styles, &wrapped));
    }
    rows
}

/// The rows of a line with their styles. Wrapping has dropped some spaces.
fn pieces(chars: &[char], styles: &[Emphasis], wrapped: &[String]) -> Vec<Row> {
    let mut rest = chars.iter().zip(styles);
    let mut rows = Vec::new();
    for text in wrapped {
        let mut row: Row = Vec::new();
        for c in text.chars() {
            let style = rest.find(|(written, _)| **written == c);
            let emphasis = style.map_or_else(Emphasis::default, |(_, style)| *style);
            match row.last_mut() {
                Some(piece) if piece.emphasis == emphasis => piece.text.push(c),
                _ => row.push(Piece {
                    text: c.to_string(),
                    emphasis,
                }),
            }
        }
        if row.is_empty() {
            row = plain(String::new());
        }
        rows.push(row);
    }
    rows
}

fn style_line(chars: &[char], styles: &mut [Emphasis]) {
    let quote = chars.first() == Some(&'>');
    if quote {
        let style = Emphasis {
            quote,
            ..Emphasis::default()
        };
        styles.fill(style);
        styles[0].sign = true;
    }
    let from = usize::from(quote);
    inline(&chars[from..], &mut styles[from..], 0);
}

/// Finds emphasis in a part of a line. The styles have what is around it.
fn inline(chars: &[char], styles: &mut [Emphasis], depth: usize) {
    let mut at = 0;
    while at < chars.len() {
        let sign = chars[at];
        if !SIGNS[..3].contains(&sign) {
            at += link(&chars[at..], at.checked_sub(1).map(|before| chars[before])).max(1);
            continue;
        }
        let run = chars[at..].iter().take_while(|c| **c == sign).count();
        let inner = at + run;
        let end = match sign {
            '`' => closing(chars, inner, sign, run),
            _ if run <= 3 && opens(chars, at, run) => closing(chars, inner, sign, run),
            _ => None,
        };
        let Some(end) = end else {
            at = inner;
            continue;
        };
        for style in &mut styles[at..end + run] {
            style.code |= sign == '`';
            style.bold |= sign != '`' && run >= 2;
            style.italic |= sign != '`' && run != 2;
        }
        for sign in (at..inner).chain(end..end + run) {
            styles[sign].sign = true;
        }
        if sign != '`' && depth < DEPTH_MAX {
            inline(&chars[inner..end], &mut styles[inner..end], depth + 1);
        }
        at = end + run;
    }
}

/// The number of characters of a link that begins here. Its signs are not emphasis.
fn link(chars: &[char], before: Option<char>) -> usize {
    let begins = |start: &str| start.chars().eq(chars.iter().take(start.len()).copied());
    if before.is_some_and(char::is_alphanumeric) || !(begins("http://") || begins("https://")) {
        return 0;
    }
    chars.iter().take_while(|c| !c.is_whitespace()).count()
}

/// Whether a run of signs is at the start of a word. `snake_case` and `2*3` have none.
fn opens(chars: &[char], at: usize, run: usize) -> bool {
    let before = at.checked_sub(1).map(|before| chars[before]);
    let after = chars.get(at + run);
    before.is_none_or(|c| !c.is_alphanumeric()) && after.is_some_and(|c| !c.is_whitespace())
}

/// Where the signs of an emphasis begin that end it.
fn closing(chars: &[char], inner: usize, sign: char, run: usize) -> Option<usize> {
    let last = chars.len().min(inner + EMPHASIS_MAX);
    let mut at = inner;
    while at < last {
        if chars[at] != sign {
            at += 1;
            continue;
        }
        let length = chars[at..].iter().take_while(|c| **c == sign).count();
        let after = chars.get(at + length);
        let ends_word =
            !chars[at - 1].is_whitespace() && after.is_none_or(|c| !c.is_alphanumeric());
        if length == run && at > inner && (sign == '`' || ends_word) {
            return Some(at);
        }
        at += length;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tui::text::lines;

    /// The rows, with a letter before each piece for its styles.
    fn shown(text: &str, columns: usize) -> Vec<String> {
        let lines: Vec<_> = lines(text).collect();
        let rows = rows(&lines, 0, columns);
        let row = |row: Row| -> String {
            let pieces = row.into_iter().map(|Piece { text, emphasis }| {
                let signs = [
                    (emphasis.bold, 'b'),
                    (emphasis.italic, 'i'),
                    (emphasis.code, 'c'),
                    (emphasis.quote, 'q'),
                    (emphasis.sign, 's'),
                ];
                let signs: String = signs.iter().filter(|(on, _)| *on).map(|(_, c)| c).collect();
                match signs.is_empty() {
                    true => text,
                    false => format!("[{signs}:{text}]"),
                }
            });
            pieces.collect()
        };
        rows.into_iter().map(row).collect()
    }

    #[test]
    fn emphasis_keeps_its_signs() {
        for (text, expected) in [
            ("plain text", "plain text"),
            ("a **b c** d", "a [bs:**][b:b c][bs:**] d"),
            ("*i* _j_", "[is:*][i:i][is:*] [is:_][i:j][is:_]"),
            ("***both***", "[bis:***][bi:both][bis:***]"),
            (
                "**a *b* c**",
                "[bs:**][b:a ][bis:*][bi:b][bis:*][b: c][bs:**]",
            ),
            ("`a *b*`", "[cs:`][c:a *b*][cs:`]"),
            ("``a ` b``", "[cs:``][c:a ` b][cs:``]"),
            ("(*x*)", "([is:*][i:x][is:*])"),
            ("> so *be* it", "[qs:>][q: so ][iqs:*][iq:be][iqs:*][q: it]"),
        ] {
            assert_eq!(shown(text, 80), [expected], "{text:?}");
        }
    }

    #[test]
    fn ordinary_texts_have_no_emphasis() {
        for text in [
            "2*3*4 and snake_case_name",
            "* a list item",
            "a * b * c",
            "5 * 3",
            "__init__x",
            "**",
            "****",
            "*open",
            "a > b",
            "https://example.org/a_b_c?x=*y* ends",
            "`open",
        ] {
            assert_eq!(shown(text, 80), [text], "{text:?}");
        }
    }

    #[test]
    fn fenced_lines_are_code() {
        assert_eq!(
            shown("see\n```rust\nlet *x* = 1;\n```\n*so*", 80),
            [
                "see",
                "[cs:```rust]",
                "[c:let *x* = 1;]",
                "[cs:```]",
                "[is:*][i:so][is:*]"
            ]
        );
    }

    #[test]
    fn emphasis_goes_on_in_the_next_row() {
        assert_eq!(
            shown("*one two* three", 5),
            ["[is:*][i:one ]", "[i:two][is:*] ", "three"]
        );
    }

    #[test]
    fn the_name_before_an_action_is_no_emphasis() {
        let line = "*ann* waves *both* hands".to_owned();
        let rows = rows(&[line], "*ann* ".len(), 80);
        assert_eq!(rows[0][0].text, "*ann* waves ");
        assert!(rows[0][2].emphasis.italic);
    }

    #[test]
    fn many_signs_cost_little() {
        for sign in ["*a ", "_*", "**a *b ", "` `` "] {
            let text = sign.repeat(16_384 / sign.len());
            let width: usize = shown(&text, 80).len();
            assert!(width > 0);
        }
    }

    proptest! {
        #[test]
        fn the_text_of_the_rows_is_that_of_wrapping(text in "[a*_`> \\n]{0,60}|\\PC{0,60}", columns in 2_usize..30) {
            let lines: Vec<_> = lines(&text).collect();
            let expected: Vec<_> = lines.iter().flat_map(|line| wrap(line, columns, 0)).collect();
            let rows = rows(&lines, 0, columns);
            let texts: Vec<String> = rows
                .iter()
                .map(|row| row.iter().map(|piece| piece.text.as_str()).collect())
                .collect();
            prop_assert_eq!(texts, expected);
        }
    }
}
