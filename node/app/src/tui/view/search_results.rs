//! What a search found: a row each, under a line for each day, the chosen one marked and on the
//! screen.

use hobnob::protocol::text::visible;
use hobnob_control::wire::MessageLine;
use jiff::Zoned;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::Line;

use super::rows::{day_words, local};
use crate::shared::wording;
use crate::tui::app::{App, Search};
use crate::tui::text::{self, fit};

pub(super) fn rows(app: &App, search: &Search, area: Rect) -> Vec<Line<'static>> {
    let (columns, shown) = (usize::from(area.width), usize::from(area.height));
    let Some(last) = search.found.len().checked_sub(1) else {
        return nothing(app, search, columns);
    };
    let chosen = last - search.chosen.min(last);
    let (mut all, mut at, mut day) = (Vec::new(), 0, None);
    for (index, message) in search.found.iter().enumerate() {
        let said_at = local(app, message.received_at);
        if day != Some(said_at.date()) {
            day = Some(said_at.date());
            all.push(Line::styled(
                app.theme.rule(&day_words(said_at.date()), columns),
                app.theme.dim(),
            ));
        }
        let row = Line::raw(fit(&row(message, &said_at), columns));
        if index == chosen {
            at = all.len();
            all.push(row.patch_style(Modifier::REVERSED));
        } else {
            all.push(row);
        }
    }
    // The chosen one is the lowest row, with what comes after it where there is room left.
    let first = (at + 1)
        .saturating_sub(shown)
        .min(all.len().saturating_sub(shown));
    all.into_iter().skip(first).take(shown).collect()
}

/// `14:03 <ann> text [delivered]`: the conversation is the one that is open.
fn row(message: &MessageLine, said_at: &Zoned) -> String {
    let state = message
        .state
        .map(|state| format!(" [{}]", state.as_str()))
        .unwrap_or_default();
    format!(
        "{} <{}> {}{state}",
        said_at.strftime("%H:%M"),
        visible(&message.nick),
        wording::body(&message.body)
    )
}

fn nothing(app: &App, search: &Search, columns: usize) -> Vec<Line<'static>> {
    let words = if search.words.is_empty() {
        "Type words; Enter goes to the message, Up and Down choose, Esc goes back."
    } else if search.is_answered() {
        "Nothing with these words here."
    } else {
        "Looking …"
    };
    text::wrap(words, columns, 0)
        .into_iter()
        .map(|row| Line::styled(row, app.theme.dim()))
        .collect()
}
