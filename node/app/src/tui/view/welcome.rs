//! Where nothing was said yet: who one is, who can see one, how others reach one; who is there;
//! what to do next.

use hobnob::ConversationRef;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::shared::status;
use crate::shared::wording;
use crate::tui::app::App;
use crate::tui::text;

/// The rows: as they are best read, or without what parts them, or in few words, whichever leaves
/// room for so many more below.
pub(super) fn words(app: &App, area: Rect, below: usize) -> Vec<Line<'static>> {
    let columns = usize::from(area.width).saturating_sub(2);
    let room = usize::from(area.height).saturating_sub(below);
    let long = [
        about_me(app),
        vec![(who_is_here(app), app.theme.note())],
        vec![(what_next(), Style::new())],
    ];
    let wide = rows(&long, columns, true);
    if wide.len() <= room {
        return wide;
    }
    let dense = rows(&long, columns, false);
    if dense.len() <= room {
        dense
    } else {
        rows(&[in_few_words(app)], columns, false)
    }
}

type Paragraphs = Vec<(String, Style)>;

/// The paragraphs in rows of so many columns, with a blank row after each group if so wanted.
fn rows(groups: &[Paragraphs], columns: usize, parted: bool) -> Vec<Line<'static>> {
    let row =
        |text: String, style: Style| Line::from(vec![Span::raw(" "), Span::styled(text, style)]);
    let mut all = vec![];
    for group in groups.iter().filter(|group| !group.is_empty()) {
        for (paragraph, style) in group {
            let wrapped = text::lines(paragraph).flat_map(|line| text::wrap(&line, columns, 0));
            all.extend(wrapped.map(|text| row(text, *style)));
        }
        all.extend(parted.then(Line::default));
    }
    all
}

/// Only where one is at the start, which is the first conversation.
fn about_me(app: &App) -> Paragraphs {
    match (&app.people.status, app.current) {
        (Some(status), 0) => status::who_where_how(status)
            .map(|line| (line, app.theme.dim()))
            .into(),
        (Some(_) | None, _) => vec![],
    }
}

fn what_next() -> String {
    "Type a message and press Enter. Tab completes names, F1 shows the keys, /help the commands, /quit ends.".to_owned()
}

/// What fits on the smallest of screens.
fn in_few_words(app: &App) -> Paragraphs {
    let mut all = vec![];
    if let (Some(status), 0) = (&app.people.status, app.current) {
        let [who, _, _] = status::who_where_how(status);
        all.push((who, app.theme.dim()));
        all.push((
            "Everyone you meet can see you: /id".to_owned(),
            app.theme.dim(),
        ));
    }
    let here = if app.is_looking() {
        format!("{} Looking for people.", app.theme.spinner(app.turn))
    } else {
        who_is_here(app)
    };
    all.push((here, app.theme.note()));
    all.push((
        "Type and press Enter. F1: the keys.".to_owned(),
        Style::new(),
    ));
    all
}

fn who_is_here(app: &App) -> String {
    if app.is_looking() {
        return format!(
            "{} Looking for people. Run hobnob on another machine of this network, or write to somebody elsewhere: \
             /msg TICKET hello",
            app.theme.spinner(app.turn)
        );
    }
    let names: Vec<String> = app
        .people_here()
        .iter()
        .map(|peer| app.people.names.of(peer))
        .collect();
    match (&app.conversation().of, wording::some_of(&names)) {
        (ConversationRef::Direct(peer), _) => format!(
            "You and {} have said nothing to each other yet.",
            app.people.names.of(peer)
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
