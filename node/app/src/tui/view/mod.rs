//! Draws the chat: reads the state in `app` and changes nothing.

mod body;
mod link_list;
mod prompt;
mod rows;
mod search_results;
mod sidebars;
mod status_bar;
mod theme;
mod transfer_bars;
mod welcome;

use hobnob_control::wire::Time;
use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::app::App;
use super::layout::{COLUMNS_MIN, ROWS_MIN};

pub(super) use theme::Theme;

/// How the chat is drawn. It does not change while the chat runs.
#[derive(Debug, Clone)]
pub(super) struct Appearance {
    pub(super) theme: Theme,
    /// The time zone of the user.
    pub(super) zone: TimeZone,
}

/// The state to draw, and how to draw it.
#[derive(Clone, Copy)]
struct View<'a> {
    app: &'a App,
    theme: Theme,
    zone: &'a TimeZone,
}

impl<'a> View<'a> {
    fn new(app: &'a App, appearance: &'a Appearance) -> View<'a> {
        View {
            app,
            theme: appearance.theme,
            zone: &appearance.zone,
        }
    }

    /// A time on the user's clock.
    fn local(self, at: Time) -> jiff::Zoned {
        at.timestamp().to_zoned(self.zone.clone())
    }
}

/// The number of rows of each entry of the window. Scrolling depends on it.
pub(super) fn row_heights(app: &App, appearance: &Appearance) -> Vec<usize> {
    rows::heights(View::new(app, appearance))
}

/// Draws the whole screen.
pub(super) fn render(app: &App, appearance: &Appearance, frame: &mut Frame<'_>) {
    let view = View::new(app, appearance);
    let area = frame.area();
    if area.width < COLUMNS_MIN || area.height < ROWS_MIN {
        return too_small(area, frame.buffer_mut());
    }
    let layout = app.layout();
    let buffer = frame.buffer_mut();
    status_bar::title(view, layout.title, buffer);
    status_bar::status(view, layout.status, buffer);
    if let Some(left) = layout.left {
        sidebars::conversations(view, left, buffer);
    }
    if let Some(right) = layout.right {
        sidebars::people(view, right, buffer);
    }
    body::render(view, layout.body, buffer);
    transfer_bars::render(view, layout.transfers, buffer);
    let cursor = prompt::render(view, layout.input, buffer);
    if !view.theme.unicode {
        replace_ellipses(buffer);
    }
    frame.set_cursor_position(cursor);
}

/// Replaces the ellipses that [`super::text::fit`] and the texts contain. All other signs that are
/// not ASCII are chosen in [`theme`].
fn replace_ellipses(buffer: &mut Buffer) {
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
        "hobnob needs {COLUMNS_MIN} x {ROWS_MIN}, this is {} x {}: enlarge the window",
        area.width, area.height
    );
    let rows = super::text::wrap(&words, usize::from(area.width), 0);
    lines(rows.into_iter().map(Line::from), area, buffer);
}

/// Draws as many lines as fit, from the top of the area down.
fn lines<'a>(lines: impl Iterator<Item = Line<'a>>, area: Rect, buffer: &mut Buffer) {
    for (y, line) in (area.top()..area.bottom()).zip(lines) {
        buffer.set_line(area.x, y, &line, area.width);
    }
}
