//! The line at the top, where one is; and the one above the input: who one is, who is there, and
//! how they are reached.

use hobnob::protocol::text::visible;
use hobnob::{ConversationRef, PeerState};
use hobnob_control::wire::StatusLine;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::sidebars::route;
use crate::shared::wording;
use crate::tui::app::{App, Hint, Mode};
use crate::tui::text::{fit, width};

/// Between two things on a bar.
const GAP: &str = "  ";

pub(super) fn title(app: &App, area: Rect, buffer: &mut Buffer) {
    let conversation = &app.conversation().of;
    let name = app.people.names.of_conversation(conversation);
    let rest = match (&app.mode, conversation) {
        (Mode::Help(_), _) => "help".to_owned(),
        (Mode::Search(_), _) => "search".to_owned(),
        (Mode::Chat, ConversationRef::Room(_)) => people(app),
        (Mode::Chat, ConversationRef::Direct(peer)) => match app.people.peers.get(peer) {
            Some(known) => format!("{}{GAP}{}", route(known), peer.short()),
            None => peer.short(),
        },
    };
    bar(app, &format!(" {name}{GAP}{rest}"), "", area, buffer);
}

fn people(app: &App) -> String {
    let ConversationRef::Room(room) = &app.conversation().of else {
        return String::new();
    };
    let kind = match app.people.rooms.get(room) {
        Some(room) if room.open => "open",
        Some(_) => "with a secret",
        None => "",
    };
    let mut names: Vec<String> = app
        .people_here()
        .iter()
        .map(|peer| app.people.names.of(peer))
        .collect();
    names.sort_by_key(|name| name.to_lowercase());
    let who = if names.is_empty() {
        "nobody else is here".to_owned()
    } else {
        format!("here: {}", names.join(", "))
    };
    format!("{kind}{GAP}{who}")
}

pub(super) fn status(app: &App, area: Rect, buffer: &mut Buffer) {
    let right = match (&app.mode, app.window.scroll()) {
        (Mode::Chat, Some(_)) => format!(
            "{} below: Alt-End ",
            wording::count(app.window.below(), "message")
        ),
        (Mode::Chat | Mode::Search(_) | Mode::Help(_), _) => String::new(),
    };
    let columns = usize::from(area.width).saturating_sub(width(&right) + 2);
    let left = match &app.hint {
        Some(Hint::Words(words)) => (*words).to_owned(),
        Some(Hint::Pasted(lines)) => pasted(*lines, columns),
        None => fitting(parts(app), columns),
    };
    bar(app, &format!(" {left}"), &right, area, buffer);
}

/// What Enter does with lines that were pasted; Ctrl-c is the key that drops more than the last of
/// them.
fn pasted(lines: usize, columns: usize) -> String {
    let whole = format!("{lines} lines: Enter sends them as one message, Ctrl-c drops them");
    if width(&whole) <= columns {
        whole
    } else {
        format!("{lines} lines: Enter sends, Ctrl-c drops")
    }
}

/// What matters most comes first.
fn parts(app: &App) -> Vec<String> {
    let mut parts = vec![];
    match &app.people.status {
        Some(status) => parts.push(format!(
            "{} ({})",
            visible(status.nick.as_str()),
            status.peer.0.short()
        )),
        None => parts.push("starting".to_owned()),
    }
    if app.layout().left.is_none() {
        parts.extend(elsewhere(app));
    }
    parts.push(wording::count(app.people.online().count(), "peer"));
    if let ConversationRef::Direct(peer) = &app.conversation().of
        && let Some(known) = app
            .people
            .peers
            .get(peer)
            .filter(|peer| peer.state != PeerState::Offline)
    {
        let by = if known.state == PeerState::Suspect {
            ":"
        } else {
            " by"
        };
        parts.push(format!(
            "{}{by} {}",
            app.people.names.of(peer),
            route(known)
        ));
    }
    parts.extend(app.people.status.iter().flat_map(relays));
    if app.mouse {
        parts.push("mouse".to_owned());
    }
    parts
}

/// `unread 2:3 4:1`, for screens without the list.
fn elsewhere(app: &App) -> Option<String> {
    let unread = app
        .conversations
        .iter()
        .enumerate()
        .filter(|(_, conversation)| conversation.unread > 0);
    let all: Vec<String> = unread
        .map(|(index, conversation)| format!("{}:{}", index + 1, conversation.unread))
        .collect();
    (!all.is_empty()).then(|| format!("unread {}", all.join(" ")))
}

fn relays(status: &StatusLine) -> Vec<String> {
    let state = |up: bool| if up { "up" } else { "down" };
    match status.relays.as_slice() {
        [] => vec!["no relay".to_owned()],
        [one] => vec![format!("relay {} {}", one.at.0.host, state(one.up))],
        many => vec![format!(
            "relays {} of {} up",
            many.iter().filter(|relay| relay.up).count(),
            many.len()
        )],
    }
}

/// As many parts as fit, the first in any case.
fn fitting(parts: Vec<String>, columns: usize) -> String {
    let mut shown = String::new();
    for part in parts {
        if shown.is_empty() {
            shown = fit(&part, columns);
        } else if width(&shown) + GAP.len() + width(&part) <= columns {
            shown = format!("{shown}{GAP}{part}");
        }
    }
    shown
}

fn bar(app: &App, left: &str, right: &str, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width);
    let left = fit(left, columns.saturating_sub(width(right) + 1));
    let gap = " ".repeat(columns.saturating_sub(width(&left) + width(right)));
    buffer.set_string(
        area.x,
        area.y,
        format!("{left}{gap}{right}"),
        app.theme.bar(),
    );
}
