//! The middle: messages, what a search found, help, or what to do first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::rows::Context;
use super::{first, found, lines};
use crate::cli::chat::table;
use crate::tui::app::{App, KEYS, Mode};
use crate::tui::layout::cells;
use crate::tui::text;

pub(super) fn render(app: &App, area: Rect, buffer: &mut Buffer) {
    match &app.mode {
        Mode::Search(search) => at_bottom(found::rows(app, search, area), area, buffer),
        Mode::Help(scrolled) => {
            let all = help(app, area);
            let last = all.len().saturating_sub(usize::from(area.height));
            lines(all.into_iter().skip((*scrolled).min(last)), area, buffer);
        }
        Mode::Chat if app.is_new_here() => {
            let notes = messages(app, area);
            let all = first::words(app, area, notes.len()).into_iter().chain(notes);
            let all: Vec<_> = all.collect();
            let gone = all.len().saturating_sub(usize::from(area.height));
            lines(all.into_iter().skip(gone), area, buffer);
        }
        Mode::Chat => at_bottom(messages(app, area), area, buffer),
    }
}

/// From the lowest row up, as many as fit.
fn messages(app: &App, area: Rect) -> Vec<Line<'static>> {
    let rows = usize::from(area.height);
    let context = Context::of(app);
    let scroll = app.window.settled(rows, |index| context.height(index));
    let mut shown: Vec<Line<'static>> = Vec::new();
    if app.window.scroll().is_none() {
        let pending: Vec<_> = app.my_pending().flat_map(|pending| context.pending(pending)).collect();
        shown.extend(pending.into_iter().rev());
    }
    let mut hidden = scroll.rows;
    let mut index = app.window.entries().len().saturating_sub(scroll.below);
    while index > 0 && shown.len() < rows {
        index -= 1;
        let mut entry = context.rows(index);
        entry.truncate(entry.len() - hidden.min(entry.len()));
        hidden = 0;
        shown.extend(entry.into_iter().rev());
    }
    shown.truncate(rows);
    shown.reverse();
    shown
}

fn at_bottom(rows: Vec<Line<'_>>, area: Rect, buffer: &mut Buffer) {
    let skipped = rows.len().saturating_sub(usize::from(area.height));
    let free = area.height.saturating_sub(cells(rows.len()));
    let area = Rect { y: area.y + free, height: area.height - free, ..area };
    lines(rows.into_iter().skip(skipped), area, buffer);
}

fn help(app: &App, area: Rect) -> Vec<Line<'static>> {
    const KEY: usize = 31;
    let columns = usize::from(area.width);
    let heading = |words: &str| Line::styled(words.to_owned(), app.looks.own());
    let mut all = vec![heading("Keys (Esc: back; PgUp, PgDn: more)")];
    all.extend(KEYS.iter().flat_map(|(key, what)| two_columns(key, what, KEY, columns)));
    all.extend([Line::default(), heading("Commands")]);
    for spec in table::COMMANDS {
        all.extend(two_columns(&table::synopsis(spec), &table::purpose(spec), table::SYNOPSIS, columns));
    }
    all.extend(two_columns("//text", "a message that begins with a slash", table::SYNOPSIS, columns));
    all
}

/// The second column stays below itself, where the screen is wide enough for two.
fn two_columns(name: &str, what: &str, wide: usize, columns: usize) -> Vec<Line<'static>> {
    if columns < 2 * wide {
        return text::wrap(&format!("{name}: {what}"), columns, 0).into_iter().map(Line::raw).collect();
    }
    let rows = text::wrap(what, columns - wide, 0).into_iter().enumerate();
    rows.map(|(index, row)| Line::raw(format!("{:wide$}{row}", if index == 0 { name } else { "" }))).collect()
}
