//! The list of links: one row each. The chosen one is highlighted and always on the screen.

use hobnob::protocol::text::visible;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::Line;

use super::View;
use crate::tui::app::{Link, Links};
use crate::tui::text::{fit, wrap};

/// The keys of this list.
const KEYS: &str = "Up and Down choose a link, Enter opens it, c copies it, Esc goes back.";

pub(super) fn rows(view: View<'_>, links: &Links, area: Rect) -> Vec<Line<'static>> {
    let (columns, shown) = (usize::from(area.width), usize::from(area.height));
    let row = |(index, link): (usize, &Link)| {
        let time = view.local(link.at).strftime("%H:%M");
        let words = format!("{time} <{}> {}", visible(&link.nick), link.address);
        if index != links.chosen() {
            return vec![Line::raw(fit(&words, columns))];
        }
        // The user sees all of the address that is opened.
        let rows = wrap(&words, columns, 0).into_iter();
        rows.map(|row| Line::raw(row).patch_style(Modifier::REVERSED))
            .collect()
    };
    let (mut all, mut end) = (Vec::new(), 0);
    for item in links.list().iter().enumerate() {
        let is_chosen = item.0 == links.chosen();
        all.extend(row(item));
        if is_chosen {
            end = all.len();
        }
    }
    let keys = wrap(KEYS, columns, 0).into_iter();
    let keys: Vec<_> = keys
        .map(|row| Line::styled(row, view.theme.dim()))
        .collect();
    let room = shown.saturating_sub(keys.len());
    let first = end.saturating_sub(room).min(all.len().saturating_sub(room));
    let rows = all.into_iter().skip(first).take(room);
    rows.chain(keys).take(shown).collect()
}
