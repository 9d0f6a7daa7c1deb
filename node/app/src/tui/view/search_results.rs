//! The messages that a search found: one row each, below a line for each day. The chosen one is
//! highlighted and always on the screen.

use hobnob::protocol::text::visible;
use hobnob_control::wire::MessageLine;
use jiff::Zoned;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::Line;

use super::View;
use super::rows::day_words;
use crate::shared::wording;
use crate::tui::app::Search;
use crate::tui::text::{self, fit};

pub(super) fn rows(view: View<'_>, search: &Search, area: Rect) -> Vec<Line<'static>> {
    let (columns, shown) = (usize::from(area.width), usize::from(area.height));
    let Some(chosen) = search.chosen_index() else {
        return nothing(view, search, columns);
    };
    let (mut all, mut at, mut day) = (Vec::new(), 0, None);
    for (index, message) in search.found().iter().enumerate() {
        let said_at = view.local(message.received_at);
        if day != Some(said_at.date()) {
            day = Some(said_at.date());
            all.push(Line::styled(
                view.theme.rule(&day_words(said_at.date()), columns),
                view.theme.dim(),
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
    // The chosen row is the lowest one, unless the rows after it have room as well.
    let first = (at + 1)
        .saturating_sub(shown)
        .min(all.len().saturating_sub(shown));
    all.into_iter().skip(first).take(shown).collect()
}

/// `14:03 <ann> text [delivered]`
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

fn nothing(view: View<'_>, search: &Search, columns: usize) -> Vec<Line<'static>> {
    let words = if search.words().is_empty() {
        "Type words to search for. Up and Down choose, Enter opens the message, Esc goes back."
    } else if search.is_answered() {
        "No message here has these words. Try others, or press Esc."
    } else {
        "Searching …"
    };
    text::wrap(words, columns, 0)
        .into_iter()
        .map(|row| Line::styled(row, view.theme.dim()))
        .collect()
}
