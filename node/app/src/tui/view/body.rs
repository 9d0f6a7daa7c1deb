//! The middle of the screen: messages, search results, help or the welcome.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::rows::Context;
use super::{View, lines, link_list, search_results, welcome};
use crate::shared::actions::help;
use crate::tui::app::{KEYS, Mode};
use crate::tui::layout::cells;
use crate::tui::picture::Picture;
use crate::tui::text;

pub(super) fn render(view: View<'_>, area: Rect, buffer: &mut Buffer) {
    match view.app.screen.mode() {
        Mode::Search(search) => at_bottom(search_results::rows(view, search, area), area, buffer),
        Mode::Links(links) => at_bottom(link_list::rows(view, links, area), area, buffer),
        Mode::Help(scrolled) => {
            let all = help_page(view, area);
            let last = all.len().saturating_sub(usize::from(area.height));
            lines(all.into_iter().skip((*scrolled).min(last)), area, buffer);
        }
        Mode::Chat if view.app.is_new_here() => {
            let notes = messages(view, area).rows;
            let all = welcome::rows_above(view, area, notes.len())
                .into_iter()
                .chain(notes);
            let all: Vec<_> = all.collect();
            let gone = all.len().saturating_sub(usize::from(area.height));
            lines(all.into_iter().skip(gone), area, buffer);
        }
        Mode::Chat => messages(view, area).render(area, buffer),
    }
}

/// Rows of messages, and the pictures that are drawn over them.
struct Messages<'a> {
    rows: Vec<Line<'static>>,
    pictures: Vec<Placed<'a>>,
}

struct Placed<'a> {
    picture: &'a Picture,
    /// The row at which the picture begins; negative above the first row.
    top: i16,
    column: u16,
}

impl Messages<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let rows = cells(self.rows.len()).min(area.height);
        at_bottom(self.rows, area, buffer);
        for Placed {
            picture,
            top,
            column,
        } in self.pictures
        {
            let column = column.min(area.width);
            let beside = Rect {
                x: area.x + column,
                y: area.bottom() - rows,
                width: area.width - column,
                height: rows,
            };
            picture.render(top, beside, buffer);
        }
    }
}

/// As many rows as fit, from the lowest one up.
fn messages(view: View<'_>, area: Rect) -> Messages<'_> {
    let rows = usize::from(area.height);
    let context = Context::of(view);
    let scroll = view
        .app
        .conversations
        .window()
        .settled(rows, |index| context.height(index));
    let mut shown: Vec<Line<'static>> = Vec::new();
    if view.app.conversations.window().scroll().is_none() {
        let pending: Vec<_> = view
            .app
            .pending_here()
            .flat_map(|pending| context.pending(pending))
            .collect();
        shown.extend(pending.into_iter().rev());
    }
    let mut over = Vec::new();
    let mut hidden = scroll.rows;
    let mut index = view
        .app
        .conversations
        .window()
        .entries()
        .len()
        .saturating_sub(scroll.below);
    while index > 0 && shown.len() < rows {
        index -= 1;
        let mut entry = context.rows(index);
        if let Some((picture, column)) = context.picture(index) {
            // The number of rows from the picture's upper edge to the lower edge of the screen. The
            // hidden rows of this entry are below that edge.
            let up = i16::try_from(shown.len())
                .unwrap_or(i16::MAX)
                .saturating_add_unsigned(picture.rows());
            over.push((picture, up.saturating_sub_unsigned(cells(hidden)), column));
        }
        entry.truncate(entry.len() - hidden.min(entry.len()));
        hidden = 0;
        shown.extend(entry.into_iter().rev());
    }
    shown.truncate(rows);
    shown.reverse();
    let rows = i16::try_from(shown.len()).unwrap_or(i16::MAX);
    let placed = |(picture, up, column)| Placed {
        picture,
        top: rows.saturating_sub(up),
        column,
    };
    Messages {
        rows: shown,
        pictures: over.into_iter().map(placed).collect(),
    }
}

fn at_bottom(rows: Vec<Line<'_>>, area: Rect, buffer: &mut Buffer) {
    let skipped = rows.len().saturating_sub(usize::from(area.height));
    let free = area.height.saturating_sub(cells(rows.len()));
    let area = Rect {
        y: area.y + free,
        height: area.height - free,
        ..area
    };
    lines(rows.into_iter().skip(skipped), area, buffer);
}

fn help_page(view: View<'_>, area: Rect) -> Vec<Line<'static>> {
    const KEY: usize = 31;
    let columns = usize::from(area.width);
    let heading = |words: &str| Line::styled(words.to_owned(), view.theme.own());
    let five = text::wrap(help::FIVE_THINGS, columns, 0);
    let mut all: Vec<_> = five.into_iter().map(Line::raw).collect();
    all.extend([Line::default(), heading("Keys (PgUp, PgDn: scroll)")]);
    all.extend(
        KEYS.iter()
            .flat_map(|(key, what)| two_columns(key, what, KEY, columns)),
    );
    let bound = view.app.keys.bindings().names();
    let bound: Vec<_> = bound
        .flat_map(|(key, what)| two_columns(&key, what, KEY, columns))
        .collect();
    if !bound.is_empty() {
        all.extend([Line::default(), heading("Your keys (setting keys)")]);
        all.extend(bound);
    }
    for (group, actions) in help::chat_groups(|_| true) {
        all.extend([Line::default(), heading(group.title())]);
        for action in actions {
            all.extend(two_columns(
                &help::synopsis(action),
                &help::purpose(action),
                help::SYNOPSIS,
                columns,
            ));
        }
    }
    all.extend(two_columns(
        "//text",
        "Send a message that begins with a slash",
        help::SYNOPSIS,
        columns,
    ));
    all
}

/// Wraps the second column below itself if the screen is wide enough for two columns.
fn two_columns(name: &str, what: &str, wide: usize, columns: usize) -> Vec<Line<'static>> {
    if columns < 2 * wide {
        return text::wrap(&format!("{name}: {what}"), columns, 0)
            .into_iter()
            .map(Line::raw)
            .collect();
    }
    let rows = text::wrap(what, columns - wide, 0).into_iter().enumerate();
    rows.map(|(index, row)| Line::raw(format!("{:wide$}{row}", if index == 0 { name } else { "" })))
        .collect()
}
