//! The line at the top, with the open conversation; and the line above the input, with this node,
//! its peers and its relays.

use hobnob::protocol::RoomName;
use hobnob::protocol::text::visible;
use hobnob::{ConversationRef, PeerState};
use hobnob_control::wire::StatusLine;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::View;
use super::sidebars::route;
use crate::shared::{activity, wording};
use crate::tui::app::{Hint, Mode, Pasted};
use crate::tui::text::{fit, width};

/// The columns of a screen that has room for the hint at the help.
const HINT_FROM: u16 = 60;

/// Between two parts of a line.
const GAP: &str = "  ";

pub(super) fn title(view: View<'_>, area: Rect, buffer: &mut Buffer) {
    let conversation = view.app.conversations.current().of();
    let name = view.app.people.names.of_conversation(conversation);
    let rest = match (view.app.screen.mode(), conversation) {
        (Mode::Help(_), _) => "help".to_owned(),
        (Mode::Search(_), _) => "search".to_owned(),
        (Mode::Links(_), _) => "links".to_owned(),
        (Mode::Chat, ConversationRef::Room(room)) => {
            room_and_people(view, room, usize::from(area.width))
        }
        (Mode::Chat, ConversationRef::Direct(peer)) => match view.app.people.peers.get(peer) {
            Some(known) => format!("{}{GAP}{}", route(known), peer.short()),
            None => peer.short(),
        },
    };
    // A screen of few columns needs them for the names.
    let right = match view.app.screen.mode() {
        Mode::Help(_) => "Esc: back ",
        Mode::Chat if area.width >= HINT_FROM => "F1: help ",
        Mode::Chat | Mode::Search(_) | Mode::Links(_) => "",
    };
    bar(view, &format!(" {name}{GAP}{rest}"), right, area, buffer);
}

/// The kind and the topic of a room, and who is there. A long topic gets half of the line.
fn room_and_people(view: View<'_>, room: &RoomName, columns: usize) -> String {
    let room = view.app.people.rooms.get(room);
    let kind = match room {
        Some(room) if room.open => "open",
        Some(_) => "with a secret",
        None => "",
    };
    let topic = room.and_then(|room| room.topic.as_ref());
    let topic = topic.map_or_else(String::new, |topic| {
        format!("{}{GAP}", fit(&visible(&topic.text), columns / 2))
    });
    let mut names: Vec<String> = view
        .app
        .people_here()
        .iter()
        .map(|peer| view.app.people.names.of(peer))
        .collect();
    names.sort_by_key(|name| name.to_lowercase());
    let who = if names.is_empty() {
        "nobody else is here".to_owned()
    } else {
        format!("here: {}", names.join(", "))
    };
    format!("{kind}{GAP}{topic}{who}")
}

pub(super) fn status(view: View<'_>, area: Rect, buffer: &mut Buffer) {
    let right = match (
        view.app.screen.mode(),
        view.app.conversations.window().scroll(),
    ) {
        (Mode::Chat, Some(_)) => format!(
            "{} below: Alt-End ",
            wording::count(view.app.conversations.window().below(), "message")
        ),
        (Mode::Chat | Mode::Search(_) | Mode::Links(_) | Mode::Help(_), _) => String::new(),
    };
    let columns = usize::from(area.width).saturating_sub(width(&right) + 2);
    let left = match view.app.screen.hint() {
        Some(Hint::Text(text)) => (*text).to_owned(),
        Some(Hint::Pasted(text)) => pasted(*text, columns),
        None => fitting(parts(view), columns),
    };
    bar(view, &format!(" {left}"), &right, area, buffer);
}

/// Says what Enter does with pasted lines. Ctrl-c drops all of them, Ctrl-u only the last.
fn pasted(text: Pasted, columns: usize) -> String {
    let Pasted { lines, left_out } = text;
    if left_out > 0 {
        return format!("the text is too long: its last {left_out} characters were left out");
    }
    let whole = format!("{lines} lines: Enter sends them as one message, Ctrl-c drops them");
    if width(&whole) <= columns {
        whole
    } else {
        format!("{lines} lines: Enter sends, Ctrl-c drops")
    }
}

/// Who types here, and whether the peer of this conversation is away.
fn doings(view: View<'_>) -> Option<String> {
    let of = view.app.conversations.current().of();
    let name = |peer| view.app.people.names.of(&peer);
    let typing: Vec<_> = view.app.activity.typing_in(of).map(name).collect();
    if let ConversationRef::Direct(peer) = of
        && let Some(known) = view.app.people.peers.get(peer)
        && typing.is_empty()
    {
        let words = activity::status_words(known.away, &known.status)?;
        return Some(format!("{}: {words}", name(*peer)));
    }
    match typing.as_slice() {
        [] => None,
        [one] => Some(format!("{one} is typing")),
        many => Some(format!("{} people are typing", many.len())),
    }
}

/// The parts of the line, the most important first.
fn parts(view: View<'_>) -> Vec<String> {
    let mut parts = vec![];
    match &view.app.people.status {
        Some(status) => parts.push(format!(
            "{} ({})",
            visible(status.nick.as_str()),
            status.peer.0.short()
        )),
        None => parts.push("starting".to_owned()),
    }
    parts.extend(doings(view));
    if view.app.layout().left.is_none() {
        parts.extend(elsewhere(view));
    }
    parts.push(wording::count(view.app.people.online().count(), "peer"));
    if let ConversationRef::Direct(peer) = view.app.conversations.current().of()
        && let Some(known) = view
            .app
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
            view.app.people.names.of(peer),
            route(known)
        ));
    }
    parts.extend(view.app.people.status.iter().flat_map(relays));
    if view.app.screen.captures_mouse() {
        parts.push("mouse".to_owned());
    }
    parts
}

/// `unread 2:3 4:1`, on screens without the list of conversations.
fn elsewhere(view: View<'_>) -> Option<String> {
    let unread = view
        .app
        .conversations
        .list()
        .iter()
        .enumerate()
        .filter(|(_, conversation)| conversation.unread() > 0);
    let all: Vec<String> = unread
        .map(|(index, conversation)| format!("{}:{}", index + 1, conversation.unread()))
        .collect();
    (!all.is_empty()).then(|| format!("unread {}", all.join(" ")))
}

fn relays(status: &StatusLine) -> Vec<String> {
    let state = |up: bool| if up { "up" } else { "down" };
    match status.relays.as_slice() {
        [] => vec!["no relay".to_owned()],
        [one] => vec![format!(
            "relay {} {}",
            one.at.0.host_port().host,
            state(one.up)
        )],
        many => vec![format!(
            "relays {} of {} up",
            many.iter().filter(|relay| relay.up).count(),
            many.len()
        )],
    }
}

/// As many parts as fit, and always the first.
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

fn bar(view: View<'_>, left: &str, right: &str, area: Rect, buffer: &mut Buffer) {
    let columns = usize::from(area.width);
    let left = fit(left, columns.saturating_sub(width(right) + 1));
    let gap = " ".repeat(columns.saturating_sub(width(&left) + width(right)));
    buffer.set_string(
        area.x,
        area.y,
        format!("{left}{gap}{right}"),
        view.theme.bar(),
    );
}
