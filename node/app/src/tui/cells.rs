//! Cells of the terminal that hold several characters, or one that terminals do not agree about.
//!
//! Terminals measure combined characters in different ways. tmux, for example, gives the vowel signs
//! of Indian scripts columns of their own. So such a cell is cleared before it is written, and the
//! cursor is put behind it afterwards: what follows is where it should be, and nothing is left over
//! when it scrolls away. In tmux a text has room for its signs.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::buffer::{Buffer, CellDiffOption};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Stands for a column that a sign takes in tmux. It is never written.
pub(super) const PAD: char = '\u{2800}';

/// Maximum columns that the signs of one character take beyond those that others give them.
const PADS_MAX: usize = 3;

/// Whether signs take columns of their own in this terminal.
static SIGNS_TAKE_COLUMNS: AtomicBool = AtomicBool::new(false);

/// Vowel signs that others show in the column of their letter: marks with a width of their own that
/// extend a grapheme (Unicode's general category Mc, and Other_Grapheme_Extend).
const SIGNS: [char; 24] = [
    '\u{9be}', '\u{9d7}', '\u{b3e}', '\u{b57}', '\u{bbe}', '\u{bd7}', '\u{cc0}', '\u{cc2}',
    '\u{cc7}', '\u{cc8}', '\u{cca}', '\u{ccb}', '\u{cd5}', '\u{cd6}', '\u{d3e}', '\u{d57}',
    '\u{dcf}', '\u{ddf}', '\u{1715}', '\u{1734}', '\u{1b35}', '\u{1b3b}', '\u{1b3d}', '\u{1b43}',
];

/// From now on texts have room for signs, if this terminal is tmux.
pub(super) fn set_terminal(is_tmux: bool) {
    SIGNS_TAKE_COLUMNS.store(is_tmux, Ordering::Relaxed);
}

/// The text as it is, or with [`PAD`] for each column that a sign takes in this terminal.
pub(super) fn with_room(text: String) -> String {
    if text.is_ascii() || !SIGNS_TAKE_COLUMNS.load(Ordering::Relaxed) {
        return text;
    }
    padded(&text)
}

fn padded(text: &str) -> String {
    let mut padded = String::with_capacity(text.len());
    let mut graphemes = text.graphemes(true).peekable();
    while let Some(grapheme) = graphemes.next() {
        padded.push_str(grapheme);
        // A text may pass here twice.
        if graphemes.peek().is_none_or(|next| !next.starts_with(PAD)) {
            padded.extend(std::iter::repeat_n(PAD, pads(grapheme)));
        }
    }
    padded
}

/// How many columns a grapheme takes in tmux beyond its width.
fn pads(grapheme: &str) -> usize {
    let is_emoji = |c: char| matches!(c, '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' | '\u{1f000}'..);
    if grapheme.is_ascii() || grapheme.contains(is_emoji) {
        return 0;
    }
    let apart: usize = grapheme.chars().map(columns_of).sum();
    apart.saturating_sub(grapheme.width()).min(PADS_MAX)
}

fn columns_of(c: char) -> usize {
    match SIGNS.contains(&c) {
        true => 1,
        false => c.width().unwrap_or(0),
    }
}

/// Fixes the places of the cells about which terminals do not agree.
pub(super) fn place(buffer: &mut Buffer) {
    let area = buffer.area;
    for y in area.top()..area.bottom() {
        let mut x = area.left();
        while x < area.right() {
            x += place_at(buffer, x, y);
        }
    }
}

/// Returns the columns of this cell.
fn place_at(buffer: &mut Buffer, x: u16, y: u16) -> u16 {
    let symbol = buffer[(x, y)].symbol();
    // Pictures are written by sequences.
    if symbol.len() == 1 || symbol.contains('\x1b') || !is_disputed(symbol) {
        return 1;
    }
    let symbol = symbol.to_owned();
    let right = buffer.area.right();
    let own = u16::try_from(symbol.width()).unwrap_or(1).max(1);
    let mut end = right.min(x.saturating_add(own));
    let is_pad = |end: u16| buffer[(end, y)].symbol().chars().eq([PAD]);
    while end < right && is_pad(end) {
        end += 1;
    }
    // What is behind it differs then from anything that is written there later.
    for behind in x + 1..end {
        buffer[(behind, y)].set_char(PAD);
    }
    let columns = NonZeroU16::new(end - x).unwrap_or(NonZeroU16::MIN);
    let go_on = if end < right {
        format!("\x1b[{}G", end + 1)
    } else {
        String::new()
    };
    buffer[(x, y)]
        .set_symbol(&format!("\x1b[{columns}X{symbol}{go_on}"))
        .set_diff_option(CellDiffOption::ForcedWidth(columns));
    columns.get()
}

/// Whether terminals may give this symbol different widths: it has several characters, or it is a
/// noncharacter, which some do not show.
fn is_disputed(symbol: &str) -> bool {
    let mut chars = symbol.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else {
        return false;
    };
    let code = u32::from(first);
    second.is_some() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn signs_have_room_and_nothing_else_has() {
        for (text, room) in [
            ("রাতে", "রা⠀তে"),
            ("நாளை", "நா⠀ளை"),
            ("ស្អែក", "ស្អែ⠀ក"),
            ("मिलेंगे", "मिलेंगे"),
            ("e\u{301} 日本語 👩‍👩‍👧‍👦 👍🏽 🇩🇪 1️⃣", "e\u{301} 日本語 👩‍👩‍👧‍👦 👍🏽 🇩🇪 1️⃣"),
            ("한글 שָׁלוֹם", "한글 שָׁלוֹם"),
        ] {
            assert_eq!(padded(text), room);
        }
    }

    #[test]
    fn a_disputed_cell_is_cleared_first_and_the_cursor_put_behind_it() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 6, 1));
        buffer.set_string(
            0,
            0,
            format!("aর\u{9be}{PAD}\u{1f468}\u{200d}\u{1f52c}"),
            Style::new(),
        );
        place(&mut buffer);
        let symbols: Vec<_> = (0..6).map(|x| buffer[(x, 0)].symbol()).collect();
        let pad = PAD.to_string();
        assert_eq!(symbols[..3], ["a", "\x1b[2Xর\u{9be}\x1b[4G", &pad]);
        assert_eq!(symbols[3], "\x1b[2X\u{1f468}\u{200d}\u{1f52c}\x1b[6G");
        assert_eq!(symbols[4..], [pad.as_str(), " "]);
    }

    #[test]
    fn what_follows_a_disputed_cell_is_written_again() {
        let area = Rect::new(0, 0, 4, 1);
        let (mut before, mut after) = (Buffer::empty(area), Buffer::empty(area));
        before.set_string(0, 0, "मि", Style::new());
        place(&mut before);
        after.set_string(0, 0, "a", Style::new());
        place(&mut after);
        let changed = before.diff(&after);
        let changed: Vec<_> = changed
            .iter()
            .map(|(x, _, cell)| (*x, cell.symbol()))
            .collect();
        assert_eq!(changed, [(0, "a"), (1, " ")]);
    }

    #[test]
    fn the_last_column_and_pictures_stay_as_they_are() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 2, 1));
        buffer[(0, 0)].set_symbol("\x1b_Gpicture");
        buffer[(1, 0)].set_symbol("e\u{301}");
        place(&mut buffer);
        assert_eq!(buffer[(0, 0)].symbol(), "\x1b_Gpicture");
        assert_eq!(buffer[(1, 0)].symbol(), "\x1b[1Xe\u{301}");
    }
}
