//! The middle: messages, what a search found, help, or what to do first.

use hobnob::ConversationRef;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::lines;
use super::rows::Context;
use crate::cli::chat::{command, words};
use crate::cli::show;
use crate::tui::app::{App, KEYS, Mode, Search, some_of};
use crate::tui::layout::cells;
use crate::tui::text::{self, fit};

pub(super) fn render(app: &App, area: Rect, buffer: &mut Buffer) {
    match &app.mode {
        Mode::Search(search) => at_bottom(found(app, search, area), area, buffer),
        Mode::Help(scrolled) => {
            let all = help(app, area);
            let last = all.len().saturating_sub(usize::from(area.height));
            lines(all.into_iter().skip((*scrolled).min(last)), area, buffer);
        }
        Mode::Chat if app.is_new_here() => {
            let mut all: Vec<_> = first_words(app, area).into_iter().chain(messages(app, area)).collect();
            if all.len() > usize::from(area.height) {
                all.retain(|line| line.width() > 0);
            }
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

/// One row a message, the chosen one marked and on the screen.
fn found(app: &App, search: &Search, area: Rect) -> Vec<Line<'static>> {
    if search.found.is_empty() {
        let nothing = if search.words.is_empty() {
            "Type words; Enter goes to the message, Up and Down choose, Esc goes back."
        } else if search.is_answered() {
            "Nothing with these words here."
        } else {
            "Looking …"
        };
        return text::wrap(nothing, usize::from(area.width), 0)
            .into_iter()
            .map(|row| Line::styled(row, app.looks.dim()))
            .collect();
    }
    let names = &app.names;
    let last = search.found.len() - 1 - search.chosen.min(search.found.len() - 1);
    let above = usize::from(area.height).saturating_sub(1);
    let first = last.saturating_sub(above.min(last));
    let until = (first + usize::from(area.height)).min(search.found.len());
    let rows = search.found[first..until].iter().enumerate().map(|(index, message)| {
        let text = fit(&show::message(message, names), usize::from(area.width));
        let line = Line::raw(text);
        if first + index == last { line.patch_style(Modifier::REVERSED) } else { line }
    });
    rows.collect()
}

fn help(app: &App, area: Rect) -> Vec<Line<'static>> {
    const KEY: usize = 31;
    let columns = usize::from(area.width);
    let heading = |words: &str| Line::styled(words.to_owned(), app.looks.own());
    let mut all = vec![heading("Keys (Esc: back; PgUp, PgDn: more)")];
    all.extend(KEYS.iter().flat_map(|(key, what)| two_columns(key, what, KEY, columns)));
    all.extend([Line::default(), heading("Commands")]);
    for spec in command::COMMANDS {
        all.extend(two_columns(&command::synopsis(spec), &command::purpose(spec), command::SYNOPSIS, columns));
    }
    all.extend(two_columns("//text", "a message that begins with a slash", command::SYNOPSIS, columns));
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

/// Who you are, who can see you, how others reach you; who is there; what to do next.
fn first_words(app: &App, area: Rect) -> Vec<Line<'static>> {
    let columns = usize::from(area.width).saturating_sub(2);
    let paragraph = |text: &str, style| {
        let rows = text::lines(text).flat_map(|line| text::wrap(&line, columns, 0)).collect::<Vec<_>>();
        rows.into_iter().map(move |row| Line::from(vec![Span::raw(" "), Span::styled(row, style)])).collect::<Vec<_>>()
    };
    let mut all = vec![];
    // The first conversation is the one that is open at the start.
    if let (Some(status), 0) = (&app.status, app.current) {
        for line in words::who_where_how(status) {
            all.extend(paragraph(&line, app.looks.dim()));
        }
        all.push(Line::default());
    }
    all.extend(paragraph(&who_is_here(app), app.looks.note()));
    all.push(Line::default());
    all.extend(paragraph(
        "Type a message and press Enter. Tab completes names, F1 shows the keys, /help the commands, /quit ends.",
        Style::new(),
    ));
    all.push(Line::default());
    all
}

fn who_is_here(app: &App) -> String {
    if app.is_looking() {
        return format!(
            "{} Looking for people. Run hobnob on another machine of this network, or write to somebody elsewhere: \
             /msg TICKET hello",
            app.looks.spinner(app.turn)
        );
    }
    let names: Vec<String> = app.people().iter().map(|peer| app.names.of(peer)).collect();
    match (&app.conversation().of, some_of(&names)) {
        (ConversationRef::Direct(peer), _) => format!("You and {} have said nothing to each other yet.", app.names.of(peer)),
        (ConversationRef::Room(_), Some(who)) => {
            format!("{who} {} here: say hello.", if names.len() == 1 { "is" } else { "are" })
        }
        (ConversationRef::Room(room), None) => format!("Nobody else is in {room} yet."),
    }
}
