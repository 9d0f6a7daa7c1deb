//! The lines at the bottom, where the user types.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::View;
use crate::tui::app::{Editor, Mode};
use crate::tui::layout::{PROMPT, cells};
use crate::tui::text::broken;

/// The prompt of a search.
const SEARCH: &str = "search: ";

/// Draws the text and returns the position of the cursor.
pub(super) fn render(view: View<'_>, area: Rect, buffer: &mut Buffer) -> Position {
    let (prompt, editor) = match view.app.screen.mode() {
        Mode::Search(search) => (SEARCH, search.words()),
        Mode::Chat | Mode::Links(_) | Mode::Help(_) => (PROMPT, view.app.composer.editor()),
    };
    let columns = usize::from(area.width) - prompt.len();
    let (row, column) = cursor(editor, columns);
    let shown = usize::from(area.height);
    let first = (row + 1).saturating_sub(shown);
    for (y, (index, text)) in (area.top()..area.bottom()).zip(
        broken(editor.text(), columns)
            .into_iter()
            .enumerate()
            .skip(first),
    ) {
        let before = if index == 0 {
            prompt.to_owned()
        } else {
            " ".repeat(prompt.len())
        };
        buffer.set_line(
            area.x,
            y,
            &Line::from(vec![
                Span::styled(before, view.theme.dim()),
                Span::raw(text),
            ]),
            area.width,
        );
    }
    Position::new(
        area.x + cells(prompt.len() + column),
        area.y + cells(row - first),
    )
}

fn cursor(editor: &Editor, columns: usize) -> (usize, usize) {
    let mut before = broken(editor.before_cursor(), columns);
    let column = before.pop().map_or(0, |last| last.width());
    // After a full row, the cursor is at the start of the next one.
    if column >= columns {
        (before.len() + 1, 0)
    } else {
        (before.len(), column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_at_the_edge_and_the_cursor_stays_on_the_screen() {
        let mut editor = Editor::default();
        for (text, rows, at) in [
            ("", vec![""], (0, 0)),
            ("abc", vec!["abc"], (0, 3)),
            ("abcd", vec!["abcd", ""], (1, 0)),
            ("abcde", vec!["abcd", "e"], (1, 1)),
            ("日本語", vec!["日本", "語"], (1, 2)),
            ("a\nb", vec!["a", "b"], (1, 1)),
            ("a\tb", vec!["a   ", " b"], (1, 2)),
        ] {
            editor.set(text.to_owned());
            assert_eq!(broken(text, 4), rows, "{text:?}");
            assert_eq!(cursor(&editor, 4), at, "{text:?}");
        }
    }
}
