//! Draws the state of the chat. Reads it, and changes nothing.

mod body;
mod input;
pub(super) mod rows;
mod search_results;
mod sidebars;
mod status_bar;
mod transfers;
mod welcome;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::app::App;
use super::layout::{COLUMNS_MIN, ROWS_MIN};

/// The whole screen.
pub(super) fn render(app: &App, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < COLUMNS_MIN || area.height < ROWS_MIN {
        return too_small(area, frame.buffer_mut());
    }
    let layout = app.layout();
    let buffer = frame.buffer_mut();
    status_bar::title(app, layout.title, buffer);
    status_bar::status(app, layout.status, buffer);
    if let Some(left) = layout.left {
        sidebars::conversations(app, left, buffer);
    }
    if let Some(right) = layout.right {
        sidebars::people(app, right, buffer);
    }
    body::render(app, layout.body, buffer);
    transfers::render(app, layout.transfers, buffer);
    let cursor = input::render(app, layout.input, buffer);
    if !app.theme.unicode {
        without_ellipses(buffer);
    }
    frame.set_cursor_position(cursor);
}

/// Of what the screen itself puts between words, this alone has no sign of its own in
/// [`super::theme`].
fn without_ellipses(buffer: &mut Buffer) {
    for cell in buffer
        .content
        .iter_mut()
        .filter(|cell| cell.symbol() == "…")
    {
        cell.set_symbol("~");
    }
}

fn too_small(area: Rect, buffer: &mut Buffer) {
    let words = format!(
        "hobnob needs {COLUMNS_MIN} x {ROWS_MIN}: this is {} x {}",
        area.width, area.height
    );
    let rows = super::text::wrap(&words, usize::from(area.width), 0);
    lines(rows.into_iter().map(Line::from), area, buffer);
}

/// Lines from the top of an area on, as many as fit.
fn lines<'a>(lines: impl Iterator<Item = Line<'a>>, area: Rect, buffer: &mut Buffer) {
    for (y, line) in (area.top()..area.bottom()).zip(lines) {
        buffer.set_line(area.x, y, &line, area.width);
    }
}
