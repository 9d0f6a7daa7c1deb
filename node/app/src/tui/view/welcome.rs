//! The welcome of an empty conversation: this node, who can see it and how others reach it; the
//! people here; and what to do next.

use hobnob::ConversationRef;
use hobnob::protocol::RoomName;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::View;
use crate::shared::status;
use crate::shared::wording;
use crate::tui::text;

/// The longest version that leaves room for `below` more rows: with blank rows, without them, or in
/// few words.
pub(super) fn rows_above(view: View<'_>, area: Rect, below: usize) -> Vec<Line<'static>> {
    let columns = usize::from(area.width).saturating_sub(2);
    let room = usize::from(area.height).saturating_sub(below);
    let long = [
        about_me(view),
        vec![(who_is_here(view), view.theme.note())],
        vec![(what_next(view), Style::new())],
    ];
    let wide = rows(&long, columns, true);
    if wide.len() <= room {
        return wide;
    }
    let dense = rows(&long, columns, false);
    if dense.len() <= room {
        dense
    } else {
        rows(&[in_few_words(view)], columns, false)
    }
}

type Paragraphs = Vec<(String, Style)>;

/// Wraps the paragraphs. `spaced`: a blank row follows each group.
fn rows(groups: &[Paragraphs], columns: usize, spaced: bool) -> Vec<Line<'static>> {
    let row =
        |text: String, style: Style| Line::from(vec![Span::raw(" "), Span::styled(text, style)]);
    let mut all = vec![];
    for group in groups.iter().filter(|group| !group.is_empty()) {
        for (paragraph, style) in group {
            let wrapped = text::lines(paragraph).flat_map(|line| text::wrap(&line, columns, 0));
            all.extend(wrapped.map(|text| row(text, *style)));
        }
        all.extend(spaced.then(Line::default));
    }
    all
}

/// About this node; only in the first conversation, where the chat opens.
fn about_me(view: View<'_>) -> Paragraphs {
    match (
        &view.app.people.status,
        view.app.conversations.current_index(),
    ) {
        (Some(status), 0) => status::who_where_how(status)
            .map(|line| (line, view.theme.dim()))
            .into(),
        (Some(_) | None, _) => vec![],
    }
}

fn what_next(view: View<'_>) -> String {
    if let Some(room) = left_room(view) {
        return format!(
            "You have left {room}: /join {} enters it again, /join ROOM another room, and /msg NAME TEXT writes to somebody. \
             F1 shows the keys, /help the commands, /quit exits.",
            room.as_str()
        );
    }
    "Type a message and press Enter. Tab completes names, F1 shows the keys, /help the commands, /quit exits.".to_owned()
}

/// The version for the smallest screens.
fn in_few_words(view: View<'_>) -> Paragraphs {
    let mut all = vec![];
    if let (Some(status), 0) = (
        &view.app.people.status,
        view.app.conversations.current_index(),
    ) {
        let [who, _, _] = status::who_where_how(status);
        all.push((who, view.theme.dim()));
        all.push((
            "Everyone you meet can see you: /id".to_owned(),
            view.theme.dim(),
        ));
    }
    let here = if view.app.is_looking() {
        format!(
            "{} Looking for people.",
            view.theme.spinner(view.app.screen.ticks())
        )
    } else {
        who_is_here(view)
    };
    all.push((here, view.theme.note()));
    all.push((
        "Type and press Enter. F1: the keys.".to_owned(),
        Style::new(),
    ));
    all
}

/// The open room, if the user has left it. It is open because there is no other conversation.
fn left_room(view: View<'_>) -> Option<&RoomName> {
    match view.app.conversations.current().of() {
        ConversationRef::Room(room) if view.app.people.has_left(room) => Some(room),
        ConversationRef::Room(_) | ConversationRef::Direct(_) => None,
    }
}

fn who_is_here(view: View<'_>) -> String {
    if view.app.is_looking() {
        return format!(
            "{} Looking for people. Run hobnob on another machine of this network, or write to somebody elsewhere: \
             /msg TICKET hello",
            view.theme.spinner(view.app.screen.ticks())
        );
    }
    let names: Vec<String> = view
        .app
        .people_here()
        .iter()
        .map(|peer| view.app.people.names.of(peer))
        .collect();
    match (
        view.app.conversations.current().of(),
        wording::some_of(&names),
    ) {
        (ConversationRef::Direct(peer), _) => format!(
            "You and {} have said nothing to each other yet.",
            view.app.people.names.of(peer)
        ),
        (ConversationRef::Room(_), Some(who)) => {
            format!(
                "{who} {} here: say hello.",
                if names.len() == 1 { "is" } else { "are" }
            )
        }
        (ConversationRef::Room(room), None) => format!("Nobody else is in {room} yet."),
    }
}
